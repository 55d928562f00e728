//! Messages given up at awkward moments: each test is one claim that was found broken once.

use bowline_core::{Duration, Event, Machine, Messages, Mode, Outcome, Tag};
use bowline_sim::Link;
use bowline_tests::memory::Kind;
use bowline_tests::rogue::Rogue;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage, bytes, tagged};
use bowline_wire::native::{Frame, Offset, Stream};

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

#[test]
fn nobody_is_accused_because_a_message_was_given_up_while_one_before_it_is_read() {
    let mut plan = NodePlan::new(Kind::SmallFixed);
    plan.config.tickets_max = 64;
    let mut stage = Stage::new(1, &[plan], 1, LINK);
    let mut rogue = Rogue::connect(&mut stage, 0, b"honest");
    stage.collect();
    let Some(Event::Connected(peer)) = stage.take_events(0).pop() else { panic!() };
    // Messages of ten bytes, numbered from 0.
    let data = |n: u32| Frame::Reliable {
        channel: 0,
        offset: Offset::Long(Rogue::INITIAL + 10 * n),
        data: b"\x09message..",
    };
    let void = |n: u32| Frame::Void {
        stream: Stream::Reliable,
        channel: 0,
        offset: Rogue::INITIAL + 10 * n,
        len: 10,
    };
    // No record is left for a note.
    let mut tag = 0;
    while stage.send_tagged(0, peer, Mode::Unreliable, b"", tag).is_ok() {
        tag += 1;
    }
    let gaps = (20..30).step_by(2).take_while(|&n| rogue.frames(&mut stage, &[data(n)]).is_ok());
    assert!(gaps.count() < 5);
    rogue.frames(&mut stage, &[data(0)]).unwrap();
    // There is one for what is passed over, and then some more.
    stage.endpoints[0].cancel(peer, Tag(0)).unwrap();
    stage.collect();
    rogue.frames(&mut stage, &[void(1)]).unwrap();
    assert!(stage.endpoints[0].recv(peer).is_some());
    (1..8).for_each(|tag| stage.endpoints[0].cancel(peer, Tag(tag)).unwrap());
    stage.collect();
    rogue.frames(&mut stage, &[void(4)]).unwrap();
    rogue.frames(&mut stage, &[data(2)]).unwrap();
    stage.collect();
    assert!(stage.take_events(0).contains(&Event::Readable(peer)));
    assert_eq!(stage.read(0, peer).len(), 1);
    stage.send(0, peer, 0, Mode::Unreliable, b"still open").unwrap();
}
