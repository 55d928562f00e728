//! Whether a loose stream can take what arrives.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Slots};

use super::spans::Spans;
use super::{Arrival, KEY_LEN, LooseStream, SPANS_MAX, later};
use crate::record::Record;
use crate::run;

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

impl LooseStream {
    /// What `arrival` would take, or why it cannot be taken at all. No message is longer than `len_max`
    /// bytes, a key included.
    ///
    /// If nothing is missing before it, it takes no record, unless it contradicts what has arrived.
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
            // Messages join what is settled before them, but the first may not.
            None => 1 + self.check_messages(records, arrival, len_max)?,
            // It may complete a message between others that were begun, but joins those before.
            Some(_) => {
                self.check_part(pool, records, arrival, len_max)?;
                1 + usize::from(self.latest)
            }
        };
        let is_ahead = ahead32(start, self.base) > 0;
        let left_over = ahead32(arrival.message(), self.partial) > 0;
        let records = if is_ahead { when_ahead } else { usize::from(left_over) };
        let needs = self.needs(pool, start, records)?;
        Ok(Needs { blocks: self.bytes.missing(pool, end), ..needs })
    }

    /// What giving up `start..end` would take, or why it cannot be taken at all.
    ///
    /// If nothing is missing before it, and all of that was read, it takes no record; unless it comes
    /// `after` data in its packet, which may not be read yet when it is taken in.
    pub fn check_void(
        &self,
        pool: &Pool<'_>,
        start: u32,
        end: u32,
        after: bool,
    ) -> Result<Needs, Unfit> {
        if !self.allows(start, end) {
            return Err(Unfit::OverCredit);
        }
        let records = if ahead32(end, self.partial) <= 0 {
            0
        } else if ahead32(start, self.base) > 0 {
            2
        } else {
            usize::from(self.read() != self.partial || self.held.1 > 0 || after)
        };
        self.needs(pool, start, records)
    }

    fn allows(&self, start: u32, end: u32) -> bool {
        // The start too: what begins half the space ahead would seem to end behind.
        self.credit.allows(end) && self.credit.allows(start)
    }

    fn needs(&self, pool: &Pool<'_>, start: u32, records: usize) -> Result<Needs, Unfit> {
        let ahead = ahead32(start, self.base).max(0) as usize;
        if records > 0 && self.spans.count() + 2 > SPANS_MAX {
            return Err(Unfit::Crowded);
        }
        let steps = pool.blocks_for(ahead) + self.spans.count();
        Ok(Needs { blocks: 0, records, steps })
    }

    /// Whether `start..end` has arrived already.
    pub(super) fn has_arrived(&self, records: &Slots<'_, Record>, start: u32, end: u32) -> bool {
        let start = later(start, self.base);
        ahead32(end, start) <= 0 || self.spans.cover(records, start, end)
    }

    /// How many bytes of `start..end` are settled; `from` as in [`Spans::settled`].
    pub(super) fn settled(
        &self,
        records: &Slots<'_, Record>,
        from: &mut Link,
        start: u32,
        end: u32,
    ) -> u32 {
        let open = later(start, self.partial);
        if ahead32(end, open) <= 0 {
            return end.wrapping_sub(start);
        }
        open.wrapping_sub(start) + Spans::settled(records, from, open, end)
    }

    /// Whether any byte of it is settled.
    pub(super) fn any_settled(&self, records: &Slots<'_, Record>, arrival: &Arrival<'_>) -> bool {
        self.settled(records, &mut self.spans.first(), arrival.offset, arrival.end()) > 0
    }

    /// Whether these are messages, each settled as a whole or not at all. How many keys there are to
    /// note.
    pub(super) fn check_messages(
        &self,
        records: &Slots<'_, Record>,
        arrival: &Arrival<'_>,
        len_max: u32,
    ) -> Result<usize, Unfit> {
        let (mut keys, mut from) = (0, self.spans.first());
        for message in arrival.messages() {
            let message = message.ok_or(Unfit::Bad)?;
            if !self.may_be_sent(message.content.len(), len_max) {
                return Err(Unfit::Bad);
            }
            let settled = self.settled(records, &mut from, message.start, message.end);
            if settled != 0 && settled != message.end.wrapping_sub(message.start) {
                return Err(Unfit::Bad);
            }
            if settled == 0
                && let Some(key) = self.key_of(message.content)
            {
                keys += usize::from(self.keys.newest(records, key).is_none());
            }
        }
        Ok(keys)
    }

    /// The key of a message, in mode reliable-latest.
    pub(super) fn key_of(&self, content: &[u8]) -> Option<u32> {
        let key = content.first_chunk::<KEY_LEN>().filter(|_| self.latest)?;
        Some(u32::from_be_bytes(*key))
    }

    pub(super) const fn may_be_sent(&self, len: usize, len_max: u32) -> bool {
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
        if ahead32(start, self.partial) < 0 {
            // Whatever it is, it is settled.
            return Ok(());
        }
        let (mut bytes, mut have) = ([0; 4], 0);
        if let Some((end, mut at)) = self.partial_from(pool, records, start) {
            let known = bytes.get_mut(..end.wrapping_sub(start).min(4) as usize);
            have = at.read(pool, known.unwrap_or_default());
        }
        for place in bytes.iter_mut().skip(have) {
            let Some(byte) = arrival.byte(start.wrapping_add(have as u32)) else { break };
            *place = byte;
            have += 1;
        }
        let known = bytes.get(..have).unwrap_or_default();
        let prefix = run::prefix(known).map_err(|_| Unfit::Bad)?;
        self.end_of(arrival, prefix, len_max).map(drop)
    }

    /// The end of the message that `arrival` is a part of, if its length and prefix are known.
    pub(super) fn end_of(
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
}
