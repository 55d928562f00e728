//! Room for what one record carries.

/// Memory for the longest datagram, message or buffer of a trace.
///
/// A `Vec<u8>` (feature `alloc`) grows with what really is in the trace, never with what a length in it
/// claims; a `&mut [u8]` is as long as it is.
pub trait Scratch {
    /// At least `len` bytes, the first of which are those that were lent before; none if there are not so many.
    fn room(&mut self, len: usize) -> Option<&mut [u8]>;
}

impl Scratch for &mut [u8] {
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        (len <= self.len()).then_some(self)
    }
}

impl<const N: usize> Scratch for [u8; N] {
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        (len <= N).then_some(self)
    }
}

#[cfg(feature = "alloc")]
impl Scratch for alloc::vec::Vec<u8> {
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.len() {
            self.try_reserve(len - self.len()).ok()?;
            self.resize(len, 0);
        }
        Some(self)
    }
}
