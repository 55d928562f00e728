//! Everything that was promised arrives, and nothing else, over any network.

use bowline_core::Duration;
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::Scenario;
use bowline_tests::world::{self, World};
use proptest::prelude::*;

#[test]
fn a_perfect_link_delivers() {
    for case in cases!("a_perfect_link_delivers", 0, 40) {
        replay_on_panic!(case);
        let link = Link::PERFECT.with_delay(Duration::from_millis(10));
        let mut scenario = Scenario::pair(case.seed(), [Kind::Heap, Kind::Heap], link);
        // Short enough for what a receiver keeps of messages in parts.
        scenario.longest = [64 * 1024, 16 * 1024, 4 * 1024];
        let tally = world::run(&scenario);
        assert!(tally.sent > 500, "{tally:?}");
        assert_eq!(tally.delivered, tally.sent, "{tally:?}: in whatever mode");
    }
}

#[test]
fn a_lossy_link_delivers() {
    for case in cases!("a_lossy_link_delivers", 0, 4) {
        replay_on_panic!(case);
        let link = Link::PERFECT.with_delay(Duration::from_millis(30)).with_loss(20 * PERCENT);
        let tally = world::run(&Scenario::pair(case.seed(), [Kind::Heap, Kind::Heap], link));
        assert!(tally.delivered > 500, "{tally:?}");
    }
}

#[test]
fn any_world_holds() {
    for case in cases!("any_world_holds", 0, 1_000) {
        replay_on_panic!(case);
        world::run(&Scenario::draw(case.seed()));
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// As the seeded worlds, but a failure shrinks to the least that still fails.
    #[test]
    fn any_link_between_any_two(
        seed in any::<u64>(), kinds in [kind(), kind()],
        (delay, jitter) in (0_u64..80, 0_u64..80),
        (loss, duplicate, reorder, corrupt) in (0_u32..25, 0_u32..25, 0_u32..25, 0_u32..5),
        longest in 1_usize..70_000, burst in 1_u64..12, millis in 50_u64..3_000,
        before_wrap in prop::option::of(0_u32..2_000), pauses in any::<bool>(),
    ) {
        let ms = Duration::from_millis;
        let link = Link::PERFECT
            .with_delay(ms(delay))
            .with_jitter(ms(jitter))
            .with_loss(loss * PERCENT)
            .with_duplicate(duplicate * PERCENT, ms(90))
            .with_reorder(reorder * PERCENT, ms(60))
            .with_corrupt(corrupt * PERCENT);
        let mut scenario = Scenario::pair(seed, kinds, link);
        scenario.longest = [longest, longest / 4, longest / 16];
        (scenario.burst, scenario.span) = (burst, ms(millis));
        scenario.pause = if pauses { 2 * PERCENT } else { 0 };
        for node in &mut scenario.nodes {
            node.config.initial = before_wrap.map(|before| u32::MAX - before);
        }
        let outcome = World::new(&scenario).run();
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
