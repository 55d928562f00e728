//! Two endpoints with a bad link between them, and applications that call everything there is.

#![allow(dead_code)] // Not every test uses everything.

extern crate alloc;

use alloc::collections::VecDeque;

use bowline_core::{
    Address, ChannelId, CloseReason, Duration, Ecn, Event, Instant, Machine, Messages, Mode,
    Outgoing, PeerId, Received, Tag,
};
use bowline_crypto::SipHash;
use bowline_native::{Accept, Class, Config, Endpoint, Heap, Limits, Storage, Whom};
use bowline_trace::{Recorder, Sink};

pub(crate) const LIMITS: Limits =
    Limits { peers: 4, channels: 2, records: 400, bytes: 1 << 20, block_len: 256 };

pub(crate) static CLASSES: [Class; 2] = [
    Class { priority: 200, rate_max: 40_000, ..Class::DEFAULT },
    Class { weight: 3, ..Class::DEFAULT },
];

pub(crate) fn config() -> Config {
    let (accept, classes) = (Accept::Ask, &CLASSES);
    Config { channels: 2, classes, accept, credit: 1_000, ..Config::new(7) }
}

/// A generator of small numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

pub(crate) fn name(side: usize) -> Address {
    let names = ["192.0.2.1:7000", "[2001:db8::2]:7000"];
    names[side].parse::<core::net::SocketAddr>().unwrap().into()
}

/// A recorded endpoint and its opposite.
pub(crate) struct Scene<S, W: Sink> {
    pub(crate) recorder: Recorder<S, W>,
    pub(crate) other: Endpoint<Heap>,
    /// Every datagram that the recorded endpoint has sent.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) now: Instant,
    pub(crate) dice: Dice,
    turn: u32,
    link: [VecDeque<(Instant, Vec<u8>)>; 2],
    peers: [Vec<PeerId>; 2],
}

impl<S: Storage, W: Sink> Scene<S, W> {
    pub(crate) fn new(config: Config, storage: S, sink: W) -> Self {
        let recorder = Recorder::plain(config, &SipHash, &[1; 32], storage, sink).unwrap();
        let memory = Heap::new(Limits { channels: 8, ..LIMITS });
        let other = Endpoint::plain(Config::new(7), &SipHash, &[2; 32], memory).unwrap();
        Self {
            recorder,
            other,
            sent: Vec::new(),
            now: Instant::from_micros(5_000_000),
            dice: Dice(1),
            turn: 0,
            link: [VecDeque::new(), VecDeque::new()],
            peers: [Vec::new(), Vec::new()],
        }
    }

    /// Lets both sides live, in turns of some milliseconds, until so many datagrams were sent.
    pub(crate) fn run_until_sent(&mut self, count: usize) {
        self.run_until(|scene| scene.sent.len() >= count);
    }

    pub(crate) fn run_until(&mut self, is_over: impl Fn(&Self) -> bool) {
        while !is_over(self) {
            let turn = self.turn;
            self.turn += 1;
            assert!(turn < 100_000, "it says nothing any more");
            self.now = self.now + Duration::from_micros(self.dice.below(9_000));
            if turn == 30 {
                // A clock that goes backwards.
                self.now = self.now.saturating_before(Duration::from_millis(50));
            }
            self.deliver();
            self.hear();
            self.talk(turn);
            self.transmit();
        }
    }

    fn deliver(&mut self) {
        for side in 0..2 {
            while self.link[side].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, mut datagram) = self.link[side].pop_front().unwrap();
                let ecn = [None, Some(Ecn::Ect0), Some(Ecn::Ce)][self.dice.below(3) as usize];
                let from = Received { from: name(1 - side), ecn };
                match self.dice.below(40) {
                    0 => {}
                    1 => {
                        let at = self.dice.below(datagram.len() as u64) as usize;
                        datagram[at] ^= 0x10;
                        let _ = self.take(side, from, &mut datagram);
                    }
                    2 => {
                        let _ = self.take(side, from, &mut datagram.clone());
                        let _ = self.take(side, from, &mut datagram);
                    }
                    _ => {
                        let _ = self.take(side, from, &mut datagram);
                    }
                }
            }
        }
    }

    fn take(
        &mut self,
        side: usize,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), bowline_core::DropReason> {
        match side {
            0 => self.recorder.handle_datagram(self.now, from, datagram),
            _ => self.other.handle_datagram(self.now, from, datagram),
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.recorder.poll_event() {
            match event {
                Event::Asked(peer) if peer.generation() % 3 == 2 => {
                    let _ = self.recorder.refuse(self.now, peer, CloseReason(4));
                }
                Event::Asked(peer) => {
                    let mut payload = [0; 4];
                    self.recorder.connect_payload(peer, &mut payload);
                    let _ = self.recorder.accept(self.now, peer);
                }
                Event::Connected(peer) => self.peers[0].push(peer),
                Event::Readable(peer) => while self.recorder.recv(peer).is_some() {},
                Event::Disconnected(peer, _) => self.peers[0].retain(|other| *other != peer),
                Event::Answered => {
                    self.recorder.take_answer();
                }
                _ => {}
            }
        }
        while let Some(event) = self.other.poll_event() {
            match event {
                Event::Connected(peer) => self.peers[1].push(peer),
                Event::Readable(peer) => while self.other.recv(peer).is_some() {},
                Event::Disconnected(peer, _) => self.peers[1].retain(|other| *other != peer),
                _ => {}
            }
        }
    }

    fn talk(&mut self, turn: u32) {
        let now = self.now;
        match turn % 50 {
            0 | 7 => {
                let _ = self.other.connect_plain(now, name(0), b"a name");
            }
            5 if turn % 500 == 255 => {
                let _ = self.recorder.connect_plain(now, name(1), b"another");
            }
            10 => {
                self.recorder.set_info(Some(b"info"));
                self.other.set_info(Some(b"what there is to know"));
            }
            11 => {
                self.recorder.query(now, name(1));
                self.other.query(now, name(0));
            }
            20 => self.recorder.end_queries(),
            21 if turn % 600 == 321 => {
                let until = now + Duration::from_millis(300);
                let _ = self.recorder.ban(now, Whom::Source(name(1)), until);
                let _ = self.recorder.ban(now, Whom::Address(name(0)), Instant::MAX);
                self.recorder.unban(Whom::Address(name(0)));
            }
            22 if turn % 600 == 422 => {
                self.recorder.close_all(now, Whom::Address(name(1)), CloseReason(3));
            }
            23 | 28 if turn % 600 > 500 => self.recorder.drain(turn % 50 == 23),
            25 => self.recorder.add_entropy(&[turn as u8; 11]),
            30 => self.recorder.suspend(),
            31 => self.recorder.resume(now),
            40 => {
                let pieces = [&b"to all"[..], b" of you"];
                let message = Outgoing::new(ChannelId(1), Mode::Reliable, &pieces);
                self.recorder.broadcast(now, message, None);
            }
            47 if turn % 200 == 147 => {
                for peer in self.peers[0].clone() {
                    let _ = self.recorder.finish(now, peer, CloseReason(1));
                }
            }
            49 if turn % 400 == 249 => self.peers[0].clone().into_iter().for_each(|peer| {
                self.recorder.close(now, peer, CloseReason(2));
            }),
            _ => {}
        }
        for side in 0..2 {
            for peer in self.peers[side].clone() {
                self.say(side, peer);
            }
        }
    }

    fn say(&mut self, side: usize, peer: PeerId) {
        let modes = [
            Mode::Unreliable,
            Mode::UnreliableOrdered,
            Mode::Reliable,
            Mode::ReliableUnordered,
            Mode::ReliableLatest,
        ];
        let mode = modes[[0, 1, 2, 0, 1, 2, 3, 4][self.dice.below(8) as usize]];
        let longest = if self.dice.below(10) == 0 { 5_000 } else { 60 };
        let len = self.dice.below(longest) as usize;
        let bytes = self.dice.bytes(len);
        let (head, tail) = bytes.split_at(self.dice.below(len as u64 + 1) as usize);
        let (whole, cut) = ([&bytes[..]], [head, tail]);
        let pieces = if self.dice.below(2) == 0 { &whole[..] } else { &cut[..] };
        let channel = ChannelId(self.dice.below(3) as u8);
        let mut message = Outgoing::new(channel, mode, pieces);
        if self.dice.below(8) == 0 {
            message.tag = Some(Tag(self.dice.below(1 << 30) as u32));
        }
        if self.dice.below(8) == 0 {
            message.time_to_live = Some(Duration::from_millis(self.dice.below(300)));
        }
        if mode == Mode::ReliableLatest {
            message.key = Some(self.dice.below(5) as u32);
        }
        if side == 0 {
            let _ = self.recorder.send(self.now, peer, message);
            if let (0, Some(tag)) = (self.dice.below(3), message.tag) {
                let _ = self.recorder.cancel(peer, tag);
            }
        } else {
            let _ = self.other.send(self.now, peer, message);
        }
    }

    fn transmit(&mut self) {
        let mut buf = [0; 1_200];
        loop {
            // Now and then with a buffer that is too short.
            let room = if self.dice.below(20) == 0 { 100 } else { buf.len() };
            let Ok(sent) = self.recorder.poll_transmit(self.now, &mut buf[..room]) else {
                continue;
            };
            let Some(sent) = sent else { break };
            self.sent.push(buf[..sent.len].to_vec());
            self.depart(1, buf[..sent.len].to_vec());
        }
        self.recorder.poll_timeout();
        while let Ok(Some(sent)) = self.other.poll_transmit(self.now, &mut buf) {
            self.depart(0, buf[..sent.len].to_vec());
        }
        self.other.poll_timeout();
    }

    fn depart(&mut self, side: usize, datagram: Vec<u8>) {
        let at = self.now + Duration::from_micros(5_000 + self.dice.below(9_000));
        if self.dice.below(10) > 0 {
            self.link[side].push_back((at, datagram));
        }
    }
}

/// A trace of about so many bytes.
pub(crate) fn recorded_bytes(len: usize) -> Vec<u8> {
    let mut trace = Vec::new();
    let mut scene = Scene::new(config(), Heap::new(LIMITS), &mut trace);
    scene.run_until(|scene| scene.recorder.sink().len() >= len);
    scene.recorder.stop();
    drop(scene);
    trace
}

/// A trace in which so many datagrams are sent, and then some calls that may not have been made before.
pub(crate) fn recorded(sent: usize) -> Vec<u8> {
    recorded_on(config(), Heap::new(LIMITS), sent)
}

pub(crate) fn recorded_on(config: Config, storage: impl Storage, sent: usize) -> Vec<u8> {
    let mut trace = Vec::new();
    let mut scene = Scene::new(config, storage, &mut trace);
    scene.run_until_sent(sent);
    let (now, nobody, reason) = (scene.now, PeerId::new(1, 99), CloseReason(9));
    scene.recorder.close(now, nobody, reason);
    let _ = scene.recorder.refuse(now, nobody, reason);
    let _ = scene.recorder.finish(now, nobody, reason);
    let _ = scene.recorder.accept(now, nobody);
    scene.recorder.stop();
    drop(scene);
    trace
}
