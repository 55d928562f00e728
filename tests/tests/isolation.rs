//! What one peer does costs its own quota and its own session, and nobody else.

use bowline_core::{Duration, Mode};
use bowline_tests::attack::Attack;
use bowline_tests::memory::Kind;
use bowline_tests::room::{Plan, Report, run};
use bowline_tests::scenario::NodePlan;

/// Three clients that talk to each other through a server of this kind.
const fn plan(kind: Kind) -> Plan<'static> {
    let server = NodePlan::new(kind);
    let span = Duration::from_secs(5);
    // Two of them and all that is short fit into the reserve of a session, or there is plenty of memory: what does
    // not has to wait while others hold the rest.
    let longest = if matches!(kind, Kind::Heap) { 3_000 } else { 250 };
    Plan { seed: 1, server, clients: 3, attacks: &[], heeds: true, late: true, longest, span }
}

/// Asserts that the clients fared no worse than in calm, and tells how they did.
fn compare(calm: &Report, plan: &Plan<'_>) -> Report {
    let report = run(plan);
    let what = format!("{:?}, heeded: {}: {:?}", plan.server.kind, plan.heeds, plan.attacks);
    for mode in Mode::GODOT {
        let (then, now) = (calm.quantile(mode, 990), report.quantile(mode, 990));
        assert!(now <= then.saturating_mul(2), "{what}: {mode} took {now:?} instead of {then:?}");
    }
    assert_eq!((report.full, report.missing), (0, 0), "{what}");
    let spread = calm.datagrams / 30;
    assert!(calm.datagrams.abs_diff(report.datagrams) < spread, "{what}: {}", report.datagrams);
    let lost = calm.arrived().saturating_sub(report.arrived());
    assert!(lost < calm.arrived() / 50, "{what}: {lost} messages fewer arrived");
    assert!(report.intruders as usize >= plan.attacks.len(), "{what}: {}", report.intruders);
    report
}

fn each_alone(kind: Kind, count: usize, heeds: bool) {
    let calm = run(&plan(kind));
    println!("{kind:?}, calm: {}", show(&[&calm]));
    let reports: Vec<_> = Attack::ALL
        .iter()
        .map(|attack| {
            let attacks = vec![*attack; count];
            let report = compare(&calm, &Plan { attacks: &attacks, heeds, ..plan(kind) });
            assert!(report.shown_out > 0 || !attack.is_misbehaviour(), "{attack:?}");
            assert!(report.shown_out == 0 || attack.may_be_misbehaviour(), "{attack:?}");
            report
        })
        .collect();
    println!(
        "{kind:?}, the worst of {}: {}",
        reports.len(),
        show(&reports.iter().collect::<Vec<_>>())
    );
}

#[test]
fn whoever_attacks_a_large_server_harms_nobody_else() {
    each_alone(Kind::Heap, 2, true);
}

#[test]
fn whoever_attacks_a_server_short_of_memory_harms_nobody_else() {
    each_alone(Kind::TightHeap, 3, false);
}

#[test]
fn whoever_attacks_a_server_in_arrays_harms_nobody_else() {
    each_alone(Kind::Fixed, 1, false);
}

#[test]
fn all_who_attack_at_once_harm_nobody_else() {
    let calm = run(&plan(Kind::Heap));
    let (first, last) = Attack::ALL.split_at(9);
    for heeds in [false, true] {
        for attacks in [first, last] {
            let report = compare(&calm, &Plan { attacks, heeds, ..plan(Kind::Heap) });
            println!("{} at once: {}", attacks.len(), show(&[&report]));
        }
    }
}

/// What 99 % of messages took at most, in the worst of these.
fn show(reports: &[&Report]) -> String {
    let quantiles = Mode::GODOT.map(|mode| {
        let worst = reports.iter().map(|report| report.quantile(mode, 990).as_micros()).max();
        format!("{mode} {:.1} ms", worst.unwrap_or(0) as f64 / 1e3)
    });
    format!("99 % took at most {}", quantiles.join(", "))
}
