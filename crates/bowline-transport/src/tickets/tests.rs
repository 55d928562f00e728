use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use bowline_core::{Link, Outcome, Quota, Slot, SlotControl, Slots};
use proptest::prelude::*;

use super::*;
use crate::key_tree::KeyTree;
use crate::record::Record;

const RECORDS: usize = 60;

/// Records, and where tickets go.
struct Memory {
    items: Vec<Record>,
    control: SlotControl<Record>,
    quota: Quota,
    outcomes: Outcomes,
    keys: Option<KeyTree>,
}

impl Memory {
    fn new(keyed: bool) -> Self {
        Self {
            items: vec![Record::VACANT; RECORDS],
            control: SlotControl::new(RECORDS as u32),
            quota: Quota::NONE,
            outcomes: Outcomes::NONE,
            keys: keyed.then_some(KeyTree::EMPTY),
        }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Slots<'_, Record>, &mut Ends<'_>) -> R) -> R {
        let mut records = Slots::new(&mut self.items, &mut self.control);
        let keys = self.keys.as_mut();
        let mut ends = Ends { quota: &mut self.quota, outcomes: &mut self.outcomes, keys };
        act(&mut records, &mut ends)
    }

    fn take(&mut self) -> Option<Link> {
        self.with(|records, ends| records.take(ends.quota))
    }

    fn pop(&mut self) -> Option<(Tag, Outcome)> {
        let mut records = Slots::new(&mut self.items, &mut self.control);
        self.outcomes.pop(&mut records, &mut self.quota)
    }
}

/// A message with a ticket, as the model sees it.
#[derive(Clone, Debug)]
struct Message {
    start: u32,
    end: u32,
    request: Request,
    link: Link,
    /// It has not ended.
    alive: bool,
    due: bool,
}

impl Message {
    fn is_dead(&self) -> bool {
        !self.alive
    }
}

/// A lane of a stream: its messages in order, gaps being those without tickets.
struct World {
    memory: Memory,
    tickets: Tickets,
    lane: VecDeque<Message>,
    told: VecDeque<(Tag, Outcome)>,
    /// Records of outcomes not told whose messages are gone.
    out: usize,
    base: u32,
    sent: u32,
    end: u32,
}

#[derive(Clone, Debug)]
enum Op {
    /// A message of this length and key, with a tag or without, that expires or not.
    Push(u32, u32, bool, Option<u64>),
    /// One without a ticket.
    Plain(u32),
    Send(u32),
    GiveUp(usize),
    Expire(u64),
    /// What is due first is told, as far as some credit goes.
    Void(u32),
    /// Any range given up was told in vain.
    VoidLost(usize, usize),
    Settle(usize),
    SettleWithin(usize, usize),
    Pop,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u32..40, 0u32..5, any::<bool>(), prop::option::of(0u64..50))
            .prop_map(|(len, key, tag, at)| Op::Push(len, key, tag, at)),
        1 => (1u32..40).prop_map(Op::Plain),
        4 => (1u32..60).prop_map(Op::Send),
        2 => any::<usize>().prop_map(Op::GiveUp),
        1 => (0u64..50).prop_map(Op::Expire),
        3 => (1u32..50).prop_map(Op::Void),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(from, count)| Op::VoidLost(from, count)),
        3 => any::<usize>().prop_map(Op::Settle),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Op::SettleWithin(from, to)),
        2 => Just(Op::Pop),
    ]
}

impl World {
    fn new(initial: u32, keyed: bool) -> Self {
        Self {
            memory: Memory::new(keyed),
            tickets: Tickets::NONE,
            lane: VecDeque::new(),
            told: VecDeque::new(),
            out: 0,
            base: initial,
            sent: initial,
            end: initial,
        }
    }

    /// How far `offset` lies behind all that is acknowledged.
    fn at(&self, offset: u32) -> u32 {
        offset.wrapping_sub(self.base)
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        (a.wrapping_sub(b) as i32) < 0
    }

    fn ended(&mut self, tag: Option<Tag>, outcome: Outcome) {
        self.told.extend(tag.map(|tag| (tag, outcome)));
    }

    fn act(&mut self, op: Op, tag: u32) {
        match op {
            Op::Push(len, key, tagged, at) => {
                let deadline = at.map_or(Instant::MAX, Instant::from_micros);
                let request = Request { tag: tagged.then_some(Tag(tag)), deadline, key };
                self.push(len, request);
            }
            Op::Plain(len) => self.end = self.end.wrapping_add(len),
            Op::Send(len) => {
                let len = len.min(self.end.wrapping_sub(self.sent));
                self.sent = self.sent.wrapping_add(len);
                let (tickets, sent) = (&mut self.tickets, self.sent);
                self.memory.with(|records, _| tickets.on_sent(records, sent));
            }
            Op::GiveUp(which) => {
                let alive: Vec<usize> =
                    (0..self.lane.len()).filter(|&at| self.lane[at].alive).collect();
                if let Some(&at) = alive.get(which % alive.len().max(1)) {
                    let (tickets, sent) = (&mut self.tickets, self.sent);
                    let link = self.lane[at].link;
                    self.memory.with(|records, ends| {
                        tickets.give_up(records, ends, link, Outcome::Cancelled, sent);
                        // Once more makes no difference.
                        tickets.give_up(records, ends, link, Outcome::Expired, sent);
                    });
                    self.die(at, Outcome::Cancelled);
                }
            }
            Op::Expire(now) => self.expire(Instant::from_micros(now)),
            Op::Void(credit) => self.void(credit),
            Op::VoidLost(from, count) => self.void_lost(from, count),
            Op::Settle(which) => self.settle(which),
            Op::SettleWithin(from, to) => self.settle_within(from, to),
            Op::Pop => {
                let gone = self.memory.with(|records, _| records.ledger().in_use());
                assert_eq!(self.memory.pop(), self.told.pop_front());
                let left = self.memory.with(|records, _| records.ledger().in_use());
                self.out -= (gone - left) as usize;
            }
        }
    }

    fn push(&mut self, len: u32, request: Request) {
        let Some(link) = self.memory.take() else { return };
        let (tickets, sent) = (&mut self.tickets, self.sent);
        let keyed = self.memory.keys.is_some();
        let same = |one: &Message| keyed && one.alive && one.request.key == request.key;
        let known = self.lane.iter().position(same);
        let older =
            self.memory.with(|records, ends| ends.keys.as_ref()?.find(records, request.key));
        assert_eq!(older, known.map(|at| self.lane[at].link));
        if let Some(at) = known {
            let place =
                self.memory.with(|records, _| tickets.unsent(records, older.unwrap(), sent));
            let Message { start, end, .. } = self.lane[at];
            assert_eq!(place.is_some(), !self.is_before(start, sent));
            if place.is_some_and(|(start, end)| end.wrapping_sub(start) == len) {
                assert_eq!(place, Some((start, end)));
                let was = self.lane[at].request.tag;
                self.memory
                    .with(|records, ends| ends.replace(records, older.unwrap(), link, &request));
                self.out += usize::from(was.is_some());
                self.ended(was, Outcome::Superseded);
                self.lane[at].request = request;
                return;
            }
            let tickets = &mut self.tickets;
            self.memory.with(|records, ends| {
                tickets.give_up(records, ends, older.unwrap(), Outcome::Superseded, sent);
            });
            self.die(at, Outcome::Superseded);
        }
        let (start, end) = (self.end, self.end.wrapping_add(len));
        let tickets = &mut self.tickets;
        self.memory.with(|records, ends| {
            tickets.push(records, link, &request, start, end);
            if let Some(keys) = &mut ends.keys {
                keys.insert(records, link);
            }
        });
        self.end = end;
        self.lane.push_back(Message { start, end, request, link, alive: true, due: false });
    }

    fn die(&mut self, at: usize, outcome: Outcome) {
        let sent = self.sent;
        let started = self.is_before(self.lane[at].start, sent);
        let message = &mut self.lane[at];
        (message.alive, message.due) = (false, started);
        let tag = message.request.tag;
        self.ended(tag, outcome);
    }

    fn expire(&mut self, now: Instant) {
        let (tickets, sent) = (&mut self.tickets, self.sent);
        let next = self.memory.with(|records, ends| tickets.expire(records, ends, now, sent));
        for at in 0..self.lane.len() {
            if self.lane[at].alive && self.lane[at].request.deadline <= now {
                self.die(at, Outcome::Expired);
            }
        }
        let left = self.lane.iter().filter(|one| one.alive).map(|one| one.request.deadline);
        assert_eq!(next, left.min().unwrap_or(Instant::MAX));
    }

    /// What is due, or what is given up where `sent` is, told as far as credit goes.
    fn void(&mut self, credit: u32) {
        let (tickets, sent) = (&self.tickets, self.sent);
        let voided = self.memory.with(|records, _| {
            tickets.first_due(records).or_else(|| tickets.void_at(records, sent, sent))
        });
        let Some((start, end)) = voided else { return };
        let beyond = self.at(end).saturating_sub(self.at(sent));
        let end = end.wrapping_sub(beyond.saturating_sub(credit));
        let upto = if self.is_before(sent, end) { end } else { sent };
        let tickets = &mut self.tickets;
        self.memory.with(|records, _| {
            tickets.on_void_sent(records, start, end);
            tickets.on_sent(records, upto);
        });
        self.sent = upto;
        for at in 0..self.lane.len() {
            let Message { start: from, .. } = self.lane[at];
            if !self.is_before(from, start) && self.is_before(from, end) {
                self.lane[at].due = false;
            }
        }
    }

    fn void_lost(&mut self, from: usize, count: usize) {
        let told: Vec<usize> = (0..self.lane.len())
            .filter(|&at| self.lane[at].is_dead() && self.is_before(self.lane[at].start, self.sent))
            .collect();
        let Some(&first) = told.get(from % told.len().max(1)) else { return };
        let mut last = first;
        for _ in 0..count % 4 {
            let joins = self
                .lane
                .get(last + 1)
                .is_some_and(|next| next.is_dead() && next.start == self.lane[last].end);
            last += usize::from(joins && told.contains(&(last + 1)));
        }
        let (start, end) = (self.lane[first].start, self.lane[last].end);
        let tickets = &mut self.tickets;
        self.memory.with(|records, _| tickets.on_void_lost(records, start, end));
        self.lane.range_mut(first..=last).for_each(|message| message.due = true);
    }

    fn leave(&mut self, at: usize) {
        let message = self.lane.remove(at).unwrap();
        if message.alive {
            self.ended(message.request.tag, Outcome::Acknowledged);
        }
        let untold = |tag| self.told.iter().any(|(told, _)| *told == tag);
        self.out += usize::from(message.request.tag.is_some_and(untold));
    }

    fn settle(&mut self, which: usize) {
        let far = self.at(self.sent) as usize;
        let base = self.base.wrapping_add((which % (far + 1)) as u32);
        let tickets = &mut self.tickets;
        self.memory.with(|records, ends| tickets.settle_before(records, ends, base));
        while self.lane.front().is_some_and(|one| !self.is_before(base, one.end)) {
            self.leave(0);
        }
        self.base = base;
    }

    fn settle_within(&mut self, from: usize, to: usize) {
        let far = self.at(self.sent) as usize + 1;
        let (from, to) = ((from % far).min(to % far) as u32, (from % far).max(to % far) as u32);
        let (start, end) = (self.base.wrapping_add(from), self.base.wrapping_add(to));
        let tickets = &mut self.tickets;
        self.memory.with(|records, ends| tickets.settle_within(records, ends, start, end));
        let mut at = 0;
        while let Some(message) = self.lane.get(at) {
            let in_it = !self.is_before(message.start, start) && !self.is_before(end, message.end);
            if in_it { self.leave(at) } else { at += 1 }
        }
    }

    fn joined(&self, at: usize) -> (u32, u32) {
        let (start, mut end) = (self.lane[at].start, self.lane[at].end);
        for next in self.lane.range(at + 1..) {
            if next.alive || next.start != end {
                break;
            }
            end = next.end;
        }
        (start, end)
    }

    fn check(&mut self) {
        let held = self.lane.len() + self.out;
        assert_eq!(self.memory.quota.held() as usize, held);
        assert_eq!(self.tickets.is_empty(), self.lane.is_empty());
        assert_eq!(self.memory.outcomes.is_empty(), self.told.is_empty());
        let dead = self.lane.iter().filter(|one| one.is_dead());
        let unsent = dead.clone().filter(|one| self.is_before(self.sent, one.end));
        assert_eq!(self.tickets.dead(), [dead.count() as u32, unsent.count() as u32]);
        let due = self.lane.iter().position(|one| one.due);
        let expected = due.map(|at| self.joined(at));
        let tickets = &self.tickets;
        assert_eq!(tickets.any_due(), due.is_some());
        assert_eq!(self.memory.with(|records, _| tickets.first_due(records)), expected);
        let ends = self.lane.iter().flat_map(|one| [one.start, one.end.wrapping_sub(1)]);
        for offset in ends.chain([self.base, self.sent]).collect::<Vec<_>>() {
            let holds = |one: &Message| {
                !self.is_before(offset, one.start) && self.is_before(offset, one.end)
            };
            let dead = self.lane.iter().position(|one| one.is_dead() && holds(one));
            let expected = dead.map(|at| self.joined(at));
            let (tickets, sent) = (&self.tickets, self.sent);
            let void = self.memory.with(|records, _| tickets.void_at(records, offset, sent));
            assert_eq!(void, expected, "at {offset}");
            if dead.is_none() {
                let len = self.end.wrapping_sub(offset);
                let next = self
                    .lane
                    .iter()
                    .find(|one| one.is_dead() && !self.is_before(one.start, offset));
                let expected = next.map_or(len, |one| one.start.wrapping_sub(offset));
                let (tickets, sent) = (&self.tickets, self.sent);
                let alive =
                    self.memory.with(|records, _| tickets.alive(records, offset, len, sent));
                assert_eq!(alive, expected, "from {offset}");
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever is given up, told, lost, told again and acknowledged, in whatever order: each tagged message ends
    /// once, what is due is known, and all tickets come back.
    #[test]
    fn tickets_agree_with_a_list_of_messages(
        initial in prop_oneof![Just(0u32), (u32::MAX - 400)..=u32::MAX],
        keyed in any::<bool>(),
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut world = World::new(initial, keyed);
        for (tag, op) in ops.into_iter().enumerate() {
            world.act(op, tag as u32);
            world.check();
        }
        let tickets = &mut world.tickets;
        world.memory.with(|records, ends| tickets.abandon(records, ends));
        for message in core::mem::take(&mut world.lane) {
            if message.alive {
                world.ended(message.request.tag, Outcome::Closed);
            }
        }
        while let Some(told) = world.told.pop_front() {
            prop_assert_eq!(world.memory.pop(), Some(told));
        }
        prop_assert_eq!(world.memory.pop(), None);
        prop_assert_eq!(world.memory.quota.held(), 0);
        prop_assert!(world.memory.keys.is_none_or(|keys| keys.is_empty()));
        prop_assert!(world.tickets.is_empty() && !world.tickets.any_due());
    }
}
