//! One message of which fragments arrived.

use bowline_core::{BlockId, Instant, Link, Pool, Slot};

use super::{Fragment, Limits, Memory, Refused};

/// A message of which some fragments arrived, or all.
#[derive(Clone, Copy, Debug)]
pub struct Assembly {
    pub(super) key: Key,
    total: u32,
    /// The first of the blocks for `total` bytes.
    first: BlockId,
    pub(super) next: Link,
    /// The number of the packet that carried byte 0, once it came.
    number: u64,
    /// When the first fragment came.
    started: Instant,
    pub(super) parts: Parts,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key {
    id: u16,
    channel: u8,
    ordered: bool,
}

/// The most parts, with gaps between them, that a message may be in.
pub const PART_MAX: usize = 8;

/// Which bytes arrived: parts in ascending order, with gaps between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    parts: [Part; PART_MAX],
    len: u8,
}

/// Bytes `start..end` arrived; `start < end`.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u32,
    end: u32,
    /// The block that holds byte `end - 1`. Whatever comes next will most likely go right there.
    block: BlockId,
}

impl Slot for Assembly {
    const VACANT: Self = Self {
        key: Key { id: 0, channel: 0, ordered: false },
        total: 0,
        first: Link::NONE,
        next: Link::NONE,
        number: 0,
        started: Instant::ZERO,
        parts: Parts::NONE,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Assembly {
    /// The channel of the message.
    pub const fn channel(&self) -> u8 {
        self.key.channel
    }

    /// Whether its mode is unreliable-ordered.
    pub const fn ordered(&self) -> bool {
        self.key.ordered
    }

    /// Which message of that channel and mode.
    pub const fn id(&self) -> u16 {
        self.key.id
    }

    /// Length of the message, in bytes.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// The first of the blocks that the message lies in.
    pub const fn first(&self) -> BlockId {
        self.first
    }

    /// When the first fragment came.
    pub const fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn new(fragment: &Fragment<'_>, first: BlockId, now: Instant) -> Self {
        let (key, total) = (Key::of(fragment), fragment.total);
        Self { key, total, first, started: now, ..Self::VACANT }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.parts.iter().next().is_some_and(|part| {
            part.end == self.total && (part.start == 0 || cfg!(bowline_mutant = "no_beginning"))
        })
    }

    /// Puts the bytes that are missing in their place. Those that are here stay as they are.
    pub(super) fn add(
        &mut self,
        pool: &mut Pool<'_>,
        fragment: &Fragment<'_>,
        span: Span,
    ) -> Result<(), Refused> {
        if self.total != fragment.total {
            return Err(Refused::Contradiction);
        }
        if self.parts.len() == PART_MAX && !self.parts.touch(span) {
            return Err(Refused::TooScattered);
        }
        if span.start == 0 && self.parts.iter().next().is_none_or(|part| part.start > 0) {
            self.number = fragment.number;
        }
        self.fill(pool, fragment.data, span);
        Ok(())
    }

    fn fill(&mut self, pool: &mut Pool<'_>, data: &[u8], span: Span) {
        let old = self.parts;
        let mut parts = Parts::NONE;
        // What the bytes will be a part of. It is here up to `whole.end`.
        let mut whole = Part { start: span.start, end: span.start, block: self.first };
        // The last block that is known to lie before what is still missing, and a byte in it.
        let mut near = (self.first, 0);
        let mut later = old.iter().peekable();
        while let Some(part) = later.next_if(|part| part.end < span.start) {
            parts.push(*part);
            near = (part.block, part.end - 1);
        }
        while let Some(part) = later.next_if(|part| part.start <= span.end) {
            if whole.end < part.start {
                copy(pool, near, whole.end, span.slice(data, whole.end, part.start));
            }
            whole = Part { start: whole.start.min(part.start), ..*part };
            near = (part.block, part.end - 1);
        }
        if whole.end < span.end {
            whole.block = copy(pool, near, whole.end, span.slice(data, whole.end, span.end));
            whole.end = span.end;
        }
        parts.push(whole);
        later.for_each(|part| parts.push(*part));
        self.parts = parts;
    }
}

/// The place of a completed message in the order of its channel: twice the number of the packet
/// that carried its first byte, plus one. Messages that came whole take the even ranks.
pub const fn rank(message: &Assembly) -> u64 {
    message.number.saturating_mul(2).saturating_add(1)
}

/// Gives back a completed message and its bytes.
pub fn release(mem: &mut Memory<'_, '_>, message: Link) {
    let first = mem.slots[message].first;
    mem.pool.give_chain(mem.block_quota, first);
    mem.slots.give(mem.slot_quota, message);
}

impl Parts {
    const NONE: Self =
        Self { parts: [Part { start: 0, end: 0, block: Link::NONE }; PART_MAX], len: 0 };

    fn iter(&self) -> core::slice::Iter<'_, Part> {
        self.parts.get(..self.len()).unwrap_or_default().iter()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn push(&mut self, part: Part) {
        if let Some(place) = self.parts.get_mut(usize::from(self.len)) {
            *place = part;
            self.len += 1;
        }
    }

    /// Whether `span` overlaps a part or lies right beside one.
    pub(super) fn touch(&self, span: Span) -> bool {
        self.iter().any(|part| part.start <= span.end && part.end >= span.start)
    }

    /// The end of the last part that ends at `offset` or before, or 0.
    pub(super) fn reached(&self, offset: u32) -> u32 {
        self.iter().map(|part| part.end).take_while(|&end| end <= offset).last().unwrap_or(0)
    }
}

/// The bytes `start..end` of a message; `start < end <= total`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of(fragment: &Fragment<'_>, limits: &Limits) -> Result<Self, Refused> {
        let start = fragment.offset;
        let end = u32::try_from(fragment.data.len()).ok().and_then(|len| start.checked_add(len));
        let end = end.filter(|&end| start < end && end <= fragment.total);
        let Some(end) = end else { return Err(Refused::Malformed) };
        if fragment.total > limits.bytes {
            return Err(Refused::TooLong);
        }
        Ok(Self { start, end })
    }

    /// Bytes `from..to` of the message, where `data` are all of this span.
    fn slice<'d>(&self, data: &'d [u8], from: u32, to: u32) -> &'d [u8] {
        let (from, to) = (from.saturating_sub(self.start), to.saturating_sub(self.start));
        data.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl Key {
    pub(super) const fn of(fragment: &Fragment<'_>) -> Self {
        Self { id: fragment.id, channel: fragment.channel, ordered: fragment.ordered }
    }
}

/// Writes `data` at byte `offset` of a message, found by walking on from the block that holds
/// byte `near.1`, which is not beyond. Returns the block where it ended.
fn copy(pool: &mut Pool<'_>, near: (BlockId, u32), offset: u32, data: &[u8]) -> BlockId {
    let block_len = pool.block_len().max(1);
    let (mut block, byte) = near;
    let steps = (offset as usize / block_len).saturating_sub(byte as usize / block_len);
    for _ in 0..steps {
        block = pool.next(block);
    }
    let mut pos = offset as usize % block_len;
    let mut rest = data;
    loop {
        let room = pool.bytes_mut(block, pos);
        let (now, later) = rest.split_at_checked(room.len()).unwrap_or((rest, &[]));
        if let Some(room) = room.get_mut(..now.len()) {
            room.copy_from_slice(now);
        }
        if later.is_empty() || now.is_empty() {
            return block;
        }
        rest = later;
        pos = 0;
        block = pool.next(block);
    }
}
