//! The sender's side.

/// Cuts a message into fragments, as the room in packets allows.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    id: u16,
    offset: u32,
    total: u32,
}

impl Cutter {
    /// A message of `total` bytes, the `id`-th of its channel and mode that is sent in fragments.
    pub const fn new(id: u16, total: u32) -> Self {
        Self { id, offset: 0, total }
    }

    /// Which message of its channel and mode.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Where the next fragment will begin, in bytes.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Length of the message, in bytes.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// Whether all bytes were cut off.
    pub const fn done(&self) -> bool {
        self.offset >= self.total
    }

    /// The next fragment, of `room` bytes at most, as offset and length in bytes; `None` when
    /// there is no room, or nothing left.
    pub fn next(&mut self, room: usize) -> Option<(u32, u32)> {
        let left = self.total.saturating_sub(self.offset);
        let len = u32::try_from(room).unwrap_or(u32::MAX).min(left);
        let offset = self.offset;
        self.offset = offset.saturating_add(len);
        (len > 0).then_some((offset, len))
    }
}
