//! A server with many peers; only the server is counted.

use bowline_core::{Address, ChannelId, Event, Instant, Mode, Outgoing, PeerId};

use crate::link::{Carried, Link};
use crate::protocol::Protocol;
use crate::tally::{NUMBER_LEN, Tally, is_intact, pattern};
use crate::{TICK, Work, Workload};

/// Bytes of the message that each peer sends each tick, unreliably.
pub const LEN_IN: usize = 64;
/// Bytes of each of the two messages that each peer gets each tick, one of them reliably.
pub const LEN_OUT: usize = 100;

/// How many peers connect in one tick.
const CONNECT_AT_ONCE: u32 = 200;

/// One endpoint with `peers` sessions to one server, each under an address of its own.
#[derive(Debug)]
pub struct Server<P> {
    server: P,
    clients: P,
    to_clients: Vec<PeerId>,
    to_server: Vec<PeerId>,
    /// How many of them talk.
    busy: usize,
    forth: Link,
    back: Link,
    now: Instant,
    message_in: Vec<u8>,
    message_out: Vec<u8>,
    sent: [Tally; 2],
    received: [Tally; 2],
    begun: (Carried, Carried),
    ticks: u64,
}

impl<P: Protocol> Server<P> {
    /// A server with so many connected peers, all of which talk. The first endpoint is the server.
    pub fn new(endpoints: [P; 2], peers: u32) -> Self {
        Self::with_busy(endpoints, peers, peers)
    }

    /// A server with `peers` connected peers, of which `busy` talk.
    pub fn with_busy([server, clients]: [P; 2], peers: u32, busy: u32) -> Self {
        let message = |len| [vec![0; NUMBER_LEN], pattern(len)].concat();
        let link_len = peers as usize * 512 + (1 << 16);
        let mut all = Self {
            server,
            clients,
            to_clients: Vec::new(),
            to_server: Vec::new(),
            busy: busy as usize,
            forth: Link::new(link_len),
            back: Link::new(link_len),
            now: Instant::from_micros(1_000),
            message_in: message(LEN_IN),
            message_out: message(LEN_OUT),
            sent: [Tally::default(); 2],
            received: [Tally::default(); 2],
            begun: Default::default(),
            ticks: 0,
        };
        all.connect(peers);
        all
    }

    /// The server, to see what memory it has taken.
    pub fn server(&self) -> &P {
        &self.server
    }

    /// Every peer sends a message in each of `modes` and gets one, a few peers at a time.
    pub fn converse(&mut self, modes: &[Mode]) {
        for at in 0..self.to_server.len() {
            for &mode in modes {
                self.send_in(self.to_server[at], mode);
                self.send_out(self.to_clients[at], mode);
            }
            if at % 8 == 7 {
                self.settle(1);
            }
        }
        self.settle(20);
        assert_eq!(self.received, self.sent, "not everything arrived");
    }

    fn connect(&mut self, peers: u32) {
        let mut asked = 0;
        while self.to_clients.len() < peers as usize || self.to_server.len() < peers as usize {
            for _ in 0..CONNECT_AT_ONCE.min(peers - asked) {
                let address = Address::from_raw(&asked.to_be_bytes()).unwrap();
                self.clients.connect_to(self.now, address);
                asked += 1;
            }
            self.settle(1);
        }
        self.settle(20);
        // The same order at both ends, so that the busy ones are the same.
        self.to_server.sort_by_key(|peer| self.clients.address_of(*peer));
        self.to_clients.sort_by_key(|peer| self.server.address_of(*peer));
    }

    /// Lets some ticks pass in which nobody sends anything new.
    fn settle(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.serve_clients();
            self.forth.bring_to(self.now, &mut self.server);
            self.read();
            self.back.take_from(self.now, &mut self.server);
        }
    }

    fn send_in(&mut self, peer: PeerId, mode: Mode) {
        let number = self.sent[0].next(LEN_IN);
        self.message_in[..NUMBER_LEN].copy_from_slice(&number);
        let pieces: &[&[u8]] = &[&self.message_in];
        let message = Outgoing::new(ChannelId(0), mode, pieces);
        self.clients.send(self.now, peer, message).expect("there is room");
    }

    #[inline]
    fn send_out(&mut self, peer: PeerId, mode: Mode) {
        let number = self.sent[1].next(LEN_OUT);
        self.message_out[..NUMBER_LEN].copy_from_slice(&number);
        let pieces: &[&[u8]] = &[&self.message_out];
        let message = Outgoing::new(ChannelId(0), mode, pieces);
        self.server.send(self.now, peer, message).expect("there is room");
    }

    /// Everything that clients do in a tick, but for sending.
    fn serve_clients(&mut self) {
        self.now = self.now + TICK;
        self.back.bring_to(self.now, &mut self.clients);
        while let Some(event) = self.clients.poll_event() {
            match event {
                Event::Connected(peer) => self.to_server.push(peer),
                Event::Readable(peer) => {
                    while let Some(message) = self.clients.recv(peer) {
                        assert!(is_intact(&message), "damaged");
                        self.received[1].take_incoming(&message);
                    }
                }
                event => panic!("{event:?}"),
            }
        }
        self.forth.take_from(self.now, &mut self.clients);
    }

    #[inline]
    fn read(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Connected(peer) => self.to_clients.push(peer),
                Event::Readable(peer) => {
                    while let Some(message) = self.server.recv(peer) {
                        self.received[0].take_incoming(&message);
                    }
                }
                event => panic!("{event:?}"),
            }
        }
    }
}

impl<P: Protocol> Workload for Server<P> {
    fn prepare(&mut self) {
        for at in 0..self.busy {
            self.send_in(self.to_server[at], Mode::Unreliable);
        }
        self.serve_clients();
    }

    #[inline]
    fn tick(&mut self) {
        self.ticks += 1;
        self.forth.bring_to(self.now, &mut self.server);
        self.read();
        for at in 0..self.busy {
            let peer = self.to_clients[at];
            self.send_out(peer, Mode::Reliable);
            self.send_out(peer, Mode::Unreliable);
        }
        self.back.take_from(self.now, &mut self.server);
        self.server.poll_timeout();
    }

    fn begin(&mut self) {
        self.ticks = 0;
        self.begun = (self.forth.carried(), self.back.carried());
    }

    fn finish(&mut self) -> Work {
        let (into, out) = self.begun;
        let (into, out) = (self.forth.carried().since(&into), self.back.carried().since(&out));
        let units = self.ticks * self.busy as u64;
        self.settle(20);
        assert_eq!(self.received, self.sent, "not everything arrived");
        assert_eq!((into.refused, out.refused), (0, 0));
        Work { units, bytes: units * (LEN_IN + 2 * LEN_OUT) as u64, forth: out, back: into }
    }
}
