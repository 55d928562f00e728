//! The same inputs at the same times give the same bytes.

use bowline_sim::{cases, replay_on_panic};
use bowline_tests::scenario::Scenario;
use bowline_tests::world::{Tally, World};

fn run(seed: u64) -> Tally {
    let mut world = World::new(&Scenario::draw(seed));
    world.net.start_trace();
    world.run().unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_seed_says_everything() {
    let mut hashes = Vec::new();
    for case in cases!("a_seed_says_everything", 100, 12) {
        replay_on_panic!(case);
        let first = run(case.seed());
        assert_eq!(first, run(case.seed()));
        assert!(!hashes.contains(&first.hash), "two seeds, one world");
        hashes.push(first.hash);
    }
}
