use alloc::collections::BTreeSet;

use bowline_core::{Instant, Outcome};

use super::super::{OutStream, Piece};
use super::*;
use crate::tickets::{Ends, Outcomes, Request};

/// A sender, and what is known of each byte; all offsets count from `initial`.
struct World {
    memory: Memory,
    out: OutStream,
    initial: u32,
    /// What was appended.
    text: Vec<u8>,
    sent: usize,
    limit: usize,
    /// Ranges that were sent and have no fate yet.
    in_flight: Vec<Link>,
    acked: BTreeSet<usize>,
    /// Lost and not sent again.
    lost: BTreeSet<usize>,
    given_back: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    AppendShort(usize),
    Credit(u32),
    /// A range of at most so many bytes goes out.
    Send(usize),
    /// All of a lost range goes out again, with its own record.
    SendLost,
    Ack(usize),
    Lose(usize),
    /// Any bytes that were sent are acknowledged, or lost, whatever packets they were in.
    AckAny(usize, usize),
    LoseAny(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..60).prop_map(Op::Append),
        2 => (0usize..20).prop_map(Op::AppendShort),
        1 => (0u32..400).prop_map(Op::Credit),
        8 => (1usize..50).prop_map(Op::Send),
        1 => Just(Op::SendLost),
        4 => (0usize..30).prop_map(Op::Ack),
        3 => (0usize..30).prop_map(Op::Lose),
        1 => (any::<usize>(), 1usize..60).prop_map(|(at, len)| Op::AckAny(at, len)),
        1 => (any::<usize>(), 1usize..60).prop_map(|(at, len)| Op::LoseAny(at, len)),
    ]
}

impl World {
    fn new(initial: u32, credit: u32) -> Self {
        Self {
            memory: Memory::new(40, 13, 400),
            out: OutStream::new(initial, credit),
            initial,
            text: Vec::new(),
            sent: 0,
            limit: credit as usize,
            in_flight: Vec::new(),
            acked: BTreeSet::new(),
            lost: BTreeSet::new(),
            given_back: 0,
        }
    }

    fn base(&self) -> usize {
        (0..).find(|at| !self.acked.contains(at)).unwrap()
    }

    fn offset(&self, at: usize) -> u32 {
        self.initial.wrapping_add(at as u32)
    }

    fn distance(&self, offset: u32) -> usize {
        offset.wrapping_sub(self.initial) as usize
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Append(len) => self.append(len),
            Op::AppendShort(len) => self.append_short(len),
            Op::Credit(limit) => {
                let rose = self.out.on_credit(self.offset(limit as usize));
                assert_eq!(rose, limit as usize > self.limit);
                self.limit = self.limit.max(limit as usize);
            }
            Op::Send(most) => self.send(most),
            Op::SendLost => self.send_lost(),
            Op::Ack(_) | Op::Lose(_) if self.in_flight.is_empty() => {}
            Op::Ack(which) => {
                let link = self.in_flight.remove(which % self.in_flight.len());
                self.ack(link);
            }
            Op::Lose(which) => {
                let link = self.in_flight.remove(which % self.in_flight.len());
                self.lose(link);
            }
            Op::AckAny(..) | Op::LoseAny(..) if self.sent == 0 => {}
            Op::AckAny(at, len) => {
                let link = self.any(at, len);
                self.ack(link);
            }
            Op::LoseAny(at, len) => {
                let link = self.any(at, len);
                self.lose(link);
            }
        }
    }

    fn any(&mut self, at: usize, len: usize) -> Link {
        let start = at % self.sent;
        let end = self.sent.min(start + len);
        self.memory.record(self.offset(start), self.offset(end))
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        (self.text.len()..).take(len).map(byte).collect()
    }

    fn append(&mut self, len: usize) {
        let (bytes, out, text) = (self.bytes(len), &mut self.out, &mut self.text);
        self.memory.with(|pool, blocks, _| {
            if out.blocks_needed(pool, len) <= pool.available(blocks) {
                out.append(pool, blocks, &bytes);
                text.extend(bytes);
            }
        });
    }

    fn append_short(&mut self, len: usize) {
        let (bytes, out, text) = (self.bytes(len), &mut self.out, &mut self.text);
        self.memory.with(|pool, _, _| {
            let fits = out.blocks_needed(pool, 1 + len) == 0;
            assert_eq!(out.append_short(pool, &bytes), fits);
            if fits {
                text.push(len as u8);
                text.extend(bytes);
            }
        });
    }

    /// What the model says comes next.
    fn expected(&self) -> Option<Piece> {
        if let Some(&start) = self.lost.first() {
            let len = (start..).take_while(|at| self.lost.contains(at)).count() as u32;
            return Some(Piece { start: self.offset(start), len, again: true, void: false });
        }
        let len = self.text.len().min(self.limit).saturating_sub(self.sent) as u32;
        (len > 0).then_some(Piece { start: self.offset(self.sent), len, again: false, void: false })
    }

    fn send(&mut self, most: usize) {
        let out = &mut self.out;
        let piece = self.memory.with(|_, _, ranges| out.peek(ranges));
        assert_eq!(piece, self.expected());
        let Some(piece) = piece else { return };
        let len = most.min(piece.len as usize);
        let (start, end) = (piece.start, piece.start.wrapping_add(len as u32));
        let mut bytes = vec![0; len];
        let out = &mut self.out;
        self.memory.with(|pool, _, ranges| out.take(pool, ranges, piece, &mut bytes));
        let from = self.distance(start);
        assert_eq!(bytes, self.text[from..from + len]);
        self.lost.retain(|at| !(from..from + len).contains(at));
        self.sent = self.sent.max(from + len);
        let link = self.memory.record(start, end);
        self.in_flight.push(link);
    }

    fn send_lost(&mut self) {
        let expected = self.expected().filter(|piece| piece.again);
        let out = &mut self.out;
        let link = self.memory.with(|_, _, ranges| out.take_lost(ranges));
        assert_eq!(link.map(|link| self.memory.range(link).0), expected.map(|piece| piece.start));
        let Some(link) = link else { return };
        let (start, end) = self.memory.range(link);
        let sent = self.distance(start)..self.distance(end);
        self.lost.retain(|at| !sent.contains(at));
        self.in_flight.push(link);
    }

    fn ack(&mut self, link: Link) {
        let (start, end) = self.memory.range(link);
        let acked = self.distance(start)..self.distance(end);
        let out = &mut self.out;
        self.given_back +=
            self.memory.with(|pool, blocks, ranges| out.on_acked(pool, blocks, ranges, link));
        self.lost.retain(|at| !acked.contains(at));
        self.acked.extend(acked);
    }

    fn lose(&mut self, link: Link) {
        let (start, end) = self.memory.range(link);
        let lost = self.distance(start)..self.distance(end);
        let out = &mut self.out;
        self.memory.with(|_, _, ranges| out.on_lost(ranges, link));
        self.lost.extend(lost.filter(|at| !self.acked.contains(at)));
    }

    fn check(&mut self) {
        let base = self.base();
        assert_eq!(self.given_back, base);
        assert_eq!(self.out.queued() as usize, self.text.len() - base);
        assert!(self.out.is_pending() || self.expected().is_none());
        for end in [base, self.sent, base + 127, base + 128] {
            let short = self.sent.max(end) - base < 128;
            assert_eq!(self.out.allows_short_offset(self.offset(end)), short);
        }
        // Whatever is in flight can be copied once more, for a probe.
        for &link in &self.in_flight {
            let (start, end) = self.memory.range(link);
            let (from, to) = (self.distance(start).max(base), self.distance(end));
            let unacked = self.out.unacked(start, end);
            assert_eq!(unacked.is_some(), from < to);
            let first = self.distance(start) <= base && base < to;
            assert_eq!(self.out.is_first(start, end), first);
            let Some((start, end)) = unacked else { continue };
            let mut bytes = vec![0; end.wrapping_sub(start) as usize];
            let pool = Pool::new(&mut self.memory.bytes, &mut self.memory.pool);
            self.out.copy_range(&pool, start, &mut bytes);
            assert_eq!(bytes, self.text[from..to]);
        }
    }
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Next comes what was lost and is still wanted, in order, then what is new and allowed, each
    /// byte as it was appended; what is acknowledged is given back in order; in the end all is.
    #[test]
    fn a_sender_agrees_with_a_set_of_bytes(
        initial in initial(),
        credit in 0u32..300,
        ops in prop::collection::vec(op(), 0..200),
        clear in prop::bool::weighted(0.2),
    ) {
        let mut world = World::new(initial, credit);
        for op in ops {
            world.act(op);
            world.check();
        }
        if clear {
            let out = &mut world.out;
            world.memory.with(|pool, blocks, ranges| out.clear(pool, blocks, ranges));
            prop_assert_eq!(world.memory.in_use(), (0, world.in_flight.len() as u32));
            prop_assert_eq!(world.out.queued(), 0);
            return Ok(());
        }
        world.act(Op::Credit(world.text.len() as u32));
        while world.expected().is_some() {
            world.act(Op::Send(9));
        }
        while !world.in_flight.is_empty() {
            world.act(Op::Ack(0));
            world.check();
        }
        // A list of lost ranges may remain of which nothing is wanted any more.
        prop_assert_eq!(world.memory.with(|_, _, ranges| world.out.peek(ranges)), None);
        prop_assert_eq!(world.base(), world.text.len());
        prop_assert_eq!(world.memory.in_use(), (0, 0));
    }
}

#[test]
fn bytes_that_were_acknowledged_after_all_are_not_sent_again() {
    let mut world = World::new(u32::MAX - 9, 100);
    world.append(40);
    (0..4).for_each(|_| world.send(10));
    world.act(Op::Lose(1));
    world.act(Op::Lose(1));
    // The second ten and the third are lost; an ack covers the middle of both.
    world.act(Op::AckAny(15, 10));
    world.send(100);
    assert_eq!(world.memory.range(*world.in_flight.last().unwrap()), (0, 5));
    world.send(100);
    assert_eq!(world.memory.range(*world.in_flight.last().unwrap()), (15, 20));
    world.send(100);
    assert_eq!(world.in_flight.len(), 4);
}

/// A stream of messages of ten bytes, all with a ticket, all sent with a record each.
fn sent_in_tens(count: u32) -> (World, Vec<Link>, Outcomes, Quota) {
    let (mut world, mut tickets) = (World::new(0, 1_000), Vec::new());
    let request = Request { tag: None, deadline: Instant::MAX, key: 0 };
    let mut quota = Quota::NONE;
    for n in 0..count {
        world.append(10);
        let out = &mut world.out;
        tickets.push(world.memory.with(|_, _, ranges| {
            let link = ranges.records.take(&mut quota).unwrap();
            out.tickets().push(ranges.records, link, &request, 10 * n, 10 * n + 10);
            link
        }));
    }
    (0..count).for_each(|_| world.send(10));
    (world, tickets, Outcomes::NONE, quota)
}

fn give_up(world: &mut World, tickets: &[Link], outcomes: &mut Outcomes, quota: &mut Quota) {
    let out = &mut world.out;
    world.memory.with(|_, _, ranges| {
        let (ends, sent) = (&mut Ends::new(quota, outcomes), out.sent());
        for &ticket in tickets {
            out.tickets().give_up(ranges.records, ends, ticket, Outcome::Cancelled, sent);
        }
    });
}

#[test]
fn what_was_lost_can_be_taken_though_something_else_was_given_up() {
    let (mut world, tickets, mut outcomes, mut quota) = sent_in_tens(4);
    let lost = core::mem::take(&mut world.in_flight);
    lost.iter().for_each(|&link| world.lose(link));
    give_up(&mut world, &[tickets[0], tickets[2]], &mut outcomes, &mut quota);
    let out = &mut world.out;
    let void = Piece { start: 0, len: 10, again: false, void: true };
    assert_eq!(world.memory.with(|_, _, ranges| out.peek(ranges)), Some(void));
    let taken = world.memory.with(|_, _, ranges| out.take_lost(ranges)).unwrap();
    assert_eq!(world.memory.range(taken).0, 10);
}

#[test]
fn of_a_lost_range_comes_what_was_neither_acknowledged_nor_given_up() {
    const COUNT: u32 = 30;
    let (mut world, tickets, mut outcomes, mut quota) = sent_in_tens(COUNT);
    // Of three messages one is acknowledged, one given up, one lost.
    let sent = core::mem::take(&mut world.in_flight);
    let of = |remainder| (1..COUNT as usize).filter(move |n| n % 3 == remainder);
    give_up(&mut world, &of(1).map(|n| tickets[n]).collect::<Vec<_>>(), &mut outcomes, &mut quota);
    of(0).for_each(|n| world.ack(sent[n]));
    of(1).chain(of(2)).for_each(|n| world.lose(sent[n]));
    let mut pieces = Vec::new();
    let out = &mut world.out;
    world.memory.with(|pool, _, ranges| {
        while let Some(piece) = out.peek(ranges) {
            if piece.void {
                out.take_void(pool, ranges.records, piece);
            } else {
                assert!(piece.again);
                out.take(pool, ranges, piece, &mut vec![0; piece.len as usize]);
                pieces.push((piece.start, piece.len));
            }
        }
    });
    assert_eq!(pieces, of(2).map(|n| (10 * n as u32, 10)).collect::<Vec<_>>());
}
