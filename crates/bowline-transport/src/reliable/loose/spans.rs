//! What has arrived of a loose stream, span by span.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Slots};

use super::super::Ranges;
use crate::record::Record;
use crate::run::Cursor;

/// A sorted list of spans of a stream that do not overlap.
///
/// A span is *partial*: bytes of messages that are not complete; or *settled*: first bytes that nobody
/// wants any more, since they were read or given up (*done*), then whole messages that wait to be
/// read (*told*). Either part may be empty. What lies in no span is for the owner of the list to know.
///
/// Of a record `start` and `end` are the span, `flags` says if it is partial. `number` is an
/// offset in it: where told begins, or else `start`; `more` and `reported` are the place of its byte, if known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    first: Link,
    count: u16,
}

/// A flag of records: the span is partial.
const PARTIAL: u16 = 1;

/// What becomes of bytes that are settled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settled {
    /// They are messages, the first of which lies there.
    Told(Cursor),
    /// Nobody will read them.
    Done,
}

pub(super) fn is_partial(span: &Record) -> bool {
    span.flags & PARTIAL != 0
}

/// Whether messages wait in it.
pub(super) fn has_told(span: &Record) -> bool {
    !is_partial(span) && span.number != span.end
}

pub(super) fn place(span: &Record) -> Cursor {
    Cursor::at(span.more, span.reported)
}

/// Told begins at `offset`, or a partial span does, whose byte lies at `at`.
pub(super) fn set_place(span: &mut Record, offset: u32, at: Cursor) {
    let (block, pos) = at.place();
    (span.number, span.more, span.reported) = (offset, block, pos as u32);
}

impl Spans {
    pub(super) const NONE: Self = Self { first: Link::NONE, count: 0 };

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) const fn first(&self) -> Link {
        self.first
    }

    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// The first span that ends behind `offset`, and the one before it.
    pub(super) fn seek(&self, records: &Slots<'_, Record>, offset: u32) -> (Link, Link) {
        let (mut before, mut at) = (Link::NONE, self.first);
        while let Some(link) = at.some() {
            if ahead32(records[link].end, offset) > 0 {
                break;
            }
            (before, at) = (link, records[link].next);
        }
        (before, at)
    }

    /// How many bytes of `start..end` are settled, by spans from `from` on, which moves to the first that
    /// ends behind `start`.
    pub(super) fn settled(
        records: &Slots<'_, Record>,
        from: &mut Link,
        start: u32,
        end: u32,
    ) -> u32 {
        while let Some(link) = from.some()
            && ahead32(records[link].end, start) <= 0
        {
            *from = records[link].next;
        }
        let (mut at, mut len) = (*from, 0);
        while let Some(link) = at.some() {
            let span = &records[link];
            if ahead32(span.start, end) >= 0 {
                break;
            }
            if !is_partial(span) {
                let cut = ahead32(start, span.start).max(0) + ahead32(span.end, end).max(0);
                len += span.end.wrapping_sub(span.start) - cut as u32;
            }
            at = span.next;
        }
        len
    }

    /// Whether spans cover all of `start..end`.
    pub(super) fn cover(&self, records: &Slots<'_, Record>, start: u32, end: u32) -> bool {
        let (mut at, mut upto) = (self.seek(records, start).1, start);
        while let Some(link) = at.some()
            && ahead32(end, upto) > 0
            && ahead32(records[link].start, upto) <= 0
        {
            (at, upto) = (records[link].next, records[link].end);
        }
        ahead32(end, upto) <= 0
    }

    /// The first stretch of `start..end` that is not settled.
    pub(super) fn unsettled(
        &self,
        records: &Slots<'_, Record>,
        mut start: u32,
        end: u32,
    ) -> Option<(u32, u32)> {
        let mut at = self.seek(records, start).1;
        while let Some(link) = at.some() {
            let span = &records[link];
            at = span.next;
            if is_partial(span) {
                continue;
            }
            if ahead32(span.start, start) > 0 {
                let stop = if ahead32(span.start, end) < 0 { span.start } else { end };
                return (ahead32(stop, start) > 0).then_some((start, stop));
            }
            start = span.end;
        }
        (ahead32(end, start) > 0).then_some((start, end))
    }

    /// Takes the span `link` out, which follows `before`.
    pub(super) fn remove(&mut self, ranges: &mut Ranges<'_, '_>, before: Link, link: Link) {
        let next = ranges.records[link].next;
        if before.is_none() {
            self.first = next;
        } else {
            ranges.records[before].next = next;
        }
        ranges.give(link);
        self.count = self.count.saturating_sub(1);
    }

    /// Puts a span behind `before`, if there is a record for it.
    fn insert(
        &mut self,
        ranges: &mut Ranges<'_, '_>,
        before: Link,
        start: u32,
        end: u32,
    ) -> Option<Link> {
        let link = ranges.records.take(ranges.quota)?;
        let next = if before.is_none() { self.first } else { ranges.records[before].next };
        let span = &mut ranges.records[link];
        (span.start, span.end, span.number, span.next) = (start, end, start, next);
        if before.is_none() {
            self.first = link;
        } else {
            ranges.records[before].next = link;
        }
        self.count = self.count.saturating_add(1);
        Some(link)
    }

    /// Adds `start..end`, of which nothing is settled, to what is partial. Its first byte lies at `at`.
    ///
    /// Takes a record at most.
    pub(super) fn add_partial(
        &mut self,
        ranges: &mut Ranges<'_, '_>,
        start: u32,
        end: u32,
        at: Cursor,
    ) -> bool {
        let (mut before, mut here) = (Link::NONE, self.first);
        while let Some(link) = here.some() {
            let span = &ranges.records[link];
            let behind = ahead32(span.end, start);
            if behind > 0 || behind == 0 && is_partial(span) {
                break;
            }
            (before, here) = (link, span.next);
        }
        let link = match here.some() {
            Some(link)
                if is_partial(&ranges.records[link])
                    && ahead32(ranges.records[link].start, end) <= 0 =>
            {
                link
            }
            _ => {
                let Some(link) = self.insert(ranges, before, start, end) else { return false };
                ranges.records[link].flags = PARTIAL;
                set_place(&mut ranges.records[link], start, at);
                return true;
            }
        };
        let span = &mut ranges.records[link];
        if ahead32(start, span.start) < 0 {
            span.start = start;
            set_place(span, start, at);
        }
        if ahead32(end, span.end) > 0 {
            span.end = end;
        }
        while let Some(next) = ranges.records[link].next.some() {
            let span = &ranges.records[next];
            if !is_partial(span) || ahead32(span.start, ranges.records[link].end) > 0 {
                break;
            }
            if ahead32(span.end, ranges.records[link].end) > 0 {
                ranges.records[link].end = span.end;
            }
            self.remove(ranges, link, next);
        }
        true
    }

    /// Settles what is not settled of `start..end`, be it partial or in no span. What is told is
    /// one stretch.
    ///
    /// Takes two records at most, and only one if `start` is not inside of a partial span.
    pub(super) fn settle(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        start: u32,
        end: u32,
        how: Settled,
    ) -> bool {
        if !self.cut(pool, ranges, start, end) {
            return false;
        }
        let (mut before, mut at) = self.seek(ranges.records, start);
        let mut start = start;
        loop {
            let mut stop = end;
            if let Some(link) = at.some() {
                let span = &ranges.records[link];
                if ahead32(span.start, start) <= 0 {
                    (before, at, start) = (link, span.next, span.end);
                    if ahead32(end, start) <= 0 {
                        return true;
                    }
                    continue;
                }
                if ahead32(span.start, end) < 0 {
                    stop = span.start;
                }
            }
            let Some(link) = self.join(ranges, before, at, (start, stop), how) else {
                return false;
            };
            let span = &ranges.records[link];
            (before, at, start) = (link, span.next, span.end);
            if ahead32(end, start) <= 0 {
                return true;
            }
        }
    }

    /// Takes `start..end` out of what is partial.
    pub(super) fn cut(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        start: u32,
        end: u32,
    ) -> bool {
        let (mut before, mut at) = self.seek(ranges.records, start);
        while let Some(link) = at.some() {
            let span = &mut ranges.records[link];
            if ahead32(span.start, end) >= 0 {
                break;
            }
            at = span.next;
            if !is_partial(span) {
                before = link;
                continue;
            }
            let (from, upto) = (span.start, span.end);
            let keep_head = ahead32(start, from) > 0;
            if ahead32(upto, end) <= 0 {
                if keep_head {
                    span.end = start;
                    before = link;
                } else {
                    self.remove(ranges, before, link);
                }
                continue;
            }
            let mut rest_at = place(span);
            rest_at.skip(pool, end.wrapping_sub(from) as usize);
            let mut rest = link;
            if keep_head {
                let Some(inserted) = self.insert(ranges, link, end, upto) else { return false };
                ranges.records[inserted].flags = PARTIAL;
                ranges.records[link].end = start;
                rest = inserted;
            }
            ranges.records[rest].start = end;
            set_place(&mut ranges.records[rest], end, rest_at);
            break;
        }
        true
    }

    /// Adds a stretch that lies in no span, between `before` and `at`, to what is settled. Returns
    /// the span it is in then.
    fn join(
        &mut self,
        ranges: &mut Ranges<'_, '_>,
        before: Link,
        at: Link,
        (start, end): (u32, u32),
        how: Settled,
    ) -> Option<Link> {
        let left = before.some().filter(|&link| {
            let span = &ranges.records[link];
            let joins = matches!(how, Settled::Told(_)) || span.number == span.end;
            !is_partial(span) && span.end == start && joins
        });
        let right = at.some().filter(|&link| {
            let span = &ranges.records[link];
            let joins = matches!(how, Settled::Done) || span.number == span.start;
            !is_partial(span) && span.start == end && joins
        });
        let link = match (left, right) {
            (Some(left), _) => left,
            (None, Some(right)) => right,
            (None, None) => self.insert(ranges, before, start, end)?,
        };
        let span = &mut ranges.records[link];
        match how {
            Settled::Told(place) if left.is_none() || span.number == span.end => {
                set_place(span, start, place);
            }
            Settled::Told(_) => {}
            Settled::Done if left.is_none() && right.is_some() => {}
            Settled::Done => set_place(span, end, Cursor::NONE),
        }
        if left.is_none() {
            span.start = start;
        }
        if left.is_some() || right.is_none() {
            span.end = end;
        }
        if let (Some(left), Some(right)) = (left, right) {
            let more = &ranges.records[right];
            let (offset, upto, place) = (more.number, more.end, place(more));
            let span = &mut ranges.records[left];
            span.end = upto;
            if matches!(how, Settled::Done) {
                set_place(span, offset, place);
            }
            self.remove(ranges, left, right);
        }
        Some(link)
    }

    /// The first span that messages wait in.
    pub(super) fn first_told(&self, records: &Slots<'_, Record>) -> Option<Link> {
        let mut at = self.first;
        while let Some(link) = at.some() {
            if has_told(&records[link]) {
                return Some(link);
            }
            at = records[link].next;
        }
        None
    }

    /// Gives all back.
    pub(super) fn clear(&mut self, ranges: &mut Ranges<'_, '_>) {
        ranges.records.give_list(ranges.quota, self.first);
        *self = Self::NONE;
    }
}
