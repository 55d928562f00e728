//! The range coder for [`crate::ours::Ours`].

use bowline_enet::Compression;

/// The C library's range coder, or none: whose coder it is must not matter.
#[derive(Debug, Default)]
pub struct Coder {
    #[cfg(c_enet)]
    range_coder: Option<crate::c_enet::RangeCoder>,
}

impl Coder {
    /// A coder, if it `is_on`.
    pub fn new(is_on: bool) -> Self {
        #[cfg(c_enet)]
        let coder = Self { range_coder: is_on.then(crate::c_enet::RangeCoder::new) };
        #[cfg(not(c_enet))]
        let coder = {
            assert!(!is_on, "{}", crate::NO_C_ENET);
            Self {}
        };
        coder
    }
}

#[cfg(c_enet)]
impl Compression for Coder {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        self.range_coder.as_mut()?.compress(data)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        self.range_coder.as_mut()?.decompress(data, len_max)
    }
}

#[cfg(not(c_enet))]
impl Compression for Coder {
    fn compress(&mut self, _: &[u8]) -> Option<&[u8]> {
        None
    }

    fn decompress(&mut self, _: &[u8], _: usize) -> Option<&[u8]> {
        None
    }
}
