//! What an application pays that uses one plain endpoint: connects, sends, receives, closes.
//!
//! Weighed by `cargo xtask sizes`, linked by `cargo xtask baremetal`. Datagrams come from and go to a buffer
//! that nobody knows.
#![no_std]
#![no_main]

#[path = "../input.rs"]
#[allow(dead_code)]
mod input;
#[path = "../outside.rs"]
mod outside;

use bowline_core::{
    Address, ChannelId, CloseReason, Event, Instant, Machine, Messages, Mode, Outgoing, Received,
};
use bowline_crypto::SipHash;
use bowline_native::{Config, Endpoint, Fixed};
use input::{Input, keep};
use outside::lent;

type MemoryFor1 = Fixed<1, 1, 16, 20>;
type MemoryFor4 = Fixed<4, 1, 64, 80>;

#[cfg(not(feature = "four-peers"))]
lent! {
    MEMORY_FOR_1_PEER: MemoryFor1 = Fixed::new();
}
#[cfg(feature = "four-peers")]
lent! {
    MEMORY_FOR_4_PEERS: MemoryFor4 = Fixed::new();
}

/// What `Fixed` tells of its bytes holds on this machine, too.
const _: () = {
    let one = MemoryFor1::PEER_BYTES + 16 * 40 + 20 * 128 + MemoryFor1::SHARED_BYTES;
    assert!(one <= MemoryFor1::BYTES && MemoryFor1::BYTES <= one + 8);
    let four = 4 * MemoryFor4::PEER_BYTES + 64 * 40 + 80 * 128 + MemoryFor4::SHARED_BYTES;
    assert!(four <= MemoryFor4::BYTES && MemoryFor4::BYTES <= four + 8);
    assert!(MemoryFor1::BYTES == size_of::<MemoryFor1>());
};

#[cfg(not(feature = "four-peers"))]
use MEMORY_FOR_1_PEER as MEMORY;
#[cfg(feature = "four-peers")]
use MEMORY_FOR_4_PEERS as MEMORY;

fn run() {
    let mut input = Input;
    let Some(memory) = MEMORY.lend() else { return };
    let config = Config::small(0x626f_776c);
    let Ok(mut endpoint) = Endpoint::plain(config, &SipHash, &input.bytes(), memory) else {
        return;
    };
    let server = Address::from_raw(&input.bytes::<6>()).unwrap_or(Address::NONE);
    let mut buf = [0; 512];
    let mut now = Instant::from_micros(input.long());
    if endpoint.connect_plain(now, server, &[]).is_err() {
        return;
    }
    while input.word() & 1 == 1 {
        now = Instant::from_micros(input.long());
        if let Some(datagram) = buf.get_mut(..input.index()) {
            keep(endpoint.handle_datagram(now, Received::from(server), datagram).is_ok());
        }
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Connected(peer) => {
                    for mode in Mode::GODOT {
                        let text = input.bytes::<16>();
                        let pieces: [&[u8]; 1] = [&text];
                        let message = Outgoing::new(ChannelId(0), mode, &pieces);
                        keep(endpoint.send(now, peer, message).is_ok());
                    }
                }
                Event::Readable(peer) => {
                    while let Some(message) = endpoint.recv(peer) {
                        message.chunks().for_each(keep);
                    }
                    endpoint.close(now, peer, CloseReason(0));
                }
                other => keep(other),
            }
        }
        while let Ok(Some(transmit)) = endpoint.poll_transmit(now, &mut buf) {
            keep(buf.get(..transmit.len));
        }
        keep(endpoint.poll_timeout());
    }
}
