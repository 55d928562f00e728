//! What the workloads ask of an endpoint, whatever it speaks.

use bowline_core::{Address, Instant, Machine, Messages, PeerId};
use bowline_crypto::SipHash;
use bowline_enet::{self as enet, Hardening, Host};
use bowline_native::{Config, Endpoint, Heap, Limits};

/// An endpoint of either protocol.
pub trait Protocol: Machine + Messages {
    /// Asks for a session with whoever is at `to`.
    fn connect_to(&mut self, now: Instant, to: Address) -> PeerId;

    /// Where a peer is.
    fn address_of(&mut self, peer: PeerId) -> Option<Address>;
}

impl Protocol for Endpoint<Heap> {
    fn connect_to(&mut self, now: Instant, to: Address) -> PeerId {
        self.connect_plain(now, to, &[]).expect("there is room")
    }

    fn address_of(&mut self, peer: PeerId) -> Option<Address> {
        self.address(peer)
    }
}

impl Protocol for Host<enet::Heap> {
    fn connect_to(&mut self, now: Instant, to: Address) -> PeerId {
        self.connect(now, to, 2, 0).expect("there is room")
    }

    fn address_of(&mut self, peer: PeerId) -> Option<Address> {
        self.address(peer)
    }
}

/// Two endpoints that speak the native protocol.
pub fn native(config: Config, limits: Limits) -> [Endpoint<Heap>; 2] {
    [1, 2].map(|seed| {
        Endpoint::plain(config, &SipHash, &[seed; 32], Heap::new(limits)).expect("it is sane")
    })
}

/// Two hosts that speak ENet; hundreds may connect at once.
pub fn enet(peers: u16) -> [Host<enet::Heap>; 2] {
    let hardening = Hardening { connect_rate: None, ..Hardening::ON };
    let config = enet::Config { hardening, ..enet::Config::DEFAULT };
    let limits = enet::Limits::for_peers(peers);
    [1, 2].map(|seed| {
        Host::new(config, &SipHash, &[seed; 32], enet::Heap::new(limits)).expect("it is sane")
    })
}
