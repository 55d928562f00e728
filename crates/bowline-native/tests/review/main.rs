//! What a hostile peer, a bad link, a careless application or a small memory might do: each test is
//! one claim that was found broken once.

mod dice;
mod loss;
mod pair;
mod raw;
mod torment;

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, DropReason, Duration, Event, Instant,
    Machine, Messages, Mode, Outgoing, PeerId, Received,
};
use bowline_crypto::SipHash;
use bowline_native::{
    Config, ConfigError, Endpoint, Fixed, Heap, InUse, Integrity, Limits, Storage,
};
use bowline_wire::Writer;
use bowline_wire::native::{
    AckBlock, AckForm, Frame, Handshake, Offset, PacketHead, Parameters, Stream, VERSION, frames,
};

use dice::Dice;
use pair::Pair;
use raw::Raw;

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

fn address(name: u8) -> Address {
    Address::from_raw(&[name]).unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Machine1<'s> = Endpoint<&'s mut dyn Storage>;

fn message(mode: Mode, channel: u8, pieces: &'static [&'static [u8]]) -> Outgoing<'static> {
    Outgoing::new(ChannelId(channel), mode, pieces)
}

fn open() -> Config {
    Config { integrity: Integrity::None, ..Config::new(1) }
}

fn server<S: Storage>(config: Config, storage: S) -> Endpoint<S> {
    Endpoint::plain(config, &SipHash, &[2; 32], storage).unwrap()
}

const START: Instant = Instant::from_micros(1_000_000);

#[test]
fn stream_bytes_that_begin_half_the_space_ahead_are_refused() {
    let config = Config { credit: 64, credit_max: 64, ..open() };
    let mut server = server(config, Heap::new(Limits::for_peers(1)));
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    for ahead in [0x7FFF_FF00, 0x7FFF_FFFF] {
        let offset = Offset::Long(raw.initial().wrapping_add(ahead));
        let frame = Frame::Reliable { channel: 0, offset, data: &[5; 1_000] };
        assert_eq!(raw.send(&mut server, START, &[frame]), Err(DropReason::Misbehaved));
    }
    assert_eq!(server.in_use().records, 0);
}

#[test]
fn ranges_of_a_stream_in_one_packet_take_what_the_last_of_them_does() {
    let limits = Limits { bytes: 18 << 10, ..Limits::for_peers(1) };
    let config = Config { channels: 1, loose_credit: 0, ..open() };
    let mut server = server(config, Heap::new(limits));
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    let initial = raw.initial();
    let range = |ahead: u32| {
        let offset = Offset::Long(initial.wrapping_add(ahead));
        Frame::Reliable { channel: 0, offset, data: b"x" }
    };
    let frames = [range(8_000), range(8_002), range(8_004)];
    assert_eq!(raw.send(&mut server, START, &frames[..2]), Ok(()), "with credit for all of it");
    assert_eq!(raw.send(&mut server, START, &frames), Ok(()));
}

#[test]
fn a_long_message_that_waits_to_be_read_is_nobodys_fault() {
    let limits = Limits::for_peers(1);
    let (mut a, mut b) = (Heap::new(limits), Heap::new(limits));
    let mut pair = Pair::new(Config { channels: 1, ..Config::new(1) }, &mut a, &mut b);
    let (to_server, to_client) = pair.connected();
    let bytes = vec![7; 300_000];
    let out = Outgoing::new(ChannelId(0), Mode::Reliable, &[]);
    pair.client.send(pair.now, to_server, Outgoing { pieces: &[&bytes], ..out }).unwrap();
    pair.wait(Duration::from_secs(30));
    assert_eq!(pair.server.poll_event(), Some(Event::Readable(to_client)));
    assert_eq!(pair.server.poll_event(), None);
    assert_eq!(pair.server.recv(to_client).map(|message| message.len()), Some(300_000));
}

#[test]
fn a_closed_session_ends_though_nothing_can_be_sent_any_more() {
    let mut server = server(open(), Heap::new(Limits::for_peers(1)));
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    let Some(Event::Connected(peer)) = server.poll_event() else { panic!() };
    let mut now = START;
    for _ in 0..122_000 {
        now = now + millis(40);
        raw.send(&mut server, now, &[Frame::Ping]).unwrap();
        raw.drain(&mut server, now);
    }
    server.close(now, peer, CloseReason(0));
    for _ in 0..100 {
        raw.drain(&mut server, now);
        let Some(next) = server.poll_timeout() else { break };
        now = next.max(now);
    }
    while server.poll_event().is_some() {}
    for _ in 0..4_000 {
        raw.drain(&mut server, now);
        while server.poll_event().is_some() {}
        let Some(next) = server.poll_timeout() else { break };
        now = next.max(now);
    }
    assert_eq!(server.in_use(), InUse::default());
}

#[test]
fn time_may_come_to_its_end() {
    let limits = Limits::for_peers(2);
    let (mut a, mut b) = (Heap::new(limits), Heap::new(limits));
    let mut pair = Pair::new(Config::new(1), &mut a, &mut b);
    let (to_server, _) = pair.connected();
    pair.client.connect_plain(pair.now, address(77), b"").unwrap();
    pair.now = Instant::MAX;
    let out = message(Mode::Reliable, 0, &[b"late"]);
    pair.client.send(pair.now, to_server, out).unwrap();
    pair.exchange();
}

#[test]
fn the_last_record_sends_again_what_was_lost() {
    let config = Config { send_max: 4_000, ..Config::small(1) };
    let (mut a, mut b) = (Fixed::<1, 1, 6, 64>::new(), Fixed::<1, 1, 24, 64>::new());
    let mut pair = Pair::new(config, &mut a, &mut b);
    let (to_server, to_client) = pair.connected();
    pair.wait(Duration::from_secs(1));
    pair.sent = [0; 2];
    // Every second packet with a message is lost, once.
    pair.link = |from, index| from == SERVER || index > 4 || index % 2 == 0;
    let mut buf = [0; 1500];
    let mut on_the_way = Vec::new();
    for _ in 0..4 {
        pair.client.send(pair.now, to_server, message(Mode::Reliable, 0, &[b"four"])).unwrap();
        while let Some(out) = pair.client.poll_transmit(pair.now, &mut buf).unwrap() {
            on_the_way.push(buf[..out.len].to_vec());
        }
    }
    assert_eq!(on_the_way.len(), 4);
    for packet in on_the_way.iter_mut().skip(1).step_by(2) {
        let from = Received::from(address(CLIENT));
        pair.server.handle_datagram(pair.now, from, packet).unwrap();
    }
    pair.link = |_, _| true;
    pair.wait(Duration::from_secs(5));
    let mut count = 0;
    while pair.server.recv(to_client).is_some() {
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn who_comes_back_is_not_told_that_his_old_session_fills_the_place() {
    let mut storage = Fixed::<1, 1, 24, 40>::new();
    let config = Config { integrity: Integrity::None, ..Config::small(1) };
    let mut server = server(config, &mut storage);
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    let mut again = Raw { half: 78_000, ..Raw::new(9) };
    let now = START + Duration::from_secs(3);
    let cookie = again.cookie(&mut server, now);
    let (application, client_half, parameters) = (1, again.half, again.parameters);
    let connect = Handshake::Connect { application, client_half, cookie, parameters, payload: b"" };
    let mut buf = [0; 1500];
    let len = connect.emit(0, &mut buf).unwrap();
    let _ = again.give(&mut server, now, &mut { buf }[..len]);
    let mut out = [0; 1500];
    while let Some(sent) = server.poll_transmit(now, &mut out).unwrap() {
        let refused = matches!(Handshake::parse(&out[..sent.len]), Ok(Handshake::Refuse { .. }));
        assert!(!refused);
    }
    while server.poll_event().is_some() {}
    again.give(&mut server, now, &mut buf[..len]).unwrap();
    again.drain(&mut server, now);
    assert!(again.theirs.is_some());
}

#[test]
fn a_connect_payload_leaves_room_for_the_longest_message() {
    let mut storage = Fixed::<1, 1, 24, 64>::new();
    let config = Config { integrity: Integrity::None, ..Config::small(1) };
    let mut server = server(config, &mut storage);
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, &[1; 440]);
    let Some(Event::Connected(peer)) = server.poll_event() else { panic!() };
    assert_eq!(server.poll_event(), None);
    let max = server.message_max(peer, Mode::Reliable).unwrap();
    let bytes = vec![7; max];
    let out = Outgoing::new(ChannelId(0), Mode::Reliable, &[]);
    server.send(START, peer, Outgoing { pieces: &[&bytes], ..out }).unwrap();
}

#[test]
fn messages_put_together_count_as_waiting_to_be_read() {
    let config = open();
    let mut server = server(config, Heap::new(Limits::for_peers(1)));
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    for id in 0..40 {
        for offset in (0..20_000).step_by(1_000) {
            let data = &[1; 1_000];
            let fragment =
                Frame::Fragment { channel: 0, ordered: false, id, offset, total: 20_000, data };
            let _ = raw.send(&mut server, START, &[fragment]);
        }
        raw.drain(&mut server, START);
    }
    let held = server.in_use().blocks * 1_020;
    assert!(held <= config.inbox_max + 21_000, "{held}");
}

#[test]
fn an_event_that_time_brings_is_told_without_waiting_for_traffic() {
    let mut client = server(Config::new(1), Heap::new(Limits::for_peers(1)));
    let mut now = START;
    let peer = client.connect_plain(now, address(SERVER), b"").unwrap();
    let mut buf = [0; 1500];
    // The loop that `Machine` describes.
    for _ in 0..100 {
        if let Some(event) = client.poll_event() {
            let timed_out = DisconnectReason::ConnectTimedOut;
            assert_eq!(event, Event::Disconnected(peer, timed_out));
            return;
        }
        while client.poll_transmit(now, &mut buf).unwrap().is_some() {}
        let next = client.poll_timeout().expect("somebody waits for an event");
        now = next.max(now);
    }
    panic!("no event");
}

#[test]
fn room_that_sending_made_is_told_without_waiting_for_traffic() {
    let limits = Limits::for_peers(1);
    let (mut a, mut b) = (Heap::new(limits), Heap::new(limits));
    let config = Config { send_max: 16_000, ..Config::new(1) };
    let mut pair = Pair::new(config, &mut a, &mut b);
    let (to_server, _) = pair.connected();
    let out = message(Mode::Unreliable, 0, &[&[0; 1_000]]);
    while pair.client.send(pair.now, to_server, out).is_ok() {}
    assert_eq!(pair.client.poll_event(), None);
    let mut buf = [0; 1500];
    while pair.client.poll_transmit(pair.now, &mut buf).unwrap().is_some() {}
    let next = pair.client.poll_timeout().unwrap();
    assert!(next <= pair.now, "everything was sent, and there is room now");
    assert_eq!(pair.client.poll_event(), Some(Event::Writable(to_server)));
    while pair.client.poll_transmit(pair.now, &mut buf).unwrap().is_some() {}
    assert!(pair.client.poll_timeout().unwrap() > pair.now);
}

#[test]
fn the_attempt_that_gave_way_does_not_come_back_and_replace_the_session() {
    let limits = Limits::for_peers(2);
    let (mut a, mut b) = (Heap::new(limits), Heap::new(limits));
    let mut pair = Pair::new(Config::new(1), &mut a, &mut b);
    let now = pair.now;
    let one = pair.client.connect_plain(now, address(SERVER), b"").unwrap();
    let two = pair.server.connect_plain(now, address(CLIENT), b"").unwrap();
    let mut buf = [0; 1500];
    let mut late = Vec::new();
    for _ in 0..20 {
        while let Some(out) = pair.client.poll_transmit(now, &mut buf).unwrap() {
            if buf[0] == 3 {
                late.push((CLIENT, buf[..out.len].to_vec()));
            }
            let from = Received::from(address(CLIENT));
            let _ = pair.server.handle_datagram(now, from, &mut buf[..out.len]);
        }
        while let Some(out) = pair.server.poll_transmit(now, &mut buf).unwrap() {
            if buf[0] == 3 {
                late.push((SERVER, buf[..out.len].to_vec()));
            }
            let from = Received::from(address(SERVER));
            let _ = pair.client.handle_datagram(now, from, &mut buf[..out.len]);
        }
    }
    assert_eq!(late.len(), 2, "both have sent CONNECT");
    for (name, mut datagram) in late {
        let to = if name == CLIENT { &mut pair.server } else { &mut pair.client };
        let _ = to.handle_datagram(now, Received::from(address(name)), &mut datagram);
    }
    pair.wait(millis(200));
    assert_eq!(pair.client.poll_event(), Some(Event::Connected(one)));
    assert_eq!(pair.client.poll_event(), None);
    assert_eq!(pair.server.poll_event(), Some(Event::Connected(two)));
    assert_eq!(pair.server.poll_event(), None);
    let out = message(Mode::Reliable, 0, &[b"here"]);
    pair.client.send(pair.now, one, out).unwrap();
    pair.wait(millis(200));
    assert!(pair.server.recv(two).is_some());
}

#[test]
fn a_packet_has_a_long_stream_walked_through_only_once() {
    let mut server = server(open(), Heap::new(Limits::for_peers(1)));
    let mut raw = Raw::new(9);
    raw.connect(&mut server, START, b"");
    let (base, len) = (raw.initial(), 12 << 20);
    let prefix = (len | 0xE000_0000u32).to_be_bytes();
    let begin = Frame::Reliable { channel: 0, offset: Offset::Long(base), data: &prefix };
    raw.send(&mut server, START, &[begin]).unwrap();
    raw.drain(&mut server, START);
    let far = Frame::Reliable { channel: 0, offset: Offset::Long(base + len), data: &[1] };
    assert_eq!(raw.send(&mut server, START, &[far]), Ok(()));
    assert_eq!(raw.send(&mut server, START, &[far; 140]), Err(DropReason::Full));
}

#[test]
fn a_promise_too_large_to_count_is_an_error() {
    let limits = Limits { channels: 256, block_len: 16, ..Limits::for_peers(1) };
    let most = bowline_native::MESSAGE_LEN_MAX;
    let config = Config { channels: 256, credit: most, credit_max: most, ..Config::new(1) };
    let made = Endpoint::plain(config, &SipHash, &[2; 32], Heap::new(limits));
    assert!(matches!(made, Err(ConfigError::MemoryTooSmall { .. })));
    let config = Config { send_max: u32::MAX, ..Config::new(1) };
    let made = Endpoint::plain(config, &SipHash, &[2; 32], Heap::new(limits));
    assert!(matches!(made, Err(ConfigError::Memory)));
}

#[test]
fn every_probe_carries_what_its_stream_waits_for() {
    let limits = Limits::for_peers(1);
    let (mut a, mut b) = (Heap::new(limits), Heap::new(limits));
    let config = Config { initial: Some(0), connection_ids: false, ..open() };
    let mut pair = Pair::new(config, &mut a, &mut b);
    let (to_server, _) = pair.connected();
    let mut buf = [0; 1500];
    for _ in 0..3 {
        pair.client.send(pair.now, to_server, message(Mode::Reliable, 0, &[b"wait"])).unwrap();
        while pair.client.poll_transmit(pair.now, &mut buf).unwrap().is_some() {}
    }
    let mut probes = 0;
    while probes < 5 {
        pair.now = pair.client.poll_timeout().unwrap().max(pair.now);
        while let Some(out) = pair.client.poll_transmit(pair.now, &mut buf).unwrap() {
            let (head, rest) = PacketHead::parse(&buf[..out.len], 0).unwrap();
            let (_, body) = AckBlock::parse(head.ack, rest).unwrap();
            if let Some(Ok(Frame::Reliable { offset, .. })) = frames(body).next() {
                assert!(matches!(offset, Offset::Short(0) | Offset::Long(0)), "{offset:?}");
                probes += 1;
            }
        }
    }
}
