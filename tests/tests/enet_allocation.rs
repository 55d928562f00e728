//! ENet: memory is asked for while a host grows to what it needs, and never again.

extern crate alloc;

use alloc::collections::VecDeque;

use bowline_core::{Address, ChannelId, Duration, Event, Instant, Machine, Messages, Received};
use bowline_crypto::SipHash;
use bowline_enet::{Config, Flags, Heap, Host, Limits};
use bowline_sim::Rng;
use bowline_tests::allocator::{Watchful, counts, watch};
use bowline_tests::enet::bytes;
use bowline_tests::enet_rogue::address;

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

const FLAGS: [Flags; 4] =
    [Flags::RELIABLE, Flags::NONE, Flags::UNSEQUENCED, Flags::UNRELIABLE_FRAGMENT];

#[test]
fn after_a_while_hosts_ask_for_nothing() {
    let mut hosts: Vec<Host<Heap>> = (0..2)
        .map(|node| {
            let heap = Heap::new(Limits::for_peers(4));
            // What is queued stays within what it was while the host grew.
            let config = Config { send_max: 50_000, ..Config::DEFAULT };
            Host::new(config, &SipHash, &[node; 32], heap).unwrap()
        })
        .collect();
    let mut rng = Rng::new(1);
    let mut wire: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
    let mut buf = vec![0; 5_000];
    let mut now = Instant::from_micros(1_000_000);
    let packet = bytes(1, 4_000);
    let mut peers = [None, None];
    let (mut got, mut connections, mut before) = (0_u32, 0_u32, None);
    for round in 0..60_000_u32 {
        now = now + Duration::from_millis(5);
        if round == 20_000 {
            before = Some(counts());
            got = 0;
        }
        if round % 2_000 == 0 {
            let host = &mut hosts[0];
            if let Some(peer) = peers[0].take() {
                watch(|| host.disconnect(now, peer, 1)).unwrap();
            }
            connections += 1;
            peers[0] = Some(watch(|| host.connect(now, address(1), 4, 0)).unwrap());
        }
        for node in 0..2 {
            let host = &mut hosts[node];
            if let Some(peer) = peers[node] {
                let len = [0, 50, 1_364, 4_000][rng.below(4) as usize];
                let flags = FLAGS[rng.below(4) as usize];
                let channel = ChannelId(rng.below(4) as u8);
                let _ = watch(|| host.send_packet(now, peer, channel, flags, &[&packet[..len]]));
            }
            while let Some(sent) = watch(|| host.poll_transmit(now, &mut buf)).unwrap() {
                if !rng.chance(50_000) {
                    wire.push_back((1 - node, buf[..sent.len].to_vec()));
                }
            }
        }
        while let Some((to, mut bytes)) = wire.pop_front() {
            let from: Address = address(1 - to as u16);
            let host = &mut hosts[to];
            let _ = watch(|| host.handle_datagram(now, Received::from(from), &mut bytes));
        }
        for node in 0..2 {
            let host = &mut hosts[node];
            while let Some(event) = watch(|| host.poll_event()) {
                match event {
                    Event::Connected(peer) => peers[node] = Some(peer),
                    Event::Readable(peer) => {
                        while watch(|| host.recv(peer).is_some()) {
                            got += 1;
                        }
                    }
                    Event::Disconnected(peer, _) if peers[node] == Some(peer) => peers[node] = None,
                    _ => {}
                }
            }
        }
    }
    let asked = counts().since(&before.unwrap());
    println!("{got} packets, {connections} connections, asked: {asked:?}");
    assert!(got > 20_000 && connections == 30, "{got} packets");
    assert_eq!((asked.requests(), asked.frees), (0, 0), "{asked:?}");
}
