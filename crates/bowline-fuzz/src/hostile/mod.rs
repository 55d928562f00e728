//! Two endpoints, and a link between them that does what it is told.

mod apply;
mod settle;
mod talk;

use alloc::collections::{BTreeMap, BTreeSet};

use bowline_core::{Address, Duration, Event, Instant, PeerId, Received};
use bowline_native::Integrity;

use crate::forge::Secrets;
use crate::ledger::Ledger;
use crate::oracle::{Direction, Oracle};
use crate::rogue::Rogue;
use crate::setup::{Setup, more_digest};
use crate::{Failure, Game, Link, Side, Subject};

/// How many datagrams may leave, and how often a timeout may be past, without time passing.
const TRANSMITS_MAX: u32 = 4_096;
const ROUNDS_MAX: u32 = 4_096;
/// How many events there can be without time passing.
const EVENTS_MAX: u32 = 20_000;

/// What happened in a run in which nothing was wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Sessions that began, counted at both sides.
    pub sessions: u64,
    /// Messages that an endpoint took.
    pub sent: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Outcomes that were told.
    pub outcomes: u64,
    /// Datagrams that an endpoint sent.
    pub datagrams: u64,
    /// Datagrams that somebody made up.
    pub forged: u64,
    /// Whether nothing more was expected: somebody used the secret of a session, or nothing told two sessions apart.
    pub tainted: bool,
    /// Sessions of a third peer that keeps no rules.
    pub rogues: u64,
    /// Hash of everything that came out of both endpoints, and when.
    pub digest: u64,
}

/// Two subjects, their applications, and everything between them; virtual time.
///
/// Drive it with [`Self::begin`] if there shall be a session to begin with, [`Self::act`] as often as you like,
/// and [`Self::end`], after which all that was promised must have come true.
pub struct Hostile<'g> {
    subjects: [Box<dyn Subject>; 2],
    addresses: [Address; 2],
    game: &'g mut dyn Game,
    link: Link,
    now: Instant,
    oracle: Oracle,
    ledgers: [Ledger; 2],
    sessions: [Vec<Session>; 2],
    /// Which directions had a session once, and which sides' sessions ended.
    begun: BTreeSet<Direction>,
    ended: BTreeSet<Direction>,
    gone: [BTreeMap<PeerId, Option<Direction>>; 2],
    attentive: [bool; 2],
    away: [bool; 2],
    channels: u16,
    attempts: u64,
    tags: u32,
    /// Messages with a tag or a time to live.
    special: BTreeSet<Vec<u8>>,
    secrets: Secrets,
    client: Side,
    rogue: Option<Rogue>,
    /// The sessions that the right side has with it.
    rogues: BTreeSet<PeerId>,
    on_path: bool,
    /// Whether what is damaged on the way is found out.
    checked: bool,
    tainted: bool,
    report: Report,
}

/// One side of a session, as its application knows it.
#[derive(Clone, Debug)]
struct Session {
    peer: PeerId,
    /// Which direction this side sends in; nothing until the session has begun.
    out: Option<Direction>,
    attempt: Option<u64>,
    /// There was no room for a message, and `Writable` has not come since.
    full: bool,
    closing: bool,
}

impl<'g> Hostile<'g> {
    /// Two endpoints that know nothing of each other.
    pub fn new(setup: &Setup, subjects: [Box<dyn Subject>; 2], game: &'g mut dyn Game) -> Self {
        let addresses = [[1, 1, 1, 1], [2, 2, 2, 2]].map(|ip| Address::from(socket(ip)));
        Self {
            subjects,
            addresses,
            game,
            link: Link::default(),
            now: Instant::from_micros(1_000_000),
            oracle: Oracle::new(),
            ledgers: Default::default(),
            sessions: Default::default(),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            gone: Default::default(),
            attentive: [true; 2],
            away: [false; 2],
            channels: setup.configs[0].channels.min(setup.configs[1].channels),
            attempts: 0,
            tags: 0,
            special: BTreeSet::new(),
            secrets: Secrets::default(),
            client: Side::Left,
            rogue: setup.rogue.then(|| Rogue::new(Address::from(socket([3, 3, 3, 3])))),
            rogues: BTreeSet::new(),
            on_path: setup.on_path,
            checked: setup.configs.iter().any(|config| config.integrity == Integrity::Crc32),
            tainted: false,
            report: Report::default(),
        }
    }

    /// The clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What has happened so far.
    pub fn report(&self) -> Report {
        Report {
            delivered: self.oracle.delivered(),
            outcomes: self.ledgers.iter().map(Ledger::ended).sum(),
            tainted: self.tainted,
            ..self.report
        }
    }

    /// The left side connects to the right one over a kind link.
    ///
    /// # Errors
    ///
    /// When something is wrong already.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.connect(Side::Left);
        if let Some(rogue) = &self.rogue {
            let (hello, from) = (rogue.hello(), rogue.address());
            self.arrive_from(Side::Right, from, hello);
        }
        self.run(Duration::from_millis(200), Duration::from_millis(2))
    }

    fn connect(&mut self, side: Side) {
        self.attempts += 1;
        let (now, to) = (self.now, self.addresses[side.other().index()]);
        let payload = self.attempts.to_be_bytes();
        let Some(peer) = self.subjects[side.index()].connect(now, to, &payload) else { return };
        let at = self.session(side, peer);
        self.sessions[side.index()][at].attempt = Some(self.attempts);
    }

    /// Puts out what a side has to send, unless it is away.
    fn flush(&mut self, side: Side) -> Result<(), Failure> {
        if self.away[side.index()] {
            return Ok(());
        }
        let mut buf = [0; 2_048];
        for _ in 0..TRANSMITS_MAX {
            let subject = &mut self.subjects[side.index()];
            let transmit = match subject.poll_transmit(self.now, &mut buf) {
                Ok(Some(transmit)) => transmit,
                Ok(None) => match subject.poll_timeout() {
                    Some(due) if due <= self.now => continue,
                    _ => return Ok(()),
                },
                Err(error) => return Err(Failure::Transmit(side, error.to_string())),
            };
            self.report.digest = more_digest(self.report.digest, &buf[..transmit.len]);
            if self.answer_rogue(side, transmit.to, &buf[..transmit.len]) {
                continue;
            }
            if transmit.to != self.addresses[side.other().index()] {
                return Err(Failure::Transmit(side, format!("to {}", transmit.to)));
            }
            let segment = transmit.segment_len.map_or(transmit.len, |len| len.get().into());
            for bytes in buf[..transmit.len].chunks(segment.max(1)) {
                self.depart(side, bytes);
            }
        }
        Err(Failure::Livelock(side, "datagrams or timeouts"))
    }

    fn depart(&mut self, from: Side, bytes: &[u8]) {
        self.report.datagrams += 1;
        if bytes.first() == Some(&3) {
            self.client = from;
        }
        self.secrets.overhear(bytes, from.other() == self.client);
        self.link.push(from.other(), self.now, bytes);
    }

    /// A datagram arrives.
    fn arrive(&mut self, to: Side, bytes: Vec<u8>) {
        self.arrive_from(to, self.addresses[to.other().index()], bytes);
    }

    fn arrive_from(&mut self, to: Side, from: Address, mut bytes: Vec<u8>) {
        let from = Received::from(from);
        // Why it was dropped is a matter of its counters.
        let _ = self.subjects[to.index()].handle_datagram(self.now, from, &mut bytes);
    }

    /// Whether a datagram was for the third peer, which hears it at once.
    fn answer_rogue(&mut self, side: Side, to: Address, bytes: &[u8]) -> bool {
        let Some(rogue) = self.rogue.as_mut().filter(|rogue| rogue.address() == to) else {
            return false;
        };
        if let Some(answer) = rogue.hear(bytes) {
            self.arrive_from(side, to, answer);
        }
        true
    }

    /// Whether a session is one with the third peer, of which nothing is expected.
    fn is_rogue(&self, side: Side, peer: PeerId) -> bool {
        side == Side::Right && self.rogues.contains(&peer)
    }

    /// Time passes, and both sides are driven as they ask for; what departs arrives `delay` later.
    fn run(&mut self, span: Duration, delay: Duration) -> Result<(), Failure> {
        let end = self.now + span;
        let mut rounds = 0;
        loop {
            for side in Side::BOTH {
                self.attend(side)?;
                self.flush(side)?;
            }
            let mut any = false;
            for side in Side::BOTH {
                while let Some(flight) = self.due(side, delay) {
                    self.arrive(side, flight.bytes);
                    any = true;
                }
            }
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(Failure::Livelock(Side::Left, "answers"));
            }
            if any {
                continue;
            }
            let next = self.next(delay).map_or(end, |next| next.min(end));
            if next > self.now {
                rounds = 0;
            }
            if self.now >= end {
                return Ok(());
            }
            self.set_now(next.max(self.now));
        }
    }

    fn due(&mut self, to: Side, delay: Duration) -> Option<crate::Flight> {
        if self.away[to.index()] {
            return None;
        }
        let until = self.now.as_micros().checked_sub(delay.as_micros())?;
        self.link.take_due(to, Instant::from_micros(until))
    }

    /// When something will happen by itself.
    fn next(&mut self, delay: Duration) -> Option<Instant> {
        let awake = Side::BOTH.map(|side| !self.away[side.index()]);
        let [left, right] = &mut self.subjects;
        let timeouts = [left.poll_timeout(), right.poll_timeout()];
        let timeouts =
            timeouts.into_iter().zip(awake).filter_map(|(at, awake)| at.filter(|_| awake));
        let arrival = self.link.oldest().map(|at| at + delay).filter(|at| *at > self.now);
        timeouts.chain(arrival).min()
    }

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        self.oracle.set_now(now);
    }

    /// The application's record of a session that it may not have begun itself.
    fn session(&mut self, side: Side, peer: PeerId) -> usize {
        if let Some(at) = self.find(side, peer) {
            return at;
        }
        let sessions = &mut self.sessions[side.index()];
        sessions.push(Session { peer, out: None, attempt: None, full: false, closing: false });
        sessions.len() - 1
    }

    fn find(&self, side: Side, peer: PeerId) -> Option<usize> {
        self.sessions[side.index()].iter().position(|session| session.peer == peer)
    }

    /// Which session an operation means.
    fn pick(&self, side: Side, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.sessions[side.index()].len())
    }

    /// Whether an event may be for this session.
    fn is_ghost(&self, side: Side, event: &Event) -> bool {
        let (Event::Asked(peer)
        | Event::Connected(peer)
        | Event::Readable(peer)
        | Event::Writable(peer)
        | Event::Outcome(peer, ..)
        | Event::Disconnected(peer, _)) = event
        else {
            return false;
        };
        self.gone[side.index()].contains_key(peer)
    }
}

fn socket(ip: [u8; 4]) -> core::net::SocketAddr {
    core::net::SocketAddr::from((ip, 7_777))
}
