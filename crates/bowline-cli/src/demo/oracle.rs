//! Who knows what was sent, and judges what was delivered.
//!
//! Shares nothing with the protocol but the words. Per stream it remembers when each message was sent,
//! and how long it was; the bytes follow from that, so all of them are compared.

use core::fmt;
use std::collections::VecDeque;

use bowline::{Instant, Mode};

use super::contents::Key;
use super::lane::{Direction, Lane, Stream};
use super::tally::Tally;

/// How many of the latest messages of a stream are remembered. Reliable ones are until delivered.
const REMEMBERED: usize = 1 << 16;
/// Breaches told in words; more are only counted.
const TOLD_MAX: usize = 10;

/// What was sent and delivered so far, on all streams.
#[derive(Debug)]
pub(super) struct Oracle {
    clients: Vec<[[Record; Lane::COUNT]; 2]>,
    pub(super) tally: Tally,
    /// The first few broken promises, in words.
    pub(super) breaches: Vec<String>,
    pub(super) breach_count: u64,
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
    undelivered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    sent: Instant,
    len: u32,
    /// Over how many datagrams it was spread, if somebody saw.
    datagrams: u16,
    delivered: bool,
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
            expected: Vec::new(),
        }
    }

    /// Fills in the next message of a stream, to be sent.
    pub(super) fn compose(&self, stream: &Stream, len: usize, message: &mut Vec<u8>) {
        if let Some(record) = find(&self.clients, stream) {
            record.key.fill(record.sent_count(), len, message);
        }
    }

    /// The message composed last was taken for sending.
    pub(super) fn on_sent(&mut self, now: Instant, stream: &Stream, len: usize) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        let message = Message { sent: now, len: len as u32, datagrams: 0, delivered: false };
        record.messages.push_back(message);
        record.undelivered += 1;
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
        self.records().filter(|record| record.is_reliable()).map(|record| record.undelivered).sum()
    }

    /// Nothing more will be sent or delivered.
    pub(super) fn finish(&mut self) {
        let missing: Vec<_> = self
            .records()
            .filter(|record| record.is_reliable() && record.undelivered > 0)
            .map(|record| (record.stream, Breach::Missing { count: record.undelivered }))
            .collect();
        missing.iter().for_each(|(stream, breach)| self.on_breach(stream, *breach));
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
}

impl Message {
    fn fate(self) -> Fate {
        Fate { len: self.len, datagrams: self.datagrams, delivered: self.delivered }
    }
}

impl Record {
    fn new(seed: u64, stream: Stream) -> Self {
        let key = Key::new(seed, &stream);
        Self { stream, key, base: 0, messages: VecDeque::new(), next: 0, undelivered: 0 }
    }

    fn is_reliable(&self) -> bool {
        self.stream.lane.mode == Mode::Reliable
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
        let message = self.message_mut(sequence)?;
        message.delivered = true;
        let sent = message.sent;
        self.undelivered -= 1;
        self.next = sequence + 1;
        Some(sent)
    }

    /// Takes a reliable stream up where it goes on, so that one breach does not count as hundreds.
    fn resume_after(&mut self, breach: Breach) {
        match breach {
            // Whatever it was, it came in place of the next.
            Breach::NeverSent { .. } if self.is_reliable() => self.settle(self.next),
            Breach::Skipped { sequence, .. } => self.settle(sequence),
            _ => None,
        };
    }

    fn forget(&mut self, remembered: usize, tally: &mut Tally) {
        while self.messages.len() > remembered {
            let Some(message) = self.messages.front().copied() else { return };
            if self.is_reliable() && !message.delivered {
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
                Mode::Unreliable => return Ok(sequence),
                // The oldest that is new enough leaves most room for those that follow.
                _ if sequence >= self.next => found = Some(sequence),
                _ => found = found.or(Some(sequence)),
            }
        }
        match (found, twice) {
            (Some(sequence), _) if sequence >= self.next && !self.is_reliable() => Ok(sequence),
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
            oracle.on_sent(Instant::from_micros(10), &stream(mode), *len);
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
    fn one_changed_bit_is_noticed_wherever_it_is() {
        for mode in Mode::GODOT {
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
        for mode in Mode::GODOT {
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
