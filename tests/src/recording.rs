//! A recorded endpoint in a rough world: what the committed trace is made of.
//!
//! One endpoint on arrays, server and client at once, is recorded. Around it are others that connect, talk in
//! all modes, fall silent, close, come back; a network that loses, delays, repeats and damages; and somebody who
//! sends whatever he likes from whatever address he likes.

use alloc::rc::Rc;
use core::cell::RefCell;

use bowline_core::{
    Address, BufferTooShort, ChannelId, CloseReason, DropReason, Duration, Event, Instant, Machine,
    Messages, Mode, Outgoing, PeerId, Received, Tag, Transmit,
};
use bowline_crypto::SipHash;
use bowline_native::{Accept, Config, Endpoint, Heap, IncompleteLimits, Integrity, Limits};
use bowline_sim::{Departure, Link, Net, NodeId, PERCENT, Rng, Sighting, Tap};
use bowline_trace::{Recorder, Replay, Summary, Trace};

use crate::memory::APPLICATION;

include!("../traces/memory.rs");
include!("../traces/classes.rs");

/// The seed that the committed trace follows from.
pub const SEED: u64 = 3;
/// How many calls the committed trace holds, at least.
pub const CALLS: u64 = 110_000;
/// Longest datagram, in bytes.
const DATAGRAM_MAX: usize = 256;
/// How many endpoints there are besides the recorded one.
const OTHERS: usize = 7;

const LINK: Link = Link::PERFECT
    .with_delay(Duration::from_millis(12))
    .with_jitter(Duration::from_millis(15))
    .with_loss(6 * PERCENT)
    .with_duplicate(3 * PERCENT, Duration::from_millis(60))
    .with_reorder(5 * PERCENT, Duration::from_millis(40))
    .with_corrupt(PERCENT);

/// The configuration of the recorded endpoint.
pub const fn config() -> Config {
    Config {
        accept: Accept::Ask,
        integrity: Integrity::None,
        datagram_max: DATAGRAM_MAX as u16,
        channels: 2,
        classes: &CLASSES,
        idle_timeout: Duration::from_millis(1_500),
        connect_timeout: Duration::from_millis(1_200),
        credit: 256,
        credit_max: 1_024,
        loose_credit: 256,
        reliable_max: 1_024,
        ordered_max: 512,
        unreliable_max: 512,
        send_max: 2_048,
        send_reserve: 256,
        tickets_max: 12,
        inbox_max: 1_024,
        incomplete: IncompleteLimits { messages: 1, bytes: 512, age: Duration::from_millis(300) },
        in_flight_max: 3_000,
        connection_ids: true,
        initial: Some(u32::MAX - 200),
        ..Config::small(APPLICATION)
    }
}

/// What the recorded endpoint and the others have in common.
trait Voice: Messages {
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]);
    fn answer(&mut self, now: Instant, peer: PeerId, yes: bool);
    fn finish(&mut self, now: Instant, peer: PeerId);
    fn take_answer(&mut self);
}

impl Voice for Endpoint<Heap> {
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]) {
        let _ = self.connect_plain(now, to, payload);
    }

    fn answer(&mut self, now: Instant, peer: PeerId, yes: bool) {
        let _ = if yes { self.accept(now, peer) } else { self.refuse(now, peer, CloseReason(3)) };
    }

    fn finish(&mut self, now: Instant, peer: PeerId) {
        let _ = self.finish(now, peer, CloseReason(1));
    }

    fn take_answer(&mut self) {
        let _ = self.take_answer();
    }
}

type Recorded<'m> = Recorder<&'m mut Memory, Vec<u8>>;

impl Voice for Recorded<'_> {
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]) {
        let _ = self.connect_plain(now, to, payload);
    }

    fn answer(&mut self, now: Instant, peer: PeerId, yes: bool) {
        self.connect_payload(peer, &mut [0; 32]);
        let _ = if yes { self.accept(now, peer) } else { self.refuse(now, peer, CloseReason(3)) };
    }

    fn finish(&mut self, now: Instant, peer: PeerId) {
        let _ = self.finish(now, peer, CloseReason(1));
    }

    fn take_answer(&mut self) {
        let _ = self.take_answer();
    }
}

/// What an application knows.
#[derive(Debug)]
struct Player {
    rng: Rng,
    peers: Vec<PeerId>,
    unread: Vec<PeerId>,
    silent_until: Instant,
}

/// Datagrams on their way to the recorded endpoint, for who wants to send them again.
type Seen = Rc<RefCell<Vec<(Address, Vec<u8>)>>>;

struct Spy(Seen, Address);

impl Tap for Spy {
    fn departure(&mut self, _: NodeId, seen: &Sighting<'_>, _: Departure) {
        let mut kept = self.0.borrow_mut();
        if seen.to == self.1 {
            kept.push((seen.from, seen.bytes.to_vec()));
        }
    }
}

/// Gives the recorded endpoint a short buffer, and now and then one that is too short.
struct Narrow<'r, 'm>(&'r mut Recorded<'m>, &'r mut Rng);

impl Machine for Narrow<'_, '_> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.0.handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        if self.1.chance(PERCENT) {
            let _ = self.0.poll_transmit(now, &mut buf[..30]);
        }
        self.0.poll_transmit(now, &mut buf[..DATAGRAM_MAX])
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

struct World<'m> {
    net: Net,
    recorded: Recorded<'m>,
    others: Vec<Endpoint<Heap>>,
    players: Vec<Player>,
    rng: Rng,
    seen: Seen,
}

/// Records at least `calls` calls, and ends the trace.
///
/// # Panics
///
/// If an endpoint cannot be made or driven.
pub fn record(seed: u64, calls: u64) -> Vec<u8> {
    let mut memory = Memory::new();
    let mut world = World::new(seed, &mut memory);
    while world.recorded.records() < calls {
        world.turn();
    }
    world.recorded.stop();
    world.recorded.sink().clone()
}

/// Replays a trace that was recorded so.
///
/// # Panics
///
/// If it cannot be replayed, with the reason.
pub fn replayed(trace: &[u8]) -> Summary {
    let mut memory = Memory::new();
    let trace = Trace::open(trace).expect("a trace");
    let mut replay = Replay::new(trace, &SipHash, &mut memory, &CLASSES).expect("an endpoint");
    let result = replay.run(&mut Vec::new());
    result.unwrap_or_else(|error| panic!("{error}: {:?}", replay.divergence()))
}

impl<'m> World<'m> {
    fn new(seed: u64, memory: &'m mut Memory) -> Self {
        let mut rng = Rng::stream(seed, 0x7ace);
        let mut net = Net::with_nodes(seed, 1 + OTHERS, LINK);
        let seen = Seen::default();
        net.add_tap(Box::new(Spy(Rc::clone(&seen), net.address(0))));
        let recorded = Recorder::plain(config(), &SipHash, &rng.seed(), memory, Vec::new());
        let others = (0..OTHERS).map(|node| {
            let integrity = [Integrity::None, Integrity::Crc32][node % 2];
            let config = Config { accept: Accept::Always, integrity, classes: &[], ..config() };
            let limits = Limits { channels: 2, ..Limits::for_peers(4) };
            Endpoint::plain(config, &SipHash, &rng.seed(), Heap::new(limits)).expect("memory")
        });
        let others = others.collect();
        let players = (0..=OTHERS).map(|node| Player {
            rng: Rng::stream(seed, node as u64),
            peers: Vec::new(),
            unread: Vec::new(),
            silent_until: Instant::ZERO,
        });
        let players = players.collect();
        Self { net, recorded: recorded.expect("memory"), others, players, rng, seen }
    }

    fn turn(&mut self) {
        let now = self.net.now();
        for node in 0..=OTHERS {
            let player = &mut self.players[node];
            if player.silent_until > now || !self.net.is_awake(node) {
                continue;
            }
            let to = match node {
                0 => self.net.address(1 + player.rng.below(OTHERS as u64) as usize),
                _ => self.net.address(0),
            };
            match node {
                0 => player.act(now, to, &mut self.recorded),
                _ => player.act(now, to, &mut self.others[node - 1]),
            }
        }
        if self.rng.chance(2 * PERCENT) {
            self.call_rarely(now);
        }
        self.attack(now);
        self.trouble(now);
        let deadline =
            now + Duration::from_micros(4_000) + self.rng.duration(Duration::from_millis(16));
        let mut narrow = Narrow(&mut self.recorded, &mut self.rng);
        let others = self.others.iter_mut().map(|other| other as &mut dyn Machine);
        let mut machines: Vec<_> =
            [&mut narrow as &mut dyn Machine].into_iter().chain(others).collect();
        self.net.step_until(&mut machines, deadline).expect("machines that can be driven");
    }

    /// What an application does now and then.
    fn call_rarely(&mut self, now: Instant) {
        let recorded = &mut self.recorded;
        let other = 1 + self.rng.below(OTHERS as u64) as usize;
        match self.rng.below(9) {
            0 => {
                let mut entropy = [0; 19];
                self.rng.fill(&mut entropy);
                recorded.add_entropy(&entropy);
            }
            1 => {
                recorded.set_info(if self.rng.chance(50 * PERCENT) {
                    Some(b"map 7")
                } else {
                    None
                });
                self.others[other - 1].set_info(Some(b"what there is to know"));
            }
            2 => {
                recorded.query(now, self.net.address(other));
                self.others[other - 1].query(now, self.net.address(0));
            }
            3 => recorded.end_queries(),
            4 => recorded.suspend(),
            5 | 6 => recorded.resume(now),
            7 => {
                let pieces = [&b"to all "[..], b"of you"];
                let message = Outgoing::new(ChannelId(1), Mode::Reliable, &pieces);
                let except = self.players[0].peers.first().copied();
                recorded.broadcast(now, message, except);
            }
            _ => {
                // Times that go backwards, and sessions that are not there.
                let before = now.saturating_before(Duration::from_millis(70));
                let nobody = PeerId::new(self.rng.below(9) as u32, 1);
                recorded.close(before, nobody, CloseReason(9));
                let message = Outgoing::new(ChannelId(0), Mode::Unreliable, &[b"?"]);
                let _ = recorded.send(before, nobody, message);
                let _ = recorded.cancel(nobody, Tag(1));
                let _ = recorded.poll_transmit(before, &mut [0; DATAGRAM_MAX]);
            }
        }
    }

    /// Whoever sends what he likes, from wherever he likes.
    fn attack(&mut self, now: Instant) {
        let mut seen = self.seen.borrow_mut();
        if !self.rng.chance(12 * PERCENT) {
            let oldest = seen.len().saturating_sub(40);
            seen.drain(..oldest);
            return;
        }
        let stranger = Address::from_raw(&self.rng.next_u64().to_be_bytes()[..2]);
        let stranger = stranger.expect("a short address");
        let anybody = self.net.address(1 + self.rng.below(OTHERS as u64) as usize);
        let count = seen.len();
        let (from, mut bytes) = match count {
            0 => (stranger, Vec::new()),
            _ => seen.swap_remove(self.rng.below(count as u64) as usize),
        };
        let from = match self.rng.below(4) {
            0 => stranger,
            1 => anybody,
            _ => from,
        };
        let at = self.rng.below(bytes.len().max(1) as u64) as usize;
        match self.rng.below(5) {
            0 => {}
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(&self.rng.next_u64().to_be_bytes()),
            3 => {
                bytes = vec![0; self.rng.below(50) as usize];
                self.rng.fill(&mut bytes);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.rng.below(8);
                }
            }
        }
        let at = now + self.rng.duration(Duration::from_millis(400));
        self.net.inject(at, from, self.net.address(0), &bytes);
    }

    /// What happens to networks, and to others.
    fn trouble(&mut self, now: Instant) {
        if !self.rng.chance(PERCENT / 2) {
            return;
        }
        let node = self.rng.below(1 + OTHERS as u64) as usize;
        let until = now + self.rng.duration(Duration::from_secs(3));
        match self.rng.below(4) {
            0 => self.net.stall(node, now, until),
            1 => self.players[node].silent_until = until,
            2 => {
                let outage = LINK.with_outage(now, until);
                self.net.link(0, 1 + node % OTHERS, outage);
            }
            _ => self.net.link(0, 1 + node % OTHERS, LINK.with_loss(40 * PERCENT)),
        }
    }
}

impl Player {
    fn act(&mut self, now: Instant, to: Address, voice: &mut dyn Voice) {
        while let Some(event) = voice.poll_event() {
            match event {
                Event::Asked(peer) => {
                    let yes = !self.rng.chance(15 * PERCENT);
                    voice.answer(now, peer, yes);
                }
                Event::Connected(peer) => self.peers.push(peer),
                Event::Readable(peer) => self.unread.push(peer),
                Event::Disconnected(peer, _) => {
                    self.peers.retain(|other| *other != peer);
                    self.unread.retain(|other| *other != peer);
                }
                Event::Answered => voice.take_answer(),
                _ => {}
            }
        }
        // Some messages are left for another time.
        if !self.rng.chance(20 * PERCENT) {
            for peer in core::mem::take(&mut self.unread) {
                while voice.recv(peer).is_some() {}
            }
        }
        if self.rng.chance(2 * PERCENT) {
            let mut payload = [0; 16];
            self.rng.fill(&mut payload);
            voice.connect(now, to, &payload[..self.rng.below(17) as usize]);
        }
        for at in 0..self.peers.len() {
            if let Some(peer) =
                self.peers.get(at).copied().filter(|_| self.rng.chance(20 * PERCENT))
            {
                self.say(now, peer, voice);
            }
        }
        if self.rng.chance(PERCENT / 3) && !self.peers.is_empty() {
            let peer = self.peers[self.rng.below(self.peers.len() as u64) as usize];
            if self.rng.chance(50 * PERCENT) {
                voice.finish(now, peer);
            } else {
                voice.close(now, peer, CloseReason(7));
            }
        }
    }

    fn say(&mut self, now: Instant, peer: PeerId, voice: &mut dyn Voice) {
        let modes = [
            Mode::Unreliable,
            Mode::UnreliableOrdered,
            Mode::Reliable,
            Mode::ReliableUnordered,
            Mode::ReliableLatest,
        ];
        let mode = modes[self.rng.below(5) as usize];
        let longest = if self.rng.chance(4 * PERCENT) { 600 } else { 24 };
        let mut bytes = vec![0; self.rng.below(longest) as usize];
        self.rng.fill(&mut bytes);
        let (head, tail) = bytes.split_at(bytes.len() / 3);
        let (whole, cut) = ([&bytes[..]], [head, tail]);
        let pieces = if self.rng.chance(70 * PERCENT) { &whole[..] } else { &cut[..] };
        let channel = ChannelId(self.rng.below(2) as u8);
        let mut message = Outgoing::new(channel, mode, pieces);
        if mode == Mode::ReliableLatest {
            message.key = Some(self.rng.below(3) as u32);
        }
        if self.rng.chance(25 * PERCENT) {
            message.tag = Some(Tag(self.rng.below(50) as u32));
        }
        if self.rng.chance(15 * PERCENT) {
            message.time_to_live = Some(self.rng.duration(Duration::from_millis(120)));
        }
        let _ = voice.send(now, peer, message);
        if let Some(tag) = message.tag.filter(|_| self.rng.chance(20 * PERCENT)) {
            let _ = voice.cancel(peer, tag);
        }
    }
}
