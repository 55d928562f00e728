//! Where a trace is read from.

/// Gives the bytes of a trace, in order.
///
/// `&[u8]` and `Stream` (feature `std`) are sources.
pub trait Source {
    /// Why it could give no more.
    type Error: core::fmt::Debug;

    /// Fills the start of `buf` and returns how much: less than all of it only at the end.
    ///
    /// # Errors
    ///
    /// When it cannot tell what comes next.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error>;
}

impl Source for &[u8] {
    type Error = core::convert::Infallible;

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        let (head, rest) = self.split_at_checked(buf.len()).unwrap_or((self, &[]));
        buf.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        *self = rest;
        Ok(head.len())
    }
}
