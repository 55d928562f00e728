//! The server, or a client: an endpoint, its socket, and what its application does.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::path::Path;

use bowline::{
    Accept, ChannelId, CloseReason, Config, Driver, Duration, Event, Instant, Limits, Machine,
    Messages, Mode, Outgoing, PeerId, SendError, Tag, udp,
};

use super::lane::{CHANNELS, Direction, Lane, Stream};
use super::load::Planned;
use super::oracle::{KEYS, Oracle};
use crate::Failure;
use crate::recorded::MaybeRecorded;

/// The application number of the demonstration.
const APPLICATION: u64 = 0x626f_776c_696e_65de;
/// The longest reliable message, in bytes, with some room.
const RELIABLE_MAX: u32 = 2 << 20;
/// Fixed congestion window: what any socket's receive buffer holds.
const IN_FLIGHT_MAX: u32 = 64 << 10;
/// How long a session may take to begin, on a network that loses nearly everything.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The channel on which some messages have a time to live, or are withdrawn.
const FICKLE: ChannelId = ChannelId(1);
/// Of so many messages there one expires, and one is withdrawn.
const FICKLE_EVERY: u64 = 8;
/// What a time to live is: about twice a round trip.
const TIME_TO_LIVE: Duration = Duration::from_millis(50);
/// Bits of a tag that count messages; the others are the lane.
const SEQUENCE_BITS: u32 = 24;
/// Which delivered message of its mode is spoilt on purpose.
const SPOILT: u64 = 10;

/// What is done to delivered messages before the oracle sees them, to see it notice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoiler {
    pub(super) mode: Mode,
    seen: u64,
}

impl Spoiler {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, seen: 0 }
    }

    fn spoil(&mut self, mode: Mode, message: &mut [u8]) {
        self.seen += u64::from(mode == self.mode);
        if mode == self.mode && self.seen == SPOILT {
            message.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }
}

/// Who watches what the applications do.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) oracle: Oracle,
    pub(super) spoiler: Option<Spoiler>,
}

/// An endpoint and its application.
#[derive(Debug)]
pub(super) struct Side {
    /// Which way it sends.
    direction: Direction,
    endpoint: MaybeRecorded,
    driver: Driver,
    sessions: Vec<Session>,
    message: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    client: usize,
    peer: PeerId,
    is_open: bool,
    is_ended: bool,
    is_closing: bool,
    /// Waits for [`Event::Writable`].
    is_blocked: bool,
    /// Reliable messages that wait with it.
    backlog: VecDeque<Planned>,
    /// Messages to be withdrawn.
    unwanted: Vec<(Lane, u64)>,
}

impl Side {
    /// A server, or a client that connects to nobody yet; recorded into `file`, if any.
    pub(super) fn new(
        direction: Direction,
        clients: u32,
        driver: Driver,
        file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let accept = match direction {
            Direction::ToClient => Accept::Always,
            Direction::ToServer => Accept::Never,
        };
        let config = Config {
            accept,
            channels: CHANNELS as u16,
            reliable_max: RELIABLE_MAX,
            in_flight_max: IN_FLIGHT_MAX,
            connect_timeout: CONNECT_TIMEOUT,
            ..Config::new(APPLICATION)
        };
        let mut limits = Limits::for_peers(clients);
        limits.bytes += u64::from(clients) * u64::from(2 * RELIABLE_MAX);
        let endpoint = MaybeRecorded::new(config, limits, file)?;
        Ok(Self { direction, endpoint, driver, sessions: Vec::new(), message: Vec::new() })
    }

    /// Begins the session of `client` with the server at `address`.
    pub(super) fn connect(&mut self, client: usize, address: SocketAddr) -> Result<(), Failure> {
        let now = self.driver.now();
        let name = (client as u32).to_be_bytes();
        let peer = self.endpoint.connect_plain(now, udp::canonical(address).into(), &name)?;
        self.sessions.push(Session::new(client, peer));
        Ok(())
    }

    /// One turn: moves datagrams, reads what there is to read, never waits.
    pub(super) fn turn(&mut self, watch: &mut Watch) -> Result<(), Failure> {
        self.driver.drive(&mut self.endpoint, Some(core::time::Duration::ZERO))?;
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected(peer) => self.on_connected(peer)?,
                Event::Readable(peer) => self.on_readable(peer, watch),
                Event::Writable(peer) => self.on_writable(peer, watch)?,
                Event::Disconnected(peer, reason) => {
                    let direction = self.direction;
                    let Some(session) = self.session(peer) else { continue };
                    session.is_ended = true;
                    if !session.is_open {
                        return Err(format!("client {}: {reason}", session.client).into());
                    }
                    let is_early = direction == Direction::ToServer && !session.is_closing;
                    if is_early {
                        let client = session.client;
                        watch.oracle.accuse(format!("client {client}: session ended: {reason}"));
                    }
                }
                Event::Outcome(peer, tag, outcome) => {
                    let direction = self.direction;
                    let Some(client) = self.session(peer).map(|session| session.client) else {
                        continue;
                    };
                    let Some(lane) = Lane::at((tag.0 >> SEQUENCE_BITS) as usize) else { continue };
                    let low = tag.0 & ((1 << SEQUENCE_BITS) - 1);
                    let stream = Stream { client, direction, lane };
                    watch.oracle.on_outcome(&stream, low.into(), outcome);
                }
                _ => {}
            }
        }
        self.withdraw(watch);
        Ok(())
    }

    /// Withdraws what was sent in the last turn and is not wanted any more.
    fn withdraw(&mut self, watch: &mut Watch) {
        for session in &mut self.sessions {
            let Session { client, peer, .. } = *session;
            for (lane, sequence) in session.unwanted.drain(..) {
                let stream = Stream { client, direction: self.direction, lane };
                // It may have ended, or have been sent in a mode that sends once.
                if self.endpoint.cancel(peer, tag(lane, sequence)).is_ok() {
                    watch.oracle.on_withdrawn(&stream, sequence);
                }
            }
        }
    }

    fn session(&mut self, peer: PeerId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.peer == peer)
    }

    fn on_connected(&mut self, peer: PeerId) -> Result<(), Failure> {
        if self.session(peer).is_none() {
            let mut name = [0; 4];
            if self.endpoint.connect_payload(peer, &mut name) != name.len() {
                return Err("a stranger connected to the demonstration's server".into());
            }
            self.sessions.push(Session::new(u32::from_be_bytes(name) as usize, peer));
        }
        if let Some(session) = self.session(peer) {
            session.is_open = true;
        }
        Ok(())
    }

    fn on_readable(&mut self, peer: PeerId, watch: &mut Watch) {
        let now = self.driver.now();
        let Some(client) = self.session(peer).map(|session| session.client) else { return };
        let direction = self.direction.reversed();
        while let Some(incoming) = self.endpoint.recv(peer) {
            self.message.clear();
            incoming.chunks().for_each(|piece| self.message.extend_from_slice(piece));
            let lane = Lane { mode: incoming.mode(), channel: incoming.channel() };
            if let Some(spoiler) = &mut watch.spoiler {
                spoiler.spoil(lane.mode, &mut self.message);
            }
            watch.oracle.on_delivered(now, &Stream { client, direction, lane }, &self.message);
        }
    }

    fn on_writable(&mut self, peer: PeerId, watch: &mut Watch) -> Result<(), Failure> {
        let Some(at) = self.sessions.iter().position(|session| session.peer == peer) else {
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(at) else { return Ok(()) };
        session.is_blocked = false;
        let mut backlog = core::mem::take(&mut session.backlog);
        while let Some(planned) = backlog.pop_front() {
            self.send(at, planned, watch)?;
        }
        Ok(())
    }

    /// Says something to, or as, `client`.
    pub(super) fn say(
        &mut self,
        client: usize,
        planned: Planned,
        watch: &mut Watch,
    ) -> Result<(), Failure> {
        let is_it = |session: &Session| session.client == client && !session.is_ended;
        match self.sessions.iter().position(is_it) {
            Some(at) => self.send(at, planned, watch),
            None => Ok(()),
        }
    }

    fn send(&mut self, at: usize, planned: Planned, watch: &mut Watch) -> Result<(), Failure> {
        let Some(session) = self.sessions.get_mut(at) else { return Ok(()) };
        let Planned { lane, len } = planned;
        let stream = Stream { client: session.client, direction: self.direction, lane };
        if session.is_blocked && lane.mode.is_reliable() {
            session.backlog.push_back(planned);
            return Ok(());
        }
        watch.oracle.compose(&stream, len, &mut self.message);
        let sequence = watch.oracle.next_sequence(&stream);
        let pieces = [&self.message[..]];
        let mut outgoing =
            Outgoing::new(lane.channel, lane.mode, &pieces).tagged(tag(lane, sequence));
        if lane.mode == Mode::ReliableLatest {
            outgoing = outgoing.with_key((sequence % KEYS) as u32);
        }
        let is_fickle = |at| lane.channel == FICKLE && sequence % FICKLE_EVERY == at;
        if is_fickle(0) {
            outgoing = outgoing.expiring(TIME_TO_LIVE);
        }
        let now = self.driver.now();
        match self.endpoint.send(now, session.peer, outgoing) {
            Ok(()) => {
                watch.oracle.on_sent(now, &stream, len, is_fickle(0));
                if is_fickle(FICKLE_EVERY / 2) {
                    session.unwanted.push((lane, sequence));
                }
            }
            Err(SendError::Full) => {
                session.is_blocked = true;
                if lane.mode.is_reliable() {
                    session.backlog.push_back(planned);
                } else {
                    watch.oracle.tally.on_refused(lane);
                }
            }
            // The session ended; that was, or will be, told by an event.
            Err(SendError::UnknownPeer | SendError::Closing) => {}
            Err(error) => return Err(format!("{stream}: {len} bytes: {error}").into()),
        }
        Ok(())
    }

    /// Closes all sessions once everything has arrived.
    pub(super) fn finish(&mut self) {
        let now = self.driver.now();
        for session in &mut self.sessions {
            session.is_closing = true;
            // An error means that it has ended, which was told.
            let _ = self.endpoint.finish(now, session.peer, CloseReason(0));
        }
    }

    /// Ends its recording.
    pub(super) fn stop(&mut self) {
        self.endpoint.stop();
    }

    /// How many sessions have begun.
    pub(super) fn open_count(&self) -> usize {
        self.sessions.iter().filter(|session| session.is_open).count()
    }

    /// How many sessions have not ended.
    pub(super) fn alive_count(&self) -> usize {
        self.sessions.iter().filter(|session| !session.is_ended).count()
    }

    /// Reliable messages that wait for room.
    pub(super) fn backlog_len(&self) -> usize {
        self.sessions.iter().map(|session| session.backlog.len()).sum()
    }

    /// Adds up, by channel, the messages that came after a newer one and were dropped, over all
    /// sessions that have not ended.
    pub(super) fn add_late(&mut self, sums: &mut [u64; CHANNELS]) {
        for (channel, sum) in (0..).map(ChannelId).zip(sums) {
            for session in &self.sessions {
                let late = self.endpoint.messages_late(session.peer, channel);
                *sum += u64::from(late.unwrap_or(0));
            }
        }
    }

    /// Bytes of messages that wait to be sent or acknowledged.
    pub(super) fn queued_len(&mut self) -> u64 {
        let queued = |session: &Session| {
            self.endpoint.path(session.peer).map_or(0, |path| u64::from(path.queued))
        };
        self.sessions.iter().map(queued).sum()
    }

    /// When something is due without anything happening first.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    /// Datagrams that the system took.
    pub(super) fn sent_count(&self) -> u64 {
        self.driver.stats().sent
    }

    /// Datagrams received.
    pub(super) fn received_count(&self) -> u64 {
        self.driver.stats().received
    }

    /// Bytes taken from the allocator for all that is remembered.
    pub(super) fn memory_len(&self) -> usize {
        self.endpoint.storage().allocated()
    }

    /// Sessions and blocks of memory that are still in use.
    pub(super) fn in_use(&mut self) -> (u32, u32) {
        let in_use = self.endpoint.in_use();
        (in_use.peers, in_use.blocks)
    }
}

impl Session {
    fn new(client: usize, peer: PeerId) -> Self {
        Self {
            client,
            peer,
            is_open: false,
            is_ended: false,
            is_closing: false,
            is_blocked: false,
            backlog: VecDeque::new(),
            unwanted: Vec::new(),
        }
    }
}

/// What a message is called towards the endpoint.
fn tag(lane: Lane, sequence: u64) -> Tag {
    let low = sequence as u32 & ((1 << SEQUENCE_BITS) - 1);
    Tag((lane.index().unwrap_or(Lane::COUNT) as u32) << SEQUENCE_BITS | low)
}
