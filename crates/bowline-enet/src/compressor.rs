//! What a host compresses its datagrams with.

use bowline_wire::enet::MTU_MAX;

use crate::Compression;

/// A way to compress the commands of a datagram, which both hosts must have agreed on elsewhere.
///
/// Each datagram is for itself: nothing that one leaves behind may matter to the next.
pub trait Compressor {
    /// Compresses `input` into `out`, and returns how many bytes that are.
    ///
    /// `None` when they do not fit. That is ordinary: the datagram goes as it is.
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize>;

    /// Restores what was compressed to `input` into `out`, and returns how many bytes that are.
    ///
    /// `None` when `input` is not what it should be, stands for nothing, or for more than `out` holds. Any
    /// bytes may come, and the work they cause is bounded by the length of `input` and `out`.
    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize>;
}

impl<C: Compressor + ?Sized> Compressor for &mut C {
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        (**self).compress(input, out)
    }

    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        (**self).decompress(input, out)
    }
}

/// A [`Compressor`] with room for what comes out of it, as a host takes it.
///
/// The room is [`MTU_MAX`] bytes in place: no datagram has more, neither way.
///
/// ```
/// use bowline_enet::{Buffered, Compression, RangeCoder};
///
/// let mut coder = Buffered::new(RangeCoder::new());
/// let commands = b"hello hello hello hello";
/// let compressed = coder.compress(commands).unwrap().to_vec();
/// assert_eq!(compressed.len(), 13);
/// assert_eq!(coder.decompress(&compressed, 4000), Some(&commands[..]));
/// ```
#[derive(Clone, Debug)]
pub struct Buffered<C> {
    compressor: C,
    out: [u8; MTU_MAX as usize],
}

impl<C> Buffered<C> {
    /// Room for `compressor`.
    pub const fn new(compressor: C) -> Self {
        Self { compressor, out: [0; MTU_MAX as usize] }
    }
}

impl<C: Compressor> Compression for Buffered<C> {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        // What is not shorter is not wanted.
        let limit = data.len().checked_sub(1)?.min(self.out.len());
        let out = self.out.get_mut(..limit)?;
        let len = self.compressor.compress(data, out)?;
        out.get(..len)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        let limit = len_max.min(self.out.len());
        let out = self.out.get_mut(..limit)?;
        let len = self.compressor.decompress(data, out)?;
        out.get(..len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drops the last byte, or puts one there.
    struct Last;

    impl Compressor for Last {
        fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
            let (last, rest) = input.split_last()?;
            out.get_mut(..rest.len())?.copy_from_slice(rest);
            (*last == 0).then_some(rest.len())
        }

        fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
            let (room, rest) = out.split_at_mut_checked(input.len())?;
            room.copy_from_slice(input);
            *rest.first_mut()? = 0;
            Some(input.len() + 1)
        }
    }

    #[test]
    fn room_is_for_less_than_there_was_and_no_more_than_is_allowed() {
        let mut last = Buffered::new(Last);
        assert_eq!(last.compress(&[1, 2, 0]), Some(&[1, 2][..]));
        assert_eq!(last.compress(&[1, 2, 3]), None);
        assert_eq!(last.compress(&[]), None);
        assert_eq!(last.decompress(&[1, 2], 3), Some(&[1, 2, 0][..]));
        assert_eq!(last.decompress(&[1, 2], 2), None);
        assert_eq!(last.decompress(&[1; 4096], 1 << 20), None, "longer than any datagram");
        assert_eq!(last.compress(&[0; 5000]), None);
    }
}
