//! Who knows what was sent, and judges what was delivered.
//!
//! Shares nothing with the protocol but the words. Per stream it remembers when each message was sent,
//! how long it was and how it ended; the bytes follow from that, so all of them are compared.

use core::fmt;
use std::collections::VecDeque;

use bowline::{Instant, Mode, Outcome};

use super::contents::Key;
use super::lane::{Direction, Lane, Stream};
use super::tally::{Tally, name};

/// How many of the latest messages of a stream are remembered. Reliable ones are until delivered.
const REMEMBERED: usize = 1 << 16;
/// Breaches told in words; more are only counted.
const TOLD_MAX: usize = 10;
/// How many keys there are in mode reliable-latest: message number `n` has the key `n % KEYS`.
pub(super) const KEYS: u64 = 2;

/// What was sent and delivered so far, on all streams.
#[derive(Debug)]
pub(super) struct Oracle {
    clients: Vec<[[Record; Lane::COUNT]; 2]>,
    pub(super) tally: Tally,
    /// The first few broken promises, in words.
    pub(super) breaches: Vec<String>,
    pub(super) breach_count: u64,
    is_finished: bool,
    expected: Vec<u8>,
}

/// What is known of one stream.
#[derive(Debug)]
struct Record {
    stream: Stream,
    key: Key,
    /// Sequence of the first message that is remembered.
    base: u64,
    messages: VecDeque<Message>,
    /// The lowest sequence that may be delivered, in modes that keep order.
    next: u64,
    /// How many were neither delivered nor need to be any more.
    open: u64,
    /// How many have not ended.
    unended: u64,
    /// How often something came in place of a message, nobody knows which.
    spoilt: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    sent: Instant,
    len: u32,
    /// Over how many datagrams it was spread, if somebody saw.
    datagrams: u16,
    /// Has a time to live.
    expires: bool,
    withdrawn: bool,
    delivered: bool,
    /// Need not be delivered any more.
    excused: bool,
    end: Option<Outcome>,
}

/// How a promise was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Breach {
    /// Nothing like this was sent on this stream.
    NeverSent {
        len: usize,
    },
    Twice {
        sequence: u64,
    },
    /// Came after a newer one.
    OutOfOrder {
        sequence: u64,
        expected: u64,
    },
    /// One before it was passed over.
    Skipped {
        sequence: u64,
        expected: u64,
    },
    Missing {
        count: u64,
    },
    /// Was acknowledged, and never handed over.
    Withheld {
        count: u64,
    },
    /// It had ended before, or nobody ever sent it, or nothing asked for such an end.
    WrongEnd {
        sequence: u64,
        outcome: Outcome,
    },
    Unended {
        count: u64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSent { len } => {
                write!(f, "got {len} bytes that were never sent there, or were changed on the way")
            }
            Self::Twice { sequence } => write!(f, "message {sequence} was delivered twice"),
            Self::OutOfOrder { sequence, expected } => {
                write!(f, "message {sequence} came when {expected} was the lowest that could")
            }
            Self::Skipped { sequence, expected } => {
                write!(f, "message {sequence} came when {expected} was next")
            }
            Self::Missing { count } => write!(f, "{count} messages never arrived"),
            Self::Withheld { count } => {
                write!(f, "{count} messages were acknowledged and never handed over")
            }
            Self::WrongEnd { sequence, outcome } => {
                write!(f, "message {sequence} was said to be {}, which cannot be", name(*outcome))
            }
            Self::Unended { count } => write!(f, "of {count} messages no end was told"),
        }
    }
}

impl Oracle {
    pub(super) fn new(seed: u64, clients: usize) -> Self {
        let record =
            |client, direction, lane| Record::new(seed, Stream { client, direction, lane });
        let lanes = |client, direction| {
            let mut lanes = Lane::all();
            core::array::from_fn(|_| {
                let lane = lanes.next().unwrap_or(Lane::new(Mode::Unreliable, 0));
                record(client, direction, lane)
            })
        };
        let of_client = |client| Direction::BOTH.map(|direction| lanes(client, direction));
        Self {
            clients: (0..clients).map(of_client).collect(),
            tally: Tally::new(),
            breaches: Vec::new(),
            breach_count: 0,
            is_finished: false,
            expected: Vec::new(),
        }
    }

    /// Fills in the next message of a stream, to be sent.
    pub(super) fn compose(&self, stream: &Stream, len: usize, message: &mut Vec<u8>) {
        if let Some(record) = find(&self.clients, stream) {
            record.key.fill(record.sent_count(), len, message);
        }
    }

    /// The number that the next message of a stream will have.
    pub(super) fn next_sequence(&self, stream: &Stream) -> u64 {
        find(&self.clients, stream).map_or(0, Record::sent_count)
    }

    /// The message composed last was taken for sending, perhaps with a time to live.
    pub(super) fn on_sent(&mut self, now: Instant, stream: &Stream, len: usize, expires: bool) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        record.messages.push_back(Message {
            sent: now,
            len: len as u32,
            datagrams: 0,
            expires,
            withdrawn: false,
            delivered: false,
            excused: false,
            end: None,
        });
        record.open += 1;
        record.unended += 1;
        self.tally.on_sent(stream.lane, len);
        record.forget(REMEMBERED, &mut self.tally);
    }

    /// A message that begins with `tag` was seen to be spread over that many datagrams.
    pub(super) fn on_spread(&mut self, stream: &Stream, tag: &[u8], datagrams: u16) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        let sequence = record.tagged(tag).next();
        let message = sequence.and_then(|sequence| record.message_mut(sequence));
        if let Some(message) = message {
            message.datagrams = datagrams;
        }
    }

    /// A message was withdrawn.
    pub(super) fn on_withdrawn(&mut self, stream: &Stream, sequence: u64) {
        let record = find_mut(&mut self.clients, stream);
        if let Some(message) = record.and_then(|record| record.message_mut(sequence)) {
            message.withdrawn = true;
        }
    }

    /// The sender was told how a message ended.
    pub(super) fn on_outcome(&mut self, stream: &Stream, sequence: u64, outcome: Outcome) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        // What has not ended by now was accused of that.
        if self.is_finished {
            return;
        }
        match record.end(sequence, outcome) {
            Ok(()) => self.tally.on_outcome(stream.lane, outcome),
            Err(breach) => self.on_breach(stream, breach),
        }
    }

    /// Somebody was handed these bytes as a message of this stream.
    pub(super) fn on_delivered(&mut self, now: Instant, stream: &Stream, bytes: &[u8]) {
        let Some(record) = find_mut(&mut self.clients, stream) else {
            self.on_breach(stream, Breach::NeverSent { len: bytes.len() });
            return;
        };
        match record.judge(bytes, &mut self.expected) {
            Ok(sequence) => {
                if let Some(sent) = record.settle(sequence) {
                    self.tally.on_delivered(stream.lane, bytes.len(), now - sent);
                }
            }
            Err(breach) => {
                record.resume_after(breach);
                self.on_breach(stream, breach);
            }
        }
    }

    /// How many reliable messages are still on their way.
    pub(super) fn reliable_missing(&self) -> u64 {
        self.records().filter(|record| record.is_resent()).map(|record| record.open).sum()
    }

    /// How many messages have not ended.
    pub(super) fn unended(&self) -> u64 {
        self.records().map(|record| record.unended).sum()
    }

    /// Nothing more will be sent or delivered.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
        // What is under way after a breach is not waited for.
        let is_complete = self.breach_count == 0;
        let breaches: Vec<_> = self
            .records()
            .flat_map(|record| {
                record.shortcomings(is_complete).map(|breach| (record.stream, breach))
            })
            .collect();
        breaches.iter().for_each(|(stream, breach)| self.on_breach(stream, *breach));
        for record in self.clients.as_flattened_mut().as_flattened_mut() {
            record
                .messages
                .drain(..)
                .for_each(|message| self.tally.on_end(record.stream.lane, &message.fate()));
        }
    }

    /// A promise that is no message's was broken.
    pub(super) fn accuse(&mut self, breach: String) {
        self.breach_count += 1;
        if self.breaches.len() < TOLD_MAX {
            self.breaches.push(breach);
        }
    }

    fn on_breach(&mut self, stream: &Stream, breach: Breach) {
        self.accuse(format!("{stream}: {breach}"));
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.clients.as_flattened().as_flattened().iter()
    }
}

fn find<'a>(clients: &'a [[[Record; Lane::COUNT]; 2]], stream: &Stream) -> Option<&'a Record> {
    clients.get(stream.client)?.get(stream.direction as usize)?.get(stream.lane.index()?)
}

fn find_mut<'a>(
    clients: &'a mut [[[Record; Lane::COUNT]; 2]],
    stream: &Stream,
) -> Option<&'a mut Record> {
    let directions = clients.get_mut(stream.client)?;
    directions.get_mut(stream.direction as usize)?.get_mut(stream.lane.index()?)
}

/// What became of a message, once nothing more can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) len: u32,
    /// Over how many datagrams it was spread; 0 if nobody saw it in fragments.
    pub(super) datagrams: u16,
    pub(super) delivered: bool,
    /// Perhaps it never left.
    pub(super) given_up: bool,
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
    fn new(seed: u64, stream: Stream) -> Self {
        let key = Key::new(seed, &stream);
        let messages = VecDeque::new();
        Self { stream, key, base: 0, messages, next: 0, open: 0, unended: 0, spoilt: 0 }
    }

    fn is_reliable(&self) -> bool {
        self.stream.lane.mode == Mode::Reliable
    }

    fn is_resent(&self) -> bool {
        self.stream.lane.mode.is_reliable()
    }

    fn is_latest(&self) -> bool {
        self.stream.lane.mode == Mode::ReliableLatest
    }

    fn sent_count(&self) -> u64 {
        self.base + self.messages.len() as u64
    }

    fn message(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(sequence.checked_sub(self.base)? as usize)
    }

    fn message_mut(&mut self, sequence: u64) -> Option<&mut Message> {
        self.messages.get_mut(sequence.checked_sub(self.base)? as usize)
    }

    /// A message has been delivered; when it was sent.
    fn settle(&mut self, sequence: u64) -> Option<Instant> {
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
    fn end(&mut self, sequence: u64, outcome: Outcome) -> Result<(), Breach> {
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
    fn shortcomings(&self, is_complete: bool) -> impl Iterator<Item = Breach> + use<> {
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
    fn resume_after(&mut self, breach: Breach) {
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

    fn forget(&mut self, remembered: usize, tally: &mut Tally) {
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

    /// Remembered sequences whose messages begin with `tag`, newest first.
    fn tagged(&self, tag: &[u8]) -> impl Iterator<Item = u64> + use<> {
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
    fn judge(&self, bytes: &[u8], expected: &mut Vec<u8>) -> Result<u64, Breach> {
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

#[cfg(test)]
mod tests {
    use bowline::Duration;

    use super::super::lane::MODES;
    use super::*;

    fn stream(mode: Mode) -> Stream {
        Stream { client: 0, direction: Direction::ToServer, lane: Lane::new(mode, 1) }
    }

    /// An oracle that knows of messages of these lengths, and the messages.
    fn sent(mode: Mode, lens: &[usize]) -> (Oracle, Vec<Vec<u8>>) {
        let mut oracle = Oracle::new(3, 1);
        let send = |len: &usize| {
            let mut message = Vec::new();
            oracle.compose(&stream(mode), *len, &mut message);
            oracle.on_sent(Instant::from_micros(10), &stream(mode), *len, false);
            message
        };
        let messages = lens.iter().map(send).collect();
        (oracle, messages)
    }

    /// What the oracle says when these of eight messages are delivered in this order.
    fn verdict(mode: Mode, order: &[usize]) -> Vec<String> {
        let (mut oracle, messages) = sent(mode, &[1, 40, 1, 2, 3000, 1, 5, 8]);
        for index in order {
            oracle.on_delivered(Instant::from_micros(50), &stream(mode), &messages[*index]);
        }
        for sequence in 0..messages.len() as u64 {
            oracle.on_outcome(&stream(mode), sequence, Outcome::Acknowledged);
        }
        oracle.finish();
        oracle.breaches
    }

    #[test]
    fn unreliable_messages_may_come_in_any_order_but_once() {
        assert!(verdict(Mode::Unreliable, &[5, 0, 7, 4, 1]).is_empty());
        assert!(verdict(Mode::Unreliable, &[]).is_empty());
        let twice = verdict(Mode::Unreliable, &[5, 0, 5]);
        assert_eq!(twice.len(), 1);
        assert!(twice[0].ends_with("unreliable: message 5 was delivered twice"), "{twice:?}");
    }

    #[test]
    fn ordered_messages_may_be_missing_but_never_go_back() {
        assert!(verdict(Mode::UnreliableOrdered, &[0, 2, 3, 7]).is_empty());
        let back = verdict(Mode::UnreliableOrdered, &[0, 3, 2]);
        assert!(back[0].ends_with("message 2 came when 4 was the lowest that could"), "{back:?}");
        let twice = verdict(Mode::UnreliableOrdered, &[0, 3, 3]);
        assert!(twice[0].ends_with("message 3 was delivered twice"), "{twice:?}");
    }

    #[test]
    fn reliable_messages_come_once_each_and_in_order() {
        assert!(verdict(Mode::Reliable, &[0, 1, 2, 3, 4, 5, 6, 7]).is_empty());
        let missing = verdict(Mode::Reliable, &[0, 1, 2, 3, 4, 5]);
        assert!(missing[0].ends_with("2 messages never arrived"), "{missing:?}");
        let skipped = verdict(Mode::Reliable, &[0, 2]);
        assert!(skipped[0].ends_with("message 2 came when 1 was next"), "{skipped:?}");
        let twice = verdict(Mode::Reliable, &[0, 1, 0]);
        assert!(twice[0].ends_with("message 0 was delivered twice"), "{twice:?}");
    }

    #[test]
    fn a_reliable_stream_goes_on_after_a_breach() {
        let (mut oracle, mut messages) = sent(Mode::Reliable, &[40; 6]);
        messages[1][20] ^= 1;
        for at in [0, 1, 2, 4, 5] {
            oracle.on_delivered(Instant::ZERO, &stream(Mode::Reliable), &messages[at]);
        }
        oracle.finish();
        let ends =
            ["changed on the way", "message 4 came when 3 was next", "1 messages never arrived"];
        assert_eq!(oracle.breaches.len(), ends.len(), "{:?}", oracle.breaches);
        assert!(oracle.breaches.iter().zip(ends).all(|(breach, end)| breach.ends_with(end)));
    }

    #[test]
    fn unordered_messages_come_once_each() {
        // The shortest of them are told apart by all of their tags.
        let (mut oracle, messages) = sent(Mode::ReliableUnordered, &[4; 600]);
        let deliver = |oracle: &mut Oracle, at: usize| {
            oracle.on_delivered(Instant::ZERO, &stream(Mode::ReliableUnordered), &messages[at]);
        };
        (1..600).rev().for_each(|at| deliver(&mut oracle, at));
        assert_eq!((oracle.breach_count, oracle.reliable_missing()), (0, 1));
        deliver(&mut oracle, 7);
        oracle.finish();
        assert!(oracle.breaches[0].ends_with("message 7 was delivered twice"));
        assert!(oracle.breaches[1].ends_with("1 messages never arrived"), "{:?}", oracle.breaches);
    }

    #[test]
    fn of_a_key_the_newest_arrives_and_nothing_older_after_it() {
        let keys = KEYS as usize;
        let (mut oracle, messages) = sent(Mode::ReliableLatest, &vec![9; 2 * keys + 1]);
        let deliver = |oracle: &mut Oracle, at: usize| {
            oracle.on_delivered(Instant::ZERO, &stream(Mode::ReliableLatest), &messages[at]);
        };
        (1..keys).for_each(|key| deliver(&mut oracle, keys + key));
        assert_eq!((oracle.breach_count, oracle.reliable_missing()), (0, 3), "those of key 0");
        deliver(&mut oracle, keys);
        assert_eq!(oracle.reliable_missing(), 1);
        deliver(&mut oracle, 0);
        assert!(oracle.breaches[0].contains("message 0 came when"), "{:?}", oracle.breaches);
        oracle.finish();
        assert!(oracle.breaches[1].ends_with("1 messages never arrived"), "{:?}", oracle.breaches);
    }

    #[test]
    fn a_reliable_stream_passes_over_what_was_given_up_and_nothing_else() {
        for (expires, withdrawn) in [(true, false), (false, true), (false, false)] {
            let (mut oracle, mut messages) = sent(Mode::Reliable, &[40, 40]);
            for expires in [expires, false] {
                let mut message = Vec::new();
                oracle.compose(&stream(Mode::Reliable), 40, &mut message);
                oracle.on_sent(Instant::ZERO, &stream(Mode::Reliable), 40, expires);
                messages.push(message);
            }
            if withdrawn {
                oracle.on_withdrawn(&stream(Mode::Reliable), 2);
            }
            for at in [0, 1, 3] {
                oracle.on_delivered(Instant::ZERO, &stream(Mode::Reliable), &messages[at]);
            }
            let may = expires || withdrawn;
            assert_eq!(oracle.breach_count, u64::from(!may), "{:?}", oracle.breaches);
            if !may {
                continue;
            }
            for sequence in 0..4 {
                oracle.on_outcome(&stream(Mode::Reliable), sequence, Outcome::Acknowledged);
            }
            oracle.finish();
            let told = &oracle.breaches[..];
            assert!(told.len() == 1 && told[0].ends_with("and never handed over"), "{told:?}");
        }
    }

    #[test]
    fn every_message_ends_once_and_as_it_can() {
        let end = |mode, outcomes: &[(u64, Outcome)]| {
            let (mut oracle, messages) = sent(mode, &[40; 2]);
            for message in &messages {
                oracle.on_delivered(Instant::ZERO, &stream(mode), message);
            }
            for (sequence, outcome) in outcomes {
                oracle.on_outcome(&stream(mode), *sequence, *outcome);
            }
            oracle.finish();
            oracle.breaches.concat()
        };
        let [acknowledged, lost] = [Outcome::Acknowledged, Outcome::Lost];
        assert_eq!(end(Mode::Reliable, &[(0, acknowledged), (1, acknowledged)]), "");
        assert_eq!(end(Mode::Unreliable, &[(0, lost), (1, acknowledged)]), "");
        let once = end(Mode::Reliable, &[(1, acknowledged)]);
        assert!(once.ends_with("of 1 messages no end was told"), "{once}");
        let twice = [(0, acknowledged), (1, acknowledged), (1, acknowledged)];
        let wrong = [(1, lost), (1, Outcome::Expired), (1, Outcome::Cancelled), (2, acknowledged)];
        for ends in [&twice[..], &wrong[..1], &wrong[1..2], &wrong[2..3], &wrong[3..]] {
            let told = end(Mode::ReliableUnordered, ends);
            assert!(told.ends_with("which cannot be"), "{ends:?}: {told}");
        }
    }

    #[test]
    fn one_changed_bit_is_noticed_wherever_it_is() {
        for mode in MODES {
            for at in [0, 3, 4, 17, 39] {
                let (mut oracle, mut messages) = sent(mode, &[40]);
                messages[0][at] ^= 0x10;
                oracle.on_delivered(Instant::from_micros(50), &stream(mode), &messages[0]);
                assert_eq!(oracle.breach_count, 1, "{mode} {at}");
            }
        }
    }

    #[test]
    fn messages_of_another_stream_or_length_were_never_sent() {
        for mode in MODES {
            let (mut oracle, messages) = sent(mode, &[40, 40]);
            let elsewhere = Stream { direction: Direction::ToClient, ..stream(mode) };
            oracle.on_delivered(Instant::ZERO, &elsewhere, &messages[0]);
            oracle.on_delivered(Instant::ZERO, &stream(mode), &messages[0][..39]);
            oracle.on_delivered(Instant::ZERO, &stream(mode), &[]);
            let nobody = Stream { client: 9, ..stream(mode) };
            oracle.on_delivered(Instant::ZERO, &nobody, &messages[0]);
            assert_eq!(oracle.breach_count, 4, "{:?}", oracle.breaches);
        }
    }

    #[test]
    fn a_short_tag_finds_its_message_among_thousands() {
        let (mut oracle, messages) = sent(Mode::UnreliableOrdered, &[1; 3000]);
        for message in messages.iter().step_by(200) {
            oracle.on_delivered(Instant::ZERO, &stream(Mode::UnreliableOrdered), message);
        }
        assert_eq!(oracle.breaches, [""; 0]);
    }

    #[test]
    fn latency_runs_from_send_to_delivery() {
        let (mut oracle, messages) = sent(Mode::Reliable, &[40]);
        oracle.on_delivered(Instant::from_micros(5_010), &stream(Mode::Reliable), &messages[0]);
        let latency = oracle.tally.lane(Lane::new(Mode::Reliable, 1)).latency(50.0);
        assert_eq!(latency.map(Duration::as_millis), Some(5));
    }
}
