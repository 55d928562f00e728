//! Every mistake of a caller has an answer of its own, and changes nothing.

use bowline_core::{
    CancelError, ChannelId, CloseReason, Duration, Machine, Messages, Mode, Outgoing, PeerId,
    SendError, Tag,
};
use bowline_crypto::SipHash;
use bowline_native::{Config, ConfigError, ConnectError, Endpoint, UnknownPeer};
use bowline_sim::Link;
use bowline_tests::memory::{APPLICATION, Kind};
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));

fn plan(change: impl FnOnce(&mut Config)) -> NodePlan {
    let mut plan = NodePlan::new(Kind::Heap);
    change(&mut plan.config);
    plan
}

/// What must not change: memory, statistics, and what is sent from now on.
fn state(stage: &mut Stage) -> String {
    let in_use = stage.in_use(0);
    let timeout = stage.endpoints[0].poll_timeout();
    format!("{in_use:?} {:?} {timeout:?}", stage.endpoints[0].statistics())
}

#[test]
fn every_refusal_to_send_is_typed_and_changes_nothing() {
    let limits = plan(|config| {
        config.channels = 3;
        (config.reliable_max, config.ordered_max, config.unreliable_max) = (3_000, 2_000, 1_000);
    });
    let (mut stage, there, _) = Stage::connected(1, [plan(|_| {}), limits], LINK);
    stage.run_for(Duration::from_secs(1));
    let before = state(&mut stage);
    let statistics = stage.endpoints[0].peer_statistics(there);
    let mut refused = |channel, mode, len| {
        stage.send(0, there, channel, mode, &bytes(1, len)).expect_err("a mistake")
    };
    let not_open = SendError::ChannelNotOpen { count: 3 };
    for mode in Mode::GODOT {
        assert_eq!(refused(3, mode, 1), not_open);
        assert_eq!(refused(255, mode, 1), not_open);
    }
    for (mode, max) in
        [(Mode::Reliable, 3_000), (Mode::UnreliableOrdered, 2_000), (Mode::Unreliable, 1_000)]
    {
        assert_eq!(refused(0, mode, max + 1), SendError::TooLong { len: max + 1, max });
        assert_eq!(refused(0, mode, 90_000), SendError::TooLong { len: 90_000, max });
    }
    assert_eq!(
        refused(0, Mode::ReliableUnordered, 9_000),
        SendError::TooLong { len: 9_000, max: 3_000 }
    );

    let now = stage.now();
    let pieces: [&[u8]; 1] = [b"x"];
    let plain = Outgoing::new(ChannelId(0), Mode::Reliable, &pieces);
    let endpoint = &mut stage.endpoints[0];
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered, Mode::Reliable, Mode::ReliableUnordered]
    {
        let with_key = Outgoing::new(ChannelId(0), mode, &pieces).with_key(1);
        assert_eq!(endpoint.send(now, there, with_key), Err(SendError::Key));
    }
    let without_key = Outgoing::new(ChannelId(0), Mode::ReliableLatest, &pieces);
    assert_eq!(endpoint.send(now, there, without_key), Err(SendError::Key));
    let long = bytes(1, 2_997);
    let latest = [&long[..]];
    let latest = Outgoing::new(ChannelId(0), Mode::ReliableLatest, &latest).with_key(1);
    let too_long = SendError::TooLong { len: 2_997, max: 2_996 };
    assert_eq!(endpoint.send(now, there, latest), Err(too_long), "the key counts");
    assert_eq!(endpoint.cancel(there, Tag(1)), Err(CancelError::UnknownTag));
    for nobody in [
        PeerId::new(there.slot() as u32, there.generation() + 1),
        PeerId::new(there.slot() as u32 + 1, there.generation()),
        PeerId::new(u32::MAX, 0),
        PeerId::from_raw(u64::MAX),
    ] {
        assert_eq!(endpoint.send(now, nobody, plain), Err(SendError::UnknownPeer));
        assert_eq!(endpoint.cancel(nobody, Tag(1)), Err(CancelError::UnknownPeer));
        assert_eq!(endpoint.finish(now, nobody, CloseReason(1)), Err(UnknownPeer));
        assert_eq!(endpoint.accept(now, nobody), Err(UnknownPeer));
        assert_eq!(endpoint.refuse(now, nobody, CloseReason(1)), Err(UnknownPeer));
        assert!(endpoint.recv(nobody).is_none());
        assert_eq!(endpoint.address(nobody), None);
        assert!(endpoint.path(nobody).is_none() && endpoint.peer_statistics(nobody).is_none());
        endpoint.close(now, nobody, CloseReason(1));
    }
    assert_eq!(endpoint.cancel(there, Tag(1)), Err(CancelError::UnknownTag));
    assert_eq!(endpoint.accept(now, there), Err(UnknownPeer));
    assert_eq!(endpoint.refuse(now, there, CloseReason(1)), Err(UnknownPeer));

    assert_eq!(stage.endpoints[0].peer_statistics(there), statistics);
    assert_eq!(state(&mut stage), before);
    stage.take_datagrams();
    stage.run_for(Duration::from_millis(100));
    assert_eq!((stage.take_events(0), stage.take_datagrams()), (vec![], vec![]));
}

#[test]
fn messages_of_exactly_the_longest_length_arrive() {
    let limits = plan(|config| {
        (config.reliable_max, config.ordered_max, config.unreliable_max) = (3_000, 2_000, 1_000);
    });
    let (mut stage, there, back) = Stage::connected(1, [plan(|_| {}), limits], LINK);
    let lengths =
        [(Mode::Reliable, 3_000), (Mode::UnreliableOrdered, 2_000), (Mode::Unreliable, 1_000)];
    for (mode, max) in lengths {
        assert_eq!(stage.endpoints[0].message_max(there, mode), Some(max));
        stage.send(0, there, 0, mode, &bytes(1, max)).unwrap();
    }
    stage.run_for(Duration::from_secs(1));
    let mut got: Vec<usize> = stage.read(1, back).iter().map(|got| got.bytes.len()).collect();
    got.sort_unstable();
    assert_eq!(got, [1_000, 2_000, 3_000]);
}

#[test]
fn before_and_after_a_session_nothing_is_sent() {
    let mut stage = Stage::new(1, &[plan(|_| {}), plan(|_| {})], 0, LINK);
    let there = stage.call(0, 1, b"");
    for mode in Mode::GODOT {
        assert_eq!(stage.send(0, there, 0, mode, b"x"), Err(SendError::NotConnected));
    }
    assert_eq!(stage.endpoints[0].cancel(there, Tag(1)), Err(CancelError::UnknownTag));
    let now = stage.now();
    assert_eq!(stage.endpoints[0].finish(now, there, CloseReason(1)), Err(UnknownPeer));
    stage.run_for(Duration::from_secs(1));
    stage.send(0, there, 0, Mode::Reliable, b"x").unwrap();
    stage.close(0, there, 1);
    for mode in Mode::GODOT {
        assert_eq!(stage.send(0, there, 0, mode, b"x"), Err(SendError::Closing));
    }
    assert_eq!(stage.endpoints[0].cancel(there, Tag(1)), Err(CancelError::UnknownPeer), "it ended");
    let now = stage.now();
    assert_eq!(stage.endpoints[0].finish(now, there, CloseReason(1)), Err(UnknownPeer));
    // Closing twice is closing once.
    stage.close(0, there, 2);
    stage.run_for(Duration::from_secs(1));
    let events = stage.take_events(0);
    let closed = bowline_core::DisconnectReason::Closed(CloseReason(1));
    assert_eq!(events.last(), Some(&bowline_core::Event::Disconnected(there, closed)));
    assert_eq!(stage.send(0, there, 0, Mode::Reliable, b"x"), Err(SendError::UnknownPeer));
}

#[test]
fn a_connect_payload_has_a_longest_length() {
    let mut stage = Stage::new(1, &[plan(|_| {}), plan(|_| {})], 0, LINK);
    let (now, to) = (stage.now(), stage.net.address(1));
    let before = state(&mut stage);
    let Err(ConnectError::PayloadTooLong { len: 1_200, max }) =
        stage.endpoints[0].connect_plain(now, to, &[0; 1_200])
    else {
        panic!("it does not fit a datagram")
    };
    let too_long = Err(ConnectError::PayloadTooLong { len: max + 1, max });
    assert_eq!(stage.endpoints[0].connect_plain(now, to, &bytes(1, max + 1)), too_long);
    assert_eq!(state(&mut stage), before);
    stage.call(0, 1, &bytes(1, max));
    stage.run_for(Duration::from_secs(1));
    assert!(stage.take_datagrams().iter().all(|seen| seen.bytes.len() <= 1_200));
    assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
}

#[test]
fn every_bad_configuration_is_refused_with_its_reason() {
    type Change = fn(&mut Config);
    let refused = |kind: Kind, change: Change| {
        let mut config = kind.config();
        change(&mut config);
        Endpoint::plain(config, &SipHash, &[1; 32], kind.memory()).err()
    };
    assert_eq!(refused(Kind::Heap, |_| {}), None);
    let cases: [(Change, ConfigError); 15] = [
        (|config| config.datagram_max = 63, ConfigError::DatagramMax),
        (|config| config.datagram_max = 65_508, ConfigError::DatagramMax),
        (|config| config.channels = 0, ConfigError::Channels),
        (|config| config.channels = 9, ConfigError::ChannelsBeyondMemory { memory: 8 }),
        (|config| config.channels = 257, ConfigError::Channels),
        (|config| config.ack_delay = Duration::from_millis(32), ConfigError::AckDelay),
        (|config| config.idle_timeout = Duration::from_millis(99), ConfigError::IdleTimeout),
        (|config| config.idle_timeout = Duration::MAX, ConfigError::IdleTimeout),
        (|config| config.reliable_max = 1 << 28, ConfigError::MessageLen),
        (|config| config.unreliable_max = u32::MAX, ConfigError::MessageLen),
        (|config| config.credit = 0, ConfigError::Credit),
        (|config| config.credit_max = config.credit - 1, ConfigError::Credit),
        (|config| config.send_max = 0, ConfigError::Memory),
        (|config| config.send_reserve = config.send_max + 1, ConfigError::Memory),
        (|config| config.in_flight_max = 0, ConfigError::InFlight),
    ];
    for (number, (change, error)) in cases.into_iter().enumerate() {
        assert_eq!(refused(Kind::Heap, change), Some(error), "case {number}");
        assert!(!error.to_string().is_empty());
    }
    let too_small = refused(Kind::SmallFixed, |config| {
        (config.credit, config.credit_max) = (8_000, 8_000);
    });
    assert!(matches!(too_small, Some(ConfigError::MemoryTooSmall { .. })), "{too_small:?}");
}

#[test]
fn a_buffer_that_is_too_short_loses_nothing() {
    let (mut stage, there, back) = Stage::connected(1, [plan(|_| {}), plan(|_| {})], LINK);
    stage.send(0, there, 0, Mode::Reliable, &bytes(1, 1_000)).unwrap();
    let now = stage.now();
    for len in [0, 1, 40, 500] {
        let mut buf = vec![0; len];
        let short = stage.endpoints[0].poll_transmit(now, &mut buf).expect_err("too short");
        assert!(short.needed > len && short.needed <= 1_200, "{short}");
    }
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.read(1, back)[0].bytes, bytes(1, 1_000));
    assert_eq!(stage.endpoints[0].peer_statistics(there).unwrap().packets_lost, 0);
}

#[test]
fn time_that_goes_backwards_does_no_harm() {
    let config = Config::new(APPLICATION);
    let mut stage = Stage::new(1, &[NodePlan { config, ..plan(|_| {}) }, plan(|_| {})], 0, LINK);
    let (there, back) = stage.connect(0, 1);
    for round in 0..100_u64 {
        let pieces: [&[u8]; 1] = [b"x"];
        let message = Outgoing::new(ChannelId(0), Mode::Reliable, &pieces);
        let past = stage.now().saturating_before(Duration::from_millis(round * 7));
        stage.endpoints[0].send(past, there, message).unwrap();
        stage.run_for(Duration::from_millis(10));
        let _ = stage.endpoints[0].poll_transmit(past, &mut [0; 1_200]);
    }
    stage.run_for(Duration::from_secs(10));
    assert_eq!(stage.read(1, back).len(), 100);
    assert_eq!(stage.take_events(0), []);
}
