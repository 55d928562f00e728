//! Many sessions behind one socket.

use bowline_core::{Address, Instant, Ledger, Link, PeerId, Quota, Slots};
use bowline_crypto::KeyedMac;
use bowline_transport::credit;
use bowline_transport::liveness::CallerClock;

use crate::config::{Config, ConfigError};
use crate::cookies::Cookies;
use crate::domain::Lane;
use crate::index::AddressHash;
use crate::lines::Lines;
use crate::peer::{Peer, Phase};
use crate::promise::Promise;
use crate::query::{Answer, Info};
use crate::random::Random;
use crate::reply::ReplyQueue;
use crate::statistics::{EndpointStatistics, PathState, PeerStatistics};
use crate::storage::{InUse, Need, Storage};

/// Times beyond this one, 292,000 years after the caller's epoch, are taken for it, so that deadlines lie
/// ahead of all times there are.
const TIME_MAX: Instant = Instant::from_micros(u64::MAX / 2);

/// All sessions behind one socket, in both roles.
///
/// Drive it as [`Machine`](bowline_core::Machine) says; talk through it as
/// [`Messages`](bowline_core::Messages) says. `S` is the memory: `Fixed`, `Heap`, or a `&mut` to either.
#[derive(Debug)]
pub struct Endpoint<S> {
    pub(crate) storage: S,
    pub(crate) context: Context,
    pub(crate) lines: Lines,
    pub(crate) replies: ReplyQueue,
    pub(crate) peers_quota: Quota,
    /// How many bans there are.
    pub(crate) bans: u32,
    /// No sessions begin from outside.
    pub(crate) draining: bool,
    pub(crate) generation: u32,
    /// What `poll_timeout` answered last.
    pub(crate) told: Option<Instant>,
    /// Memory was given back since the blocked, and the starved, were last looked at.
    pub(crate) freed: Freed,
    pub(crate) statistics: EndpointStatistics,
    pub(crate) info: Info,
    pub(crate) answer: Option<Answer>,
    pub(crate) query: Option<u64>,
    /// The session that the application was told of last has begun: its connect payload can be read.
    pub(crate) introduced: Option<Link>,
}

/// Who has not been asked yet since memory was given back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Freed {
    pub(crate) blocked: bool,
    pub(crate) starved: bool,
}

impl Freed {
    pub(crate) const ALL: Self = Self { blocked: true, starved: true };
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

impl<S> Endpoint<S> {
    /// Bytes of the endpoint itself, with its storage if it owns that: all the memory it takes besides what the
    /// storage has elsewhere.
    pub const BYTES: usize = size_of::<Self>();
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
        if usize::from(config.channels) > parts.memory.table.channels() {
            let memory = parts.memory.table.channels();
            return Err(ConfigError::ChannelsBeyondMemory { memory });
        }
        if config.source_sessions_max < u32::MAX
            && storage.gate().counts.is_empty()
            && !storage.grow(Need::Counts)
        {
            return Err(ConfigError::SourcesBeyondMemory);
        }
        let mut parts = storage.parts();
        let block_len = parts.memory.pool.block_len();
        let mut promise = Promise::of(&config, block_len);
        let peers = parts.peers.ledger().limit();
        if u64::from(promise.domains) * u64::from(peers)
            > u64::from(parts.memory.domains.ledger().limit())
        {
            return Err(ConfigError::ModesBeyondMemory);
        }
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
        let each = |ledger: &Ledger| ledger.limit().checked_div(peers).unwrap_or(0);
        let (records, assemblies) = (&parts.memory.records, &parts.memory.assemblies);
        promise.share(&config, each(records.ledger()), each(assemblies.ledger()));
        promise.keep(&mut parts);
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
            bans: 0,
            draining: false,
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
        let domain = parts.memory.table.find(parts.peers[link].row, channel.0, mode);
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
