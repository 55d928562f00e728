//! rusty_enet.

use core::cell::Cell;
use core::convert::Infallible;
use core::time::Duration;
use std::rc::Rc;

use bowline_core::Mode;
use rusty_enet::{Event, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket};

use crate::host::{Host, Told};
use crate::queue::World;

/// An opaque address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address(u32);

impl rusty_enet::Address for Address {
    fn same_host(&self, other: &Self) -> bool {
        self == other
    }

    fn same(&self, other: &Self) -> bool {
        self == other
    }

    fn is_broadcast(&self) -> bool {
        false
    }
}

impl Socket for World {
    type Address = Address;
    type Error = Infallible;

    fn send(&mut self, address: Address, buffer: &[u8]) -> Result<usize, Infallible> {
        self.put(buffer);
        Ok(self.send_off(address.0))
    }

    fn receive(
        &mut self,
        buffer: &mut [u8; MTU_MAX],
    ) -> Result<Option<(Address, PacketReceived)>, Infallible> {
        Ok(self.inbound.take().map(|(address, datagram)| {
            buffer[..datagram.len()].copy_from_slice(datagram);
            (Address(address), PacketReceived::Complete(datagram.len()))
        }))
    }
}

/// A host of rusty_enet.
#[derive(Debug)]
pub struct Rusty {
    host: rusty_enet::Host<World>,
    now: Rc<Cell<u32>>,
}

impl Rusty {
    /// A host for so many peers, with room for `len` bytes on its link.
    pub fn new(peers: usize, len: usize) -> Self {
        let world = World::new(len);
        let now = Rc::new(Cell::new(world.now));
        let clock = Rc::clone(&now);
        let settings = HostSettings {
            peer_limit: peers,
            channel_limit: 2,
            time: Box::new(move || Duration::from_millis(clock.get().into())),
            seed: Some(1),
            ..HostSettings::default()
        };
        Self { host: rusty_enet::Host::new(world, settings).expect("it is sane"), now }
    }
}

impl Host for Rusty {
    fn world(&mut self) -> &mut World {
        self.host.socket_mut()
    }

    #[inline]
    fn set_now(&mut self, now: u32) {
        self.now.set(now);
    }

    fn connect(&mut self, to: u32) {
        self.host.connect(Address(to), 2, 0).expect("there is room");
    }

    #[inline]
    fn send(&mut self, peer: usize, mode: Mode, message: &[u8]) {
        let packet = match mode {
            Mode::Reliable => Packet::reliable(message),
            Mode::UnreliableOrdered => Packet::unreliable(message),
            _ => Packet::unreliable_unsequenced(message),
        };
        self.host.peer_mut(PeerID(peer)).send(0, &packet).expect("there is room");
    }

    #[inline]
    fn service(&mut self, mut told: impl FnMut(Told<'_>)) {
        loop {
            let Some(event) = self.host.service().expect("it cannot fail") else {
                // As C ENet: it stops after 256 datagrams.
                if self.host.socket().inbound.is_empty() {
                    return;
                }
                continue;
            };
            match event {
                Event::Connect { peer, .. } => told(Told::Connected(peer.id().0)),
                Event::Receive { packet, .. } => told(Told::Received(packet.data())),
                event @ Event::Disconnect { .. } => panic!("{event:?}"),
            }
        }
    }

    #[inline]
    fn flush(&mut self) {
        self.host.flush();
    }
}
