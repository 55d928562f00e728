//! Every sequence space wraps, and nobody notices.

use bowline_core::{Duration, Mode};
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::{NodePlan, Scenario};
use bowline_tests::stage::{Stage, bytes};
use bowline_tests::world;

fn beginning_at(initial: u32, scenario: Scenario) -> Scenario {
    let mut scenario = scenario;
    scenario.nodes.iter_mut().for_each(|node| node.config.initial = Some(initial));
    scenario
}

#[test]
fn worlds_hold_across_the_wrap() {
    let pairs = [
        [Kind::Heap, Kind::Heap],
        [Kind::Fixed, Kind::Heap],
        [Kind::TightHeap, Kind::Fixed],
        [Kind::SmallFixed, Kind::SmallFixed],
    ];
    for case in cases!("worlds_hold_across_the_wrap", 0, 40) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        // Mostly a few packets before the wrap, sometimes so far that only streams get across.
        let before = if rng.chance(70 * PERCENT) { rng.below(80) } else { rng.below(20_000) };
        let link = Link::PERFECT
            .with_delay(Duration::from_millis(15))
            .with_jitter(Duration::from_millis(20))
            .with_loss(10 * PERCENT)
            .with_duplicate(5 * PERCENT, Duration::from_millis(60));
        let scenario = Scenario::pair(case.seed(), pairs[case.seed() as usize % 4], link);
        let tally = world::run(&beginning_at(u32::MAX - before as u32, scenario));
        assert!(tally.datagrams > 400, "{tally:?} may not have reached the wrap");
    }
}

/// When each datagram was sent, by whom, and how long it was; and what was delivered when.
type Course = (Vec<(u64, usize, usize)>, Vec<(u64, Vec<u8>)>);

fn course(kind: Kind, initial: u32) -> Course {
    let mut plan = NodePlan::new(kind);
    plan.config.initial = Some(initial);
    let link = Link::PERFECT
        .with_delay(Duration::from_millis(9))
        .with_loss(12 * PERCENT)
        .with_reorder(10 * PERCENT, Duration::from_millis(25));
    let (mut stage, there, back) = Stage::connected(11, [plan, plan], link);
    let mut delivered = Vec::new();
    for turn in 0..120 {
        for (node, peer) in [(0, there), (1, back)] {
            let mode = Mode::GODOT[turn % 3];
            let len = [10, 200, 900, 3_000][turn % 4]
                .min(stage.endpoints[node].message_max(peer, mode).unwrap());
            // A full queue is part of the course.
            let _ = stage.send(node, peer, 0, mode, &bytes(turn as u64, len));
        }
        stage.run_for(Duration::from_millis(13));
        for (node, peer) in [(0, there), (1, back)] {
            let at = stage.now().as_micros();
            delivered.extend(stage.read(node, peer).into_iter().map(|got| (at, got.bytes)));
        }
    }
    let seen = stage.take_datagrams();
    let sent = seen.iter().map(|seen| (seen.at.as_micros(), seen.by, seen.bytes.len()));
    (sent.collect(), delivered)
}

#[test]
fn where_the_numbers_begin_makes_no_difference() {
    for kind in [Kind::Heap, Kind::Fixed, Kind::SmallFixed] {
        let expected = course(kind, 1_000_000);
        assert!(expected.1.len() > 60, "{} messages", expected.1.len());
        // Numbers cross 2^32 and every length they are cut to, streams cross their wrap.
        for before in (0..40).chain([60, 100, 127, 128, 129, 255, 256, 1_000, 10_000, 65_535]) {
            let course = course(kind, u32::MAX - before);
            assert!(course.0 == expected.0, "{kind:?}, {before} before the wrap: datagrams");
            assert!(course.1 == expected.1, "{kind:?}, {before} before the wrap: messages");
        }
        for initial in [0, 1, 127, 128, 255, 256, 65_535, 65_536, i32::MAX as u32, 1 << 31] {
            assert!(course(kind, initial) == expected, "{kind:?} from {initial} on");
        }
    }
}

#[test]
fn ids_of_messages_in_parts_wrap() {
    let mut plan = NodePlan::new(Kind::Heap);
    plan.config.datagram_max = 128;
    let link = Link::PERFECT.with_delay(Duration::from_millis(1));
    let (mut stage, there, back) = Stage::connected(1, [plan, plan], link);
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
        let mut got = 0_u32;
        for number in 0..66_000_u32 {
            let mut message = [7; 150];
            message[..4].copy_from_slice(&number.to_be_bytes());
            stage.send(0, there, 0, mode, &message).unwrap();
            if number % 200 == 199 {
                stage.run_for(Duration::from_millis(4));
                for message in stage.read(1, back) {
                    assert_eq!(message.bytes[..4], got.to_be_bytes());
                    got += 1;
                }
                stage.take_datagrams();
            }
        }
        assert_eq!(got, 66_000, "{mode}");
    }
}
