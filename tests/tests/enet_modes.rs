//! ENet: what becomes of packets, whatever the network does to them.

extern crate alloc;

use alloc::collections::BTreeMap;

use bowline_core::{ChannelId, Duration, Event, Messages, Mode, Outgoing};
use bowline_enet::{Checksum, Config, Flags, Intercept, State, Throttle, Verdict};
use bowline_sim::{Link, PERCENT};
use bowline_tests::enet::{Hosts, Memory, bytes};

const CLEAN: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const FOUL: Link = CLEAN
    .with_jitter(Duration::from_millis(30))
    .with_loss(10 * PERCENT)
    .with_duplicate(5 * PERCENT, Duration::from_millis(40))
    .with_reorder(10 * PERCENT, Duration::from_millis(50));

/// A packet that says which one it is.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut packet = bytes(number, len.max(4));
    packet[..4].copy_from_slice(&number.to_be_bytes());
    packet
}

fn number_of(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().expect("a number"))
}

#[test]
fn reliable_packets_arrive_once_and_in_order_per_channel() {
    for seed in 1..4 {
        let (mut hosts, there, back) = Hosts::pair(seed, Config::DEFAULT, FOUL);
        let mut sent: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
        let mut got = sent.clone();
        for number in 0..400 {
            let channel = (number % 8) as u8;
            let packet = numbered(number, [0, 10, 1_364, 1_365, 5_000][number as usize % 5]);
            hosts.send(0, there, channel, Flags::RELIABLE, &packet).unwrap();
            sent.entry(channel).or_default().push(packet);
            hosts.run_millis(7);
            for packet in hosts.read(1, back) {
                assert_eq!(packet.flags, Flags::RELIABLE);
                got.entry(packet.channel).or_default().push(packet.bytes);
            }
        }
        // Unstable round trips have ENet send little at a time: it takes a while.
        for _ in 0..1_200 {
            if got == sent {
                break;
            }
            hosts.run_millis(50);
            for packet in hosts.read(1, back) {
                got.entry(packet.channel).or_default().push(packet.bytes);
            }
        }
        assert!(got == sent, "seed {seed}");
        hosts.run_millis(100);
        let statistics = hosts.hosts[0].peer_statistics(there).unwrap();
        assert!(statistics.rtt > 30 && statistics.rtt < 400, "{statistics:?}");
    }
}

#[test]
fn unreliable_ordered_packets_never_go_back() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, FOUL);
    let mut last: BTreeMap<u8, u32> = BTreeMap::new();
    let mut count = 0;
    for number in 1..2_000_u32 {
        let channel = (number % 3) as u8;
        let len = if number % 10 == 0 { 4_000 } else { 20 };
        let flags = Flags::UNRELIABLE_FRAGMENT;
        hosts.send(0, there, channel, flags, &numbered(number, len)).unwrap();
        hosts.run_millis(5);
        for packet in hosts.read(1, back) {
            let expected = if packet.bytes.len() > 1_000 { flags } else { Flags::NONE };
            assert_eq!(packet.flags, expected);
            let this = number_of(&packet.bytes);
            assert_eq!(packet.bytes, numbered(this, packet.bytes.len()));
            assert!(last.insert(packet.channel, this).is_none_or(|last| last < this));
            count += 1;
        }
    }
    assert!((800..1_950).contains(&count), "{count}");
}

#[test]
fn unsequenced_packets_arrive_at_most_once() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, FOUL);
    let mut seen = vec![false; 3_000];
    let mut overtaken = 0;
    let mut highest = 0;
    for number in 0..3_000_u32 {
        let channel = (number % 8) as u8;
        hosts.send(0, there, channel, Flags::UNSEQUENCED, &numbered(number, 30)).unwrap();
        hosts.run_millis(4);
        for packet in hosts.read(1, back) {
            let this = number_of(&packet.bytes);
            assert_eq!((packet.flags, packet.channel), (Flags::UNSEQUENCED, (this % 8) as u8));
            assert!(!core::mem::replace(&mut seen[this as usize], true), "{this} came twice");
            overtaken += u32::from(this < highest);
            highest = highest.max(this);
        }
    }
    let count = seen.iter().filter(|seen| **seen).count();
    assert!((2_000..2_950).contains(&count), "{count}");
    assert!(overtaken > 100, "{overtaken}: they do not wait for each other");
}

#[test]
fn an_unreliable_packet_waits_for_the_reliable_one_before_it() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(2_000);
    let down = Link::DOWN;
    hosts.net.set_link(0, 1, down);
    hosts.send(0, there, 0, Flags::RELIABLE, b"first").unwrap();
    hosts.run_millis(1);
    hosts.net.set_link(0, 1, CLEAN);
    hosts.send(0, there, 0, Flags::NONE, b"second").unwrap();
    hosts.send(0, there, 1, Flags::NONE, b"elsewhere").unwrap();
    hosts.send(0, there, 0, Flags::UNSEQUENCED, b"any time").unwrap();
    hosts.run_millis(30);
    let got: Vec<_> = hosts.read(1, back).into_iter().map(|got| got.bytes).collect();
    assert_eq!(got, [&b"elsewhere"[..], b"any time"]);
    hosts.run_millis(2_000);
    let got: Vec<_> = hosts.read(1, back).into_iter().map(|got| got.bytes).collect();
    assert_eq!(got, [&b"first"[..], b"second"]);
}

#[test]
fn a_mebibyte_arrives_in_fragments_under_loss() {
    for (flags, is_sure) in [(Flags::RELIABLE, true), (Flags::UNRELIABLE_FRAGMENT, false)] {
        let link = if is_sure { CLEAN.with_loss(2 * PERCENT) } else { CLEAN };
        let (mut hosts, there, back) = Hosts::pair(3, Config::DEFAULT, link);
        let packet = bytes(9, 1 << 20);
        hosts.send(0, there, 2, flags, &packet).unwrap();
        hosts.run_millis(60_000);
        let got = hosts.read(1, back);
        assert_eq!(got.len(), 1, "{flags:?}");
        assert!(got[0].bytes == packet);
        assert_eq!((got[0].channel, got[0].flags), (2, flags));
    }
}

#[test]
fn an_unreliable_packet_in_fragments_of_which_one_is_lost_is_lost() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(2_000);
    let mut count = 0;
    hosts.net.set_filter(move |_, seen| {
        count += u32::from(seen.bytes.len() > 1_000);
        count != 3
    });
    let flags = Flags::UNRELIABLE_FRAGMENT;
    hosts.send(0, there, 0, flags, &bytes(1, 6_000)).unwrap();
    hosts.send(0, there, 0, flags, &bytes(2, 6_000)).unwrap();
    hosts.run_millis(5_000);
    let got: Vec<_> = hosts.read(1, back).into_iter().map(|got| got.bytes).collect();
    assert!(got == [bytes(2, 6_000)]);
}

#[test]
fn long_packets_without_the_flag_are_sent_reliably() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    for flags in [Flags::NONE, Flags::UNSEQUENCED, Flags::RELIABLE.with(Flags::UNSEQUENCED)] {
        hosts.send(0, there, 0, flags, &bytes(1, 1_365)).unwrap();
        hosts.send(0, there, 0, flags, &bytes(1, 1_364)).unwrap();
    }
    hosts.run_millis(1_000);
    let got: Vec<_> =
        hosts.read(1, back).into_iter().map(|got| (got.bytes.len(), got.flags)).collect();
    let mut got = got;
    got.sort_by_key(|(len, flags)| (*len, flags.bits()));
    assert_eq!(
        got,
        [
            (1_364, Flags::NONE),
            (1_364, Flags::RELIABLE),
            (1_364, Flags::UNSEQUENCED),
            (1_365, Flags::RELIABLE),
            (1_365, Flags::RELIABLE),
            (1_365, Flags::RELIABLE),
        ]
    );
}

#[test]
fn messages_keep_what_their_mode_promises_whatever_their_length() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    for mode in Mode::GODOT {
        for len in [0, 100, 10_000] {
            let packet = bytes(1, len);
            let pieces: [&[u8]; 3] = [&packet[..len / 3], &[], &packet[len / 3..]];
            let now = hosts.now();
            let message = Outgoing::new(ChannelId(3), mode, &pieces);
            hosts.hosts[0].send(now, there, message).unwrap();
            hosts.run_millis(500);
            let got = hosts.hosts[1].recv(back).expect("a message");
            // One in fragments cannot tell whether it is in order.
            let expected = if len > 1_364 && mode == Mode::Unreliable {
                Mode::UnreliableOrdered
            } else {
                mode
            };
            assert_eq!((got.channel(), got.mode()), (ChannelId(3), expected));
            assert!(got.to_vec() == packet);
            assert!(hosts.hosts[1].recv(back).is_none());
        }
    }
}

#[test]
fn all_255_channels_are_streams_of_their_own() {
    let plans = vec![(Config::DEFAULT, Memory::heap(64)), (Config::DEFAULT, Memory::heap(64))];
    let mut hosts = Hosts::new(1, plans, CLEAN.with_loss(5 * PERCENT));
    let (there, back) = hosts.connect(0, 1, 255);
    assert_eq!(hosts.hosts[1].peer_statistics(back).unwrap().channels, 255);
    for round in 0..3 {
        for channel in 0..255_u8 {
            let packet = numbered(round, 10 + usize::from(channel));
            hosts.send(0, there, channel, Flags::RELIABLE, &packet).unwrap();
        }
    }
    hosts.run_millis(20_000);
    let mut got: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for packet in hosts.read(1, back) {
        assert_eq!(packet.bytes.len(), 10 + usize::from(packet.channel));
        got.entry(packet.channel).or_default().push(number_of(&packet.bytes));
    }
    assert_eq!(got.len(), 255);
    assert!(got.values().all(|numbers| numbers == &[0, 1, 2]));
}

#[test]
fn the_65536th_unreliable_packet_in_a_row_is_reliable_and_none_is_lost() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, Link::PERFECT);
    let mut got = 0;
    let mut reliable = Vec::new();
    for number in 0..70_000_u32 {
        hosts.send(0, there, 0, Flags::NONE, &number.to_be_bytes()).unwrap();
        if number % 32 == 31 || number == 69_999 {
            hosts.run_millis(1);
            for packet in hosts.read(1, back) {
                assert_eq!(number_of(&packet.bytes), got);
                if packet.flags == Flags::RELIABLE {
                    reliable.push(got);
                }
                got += 1;
            }
        }
    }
    assert_eq!((got, reliable), (70_000, vec![65_535]));
}

#[test]
fn reliable_numbers_wrap() {
    let (mut hosts, there, back) = Hosts::pair(1, Config::DEFAULT, Link::PERFECT);
    let mut got = 0;
    for number in 0..140_000_u32 {
        hosts.send(0, there, 0, Flags::RELIABLE, &number.to_be_bytes()).unwrap();
        if number % 64 == 63 || number == 139_999 {
            hosts.run_millis(2);
            for packet in hosts.read(1, back) {
                assert_eq!(number_of(&packet.bytes), got);
                got += 1;
            }
        }
    }
    hosts.run_millis(1_000);
    got += hosts.read(1, back).len() as u32;
    assert_eq!(got, 140_000);
}

#[test]
fn a_broadcast_reaches_all_who_are_connected_and_nobody_else() {
    let mut plans = vec![(Config::DEFAULT, Memory::heap(8))];
    plans.extend((0..5).map(|_| (Config::DEFAULT, Memory::heap(8))));
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let peers: Vec<_> = (1..=4).map(|node| hosts.connect(node, 0, node as u8)).collect();
    let half_open = hosts.call(0, 5, 8, 0);
    let now = hosts.now();
    hosts.hosts[0].disconnect(now, peers[3].1, 0).unwrap();
    // The first peer has one channel only.
    let count = hosts.hosts[0].broadcast(now, ChannelId(1), Flags::RELIABLE, &[b"a", b"ll"]);
    assert_eq!(count, 2);
    assert_eq!(
        hosts.send(0, half_open, 0, Flags::NONE, b""),
        Err(bowline_core::SendError::NotConnected)
    );
    hosts.run_millis(500);
    for node in 1..=4 {
        let got = hosts.read(node, peers[node - 1].0);
        let expected = if node == 2 || node == 3 { 1 } else { 0 };
        assert_eq!(got.len(), expected, "node {node}");
        assert!(got.iter().all(|got| got.bytes == b"all" && got.channel == 1));
    }
}

#[test]
fn both_sides_keep_to_the_shorter_mtu() {
    for (client, server) in [(576, 1_392), (1_392, 576), (4_096, 1_000), (4_096, 4_096)] {
        let plan = |mtu| (Config { mtu, ..Config::DEFAULT }, Memory::heap(8));
        let mut hosts = Hosts::new(1, vec![plan(client), plan(server)], CLEAN);
        let (there, back) = hosts.connect(0, 1, 2);
        let shorter = client.min(server);
        for (node, peer) in [(0, there), (1, back)] {
            let statistics = hosts.hosts[node].peer_statistics(peer).unwrap();
            assert_eq!(statistics.mtu, u32::from(shorter));
        }
        hosts.take_seen();
        let packet = bytes(1, 20_000);
        hosts.send(0, there, 0, Flags::RELIABLE, &packet).unwrap();
        hosts.send(1, back, 0, Flags::RELIABLE, &packet).unwrap();
        for _ in 0..40 {
            hosts.send(0, there, 0, Flags::RELIABLE, &packet[..300]).unwrap();
        }
        hosts.run_millis(5_000);
        let longest = hosts.take_seen().iter().map(|seen| seen.bytes.len()).max().unwrap();
        assert_eq!(longest, usize::from(shorter));
        assert_eq!((hosts.read(1, back).len(), hosts.read(0, there).len()), (41, 1));
    }
}

#[test]
fn packets_of_any_length_arrive_with_a_checksum_at_any_mtu() {
    for mtu in [576, 1_392, 4_096] {
        let config = Config { mtu, checksum: Checksum::Crc32, ..Config::DEFAULT };
        let (mut hosts, there, back) = Hosts::pair(1, config, CLEAN);
        let lens: Vec<usize> =
            (0..200).map(|at| [1, 100, 250, 500, 1_000, 9_000][at % 6] + at).collect();
        for len in &lens {
            hosts.send(0, there, 0, Flags::RELIABLE, &bytes(1, *len)).unwrap();
        }
        hosts.run_millis(30_000);
        let got: Vec<usize> = hosts.read(1, back).iter().map(|got| got.bytes.len()).collect();
        assert_eq!(got, lens, "an MTU of {mtu}");
    }
}

#[test]
fn damaged_datagrams_do_nothing_if_there_is_a_checksum() {
    let custom = Checksum::Custom(|header, id, commands| {
        let bytes = header.iter().chain(&id).chain(commands);
        let sum = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        });
        ((sum >> 32 ^ sum) as u32).to_le_bytes()
    });
    for checksum in [Checksum::Crc32, custom] {
        let config = Config { checksum, ..Config::DEFAULT };
        let (mut hosts, there, back) = Hosts::pair(1, config, CLEAN.with_corrupt(10 * PERCENT));
        let packets: Vec<_> = (0..200).map(|number| numbered(number, 300)).collect();
        for packet in &packets {
            hosts.send(0, there, 0, Flags::RELIABLE, packet).unwrap();
            hosts.run_millis(20);
        }
        hosts.run_millis(20_000);
        let got: Vec<_> = hosts.read(1, back).into_iter().map(|got| got.bytes).collect();
        assert!(got == packets, "{} of {}", got.len(), packets.len());
        let corrupt = bowline_core::DropReason::Corrupt;
        assert!(hosts.hosts[1].statistics().dropped(corrupt) > 5);
    }
}

#[test]
fn who_has_another_checksum_is_not_understood() {
    let crc = Config { checksum: Checksum::Crc32, ..Config::DEFAULT };
    let other = Config { checksum: Checksum::Custom(|_, _, _| [1, 2, 3, 4]), ..Config::DEFAULT };
    for (a, b) in [(crc, Config::DEFAULT), (Config::DEFAULT, crc), (crc, other)] {
        let plans = vec![(a, Memory::heap(8)), (b, Memory::heap(8))];
        let mut hosts = Hosts::new(1, plans, CLEAN);
        let there = hosts.call(0, 1, 2, 0);
        hosts.run_millis(40_000);
        let reason = bowline_core::DisconnectReason::ConnectTimedOut;
        assert_eq!(hosts.take_events(0), [Event::Disconnected(there, reason)]);
        assert_eq!(hosts.take_events(1), []);
        assert_eq!(hosts.hosts[1].statistics().connections, 0);
    }
}

#[test]
fn a_sender_with_a_limit_drops_unreliable_packets_and_paces_reliable_ones() {
    // Of 40,000 bytes per second only half may be sent.
    let config = Config { outgoing_bandwidth: 20_000, ..Config::DEFAULT };
    let plans = vec![(config, Memory::heap(8)), (Config::DEFAULT, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let (there, back) = hosts.connect(0, 1, 2);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().window, 4_096);
    let mut got = 0;
    for _ in 0..1_000 {
        hosts.send(0, there, 0, Flags::NONE, &[0; 392]).unwrap();
        hosts.run_millis(10);
        got += hosts.read(1, back).len();
    }
    let statistics = hosts.hosts[0].peer_statistics(there).unwrap();
    assert!((10..20).contains(&statistics.throttle), "{statistics:?}");
    assert!((450..700).contains(&got), "{got}");
}

#[test]
fn a_receivers_limit_binds_the_sender() {
    let config = Config { incoming_bandwidth: 20_000, ..Config::DEFAULT };
    // One who names no limit of his own is told that there is none.
    let sender = Config { outgoing_bandwidth: 1_000_000, ..Config::DEFAULT };
    let plans = vec![(sender, Memory::heap(8)), (config, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let (there, back) = hosts.connect(0, 1, 2);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().window, 4_096);
    let mut got = 0;
    for _ in 0..1_000 {
        hosts.send(0, there, 0, Flags::NONE, &[0; 392]).unwrap();
        hosts.run_millis(10);
        got += hosts.read(1, back).len();
    }
    assert!((450..700).contains(&got), "{got}");
    // It is lifted, and that is told within a second.
    hosts.hosts[1].set_bandwidth(0, 0);
    hosts.run_millis(1_200);
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().window, 15 * 4_096);
    hosts.run_millis(5_000);
    let statistics = hosts.hosts[0].peer_statistics(there).unwrap();
    assert_eq!(statistics.throttle_limit, 32, "{statistics:?}");
}

#[test]
fn the_throttle_falls_when_round_trips_grow_longer_and_rises_again() {
    let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    let throttle = Throttle { interval: 1_000, acceleration: 8, deceleration: 8 };
    let now = hosts.now();
    hosts.hosts[0].configure_throttle(now, there, throttle).unwrap();
    let say = |hosts: &mut Hosts, rounds| {
        for _ in 0..rounds {
            hosts.send(0, there, 0, Flags::RELIABLE, b"x").unwrap();
            hosts.run_millis(100);
        }
        hosts.hosts[0].peer_statistics(there).unwrap().throttle
    };
    assert_eq!(say(&mut hosts, 30), 32);
    hosts.net.link(0, 1, CLEAN.with_delay(Duration::from_millis(200)));
    let least = (0..10).map(|_| say(&mut hosts, 1)).min();
    assert_eq!(least, Some(24));
    hosts.net.link(0, 1, CLEAN);
    assert_eq!(say(&mut hosts, 60), 32);
}

#[test]
fn pings_go_out_after_the_interval_and_only_when_nothing_else_asks() {
    let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(5_000);
    for (interval, expected) in [(0, 19..=20), (1_000, 9..=11), (5_000, 1..=2)] {
        hosts.hosts[0].set_ping_interval(there, interval).unwrap();
        hosts.run_millis(interval.into());
        hosts.take_seen();
        hosts.run_millis(10_400);
        let pings = hosts
            .take_seen()
            .iter()
            .filter(|seen| seen.by == 0 && seen.bytes.len() == 8 && seen.bytes[4] == 0x85)
            .count();
        assert!(expected.contains(&pings), "{pings} with an interval of {interval} ms");
    }
    hosts.hosts[0].set_ping_interval(there, 500).unwrap();
    hosts.run_millis(500);
    hosts.take_seen();
    for _ in 0..100 {
        hosts.send(0, there, 0, Flags::RELIABLE, b"x").unwrap();
        hosts.run_millis(100);
    }
    let is_ping = |bytes: &[u8]| bytes.len() == 8 && bytes[4] == 0x85;
    assert!(hosts.take_seen().iter().all(|seen| seen.by != 0 || !is_ping(&seen.bytes)));
    // One that is asked for goes out at once.
    let now = hosts.now();
    hosts.hosts[0].ping(now, there).unwrap();
    hosts.run_millis(1);
    assert!(hosts.take_seen().iter().any(|seen| seen.by == 0 && seen.bytes[4] == 0x85));
}

#[test]
fn an_idle_connection_costs_few_polls() {
    let (mut hosts, there, _) = Hosts::pair(1, Config::DEFAULT, CLEAN);
    hosts.run_millis(5_000);
    let polls = hosts.polls();
    hosts.run_millis(60_000);
    let each = (hosts.polls() - polls) / 60;
    assert!(each <= 40, "{each} polls of two hosts per second");
    assert_eq!(hosts.hosts[0].peer_statistics(there).unwrap().state, State::Connected);
}

#[test]
fn an_intercept_sees_everything_first_and_what_it_keeps_is_not_seen() {
    let intercept: Intercept = |_, datagram| {
        if datagram.starts_with(b"\xFF\xFF\xFF\xFFquery") {
            return Verdict::Consumed;
        }
        if let Some(byte) = datagram.iter_mut().find(|byte| **byte == b'?') {
            *byte = b'!';
        }
        Verdict::Pass
    };
    let config = Config { intercept: Some(intercept), ..Config::DEFAULT };
    let plans = vec![(Config::DEFAULT, Memory::heap(8)), (config, Memory::heap(8))];
    let mut hosts = Hosts::new(1, plans, CLEAN);
    let (there, back) = hosts.connect(0, 1, 2);
    hosts.send(0, there, 0, Flags::RELIABLE, b"yes?").unwrap();
    let (now, from, to) = (hosts.now(), hosts.net.address(0), hosts.net.address(1));
    hosts.net.inject(now, from, to, b"\xFF\xFF\xFF\xFFquery");
    hosts.run_millis(500);
    assert_eq!(hosts.read(1, back)[0].bytes, b"yes!");
    assert_eq!(hosts.net.refused_total(1), 0);
    let received = hosts.hosts[1].statistics().datagrams_received;
    assert!(received > 2);
}
