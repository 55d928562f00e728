//! Both ends of a reliable stream, over a link that loses, repeats and reorders, with a sender that gives messages
//! up: every other message arrives once, in order, and whole.

use std::collections::{BTreeMap, BTreeSet};

use bowline_core::serial::ahead32;
use bowline_core::{Instant, Link, Outcome, Quota, Tag};
use bowline_transport::credit::{GrantLimits, blocks_for};
use bowline_transport::record::Record;
use bowline_transport::reliable::{Head, InStream, OutStream};
use bowline_transport::run::encode_prefix;
use bowline_transport::tickets::{Ends, Outcomes, Request};

use super::memory::{Memory, byte};
use crate::feed::Feed;

const BLOCK_LEN: usize = 20;

#[derive(Clone, Debug)]
struct Packet {
    number: u64,
    frames: Vec<Frame>,
}

#[derive(Clone, Debug)]
struct Frame {
    /// Where the bytes belong, which is what a long offset tells.
    start: u32,
    len: u32,
    /// Whether its receiver sees the low byte of the offset only.
    short: bool,
    /// Nothing if the range was given up.
    bytes: Option<Vec<u8>>,
}

/// A message: where it lies, and what has become of it.
#[derive(Clone, Debug)]
struct Message {
    start: u32,
    bytes: Vec<u8>,
    tag: Option<Tag>,
    given_up: bool,
    acked: bool,
}

struct World {
    near: Memory,
    ticket_quota: Quota,
    outcomes: Outcomes,
    out: OutStream,
    next_number: u64,
    /// The ranges of packets that have no fate yet.
    in_flight: BTreeMap<u64, Vec<Link>>,
    packets: Vec<Packet>,
    acks: Vec<u64>,
    far: Memory,
    stream: InStream,
    seen: BTreeSet<u64>,
    messages: Vec<Message>,
    end: u32,
    read: usize,
    limits: GrantLimits,
}

/// Messages are queued, sent, acknowledged, taken for lost rightly and wrongly, given up, read; in the end all arrives.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let initial = match feed.u8() % 3 {
        0 => 0,
        1 => u32::MAX - u32::from(feed.u8()),
        _ => feed.u32(),
    };
    let mut world = World::new(initial, 4 + u32::from(feed.u16() & 0x1FF));
    while !feed.is_empty() {
        world.act(&mut feed);
    }
    world.settle();
}

impl World {
    fn new(initial: u32, window: u32) -> Self {
        let promised = blocks_for(window, BLOCK_LEN);
        let mut far = Memory::new(promised as usize + 120, BLOCK_LEN, 300);
        assert!(far.with(|pool, blocks, _| pool.promise(blocks, promised)));
        Self {
            near: Memory::new(60, BLOCK_LEN, 2_000),
            ticket_quota: Quota::NONE,
            outcomes: Outcomes::NONE,
            out: OutStream::new(initial, window),
            next_number: 10,
            in_flight: BTreeMap::new(),
            packets: Vec::new(),
            acks: Vec::new(),
            far,
            stream: InStream::new(initial, window),
            seen: BTreeSet::new(),
            messages: Vec::new(),
            end: initial,
            read: 0,
            limits: GrantLimits { window_max: window, keep: 0, long: true },
        }
    }

    fn act(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() % 16 {
            0..3 => {
                let len = if feed.flag() { feed.below(30) } else { feed.below(300) };
                self.push(len, feed.flag());
            }
            3..6 => self.send(1 + feed.below(200), 1 + feed.below(200)),
            6..9 => {
                let Some(at) = near_front(feed.u8(), self.packets.len()) else { return };
                let copy = feed.u8() % 8 == 0;
                let packet = if copy { self.packets[at].clone() } else { self.packets.remove(at) };
                self.deliver(&packet);
            }
            9 => {
                let at = near_front(feed.u8(), self.packets.len());
                at.map(|at| self.packets.remove(at));
            }
            10 | 11 => {
                let Some(at) = near_front(feed.u8(), self.acks.len()) else { return };
                let number = self.acks.remove(at);
                self.ack(number);
            }
            12 => {
                let Some(at) = near_front(feed.u8(), self.in_flight.len()) else { return };
                let number = self.in_flight.keys().copied().nth(at);
                number.into_iter().for_each(|number| self.lose(number));
            }
            13 => self.give_up(feed.u8()),
            _ => self.read(),
        }
    }

    fn push(&mut self, len: usize, ticket: bool) -> bool {
        let number = self.messages.len();
        let message: Vec<u8> = (0..len).map(|at| byte(at + 1_000 * number)).collect();
        let (prefix, prefix_len) = encode_prefix(len);
        let bytes = [&prefix[..prefix_len], &message].concat();
        let out = &mut self.out;
        let fits = self.near.with(|pool, blocks, _| {
            let fits = out.blocks_needed(pool, bytes.len()) <= pool.available(blocks);
            if fits {
                out.append(pool, blocks, &bytes);
            }
            fits
        });
        if !fits {
            return false;
        }
        let start = self.end;
        self.end = start.wrapping_add(bytes.len() as u32);
        assert_eq!(self.out.end(), self.end);
        let tag = ticket.then_some(Tag(number as u32));
        if let Some(tag) = tag {
            let request = Request { tag: Some(tag), deadline: Instant::MAX, key: 0 };
            let (out, quota, end) = (&mut self.out, &mut self.ticket_quota, self.end);
            self.near.with(|_, _, ranges| {
                let link = ranges.records.take(quota).expect("a record for a ticket");
                out.tickets().push(ranges.records, link, &request, start, end);
            });
        }
        self.messages.push(Message { start, bytes: message, tag, given_up: false, acked: false });
        true
    }

    /// Fills a packet of `room` bytes, with frames of `most` at most.
    fn send(&mut self, mut room: usize, most: usize) {
        let number = self.next_number;
        let (mut frames, mut links) = (Vec::new(), Vec::new());
        while room > 0 {
            let out = &mut self.out;
            let Some(piece) = self.near.with(|_, _, ranges| out.peek(ranges)) else { break };
            let len = if piece.void { piece.len } else { piece.len.min(room.min(most) as u32) };
            let end = piece.start.wrapping_add(len);
            let short = !piece.void && out.allows_short_offset(end);
            let Some(link) = self.near.record(piece.start, end) else { break };
            links.push(link);
            let bytes = self.near.with(|pool, _, ranges| {
                if piece.void {
                    ranges.records[link].flags |= Record::VOID;
                    out.take_void(pool, ranges.records, piece);
                    return None;
                }
                let mut bytes = vec![0; len as usize];
                out.take(pool, ranges, piece, &mut bytes);
                Some(bytes)
            });
            room = room.saturating_sub(if piece.void { 11 } else { len as usize });
            frames.push(Frame { start: piece.start, len, short, bytes });
        }
        if !frames.is_empty() {
            self.next_number += 1;
            self.in_flight.insert(number, links);
            self.packets.push(Packet { number, frames });
        }
    }

    /// A packet arrives: all of it is checked before any of it is taken.
    fn deliver(&mut self, packet: &Packet) {
        let number = packet.number;
        if self.seen.contains(&number) {
            return;
        }
        let stream = &mut self.stream;
        for frame in packet.frames.iter().filter(|frame| frame.short) {
            match stream.expand(number, frame.start as u8) {
                None => return,
                start => assert_eq!(start, Some(frame.start), "a short offset is misread"),
            }
        }
        let taken = self.far.with(|pool, blocks, ranges| {
            // Blocks are promised along with the credit.
            let mut records = 0;
            for Frame { start, len, bytes, .. } in &packet.frames {
                let end = start.wrapping_add(*len);
                let needs = match bytes {
                    Some(_) => stream.check(pool, *start, end),
                    None => stream.check_void(pool, *start, end),
                };
                records += needs.expect("within the credit").1;
            }
            if records > ranges.records.available(ranges.quota) {
                return false;
            }
            for Frame { start, len, bytes, .. } in &packet.frames {
                let end = start.wrapping_add(*len);
                let taken = match bytes {
                    Some(bytes) => stream.write(pool, blocks, ranges, number, *start, bytes),
                    None => stream.void(pool, blocks, ranges, number, *start, end),
                };
                taken.expect("it was checked");
            }
            true
        });
        if taken {
            self.seen.insert(number);
            self.acks.push(number);
        }
    }

    fn ack(&mut self, number: u64) {
        let out = &mut self.out;
        for link in self.in_flight.remove(&number).unwrap_or_default() {
            let (quota, outcomes) = (&mut self.ticket_quota, &mut self.outcomes);
            self.near.with(|pool, blocks, ranges| {
                let acked = (ranges.records[link].start, ranges.records[link].end);
                out.on_acked(pool, blocks, ranges, link);
                let mut ends = Ends::new(quota, outcomes);
                out.settle(ranges.records, &mut ends, acked);
            });
        }
        self.hear();
    }

    fn lose(&mut self, number: u64) {
        let out = &mut self.out;
        for link in self.in_flight.remove(&number).unwrap_or_default() {
            self.near.with(|_, _, ranges| out.on_lost(ranges, link));
        }
    }

    fn give_up(&mut self, which: u8) {
        let pending: Vec<usize> = (0..self.messages.len())
            .filter(|at| self.messages[*at].tag.is_some())
            .filter(|at| !self.messages[*at].given_up && !self.messages[*at].acked)
            .collect();
        let Some(at) = near_front(which, pending.len()) else { return };
        let message = &mut self.messages[pending[at]];
        let Some(tag) = message.tag else { return };
        let (out, quota, outcomes) = (&mut self.out, &mut self.ticket_quota, &mut self.outcomes);
        let found = self.near.with(|_, _, ranges| {
            let ticket = out.tickets().find_tag(ranges.records, tag)?;
            let (sent, mut ends) = (out.sent(), Ends::new(quota, outcomes));
            out.tickets().give_up(ranges.records, &mut ends, ticket, Outcome::Cancelled, sent);
            Some(())
        });
        assert!(found.is_some(), "{tag:?} has no ticket and no end");
        message.given_up = true;
        self.hear();
    }

    /// Every ticket ends once, and as it should.
    fn hear(&mut self) {
        let (quota, outcomes) = (&mut self.ticket_quota, &mut self.outcomes);
        let told = self.near.with(|_, _, ranges| {
            core::iter::from_fn(|| outcomes.pop(ranges.records, quota)).collect::<Vec<_>>()
        });
        for (tag, outcome) in told {
            let message = &mut self.messages[tag.0 as usize];
            assert_eq!(message.tag.take(), Some(tag), "a second end");
            match outcome {
                Outcome::Acknowledged => message.acked = true,
                other => assert!(message.given_up && other == Outcome::Cancelled, "{other:?}"),
            }
        }
    }

    /// Reads all there is, and tells how far the sender may go.
    fn read(&mut self) {
        loop {
            let (stream, limits) = (&mut self.stream, &self.limits);
            let base = stream.base();
            let read = self.far.with(|pool, blocks, ranges| {
                stream.pass(pool, blocks, ranges);
                let (upto, _) = stream.readable_before(ranges.records, base);
                let mut message = None;
                if ahead32(upto, stream.read_offset()) > 0 {
                    match stream.head(pool, ranges.records, base, 1 << 20) {
                        Head::Message { prefix, len } => {
                            let mut bytes = vec![0; len];
                            let read = stream.place(pool, prefix).read(pool, &mut bytes);
                            assert_eq!(read, len);
                            message = Some((stream.read_offset(), bytes));
                            stream.consume(pool, blocks, prefix + len);
                        }
                        Head::Partial => {}
                        Head::Bad => panic!("the head is bad at {}", stream.read_offset()),
                    }
                }
                stream.grant(pool, blocks, limits);
                message
            });
            let Some((at, bytes)) = read else { break };
            // Those before it that were given up may be missing, and no others.
            let next = self.messages[self.read..].iter().position(|message| message.start == at);
            let next = self.read + next.expect("no message begins here");
            let passed = &self.messages[self.read..next];
            assert!(passed.iter().all(|message| message.given_up), "{passed:?} is passed over");
            assert_eq!(bytes, self.messages[next].bytes);
            self.read = next + 1;
        }
        self.out.on_credit(self.stream.credit().limit());
    }

    /// Now nothing happens to anything any more.
    fn settle(&mut self) {
        self.read();
        for _ in 0..2_000 {
            let left = &self.messages[self.read..];
            let done = left.iter().all(|message| message.given_up);
            if done && self.in_flight.is_empty() && self.out.queued() == 0 {
                break;
            }
            self.send(120, 90);
            while !self.packets.is_empty() {
                let packet = self.packets.remove(0);
                self.deliver(&packet);
            }
            for number in core::mem::take(&mut self.acks) {
                self.ack(number);
            }
            for number in self.in_flight.keys().copied().collect::<Vec<_>>() {
                self.lose(number);
            }
            self.read();
        }
        let left = &self.messages[self.read..];
        assert!(left.iter().all(|message| message.given_up), "{} get nowhere", left.len());
        // What was taken for lost and came to nothing is found out when it is looked for.
        let number = self.next_number;
        self.send(100, 100);
        assert_eq!((self.next_number, self.out.queued()), (number, 0), "there is more to send");
        assert!(!self.out.is_pending());
        assert!(self.messages.iter().all(|message| message.tag.is_none()), "no end was told");
        assert_eq!((self.near.in_use(), self.far.in_use()), ((0, 0), (0, 0)));
    }
}

/// Mostly the first, often one of the next.
fn near_front(which: u8, len: usize) -> Option<usize> {
    let which = if which & 1 == 0 { 0 } else { usize::from(which >> 1) };
    which.checked_rem(len)
}
