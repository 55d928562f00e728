//! Who knows what was sent, and judges what was delivered.
//!
//! Shares nothing with the protocol but the words. Per stream it remembers when each message was sent,
//! how long it was and how it ended; the bytes follow from that, so all of them are compared.

mod breach;
mod record;

use bowline::{Instant, Mode, Outcome};

use super::lane::{Direction, Lane, Stream};
use super::tally::Tally;
use breach::Breach;
use record::Record;

pub(super) use record::Fate;

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
            record.compose(len, message);
        }
    }

    /// The number that the next message of a stream will have.
    pub(super) fn next_sequence(&self, stream: &Stream) -> u64 {
        find(&self.clients, stream).map_or(0, Record::sent_count)
    }

    /// The message composed last was taken for sending, perhaps with a time to live.
    pub(super) fn on_sent(&mut self, now: Instant, stream: &Stream, len: usize, expires: bool) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        record.push(now, len, expires);
        self.tally.on_sent(stream.lane, len);
        record.forget(REMEMBERED, &mut self.tally);
    }

    /// A message that begins with `tag` was seen to be spread over that many datagrams.
    pub(super) fn on_spread(&mut self, stream: &Stream, tag: &[u8], datagrams: u16) {
        let Some(record) = find_mut(&mut self.clients, stream) else { return };
        let sequence = record.tagged(tag).next();
        if let Some(message) = sequence.and_then(|sequence| record.message_mut(sequence)) {
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
            record.forget_all(&mut self.tally);
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

#[cfg(test)]
mod tests;
