//! What strangers, forgers and replays do to an endpoint: nothing but move a counter.

use bowline_core::{
    Address, ChannelId, DisconnectReason, DropReason, Duration, Event, Machine, Messages, Mode,
    PeerId, Received,
};
use bowline_native::{Accept, InUse, Integrity};
use bowline_sim::{Link, PERCENT, Rng, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::oracle::{Direction, Oracle};
use bowline_tests::rogue::Rogue;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};
use bowline_wire::native::{
    AckForm, Frame, Handshake, Offset, RefuseCode, Stream, emit_ack_ranges,
};
use proptest::prelude::*;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

/// Two endpoints in the midst of a conversation, and one stranger, node 2.
fn conversation(seed: u64, kind: Kind) -> (Stage, PeerId, PeerId) {
    let plan = NodePlan::new(kind);
    let mut stage = Stage::new(seed, &[plan, plan], 1, LINK);
    let (there, back) = stage.connect(0, 1);
    for round in 0..10 {
        for mode in Mode::GODOT {
            stage.send(0, there, 0, mode, &bytes(round, 100)).unwrap();
            stage.send(1, back, 0, mode, &bytes(round, 100)).unwrap();
        }
        stage.run_for(Duration::from_millis(20));
        stage.read(0, there);
        stage.read(1, back);
    }
    stage.run_for(Duration::from_millis(300));
    stage.read(0, there);
    stage.read(1, back);
    stage.take_events(0);
    stage.take_events(1);
    (stage, there, back)
}

fn still_talk(stage: &mut Stage, there: PeerId, back: PeerId) {
    for node in [0, 1] {
        let ended = stage.take_events(node).into_iter().find(|event| {
            matches!(event, Event::Disconnected(..) | Event::Connected(..) | Event::Asked(..))
        });
        assert_eq!(ended, None, "at node {node}");
    }
    stage.read(0, there);
    stage.read(1, back);
    for mode in Mode::GODOT {
        stage.send(0, there, 0, mode, b"still here?").unwrap();
        stage.send(1, back, 0, mode, b"of course").unwrap();
    }
    stage.run_for(Duration::from_secs(2));
    let (here, other) = (stage.read(0, there), stage.read(1, back));
    assert_eq!((here.len(), other.len()), (3, 3));
    assert!(here.iter().all(|message| message.bytes == b"of course"));
    assert!(other.iter().all(|message| message.bytes == b"still here?"));
}

fn feed(stage: &mut Stage, node: usize, from: Address, datagram: &[u8]) -> Result<(), DropReason> {
    let now = stage.now();
    let mut datagram = datagram.to_vec();
    stage.endpoints[node].handle_datagram(now, Received::from(from), &mut datagram)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_dropped(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..40),
        from_peer in any::<bool>(),
    ) {
        let (mut stage, there, back) = conversation(1, Kind::Heap);
        let from = stage.net.address(if from_peer { 0 } else { 2 });
        let before = stage.in_use(1);
        for datagram in &datagrams {
            prop_assert!(feed(&mut stage, 1, from, datagram).is_err());
        }
        prop_assert_eq!(stage.in_use(1), before);
        prop_assert_eq!(stage.endpoints[1].statistics().dropped_total(), datagrams.len() as u64);
        still_talk(&mut stage, there, back);
    }
}

#[test]
fn every_damage_to_a_genuine_datagram_is_noticed() {
    for case in cases!("every_damage_to_a_genuine_datagram_is_noticed", 0, 3) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let (mut stage, there, back) = conversation(case.seed(), Kind::Heap);
        let from = stage.net.address(0);
        // Genuine, and not delivered.
        stage.net.set_default_link(Link::DOWN);
        stage.take_datagrams();
        for mode in Mode::GODOT {
            stage.send(0, there, 0, mode, &bytes(1, 300)).unwrap();
        }
        stage.run_for(Duration::from_micros(1));
        let genuine = stage.take_datagrams().remove(0).bytes;
        let before = stage.in_use(1);
        for bit in 0..genuine.len() * 8 {
            let mut damaged = genuine.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(feed(&mut stage, 1, from, &damaged).is_err(), "bit {bit}");
        }
        for len in 0..genuine.len() {
            assert!(feed(&mut stage, 1, from, &genuine[..len]).is_err(), "cut to {len}");
        }
        for _ in 0..5_000 {
            let mut damaged = genuine.clone();
            for _ in 0..=rng.below(8) {
                let at = rng.below(damaged.len() as u64) as usize;
                damaged[at] = rng.next_u64() as u8;
            }
            if rng.chance(20 * PERCENT) {
                damaged.extend(bytes(rng.next_u64(), 1 + rng.below(20) as usize));
            }
            if damaged != genuine {
                assert!(feed(&mut stage, 1, from, &damaged).is_err());
            }
        }
        assert_eq!(stage.in_use(1), before);
        assert!(stage.read(1, back).is_empty());
        // From somewhere else the genuine one is no good either, nor under another session's number.
        let stranger = stage.net.address(2);
        let wrong = feed(&mut stage, 1, stranger, &genuine);
        assert_eq!(wrong, Err(DropReason::WrongAddress));
        assert_eq!(feed(&mut stage, 1, from, &genuine), Ok(()));
        assert_eq!(feed(&mut stage, 1, from, &genuine), Err(DropReason::Duplicate));
        assert_eq!(stage.read(1, back).len(), 3);
        stage.net.set_default_link(LINK);
        stage.run_for(Duration::from_secs(1));
        still_talk(&mut stage, there, back);
    }
}

#[test]
fn a_replay_of_everything_delivers_nothing_twice() {
    for kind in [Kind::Heap, Kind::SmallFixed] {
        let plan = NodePlan::new(kind);
        let mut stage = Stage::new(3, &[plan, plan], 0, LINK.with_loss(5 * PERCENT));
        let (there, back) = stage.connect(0, 1);
        let mut oracle = Oracle::new();
        let way = |node| Direction { session: 1, by_client: node == 0 };
        let mut seen = stage.take_datagrams();
        let mut rng = Rng::new(5);
        for round in 0..400_u64 {
            for (node, peer) in [(0, there), (1, back)] {
                let message = bytes(round * 2 + node as u64, rng.below(400) as usize);
                let mode = Mode::GODOT[rng.below(3) as usize];
                if stage.send(node, peer, 0, mode, &message).is_ok() {
                    oracle.sent(way(node), ChannelId(0), mode, &message);
                }
            }
            stage.run_for(Duration::from_millis(11));
            seen.extend(stage.take_datagrams());
            // The attacker saw everything, and sends it again: the latest, and anything from the beginning on.
            for age in [1, 2, 40] {
                let Some(old) = seen.len().checked_sub(age).map(|at| &seen[at]) else { continue };
                let (from, to) = (old.by, 1 - old.by);
                let from = stage.net.address(from);
                let _ = feed(&mut stage, to, from, &old.bytes);
            }
            let old = seen[rng.below(seen.len() as u64) as usize].clone();
            let from = stage.net.address(old.by);
            let _ = feed(&mut stage, 1 - old.by, from, &old.bytes);
            for (node, peer) in [(0, there), (1, back)] {
                for got in stage.read(node, peer) {
                    oracle.received(way(1 - node), got.channel, got.mode, &got.bytes).unwrap();
                }
                let events = stage.take_events(node);
                let odd =
                    |event: &&Event| !matches!(event, Event::Readable(_) | Event::Writable(_));
                assert_eq!(events.iter().find(odd), None);
            }
        }
        assert!(oracle.delivered() > 400);
    }
}

#[test]
fn a_replay_of_a_session_that_is_over_begins_none_for_long() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    stage.send(0, there, 0, Mode::Reliable, b"pay 5 coins").unwrap();
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.read(1, back).len(), 1);
    stage.close(0, there, 1);
    stage.run_for(Duration::from_secs(15));
    stage.take_events(1);
    let seen = stage.take_datagrams();
    let client = stage.net.address(0);
    for seen in seen.iter().filter(|seen| seen.by == 0) {
        // The cookie has expired by now.
        let outcome = feed(&mut stage, 1, client, &seen.bytes);
        assert!(outcome.is_err() || seen.bytes[0] == 1, "{:02x?}: {outcome:?}", seen.bytes);
    }
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_events(1), []);
    assert_eq!(stage.in_use(1).peers, 0);
}

#[test]
fn strangers_leave_nothing_behind_and_get_no_more_than_they_gave() {
    let mut stage = Stage::new(1, &[HEAP], 1, LINK);
    assert!(stage.endpoints[0].set_info(Some(&[7; 64])));
    let mut rng = Rng::new(1);
    let mut buf = [0; 1_500];
    for round in 0..3_000_u64 {
        // Each from an address of its own.
        let from = Address::from_raw(&round.to_be_bytes()).unwrap();
        let len = 14 + rng.below(100) as usize;
        let (application, half) = (HEAP.config.application, rng.next_u64());
        let handshake = match rng.below(6) {
            0 => Handshake::Hello { version: 1, application, client_half: half, len },
            1 => Handshake::Hello { version: 2, application, client_half: half, len },
            2 => Handshake::Hello { version: 1, application: 5, client_half: half, len },
            3 => Handshake::Query { application, nonce: half, len },
            4 => Handshake::Answer { nonce: half, payload: b"unasked" },
            _ => Handshake::Refuse {
                version: 1,
                client_half: half,
                code: RefuseCode::Full,
                detail: 0,
            },
        };
        let Ok(len) = handshake.emit(len, &mut buf) else { continue };
        let datagram = buf[..len].to_vec();
        let _ = feed(&mut stage, 0, from, &datagram);
        let now = stage.now();
        let mut answered = 0;
        while let Some(transmit) = stage.endpoints[0].poll_transmit(now, &mut buf).unwrap() {
            assert_eq!(transmit.to, from);
            answered += transmit.len;
        }
        assert!(answered <= len, "{answered} bytes for {len}: {handshake:?}");
    }
    assert_eq!(stage.in_use(0), InUse::default());
    assert_eq!(stage.endpoints[0].poll_timeout(), None);
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_events(0), []);
}

#[test]
fn a_cookie_is_good_for_its_owner_only() {
    let mut stage = Stage::new(1, &[HEAP, HEAP], 0, LINK);
    stage.call(0, 1, b"");
    stage.run_for(Duration::from_millis(50));
    // The CONNECT is under way; somebody else sends it, and somebody changes it.
    let seen = stage.take_datagrams();
    let connect = seen.iter().find(|seen| seen.bytes[0] == 3).expect("a CONNECT").bytes.clone();
    let stranger = Address::from_raw(b"stranger").unwrap();
    assert_eq!(feed(&mut stage, 1, stranger, &connect), Err(DropReason::BadCookie));
    let Ok(Handshake::Connect { application, client_half, cookie, parameters, payload }) =
        Handshake::parse(&connect)
    else {
        panic!("not a CONNECT")
    };
    let client = stage.net.address(0);
    let mut forge = |change: &dyn Fn(&mut [u8; 12], &mut u64, &mut u64)| {
        let (mut cookie, mut half, mut id) = (cookie, client_half, application);
        change(&mut cookie, &mut half, &mut id);
        let forged =
            Handshake::Connect { application: id, client_half: half, cookie, parameters, payload };
        let mut buf = [0; 200];
        let len = forged.emit(0, &mut buf).unwrap();
        feed(&mut stage, 1, client, &buf[..len])
    };
    for byte in 0..12 {
        assert_eq!(forge(&|cookie, _, _| cookie[byte] ^= 1), Err(DropReason::BadCookie));
    }
    assert_eq!(forge(&|_, half, _| *half ^= 1), Err(DropReason::BadCookie));
    assert!(forge(&|_, _, id| *id ^= 1).is_err());
    assert_eq!(stage.in_use(1), InUse::default());
    stage.run_for(Duration::from_secs(1));
    assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
}

#[test]
fn a_flood_of_requests_leaves_room_for_sessions_that_exist() {
    let small = NodePlan::new(Kind::SmallFixed);
    let (mut stage, there, back) = Stage::connected(1, [small, small], LINK);
    let mut buf = [0; 64];
    for round in 0..2_000_u64 {
        let from = Address::from_raw(&round.to_be_bytes()).unwrap();
        let application = small.config.application;
        let hello = Handshake::Hello { version: 1, application, client_half: round, len: 0 };
        let len = hello.emit(40, &mut buf).unwrap();
        let hello = buf[..len].to_vec();
        let _ = feed(&mut stage, 1, from, &hello);
        if round % 100 == 0 {
            stage.run_for(Duration::from_millis(10));
        }
    }
    assert_eq!(stage.in_use(1).peers, 1);
    still_talk(&mut stage, there, back);
}

#[test]
fn whoever_is_not_asked_gets_no_memory() {
    let mut asks = HEAP;
    asks.config.accept = Accept::Never;
    let mut stage = Stage::new(1, &[HEAP, asks], 0, LINK);
    stage.call(0, 1, &bytes(1, 500));
    stage.run_for(Duration::from_secs(10));
    assert_eq!(stage.in_use(1), InUse::default());
}

#[test]
fn what_one_sent_oneself_is_no_packet_of_the_other() {
    let (mut stage, there, back) = conversation(1, Kind::Heap);
    let own = stage.take_datagrams();
    let own = own.iter().filter(|seen| seen.by == 0 && seen.bytes[0] & 0x80 != 0);
    assert!(own.clone().count() > 10);
    let from = stage.net.address(1);
    for seen in own {
        // The checksum names the direction.
        let outcome = feed(&mut stage, 0, from, &seen.bytes);
        assert!(outcome.is_err(), "{outcome:?}");
    }
    still_talk(&mut stage, there, back);
}

/// Frames with a right checksum that nobody may send, and what becomes of whoever does.
#[test]
fn whoever_breaks_a_rule_is_shown_out_or_ignored() {
    let initial = Rogue::INITIAL;
    let limit = initial + HEAP.config.credit;
    let stream = |start: u32, data: &'static [u8]| Frame::Reliable {
        channel: 0,
        offset: Offset::Long(start),
        data,
    };
    let shown_out: [(&str, Frame<'_>); 4] = [
        ("data beyond the limit", stream(limit, b"x")),
        ("data across the limit", stream(limit - 1, b"xy")),
        ("data far beyond the limit", stream(limit + (1 << 30), b"x")),
        ("a message longer than is taken", stream(initial, &[0xef, 0xff, 0xff, 0xff, 0])),
    ];
    for (what, frame) in shown_out {
        let mut stage = Stage::new(1, &[HEAP], 0, LINK);
        let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
        let _ = rogue.frames(&mut stage, &[frame]);
        stage.run_for(Duration::from_secs(10));
        assert!(misbehaved(&mut stage), "{what}");
        assert_eq!(stage.in_use(0), InUse::default(), "{what}");
    }
    let ignored: [(&str, Frame<'_>, DropReason); 5] = [
        (
            "a channel that is not open",
            Frame::Unreliable { channel: 8, ordered: false, messages: b"\x01x" },
            DropReason::OverLimit,
        ),
        (
            "a stream that is not open",
            Frame::Reliable { channel: 200, offset: Offset::Long(initial), data: b"\x01x" },
            DropReason::OverLimit,
        ),
        (
            "a fragment of too long a message",
            Frame::Fragment {
                channel: 0,
                ordered: false,
                id: 0,
                offset: 0,
                total: 300_000,
                data: b"x",
            },
            DropReason::OverLimit,
        ),
        (
            "a repetition",
            Frame::Repeat { distance: 1, channel: 0, messages: b"\x01x" },
            DropReason::Unexpected,
        ),
        ("a parity", Frame::Parity { distance: 2, count: 2, data: b"x" }, DropReason::Unexpected),
    ];
    let mut stage = Stage::new(1, &[HEAP], 0, LINK);
    let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
    let before = stage.in_use(0);
    for (what, frame, reason) in ignored {
        assert_eq!(rogue.frames(&mut stage, &[frame]), Err(reason), "{what}");
        // Not even what is right about the packet.
        let both = [Frame::Unreliable { channel: 0, ordered: false, messages: b"\x01x" }, frame];
        assert_eq!(rogue.frames(&mut stage, &both), Err(reason), "{what}");
    }
    assert_eq!(stage.in_use(0), before);
    assert_eq!(rogue.frames(&mut stage, &[Frame::Ping]), Ok(()));
    stage.run_for(Duration::from_secs(1));
    assert!(!misbehaved(&mut stage));
}

fn misbehaved(stage: &mut Stage) -> bool {
    let accused =
        |event: &Event| matches!(event, Event::Disconnected(_, DisconnectReason::PeerMisbehaved));
    stage.take_events(0).iter().any(accused)
}

#[test]
fn whoever_acknowledges_what_was_never_sent_is_shown_out() {
    for ahead in [1, 5, 100, 250] {
        let mut stage = Stage::new(1, &[HEAP], 0, LINK);
        let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
        // The answer to a PING is the first number of all, or the one after.
        rogue.frames(&mut stage, &[Frame::Ping]).unwrap();
        stage.run_for(Duration::from_millis(100));
        let lie = u64::from(rogue.theirs.initial) + ahead;
        let lied = rogue.send(&mut stage, AckForm::Ranges2, |w| {
            emit_ack_ranges(w, 2, 0, [(lie, lie)].into_iter(), 100)
        });
        assert_eq!(lied, Err(DropReason::Misbehaved), "{ahead} ahead");
        stage.run_for(Duration::from_secs(10));
        assert!(misbehaved(&mut stage), "{ahead} ahead");
        assert_eq!(stage.in_use(0), InUse::default());
    }
}

#[derive(Clone, Debug)]
struct Blow {
    kind: u8,
    channel: u8,
    at: u32,
    len: usize,
    total: u32,
    ack: Option<u8>,
}

fn blow() -> impl Strategy<Value = Blow> {
    (0_u8..7, 0_u8..9, 0_u32..9_000, 1_usize..900, 1_u32..20_000, prop::option::of(any::<u8>()))
        .prop_map(|(kind, channel, at, len, total, ack)| Blow {
            kind,
            channel,
            at,
            len,
            total,
            ack,
        })
}

fn strike(rogue: &mut Rogue, stage: &mut Stage, blow: &Blow) {
    let Blow { kind, channel, at, len, total, ack } = *blow;
    // Prefixed messages of eight bytes, so that some of the streams make sense.
    let data: Vec<u8> = (0..len).map(|i| if i % 9 == 0 { 8 } else { i as u8 }).collect();
    let whole = &data[..len.max(9) / 9 * 9 % (len + 1)];
    let frame = match kind {
        0 if !whole.is_empty() => Frame::Unreliable { channel, ordered: false, messages: whole },
        1 if !whole.is_empty() => Frame::Unreliable { channel, ordered: true, messages: whole },
        2 => Frame::Fragment {
            channel,
            ordered: at % 2 == 0,
            id: at as u16 % 8,
            offset: at.min(total - 1),
            total,
            data: &data[..len.min((total - at.min(total - 1)) as usize)],
        },
        3 => {
            let offset = Offset::Long(Rogue::INITIAL + at / 9 * 9);
            Frame::Reliable { channel, offset, data: &data }
        }
        4 => {
            Frame::Reliable { channel, offset: Offset::Short(at as u8), data: &data[..len.min(90)] }
        }
        5 => Frame::Credit {
            stream: Stream::Reliable,
            channel,
            limit: rogue.theirs.initial.wrapping_add(at),
        },
        _ => Frame::Ping,
    };
    let form = if ack.is_some() { AckForm::Ranges1 } else { AckForm::None };
    let largest = u64::from(rogue.theirs.initial) + u64::from(ack.unwrap_or(0) % 4);
    let _ = rogue.send(stage, form, |w| {
        if ack.is_some() {
            emit_ack_ranges(w, 1, 3, [(largest, largest)].into_iter(), 100)?;
        }
        frame.emit(true, w)
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever somebody sends in packets that are all right, nobody else notices, and in the end all
    /// memory is back.
    #[test]
    fn a_rogue_harms_nobody_but_himself(
        blows in prop::collection::vec(blow(), 1..120), fixed in any::<bool>(), read in any::<bool>(),
    ) {
        let plan = NodePlan::new(if fixed { Kind::Fixed } else { Kind::Heap });
        let mut stage = Stage::new(1, &[plan, HEAP], 0, LINK);
        let (back, there) = stage.connect(1, 0);
        let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
        let mut rogue_here = None;
        let mut got = Vec::new();
        for (round, blow) in blows.iter().enumerate() {
            strike(&mut rogue, &mut stage, blow);
            let message = bytes(round as u64, 300);
            stage.send(1, back, 0, Mode::Reliable, &message).unwrap();
            stage.run_for(Duration::from_millis(7));
            for event in stage.take_events(0) {
                match event {
                    Event::Connected(peer) if peer != there => rogue_here = Some(peer),
                    Event::Disconnected(peer, _) => prop_assert_ne!(peer, there),
                    _ => {}
                }
            }
            if let Some(peer) = rogue_here.filter(|_| read) {
                stage.read(0, peer);
            }
            got.extend(stage.read(0, there));
        }
        for _ in 0..50 {
            stage.run_for(Duration::from_millis(100));
            got.extend(stage.read(0, there));
        }
        prop_assert_eq!(got.len(), blows.len());
        for (round, message) in got.iter().enumerate() {
            prop_assert!(message.bytes == bytes(round as u64, 300));
        }
        stage.close(0, there, 1);
        stage.run_for(Duration::from_secs(60));
        prop_assert_eq!(stage.in_use(0), InUse::default());
    }
}

#[test]
fn without_integrity_damage_ends_no_session() {
    let mut plan = HEAP;
    plan.config.integrity = Integrity::None;
    let (mut stage, there, back) = Stage::connected(1, [plan, plan], LINK);
    let from = stage.net.address(0);
    let mut rng = Rng::new(7);
    for round in 0..200 {
        for mode in Mode::GODOT {
            let _ = stage.send(0, there, 0, mode, &bytes(round, 50));
        }
        stage.run_for(Duration::from_millis(5));
        for seen in stage.take_datagrams().into_iter().filter(|seen| seen.by == 0) {
            let mut damaged = seen.bytes;
            let at = rng.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << rng.below(8);
            let _ = feed(&mut stage, 1, from, &damaged);
        }
        stage.read(1, back);
    }
    stage.run_for(Duration::from_secs(2));
    for node in [0, 1] {
        let events = stage.take_events(node);
        let ended = events.iter().find(|event| {
            // A byte of CLOSE is what it takes, and there is nothing that could notice.
            matches!(event, Event::Disconnected(_, reason)
                if *reason == DisconnectReason::PeerMisbehaved)
        });
        assert_eq!(ended, None);
    }
    let _ = stage.endpoints[1].recv(back);
}
