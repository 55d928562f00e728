//! What is known of one stream, and what may be delivered on it.

use std::collections::VecDeque;

use bowline::{Instant, Mode, Outcome};

use super::KEYS;
use super::breach::Breach;
use crate::demo::contents::Key;
use crate::demo::lane::Stream;
use crate::demo::tally::Tally;

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) stream: Stream,
    key: Key,
    /// Sequence of the first message that is remembered.
    base: u64,
    messages: VecDeque<Message>,
    /// The lowest sequence that may be delivered, in modes that keep order.
    next: u64,
    /// How many were neither delivered nor need to be any more.
    pub(super) open: u64,
    /// How many have not ended.
    pub(super) unended: u64,
    /// How often something came in place of a message, nobody knows which.
    spoilt: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    sent: Instant,
    len: u32,
    /// Over how many datagrams it was spread, if somebody saw.
    pub(super) datagrams: u16,
    /// Has a time to live.
    expires: bool,
    pub(super) withdrawn: bool,
    delivered: bool,
    /// Need not be delivered any more.
    excused: bool,
    end: Option<Outcome>,
}

/// What became of a message, once nothing more can.
#[derive(Clone, Copy, Debug)]
pub(in crate::demo) struct Fate {
    pub(in crate::demo) len: u32,
    /// Over how many datagrams it was spread; 0 if nobody saw it in fragments.
    pub(in crate::demo) datagrams: u16,
    pub(in crate::demo) delivered: bool,
    /// Perhaps it never left.
    pub(in crate::demo) given_up: bool,
}

impl Message {
    fn may_be_given_up(&self) -> bool {
        self.expires || self.withdrawn
    }

    fn fate(self) -> Fate {
        let given_up = matches!(self.end, Some(Outcome::Expired | Outcome::Cancelled));
        let Self { len, datagrams, delivered, .. } = self;
        Fate { len, datagrams, delivered, given_up }
    }
}

impl Record {
    pub(super) fn new(seed: u64, stream: Stream) -> Self {
        let key = Key::new(seed, &stream);
        let messages = VecDeque::new();
        Self { stream, key, base: 0, messages, next: 0, open: 0, unended: 0, spoilt: 0 }
    }

    fn is_reliable(&self) -> bool {
        self.stream.lane.mode == Mode::Reliable
    }

    pub(super) fn is_resent(&self) -> bool {
        self.stream.lane.mode.is_reliable()
    }

    fn is_latest(&self) -> bool {
        self.stream.lane.mode == Mode::ReliableLatest
    }

    pub(super) fn sent_count(&self) -> u64 {
        self.base + self.messages.len() as u64
    }

    fn message(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(sequence.checked_sub(self.base)? as usize)
    }

    pub(super) fn message_mut(&mut self, sequence: u64) -> Option<&mut Message> {
        self.messages.get_mut(sequence.checked_sub(self.base)? as usize)
    }

    /// Fills in the next message.
    pub(super) fn compose(&self, len: usize, message: &mut Vec<u8>) {
        self.key.fill(self.sent_count(), len, message);
    }

    /// The next message was taken for sending.
    pub(super) fn push(&mut self, sent: Instant, len: usize, expires: bool) {
        self.messages.push_back(Message {
            sent,
            len: len as u32,
            datagrams: 0,
            expires,
            withdrawn: false,
            delivered: false,
            excused: false,
            end: None,
        });
        self.open += 1;
        self.unended += 1;
    }

    /// A message has been delivered; when it was sent.
    pub(super) fn settle(&mut self, sequence: u64) -> Option<Instant> {
        let sent = self.message(sequence)?.sent;
        self.excuse(sequence);
        self.message_mut(sequence)?.delivered = true;
        if self.is_reliable() {
            for passed in self.next..sequence {
                if self.message(passed).is_some_and(Message::may_be_given_up) {
                    self.excuse(passed);
                }
            }
        } else if self.is_latest() {
            let mut older = sequence;
            while let Some(before) = older.checked_sub(KEYS)
                && self.message(before).is_some_and(|message| !message.delivered)
            {
                self.excuse(before);
                older = before;
            }
        }
        self.next = sequence + 1;
        Some(sent)
    }

    /// A message need not be delivered any more.
    fn excuse(&mut self, sequence: u64) {
        let Some(message) = self.message_mut(sequence) else { return };
        if !core::mem::replace(&mut message.excused, true) {
            self.open -= 1;
        }
    }

    /// A message has ended, for a reason that it had.
    pub(super) fn end(&mut self, sequence: u64, outcome: Outcome) -> Result<(), Breach> {
        let has_newer = sequence + KEYS < self.sent_count();
        let (is_resent, is_latest) = (self.is_resent(), self.is_latest());
        let wrong = Breach::WrongEnd { sequence, outcome };
        let message = self.message_mut(sequence).ok_or(wrong)?;
        let fits = match outcome {
            Outcome::Acknowledged => true,
            Outcome::Lost => !is_resent,
            Outcome::Expired => message.expires,
            Outcome::Cancelled => message.withdrawn,
            Outcome::Superseded => is_latest && has_newer,
            // The end of the session is told of elsewhere.
            Outcome::Closed => true,
            _ => false,
        };
        if !fits || message.end.is_some() {
            return Err(wrong);
        }
        message.end = Some(outcome);
        self.unended -= 1;
        if matches!(outcome, Outcome::Expired | Outcome::Cancelled | Outcome::Superseded) {
            self.excuse(sequence);
        }
        Ok(())
    }

    /// What is missing at the end.
    pub(super) fn shortcomings(&self, is_complete: bool) -> impl Iterator<Item = Breach> + use<> {
        let resent = |count| if self.is_resent() { count } else { 0 };
        let is_withheld = |message: &&Message| {
            let acknowledged = message.end == Some(Outcome::Acknowledged);
            acknowledged && message.excused && !message.delivered && !self.is_latest()
        };
        let withheld = self.messages.iter().filter(is_withheld).count() as u64;
        let unended = if is_complete { self.unended } else { 0 };
        let missing = Breach::Missing { count: resent(self.open.saturating_sub(self.spoilt)) };
        let withheld = Breach::Withheld { count: resent(withheld) };
        let all = [missing, withheld, Breach::Unended { count: unended }];
        all.into_iter().filter(|breach| match breach {
            Breach::Missing { count } | Breach::Withheld { count } | Breach::Unended { count } => {
                *count > 0
            }
            _ => true,
        })
    }

    /// Whether messages up to there may be passed over.
    fn may_pass(&self, sequence: u64) -> bool {
        let mut passed = (self.next..sequence).map(|passed| self.message(passed));
        passed.all(|passed| passed.is_some_and(Message::may_be_given_up))
    }

    /// Whether a newer message of its key was delivered.
    fn is_outdated(&self, sequence: u64) -> bool {
        let newer = (sequence..self.sent_count()).step_by(KEYS as usize);
        newer.skip(1).any(|newer| self.message(newer).is_some_and(|message| message.delivered))
    }

    /// Takes a reliable stream up where it goes on, so that one breach does not count as hundreds.
    pub(super) fn resume_after(&mut self, breach: Breach) {
        match breach {
            // Whatever it was, it came in place of the next.
            Breach::NeverSent { .. } if self.is_reliable() => self.settle(self.next),
            Breach::NeverSent { .. } => {
                self.spoilt += 1;
                None
            }
            Breach::Skipped { sequence, .. } => self.settle(sequence),
            _ => None,
        };
    }

    pub(super) fn forget(&mut self, remembered: usize, tally: &mut Tally) {
        while self.messages.len() > remembered {
            let Some(message) = self.messages.front().copied() else { return };
            if message.end.is_none() || self.is_resent() && !message.excused {
                return;
            }
            self.messages.pop_front();
            self.base += 1;
            tally.on_end(self.stream.lane, &message.fate());
        }
    }

    /// Nothing more can become of any message.
    pub(super) fn forget_all(&mut self, tally: &mut Tally) {
        self.messages.drain(..).for_each(|message| tally.on_end(self.stream.lane, &message.fate()));
    }

    /// Remembered sequences whose messages begin with `tag`, newest first.
    pub(super) fn tagged(&self, tag: &[u8]) -> impl Iterator<Item = u64> + use<> {
        let (low, bits) = self.key.sequence_low(tag);
        let (base, count) = (self.base, self.sent_count());
        let newest = count.checked_sub(1).and_then(|last| {
            let behind = last.wrapping_sub(low) & ((1 << bits) - 1);
            last.checked_sub(behind)
        });
        core::iter::successors(newest, move |sequence| sequence.checked_sub(1 << bits))
            .take_while(move |sequence| *sequence >= base)
    }

    fn is_message(&self, sequence: u64, bytes: &[u8], expected: &mut Vec<u8>) -> bool {
        let fits =
            self.message(sequence).is_some_and(|message| message.len as usize == bytes.len());
        if fits {
            self.key.fill(sequence, bytes.len(), expected);
        }
        fits && expected == bytes
    }

    /// Which message this is, if it may be delivered now.
    pub(super) fn judge(&self, bytes: &[u8], expected: &mut Vec<u8>) -> Result<u64, Breach> {
        if self.is_reliable() && self.is_message(self.next, bytes, expected) {
            return Ok(self.next);
        }
        let mut found = None;
        let mut twice = None;
        for sequence in self.tagged(bytes) {
            if !self.is_message(sequence, bytes, expected) {
                continue;
            }
            if self.message(sequence).is_some_and(|message| message.delivered) {
                twice = twice.or(Some(sequence));
                continue;
            }
            match self.stream.lane.mode {
                Mode::Unreliable | Mode::ReliableUnordered => return Ok(sequence),
                Mode::ReliableLatest if self.is_outdated(sequence) => {
                    return Err(Breach::OutOfOrder { sequence, expected: self.next });
                }
                Mode::ReliableLatest => return Ok(sequence),
                // The oldest that is new enough leaves most room for those that follow.
                _ if sequence >= self.next => found = Some(sequence),
                _ => found = found.or(Some(sequence)),
            }
        }
        match (found, twice) {
            (Some(sequence), _)
                if sequence >= self.next && (!self.is_reliable() || self.may_pass(sequence)) =>
            {
                Ok(sequence)
            }
            (_, Some(sequence)) => Err(Breach::Twice { sequence }),
            (Some(sequence), _) if sequence >= self.next => {
                Err(Breach::Skipped { sequence, expected: self.next })
            }
            (Some(sequence), _) => Err(Breach::OutOfOrder { sequence, expected: self.next }),
            (None, None) => Err(Breach::NeverSent { len: bytes.len() }),
        }
    }
}
