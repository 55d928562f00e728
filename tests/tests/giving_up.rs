//! Messages given up at awkward moments: each test is one claim that was found broken once.

use bowline_core::{Duration, Machine, Messages, Mode, Outcome, Tag};
use bowline_sim::Link;
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage, bytes, tagged};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn what_expired_before_the_first_poll_is_not_sent() {
    for mode in MODES {
        let (mut stage, there, _) = Stage::connected(1, [HEAP, HEAP], LINK);
        stage.run_for(millis(500));
        let sent = stage.now();
        let pieces = [&b"it is too late"[..]];
        stage.offer(0, there, tagged(mode, &pieces, 1).expiring(millis(5))).unwrap();
        let mut buf = [0; 1500];
        let out = stage.endpoints[0].poll_transmit(sent + millis(16), &mut buf).unwrap();
        // In a stream it is told that the bytes will not come.
        assert_eq!(out.is_some(), mode.is_reliable(), "{mode}");
        assert!(!buf.windows(8).any(|at| at == b"too late"), "{mode}");
        stage.collect();
        assert_eq!(stage.take_outcomes(0), [(1, Outcome::Expired)], "{mode}");
    }
}

#[test]
fn a_long_unreliable_message_can_be_cancelled_until_its_first_fragment_has_left() {
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
        let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
        let long = bytes(1, 5_000);
        for len in 1_100..1_200 {
            let first = bytes(2, len);
            stage.send(0, there, 1, mode, &first).unwrap();
            let pieces = [&long[..]];
            stage.offer(0, there, tagged(mode, &pieces, 1)).unwrap();
            let mut buf = [0; 1500];
            let now = stage.now();
            let _ = stage.endpoints[0].poll_transmit(now, &mut buf).unwrap().unwrap();
            if stage.endpoints[0].cancel(there, Tag(1)).is_ok() {
                stage.collect();
                assert_eq!(stage.take_outcomes(0), [(1, Outcome::Cancelled)], "{mode} {len}");
            }
            stage.send(0, there, 0, mode, b"and on").unwrap();
            stage.run_for(millis(1_500));
            stage.take_outcomes(0);
            assert!(stage.read(1, back).iter().any(|m| m.bytes == b"and on"), "{mode} {len}");
        }
        stage.close(0, there, 1);
        stage.run_for(millis(1_000));
        assert_eq!(stage.in_use(0), Default::default());
    }
}
