//! ENet's hosts under operations and a network of the fuzzer's choosing.
//!
//! A world is *fair* when nobody in it lies: then [`Promises`] holds what arrives against what was sent. In the
//! others datagrams are also damaged and made up, and what must hold is what an application relies on whoever its
//! peers are: events that follow each other, calls that come to an end, and memory that comes back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bowline_core::{
    Address, ChannelId, Duration, Event, Instant, Machine, Messages, PeerId, Received,
};
use bowline_crypto::SipHash;
use bowline_enet::{
    Buffered, Checksum, Compression, Config, Fixed, Flags, Hardening, Heap, Host, InUse, Limits,
    RangeCoder, Release, Storage, Throttle, Timeout, Uncompressed,
};

use super::promises::{Promises, content};
use crate::feed::Feed;

/// Runs the operations that `data` stands for.
///
/// # Panics
///
/// If a host breaks a promise.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let (rules, memories) = (feed.u8(), feed.u8());
    let mut memories: [Box<dyn Storage>; HOSTS] =
        core::array::from_fn(|at| match memories >> at & 1 {
            0 => Box::<Small>::default() as Box<dyn Storage>,
            _ => Box::new(Heap::new(LIMITS)),
        });
    let mut world = World::new(rules, &mut feed, &mut memories);
    world.connect(0, 1, 4);
    world.pass(100);
    for _ in 0..OPS_MAX {
        if feed.is_empty() {
            break;
        }
        world.act(&mut feed);
    }
    world.finish();
}

const HOSTS: usize = 3;
const OPS_MAX: usize = 400;
/// Sessions in a fair world: with more, their two bits could not tell what is late from what is new.
const FAIR_SESSIONS: usize = 3;
/// Datagrams that the network keeps.
const CARRIED_MAX: usize = 64;
/// Datagrams that a host may have to send at one time: all its commands, and as many acknowledgements.
const BURST_MAX: usize = 2_000;
/// Seconds after which whoever could not send what was promised has been given up.
const PATIENCE: usize = 120;

type Small = Fixed<4, 16, 128, 512, 128>;
const LIMITS: Limits =
    Limits { peers: 4, channels: 32, commands: 256, bytes: 1 << 17, block_len: 64 };

/// What the application knows of a session of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Asked,
    Up,
    /// It has said that it goes, and may hear so.
    Leaving,
    Gone,
}

struct Node<'m> {
    host: Host<&'m mut dyn Storage, Box<dyn Compression>>,
    peers: BTreeMap<PeerId, Phase>,
    is_reading: bool,
}

struct Carried {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

struct World<'m> {
    nodes: Vec<Node<'m>>,
    now: Instant,
    carried: Vec<Carried>,
    /// None where somebody may lie.
    promises: Option<Promises>,
    has_checksum: bool,
    sessions: usize,
}

fn address(node: usize) -> Address {
    SocketAddr::from(([10, 0, 0, node as u8], 4_000)).into()
}

fn config(rules: u8, choice: u8) -> Config {
    Config {
        checksum: if rules & 1 == 0 { Checksum::None } else { Checksum::Crc32 },
        hardening: if rules & 4 == 0 { Hardening::ON } else { Hardening::OFF },
        release: if rules & 8 == 0 { Release::V1_3_18 } else { Release::V1_3_17 },
        mtu: [1_392, 576, 4_000, 1_000][usize::from(choice & 3)],
        incoming_bandwidth: [0, 0, 3_000, 100_000][usize::from(choice >> 2 & 3)],
        outgoing_bandwidth: [0, 0, 3_000, 100_000][usize::from(choice >> 4 & 3)],
        source_peers_max: if choice >> 6 == 3 { 1 } else { u16::MAX },
        waiting_max: if choice >> 6 == 2 { 2_000 } else { 1 << 20 },
        // Times and sequence numbers that soon begin anew.
        clock_offset: 0u32.wrapping_sub(1_000),
        ..Config::DEFAULT
    }
}

impl<'m> World<'m> {
    fn new(rules: u8, feed: &mut Feed<'_>, memories: &'m mut [Box<dyn Storage>; HOSTS]) -> Self {
        let node = |(at, memory): (usize, &'m mut Box<dyn Storage>)| {
            let compression: Box<dyn Compression> = match rules & 2 {
                0 => Box::new(Uncompressed),
                _ => Box::new(Buffered::new(RangeCoder::new())),
            };
            let memory: &'m mut dyn Storage = &mut **memory;
            let config = config(rules, feed.u8());
            let host = Host::compressed(config, &SipHash, &[at as u8; 32], memory, compression);
            Node {
                host: host.expect("a good configuration"),
                peers: BTreeMap::new(),
                is_reading: true,
            }
        };
        Self {
            nodes: memories.iter_mut().enumerate().map(node).collect(),
            now: Instant::from_micros(1_000_000),
            carried: Vec::new(),
            promises: (rules & 16 == 0).then(Promises::default),
            has_checksum: rules & 1 != 0,
            sessions: 0,
        }
    }

    fn act(&mut self, feed: &mut Feed<'_>) {
        let kind = feed.u8();
        let at = usize::from(kind >> 6) % HOSTS;
        match kind & 31 {
            0..=7 => self.send(at, feed),
            8 => self.connect(at, feed.below(HOSTS), feed.u8() % 9),
            9..=12 => self.leave(at, kind & 3, feed),
            13 => self.broadcast(at, feed),
            14 => self.set(at, feed),
            15 => self.nodes[at].is_reading ^= true,
            16..=19 => self.transmit(at),
            20..=25 => self.deliver(feed),
            26 => self.forge(at, feed),
            27 => self.now = self.now + Duration::from_millis(feed.u16().into()),
            28 => self.now = self.now + Duration::from_millis(feed.u8().into()),
            29 => self.collect(at),
            30 => self.wait(at),
            _ => self.pass(feed.u8().into()),
        }
    }

    fn peer(&self, at: usize, feed: &mut Feed<'_>) -> PeerId {
        let peers = &self.nodes[at].peers;
        // The latest comes first.
        let peer = peers.keys().rev().nth(feed.below(4));
        peer.or(peers.keys().next_back()).copied().unwrap_or(PeerId::new(0, 0))
    }

    fn connect(&mut self, at: usize, to: usize, channels: u8) {
        if self.promises.is_some() && (self.sessions == FAIR_SESSIONS || at == to) {
            return;
        }
        let session = self.sessions as u32;
        let asked = self.nodes[at].host.connect(self.now, address(to), channels, session);
        let Ok(peer) = asked else { return };
        self.sessions += 1;
        // What is still under way is lost: it cannot always be told from what belongs to this session.
        self.carried.clear();
        let known = self.nodes[at].peers.insert(peer, Phase::Asked);
        assert_eq!(known, None, "a peer id is used again");
        if let Some(promises) = &mut self.promises {
            promises.on_connect((at, peer), to);
        }
    }

    fn leave(&mut self, at: usize, how: u8, feed: &mut Feed<'_>) {
        let (peer, now, data) = (self.peer(at, feed), self.now, 7);
        let Node { host, peers, .. } = &mut self.nodes[at];
        let (left, phase) = match how {
            0 => (host.disconnect(now, peer, data), Phase::Leaving),
            1 => (host.disconnect_later(now, peer, data), Phase::Leaving),
            2 => (host.disconnect_now(now, peer, data), Phase::Gone),
            _ => (host.reset(now, peer), Phase::Gone),
        };
        if left.is_ok() {
            peers.insert(peer, phase);
        }
    }

    fn flags_and_len(&self, feed: &mut Feed<'_>) -> (ChannelId, Flags, usize) {
        let (how, len) = (feed.u8(), feed.u8());
        let flags = Flags::from_bits(u32::from(how & 15));
        let len = match len {
            0..=199 => usize::from(len) + 4,
            200..=239 => usize::from(len - 200) * 50 + 500,
            _ => usize::from(len - 239) * 1_400,
        };
        (ChannelId(how >> 6), flags, len)
    }

    fn send(&mut self, at: usize, feed: &mut Feed<'_>) {
        let peer = self.peer(at, feed);
        let (channel, flags, len) = self.flags_and_len(feed);
        let number = self.promises.as_ref().map_or(0, Promises::next_number);
        let bytes = content(number, len);
        let (head, rest) = bytes.split_at(len / 2);
        let sent = self.nodes[at].host.send_packet(self.now, peer, channel, flags, &[head, rest]);
        if let (Ok(()), Some(promises)) = (sent, &mut self.promises) {
            promises.on_sent((at, Some(peer)), channel, flags, len);
        }
    }

    fn broadcast(&mut self, at: usize, feed: &mut Feed<'_>) {
        let (channel, flags, len) = self.flags_and_len(feed);
        let number = self.promises.as_ref().map_or(0, Promises::next_number);
        let count =
            self.nodes[at].host.broadcast(self.now, channel, flags, &[&content(number, len)]);
        let able = self.nodes[at].peers.values().filter(|phase| **phase != Phase::Gone).count();
        if let Some(promises) = &mut self.promises {
            // Those that have connected and were not told of yet count, too.
            assert!(count <= able + self.sessions, "sent to {count} of {able}");
            promises.on_sent((at, None), channel, flags, len);
        }
    }

    fn set(&mut self, at: usize, feed: &mut Feed<'_>) {
        let (peer, what, x) = (self.peer(at, feed), feed.u8(), u32::from(feed.u16()));
        let (host, now) = (&mut self.nodes[at].host, self.now);
        match what % 6 {
            0 => host.set_bandwidth(x, x.rotate_left(4)),
            1 => host.set_channel_limit((x % 9) as u8),
            2 => _ = host.set_ping_interval(peer, x),
            3 => {
                let timeout = Timeout { limit: x % 40, minimum: x % 9_000, maximum: x % 20_000 };
                let _ = host.set_timeout(peer, timeout);
            }
            4 => {
                let throttle =
                    Throttle { interval: x, acceleration: x & 31, deceleration: x >> 5 & 31 };
                let _ = host.configure_throttle(now, peer, throttle);
            }
            _ => _ = host.ping(now, peer),
        }
    }

    /// Puts all that a host has to send on the network.
    fn transmit(&mut self, at: usize) {
        let mut buf = [0; 4_200];
        for count in 0.. {
            assert!(count < BURST_MAX, "there is no end to what is sent");
            let sent = self.nodes[at].host.poll_transmit(self.now, &mut buf);
            let Some(sent) = sent.expect("a buffer that is long enough") else { return };
            let Some(to) = (0..HOSTS).find(|node| address(*node) == sent.to) else { continue };
            if self.carried.len() < CARRIED_MAX {
                self.carried.push(Carried { from: at, to, bytes: buf[..sent.len].to_vec() });
            }
        }
    }

    /// Any of the datagrams under way arrives, or not; it stays to arrive again, or not.
    fn deliver(&mut self, feed: &mut Feed<'_>) {
        let (which, fate) = (feed.below(CARRIED_MAX), feed.u8());
        if self.carried.is_empty() {
            return;
        }
        let which = which % self.carried.len();
        let stays = fate & 1 != 0;
        let Carried { from, to, mut bytes } = match stays {
            true => {
                let Carried { from, to, ref bytes } = self.carried[which];
                Carried { from, to, bytes: bytes.clone() }
            }
            false => self.carried.remove(which),
        };
        let may_spoil = self.promises.is_none() || self.has_checksum;
        match fate >> 1 & 7 {
            0 => return,
            1 if may_spoil => {
                let (at, by) = (feed.below(bytes.len()), feed.u8());
                bytes[at] ^= by;
            }
            2 if may_spoil => bytes.truncate(feed.below(bytes.len() + 1)),
            _ => {}
        }
        self.arrive(from, to, &mut bytes);
    }

    fn forge(&mut self, to: usize, feed: &mut Feed<'_>) {
        let (from, len) = (feed.below(HOSTS), feed.below(128));
        let mut bytes = feed.bytes(len).to_vec();
        if self.promises.is_none() {
            self.arrive(from, to, &mut bytes);
        }
    }

    fn arrive(&mut self, from: usize, to: usize, bytes: &mut [u8]) {
        let from = Received::from(address(from));
        let _ = self.nodes[to].host.handle_datagram(self.now, from, bytes);
    }

    /// What a host has to tell, and to read.
    fn collect(&mut self, at: usize) {
        while let Some(event) = self.nodes[at].host.poll_event() {
            let Node { host, peers, is_reading } = &mut self.nodes[at];
            match event {
                Event::Connected(peer) => {
                    let before = peers.insert(peer, Phase::Up);
                    assert!(
                        matches!(before, None | Some(Phase::Asked)),
                        "{event:?} after {before:?}"
                    );
                    if let (None, Some(promises)) = (before, &mut self.promises) {
                        let session = host.connect_data(peer).expect("a peer that is there");
                        promises.on_accepted((at, peer), session as usize);
                    }
                }
                Event::Disconnected(peer, _) => {
                    let before = peers.insert(peer, Phase::Gone);
                    assert!(
                        !matches!(before, None | Some(Phase::Gone)),
                        "{event:?} after {before:?}"
                    );
                    assert!(host.receive_packet(peer).is_none(), "a packet of one who is gone");
                }
                Event::Readable(peer) => {
                    let phase = peers.get(&peer);
                    assert!(
                        matches!(phase, Some(Phase::Up | Phase::Leaving)),
                        "{event:?}: {phase:?}"
                    );
                    if *is_reading {
                        self.read(at, peer);
                    }
                }
                Event::Writable(peer) => {
                    let phase = peers.get(&peer);
                    assert!(
                        matches!(phase, Some(Phase::Up | Phase::Leaving)),
                        "{event:?}: {phase:?}"
                    );
                }
                other => panic!("{other:?} is nothing that ENet has"),
            }
        }
    }

    fn read(&mut self, at: usize, peer: PeerId) {
        while let Some(packet) = self.nodes[at].host.receive_packet(peer) {
            let bytes: Vec<u8> = packet.chunks.flatten().copied().collect();
            if let Some(promises) = &mut self.promises {
                promises.on_received((at, peer), packet.channel, packet.flags, &bytes);
            }
        }
    }

    /// Moves the clock to when a host wants to be called, and calls it until it is content.
    fn wait(&mut self, at: usize) {
        if let Some(due) = self.nodes[at].host.poll_timeout() {
            self.now = self.now.max(due);
        }
        // What a pass leaves behind, as the DISCONNECT after the last packet, goes with the next.
        for _ in 0..3 {
            self.transmit(at);
        }
        let due = self.nodes[at].host.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "it wants to be called over and over");
    }

    /// Lets time pass on a network that loses nothing, and keeps order.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            for at in 0..HOSTS {
                self.transmit(at);
            }
            for Carried { from, to, mut bytes } in core::mem::take(&mut self.carried) {
                self.arrive(from, to, &mut bytes);
            }
            for at in 0..HOSTS {
                self.collect(at);
            }
            let due = self.nodes.iter_mut().filter_map(|node| node.host.poll_timeout()).min();
            // A datagram takes a millisecond.
            let next = self.now + Duration::from_millis(1);
            self.now = due.unwrap_or(end).clamp(next, end.max(next));
        }
    }

    /// Whether a session is there at both ends.
    fn is_up(nodes: &[Node<'_>], (node, peer): (usize, PeerId)) -> bool {
        nodes[node].peers.get(&peer) == Some(&Phase::Up)
    }

    fn finish(&mut self) {
        for at in 0..HOSTS {
            self.nodes[at].is_reading = true;
            for peer in self.nodes[at].peers.keys().copied().collect::<Vec<_>>() {
                if self.nodes[at].peers[&peer] == Phase::Up {
                    self.read(at, peer);
                }
            }
        }
        for _ in 0..PATIENCE {
            self.pass(1_000);
            let missing =
                |promises: &Promises| promises.missing(|end| Self::is_up(&self.nodes, end));
            if self.promises.as_ref().and_then(missing).is_none() {
                break;
            }
        }
        if let Some(promises) = &self.promises {
            let missing = promises.missing(|end| Self::is_up(&self.nodes, end));
            assert_eq!(missing, None, "was promised, and never came");
        }
        self.part();
    }

    /// Everybody goes, and nothing remains.
    fn part(&mut self) {
        for _ in 0..2 {
            for Node { host, peers, .. } in &mut self.nodes {
                for (peer, phase) in peers {
                    let _ = host.reset(self.now, *peer);
                    *phase = Phase::Gone;
                }
            }
            self.carried.clear();
            // Who was asked and never heard again is given up by now.
            self.pass(40_000);
        }
        for Node { host, .. } in &mut self.nodes {
            assert_eq!(host.in_use(), InUse::default(), "is kept for nobody");
            assert_eq!(host.poll_timeout(), None, "waits for nobody");
        }
    }
}
