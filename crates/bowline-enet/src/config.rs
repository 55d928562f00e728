//! How a host behaves.

use bowline_core::Received;
use bowline_wire::enet::{CHANNELS_MAX, MTU_DEFAULT, MTU_MAX, MTU_MIN, PEERS_MAX};

/// What a host offers and keeps to. All fields can be set; [`Config::default`] is ENet's own default with all
/// hardenings on.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most channels of a connection that somebody else asks for, in `1..=255`.
    pub channel_limit: u8,
    /// Bytes per second that this side can receive; 0 is no limit.
    pub incoming_bandwidth: u32,
    /// Bytes per second that this side will send; 0 is no limit. Beyond it unreliable packets are dropped, and the
    /// windows of reliable ones shrink.
    pub outgoing_bandwidth: u32,
    /// Longest datagram, in bytes, in `576..=4096`; the shorter of both sides' is used. A checksum comes on top.
    pub mtu: u16,
    /// Whether datagrams carry a checksum. Both sides must have the same.
    pub checksum: Checksum,
    /// Longest packet that is sent or taken, in bytes.
    pub packet_max: u32,
    /// Bytes of packets of one peer that wait for the application, above which no more are taken; one packet may go
    /// beyond.
    pub waiting_max: u32,
    /// Bytes of packets that wait to be sent to one peer, or for its acknowledgement, above which sending answers
    /// [`bowline_core::SendError::Full`]. ENet has no such limit.
    pub send_max: u32,
    /// Most connections from one source (an IPv4 address, or 64 bits of an IPv6 one). With
    /// `u16::MAX` there is no limit.
    pub source_peers_max: u16,
    /// Which release's rules are kept, where they differ on the wire.
    pub release: Release,
    /// Sees every datagram before anything else does.
    pub intercept: Option<Intercept>,
    /// What ENet does not guard against.
    pub hardening: Hardening,
    /// What ENet's clock shows, in milliseconds, when the caller's shows 0. It matters for tests only.
    pub clock_offset: u32,
}

/// Looks at a datagram and says whether the host is to see it. It may be changed on the way.
pub type Intercept = fn(&Received, &mut [u8]) -> Verdict;

/// What becomes of a datagram that was intercepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The host takes it in.
    Pass,
    /// It was not meant for the host.
    Consumed,
}

/// The checksum of datagrams. It finds accidents, and keeps out those who do not know a connection's 32-bit
/// connect id; it is no authentication.
#[derive(Clone, Copy, Debug, Default)]
pub enum Checksum {
    /// None: what Godot uses.
    #[default]
    None,
    /// `enet_crc32`.
    Crc32,
    /// The application's own, of header and connect id, and of the commands; what it answers goes on the wire as it
    /// is.
    Custom(CustomChecksum),
}

/// A checksum of header, connect id and commands.
pub type CustomChecksum = fn(&[u8], [u8; 4], &[u8]) -> [u8; 4];

impl Checksum {
    /// Bytes it takes in a datagram.
    pub(crate) const fn wire_len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 | Self::Custom(_) => 4,
        }
    }

    pub(crate) fn of(&self, header: &[u8], connect_id: [u8; 4], commands: &[u8]) -> [u8; 4] {
        match self {
            Self::Custom(checksum) => checksum(header, connect_id, commands),
            _ => bowline_wire::enet::checksum(header, connect_id, commands),
        }
    }
}

/// Releases of ENet between which the wire differs. All of them understand each other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Release {
    /// 1.3.17: one queue for all commands, the client's MTU, timeouts fixed when a command is first sent.
    V1_3_17,
    /// 1.3.18 and later.
    #[default]
    V1_3_18,
}

/// Guards against what ENet leaves open, as far as real peers do not notice. Each can be switched off.
///
/// What remains open: there is no authentication. Who can send from a peer's address, and guesses its slot and
/// 2-bit session, can disconnect it (a checksum asks for the connect id, too); who can read the traffic can do
/// anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hardening {
    /// Most connections of one source that have not proved yet that they hear us. ENet: no limit.
    pub half_open_max: u16,
    /// How often VERIFY_CONNECT is sent before a half-open connection is dropped. ENet: 6 times, over 31.5 s. With 4
    /// it is 7.5 s, and what a forged CONNECT can make us send to its victim is a third less.
    pub verify_attempts_max: u16,
    /// CONNECTs taken at once, and per second after that. ENet: no limit.
    pub connect_rate: Option<ConnectRate>,
    /// Times in our datagrams begin at random for each peer, and acknowledgements count only if they echo a time
    /// between the first sending of what they acknowledge and now; the one that completes a connection only if
    /// it is exactly one that was sent. So nobody can connect blindly in another's name but by guessing one of
    /// 65,536 times, and no acknowledgement makes the round trip time longer than it was. And a DISCONNECT that
    /// cannot be acknowledged, for it bears no time, ends the connection, whose slot ENet never frees.
    pub check_times: bool,
    /// Most acknowledgements that wait to be sent to one peer; what cannot be acknowledged is not taken. ENet: no
    /// limit.
    pub acknowledgements_max: u16,
    /// Most packets of one peer that wait for others or for the application, whatever their length. ENet: no limit.
    pub arrivals_max: u32,
    /// How many entries of its lists a host looks through for one datagram; what is left of it after that is
    /// dropped, and sent again by a peer that is in order. ENet: no limit.
    pub steps_max: u32,
    /// A reliable packet for which others of its channel wait is taken even if [`Config::waiting_max`] or
    /// `arrivals_max` is reached. ENet refuses it: a channel on which a long packet overtakes a lost one
    /// never goes on, until the sender gives up.
    pub fill_gaps: bool,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConnectRate {
    /// At once.
    pub burst: u16,
    /// Per second, in the long run.
    pub per_second: u16,
}

impl Hardening {
    /// All guards, with limits that no game notices.
    pub const ON: Self = Self {
        half_open_max: 16,
        verify_attempts_max: 4,
        connect_rate: Some(ConnectRate { burst: 256, per_second: 128 }),
        check_times: true,
        acknowledgements_max: 2_048,
        arrivals_max: 8_192,
        steps_max: 65_536,
        fill_gaps: true,
    };
    /// ENet's own behaviour.
    pub const OFF: Self = Self {
        half_open_max: u16::MAX,
        verify_attempts_max: u16::MAX,
        connect_rate: None,
        check_times: false,
        acknowledgements_max: u16::MAX,
        arrivals_max: u32::MAX,
        steps_max: u32::MAX,
        fill_gaps: false,
    };
}

impl Default for Hardening {
    fn default() -> Self {
        Self::ON
    }
}

impl Config {
    /// ENet's defaults, but bounded: packets of at most 32 MiB as there, of which 4 MiB wait; all hardenings.
    pub const DEFAULT: Self = Self {
        channel_limit: CHANNELS_MAX as u8,
        incoming_bandwidth: 0,
        outgoing_bandwidth: 0,
        mtu: MTU_DEFAULT as u16,
        checksum: Checksum::None,
        packet_max: 32 << 20,
        waiting_max: 4 << 20,
        send_max: 32 << 20,
        source_peers_max: u16::MAX,
        release: Release::V1_3_18,
        intercept: None,
        hardening: Hardening::ON,
        clock_offset: 60_000,
    };

    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub(crate) const fn check(&self, peers: u32) -> Result<(), ConfigError> {
        if peers == 0 || peers > PEERS_MAX as u32 {
            return Err(ConfigError::Peers);
        }
        if self.channel_limit == 0 {
            return Err(ConfigError::Channels);
        }
        if (self.mtu as u32) < MTU_MIN || self.mtu as u32 > MTU_MAX {
            return Err(ConfigError::Mtu);
        }
        if self.source_peers_max == 0
            || self.hardening.half_open_max == 0
            || self.hardening.verify_attempts_max == 0
            || self.hardening.acknowledgements_max == 0
            || self.hardening.arrivals_max == 0
            || self.hardening.steps_max == 0
            || self.packet_max == 0
            || self.waiting_max == 0
            || self.send_max == 0
        {
            return Err(ConfigError::Zero);
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a host cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// Memory for no peer, or for more than 4,095.
    Peers,
    /// No channel.
    Channels,
    /// An MTU below 576 or above 4,096 bytes.
    Mtu,
    /// A limit of zero, with which nobody could connect or nothing be sent.
    Zero,
    /// The memory has blocks of less than 64 bytes, or too little of something for its peers: at least eight
    /// commands and eight acknowledgements each, one channel, one arrival, and blocks for the longest command.
    MemoryTooSmall,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Peers => "there must be memory for 1 to 4,095 peers",
            Self::Channels => "there must be at least one channel",
            Self::Mtu => "the MTU must lie between 576 and 4,096 bytes",
            Self::Zero => "a limit is zero",
            Self::MemoryTooSmall => "the memory is too small for its peers",
        })
    }
}

impl core::error::Error for ConfigError {}
