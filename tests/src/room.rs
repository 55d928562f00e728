//! Clients that talk to each other through one server, and whoever else it has let in.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

use bowline_core::{
    ChannelId, DisconnectReason, Duration, Event, Instant, Machine, Messages, Mode, Outgoing,
    PeerId, SendError,
};
use bowline_crypto::SipHash;
use bowline_native::Endpoint;
use bowline_sim::{Link, Net, PERCENT, Rng};

use crate::attack::{Attack, Attacker};
use crate::memory::{Kind, Memory};
use crate::scenario::NodePlan;

/// What is done in a room.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What all luck follows from.
    pub seed: u64,
    /// The server.
    pub server: NodePlan,
    /// How many clients there are.
    pub clients: usize,
    /// What the others do, each of them one of these.
    pub attacks: &'a [Attack],
    /// Whether the server's application reads what the others say.
    pub heeds: bool,
    /// Whether one of the clients comes only when the others have been at it for a while.
    pub late: bool,
    /// Longest message in a mode that does not resend, in bytes.
    pub longest: usize,
    /// For how long.
    pub span: Duration,
}

/// How the clients fared.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How long each message took from client to client, shortest first; by mode.
    pub latencies: BTreeMap<Mode, Vec<Duration>>,
    /// How many messages the server passed on.
    pub passed: u64,
    /// How often there was no room for a message to or from a client.
    pub full: u64,
    /// Datagrams that the server sent to clients.
    pub datagrams: u64,
    /// How often others were let in.
    pub intruders: u32,
    /// How often others were shown out for what they did.
    pub shown_out: u64,
    /// Reliable messages that never arrived.
    pub missing: i64,
}

/// Between client and server.
const LINK: Link = Link::PERFECT
    .with_delay(Duration::from_millis(20))
    .with_jitter(Duration::from_millis(5))
    .with_loss(PERCENT);
/// Between the others and the server, so that nothing holds them up.
const SHORT: Link = Link::PERFECT.with_delay(Duration::from_millis(1));
/// Time between two turns of whoever acts.
const TURN: Duration = Duration::from_millis(2);
/// Time between two messages of a client in each mode.
const PACE: u64 = 16;
/// Packets that an attacker sends per turn.
const STRIKES: u32 = 5;

struct Client {
    endpoint: Endpoint<Memory>,
    server: Option<PeerId>,
    is_open: bool,
    /// Reliable messages.
    sent: i64,
    talks: usize,
}

struct Room {
    net: Net,
    server: Endpoint<Memory>,
    clients: Vec<Client>,
    attackers: Vec<Attacker>,
    /// Sessions of clients, by the number they go by, and what the server has still to pass on to them.
    known: BTreeMap<PeerId, usize>,
    strangers: Vec<PeerId>,
    waiting: Vec<VecDeque<(Mode, Vec<u8>)>>,
    /// Reliable messages passed on, less those that were for that.
    to_come: i64,
    report: Report,
}

/// Runs a room to its end.
///
/// # Panics
///
/// If an endpoint cannot be driven, or a client is not let in.
pub fn run(plan: &Plan<'_>) -> Report {
    let mut room = Room::new(plan);
    let early = plan.clients - usize::from(plan.late);
    room.call(0..early);
    (0..500).for_each(|_| {
        room.drive();
        room.hear(plan);
    });
    assert_eq!(room.known.len(), early, "all are seated");
    let turns = plan.span.as_micros() / TURN.as_micros();
    for turn in 0..turns {
        if turn == turns / 2 {
            room.call(early..plan.clients);
        }
        room.turn(turn, plan);
    }
    assert_eq!(room.known.len(), plan.clients, "all stayed");
    room.close(plan)
}

impl Room {
    fn new(plan: &Plan<'_>) -> Self {
        let nodes = 1 + plan.clients + plan.attacks.len();
        let mut net = Net::with_nodes(plan.seed, nodes, LINK);
        let mut rng = Rng::stream(plan.seed, 0x400);
        let mut endpoint = |plan: &NodePlan| {
            Endpoint::plain(plan.config, &SipHash, &rng.seed(), plan.kind.memory())
                .expect("memory that suits its configuration")
        };
        let server = endpoint(&plan.server);
        let client = NodePlan::new(Kind::Heap);
        let clients = (0..plan.clients)
            .map(|_| Client {
                endpoint: endpoint(&client),
                server: None,
                is_open: false,
                sent: 0,
                talks: 0,
            })
            .collect();
        let address = net.address(0);
        let attackers = plan.attacks.iter().enumerate().map(|(number, attack)| {
            net.link(0, 1 + plan.clients + number, SHORT);
            Attacker::new(*attack, address, number as u64)
        });
        Self {
            server,
            clients,
            attackers: attackers.collect(),
            net,
            known: BTreeMap::new(),
            strangers: Vec::new(),
            waiting: vec![VecDeque::new(); plan.clients],
            to_come: 0,
            report: Report::default(),
        }
    }

    /// Has some of the clients connect.
    fn call(&mut self, which: Range<usize>) {
        let (now, to) = (self.net.now(), self.net.address(0));
        for client in &mut self.clients[which] {
            client.server = client.endpoint.connect_plain(now, to, b"").ok();
        }
    }

    fn drive(&mut self) {
        let clients =
            self.clients.iter_mut().map(|client| &mut client.endpoint as &mut dyn Machine);
        let attackers = self.attackers.iter_mut().map(|attacker| attacker as &mut dyn Machine);
        let server = core::iter::once(&mut self.server as &mut dyn Machine);
        let mut machines: Vec<_> = server.chain(clients).chain(attackers).collect();
        self.net.run_for(&mut machines, TURN).expect("machines that can be driven");
    }

    fn turn(&mut self, turn: u64, plan: &Plan<'_>) {
        self.drive();
        let now = self.net.now();
        for attacker in &mut self.attackers {
            attacker.strike(STRIKES);
        }
        self.hear(plan);
        for (number, client) in self.clients.iter_mut().enumerate() {
            // Each in its own turn.
            if (turn + number as u64).is_multiple_of(PACE) && client.is_open {
                client.talk(now, plan, &mut self.report);
            }
        }
    }

    fn hear(&mut self, plan: &Plan<'_>) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Connected(peer) => {
                    let address = self.server.address(peer);
                    let mut nodes = 1..=plan.clients;
                    match nodes.position(|node| Some(self.net.address(node)) == address) {
                        Some(number) => drop(self.known.insert(peer, number)),
                        None => self.strangers.push(peer),
                    }
                }
                Event::Disconnected(peer, reason) => {
                    self.strangers.retain(|here| *here != peer);
                    self.known.remove(&peer);
                    let shown = reason == DisconnectReason::PeerMisbehaved;
                    self.report.shown_out += u64::from(shown);
                }
                _ => {}
            }
        }
        let now = self.net.now();
        self.serve(now, plan.heeds);
        self.clients.iter_mut().for_each(|client| client.hear(now, &mut self.report));
    }

    /// Passes every message on to all but who sent it.
    fn serve(&mut self, now: Instant, heeds: bool) {
        for (&from, &number) in &self.known {
            while let Some(message) = self.server.recv(from) {
                let (mode, bytes) = (message.mode(), message.to_vec());
                self.to_come -= i64::from(mode == Mode::Reliable);
                for &to in self.known.values().filter(|to| **to != number) {
                    self.waiting[to].push_back((mode, bytes.clone()));
                    self.report.passed += 1;
                    self.to_come += i64::from(mode == Mode::Reliable);
                }
                for to in &self.strangers {
                    let _ = self.server.send(now, *to, outgoing(mode, &[&bytes]));
                }
            }
        }
        for peer in self.strangers.iter().filter(|_| heeds) {
            while self.server.recv(*peer).is_some() {}
        }
        for (&peer, &number) in &self.known {
            while let Some((mode, bytes)) = self.waiting[number].front() {
                match self.server.send(now, peer, outgoing(*mode, &[bytes])) {
                    Err(SendError::Full) => {
                        self.report.full += 1;
                        break;
                    }
                    _ => self.waiting[number].pop_front(),
                };
            }
        }
    }

    /// The attack is over; what is on its way arrives.
    fn close(mut self, plan: &Plan<'_>) -> Report {
        for &peer in self.known.keys() {
            let sent = self.server.peer_statistics(peer).map_or(0, |peer| peer.datagrams_sent);
            self.report.datagrams += u64::from(sent);
        }
        self.report.intruders = self.attackers.iter().map(|attacker| attacker.sessions).sum();
        (0..1_000).for_each(|_| {
            self.drive();
            self.hear(plan);
        });
        let sent: i64 = self.clients.iter().map(|client| client.sent).sum();
        let arrived = self.report.latencies.get(&Mode::Reliable).map_or(0, Vec::len);
        self.report.missing = sent + self.to_come - arrived as i64;
        self.report.latencies.values_mut().for_each(|all| all.sort_unstable());
        self.report
    }
}

impl Client {
    fn hear(&mut self, now: Instant, report: &mut Report) {
        while let Some(event) = self.endpoint.poll_event() {
            self.is_open |= matches!(event, Event::Connected(_));
        }
        let Some(server) = self.server else { return };
        while let Some(message) = self.endpoint.recv(server) {
            let mut bytes = [0; 4_000];
            let time = message.copy_to(&mut bytes).and_then(|bytes| bytes.first_chunk());
            let sent = Instant::from_micros(u64::from_le_bytes(*time.expect("a time")));
            report.latencies.entry(message.mode()).or_default().push(now - sent);
        }
    }

    /// A message in each mode that carries the time.
    fn talk(&mut self, now: Instant, plan: &Plan<'_>, report: &mut Report) {
        let Some(server) = self.server else { return };
        self.talks += 1;
        let mut bytes = [0; 4_000];
        bytes[..8].copy_from_slice(&now.as_micros().to_le_bytes());
        for mode in Mode::GODOT {
            let is_long = self.talks.is_multiple_of(8) && !mode.is_reliable();
            let len = if is_long { plan.longest } else { 40 };
            match self.endpoint.send(now, server, outgoing(mode, &[&bytes[..len]])) {
                Ok(()) => self.sent += i64::from(mode == Mode::Reliable),
                Err(_) => report.full += 1,
            }
        }
    }
}

const fn outgoing<'a>(mode: Mode, pieces: &'a [&'a [u8]]) -> Outgoing<'a> {
    Outgoing::new(ChannelId(0), mode, pieces)
}

impl Report {
    /// The latency that all but so many in a thousand messages of a mode had at most.
    pub fn quantile(&self, mode: Mode, per_mille: usize) -> Duration {
        let all = self.latencies.get(&mode).map_or(&[][..], Vec::as_slice);
        let at = (all.len() * per_mille / 1_000).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or(Duration::ZERO)
    }

    /// How many messages arrived.
    pub fn arrived(&self) -> u64 {
        self.latencies.values().map(|all| all.len() as u64).sum()
    }
}
