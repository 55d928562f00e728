//! Two hosts and messages in one direction; both ends are counted.

use bowline_benches::link::Carried;
use bowline_benches::pair::Traffic;
use bowline_benches::tally::{NUMBER_LEN, Tally, pattern};
use bowline_benches::{Work, Workload};

use crate::host::{Host, Told};

/// Milliseconds between two ticks, as [`bowline_benches::TICK`].
pub(crate) const TICK: u32 = 16;

/// Ticks in which everything that is under way must arrive.
const SETTLE_TICKS: u32 = 200;

/// A client that sends and a server that receives.
#[derive(Debug)]
pub struct Pair<H> {
    client: H,
    server: H,
    now: u32,
    to_server: usize,
    traffic: Traffic,
    message: Vec<u8>,
    sent: Tally,
    received: Tally,
    begun: (Tally, Carried, Carried),
}

impl<H: Host> Pair<H> {
    /// Two hosts, of which the first connects to the second.
    pub fn new([mut client, server]: [H; 2], traffic: Traffic) -> Self {
        client.connect(1);
        let mut message = vec![0; NUMBER_LEN];
        message.extend(pattern(traffic.len));
        let mut pair = Self {
            now: client.world().now,
            client,
            server,
            to_server: usize::MAX,
            traffic,
            message,
            sent: Tally::default(),
            received: Tally::default(),
            begun: Default::default(),
        };
        (0..8).for_each(|_| pair.receive());
        assert_ne!(pair.to_server, usize::MAX, "not connected");
        pair
    }

    #[inline]
    fn receive(&mut self) {
        self.now += TICK;
        self.client.set_now(self.now);
        self.server.set_now(self.now);
        self.client.world().deliver(self.server.world());
        self.server.world().deliver(self.client.world());
        let Self { received, to_server, .. } = self;
        self.server.service(|told| {
            if let Told::Received(message) = told {
                received.take(message);
            }
        });
        self.client.service(|told| {
            if let Told::Connected(peer) = told {
                *to_server = peer;
            }
        });
    }

    #[inline]
    fn send(&mut self) {
        let Traffic { mode, len, per_tick, under_way_max, .. } = self.traffic;
        for _ in 0..per_tick {
            if self.sent.messages - self.received.messages >= under_way_max {
                return;
            }
            let number = self.sent.next(len);
            self.message[..NUMBER_LEN].copy_from_slice(&number);
            self.client.send(self.to_server, mode, &self.message);
        }
    }

    /// What the client, then what the server has sent.
    fn carried(&mut self) -> [Carried; 2] {
        [self.client.world().sent(), self.server.world().sent()]
    }
}

impl<H: Host> Workload for Pair<H> {
    #[inline]
    fn tick(&mut self) {
        self.receive();
        self.send();
        self.client.flush();
    }

    fn begin(&mut self) {
        let [forth, back] = self.carried();
        self.begun = (self.received, forth, back);
    }

    fn finish(&mut self) -> Work {
        let (received, forth_before, back_before) = self.begun;
        let counted = self.received.since(&received);
        let [forth, back] = self.carried();
        (0..SETTLE_TICKS).for_each(|_| self.receive());
        assert_eq!(self.received, self.sent, "not everything arrived");
        Work {
            units: counted.messages,
            bytes: counted.bytes,
            forth: forth.since(&forth_before),
            back: back.since(&back_before),
        }
    }
}
