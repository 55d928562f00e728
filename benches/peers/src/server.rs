//! A server with many peers; only the server is counted.

use bowline_benches::link::Carried;
use bowline_benches::server::{LEN_IN, LEN_OUT};
use bowline_benches::tally::{NUMBER_LEN, Tally, pattern};
use bowline_benches::{Work, Workload};
use bowline_core::Mode;

use crate::host::{Host, Told};
use crate::pair::TICK;

/// How many peers connect in one tick.
const CONNECT_AT_ONCE: u32 = 200;

/// Ticks in which everything that is under way must arrive.
const SETTLE_TICKS: u32 = 20;

/// One host with `peers` connections to one server, each under an address of its own.
#[derive(Debug)]
pub struct Server<H> {
    server: H,
    clients: H,
    now: u32,
    to_clients: Vec<usize>,
    to_server: Vec<usize>,
    message_in: Vec<u8>,
    message_out: Vec<u8>,
    sent: [Tally; 2],
    received: [Tally; 2],
    begun: [Carried; 2],
    ticks: u64,
}

impl<H: Host> Server<H> {
    /// A server with so many connected peers, all of which talk. The first host is the server.
    pub fn new([mut server, clients]: [H; 2], peers: u32) -> Self {
        let message = |len| [vec![0; NUMBER_LEN], pattern(len)].concat();
        let mut all = Self {
            now: server.world().now,
            server,
            clients,
            to_clients: Vec::new(),
            to_server: Vec::new(),
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

    fn connect(&mut self, peers: u32) {
        let mut asked = 0;
        while self.to_clients.len() < peers as usize || self.to_server.len() < peers as usize {
            for _ in 0..CONNECT_AT_ONCE.min(peers - asked) {
                asked += 1;
                self.clients.connect(asked);
            }
            self.settle(1);
        }
        self.settle(SETTLE_TICKS);
    }

    /// Lets some ticks pass in which nobody sends anything new.
    fn settle(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.serve_clients();
            self.receive();
        }
    }

    /// Time passes, and everything that clients do in a tick.
    fn serve_clients(&mut self) {
        self.now += TICK;
        self.clients.set_now(self.now);
        self.server.set_now(self.now);
        self.server.world().deliver(self.clients.world());
        let Self { received, to_server, .. } = self;
        self.clients.service(|told| match told {
            Told::Received(message) => received[1].take(message),
            Told::Connected(peer) => to_server.push(peer),
        });
        self.clients.world().deliver(self.server.world());
    }

    #[inline]
    fn receive(&mut self) {
        let Self { received, to_clients, .. } = self;
        self.server.service(|told| match told {
            Told::Received(message) => received[0].take(message),
            Told::Connected(peer) => to_clients.push(peer),
        });
    }

    #[inline]
    fn send_out(&mut self, peer: usize, mode: Mode) {
        let number = self.sent[1].next(LEN_OUT);
        self.message_out[..NUMBER_LEN].copy_from_slice(&number);
        self.server.send(peer, mode, &self.message_out);
    }
}

impl<H: Host> Workload for Server<H> {
    fn prepare(&mut self) {
        for &peer in &self.to_server {
            let number = self.sent[0].next(LEN_IN);
            self.message_in[..NUMBER_LEN].copy_from_slice(&number);
            self.clients.send(peer, Mode::Unreliable, &self.message_in);
        }
        self.serve_clients();
    }

    #[inline]
    fn tick(&mut self) {
        self.ticks += 1;
        self.receive();
        for at in 0..self.to_clients.len() {
            let peer = self.to_clients[at];
            self.send_out(peer, Mode::Reliable);
            self.send_out(peer, Mode::Unreliable);
        }
        self.server.flush();
    }

    fn begin(&mut self) {
        self.ticks = 0;
        self.begun = [self.server.world().sent(), self.clients.world().sent()];
    }

    fn finish(&mut self) -> Work {
        let [out, into] = self.begun;
        let out = self.server.world().sent().since(&out);
        let into = self.clients.world().sent().since(&into);
        let units = self.ticks * self.to_clients.len() as u64;
        self.settle(SETTLE_TICKS);
        assert_eq!(self.received, self.sent, "not everything arrived");
        Work { units, bytes: units * (LEN_IN + 2 * LEN_OUT) as u64, forth: out, back: into }
    }
}
