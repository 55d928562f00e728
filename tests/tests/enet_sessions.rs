//! ENet: how connections begin and end, and what each side is told.

use bowline_core::{CloseReason, DisconnectReason, DropReason, Duration, Event, PeerId};
use bowline_enet::{Checksum, Config, ConnectError, Flags, State, Timeout};
use bowline_sim::{Link, PERCENT};
use bowline_tests::enet::{Hosts, Memory, bytes};

const CLEAN: Link = Link::PERFECT.with_delay(Duration::from_millis(20));

fn closed(peer: PeerId, reason: u32) -> Event {
    Event::Disconnected(peer, DisconnectReason::Closed(CloseReason(reason)))
}

fn closed_by_peer(peer: PeerId, reason: u32) -> Event {
    Event::Disconnected(peer, DisconnectReason::ClosedByPeer(CloseReason(reason)))
}

#[test]
fn both_sides_are_told_of_the_connection_and_the_server_its_number() {
    for checksum in [Checksum::None, Checksum::Crc32] {
        let config = Config { checksum, ..Config::DEFAULT };
        let plans = vec![(config, Memory::heap(8)), (config, Memory::heap(8))];
        let mut hosts = Hosts::new(1, plans, CLEAN);
        let there = hosts.call(0, 1, 5, 0xDEAD_BEEF);
        assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().state, State::Connecting);
        hosts.run_millis(200);
        assert_eq!(hosts.take_events(0), [Event::Connected(there)]);
        let events = hosts.take_events(1);
        let [Event::Connected(back)] = events[..] else { panic!("{events:?}") };
        assert_eq!(hosts.hosts[0].connect_data(there), Some(0));
        assert_eq!(hosts.hosts[1].connect_data(back), Some(0xDEAD_BEEF));
        assert_eq!(hosts.hosts[1].address(back), Some(hosts.net.address(0)));
        assert_eq!(hosts.hosts[1].peer_statistics(back).unwrap().channels, 5);
        assert_eq!(hosts.hosts[0].statistics().connections, 1);
        assert_eq!(hosts.hosts[1].statistics().connections, 1);
    }
}

#[test]
fn connections_come_about_on_a_bad_network() {
    let foul = CLEAN
        .with_loss(30 * PERCENT)
        .with_duplicate(30 * PERCENT, Duration::from_millis(300))
        .with_jitter(Duration::from_millis(100));
    let mut connected = 0;
    for seed in 0..20 {
        let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
        let mut hosts = Hosts::new(seed, plans, foul);
        let there = hosts.call(0, 1, 2, 0);
        hosts.run_millis(20_000);
        let events = hosts.take_events(0);
        connected += u32::from(events.first() == Some(&Event::Connected(there)));
        // However many copies of the request there were, there is one connection at most.
        let begun = hosts
            .take_events(1)
            .iter()
            .filter(|event| matches!(event, Event::Connected(_)))
            .count();
        assert!(begun <= 1, "seed {seed}: {begun}");
    }
    assert!(connected >= 18, "{connected}");
}

#[test]
fn nobody_answers_and_that_is_told_after_half_a_minute() {
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, Link::DOWN);
    let there = hosts.call(0, 1, 2, 0);
    hosts.run_millis(31_400);
    assert_eq!(hosts.take_events(0), []);
    assert_eq!(hosts.take_seen().len(), 6, "at 0, 0.5, 1.5, 3.5, 7.5 and 15.5 s");
    hosts.run_millis(200);
    assert_eq!(
        hosts.take_events(0),
        [Event::Disconnected(there, DisconnectReason::ConnectTimedOut)]
    );
    assert_eq!(hosts.hosts[0].peer_statistics(there), None);
}

#[test]
fn a_disconnect_is_told_to_both_sides_once() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let now = hosts.now();
    hosts.send(0, there, 0, Flags::RELIABLE, b"not any more").unwrap();
    hosts.hosts[0].disconnect(now, there, 17).unwrap();
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().state, State::Disconnecting);
    hosts.run_millis(10_000);
    assert_eq!(hosts.take_events(0), [closed(there, 17)]);
    assert_eq!(hosts.take_events(1), [closed_by_peer(back, 17)]);
    assert!(hosts.read(1, back).is_empty(), "what was queued is dropped");
    assert_eq!(hosts.hosts[0].peer_statistics(there), None);
    assert_eq!(hosts.hosts[1].peer_statistics(back), None);
}

#[test]
fn a_disconnect_now_is_told_to_the_other_side_only() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let now = hosts.now();
    hosts.hosts[0].disconnect_now(now, there, 18).unwrap();
    assert_eq!(hosts.hosts[0].peer_statistics(there), None);
    hosts.run_millis(10_000);
    assert_eq!(hosts.take_events(0), []);
    assert_eq!(hosts.take_events(1), [closed_by_peer(back, 18)]);
}

#[test]
fn a_disconnect_later_comes_after_everything_reliable_has_arrived() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN.with_loss(10 * PERCENT));
    let packets: Vec<_> = (0..50).map(|number| bytes(number, 2_000)).collect();
    for packet in &packets {
        hosts.send(0, there, 0, Flags::RELIABLE, packet).unwrap();
    }
    let now = hosts.now();
    hosts.hosts[0].disconnect_later(now, there, 19).unwrap();
    let mut got = Vec::new();
    let mut events = Vec::new();
    for _ in 0..3_000 {
        hosts.run_millis(10);
        got.extend(hosts.read(1, back).into_iter().map(|got| got.bytes));
        events.extend(hosts.take_events(1));
        if !events.is_empty() {
            break;
        }
    }
    assert!(got == packets, "{}", got.len());
    assert_eq!(events, [closed_by_peer(back, 19)]);
    hosts.run_millis(40_000);
    let told = hosts.take_events(0);
    let [Event::Disconnected(peer, _)] = told[..] else { panic!("{told:?}") };
    assert_eq!(peer, there);
}

#[test]
fn a_disconnect_later_with_nothing_queued_is_one_now_and_unreliable_packets_go_first() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(2_200);
    hosts.send(0, there, 0, Flags::NONE, b"farewell").unwrap();
    let now = hosts.now();
    hosts.hosts[0].disconnect_later(now, there, 20).unwrap();
    hosts.run_millis(21);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().state, State::Disconnecting);
    let sent: Vec<_> = hosts.take_seen().into_iter().filter(|seen| seen.by == 0).collect();
    let farewell = sent.iter().position(|seen| seen.bytes.ends_with(b"farewell"));
    let disconnect = sent.iter().position(|seen| seen.bytes[4..].first() == Some(&0x84));
    assert!(farewell.unwrap() < disconnect.unwrap());
    hosts.run_millis(500);
    assert_eq!(hosts.take_events(0), [closed(there, 20)]);
    assert_eq!(hosts.take_events(1), [closed_by_peer(back, 20)]);
}

#[test]
fn disconnects_that_cross_are_each_the_others() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let now = hosts.now();
    hosts.hosts[0].disconnect(now, there, 1).unwrap();
    hosts.hosts[1].disconnect(now, back, 2).unwrap();
    hosts.run_millis(100);
    assert_eq!(hosts.take_events(0), [closed_by_peer(there, 2)]);
    assert_eq!(hosts.take_events(1), [closed_by_peer(back, 1)]);
}

#[test]
fn a_lost_acknowledgement_of_a_disconnect_only_takes_time() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let now = hosts.now();
    hosts.net.set_link(1, 0, Link::DOWN);
    hosts.hosts[0].disconnect(now, there, 1).unwrap();
    hosts.run_millis(100);
    assert_eq!(hosts.take_events(1), [closed_by_peer(back, 1)]);
    hosts.net.set_link(1, 0, CLEAN);
    hosts.run_millis(40_000);
    let told = hosts.take_events(0);
    let [Event::Disconnected(peer, _)] = told[..] else { panic!("{told:?}") };
    assert_eq!(peer, there);
}

#[test]
fn who_resets_says_nothing_and_the_other_finds_out() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(2_000);
    let now = hosts.now();
    hosts.hosts[0].reset(now, there).unwrap();
    hosts.run_millis(4_000);
    assert_eq!((hosts.take_events(0), hosts.take_events(1)), (vec![], vec![]));
    hosts.run_millis(30_000);
    assert_eq!(hosts.take_events(0), []);
    assert_eq!(hosts.take_events(1), [Event::Disconnected(back, DisconnectReason::TimedOut)]);
}

#[test]
fn a_dead_peer_is_given_up_between_its_minimum_and_its_maximum() {
    for (timeout, least, most) in [
        (Timeout::default(), 4_900, 31_000),
        (Timeout { limit: 1_000_000, minimum: 100, maximum: 3_000 }, 3_000, 7_000),
        (Timeout { limit: 2, minimum: 1_000, maximum: 20_000 }, 1_000, 3_000),
    ] {
        let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, CLEAN);
        hosts.run_millis(3_000);
        hosts.hosts[0].set_timeout(there, timeout).unwrap();
        hosts.net.link(0, 1, Link::DOWN);
        hosts.send(0, there, 0, Flags::RELIABLE, b"hello?").unwrap();
        let start = hosts.now();
        while hosts.take_events(0).is_empty() {
            hosts.run_millis(10);
            assert!(hosts.now() < start + Duration::from_secs(100), "{timeout:?}");
        }
        let waited = hosts.now().saturating_since(start).as_millis();
        assert!((least..most).contains(&waited), "{timeout:?}: {waited} ms");
    }
}

#[test]
fn connections_follow_each_other_in_the_same_slots_with_other_sessions() {
    let (mut hosts, mut there, mut back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let mut sessions = Vec::new();
    for round in 0..9_u32 {
        hosts.take_seen();
        hosts.send(0, there, 0, Flags::RELIABLE, &round.to_be_bytes()).unwrap();
        hosts.run_millis(300);
        assert_eq!(hosts.read(1, back)[0].bytes, round.to_be_bytes());
        sessions.push(hosts.take_seen()[0].bytes[0] >> 4 & 3);
        let now = hosts.now();
        let (node, peer) = if round % 2 == 0 { (0, there) } else { (1, back) };
        hosts.hosts[node].disconnect(now, peer, round).unwrap();
        hosts.run_millis(300);
        assert_eq!((hosts.take_events(0).len(), hosts.take_events(1).len()), (1, 1));
        let old = (there, back);
        (there, back) = hosts.connect(0, 1, 8);
        assert_eq!((there.slot(), back.slot()), (old.0.slot(), old.1.slot()));
    }
    assert_eq!(sessions, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
}

#[test]
fn datagrams_of_an_earlier_session_are_strays() {
    let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(2_000);
    hosts.take_seen();
    hosts.send(0, there, 0, Flags::NONE, b"old").unwrap();
    hosts.run_millis(30);
    let old = hosts.take_seen().into_iter().find(|seen| seen.bytes.ends_with(b"old")).unwrap();
    let now = hosts.now();
    hosts.hosts[0].disconnect(now, there, 0).unwrap();
    hosts.run_millis(200);
    let (from, to) = (hosts.net.address(0), hosts.net.address(1));
    hosts.take_events(1);
    let now = hosts.now();
    hosts.net.inject(now, from, to, &old.bytes);
    hosts.run_millis(10);
    assert_eq!(hosts.hosts[1].statistics().dropped(DropReason::Stray), 1);
    let (_, back) = hosts.connect(0, 1, 8);
    let now = hosts.now();
    hosts.net.inject(now, from, to, &old.bytes);
    hosts.run_millis(10);
    assert_eq!(hosts.hosts[1].statistics().dropped(DropReason::Stray), 2);
    assert!(hosts.read(1, back).is_empty());
}

#[test]
fn a_full_server_answers_nothing_and_has_room_again() {
    let plan = || (Config::DEFAULT, Memory::fixed());
    let mut plans = vec![plan()];
    plans.extend((0..9).map(|_| (Config::DEFAULT, Memory::heap(8))));
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let peers: Vec<_> = (1..=8).map(|node| hosts.connect(node, 0, 8)).collect();
    hosts.call(9, 0, 8, 0);
    hosts.run_millis(1_000);
    assert_eq!(hosts.take_events(9), []);
    assert!(hosts.hosts[0].statistics().dropped(DropReason::Full) >= 2);
    let (now, to) = (hosts.now(), hosts.net.address(9));
    assert_eq!(hosts.hosts[0].connect(now, to, 1, 0), Err(ConnectError::Full));
    hosts.hosts[0].disconnect_now(now, peers[4].1, 0).unwrap();
    hosts.run_millis(5_000);
    assert!(matches!(hosts.take_events(9)[..], [Event::Connected(_)]));
}

#[test]
fn who_drains_takes_no_more_and_keeps_those_who_are_there() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.hosts[1].drain(true);
    let second = hosts.call(0, 1, 8, 0);
    hosts.run_millis(1_000);
    assert!(hosts.hosts[1].statistics().dropped(DropReason::Draining) >= 2);
    hosts.send(0, there, 0, Flags::RELIABLE, b"still").unwrap();
    hosts.run_millis(500);
    assert_eq!(hosts.read(1, back).len(), 1);
    let (now, to) = (hosts.now(), hosts.net.address(0));
    assert!(hosts.hosts[1].connect(now, to, 1, 0).is_ok(), "it may still ask others");
    hosts.hosts[1].drain(false);
    hosts.run_millis(3_000);
    assert!(hosts.take_events(0).contains(&Event::Connected(second)));
}

#[test]
fn one_source_has_so_many_connections_and_no_more() {
    let config = Config { source_peers_max: 2, ..Config::DEFAULT };
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (config, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let (_, first) = hosts.connect(0, 1, 1);
    hosts.connect(0, 1, 1);
    hosts.call(0, 1, 1, 0);
    hosts.run_millis(1_000);
    assert!(hosts.hosts[1].statistics().dropped(DropReason::OverLimit) >= 2);
    assert_eq!(hosts.take_events(1), []);
    let now = hosts.now();
    hosts.hosts[1].disconnect(now, first, 0).unwrap();
    hosts.run_millis(5_000);
    let events = hosts.take_events(1);
    assert!(matches!(events[..], [Event::Disconnected(..), Event::Connected(_)]), "{events:?}");
}

#[test]
fn the_hosts_limit_of_channels_binds_those_who_ask() {
    let config = Config { channel_limit: 3, ..Config::DEFAULT };
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (config, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let (there, back) = hosts.connect(0, 1, 200);
    for (node, peer) in [(0, there), (1, back)] {
        assert_eq!(hosts.hosts[node].peer_statistics(peer).unwrap().channels, 3);
    }
    hosts.hosts[1].set_channel_limit(0);
    let (there, _) = hosts.connect(0, 1, 200);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().channels, 200);
    // It does not bind this side's own requests.
    hosts.hosts[0].set_channel_limit(1);
    let (there, _) = hosts.connect(0, 1, 7);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().channels, 7);
}

#[test]
fn two_hosts_may_ask_each_other_at_once() {
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let there = hosts.call(0, 1, 2, 1);
    let back = hosts.call(1, 0, 2, 2);
    hosts.run_millis(1_000);
    let (at_first, at_second) = (hosts.take_events(0), hosts.take_events(1));
    assert_eq!((at_first.len(), at_second.len()), (2, 2), "two connections: {at_first:?}");
    assert!(at_first.contains(&Event::Connected(there)));
    assert!(at_second.contains(&Event::Connected(back)));
}

#[test]
fn a_client_that_gives_up_while_asking_is_forgotten() {
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let there = hosts.call(0, 1, 2, 1);
    hosts.run_millis(5);
    let now = hosts.now();
    hosts.hosts[0].disconnect(now, there, 5).unwrap();
    assert_eq!(hosts.hosts[0].peer_statistics(there), None);
    hosts.run_millis(40_000);
    assert_eq!((hosts.take_events(0), hosts.take_events(1)), (vec![], vec![]));
    assert_eq!(hosts.hosts[1].slot_statistics(0).unwrap().state, State::Disconnected);
}
