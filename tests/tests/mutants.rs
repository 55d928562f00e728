//! Endpoints that are wrong on purpose: the models tell. (The table of all is in `MUTANTS.md`.)

use bowline_core::Duration;
use bowline_fuzz::ledger::Unaccountable;
use bowline_sim::{Link, PERCENT};
use bowline_tests::memory::Kind;
use bowline_tests::mutant::{Flaw, Mutant, Party};
use bowline_tests::oracle::Wrong;
use bowline_tests::scenario::{NodePlan, Scenario, Wishes};
use bowline_tests::world::{Failure, World};

/// A world of three in which every flaw has its chance.
fn scenario(seed: u64) -> Scenario {
    let link = Link::PERFECT.with_delay(Duration::from_millis(15)).with_loss(3 * PERCENT);
    let mut scenario = Scenario::pair(seed, [Kind::TightHeap, Kind::Heap], link);
    scenario.nodes.push(NodePlan::new(Kind::Heap));
    scenario.burst = 12;
    scenario.wishes = Wishes { tag: 30 * PERCENT, ..Wishes::NONE };
    scenario
}

fn run(seed: u64, flaw: Option<Flaw>) -> Result<(), Failure> {
    let world = World::with(&scenario(seed), |node, endpoint| -> Box<dyn Party> {
        match flaw {
            // The one that all are connected to is the one that is wrong.
            Some(flaw) if node == 0 => Box::new(Mutant::new(endpoint, flaw)),
            _ => Box::new(endpoint),
        }
    });
    world.run().map(drop)
}

/// What the world must find out about the flaw.
fn is_caught(flaw: Flaw, failure: &Failure) -> bool {
    let wrong = match failure {
        Failure::Violation(violation) => Some(violation.wrong),
        _ => None,
    };
    match flaw {
        Flaw::DeliversTwice | Flaw::LateOrdered => wrong == Some(Wrong::Again),
        Flaw::SwapsNeighbours => matches!(wrong, Some(Wrong::TooEarly | Wrong::Again)),
        Flaw::WrongChannel | Flaw::WrongMode | Flaw::MixesUpPeers => wrong == Some(Wrong::Astray),
        Flaw::CorruptsByte | Flaw::CutsShort => wrong == Some(Wrong::Invented),
        Flaw::LosesReliable => wrong == Some(Wrong::TooEarly),
        // What the receiver never gets is missing when everything should have arrived.
        Flaw::ForgetsSend => wrong == Some(Wrong::TooEarly),
        Flaw::LosesLast | Flaw::ForgetsWritable => matches!(failure, Failure::Stuck { .. }),
        Flaw::ForgetsOutcome => matches!(
            failure,
            Failure::Stuck { .. } | Failure::Fate { fault: Unaccountable::Forgotten(..), .. }
        ),
        Flaw::TellsTwice => {
            matches!(failure, Failure::Fate { fault: Unaccountable::Unknown(..), .. })
        }
        Flaw::VouchesForTheLost => matches!(failure, Failure::Stuck { .. }),
    }
}

#[test]
fn every_flaw_is_caught_for_what_it_is() {
    for flaw in Flaw::ALL {
        let failures: Vec<Failure> =
            (0..3).filter_map(|seed| run(seed, Some(flaw)).err()).collect();
        assert!(!failures.is_empty(), "nobody notices that one {flaw:?}");
        for failure in failures {
            assert!(is_caught(flaw, &failure), "{flaw:?} is taken for {failure}");
        }
    }
}

#[test]
fn without_a_flaw_the_same_worlds_hold() {
    for seed in 0..3 {
        assert!(run(seed, None).is_ok());
    }
}
