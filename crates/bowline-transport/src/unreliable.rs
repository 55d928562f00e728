//! The two unreliable modes: messages that are sent once, and what arrives of them.

use bowline_core::{Pool, Quota};

use crate::fragments::Cutter;
use crate::run::{Cursor, Run};

/// Messages of one channel and unreliable mode that wait to be packed.
#[derive(Clone, Debug)]
pub struct OutQueue {
    run: Run,
    /// Bytes in the run.
    len: u32,
    /// The message at the front, if it is being sent in fragments.
    cutter: Option<Cutter>,
    next_id: u16,
}

/// What can be put into the next packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// This many bytes of whole messages, prefixes included.
    Whole(usize),
    /// The message at the front does not fit what is left of this packet, but would fit another.
    Later,
    /// The message at the front fits no packet, and travels in fragments.
    Fragment,
    /// Nothing waits.
    Nothing,
}

impl OutQueue {
    /// A queue of nothing; the first fragmented message will have the id `first_id`.
    pub const fn new(first_id: u16) -> Self {
        Self { run: Run::EMPTY, len: 0, cutter: None, next_id: first_id }
    }

    /// Bytes queued, prefixes included.
    pub const fn queued(&self) -> u32 {
        self.len
    }

    /// Whether something waits.
    pub const fn is_pending(&self) -> bool {
        self.len > 0
    }

    /// How many more blocks `len` more bytes would take.
    pub fn blocks_needed(&self, pool: &Pool<'_>, len: usize) -> usize {
        self.run.blocks_needed(pool, len)
    }

    /// Appends bytes of a prefixed message; there is room for them ([`Self::blocks_needed`]).
    #[inline]
    pub fn append(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) {
        let all = self.run.append(pool, quota, bytes);
        debug_assert!(all, "room was checked");
        self.len += bytes.len() as u32;
    }

    /// What to put into `room` bytes of a packet, when an empty packet has `room_max`.
    ///
    /// `room` counts what is left for prefixed messages, after the head of their frame.
    pub fn next(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        room: usize,
        room_max: usize,
    ) -> Next {
        if self.len == 0 {
            return Next::Nothing;
        }
        if self.cutter.is_some() {
            return Next::Fragment;
        }
        let mut at = self.run.front();
        let mut fits = 0;
        while fits < self.len as usize {
            let left = self.len as usize - fits;
            let Ok(Some((len, prefix))) = at.peek_prefix(pool, left) else { break };
            let whole = prefix + len;
            if fits + whole > room {
                if fits == 0 && whole > room_max {
                    self.cutter = Some(Cutter::new(self.next_id, len as u32));
                    self.next_id = self.next_id.wrapping_add(1);
                    self.consume(pool, quota, prefix);
                    return Next::Fragment;
                }
                break;
            }
            fits += whole;
            at.skip(pool, whole);
        }
        if fits == 0 { Next::Later } else { Next::Whole(fits) }
    }

    /// Moves the next `out.len()` bytes of whole messages, as [`Self::next`] counted them, to `out`.
    pub fn take_whole(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, out: &mut [u8]) {
        let read = self.run.front().read(pool, out);
        debug_assert_eq!(read, out.len());
        self.consume(pool, quota, out.len());
    }

    /// The next fragment of the message at the front: id, offset, total.
    pub fn fragment(&self) -> Option<(u16, u32, u32)> {
        self.cutter.as_ref().map(|cutter| (cutter.id(), cutter.offset(), cutter.total()))
    }

    /// Moves the next `out.len()` bytes of the message at the front to `out`.
    pub fn take_fragment(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, out: &mut [u8]) {
        let Some(cutter) = &mut self.cutter else { return };
        let _ = cutter.next(out.len());
        if cutter.done() {
            self.cutter = None;
        }
        self.take_whole(pool, quota, out);
    }

    fn consume(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, len: usize) {
        let mut nowhere = Cursor::NONE;
        self.run.consume(pool, quota, len, &mut nowhere);
        self.len = self.len.saturating_sub(len as u32);
    }

    /// Gives everything back.
    pub fn clear(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        self.run.clear(pool, quota);
        (self.len, self.cutter) = (0, None);
    }
}

/// Whole messages that have arrived in unreliable modes and wait to be read, of all channels.
#[derive(Clone, Copy, Debug)]
pub struct Inbox {
    run: Run,
    len: u32,
}

impl Inbox {
    /// An inbox of nothing.
    pub const EMPTY: Self = Self { run: Run::EMPTY, len: 0 };

    /// Bytes in it, prefixes included.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more blocks `len` more bytes would take.
    pub fn blocks_needed(&self, pool: &Pool<'_>, len: usize) -> usize {
        self.run.blocks_needed(pool, len)
    }

    /// Appends whole prefixed messages; there is room for them ([`Self::blocks_needed`]).
    pub fn append(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, messages: &[u8]) {
        let all = self.run.append(pool, quota, messages);
        debug_assert!(all, "room was checked");
        self.len += messages.len() as u32;
    }

    /// The message at the front: lengths of its prefix and of itself, and where its bytes lie.
    pub fn front(&self, pool: &Pool<'_>) -> Option<(usize, usize, Cursor)> {
        let mut at = self.run.front();
        let (len, prefix) = at.peek_prefix(pool, self.len as usize).ok().flatten()?;
        at.skip(pool, prefix);
        Some((prefix, len, at))
    }

    /// Gives the first `len` bytes back.
    pub fn consume(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, len: usize) {
        let mut nowhere = Cursor::NONE;
        self.run.consume(pool, quota, len, &mut nowhere);
        self.len = self.len.saturating_sub(len as u32);
    }

    /// Gives everything back.
    pub fn clear(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        self.run.clear(pool, quota);
        self.len = 0;
    }
}

/// Keeps unreliable-ordered messages in order by dropping what is older than the newest.
///
/// A message's rank is twice the number of its packet, and one more when it came in fragments that
/// began there: packet numbers only grow, and no message is sent twice, so nothing else need be sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OrderFilter {
    /// One more than the highest rank delivered, or 0.
    next: u64,
}

impl OrderFilter {
    /// A filter that has seen nothing.
    pub const NEW: Self = Self { next: 0 };

    /// Whether a message of this rank is newer than all delivered so far.
    pub const fn is_newer(&self, rank: u64) -> bool {
        rank >= self.next
    }

    /// Delivers a message of this rank, or tells to drop it.
    pub fn deliver(&mut self, rank: u64) -> bool {
        let newer = self.is_newer(rank);
        if newer {
            self.next = rank.saturating_add(1);
        }
        newer
    }
}
