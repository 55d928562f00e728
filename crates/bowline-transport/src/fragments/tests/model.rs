//! Reassembly against a message byte by byte, by random fragments.

use alloc::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::receive_window::{Freshness, ReceiveWindow};

/// A message, byte by byte.
#[derive(Clone)]
struct Model {
    key: (u8, bool, u16),
    bytes: Vec<Option<u8>>,
    number: u64,
    started: Instant,
}

impl Model {
    fn parts(&self) -> usize {
        let begins =
            |at: usize| self.bytes[at].is_some() && (at == 0 || self.bytes[at - 1].is_none());
        (0..self.bytes.len()).filter(|&at| begins(at)).count()
    }

    fn write(&mut self, part: &Fragment<'_>) {
        if part.offset == 0 && self.bytes[0].is_none() {
            self.number = part.number;
        }
        for (at, &byte) in part.data.iter().enumerate() {
            self.bytes[part.offset as usize + at].get_or_insert(byte);
        }
    }

    fn blocks(&self) -> usize {
        self.bytes.len().div_ceil(BLOCK_LEN)
    }
}

/// What reassembly should do, with everything counted anew each time.
struct Obvious {
    limits: Limits,
    slots: usize,
    blocks: usize,
    incomplete: Vec<Model>,
    completed: Vec<Model>,
    abandoned: u32,
}

impl Obvious {
    fn used(&self) -> (usize, usize) {
        let all = self.incomplete.iter().chain(&self.completed);
        (all.clone().count(), all.map(Model::blocks).sum())
    }

    fn fits(&self, blocks: usize, bytes: usize) -> bool {
        let (slots, used) = self.used();
        slots < self.slots
            && used + blocks <= self.blocks
            && self.incomplete.len() < usize::from(self.limits.messages)
            && self.incomplete.iter().map(|m| m.bytes.len()).sum::<usize>() + bytes
                <= self.limits.bytes as usize
    }

    /// Whether a message was completed.
    fn insert(&mut self, now: Instant, part: &Fragment<'_>) -> Result<bool, Refused> {
        let end = u64::from(part.offset) + part.data.len() as u64;
        if part.data.is_empty() || end > u64::from(part.total) {
            return Err(Refused::Malformed);
        }
        if part.total > self.limits.bytes {
            return Err(Refused::TooLong);
        }
        let key = (part.channel, part.ordered, part.id);
        let at = match self.incomplete.iter().position(|model| model.key == key) {
            Some(at) => {
                if self.incomplete[at].bytes.len() != part.total as usize {
                    return Err(Refused::Contradiction);
                }
                let mut then = self.incomplete[at].clone();
                then.write(part);
                if then.parts() > PART_MAX {
                    return Err(Refused::TooScattered);
                }
                self.incomplete[at] = then;
                at
            }
            None => {
                let bytes = vec![None; part.total as usize];
                let mut model = Model { key, bytes, number: 0, started: now };
                let before = (self.incomplete.clone(), self.abandoned);
                while !self.fits(model.blocks(), model.bytes.len()) {
                    if self.incomplete.is_empty() {
                        (self.incomplete, self.abandoned) = before;
                        return Err(Refused::Full);
                    }
                    self.incomplete.remove(0);
                    self.abandoned += 1;
                }
                model.write(part);
                self.incomplete.push(model);
                self.incomplete.len() - 1
            }
        };
        if self.incomplete[at].bytes.iter().any(Option::is_none) {
            return Ok(false);
        }
        let done = self.incomplete.remove(at);
        self.completed.push(done);
        Ok(true)
    }

    fn expire(&mut self, now: Instant) -> u32 {
        let before = self.incomplete.len();
        self.incomplete.retain(|model| now < model.started + self.limits.age);
        let gone = (before - self.incomplete.len()) as u32;
        self.abandoned += gone;
        gone
    }
}

#[derive(Clone, Debug)]
enum Op {
    Fragment {
        channel: u8,
        ordered: bool,
        id: u16,
        total: u32,
        offset: u32,
        len: usize,
    },
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The application takes the oldest completed message.
    Take,
}

/// Which message, offset, total, bytes.
type Cut = (usize, u32, u32, Vec<u8>);

/// Mostly of one length per id, and mostly within it; sometimes anything.
fn any_fragment() -> impl Strategy<Value = Op> {
    let honest = (0u8..2, any::<bool>(), 0u16..3, 0u32..8, 1usize..30).prop_map(
        |(channel, ordered, id, eighth, len)| {
            let total = 20 + 30 * u32::from(id);
            let offset = total * eighth / 8;
            let len = len.min((total - offset) as usize);
            Op::Fragment { channel, ordered, id, total, offset, len }
        },
    );
    let any = (0u8..2, any::<bool>(), 0u16..3, 0u32..130, 0u32..130, 0usize..40).prop_map(
        |(channel, ordered, id, total, offset, len)| Op::Fragment {
            channel,
            ordered,
            id,
            total,
            offset,
            len,
        },
    );
    prop_oneof![6 => honest, 2 => any]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![20 => any_fragment(), 1 => (1u64..80).prop_map(Op::Wait), 3 => Just(Op::Take)]
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever is sent, each fragment has the effect that the model says, `check` knows it
    /// before, and the limits hold.
    #[test]
    fn agrees_with_a_byte_by_byte_model(
        slots in 1usize..7,
        blocks in 1usize..40,
        messages in 0u16..6,
        bytes in 1u32..200,
        ops in prop::collection::vec(op(), 0..250),
    ) {
        let limits = Limits { messages, bytes, age: Duration::from_millis(100) };
        let mut world = World::new(slots, blocks, limits);
        let mut model = Obvious {
            limits, slots, blocks, incomplete: vec![], completed: vec![], abandoned: 0,
        };
        let mut completed = Vec::new();
        let mut now = Instant::ZERO;
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Wait(millis) => {
                    now = now + Duration::from_millis(millis);
                    let gone = world.with(|r, mem, limits| r.expire(mem, limits, now));
                    prop_assert_eq!(gone, model.expire(now));
                }
                Op::Take if !completed.is_empty() => {
                    let (message, text) = world.consume(completed.remove(0));
                    let whole = model.completed.remove(0);
                    prop_assert_eq!(text, whole.bytes.iter().copied().flatten().collect::<Vec<_>>());
                    prop_assert_eq!(rank(&message), 2 * whole.number + 1);
                    prop_assert_eq!((message.channel(), message.ordered(), message.id()), whole.key);
                }
                Op::Take => {}
                Op::Fragment { channel, ordered, id, total, offset, len } => {
                    let data: Vec<u8> = (0..len).map(|at| (number * 31 + at) as u8).collect();
                    let number = number as u64;
                    let part = Fragment { channel, ordered, id, offset, total, data: &data, number };
                    let checked = world.check(&part, &mut Plan::new());
                    let inserted = world.insert(now, &part);
                    prop_assert_eq!(checked, inserted.map(|_| ()));
                    prop_assert_eq!(inserted.map(|link| link.is_some()), model.insert(now, &part));
                    completed.extend(inserted.ok().flatten());
                }
            }
            let (slots, blocks) = model.used();
            prop_assert_eq!(world.in_use(), (slots as u32, blocks as u32));
            prop_assert_eq!(world.reassembly.abandoned(), model.abandoned);
            prop_assert_eq!(usize::from(world.reassembly.count()), model.incomplete.len());
            prop_assert!(world.reassembly.count() <= messages && world.reassembly.bytes() <= bytes);
            let oldest = model.incomplete.first().map(|oldest| oldest.started + limits.age);
            prop_assert_eq!(world.reassembly.deadline(), oldest);
        }
        completed.into_iter().for_each(|link| world.with(|_, mem, _| release(mem, link)));
        world.assert_all_given_back();
    }

    /// A packet that passed the check as a whole is taken as a whole, however little memory there
    /// is, unless it repeats bytes.
    #[test]
    fn what_was_planned_is_accepted(
        slots in 1usize..7,
        blocks in 1usize..30,
        messages in 1u16..5,
        bytes in 20u32..200,
        packets in prop::collection::vec(prop::collection::vec((0usize..6, 1usize..40), 1..5), 1..60),
        taken in prop::collection::vec(any::<bool>(), 60),
    ) {
        let limits = Limits { messages, bytes, age: Duration::from_millis(100) };
        let mut world = World::new(slots, blocks, limits);
        // On each channel one message after the other, cut in order.
        let total = |channel: usize| 15 + 20 * channel as u32;
        let mut cutters: Vec<_> = (0..6).map(|channel| Cutter::new(0, total(channel))).collect();
        let mut held = Vec::new();
        for (mut packet, taken) in packets.into_iter().zip(taken) {
            packet.sort_unstable();
            let mut parts = Vec::new();
            for (channel, room) in packet {
                let cutter = &mut cutters[channel];
                if cutter.done() {
                    *cutter = Cutter::new(cutter.id() + 1, cutter.total());
                }
                if let Some((offset, len)) = cutter.next(room) {
                    parts.push((channel as u8, *cutter, offset, vec![0; len as usize]));
                }
            }
            let parts = || parts.iter().map(|(channel, cutter, offset, data)| Fragment {
                channel: *channel,
                ..fragment(cutter.id(), *offset, cutter.total(), data)
            });
            let mut plan = Plan::new();
            if parts().all(|part| world.check(&part, &mut plan).is_ok()) {
                for part in parts() {
                    let inserted = world.insert(Instant::ZERO, &part);
                    prop_assert!(inserted.is_ok(), "{:?}", inserted);
                    held.extend(inserted.ok().flatten());
                }
            }
            if taken {
                held.drain(..).for_each(|link| { world.consume(link); });
            }
        }
        held.into_iter().for_each(|link| { world.consume(link); });
        world.assert_all_given_back();
    }

    /// Over a network that loses, repeats and reorders packets, a message arrives just when all
    /// packets with its fragments did, once, and as it was sent.
    #[test]
    fn whole_messages_cross_a_bad_network(
        lens in prop::collection::vec(1u32..400, 1..12),
        rooms in prop::collection::vec(1usize..120, 1..40),
        fates in prop::collection::vec((0u8..12, 0usize..30), 200),
    ) {
        let text = |id: usize, at: u32| (id as u32 * 91 + at * 7) as u8;
        // Packets, filled to the last byte of the room with fragments of one message after another.
        let mut rooms = rooms.iter().copied().cycle();
        let mut packets: Vec<Vec<Cut>> = vec![vec![]];
        let mut room = 0;
        for (id, &total) in lens.iter().enumerate() {
            let mut cutter = Cutter::new(id as u16, total);
            while !cutter.done() {
                if let Some((offset, len)) = cutter.next(room) {
                    let data = (offset..offset + len).map(|at| text(id, at)).collect();
                    packets.last_mut().unwrap().push((id, offset, total, data));
                    room -= len as usize;
                } else {
                    packets.push(vec![]);
                    room = rooms.next().unwrap();
                }
            }
        }

        // Each is lost, or comes once or twice, somewhat later.
        let mut arrivals = Vec::new();
        for number in 0..packets.len() {
            let (fate, later) = fates[number % fates.len()];
            if fate > 0 {
                arrivals.push((number + if fate > 8 { later } else { 0 }, number));
            }
            if fate == 1 {
                arrivals.push((number + later, number));
            }
        }
        arrivals.sort_unstable();

        let mut world = World::new(20, 1_000, ROOMY);
        let mut window = ReceiveWindow::new(0);
        let mut accepted = BTreeSet::new();
        let mut delivered = BTreeMap::new();
        for (_, number) in arrivals {
            if window.check(number as u64) != Freshness::New {
                continue;
            }
            let parts = || packets[number].iter().map(|(id, offset, total, data)| Fragment {
                channel: 3, ordered: true, id: *id as u16, offset: *offset, total: *total, data,
                number: number as u64,
            });
            let mut plan = Plan::new();
            if let Some(refused) = parts().find_map(|p| world.check(&p, &mut plan).err()) {
                prop_assert_eq!(refused, Refused::TooScattered);
                continue;
            }
            window.record(number as u64);
            accepted.insert(number);
            for part in parts() {
                if let Some(link) = world.insert(Instant::ZERO, &part).unwrap() {
                    let (message, bytes) = world.consume(link);
                    let first = delivered.insert(usize::from(message.id()), (rank(&message), bytes));
                    prop_assert!(first.is_none(), "{} came twice", message.id());
                }
            }
        }

        for (id, &total) in lens.iter().enumerate() {
            let mut carriers = (0..packets.len())
                .filter(|&number| packets[number].iter().any(|part| part.0 == id));
            let first = carriers.clone().next().unwrap() as u64;
            let expected = carriers.all(|number| accepted.contains(&number)).then(|| {
                (2 * first + 1, (0..total).map(|at| text(id, at)).collect::<Vec<_>>())
            });
            prop_assert_eq!(delivered.get(&id), expected.as_ref());
        }
        world.assert_all_given_back();
    }
}
