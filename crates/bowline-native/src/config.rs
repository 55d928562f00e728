//! What an endpoint may be told.

use bowline_core::{ChannelId, Duration, PoolControl};
use bowline_transport::fragments;

use crate::sources::RateLimit;
use bowline_transport::share::{Class, ClassError};

use crate::promise::Promise;

pub use bowline_wire::native::Integrity;

/// Longest message the wire can carry, in bytes: 2^28 - 1.
pub const MESSAGE_LEN_MAX: u32 = bowline_wire::varint::MAX;

/// Most bytes that [`Config::send_max`] may allow.
const SEND_MAX_MAX: u32 = 1 << 30;

/// How an endpoint behaves and what it agrees to; plain data.
///
/// [`Config::new`] suits a game on hosts with memory from the heap, on a network that is its own: the
/// fixed window does not yield to other traffic. [`Config::small`] suits a few
/// kilobytes of `Fixed` memory.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which application's sessions these are. Peers with another number are refused.
    pub application: u64,
    /// Whether sessions are accepted, and who decides.
    pub accept: Accept,
    /// Least protection of packets against accidents that is asked for.
    pub integrity: Integrity,
    /// Whether peers put a 4-byte connection id into their packets, or none. Without one a session is
    /// found by its peer's address.
    pub connection_ids: bool,
    /// Longest datagram sent and taken, in bytes, `64..=65507`. 1200 passes nearly everywhere.
    pub datagram_max: u16,
    /// How many channels there are, `1..=256`. A session has the smaller of both sides' counts.
    pub channels: u16,
    /// How channels stand among each other when there is more to send than can be sent: of channel 0, 1 and
    /// so on; those beyond have [`Class::DEFAULT`]. Each mode of a channel counts by itself, its share and its
    /// budgets being its own.
    pub classes: &'static [Class],
    /// How long an acknowledgement may wait for company, up to 31 ms.
    pub ack_delay: Duration,
    /// Silence after which a peer is given up, 100 ms at least.
    pub idle_timeout: Duration,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// Credit that each reliable stream of a peer has to begin with, in bytes, at least 4. Memory for it is set
    /// aside for every channel of every session.
    pub credit: u32,
    /// The same for the streams of modes reliable-unordered and reliable-latest: 0, and peers cannot send messages
    /// in these modes, or a power of two, `16..=2^27`. Takes as much memory for each of the two.
    pub loose_credit: u32,
    /// How far the credit window of a busy reliable stream may grow, in bytes.
    pub credit_max: u32,
    /// Longest reliable message taken, in bytes.
    ///
    /// A message longer than its stream's window takes memory that all share, and must not keep it for ever: in
    /// two times `idle_timeout` 1/32 of it must arrive, or 8 KiB for each second of that time if that is less,
    /// and all of it in as many such times as that takes, and two more. Who is slower has timed out.
    /// With the numbers of [`Self::new`] 8 KiB/s are enough for the longest message, and 512 byte/s for one of
    /// 320 KiB. A path or a channel on which less comes through should have a lower limit here, or a longer
    /// `idle_timeout`.
    pub reliable_max: u32,
    /// Longest unreliable-ordered message taken, in bytes.
    pub ordered_max: u32,
    /// Longest unreliable message taken, in bytes.
    pub unreliable_max: u32,
    /// Most bytes of memory that one peer's unsent and unacknowledged messages may take, up to 1 GiB.
    pub send_max: u32,
    /// How much of that is set aside for every session, in bytes.
    pub send_reserve: u32,
    /// Most messages of one peer that have a tag, a time to live or a key, and whose outcome is not told, at
    /// least 1. Each takes a record.
    pub tickets_max: u32,
    /// Most bytes of unreliable messages that may wait to be read, per peer.
    pub inbox_max: u32,
    /// What incomplete unreliable messages of one peer may occupy.
    pub incomplete: fragments::Limits,
    /// Most bytes of packets in flight to one peer: the fixed congestion window.
    pub in_flight_max: u32,
    /// How often one source (an address without its port) may ask for a session, or for an answer
    /// without one; each attempt to connect takes two datagrams at least. None: as often as it likes.
    pub handshake_rate: Option<RateLimit>,
    /// Most sessions that one source may have begun, at least 1; `u32::MAX` for any number, and then
    /// they are not counted. A session counts until the application knows that it is over.
    pub source_sessions_max: u32,
    /// First packet number and stream offset. `None`, as it should be, draws one at random for each
    /// session; tests set it to begin just before a wrap.
    pub initial: Option<u32>,
}

/// Who decides about requests for a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Accept {
    /// Nobody is let in: this endpoint only connects.
    Never,
    /// Everybody is let in, as far as memory goes.
    Always,
    /// The application is asked ([`bowline_core::Event::Asked`]), and answers with
    /// [`crate::Endpoint::accept`] or [`crate::Endpoint::refuse`].
    Ask,
}

impl Config {
    /// For a game on hosts, with memory from the heap.
    pub const fn new(application: u64) -> Self {
        Self {
            application,
            accept: Accept::Always,
            integrity: Integrity::Crc32,
            connection_ids: true,
            datagram_max: 1200,
            channels: 8,
            classes: &[],
            ack_delay: Duration::from_millis(25),
            idle_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            credit: 8 * 1024,
            loose_credit: 8 * 1024,
            credit_max: 256 * 1024,
            reliable_max: 16 * 1024 * 1024,
            ordered_max: 256 * 1024,
            unreliable_max: 256 * 1024,
            send_max: 20 * 1024 * 1024,
            send_reserve: 4 * 1024,
            tickets_max: 4096,
            inbox_max: 256 * 1024,
            incomplete: fragments::Limits {
                messages: 32,
                bytes: 512 * 1024,
                age: Duration::from_secs(2),
            },
            in_flight_max: 256 * 1024,
            handshake_rate: Some(RateLimit { burst: 256, per_second: 64 }),
            source_sessions_max: u32::MAX,
            initial: None,
        }
    }

    /// For a few kilobytes of fixed memory: one channel, messages up to 512 bytes or so.
    pub const fn small(application: u64) -> Self {
        Self {
            datagram_max: 512,
            channels: 1,
            credit: 512,
            loose_credit: 0,
            credit_max: 512,
            reliable_max: 1024,
            ordered_max: 512,
            unreliable_max: 512,
            send_max: 1536,
            send_reserve: 256,
            tickets_max: 8,
            inbox_max: 1024,
            incomplete: fragments::Limits {
                messages: 1,
                bytes: 512,
                age: Duration::from_millis(500),
            },
            in_flight_max: 2400,
            connection_ids: false,
            handshake_rate: Some(RateLimit { burst: 32, per_second: 8 }),
            ..Self::new(application)
        }
    }

    /// Pool blocks, of `block_len` bytes with the 4 of the pool's own, that each session is promised.
    ///
    /// An endpoint takes no memory with fewer than that for each of its sessions.
    pub const fn blocks_per_peer(&self, block_len: u32) -> u32 {
        Promise::of(self, PoolControl::new(block_len, 0).block_len()).blocks()
    }

    /// Records that each session is promised. An endpoint takes no memory with fewer for each.
    pub const fn records_per_peer(&self) -> u32 {
        Promise::of(self, 1).records()
    }

    /// Lowers what is announced to what memory can hold when all are promised theirs, `common` blocks
    /// being left: half of it for one long reliable message, the other half for who sends.
    pub(crate) fn fit_memory(&mut self, common: u32, block_len: usize) {
        let bytes = |blocks: u64| u32::try_from(blocks * block_len as u64).unwrap_or(u32::MAX);
        let half = bytes(u64::from(common / 2)).saturating_sub(4);
        let packet = u32::from(self.datagram_max) / 2;
        self.reliable_max = self.reliable_max.min(half.max(self.credit.saturating_sub(4)));
        let whole = half.min(self.incomplete.bytes).max(packet);
        self.ordered_max = self.ordered_max.min(whole);
        self.unreliable_max = self.unreliable_max.min(whole);
    }

    /// The class of a channel.
    pub fn class(&self, channel: ChannelId) -> Class {
        self.classes.get(usize::from(channel.0)).copied().unwrap_or(Class::DEFAULT)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let longest = self.reliable_max.max(self.ordered_max).max(self.unreliable_max);
        if (self.datagram_max as usize) < bowline_wire::native::DATAGRAM_MIN
            || self.datagram_max > 65_507
        {
            return Err(ConfigError::DatagramMax);
        }
        if self.channels == 0 || self.channels > 256 {
            return Err(ConfigError::Channels);
        }
        if self.ack_delay > Duration::from_millis(31) {
            return Err(ConfigError::AckDelay);
        }
        let millis = self.idle_timeout.as_millis();
        if millis < 100 || millis > u64::from(bowline_wire::varint::MAX) {
            return Err(ConfigError::IdleTimeout);
        }
        // On the shortest links CONNECT fits only with lengths of three bytes.
        if longest > MESSAGE_LEN_MAX || self.datagram_max < 69 && longest >= 1 << 21 {
            return Err(ConfigError::MessageLen);
        }
        // A length has up to four bytes, and credit for a message is given once its length is known.
        if self.credit < 4 || self.credit_max < self.credit || self.credit_max > MESSAGE_LEN_MAX {
            return Err(ConfigError::Credit);
        }
        if self.loose_credit != 0
            && !(self.loose_credit.is_power_of_two() && (16..=1 << 27).contains(&self.loose_credit))
        {
            return Err(ConfigError::LooseCredit);
        }
        // Offsets of unacknowledged bytes have an order only while they are less than 2^31 apart.
        if self.send_max == 0
            || self.send_max > SEND_MAX_MAX
            || self.send_reserve > self.send_max
            || self.inbox_max == 0
            || self.tickets_max == 0
        {
            return Err(ConfigError::Memory);
        }
        if self.in_flight_max == 0 {
            return Err(ConfigError::InFlight);
        }
        if self.handshake_rate.is_some_and(|rate| !rate.is_sound()) {
            return Err(ConfigError::HandshakeRate);
        }
        if self.source_sessions_max == 0 {
            return Err(ConfigError::SourceSessions);
        }
        for (channel, class) in self.classes.iter().enumerate() {
            if let Err(error) = class.check() {
                return Err(ConfigError::Class { channel, error });
            }
        }
        Ok(())
    }
}

/// Why a [`Config`] is no good, or not with this memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `datagram_max` is not in `64..=65507`.
    DatagramMax,
    /// `channels` is not in `1..=256`.
    Channels,
    /// `channels` is more than the memory is laid out for.
    ChannelsBeyondMemory {
        /// How many channels the memory has for each session.
        memory: usize,
    },
    /// `ack_delay` is longer than 31 ms.
    AckDelay,
    /// `idle_timeout` is shorter than 100 ms, or absurdly long.
    IdleTimeout,
    /// A message length is longer than the wire can carry, or 2 MiB on a link of less than 69 bytes.
    MessageLen,
    /// `credit` is less than 4 or more than `credit_max`.
    Credit,
    /// `loose_credit` is no power of two in `16..=2^27`.
    LooseCredit,
    /// The memory is laid out for three modes of each channel, and `loose_credit` is not 0.
    ModesBeyondMemory,
    /// A memory limit is zero, or a reserve is more than its limit, or `send_max` is more than 1 GiB.
    Memory,
    /// `in_flight_max` is zero.
    InFlight,
    /// `handshake_rate` has a burst of 0, not `1..=1_000` per second, or takes an hour or more to regain a
    /// burst.
    HandshakeRate,
    /// `source_sessions_max` is zero.
    SourceSessions,
    /// The memory has no room to count sessions by source, as `source_sessions_max` asks.
    SourcesBeyondMemory,
    /// The class of a channel makes no sense.
    Class {
        /// Which channel.
        channel: usize,
        /// What is wrong with its class.
        error: ClassError,
    },
    /// The memory does not hold what one session is promised, let alone all of them.
    MemoryTooSmall {
        /// Pool blocks promised to each session.
        blocks_per_peer: u32,
        /// Records promised to each session.
        records_per_peer: u32,
    },
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::DatagramMax => f.write_str("datagram_max is not in 64..=65507"),
            Self::Channels => f.write_str("channels is not in 1..=256"),
            Self::ChannelsBeyondMemory { memory } => {
                write!(f, "channels is more than the {memory} that the memory is laid out for")
            }
            Self::AckDelay => f.write_str("ack_delay is longer than 31 ms"),
            Self::IdleTimeout => {
                f.write_str("idle_timeout is shorter than 100 ms or absurdly long")
            }
            Self::MessageLen => f.write_str("a message length is longer than the wire can carry"),
            Self::Credit => f.write_str("credit is less than 4 or more than credit_max"),
            Self::LooseCredit => f.write_str("loose_credit is no power of two in 16..=2^27"),
            Self::ModesBeyondMemory => {
                f.write_str("the memory is laid out for three modes, and loose_credit is not 0")
            }
            Self::Memory => f.write_str("a memory limit is zero, or a reserve more than its limit"),
            Self::InFlight => f.write_str("in_flight_max is zero"),
            Self::HandshakeRate => f.write_str("handshake_rate is nothing, or out of range"),
            Self::SourceSessions => f.write_str("source_sessions_max is zero"),
            Self::SourcesBeyondMemory => {
                f.write_str("the memory has no room to count sessions by source")
            }
            Self::Class { channel, error } => write!(f, "channel {channel}: {error}"),
            Self::MemoryTooSmall { blocks_per_peer, records_per_peer } => write!(
                f,
                "the memory is too small: each session is promised {blocks_per_peer} blocks and \
                 {records_per_peer} records"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}
