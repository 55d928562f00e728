//! Random bytes make runs that are worth something, and what is wrong is found.

use bowline_fuzz::{Counted, Report, run};
use bowline_sim::Rng;

fn bytes(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = vec![0; 20 + rng.below(800) as usize];
    rng.fill(&mut bytes);
    bytes
}

#[test]
fn random_bytes_hold_and_most_of_them_establish_sessions() {
    let (mut total, mut with_session, mut with_messages) = (Report::default(), 0, 0);
    const RUNS: u64 = 2_000;
    for seed in 0..RUNS {
        let report = match run(&bytes(seed), &mut Counted::default()) {
            Ok(report) => report,
            Err(failure) => panic!("seed {seed}: {failure}"),
        };
        with_session += u64::from(report.sessions >= 2);
        with_messages += u64::from(report.delivered > 0);
        total.sessions += report.sessions;
        total.sent += report.sent;
        total.delivered += report.delivered;
        total.outcomes += report.outcomes;
        total.datagrams += report.datagrams;
        total.forged += report.forged;
    }
    println!("{with_session} with a session, {with_messages} with messages of {RUNS}: {total:?}");
    assert!(with_session * 10 >= RUNS * 9, "{with_session} of {RUNS} runs had a session");
    assert!(with_messages * 10 >= RUNS * 2, "{with_messages} of {RUNS} runs delivered a message");
}

#[test]
fn the_same_bytes_do_the_same() {
    for seed in 0..50 {
        let once =
            run(&bytes(seed), &mut Counted::default()).map_err(|failure| failure.to_string());
        let again =
            run(&bytes(seed), &mut Counted::default()).map_err(|failure| failure.to_string());
        assert_eq!(once, again);
    }
}
