//! The compressors that a host of ours may have.

use bowline_enet::{Buffered, Compression, Compressor, RangeCoder};
use bowline_enet_compress::{FastLz, Zlib, Zstd};

/// Any compressor, or none.
#[derive(Default)]
pub struct Coder(Option<Box<dyn Compression>>);

impl Coder {
    /// As Godot numbers them: 0 none, 1 range coder, 2 FastLZ, 3 zlib, 4 Zstandard.
    pub fn new(number: u32) -> Option<Self> {
        fn boxed(compressor: impl Compressor + 'static) -> Option<Box<dyn Compression>> {
            Some(Box::new(Buffered::new(compressor)))
        }
        Some(Self(match number {
            0 => None,
            1 => boxed(RangeCoder::new()),
            2 => boxed(FastLz::new()),
            3 => boxed(Zlib::new()),
            4 => boxed(Zstd::new()),
            _ => return None,
        }))
    }

    /// The range coder, if it `is_on`.
    pub fn range(is_on: bool) -> Self {
        Self::new(is_on.into()).unwrap_or_default()
    }
}

impl Compression for Coder {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        self.0.as_mut()?.compress(data)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        self.0.as_mut()?.decompress(data, len_max)
    }
}
