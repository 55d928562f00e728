//! `bowline-transport`: each mechanism by itself, told things in any order.

use bowline_core::{Duration, Instant, Link, Pool, PoolControl, Quota, Slot, SlotControl, Slots};
use bowline_transport::acks::AckSchedule;
use bowline_transport::congestion::{Controller, FixedWindow, InFlight};
use bowline_transport::fragments::{
    Assembly, Cutter, Fragment, Limits, Memory, Plan, Reassembly, rank, release,
};
use bowline_transport::liveness::{CallerClock, Liveness, keep_alive_for};
use bowline_transport::loss::{LossDetector, persistent_congestion_after};
use bowline_transport::receive_window::ReceiveWindow;
use bowline_transport::record::Record;
use bowline_transport::reliable::loose::{Arrival, LooseStream};
use bowline_transport::reliable::{InStream, OutStream, Ranges};
use bowline_transport::rtt::RttEstimator;
use bowline_transport::scheduler::{Member, Place, Queue};
use bowline_transport::sent::SentPackets;
use bowline_transport::share::{self, Class, Line, Share};
use bowline_transport::unreliable::{Inbox, OrderFilter, OutQueue};

use crate::input::{Input, keep};
use crate::outside::lent;

lent! {
    BLOCKS: [u8; 1024] = [0; 1024];
    SENT_RECORDS: [Record; 8] = [Record::VACANT; 8];
    ASSEMBLIES: [Assembly; 2] = [Assembly::VACANT; 2];
    QUEUED: [Queued; 4] = [Queued::VACANT; 4];
    SHARING: [Sharing; 4] = [Sharing::VACANT; 4];
}

/// Tells every mechanism things that nobody knows.
pub fn exercise(input: &mut Input) {
    received(input);
    timers(input);
    sent(input);
    scheduled(input);
    shared(input);
}

fn instant(input: &mut Input) -> Instant {
    Instant::from_micros(input.long())
}

fn duration(input: &mut Input) -> Duration {
    Duration::from_micros(input.long())
}

fn received(input: &mut Input) {
    let mut window = ReceiveWindow::new(input.long());
    let mut acks = AckSchedule::new();
    for _ in 0..input.word() {
        let number = input.long();
        keep(window.check(number));
        let arrival = window.record(number);
        let (now, eliciting) = (instant(input), input.word() != 0);
        acks.on_packet(now, eliciting, arrival.in_order, arrival.is_largest(), duration(input));
        keep((acks.due(), acks.pending(), acks.delay_code(instant(input))));
        keep((window.last_eight(), window.needs_only_last_eight()));
        window.ranges().for_each(keep);
        window.set_reported(input.long());
        acks.on_sent();
    }
}

fn timers(input: &mut Input) {
    let mut rtt = RttEstimator::new(duration(input));
    let mut loss = LossDetector::new();
    let mut clock = CallerClock::new();
    let keep_alive = keep_alive_for(duration(input), duration(input));
    let mut liveness = Liveness::new(instant(input), duration(input), keep_alive);
    let mut controller = FixedWindow::new(input.word());
    let mut in_flight = InFlight::new();
    for _ in 0..input.word() {
        rtt.on_sample(duration(input), duration(input));
        loss.on_ack(input.long());
        loss.on_probe_timeout();
        keep(loss.verdict(input.long(), instant(input), instant(input), &rtt));
        keep(loss.probe_at(instant(input), &rtt, duration(input)));
        keep(persistent_congestion_after(&rtt, duration(input)));
        let due = (input.word() != 0).then(|| instant(input));
        let now = clock.observe(instant(input), due);
        liveness.on_heard(clock.attended(now));
        liveness.on_eliciting_sent(now);
        keep((liveness.poll_dead(instant(input)), liveness.poll_ping(now)));
        keep(liveness.deadline(&clock));
        in_flight.on_sent(input.word());
        in_flight.on_acked(input.word());
        controller.on_ack(now, instant(input), input.word(), false, &rtt);
        keep(in_flight.room(controller.window()));
    }
}

/// Everything that keeps bytes, over one pool.
fn sent(input: &mut Input) {
    let (Some(bytes), Some(records), Some(assemblies)) =
        (BLOCKS.lend(), SENT_RECORDS.lend(), ASSEMBLIES.lend())
    else {
        return;
    };
    let mut blocks = PoolControl::new(input.word(), input.word());
    let mut pool = Pool::new(bytes, &mut blocks);
    let mut control = SlotControl::new(input.word());
    let mut records = Slots::new(records, &mut control);
    packets(input, &mut records);
    stream(input, &mut pool, &mut records);
    loose(input, &mut pool, &mut records);
    unreliable(input, &mut pool);
    let mut control = SlotControl::new(input.word());
    let mut assemblies = Slots::new(assemblies, &mut control);
    fragments(input, &mut pool, &mut assemblies);
}

fn packets(input: &mut Input, records: &mut Slots<'_, Record>) {
    let mut quota = Quota::NONE;
    let mut packets = SentPackets::NONE;
    let (mut loss, rtt) = (LossDetector::new(), RttEstimator::new(duration(input)));
    for _ in 0..input.word() {
        if let Some(link) = records.take(&mut quota) {
            records[link].number = input.word();
            records[link].size = input.word() as u16;
            packets.push(records, link);
        }
        let ranges = [(input.long(), input.long()), (input.long(), input.long())];
        let acked = packets.take_acked(records, &ranges);
        loss.on_ack(input.long());
        let (lost, deadline) = packets.take_lost(records, &loss, &rtt, instant(input));
        keep((deadline, packets.in_flight()));
        records.give_list(&mut quota, acked.head);
        records.give_list(&mut quota, lost.head);
        keep(packets.pop(records));
    }
}

fn stream(input: &mut Input, pool: &mut Pool<'_>, records: &mut Slots<'_, Record>) {
    let (mut blocks, mut quota) = (Quota::NONE, Quota::NONE);
    let mut ranges = Ranges { records, quota: &mut quota };
    let mut out = OutStream::new(input.word(), input.word());
    let mut into = InStream::new(input.word(), input.word());
    for _ in 0..input.word() {
        let bytes = input.bytes::<64>();
        let bytes = bytes.get(..input.index()).unwrap_or_default();
        keep(out.blocks_needed(pool, bytes.len()));
        out.append(pool, &mut blocks, bytes);
        keep(out.on_credit(input.word()));
        let link = ranges.records.take(ranges.quota).unwrap_or(Link::NONE);
        (ranges.records[link].start, ranges.records[link].end) = (input.word(), input.word());
        if let Some(piece) = out.peek(&mut ranges) {
            let mut sent = [0; 64];
            let sent = sent.get_mut(..input.index()).unwrap_or_default();
            out.take(pool, &mut ranges, piece, sent);
            keep(sent);
        }
        if input.word() == 0 {
            out.on_lost(&mut ranges, link);
        } else {
            keep(out.on_acked(pool, &mut blocks, &mut ranges, link));
        }
        let (start, end) = (input.word(), input.word());
        keep(into.check(pool, start, end));
        keep(into.write(pool, &mut blocks, &mut ranges, input.long(), start, bytes));
        keep(into.head(pool, ranges.records, input.word(), input.word()));
        keep(into.place(pool, input.index()).read(pool, &mut [0; 16]));
        into.consume(pool, &mut blocks, input.index());
        let limits = bowline_transport::credit::GrantLimits {
            window_max: input.word(),
            keep: input.word(),
            long: input.word() != 0,
        };
        keep(into.grant(pool, &mut blocks, &limits));
        keep(bowline_transport::credit::blocks_for(input.word(), input.index()));
        keep(into.credit().blocks_promised(input.index()));
        keep(out.take_lost(&mut ranges));
        keep(out.append_short(pool, bytes));
    }
    out.clear(pool, &mut blocks, &mut ranges);
    into.clear(pool, &mut blocks, &mut ranges);
}

fn loose(input: &mut Input, pool: &mut Pool<'_>, records: &mut Slots<'_, Record>) {
    let (mut blocks, mut quota) = (Quota::NONE, Quota::NONE);
    let mut ranges = Ranges { records, quota: &mut quota };
    let mut into = LooseStream::new(input.word(), input.word(), input.word() != 0);
    for _ in 0..input.word() {
        let bytes = input.bytes::<64>();
        let data = bytes.get(..input.index()).unwrap_or_default();
        let back = Some(input.word()).filter(|_| input.word() != 0);
        let arrival = Arrival { offset: input.word(), back, data };
        keep(into.check(pool, ranges.records, &arrival, input.word()));
        keep(into.write(pool, &mut blocks, &mut ranges, &arrival, input.word()));
        let (start, end) = (input.word(), input.word());
        keep(into.check_void(pool, start, end, input.word() != 0));
        keep(into.void(pool, &mut blocks, &mut ranges, start, end));
        keep(into.next(pool, &mut blocks, &mut ranges, input.word()));
        into.consume(pool, &mut blocks, &mut ranges, input.index());
        let limits = bowline_transport::credit::GrantLimits {
            window_max: input.word(),
            keep: input.word(),
            long: input.word() != 0,
        };
        keep(into.grant(pool, &mut blocks, &limits, input.word()));
        keep((into.base(), into.may_be_complete(), into.credit().limit()));
    }
    into.clear(pool, &mut blocks, &mut ranges);
}

fn unreliable(input: &mut Input, pool: &mut Pool<'_>) {
    let mut quota = Quota::NONE;
    let (mut queue, mut inbox) = (OutQueue::new(input.word() as u16), Inbox::EMPTY);
    let mut filter = OrderFilter::NEW;
    for _ in 0..input.word() {
        let bytes = input.bytes::<64>();
        let bytes = bytes.get(..input.index()).unwrap_or_default();
        queue.append(pool, &mut quota, bytes);
        keep(queue.next(pool, &mut quota, input.word(), input.index(), input.index()));
        let mut sent = [0; 64];
        let sent = sent.get_mut(..input.index()).unwrap_or_default();
        keep(queue.fragment());
        queue.take_fragment(pool, &mut quota, sent);
        queue.take_whole(pool, &mut quota, sent);
        keep(&*sent);
        inbox.append(pool, &mut quota, bytes);
        keep(inbox.front(pool).map(|(prefix, len, mut at)| (prefix, len, at.read(pool, sent))));
        inbox.consume(pool, &mut quota, input.index());
        keep(filter.deliver(input.long()));
    }
    queue.clear(pool, &mut quota);
    inbox.clear(pool, &mut quota);
}

fn fragments<'m>(input: &mut Input, pool: &mut Pool<'m>, slots: &mut Slots<'m, Assembly>) {
    let (mut slot_quota, mut block_quota) = (Quota::NONE, Quota::NONE);
    let (slot_quota, block_quota) = (&mut slot_quota, &mut block_quota);
    let mut mem = Memory { slots, slot_quota, pool, block_quota };
    let limits =
        Limits { messages: input.word() as u16, bytes: input.word(), age: duration(input) };
    let mut reassembly = Reassembly::new();
    let mut cutter = Cutter::new(input.word() as u16, input.word());
    for _ in 0..input.word() {
        let bytes = input.bytes::<64>();
        let fragment = Fragment {
            channel: input.word() as u8,
            ordered: input.word() != 0,
            id: input.word() as u16,
            offset: input.word(),
            total: input.word(),
            data: bytes.get(..input.index()).unwrap_or_default(),
            number: input.long(),
        };
        keep(reassembly.check(&mem, &limits, &fragment, &mut Plan::new()));
        if let Ok(Some(whole)) = reassembly.insert(&mut mem, &limits, instant(input), &fragment) {
            keep(rank(&mem.slots[whole]));
            release(&mut mem, whole);
        }
        keep(reassembly.expire(&mut mem, &limits, instant(input)));
        keep(cutter.next(input.index()));
    }
    reassembly.clear(&mut mem);
}

/// A member of one queue.
#[derive(Clone, Copy)]
struct Queued(Link, Place);

impl Slot for Queued {
    const VACANT: Self = Self(Link::NONE, Place::OUT);

    fn next(&self) -> Link {
        self.0
    }

    fn set_next(&mut self, next: Link) {
        self.0 = next;
    }
}

impl Member<0> for Queued {
    fn place(&mut self) -> &mut Place {
        &mut self.1
    }
}

fn scheduled(input: &mut Input) {
    let Some(items) = QUEUED.lend() else { return };
    let mut control = SlotControl::new(input.word());
    let mut slots = Slots::new(items, &mut control);
    let mut queue = Queue::<0>::EMPTY;
    for _ in 0..input.word() {
        queue.push(&mut slots, Link::new(input.word()));
        queue.push_front(&mut slots, Link::new(input.word()));
        queue.rotate(&mut slots);
        keep(queue.after(&mut slots, Link::new(input.word())));
        queue.remove(&mut slots, Link::new(input.word()));
        keep(queue.pop(&mut slots));
    }
}

/// A member of a line.
#[derive(Clone, Copy)]
struct Sharing(Link, Share);

impl Slot for Sharing {
    const VACANT: Self = Self(Link::NONE, Share::new(Class::DEFAULT));

    fn next(&self) -> Link {
        self.0
    }

    fn set_next(&mut self, next: Link) {
        self.0 = next;
    }
}

impl share::Member for Sharing {
    fn share(&mut self) -> &mut Share {
        &mut self.1
    }
}

fn shared(input: &mut Input) {
    let Some(items) = SHARING.lend() else { return };
    let mut control = SlotControl::new(input.word());
    let mut slots = Slots::new(items, &mut control);
    let mut line = Line::EMPTY;
    for _ in 0..input.word() {
        let class = Class {
            priority: input.word() as u8,
            weight: input.word() as u8,
            rate_min: input.word(),
            rate_max: input.word(),
        };
        keep(class.check());
        let now = instant(input);
        line.set_class(&mut slots, Link::new(input.word()), class);
        line.push(&mut slots, Link::new(input.word()));
        line.push_urgent(&mut slots, Link::new(input.word()));
        keep((line.wake_at(), line.is_due(now), line.front(&mut slots, now)));
        keep(line.has_others(&mut slots, Link::new(input.word()), now));
        let (bytes, more) = (input.word(), input.word() != 0);
        line.charge(&mut slots, Link::new(input.word()), bytes, more, now);
        line.remove(&mut slots, Link::new(input.word()));
    }
    line.clear(&mut slots);
}
