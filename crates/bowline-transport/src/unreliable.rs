//! The two unreliable modes: messages that are sent once, and what arrives of them.

use bowline_core::serial::ahead32;
use bowline_core::{Pool, Quota, Slots};

use crate::fragments::Cutter;
use crate::record::Record;
use crate::run::{Cursor, Run};
use crate::tickets::{Ends, OnceTickets};

/// Messages of one channel and unreliable mode that wait to be packed.
#[derive(Clone, Debug)]
pub struct OutQueue {
    run: Run,
    /// Bytes in the run.
    len: u32,
    /// The message at the front, if it is being sent in fragments.
    cutter: Option<Cutter>,
    next_id: u16,
    /// Offset of the first byte in the run: how many there were before it.
    offset: u32,
    tickets: OnceTickets,
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
        Self {
            run: Run::EMPTY,
            len: 0,
            cutter: None,
            next_id: first_id,
            offset: 0,
            tickets: OnceTickets::NONE,
        }
    }

    /// Bytes queued, prefixes included.
    pub const fn queued(&self) -> u32 {
        self.len
    }

    /// Whether something waits.
    pub const fn is_pending(&self) -> bool {
        self.len > 0
    }

    /// How many bytes were taken out before the first one that waits; wraps.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// The tickets of its messages, by such numbers of bytes.
    pub const fn tickets(&mut self) -> &mut OnceTickets {
        &mut self.tickets
    }

    /// Drops messages at the front that were given up.
    pub fn drop_dead(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
    ) {
        while self.cutter.as_ref().is_none_or(|cutter| cutter.offset() == 0)
            && let Some(end) = self.tickets.dead_at(records, self.offset)
        {
            // A message was to be cut, and there was no room for its first fragment yet.
            if let Some(cutter) = self.cutter.take() {
                self.next_id = cutter.id();
            }
            self.consume(pool, quota, ahead32(end, self.offset).max(0) as usize);
            self.tickets.on_dropped(records, ends, end);
        }
    }

    /// How many bytes wait before the next message that was given up, as far as a packet has room.
    pub fn alive(&self, records: &Slots<'_, Record>) -> u32 {
        self.tickets.alive(records, self.offset, self.len)
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

    /// Appends a short message, if it fits into the last block.
    #[inline(always)]
    pub fn append_short(&mut self, pool: &mut Pool<'_>, message: &[u8]) -> bool {
        let fits = self.run.append_short(pool, message);
        if fits {
            self.len += 1 + message.len() as u32;
        }
        fits
    }

    /// Appends a short message in a new block, if the last one is full to the end.
    pub fn append_short_anew(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        message: &[u8],
    ) -> bool {
        self.run.begin_block(pool, quota, 1 + message.len()) && self.append_short(pool, message)
    }

    /// What to put into `room` bytes of a packet, when an empty packet has `room_max`.
    ///
    /// `room` counts what is left for prefixed messages, after the head of their frame. Only the first
    /// `len` bytes are looked at: all, or those that are [`Self::alive`].
    pub fn next(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        len: u32,
        room: usize,
        room_max: usize,
    ) -> Next {
        if self.len == 0 {
            return Next::Nothing;
        }
        if self.cutter.is_some() {
            return Next::Fragment;
        }
        let (front, len) = (self.run.front(), len as usize);
        let fit = front.fit(pool, len, room);
        if fit > 0 {
            return Next::Whole(fit);
        }
        let Ok(Some((len, prefix))) = front.peek_prefix(pool, len) else { return Next::Later };
        if prefix + len <= room_max {
            return Next::Later;
        }
        self.cutter = Some(Cutter::new(self.next_id, len as u32));
        if !cfg!(bowline_mutant = "same_id") {
            self.next_id = self.next_id.wrapping_add(1);
        }
        self.consume(pool, quota, prefix);
        Next::Fragment
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
        self.offset = self.offset.wrapping_add(len as u32);
    }

    /// Gives everything back; the tickets must be gone.
    pub fn clear(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        debug_assert!(self.tickets.is_empty());
        self.run.clear(pool, quota);
        self.offset = self.offset.wrapping_add(self.len);
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
        rank >= self.next || cfg!(bowline_mutant = "skip_order_filter")
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

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::PoolControl;
    use proptest::prelude::*;

    use super::*;
    use crate::run::{encode_prefix, prefix};

    const BLOCKS: usize = 60;
    const BLOCK_LEN: usize = 12;

    fn pool<'m>(bytes: &'m mut Vec<u8>, control: &'m mut PoolControl) -> Pool<'m> {
        bytes.resize(BLOCKS * (BLOCK_LEN + 4), 0);
        *control = PoolControl::new(BLOCK_LEN as u32 + 4, BLOCKS as u32);
        Pool::new(bytes, control)
    }

    /// A message and its prefix; no two messages are alike.
    fn prefixed(number: usize, len: usize) -> Vec<u8> {
        let (bytes, prefix_len) = encode_prefix(len);
        let text = (0..len).map(|at| (number * 37 + at) as u8);
        bytes.into_iter().take(prefix_len).chain(text).collect()
    }

    /// What waits in a queue: whole messages, and perhaps one that is being sent in fragments.
    struct Waiting {
        messages: VecDeque<Vec<u8>>,
        /// Id and length of the message, and what is left of it.
        fragmented: Option<(u16, usize, Vec<u8>)>,
        next_id: u16,
    }

    impl Waiting {
        fn len(&self) -> usize {
            let rest = self.fragmented.as_ref().map_or(0, |(_, _, rest)| rest.len());
            rest + self.messages.iter().map(Vec::len).sum::<usize>()
        }

        fn whole(&self, room: usize) -> usize {
            let ends = self.messages.iter().scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            });
            ends.take_while(|&end| end <= room).last().unwrap_or(0)
        }

        fn next(&mut self, room: usize, room_max: usize) -> Next {
            if self.fragmented.is_some() {
                return Next::Fragment;
            }
            let Some(first) = self.messages.front() else { return Next::Nothing };
            match self.whole(room) {
                0 if first.len() <= room_max => Next::Later,
                0 => {
                    let first = self.messages.pop_front().unwrap();
                    let (total, prefix_len) = prefix(&first).unwrap().unwrap();
                    self.fragmented = Some((self.next_id, total, first[prefix_len..].to_vec()));
                    self.next_id = self.next_id.wrapping_add(1);
                    Next::Fragment
                }
                len => Next::Whole(len),
            }
        }
    }

    proptest! {
        #![proptest_config(crate::thorough())]

        /// As many whole messages as fit go into a packet, and never a part of one, unless it fits
        /// no packet: then its fragments follow each other to its end. Nothing is lost or doubled.
        #[test]
        fn a_queue_packs_whole_messages_and_cuts_only_what_fits_no_packet(
            first_id in any::<u16>(),
            room_max in 1usize..120,
            ops in prop::collection::vec((any::<bool>(), 0usize..200), 0..120),
        ) {
            let (mut bytes, mut control) = (Vec::new(), PoolControl::new(16, 0));
            let (mut pool, mut quota) = (pool(&mut bytes, &mut control), Quota::NONE);
            let mut queue = OutQueue::new(first_id);
            let messages = VecDeque::new();
            let mut waiting = Waiting { messages, fragmented: None, next_id: first_id };
            let drain = core::iter::repeat_n((false, room_max), 6_000);
            for (number, (append, len)) in ops.into_iter().chain(drain).enumerate() {
                if append {
                    let message = prefixed(number, len);
                    let prefix_len = encode_prefix(len).1;
                    if number % 2 == 0 && queue.append_short(&mut pool, &message[prefix_len..]) {
                        waiting.messages.push_back(message);
                    } else if queue.blocks_needed(&pool, message.len()) <= pool.available(&quota) {
                        let (head, tail) = message.split_at(message.len() / 2);
                        queue.append(&mut pool, &mut quota, head);
                        queue.append(&mut pool, &mut quota, tail);
                        waiting.messages.push_back(message);
                    }
                    continue;
                }
                let room = len.min(room_max);
                let next = queue.next(&mut pool, &mut quota, queue.queued(), room, room_max);
                prop_assert_eq!(next, waiting.next(room, room_max));
                match next {
                    Next::Whole(len) => {
                        let mut out = vec![0; len];
                        queue.take_whole(&mut pool, &mut quota, &mut out);
                        while !out.is_empty() {
                            let message = waiting.messages.pop_front().unwrap();
                            prop_assert!(out.starts_with(&message));
                            out.drain(..message.len());
                        }
                    }
                    Next::Fragment => {
                        let (id, total, rest) = waiting.fragmented.as_mut().unwrap();
                        let offset = *total - rest.len();
                        prop_assert_eq!(queue.fragment(), Some((*id, offset as u32, *total as u32)));
                        let mut out = vec![0; room.min(rest.len())];
                        queue.take_fragment(&mut pool, &mut quota, &mut out);
                        prop_assert!(rest.drain(..out.len()).eq(out));
                        if rest.is_empty() {
                            waiting.fragmented = None;
                            prop_assert_eq!(queue.fragment(), None);
                        }
                    }
                    Next::Later | Next::Nothing => {}
                }
                prop_assert_eq!(queue.queued() as usize, waiting.len());
                prop_assert_eq!(queue.is_pending(), waiting.len() > 0);
                if next == Next::Nothing { prop_assert_eq!(pool.ledger().in_use(), 0); }
            }
            prop_assert_eq!(waiting.len(), 0);
        }

        #[test]
        fn an_inbox_is_a_queue_of_messages(
            ops in prop::collection::vec((any::<bool>(), prop::collection::vec(0usize..150, 1..4)), 0..80),
            clear in any::<bool>(),
        ) {
            let (mut bytes, mut control) = (Vec::new(), PoolControl::new(16, 0));
            let (mut pool, mut quota) = (pool(&mut bytes, &mut control), Quota::NONE);
            let mut inbox = Inbox::EMPTY;
            let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
            let drain = core::iter::repeat_n((false, vec![]), if clear { 0 } else { 300 });
            for (number, (arrive, lens)) in ops.into_iter().chain(drain).enumerate() {
                if arrive {
                    let messages: Vec<_> = lens.iter().map(|&len| prefixed(number, len)).collect();
                    let all = messages.concat();
                    if inbox.blocks_needed(&pool, all.len()) <= pool.available(&quota) {
                        inbox.append(&mut pool, &mut quota, &all);
                        waiting.extend(messages);
                    }
                } else {
                    let Some((prefix_len, len, mut at)) = inbox.front(&pool) else {
                        prop_assert!(waiting.is_empty() && inbox.is_empty());
                        prop_assert_eq!(pool.ledger().in_use(), 0);
                        continue;
                    };
                    let message = waiting.pop_front().unwrap();
                    let mut text = vec![0; len];
                    prop_assert_eq!(at.read(&pool, &mut text), len);
                    prop_assert_eq!(&message[prefix_len..], text);
                    inbox.consume(&mut pool, &mut quota, prefix_len + len);
                }
                prop_assert_eq!(inbox.len() as usize, waiting.iter().map(Vec::len).sum::<usize>());
            }
            inbox.clear(&mut pool, &mut quota);
            prop_assert_eq!(pool.ledger().in_use(), 0);
        }

        /// What is delivered is newer than all that was delivered before, and what is dropped is
        /// not.
        #[test]
        fn order_is_kept_by_dropping_what_is_late(
            ranks in prop::collection::vec(prop_oneof![0u64..40, (u64::MAX - 4)..u64::MAX], 0..60),
        ) {
            let mut filter = OrderFilter::NEW;
            let mut delivered: Vec<u64> = Vec::new();
            for rank in ranks {
                let newer = delivered.iter().all(|&before| rank > before);
                prop_assert_eq!(filter.is_newer(rank), newer);
                prop_assert_eq!(filter.deliver(rank), newer);
                if newer { delivered.push(rank); }
            }
        }
    }

    #[test]
    fn a_message_waits_for_a_packet_that_it_fits() {
        let (mut bytes, mut control) = (Vec::new(), PoolControl::new(16, 0));
        let (mut pool, mut quota) = (pool(&mut bytes, &mut control), Quota::NONE);
        let mut queue = OutQueue::new(0);
        queue.append(&mut pool, &mut quota, &prefixed(1, 50));
        assert_eq!(queue.next(&mut pool, &mut quota, queue.queued(), 50, 51), Next::Later);
        assert_eq!(queue.next(&mut pool, &mut quota, queue.queued(), 51, 51), Next::Whole(51));
        assert_eq!(queue.next(&mut pool, &mut quota, queue.queued(), 50, 50), Next::Fragment);
        assert_eq!(queue.fragment(), Some((0, 0, 50)));
        queue.clear(&mut pool, &mut quota);
        assert_eq!((queue.queued(), queue.fragment()), (0, None));
        assert_eq!(pool.ledger().in_use(), 0);
    }
}
