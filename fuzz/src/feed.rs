//! Bytes of the fuzzer, read from the front on.

/// A reader of the fuzzer's bytes. Where they end, zeros follow.
///
/// Unlike a general-purpose decoder it reads everything in order, so that a seed can be written by hand
/// and a byte that changes changes one thing.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Whether the next byte is odd.
    pub fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A number below `limit` from one byte, or from two where one is not enough.
    pub fn below(&mut self, limit: usize) -> usize {
        let drawn = if limit <= 256 { usize::from(self.u8()) } else { usize::from(self.u16()) };
        drawn % limit.max(1)
    }

    /// A number of any size, small ones more often than large ones.
    pub fn sized(&mut self) -> u64 {
        let bits = u32::from(self.u8()) % 65;
        let mask = u64::MAX.checked_shr(64 - bits).unwrap_or(0);
        let bytes = bits.div_ceil(8) as usize;
        let mut all = [0; 8];
        all[..bytes].copy_from_slice(&self.bytes_padded(bytes)[..bytes]);
        u64::from_le_bytes(all) & mask
    }

    /// The next `len` bytes, or what is left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    fn bytes_padded(&mut self, len: usize) -> [u8; 8] {
        let mut array = [0; 8];
        let bytes = self.bytes(len.min(8));
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }
}
