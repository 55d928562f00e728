//! The receiving side of a loose stream: messages are read as soon as they are complete.

mod arrival;
mod bytes;
mod check;
mod keys;
mod spans;
mod write;

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota, Slots};

pub use self::arrival::Arrival;
use self::bytes::Bytes;
pub use self::check::{Needs, Unfit};
use self::keys::Keys;
use self::spans::Spans;
use super::ranges::len_ahead;
use super::{Ranges, later};
use crate::credit::{Grant, GrantLimits, ReceiveCredit};
use crate::record::Record;
use crate::run::Cursor;

/// How many pieces a stream may be in, so that no walk over them is long.
///
/// A packet that would make it more is dropped; none does that brings the first bytes that are missing.
pub const SPANS_MAX: usize = 256;

/// Bytes of key that a message of mode reliable-latest begins with.
pub const KEY_LEN: usize = 4;

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
    /// From the first byte on that is not done.
    bytes: Bytes,
    /// All before it is settled: it is told, or done where a span says so. Its place, if known.
    partial: u32,
    partial_at: Cursor,
    /// All before it has arrived. From `partial` on these are bytes of a message that is not complete.
    base: u32,
    /// What is done before `partial`, and all that has arrived beyond `base`.
    spans: Spans,
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
            bytes: Bytes::new(initial),
            partial: initial,
            partial_at: Cursor::NONE,
            base: initial,
            spans: Spans::NONE,
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

    /// Where [`Self::base`] would be if nothing were missing before what has arrived: it moves with every byte.
    pub fn arrived(&self, records: &Slots<'_, Record>) -> u32 {
        self.base.wrapping_add(len_ahead(records, self.spans.first(), self.base))
    }

    /// Offset of the first byte that is not done.
    const fn read(&self) -> u32 {
        self.bytes.start()
    }

    /// The credit given for it.
    pub const fn credit(&self) -> &ReceiveCredit {
        &self.credit
    }

    /// Whether the first message that was not complete when credit was granted may be so by now.
    pub const fn may_be_complete(&self) -> bool {
        self.credit.may_be_complete(self.base)
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
            let is_newest = newest.is_none_or(|newest| ahead32(newest, offset) <= 0);
            if is_newest || cfg!(bowline_mutant = "keep_older") {
                return Next::Message { prefix, len, at: content, run: whole };
            }
            self.consume(pool, blocks, ranges, whole);
        }
        Next::Nothing
    }

    /// The first byte that is told: offset, place, how many bytes there are, and the span.
    fn first_told(&self, records: &Slots<'_, Record>) -> Option<(u32, Cursor, usize, Link)> {
        if self.read() != self.partial {
            let first = self.spans.first().some().map_or(self.partial, |link| records[link].start);
            let end = if ahead32(first, self.partial) < 0 { first } else { self.partial };
            return Some((
                self.read(),
                self.bytes.front(),
                end.wrapping_sub(self.read()) as usize,
                Link::NONE,
            ));
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
        let (offset, held) = self.held;
        if held == 0 {
            return;
        }
        self.held = (offset, 0);
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
        (self.spans.first(), [self.read(), self.partial, self.base])
    }

    /// Raises the credit as far as memory allows: [`ReceiveCredit::grant`].
    pub fn grant(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        limits: &GrantLimits,
        len_max: u32,
    ) -> Grant {
        if self.read() == self.partial {
            // What is read before it does not count: a message may be long, not what nobody reads.
            let left = self.base.wrapping_sub(self.read());
            let end = match self.bytes.front().peek_prefix(pool, left as usize) {
                Ok(Some((len, prefix))) if len <= len_max as usize => (prefix + len) as u32,
                _ => left.wrapping_add(1),
            };
            self.credit.on_incomplete(self.read().wrapping_add(end));
        }
        self.credit.grant(pool, blocks, limits, self.read(), self.base)
    }

    /// Gives everything back but the promise.
    pub fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        self.bytes.clear(pool, blocks);
        self.spans.clear(ranges);
        self.keys.clear(ranges);
        *self = Self { credit: self.credit, ..Self::new(self.base, 0, self.latest) };
    }

    /// Moves the front over what is done.
    fn advance(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, ranges: &mut Ranges<'_, '_>) {
        while let Some(link) = self.spans.first().some() {
            let span = &mut ranges.records[link];
            if span.start != self.read() || self.read() == self.partial {
                break;
            }
            let (held, end) = (self.held.0, span.end);
            if self.held.1 > 0 && ahead32(held, self.read()) >= 0 && ahead32(held, end) < 0 {
                // Of the message that is being read nothing goes.
                if held != self.read() {
                    span.start = held;
                    self.advance_to(pool, blocks, ranges, held);
                }
                return;
            }
            self.spans.remove(ranges, Link::NONE, link);
            self.advance_to(pool, blocks, ranges, end);
        }
        if self.read() == self.base && self.spans.is_empty() {
            self.bytes.clear(pool, blocks);
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
        self.bytes.advance(pool, blocks, read);
        self.credit.on_read(read);
        self.keys.on_read(ranges, read);
    }
}

/// Whether the span of a record is partial.
#[cfg(test)]
pub(super) fn is_partial(span: &Record) -> bool {
    spans::is_partial(span)
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
