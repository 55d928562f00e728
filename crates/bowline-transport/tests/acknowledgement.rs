//! Packet numbers, acknowledgements, round trips and loss together: one side sends packets, the other
//! acknowledges them, over a link that delays, reorders and loses.

extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};

use bowline_core::{Duration, Instant, Link, Quota, Slot, SlotControl, Slots};
use bowline_transport::acks::AckSchedule;
use bowline_transport::loss::LossDetector;
use bowline_transport::receive_window::{Freshness, ReceiveWindow};
use bowline_transport::record::Record;
use bowline_transport::rtt::RttEstimator;
use bowline_transport::sent::SentPackets;
use proptest::prelude::*;

const FIRST: u64 = u32::MAX as u64 - 10;
const RECORDS: usize = 2_000;

#[derive(Clone, Debug)]
struct Path {
    /// One way, in microseconds.
    delay: u64,
    jitter: u64,
    /// Of 100 datagrams in either direction, while packets are sent.
    lost: u64,
    /// The longest time an ack is withheld.
    ack_delay: Duration,
    /// How many ranges an ack holds.
    ranges_max: usize,
    seed: u64,
}

/// What arrives.
#[derive(Clone, Debug)]
enum Datagram {
    Packet(u64),
    Ack { number: u64, ranges: Vec<(u64, u64)>, delay: Duration },
}

struct World {
    path: Path,
    now: Instant,
    random: u64,
    /// Whether the link still loses.
    is_bad: bool,
    under_way: BTreeMap<(Instant, u64), Datagram>,
    count: u64,
    // The side that sends packets.
    sent: SentPackets,
    loss: LossDetector,
    rtt: RttEstimator,
    next_number: u64,
    eliciting_at: Instant,
    loss_at: Option<Instant>,
    acks_from: u64,
    fates: BTreeMap<u64, bool>,
    // The side that acknowledges them.
    received: ReceiveWindow,
    acks: AckSchedule,
    next_ack: u64,
    accepted: BTreeSet<u64>,
    /// When the oldest packet came that no ack was sent for.
    waiting_since: Option<Instant>,
}

impl World {
    fn new(path: Path) -> Self {
        Self {
            now: Instant::from_micros(1_000_000),
            random: path.seed,
            is_bad: true,
            under_way: BTreeMap::new(),
            count: 0,
            sent: SentPackets::NONE,
            loss: LossDetector::new(),
            rtt: RttEstimator::new(Duration::from_millis(333)),
            next_number: FIRST,
            eliciting_at: Instant::ZERO,
            loss_at: None,
            acks_from: 0,
            fates: BTreeMap::new(),
            received: ReceiveWindow::new(FIRST),
            acks: AckSchedule::new(),
            next_ack: 0,
            accepted: BTreeSet::new(),
            waiting_since: None,
            path,
        }
    }

    /// A number below `end`; a linear congruential generator will do.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % end
    }

    fn launch(&mut self, datagram: Datagram) {
        if self.is_bad && self.below(100) < self.path.lost {
            return;
        }
        let delay = self.path.delay + self.below(self.path.jitter + 1);
        self.count += 1;
        self.under_way.insert((self.now + Duration::from_micros(delay), self.count), datagram);
    }

    fn send(&mut self, records: &mut Slots<'_, Record>, quota: &mut Quota) {
        let number = self.next_number;
        self.next_number += 1;
        let link = records.take(quota).unwrap();
        records[link].number = number as u32;
        (records[link].at, records[link].size) = (self.now, 100);
        self.sent.push(records, link);
        self.eliciting_at = self.now;
        self.launch(Datagram::Packet(number));
    }

    /// Whatever is due next happens; false if nothing ever will.
    fn step(&mut self, records: &mut Slots<'_, Record>, quota: &mut Quota, until: Instant) -> bool {
        let arrival = self.under_way.keys().next().map(|key| key.0);
        let probe = self.loss_at.or_else(|| {
            let at = self.loss.probe_at(self.eliciting_at, &self.rtt, self.path.ack_delay);
            (!self.sent.is_empty()).then_some(at)
        });
        let all = [arrival, probe, self.acks.due()];
        let Some(due) = all.into_iter().flatten().min().filter(|&due| due <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(due);
        if self.acks.due() == Some(due) {
            self.acknowledge();
        } else if arrival == Some(due) {
            let (_, datagram) = self.under_way.pop_first().unwrap();
            match datagram {
                Datagram::Packet(number) => self.on_packet(number),
                Datagram::Ack { number, ranges, delay } => {
                    self.on_ack(records, quota, number, &ranges, delay);
                }
            }
        } else if self.loss_at.is_some() {
            self.detect_lost(records, quota);
        } else {
            self.loss.on_probe_timeout();
            self.send(records, quota);
        }
        true
    }

    fn on_packet(&mut self, number: u64) {
        assert_eq!(self.received.check(number), Freshness::New);
        let arrival = self.received.record(number);
        let (in_order, largest) = (arrival.in_order, arrival.is_largest());
        self.acks.on_packet(self.now, true, in_order, largest, self.path.ack_delay);
        self.accepted.insert(number);
        self.waiting_since.get_or_insert(self.now);
    }

    fn acknowledge(&mut self) {
        let since = self.waiting_since.take().expect("an ack for nothing");
        assert!(self.now <= since + self.path.ack_delay, "too late");
        let mut ranges: Vec<_> = self.received.ranges().take(self.path.ranges_max).collect();
        ranges.reverse();
        let number = self.next_ack;
        self.next_ack += 1;
        let delay = self.acks.delay(self.now);
        self.acks.on_sent();
        self.launch(Datagram::Ack { number, ranges, delay });
    }

    fn on_ack(
        &mut self,
        records: &mut Slots<'_, Record>,
        quota: &mut Quota,
        number: u64,
        ranges: &[(u64, u64)],
        delay: Duration,
    ) {
        if number < self.acks_from {
            return;
        }
        self.acks_from = number + 1;
        let largest = ranges.last().unwrap().1;
        self.loss.on_ack(largest);
        let mut acked = self.sent.take_acked(records, ranges);
        while let Some(link) = acked.pop_front(records) {
            let number = number_of(records, link);
            if number == largest {
                self.rtt.on_sample(self.now - records[link].at, delay);
            }
            self.loss.on_progress();
            assert!(self.accepted.contains(&number), "{number} was never accepted");
            assert_eq!(self.fates.insert(number, true), None, "two fates");
            records.give(quota, link);
        }
        self.detect_lost(records, quota);
    }

    fn detect_lost(&mut self, records: &mut Slots<'_, Record>, quota: &mut Quota) {
        let (mut lost, next) = self.sent.take_lost(records, &self.loss, &self.rtt, self.now);
        self.loss_at = next;
        assert!(next.is_none_or(|at| at > self.now));
        while let Some(link) = lost.pop_front(records) {
            assert_eq!(self.fates.insert(number_of(records, link), false), None, "two fates");
            records.give(quota, link);
        }
    }
}

fn number_of(records: &Slots<'_, Record>, link: Link) -> u64 {
    FIRST + u64::from(records[link].number.wrapping_sub(FIRST as u32))
}

fn path() -> impl Strategy<Value = Path> {
    (
        1u64..150_000,
        prop_oneof![Just(0u64), 0u64..100_000],
        prop_oneof![Just(0u64), 0u64..60],
        0u64..31,
        1usize..6,
        any::<u64>(),
    )
        .prop_map(|(delay, jitter, lost, ack_delay, ranges_max, seed)| Path {
            delay,
            jitter,
            lost,
            ack_delay: Duration::from_millis(ack_delay),
            ranges_max,
            seed,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    /// Every packet gets one fate, soon after the link is good again, and no ack says more than is
    /// true. No ack is late, and there is none for nothing. Over a path that keeps order and loses
    /// nothing, nothing is taken for lost.
    #[test]
    fn every_packet_is_acknowledged_or_lost(
        path in path(),
        gaps in prop::collection::vec(prop_oneof![0u64..2_000, 0u64..200_000], 1..80),
    ) {
        let mut items = vec![Record::VACANT; RECORDS];
        let mut control = SlotControl::new(RECORDS as u32);
        let mut records = Slots::new(&mut items, &mut control);
        let mut quota = Quota::NONE;
        let is_perfect = path.jitter == 0 && path.lost == 0;
        let round_trip = Duration::from_micros(2 * path.delay);
        let mut world = World::new(path);
        for gap in gaps {
            world.send(&mut records, &mut quota);
            let until = world.now + Duration::from_micros(gap);
            while world.step(&mut records, &mut quota, until) {}
        }
        world.is_bad = false;
        // The longest wait for a probe is a minute, and the one after it finds the rest.
        let until = world.now + Duration::from_secs(150);
        while world.step(&mut records, &mut quota, until) {}
        prop_assert!(world.sent.is_empty(), "{} have no fate", records.ledger().in_use());
        prop_assert_eq!(world.fates.len() as u64, world.next_number - FIRST);
        prop_assert_eq!(world.sent.in_flight(), 0);
        prop_assert_eq!(records.ledger().in_use(), 0);
        prop_assert!(world.next_ack <= world.accepted.len() as u64);
        prop_assert!(!world.rtt.has_sample() || world.rtt.min() >= round_trip);
        if is_perfect {
            prop_assert!(world.fates.values().all(|&acked| acked), "{:?}", world.fates);
        }
    }
}
