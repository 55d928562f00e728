//! Everything that was promised arrives, and nothing else, over any network.

use bowline_core::Duration;
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::Scenario;
use bowline_tests::world;

#[test]
fn a_perfect_link_delivers() {
    for case in cases!("a_perfect_link_delivers", 0, 4) {
        replay_on_panic!(case);
        let link = Link::PERFECT.with_delay(Duration::from_millis(10));
        let tally = world::run(&Scenario::pair(case.seed(), [Kind::Heap, Kind::Heap], link));
        println!("{tally:?}");
        assert!(tally.delivered > 100);
    }
}

#[test]
fn a_lossy_link_delivers() {
    for case in cases!("a_lossy_link_delivers", 0, 4) {
        replay_on_panic!(case);
        let link = Link::PERFECT.with_delay(Duration::from_millis(30)).with_loss(20 * PERCENT);
        let tally = world::run(&Scenario::pair(case.seed(), [Kind::Heap, Kind::Heap], link));
        println!("{tally:?}");
        assert!(tally.delivered > 100);
    }
}

#[test]
fn any_world_holds() {
    for case in cases!("any_world_holds", 0, 40) {
        replay_on_panic!(case);
        let tally = world::run(&Scenario::draw(case.seed()));
        println!("{tally:?}");
    }
}
