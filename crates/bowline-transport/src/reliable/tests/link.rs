use alloc::collections::{BTreeMap, BTreeSet};

use super::super::{Head, InStream, OutStream};
use super::*;
use crate::credit::{GrantLimits, blocks_for};

/// A packet on its way: its number, and ranges with what stands for their offset.
#[derive(Clone, Debug)]
struct Packet {
    number: u64,
    frames: Vec<Frame>,
}

#[derive(Clone, Debug)]
struct Frame {
    /// Where the bytes belong, which is what a long offset tells.
    start: u32,
    /// Whether its receiver sees the low byte of it only.
    short: bool,
    bytes: Vec<u8>,
}

/// Two sides, and what is under way between them.
struct World {
    near: Memory,
    out: OutStream,
    next_number: u64,
    /// The ranges of packets that have no fate yet.
    in_flight: BTreeMap<u64, Vec<Link>>,
    packets: Vec<Packet>,
    acks: Vec<u64>,
    far: Memory,
    stream: InStream,
    seen: BTreeSet<u64>,
    /// What waits to be appended, and the messages that are to be read.
    text: Vec<u8>,
    appended: usize,
    lens: Vec<usize>,
    read: usize,
    /// Packets dropped for the sake of their short offset.
    stale: usize,
    limits: GrantLimits,
}

const BLOCK_LEN: usize = 20;

impl World {
    fn new(initial: u32, window: u32, lens: &[usize]) -> Self {
        let promised = blocks_for(window, BLOCK_LEN);
        let mut far = Memory::new(promised as usize + 200, BLOCK_LEN, 100);
        assert!(far.with(|pool, blocks, _| pool.promise(blocks, promised)));
        Self {
            near: Memory::new(40, BLOCK_LEN, 1_000),
            out: OutStream::new(initial, window),
            next_number: 10,
            in_flight: BTreeMap::new(),
            packets: Vec::new(),
            acks: Vec::new(),
            far,
            stream: InStream::new(initial, window),
            seen: BTreeSet::new(),
            text: stream_of(lens),
            appended: 0,
            lens: lens.to_vec(),
            read: 0,
            stale: 0,
            limits: GrantLimits { window_max: window, keep: 0, long: true },
        }
    }

    fn append(&mut self, most: usize) {
        let len = most.min(self.text.len() - self.appended);
        let (out, bytes) = (&mut self.out, &self.text[self.appended..][..len]);
        self.appended += self.near.with(|pool, blocks, _| {
            if out.blocks_needed(pool, len) > pool.available(blocks) {
                return 0;
            }
            out.append(pool, blocks, bytes);
            len
        });
    }

    /// Fills a packet of `room` bytes, with frames of `most` at most.
    fn send(&mut self, mut room: usize, most: usize) {
        let number = self.next_number;
        let (mut frames, mut links) = (Vec::new(), Vec::new());
        while room > 0 {
            let out = &mut self.out;
            let Some(piece) = self.near.with(|_, _, ranges| out.peek(ranges)) else { break };
            let len = room.min(most).min(piece.len as usize);
            let end = piece.start.wrapping_add(len as u32);
            let mut bytes = vec![0; len];
            let short = out.allows_short_offset(end);
            self.near.with(|pool, _, ranges| out.take(pool, ranges, piece, &mut bytes));
            links.push(self.near.record(piece.start, end));
            frames.push(Frame { start: piece.start, short, bytes });
            room -= len;
        }
        if !frames.is_empty() {
            self.next_number += 1;
            self.in_flight.insert(number, links);
            self.packets.push(Packet { number, frames });
        }
    }

    /// A packet arrives: all of it is checked before any of it is written.
    fn deliver(&mut self, packet: &Packet) {
        let number = packet.number;
        if self.seen.contains(&number) {
            return;
        }
        let stream = &mut self.stream;
        let starts: Option<Vec<u32>> = packet
            .frames
            .iter()
            .map(|frame| {
                if frame.short {
                    stream.expand(number, frame.start as u8)
                } else {
                    Some(frame.start)
                }
            })
            .collect();
        let Some(starts) = starts else {
            self.stale += 1;
            return;
        };
        let true_starts = || packet.frames.iter().map(|frame| frame.start);
        assert!(starts.iter().copied().eq(true_starts()), "{packet:?} is read as {starts:?}");
        let taken = self.far.with(|pool, blocks, ranges| {
            let mut records = 0;
            for frame in &packet.frames {
                let end = frame.start.wrapping_add(frame.bytes.len() as u32);
                records += stream.check(pool, frame.start, end).unwrap().1;
            }
            if records > ranges.records.available(ranges.quota) {
                return false;
            }
            for frame in &packet.frames {
                if frame.short {
                    assert_eq!(stream.expand(number, frame.start as u8), Some(frame.start));
                }
                stream.write(pool, blocks, ranges, number, frame.start, &frame.bytes).unwrap();
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
            self.near.with(|pool, blocks, ranges| out.on_acked(pool, blocks, ranges, link));
        }
    }

    fn lose(&mut self, number: u64) {
        let out = &mut self.out;
        for link in self.in_flight.remove(&number).unwrap_or_default() {
            self.near.with(|_, _, ranges| out.on_lost(ranges, link));
        }
    }

    /// Reads all there is, and tells how far the sender may go.
    fn read(&mut self) {
        let (stream, text, limits) = (&mut self.stream, &self.text, &self.limits);
        loop {
            let upto = stream.base();
            let read = self.far.with(|pool, blocks, ranges| {
                let Head::Message { prefix, len } =
                    stream.head(pool, ranges.records, upto, 1 << 20)
                else {
                    stream.grant(pool, blocks, limits);
                    return None;
                };
                let mut bytes = vec![0; prefix + len];
                assert_eq!(stream.place(pool, 0).read(pool, &mut bytes), prefix + len);
                assert_eq!(bytes, text[self.read..][..prefix + len]);
                stream.consume(pool, blocks, prefix + len);
                stream.grant(pool, blocks, limits);
                Some((len, prefix + len))
            });
            let Some((len, whole)) = read else { break };
            assert_eq!(self.lens.remove(0), len);
            self.read += whole;
        }
        self.out.on_credit(stream.credit().limit());
    }

    fn act(&mut self, op: &Op) {
        let pick = |which: usize, len: usize| if len == 0 { None } else { Some(which % len) };
        match *op {
            Op::Append(most) => self.append(most),
            Op::Send(room, most) => self.send(room, most),
            Op::Deliver { which, copy } => {
                let Some(at) = pick(which, self.packets.len()) else { return };
                let packet = if copy { self.packets[at].clone() } else { self.packets.remove(at) };
                self.deliver(&packet);
            }
            Op::Drop(which) => {
                let Some(at) = pick(which, self.packets.len()) else { return };
                self.packets.remove(at);
            }
            Op::Ack(which) => {
                let Some(at) = pick(which, self.acks.len()) else { return };
                let number = self.acks.swap_remove(at);
                self.ack(number);
            }
            Op::Lose(which) => {
                let Some(at) = pick(which, self.in_flight.len()) else { return };
                let number = *self.in_flight.keys().nth(at).unwrap();
                self.lose(number);
            }
            Op::Read => self.read(),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Send(usize, usize),
    /// A packet under way arrives, and a copy of it may stay under way.
    Deliver {
        which: usize,
        copy: bool,
    },
    /// A packet under way does not arrive; its sender does not know.
    Drop(usize),
    /// One that arrived becomes known to have.
    Ack(usize),
    /// One without a fate is taken for lost, rightly or not.
    Lose(usize),
    Read,
}

fn op() -> impl Strategy<Value = Op> {
    // Mostly the oldest, often one of the next.
    let which = || prop_oneof![Just(0usize), 0usize..6, 0usize..60];
    prop_oneof![
        3 => prop_oneof![1usize..20, 1usize..400].prop_map(Op::Append),
        6 => (prop_oneof![1usize..20, 1usize..300], 1usize..300).prop_map(|(room, most)| Op::Send(room, most)),
        6 => (which(), prop::bool::weighted(0.2))
            .prop_map(|(which, copy)| Op::Deliver { which, copy }),
        1 => which().prop_map(Op::Drop),
        5 => which().prop_map(Op::Ack),
        2 => which().prop_map(Op::Lose),
        3 => Just(Op::Read),
    ]
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Over a link that loses, repeats and reorders packets and their acknowledgements, with a
    /// sender that takes packets for lost that are not: no byte is ever put in a wrong place, and
    /// every message arrives once, in order, as it was.
    #[test]
    fn a_stream_crosses_any_link(
        initial in initial(),
        window in prop_oneof![1u32..300, 300u32..1_000],
        lens in prop::collection::vec(0usize..200, 1..30),
        ops in prop::collection::vec(op(), 0..400),
    ) {
        let mut world = World::new(initial, window, &lens);
        ops.iter().for_each(|op| world.act(op));
        // Now nothing happens to anything any more.
        let mut rounds = 0;
        while !world.lens.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 2_000, "{} messages get nowhere", world.lens.len());
            world.append(50);
            world.append(1);
            world.send(120, 90);
            while !world.packets.is_empty() {
                let packet = world.packets.remove(0);
                world.deliver(&packet);
            }
            for number in core::mem::take(&mut world.acks) {
                world.ack(number);
            }
            for number in world.in_flight.keys().copied().collect::<Vec<_>>() {
                world.lose(number);
            }
            world.read();
        }
        for number in core::mem::take(&mut world.acks) {
            world.ack(number);
        }
        prop_assert_eq!(world.far.in_use(), (0, 0));
    }

    /// Packets that were sent one after the other, some of them again, arrive in any order: what
    /// most tempts a receiver to take a short offset for another one ([`World::deliver`] tells).
    #[test]
    fn no_short_offset_is_misread_in_a_shuffle(
        initial in initial(),
        rounds in prop::collection::vec(
            prop::collection::vec((0usize..130, 1usize..130, 0usize..12, any::<u16>()), 1..12),
            1..8,
        ),
    ) {
        let mut world = World::new(initial, 2_000, &[100; 100]);
        for sent in rounds {
            for &(append, room, lost, _) in &sent {
                world.append(append);
                world.send(room, 130);
                world.act(&if lost < 6 { Op::Lose(lost) } else { Op::Read });
            }
            let mut packets: Vec<_> = core::mem::take(&mut world.packets).into_iter()
                .zip(sent.iter().map(|sent| sent.3)).collect();
            packets.sort_by_key(|(_, place)| *place);
            for (packet, place) in packets {
                world.deliver(&packet);
                if place % 3 == 0 {
                    world.act(&Op::Ack(0));
                }
            }
            world.read();
        }
    }
}

#[test]
fn in_order_no_short_offset_is_ever_stale() {
    let mut world = World::new(u32::MAX - 1_000, 500, &[60; 100]);
    while !world.lens.is_empty() {
        world.append(61);
        world.send(100, 100);
        world.act(&Op::Deliver { which: 0, copy: false });
        world.act(&Op::Ack(0));
        world.read();
    }
    assert_eq!(world.stale, 0);
    assert_eq!((world.near.in_use(), world.far.in_use()), ((0, 0), (0, 0)));
}
