use alloc::collections::{BTreeMap, BTreeSet};

use super::super::LooseStream;
use super::super::loose::{self, Arrival, Needs, Next, Taken, Unfit};
use super::*;
use crate::credit::{Grant, GrantLimits, blocks_for};

const BLOCK_LEN: usize = 13;
const LEN_MAX: u32 = 1 << 20;

/// What is in blocks that nothing was written to: it could be a message.
const POISON: u8 = 5;

/// A receiver and its memory; all offsets count from `initial`.
struct Receiver {
    memory: Memory,
    stream: LooseStream,
    initial: u32,
    len_max: u32,
    /// Where the message begins that is being read, how long it is, and how many bytes are read with it.
    held: Option<(u32, usize, usize)>,
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

    fn check(&mut self, frame: &Frame, after: bool) -> Result<Needs, Unfit> {
        let (arrival, stream, len_max) = (self.arrival(frame), self.stream, self.len_max);
        self.memory.with(|pool, _, ranges| match frame.void {
            0 => stream.check(pool, ranges.records, &arrival, len_max),
            len => stream.check_void(pool, arrival.offset, arrival.offset.wrapping_add(len), after),
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

    /// Checks all frames of a packet, then applies them and tells what comes of each. None if it was
    /// dropped.
    fn packet(
        &mut self,
        frames: &[Frame],
        mut each: impl FnMut(&Frame, Result<Taken, Unfit>),
    ) -> Result<Option<()>, Unfit> {
        let mut all = Needs::default();
        let mut after = false;
        for frame in frames {
            let needs = match self.check(frame, after) {
                Err(Unfit::Crowded) => return Ok(None),
                needs => needs?,
            };
            after |= frame.void == 0;
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
        for frame in frames {
            let base = self.stream.base();
            let taken = self.apply(frame);
            assert!(taken.is_err() || taken.unwrap().moved == (self.stream.base() != base));
            each(frame, taken);
        }
        let after = self.memory.in_use();
        assert!(after.0 <= before.0 + all.blocks as u32);
        assert!(after.1 <= before.1 + all.records as u32);
        Ok(Some(()))
    }

    /// The application finishes with what it reads. Returns where that was.
    fn finish(&mut self) -> Option<(u32, usize)> {
        let (offset, _, len) = self.held.take()?;
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, ranges| stream.consume(pool, blocks, ranges, len));
        Some((offset, len))
    }

    /// The application asks for the next message, and reads on in the same run up to `most` messages.
    fn read(&mut self, most: usize) -> Result<bool, Unfit> {
        self.finish();
        let (stream, len_max) = (&mut self.stream, self.len_max);
        let next =
            self.memory.with(|pool, blocks, ranges| stream.next(pool, blocks, ranges, len_max));
        let (prefix, len, mut at, run) = match next {
            Next::Message { prefix, len, at, run } => (prefix, len, at, run),
            Next::Nothing => return Ok(false),
            Next::Bad => return Err(Unfit::Bad),
        };
        assert!(prefix + len <= run);
        let mut bytes = encode_prefix(len).0[..prefix].to_vec();
        bytes.resize(run, 0);
        let read = self.memory.with(|pool, _, _| at.read(pool, &mut bytes[prefix..]));
        assert_eq!(read, run - prefix);
        let offset = self.stream.held_offset().wrapping_sub(self.initial);
        let mut upto = 0;
        for _ in 0..most {
            let Ok(Some((len, prefix))) = crate::run::prefix(&bytes[upto..]) else { break };
            let Some(whole) = bytes.get(upto..upto + prefix + len) else { break };
            self.got.push((offset.wrapping_add(upto as u32), whole.to_vec()));
            upto += whole.len();
        }
        self.held = Some((offset, prefix + len, upto));
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
        let mut ready = false;
        let each = |_: &Frame, taken: Result<Taken, Unfit>| ready |= taken.unwrap().ready;
        let taken = self.receiver.packet(packet, each).expect("an honest sender is believed");
        if taken.is_none() {
            return false;
        }
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
                Op::Finish => { world.receiver.finish(); }
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

/// What became of a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Byte {
    Missing,
    Partial,
    Told,
    Done,
}

/// A stream byte by byte, to which anything may happen. Offsets are less than [`Model::LEN`]; those before
/// the first byte, which seem to be large, are done.
#[derive(Debug)]
struct Model {
    bytes: Vec<(Byte, u8)>,
    keys: BTreeMap<u32, u32>,
    latest: bool,
    len_max: u32,
}

impl Model {
    const LEN: u32 = 20_000;

    fn new(latest: bool, len_max: u32) -> Self {
        let bytes = vec![(Byte::Missing, POISON); Self::LEN as usize];
        Self { bytes, keys: BTreeMap::new(), latest, len_max }
    }

    fn at(&self, offset: u32) -> Byte {
        self.bytes.get(offset as usize).map_or(Byte::Done, |&(byte, _)| byte)
    }

    fn base(&self) -> u32 {
        self.bytes.iter().position(|&(byte, _)| byte == Byte::Missing).unwrap() as u32
    }

    /// Bytes that are not settled become `to`.
    fn mark(&mut self, start: u32, len: u32, to: Byte) {
        for offset in (0..len).map(|at| start.wrapping_add(at)) {
            if matches!(self.at(offset), Byte::Missing | Byte::Partial) {
                self.bytes[offset as usize].0 = to;
            }
        }
    }

    fn settled(&self, start: u32, len: u32) -> usize {
        let all = (0..len).map(|at| self.at(start.wrapping_add(at)));
        all.filter(|byte| matches!(byte, Byte::Told | Byte::Done)).count()
    }

    /// As many bytes as there are in a row of that kind.
    fn row(&self, start: u32, kind: Byte) -> Vec<u8> {
        let Some(from) = self.bytes.get(start as usize..) else { return Vec::new() };
        from.iter().take_while(|(byte, _)| *byte == kind).map(|&(_, value)| value).collect()
    }

    /// What is partial and has something settled between it and what is missing never is a message.
    fn tidy(&mut self) {
        let base = self.base() as usize;
        let before = &mut self.bytes[..base];
        let keep = before.iter().rev().take_while(|(byte, _)| *byte == Byte::Partial).count();
        for (byte, _) in &mut before[..base - keep] {
            if *byte == Byte::Partial {
                *byte = Byte::Done;
            }
        }
    }

    /// The length of the message that begins these bytes, with its prefix.
    fn parse(&self, bytes: &[u8]) -> Result<Option<usize>, Unfit> {
        match crate::run::prefix(bytes) {
            Ok(Some((len, _))) if len > self.len_max as usize => Err(Unfit::Bad),
            Ok(Some((len, _))) if self.latest && len < 4 => Err(Unfit::Bad),
            Ok(parsed) => Ok(parsed.map(|(len, prefix)| len + prefix)),
            Err(_) => Err(Unfit::Bad),
        }
    }

    fn key(bytes: &[u8]) -> u32 {
        let (_, prefix) = crate::run::prefix(bytes).unwrap().unwrap();
        u32::from_be_bytes(bytes[prefix..prefix + 4].try_into().unwrap())
    }

    fn tell(&mut self, start: u32, bytes: &[u8], ahead: bool) {
        if self.latest && ahead {
            let newest = self.keys.entry(Self::key(bytes)).or_default();
            *newest = start.max(*newest);
        }
        self.mark(start, bytes.len() as u32, Byte::Told);
    }

    /// Whether there is more to be read.
    fn apply(&mut self, frame: &Frame) -> Result<bool, Unfit> {
        if frame.void > 0 {
            self.mark(frame.start, frame.void, Byte::Done);
            self.tidy();
            return Ok(false);
        }
        let (start, len) = (frame.start, frame.data.len() as u32);
        let bytes = || (0..len).map(|at| start.wrapping_add(at)).zip(&frame.data);
        if bytes().all(|(offset, _)| self.at(offset) != Byte::Missing) {
            return Ok(false);
        }
        let base = self.base();
        let is_ahead = |offset: u32| offset < Self::LEN && offset > base;
        let mut whole = Vec::new();
        let mut rest = &frame.data[..];
        while frame.back.is_none() && !rest.is_empty() {
            let len = self.parse(rest)?.filter(|&len| len <= rest.len()).ok_or(Unfit::Bad)?;
            let at = start.wrapping_add(frame.data.len() as u32 - rest.len() as u32);
            match self.settled(at, len as u32) {
                0 => whole.push((at, &rest[..len])),
                all if all == len => {}
                _ => return Err(Unfit::Bad),
            }
            rest = &rest[len..];
        }
        let dead = self.settled(start, len) > 0;
        for (offset, &value) in bytes() {
            if self.at(offset) == Byte::Missing {
                self.bytes[offset as usize] = (Byte::Partial, value);
            }
        }
        let told = match frame.back {
            None => {
                whole.iter().for_each(|&(at, bytes)| self.tell(at, bytes, is_ahead(start)));
                Ok(!whole.is_empty())
            }
            Some(back) => {
                if dead && is_ahead(start) {
                    self.mark(start, len, Byte::Done);
                } else if dead {
                    self.tidy();
                }
                self.complete(start.wrapping_sub(back), start.wrapping_add(len))
            }
        };
        self.tidy();
        told
    }

    /// Tells the message that begins at `start` and has a part up to `end`, if it is complete.
    fn complete(&mut self, start: u32, end: u32) -> Result<bool, Unfit> {
        let row = self.row(start, Byte::Partial);
        let Some(len) = self.parse(&row)? else { return Ok(false) };
        if end.wrapping_sub(start) as usize > len {
            return Err(Unfit::Bad);
        }
        let Some(message) = row.get(..len) else { return Ok(false) };
        let base = self.base();
        self.tell(start, message, start > base);
        Ok(true)
    }

    /// The message to be read next.
    fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, Unfit> {
        while let Some(at) = self.bytes.iter().position(|&(byte, _)| byte == Byte::Told) {
            let row = self.row(at as u32, Byte::Told);
            let len = self.parse(&row)?.filter(|&len| len <= row.len()).ok_or(Unfit::Bad)?;
            let newest = if self.latest { self.keys.get(&Self::key(&row)) } else { None };
            if newest.is_none_or(|&newest| newest <= at as u32) {
                return Ok(Some((at as u32, row[..len].to_vec())));
            }
            self.finish(at as u32, len);
        }
        Ok(None)
    }

    fn finish(&mut self, start: u32, len: usize) {
        self.bytes[start as usize..][..len].iter_mut().for_each(|(byte, _)| *byte = Byte::Done);
    }
}

impl Receiver {
    /// Holds what is known of every byte against the model. What is being read may count as done.
    fn check_bytes(&mut self, model: &Model) {
        let arrived = model.bytes.iter().filter(|(byte, _)| *byte != Byte::Missing).count() as u32;
        let stream = &self.stream;
        let told = self.memory.with(|_, _, ranges| stream.arrived(ranges.records));
        assert_eq!(told, self.initial.wrapping_add(arrived));
        let (first, [read, partial, base]) = self.stream.parts();
        let mut bytes = vec![Byte::Missing; model.bytes.len()];
        let mut fill = |start: u32, end: u32, with: Byte| {
            let start = start.wrapping_sub(self.initial) as usize;
            bytes[start..end.wrapping_sub(self.initial) as usize].fill(with);
        };
        fill(self.initial, read, Byte::Done);
        fill(read, partial, Byte::Told);
        fill(partial, base, Byte::Partial);
        let (mut at, mut upto, mut count) = (first, read, 0);
        while let Some(link) = at.some() {
            let Record { start, end, number, next, .. } = self.memory.items[link.index()];
            let from = |offset: u32| offset.wrapping_sub(read) as i32;
            assert!(from(upto) <= from(start) && from(start) < from(end));
            assert!(from(start) <= from(number) && from(number) <= from(end));
            assert!(from(end) <= from(partial) || from(start) > from(base));
            if loose::is_partial(&self.memory.items[link.index()]) {
                fill(start, end, Byte::Partial);
            } else {
                fill(start, number, Byte::Done);
                fill(number, end, Byte::Told);
            }
            (at, upto, count) = (next, end, count + 1);
        }
        assert!(count <= loose::SPANS_MAX);
        if let Some((offset, len, _)) = self.held {
            let held = offset as usize..offset as usize + len;
            bytes[held.clone()].fill(Byte::Told);
            assert!(model.bytes[held].iter().all(|&(byte, _)| byte == Byte::Told));
        }
        let differs = (0..).zip(bytes.iter().zip(&model.bytes)).find(|(_, (a, b))| **a != b.0);
        assert_eq!(differs, None, "at this offset, {:?}", self.stream);
    }
}

/// Frames that nobody honest sends: little that fits together, but much that begins like a message.
fn hostile() -> impl Strategy<Value = Frame> {
    let data = prop_oneof![
        2 => prop::collection::vec(0u8..12, 1..60),
        1 => prop::collection::vec(prop_oneof![0u8..40, 0x80u8..=0x81, any::<u8>()], 1..60),
        4 => prop::collection::vec(0usize..20, 1..6).prop_map(|lens| stream_of(&lens)),
    ];
    let back = prop::option::of(prop_oneof![2 => Just(0), 3 => 0u32..40, 1 => 0u32..300]);
    let start = prop_oneof![4 => Just(30u32), 20 => 0u32..150, 1 => 0u32..500, 1 => any::<u32>()];
    let unlike_poison = |byte: u8| if byte == POISON { byte + 1 } else { byte };
    let data = data.prop_map(move |data| data.into_iter().map(unlike_poison).collect());
    prop_oneof![
        4 => (start.clone(), back, data)
            .prop_map(|(start, back, data)| Frame { start, back, data, void: 0 }),
        1 => (start, prop_oneof![8 => 1u32..80, 1 => 1u32..1 << 28])
            .prop_map(|(start, void)| Frame { start, back: None, data: Vec::new(), void }),
    ]
}

#[derive(Clone, Debug)]
enum Attack {
    /// Frames at so many bytes from 30 before what is missing.
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

    /// Whatever a peer sends, the stream knows of every byte what a model knows that looks at one byte
    /// after the other, and hands over the same messages: of bytes that arrived, and no byte twice. It
    /// takes no more memory than was promised and counted.
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
        let mut model = Model::new(latest, 200);
        for attack in attacks {
            match attack {
                Attack::Packet(mut packet) => {
                    for frame in &mut packet {
                        frame.start = receiver.base().wrapping_add(frame.start).wrapping_sub(30);
                    }
                    let _ = receiver.packet(&packet, |frame, taken| {
                        assert_eq!(taken.map(|taken| taken.ready), model.apply(frame), "{frame:?}");
                    });
                }
                Attack::Read(most) => {
                    if let Some((offset, len)) = receiver.finish() {
                        model.finish(offset, len);
                    }
                    let before = receiver.got.len();
                    let read = receiver.read(most);
                    let next = model.next();
                    prop_assert_eq!(read, next.clone().map(|next| next.is_some()));
                    if read.is_err() {
                        break;
                    }
                    prop_assert_eq!(receiver.got.get(before).cloned(), next.unwrap());
                }
                Attack::Finish => {
                    if let Some((offset, len)) = receiver.finish() {
                        model.finish(offset, len);
                    }
                }
                Attack::Grant => { receiver.grant(&limits); }
            }
            receiver.check_memory();
            receiver.check_bytes(&model);
        }
        let mut seen = BTreeSet::new();
        for (offset, bytes) in &receiver.got {
            for (at, &byte) in (*offset..).zip(bytes) {
                prop_assert_eq!(model.bytes[at as usize].1, byte);
                prop_assert!(seen.insert(at), "the byte at {at} twice");
            }
        }
        let stream = &mut receiver.stream;
        receiver.memory.with(|pool, blocks, ranges| stream.clear(pool, blocks, ranges));
        prop_assert_eq!(receiver.memory.in_use(), (0, 0));
    }
}

/// Whole messages, or a part of one.
fn frame(start: u32, back: Option<u32>, data: &[u8]) -> Frame {
    Frame { start, back, data: data.to_vec(), void: 0 }
}

impl Receiver {
    /// A packet of one frame arrives and is taken. Whether there is more to be read.
    fn take(&mut self, frame: Frame) -> Result<bool, Unfit> {
        let mut ready = Ok(false);
        self.packet(&[frame], |_, taken| ready = taken.map(|taken| taken.ready))?
            .ok_or(Unfit::Crowded)?;
        ready
    }

    /// What can be read now, offsets and contents.
    fn read_all(&mut self) -> Vec<(u32, Vec<u8>)> {
        let before = self.got.len();
        while self.read(1).unwrap() {}
        self.got[before..].to_vec()
    }
}

#[test]
fn a_message_does_not_wait_for_what_is_missing_before_it() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    assert_eq!(receiver.take(frame(10, None, &[2, 8, 9])), Ok(true));
    assert_eq!(receiver.read_all(), [(10, vec![2, 8, 9])]);
    assert_eq!(receiver.take(frame(10, None, &[2, 8, 9])), Ok(false), "again");
    assert_eq!(receiver.take(frame(10, Some(0), &[2, 8])), Ok(false), "and cut anew");
    assert_eq!(receiver.take(frame(5, Some(5), &[6, 7, 8, 9])), Ok(false));
    assert_eq!(receiver.take(frame(0, Some(0), &[8, 2, 3, 4, 5])), Ok(true));
    assert_eq!(receiver.memory.in_use().0, 1, "the blocks are needed until it is read");
    assert_eq!(receiver.read_all(), [(0, vec![8, 2, 3, 4, 5, 6, 7, 8, 9])]);
    assert_eq!(receiver.memory.in_use(), (1, 1), "9..10 is missing");
    assert_eq!(receiver.take(frame(9, None, &[0])), Ok(true));
    assert_eq!(receiver.read_all(), [(9, vec![0])]);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

#[test]
fn of_what_is_given_up_nothing_is_handed_over() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    // The second half of a message is here, and all of the next.
    assert_eq!(receiver.take(frame(15, Some(5), &[8; 5])), Ok(false));
    assert_eq!(receiver.take(frame(20, None, &[1, 1])), Ok(true));
    assert_eq!(receiver.take(Frame::void(10, 22)), Ok(false));
    assert_eq!(receiver.take(frame(10, Some(0), &[9, 8, 8, 8, 8])), Ok(false), "it comes too late");
    assert_eq!(receiver.read_all(), [(20, vec![1, 1])], "whole before it was given up");
    assert_eq!(receiver.take(Frame::void(0, 10)), Ok(false));
    assert_eq!(receiver.base(), 22);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

/// The limit cuts a message that is given up; what tells of its pieces comes the other way round.
#[test]
fn a_message_may_be_given_up_piece_by_piece() {
    let mut receiver = Receiver::new(7, 30, 0, 10, false);
    assert_eq!(receiver.take(frame(0, Some(0), &[40, 1, 1])), Ok(false));
    assert_eq!(receiver.take(Frame::void(10, 30)), Ok(false));
    assert_eq!(receiver.take(frame(3, Some(3), &[1; 7])), Ok(false));
    assert_eq!(receiver.base(), 30, "no byte is missing, but it is no message");
    assert_eq!(receiver.read_all(), []);
    assert_eq!(receiver.memory.in_use(), (0, 0));
    assert_eq!(receiver.take(Frame::void(0, 10)), Ok(false));
}

#[test]
fn a_message_that_is_settled_in_part_is_misbehaviour() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    assert_eq!(receiver.take(Frame::void(12, 15)), Ok(false));
    assert_eq!(receiver.take(frame(10, None, &[2, 1, 1])), Err(Unfit::Bad));
    assert_eq!(
        receiver.take(frame(12, None, &[2, 1, 1, 1, 1])),
        Ok(true),
        "what is not, is a message"
    );
    assert_eq!(receiver.take(frame(16, None, &[1, 1])), Err(Unfit::Bad), "it was told as another");
    assert_eq!(receiver.take(frame(10, Some(0), &[2, 1])), Ok(false), "a part says less");
    assert_eq!(receiver.read_all(), [(15, vec![1, 1])]);
}

#[test]
fn what_nobody_may_send_is_misbehaviour() {
    for (latest, frame, expected) in [
        (false, frame(0, None, &[3, 1, 2, 3]), Ok(true)),
        (false, frame(0, None, &[4, 1, 2, 3, 4]), Err(Unfit::Bad)),
        (false, frame(0, None, &[3, 1, 2]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[3, 1, 2]), Ok(false)),
        (false, frame(0, Some(0), &[4]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[1, 2, 3]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[0x80]), Ok(false)),
        (false, frame(0, Some(0), &[0x80, 3]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[0xF0]), Err(Unfit::Bad)),
        (true, frame(0, None, &[3, 1, 2, 3]), Err(Unfit::Bad)),
        (true, frame(0, Some(0), &[3]), Err(Unfit::Bad)),
        (false, frame(100, None, &[0]), Err(Unfit::OverCredit)),
        (false, Frame::void(90, 101), Err(Unfit::OverCredit)),
    ] {
        let mut receiver = Receiver::new(7, 100, 0, 10, latest);
        receiver.len_max = 3;
        assert_eq!(receiver.take(frame.clone()), expected, "{frame:?}");
    }
    let mut receiver = Receiver::new(7, 100, 0, 10, true);
    receiver.len_max = 4;
    assert_eq!(receiver.take(frame(0, None, &[4, 1, 2, 3, 4])), Ok(true), "with its key");
}

#[test]
fn of_a_key_nothing_older_follows_what_was_told() {
    let key = |key: u8, value: u8| [5, 0, 0, 0, key, value];
    let mut receiver = Receiver::new(7, 100, 0, 10, true);
    let offsets = |got: Vec<(u32, Vec<u8>)>| got.iter().map(|got| got.0).collect::<Vec<_>>();
    assert_eq!(receiver.take(frame(12, None, &key(1, 2))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [12]);
    assert_eq!(receiver.take(frame(6, None, &key(1, 1))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [], "older than the one before");
    assert_eq!(receiver.take(frame(0, None, &key(2, 0))), Ok(true));
    assert_eq!(receiver.take(frame(18, None, &key(1, 3))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [0, 18]);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

/// Whoever has begun many messages and ended none gets no further, but what is missing first comes
/// through.
#[test]
fn a_stream_in_too_many_pieces_takes_only_what_comes_first() {
    let mut receiver = Receiver::new(7, 3_000, 0, 1_000, false);
    let mut taken = 0;
    for piece in 1..1_000 {
        match receiver.take(frame(3 * piece, Some(0), &[9])) {
            Ok(ready) => assert!(!ready),
            refused => {
                assert_eq!(refused, Err(Unfit::Crowded));
                break;
            }
        }
        taken = piece;
    }
    assert!((250..=loose::SPANS_MAX as u32).contains(&taken), "{taken}");
    assert_eq!(receiver.take(frame(0, None, &[2, 8, 8])), Ok(true));
    assert_eq!(receiver.read_all(), [(0, vec![2, 8, 8])]);
}

/// A peer that is not read gets no more than its window, however long its messages seem to be together.
#[test]
fn only_a_message_may_be_longer_than_the_window() {
    let limits = GrantLimits { window_max: 64, keep: 0, long: true };
    let mut receiver = Receiver::new(7, 64, 20, 10, false);
    assert_eq!(receiver.take(frame(0, None, &[[39; 40], [9; 40]].concat()[..40])), Ok(true));
    assert_eq!(receiver.take(frame(40, Some(0), &[50; 24])), Ok(false));
    let grant = receiver.grant(&limits);
    assert_eq!((grant.long, grant.starved, receiver.limit()), (false, false, 64));
    receiver.read_all();
    assert!(receiver.limit() <= 64);
    receiver.grant(&limits);
    assert_eq!(receiver.limit(), 104, "a window from what was read");
    let mut receiver = Receiver::new(7, 64, 20, 10, false);
    assert_eq!(receiver.take(frame(0, Some(0), &[100; 64])), Ok(false));
    let grant = receiver.grant(&limits);
    assert_eq!((grant.raised, grant.long, receiver.limit()), (true, true, 101), "to its end");
    assert!(!receiver.stream.may_be_complete());
    assert_eq!(receiver.take(frame(64, Some(64), &[1; 37])), Ok(true));
    assert!(receiver.stream.may_be_complete());
    receiver.read_all();
    receiver.grant(&limits);
    assert_eq!(receiver.memory.blocks.guaranteed(), blocks_for(64, BLOCK_LEN), "it came back");
}

/// While a message is read its bytes stay, whatever becomes of those around it.
#[test]
fn what_is_read_stays_until_it_was() {
    let mut receiver = Receiver::new(7, 200, 0, 10, false);
    let message: Vec<u8> = [30].into_iter().chain(0..30).collect();
    assert_eq!(receiver.take(frame(50, None, &message)), Ok(true));
    assert_eq!(receiver.read(1), Ok(true));
    assert_eq!(receiver.take(Frame::void(0, 50)), Ok(false));
    assert_eq!(receiver.take(Frame::void(81, 120)), Ok(false));
    assert_eq!(receiver.base(), 120);
    assert!(receiver.memory.in_use().0 >= 3, "its blocks");
    receiver.finish();
    assert_eq!(receiver.memory.in_use(), (0, 0));
}
