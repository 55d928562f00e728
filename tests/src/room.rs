//! Clients that talk to each other through one server, and whoever else it has let in.

use alloc::collections::{BTreeMap, VecDeque};

use bowline_core::{
    ChannelId, Duration, Event, Instant, Machine, Messages, Mode, Outgoing, PeerId, SendError,
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
    /// For how long.
    pub span: Duration,
}

/// How the clients fared.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How long each message took from client to client, shortest first; by mode.
    pub latencies: BTreeMap<Mode, Vec<Duration>>,
    /// How many messages clients sent, times those they were for.
    pub sent: u64,
    /// How often there was no room for a message to or from a client.
    pub full: u64,
    /// Datagrams that the server sent to clients.
    pub datagrams: u64,
    /// Clients that lost their session.
    pub ended: u64,
    /// How often others were let in.
    pub intruders: u32,
    /// How often others were shown out for what they did.
    pub shown_out: u64,
    /// Reliable messages that never arrived.
    pub missing: u64,
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
    sent: u64,
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
    report: Report,
}

/// Runs a room to its end.
///
/// # Panics
///
/// If an endpoint cannot be driven, or a client is not let in.
pub fn run(plan: &Plan<'_>) -> Report {
    let mut room = Room::new(plan);
    room.seat();
    let end = room.net.now() + plan.span;
    let mut turn = 0;
    while room.net.now() < end {
        room.turn(turn, plan.heeds);
        turn += 1;
    }
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
            .map(|_| Client { endpoint: endpoint(&client), server: None, sent: 0 })
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
            report: Report::default(),
        }
    }

    /// Has all clients connect before anybody else comes.
    fn seat(&mut self) {
        let (now, to) = (self.net.now(), self.net.address(0));
        for client in &mut self.clients {
            client.server = client.endpoint.connect_plain(now, to, b"").ok();
        }
        for _ in 0..500 {
            self.drive();
            self.hear_at_server();
        }
        // In the order in which they came; it makes no difference who is who.
        self.known = self.strangers.drain(..).zip(0..).collect();
        assert_eq!(self.known.len(), self.clients.len(), "all are seated");
    }

    fn drive(&mut self) {
        let clients =
            self.clients.iter_mut().map(|client| &mut client.endpoint as &mut dyn Machine);
        let attackers = self.attackers.iter_mut().map(|attacker| attacker as &mut dyn Machine);
        let server = core::iter::once(&mut self.server as &mut dyn Machine);
        let mut machines: Vec<_> = server.chain(clients).chain(attackers).collect();
        self.net.run_for(&mut machines, TURN).expect("machines that can be driven");
    }

    fn turn(&mut self, turn: u64, heeds: bool) {
        self.drive();
        let now = self.net.now();
        for attacker in &mut self.attackers {
            attacker.strike(STRIKES);
        }
        self.hear_at_server();
        self.serve(now, heeds);
        let others = self.clients.len() as u64 - 1;
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.hear(now, &mut self.report);
            // Each in its own turn.
            if (turn + number as u64).is_multiple_of(PACE) {
                client.talk(now, others, &mut self.report);
            }
        }
    }

    fn hear_at_server(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Connected(peer) => self.strangers.push(peer),
                Event::Disconnected(peer, reason) => {
                    self.strangers.retain(|here| *here != peer);
                    self.report.ended += u64::from(self.known.remove(&peer).is_some());
                    let shown = reason == bowline_core::DisconnectReason::PeerMisbehaved;
                    self.report.shown_out += u64::from(shown);
                }
                _ => {}
            }
        }
    }

    /// Passes every message on to all but who sent it.
    fn serve(&mut self, now: Instant, heeds: bool) {
        for (&from, &number) in &self.known {
            while let Some(message) = self.server.recv(from) {
                let (mode, bytes) = (message.mode(), message.to_vec());
                for (to, waiting) in self.waiting.iter_mut().enumerate() {
                    if to != number {
                        waiting.push_back((mode, bytes.clone()));
                    }
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
        for _ in 0..1_000 {
            self.drive();
            self.hear_at_server();
            self.serve(self.net.now(), plan.heeds);
            for client in &mut self.clients {
                client.hear(self.net.now(), &mut self.report);
            }
        }
        let others = self.clients.len() as u64 - 1;
        let sent: u64 = self.clients.iter().map(|client| client.sent * others).sum();
        let arrived = self.report.latencies.get(&Mode::Reliable).map_or(0, Vec::len);
        self.report.missing = sent - arrived as u64;
        self.report.latencies.values_mut().for_each(|all| all.sort_unstable());
        self.report
    }
}

impl Client {
    fn hear(&mut self, now: Instant, report: &mut Report) {
        while self.endpoint.poll_event().is_some() {}
        let Some(server) = self.server else { return };
        while let Some(message) = self.endpoint.recv(server) {
            let mut bytes = [0; 100];
            let time = message.copy_to(&mut bytes).and_then(|bytes| bytes.first_chunk());
            let sent = Instant::from_micros(u64::from_le_bytes(*time.expect("a time")));
            report.latencies.entry(message.mode()).or_default().push(now - sent);
        }
    }

    /// A message in each mode that carries the time.
    fn talk(&mut self, now: Instant, others: u64, report: &mut Report) {
        let Some(server) = self.server else { return };
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&now.as_micros().to_le_bytes());
        for mode in Mode::GODOT {
            report.sent += others;
            match self.endpoint.send(now, server, outgoing(mode, &[&bytes])) {
                Ok(()) => self.sent += u64::from(mode == Mode::Reliable),
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
