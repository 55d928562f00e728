//! A cursor that writes.

use crate::varint;

/// What was to be written does not fit. Nothing of it was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

impl core::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no room left in the buffer")
    }
}

impl core::error::Error for NoRoom {}

/// Writes from the start of a buffer on. Integers are big-endian.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    /// How much is written, never more than there is.
    len: usize,
    /// What lies behind this is held back for later.
    end: usize,
}

impl<'b> Writer<'b> {
    /// At the start of `buf`.
    #[inline]
    pub const fn new(buf: &'b mut [u8]) -> Self {
        let end = buf.len();
        Self { buf, len: 0, end }
    }

    /// How many bytes are written.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes still fit.
    #[inline]
    pub const fn room(&self) -> usize {
        self.end.saturating_sub(self.len)
    }

    /// Holds the last `n` bytes of the buffer back, so that nothing but a later call with less
    /// can have them: a trailer always finds room.
    #[inline]
    pub const fn hold_back(&mut self, n: usize) {
        self.end = self.buf.len().saturating_sub(n);
    }

    /// What is written.
    #[inline]
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// What is not written yet; say with [`Self::advance`] how much of it was used.
    #[inline]
    pub fn tail_mut(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.len..self.end).unwrap_or_default()
    }

    /// Takes the next `n` bytes, or as many as there are, for written.
    #[inline]
    pub const fn advance(&mut self, n: usize) {
        self.len += if n < self.room() { n } else { self.room() };
    }

    /// Forgets everything behind the first `len` bytes.
    #[inline]
    pub const fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
        }
    }

    /// Changes a byte that is written; elsewhere it does nothing.
    #[inline]
    pub fn set(&mut self, at: usize, byte: u8) {
        debug_assert!(at < self.len, "only what is written can be changed");
        if let Some(place) = self.buf.get_mut(..self.len).and_then(|written| written.get_mut(at)) {
            *place = byte;
        }
    }

    /// Changes `N` bytes that are written; elsewhere it does nothing.
    #[inline]
    pub fn patch<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        debug_assert!(at.saturating_add(N) <= self.len, "only what is written can be changed");
        let written = self.buf.get_mut(..self.len).unwrap_or_default();
        if let Some(place) = written.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
            *place = bytes;
        }
    }

    /// Sets bits of a byte that is written; elsewhere it does nothing.
    #[inline]
    pub fn set_bits(&mut self, at: usize, bits: u8) {
        debug_assert!(at < self.len, "only what is written can be changed");
        if let Some(place) = self.buf.get_mut(..self.len).and_then(|written| written.get_mut(at)) {
            *place |= bits;
        }
    }

    /// Writes all that `write` does, or nothing.
    #[inline]
    pub(crate) fn whole(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), NoRoom>,
    ) -> Result<(), NoRoom> {
        let start = self.len;
        let written = write(self);
        if written.is_err() {
            self.truncate(start);
        }
        written
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), NoRoom> {
        let len = self.len + N;
        let place = self.buf.get_mut(self.len..len).filter(|_| len <= self.end);
        *place.and_then(|place| place.first_chunk_mut()).ok_or(NoRoom)? = bytes;
        self.len = len;
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    ///
    /// When it does not fit, as with all that follow.
    #[inline]
    pub fn u8(&mut self, value: u8) -> Result<(), NoRoom> {
        self.array([value])
    }

    /// Appends two bytes.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    #[inline]
    pub fn u16(&mut self, value: u16) -> Result<(), NoRoom> {
        self.array(value.to_be_bytes())
    }

    /// Appends four bytes.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    #[inline]
    pub fn u32(&mut self, value: u32) -> Result<(), NoRoom> {
        self.array(value.to_be_bytes())
    }

    /// Appends eight bytes.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    #[inline]
    pub fn u64(&mut self, value: u64) -> Result<(), NoRoom> {
        self.array(value.to_be_bytes())
    }

    /// Appends a varint, one to four bytes; see [`varint::encode`].
    ///
    /// # Errors
    ///
    /// When it does not fit.
    #[inline]
    pub fn varint(&mut self, value: u32) -> Result<(), NoRoom> {
        let (bytes, len) = varint::encode(value);
        if len == 1 {
            let [first, ..] = bytes;
            return self.u8(first);
        }
        self.bytes(bytes.get(..len).unwrap_or_default())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.tail_mut().get_mut(..bytes.len()).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_in_network_order() {
        let mut buf = [0; 20];
        let mut w = Writer::new(&mut buf);
        w.u8(1).unwrap();
        w.u16(0x0203).unwrap();
        w.u32(0x0405_0607).unwrap();
        w.u64(0x0809_0A0B_0C0D_0E0F).unwrap();
        w.varint(128).unwrap();
        w.bytes(&[0x11, 0x12, 0x13]).unwrap();
        assert_eq!(
            w.written(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80, 0x80, 0x11, 0x12, 0x13]
        );
        assert_eq!((w.len(), w.room()), (20, 0));
    }

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let mut buf = [0xEE; 3];
        let mut w = Writer::new(&mut buf);
        w.u8(1).unwrap();
        assert_eq!(w.u32(2), Err(NoRoom));
        assert_eq!(w.bytes(&[3; 3]), Err(NoRoom));
        assert_eq!(w.varint(1 << 20), Err(NoRoom));
        assert_eq!(w.written(), [1]);
        assert_eq!(w.tail_mut(), [0xEE; 2]);
    }

    #[test]
    fn advancing_past_the_end_stops_there() {
        let mut buf = [0; 3];
        let mut w = Writer::new(&mut buf);
        w.tail_mut()[1] = 7;
        w.advance(2);
        w.set(0, 5);
        assert_eq!(w.written(), [5, 7]);
        w.patch(0, [5, 8]);
        assert_eq!(w.written(), [5, 8]);
        w.advance(usize::MAX);
        assert_eq!(w.len(), 3);
        w.truncate(9);
        w.truncate(1);
        assert_eq!(w.written(), [5]);
        assert!(!w.is_empty());
    }
}
