//! The lives of a server and its clients, by seed.
//!
//! Every host may be a [`Twin`]: then an episode ends as soon as the two differ in anything.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::explain::{command_kinds, explain};
use crate::forge::forge;
use crate::network::{InFlight, Network, Weather};
use crate::random::Random;
use crate::subject::{Event, HostConfig, Op, Subject};
use crate::twin::Twin;

/// What makes the hosts of an episode.
#[derive(Clone, Copy)]
pub struct Makers<'m> {
    /// Whose behaviour is right.
    pub reference: &'m dyn Fn(&HostConfig) -> Box<dyn Subject>,
    /// What must behave the same.
    pub subject: &'m dyn Fn(&HostConfig) -> Box<dyn Subject>,
    /// Names of numbers of [`crate::subject::PeerState`] that may differ.
    pub overlooked: &'static [&'static str],
}

/// Which of the hosts have a twin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Twinned {
    /// All of them.
    All,
    /// The clients; the server is the reference.
    Clients,
    /// The server; the clients are the reference.
    Server,
}

/// How many of what there was, to see that a run was worth its time.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Rounds of service of one host.
    pub steps: u64,
    /// Episodes begun.
    pub episodes: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Of them, compressed.
    pub compressed: u64,
    /// Datagrams that no host had sent.
    pub forged: u64,
    /// Commands sent, by kind, where they could be read.
    pub commands: BTreeMap<String, u64>,
    /// Steps of the reference after which some slot was in that state, by its number.
    pub states: [u64; 10],
    /// Steps with some peculiarity.
    pub peculiar: BTreeMap<&'static str, u64>,
    /// Connects, disconnects and packets received.
    pub events: [u64; 3],
    /// Operations, refused ones included.
    pub operations: u64,
}

impl core::fmt::Display for Census {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [connects, disconnects, receives] = self.events;
        writeln!(
            f,
            "{} steps in {} episodes: {} operations; {} datagrams, {} of them compressed, and {} forged",
            self.steps,
            self.episodes,
            self.operations,
            self.datagrams,
            self.compressed,
            self.forged
        )?;
        writeln!(f, "events: {connects} connects, {disconnects} disconnects, {receives} packets")?;
        let counts = |counts: Vec<String>| counts.join(", ");
        let commands =
            self.commands.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "commands: {}", counts(commands))?;
        let states =
            self.states.iter().enumerate().map(|(state, count)| format!("{state}: {count}"));
        writeln!(f, "steps with a slot in state {}", counts(states.collect()))?;
        let peculiar =
            self.peculiar.iter().map(|(what, count)| format!("{what} {count}")).collect();
        write!(f, "steps with {}", counts(peculiar))
    }
}

impl Census {
    fn look(&mut self, node: &Node) {
        self.steps += 1;
        for peer in 0..node.config.peers {
            let state = node.twin.peer_state(peer);
            self.states[state.state.min(9) as usize] += 1;
            for (what, is_so) in [
                ("throttle down", state.throttle < 32),
                ("throttle limited", state.throttle_limit < 32),
                ("throttle at 0", state.throttle == 0),
                ("data waiting", state.waiting > 0),
                ("window full", state.in_transit + state.mtu > state.window),
                ("window small", state.window < 65536),
                ("MTU small", state.mtu < 1392),
                ("loss", state.loss > 0),
                ("RTT below 10", state.rtt < 10),
                ("RTT above 1000", state.rtt > 1000),
            ] {
                *self.peculiar.entry(what).or_default() += u64::from(is_so);
            }
        }
    }
}

/// Where two hosts went different ways.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// What repeats the episode.
    pub seed: u64,
    /// Which step of it, from 0.
    pub step: u64,
    /// Which host, and how it was set up.
    pub host: String,
    /// The difference.
    pub what: String,
    /// What had been done to the host in that step.
    pub inputs: Vec<String>,
}

impl core::fmt::Display for Divergence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "seed {}, step {}: {}", self.seed, self.step, self.host)?;
        for input in &self.inputs {
            writeln!(f, "  {input}")?;
        }
        write!(f, "{}", self.what)
    }
}

/// Runs the episode of `seed` for at most `step_max` steps, and counts them.
///
/// # Errors
///
/// The first difference between two twins.
pub fn run(
    seed: u64,
    step_max: u64,
    makers: Makers<'_>,
    twinned: Twinned,
    census: &mut Census,
) -> Result<(), Box<Divergence>> {
    let mut episode = Episode::new(seed, makers, twinned);
    census.episodes += 1;
    while episode.step < step_max.min(episode.step_max) {
        episode.round(census)?;
    }
    Ok(())
}

/// A host and where it is.
struct Node {
    twin: Twin,
    config: HostConfig,
    address: SocketAddrV4,
    is_server: bool,
    /// The clocks of different machines do not agree.
    clock_offset: u32,
    last_service: u32,
    inputs: Vec<Input>,
}

/// What was done to a host, to be told only if it matters.
enum Input {
    Received(SocketAddrV4, Vec<u8>),
    Operated { now: u32, op: Op, returned: i32 },
    Served(u32),
}

impl Input {
    fn told(&self, config: &HostConfig) -> String {
        match self {
            Self::Received(from, bytes) => {
                format!("received from {from}\n{}", explain(bytes, config))
            }
            Self::Operated { now, op, returned } => {
                format!("at {now} {} returned {returned}", short(op))
            }
            Self::Served(now) => format!("served at {now}"),
        }
    }
}

impl Node {
    /// What the host's clock says at `now`.
    fn clock(&self, now: u64) -> u32 {
        self.clock_offset.wrapping_add(now as u32)
    }
}

/// What kind of life it is.
struct Manner {
    weather: Weather,
    /// How far apart steps usually are at most, in milliseconds.
    tick_max: u32,
    /// Whether everyone is served often.
    is_steady: bool,
    /// Operations per step, at most.
    op_max: usize,
    /// How often a datagram is forged, in thousandths of the steps.
    forged: u32,
    /// Packets per sending operation, at most.
    burst_max: usize,
    /// Whether everything is sent reliably, and nothing forged or spoilt.
    is_reliable: bool,
    /// Flags of all there is to send: tiny packets on one channel, until every number has wrapped.
    flood: Option<u32>,
}

struct Episode {
    seed: u64,
    random: Random,
    nodes: Vec<Node>,
    network: Network,
    manner: Manner,
    /// For how long no application will do anything.
    quiet_rounds: u32,
    now: u64,
    step: u64,
    step_max: u64,
}

const SERVER_PORT: u16 = 7777;

impl Episode {
    fn new(seed: u64, makers: Makers<'_>, twinned: Twinned) -> Self {
        let mut random = Random::new(seed);
        let manner = manner(&mut random);
        let checksum = random.chance(350);
        let range_coder = random.chance(350);
        let client_count = random.within(1, 3);
        let shared_ip = random.chance(500);
        let mut nodes = Vec::new();
        for index in 0..=client_count {
            let is_server = index == 0;
            let mut config = host_config(&mut random, is_server);
            (config.checksum, config.range_coder) = (checksum, range_coder);
            if manner.is_reliable {
                // Up to 1.3.18 what unreliable packets were dropped counts as waiting for ever.
                config.waiting_max = random.pick(&[2_000, 40_000]);
            }
            if manner.flood.is_some() {
                (config.incoming_bandwidth, config.outgoing_bandwidth) = (0, 0);
            }
            let has_twin = match twinned {
                Twinned::All => true,
                Twinned::Server => is_server,
                Twinned::Clients => !is_server,
            };
            let reference = (makers.reference)(&config);
            let twin = if has_twin {
                let subject = (makers.subject)(&config);
                Twin::new(reference, subject, config.clone(), makers.overlooked)
            } else {
                Twin::alone(reference, config.clone())
            };
            let ip = match (is_server, shared_ip) {
                (true, _) => Ipv4Addr::new(10, 0, 0, 1),
                (false, true) => Ipv4Addr::new(10, 0, 0, 2),
                (false, false) => Ipv4Addr::new(10, 0, 1, index as u8),
            };
            let address = SocketAddrV4::new(ip, SERVER_PORT + index as u16);
            let clock_offset = config.created;
            let (last_service, inputs) = (clock_offset, Vec::new());
            nodes.push(Node {
                twin,
                config,
                address,
                is_server,
                clock_offset,
                last_service,
                inputs,
            });
        }
        let step_max = u64::from(random.within(50, 1500));
        let network = Network::default();
        Self { seed, random, nodes, network, manner, quiet_rounds: 0, now: 0, step: 0, step_max }
    }

    /// Lets some time pass and serves every host once, or nearly every one.
    fn round(&mut self, census: &mut Census) -> Result<(), Box<Divergence>> {
        self.now += u64::from(self.pause());
        // At 0 the C library takes every peer for one whose bandwidth was shared out already.
        while self.nodes.iter().any(|node| node.clock(self.now) == 0) {
            self.now += 1;
        }
        if self.quiet_rounds > 0 {
            self.quiet_rounds -= 1;
        } else if self.random.chance(8) {
            self.quiet_rounds = self.random.within(20, 200);
        }
        for at in 0..self.nodes.len() {
            if !self.random.chance(80) {
                self.serve(at, census)?;
            }
        }
        Ok(())
    }

    /// How long until the next round, in milliseconds.
    fn pause(&mut self) -> u32 {
        match self.random.below(1000) {
            0..=3 if !self.manner.is_steady => self.random.within(2_000, 32_000),
            4..=30 if !self.manner.is_steady => self.random.within(300, 1_500),
            31..=300 => 0,
            301..=360 => self.until_timer().unwrap_or(1),
            _ => self.random.within(1, self.manner.tick_max),
        }
    }

    /// How long until exactly the moment when something in flight is due, or just before or after it.
    fn until_timer(&mut self) -> Option<u32> {
        let node = &self.nodes[self.random.below(self.nodes.len())];
        let state = node.twin.peer_state(self.random.below(node.config.peers));
        let left = state.next_timeout.wrapping_sub(node.clock(self.now));
        (left < 5_000).then(|| (left + self.random.within(0, 2)).saturating_sub(1))
    }

    fn serve(&mut self, at: usize, census: &mut Census) -> Result<(), Box<Divergence>> {
        let now = self.nodes[at].clock(self.now);
        self.nodes[at].inputs.clear();
        let op_max = if self.quiet_rounds > 0 { 0 } else { self.manner.op_max };
        // Applications act before they serve, at a time of their own.
        let last_service = self.nodes[at].last_service;
        let acting = if self.random.chance(500) { now } else { last_service };
        for _ in 0..self.random.below(op_max + 1) {
            self.operate(at, acting, census);
        }
        if self.random.chance(self.manner.forged) {
            self.forge(at, now);
            census.forged += 1;
        }
        let node = &mut self.nodes[at];
        while let Some(InFlight { from, bytes, .. }) = self.network.receive(self.now, node.address)
        {
            node.twin.push_datagram(from, &bytes);
            node.inputs.push(Input::Received(from, bytes));
        }
        node.inputs.push(Input::Served(now));
        for event in node.twin.service(now) {
            census.events[match event {
                Event::Connect { .. } => 0,
                Event::Disconnect { .. } => 1,
                Event::Receive { .. } => 2,
            }] += 1;
        }
        node.last_service = now;
        self.transmit(at, census);
        census.look(&self.nodes[at]);
        self.step += 1;
        let node = &self.nodes[at];
        node.twin.divergence().map_or(Ok(()), |what| {
            let role = if node.is_server { "server" } else { "client" };
            Err(Box::new(Divergence {
                seed: self.seed,
                step: self.step - 1,
                host: format!("{role} at {}, {:?}", node.address, node.config),
                what: what.into(),
                inputs: node.inputs.iter().map(|input| input.told(&node.config)).collect(),
            }))
        })
    }

    fn transmit(&mut self, at: usize, census: &mut Census) {
        let from = self.nodes[at].address;
        let checksum = self.nodes[at].config.checksum;
        for (to, bytes) in self.nodes[at].twin.take_sent() {
            census.datagrams += 1;
            census.compressed += u64::from(bytes.first().is_some_and(|first| first & 0x40 != 0));
            for kind in command_kinds(&bytes, &self.nodes[at].config) {
                *census.commands.entry(kind.to_string()).or_default() += 1;
            }
            let mut weather = self.manner.weather.clone();
            // A spoilt handshake can set bits of peer ids and sessions that do not exist. The C
            // library puts them into the headers of all it sends; nobody else needs to.
            if !checksum && self.is_handshake(to, &bytes) {
                weather.corruption = 0;
            }
            let mut sent = InFlight { from, to, bytes };
            if self.random.chance(weather.misdirection) {
                let other = self.nodes[self.random.below(self.nodes.len())].address;
                if self.random.chance(500) { sent.to = other } else { sent.from = other }
            }
            self.network.send(self.now, &mut self.random, &weather, sent);
        }
    }

    /// Whether `bytes` on their way to `to` may be a CONNECT or its answer.
    fn is_handshake(&self, to: SocketAddrV4, bytes: &[u8]) -> bool {
        let is_connect =
            bytes.first_chunk().is_some_and(|word| u16::from_be_bytes(*word) & 0xfff == 0xfff);
        is_connect
            || self.nodes.iter().filter(|node| node.address == to).any(|node| {
                (0..node.config.peers).any(|peer| node.twin.peer_state(peer).state == 1)
            })
    }

    fn forge(&mut self, at: usize, now: u32) {
        let to_anyone = self.random.chance(60);
        let slot = self.random.below(self.nodes[at].config.peers) as u16;
        let bytes = forge(&mut self.random, now, if to_anyone { 0xfff } else { slot });
        let from = self.nodes[self.random.below(self.nodes.len())].address;
        self.network.arrive(self.now, InFlight { from, to: self.nodes[at].address, bytes });
    }

    /// Does something that an application may do.
    fn operate(&mut self, at: usize, now: u32, census: &mut Census) {
        let random = &mut self.random;
        let server = self.nodes[0].address;
        let node = &mut self.nodes[at];
        let states: Vec<_> =
            (0..node.config.peers).map(|peer| node.twin.peer_state(peer).state).collect();
        let is_free = |state: &u32| *state == 0;
        let wants_connection = !node.is_server
            && states.iter().any(is_free)
            && random.chance(if states.iter().all(is_free) { 300 } else { 20 });
        let mut act = |op: Op| {
            census.operations += 1;
            let returned = node.twin.apply(now, &op);
            node.inputs.push(Input::Operated { now, op, returned });
        };
        if wants_connection {
            let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 9);
            return act(Op::Connect {
                to: if random.chance(30) { nobody } else { server },
                channels: random.pick(&[1, 2, 2, 3, 3, 5, 255, 0, 300]),
                data: random.bits() as u32,
                connect_id: (random.bits() as u32).to_ne_bytes(),
            });
        }
        let peer = random.below(states.len());
        let is_connected = states[peer] == 5;
        let data = random.within(0, 1000);
        let choice = match self.manner.flood {
            // Of a connection that somebody else asks for one does not know before it is there.
            None if states[peer] != 2 => random.below(1000),
            _ => 999,
        };
        match choice {
            0..=3 => act(Op::Disconnect { peer, data }),
            // While it waits to disconnect, the C library says goodbye twice.
            4..=6 if states[peer] != 6 => act(Op::DisconnectNow { peer, data }),
            7..=11 => act(Op::DisconnectLater { peer, data }),
            12 => act(Op::Reset { peer }),
            13..=20 => act(Op::Ping { peer }),
            // In a free slot these would be settings of whoever comes next.
            21..=24 if is_connected => {
                act(Op::PingInterval { peer, interval: random.pick(&[0, 50, 700, 3000]) });
            }
            25..=29 if is_connected => {
                let values = random.pick(&[[0, 0, 0], [2, 300, 0], [0, 1000, 4000], [4, 500, 900]]);
                act(Op::Timeout { peer, values });
            }
            30..=34 if is_connected => {
                let values = [random.within(1, 6000), random.within(0, 9), random.within(0, 9)];
                act(Op::ThrottleConfigure { peer, values });
            }
            35..=36 => {
                let limits = [0, 0, 1000, 90_000, 300_000];
                let (incoming, outgoing) = (random.pick(&limits), random.pick(&limits));
                act(Op::BandwidthLimit { incoming, outgoing });
            }
            37 => act(Op::ChannelLimit { channels: random.pick(&[0, 1, 2, 9, 300]) }),
            38..=60 => act(Op::Flush),
            61..=80 => {
                let (channel, flags, bytes) = packet(random, &self.manner, node.config.range_coder);
                act(Op::Broadcast { channel, flags, bytes });
            }
            _ => {
                let burst = 1 + random.below(self.manner.burst_max);
                let (channel, flags, bytes) = packet(random, &self.manner, node.config.range_coder);
                for _ in 0..burst {
                    act(Op::Send { peer, channel, flags, bytes: bytes.clone() });
                }
            }
        }
    }
}

/// An operation without the bytes it sends.
fn short(op: &Op) -> String {
    match op {
        Op::Send { peer, channel, flags, bytes } => {
            format!(
                "Send {{ peer: {peer}, channel: {channel}, flags: {flags}, {} bytes }}",
                bytes.len()
            )
        }
        Op::Broadcast { channel, flags, bytes } => {
            format!("Broadcast {{ channel: {channel}, flags: {flags}, {} bytes }}", bytes.len())
        }
        _ => format!("{op:?}"),
    }
}

/// Channel, flags and content of something to send.
fn packet(random: &mut Random, manner: &Manner, range_coder: bool) -> (u8, u32, Vec<u8>) {
    if let Some(flags) = manner.flood {
        return (0, flags, vec![random.bits() as u8; random.within(1, 4) as usize]);
    }
    let channel = random.pick(&[0, 0, 0, 1, 1, 1, 2, 4, 9, 255]);
    let flags = random.pick(&[0, 0, 1, 1, 1, 2, 2, 3, 8, 8, 9, 10]);
    let flags = if manner.is_reliable { 1 } else { flags };
    // With a compressor the C library reads behind the end of a packet without content.
    let least = u32::from(range_coder);
    let len = match random.below(40) {
        0 => random.within(3_000, 60_000),
        1..=3 => random.within(1_300, 1_450),
        4..=7 => random.within(400, 3_000),
        8 => least,
        _ => random.within(least, 100),
    };
    let (fill, stride) = (random.bits() as u32, random.within(0, 5));
    (channel, flags, (0..len).map(|x| fill.wrapping_add(x * stride) as u8).collect())
}

fn manner(random: &mut Random) -> Manner {
    let fair = Weather { delay: (0, random.within(0, 3)), ..Weather::default() };
    let usual = Weather {
        delay: (5, random.within(10, 80)),
        loss: random.within(0, 60),
        duplication: random.within(0, 30),
        corruption: random.pick(&[0, 5, 20]),
        straggling: random.pick(&[0, 0, 4]),
        misdirection: random.pick(&[0, 0, 3]),
    };
    let awful = Weather {
        delay: (0, random.within(100, 1200)),
        loss: random.within(100, 500),
        duplication: random.within(0, 200),
        corruption: random.within(0, 100),
        straggling: 10,
        misdirection: 10,
    };
    let forged = random.pick(&[0, 0, 50, 300]);
    let tick_max = random.pick(&[5, 20, 60, 60]);
    let is_steady = random.chance(500);
    let manner = |weather, op_max| Manner {
        weather,
        tick_max,
        is_steady,
        op_max,
        forged,
        burst_max: 4,
        is_reliable: false,
        flood: None,
    };
    match random.below(30) {
        0..=4 => manner(fair, 3),
        5..=18 => manner(usual, 4),
        19..=20 => {
            // What is missing makes the rest wait.
            let loss = random.within(20, 250);
            let weather = Weather { corruption: 0, loss, ..usual };
            Manner { is_reliable: true, forged: 0, ..manner(weather, 4) }
        }
        21..=28 => manner(awful, 3),
        _ => {
            let flood = Some(random.pick(&[0, 1, 2]));
            let manner = manner(fair, 2);
            Manner { tick_max: 5, is_steady: true, forged: 0, burst_max: 800, flood, ..manner }
        }
    }
}

fn host_config(random: &mut Random, is_server: bool) -> HostConfig {
    let limits = [0, 0, 0, 0, 1000, 90_000, 300_000];
    HostConfig {
        peers: random.pick(if is_server { &[1, 2, 3, 4] } else { &[1, 1, 2] }),
        channel_limit: random.pick(&[0, 0, 0, 1, 2, 5]),
        incoming_bandwidth: random.pick(&limits),
        outgoing_bandwidth: random.pick(&limits),
        duplicate_peers: random.pick(&[0, 0, 0, 0, 1, 2]),
        packet_max: random.pick(&[0, 0, 0, 0, 0, 0, 3_000, 20_000]),
        // With a checksum, 4096 would make datagrams that no host has room for.
        mtu: random.pick(&[0, 0, 0, 0, 576, 1000, 4000]),
        created: match random.below(4) {
            0 => 0u32.wrapping_sub(random.within(100, 40_000)),
            1 => random.within(1, 2_000),
            2 => 65_000,
            _ => random.bits() as u32,
        },
        ..HostConfig::default()
    }
}
