//! How a loose stream takes in what arrives.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota, Slots};

use super::arrival::Whole;
use super::spans::{self, Settled, Spans};
use super::{Arrival, LooseStream, Taken, Unfit, key_at, later};
use crate::record::Record;
use crate::reliable::Ranges;
use crate::run::Cursor;

impl LooseStream {
    /// Takes in what was checked.
    ///
    /// [`Unfit::Bad`] can come of what else was in the packet: it is the peer that misbehaves, and what was
    /// not taken never will be.
    pub fn write(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<Taken, Unfit> {
        let (base, start, end) = (self.base, arrival.offset, arrival.end());
        if self.has_arrived(ranges.records, start, end) {
            return Ok(Taken::default());
        }
        if arrival.back.is_none() && self.any_settled(ranges.records, arrival) {
            self.check_messages(ranges.records, arrival, len_max)?;
        }
        if !self.bytes.reach(pool, blocks, end) {
            return Err(Unfit::Crowded);
        }
        self.fill(pool, ranges.records, start, arrival.data);
        let ready = match arrival.back {
            None => self.tell_messages(pool, ranges, arrival),
            Some(_) => self.add_part(pool, ranges, arrival, len_max),
        };
        self.absorb(ranges, None);
        self.advance(pool, blocks, ranges);
        Ok(Taken { ready: ready?, moved: self.base != base })
    }

    /// Takes `start..end` for arrived, as was checked: what of it is not told never will be.
    ///
    /// Returns whether the base moved.
    pub fn void(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        start: u32,
        end: u32,
    ) -> Result<bool, Unfit> {
        let base = self.base;
        if ahead32(end, self.partial) <= 0 {
            return Ok(false);
        }
        if ahead32(start, self.base) <= 0 && self.read() == self.partial {
            // The first of it is done at once, and needs no record.
            self.spans.cut(pool, ranges, self.base, end);
            let (_, stop) =
                self.spans.unsettled(ranges.records, self.base, end).unwrap_or((end, self.base));
            let stop = if ahead32(end, self.base) <= 0 { end } else { stop };
            self.settle_to(stop);
            self.advance_to(pool, blocks, ranges, stop);
            self.absorb(ranges, None);
            self.advance(pool, blocks, ranges);
        }
        let mut settled = true;
        if ahead32(end, self.partial) > 0 {
            let start = if ahead32(start, self.base) <= 0 { self.partial } else { start };
            settled = self.spans.settle(pool, ranges, start, end, Settled::Done);
        }
        self.absorb(ranges, None);
        self.advance(pool, blocks, ranges);
        debug_assert!(settled, "its record was checked");
        if settled { Ok(self.base != base) } else { Err(Unfit::Crowded) }
    }

    /// Tells the messages of a frame that were not settled before.
    fn tell_messages(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        arrival: &Arrival<'_>,
    ) -> Result<bool, Unfit> {
        if self.latest && ahead32(arrival.offset, self.base) > 0 {
            let mut from = self.spans.first();
            for Whole { start, end, content } in arrival.messages().flatten() {
                let is_new = self.settled(ranges.records, &mut from, start, end) == 0;
                if is_new && let Some(key) = self.key_of(content) {
                    self.keys.note(ranges, key, start);
                }
            }
        }
        let (mut upto, end) = (later(arrival.offset, self.partial), arrival.end());
        let mut ready = false;
        while let Some((start, stop)) = self.spans.unsettled(ranges.records, upto, end) {
            ready |= self.tell(pool, ranges, start, stop);
            upto = later(stop, self.partial);
        }
        Ok(ready)
    }

    /// Tells `start..end`, which are messages that have arrived and are not settled.
    fn tell(&mut self, pool: &Pool<'_>, ranges: &mut Ranges<'_, '_>, start: u32, end: u32) -> bool {
        if ahead32(start, self.base) > 0 {
            let at = self.place(pool, ranges.records, start);
            return self.spans.settle(pool, ranges, start, end, Settled::Told(at));
        }
        // What is partial before it belongs to no message, or it would reach beyond it.
        if ahead32(start, self.partial) > 0
            && !self.spans.settle(pool, ranges, self.partial, start, Settled::Done)
        {
            return false;
        }
        self.spans.cut(pool, ranges, self.base, end);
        self.settle_to(end);
        self.absorb(ranges, None);
        true
    }

    /// Takes in a part of a message, and tells the message if it is complete.
    fn add_part(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<bool, Unfit> {
        let (start, end) = (arrival.offset, arrival.end());
        if ahead32(start, self.base) <= 0 {
            self.extend(ranges, end);
        } else if Spans::settled(ranges.records, &mut self.spans.first(), start, end) > 0 {
            // Of a message that is given up in part. Nobody will read it.
            self.spans.settle(pool, ranges, start, end, Settled::Done);
        } else {
            let at = self.place(pool, ranges.records, start);
            self.spans.add_partial(ranges, start, end, at);
        }
        let message = arrival.message();
        let Some((known, at)) = self.partial_from(pool, ranges.records, message) else {
            return Ok(false);
        };
        let left = known.wrapping_sub(message) as usize;
        let prefix = at.peek_prefix(pool, left).map_err(|_| Unfit::Bad)?;
        match self.end_of(arrival, prefix, len_max)? {
            Some(end) if ahead32(end, known) <= 0 => {
                if self.latest && ahead32(message, self.base) > 0 {
                    let mut content = at;
                    content.skip(pool, prefix.map_or(0, |(_, prefix)| prefix));
                    self.keys.note(ranges, key_at(pool, content), message);
                }
                Ok(self.tell(pool, ranges, message, end))
            }
            _ => Ok(false),
        }
    }

    /// Moves the base to `end` over bytes that are partial, and over what is settled before that.
    fn extend(&mut self, ranges: &mut Ranges<'_, '_>, end: u32) {
        while ahead32(end, self.base) > 0 {
            let (_, at) = self.spans.seek(ranges.records, self.base);
            let stop = at.some().map_or(end, |link| ranges.records[link].start);
            if ahead32(stop, self.base) > 0 {
                self.base = if ahead32(stop, end) < 0 { stop } else { end };
            }
            self.absorb(ranges, Some(end));
        }
        self.absorb(ranges, Some(end));
    }

    /// Up to where bytes from `start` on are partial, and the place of the first.
    pub(super) fn partial_from(
        &self,
        pool: &Pool<'_>,
        records: &Slots<'_, Record>,
        start: u32,
    ) -> Option<(u32, Cursor)> {
        let end = if ahead32(start, self.base) < 0 {
            (ahead32(start, self.partial) >= 0).then_some(self.base)?
        } else {
            let span = &records[self.spans.seek(records, start).1.some()?];
            (spans::is_partial(span) && ahead32(span.start, start) <= 0).then_some(span.end)?
        };
        Some((end, self.place(pool, records, start)))
    }

    /// All before `end` is settled.
    fn settle_to(&mut self, end: u32) {
        self.partial = end;
        self.partial_at =
            if self.bytes.written().0 == end { self.bytes.written().1 } else { Cursor::NONE };
        self.base = later(self.base, end);
    }

    /// Takes the spans that the base has reached, the settled ones only if they begin before `upto`.
    fn absorb(&mut self, ranges: &mut Ranges<'_, '_>, upto: Option<u32>) {
        let (mut before, mut at) = self.spans.seek(ranges.records, self.partial);
        while let Some(link) = at.some() {
            let span = &mut ranges.records[link];
            if ahead32(span.start, self.base) > 0 {
                return;
            }
            at = span.next;
            if spans::is_partial(span) {
                self.base = later(self.base, span.end);
                self.spans.remove(ranges, before, link);
                continue;
            }
            if upto.is_some_and(|upto| ahead32(span.start, upto) >= 0) {
                return;
            }
            if ahead32(span.start, self.partial) > 0 {
                // No message can have them that does not reach beyond.
                span.start = self.partial;
            }
            let (end, done) = (span.end, span.number);
            if done == span.start {
                self.spans.remove(ranges, before, link);
            } else {
                span.end = done;
                before = link;
            }
            self.settle_to(end);
        }
    }

    /// Writes what of `data` has not arrived.
    fn fill(&mut self, pool: &mut Pool<'_>, records: &Slots<'_, Record>, start: u32, data: &[u8]) {
        let end = start.wrapping_add(data.len() as u32);
        let mut upto = later(start, self.base);
        let (mut offset, mut at) = (upto, self.place(pool, records, upto));
        if upto == self.base && self.partial == self.base {
            self.partial_at = at;
        }
        let mut link = self.spans.seek(records, upto).1;
        while ahead32(end, upto) > 0 {
            let span = link.some().map(|link| &records[link]);
            let stop = span.map_or(end, |span| span.start);
            let stop = if ahead32(stop, end) < 0 { stop } else { end };
            if ahead32(stop, upto) > 0 {
                at.skip(pool, upto.wrapping_sub(offset) as usize);
                let from = upto.wrapping_sub(start) as usize;
                let piece = data.get(from..stop.wrapping_sub(start) as usize).unwrap_or_default();
                at.write(pool, piece);
                offset = stop;
            }
            (upto, link) = span.map_or((end, Link::NONE), |span| (span.end, span.next));
        }
        self.bytes.on_written(offset, at);
    }

    /// The place of `offset`, which lies between the front and the last block.
    fn place(&self, pool: &Pool<'_>, records: &Slots<'_, Record>, offset: u32) -> Cursor {
        let mut best = (self.read(), self.bytes.front());
        let mut offer = |known: u32, at: Cursor| {
            let nearer = ahead32(known, best.0) > 0 && ahead32(offset, known) >= 0;
            if nearer && at.place().0.is_some() {
                best = (known, at);
            }
        };
        offer(self.partial, self.partial_at);
        offer(self.bytes.written().0, self.bytes.written().1);
        let mut at = self.spans.first();
        while let Some(link) = at.some() {
            let span = &records[link];
            if ahead32(span.start, offset) > 0 {
                break;
            }
            offer(span.number, spans::place(span));
            at = span.next;
        }
        let (known, mut at) = best;
        at.skip(pool, offset.wrapping_sub(known) as usize);
        at
    }
}
