use alloc::collections::{BTreeMap, BTreeSet};

use super::super::LooseStream;
use super::super::loose::{self, Arrival, Needs, Next, Taken, Unfit};
use super::*;
use crate::credit::{Grant, GrantLimits, blocks_for};

const BLOCK_LEN: usize = 13;
const LEN_MAX: u32 = 1 << 20;

/// What is in blocks that nothing was written to.
const POISON: u8 = 0xEE;

/// A receiver and its memory; all offsets count from `initial`.
struct Receiver {
    memory: Memory,
    stream: LooseStream,
    initial: u32,
    len_max: u32,
    /// Bytes of the message that is being read, and of those behind it that are read with it.
    held: Option<usize>,
    /// A message that was handed out: offset and bytes, prefix included.
    got: Vec<(u32, Vec<u8>)>,
}

impl Receiver {
    fn new(initial: u32, window: u32, spare_blocks: u32, records: usize, latest: bool) -> Self {
        let promised = blocks_for(window, BLOCK_LEN);
        let mut memory = Memory::new((promised + spare_blocks) as usize, BLOCK_LEN, records);
        memory.bytes.fill(POISON);
        assert!(memory.with(|pool, blocks, _| pool.promise(blocks, promised)));
        let stream = LooseStream::new(initial, window, latest);
        Self { memory, stream, initial, len_max: LEN_MAX, held: None, got: Vec::new() }
    }

    fn base(&self) -> u32 {
        self.stream.base().wrapping_sub(self.initial)
    }

    fn limit(&self) -> u32 {
        self.stream.credit().limit().wrapping_sub(self.initial)
    }

    fn arrival<'a>(&self, frame: &'a Frame) -> Arrival<'a> {
        let offset = self.initial.wrapping_add(frame.start);
        Arrival { offset, back: frame.back, data: &frame.data }
    }

    fn check(&mut self, frame: &Frame) -> Result<Needs, Unfit> {
        let (arrival, stream, len_max) = (self.arrival(frame), self.stream, self.len_max);
        self.memory.with(|pool, _, ranges| match frame.void {
            0 => stream.check(pool, ranges.records, &arrival, len_max),
            len => stream.check_void(pool, arrival.offset, arrival.offset.wrapping_add(len)),
        })
    }

    fn apply(&mut self, frame: &Frame) -> Result<Taken, Unfit> {
        let (arrival, len_max) = (self.arrival(frame), self.len_max);
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, ranges| match frame.void {
            0 => stream.write(pool, blocks, ranges, &arrival, len_max),
            len => {
                let end = arrival.offset.wrapping_add(len);
                let moved = stream.void(pool, blocks, ranges, arrival.offset, end)?;
                Ok(Taken { ready: false, moved })
            }
        })
    }

    /// Checks all frames of a packet, then applies them. None if it was dropped.
    fn packet(&mut self, frames: &[Frame]) -> Result<Option<bool>, Unfit> {
        let mut all = Needs::default();
        for frame in frames {
            let needs = match self.check(frame) {
                Err(Unfit::Crowded) => return Ok(None),
                needs => needs?,
            };
            all.blocks += needs.blocks;
            all.records += needs.records;
        }
        let fits = self.memory.with(|pool, blocks, ranges| {
            let has_blocks = all.blocks <= pool.available(blocks);
            assert!(has_blocks || frames.len() > 1, "the promise is not enough");
            has_blocks && all.records <= ranges.records.available(ranges.quota)
        });
        if !fits {
            return Ok(None);
        }
        let before = self.memory.in_use();
        let mut ready = false;
        for frame in frames {
            let base = self.stream.base();
            let taken = self.apply(frame)?;
            assert_eq!(taken.moved, self.stream.base() != base);
            ready |= taken.ready;
        }
        let after = self.memory.in_use();
        assert!(after.0 <= before.0 + all.blocks as u32);
        assert!(after.1 <= before.1 + all.records as u32);
        Ok(Some(ready))
    }

    /// The application finishes with what it reads.
    fn finish(&mut self) {
        let Some(len) = self.held.take() else { return };
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, ranges| stream.consume(pool, blocks, ranges, len));
    }

    /// The application asks for the next message, and reads on in the same run up to `most` messages.
    fn read(&mut self, most: usize) -> Result<bool, Unfit> {
        self.finish();
        let (stream, len_max) = (&mut self.stream, self.len_max);
        let next =
            self.memory.with(|pool, blocks, ranges| stream.next(pool, blocks, ranges, len_max));
        let Next::Message { prefix, len, at, run } = next else {
            assert!(!matches!(next, Next::Bad) || self.len_max < LEN_MAX);
            return if matches!(next, Next::Bad) { Err(Unfit::Bad) } else { Ok(false) };
        };
        assert!(prefix + len <= run);
        let mut content = vec![0; run - prefix];
        let read = self.memory.with(|pool, _, _| {
            let mut at = at;
            at.read(pool, &mut content)
        });
        assert_eq!(read, run - prefix);
        let mut bytes = encode_prefix(len).0[..prefix].to_vec();
        bytes.extend(&content);
        let offset = self.stream.held_offset().wrapping_sub(self.initial);
        let (mut upto, mut count) = (0, 0);
        while upto < bytes.len() && count < most.max(1) {
            let Ok(Some((len, prefix))) = crate::run::prefix(&bytes[upto..]) else { break };
            if upto + prefix + len > bytes.len() {
                break;
            }
            let whole = bytes[upto..upto + prefix + len].to_vec();
            self.got.push((offset.wrapping_add(upto as u32), whole));
            upto += prefix + len;
            count += 1;
        }
        self.held = Some(upto);
        Ok(true)
    }

    fn grant(&mut self, limits: &GrantLimits) -> Grant {
        let (stream, len_max) = (&mut self.stream, self.len_max);
        self.memory.with(|pool, blocks, _| stream.grant(pool, blocks, limits, len_max))
    }

    fn check_memory(&self) {
        let promised = self.stream.credit().blocks_promised(BLOCK_LEN);
        assert_eq!(self.memory.blocks.guaranteed(), promised);
        assert!(self.memory.blocks.held() <= promised, "more is held than was promised");
    }
}

/// Data, or `void` bytes that are given up.
#[derive(Clone, Debug)]
struct Frame {
    start: u32,
    back: Option<u32>,
    data: Vec<u8>,
    void: u32,
}

impl Frame {
    fn void(start: u32, end: u32) -> Self {
        Self { start, back: None, data: Vec::new(), void: end - start }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Open,
    Told,
    GivenUp,
}

/// An honest sender, what its network holds, and what should have come of it.
struct World {
    receiver: Receiver,
    text: Vec<u8>,
    /// Beginnings of the messages, and the end of the last.
    bounds: Vec<u32>,
    fates: Vec<Fate>,
    arrived: Vec<bool>,
    /// Messages the sender has given up, up to which offset.
    void: BTreeMap<usize, u32>,
    flying: Vec<Vec<Frame>>,
    latest: bool,
}

impl World {
    fn new(receiver: Receiver, messages: &[(usize, u8)], latest: bool) -> Self {
        let (mut text, mut bounds) = (Vec::new(), vec![0]);
        for &(len, key) in messages {
            let key: &[u8] = if latest { &[key % 4, 0, 0, key % 3] } else { &[] };
            let (prefix, prefix_len) = encode_prefix(len + key.len());
            text.extend(&prefix[..prefix_len]);
            text.extend(key);
            text.extend((text.len()..text.len() + len).map(byte));
            bounds.push(text.len() as u32);
        }
        Self {
            receiver,
            fates: vec![Fate::Open; messages.len()],
            arrived: vec![false; text.len()],
            text,
            bounds,
            void: BTreeMap::new(),
            flying: Vec::new(),
            latest,
        }
    }

    fn slice(&self, start: u32, end: u32, back: Option<u32>) -> Frame {
        Frame { start, back, data: self.text[start as usize..end as usize].to_vec(), void: 0 }
    }

    fn span(&self, message: usize) -> (u32, u32) {
        (self.bounds[message], self.bounds[message + 1])
    }

    /// Frames of messages from `first` on: whole ones while they fit, else a part from `skip` on.
    fn cut(&self, first: usize, skip: u32, room: u32) -> Option<Frame> {
        let limit = self.receiver.limit();
        let (start, end) = self.span(first);
        if self.void.contains_key(&first) {
            return None;
        }
        let room_end = (start + room).min(limit);
        if end <= room_end {
            let mut last = first + 1;
            while last < self.fates.len()
                && self.bounds[last + 1] <= room_end
                && !self.void.contains_key(&last)
            {
                last += 1;
            }
            return Some(self.slice(start, self.bounds[last], None));
        }
        let from = start + skip % (end - start);
        let upto = end.min(from + room).min(limit);
        (from < upto).then(|| self.slice(from, upto, Some(from - start)))
    }

    /// The sender gives messages up.
    fn give_up(&mut self, first: usize, count: usize) -> Vec<Frame> {
        let limit = self.receiver.limit();
        let mut frames = Vec::new();
        for message in first..(first + count).min(self.fates.len()) {
            let (start, end) = self.span(message);
            let from = self.void.get(&message).copied().unwrap_or(start);
            let upto = end.min(limit);
            if from >= upto {
                break;
            }
            self.void.insert(message, upto);
            let last: Option<&mut Frame> = frames.last_mut();
            match last {
                Some(last) if last.start + last.void == from => last.void += upto - from,
                _ => frames.push(Frame::void(from, upto)),
            }
        }
        frames
    }

    fn arrive(&mut self, packet: &[Frame]) -> bool {
        let Some(ready) = self.receiver.packet(packet).expect("an honest sender is believed")
        else {
            return false;
        };
        let mut told = false;
        for frame in packet {
            let end = frame.start + frame.data.len() as u32 + frame.void;
            let mut changed = BTreeSet::new();
            for at in frame.start..end {
                if !core::mem::replace(&mut self.arrived[at as usize], true) {
                    changed.insert(self.bounds.partition_point(|&bound| bound <= at) - 1);
                }
            }
            for message in 0..self.fates.len() {
                let (first, last) = self.span(message);
                if self.fates[message] != Fate::Open || last <= frame.start || end <= first {
                    continue;
                }
                let whole = self.arrived[first as usize..last as usize].iter().all(|&here| here);
                if frame.void > 0 {
                    self.fates[message] = Fate::GivenUp;
                } else if whole && changed.contains(&message) {
                    self.fates[message] = Fate::Told;
                    told = true;
                }
            }
        }
        assert_eq!(ready, told, "{packet:?}");
        true
    }

    fn check(&self) {
        self.receiver.check_memory();
        let base = self.arrived.iter().take_while(|&&here| here).count() as u32;
        assert_eq!(self.receiver.base(), base);
        let mut seen = BTreeSet::new();
        let mut newest = BTreeMap::new();
        for (offset, bytes) in &self.receiver.got {
            let message = self.bounds.binary_search(offset).expect("it begins somewhere");
            let (start, end) = self.span(message);
            assert_eq!(bytes[..], self.text[start as usize..end as usize]);
            assert!(seen.insert(message), "twice");
            assert_eq!(self.fates[message], Fate::Told);
            if self.latest {
                let before = newest.insert(self.key(message), message);
                assert!(before.is_none_or(|before| before < message), "an older one after a newer");
            }
        }
    }

    fn key(&self, message: usize) -> u32 {
        let (start, end) = self.span(message);
        let (_, prefix) =
            crate::run::prefix(&self.text[start as usize..end as usize]).unwrap().unwrap();
        let key = &self.text[start as usize + prefix..][..4];
        u32::from_be_bytes(key.try_into().unwrap())
    }

    /// Everything told was handed over, but what a newer one of its key replaced.
    fn check_end(&self) {
        let got: BTreeSet<_> = self.receiver.got.iter().map(|(offset, _)| *offset).collect();
        for (message, fate) in self.fates.iter().enumerate() {
            assert_ne!(*fate, Fate::Open);
            let replaced = self.latest
                && (message + 1..self.fates.len()).any(|other| {
                    self.fates[other] == Fate::Told && self.key(other) == self.key(message)
                });
            let told = *fate == Fate::Told;
            let got = got.contains(&self.bounds[message]);
            assert!(got == told || told && replaced, "message {message} is {fate:?}, got: {got}");
        }
        assert_eq!(self.receiver.memory.in_use(), (0, 0));
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A packet is made of messages: the first, how far into it, and how much room.
    Send(Vec<(usize, u32, u32)>),
    GiveUp(usize, usize),
    /// A packet of those under way arrives; and it stays, to arrive again.
    Arrive(usize, bool),
    Read(usize),
    Finish,
    Grant,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec((0usize..12, any::<u32>(), 5u32..80), 1..4).prop_map(Op::Send),
        1 => (0usize..8, 1usize..4).prop_map(|(first, count)| Op::GiveUp(first, count)),
        8 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(at, stays)| Op::Arrive(at, stays)),
        4 => (1usize..5).prop_map(Op::Read),
        1 => Just(Op::Finish),
        1 => Just(Op::Grant),
    ]
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever a network does to the packets of an honest sender, and however they are cut: a message
    /// is handed over once, when it is complete, or it was given up. What was promised for the credit is
    /// enough, and the credit is enough for every message.
    #[test]
    fn every_message_is_handed_over_once_or_was_given_up(
        initial in initial(),
        latest in any::<bool>(),
        (window, spare_blocks, window_max) in (16u32..300, 0u32..30, 16u32..500),
        records in 0usize..40,
        messages in prop::collection::vec((prop_oneof![5 => 0usize..30, 1 => 0usize..400], any::<u8>()), 1..40),
        ops in prop::collection::vec(op(), 0..200),
    ) {
        let most = (blocks_for(window, BLOCK_LEN) + spare_blocks - 1) as usize * BLOCK_LEN;
        let messages: Vec<_> = messages.iter().map(|&(len, key)| (len % (most - 6).max(1), key)).collect();
        let limits = GrantLimits { window_max, keep: blocks_for(most as u32, BLOCK_LEN), long: true };
        let receiver = Receiver::new(initial, window, spare_blocks, records, latest);
        let mut world = World::new(receiver, &messages, latest);
        let first_open = |world: &World| {
            let base = world.receiver.base();
            world.bounds.partition_point(|&bound| bound <= base) - 1
        };
        for op in ops {
            match op {
                Op::Send(cuts) => {
                    let open = first_open(&world);
                    let cut = |&(ahead, skip, room): &(usize, u32, u32)| {
                        (open + ahead < messages.len()).then(|| world.cut(open + ahead, skip, room))?
                    };
                    let packet: Vec<_> = cuts.iter().filter_map(cut).collect();
                    world.flying.push(packet);
                }
                Op::GiveUp(ahead, count) => {
                    let packet = world.give_up(first_open(&world) + ahead, count);
                    world.flying.push(packet);
                }
                Op::Arrive(at, stays) if !world.flying.is_empty() => {
                    let at = at % world.flying.len();
                    let packet = world.flying[at].clone();
                    if world.arrive(&packet) && !stays {
                        world.flying.swap_remove(at);
                    }
                }
                Op::Arrive(..) => {}
                Op::Read(most) => { world.receiver.read(most).unwrap(); }
                Op::Finish => world.receiver.finish(),
                Op::Grant => { world.receiver.grant(&limits); }
            }
            world.check();
        }
        // All is sent again from the base on until it is through.
        for round in 0.. {
            prop_assert!(round < 5_000, "{} of {}", world.receiver.base(), world.text.len());
            while world.receiver.read(3).unwrap() {
                world.check();
            }
            world.receiver.grant(&limits);
            let open = first_open(&world);
            if open == messages.len() {
                break;
            }
            if world.void.contains_key(&open) {
                let (start, end) = (world.bounds[open], world.bounds[open + 1]);
                let upto = end.min(world.receiver.limit());
                world.void.insert(open, upto);
                if upto > world.receiver.base() {
                    prop_assert!(world.arrive(&[Frame::void(start, upto)]));
                }
            } else {
                let skip = world.receiver.base() - world.bounds[open];
                if let Some(frame) = world.cut(open, skip, 50) {
                    prop_assert!(world.arrive(&[frame]), "whoever is next in order has room");
                }
            }
            world.check();
        }
        world.check_end();
    }
}

/// Frames that nobody honest sends: little that fits together, but much that begins like a message.
fn hostile() -> impl Strategy<Value = Frame> {
    let data = prop_oneof![
        2 => prop::collection::vec(0u8..12, 1..60),
        1 => prop::collection::vec(prop_oneof![0u8..40, 0x80u8..=0x81, any::<u8>()], 1..60),
        3 => prop::collection::vec(0usize..20, 1..6).prop_map(|lens| stream_of(&lens)),
    ];
    let back = prop::option::of(prop_oneof![3 => 0u32..40, 1 => 0u32..300]);
    let start = prop_oneof![8 => 0u32..150, 1 => 0u32..500, 1 => any::<u32>()];
    prop_oneof![
        4 => (start.clone(), back, data)
            .prop_map(|(start, back, data)| Frame { start, back, data, void: 0 }),
        1 => (start, prop_oneof![8 => 1u32..80, 1 => 1u32..1 << 28])
            .prop_map(|(start, void)| Frame { start, back: None, data: Vec::new(), void }),
    ]
}

#[derive(Clone, Debug)]
enum Attack {
    Packet(Vec<Frame>),
    Read(usize),
    Finish,
    Grant,
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        8 => prop::collection::vec(hostile(), 1..4).prop_map(Attack::Packet),
        3 => (1usize..4).prop_map(Attack::Read),
        1 => Just(Attack::Finish),
        1 => Just(Attack::Grant),
    ]
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever a peer sends, every byte that is handed over is one that it sent at that offset, none is
    /// twice, and no more memory is taken than was promised and counted.
    #[test]
    fn no_byte_is_handed_over_that_did_not_arrive(
        initial in initial(),
        latest in any::<bool>(),
        window in 16u32..300,
        records in 0usize..40,
        attacks in prop::collection::vec(attack(), 1..60),
    ) {
        let mut receiver = Receiver::new(initial, window, 10, records, latest);
        receiver.len_max = 200;
        let limits = GrantLimits { window_max: 300, keep: 0, long: true };
        let mut written: BTreeSet<(u32, u8)> = BTreeSet::new();
        for attack in attacks {
            match attack {
                Attack::Packet(mut packet) => {
                    for frame in &mut packet {
                        // Near what is missing.
                        frame.start = receiver.base().wrapping_add(frame.start).wrapping_sub(30);
                    }
                    for frame in &packet {
                        let bytes = (0u32..).zip(&frame.data);
                        written.extend(bytes.map(|(at, &byte)| (frame.start.wrapping_add(at), byte)));
                    }
                    let taken = receiver.packet(&packet);
                    prop_assert_ne!(taken, Err(Unfit::Crowded), "not enough was counted");
                }
                Attack::Read(most) => drop(receiver.read(most)),
                Attack::Finish => receiver.finish(),
                Attack::Grant => { receiver.grant(&limits); }
            }
            receiver.check_memory();
            receiver.stream.check_order(&receiver.memory);
        }
        let mut seen = BTreeSet::new();
        for (offset, bytes) in &receiver.got {
            for (at, &byte) in (0u32..).zip(bytes) {
                let offset = offset.wrapping_add(at);
                prop_assert!(written.contains(&(offset, byte)), "{byte} never arrived at {offset}");
                prop_assert!(seen.insert(offset), "the byte at {offset} twice");
            }
        }
        let stream = &mut receiver.stream;
        receiver.memory.with(|pool, blocks, ranges| stream.clear(pool, blocks, ranges));
        prop_assert_eq!(receiver.memory.in_use(), (0, 0));
    }
}

impl LooseStream {
    /// Holds the order of what is kept against what is said of it.
    fn check_order(&self, memory: &Memory) {
        let (spans, [read, partial, base]) = self.parts();
        let from = |offset: u32| offset.wrapping_sub(read) as i32;
        assert!(0 <= from(partial) && from(partial) <= from(base), "{self:?}");
        let (mut at, mut upto, mut count) = (spans, 0, 0);
        while let Some(link) = at.some() {
            let span = &memory.items[link.index()];
            assert!(upto <= from(span.start) && from(span.start) < from(span.end));
            assert!(from(span.start) <= from(span.number) && from(span.number) <= from(span.end));
            assert!(from(span.end) <= from(partial) || from(span.start) > from(base), "{self:?}");
            upto = from(span.end);
            (at, count) = (span.next, count + 1);
        }
        assert!(count <= loose::SPANS_MAX + 9);
    }
}
