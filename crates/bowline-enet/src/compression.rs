//! Compression of whole datagrams, header and checksum apart.

/// What makes datagrams shorter, with room of its own for what comes out.
///
/// Both sides must use the same: nothing on the wire tells which it is. Made of a [`Compressor`](crate::Compressor) by
/// [`Buffered`](crate::Buffered).
pub trait Compression {
    /// `data` compressed; None unless that is shorter.
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]>;

    /// What was compressed to `data`, if that makes sense and has no more than `len_max` bytes.
    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]>;
}

impl<C: Compression + ?Sized> Compression for &mut C {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        (**self).compress(data)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        (**self).decompress(data, len_max)
    }
}

#[cfg(feature = "alloc")]
impl<C: Compression + ?Sized> Compression for alloc::boxed::Box<C> {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        (**self).compress(data)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        (**self).decompress(data, len_max)
    }
}

/// No compression: what is compressed is not understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uncompressed;

impl Compression for Uncompressed {
    fn compress(&mut self, _: &[u8]) -> Option<&[u8]> {
        None
    }

    fn decompress(&mut self, _: &[u8], _: usize) -> Option<&[u8]> {
        None
    }
}
