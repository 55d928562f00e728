//! What holds for every network, whatever its links, nodes and machines do.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core, reason = "tests have std")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bowline_core::{Duration, Instant, Machine};
use bowline_sim::{
    Arrival, Bursts, Case, Departure, Link, Net, NodeId, PERCENT, Rng, Sighting, Step, Tap, cases,
    replay_on_panic,
};
use common::{Chatter, after};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// A network with machines, and everything that was chosen about it.
#[derive(Clone, Debug)]
struct Scene {
    seed: u64,
    links: Vec<Link>,
    habits: Vec<Habit>,
    datagrams: u32,
}

/// How a node is called.
#[derive(Clone, Debug)]
struct Habit {
    interval_millis: Option<u64>,
    stall_millis: Option<(u64, u64)>,
    socket: usize,
    rebinds: bool,
}

fn micros(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), range].prop_map(Duration::from_micros)
}

fn chance() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 2 => 0..500_000_u32, 1 => 500_000..=1_000_000_u32]
}

fn link() -> impl Strategy<Value = Link> {
    let times = (micros(1..50_000), micros(1..20_000), micros(1..50_000), micros(1..50_000));
    let bursts = prop::option::of((chance(), chance(), chance(), chance()));
    let rate = prop::option::of((20_000..5_000_000_u64, 0..100_000_u64));
    let clamp = prop_oneof![Just(usize::MAX), 0..1_500_usize];
    let outage = prop::option::of((0..400_u64, 0..200_u64));
    (times, bursts, (chance(), chance(), chance(), chance()), rate, clamp, outage).prop_map(
        |((delay, jitter, late, again), bursts, chances, rate, clamp, outage)| {
            let (loss, reorder, duplicate, corrupt) = chances;
            let mut link = Link::PERFECT
                .with_delay(delay)
                .with_jitter(jitter)
                .with_loss(loss)
                .with_reorder(reorder, late)
                .with_duplicate(duplicate, again)
                .with_corrupt(corrupt)
                .with_payload_max(clamp);
            if let Some((worsens, recovers, good_loss, bad_loss)) = bursts {
                link = link.with_bursts(Bursts { worsens, recovers, good_loss, bad_loss });
            }
            if let Some((rate, queue)) = rate {
                link = link.with_rate(rate, queue);
            }
            if let Some((from, span)) = outage {
                let from = Instant::from_micros(1_000_000) + Duration::from_millis(from);
                link = link.with_outage(from, from + Duration::from_millis(span));
            }
            link
        },
    )
}

fn habit() -> impl Strategy<Value = Habit> {
    (
        prop::option::of(1..40_u64),
        prop::option::of((0..300_u64, 1..300_u64)),
        prop_oneof![Just(256 * 1024), 0..20_000_usize],
        any::<bool>(),
    )
        .prop_map(|(interval_millis, stall_millis, socket, rebinds)| Habit {
            interval_millis,
            stall_millis,
            socket,
            rebinds,
        })
}

fn scene() -> impl Strategy<Value = Scene> {
    (1..6_usize)
        .prop_flat_map(|nodes| {
            (
                any::<u64>(),
                prop::collection::vec(link(), nodes * nodes),
                prop::collection::vec(habit(), nodes),
                1..60_u32,
            )
        })
        .prop_map(|(seed, links, habits, datagrams)| Scene { seed, links, habits, datagrams })
}

impl Scene {
    fn build(&self) -> (Net, Vec<Chatter>) {
        let count = self.habits.len();
        let mut net = Net::with_nodes(self.seed, count, Link::PERFECT);
        let start = net.now();
        for (i, link) in self.links.iter().enumerate() {
            net.set_link(i / count, i % count, *link);
        }
        for (node, habit) in self.habits.iter().enumerate() {
            if let Some(interval) = habit.interval_millis {
                let first = after(start, node as u64 * 777);
                net.poll_every(node, first, Duration::from_millis(interval));
            }
            if let Some((from, span)) = habit.stall_millis {
                let from = start + Duration::from_millis(from);
                net.stall(node, from, from + Duration::from_millis(span));
            }
            net.set_socket_buffer(node, habit.socket);
        }
        let peers: Vec<_> = (0..count).map(|node| net.address(node)).collect();
        let chatter = |node| Chatter::new(self.seed ^ node as u64, peers.clone(), self.datagrams);
        let machines = (0..count).map(chatter).collect();
        net.start_trace();
        (net, machines)
    }

    /// Half way through, those that do so change their address.
    fn rebind(&self, net: &mut Net) {
        for (node, habit) in self.habits.iter().enumerate() {
            if habit.rebinds {
                let port = 9_000 + node as u16;
                let new = std::net::SocketAddr::from(([10, 9, 9, 9], port));
                net.rebind(node, new.into()).unwrap();
            }
        }
    }
}

fn all(machines: &mut [Chatter]) -> Vec<&mut dyn Machine> {
    machines.iter_mut().map(|machine| machine as &mut dyn Machine).collect()
}

/// Remembers what was sent, and checks that what arrives was, and when.
#[derive(Clone)]
struct Witness(Rc<RefCell<Account>>);

struct Account {
    links: Vec<Link>,
    nodes: usize,
    /// How often a payload may yet arrive, for links that damage nothing.
    expected: BTreeMap<(Instant, Vec<u8>), u32>,
    queued: BTreeMap<Instant, Duration>,
    departures: u64,
    passed: u64,
    arrivals: u64,
}

impl Tap for Witness {
    fn departure(&mut self, _: NodeId, seen: &Sighting<'_>, fate: Departure) {
        let mut account = self.0.borrow_mut();
        account.departures += 1;
        if let Departure::Passed { queued } = fate {
            account.passed += 1;
            *account.expected.entry((seen.at, seen.bytes.to_vec())).or_default() += 2;
            let longest = account.queued.entry(seen.at).or_default();
            *longest = queued.max(*longest);
        }
    }

    fn arrival(&mut self, _: Option<NodeId>, seen: &Sighting<'_>, fate: Arrival) {
        let mut account = self.0.borrow_mut();
        account.arrivals += 1;
        let Arrival::Taken { sent } = fate else { return };
        if account.links.iter().all(|link| link.corrupt == 0) {
            let left = account.expected.get_mut(&(sent, seen.bytes.to_vec()));
            let left = left.expect("only what was sent arrives");
            *left = left.checked_sub(1).expect("nothing arrives three times");
        }
        let took = seen.at - sent;
        assert!(account.links.iter().any(|link| took >= link.delay), "early");
        let slowest = account.links.iter().map(|link| {
            // 3,028 bytes at 20,000 bytes per second take 152 ms.
            let serialised = Duration::from_millis(if link.rate.is_some() { 152 } else { 0 });
            link.delay + link.jitter + link.reorder_delay + link.duplicate_delay + serialised
        });
        let queued = account.queued[&sent];
        assert!(took <= slowest.max().unwrap() + queued, "late");
        assert_eq!(account.nodes * account.nodes, account.links.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/properties.proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_disappears_and_nothing_comes_from_nowhere(scene in scene()) {
        let (mut net, mut machines) = scene.build();
        let nodes = machines.len();
        let witness = Witness(Rc::new(RefCell::new(Account {
            links: scene.links.clone(),
            nodes,
            expected: BTreeMap::new(),
            queued: BTreeMap::new(),
            departures: 0,
            passed: 0,
            arrivals: 0,
        })));
        net.add_tap(Box::new(witness.clone()));
        let start = net.now();
        for millis in (0..2_000).step_by(50) {
            if millis == 500 {
                scene.rebind(&mut net);
            }
            net.run_until(&mut all(&mut machines), start + Duration::from_millis(millis)).unwrap();
            prop_assert_eq!(net.total().in_flight(), net.in_flight() as u64);
            let received: usize = machines.iter().map(|machine| machine.received.len()).sum();
            prop_assert_eq!(received as u64, net.total().delivered);
        }
        // Every third datagram is answered, so even doubled ones die out; but frames never end.
        if scene.habits.iter().any(|habit| habit.interval_millis.is_some()) {
            return Ok(());
        }
        prop_assert_eq!(net.run_until(&mut all(&mut machines), Instant::MAX), Ok(Step::Idle));
        let total = net.total();
        prop_assert_eq!(net.in_flight(), 0);
        let account = witness.0.borrow();
        let unroutable: u64 = (0..nodes).map(|node| net.unroutable(node)).sum();
        prop_assert_eq!(account.departures, total.sent + unroutable);
        prop_assert_eq!(account.passed + total.duplicated, account.arrivals);
        let bytes: usize =
            machines.iter().flat_map(|machine| &machine.received).map(|(_, _, bytes)| bytes.len()).sum();
        prop_assert_eq!(bytes as u64, total.delivered_bytes);
        let empty = machines.iter().flat_map(|machine| &machine.received);
        let empty = empty.filter(|(_, _, bytes)| bytes.is_empty()).count() as u64;
        let refused: u64 = (0..nodes).map(|node| net.refused_total(node)).sum();
        prop_assert_eq!(refused, empty);
    }

    #[test]
    fn the_same_seed_is_the_same_run_however_it_is_cut_into_steps(
        scene in scene(),
        cuts in prop::collection::vec(1..400_u64, 0..20),
    ) {
        let (mut whole, mut machines) = scene.build();
        let end = whole.now() + Duration::from_millis(1_200);
        whole.run_until(&mut all(&mut machines), end).unwrap();
        let received: Vec<_> = machines.iter().map(|machine| machine.received.clone()).collect();

        let (mut again, mut machines) = scene.build();
        again.run_until(&mut all(&mut machines), end).unwrap();
        prop_assert_eq!(again.trace(), whole.trace());

        let (mut stepped, mut machines) = scene.build();
        let mut last = stepped.now();
        while stepped.step_until(&mut all(&mut machines), end).unwrap() == Step::Due {
            prop_assert!(stepped.now() >= last);
            last = stepped.now();
        }
        prop_assert_eq!(stepped.trace(), whole.trace());

        let (mut cut, mut machines) = scene.build();
        for millis in cuts {
            let to = (cut.now() + Duration::from_millis(millis)).min(end);
            cut.run_until(&mut all(&mut machines), to).unwrap();
            prop_assert_eq!(cut.now(), to);
        }
        cut.run_until(&mut all(&mut machines), end).unwrap();
        prop_assert_eq!(cut.trace(), whole.trace());
        prop_assert_eq!(cut.total(), whole.total());
        for (machine, received) in machines.iter().zip(received) {
            prop_assert_eq!(&machine.received, &received);
        }
    }

    #[test]
    fn a_sleeping_machine_is_never_called(scene in scene()) {
        let (mut net, mut machines) = scene.build();
        let start = net.now();
        let end = start + Duration::from_millis(800);
        while net.step_until(&mut all(&mut machines), end).unwrap() == Step::Due {}
        for (node, (habit, machine)) in scene.habits.iter().zip(&machines).enumerate() {
            let frozen = habit.stall_millis.map(|(from, span)| {
                let from = start + Duration::from_millis(from);
                from..from + Duration::from_millis(span)
            });
            for (at, ..) in &machine.received {
                let frozen = frozen.as_ref();
                prop_assert!(!frozen.is_some_and(|frozen| frozen.contains(at)));
                if let Some(interval) = habit.interval_millis {
                    let phase = (*at - start).as_micros() as i64 - node as i64 * 777;
                    let in_step = phase % (interval as i64 * 1_000) == 0;
                    prop_assert!(in_step || frozen.is_some_and(|frozen| frozen.end == *at));
                }
            }
        }
    }
}

#[test]
fn another_seed_is_another_run() {
    let trace = |case: Case| {
        let mut net = Net::with_nodes(case.seed(), 2, Link::HOSTILE);
        net.start_trace();
        let peers = vec![net.address(0), net.address(1)];
        let mut a = Chatter::new(1, peers.clone(), 100);
        let mut b = Chatter::new(2, peers, 100);
        net.run_until(&mut [&mut a, &mut b], Instant::MAX).unwrap();
        net.trace().unwrap().value()
    };
    let mut traces: Vec<u64> = cases!("another_seed_is_another_run", 1, 10).map(trace).collect();
    let count = traces.len();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), count);
}

/// The trace of one run, written down: it must be the same on every target and must only change
/// when somebody means it to.
#[test]
fn a_run_of_today_is_the_run_of_tomorrow() {
    let mut net = Net::with_nodes(2_026, 3, Link::HOSTILE.with_rate(200_000, 20_000));
    net.start_trace();
    let peers: Vec<_> = (0..3).map(|node| net.address(node)).collect();
    let mut machines: Vec<_> = (0..3).map(|node| Chatter::new(node, peers.clone(), 200)).collect();
    net.poll_every(1, net.now(), Duration::from_millis(16));
    net.stall(2, after(net.now(), 100_000), after(net.now(), 300_000));
    net.run_for(&mut all(&mut machines), Duration::from_secs(10)).unwrap();
    assert_eq!(net.trace().unwrap().value(), GOLDEN_TRACE);
}

const GOLDEN_TRACE: u64 = 8_288_763_307_348_907_585;

#[test]
fn a_hundred_nodes_lose_what_their_links_say() {
    for case in cases!("a_hundred_nodes_lose_what_their_links_say", 1, 2) {
        replay_on_panic!(case);
        let link = Link::PERFECT.with_delay(Duration::from_millis(30)).with_loss(5 * PERCENT);
        let mut net = Net::with_nodes(case.seed(), 100, link);
        let peers: Vec<_> = (0..100).map(|node| net.address(node)).collect();
        let mut rng: Rng = case.rng();
        let mut machines: Vec<_> =
            (0..100).map(|_| Chatter::new(rng.next_u64(), peers.clone(), 100)).collect();
        assert_eq!(net.run_until(&mut all(&mut machines), Instant::MAX), Ok(Step::Idle));
        let total = net.total();
        assert!(total.sent > 20_000, "{total:?}");
        assert_eq!(total.sent, total.delivered + total.lost);
        let expected = total.sent / 20;
        assert!(total.lost.abs_diff(expected) < expected / 8, "{total:?}");
        let one_way: u64 = (0..100)
            .flat_map(|from| (0..100).map(move |to| (from, to)))
            .map(|(from, to)| net.counters(from, to).sent)
            .sum();
        assert_eq!(one_way, total.sent);
    }
}
