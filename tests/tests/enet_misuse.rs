//! ENet: every mistake of a caller has an answer of its own, and changes nothing.

use bowline_core::{
    CancelError, ChannelId, CloseReason, DisconnectReason, Duration, Event, Machine, Messages,
    Mode, Outgoing, PeerId, SendError, Tag,
};
use bowline_crypto::SipHash;
use bowline_enet::{
    Config, ConfigError, ConnectError, Fixed, Flags, Hardening, Heap, Host, Limits, State, Storage,
    Throttle, Timeout, UnknownPeer,
};
use bowline_sim::Link;
use bowline_tests::enet::{Hosts, Memory, bytes};
use bowline_tests::enet_rogue::{Rogue, Solo, address};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const MODES: [Flags; 4] =
    [Flags::NONE, Flags::RELIABLE, Flags::UNSEQUENCED, Flags::UNRELIABLE_FRAGMENT];

/// What must not change.
fn state(hosts: &mut Hosts, peer: PeerId) -> String {
    let timeout = hosts.hosts[0].poll_timeout();
    let peer = hosts.hosts[0].peer_statistics(peer);
    format!("{peer:?} {:?} {timeout:?}", hosts.hosts[0].statistics())
}

#[test]
fn every_refusal_to_send_is_typed_and_changes_nothing() {
    let config = Config { packet_max: 5_000, ..Config::DEFAULT };
    let (mut hosts, there, _) = Hosts::pair(1, config, LINK);
    hosts.run_millis(1_700);
    let before = state(&mut hosts, there);
    for flags in MODES {
        for channel in [8, 9, 254, 255] {
            let not_open = Err(SendError::ChannelNotOpen { count: 8 });
            assert_eq!(hosts.send(0, there, channel, flags, b"x"), not_open);
        }
        for len in [5_001, 70_000] {
            let too_long = Err(SendError::TooLong { len, max: 5_000 });
            assert_eq!(hosts.send(0, there, 0, flags, &bytes(1, len)), too_long);
        }
    }
    let now = hosts.now();
    let pieces: [&[u8]; 1] = [b"x"];
    let plain = Outgoing::new(ChannelId(0), Mode::Reliable, &pieces);
    let host = &mut hosts.hosts[0];
    for unsupported in [
        plain.tagged(Tag(1)),
        plain.expiring(Duration::from_secs(1)),
        plain.with_key(1),
        Outgoing::new(ChannelId(0), Mode::ReliableUnordered, &pieces),
        Outgoing::new(ChannelId(0), Mode::ReliableLatest, &pieces),
        Outgoing::new(ChannelId(0), Mode::ReliableLatest, &pieces).with_key(1),
    ] {
        assert_eq!(host.send(now, there, unsupported), Err(SendError::Unsupported));
    }
    assert_eq!(host.cancel(there, Tag(1)), Err(CancelError::UnknownTag));
    assert_eq!(host.connect(now, address(9), 0, 0), Err(ConnectError::Channels));
    assert_eq!(host.broadcast(now, ChannelId(8), Flags::RELIABLE, &pieces), 0);
    assert_eq!(host.broadcast(now, ChannelId(0), Flags::NONE, &[&bytes(1, 5_001)]), 0);
    assert_eq!(state(&mut hosts, there), before);
    hosts.take_seen();
    hosts.run_millis(150);
    assert_eq!((hosts.take_events(0), hosts.take_events(1)), (vec![], vec![]));
    assert!(hosts.take_seen().is_empty(), "nothing was queued");
}

/// Everything that can be asked of a peer is refused, and changes nothing.
fn is_nobody<S: Storage>(host: &mut Host<S>, now: bowline_core::Instant, nobody: PeerId) {
    let pieces: [&[u8]; 1] = [b"x"];
    let plain = Outgoing::new(ChannelId(0), Mode::Reliable, &pieces);
    let throttle = Throttle { interval: 1, acceleration: 1, deceleration: 1 };
    assert_eq!(host.send(now, nobody, plain), Err(SendError::UnknownPeer));
    let sent = host.send_packet(now, nobody, ChannelId(0), Flags::NONE, &pieces);
    assert_eq!(sent, Err(SendError::UnknownPeer));
    assert_eq!(host.cancel(nobody, Tag(1)), Err(CancelError::UnknownPeer));
    assert_eq!(host.ping(now, nobody), Err(UnknownPeer));
    assert_eq!(host.set_ping_interval(nobody, 1), Err(UnknownPeer));
    assert_eq!(host.set_timeout(nobody, Timeout::default()), Err(UnknownPeer));
    assert_eq!(host.configure_throttle(now, nobody, throttle), Err(UnknownPeer));
    assert_eq!(host.disconnect(now, nobody, 1), Err(UnknownPeer));
    assert_eq!(host.disconnect_now(now, nobody, 1), Err(UnknownPeer));
    assert_eq!(host.disconnect_later(now, nobody, 1), Err(UnknownPeer));
    assert_eq!(host.reset(now, nobody), Err(UnknownPeer));
    host.close(now, nobody, CloseReason(1));
    assert!(host.recv(nobody).is_none() && host.receive_packet(nobody).is_none());
    assert_eq!(host.peer_statistics(nobody), None);
    assert_eq!((host.connect_data(nobody), host.address(nobody)), (None, None));
}

#[test]
fn whoever_is_not_there_is_unknown_to_every_call() {
    let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, LINK);
    hosts.run_millis(1_700);
    let before = state(&mut hosts, there);
    let now = hosts.now();
    for nobody in [
        PeerId::new(there.slot() as u32, there.generation() + 1),
        PeerId::new(there.slot() as u32 + 1, there.generation()),
        PeerId::new(there.slot() as u32, 0),
        PeerId::new(4_095, 1),
        PeerId::new(u32::MAX, 0),
        PeerId::from_raw(u64::MAX),
    ] {
        is_nobody(&mut hosts.hosts[0], now, nobody);
    }
    assert_eq!(state(&mut hosts, there), before);
}

#[test]
fn the_id_of_an_earlier_connection_is_not_that_of_the_next_in_its_slot() {
    let (mut hosts, first, first_back) = Hosts::pair(1, Config::DEFAULT, LINK);
    let now = hosts.now();
    hosts.hosts[0].disconnect(now, first, 5).unwrap();
    hosts.run_millis(500);
    hosts.take_events(0);
    hosts.take_events(1);
    let (second, second_back) = hosts.connect(0, 1, 8);
    assert_eq!((first.slot(), first_back.slot()), (second.slot(), second_back.slot()));
    assert_ne!((first, first_back), (second, second_back));
    hosts.send(1, second_back, 0, Flags::RELIABLE, b"for the second").unwrap();
    hosts.run_millis(100);
    let now = hosts.now();
    is_nobody(&mut hosts.hosts[0], now, first);
    is_nobody(&mut hosts.hosts[1], now, first_back);
    assert_eq!(hosts.read(0, second)[0].bytes, b"for the second");
}

#[test]
fn before_and_after_a_connection_nothing_is_sent() {
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, LINK);
    let there = hosts.call(0, 1, 8, 0);
    let now = hosts.now();
    for flags in MODES {
        assert_eq!(hosts.send(0, there, 0, flags, b"x"), Err(SendError::NotConnected));
    }
    assert_eq!(hosts.hosts[0].broadcast(now, ChannelId(0), Flags::RELIABLE, &[b"x"]), 0);
    assert_eq!(hosts.hosts[0].ping(now, there), Err(UnknownPeer));
    hosts.run_millis(1_000);
    hosts.send(0, there, 0, Flags::RELIABLE, b"x").unwrap();
    let now = hosts.now();
    hosts.hosts[0].disconnect_later(now, there, 9).unwrap();
    for flags in MODES {
        assert_eq!(hosts.send(0, there, 0, flags, b"y"), Err(SendError::Closing));
    }
    assert_eq!(hosts.hosts[0].ping(now, there), Err(UnknownPeer));
    hosts.hosts[0].disconnect(now, there, 1).unwrap();
    for flags in MODES {
        assert_eq!(hosts.send(0, there, 0, flags, b"y"), Err(SendError::Closing));
    }
    // Closing again is closing once, with the first number.
    hosts.hosts[0].disconnect(now, there, 2).unwrap();
    hosts.hosts[0].disconnect_later(now, there, 3).unwrap();
    hosts.run_millis(1_000);
    let closed = Event::Disconnected(there, DisconnectReason::Closed(CloseReason(1)));
    assert_eq!(hosts.take_events(0).last(), Some(&closed));
    let by_peer = hosts.take_events(1);
    let [Event::Connected(_), Event::Disconnected(_, reason)] = by_peer[..] else {
        panic!("{by_peer:?}")
    };
    assert_eq!(reason, DisconnectReason::ClosedByPeer(CloseReason(1)));
    assert_eq!(hosts.send(0, there, 0, Flags::NONE, b"x"), Err(SendError::UnknownPeer));
}

#[test]
fn who_is_told_that_it_is_full_is_told_when_it_is_not() {
    let config = Config { send_max: 100_000, ..Config::DEFAULT };
    let (mut hosts, there, back) = Hosts::pair(1, config, LINK);
    let mut sent = Vec::new();
    let full = loop {
        let packet = bytes(sent.len() as u32, 3_000);
        match hosts.send(0, there, 0, Flags::RELIABLE, &packet) {
            Ok(()) => sent.push(packet),
            Err(error) => break error,
        }
    };
    assert_eq!((full, sent.len()), (SendError::Full, 33));
    let before = state(&mut hosts, there);
    assert_eq!(hosts.send(0, there, 0, Flags::NONE, &bytes(1, 1_001)), Err(SendError::Full));
    assert_eq!(state(&mut hosts, there), before);
    assert_eq!(hosts.take_events(0), []);
    let mut writable = 0;
    while sent.len() < 200 {
        hosts.run_millis(10);
        for event in hosts.take_events(0) {
            assert_eq!(event, Event::Writable(there));
            writable += 1;
            let packet = bytes(sent.len() as u32, 3_000);
            hosts.send(0, there, 0, Flags::RELIABLE, &packet).expect("room, it was told");
            sent.push(packet);
            while sent.len() < 200 {
                let packet = bytes(sent.len() as u32, 3_000);
                let Ok(()) = hosts.send(0, there, 0, Flags::RELIABLE, &packet) else { break };
                sent.push(packet);
            }
        }
        assert!(hosts.now() < bowline_core::Instant::from_micros(60_000_000), "it is never told");
    }
    assert!(writable > 3, "{writable}");
    hosts.run_millis(5_000);
    let got: Vec<_> = hosts.read(1, back).into_iter().map(|got| got.bytes).collect();
    assert_eq!(got.len(), 200);
    assert!(got == sent);
}

#[test]
fn every_bad_configuration_is_refused_with_its_reason() {
    type Change = fn(&mut Config);
    let refused = |change: Change| {
        let mut config = Config::DEFAULT;
        change(&mut config);
        Host::new(config, &SipHash, &[1; 32], Memory::fixed()).err()
    };
    assert_eq!(refused(|_| {}), None);
    assert_eq!(refused(|config| config.hardening = Hardening::OFF), None);
    assert_eq!(refused(|config| config.mtu = 576), None);
    assert_eq!(refused(|config| config.mtu = 4_096), None);
    let cases: [(Change, ConfigError); 13] = [
        (|config| config.channel_limit = 0, ConfigError::Channels),
        (|config| config.mtu = 575, ConfigError::Mtu),
        (|config| config.mtu = 4_097, ConfigError::Mtu),
        (|config| config.mtu = 0, ConfigError::Mtu),
        (|config| config.packet_max = 0, ConfigError::Zero),
        (|config| config.waiting_max = 0, ConfigError::Zero),
        (|config| config.send_max = 0, ConfigError::Zero),
        (|config| config.source_peers_max = 0, ConfigError::Zero),
        (|config| config.hardening.half_open_max = 0, ConfigError::Zero),
        (|config| config.hardening.verify_attempts_max = 0, ConfigError::Zero),
        (|config| config.hardening.acknowledgements_max = 0, ConfigError::Zero),
        (|config| config.hardening.arrivals_max = 0, ConfigError::Zero),
        (|config| config.hardening.steps_max = 0, ConfigError::Zero),
    ];
    for (number, (change, error)) in cases.into_iter().enumerate() {
        assert_eq!(refused(change), Some(error), "case {number}");
        assert!(!error.to_string().is_empty());
    }
    let new = |limits| Host::new(Config::DEFAULT, &SipHash, &[1; 32], Heap::new(limits)).err();
    let limits = Limits::for_peers(8);
    assert_eq!(new(limits), None);
    assert_eq!(new(Limits { peers: 0, ..limits }), Some(ConfigError::Peers));
    assert_eq!(new(Limits { peers: 4_096, ..limits }), Some(ConfigError::Peers));
    let small = Some(ConfigError::MemoryTooSmall);
    assert_eq!(new(Limits { channels: 7, ..limits }), small);
    assert_eq!(new(Limits { commands: 127, ..limits }), small);
    assert_eq!(new(Limits { bytes: 8 * 16 * 256 - 1, ..limits }), small);
}

#[test]
fn a_buffer_that_is_too_short_loses_nothing() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, LINK);
    hosts.send(0, there, 0, Flags::RELIABLE, &bytes(1, 1_000)).unwrap();
    let now = hosts.now();
    for len in [0, 1, 40, 1_391] {
        let short = hosts.hosts[0].poll_transmit(now, &mut vec![0; len]).expect_err("too short");
        assert!(short.needed > len && short.needed <= 1_396, "{short}");
    }
    hosts.run_millis(1_000);
    assert_eq!(hosts.read(1, back)[0].bytes, bytes(1, 1_000));
    let now = hosts.now();
    hosts.hosts[0].disconnect_now(now, there, 3).unwrap();
    assert!(hosts.hosts[0].poll_transmit(now, &mut [0; 5]).is_err());
    hosts.run_millis(100);
    let reason = DisconnectReason::ClosedByPeer(CloseReason(3));
    assert_eq!(hosts.take_events(1), [Event::Disconnected(back, reason)]);
}

#[test]
fn time_that_goes_backwards_does_no_harm() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, LINK);
    for round in 0..100_u64 {
        let past = hosts.now().saturating_before(Duration::from_millis(round * 7));
        let pieces: [&[u8]; 1] = [b"x"];
        hosts.hosts[0].send_packet(past, there, ChannelId(0), Flags::RELIABLE, &pieces).unwrap();
        hosts.run_millis(10);
        assert!(hosts.hosts[0].poll_transmit(past, &mut [0; 1_400]).unwrap().is_none());
    }
    hosts.run_millis(5_000);
    assert_eq!(hosts.read(1, back).len(), 100);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().state, State::Connected);
    assert_eq!(hosts.take_events(0), []);
}

#[test]
fn what_never_will_fit_is_too_long() {
    // Memory for 32 commands, of which half are promised: a long packet needs more.
    let mut memory: Box<Fixed<1, 4, 32, 2_048>> = Box::default();
    let mut solo = Solo::new(Config { mtu: 576, ..Config::DEFAULT }, &mut *memory);
    let peer = Rogue::new(1).join(&mut solo);
    let long = vec![1; 100_000];
    let refused = |solo: &mut Solo<_>, len: usize| {
        solo.host.send_packet(solo.now, peer, ChannelId(0), Flags::RELIABLE, &[&long[..len]])
    };
    let Err(SendError::TooLong { len: 60_000, max }) = refused(&mut solo, 60_000) else {
        panic!("{:?}: it never will fit", refused(&mut solo, 60_000))
    };
    assert!(max < 60_000);
    assert_eq!(refused(&mut solo, max + 1), Err(SendError::TooLong { len: max + 1, max }));
    assert_eq!(refused(&mut solo, max), Ok(()), "the longest that fits does");
}

#[test]
fn the_longest_packet_that_is_not_too_long_fits_empty_memory() {
    let mut memory: Box<Fixed<2, 4, 512, 1_024>> = Box::default();
    let mut solo = Solo::new(Config::DEFAULT, &mut *memory);
    let peer = Rogue::new(1).join(&mut solo);
    let long = vec![1; 4 << 20];
    let mut refused = |len: usize| {
        solo.host.send_packet(solo.now, peer, ChannelId(0), Flags::RELIABLE, &[&long[..len]])
    };
    let Err(SendError::TooLong { len: 4_194_304, max }) = refused(4 << 20) else {
        panic!("it never will fit")
    };
    assert_eq!(refused(max + 1), Err(SendError::TooLong { len: max + 1, max }));
    assert_eq!(refused(max), Ok(()));
}

#[test]
fn who_waits_for_room_is_told_though_many_others_cannot_be() {
    let config = Config { send_max: 10_000, ..Config::DEFAULT };
    let mut plans = vec![(config, Memory::heap(80))];
    plans.extend((0..66).map(|_| (config, Memory::heap(8))));
    let mut hosts = Hosts::new(1, plans, LINK);
    let peers: Vec<_> = (1..=66).map(|node| hosts.connect(0, node, 1).0).collect();
    hosts.run_millis(1_000);
    hosts.take_events(0);
    for node in 1..65 {
        hosts.net.set_link(0, node, Link::DOWN);
    }
    for peer in &peers {
        while hosts.send(0, *peer, 0, Flags::RELIABLE, &[1; 1_000]).is_ok() {}
        assert_eq!(hosts.send(0, *peer, 0, Flags::RELIABLE, &[1; 1_000]), Err(SendError::Full));
    }
    hosts.run_millis(2_000);
    let events = hosts.take_events(0);
    assert_eq!(events, [Event::Writable(peers[64]), Event::Writable(peers[65])]);
}

#[test]
fn extreme_intervals_and_timeouts_do_not_make_a_host_spin() {
    for millis in [1, 86_399_999, 86_400_000, 1 << 31, u32::MAX - 1, u32::MAX] {
        let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, LINK);
        hosts.run_millis(2_000);
        let timeout = Timeout { limit: millis, minimum: millis, maximum: millis };
        hosts.hosts[0].set_ping_interval(there, millis).unwrap();
        if millis > 1 {
            hosts.hosts[0].set_timeout(there, timeout).unwrap();
        }
        let before = hosts.polls();
        hosts.run_millis(5_000);
        let polls = hosts.polls() - before;
        assert!(polls < 2_000, "{polls} polls with {millis} ms");
        hosts.send(0, there, 0, Flags::RELIABLE, b"still there").unwrap();
        hosts.run_millis(500);
        assert_eq!(hosts.read(1, back).len(), 1);
    }
}

#[test]
fn the_throttle_of_a_connection_that_has_not_begun_cannot_be_set() {
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, LINK);
    let there = hosts.call(0, 1, 8, 0);
    let now = hosts.now();
    let throttle = Throttle { interval: 1, acceleration: 1, deceleration: 1 };
    // The answer would not fit the question any more, and the connection fail.
    assert_eq!(hosts.hosts[0].configure_throttle(now, there, throttle), Err(UnknownPeer));
    hosts.run_millis(1_000);
    assert_eq!(hosts.take_events(0), [Event::Connected(there)]);
}

#[test]
fn who_has_no_room_for_another_channel_is_told_when_there_is() {
    // Eight channels for two peers, of which half are promised.
    let mut memory: Box<Fixed<2, 8, 256, 1_024>> = Box::default();
    let mut solo = Solo::new(Config::DEFAULT, &mut *memory);
    let mut parameters = Rogue::new(1).parameters;
    parameters.channel_count = 200;
    let [first, second] = [1, 2].map(|number| {
        let mut rogue = Rogue { parameters, ..Rogue::new(number) };
        rogue.parameters.connect_id = [number as u8; 4];
        rogue.join(&mut solo)
    });
    let send = |solo: &mut Solo<_>, peer, channel| {
        solo.host.send_packet(solo.now, peer, ChannelId(channel), Flags::NONE, &[b"x"])
    };
    for channel in 0..6 {
        assert_eq!(send(&mut solo, first, channel), Ok(()));
    }
    for channel in 0..2 {
        assert_eq!(send(&mut solo, second, channel), Ok(()), "what was promised is there");
    }
    assert_eq!(send(&mut solo, second, 2), Err(SendError::Full));
    solo.drain();
    assert_eq!(solo.events(), [], "there is room for packets, but not for this one");
    solo.host.reset(solo.now, first).unwrap();
    assert_eq!(solo.events(), [Event::Writable(second)]);
    assert_eq!(send(&mut solo, second, 2), Ok(()));
}
