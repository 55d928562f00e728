//! The receiving side of a loose stream: messages are read as soon as they are complete.

mod keys;
mod spans;

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota, Slots};

use self::keys::Keys;
use self::spans::{Settled, Spans};
use super::Ranges;
use crate::credit::{Grant, GrantLimits, ReceiveCredit};
use crate::record::Record;
use crate::run::{self, Cursor};

/// How many spans of a stream may lie ahead of what is missing, so that no walk over them is long.
///
/// A packet that would make it more is dropped, unless it brings the first bytes that are missing.
pub const SPANS_MAX: usize = 256;

/// Bytes of key that a message of mode reliable-latest begins with.
pub const KEY_LEN: usize = 4;

/// What a frame of a loose stream brings.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Stream offset of the first byte.
    pub offset: u32,
    /// How many bytes before that the message begins which `data` is a part of; none if `data` are
    /// whole prefixed messages.
    pub back: Option<u32>,
    /// The bytes.
    pub data: &'a [u8],
}

/// Why what arrived is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Beyond the credit that was given.
    OverCredit,
    /// It contradicts itself or what has arrived, or is a message that nobody may send.
    Bad,
    /// The stream is in too many pieces for it now.
    Crowded,
}

/// What it takes to take in what arrived.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Blocks.
    pub blocks: usize,
    /// Records, at most.
    pub records: usize,
    /// Blocks and records to walk over.
    pub steps: usize,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// There are more messages to be read.
    pub ready: bool,
    /// The base has moved.
    pub moved: bool,
}

/// What can be read.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A message.
    Message {
        /// Bytes of prefix; in mode reliable-latest without the key, which is in the message.
        prefix: usize,
        /// Bytes of message.
        len: usize,
        /// Where the message lies, without its prefix.
        at: Cursor,
        /// Bytes from its prefix on that are messages which can be read one after the other, before
        /// [`LooseStream::consume`] is called for all of them.
        run: usize,
    },
    /// Nothing now.
    Nothing,
    /// Something that is no message, or one longer than is taken.
    Bad,
}

/// The receiving side of a stream of mode reliable-unordered or reliable-latest.
///
/// What arrives is written in place, in order or not, into blocks that the credit given for it
/// has promised. They come back when all before their end was read.
///
/// [`Self::check`] before [`Self::write`], and [`Self::check_void`] before [`Self::void`]. Then ask for
/// [`Self::next`] until there is nothing, with a [`Self::consume`] after each message, and
/// [`Self::grant`] from time to time.
///
/// Every byte before `partial` was told or is done, whatever frame it came with, and so is every one of
/// a settled span. Only bytes that arrived and are not settled become a message, so none does twice,
/// and no byte that did not arrive.
#[derive(Clone, Copy, Debug)]
pub struct LooseStream {
    /// Place and offset of the first byte that is not done.
    front: Cursor,
    read: u32,
    /// All before it is settled: it is told, or done where a span says so. Its place, if known.
    partial: u32,
    partial_at: Cursor,
    /// All before it has arrived. From `partial` on these are bytes of a message that is not complete.
    base: u32,
    tail: Link,
    /// Offset behind the last byte of the last block.
    tail_end: u32,
    /// What is done before `partial`, and all that has arrived beyond `base`.
    spans: Spans,
    /// An offset behind bytes that arrived, and its place.
    written: (u32, Cursor),
    /// The message that is being read: offset and length, 0 if there is none.
    held: (u32, u32),
    /// The keys of messages told ahead of something missing, in mode reliable-latest.
    keys: Keys,
    latest: bool,
    credit: ReceiveCredit,
}

impl LooseStream {
    /// An empty stream whose first byte has the offset `initial`, with `window` bytes of credit; of
    /// mode reliable-latest if `latest`.
    ///
    /// Whoever calls has promised the blocks for it: [`blocks_for`](crate::credit::blocks_for).
    pub const fn new(initial: u32, window: u32, latest: bool) -> Self {
        Self {
            front: Cursor::NONE,
            read: initial,
            partial: initial,
            partial_at: Cursor::NONE,
            base: initial,
            tail: Link::NONE,
            tail_end: initial,
            spans: Spans::NONE,
            written: (initial, Cursor::NONE),
            held: (initial, 0),
            keys: Keys::NONE,
            latest,
            credit: ReceiveCredit::new(initial, window),
        }
    }

    /// All before this offset has arrived.
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// The credit given for it.
    pub const fn credit(&self) -> &ReceiveCredit {
        &self.credit
    }

    /// Whether the first message that was not complete when credit was granted may be so by now.
    pub const fn may_be_complete(&self) -> bool {
        self.credit.may_be_complete(self.base)
    }

    /// What `arrival` would take, or why it cannot be taken at all.
    pub fn check(
        &self,
        pool: &Pool<'_>,
        records: &Slots<'_, Record>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<Needs, Unfit> {
        let (start, end) = (arrival.offset, arrival.end());
        if !self.allows(start, end) {
            return Err(Unfit::OverCredit);
        }
        if self.has_arrived(records, start, end) {
            return Ok(Needs { steps: self.spans.count(), ..Needs::default() });
        }
        let when_ahead = match arrival.back {
            None => 2 + self.check_messages(records, arrival, len_max)?,
            Some(_) => {
                self.check_part(pool, records, arrival, len_max)?;
                3 + usize::from(self.latest)
            }
        };
        let ahead = ahead32(start, self.base) > 0;
        let left_over = ahead32(arrival.message(), self.partial) > 0;
        let records = if ahead { when_ahead } else { usize::from(left_over) };
        self.needs(pool, start, end, records)
    }

    /// What giving up `start..end` would take, or why it cannot be taken at all.
    pub fn check_void(&self, pool: &Pool<'_>, start: u32, end: u32) -> Result<Needs, Unfit> {
        if !self.allows(start, end) {
            return Err(Unfit::OverCredit);
        }
        let ahead = ahead32(start, self.base) > 0;
        let needed = if ahead32(end, self.partial) <= 0 {
            0
        } else if ahead {
            2
        } else {
            usize::from(self.read != self.partial || self.held.1 > 0)
        };
        let needs = self.needs(pool, start, end, needed)?;
        Ok(Needs { blocks: 0, ..needs })
    }

    fn allows(&self, start: u32, end: u32) -> bool {
        // The start too: what begins half the space ahead would seem to end behind.
        self.credit.allows(end) && self.credit.allows(start)
    }

    fn needs(&self, pool: &Pool<'_>, start: u32, end: u32, records: usize) -> Result<Needs, Unfit> {
        let ahead = ahead32(start, self.base).max(0) as usize;
        if ahead > 0 && records > 0 && self.spans.count() + 2 > SPANS_MAX {
            return Err(Unfit::Crowded);
        }
        Ok(Needs {
            blocks: pool.blocks_for(ahead32(end, self.tail_end).max(0) as usize),
            records,
            steps: pool.blocks_for(ahead) + self.spans.count(),
        })
    }

    /// Whether `start..end` has arrived already.
    fn has_arrived(&self, records: &Slots<'_, Record>, start: u32, end: u32) -> bool {
        let start = later(start, self.base);
        ahead32(end, start) <= 0 || self.spans.cover(records, start, end)
    }

    /// How many bytes of `start..end` are settled; `from` as in [`Spans::settled`].
    fn settled(&self, records: &Slots<'_, Record>, from: &mut Link, start: u32, end: u32) -> u32 {
        let (start, end) = (start, end);
        let open = later(start, self.partial);
        if ahead32(end, open) <= 0 {
            return end.wrapping_sub(start);
        }
        open.wrapping_sub(start) + Spans::settled(records, from, open, end)
    }

    /// Whether these are messages that fit what is settled. How many keys there are to note.
    fn check_messages(
        &self,
        records: &Slots<'_, Record>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<usize, Unfit> {
        let (mut keys, mut from) = (0, self.spans.first());
        for message in arrival.messages() {
            let (start, end, content) = message.ok_or(Unfit::Bad)?;
            if !self.may_be_sent(content.len(), len_max) {
                return Err(Unfit::Bad);
            }
            let settled = self.settled(records, &mut from, start, end);
            if settled != 0 && settled != end.wrapping_sub(start) {
                return Err(Unfit::Bad);
            }
            if let Some(key) = self.key_of(content)
                && settled == 0
            {
                keys += usize::from(self.keys.newest(records, key).is_none());
            }
        }
        Ok(keys)
    }

    /// The key of a message, in mode reliable-latest.
    fn key_of(&self, content: &[u8]) -> Option<u32> {
        let key = content.first_chunk::<KEY_LEN>().filter(|_| self.latest)?;
        Some(u32::from_be_bytes(*key))
    }

    const fn may_be_sent(&self, len: usize, len_max: u32) -> bool {
        len <= len_max as usize && (!self.latest || len >= KEY_LEN)
    }

    /// Whether the prefix of the message, as far as it is known, is one and fits the part.
    fn check_part(
        &self,
        pool: &Pool<'_>,
        records: &Slots<'_, Record>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<(), Unfit> {
        let start = arrival.message();
        let (mut bytes, mut have) = ([0; 4], 0);
        if let Some((end, mut at)) = self.partial_from(pool, records, start) {
            let known = bytes.get_mut(..end.wrapping_sub(start).min(4) as usize);
            have = at.read(pool, known.unwrap_or_default());
        } else if ahead32(self.partial, start) > 0 {
            return Ok(());
        }
        for place in bytes.iter_mut().skip(have) {
            let at = start.wrapping_add(have as u32).wrapping_sub(arrival.offset);
            let Some(&byte) = arrival.data.get(at as usize) else { break };
            *place = byte;
            have += 1;
        }
        let known = bytes.get(..have).unwrap_or_default();
        let prefix = run::prefix(known).map_err(|_| Unfit::Bad)?;
        self.end_of(arrival, prefix, len_max).map(drop)
    }

    /// The end of the message that `arrival` is a part of, if its length and prefix are known.
    fn end_of(
        &self,
        arrival: &Arrival<'_>,
        prefix: Option<(usize, usize)>,
        len_max: u32,
    ) -> Result<Option<u32>, Unfit> {
        let Some((len, prefix)) = prefix else { return Ok(None) };
        let end = arrival.message().wrapping_add((prefix + len) as u32);
        if !self.may_be_sent(len, len_max) || ahead32(end, arrival.end()) < 0 {
            return Err(Unfit::Bad);
        }
        Ok(Some(end))
    }

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
        if arrival.back.is_none() {
            self.check_messages(ranges.records, arrival, len_max)?;
        }
        if !self.reach(pool, blocks, end) {
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
        if ahead32(start, self.base) <= 0 && self.read == self.partial && self.held.1 == 0 {
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
        if settled { Ok(self.base != base) } else { Err(Unfit::Crowded) }
    }

    /// The next message; the one with the lowest offset of those that are complete.
    ///
    /// There is none while one is being read.
    pub fn next(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        len_max: u32,
    ) -> Next {
        while self.held.1 == 0
            && let Some((offset, at, run, span)) = self.first_told(ranges.records)
        {
            let (len, prefix) = match at.peek_prefix(pool, run) {
                Ok(Some((len, prefix)))
                    if prefix + len <= run && self.may_be_sent(len, len_max) =>
                {
                    (len, prefix)
                }
                _ => return Next::Bad,
            };
            let mut content = at;
            content.skip(pool, prefix);
            let whole = prefix + len;
            self.hold(pool, ranges, offset, whole, span);
            if !self.latest {
                return Next::Message { prefix, len, at: content, run };
            }
            let newest = self.keys.newest(ranges.records, key_at(pool, content));
            if newest.is_none_or(|newest| ahead32(newest, offset) <= 0) {
                return Next::Message { prefix, len, at: content, run: whole };
            }
            self.consume(pool, blocks, ranges, whole);
        }
        Next::Nothing
    }

    /// The first byte that is told: offset, place, how many bytes there are, and the span.
    fn first_told(&self, records: &Slots<'_, Record>) -> Option<(u32, Cursor, usize, Link)> {
        if self.read != self.partial {
            let first = self.spans.first().some().map_or(self.partial, |link| records[link].start);
            let end = if ahead32(first, self.partial) < 0 { first } else { self.partial };
            return Some((self.read, self.front, end.wrapping_sub(self.read) as usize, Link::NONE));
        }
        let link = self.spans.first_told(records)?;
        let span = &records[link];
        let run = span.end.wrapping_sub(span.number) as usize;
        Some((span.number, spans::place(span), run, link))
    }

    /// Begins to read a message.
    fn hold(
        &mut self,
        pool: &Pool<'_>,
        ranges: &mut Ranges<'_, '_>,
        offset: u32,
        len: usize,
        span: Link,
    ) {
        self.held = (offset, len as u32);
        if let Some(span) = span.some() {
            // Done from now on: the record for that may be gone when it was read. Since the front
            // stops before it, its blocks stay.
            done_upto(pool, &mut ranges.records[span], len);
        }
    }

    /// Counts `len` bytes from the message that is being read on as done, and gives the blocks back that
    /// nobody needs any more.
    pub fn consume(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        len: usize,
    ) {
        let (offset, held) = core::mem::replace(&mut self.held, (self.read, 0));
        if held == 0 {
            return;
        }
        let (_, at) = self.spans.seek(ranges.records, offset);
        match at.some() {
            Some(link) if ahead32(ranges.records[link].start, offset) <= 0 => {
                done_upto(pool, &mut ranges.records[link], len.saturating_sub(held as usize));
            }
            _ => self.advance_to(pool, blocks, ranges, offset.wrapping_add(len as u32)),
        }
        self.advance(pool, blocks, ranges);
    }

    /// Offset of the message that is being read.
    #[cfg(test)]
    pub(super) const fn held_offset(&self) -> u32 {
        self.held.0
    }

    /// The first span, and where it stands: read, partial, base.
    #[cfg(test)]
    pub(super) const fn parts(&self) -> (Link, [u32; 3]) {
        (self.spans.first(), [self.read, self.partial, self.base])
    }

    /// Raises the credit as far as memory allows: [`ReceiveCredit::grant`].
    pub fn grant(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        limits: &GrantLimits,
        len_max: u32,
    ) -> Grant {
        if self.read == self.partial {
            // What is read before it does not count: a message may be long, not what nobody reads.
            let left = self.base.wrapping_sub(self.read);
            let end = match self.front.peek_prefix(pool, left as usize) {
                Ok(Some((len, prefix))) if len <= len_max as usize => (prefix + len) as u32,
                _ => left.wrapping_add(1),
            };
            self.credit.on_incomplete(self.read.wrapping_add(end));
        }
        self.credit.grant(pool, blocks, limits, self.read, self.base)
    }

    /// Gives everything back but the promise.
    pub fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        pool.give_chain(blocks, self.front.place().0);
        self.spans.clear(ranges);
        self.keys.clear(ranges);
        *self = Self { credit: self.credit, ..Self::new(self.base, 0, self.latest) };
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
            for (start, end, content) in arrival.messages().flatten() {
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
    fn partial_from(
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
        self.partial_at = if self.written.0 == end { self.written.1 } else { Cursor::NONE };
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

    /// Moves the front over what is done.
    fn advance(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        while let Some(link) = self.spans.first().some() {
            let span = &mut ranges.records[link];
            if span.start != self.read || self.read == self.partial {
                break;
            }
            let (held, end) = (self.held.0, span.end);
            if self.held.1 > 0 && ahead32(held, self.read) >= 0 && ahead32(held, end) < 0 {
                // Of the message that is being read nothing goes.
                if held != self.read {
                    span.start = held;
                    self.advance_to(pool, blocks, ranges, held);
                }
                return;
            }
            self.spans.remove(ranges, Link::NONE, link);
            self.advance_to(pool, blocks, ranges, end);
        }
        if self.read == self.base && self.spans.is_empty() {
            pool.give_chain(blocks, self.front.place().0);
            self.front = Cursor::NONE;
            (self.tail, self.tail_end) = (Link::NONE, self.read);
        }
    }

    /// All before `read` is done.
    fn advance_to(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        ranges: &mut Ranges<'_, '_>,
        read: u32,
    ) {
        let block_len = pool.block_len();
        let (mut block, mut pos) = self.front.place();
        pos += read.wrapping_sub(self.read) as usize;
        while pos >= block_len
            && let Some(done) = block.some()
        {
            block = pool.next(done);
            pool.give(blocks, done);
            pos -= block_len;
        }
        self.read = read;
        self.front = Cursor::at(block, pos as u32);
        if block.is_none() {
            self.front = Cursor::NONE;
            (self.tail, self.tail_end) = (Link::NONE, read);
        }
        if ahead32(self.written.0, read) <= 0 {
            self.written = (read, Cursor::NONE);
        }
        self.credit.on_read(read);
        self.keys.on_read(ranges, read);
    }

    /// Sees to it that blocks reach up to `end`, all or nothing.
    fn reach(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, end: u32) -> bool {
        let missing = ahead32(end, self.tail_end).max(0) as usize;
        if missing == 0 {
            return true;
        }
        let count = pool.blocks_for(missing);
        let Some(chain) = pool.take_chain(blocks, count) else { return false };
        if self.tail.is_none() {
            self.front = Cursor::at(chain, 0);
        } else {
            pool.set_next(self.tail, chain);
        }
        let mut last = chain;
        while let Some(next) = pool.next(last).some() {
            last = next;
        }
        self.tail = last;
        self.tail_end = self.tail_end.wrapping_add((count * pool.block_len()) as u32);
        true
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
                write_at(pool, &mut at, piece);
                offset = stop;
            }
            (upto, link) = span.map_or((end, Link::NONE), |span| (span.end, span.next));
        }
        self.written = (offset, at);
    }

    /// The place of `offset`, which lies between the front and the last block.
    fn place(&self, pool: &Pool<'_>, records: &Slots<'_, Record>, offset: u32) -> Cursor {
        let mut best = (self.read, self.front);
        let mut offer = |known: u32, at: Cursor| {
            let nearer = ahead32(known, best.0) > 0 && ahead32(offset, known) >= 0;
            if nearer && at.place().0.is_some() {
                best = (known, at);
            }
        };
        offer(self.partial, self.partial_at);
        offer(self.written.0, self.written.1);
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

impl<'a> Arrival<'a> {
    /// Offset behind the last byte.
    pub const fn end(&self) -> u32 {
        self.offset.wrapping_add(self.data.len() as u32)
    }

    /// Where the message begins that the first byte is of.
    const fn message(&self) -> u32 {
        match self.back {
            Some(back) => self.offset.wrapping_sub(back),
            None => self.offset,
        }
    }

    /// The messages: start, end, and content of each; none where there is no whole one.
    fn messages(&self) -> impl Iterator<Item = Option<(u32, u32, &'a [u8])>> + use<'a> {
        let (mut start, mut rest) = (self.offset, self.data);
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let message = split_message(rest);
            let Some((content, behind)) = message else {
                rest = &[];
                return Some(None);
            };
            let end = start.wrapping_add((rest.len() - behind.len()) as u32);
            let message = (start, end, content);
            (start, rest) = (end, behind);
            Some(Some(message))
        })
    }
}

/// The first of these prefixed messages, without its prefix, and those behind it.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, prefix) = run::prefix(bytes).ok()??;
    bytes.get(prefix..)?.split_at_checked(len)
}

fn later(a: u32, b: u32) -> u32 {
    if ahead32(a, b) > 0 { a } else { b }
}

/// What is told in a span begins `len` bytes further on.
fn done_upto(pool: &Pool<'_>, span: &mut Record, len: usize) {
    let offset = span.number.wrapping_add(len as u32);
    let mut at = spans::place(span);
    at.skip(pool, len);
    spans::set_place(span, offset, at);
    if ahead32(offset, span.end) > 0 {
        span.end = offset;
    }
}

/// The key that a message begins with, whose bytes are there.
fn key_at(pool: &Pool<'_>, mut at: Cursor) -> u32 {
    let mut key = [0; KEY_LEN];
    at.read(pool, &mut key);
    u32::from_be_bytes(key)
}

/// Writes along a chain from `at` on, and moves behind what was written.
fn write_at(pool: &mut Pool<'_>, at: &mut Cursor, mut data: &[u8]) {
    while !data.is_empty() {
        let (block, pos) = at.place();
        let len = run::copy(pool.bytes_mut(block, pos), data);
        if len == 0 {
            let next = pool.next(block);
            debug_assert!(next.is_some(), "room was checked");
            if next.is_none() {
                return;
            }
            *at = Cursor::at(next, 0);
            continue;
        }
        *at = Cursor::at(block, (pos + len) as u32);
        data = data.get(len..).unwrap_or_default();
    }
}
