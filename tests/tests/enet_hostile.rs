//! ENet: what ENet leaves open is closed, each guard where it acts, and open again where it is switched off.

use bowline_core::{
    ChannelId, CloseReason, DisconnectReason, DropReason, Duration, Event, SendError,
};
use bowline_enet::{Config, ConnectRate, Fixed, Flags, Hardening, Heap, Limits, State};
use bowline_tests::enet_rogue::{Rogue, Solo, address, datagram};
use bowline_wire::enet::{Command, CommandHead, Fragment, Header, NO_PEER, Parameters, Throttle};

/// Memory for four peers.
type Small = Fixed<4, 32, 256, 1_024>;

fn hardened(change: impl FnOnce(&mut Hardening)) -> Config {
    let mut hardening = Hardening::OFF;
    change(&mut hardening);
    Config { hardening, ..Config::DEFAULT }
}

fn solo(config: Config) -> Solo<Heap> {
    Solo::new(config, Heap::new(Limits::for_peers(64)))
}

/// A peer at the address of the first, with a connect id of its own.
fn neighbour(number: u16) -> Rogue {
    let mut rogue = Rogue::new(number);
    rogue.address = address(1);
    rogue
}

const fn reliable(sequence: u16) -> CommandHead {
    CommandHead::acknowledged(0, sequence)
}

const fn fragment(
    start: u16,
    count: u32,
    number: u32,
    total: u32,
    offset: u32,
    payload: &[u8],
) -> Fragment<'_> {
    Fragment { start_sequence: start, count, number, total, offset, payload }
}

#[test]
fn one_source_has_so_many_half_open_connections_and_others_are_not_disturbed() {
    for (config, taken) in [(hardened(|on| on.half_open_max = 3), 3), (hardened(|_| {}), 20)] {
        let mut solo = solo(config);
        let answers: Vec<_> =
            (0..20).map(|number| solo.feed(address(1), &neighbour(number).connect())).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), taken);
        assert!(answers[taken..].iter().all(|answer| *answer == Err(DropReason::RateLimited)));
        Rogue::new(99).join(&mut solo);
    }
    // One that completes makes room for another.
    let mut solo = solo(hardened(|on| on.half_open_max = 1));
    neighbour(1).join(&mut solo);
    neighbour(2).join(&mut solo);
    solo.feed(address(1), &neighbour(3).connect()).unwrap();
    assert_eq!(solo.feed(address(1), &neighbour(4).connect()), Err(DropReason::RateLimited));
    // So does one that is given up.
    solo.pass(40_000);
    solo.feed(address(1), &neighbour(4).connect()).unwrap();
}

#[test]
fn a_half_open_connection_is_answered_so_often_and_then_forgotten() {
    for (attempts, sent, until) in [(4, 4, 7_500), (1, 1, 500), (u16::MAX, 6, 31_500)] {
        let mut solo = solo(hardened(|on| on.verify_attempts_max = attempts));
        solo.feed(address(1), &Rogue::new(1).connect()).unwrap();
        assert_eq!(solo.pass(until - 10).len(), sent);
        let state = |solo: &mut Solo<_>| solo.host.slot_statistics(0).unwrap().state;
        assert_eq!(state(&mut solo), State::AcknowledgingConnect);
        assert_eq!(solo.pass(20).len(), 0);
        assert_eq!(state(&mut solo), State::Disconnected);
        assert_eq!((solo.events(), solo.host.poll_timeout_is_none()), (vec![], true));
    }
}

trait Idle {
    fn poll_timeout_is_none(&mut self) -> bool;
}

impl<S: bowline_enet::Storage> Idle for bowline_enet::Host<S> {
    fn poll_timeout_is_none(&mut self) -> bool {
        bowline_core::Machine::poll_timeout(self).is_none()
    }
}

#[test]
fn so_many_connections_are_taken_at_once_and_so_many_per_second() {
    let rate = Some(ConnectRate { burst: 5, per_second: 10 });
    let mut solo = solo(hardened(|on| on.connect_rate = rate));
    let mut number = 0;
    let mut knock = |solo: &mut Solo<_>, count: usize| {
        let taken = (0..count).filter(|_| {
            number += 1;
            let rogue = Rogue::new(number);
            let answer = solo.feed(rogue.address, &rogue.connect());
            assert!(matches!(answer, Ok(()) | Err(DropReason::RateLimited)));
            answer.is_ok()
        });
        taken.count()
    };
    assert_eq!(knock(&mut solo, 20), 5);
    solo.now = solo.now + Duration::from_millis(300);
    assert_eq!(knock(&mut solo, 20), 3);
    for _ in 0..100 {
        // In small steps nothing is lost, nor won.
        solo.now = solo.now + Duration::from_micros(3_700);
        knock(&mut solo, 0);
    }
    assert_eq!(knock(&mut solo, 20), 3);
    solo.now = solo.now + Duration::from_secs(100);
    assert_eq!(knock(&mut solo, 20), 5);
}

#[test]
fn a_connection_is_not_completed_by_one_who_did_not_hear_the_answer() {
    for check_times in [true, false] {
        let mut solo = solo(hardened(|on| on.check_times = check_times));
        let mut rogue = Rogue::new(1);
        rogue.knock(&mut solo);
        solo.now = solo.now + Duration::from_millis(40);
        // A third of all times, but not the one.
        let guesses = (1..20_000).map(|guess| rogue.verify_time.wrapping_add(guess * 3));
        let mut completed = 0;
        for guess in guesses {
            let _ = solo.feed(rogue.address, &rogue.acknowledgement(1, guess));
            completed += solo.events().len();
            if completed > 0 {
                break;
            }
        }
        assert_eq!(completed, usize::from(!check_times));
        if check_times {
            solo.feed(rogue.address, &rogue.acknowledgement(1, rogue.verify_time)).unwrap();
            assert!(matches!(solo.events()[..], [Event::Connected(_)]));
        }
    }
}

#[test]
fn any_of_the_answers_may_be_the_one_that_was_heard() {
    for heard in 0..4_usize {
        let mut solo = solo(Config::DEFAULT);
        let mut rogue = Rogue::new(1);
        rogue.knock(&mut solo);
        let mut times = vec![rogue.verify_time];
        let later = solo.pass(3_600);
        times.extend(later.iter().map(|(_, bytes)| u16::from_be_bytes([bytes[2], bytes[3]])));
        assert_eq!(times.len(), 4);
        solo.feed(rogue.address, &rogue.acknowledgement(1, times[heard])).unwrap();
        assert!(matches!(solo.events()[..], [Event::Connected(_)]), "the one of number {heard}");
    }
}

#[test]
fn times_that_were_never_sent_do_not_lengthen_the_round_trip_time() {
    for check_times in [true, false] {
        let mut solo = solo(hardened(|on| on.check_times = check_times));
        let mut rogue = Rogue::new(1);
        let peer = rogue.join(&mut solo);
        solo.now = solo.now + Duration::from_secs(60);
        for round in 1..=10 {
            let host = &mut solo.host;
            host.send_packet(solo.now, peer, ChannelId(0), Flags::RELIABLE, &[b"x"]).unwrap();
            let sent = solo.drain();
            let time = sent
                .iter()
                .find(|(_, bytes)| bytes[0] & 0x80 != 0)
                .map(|(_, bytes)| u16::from_be_bytes([bytes[2], bytes[3]]))
                .expect("a time");
            solo.now = solo.now + Duration::from_millis(10);
            let acknowledge =
                |time| Command::Acknowledge { received_sequence: round, received_sent_time: time };
            let head = CommandHead::plain(0, round);
            let forged = rogue.say(None, &[(head, acknowledge(time.wrapping_sub(30_000)))]);
            let answer = solo.feed(rogue.address, &forged);
            assert_eq!(answer.is_err(), check_times);
            let honest = rogue.say(None, &[(head, acknowledge(time))]);
            solo.feed(rogue.address, &honest).unwrap();
        }
        let rtt = solo.host.peer_statistics(peer).unwrap().rtt;
        assert_eq!(rtt < 20, check_times, "{rtt} ms");
    }
}

#[test]
fn what_asks_for_an_acknowledgement_without_a_time_is_acted_on_and_ends_the_datagram() {
    let mut solo = solo(Config::DEFAULT);
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    let say = |payload| Command::SendReliable { payload };
    let datagram = rogue.say(None, &[(reliable(1), say(b"one")), (reliable(2), say(b"two"))]);
    assert_eq!(solo.feed(rogue.address, &datagram), Err(DropReason::Malformed));
    assert_eq!(solo.read(peer), [b"one"]);
    assert!(solo.drain().iter().all(|(_, bytes)| bytes[bytes.len() - 8] & 15 != 1));
}

#[test]
fn so_many_acknowledgements_wait_and_no_more() {
    for (config, most) in
        [(hardened(|on| on.acknowledgements_max = 100), 100), (hardened(|_| {}), 2_000)]
    {
        let mut solo = solo(config);
        let rogue = {
            let mut rogue = Rogue::new(1);
            rogue.join(&mut solo);
            rogue
        };
        let pings = vec![(CommandHead::acknowledged(0xFF, 9), Command::Ping); 1_000];
        let first = solo.feed(rogue.address, &rogue.say(Some(1), &pings));
        let second = solo.feed(rogue.address, &rogue.say(Some(1), &pings));
        assert_eq!((first.is_ok(), second.is_ok()), (most > 1_000, most > 1_000));
        let sent = solo.drain();
        let count: usize = sent.iter().map(|(_, bytes)| (bytes.len() - 2) / 8).sum();
        assert_eq!(count, most, "each is acknowledged, 32 in a datagram");
        assert_eq!(sent.len(), most.div_ceil(32));
        assert_eq!(
            solo.host.statistics().dropped(DropReason::Full),
            if most == 100 { 2 } else { 0 }
        );
        // There is room again.
        solo.feed(rogue.address, &rogue.say(Some(1), &pings[..50])).unwrap();
    }
}

#[test]
fn so_many_packets_wait_whatever_their_length() {
    for (config, most) in [(hardened(|on| on.arrivals_max = 64), 64), (hardened(|_| {}), 500)] {
        let mut solo = solo(config);
        let mut rogue = Rogue::new(1);
        let peer = rogue.join(&mut solo);
        let taken = (0..500).filter(|number| {
            let head = CommandHead::plain(0, 0);
            let packet = Command::SendUnreliable { unreliable_sequence: number + 1, payload: &[] };
            solo.feed(rogue.address, &rogue.say(None, &[(head, packet)])).is_ok()
        });
        assert_eq!(taken.count(), most);
        assert_eq!(solo.read(peer).len(), most);
    }
}

#[test]
fn one_datagram_has_so_many_list_entries_looked_through() {
    for (config, is_bounded) in
        [(hardened(|on| on.steps_max = 5_000), true), (hardened(|_| {}), false)]
    {
        let mut solo = solo(config);
        let mut rogue = Rogue::new(1);
        let peer = rogue.join(&mut solo);
        for _ in 0..2_000 {
            solo.host.send_packet(solo.now, peer, ChannelId(0), Flags::RELIABLE, &[b"x"]).unwrap();
        }
        solo.drain();
        // Each looks for something that is not there.
        let absent = Command::Acknowledge {
            received_sequence: 60_000,
            received_sent_time: rogue.verify_time,
        };
        let commands = vec![(CommandHead::plain(0, 60_000), absent); 100];
        let answer = solo.feed(rogue.address, &rogue.say(None, &commands));
        assert_eq!(answer, if is_bounded { Err(DropReason::RateLimited) } else { Ok(()) });
    }
}

#[test]
fn fragments_that_claim_32_mebibytes_take_memory_for_what_came() {
    let mut solo = solo(Config { waiting_max: u32::MAX, ..Config::DEFAULT });
    let mut rogue = Rogue::new(1);
    rogue.join(&mut solo);
    let before = solo.host.storage().allocated();
    for start in 1..100_u16 {
        let claim = fragment(start * 100, 1 << 20, 7, 32 << 20, 12_345_678, &[1]);
        let datagram =
            rogue.say(Some(1), &[(reliable(start * 100 + 7), Command::SendFragment(claim))]);
        let _ = solo.feed(rogue.address, &datagram);
    }
    let more = solo.host.storage().allocated() - before;
    assert!(more < 1 << 20, "{more} bytes for 99 bytes");
}

#[test]
fn fragments_that_overlap_leave_zeros_where_nothing_came() {
    let mut solo = solo(Config::DEFAULT);
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    // Old contents, to be seen if memory is not cleared.
    let secret = Command::SendReliable { payload: &[0xEE; 1_000] };
    solo.feed(rogue.address, &rogue.say(Some(1), &[(reliable(1), secret)])).unwrap();
    assert_eq!(solo.read(peer).len(), 1);
    let parts = [fragment(2, 2, 0, 900, 10, &[1; 5]), fragment(2, 2, 1, 900, 12, &[2; 5])];
    for (sequence, part) in [(2, parts[0]), (3, parts[1])] {
        let datagram = rogue.say(Some(1), &[(reliable(sequence), Command::SendFragment(part))]);
        solo.feed(rogue.address, &datagram).unwrap();
    }
    let mut expected = vec![0; 900];
    expected[10..12].fill(1);
    expected[12..17].fill(2);
    assert_eq!(solo.read(peer), [expected]);
}

#[test]
fn fragments_whose_numbers_make_no_sense_do_nothing() {
    let mut solo = solo(Config { packet_max: 10_000, ..Config::DEFAULT });
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    let good = fragment(1, 3, 0, 9, 0, b"abc");
    let senseless = [
        Fragment { payload: &[], ..good },
        Fragment { count: 0, ..good },
        Fragment { number: 3, ..good },
        Fragment { number: u32::MAX, ..good },
        Fragment { count: (1 << 20) + 1, total: 1 << 21, ..good },
        Fragment { count: u32::MAX, ..good },
        Fragment { total: 2, ..good },
        Fragment { total: 0, ..good },
        Fragment { total: 10_001, ..good },
        Fragment { total: u32::MAX, ..good },
        Fragment { offset: 9, ..good },
        Fragment { offset: 7, ..good },
        Fragment { offset: u32::MAX, ..good },
        Fragment { offset: u32::MAX - 2, ..good },
    ];
    for part in senseless {
        for command in [Command::SendFragment(part), Command::SendUnreliableFragment(part)] {
            let answer = solo.feed(rogue.address, &rogue.say(Some(1), &[(reliable(1), command)]));
            let expected =
                if part.total > 10_000 { DropReason::OverLimit } else { DropReason::Malformed };
            assert_eq!(answer, Err(expected), "{command:?}");
        }
    }
    assert_eq!(solo.drain().len(), 0, "nothing is acknowledged");
    // Others of the same packet must agree on how long it is.
    let mut feed = |part, sequence| {
        solo.feed(
            rogue.address,
            &rogue.say(Some(1), &[(reliable(sequence), Command::SendFragment(part))]),
        )
    };
    feed(good, 1).unwrap();
    assert_eq!(
        feed(Fragment { count: 4, number: 1, offset: 3, ..good }, 2),
        Err(DropReason::Malformed)
    );
    assert_eq!(
        feed(Fragment { total: 8, number: 1, offset: 3, ..good }, 2),
        Err(DropReason::Malformed)
    );
    feed(Fragment { number: 1, offset: 3, payload: b"def", ..good }, 2).unwrap();
    feed(Fragment { number: 2, offset: 6, payload: b"ghi", ..good }, 3).unwrap();
    assert_eq!(solo.read(peer), [b"abcdefghi"]);
}

#[test]
fn a_request_with_hostile_numbers_is_refused_or_tamed() {
    type Change = fn(&mut Parameters);
    let refused: [Change; 5] = [
        |it| it.channel_count = 0,
        |it| it.channel_count = 256,
        |it| it.channel_count = u32::MAX,
        |it| it.outgoing_peer_id = NO_PEER,
        |it| it.outgoing_peer_id = u16::MAX,
    ];
    let tamed: [Change; 10] = [
        |it| it.mtu = 0,
        |it| it.mtu = u32::MAX,
        |it| it.window_size = 0,
        |it| it.window_size = u32::MAX,
        |it| (it.incoming_session, it.outgoing_session) = (4, 0x77),
        |it| (it.incoming_session, it.outgoing_session) = (0xFE, 0x80),
        |it| (it.incoming_bandwidth, it.outgoing_bandwidth) = (1, 1),
        |it| (it.incoming_bandwidth, it.outgoing_bandwidth) = (u32::MAX, u32::MAX),
        |it| it.throttle = Throttle { interval: 0, acceleration: u32::MAX, deceleration: u32::MAX },
        |it| it.throttle = Throttle { interval: u32::MAX, acceleration: 0, deceleration: 0 },
    ];
    for hardening in [Hardening::ON, Hardening::OFF] {
        let mut solo = solo(Config { hardening, ..Config::DEFAULT });
        for change in refused {
            let mut rogue = Rogue::new(1);
            change(&mut rogue.parameters);
            assert_eq!(solo.feed(rogue.address, &rogue.connect()), Err(DropReason::Malformed));
        }
        assert_eq!(solo.drain().len(), 0);
        for change in tamed {
            let mut rogue = Rogue::new(1);
            change(&mut rogue.parameters);
            let peer = rogue.join(&mut solo);
            let statistics = solo.host.peer_statistics(peer).unwrap();
            assert!((576..=1_392).contains(&statistics.mtu), "{statistics:?}");
            assert!((4_096..=65_536).contains(&statistics.window), "{statistics:?}");
            for flags in
                [Flags::RELIABLE, Flags::NONE, Flags::UNSEQUENCED, Flags::UNRELIABLE_FRAGMENT]
            {
                let host = &mut solo.host;
                host.send_packet(solo.now, peer, ChannelId(0), flags, &[&[1; 3_000]]).unwrap();
            }
            for (_, bytes) in solo.pass(3_000) {
                assert!(bytes.len() <= 1_392);
                assert_eq!(u16::from_be_bytes([bytes[0], bytes[1]]) & 0xFFF, 3, "its peer id");
            }
            let limits = Command::BandwidthLimit { incoming: 1, outgoing: u32::MAX };
            let number = rogue.number();
            let head = CommandHead::acknowledged(0xFF, number);
            solo.feed(rogue.address, &rogue.say(Some(1), &[(head, limits)])).unwrap();
            solo.pass(5_000);
            solo.host.reset(solo.now, peer).unwrap();
        }
    }
}

#[test]
fn an_answer_with_hostile_numbers_ends_the_attempt_or_is_tamed() {
    let answer = |change: fn(&mut Parameters)| {
        let mut solo = solo(Config::DEFAULT);
        let now = solo.now;
        let peer = solo.host.connect(now, address(7), 3, 0).unwrap();
        let request = solo.drain().remove(0).1;
        let (_, rest) = Header::parse(&request).unwrap();
        let Ok((_, Command::Connect { mut parameters, .. }, _)) = Command::parse(rest) else {
            panic!("a request")
        };
        (parameters.incoming_session, parameters.outgoing_session) = (0, 0);
        change(&mut parameters);
        let header = Header { peer_id: 0, session: 0, compressed: false, sent_time: Some(1) };
        let verify = Command::VerifyConnect { parameters };
        let datagram = datagram(&header, &[(CommandHead::acknowledged(0xFF, 1), verify)]);
        let answer = solo.feed(address(7), &datagram);
        (solo, peer, answer)
    };
    let refused: [fn(&mut Parameters); 7] = [
        |it| it.channel_count = 0,
        |it| it.channel_count = 256,
        |it| it.connect_id = [0; 4],
        |it| it.throttle.interval = 1,
        |it| it.throttle.acceleration = 0,
        |it| it.outgoing_peer_id = NO_PEER,
        |it| it.outgoing_peer_id = u16::MAX,
    ];
    for change in refused {
        let (mut solo, peer, answer) = answer(change);
        assert_eq!(answer, Err(DropReason::Misbehaved));
        let reason = DisconnectReason::PeerMisbehaved;
        assert_eq!(solo.events(), [Event::Disconnected(peer, reason)]);
        assert_eq!(solo.pass(1_000).len(), 0);
    }
    let tamed: [fn(&mut Parameters); 6] = [
        |it| (it.incoming_session, it.outgoing_session) = (0xFF, 0xFF),
        |it| (it.incoming_session, it.outgoing_session) = (4, 7),
        |it| (it.mtu, it.window_size) = (0, 0),
        |it| (it.mtu, it.window_size) = (u32::MAX, u32::MAX),
        |it| it.channel_count = 255,
        |it| it.outgoing_peer_id = NO_PEER - 1,
    ];
    for change in tamed {
        let (mut solo, peer, answer) = answer(change);
        assert_eq!(answer, Ok(()));
        assert_eq!(solo.events(), [Event::Connected(peer)]);
        let statistics = solo.host.peer_statistics(peer).unwrap();
        assert!((576..=1_392).contains(&statistics.mtu) && statistics.channels == 3);
        assert!((4_096..=65_536).contains(&statistics.window));
        for (_, bytes) in solo.pass(100) {
            assert_eq!(bytes[0] & 0x40, 0, "not marked as compressed");
        }
    }
}

#[test]
fn what_is_not_for_this_connection_does_nothing() {
    let mut solo = solo(Config::DEFAULT);
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    solo.drain();
    let number = rogue.number();
    let disconnect = [(CommandHead::unsequenced(0xFF, number), Command::Disconnect { data: 0 })];
    let good = rogue.say(None, &disconnect);
    for session in [1, 2, 3] {
        let other = Rogue { session, ..rogue.clone() }.say(None, &disconnect);
        assert_eq!(solo.feed(rogue.address, &other), Err(DropReason::Stray));
    }
    for slot in [1, 63, 64, 4_094] {
        let other = Rogue { slot, ..rogue.clone() }.say(None, &disconnect);
        assert_eq!(solo.feed(rogue.address, &other), Err(DropReason::Stray));
    }
    let nobody = Rogue { slot: NO_PEER, ..rogue.clone() }.say(None, &disconnect);
    assert_eq!(solo.feed(rogue.address, &nobody), Err(DropReason::Unexpected));
    let elsewhere: core::net::SocketAddr = ([10, 0, 0, 1], 4_001).into();
    assert_eq!(solo.feed(elsewhere.into(), &good), Err(DropReason::WrongAddress));
    assert_eq!(solo.feed(address(2), &good), Err(DropReason::WrongAddress));
    let mut compressed = good.clone();
    compressed[0] |= 0x40;
    assert_eq!(solo.feed(rogue.address, &compressed), Err(DropReason::Malformed));
    for len in 0..good.len() {
        let _ = solo.feed(rogue.address, &good[..len]);
    }
    for byte in [0, 13, 14, 15] {
        let mut unknown = good.clone();
        unknown[2] = byte;
        assert_eq!(solo.feed(rogue.address, &unknown), Err(DropReason::Malformed));
    }
    assert_eq!(solo.feed(rogue.address, &[0; 4_097]), Err(DropReason::OverLimit));
    let again = rogue.connect();
    assert_eq!(solo.feed(rogue.address, &again), Err(DropReason::Duplicate));
    assert_eq!((solo.events(), solo.drain()), (vec![], vec![]));
    assert_eq!(solo.host.peer_statistics(peer).unwrap().state, State::Connected);
    solo.feed(rogue.address, &good).unwrap();
    let reason = DisconnectReason::ClosedByPeer(CloseReason(0));
    assert_eq!(solo.events(), [Event::Disconnected(peer, reason)]);
}

#[test]
fn a_datagram_of_1023_pings_is_acknowledged_and_others_are_not_disturbed() {
    let mut memory: Box<Small> = Box::default();
    let mut solo = Solo::new(Config::DEFAULT, &mut *memory);
    let mut honest = Rogue::new(2);
    let friend = honest.join(&mut solo);
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    let pings = vec![(CommandHead::acknowledged(0xFF, 9), Command::Ping); 1_023];
    let datagram = rogue.say(Some(1), &pings);
    assert_eq!(datagram.len(), 4_096);
    for _ in 0..10 {
        assert_eq!(solo.feed(rogue.address, &datagram), Err(DropReason::Full));
    }
    let say = Command::SendReliable { payload: b"hello" };
    solo.feed(honest.address, &honest.say(Some(1), &[(reliable(1), say)])).unwrap();
    assert_eq!(solo.read(friend), [b"hello"]);
    let host = &mut solo.host;
    host.send_packet(solo.now, friend, ChannelId(0), Flags::RELIABLE, &[b"and you"]).unwrap();
    let sent = solo.drain();
    assert!(sent.iter().any(|(to, bytes)| *to == honest.address && bytes.ends_with(b"and you")));
    assert_eq!(solo.host.peer_statistics(peer).unwrap().state, State::Connected);
}

#[test]
fn all_memory_comes_back_whatever_a_peer_left_behind() {
    let mut memory: Box<Small> = Box::default();
    let mut solo = Solo::new(Config::DEFAULT, &mut *memory);
    solo.pass(2_000);
    let before = solo.vacancy(100);
    assert!(before.0 > 60 && before.1 > 60, "{before:?}");
    for round in 0..20_u16 {
        let mut rogue = Rogue::new(round);
        let peer = rogue.join(&mut solo);
        for channel in 0..4 {
            for number in 2..30_u16 {
                let head = CommandHead::acknowledged(channel, number * 7);
                let part = fragment(
                    number * 7,
                    90,
                    u32::from(number),
                    9_000,
                    u32::from(number) * 91,
                    &[3; 80],
                );
                let packet = Command::SendReliable { payload: &[4; 60] };
                let unreliable =
                    Command::SendUnreliable { unreliable_sequence: number, payload: &[5; 70] };
                for command in [
                    Command::SendFragment(part),
                    Command::SendUnreliableFragment(part),
                    packet,
                    unreliable,
                ] {
                    let _ = solo.feed(rogue.address, &rogue.say(Some(1), &[(head, command)]));
                }
            }
            let host = &mut solo.host;
            while host
                .send_packet(solo.now, peer, ChannelId(channel), Flags::RELIABLE, &[&[6; 500]])
                .is_ok()
            {}
        }
        assert_eq!(
            solo.host.send_packet(solo.now, peer, ChannelId(0), Flags::NONE, &[&[6; 500]]),
            Err(SendError::Full)
        );
        match round % 5 {
            0 => solo.host.reset(solo.now, peer).unwrap(),
            1 => solo.host.disconnect_now(solo.now, peer, 1).unwrap(),
            2 => {
                solo.host.disconnect(solo.now, peer, 1).unwrap();
                solo.pass(40_000);
            }
            3 => {
                let bye = Command::Disconnect { data: 3 };
                let number = rogue.number();
                let head = CommandHead::acknowledged(0xFF, number);
                solo.feed(rogue.address, &rogue.say(Some(9), &[(head, bye)])).unwrap();
                solo.pass(1_000);
            }
            _ => {
                solo.pass(60_000);
            }
        }
        solo.events();
        assert_eq!(solo.host.peer_statistics(peer), None, "round {round}");
        solo.drain();
        assert_eq!(solo.vacancy(100), before, "round {round}");
    }
    // As many can connect as there ever could, and each has what it is promised.
    for number in 100..104 {
        Rogue::new(number).join(&mut solo);
    }
}

#[test]
fn a_disconnect_that_cannot_be_acknowledged_does_not_hold_its_slot() {
    let mut solo = solo(Config::DEFAULT);
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    let number = rogue.number();
    let disconnect = Command::Disconnect { data: 5 };
    let datagram = rogue.say(None, &[(CommandHead::acknowledged(0xFF, number), disconnect)]);
    assert_eq!(solo.feed(rogue.address, &datagram), Err(DropReason::Malformed));
    solo.pass(60_000);
    let reason = DisconnectReason::ClosedByPeer(CloseReason(5));
    assert_eq!(solo.events(), [Event::Disconnected(peer, reason)]);
    assert_eq!(solo.host.peer_statistics(peer), None);
}

#[test]
fn a_lost_packet_that_a_long_one_waits_for_is_taken_when_too_much_waits() {
    for (config, is_taken) in
        [(hardened(|on| on.fill_gaps = true), true), (hardened(|_| {}), false)]
    {
        let mut solo = solo(Config { waiting_max: 10_000, ..config });
        let mut rogue = Rogue::new(1);
        let peer = rogue.join(&mut solo);
        let mut feed = |sequence, command| {
            solo.feed(rogue.address, &rogue.say(Some(1), &[(reliable(sequence), command)]))
        };
        let payload = [1; 1_000];
        let part = |number| {
            Command::SendFragment(fragment(2, 20, number, 20_000, number * 1_000, &payload))
        };
        for number in 0..10 {
            feed(2 + number as u16, part(number)).unwrap();
        }
        let first = Command::SendReliable { payload: b"first" };
        // Another one that nobody waits for is not, in any case.
        assert_eq!(feed(22, first), Err(DropReason::Full));
        assert_eq!(feed(1, first), if is_taken { Ok(()) } else { Err(DropReason::Full) });
        for number in 10..20 {
            feed(2 + number as u16, part(number)).unwrap();
        }
        let lens: Vec<usize> = solo.read(peer).iter().map(Vec::len).collect();
        assert_eq!(lens, if is_taken { vec![5, 20_000] } else { vec![] });
    }
}
