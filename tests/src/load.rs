//! All that endpoints can be asked to do, again and again: for what must hold however long they run.
//!
//! One server with room for fewer sessions than there are clients, a client of another application, and a
//! rogue; a network that loses, doubles, delays and damages. Every call of an endpoint is watched
//! ([`crate::allocator`]). [`Load::unseen`] tells what of [`SIGHTS`] has not happened yet.

use alloc::collections::BTreeMap;

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, Duration, Event, Instant, Machine, Messages,
    Mode, Outcome, Outgoing, PeerId, RefuseReason, SendError, Tag,
};
use bowline_crypto::SipHash;
use bowline_native::{Accept, Config, Endpoint, Heap, IncompleteLimits, Limits};
use bowline_sim::{Link, Net, PERCENT, Rng};
use bowline_wire::native::{AckForm, CloseCause, Frame, emit_ack_ranges};

use crate::memory::APPLICATION;
use crate::rogue::Rogue;
use crate::watched::Watched;

/// Messages that all applications send.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In which mode.
    pub mode: Mode,
    /// Their greatest length, in bytes.
    pub longest: usize,
    /// How many of a thousand are of this kind.
    pub share: u32,
}

/// Everything that is sent.
pub const KINDS: &[Kind] = &[
    Kind { mode: Mode::Unreliable, longest: 60, share: 230 },
    Kind { mode: Mode::Unreliable, longest: 5_000, share: 10 },
    Kind { mode: Mode::UnreliableOrdered, longest: 60, share: 230 },
    Kind { mode: Mode::UnreliableOrdered, longest: 5_000, share: 10 },
    Kind { mode: Mode::Reliable, longest: 60, share: 190 },
    Kind { mode: Mode::Reliable, longest: 20_000, share: 10 },
    Kind { mode: Mode::ReliableUnordered, longest: 60, share: 150 },
    Kind { mode: Mode::ReliableUnordered, longest: 10_000, share: 10 },
    Kind { mode: Mode::ReliableLatest, longest: 60, share: 150 },
    Kind { mode: Mode::ReliableLatest, longest: 5_000, share: 10 },
];

/// One in so many messages has a tag.
const TAGGED: u64 = 8;
/// One in so many messages has a time to live, of at most so long.
const MORTAL: (u64, Duration) = (16, Duration::from_millis(100));
/// How many keys there are.
const KEYS: u64 = 5;

/// What must happen for a load to have been one.
pub const SIGHTS: &[&str] = &[
    "asked",
    "connected",
    "readable",
    "writable",
    "answered",
    "closed",
    "closed by peer",
    "connect timed out",
    "timed out",
    "peer misbehaved",
    "replaced",
    "refused: application",
    "refused: full",
    "refused by application",
    "finished",
    "broadcast",
    "full",
    "unreliable",
    "unreliable, long",
    "unreliable-ordered",
    "unreliable-ordered, long",
    "reliable",
    "reliable, long",
    "reliable-unordered",
    "reliable-unordered, long",
    "reliable-latest",
    "reliable-latest, long",
    "cancel",
    "acknowledged",
    "lost",
    "expired",
    "superseded",
    "cancelled",
    "abandoned",
];

/// How many clients there are besides the one of another application: more than the server holds.
const CLIENTS: usize = 6;
/// The client that nobody lets in.
const MISFIT: usize = CLIENTS + 1;
/// Time between two turns of the applications.
const TURN: Duration = Duration::from_millis(2);
/// Above this many bytes a message is long: it does not fit a datagram.
const LONG: usize = 1_200;

/// What the network does to datagrams while it is up.
const LINK: Link = Link::PERFECT
    .with_delay(Duration::from_millis(5))
    .with_jitter(Duration::from_millis(5))
    .with_loss(2 * PERCENT)
    .with_duplicate(PERCENT, Duration::from_millis(10))
    .with_reorder(2 * PERCENT, Duration::from_millis(15))
    .with_corrupt(PERCENT / 2);

/// How it goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weather {
    /// As it may: everything in [`SIGHTS`] happens now and then.
    Fair,
    /// Nobody reads for long, much is lost, and more is sent than there is room for.
    Foul,
}

/// Endpoints with memory from the allocator, and what they are asked to do.
pub struct Load {
    net: Net,
    weather: Weather,
    apps: Vec<App>,
    rng: Rng,
    turns: u64,
    rogue: u64,
    seen: Seen,
}

/// How often each thing has happened.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

struct App {
    machine: Watched<Endpoint<Heap>>,
    sessions: Vec<Session>,
    rng: Rng,
    paused_until: Instant,
    /// What is sent is cut out of this.
    bytes: Vec<u8>,
    /// The last tag that was used.
    tag: u32,
}

struct Session {
    peer: PeerId,
    is_open: bool,
    is_full: bool,
}

/// How far the memory of the server may grow, or that of a client.
pub const fn limits(is_server: bool) -> Limits {
    let peers = if is_server { CLIENTS as u32 - 1 } else { 1 };
    Limits {
        peers,
        channels: 4,
        records: 100 * peers,
        bytes: peers as u64 * 50_000,
        block_len: 256,
    }
}

const fn config(is_server: bool) -> Config {
    Config {
        accept: if is_server { Accept::Ask } else { Accept::Never },
        channels: 4,
        idle_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        credit: 600,
        loose_credit: 512,
        credit_max: 8_000,
        reliable_max: 20_000,
        ordered_max: 5_000,
        unreliable_max: 5_000,
        send_max: 40_000,
        send_reserve: 1_000,
        tickets_max: 40,
        inbox_max: 10_000,
        incomplete: IncompleteLimits {
            messages: 200,
            bytes: 12_000,
            age: Duration::from_millis(200),
        },
        in_flight_max: 20_000,
        ..Config::new(APPLICATION)
    }
}

impl Load {
    /// A load that follows from `seed`, at its beginning.
    ///
    /// # Panics
    ///
    /// Not unless the configuration here does not fit its memory.
    pub fn new(seed: u64) -> Self {
        let net = Net::with_nodes(seed, MISFIT + 1, LINK);
        let apps = (0..=MISFIT).map(|node| {
            let mut rng = Rng::stream(seed, node as u64);
            let (is_server, misfit) = (node == 0, u64::from(node == MISFIT));
            let config = Config { application: APPLICATION + misfit, ..config(is_server) };
            let heap = Heap::new(limits(is_server));
            let endpoint = Endpoint::plain(config, &SipHash, &rng.seed(), heap);
            let mut machine = Watched(endpoint.expect("memory for all that is promised"));
            machine.call(|endpoint| endpoint.set_info(Some(b"a load")));
            let longest = KINDS.iter().map(|kind| kind.longest).max().unwrap_or(0);
            let mut bytes = vec![0; longest];
            rng.fill(&mut bytes);
            App { machine, sessions: Vec::new(), rng, paused_until: net.now(), bytes, tag: 0 }
        });
        let apps = apps.collect();
        let rng = Rng::stream(seed, 0x10ad);
        Self { net, weather: Weather::Fair, apps, rng, turns: 0, rogue: 0, seen: Seen::default() }
    }

    /// Has another weather come up.
    pub fn turn_to(&mut self, weather: Weather) {
        self.weather = weather;
        self.net.set_default_link(self.link());
    }

    fn link(&self) -> Link {
        match self.weather {
            Weather::Fair => LINK,
            Weather::Foul => LINK.with_loss(30 * PERCENT),
        }
    }

    /// Goes on until the endpoints have sent so many more datagrams.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn run(&mut self, datagrams: u64) {
        let end = self.datagrams() + datagrams;
        while self.datagrams() < end {
            self.turn();
        }
    }

    /// How many datagrams all endpoints have sent.
    pub fn datagrams(&self) -> u64 {
        self.apps.iter().map(|app| app.machine.0.statistics().datagrams_sent).sum()
    }

    /// What each endpoint holds of the allocator's, and the most that it may while nobody is banned, in
    /// bytes.
    pub fn heaps(&self) -> Vec<(usize, usize)> {
        let heaps = self.apps.iter().map(|app| app.machine.0.storage());
        let each = heaps.enumerate().map(|(node, heap)| {
            let limits = limits(node == 0);
            (heap.allocated(), limits.bytes_max() - limits.gate_bytes())
        });
        each.collect()
    }

    /// What of [`SIGHTS`] has not happened since this was last asked.
    pub fn unseen(&mut self) -> Vec<&'static str> {
        let seen = core::mem::take(&mut self.seen);
        SIGHTS.iter().copied().filter(|what| !seen.0.contains_key(what)).collect()
    }

    /// How often each thing happened since [`Self::unseen`] was last asked.
    pub fn sights(&self) -> String {
        let sights = self.seen.0.iter().map(|(what, count)| format!("{what} {count}"));
        sights.collect::<Vec<_>>().join(", ")
    }

    fn turn(&mut self) {
        self.turns += 1;
        let mut machines: Vec<_> =
            self.apps.iter_mut().map(|app| &mut app.machine as &mut dyn Machine).collect();
        self.net.run_for(&mut machines, TURN).expect("machines that can be driven");
        let (now, server) = (self.net.now(), self.net.address(0));
        for (node, app) in self.apps.iter_mut().enumerate() {
            app.hear(now, &mut self.seen);
            app.read(now, self.weather, &mut self.seen);
            app.talk(now, self.weather, &mut self.seen);
            app.leave(now, &mut self.seen);
            if node > 0 && app.sessions.is_empty() {
                app.call(now, server);
            }
        }
        if self.turns.is_multiple_of(500) {
            self.cut_off();
        }
        if self.turns.is_multiple_of(300) {
            self.let_a_rogue_in();
        }
    }

    /// One client after the other is cut off for longer than the others wait for it.
    fn cut_off(&mut self) {
        let node = 1 + self.rng.below(CLIENTS as u64) as usize;
        let (from, span) = (self.net.now(), Duration::from_millis(1_500));
        self.net.link(0, node, self.link().with_outage(from, from + span));
    }

    /// As many rogues as the server holds begin more messages than there are places for.
    pub fn flood(&mut self) {
        for number in 0..limits(true).peers {
            let now = self.net.now();
            if let Some(mut rogue) = self.let_in(&number.to_be_bytes()) {
                flood(&mut self.apps[0].machine, now, &mut rogue);
            }
        }
    }

    /// Somebody begins a session and breaks a rule, or begins it anew, or accuses the server.
    fn let_a_rogue_in(&mut self) {
        self.rogue += 1;
        let now = self.net.now();
        let Some(mut rogue) = self.let_in(b"rogue") else { return };
        let machine = &mut self.apps[0].machine;
        if self.rogue % 4 == 3 {
            return flood(machine, now, &mut rogue);
        }
        let lie = u64::from(rogue.theirs.initial) + 100;
        let packet = match self.rogue % 4 {
            0 => rogue.packet(AckForm::Ranges2, |w| {
                emit_ack_ranges(w, 2, 0, [(lie, lie)].into_iter(), 100)
            }),
            1 => rogue.packet(AckForm::None, |w| {
                Frame::Close { cause: CloseCause::Misbehaviour, reason: 1 }.emit(true, w)
            }),
            _ => return,
        };
        let _ = rogue.hand_to(machine, now, packet);
    }

    /// A rogue of this name, if there is room for him.
    fn let_in(&mut self, name: &[u8]) -> Option<Rogue> {
        let (now, from) = (self.net.now(), Address::from_raw(name).expect("a short name"));
        let App { machine, sessions, .. } = &mut self.apps[0];
        Rogue::meet(machine, now, from, |machine| {
            while let Some(event) = machine.call(Endpoint::poll_event) {
                match event {
                    Event::Asked(peer) => {
                        let _ = machine.call(|endpoint| endpoint.accept(now, peer));
                        sessions.push(Session::new(peer));
                    }
                    other => note_event(&mut self.seen, sessions, other),
                }
            }
        })
    }
}

/// Begins more messages than there are places for.
fn flood(machine: &mut Watched<Endpoint<Heap>>, now: Instant, rogue: &mut Rogue) {
    for id in 0..200 {
        let packet = rogue.packet(AckForm::None, |w| {
            let (channel, ordered, offset, total) = (0, false, 0, 2);
            Frame::Fragment { channel, ordered, id, offset, total, data: b"x" }.emit(true, w)
        });
        let _ = rogue.hand_to(machine, now, packet);
    }
}

impl Session {
    const fn new(peer: PeerId) -> Self {
        Self { peer, is_open: false, is_full: false }
    }
}

/// Takes notice of what needs no answer.
fn note_event(seen: &mut Seen, sessions: &mut Vec<Session>, event: Event) {
    seen.note(name(&event));
    match event {
        Event::Connected(peer) => match sessions.iter_mut().find(|here| here.peer == peer) {
            Some(session) => session.is_open = true,
            None => sessions.push(Session { is_open: true, ..Session::new(peer) }),
        },
        Event::Writable(peer) => {
            sessions
                .iter_mut()
                .filter(|here| here.peer == peer)
                .for_each(|here| here.is_full = false);
        }
        Event::Disconnected(peer, _) => sessions.retain(|here| here.peer != peer),
        _ => {}
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Asked(_) => "asked",
        Event::Connected(_) => "connected",
        Event::Readable(_) => "readable",
        Event::Writable(_) => "writable",
        Event::Answered => "answered",
        Event::Disconnected(_, reason) => match reason {
            DisconnectReason::Closed(_) => "closed",
            DisconnectReason::ClosedByPeer(_) => "closed by peer",
            DisconnectReason::Refused(RefuseReason::Application) => "refused: application",
            DisconnectReason::Refused(RefuseReason::Full) => "refused: full",
            DisconnectReason::Refused(_) => "refused by application",
            DisconnectReason::ConnectTimedOut => "connect timed out",
            DisconnectReason::TimedOut => "timed out",
            DisconnectReason::PeerMisbehaved => "peer misbehaved",
            DisconnectReason::AccusedByPeer => "accused by peer",
            DisconnectReason::Replaced => "replaced",
            _ => "another end",
        },
        Event::Outcome(_, _, outcome) => match outcome {
            Outcome::Acknowledged => "acknowledged",
            Outcome::Lost => "lost",
            Outcome::Expired => "expired",
            Outcome::Superseded => "superseded",
            Outcome::Cancelled => "cancelled",
            Outcome::Closed => "abandoned",
            _ => "another outcome",
        },
        _ => "another event",
    }
}

fn name_of_message(mode: Mode, len: usize) -> &'static str {
    match (mode, len > LONG) {
        (Mode::Unreliable, false) => "unreliable",
        (Mode::Unreliable, true) => "unreliable, long",
        (Mode::UnreliableOrdered, false) => "unreliable-ordered",
        (Mode::UnreliableOrdered, true) => "unreliable-ordered, long",
        (Mode::Reliable, false) => "reliable",
        (Mode::Reliable, true) => "reliable, long",
        (Mode::ReliableUnordered, false) => "reliable-unordered",
        (Mode::ReliableUnordered, true) => "reliable-unordered, long",
        (Mode::ReliableLatest, false) => "reliable-latest",
        (Mode::ReliableLatest, true) => "reliable-latest, long",
    }
}

impl App {
    fn hear(&mut self, now: Instant, seen: &mut Seen) {
        while let Some(event) = self.machine.call(Endpoint::poll_event) {
            match event {
                Event::Asked(peer) => {
                    seen.note("asked");
                    self.decide(now, peer);
                }
                Event::Answered => {
                    seen.note("answered");
                    self.machine.call(|endpoint| endpoint.take_answer());
                    self.machine.call(Endpoint::end_queries);
                }
                Event::Connected(peer) => {
                    let mut payload = [0; 16];
                    self.machine.call(|endpoint| endpoint.connect_payload(peer, &mut payload));
                    note_event(seen, &mut self.sessions, event);
                }
                other => note_event(seen, &mut self.sessions, other),
            }
        }
    }

    /// Lets most of those in who ask, turns some away, and leaves some waiting.
    fn decide(&mut self, now: Instant, peer: PeerId) {
        let outcome = match self.rng.below(8) {
            0 => self.machine.call(|endpoint| endpoint.refuse(now, peer, CloseReason(1))),
            1 => Ok(()),
            _ => self.machine.call(|endpoint| endpoint.accept(now, peer)),
        };
        if outcome.is_ok() {
            self.sessions.push(Session::new(peer));
        }
    }

    /// Reads everything, unless its attention is elsewhere for a while.
    fn read(&mut self, now: Instant, weather: Weather, seen: &mut Seen) {
        let (often, longest) = if weather == Weather::Foul { (100, 900) } else { (1, 300) };
        if self.rng.below(1_000) < often && now >= self.paused_until {
            self.paused_until = now + self.rng.duration(Duration::from_millis(longest));
        }
        if now < self.paused_until {
            return;
        }
        for session in &self.sessions {
            let mut buf = [0; 64];
            while let Some((mode, len)) = self.machine.call(|endpoint| {
                let message = endpoint.recv(session.peer)?;
                let _ = message.copy_to(&mut buf);
                Some((message.mode(), message.len()))
            }) {
                seen.note(name_of_message(mode, len));
            }
        }
    }

    fn talk(&mut self, now: Instant, weather: Weather, seen: &mut Seen) {
        let most = if weather == Weather::Foul { 30 } else { 6 };
        let Self { machine, sessions, rng, bytes, tag, .. } = self;
        for session in sessions.iter_mut().filter(|session| session.is_open && !session.is_full) {
            for _ in 0..rng.below(most) {
                let to = session.peer;
                let sent = send(rng, bytes, tag, |message| {
                    machine.call(|endpoint| endpoint.send(now, to, message))
                });
                if sent == Err(SendError::Full) {
                    seen.note("full");
                    session.is_full = true;
                    break;
                }
            }
        }
        if sessions.len() > 1 && rng.below(20) == 0 {
            seen.note("broadcast");
            send(rng, &bytes[..60], tag, |message| {
                machine.call(|endpoint| endpoint.broadcast(now, message, None))
            });
        }
        for session in sessions.iter() {
            if rng.below(10) > 0 {
                continue;
            }
            let recent = Tag(tag.wrapping_sub(rng.below(10) as u32));
            if machine.call(|endpoint| endpoint.cancel(session.peer, recent)).is_ok() {
                seen.note("cancel");
            }
        }
    }

    /// Now and then ends a session, in one way or the other.
    fn leave(&mut self, now: Instant, seen: &mut Seen) {
        if self.rng.below(1_000) > 0 || self.sessions.is_empty() {
            return;
        }
        let peer = self.sessions[self.rng.below(self.sessions.len() as u64) as usize].peer;
        let reason = CloseReason(7);
        if self.rng.below(2) == 0 {
            self.machine.call(|endpoint| endpoint.close(now, peer, reason));
        } else if self.machine.call(|endpoint| endpoint.finish(now, peer, reason)).is_ok() {
            seen.note("finished");
        }
    }

    /// Asks what there is, or for a session.
    fn call(&mut self, now: Instant, server: Address) {
        match self.rng.below(20) {
            0 => {
                self.machine.call(|endpoint| endpoint.query(now, server));
            }
            1 | 2 => {
                let payload = &self.bytes[..100];
                let peer =
                    self.machine.call(|endpoint| endpoint.connect_plain(now, server, payload));
                self.sessions.extend(peer.map(Session::new));
            }
            _ => {}
        }
    }
}

/// Sends any message, a part of `bytes`.
fn send<T>(rng: &mut Rng, bytes: &[u8], tag: &mut u32, with: impl FnOnce(Outgoing<'_>) -> T) -> T {
    let mut at = rng.below(1_000) as u32;
    let kind = KINDS.iter().find(|kind| {
        let here = at < kind.share;
        at = at.saturating_sub(kind.share);
        here
    });
    let kind = kind.unwrap_or(&KINDS[0]);
    let len = (rng.below(kind.longest as u64 + 1) as usize).min(bytes.len());
    let (one, other) = bytes[..len].split_at(len / 2);
    let pieces = [one, other];
    let mut message = Outgoing::new(ChannelId(rng.below(4) as u8), kind.mode, &pieces);
    if rng.below(TAGGED) == 0 {
        *tag = tag.wrapping_add(1);
        message.tag = Some(Tag(*tag));
    }
    if rng.below(MORTAL.0) == 0 {
        message.time_to_live = Some(rng.duration(MORTAL.1));
    }
    if kind.mode == Mode::ReliableLatest {
        message.key = Some(rng.below(KEYS) as u32);
    }
    with(message)
}
