//! An honest sender and a network that does what it likes.

use alloc::collections::{BTreeMap, BTreeSet};

use super::*;

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
