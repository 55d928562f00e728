//! Two endpoints and messages in one direction; both ends are counted.

use bowline_core::{Address, ChannelId, Event, Instant, Mode, Outgoing, PeerId};

use crate::link::{Carried, Link};
use crate::protocol::Protocol;
use crate::tally::{NUMBER_LEN, Tally, is_intact, pattern};
use crate::{TICK, Work, Workload};

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// How.
    pub mode: Mode,
    /// Bytes of a message.
    pub len: usize,
    /// Messages each tick.
    pub per_tick: u32,
    /// Messages under way at most.
    pub under_way_max: u64,
    /// Each message is sent off by itself.
    pub alone: bool,
}

/// A client that sends and a server that receives.
#[derive(Debug)]
pub struct Pair<P> {
    client: P,
    server: P,
    to_server: PeerId,
    forth: Link,
    back: Link,
    now: Instant,
    traffic: Traffic,
    message: Vec<u8>,
    sent: Tally,
    received: Tally,
    begun: Option<(Tally, Carried, Carried)>,
}

impl<P: Protocol> Pair<P> {
    /// Two endpoints, of which the first connects to the second.
    pub fn new([mut client, server]: [P; 2], traffic: Traffic) -> Self {
        let now = Instant::from_micros(1_000);
        let address = Address::from_raw(b"the other").unwrap();
        let to_server = client.connect_to(now, address);
        let mut message = vec![0; NUMBER_LEN];
        message.extend(pattern(traffic.len));
        let mut pair = Self {
            client,
            server,
            to_server,
            forth: Link::new(1 << 20),
            back: Link::new(1 << 20),
            now,
            traffic,
            message,
            sent: Tally::default(),
            received: Tally::default(),
            begun: None,
        };
        (0..8).for_each(|_| pair.exchange());
        assert_eq!(pair.client.poll_event(), Some(Event::Connected(to_server)));
        pair
    }

    #[inline]
    fn exchange(&mut self) {
        self.now = self.now + TICK;
        self.forth.bring_to(self.now, &mut self.server);
        self.back.bring_to(self.now, &mut self.client);
        self.read();
        self.forth.take_from(self.now, &mut self.client);
        self.back.take_from(self.now, &mut self.server);
    }

    #[inline]
    fn read(&mut self) {
        while let Some(event) = self.server.poll_event() {
            let Event::Readable(peer) = event else { continue };
            while let Some(message) = self.server.recv(peer) {
                // Every byte is looked at only while nothing is counted.
                assert!(self.begun.is_some() || is_intact(&message), "damaged");
                self.received.take_incoming(&message);
            }
        }
    }

    #[inline]
    fn send(&mut self) {
        let Traffic { mode, len, per_tick, under_way_max, alone } = self.traffic;
        for _ in 0..per_tick {
            if self.sent.messages - self.received.messages >= under_way_max {
                return;
            }
            let number = self.sent.next(len);
            self.message[..NUMBER_LEN].copy_from_slice(&number);
            let pieces: &[&[u8]] = &[&self.message];
            let message = Outgoing::new(ChannelId(0), mode, pieces);
            self.client.send(self.now, self.to_server, message).expect("there is room");
            if alone {
                self.forth.take_from(self.now, &mut self.client);
            }
        }
    }
}

impl<P: Protocol> Workload for Pair<P> {
    #[inline]
    fn tick(&mut self) {
        self.now = self.now + TICK;
        self.forth.bring_to(self.now, &mut self.server);
        self.back.bring_to(self.now, &mut self.client);
        self.read();
        self.send();
        self.forth.take_from(self.now, &mut self.client);
        self.back.take_from(self.now, &mut self.server);
        self.client.poll_timeout();
        self.server.poll_timeout();
    }

    fn begin(&mut self) {
        self.begun = Some((self.received, self.forth.carried(), self.back.carried()));
    }

    fn finish(&mut self) -> Work {
        let (received, forth, back) = self.begun.expect("it has begun");
        let counted = self.received.since(&received);
        let (forth, back) = (self.forth.carried().since(&forth), self.back.carried().since(&back));
        (0..2_000).for_each(|_| self.exchange());
        assert_eq!(self.received, self.sent, "not everything arrived");
        assert_eq!((forth.refused, back.refused), (0, 0));
        Work { units: counted.messages, bytes: counted.bytes, forth, back }
    }
}
