//! The same payloads over the same link by plain code: no loss, no order, no limits, no checks.

use bowline_core::Address;

use crate::link::{Carried, Link};
use crate::server::{LEN_IN, LEN_OUT};
use crate::tally::{NUMBER_LEN, Tally, pattern};
use crate::{Work, Workload};

/// Longest datagram, in bytes.
const DATAGRAM_MAX: usize = 1200;
/// Bytes that tell the length of a message.
const PREFIX_LEN: usize = 2;

/// Messages put side by side into datagrams.
#[derive(Debug)]
pub struct Floor {
    link: Link,
    per_tick: u32,
    alone: bool,
    message: Vec<u8>,
    sent: Tally,
    received: Tally,
    begun: (Tally, Carried),
}

impl Floor {
    /// `per_tick` messages of `len` bytes, as many as fit into a datagram or each `alone`.
    pub fn new(len: usize, per_tick: u32, alone: bool) -> Self {
        let mut message = vec![0; NUMBER_LEN];
        message.extend(pattern(len));
        let (sent, received, begun) = Default::default();
        Self { link: Link::new(1 << 20), per_tick, alone, message, sent, received, begun }
    }

    #[inline]
    fn receive(&mut self) {
        let received = &mut self.received;
        self.link.drain(|_, datagram| {
            read_messages(datagram, received);
        });
    }

    #[inline]
    fn send(&mut self) {
        let mut used = 0;
        for _ in 0..self.per_tick {
            let number = self.sent.next(self.message.len());
            self.message[..NUMBER_LEN].copy_from_slice(&number);
            if self.alone || used + PREFIX_LEN + self.message.len() > DATAGRAM_MAX {
                self.flush(&mut used);
            }
            used += write_message(&mut self.link.space()[used..], &self.message);
        }
        self.flush(&mut used);
    }

    #[inline]
    fn flush(&mut self, used: &mut usize) {
        if *used > 0 {
            self.link.carry(Address::NONE, core::mem::take(used));
        }
    }
}

#[inline]
fn write_message(space: &mut [u8], message: &[u8]) -> usize {
    let (prefix, rest) = space.split_first_chunk_mut().expect("the link has room");
    *prefix = (message.len() as u16).to_be_bytes();
    rest[..message.len()].copy_from_slice(message);
    PREFIX_LEN + message.len()
}

#[inline]
fn read_messages(datagram: &[u8], received: &mut Tally) {
    let mut rest = datagram;
    while let Some((prefix, more)) = rest.split_first_chunk() {
        let (message, more) = more.split_at(u16::from_be_bytes(*prefix).into());
        received.take(message);
        rest = more;
    }
}

impl Workload for Floor {
    #[inline]
    fn tick(&mut self) {
        self.receive();
        self.send();
    }

    fn begin(&mut self) {
        self.begun = (self.received, self.link.carried());
    }

    fn finish(&mut self) -> Work {
        let (received, carried) = self.begun;
        let counted = self.received.since(&received);
        self.receive();
        assert_eq!(self.received, self.sent);
        Work {
            units: counted.messages,
            bytes: counted.bytes,
            forth: self.link.carried().since(&carried),
            ..Work::default()
        }
    }
}

/// Long messages cut into datagrams and put together again, in order.
#[derive(Debug)]
pub struct BulkFloor {
    link: Link,
    per_tick: u32,
    message: Vec<u8>,
    arriving: Vec<u8>,
    sent: Tally,
    received: Tally,
    begun: (Tally, Carried),
}

impl BulkFloor {
    /// `per_tick` messages of `len` bytes.
    pub fn new(len: usize, per_tick: u32) -> Self {
        let mut message = vec![0; NUMBER_LEN];
        message.extend(pattern(len));
        let (sent, received, begun) = Default::default();
        let arriving = Vec::with_capacity(len);
        Self { link: Link::new(1 << 20), per_tick, message, arriving, sent, received, begun }
    }

    #[inline]
    fn receive(&mut self) {
        let Self { link, arriving, received, message, .. } = self;
        link.drain(|_, datagram| {
            arriving.extend_from_slice(datagram);
            if arriving.len() == message.len() {
                received.take(arriving);
                arriving.clear();
            }
        });
    }

    #[inline]
    fn send(&mut self) {
        for _ in 0..self.per_tick {
            let number = self.sent.next(self.message.len());
            self.message[..NUMBER_LEN].copy_from_slice(&number);
            for piece in self.message.chunks(DATAGRAM_MAX) {
                self.link.space()[..piece.len()].copy_from_slice(piece);
                self.link.carry(Address::NONE, piece.len());
            }
        }
    }
}

impl Workload for BulkFloor {
    #[inline]
    fn tick(&mut self) {
        self.receive();
        self.send();
    }

    fn begin(&mut self) {
        self.begun = (self.received, self.link.carried());
    }

    fn finish(&mut self) -> Work {
        let (received, carried) = self.begun;
        let counted = self.received.since(&received);
        self.receive();
        assert_eq!(self.received, self.sent);
        Work {
            units: counted.messages,
            bytes: counted.bytes,
            forth: self.link.carried().since(&carried),
            ..Work::default()
        }
    }
}

/// A server's part of [`crate::server`], without a protocol.
#[derive(Debug)]
pub struct ServerFloor {
    peers: u32,
    forth: Link,
    back: Link,
    message_in: Vec<u8>,
    message_out: Vec<u8>,
    sent: Tally,
    received: Tally,
    expected: Tally,
    begun: (Carried, Carried),
    ticks: u64,
}

impl ServerFloor {
    /// A server with so many peers.
    pub fn new(peers: u32) -> Self {
        let message = |len| [vec![0; NUMBER_LEN], pattern(len)].concat();
        let (sent, received, expected) = Default::default();
        Self {
            peers,
            forth: Link::new(peers as usize * 256 + 4096),
            back: Link::new(peers as usize * 256 + 4096),
            message_in: message(LEN_IN),
            message_out: message(LEN_OUT),
            sent,
            received,
            expected,
            begun: Default::default(),
            ticks: 0,
        }
    }
}

impl Workload for ServerFloor {
    fn prepare(&mut self) {
        self.back.drain(|_, _| {});
        for _ in 0..self.peers {
            let number = self.expected.next(self.message_in.len());
            self.message_in[..NUMBER_LEN].copy_from_slice(&number);
            let len = write_message(self.forth.space(), &self.message_in);
            self.forth.carry(Address::NONE, len);
        }
    }

    #[inline]
    fn tick(&mut self) {
        self.ticks += 1;
        let received = &mut self.received;
        self.forth.drain(|_, datagram| read_messages(datagram, received));
        for _ in 0..self.peers {
            let mut used = 0;
            for _ in 0..2 {
                let number = self.sent.next(self.message_out.len());
                self.message_out[..NUMBER_LEN].copy_from_slice(&number);
                used += write_message(&mut self.back.space()[used..], &self.message_out);
            }
            self.back.carry(Address::NONE, used);
        }
    }

    fn begin(&mut self) {
        self.ticks = 0;
        self.begun = (self.forth.carried(), self.back.carried());
    }

    fn finish(&mut self) -> Work {
        assert_eq!(self.received, self.expected);
        let (into, out) = self.begun;
        let units = self.ticks * u64::from(self.peers);
        Work {
            units,
            bytes: units * (LEN_IN + 2 * LEN_OUT) as u64,
            forth: self.back.carried().since(&out),
            back: self.forth.carried().since(&into),
        }
    }
}
