//! Where a recorder puts its trace.

/// Takes the bytes of a trace, in order.
///
/// `Vec<u8>` (feature `alloc`) and `Stream` (feature `std`) are sinks, and so is a `&mut` to any.
pub trait Sink {
    /// Why it could take no more.
    type Error: core::fmt::Debug;

    /// Takes all of `bytes`, at most a few kilobytes at a time.
    ///
    /// # Errors
    ///
    /// When it cannot; the recorder never calls it again then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl<W: Sink + ?Sized> Sink for &mut W {
    type Error = W::Error;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        (**self).write(bytes)
    }
}

#[cfg(feature = "alloc")]
impl Sink for alloc::vec::Vec<u8> {
    type Error = alloc::collections::TryReserveError;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.try_reserve(bytes.len())?;
        self.extend_from_slice(bytes);
        Ok(())
    }
}
