//! What a hostile peer, a bad link, a careless application or a small memory might do: each test is
//! one claim that was found broken once.

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

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

fn address(name: u8) -> Address {
    Address::from_raw(&[name]).unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Machine1<'s> = Endpoint<&'s mut dyn Storage>;

/// Two endpoints whose datagrams pass a link that may lose some.
struct Pair<'s> {
    client: Machine1<'s>,
    server: Machine1<'s>,
    now: Instant,
    /// Whether the datagram, of that sender and of that index, is delivered.
    link: fn(u8, usize) -> bool,
    sent: [usize; 2],
}

impl<'s> Pair<'s> {
    fn new(config: Config, client: &'s mut dyn Storage, server: &'s mut dyn Storage) -> Self {
        Self {
            client: Endpoint::plain(config, &SipHash, &[1; 32], client).unwrap(),
            server: Endpoint::plain(config, &SipHash, &[2; 32], server).unwrap(),
            now: Instant::from_micros(1_000_000),
            link: |_, _| true,
            sent: [0; 2],
        }
    }

    fn exchange(&mut self) {
        let mut buf = [0; 1500];
        for _ in 0..100_000 {
            let mut quiet = true;
            while let Some(out) = self.client.poll_transmit(self.now, &mut buf).unwrap() {
                quiet = false;
                self.sent[0] += 1;
                if (self.link)(CLIENT, self.sent[0]) {
                    let from = Received::from(address(CLIENT));
                    let _ = self.server.handle_datagram(self.now, from, &mut buf[..out.len]);
                }
            }
            while let Some(out) = self.server.poll_transmit(self.now, &mut buf).unwrap() {
                quiet = false;
                self.sent[1] += 1;
                if (self.link)(SERVER, self.sent[1]) {
                    let from = Received::from(address(SERVER));
                    let _ = self.client.handle_datagram(self.now, from, &mut buf[..out.len]);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("never quiet");
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..1_000_000 {
            self.exchange();
            let due = [self.client.poll_timeout(), self.server.poll_timeout()];
            let next = due.into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
        }
        panic!("never waits");
    }

    fn connected(&mut self) -> (PeerId, PeerId) {
        let client = self.client.connect_plain(self.now, address(SERVER), b"").unwrap();
        self.wait(millis(100));
        assert_eq!(self.client.poll_event(), Some(Event::Connected(client)));
        let Some(Event::Connected(server)) = self.server.poll_event() else { panic!() };
        (client, server)
    }
}

fn message(mode: Mode, channel: u8, pieces: &'static [&'static [u8]]) -> Outgoing<'static> {
    Outgoing::new(ChannelId(channel), mode, pieces)
}

/// A client that writes its own packets, in sessions without integrity.
struct Raw {
    name: u8,
    half: u64,
    parameters: Parameters,
    id: Option<u32>,
    number: u32,
    theirs: Option<Parameters>,
}

impl Raw {
    fn new(name: u8) -> Self {
        let parameters = Parameters {
            connection_id: None,
            initial: 1_000,
            integrity: Integrity::None,
            datagram_max: 1200,
            channels: 256,
            ack_delay: 100,
            idle_timeout_ms: 10_000,
            credit: 1 << 20,
            loose_credit: 0,
            reliable_max: 1 << 20,
            ordered_max: 1 << 20,
            unreliable_max: 1 << 20,
        };
        Self { name, half: 77 + u64::from(name), parameters, id: None, number: 1_000, theirs: None }
    }

    fn give<S: Storage>(
        &self,
        to: &mut Endpoint<S>,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        to.handle_datagram(now, Received::from(address(self.name)), datagram)
    }

    fn handshake<S: Storage>(&self, to: &mut Endpoint<S>, now: Instant, what: &Handshake<'_>) {
        let mut buf = [0; 1500];
        let len = what.emit(40, &mut buf).unwrap();
        self.give(to, now, &mut buf[..len]).unwrap();
    }

    fn cookie<S: Storage>(&self, to: &mut Endpoint<S>, now: Instant) -> [u8; 12] {
        let mut buf = [0; 1500];
        let (version, application, client_half) = (VERSION, 1, self.half);
        self.handshake(to, now, &Handshake::Hello { version, application, client_half, len: 40 });
        while let Some(out) = to.poll_transmit(now, &mut buf).unwrap() {
            if out.to == address(self.name)
                && let Ok(Handshake::Challenge { cookie, .. }) = Handshake::parse(&buf[..out.len])
            {
                return cookie;
            }
        }
        panic!("no challenge");
    }

    fn connect<S: Storage>(&mut self, to: &mut Endpoint<S>, now: Instant, payload: &[u8]) {
        let cookie = self.cookie(to, now);
        let (application, client_half, parameters) = (1, self.half, self.parameters);
        let connect = Handshake::Connect { application, client_half, cookie, parameters, payload };
        self.handshake(to, now, &connect);
        self.drain(to, now);
        self.theirs.expect("accepted");
    }

    /// Takes what is sent to it; returns the session packets.
    fn drain<S: Storage>(&mut self, to: &mut Endpoint<S>, now: Instant) -> Vec<Vec<u8>> {
        let mut buf = [0; 1500];
        let mut packets = Vec::new();
        for _ in 0..100_000 {
            let Some(out) = to.poll_transmit(now, &mut buf).unwrap() else { return packets };
            if buf[0] >= 0x80 {
                packets.push(buf[..out.len].to_vec());
            } else if let Ok(Handshake::Accept { parameters, .. }) =
                Handshake::parse(&buf[..out.len])
            {
                self.id = parameters.connection_id;
                self.theirs = Some(parameters);
            }
        }
        panic!("sends for ever");
    }

    /// First offset of this side's streams.
    fn initial(&self) -> u32 {
        self.parameters.initial
    }

    fn packet(&mut self, frames: &[Frame<'_>]) -> Vec<u8> {
        let mut buf = [0; 1500];
        let mut w = Writer::new(&mut buf);
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: self.id.unwrap_or(0),
            number_len: 4,
            number_low: self.number,
        };
        self.number += 1;
        head.emit(if self.id.is_some() { 4 } else { 0 }, &mut w).unwrap();
        for frame in frames {
            frame.emit(false, &mut w).unwrap();
        }
        w.written().to_vec()
    }

    fn send<S: Storage>(
        &mut self,
        to: &mut Endpoint<S>,
        now: Instant,
        frames: &[Frame<'_>],
    ) -> Result<(), DropReason> {
        let mut packet = self.packet(frames);
        self.give(to, now, &mut packet)
    }
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

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n
    }

    fn near(&mut self, base: u32) -> u32 {
        match self.below(60) {
            0 => self.0 as u32,
            1 => base.wrapping_add(0x7FFF_FF00).wrapping_add(self.below(600)),
            2..15 => base.wrapping_sub(self.below(300)),
            15..20 => base.wrapping_add(self.below(1_200)),
            _ => base.wrapping_add(self.below(80)),
        }
    }
}

fn torment<S: Storage>(config: Config, storage: S, seed: u64) {
    let mut dice = Dice(seed);
    let mut server = server(config, storage);
    let mut raw = Raw::new(9);
    raw.parameters.datagram_max = [64, 100, 512][dice.below(3) as usize];
    raw.parameters.credit = 1 + dice.below(2_000);
    raw.parameters.initial = [0, 1_000, u32::MAX - 5, u32::MAX - 300][dice.below(4) as usize];
    raw.number = raw.parameters.initial;
    let mut now = START;
    let payload = vec![3; dice.below(200) as usize];
    raw.connect(&mut server, now, &payload);
    let Some(Event::Connected(peer)) = server.poll_event() else { panic!() };
    let their_first = raw.theirs.unwrap().initial;
    let bytes = [0u8; 1_000];
    let mut junk = [0u8; 300];
    let mut sent = 0u32;
    for round in 0..600u32 {
        now = now + Duration::from_micros(u64::from(dice.below(40_000)));
        junk.iter_mut().for_each(|byte| *byte = dice.below(100) as u8);
        let mut buf = [0; 1500];
        let mut w = Writer::new(&mut buf);
        if dice.below(12) == 0 {
            raw.number = raw.number.wrapping_add(dice.below(100));
        }
        let mut number = raw.number;
        if dice.below(10) == 0 {
            number = number.wrapping_sub(dice.below(700));
        } else {
            raw.number = raw.number.wrapping_add(1);
        }
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: raw.id.unwrap_or(0),
            number_len: 4,
            number_low: number,
        };
        head.emit(if raw.id.is_some() { 4 } else { 0 }, &mut w).unwrap();
        if dice.below(3) == 0 && sent > 0 {
            let largest =
                u64::from(their_first) + u64::from(sent - 1) - u64::from(dice.below(sent.min(6)));
            let mut ranges = Vec::new();
            let (mut end, first) = (largest, u64::from(their_first));
            while ranges.len() < 6 && end >= first {
                let start = end.saturating_sub(u64::from(dice.below(3))).max(first);
                ranges.push((start, end));
                let gap = 2 + u64::from(dice.below(3));
                if start < first + gap {
                    break;
                }
                end = start - gap;
            }
            w.set_bits(0, 3 << 4);
            bowline_wire::native::emit_ack_ranges(&mut w, 2, 3, ranges.into_iter(), 200).unwrap();
        }
        let base = raw.initial();
        for _ in 0..dice.below(5) {
            let len = 1 + dice.below(120) as usize;
            let channel =
                dice.below(u32::from(config.channels)) as u8 + u8::from(dice.below(40) == 0);
            let data = &junk[..len];
            let id = dice.below(3) as u16;
            let total = len as u32 + dice.below(400);
            let frame = match dice.below(14) {
                0 => Frame::Ping,
                1 => Frame::Credit {
                    stream: Stream::Reliable,
                    channel,
                    limit: dice.near(their_first),
                },
                2 | 3 => Frame::Unreliable {
                    channel,
                    ordered: dice.below(2) == 0,
                    messages: &bytes[..len],
                },
                4..=6 => {
                    let offset = dice.below(total - len as u32 + 1);
                    Frame::Fragment {
                        channel,
                        ordered: dice.below(2) == 0,
                        id,
                        offset,
                        total,
                        data,
                    }
                }
                7 => {
                    Frame::Reliable { channel, offset: Offset::Short(dice.near(base) as u8), data }
                }
                13 if dice.below(300) == 0 => {
                    Frame::Close { cause: bowline_wire::native::CloseCause::Application, reason: 1 }
                }
                _ => {
                    let progress = round * 8;
                    Frame::Reliable {
                        channel,
                        offset: Offset::Long(dice.near(base.wrapping_add(progress))),
                        data,
                    }
                }
            };
            let _ = frame.emit(false, &mut w);
        }
        let mut packet = w.written().to_vec();
        let _ = raw.give(&mut server, now, &mut packet);
        if dice.below(2) == 0 {
            sent += raw.drain(&mut server, now).len() as u32;
        }
        let mode = Mode::GODOT[dice.below(3) as usize];
        let long = vec![1; dice.below(600) as usize];
        let pieces = [&long[..]];
        let out = Outgoing::new(ChannelId(dice.below(3) as u8), mode, &pieces);
        if dice.below(3) == 0 {
            let _ = server.send(now, peer, out);
        }
        if dice.below(4) == 0 {
            while server.recv(peer).is_some() {}
        }
        while let Some(event) = server.poll_event() {
            if let Event::Disconnected(..) = event {
                break;
            }
        }
        server.poll_timeout();
    }
    if dice.below(2) == 0 {
        let _ = server.finish(now, peer, CloseReason(1));
    }
    server.close(now, peer, CloseReason(1));
    for _ in 0..200 {
        raw.drain(&mut server, now);
        while server.poll_event().is_some() {}
        let Some(next) = server.poll_timeout() else { break };
        now = next.max(now);
    }
    assert_eq!(server.in_use(), InUse::default(), "seed {seed}");
}

#[test]
fn nothing_that_a_peer_sends_does_harm_or_leaves_a_trace() {
    for seed in 0..60 {
        let config = Config { integrity: Integrity::None, ..Config::small(1) };
        torment(config, &mut Fixed::<1, 1, 8, 40>::new(), seed);
        let config =
            Config { channels: 2, credit: 100, credit_max: 4_000, connection_ids: true, ..config };
        torment(config, &mut Fixed::<1, 2, 10, 48, 64>::new(), seed);
        let limits = Limits {
            records: 200,
            bytes: 60_000,
            block_len: 64,
            channels: 2,
            ..Limits::for_peers(1)
        };
        torment(config, Heap::new(limits), seed);
    }
}

fn through_loss(config: Config, a: &mut dyn Storage, b: &mut dyn Storage, seed: u64) {
    let mut dice = Dice(seed);
    let mut pair = Pair::new(config, a, b);
    let peers = pair.connected();
    let mut on_the_way: Vec<(Instant, u8, Vec<u8>)> = Vec::new();
    let (mut sent, mut read) = ([0u32; 2], [0u32; 2]);
    let loss = [5, 20, 40][dice.below(3) as usize];
    let mut buf = [0; 1500];
    for _ in 0..60_000 {
        let now = pair.now;
        for (side, name) in [CLIENT, SERVER].into_iter().enumerate() {
            let (me, peer) =
                if side == 0 { (&mut pair.client, peers.0) } else { (&mut pair.server, peers.1) };
            if dice.below(3) == 0 {
                while let Some(incoming) = me.recv(peer) {
                    let bytes: Vec<u8> = incoming.chunks().flatten().copied().collect();
                    if incoming.mode() == Mode::Reliable {
                        assert_eq!(bytes[..4], read[side].to_be_bytes(), "seed {seed}");
                        read[side] += 1;
                    }
                    if dice.below(4) == 0 {
                        break;
                    }
                }
            }
            while let Some(event) = me.poll_event() {
                assert!(!matches!(event, Event::Disconnected(..)), "seed {seed} {event:?}");
            }
            if sent[side] < 150 && dice.below(2) == 0 {
                let number = sent[side].to_be_bytes();
                let rest =
                    vec![9; dice.below(if dice.0.is_multiple_of(7) { 700 } else { 30 }) as usize];
                let pieces = [&number[..], &rest[..]];
                let mode = if dice.below(4) == 0 { Mode::Unreliable } else { Mode::Reliable };
                let channel = dice.below(u32::from(config.channels)) as u8;
                let channel = if mode == Mode::Reliable { 0 } else { channel };
                if me.send(now, peer, Outgoing::new(ChannelId(channel), mode, &pieces)).is_ok()
                    && mode == Mode::Reliable
                {
                    sent[side] += 1;
                }
            }
            while let Some(out) = me.poll_transmit(now, &mut buf).unwrap() {
                for _ in 0..=u32::from(dice.below(20) == 0) {
                    if dice.below(100) >= loss {
                        let at = now + millis(10 + u64::from(dice.below(60)));
                        on_the_way.push((at, name, buf[..out.len].to_vec()));
                    }
                }
            }
        }
        if sent == [150; 2] && read == [150; 2] {
            return;
        }
        let due = [pair.client.poll_timeout(), pair.server.poll_timeout()];
        let next =
            due.into_iter().flatten().chain(on_the_way.iter().map(|(at, ..)| *at)).min().unwrap();
        pair.now = next.clamp(now, now + millis(200)).max(now + Duration::from_micros(500));
        let now = pair.now;
        let mut i = 0;
        while i < on_the_way.len() {
            if on_the_way[i].0 <= now {
                let (_, name, mut bytes) = on_the_way.swap_remove(i);
                let to = if name == CLIENT { &mut pair.server } else { &mut pair.client };
                let _ = to.handle_datagram(now, Received::from(address(name)), &mut bytes);
            } else {
                i += 1;
            }
        }
    }
    panic!(
        "seed {seed}: stuck at {sent:?} {read:?} of 150, {:?} {:?}",
        pair.client.in_use(),
        pair.server.in_use()
    );
}

#[test]
fn the_least_memory_gets_everything_through_a_bad_link() {
    for seed in 0..60 {
        let config = Config { idle_timeout: Duration::from_secs(600), ..Config::small(1) };
        through_loss(
            config,
            &mut Fixed::<1, 1, 6, 40>::new(),
            &mut Fixed::<1, 1, 6, 40>::new(),
            seed,
        );
        let config = Config { channels: 2, initial: Some(u32::MAX - 400), ..config };
        through_loss(
            config,
            &mut Fixed::<1, 2, 6, 48>::new(),
            &mut Fixed::<1, 2, 8, 48>::new(),
            seed,
        );
        let limits = Limits {
            records: 12,
            bytes: 10_000,
            block_len: 64,
            channels: 2,
            ..Limits::for_peers(1)
        };
        through_loss(config, &mut Heap::new(limits), &mut Fixed::<1, 2, 6, 60, 64>::new(), seed);
    }
}
