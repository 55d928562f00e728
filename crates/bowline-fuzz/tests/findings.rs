//! What fuzzing has found once, as it was found.

use bowline_fuzz::{Counted, Report, run, run_rogue};

/// Runs an input that was found; nothing may be wrong with it any more.
fn holds(data: &[u8]) -> Report {
    match run(data, &mut Counted::default()) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    }
}

/// Its beginning had arrived before it expired, so telling that this was given up changed nothing, and the rest of it
/// looked like the middle of a message.
#[test]
fn an_expired_message_longer_than_the_credit_is_passed_over_from_its_beginning() {
    let report = holds(&[0xF1, 0x6F, 0xC0, 0x3A, 0x03, 0x32, 0x32, 0x03, 0xC0, 0x06, 0xB6, 0x8D]);
    assert_eq!((report.sessions, report.delivered, report.outcomes), (2, 0, 1));
}

/// A message on a channel that no session has, to one peer, was queued for the next one.
#[test]
fn a_channel_that_is_not_open_is_not_the_next_sessions_first() {
    let report = run_rogue(
        &[
            0x06, 0xC6, 0xD8, 0x81, 0xD8, 0x00, 0x11, 0x00, 0x28, 0x11, 0x00, 0x00, 0x11, 0x11,
            0x00, 0x00, 0x00, 0x00, 0x28, 0x11, 0x00, 0x00, 0xFF,
        ],
        &mut Counted::default(),
    );
    let report = report.expect("nothing is wrong");
    assert_eq!((report.sessions, report.rogues, report.delivered), (2, 1, 1));
}
