//! Endpoints, a network between them, and applications that act at random.
//!
//! A world has four ages: traffic, in which everything happens that the [`Scenario`] says; settling, in which
//! the network is kind and the applications read, until all that was promised has arrived; goodbye, in
//! which every session is finished; and silence, after which nothing may be in use.

mod fates;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use core::cell::RefCell;

use bowline_core::{
    Address, CancelError, ChannelId, CloseReason, DisconnectReason, Duration, Event, Instant,
    Machine, Messages, Mode, Outgoing, PeerId, SendError, Tag,
};
use bowline_crypto::SipHash;
use bowline_fuzz::ledger::{Ledger, Unaccountable};
use bowline_native::{ConnectError, Endpoint, InUse};
use bowline_sim::{Arrival, Departure, Fault, Link, Net, NodeId, PERCENT, Rng, Sighting, Tap};

use crate::memory::Memory;
use crate::mutant::Party;
use crate::oracle::{Direction, Oracle, Terms, Violation};
use crate::scenario::{Disaster, NodePlan, Scenario, Trouble};

/// The environment variable that has a world tell all that happens, to see what led to a failure.
pub const SHOW: &str = "BOWLINE_SHOW";

/// How long settling may go on without anything being delivered.
const SETTLE_MAX: Duration = Duration::from_secs(40);
/// How many events there can be without time passing.
const EVENTS_MAX: u32 = 10_000;
/// How long goodbyes may take.
const GOODBYE_MAX: Duration = Duration::from_secs(60);
/// How long the silence lasts before everything is counted.
const SILENCE: Duration = Duration::from_secs(5);

/// What a world found out.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A message was delivered that must not have been.
    Violation(Violation),
    /// An endpoint could not be driven.
    Fault(Fault),
    /// A session ended in a way it must not have.
    Ended {
        /// At whose side.
        node: usize,
        /// How.
        reason: DisconnectReason,
    },
    /// Something did not come to its end in time.
    Stuck {
        /// Which age of the world.
        age: &'static str,
        /// What is missing.
        missing: Vec<String>,
    },
    /// A session was finished in good order, and not all of what was sent reliably had arrived.
    Incomplete {
        /// From whom to whom.
        direction: Direction,
        /// How many messages are missing.
        missing: usize,
    },
    /// A message was refused for no good reason.
    Refused {
        /// By whom.
        node: usize,
        /// Why, it says.
        error: SendError,
        /// The message.
        message: String,
    },
    /// What a session's application was told of a message, or was not, is wrong.
    Fate {
        /// Whose application.
        node: usize,
        /// What is wrong.
        fault: Unaccountable,
    },
    /// It was told too late that a message has expired, or is not told at all.
    Overdue {
        /// Whose application.
        node: usize,
        /// Which message.
        tag: Tag,
        /// When its time was over.
        deadline: Instant,
    },
    /// A message was withdrawn that could not be, or was not and could have been.
    Cancel {
        /// Whose message.
        node: usize,
        /// Which one.
        tag: Tag,
        /// What the endpoint said to that.
        answer: Result<(), CancelError>,
    },
    /// Messages were closed by a session that waits for them before it ends.
    Hasty {
        /// Whose session.
        node: usize,
        /// Which one.
        peer: PeerId,
    },
    /// Memory was not given back.
    Leak {
        /// Whose.
        node: usize,
        /// What is in use when nothing should be.
        in_use: InUse,
    },
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::Fault(fault) => write!(f, "{fault}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What happened in a world that held.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Messages that an endpoint took.
    pub sent: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Sessions that began, counted at both sides.
    pub sessions: u64,
    /// Sessions that ended by time-out, counted at both sides.
    pub timed_out: u64,
    /// Messages whose outcome was told.
    pub outcomes: u64,
    /// How many of them were given up: expired, cancelled or superseded.
    pub given_up: u64,
    /// How often there was no room for a message.
    pub full: u64,
    /// Simulated time.
    pub span: Duration,
    /// What all datagrams and their times hash to, if the world was told to hash.
    pub hash: Option<u64>,
}

impl core::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.sessions += other.sessions;
        self.timed_out += other.timed_out;
        self.outcomes += other.outcomes;
        self.given_up += other.given_up;
        self.full += other.full;
        self.span += other.span;
    }
}

/// Endpoints and applications on a network.
pub struct World {
    /// The network.
    pub net: Net,
    /// What is known of all messages.
    pub oracle: Oracle,
    players: Vec<Player>,
    scenario: Scenario,
    age: Age,
    attempts: u64,
    /// Every message that asks for more than to arrive has a number.
    tags: u32,
    /// When the last of those comes back who were away.
    awake_at: Instant,
    begun: BTreeSet<Direction>,
    ends: BTreeMap<Direction, End>,
    tally: Tally,
    shows: bool,
    replays: Replays,
}

/// Datagrams that somebody is about to send again: when, from and to whom, and what.
type Replays = Rc<RefCell<Vec<(Instant, Address, Address, Vec<u8>)>>>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    Traffic,
    Settling,
    Goodbye,
}

struct Player {
    party: Box<dyn Party>,
    rng: Rng,
    sessions: Vec<Session>,
    ledger: Ledger,
    /// What could not be withdrawn, as though it had ended.
    doubts: Vec<(PeerId, Tag)>,
    next_act: Instant,
    paused_until: Instant,
    /// When its application last asked for events.
    asked_at: Instant,
}

/// One side of a session, as its application knows it.
#[derive(Debug)]
struct Session {
    peer: PeerId,
    other: usize,
    /// Which direction this side sends in; nothing until the session has begun.
    out: Option<Direction>,
    attempt: Option<u64>,
    /// What there was no room for.
    waiting: Option<Waiting>,
    unread: bool,
    finishing: bool,
    closing: bool,
    /// A message of it was closed.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    channel: ChannelId,
    mode: Mode,
    bytes: Vec<u8>,
    tag: Option<Tag>,
    life: Option<Duration>,
    key: Option<u32>,
    since: Instant,
}

/// How one side's session ended; its key is the direction in which that side sent.
#[derive(Clone, Copy, Debug)]
struct End {
    reason: DisconnectReason,
    /// It was finished, and not closed.
    finished: bool,
    /// There may have been something left to read.
    unread: bool,
}

impl World {
    /// The world of a scenario, at its beginning.
    pub fn new(scenario: &Scenario) -> Self {
        Self::with(scenario, |_, endpoint| Box::new(endpoint))
    }

    /// The same, with every endpoint put into something.
    pub fn with(
        scenario: &Scenario,
        wrap: impl Fn(usize, Endpoint<Memory>) -> Box<dyn Party>,
    ) -> Self {
        let mut net = Net::with_nodes(scenario.seed, scenario.nodes.len(), scenario.link);
        let start = net.now();
        let players = scenario.nodes.iter().enumerate().map(|(node, plan)| {
            let mut rng = Rng::stream(scenario.seed, 0x0a11 + node as u64);
            if let Some(tick) = plan.tick {
                net.poll_every(node, start + rng.duration(tick), tick);
            }
            let party = wrap(node, endpoint(plan, &mut rng));
            Player {
                party,
                rng,
                sessions: Vec::new(),
                ledger: Ledger::default(),
                doubts: Vec::new(),
                next_act: start,
                paused_until: Instant::ZERO,
                asked_at: start,
            }
        });
        let players = players.collect();
        let replays = Rc::new(RefCell::new(Vec::new()));
        if scenario.replay > 0 {
            let rng = Rng::stream(scenario.seed, 0x4e9);
            let chance = scenario.replay;
            net.add_tap(Box::new(Replay { rng, chance, to_come: Rc::clone(&replays) }));
        }
        let shows = std::env::var_os(SHOW).is_some();
        if shows {
            net.add_tap(Box::new(Show));
        }
        Self {
            players,
            net,
            shows,
            replays,
            oracle: Oracle::new(),
            scenario: scenario.clone(),
            age: Age::Traffic,
            attempts: 0,
            tags: 0,
            awake_at: start,
            begun: BTreeSet::new(),
            ends: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Lives through all ages.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn run(mut self) -> Result<Tally, Failure> {
        let start = self.net.now();
        self.traffic()?;
        self.settle()?;
        self.say_goodbye()?;
        self.listen_to_silence()?;
        self.tally.datagrams = self.net.total().sent;
        self.tally.delivered = self.oracle.delivered();
        self.tally.span = self.net.now() - start;
        self.tally.hash = self.net.trace().map(bowline_sim::TraceHash::value);
        Ok(self.tally)
    }

    fn traffic(&mut self) -> Result<(), Failure> {
        let start = self.net.now();
        for node in 1..self.players.len() {
            self.connect(node, 0);
        }
        let mut troubles = self.scenario.troubles.clone();
        troubles.sort_by_key(|trouble| trouble.from);
        let end = start + self.scenario.span;
        for trouble in troubles {
            self.run_until((start + trouble.from).min(end))?;
            self.suffer(trouble)?;
        }
        self.run_until(end)
    }

    fn suffer(&mut self, trouble: Trouble) -> Result<(), Failure> {
        let (link, now) = (self.scenario.link, self.net.now());
        let until = now + trouble.span;
        let changed = match trouble.what {
            Disaster::Outage => link.with_loss(1_000_000),
            Disaster::Clamp(len) => link.with_payload_max(len.min(link.payload_max)),
            Disaster::HeavyLoss => link.with_loss(50 * PERCENT),
            Disaster::Stall(node) => {
                self.net.stall(node, now, until);
                self.awake_at = self.awake_at.max(until);
                return Ok(());
            }
        };
        self.net.set_default_link(changed);
        self.run_until(until)?;
        self.net.set_default_link(link);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let kind = Link::PERFECT
            .with_delay(Duration::from_millis(10))
            .with_payload_max(self.scenario.link.payload_max);
        self.net.set_default_link(kind);
        self.age = Age::Settling;
        // What is on its way arrives, in whatever mode.
        self.run_until(self.net.now().max(self.awake_at) + Duration::from_secs(1))?;
        let mut progress = (self.net.now(), self.oracle.delivered());
        while self.net.now() < progress.0 + SETTLE_MAX {
            if self.unsettled().is_empty() {
                return Ok(());
            }
            self.run_until(self.net.now() + Duration::from_millis(200))?;
            if self.oracle.delivered() > progress.1 {
                progress = (self.net.now(), self.oracle.delivered());
            }
        }
        let mut missing = self.unsettled();
        for (node, player) in self.players.iter_mut().enumerate() {
            missing.push(format!("node {node}: {:?}", player.party.endpoint().in_use()));
            for session in &player.sessions {
                let path = player.party.endpoint().path(session.peer);
                missing.push(format!("node {node} {:?}: {path:?}", session.out));
            }
        }
        Err(Failure::Stuck { age: "settling", missing })
    }

    /// What has not arrived, or not found room, in sessions that both sides have.
    fn unsettled(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (node, player) in self.players.iter().enumerate() {
            for session in &player.sessions {
                let Some(out) = session.out else {
                    all.push(format!("node {node}: session {:?} has not begun", session.attempt));
                    continue;
                };
                let back = Direction { by_client: !out.by_client, ..out };
                if let Some(waiting) = &session.waiting {
                    all.push(format!(
                        "node {node}, session {}: {} bytes {} wait since {:?}",
                        out.session,
                        waiting.bytes.len(),
                        waiting.mode,
                        waiting.since
                    ));
                }
                let other_is_here = !self.ends.contains_key(&back);
                if session.closing || session.finishing || session.closed || !other_is_here {
                    all.push(format!("node {node}: session {} has not ended", out.session));
                }
                let untold = player.ledger.pending(session.peer).count();
                if untold > 0 {
                    all.push(format!(
                        "node {node}, session {}: {untold} messages without an end, {:?} first",
                        out.session,
                        player.ledger.pending(session.peer).next()
                    ));
                }
                let missing = self.oracle.reliable_missing(out) + self.vouched_missing(out);
                if missing > 0 {
                    all.push(format!(
                        "node {node}, session {}: {missing} reliable messages to node {}",
                        out.session, session.other
                    ));
                }
            }
        }
        all
    }

    fn say_goodbye(&mut self) -> Result<(), Failure> {
        self.age = Age::Goodbye;
        let now = self.net.now();
        for player in &mut self.players {
            for session in &mut player.sessions {
                // Some sessions are ended by one side, some by both at once.
                let ends = session.out.is_some_and(|out| {
                    let style = Rng::stream(self.scenario.seed, out.session).below(3);
                    style == 2 || (style == 1) == out.by_client
                });
                if ends {
                    let reason = CloseReason(session.peer.generation());
                    session.finishing =
                        player.party.endpoint().finish(now, session.peer, reason).is_ok();
                }
            }
        }
        let end = now + GOODBYE_MAX;
        while self.players.iter().any(|player| !player.sessions.is_empty()) {
            if self.net.now() >= end {
                let left = self.players.iter().enumerate().flat_map(|(node, player)| {
                    player.sessions.iter().map(move |session| format!("node {node}: {session:?}"))
                });
                return Err(Failure::Stuck { age: "goodbye", missing: left.collect() });
            }
            self.run_until(self.net.now() + Duration::from_millis(100))?;
        }
        self.check_complete()
    }

    /// Whoever finished a session and was told that it is closed has got everything across.
    fn check_complete(&self) -> Result<(), Failure> {
        for (&out, end) in &self.ends {
            let back = Direction { by_client: !out.by_client, ..out };
            let Some(other) = self.ends.get(&back) else { continue };
            let finished = end.finished && matches!(end.reason, DisconnectReason::Closed(_));
            let reader_stayed =
                !other.unread && !matches!(other.reason, DisconnectReason::Closed(_));
            let missing = self.oracle.reliable_missing(out);
            if finished && reader_stayed && missing > 0 {
                return Err(Failure::Incomplete { direction: out, missing });
            }
        }
        Ok(())
    }

    fn listen_to_silence(&mut self) -> Result<(), Failure> {
        let end = self.net.now() + GOODBYE_MAX;
        self.run_until(self.net.now() + SILENCE)?;
        // Who sends old requests again can begin sessions, which end by themselves.
        while self.scenario.replay > 0
            && self.net.now() < end
            && self.players.iter_mut().any(|player| player.party.endpoint().in_use().peers > 0)
        {
            self.run_until(self.net.now() + SILENCE)?;
        }
        for (node, player) in self.players.iter_mut().enumerate() {
            let in_use = player.party.endpoint().in_use();
            if in_use != InUse::default() {
                return Err(Failure::Leak { node, in_use });
            }
        }
        Ok(())
    }

    fn run_until(&mut self, end: Instant) -> Result<(), Failure> {
        loop {
            self.oracle.set_now(self.net.now());
            for node in 0..self.players.len() {
                self.act(node)?;
            }
            if self.net.now() >= end {
                return Ok(());
            }
            // Who sleeps now is woken by the network.
            let turns = self.players.iter().map(|player| player.next_act);
            let next = turns.filter(|at| *at > self.net.now()).min().map_or(end, |at| at.min(end));
            let mut machines: Vec<&mut dyn Machine> = self
                .players
                .iter_mut()
                .map(|player| &mut *player.party as &mut dyn Machine)
                .collect();
            self.net.step_until(&mut machines, next)?;
            for (at, from, to, bytes) in self.replays.take() {
                self.net.inject(at, from, to, &bytes);
            }
        }
    }

    /// The turn of one application, if it is its time.
    fn act(&mut self, node: usize) -> Result<(), Failure> {
        let now = self.net.now();
        if !self.net.is_awake(node) {
            return Ok(());
        }
        let in_traffic = self.age == Age::Traffic;
        let player = &mut self.players[node];
        let turn = now >= player.next_act;
        if turn {
            player.next_act =
                now + Duration::from_micros(1) + player.rng.duration(self.scenario.pace);
            if in_traffic && now >= player.paused_until && player.rng.chance(self.scenario.pause) {
                player.paused_until = now + player.rng.duration(Duration::from_secs(2));
            }
        }
        if in_traffic && now < player.paused_until {
            return Ok(());
        }
        self.read(node)?;
        self.poll_events(node)?;
        self.check_fates(node, turn)?;
        if turn && in_traffic {
            self.chatter(node)?;
        }
        Ok(())
    }

    /// Reads what has been left unread.
    fn read(&mut self, node: usize) -> Result<(), Failure> {
        for at in 0..self.players[node].sessions.len() {
            if self.players[node].sessions[at].unread {
                self.read_session(node, at)?;
            }
        }
        Ok(())
    }

    fn read_session(&mut self, node: usize, at: usize) -> Result<(), Failure> {
        let in_traffic = self.age == Age::Traffic;
        let player = &mut self.players[node];
        // Now and then an application takes a few messages only.
        let lazy = in_traffic && self.scenario.pause > 0 && player.rng.chance(10 * PERCENT);
        let most = if lazy { player.rng.below(4) } else { u64::MAX };
        let session = &mut player.sessions[at];
        let Some(out) = session.out else { return Ok(()) };
        let back = Direction { by_client: !out.by_client, ..out };
        let mut count = 0;
        session.unread = true;
        while count < most {
            let Some(message) = player.party.receive(session.peer) else {
                session.unread = false;
                break;
            };
            self.oracle.received(back, message.channel, message.mode, &message.bytes)?;
            count += 1;
        }
        Ok(())
    }

    fn poll_events(&mut self, node: usize) -> Result<(), Failure> {
        let mut count = 0;
        while let Some(event) = self.players[node].party.next_event() {
            count += 1;
            if count > EVENTS_MAX {
                let missing = vec![format!("node {node}: {event:?} again and again")];
                return Err(Failure::Stuck { age: "events", missing });
            }
            if self.shows {
                eprintln!("{:>10} node {node} {event:?}", self.net.now().as_micros());
            }
            match event {
                Event::Asked(peer) => self.on_asked(node, peer),
                Event::Connected(peer) => self.on_connected(node, peer),
                Event::Readable(peer) => {
                    if let Some(at) = self.find(node, peer) {
                        self.read_session(node, at)?;
                    }
                }
                Event::Writable(peer) => {
                    if let Some(at) = self.find(node, peer)
                        && let Some(waiting) = self.players[node].sessions[at].waiting.take()
                    {
                        self.send(node, at, waiting)?;
                    }
                }
                Event::Outcome(peer, tag, outcome) => self.on_outcome(node, peer, tag, outcome)?,
                Event::Disconnected(peer, reason) => self.on_disconnected(node, peer, reason)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn find(&self, node: usize, peer: PeerId) -> Option<usize> {
        self.players[node].sessions.iter().position(|session| session.peer == peer)
    }

    /// The application's record of a session that it may not have begun itself.
    fn session(&mut self, node: usize, peer: PeerId) -> usize {
        if let Some(at) = self.find(node, peer) {
            return at;
        }
        let address = self.players[node].party.endpoint().address(peer);
        let other = (0..self.players.len()).find(|&other| Some(self.net.address(other)) == address);
        self.players[node].sessions.push(Session {
            peer,
            other: other.expect("the address of a node"),
            out: None,
            attempt: None,
            waiting: None,
            unread: false,
            finishing: false,
            closing: false,
            closed: false,
        });
        self.players[node].sessions.len() - 1
    }

    fn connect(&mut self, node: usize, other: usize) {
        let now = self.net.now();
        let address = self.net.address(other);
        self.attempts += 1;
        let attempt = self.attempts;
        let endpoint = self.players[node].party.endpoint();
        match endpoint.connect_plain(now, address, &attempt.to_be_bytes()) {
            Ok(peer) => {
                let at = self.session(node, peer);
                self.players[node].sessions[at].attempt = Some(attempt);
            }
            Err(ConnectError::AlreadyConnected(_) | ConnectError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn on_asked(&mut self, node: usize, peer: PeerId) {
        self.session(node, peer);
        let now = self.net.now();
        let player = &mut self.players[node];
        // It may have given up before we looked; then `Disconnected` is the next we hear of it.
        let _ = if self.scenario.churn > 0 && player.rng.chance(25 * PERCENT) {
            player.party.endpoint().refuse(now, peer, CloseReason(3))
        } else {
            player.party.endpoint().accept(now, peer)
        };
    }

    fn on_connected(&mut self, node: usize, peer: PeerId) {
        let at = self.session(node, peer);
        let player = &mut self.players[node];
        let mut payload = [0; 8];
        let len = player.party.endpoint().connect_payload(peer, &mut payload);
        let session = &player.sessions[at];
        // Whose attempt it is that became the session: ours, or the one whose payload came.
        let number = if len == 8 { Some(u64::from_be_bytes(payload)) } else { session.attempt };
        let mut out =
            Direction { session: number.expect("one side has begun it"), by_client: len != 8 };
        if self.ends.contains_key(&out) {
            // A copy of a request came after the session was over.
            let back = Direction { by_client: !out.by_client, ..out };
            let mut others = self.players.iter().flat_map(|player| &player.sessions);
            if self.ends.contains_key(&back) || others.any(|other| other.out == Some(back)) {
                // The client has been told of the first one; of this one it will hear nothing.
                self.attempts += 1;
                out.session = self.attempts;
            } else {
                // Of the first one the client has heard nothing; it gets this one.
                self.ends.remove(&out);
                self.oracle.forget(out);
            }
        }
        self.begun.insert(out);
        self.players[node].sessions[at].out = Some(out);
        self.tally.sessions += 1;
    }

    fn on_disconnected(
        &mut self,
        node: usize,
        peer: PeerId,
        reason: DisconnectReason,
    ) -> Result<(), Failure> {
        let at = self.session(node, peer);
        let session = self.players[node].sessions.swap_remove(at);
        self.check_ends(node, &session, reason)?;
        let back = session.out.map(|out| Direction { by_client: !out.by_client, ..out });
        self.tally.timed_out += u64::from(reason == DisconnectReason::TimedOut);
        let wrong = match reason {
            DisconnectReason::PeerMisbehaved | DisconnectReason::AccusedByPeer => true,
            // Of a session of which the other side has never heard one never hears anything.
            DisconnectReason::TimedOut => {
                !self.scenario.may_time_out() && back.is_some_and(|back| self.begun.contains(&back))
            }
            DisconnectReason::ConnectTimedOut => !self.scenario.may_not_connect(),
            _ => false,
        };
        if wrong {
            return Err(Failure::Ended { node, reason });
        }
        if let Some(out) = session.out {
            let end = End { reason, finished: session.finishing, unread: session.unread };
            self.ends.insert(out, end);
        }
        Ok(())
    }

    /// What an application says unasked.
    fn chatter(&mut self, node: usize) -> Result<(), Failure> {
        let now = self.net.now();
        let count = self.players.len() as u64;
        if self.players[node].rng.chance(self.scenario.churn) {
            let other = self.players[node].rng.below(count) as usize;
            if other != node {
                self.connect(node, other);
            }
        }
        for at in 0..self.players[node].sessions.len() {
            self.withdraw(node, at)?;
            let player = &mut self.players[node];
            let session = &mut player.sessions[at];
            if session.out.is_none() || session.finishing || session.closing {
                continue;
            }
            if player.rng.chance(self.scenario.churn) {
                let reason = CloseReason(7);
                if player.rng.chance(50 * PERCENT) {
                    session.finishing =
                        player.party.endpoint().finish(now, session.peer, reason).is_ok();
                    session.waiting = None;
                } else {
                    player.party.endpoint().close(now, session.peer, reason);
                    session.closing = true;
                    session.waiting = None;
                }
                continue;
            }
            for _ in 0..player.rng.below(self.scenario.burst + 1) {
                if self.players[node].sessions[at].waiting.is_some() {
                    break;
                }
                if let Some(message) = self.compose(node, at) {
                    self.send(node, at, message)?;
                }
            }
        }
        Ok(())
    }

    /// A random message that the session takes.
    fn compose(&mut self, node: usize, at: usize) -> Option<Waiting> {
        let other = self.players[node].sessions[at].other;
        let plans = &self.scenario.nodes;
        let channels = plans[node].config.channels.min(plans[other].config.channels);
        let modes = &self.scenario.modes;
        let player = &mut self.players[node];
        let mode = modes[player.rng.below(modes.len() as u64) as usize];
        let longest = match mode {
            Mode::Unreliable => self.scenario.longest[2],
            Mode::UnreliableOrdered => self.scenario.longest[1],
            _ => self.scenario.longest[0],
        };
        let most = player.party.endpoint().message_max(player.sessions[at].peer, mode)?;
        let len = draw_len(&mut player.rng, longest.min(most));
        let mut bytes = vec![0; len];
        player.rng.fill(&mut bytes);
        let channel = ChannelId(player.rng.below(channels.into()) as u8);
        let (tag, life, key) = (None, None, None);
        let mut message = Waiting { channel, mode, bytes, tag, life, key, since: self.net.now() };
        self.wish(node, most, &mut message);
        Some(message)
    }

    fn send(&mut self, node: usize, at: usize, message: Waiting) -> Result<(), Failure> {
        let now = self.net.now();
        let player = &mut self.players[node];
        let session = &mut player.sessions[at];
        let Some(out) = session.out else { return Ok(()) };
        let cut = player.rng.below(message.bytes.len() as u64 + 1) as usize;
        let (head, tail) = message.bytes.split_at(cut);
        let pieces = [head, tail];
        let Waiting { tag, life: time_to_live, key, channel, mode, .. } = message;
        let outgoing = Outgoing { tag, time_to_live, key, ..Outgoing::new(channel, mode, &pieces) };
        match player.party.offer(now, session.peer, outgoing) {
            Ok(()) => {
                self.tally.sent += 1;
                let terms = Terms { key, deadline: time_to_live.map(|life| now + life) };
                let id = self.oracle.sent_with(out, channel, mode, &message.bytes, terms);
                let peer = session.peer;
                player.expect(peer, &message, terms, id);
            }
            Err(SendError::Full) => {
                self.tally.full += 1;
                session.waiting = Some(message);
            }
            // It has ended, and we shall hear of it.
            Err(SendError::Closing) => {}
            Err(error) => {
                let Waiting { channel, mode, bytes, .. } = message;
                let message = format!("{} bytes, {mode}, {channel:?}", bytes.len());
                return Err(Failure::Refused { node, error, message });
            }
        }
        Ok(())
    }
}

/// Mostly short, sometimes as long as can be.
fn draw_len(rng: &mut Rng, longest: usize) -> usize {
    let most = match rng.below(100) {
        0..30 => 12,
        30..70 => 200,
        70..88 => 1_500,
        88..96 => 8_000,
        _ => longest,
    };
    rng.below(most.min(longest) as u64 + 1) as usize
}

fn endpoint(plan: &NodePlan, rng: &mut Rng) -> Endpoint<Memory> {
    Endpoint::plain(plan.config, &SipHash, &rng.seed(), plan.kind.memory())
        .unwrap_or_else(|error| panic!("{:?}: {error}", plan.kind))
}

/// Runs the scenario and panics with what is wrong.
///
/// # Panics
///
/// If the world does not hold.
pub fn run(scenario: &Scenario) -> Tally {
    match World::new(scenario).run() {
        Ok(tally) => tally,
        Err(failure) => panic!("{failure}\nin {scenario:?}"),
    }
}

/// Remembers some of the datagrams, to send them again.
struct Replay {
    rng: Rng,
    chance: u32,
    to_come: Replays,
}

impl Tap for Replay {
    fn departure(&mut self, _: NodeId, seen: &Sighting<'_>, _: Departure) {
        while self.rng.chance(self.chance) {
            let at = seen.at + self.rng.duration(Duration::from_secs(3));
            self.to_come.borrow_mut().push((at, seen.from, seen.to, seen.bytes.to_vec()));
        }
    }
}

/// Prints every datagram.
struct Show;

impl Tap for Show {
    fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) {
        let (at, to, len) = (seen.at.as_micros(), seen.to, seen.bytes.len());
        let head = &seen.bytes[..len.min(32)];
        eprintln!("{at:>10} node {} -> {to} {len} bytes {head:02x?}: {fate:?}", node.index());
    }

    fn arrival(&mut self, node: Option<NodeId>, seen: &Sighting<'_>, _: Arrival) {
        let (at, from, len) = (seen.at.as_micros(), seen.from, seen.bytes.len());
        let head = &seen.bytes[..len.min(8)];
        eprintln!("{at:>10} {} <- {from} {len} bytes {head:02x?}", node.map_or(99, NodeId::index));
    }
}
