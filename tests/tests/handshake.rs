//! Sessions begin, or are refused for the right reason, whatever is lost on the way.

use bowline_core::{CloseReason, DisconnectReason, Duration, Event, Messages, Mode, RefuseReason};
use bowline_native::{Accept, Config, ConnectError, InUse};
use bowline_sim::Link;
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};
use bowline_wire::native::{Handshake, RefuseCode, VERSION};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

fn with(change: impl FnOnce(&mut Config)) -> NodePlan {
    let mut plan = HEAP;
    change(&mut plan.config);
    plan
}

fn disconnected(events: &[Event]) -> Vec<DisconnectReason> {
    let reason = |event: &Event| match event {
        Event::Disconnected(_, reason) => Some(*reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

#[test]
fn four_datagrams_make_a_session() {
    let (mut stage, ..) = Stage::connected(1, [HEAP, HEAP], LINK);
    let seen = stage.take_datagrams();
    let kinds: Vec<(usize, u8)> = seen.iter().map(|seen| (seen.by, seen.bytes[0])).collect();
    assert_eq!(kinds[..4], [(0, 1), (1, 2), (0, 3), (1, 4)]);
    assert!(kinds[4..].iter().all(|(_, first)| first & 0x80 != 0), "{kinds:?}");
}

#[test]
fn any_handshake_datagram_may_be_lost_or_come_twice() {
    for lost in 0..6 {
        let mut stage = Stage::new(lost, &[HEAP, HEAP], 0, LINK);
        let mut count = 0;
        stage.net.set_filter(move |_, _| {
            count += 1;
            count != lost + 1
        });
        let (there, back) = stage.connect(0, 1);
        assert!(stage.now() < bowline_core::Instant::from_micros(2_600_000));
        stage.send(0, there, 0, Mode::Reliable, b"hello").unwrap();
        stage.send(1, back, 0, Mode::Reliable, b"hello").unwrap();
        stage.run_for(Duration::from_secs(2));
        assert_eq!(stage.read(0, there).len() + stage.read(1, back).len(), 2);
        assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
    }
    let twice = LINK.with_duplicate(1_000_000, Duration::from_millis(300));
    let (mut stage, there, back) = Stage::connected(9, [HEAP, HEAP], twice);
    stage.run_for(Duration::from_secs(1));
    assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
    assert_eq!((stage.read(0, there), stage.read(1, back)), (vec![], vec![]));
}

#[test]
fn nobody_answering_ends_the_attempt_in_time() {
    let mut stage = Stage::new(1, &[HEAP], 1, LINK);
    let start = stage.now();
    stage.call(0, 1, b"");
    stage.run_for(Duration::from_millis(4_990));
    assert_eq!(stage.take_events(0), []);
    stage.run_for(Duration::from_millis(20));
    assert_eq!(disconnected(&stage.take_events(0)), [DisconnectReason::ConnectTimedOut]);
    let tries = stage.take_datagrams();
    assert!((4..=8).contains(&tries.len()), "{} tries", tries.len());
    assert!(tries.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_millis(250)));
    assert_eq!(tries[0].at, start);
    assert_eq!(stage.in_use(0), InUse::default());
}

#[test]
fn another_application_is_refused() {
    let mut stage = Stage::new(1, &[with(|config| config.application ^= 1), HEAP], 0, LINK);
    stage.call(0, 1, b"");
    stage.run_for(Duration::from_secs(1));
    let refused = DisconnectReason::Refused(RefuseReason::Application);
    assert_eq!(disconnected(&stage.take_events(0)), [refused]);
    assert_eq!(stage.take_events(1), []);
    assert_eq!((stage.in_use(0), stage.in_use(1).peers), (InUse::default(), 0));
}

#[test]
fn another_version_is_refused_in_words_that_it_understands() {
    let mut stage = Stage::new(1, &[HEAP], 1, LINK);
    let mut buf = [0; 64];
    let (application, client_half) = (HEAP.config.application, 0x1122_3344_5566_7788);
    let to = stage.net.address(0);
    for version in [VERSION - 1, VERSION + 1] {
        let hello = Handshake::Hello { version, application, client_half, len: 0 };
        let len = hello.emit(40, &mut buf).unwrap();
        stage.mailboxes[0].send(to, &buf[..len]);
        stage.run_for(Duration::from_secs(1));
        let letter = stage.mailboxes[0].receive().expect("an answer");
        let code = RefuseCode::Version;
        let refuse = Handshake::Refuse { version: VERSION, client_half, code, detail: 0 };
        assert_eq!(Handshake::parse(&letter.bytes), Ok(refuse));
        assert_eq!(stage.in_use(0).peers, 0);
    }
}

#[test]
fn a_client_hears_which_version_the_server_speaks() {
    let mut stage = Stage::new(1, &[HEAP], 1, LINK);
    stage.call(0, 1, b"");
    stage.run_for(Duration::from_millis(100));
    let letter = stage.mailboxes[0].receive().expect("a HELLO");
    let Ok(Handshake::Hello { client_half, .. }) = Handshake::parse(&letter.bytes) else {
        panic!("not a HELLO: {letter:?}")
    };
    let mut buf = [0; 64];
    let code = RefuseCode::Version;
    let forged = Handshake::Refuse { version: 9, client_half: !client_half, code, detail: 0 };
    let len = forged.emit(0, &mut buf).unwrap();
    stage.mailboxes[0].send(letter.from, &buf[..len]);
    stage.run_for(Duration::from_millis(100));
    assert_eq!(stage.take_events(0), [], "somebody who has not seen the request ends it");
    let refuse = Handshake::Refuse { version: 9, client_half, code, detail: 0 };
    let len = refuse.emit(0, &mut buf).unwrap();
    stage.mailboxes[0].send(letter.from, &buf[..len]);
    stage.run_for(Duration::from_millis(100));
    let refused = DisconnectReason::Refused(RefuseReason::Version(9));
    assert_eq!(disconnected(&stage.take_events(0)), [refused]);
}

#[test]
fn a_full_endpoint_says_so() {
    let small = NodePlan::new(Kind::SmallFixed);
    let mut stage = Stage::new(1, &[small, HEAP, HEAP, HEAP], 0, LINK);
    stage.connect(1, 0);
    stage.connect(2, 0);
    stage.call(3, 0, b"");
    stage.run_for(Duration::from_secs(1));
    let refused = DisconnectReason::Refused(RefuseReason::Full);
    assert_eq!(disconnected(&stage.take_events(3)), [refused]);
    assert_eq!(stage.in_use(0).peers, 2);
    // And its own application hears it at once.
    let (now, to) = (stage.now(), stage.net.address(3));
    assert_eq!(stage.endpoints[0].connect_plain(now, to, b""), Err(ConnectError::Full));
}

#[test]
fn an_endpoint_that_only_connects_answers_nobody() {
    let never = with(|config| config.accept = Accept::Never);
    let mut stage = Stage::new(1, &[HEAP, never], 0, LINK);
    stage.call(0, 1, b"");
    stage.run_for(Duration::from_secs(6));
    assert_eq!(disconnected(&stage.take_events(0)), [DisconnectReason::ConnectTimedOut]);
    assert!(stage.take_datagrams().iter().all(|seen| seen.by == 0));
}

#[test]
fn an_application_that_is_asked_decides() {
    let asks = with(|config| config.accept = Accept::Ask);
    for accept in [true, false] {
        let mut stage = Stage::new(1, &[HEAP, asks], 0, LINK);
        let payload = bytes(7, 900);
        let there = stage.call(0, 1, &payload);
        stage.run_for(Duration::from_secs(1));
        assert_eq!(stage.take_events(0), []);
        let [Event::Asked(back)] = stage.take_events(1)[..] else { panic!("nobody asked") };
        let (now, mut out) = (stage.now(), [0; 1_000]);
        assert_eq!(stage.endpoints[1].connect_payload(back, &mut out), 900);
        assert_eq!(out[..900], payload);
        if accept {
            stage.endpoints[1].accept(now, back).unwrap();
            assert!(stage.endpoints[1].accept(now, back).is_err());
            stage.run_for(Duration::from_secs(1));
            assert_eq!(stage.take_events(0), [Event::Connected(there)]);
            assert_eq!(stage.take_events(1), [Event::Connected(back)]);
        } else {
            stage.endpoints[1].refuse(now, back, CloseReason(42)).unwrap();
            stage.run_for(Duration::from_secs(1));
            let reason = RefuseReason::ByApplication(CloseReason(42));
            assert_eq!(
                stage.take_events(0),
                [Event::Disconnected(there, DisconnectReason::Refused(reason))]
            );
            stage.take_events(1);
            assert_eq!((stage.in_use(0), stage.in_use(1).peers), (InUse::default(), 0));
        }
    }
}

#[test]
fn an_application_may_take_its_time_to_decide() {
    let asks = with(|config| config.accept = Accept::Ask);
    let mut stage = Stage::new(1, &[HEAP, asks], 0, LINK);
    let there = stage.call(0, 1, b"");
    stage.run_for(Duration::from_millis(4_800));
    let [Event::Asked(back)] = stage.take_events(1)[..] else { panic!("nobody asked") };
    let now = stage.now();
    stage.endpoints[1].accept(now, back).unwrap();
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_events(0), [Event::Connected(there)]);
}

#[test]
fn two_that_call_each_other_get_one_session() {
    for seed in 0..20 {
        let mut stage = Stage::new(seed, &[HEAP, HEAP], 0, LINK);
        let there = stage.call(0, 1, b"from 0");
        stage.run_for(Duration::from_micros(seed * 2_500));
        let back = stage.call(1, 0, b"from 1");
        stage.run_for(Duration::from_secs(2));
        assert_eq!(stage.take_events(0), [Event::Connected(there)]);
        assert_eq!(stage.take_events(1), [Event::Connected(back)]);
        assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
        stage.send(0, there, 0, Mode::Reliable, b"hello").unwrap();
        stage.send(1, back, 0, Mode::Reliable, b"hello").unwrap();
        stage.run_for(Duration::from_secs(1));
        assert_eq!(stage.read(0, there).len() + stage.read(1, back).len(), 2);
    }
}

#[test]
fn a_client_that_was_started_again_replaces_its_session() {
    let mut stage = Stage::new(1, &[HEAP, HEAP], 0, LINK);
    let (_, old) = stage.connect(0, 1);
    // Not within the unit of time in which a server tells two attempts apart.
    stage.run_for(Duration::from_secs(1));
    stage.restart(0, &HEAP, 77);
    let there = stage.call(0, 1, b"");
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_events(0), [Event::Connected(there)]);
    let events = stage.take_events(1);
    assert!(events.contains(&Event::Disconnected(old, DisconnectReason::Replaced)), "{events:?}");
    assert!(
        events.iter().any(|event| matches!(event, Event::Connected(new) if *new != old)),
        "{events:?}"
    );
    assert_eq!(stage.in_use(1).peers, 1);
}

#[test]
fn a_second_call_to_the_same_address_is_refused_on_the_spot() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    let (now, to, from) = (stage.now(), stage.net.address(1), stage.net.address(0));
    let refused = Err(ConnectError::AlreadyConnected(there));
    assert_eq!(stage.endpoints[0].connect_plain(now, to, b""), refused);
    let refused = Err(ConnectError::AlreadyConnected(back));
    assert_eq!(stage.endpoints[1].connect_plain(now, from, b""), refused);
}

#[test]
fn a_query_is_answered_without_a_session() {
    let mut stage = Stage::new(1, &[HEAP, HEAP, HEAP], 0, LINK);
    assert!(stage.endpoints[1].set_info(Some(b"three players")));
    assert!(!stage.endpoints[1].set_info(Some(&[0; 65])));
    let (now, to, nobody) = (stage.now(), stage.net.address(1), stage.net.address(2));
    assert!(stage.endpoints[0].query(now, to));
    assert!(stage.endpoints[0].query(now, nobody));
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_events(0), [Event::Answered]);
    let answer = stage.endpoints[0].take_answer().expect("an answer");
    assert_eq!((answer.from, &answer.bytes[..]), (to, &b"three players"[..]));
    let seen = stage.take_datagrams();
    let asked = seen.iter().filter(|seen| seen.by == 0).map(|seen| seen.bytes.len()).min();
    let answered = seen.iter().filter(|seen| seen.by != 0).map(|seen| seen.bytes.len()).max();
    assert!(answered <= asked, "{answered:?} bytes for {asked:?}");
    assert!(seen.iter().all(|seen| seen.by != 2), "an endpoint without info answers");
    assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (0, 0));
}

#[test]
fn a_handshake_fits_64_bytes() {
    let plan = with(|config| {
        config.datagram_max = 64;
        // Longer limits take longer numbers, and then CONNECT takes more than 64 bytes.
        (config.reliable_max, config.credit_max) = (100_000, 100_000);
    });
    let clamped = LINK.with_payload_max(64);
    let (mut stage, there, back) = Stage::connected(1, [plan, plan], clamped);
    let message = bytes(1, 1_000);
    for mode in Mode::GODOT {
        stage.send(0, there, 0, mode, &message).unwrap();
    }
    stage.run_for(Duration::from_secs(3));
    let all = stage.read(1, back);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|got| got.bytes == message));
    assert!(stage.take_datagrams().iter().all(|seen| seen.bytes.len() <= 64));
}

#[test]
fn whoever_left_before_anybody_looked_has_still_said_who_he_was() {
    let mut stage = Stage::new(1, &[HEAP, HEAP], 0, LINK);
    let there = stage.call(0, 1, b"my name");
    // The server's application does not look for a while.
    let end = stage.now() + Duration::from_millis(200);
    while stage.step_until(end) == bowline_sim::Step::Due {}
    stage.send(0, there, 0, Mode::Reliable, b"and my message").unwrap();
    let now = stage.now();
    stage.endpoints[0].finish(now, there, CloseReason(1)).unwrap();
    let end = stage.now() + Duration::from_secs(1);
    while stage.step_until(end) == bowline_sim::Step::Due {}
    let endpoint = &mut stage.endpoints[1];
    let Some(Event::Connected(back)) = endpoint.poll_event() else { panic!("nobody came") };
    let mut name = [0; 7];
    assert_eq!((endpoint.connect_payload(back, &mut name), &name), (7, b"my name"));
    assert_eq!(endpoint.poll_event(), Some(Event::Readable(back)));
    assert_eq!(stage.read(1, back)[0].bytes, b"and my message");
    let left = DisconnectReason::ClosedByPeer(CloseReason(1));
    assert_eq!(stage.endpoints[1].poll_event(), Some(Event::Disconnected(back, left)));
}
