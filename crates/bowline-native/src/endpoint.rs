//! Many sessions behind one socket.

use bowline_core::{
    Address, BufferTooShort, CancelError, CloseReason, DisconnectReason, DropReason, Event,
    Incoming, Instant, Link, Machine, Messages, Outgoing, PeerId, Quota, Received, RefuseReason,
    SendError, Slots, Tag, Transmit,
};
use bowline_crypto::KeyedMac;
use bowline_transport::credit;
use bowline_transport::liveness::CallerClock;
use bowline_wire::native::{CloseCause, PacketHead, RefuseCode, is_session};

use crate::config::{Config, ConfigError};
use crate::cookies::Cookies;
use crate::domain::Lane;
use crate::index::AddressHash;
use crate::lines::Lines;
use crate::peer::{Peer, Phase};
use crate::promise::Promise;
use crate::query::{Answer, Info};
use crate::random::Random;
use crate::read::Found;
use crate::receive::{Failed, Packet};
use crate::reply::ReplyQueue;
use crate::send::Refused;
use crate::statistics::{EndpointStatistics, PathState, PeerStatistics};
use crate::storage::{InUse, Need, Parts, Storage};

/// Times beyond this one, 292,000 years after the caller's epoch, are taken for it, so that deadlines lie
/// ahead of all times there are.
const TIME_MAX: Instant = Instant::from_micros(u64::MAX / 2);

/// Records that are lent before a packet is made, so that making it need not stop for more.
const RECORDS_AHEAD: usize = 4;

/// All sessions behind one socket, in both roles.
///
/// Drive it as [`Machine`] says; talk through it as [`Messages`] says. `S` is the memory: `Fixed`,
/// `Heap`, or a `&mut` to either.
#[derive(Debug)]
pub struct Endpoint<S> {
    pub(crate) storage: S,
    pub(crate) context: Context,
    lines: Lines,
    pub(crate) replies: ReplyQueue,
    pub(crate) peers_quota: Quota,
    pub(crate) generation: u32,
    /// What [`Machine::poll_timeout`] answered last.
    told: Option<Instant>,
    /// Memory was given back since the blocked, and the starved, were last looked at.
    freed: Freed,
    pub(crate) statistics: EndpointStatistics,
    pub(crate) info: Info,
    pub(crate) answer: Option<Answer>,
    pub(crate) query: Option<u64>,
    /// The session that the application was told of last has begun: its connect payload can be read.
    introduced: Option<Link>,
}

/// Who has not been asked yet since memory was given back.
#[derive(Clone, Copy, Debug, Default)]
struct Freed {
    blocked: bool,
    starved: bool,
}

impl Freed {
    const ALL: Self = Self { blocked: true, starved: true };
}

/// What an endpoint's sessions share and are not memory.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: CallerClock,
    /// The latest time seen.
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) hash: AddressHash,
    pub(crate) cookies: Cookies,
    pub(crate) promise: Promise,
    /// Blocks that the longest reliable message takes: kept for one that has begun to arrive.
    pub(crate) long_blocks: u32,
    /// Blocks that no window grows into, so that the longest message that may be sent always fits
    /// in the end.
    pub(crate) send_blocks: u32,
    /// Most blocks that one peer's unsent and unacknowledged messages may take.
    pub(crate) send_blocks_max: u32,
    /// Longest message that this side has memory to send, in bytes.
    pub(crate) message_max: usize,
    /// Bits of a connection id that tell the slot.
    pub(crate) slot_bits: u32,
}

/// Why a connection could not be begun. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no memory for another session.
    Full,
    /// There is a session with this address.
    AlreadyConnected(PeerId),
    /// The payload does not fit a datagram.
    PayloadTooLong {
        /// Its length, in bytes.
        len: usize,
        /// The longest one, in bytes.
        max: usize,
    },
}

impl core::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => f.write_str("no memory for another session"),
            Self::AlreadyConnected(peer) => write!(f, "session {peer} has this address"),
            Self::PayloadTooLong { len, max } => {
                write!(f, "connect payload of {len} bytes is longer than {max}")
            }
        }
    }
}

impl core::error::Error for ConnectError {}

/// There is no such session, or it is not in a state for this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownPeer;

impl core::fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no such session, or not in a state for this")
    }
}

impl core::error::Error for UnknownPeer {}

/// What became of a broadcast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Broadcast {
    /// How many sessions took the message.
    pub sent: u32,
    /// How many did not; those without room get an [`Event::Writable`].
    pub refused: u32,
}

impl<S: Storage> Endpoint<S> {
    /// An endpoint for *plain* sessions: neither encrypted nor authenticated, for links where
    /// nobody listens or forges.
    ///
    /// `seed` is 32 random bytes that are never used again; a machine that has none at start-up
    /// mixes in what it gathers later ([`Self::add_entropy`]). `mac` makes cookies unforgeable and
    /// random numbers of the seed.
    ///
    /// # Errors
    ///
    /// When `config` is no good, or `storage` does not hold what one session is promised.
    pub fn plain(
        mut config: Config,
        mac: &'static dyn KeyedMac,
        seed: &[u8; 32],
        mut storage: S,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let parts = storage.parts();
        if usize::from(config.channels) > parts.memory.channels {
            return Err(ConfigError::Channels);
        }
        let block_len = parts.memory.pool.block_len();
        let promise = Promise::of(&config, block_len);
        let peers = parts.peers.ledger().limit();
        if u64::from(promise.blocks()) * u64::from(peers)
            > u64::from(parts.memory.pool.ledger().limit())
            || u64::from(promise.records()) * u64::from(peers)
                > u64::from(parts.memory.records.ledger().limit())
        {
            return Err(ConfigError::MemoryTooSmall {
                blocks_per_peer: promise.blocks(),
                records_per_peer: promise.records(),
            });
        }
        let common = parts.memory.pool.ledger().limit() - promise.blocks() * peers;
        config.fit_memory(common, block_len);
        let long_blocks = credit::blocks_for(config.reliable_max, block_len).min(common);
        let send_blocks = (common - long_blocks) / 2;
        let send_blocks_max = (config.send_max / block_len.max(1) as u32).max(1);
        // What can be had in the end, whatever windows have grown.
        let own = send_blocks_max.min(send_blocks + promise.send_blocks);
        let message_max = (own as usize).saturating_mul(block_len).saturating_sub(4);
        let mut random = Random::new(mac, seed);
        let hash = AddressHash { mac, key: random.next_key() };
        let cookies = Cookies { mac, key: random.next_key() };
        let slot_bits = u32::BITS - peers.saturating_sub(1).leading_zeros();
        let clock = CallerClock::new();
        let now = Instant::ZERO;
        Ok(Self {
            storage,
            context: Context {
                config,
                clock,
                now,
                random,
                hash,
                cookies,
                promise,
                long_blocks,
                send_blocks,
                send_blocks_max,
                message_max,
                slot_bits,
            },
            lines: Lines::EMPTY,
            replies: ReplyQueue::default(),
            peers_quota: Quota::NONE,
            generation: 0,
            told: None,
            freed: Freed::default(),
            statistics: EndpointStatistics::NONE,
            info: Info::default(),
            answer: None,
            query: None,
            introduced: None,
        })
    }

    /// Mixes randomness into the endpoint's own; never makes it worse.
    pub fn add_entropy(&mut self, entropy: &[u8]) {
        self.context.random.add_entropy(entropy);
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.context.config
    }

    /// What passed through this endpoint.
    pub const fn statistics(&self) -> &EndpointStatistics {
        &self.statistics
    }

    /// What passed between this side and `peer`.
    pub fn peer_statistics(&mut self, peer: PeerId) -> Option<PeerStatistics> {
        let parts = self.storage.parts();
        let link = find(&parts.peers, peer)?;
        Some(parts.peers[link].statistics)
    }

    /// How many unreliable-ordered messages of this channel of `peer` came after a newer one, and
    /// were dropped.
    pub fn messages_late(&mut self, peer: PeerId, channel: bowline_core::ChannelId) -> Option<u32> {
        let parts = self.storage.parts();
        let link = find(&parts.peers, peer)?;
        let mode = bowline_core::Mode::UnreliableOrdered;
        let domain = parts.memory.domain(link.index(), channel.0, mode);
        let lane = domain.map(|domain| &parts.memory.domains[domain].lane);
        match lane {
            Some(Lane::Ordered { late, .. }) => Some(*late),
            _ => Some(0),
        }
    }

    /// What is known of the path to `peer`.
    pub fn path(&mut self, peer: PeerId) -> Option<PathState> {
        use bowline_transport::congestion::Controller;
        let parts = self.storage.parts();
        let peer = &parts.peers[find(&parts.peers, peer)?];
        let mut queued = 0u32;
        let mut at = peer.domains;
        while let Some(link) = at.some() {
            let domain = &parts.memory.domains[link];
            queued = queued.saturating_add(domain.queued());
            at = bowline_core::Slot::next(domain);
        }
        Some(PathState {
            rtt: peer.rtt.smoothed(),
            rtt_variation: peer.rtt.variation(),
            rtt_min: peer.rtt.min(),
            in_flight: peer.sent.in_flight(),
            window: peer.window.window(),
            queued,
            datagram_max: peer.theirs.datagram_max,
        })
    }

    /// The address of `peer`.
    pub fn address(&mut self, peer: PeerId) -> Option<Address> {
        let parts = self.storage.parts();
        let link = find(&parts.peers, peer)?;
        Some(parts.peers[link].address)
    }

    /// Longest message that can be sent to `peer` in this mode now and later, in bytes.
    pub fn message_max(&mut self, peer: PeerId, mode: bowline_core::Mode) -> Option<usize> {
        let parts = self.storage.parts();
        let link = find(&parts.peers, peer)?;
        parts.peers[link].message_max(&self.context, mode)
    }

    /// How much of the memory is in use.
    pub fn in_use(&mut self) -> InUse {
        self.storage.parts().in_use()
    }

    /// The memory, to measure it.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// The application will not call for a while: time stands still for all timeouts until
    /// [`Self::resume`]. The peers' own timeouts go on.
    pub fn suspend(&mut self) {
        self.context.clock.suspend();
    }

    /// The application is back.
    pub fn resume(&mut self, now: Instant) {
        self.context.clock.resume(now.min(TIME_MAX));
    }

    /// Sends a message to every open session but `except`.
    pub fn broadcast(
        &mut self,
        now: Instant,
        message: Outgoing<'_>,
        except: Option<PeerId>,
    ) -> Broadcast {
        let mut outcome = Broadcast::default();
        let slots = self.storage.parts().peers.lent();
        for slot in 0..slots {
            let parts = self.storage.parts();
            let peer = &parts.peers[Link::new(slot as u32)];
            let id = PeerId::new(slot as u32, peer.generation);
            if !matches!(peer.phase, Phase::Open) || except == Some(id) {
                continue;
            }
            match self.send(now, id, message) {
                Ok(()) => outcome.sent += 1,
                Err(_) => outcome.refused += 1,
            }
        }
        outcome
    }

    /// Closes a session once everything that was queued has been sent and acknowledged. Nothing
    /// more can be sent meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such session, or it is not open.
    pub fn finish(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        let now = self.enter(now);
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, peer).ok_or(UnknownPeer)?;
        let peer = &mut parts.peers[link];
        if !matches!(peer.phase, Phase::Open) || peer.finishing.is_some() {
            return Err(UnknownPeer);
        }
        peer.finishing = Some(reason);
        self.settle(now, link);
        Ok(())
    }

    /// Takes the time in, and answers it clamped to what was seen before.
    pub(crate) fn enter(&mut self, now: Instant) -> Instant {
        let now = now.min(TIME_MAX);
        if now != self.context.now {
            self.context.now = self.context.clock.observe(now, self.told);
        }
        self.context.now
    }

    /// After something happened to a session: carries out what follows from it, and sees to it that
    /// the session is sent, told and woken for when it is due.
    pub(crate) fn settle(&mut self, now: Instant, link: Link) {
        self.lines.settle(&mut self.storage.parts(), &self.context, now, link);
    }

    /// Lets expired timers act.
    #[inline(never)]
    fn fire(&mut self, now: Instant) {
        let mut parts = self.storage.parts();
        while let Some((slot, _)) = parts.schedule.earliest().filter(|(_, at)| *at <= now) {
            let link = Link::new(slot as u32);
            parts.schedule.set(slot, None);
            parts.peers[link].on_timeout(&mut parts.memory, &self.context, now);
            self.lines.settle(&mut parts, &self.context, now, link);
            self.freed = Freed::ALL;
        }
    }

    /// Gives credit to who waited for memory.
    fn feed_starved(&mut self, now: Instant) {
        let mut first = None;
        while let Some(link) = self.lines.starved.front() {
            if first == Some(link) {
                return;
            }
            let mut parts = self.storage.parts();
            self.lines.starved.pop(&mut parts.peers);
            let peer = &mut parts.peers[link];
            if matches!(peer.phase, Phase::Open) {
                peer.grant_all(&mut parts.memory, &self.context, now);
                if peer.is_starved {
                    first = first.or(Some(link));
                }
                self.settle(now, link);
            }
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        from: &Address,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let id_len = if self.context.config.connection_ids { 4 } else { 0 };
        let (head, rest) =
            PacketHead::parse(datagram, id_len).map_err(bowline_wire::Malformed::drop_reason)?;
        let packet = Packet { head, rest, datagram };
        loop {
            let mut parts = self.storage.parts();
            let link = self.context.find_session(&parts, from, &head).ok_or(DropReason::Stray)?;
            let slot = link.index();
            let peer = &mut parts.peers[link];
            if peer.address != *from {
                return Err(DropReason::WrongAddress);
            }
            let outcome = match peer.handle(&mut parts.memory, &self.context, now, slot, &packet) {
                Ok(()) => Ok(()),
                Err(Failed::Drop(reason)) => Err(reason),
                Err(Failed::Short(need)) => {
                    if self.storage.grow(need) {
                        continue;
                    }
                    parts = self.storage.parts();
                    Err(DropReason::Full)
                }
                Err(Failed::Misbehaved) => {
                    // Without integrity, an accident on the link could be the culprit.
                    peer.misbehaved |= peer.integrity != crate::config::Integrity::None;
                    Err(DropReason::Misbehaved)
                }
            };
            if outcome.is_err() {
                let dropped = &mut parts.peers[link].statistics.datagrams_dropped;
                *dropped = dropped.wrapping_add(1);
            }
            self.freed = Freed::ALL;
            self.lines.settle(&mut parts, &self.context, now, link);
            return outcome;
        }
    }

    /// Has the first session in line write its next datagram, and sets its timer when it has no more.
    fn transmit_session(
        &mut self,
        now: Instant,
        link: Link,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let mut parts = self.storage.parts();
        if parts.memory.records.vacant() < RECORDS_AHEAD {
            self.storage.grow(Need::Record);
            parts = self.storage.parts();
        }
        let peer = &mut parts.peers[link];
        let wanted = peer.wants_transmit(now);
        let sent = if wanted {
            peer.poll_transmit(&mut parts.memory, &mut self.context, now, buf)?
        } else {
            None
        };
        let to = peer.address;
        if let Some(len) = sent {
            peer.statistics.datagrams_sent = peer.statistics.datagrams_sent.wrapping_add(1);
            peer.statistics.bytes_sent += len as u64;
            self.statistics.datagrams_sent += 1;
            self.statistics.bytes_sent += len as u64;
            self.freed = Freed::ALL;
        }
        let stuck = wanted && sent.is_none();
        if self.lines.pass(&mut parts, &self.context, now, link, stuck) {
            self.retire(link);
        }
        Ok(sent.map(|len| Transmit { to, len, segment_len: None, ecn: None }))
    }

    /// Queues a message, whatever there is to be done for it.
    #[inline(never)]
    fn send_any(
        &mut self,
        now: Instant,
        to: PeerId,
        message: &Outgoing<'_>,
    ) -> Result<(), SendError> {
        let Self { storage, lines, context, .. } = self;
        if storage.parts().send_anew(lines, context, to, message) {
            return Ok(());
        }
        self.enter(now);
        loop {
            let mut parts = self.storage.parts();
            let link = find(&parts.peers, to).ok_or(SendError::UnknownPeer)?;
            let peer = &mut parts.peers[link];
            match peer.send(&mut parts.memory, &self.context, link.index(), message) {
                Ok(()) => {
                    self.lines.active.push(&mut parts.peers, link);
                    return Ok(());
                }
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Short(need)) if self.storage.grow(need) => {}
                Err(refused) => {
                    let blocks = match refused {
                        Refused::Full { blocks } => blocks,
                        _ => 1,
                    };
                    let mut parts = self.storage.parts();
                    parts.peers[link].wanted_blocks = blocks;
                    self.lines.blocked.push(&mut parts.peers, link);
                    return Err(SendError::Full);
                }
            }
        }
    }

    /// The next message of a session, whatever there is to be done for it.
    #[inline(never)]
    fn recv_any(&mut self, from: PeerId) -> Option<Found> {
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, from)?;
        let peer = &mut parts.peers[link];
        let message = peer.next_message(&mut parts.memory, &self.context);
        self.freed = Freed::ALL;
        if peer.credit_due || peer.misbehaved || peer.is_starved {
            self.lines.settle(&mut parts, &self.context, self.context.now, link);
        }
        message
    }

    /// Gives the slot of a session back that is over ([`Peer::is_over`]).
    #[inline(never)]
    fn retire(&mut self, link: Link) {
        let mut parts = self.storage.parts();
        parts.peers[link].vacate(&mut parts.memory, link.index());
        parts.schedule.set(link.index(), None);
        self.lines.remove(&mut parts.peers, link);
        parts.peers.give(&mut self.peers_quota, link);
        self.freed = Freed::ALL;
    }

    /// Tells applications that wait for room when there is some.
    fn unblock(&mut self) {
        if !core::mem::take(&mut self.freed.blocked) || self.lines.blocked.is_empty() {
            return;
        }
        let mut parts = self.storage.parts();
        let mut first = None;
        while let Some(link) = self.lines.blocked.front() {
            if first == Some(link) {
                return;
            }
            self.lines.blocked.pop(&mut parts.peers);
            let peer = &mut parts.peers[link];
            let open = matches!(peer.phase, Phase::Open);
            let room = peer.has_send_room(&parts.memory.pool, &self.context, peer.wanted_blocks);
            if open && room {
                peer.tell_writable = !cfg!(bowline_mutant = "forget_writable");
                self.lines.tell(&mut parts.peers, link);
            } else if open {
                first = first.or(Some(link));
                self.lines.blocked.push(&mut parts.peers, link);
            }
        }
    }
}

impl<S: Storage> Machine for Endpoint<S> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let now = self.enter(now);
        let outcome = match datagram.first() {
            None => Err(DropReason::Truncated),
            Some(&first) if is_session(first) => self.handle_packet(now, &from.from, datagram),
            Some(_) => self.handle_handshake(now, &from.from, datagram),
        };
        match outcome {
            Ok(()) => {
                self.statistics.datagrams_received += 1;
                self.statistics.bytes_received += datagram.len() as u64;
            }
            Err(reason) => self.statistics.count_drop(reason),
        }
        outcome
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let now = self.enter(now);
        if self.storage.parts().schedule.earliest().is_some_and(|(_, at)| at <= now) {
            self.fire(now);
        }
        if core::mem::take(&mut self.freed.starved) && !self.lines.starved.is_empty() {
            self.feed_starved(now);
        }
        if !self.replies.is_empty()
            && let Some(transmit) = self.transmit_reply(now, buf)?
        {
            return Ok(Some(transmit));
        }
        while let Some(link) = self.lines.active.front() {
            if let Some(transmit) = self.transmit_session(now, link, buf)? {
                return Ok(Some(transmit));
            }
        }
        Ok(None)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        // Timers and sending bring events too, after the application has asked for them.
        self.unblock();
        let now = self.context.now;
        let mut parts = self.storage.parts();
        let at_once = self.lines.any_wants_transmit(&mut parts, &self.context, now);
        let news = core::mem::take(&mut self.lines.news);
        self.told = if at_once || news || !self.replies.is_empty() {
            Some(now)
        } else {
            parts.schedule.earliest().map(|(_, at)| at)
        };
        self.told
    }
}

impl<S: Storage> Messages for Endpoint<S> {
    #[inline]
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        if self.storage.parts().send_short(to, &message) {
            return Ok(());
        }
        self.send_any(now, to, &message)
    }

    fn cancel(&mut self, to: PeerId, _tag: Tag) -> Result<(), CancelError> {
        match find(&self.storage.parts().peers, to) {
            Some(_) => Err(CancelError::Unsupported),
            None => Err(CancelError::UnknownPeer),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        if let Some(link) = self.introduced.take() {
            let mut parts = self.storage.parts();
            parts.peers[link].forget_payload(&mut parts.memory);
            self.freed = Freed::ALL;
        }
        self.unblock();
        self.lines.news = false;
        if self.answer.as_mut().is_some_and(|answer| core::mem::take(&mut answer.untold)) {
            return Some(Event::Answered);
        }
        while let Some(link) = self.lines.ready.front() {
            let mut parts = self.storage.parts();
            let peer = &mut parts.peers[link];
            let id = PeerId::new(link.index() as u32, peer.generation);
            let event = peer.poll_event(id);
            let (more, over) = (peer.tells(), peer.is_over());
            if !more {
                self.lines.ready.pop(&mut parts.peers);
            }
            if over {
                self.retire(link);
            }
            if let Some(Event::Connected(_)) = event {
                self.introduced = Some(link);
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    #[inline]
    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        let short = self.storage.parts().recv_short(from);
        let Found { channel, mode, at, len } = short.or_else(|| self.recv_any(from))?;
        let (block, pos) = at.place();
        let chunks = self.storage.parts().memory.pool.into_chunks(block, pos, len);
        Some(Incoming::new(channel, mode, chunks))
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        let now = self.enter(now);
        let mut parts = self.storage.parts();
        let Some(link) = find(&parts.peers, peer) else { return };
        let peer = &mut parts.peers[link];
        let reason = DisconnectReason::Closed(reason);
        match peer.phase {
            Phase::Open => {
                peer.begin_close(
                    &mut parts.memory,
                    &self.context,
                    now,
                    CloseCause::Application,
                    reason,
                );
            }
            Phase::Hello | Phase::Connect { .. } => peer.end(&mut parts.memory, reason),
            Phase::Asked => {
                let code = RefuseReason::ByApplication(CloseReason(0));
                self.refuse_link(now, link, code, reason);
            }
            Phase::Vacant | Phase::Closing { .. } | Phase::Closed => return,
        }
        self.freed = Freed::ALL;
        self.settle(now, link);
    }
}

impl Context {
    /// The session that a packet is for.
    fn find_session(&self, parts: &Parts<'_>, from: &Address, head: &PacketHead) -> Option<Link> {
        if !self.config.connection_ids {
            return self.hash.find(parts.index, &parts.peers, from);
        }
        let link = Link::new(head.connection_id & ((1 << self.slot_bits) - 1));
        let peer = parts.peers.get(link)?;
        (peer.own_id == Some(head.connection_id) && peer.is_listed).then_some(link)
    }
}

/// The session that `id` names, if it is still here.
#[inline]
pub(crate) fn find(peers: &Slots<'_, Peer>, id: PeerId) -> Option<Link> {
    let link = Link::new(id.slot() as u32);
    let peer = peers.get(link)?;
    let here = peer.generation == id.generation()
        && !matches!(peer.phase, Phase::Vacant)
        && !peer.told_ended;
    here.then_some(link)
}

/// What a refusal says on the wire.
pub(crate) const fn refuse_code(reason: RefuseReason) -> (RefuseCode, u32) {
    match reason {
        RefuseReason::Version(_) => (RefuseCode::Version, 0),
        RefuseReason::Application => (RefuseCode::Application, 0),
        RefuseReason::Limits => (RefuseCode::Limits, 0),
        RefuseReason::ByApplication(reason) => (RefuseCode::ByApplication, reason.0),
        _ => (RefuseCode::Full, 0),
    }
}

impl Peer {
    /// Whether there is an event of this session to tell.
    pub(crate) fn tells(&self) -> bool {
        self.tell_asked
            || self.tell_connected
            || self.tell_readable
            || self.tell_writable
            || self.ended.is_some() && matches!(self.phase, Phase::Closed) && !self.told_ended
    }

    /// The next event of this session, in a fixed order.
    fn poll_event(&mut self, id: PeerId) -> Option<Event> {
        if core::mem::take(&mut self.tell_asked) {
            return Some(Event::Asked(id));
        }
        if core::mem::take(&mut self.tell_connected) {
            return Some(Event::Connected(id));
        }
        if core::mem::take(&mut self.tell_readable) {
            return Some(Event::Readable(id));
        }
        if core::mem::take(&mut self.tell_writable) && matches!(self.phase, Phase::Open) {
            return Some(Event::Writable(id));
        }
        match self.ended {
            Some(reason) if matches!(self.phase, Phase::Closed) && !self.told_ended => {
                self.told_ended = true;
                Some(Event::Disconnected(id, reason))
            }
            _ => None,
        }
    }
}
