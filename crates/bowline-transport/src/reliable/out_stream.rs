//! The sending side of a stream.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota};

use super::Ranges;
use crate::credit::SendCredit;
use crate::run::{Cursor, Run};

/// What a sender may put into the next packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Stream offset of the first byte.
    pub start: u32,
    /// How many bytes are there to send.
    pub len: u32,
    /// Whether they were sent before and lost.
    pub again: bool,
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
}

impl OutStream {
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
        }
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
        self.lost.is_some() || (self.sent != self.end && self.credit.left(self.sent) > 0)
    }

    /// What to send next: what was lost before what is new.
    pub fn peek(&mut self, ranges: &mut Ranges<'_, '_>) -> Option<Piece> {
        while let Some(lost) = self.lost.some() {
            if let Some(piece) = self.still_lost(ranges, lost) {
                return Some(piece);
            }
            self.lost = ranges.records[lost].next;
            ranges.give(lost);
        }
        let len = self.end.wrapping_sub(self.sent).min(self.credit.left(self.sent));
        (len > 0).then_some(Piece { start: self.sent, len, again: false })
    }

    /// Takes out the first lost range that is still wanted, to send it in a packet that has no other
    /// record than this one.
    pub fn take_lost(&mut self, ranges: &mut Ranges<'_, '_>) -> Option<Link> {
        let piece = self.peek(ranges)?;
        let lost = self.lost.some().filter(|_| piece.again)?;
        self.lost = ranges.records[lost].next;
        Some(lost)
    }

    /// The part of a lost range that nobody acknowledged after all.
    fn still_lost(&self, ranges: &mut Ranges<'_, '_>, lost: Link) -> Option<Piece> {
        let record = &ranges.records[lost];
        let (mut start, mut end) = (record.start, record.end);
        if ahead32(self.base, start) > 0 {
            start = self.base;
        }
        let mut at = self.acked;
        while let Some(acked) = at.some() {
            let acked = &ranges.records[acked];
            if ahead32(acked.start, start) <= 0 {
                if ahead32(acked.end, start) > 0 {
                    start = acked.end;
                }
            } else {
                if ahead32(acked.start, end) < 0 {
                    end = acked.start;
                }
                break;
            }
            at = acked.next;
        }
        let len = ahead32(end, start);
        ranges.records[lost].start = start;
        (len > 0).then_some(Piece { start, len: len as u32, again: true })
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

    /// Copies bytes that were sent before and are not yet given back, from `start` on.
    pub fn copy_range(&self, pool: &Pool<'_>, start: u32, out: &mut [u8]) {
        let mut cursor = self.run.front();
        cursor.skip(pool, ahead32(start, self.base).max(0) as usize);
        let read = cursor.read(pool, out);
        debug_assert_eq!(read, out.len());
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
        self.base = base;
        self.run.consume(pool, blocks, len, &mut self.cursor);
        len
    }

    /// The range of `link` was lost; the record is kept until it is sent again, or given back.
    pub fn on_lost(&mut self, ranges: &mut Ranges<'_, '_>, link: Link) {
        if ahead32(ranges.records[link].end, self.base) <= 0 {
            ranges.give(link);
        } else {
            ranges.insert(&mut self.lost, link);
        }
    }

    /// Gives everything back.
    pub fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        self.run.clear(pool, blocks);
        ranges.records.give_list(ranges.quota, self.lost);
        ranges.records.give_list(ranges.quota, self.acked);
        *self = Self::new(self.end, 0);
    }
}
