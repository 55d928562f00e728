//! The sending side of a stream.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota, Slots};

use super::extent::Extent;
use super::{Ranges, earlier, later};
use crate::credit::SendCredit;
use crate::record::Record;
use crate::run::{Cursor, Run};
use crate::tickets::{Ends, Tickets};

/// What a sender may put into the next packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Stream offset of the first byte.
    pub start: u32,
    /// How many bytes are there to send.
    pub len: u32,
    /// Whether they were sent before and lost.
    pub again: bool,
    /// Whether they were given up: that is to be told instead of sending them.
    pub void: bool,
}

/// How a piece of a loose stream goes into a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// So many bytes of whole messages.
    Whole(usize),
    /// A part of a message.
    Part {
        /// How far before it the message begins, in bytes.
        back: u32,
        /// Its length, in bytes.
        len: usize,
    },
    /// Nothing fits what is left of this packet, and would fit another.
    Later,
}

/// The sending side of a stream.
#[derive(Clone, Copy, Debug)]
pub struct OutStream {
    run: Run,
    /// Place of the byte at `sent`.
    cursor: Cursor,
    /// All before this offset is acknowledged and given back.
    base: u32,
    sent: u32,
    end: u32,
    credit: SendCredit,
    /// Ranges that were lost and not sent again yet, in order.
    lost: Link,
    /// Ranges beyond `base` that are acknowledged, in order.
    acked: Link,
    tickets: Tickets,
    /// In a loose stream, the messages in which `base` and `sent` lie, or that end there, and the one
    /// that was looked for last.
    loose: Option<[Extent; 3]>,
}

impl OutStream {
    /// An empty loose stream: it is cut between messages, where they are not too long.
    pub const fn loose(initial: u32, credit: u32) -> Self {
        Self { loose: Some([Extent::at(initial); 3]), ..Self::new(initial, credit) }
    }

    /// An empty stream whose first byte has the offset `initial`, and that may send `credit` bytes.
    pub const fn new(initial: u32, credit: u32) -> Self {
        Self {
            run: Run::EMPTY,
            cursor: Cursor::NONE,
            base: initial,
            sent: initial,
            end: initial,
            credit: SendCredit::new(initial, credit),
            lost: Link::NONE,
            acked: Link::NONE,
            tickets: Tickets::NONE,
            loose: None,
        }
    }

    /// The tickets of its messages.
    #[inline]
    pub const fn tickets(&mut self) -> &mut Tickets {
        &mut self.tickets
    }

    /// Offset of the first byte that was not sent.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// Offset behind the last byte.
    pub const fn end(&self) -> u32 {
        self.end
    }

    /// Bytes queued or sent and not yet acknowledged in order.
    pub const fn queued(&self) -> u32 {
        self.end.wrapping_sub(self.base)
    }

    /// How many more blocks `len` more bytes would take.
    pub fn blocks_needed(&self, pool: &Pool<'_>, len: usize) -> usize {
        self.run.blocks_needed(pool, len)
    }

    /// Appends bytes to the stream; there is room for them ([`Self::blocks_needed`]).
    #[inline]
    pub fn append(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) {
        let all = self.run.append(pool, quota, bytes);
        debug_assert!(all, "room was checked");
        self.end = self.end.wrapping_add(bytes.len() as u32);
    }

    /// Appends a short message, if it fits into the last block.
    #[inline(always)]
    pub fn append_short(&mut self, pool: &mut Pool<'_>, message: &[u8]) -> bool {
        let fits = self.run.append_short(pool, message);
        if fits {
            self.end = self.end.wrapping_add(1 + message.len() as u32);
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

    /// Raises the limit; a lower one than before changes nothing. Returns whether it rose.
    pub const fn on_credit(&mut self, limit: u32) -> bool {
        self.credit.on_limit(limit)
    }

    /// Whether there is something to send now.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.lost.is_some()
            || (self.sent != self.end && self.credit.left(self.sent) > 0)
            || self.tickets.any_due()
    }

    /// What to send next: what was given up, what was lost, what is new.
    pub fn peek(&mut self, ranges: &mut Ranges<'_, '_>) -> Option<Piece> {
        if let Some((start, end)) = self.tickets.first_due(ranges.records) {
            return Some(self.void(start, end));
        }
        if let Some(piece) = self.peek_lost(ranges) {
            return Some(piece);
        }
        let len = self.end.wrapping_sub(self.sent).min(self.credit.left(self.sent));
        if len == 0 {
            return None;
        }
        // From where the message begins: what of it was sent may have arrived before it was given up, and
        // then nobody has passed over it yet.
        if let Some((start, end)) = self.tickets.void_at(ranges.records, self.sent, self.sent) {
            return Some(self.void(start, end));
        }
        let len = self.alive(ranges, self.sent, self.sent.wrapping_add(len));
        Some(Piece { start: self.sent, len, again: false, void: false })
    }

    /// What tells that `start..end` was given up, as far as credit goes.
    const fn void(&self, start: u32, end: u32) -> Piece {
        let left = self.credit.left(self.sent);
        let beyond = ahead32(end, self.sent);
        let end =
            if beyond > 0 && beyond as u32 > left { self.sent.wrapping_add(left) } else { end };
        Piece { start, len: end.wrapping_sub(start), again: false, void: true }
    }

    /// How many bytes from `start` on, and before `end`, were not given up; the first one was not.
    fn alive(&self, ranges: &Ranges<'_, '_>, start: u32, end: u32) -> u32 {
        self.tickets.alive(ranges.records, start, end.wrapping_sub(start), self.sent)
    }

    /// Takes out the first lost range that is still wanted, to send it in a packet that has no other
    /// record than this one.
    pub fn take_lost(&mut self, ranges: &mut Ranges<'_, '_>) -> Option<Link> {
        self.peek_lost(ranges)?;
        let lost = self.lost.some()?;
        self.lost = ranges.records[lost].next;
        Some(lost)
    }

    /// What was lost first and is still wanted, at the beginning of the first lost range. Ranges of which
    /// nothing is wanted are given back.
    fn peek_lost(&mut self, ranges: &mut Ranges<'_, '_>) -> Option<Piece> {
        while let Some(lost) = self.lost.some() {
            let Record { start, end, next, .. } = ranges.records[lost];
            let (start, len) = self.still_lost(ranges, start, end);
            if len > 0 {
                ranges.records[lost].start = start;
                return Some(Piece { start, len, again: true, void: false });
            }
            self.lost = next;
            ranges.give(lost);
        }
        None
    }

    /// The first part of `start..end` that nobody acknowledged after all, and that was not given up: where it
    /// begins, and its length.
    fn still_lost(&self, ranges: &Ranges<'_, '_>, start: u32, end: u32) -> (u32, u32) {
        let (records, mut at) = (&ranges.records, self.acked);
        let mut start = later(start, self.base);
        loop {
            let mut upto = end;
            while let Some(acked) = at.some() {
                let acked = &records[acked];
                if ahead32(acked.start, start) > 0 {
                    upto = earlier(acked.start, end);
                    break;
                }
                start = later(start, acked.end);
                at = acked.next;
            }
            if ahead32(upto, start) <= 0 {
                return (end, 0);
            }
            let Some((_, void)) = self.tickets.void_at(records, start, self.sent) else {
                return (start, self.alive(ranges, start, upto));
            };
            start = void;
        }
    }

    /// What is to be sent again of `start..end`, which may have been lost: a part of it that is not
    /// acknowledged in order, or that it was given up.
    pub fn again(&self, ranges: &Ranges<'_, '_>, start: u32, end: u32) -> Option<Piece> {
        let start = later(start, self.base);
        if ahead32(end, start) <= 0 {
            return None;
        }
        if let Some((start, end)) = self.tickets.void_at(ranges.records, start, self.sent) {
            return Some(self.void(start, end));
        }
        let len = self.alive(ranges, start, end);
        Some(Piece { start, len, again: true, void: false })
    }

    /// Whether a range up to `end` may be sent with a short offset: all that was ever sent, this
    /// range included, is less than 128 bytes ahead of what is acknowledged.
    pub const fn allows_short_offset(&self, end: u32) -> bool {
        let after = if ahead32(end, self.sent) > 0 { end } else { self.sent };
        after.wrapping_sub(self.base) < 128
    }

    /// Copies the first bytes of `piece`, as [`Self::peek`] told it, and counts them as sent.
    ///
    /// `out` is not longer than the piece. Whoever calls keeps a record of the range.
    pub fn take(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        piece: Piece,
        out: &mut [u8],
    ) {
        let len = out.len() as u32;
        if !piece.again {
            self.cursor = self.cursor.or_front(&self.run);
            let read = self.cursor.read(pool, out);
            debug_assert_eq!(read, out.len());
            self.sent = self.sent.wrapping_add(len);
            self.tickets.on_sent(ranges.records, self.sent);
            return;
        }
        self.copy_range(pool, piece.start, out);
        let Some(lost) = self.lost.some() else { return };
        let record = &mut ranges.records[lost];
        record.start = piece.start.wrapping_add(len);
        if ahead32(record.end, record.start) <= 0 {
            self.lost = record.next;
            ranges.give(lost);
        }
    }

    /// Counts it as told that `piece` was given up, as [`Self::peek`] or [`Self::again`] told it.
    ///
    /// Whoever calls keeps a record of the range, with [`Record::VOID`](crate::record::Record::VOID).
    pub fn take_void(&mut self, pool: &Pool<'_>, records: &mut Slots<'_, Record>, piece: Piece) {
        let end = piece.start.wrapping_add(piece.len);
        self.tickets.on_void_sent(records, piece.start, end);
        let beyond = ahead32(end, self.sent);
        if beyond > 0 {
            self.cursor = self.cursor.or_front(&self.run);
            self.cursor.skip(pool, beyond as usize);
            self.sent = end;
            self.tickets.on_sent(records, end);
        }
    }

    /// Copies bytes that were sent before and are not yet given back, from `start` on.
    pub fn copy_range(&self, pool: &Pool<'_>, start: u32, out: &mut [u8]) {
        let read = self.place(pool, start).read(pool, out);
        debug_assert_eq!(read, out.len());
    }

    /// The place of the byte at `offset`, which is not given back yet.
    fn place(&self, pool: &Pool<'_>, offset: u32) -> Cursor {
        let beyond = ahead32(offset, self.sent);
        let (mut at, len) = if beyond >= 0 {
            (self.cursor.or_front(&self.run), beyond)
        } else {
            (self.run.front(), ahead32(offset, self.base))
        };
        at.skip(pool, len.max(0) as usize);
        at
    }

    /// Whether the first byte that is not acknowledged lies in `start..end`.
    pub const fn is_first(&self, start: u32, end: u32) -> bool {
        ahead32(start, self.base) <= 0 && ahead32(end, self.base) > 0
    }

    /// The part of `start..end` that is not acknowledged in order, if any.
    pub const fn unacked(&self, start: u32, end: u32) -> Option<(u32, u32)> {
        let start = if ahead32(self.base, start) > 0 { self.base } else { start };
        if ahead32(end, start) > 0 { Some((start, end)) } else { None }
    }

    /// The range of `link` is acknowledged; the record is kept or given back.
    ///
    /// Returns how many bytes were given back.
    pub fn on_acked(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        link: Link,
    ) -> usize {
        let record = &ranges.records[link];
        let (start, end) = (record.start, record.end);
        if ahead32(start, self.base) > 0 {
            ranges.insert(&mut self.acked, link);
            return 0;
        }
        ranges.give(link);
        if ahead32(end, self.base) <= 0 {
            return 0;
        }
        let mut base = end;
        while let Some(acked) = self.acked.some() {
            let record = &ranges.records[acked];
            if ahead32(record.start, base) > 0 {
                break;
            }
            if ahead32(record.end, base) > 0 {
                base = record.end;
            }
            self.acked = record.next;
            ranges.give(acked);
        }
        let len = base.wrapping_sub(self.base) as usize;
        self.pass_messages(pool, base);
        self.base = base;
        self.run.consume(pool, blocks, len, &mut self.cursor);
        len
    }

    /// The range of `link` was lost; the record is kept until it is sent again, or given back.
    pub fn on_lost(&mut self, ranges: &mut Ranges<'_, '_>, link: Link) {
        let Record { start, end, flags, .. } = ranges.records[link];
        if flags & Record::VOID != 0 && !cfg!(bowline_mutant = "void_not_resent") {
            self.tickets.on_void_lost(ranges.records, start, end);
        }
        // Behind what was given up there may be more that rode on the fate of the packet.
        if flags & (Record::VOID | Record::CUT) == Record::VOID || ahead32(end, self.base) <= 0 {
            ranges.give(link);
        } else {
            ranges.insert(&mut self.lost, link);
        }
    }

    /// Ends the messages that are acknowledged, after [`Self::on_acked`] with the range of a record that
    /// was `acked`.
    pub fn settle(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        acked: (u32, u32),
    ) {
        self.tickets.settle_before(records, ends, self.base);
        if self.loose.is_none() || ahead32(acked.1, self.base) <= 0 {
            return;
        }
        // Acknowledged ahead of others: in order it does not matter.
        let mut at = self.acked;
        while let Some(link) = at.some() {
            let Record { start, end, next, .. } = records[link];
            if ahead32(start, acked.0) <= 0 && ahead32(end, acked.0) > 0 {
                return self.tickets.settle_within(records, ends, start, end);
            }
            at = next;
        }
    }

    /// Puts another message in the place of one that was not sent and took the `whole` bytes from `start`
    /// on: as many bytes at the end as `pieces` have.
    pub fn overwrite(&self, pool: &mut Pool<'_>, start: u32, whole: usize, pieces: &[&[u8]]) {
        let mut at = self.place(pool, start);
        let len = pieces.iter().map(|piece| piece.len()).sum();
        at.skip(pool, whole.saturating_sub(len));
        pieces.iter().for_each(|piece| at.write(pool, piece));
    }

    /// How a piece of a loose stream is cut, for `room` bytes of data in this packet and `room_max` in an
    /// empty one; parts may take `part` bytes in this packet.
    pub fn cut(
        &mut self,
        pool: &Pool<'_>,
        piece: Piece,
        room: usize,
        part: usize,
        room_max: usize,
    ) -> Cut {
        let message = self.message_at(pool, piece);
        let len = piece.len as usize;
        if message.start == piece.start {
            let fit = self.place(pool, piece.start).fit(pool, len, room);
            if fit > 0 {
                return Cut::Whole(fit);
            }
            let whole = message.len();
            if whole <= len && whole <= room_max {
                return Cut::Later;
            }
        }
        let rest = message.end.wrapping_sub(piece.start) as usize;
        let part = part.min(len).min(rest);
        if part == 0 {
            return Cut::Later;
        }
        if !piece.again
            && let Some([_, tip, _]) = &mut self.loose
        {
            *tip = message;
        }
        Cut::Part { back: piece.start.wrapping_sub(message.start), len: part }
    }

    /// The message in which a piece begins.
    fn message_at(&mut self, pool: &Pool<'_>, piece: Piece) -> Extent {
        let Some([head, tip, last]) = self.loose else { return Extent::at(piece.start) };
        if !piece.again && tip.holds(piece.start) {
            return tip;
        }
        let mut message = if piece.again {
            let known = if ahead32(last.start, self.base) >= 0 { last } else { head };
            if ahead32(known.start, piece.start) <= 0 { known } else { head }
        } else {
            // What is new begins where a message does, unless the one before was cut.
            Extent::at(piece.start)
        };
        if ahead32(self.base, message.end) > 0 {
            message = Extent::at(self.base);
        }
        let mut at = self.place(pool, message.end);
        while ahead32(message.end, piece.start) <= 0
            && let Some(next) = message.next(pool, &mut at, self.end)
        {
            message = next;
        }
        if piece.again {
            self.loose = Some([head, tip, message]);
        }
        message
    }

    /// Finds out in which message `base`, which is to be acknowledged, lies.
    fn pass_messages(&mut self, pool: &Pool<'_>, base: u32) {
        let Some([mut head, tip, last]) = self.loose else { return };
        let mut at = self.place(pool, head.end);
        while ahead32(head.end, base) < 0
            && let Some(next) = head.next(pool, &mut at, self.end)
        {
            head = next;
        }
        self.loose = Some([head, tip, last]);
    }

    /// Gives everything back; the tickets must be gone.
    pub fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        self.run.clear(pool, blocks);
        ranges.records.give_list(ranges.quota, self.lost);
        ranges.records.give_list(ranges.quota, self.acked);
        debug_assert!(self.tickets.is_empty());
        *self = Self::new(self.end, 0);
    }
}
