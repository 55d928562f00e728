//! ENet: whatever applications do and the network brings, nothing breaks and nothing is kept.

use bowline_core::{ChannelId, Duration, Event, Machine, PeerId};
use bowline_enet::{Checksum, Config, Flags, Throttle, Timeout};
use bowline_sim::Rng;
use bowline_tests::enet::Memory;
use bowline_tests::enet_rogue::{Solo, address};
use proptest::prelude::*;

/// Two hosts, and what can be done to them.
struct Pair {
    hosts: [Solo<Memory>; 2],
    peers: [Vec<PeerId>; 2],
    /// Datagrams that were sent, to be sent again or damaged.
    seen: Vec<(usize, Vec<u8>)>,
    rng: Rng,
}

impl Pair {
    fn new(config: Config, seed: u64) -> Self {
        let hosts = [Memory::fixed(), Memory::heap(8)].map(|memory| Solo::new(config, memory));
        Self { hosts, peers: [vec![], vec![]], seen: vec![], rng: Rng::new(seed) }
    }

    /// Carries what both have to send, but for a share that is lost, and lets the time pass.
    fn run(&mut self, millis: u64, loss: u32) {
        for _ in 0..millis.div_ceil(50).max(1) {
            for from in 0..2 {
                for (_, bytes) in self.hosts[from].pass(millis.min(50)) {
                    if self.seen.len() < 200 {
                        self.seen.push((1 - from, bytes.clone()));
                    }
                    if !self.rng.chance(loss) {
                        let _ = self.hosts[1 - from].feed(address(from as u16), &bytes);
                    }
                }
                let events = self.hosts[from].events();
                self.peers[from].extend(events.iter().filter_map(|event| match event {
                    Event::Connected(peer) => Some(*peer),
                    _ => None,
                }));
            }
        }
    }

    fn act(&mut self, (kind, x, y): (u8, u16, u16)) {
        let node = usize::from(x & 1);
        let count = self.peers[node].len().max(1);
        let peer = self.peers[node].get(usize::from(y) % count).copied();
        let peer = peer.unwrap_or(PeerId::new(u32::from(y), u32::from(x)));
        let (host, now) = (&mut self.hosts[node].host, self.hosts[node].now);
        match kind {
            0..=8 => {
                let flags = Flags::from_bits(u32::from(x >> 1));
                let packet = vec![kind; usize::from(y) % [10, 1_500, 9_000][usize::from(kind) % 3]];
                let channel = ChannelId((x >> 8) as u8 % 9);
                let _ = host.send_packet(now, peer, channel, flags, &[&packet]);
            }
            9 => {
                if let Ok(peer) = host.connect(now, address(1 - node as u16), (y % 9) as u8, 7) {
                    self.peers[node].push(peer);
                }
            }
            10 => _ = host.disconnect(now, peer, y.into()),
            11 => _ = host.disconnect_later(now, peer, y.into()),
            12 => _ = host.disconnect_now(now, peer, y.into()),
            13 => _ = host.reset(now, peer),
            14 => _ = host.ping(now, peer),
            15 => {
                let throttle = Throttle { interval: y.into(), acceleration: 9, deceleration: 9 };
                let _ = host.configure_throttle(now, peer, throttle);
                host.set_bandwidth(u32::from(x) * 100, u32::from(y) * 100);
            }
            16 => {
                let timeout = Timeout { limit: y.into(), minimum: x.into(), maximum: y.into() };
                let _ = host.set_timeout(peer, timeout);
                let _ = host.set_ping_interval(peer, y.into());
            }
            17 => drop(self.hosts[node].read(peer)),
            18 | 19 => self.inject(node, y),
            20 => self.run(u64::from(y), 0),
            _ => self.run(u64::from(y % 100), 200_000),
        }
    }

    /// A datagram that was sent before, as it was or damaged, or one of noise.
    fn inject(&mut self, node: usize, y: u16) {
        let mut bytes = vec![0; usize::from(y) % 100];
        self.rng.fill(&mut bytes);
        let mut to = node;
        if !y.is_multiple_of(4) && !self.seen.is_empty() {
            (to, bytes) = self.seen[usize::from(y) % self.seen.len()].clone();
            for _ in 0..self.rng.below(4) {
                let at = self.rng.below(bytes.len() as u64) as usize;
                bytes[at] = self.rng.next_u64() as u8;
            }
        }
        let _ = self.hosts[to].feed(address(1 - to as u16), &bytes);
    }

    fn end(&mut self) {
        for (solo, peers) in self.hosts.iter_mut().zip(&self.peers) {
            for peer in peers {
                let _ = solo.host.reset(solo.now, *peer);
            }
            // Those who never completed are given up, those who are over are told of.
            solo.pass(100_000);
            for event in solo.events() {
                if let Event::Connected(peer) = event {
                    let _ = solo.host.reset(solo.now, peer);
                }
            }
            solo.drain();
            assert_eq!(solo.host.poll_timeout(), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_all_memory_comes_back(
        ops in prop::collection::vec((0u8..24, any::<u16>(), any::<u16>()), 1..150),
        seed in any::<u64>(),
        has_checksum in any::<bool>(),
        mtu in prop::sample::select(vec![576, 1_392, 4_096]),
    ) {
        let checksum = if has_checksum { Checksum::Crc32 } else { Checksum::None };
        let config = Config { checksum, mtu, ..Config::DEFAULT };
        let mut fresh = Solo::new(Config { checksum: Checksum::None, ..config }, Memory::fixed());
        let vacancy = fresh.vacancy(100);
        let mut pair = Pair::new(config, seed);
        pair.act((9, 0, 4));
        pair.run(200, 0);
        for op in ops {
            pair.act(op);
        }
        pair.end();
        if !has_checksum {
            pair.hosts[0].now = pair.hosts[0].now + Duration::from_secs(10);
            pair.hosts[0].host.set_bandwidth(0, 0);
            prop_assert_eq!(pair.hosts[0].vacancy(100), vacancy);
        }
        for number in 0..8 {
            let now = pair.hosts[0].now;
            prop_assert!(pair.hosts[0].host.connect(now, address(number), 1, 0).is_ok());
        }
    }
}
