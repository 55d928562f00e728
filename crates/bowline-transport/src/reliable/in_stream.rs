//! The receiving side of a stream.

use bowline_core::serial::{ahead32, expand_offset8};
use bowline_core::{Link, Pool, Quota, Slots};

use super::Ranges;
use super::ranges::len_ahead;
use crate::credit::{Grant, GrantLimits, ReceiveCredit};
use crate::record::Record;
use crate::run::{BadPrefix, Cursor};

/// Why a range that arrived was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Beyond the credit that was given.
    OverCredit,
    /// No block or record for it now.
    Full {
        /// Blocks it takes.
        blocks: usize,
    },
    /// The stream is in too many pieces for it now.
    Crowded,
}

/// How many pieces a stream may be in, so that no walk over them is long; those of one packet more.
///
/// What would make it more is refused, and what brings the first bytes that are missing never does.
pub const PIECES_MAX: u16 = 256;

/// What stands at the head of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Head {
    /// A whole message: length of its prefix and of itself.
    Message {
        /// Bytes of prefix.
        prefix: usize,
        /// Bytes of message.
        len: usize,
    },
    /// A message that is not complete.
    Partial,
    /// Nothing that begins a message, or one longer than is taken.
    Bad,
}

/// The receiving side of a stream.
///
/// What arrives is written in place, in order or not, into blocks that the credit given for it
/// has promised.
#[derive(Clone, Copy, Debug)]
pub struct InStream {
    /// Place and offset of the next byte to be read.
    front: Cursor,
    read: u32,
    /// All before this offset has arrived; the place is where the next byte goes.
    base: u32,
    base_at: Cursor,
    tail: Link,
    /// Offset behind the last byte of the last block.
    tail_end: u32,
    /// Ranges beyond `base` that have arrived, in order.
    ahead: Link,
    /// Ranges that were given up and not passed over yet, in order.
    skips: Link,
    /// How many ranges of both kinds there are.
    pieces: u16,
    credit: ReceiveCredit,
    /// Largest number of a packet that brought bytes.
    newest: u64,
    /// At least the largest number of a packet that brought a byte before `base`.
    moved_by: u64,
    /// The last packet that brought bytes, and the base before it.
    packet: u64,
    packet_base: u32,
}

impl InStream {
    /// An empty stream whose first byte has the offset `initial`, with `window` bytes of credit.
    ///
    /// Whoever calls has promised the blocks for it: [`blocks_for`](crate::credit::blocks_for).
    pub const fn new(initial: u32, window: u32) -> Self {
        Self {
            front: Cursor::NONE,
            read: initial,
            base: initial,
            base_at: Cursor::NONE,
            tail: Link::NONE,
            tail_end: initial,
            ahead: Link::NONE,
            skips: Link::NONE,
            pieces: 0,
            credit: ReceiveCredit::new(initial, window),
            newest: 0,
            moved_by: 0,
            // No packet has this number.
            packet: u64::MAX,
            packet_base: initial,
        }
    }

    /// The offset whose low byte is `low`, as it stands in packet `number`; none if that cannot be
    /// told, and then the packet is to be dropped as stale.
    ///
    /// It can be told if all bytes before the base came in packets sent before this one: then the
    /// base is within what its sender had in flight. All frames of a packet are read with the base
    /// from before it, however many were written already.
    pub const fn expand(&self, number: u64, low: u8) -> Option<u32> {
        if number == self.packet {
            Some(expand_offset8(self.packet_base, low))
        } else if number < self.moved_by {
            None
        } else {
            Some(expand_offset8(self.base, low))
        }
    }

    /// All before this offset has arrived.
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// Where [`Self::base`] would be if nothing were missing before what has arrived: it moves with every byte.
    pub fn arrived(&self, records: &Slots<'_, Record>) -> u32 {
        self.base.wrapping_add(len_ahead(records, self.ahead, self.base))
    }

    /// The credit given for it.
    pub const fn credit(&self) -> &ReceiveCredit {
        &self.credit
    }

    /// How many ranges there are beyond the base, and to be passed over.
    pub const fn pieces(&self) -> u16 {
        self.pieces
    }

    /// Bytes in order and not read yet.
    pub const fn readable(&self) -> u32 {
        self.base.wrapping_sub(self.read)
    }

    /// Offset of the next byte to be read.
    pub const fn read_offset(&self) -> u32 {
        self.read
    }

    /// Whether enough has arrived that the head may be complete.
    pub const fn may_be_complete(&self) -> bool {
        self.credit.may_be_complete(self.base)
    }

    /// Blocks and records that `start..end` would take, or why it cannot be taken at all.
    pub fn check(&self, pool: &Pool<'_>, start: u32, end: u32) -> Result<(usize, usize), Refused> {
        // The start too: what begins half the space ahead would seem to end behind.
        if !self.credit.allows(end) || !self.credit.allows(start) {
            return Err(Refused::OverCredit);
        }
        if ahead32(end, self.base) <= 0 {
            return Ok((0, 0));
        }
        let blocks = pool.blocks_for(ahead32(end, self.tail_end).max(0) as usize);
        let is_ahead = ahead32(start, self.base) > 0;
        if is_ahead && self.pieces >= PIECES_MAX {
            return Err(Refused::Crowded);
        }
        Ok((blocks, usize::from(is_ahead)))
    }

    /// Takes in bytes whose room was checked. Returns whether the base moved.
    pub fn write(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        number: u64,
        start: u32,
        data: &[u8],
    ) -> Result<bool, Refused> {
        self.note_packet(number);
        let end = start.wrapping_add(data.len() as u32);
        let old = ahead32(self.base, start).max(0) as usize;
        let Some(data) = data.get(old..).filter(|data| !data.is_empty()) else { return Ok(false) };
        let distance = ahead32(end, self.base) as usize - data.len();
        self.reach(pool, blocks, end)?;
        let mut at = self.base_at;
        at.skip(pool, distance);
        if distance > 0 && !cfg!(bowline_mutant = "skip_gap") {
            let link = ranges.records.take(ranges.quota).ok_or(Refused::Full { blocks: 0 })?;
            let record = &mut ranges.records[link];
            (record.start, record.end) = (end.wrapping_sub(data.len() as u32), end);
            self.pieces += 1;
            self.pieces -= ranges.insert(&mut self.ahead, link);
            at.write(pool, data);
            return Ok(false);
        }
        at.write(pool, data);
        (self.base, self.base_at) = (end, at);
        self.on_moved(pool, ranges, number);
        Ok(true)
    }

    /// Blocks and records that it would take to count `start..end` as arrived, which was given up, or why
    /// it cannot be.
    pub fn check_void(
        &self,
        pool: &Pool<'_>,
        start: u32,
        end: u32,
    ) -> Result<(usize, usize), Refused> {
        let (blocks, ahead) = self.check(pool, start, end)?;
        let passed = ahead32(end, self.base) <= 0 || ahead32(start, self.read) <= 0;
        if !passed && self.pieces >= PIECES_MAX {
            return Err(Refused::Crowded);
        }
        Ok((blocks, ahead + usize::from(!passed)))
    }

    /// Counts `start..end`, whose room was checked, as arrived: it was given up, and is passed over unless
    /// all of it had arrived before. What was read and not consumed yet must be consumed before.
    ///
    /// Returns whether the base moved.
    pub fn void(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        number: u64,
        start: u32,
        end: u32,
    ) -> Result<bool, Refused> {
        self.note_packet(number);
        if ahead32(end, self.base) <= 0 {
            return Ok(false);
        }
        self.reach(pool, blocks, end)?;
        // Messages that were read were not given up, as far as this side goes.
        let start = if ahead32(self.read, start) > 0 { self.read } else { start };
        if start != self.read && !cfg!(bowline_mutant = "void_delivers") {
            let link = ranges.records.take(ranges.quota).ok_or(Refused::Full { blocks: 0 })?;
            (ranges.records[link].start, ranges.records[link].end) = (start, end);
            self.pieces += 1;
            self.pieces -= ranges.insert(&mut self.skips, link);
        }
        if ahead32(start, self.base) > 0 {
            let link = ranges.records.take(ranges.quota).ok_or(Refused::Full { blocks: 0 })?;
            (ranges.records[link].start, ranges.records[link].end) = (start, end);
            self.pieces += 1;
            self.pieces -= ranges.insert(&mut self.ahead, link);
            return Ok(false);
        }
        self.base_at.skip(pool, ahead32(end, self.base) as usize);
        self.base = end;
        self.on_moved(pool, ranges, number);
        if start == self.read {
            self.consume(pool, blocks, ahead32(end, start) as usize);
            self.credit.on_incomplete(self.read.wrapping_add(1));
        }
        self.pass(pool, blocks, ranges);
        Ok(true)
    }

    /// Passes over what was given up, if that is what comes next, and returns whether it was. To be called
    /// before a message is looked for behind others that were consumed.
    #[inline]
    pub fn pass(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
    ) -> bool {
        let before = self.read;
        while let Some(link) = self.skips.some() {
            let Record { start, end, next, .. } = ranges.records[link];
            if ahead32(start, self.read) > 0 || ahead32(end, self.base) > 0 {
                break;
            }
            self.skips = next;
            ranges.give(link);
            self.pieces -= 1;
            let rest = ahead32(end, self.read);
            if rest > 0 {
                self.consume(pool, blocks, rest as usize);
                self.credit.on_incomplete(self.read.wrapping_add(1));
            }
        }
        self.read != before
    }

    /// The offset before which messages can be read, if all before `upto` has arrived, and whether
    /// something that was given up follows.
    #[inline]
    pub fn readable_before(&self, records: &Slots<'_, Record>, upto: u32) -> (u32, bool) {
        match self.skips.some() {
            Some(link) if ahead32(records[link].start, upto) < 0 => (records[link].start, true),
            _ => (upto, false),
        }
    }

    /// A packet brings something of the stream.
    fn note_packet(&mut self, number: u64) {
        self.newest = self.newest.max(number);
        if number != self.packet {
            (self.packet, self.packet_base) = (number, self.base);
        }
    }

    /// Packet `number` moved the base: what had arrived behind it counts too.
    fn on_moved(&mut self, pool: &Pool<'_>, ranges: &mut Ranges<'_, '_>, number: u64) {
        self.moved_by = if self.ahead.is_none() { self.moved_by.max(number) } else { self.newest };
        while let Some(link) = self.ahead.some() {
            let record = &ranges.records[link];
            if ahead32(record.start, self.base) > 0 {
                break;
            }
            let more = ahead32(record.end, self.base).max(0);
            self.ahead = record.next;
            self.base = self.base.wrapping_add(more as u32);
            self.base_at.skip(pool, more as usize);
            ranges.give(link);
            self.pieces -= 1;
        }
    }

    /// Sees to it that blocks reach up to `end`, all or nothing.
    fn reach(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, end: u32) -> Result<(), Refused> {
        let missing = ahead32(end, self.tail_end).max(0) as usize;
        if missing == 0 {
            return Ok(());
        }
        let count = pool.blocks_for(missing);
        let chain = pool.take_chain(blocks, count).ok_or(Refused::Full { blocks: count })?;
        if self.tail.is_none() {
            self.front = Cursor::at(chain, 0);
            self.base_at = self.front;
        } else {
            pool.set_next(self.tail, chain);
        }
        let mut last = chain;
        while let Some(next) = pool.next(last).some() {
            last = next;
        }
        self.tail = last;
        self.tail_end = self.tail_end.wrapping_add((count * pool.block_len()) as u32);
        Ok(())
    }

    /// What stands at the head, where all before the offset `upto` may be read.
    ///
    /// Remembers the end of an incomplete message, for [`Self::grant`].
    #[inline]
    pub fn head(
        &mut self,
        pool: &Pool<'_>,
        records: &Slots<'_, Record>,
        upto: u32,
        len_max: u32,
    ) -> Head {
        let (upto, cut) = self.readable_before(records, upto);
        let left = ahead32(upto, self.read).max(0) as usize;
        match self.front.peek_prefix(pool, left) {
            Err(BadPrefix) => Head::Bad,
            // It lies partly in what was given up.
            Ok(None) if cut => Head::Bad,
            Ok(Some((len, prefix))) if cut && prefix + len > left => Head::Bad,
            Ok(None) => {
                self.credit.on_incomplete(self.read.wrapping_add(left as u32 + 1));
                Head::Partial
            }
            Ok(Some((len, _))) if len > len_max as usize => Head::Bad,
            Ok(Some((len, prefix))) if prefix + len <= left => Head::Message { prefix, len },
            Ok(Some((len, prefix))) => {
                self.credit.on_incomplete(self.read.wrapping_add((prefix + len) as u32));
                Head::Partial
            }
        }
    }

    /// Where the bytes at `skip` from the head on lie.
    pub fn place(&self, pool: &Pool<'_>, skip: usize) -> Cursor {
        let mut at = self.front;
        at.skip(pool, skip);
        at
    }

    /// Counts `len` bytes as read and gives their blocks back.
    pub fn consume(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, len: usize) {
        self.read = self.read.wrapping_add(len as u32);
        self.credit.on_read(self.read);
        let block_len = pool.block_len();
        let (mut block, mut pos) = self.front.place();
        pos += len;
        while pos >= block_len
            && let Some(done) = block.some()
        {
            block = pool.next(done);
            pool.give(blocks, done);
            if self.base_at.place().0 == done {
                self.base_at = Cursor::at(block, 0);
            }
            pos -= block_len;
        }
        self.front = Cursor::at(block, pos as u32);
        if self.read == self.base && self.ahead.is_none() {
            pool.give_chain(blocks, block);
            block = Link::NONE;
        }
        if block.is_none() {
            (self.front, self.base_at) = (Cursor::NONE, Cursor::NONE);
            (self.tail, self.tail_end) = (Link::NONE, self.base);
        }
    }

    /// Raises the credit as far as memory allows: [`ReceiveCredit::grant`].
    pub fn grant(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        limits: &GrantLimits,
    ) -> Grant {
        self.credit.grant(pool, blocks, limits, self.read, self.base)
    }

    /// Gives everything back but the promise.
    pub fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        pool.give_chain(blocks, self.front.place().0);
        ranges.records.give_list(ranges.quota, self.ahead);
        ranges.records.give_list(ranges.quota, self.skips);
        *self = Self { credit: self.credit, ..Self::new(self.base, 0) };
    }
}
