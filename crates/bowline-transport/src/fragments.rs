//! Reassembly of unreliable messages that came in fragments, and the cutting of such messages.
//!
//! Fragments name the bytes they carry by offset, so they may be of any length and be cut anew
//! when the path changes. The first one of a message to arrive fixes the message's length and
//! takes the memory for all of it; from then on every byte has its place, and a message that is
//! complete lies in its chain of blocks in order.
//!
//! **At most once.** A fragment is never sent again and a packet is never accepted twice, so no
//! byte of a message reaches [`Reassembly::insert`] a second time from an honest peer, and a
//! message that was completed cannot become complete again: a late fragment of it would need all the others
//! to come along. A peer that does send the bytes again has sent another message.
//!
//! **Bounded.** Per peer, [`Limits`] hold at all times; one more message costs the oldest one its
//! place. All fragments of one packet together cost a number of steps that is linear in
//! [`Limits::bytes`] ([`Plan`]).

use bowline_core::{BlockId, Duration, Instant, Link, Pool, Quota, Slot, Slots};

/// What one peer may occupy with incomplete messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many messages.
    pub messages: u16,
    /// The sum of their lengths, in bytes. No single message may be longer either.
    pub bytes: u32,
    /// How long after its first fragment a message is given up.
    pub age: Duration,
}

/// The memory that messages lie in, lent for one call.
#[derive(Debug)]
pub struct Memory<'a, 'm> {
    /// One record per message.
    pub slots: &'a mut Slots<'m, Assembly>,
    /// What this peer may take of them.
    pub slot_quota: &'a mut Quota,
    /// The bytes of the messages.
    pub pool: &'a mut Pool<'m>,
    /// What this peer may take of those.
    pub block_quota: &'a mut Quota,
}

/// A part of a message, as it came in a packet.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'d> {
    /// The channel of the message.
    pub channel: u8,
    /// Whether its mode is unreliable-ordered.
    pub ordered: bool,
    /// Which message of that channel and mode.
    pub id: u16,
    /// Where in the message `data` belongs, in bytes.
    pub offset: u32,
    /// Length of the message, in bytes.
    pub total: u32,
    /// The bytes; not empty.
    pub data: &'d [u8],
    /// The number of the packet it came in.
    pub number: u64,
}

/// Why a fragment was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refused {
    /// No bytes, or bytes beyond the end of the message: nobody may send that.
    Malformed,
    /// The message is longer than all incomplete ones of a peer together may be.
    TooLong,
    /// Another fragment gave the message another length.
    Contradiction,
    /// The message would be in more than [`RUN_MAX`] pieces, or the fragments of the packet
    /// would cost more steps than those of an honest one.
    TooScattered,
    /// No memory, even if all other incomplete messages of the peer were given up.
    Full,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed fragment",
            Self::TooLong => "message too long",
            Self::Contradiction => "fragments of one message contradict each other",
            Self::TooScattered => "fragments too scattered",
            Self::Full => "no memory for the message",
        })
    }
}

impl core::error::Error for Refused {}

/// The most pieces, with gaps between them, that a message may be in.
pub const RUN_MAX: usize = 8;

/// A message of which some fragments arrived, or all.
#[derive(Clone, Copy, Debug)]
pub struct Assembly {
    key: Key,
    total: u32,
    /// The first of the blocks for `total` bytes.
    first: BlockId,
    next: Link,
    /// The number of the packet that carried byte 0, once it came.
    number: u64,
    /// When the first fragment came.
    started: Instant,
    runs: Runs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    id: u16,
    channel: u8,
    ordered: bool,
}

/// Which bytes arrived: runs in ascending order, not touching each other.
#[derive(Clone, Copy, Debug)]
struct Runs {
    runs: [Run; RUN_MAX],
    len: u8,
}

/// Bytes `start..end` arrived; `start < end`.
#[derive(Clone, Copy, Debug)]
struct Run {
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
        runs: Runs::NONE,
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

/// The incomplete messages of one peer, oldest first.
///
/// For each packet: [`Self::check`] every fragment with one [`Plan`], then, if all is well with
/// the packet, [`Self::insert`] each. A message that is thereby completed belongs to the caller,
/// who gives it back by [`release`]. [`Self::expire`] at [`Self::deadline`], and
/// [`Self::clear`] at the end.
#[derive(Clone, Copy, Debug)]
pub struct Reassembly {
    head: Link,
    tail: Link,
    count: u16,
    /// The sum of the lengths of the messages.
    bytes: u32,
    /// How many blocks they hold.
    blocks: u32,
    deadline: Option<Instant>,
    abandoned: u32,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self::new()
    }
}

/// What the fragments of one packet that passed [`Reassembly::check`] so far will take.
///
/// [`Reassembly::insert`] accepts all fragments that were checked with the same plan, if it gets
/// them in the same order and nothing else happens in between. The exception is a packet as only
/// a hostile peer sends it, which repeats bytes that arrived, or in which fragments of several messages take
/// turns and contradict or scatter each other: insertion may then stop in the middle, which
/// harms nobody else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// How many messages the fragments belong to, known ones too: one that is known now may have
    /// been completed, or given up for another, before its next fragment is inserted.
    messages: u32,
    /// How many blocks these messages lie in.
    blocks: u32,
    /// How many blocks are to be taken or walked over.
    steps: u32,
    last: Option<Planned>,
}

/// The message of the fragment that was checked last. Fragments of the same message that follow
/// each other count it once.
#[derive(Clone, Copy, Debug)]
struct Planned {
    key: Key,
    total: u32,
    /// Where the fragment ends.
    end: u32,
    /// How many pieces the message will be in, at most.
    runs: usize,
}

impl Plan {
    /// Nothing was checked yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Reassembly {
    /// No messages.
    pub const fn new() -> Self {
        Self {
            head: Link::NONE,
            tail: Link::NONE,
            count: 0,
            bytes: 0,
            blocks: 0,
            deadline: None,
            abandoned: 0,
        }
    }

    /// How many messages are incomplete.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The sum of their lengths, in bytes.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// How many messages were given up so far, for want of room or because of their age. Wraps.
    pub const fn abandoned(&self) -> u32 {
        self.abandoned
    }

    /// When to call [`Self::expire`] next.
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether [`Self::insert`] would accept `fragment`, after all others that were checked with
    /// the same `plan`. Changes nothing but the plan.
    ///
    /// # Errors
    ///
    /// Why it would not. Then drop the packet, and the plan with it.
    pub fn check(
        &self,
        mem: &Memory<'_, '_>,
        limits: &Limits,
        fragment: &Fragment<'_>,
        plan: &mut Plan,
    ) -> Result<(), Refused> {
        let span = Span::of(fragment, limits)?;
        let key = Key::of(fragment);
        let known = self.find(mem.slots, key).map(|link| &mem.slots[link]);
        let last = plan.last.filter(|last| last.key == key);
        let total = last.map(|last| last.total).or(known.map(|known| known.total));
        if total.is_some_and(|total| total != fragment.total) {
            return Err(Refused::Contradiction);
        }

        let joins = known.is_some_and(|known| known.runs.touches(span))
            || last.is_some_and(|last| last.end == span.start);
        let runs = last.map(|last| last.runs).or(known.map(|known| known.runs.iter().len()));
        let runs = runs.unwrap_or(0) + usize::from(!joins);
        let blocks = blocks(mem.pool, fragment.total);
        let reached = known.map_or(0, |known| known.runs.reached(span.start));
        let reached = last.map_or(reached, |last| last.end.min(span.start).max(reached));
        let mut then = *plan;
        then.steps =
            then.steps.saturating_add(self::blocks(mem.pool, span.start.saturating_sub(reached)));
        if known.is_none() && last.is_none() {
            then.steps = then.steps.saturating_add(blocks);
        }
        if last.is_none() {
            then.messages = then.messages.saturating_add(1);
            then.blocks = then.blocks.saturating_add(blocks);
        }
        if runs > RUN_MAX || then.steps > steps_max(mem.pool, limits) {
            return Err(Refused::TooScattered);
        }
        if limits.messages == 0 || !self.room(mem, then.messages, then.blocks) {
            return Err(Refused::Full);
        }
        *plan = Plan {
            last: Some(Planned { key, total: fragment.total, end: span.end, runs }),
            ..then
        };
        Ok(())
    }

    /// Puts the bytes of `fragment` in their place. Those that are there already stay as they
    /// are.
    ///
    /// The first fragment of a message takes the memory for all of it, and has the oldest
    /// messages given up until there is room ([`Self::abandoned`]). The message that the fragment
    /// completes is no longer among the incomplete ones: the caller owns it.
    ///
    /// # Errors
    ///
    /// Why nothing was done.
    pub fn insert(
        &mut self,
        mem: &mut Memory<'_, '_>,
        limits: &Limits,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<Option<Link>, Refused> {
        let span = Span::of(fragment, limits)?;
        let link = match self.find(mem.slots, Key::of(fragment)) {
            Some(link) => link,
            None => self.start(mem, limits, now, fragment)?,
        };
        let message = &mut mem.slots[link];
        if message.total != fragment.total {
            return Err(Refused::Contradiction);
        }
        if message.runs.iter().len() == RUN_MAX && !message.runs.touches(span) {
            return Err(Refused::TooScattered);
        }
        if span.start == 0 && message.runs.iter().next().is_none_or(|run| run.start > 0) {
            message.number = fragment.number;
        }
        message.fill(mem.pool, span, fragment.data);
        if !message.is_complete() {
            return Ok(None);
        }
        self.unlink(mem, limits, link);
        Ok(Some(link))
    }

    /// Gives up the messages whose time is over, and returns how many.
    pub fn expire(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits, now: Instant) -> u32 {
        let before = self.abandoned;
        while self.head.is_some() && now >= mem.slots[self.head].started + limits.age {
            self.abandon_oldest(mem, limits);
        }
        self.abandoned.wrapping_sub(before)
    }

    /// Gives everything back, as at the end of a session.
    pub fn clear(&mut self, mem: &mut Memory<'_, '_>) {
        let mut at = self.head;
        while let Some(link) = at.some() {
            at = mem.slots[link].next;
            release(mem, link);
        }
        *self = Self { abandoned: self.abandoned, ..Self::new() };
    }

    /// The incomplete message that `key` names. Most often it is the newest.
    fn find(&self, slots: &Slots<'_, Assembly>, key: Key) -> Option<Link> {
        let newest = self.tail.some()?;
        if slots[newest].key == key {
            return Some(newest);
        }
        let mut at = self.head;
        while at != newest {
            let link = at.some()?;
            if slots[link].key == key {
                return Some(link);
            }
            at = slots[link].next;
        }
        None
    }

    /// Whether so many messages in so many blocks find room if all that are here must go.
    fn room(&self, mem: &Memory<'_, '_>, messages: u32, blocks: u32) -> bool {
        let own_messages = usize::from(self.count);
        mem.slots.available(mem.slot_quota).saturating_add(own_messages) >= messages as usize
            && mem.pool.available(mem.block_quota).saturating_add(self.blocks as usize)
                >= blocks as usize
    }

    /// Begins the message of `fragment`, at the cost of the oldest ones.
    fn start(
        &mut self,
        mem: &mut Memory<'_, '_>,
        limits: &Limits,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<Link, Refused> {
        let total = fragment.total;
        let blocks = blocks(mem.pool, total);
        if !self.room(mem, 1, blocks) {
            return Err(Refused::Full);
        }
        while self.count >= limits.messages
            || self.bytes > limits.bytes.saturating_sub(total)
            || mem.slots.available(mem.slot_quota) == 0
            || mem.pool.available(mem.block_quota) < blocks as usize
        {
            if self.head.is_none() {
                return Err(Refused::Full);
            }
            self.abandon_oldest(mem, limits);
        }
        let Some(link) = mem.slots.take(mem.slot_quota) else { return Err(Refused::Full) };
        let Some(first) = mem.pool.take_chain(mem.block_quota, blocks as usize) else {
            mem.slots.give(mem.slot_quota, link);
            return Err(Refused::Full);
        };
        mem.slots[link] =
            Assembly { key: Key::of(fragment), total, first, started: now, ..Assembly::VACANT };
        match self.tail.some() {
            Some(tail) => mem.slots[tail].next = link,
            None => self.head = link,
        }
        self.tail = link;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(total);
        self.blocks = self.blocks.saturating_add(blocks);
        self.set_deadline(mem, limits);
        Ok(link)
    }

    fn abandon_oldest(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits) {
        let oldest = self.head;
        self.unlink(mem, limits, oldest);
        release(mem, oldest);
        self.abandoned = self.abandoned.wrapping_add(1);
    }

    /// Takes `link` out of the list, which holds it.
    fn unlink(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits, link: Link) {
        let mut before = Link::NONE;
        let mut at = self.head;
        while at != link && at.is_some() {
            before = at;
            at = mem.slots[at].next;
        }
        let Assembly { next, total, .. } = mem.slots[link];
        match before.some() {
            Some(before) => mem.slots[before].next = next,
            None => self.head = next,
        }
        if self.tail == link {
            self.tail = before;
        }
        mem.slots[link].next = Link::NONE;
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(total);
        self.blocks = self.blocks.saturating_sub(blocks(mem.pool, total));
        self.set_deadline(mem, limits);
    }

    fn set_deadline(&mut self, mem: &Memory<'_, '_>, limits: &Limits) {
        self.deadline = self.head.some().map(|oldest| mem.slots[oldest].started + limits.age);
    }
}

impl Assembly {
    fn is_complete(&self) -> bool {
        self.runs.iter().next().is_some_and(|run| run.start == 0 && run.end == self.total)
    }

    /// Copies those of the bytes of `span` that are missing, and notes that they are here.
    fn fill(&mut self, pool: &mut Pool<'_>, span: Span, data: &[u8]) {
        let old = self.runs;
        let mut runs = Runs::NONE;
        // What the bytes will be a part of. It is here up to `whole.end`.
        let mut whole = Run { start: span.start, end: span.start, block: self.first };
        // The last block that is known to lie before what is still missing, and a byte in it.
        let mut near = (self.first, 0);
        let mut later = old.iter().peekable();
        while let Some(run) = later.next_if(|run| run.end < span.start) {
            runs.push(*run);
            near = (run.block, run.end - 1);
        }
        while let Some(run) = later.next_if(|run| run.start <= span.end) {
            if whole.end < run.start {
                copy(pool, near, whole.end, span.part(data, whole.end, run.start));
            }
            whole = Run { start: whole.start.min(run.start), ..*run };
            near = (run.block, run.end - 1);
        }
        if whole.end < span.end {
            whole.block = copy(pool, near, whole.end, span.part(data, whole.end, span.end));
            whole.end = span.end;
        }
        runs.push(whole);
        later.for_each(|run| runs.push(*run));
        self.runs = runs;
    }
}

impl Runs {
    const NONE: Self =
        Self { runs: [Run { start: 0, end: 0, block: Link::NONE }; RUN_MAX], len: 0 };

    fn iter(&self) -> core::slice::Iter<'_, Run> {
        self.runs.get(..usize::from(self.len)).unwrap_or_default().iter()
    }

    fn push(&mut self, run: Run) {
        if let Some(place) = self.runs.get_mut(usize::from(self.len)) {
            *place = run;
            self.len += 1;
        }
    }

    /// Whether `span` overlaps a run or lies right beside one.
    fn touches(&self, span: Span) -> bool {
        self.iter().any(|run| run.start <= span.end && run.end >= span.start)
    }

    /// The end of the last run that ends at `offset` or before, or 0.
    fn reached(&self, offset: u32) -> u32 {
        self.iter().map(|run| run.end).take_while(|&end| end <= offset).last().unwrap_or(0)
    }
}

/// The bytes `start..end` of a message; `start < end <= total`.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(fragment: &Fragment<'_>, limits: &Limits) -> Result<Self, Refused> {
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
    fn part<'d>(&self, data: &'d [u8], from: u32, to: u32) -> &'d [u8] {
        let (from, to) = (from.saturating_sub(self.start), to.saturating_sub(self.start));
        data.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl Key {
    const fn of(fragment: &Fragment<'_>) -> Self {
        Self { id: fragment.id, channel: fragment.channel, ordered: fragment.ordered }
    }
}

fn blocks(pool: &Pool<'_>, len: u32) -> u32 {
    pool.blocks_for(len as usize) as u32
}

/// How many blocks one packet may have taken and walked over. All messages that a peer may have
/// could be begun twice, or be found at their very ends, before an honest packet gets there.
fn steps_max(pool: &Pool<'_>, limits: &Limits) -> u32 {
    blocks(pool, limits.bytes).saturating_add(u32::from(limits.messages)).saturating_mul(4)
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
