//! Chunks: the bytes of records in portions, each under a checksum of all so far.

use bowline_wire::checksum::{crc32, update};

use crate::Sink;
use crate::format::{CHUNK_MAX, COMPLEMENT, MAGIC, VERSION, WARNING};

/// Bytes of a chunk before its contents: their length, and that again.
pub(crate) const HEAD_LEN: usize = 4;
/// Bytes of a chunk after its contents.
pub(crate) const CHECKSUM_LEN: usize = 4;
/// Length of the longest chunk.
pub(crate) const CHUNK_LEN: usize = HEAD_LEN + CHUNK_MAX + CHECKSUM_LEN;

/// Bytes before the first chunk, besides [`WARNING`].
pub(crate) const PREFIX_LEN: usize = MAGIC.len() + 2;

/// What every trace begins with, besides [`WARNING`].
pub(crate) fn prefix() -> [u8; PREFIX_LEN] {
    let (mut all, version) = ([0; PREFIX_LEN], VERSION.to_be_bytes());
    let bytes = MAGIC.iter().chain(&version);
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

/// The checksum of what comes before the first chunk.
pub(crate) fn first_checksum() -> u32 {
    update(crc32(&prefix()), WARNING.as_bytes())
}

/// What a chunk of so many bytes begins with.
pub(crate) fn head(len: u16) -> [u8; HEAD_LEN] {
    let ([a, b], [c, d]) = (len.to_be_bytes(), (len ^ COMPLEMENT).to_be_bytes());
    [a, b, c, d]
}

/// The length of a chunk that begins so.
pub(crate) fn parse_head([a, b, c, d]: [u8; HEAD_LEN]) -> Option<usize> {
    let len = u16::from_be_bytes([a, b]);
    let is_right = u16::from_be_bytes([c, d]) == len ^ COMPLEMENT;
    let range = 1..=CHUNK_MAX;
    (is_right && range.contains(&usize::from(len))).then_some(len.into())
}

/// Cuts what is written into chunks.
#[derive(Debug)]
pub(crate) struct Chunks<W: Sink> {
    sink: W,
    state: State<W::Error>,
    checksum: u32,
    /// How much of `chunk` after its head is written.
    len: usize,
    chunk: [u8; CHUNK_LEN],
}

#[derive(Debug)]
enum State<E> {
    Open,
    Closed,
    Failed(E),
}

impl<W: Sink> Chunks<W> {
    pub(crate) fn new(sink: W) -> Self {
        let checksum = first_checksum();
        let mut chunks = Self { sink, state: State::Open, checksum, len: 0, chunk: [0; CHUNK_LEN] };
        chunks.pass_on(|sink| {
            sink.write(&prefix())?;
            sink.write(WARNING.as_bytes())
        });
        chunks
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) fn close(&mut self) {
        if self.is_open() {
            self.flush();
        }
        if self.is_open() {
            self.state = State::Closed;
        }
    }

    pub(crate) fn error(&self) -> Option<&W::Error> {
        match &self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn sink(&self) -> &W {
        &self.sink
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.chunk.get_mut(HEAD_LEN + self.len) {
            *place = byte;
        }
        self.len += 1;
        if self.len >= CHUNK_MAX {
            self.flush();
        }
    }

    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = CHUNK_MAX.saturating_sub(self.len);
            let (head, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            let start = HEAD_LEN + self.len;
            if let Some(place) = self.chunk.get_mut(start..start + head.len()) {
                place.copy_from_slice(head);
            }
            self.len += head.len();
            bytes = rest;
            if self.len >= CHUNK_MAX {
                self.flush();
            }
        }
    }

    /// Seven bits a byte, the low ones first.
    #[inline]
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Hands over what is written so far.
    pub(crate) fn flush(&mut self) {
        if self.len == 0 || !self.is_open() {
            // Whatever else is written has no place to go.
            self.len = 0;
            return;
        }
        let end = HEAD_LEN + self.len;
        if let Some(place) = self.chunk.first_chunk_mut() {
            *place = head(self.len as u16);
        }
        self.len = 0;
        let Some(covered) = self.chunk.get(..end) else { return };
        self.checksum = update(self.checksum, covered);
        let checksum = self.checksum.to_be_bytes();
        if let Some(place) = self.chunk.get_mut(end..).and_then(|rest| rest.first_chunk_mut()) {
            *place = checksum;
        }
        let whole = self.chunk.get(..end + CHECKSUM_LEN).unwrap_or_default();
        if let Err(error) = self.sink.write(whole) {
            self.state = State::Failed(error);
        }
    }

    fn pass_on(&mut self, write: impl FnOnce(&mut W) -> Result<(), W::Error>) {
        if let Err(error) = write(&mut self.sink) {
            self.state = State::Failed(error);
        }
    }
}

/// What was recorded before a panic is what shows how it came about.
impl<W: Sink> Drop for Chunks<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_head_with_a_bit_changed_is_a_head() {
        for len in [1, 2, 255, 256, 2048] {
            let right = head(len);
            assert_eq!(parse_head(right), Some(len.into()));
            for bit in 0..32 {
                let wrong = (u32::from_be_bytes(right) ^ 1 << bit).to_be_bytes();
                assert_eq!(parse_head(wrong), None);
            }
        }
        assert_eq!(parse_head(head(0)), None);
        assert_eq!(parse_head(head(2049)), None);
    }
}
