//! Who is there stays, who is gone is noticed, and who was away himself blames nobody.

use bowline_core::{CloseReason, DisconnectReason, Duration, Event, Instant, Mode};
use bowline_native::InUse;
use bowline_sim::{Link, PERCENT};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::Stage;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(40));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

fn patient(seconds: u64) -> NodePlan {
    let mut plan = HEAP;
    plan.config.idle_timeout = Duration::from_secs(seconds);
    plan
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn talks(stage: &mut Stage, there: bowline_core::PeerId, back: bowline_core::PeerId) -> bool {
    stage.send(0, there, 0, Mode::Reliable, b"are you there?").unwrap();
    stage.send(1, back, 0, Mode::Reliable, b"are you?").unwrap();
    stage.run_for(secs(2));
    stage.read(0, there).len() == 1 && stage.read(1, back).len() == 1
}

#[test]
fn an_idle_session_lives_for_an_hour() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    stage.take_datagrams();
    stage.run_for(secs(3_600));
    assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    let seen = stage.take_datagrams().len();
    assert!(seen > 1_000, "{seen} datagrams keep nobody alive");
    assert!(talks(&mut stage, there, back));
}

#[test]
fn an_idle_session_survives_loss() {
    let lossy = LINK.with_loss(20 * PERCENT);
    for seed in 0..8 {
        let (mut stage, there, back) = Stage::connected(seed, [HEAP, HEAP], lossy);
        stage.run_for(secs(120));
        assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]), "seed {seed}");
        stage.net.set_default_link(LINK);
        assert!(talks(&mut stage, there, back));
    }
}

#[test]
fn each_side_gives_up_after_its_own_silence() {
    let (mut stage, there, back) = Stage::connected(1, [patient(3), patient(8)], LINK);
    stage.run_for(secs(5));
    stage.net.set_default_link(Link::DOWN);
    let down = stage.now();
    let mut ended = [None; 2];
    while ended.contains(&None) && stage.now() < down + secs(20) {
        stage.run_for(Duration::from_millis(10));
        for (node, peer) in [(0, there), (1, back)] {
            let events = stage.take_events(node);
            if !events.is_empty() {
                assert_eq!(events, [Event::Disconnected(peer, DisconnectReason::TimedOut)]);
                ended[node] = Some(stage.now() - down);
            }
        }
    }
    for (ended, timeout) in ended.into_iter().zip([3, 8]) {
        let ended = ended.expect("it gave up");
        // The last thing heard may have come any time up to a keep-alive interval before.
        assert!(ended + secs(2) >= secs(timeout), "{ended:?} after the link went down");
        assert!(ended <= secs(timeout) + secs(1), "{ended:?} after the link went down");
    }
    assert_eq!((stage.in_use(0), stage.in_use(1)), (InUse::default(), InUse::default()));
}

#[test]
fn a_short_outage_ends_nothing() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    for millis in [5_000, 6_100, 7_300, 8_200, 9_500, 10_700] {
        stage.net.set_default_link(Link::DOWN);
        stage.run_for(secs(4));
        stage.net.set_default_link(LINK);
        stage.run_for(Duration::from_millis(millis));
        assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    }
    assert!(talks(&mut stage, there, back));
}

#[test]
fn who_was_away_for_half_a_minute_blames_nobody() {
    let (mut stage, there, back) = Stage::connected(1, [patient(5), patient(60)], LINK);
    stage.run_for(secs(1));
    let now = stage.now();
    stage.net.stall(0, now, now + secs(30));
    stage.run_for(secs(29));
    // What was sent meanwhile waits in the socket, or not even that.
    stage.net.set_socket_buffer(0, 0);
    stage.run_for(secs(5));
    assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    stage.net.set_socket_buffer(0, 1 << 18);
    assert!(talks(&mut stage, there, back));
}

#[test]
fn who_was_away_still_notices_that_the_other_is_gone() {
    let (mut stage, there, _) = Stage::connected(1, [patient(5), patient(60)], LINK);
    stage.run_for(secs(1));
    let now = stage.now();
    stage.net.stall(0, now, now + secs(30));
    stage.net.set_default_link(Link::DOWN);
    stage.run_for(secs(31));
    assert_eq!(stage.take_events(0), []);
    stage.run_for(secs(7));
    assert_eq!(stage.take_events(0), [Event::Disconnected(there, DisconnectReason::TimedOut)]);
}

#[test]
fn the_other_side_goes_by_its_own_patience() {
    let (mut stage, there, back) = Stage::connected(1, [patient(60), patient(5)], LINK);
    stage.run_for(secs(1));
    let now = stage.now();
    stage.net.stall(0, now, now + secs(30));
    stage.run_for(secs(8));
    assert_eq!(stage.take_events(1), [Event::Disconnected(back, DisconnectReason::TimedOut)]);
    stage.run_for(secs(100));
    assert_eq!(stage.take_events(0), [Event::Disconnected(there, DisconnectReason::TimedOut)]);
}

#[test]
fn time_stands_still_while_suspended() {
    let (mut stage, there, back) = Stage::connected(1, [patient(5), patient(100)], LINK);
    stage.run_for(secs(1));
    stage.endpoints[0].suspend();
    // The caller looks in now and then, and hears nothing.
    stage.net.set_default_link(Link::DOWN);
    for _ in 0..30 {
        stage.run_for(secs(1));
    }
    assert_eq!(stage.take_events(0), []);
    stage.net.set_default_link(LINK);
    let now = stage.now();
    stage.endpoints[0].resume(now);
    stage.run_for(secs(4));
    assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    assert!(talks(&mut stage, there, back));
}

#[test]
fn a_game_that_looks_once_per_frame_keeps_its_sessions() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    let now = stage.now();
    stage.net.poll_every(0, now, Duration::from_millis(33));
    stage.net.poll_every(1, now + Duration::from_millis(7), Duration::from_millis(250));
    stage.run_for(secs(60));
    assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    assert!(talks(&mut stage, there, back));
}

#[test]
fn goodbye_is_heard_at_once_with_its_reason() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    stage.close(0, there, 4_000_000_000);
    stage.run_for(Duration::from_millis(200));
    let reason = CloseReason(4_000_000_000);
    let here = DisconnectReason::Closed(reason);
    let other = DisconnectReason::ClosedByPeer(reason);
    assert_eq!(stage.take_events(0), [Event::Disconnected(there, here)]);
    assert_eq!(stage.take_events(1), [Event::Disconnected(back, other)]);
    assert_eq!((stage.in_use(0), stage.in_use(1)), (InUse::default(), InUse::default()));
}

#[test]
fn goodbye_into_the_void_ends_too() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    stage.net.set_default_link(Link::DOWN);
    stage.close(0, there, 1);
    stage.run_for(secs(5));
    let closed = DisconnectReason::Closed(CloseReason(1));
    assert_eq!(stage.take_events(0), [Event::Disconnected(there, closed)]);
    assert_eq!(stage.in_use(0), InUse::default());
    stage.run_for(secs(8));
    assert_eq!(stage.take_events(1), [Event::Disconnected(back, DisconnectReason::TimedOut)]);
}

#[test]
fn finishing_waits_for_what_was_queued() {
    for seed in 0..5 {
        let lossy = LINK.with_loss(20 * PERCENT);
        let (mut stage, there, back) = Stage::connected(seed, [HEAP, HEAP], lossy);
        for number in 0_u32..200 {
            stage.send(0, there, 1, Mode::Reliable, &[number as u8; 700]).unwrap();
        }
        let now = stage.now();
        stage.endpoints[0].finish(now, there, CloseReason(5)).unwrap();
        assert!(stage.endpoints[0].finish(now, there, CloseReason(5)).is_err());
        let refused = stage.send(0, there, 1, Mode::Reliable, b"too late");
        assert_eq!(refused, Err(bowline_core::SendError::Closing));
        let mut count = 0;
        let end = Instant::from_micros(60_000_000);
        while stage.step_until(end) == bowline_sim::Step::Due {
            for message in stage.read(1, back) {
                assert_eq!(message.bytes, [count as u8; 700]);
                count += 1;
            }
        }
        stage.collect();
        assert_eq!(count, 200);
        let closed = DisconnectReason::Closed(CloseReason(5));
        assert_eq!(stage.take_events(0), [Event::Disconnected(there, closed)]);
        let events = stage.take_events(1);
        assert!(matches!(events.last(), Some(Event::Disconnected(..))), "{events:?}");
        assert_eq!((stage.in_use(0), stage.in_use(1)), (InUse::default(), InUse::default()));
    }
}

#[test]
fn a_message_cut_off_by_an_outage_is_nobodys_fault() {
    for outage in [8, 30] {
        let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
        let long = vec![1; 200_000];
        stage.send(0, there, 0, Mode::Reliable, &long).unwrap();
        stage.run_for(Duration::from_millis(300));
        assert!(stage.in_use(1).blocks > 0, "it has begun");
        stage.net.set_default_link(Link::DOWN);
        stage.run_for(secs(outage));
        stage.net.set_default_link(LINK);
        stage.run_for(secs(8));
        for (node, peer) in [(0, there), (1, back)] {
            let events = stage.take_events(node);
            let ended = events.iter().find(|event| matches!(event, Event::Disconnected(..)));
            let timed_out = Event::Disconnected(peer, DisconnectReason::TimedOut);
            assert_eq!(ended, (outage > 10).then_some(&timed_out), "{outage} s");
        }
        if outage < 10 {
            assert_eq!(stage.read(1, back)[0].bytes, long);
        }
    }
}

#[test]
fn a_long_message_may_wait_to_be_read() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    stage.send(0, there, 0, Mode::Reliable, &[1; 200_000]).unwrap();
    stage.run_for(secs(120));
    let events = stage.take_events(1);
    assert!(events.iter().all(|event| *event == Event::Readable(back)), "{events:?}");
    assert_eq!(stage.read(1, back).len(), 1);
    assert!(talks(&mut stage, there, back));
}
