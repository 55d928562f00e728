//! Whatever memory is at either end, what is promised holds.

use bowline_core::Duration;
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::Scenario;
use bowline_tests::world::{self, World};

const LINK: Link = Link::PERFECT
    .with_delay(Duration::from_millis(20))
    .with_jitter(Duration::from_millis(15))
    .with_loss(8 * PERCENT)
    .with_duplicate(4 * PERCENT, Duration::from_millis(40));

#[test]
fn every_kind_talks_to_every_kind() {
    for case in cases!("every_kind_talks_to_every_kind", 0, 2) {
        replay_on_panic!(case);
        for here in Kind::ALL {
            for there in Kind::ALL {
                let mut scenario = Scenario::pair(case.seed(), [here, there], LINK);
                scenario.pause = PERCENT;
                let tally = world::run(&scenario);
                assert!(tally.delivered > 50, "{here:?} with {there:?}: {tally:?}");
            }
        }
    }
}

#[test]
fn a_heap_with_the_limits_of_arrays_sends_the_same_bytes() {
    let mut ever_full = false;
    for case in cases!("a_heap_with_the_limits_of_arrays_sends_the_same_bytes", 0, 6) {
        replay_on_panic!(case);
        let hash = |kind| {
            let mut scenario = Scenario::pair(case.seed(), [kind, Kind::Heap], LINK);
            // No fragments: how many messages in parts there may be is not among the limits of a heap.
            (scenario.longest, scenario.pause) = ([64 * 1024, 1_000, 1_000], PERCENT);
            scenario.burst = 20;
            let mut world = World::new(&scenario);
            world.net.start_trace();
            let tally = world.run().unwrap_or_else(|failure| panic!("{failure}"));
            (tally.full, tally.hash.expect("it was hashed"))
        };
        let (full, expected) = hash(Kind::Fixed);
        assert_eq!(hash(Kind::TwinHeap), (full, expected));
        ever_full |= full > 0;
    }
    assert!(ever_full, "the limits were never reached");
}
