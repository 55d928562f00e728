//! One slot of a host: a connection, or none.

use bowline_core::{Address, Link, PeerId, Quota};
use bowline_wire::enet::{NO_PEER, NO_SESSION, Throttle, Time, WINDOW_MAX};

use crate::list::List;

/// The round trip time before any was measured, in milliseconds.
const RTT_DEFAULT: u32 = 500;
/// The throttle at which everything is sent.
pub(crate) const THROTTLE_SCALE: u32 = 32;
/// Words of the window of unsequenced groups.
const UNSEQUENCED_WORDS: usize = 32;

/// What a peer is doing, with ENet's numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum State {
    /// The slot is free.
    #[default]
    Disconnected = 0,
    /// This side has asked for the connection.
    Connecting = 1,
    /// The other side has asked, and is to prove that it hears the answer.
    AcknowledgingConnect = 2,
    /// Connected.
    Connected = 5,
    /// Will disconnect when everything queued has been sent and acknowledged.
    DisconnectLater = 6,
    /// Has told the other side, and waits for its acknowledgement.
    Disconnecting = 7,
    /// The other side has told, and the acknowledgement is on its way.
    AcknowledgingDisconnect = 8,
    /// It is over; the application has not been told yet.
    Zombie = 9,
}

/// How long an unanswered peer is waited for: the arguments of `enet_peer_timeout`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Timeout {
    /// How often the retransmission timeout must have doubled, as a factor, before `minimum` counts.
    pub limit: u32,
    /// Milliseconds after which the peer is given up if `limit` was reached.
    pub minimum: u32,
    /// Milliseconds after which it is given up in any case.
    pub maximum: u32,
}

impl Default for Timeout {
    /// 32, 5 seconds, 30 seconds.
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Timeout {
    pub(crate) const DEFAULT: Self = Self { limit: 32, minimum: 5_000, maximum: 30_000 };
}

/// Milliseconds without an acknowledgement after which a peer is pinged.
pub(crate) const PING_INTERVAL: u32 = 500;
/// The longest such time that ENet's clock can tell from the past.
pub(crate) const PING_INTERVAL_MAX: u32 = 86_399_999;

/// What a peer holds of the memory that all share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    pub(crate) banks: Quota,
    pub(crate) channels: Quota,
    pub(crate) commands: Quota,
    pub(crate) acknowledgements: Quota,
    pub(crate) arrivals: Quota,
    pub(crate) blocks: Quota,
}

impl Quotas {
    const NONE: Self = Self {
        banks: Quota::NONE,
        channels: Quota::NONE,
        commands: Quota::NONE,
        acknowledgements: Quota::NONE,
        arrivals: Quota::NONE,
        blocks: Quota::NONE,
    };
}

/// What the application is to be told of a peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct News {
    pub(crate) connected: bool,
    pub(crate) writable: bool,
    /// The peer is in the queue of those with news.
    pub(crate) is_queued: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum End {
    /// This side wanted it.
    #[default]
    Own,
    /// The other side wanted it, and gave this number.
    Peer(u32),
    /// Nobody answered.
    TimedOut,
    /// What came in answer to the request was not an answer to it.
    Misbehaved,
}

/// What a message needed that was not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) commands: u32,
    pub(crate) blocks: u32,
    /// Its channel was never used before.
    pub(crate) channel: bool,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) state: State,
    pub(crate) end: End,
    pub(crate) news: News,
    /// The next in the queue of those with news.
    pub(crate) next_news: Link,
    pub(crate) generation: u32,
    pub(crate) address: Address,
    /// Hash of address and connect id; hash of the source.
    pub(crate) connection_hash: u64,
    pub(crate) source_hash: u64,
    /// Others from the same source. The first of them is in the index and knows how many there are.
    pub(crate) source_next: Link,
    pub(crate) source_previous: Link,
    pub(crate) source_count: u32,
    pub(crate) source_half_open: u32,
    /// The other side asked for the connection.
    pub(crate) is_incoming: bool,
    pub(crate) remote_id: u16,
    pub(crate) connect_id: [u8; 4],
    /// Added to the times of datagrams, so that nobody who does not see them knows which were sent.
    pub(crate) stamp_offset: u16,
    /// When VERIFY_CONNECT was sent, the last times.
    pub(crate) verify_times: [Time; 4],
    /// These outlive a connection.
    pub(crate) incoming_session: u8,
    pub(crate) outgoing_session: u8,
    pub(crate) channel_count: u8,
    pub(crate) incoming_bandwidth: u32,
    pub(crate) outgoing_bandwidth: u32,
    /// Bytes queued since the last bandwidth tick.
    pub(crate) outgoing_total: u32,
    /// Acknowledgements that wait to be sent.
    pub(crate) unacknowledged: u32,
    /// Of this tick: the limit follows from the peer's own bandwidth; it has got what it asked for.
    pub(crate) is_limit_fixed: bool,
    pub(crate) is_settled: bool,
    pub(crate) last_receive: Time,
    pub(crate) next_timeout: Time,
    pub(crate) earliest_timeout: Time,
    pub(crate) loss_epoch: Time,
    pub(crate) packets_sent: u32,
    pub(crate) packets_lost: u32,
    pub(crate) loss: u32,
    pub(crate) loss_variance: u32,
    pub(crate) throttle: u32,
    pub(crate) throttle_limit: u32,
    pub(crate) throttle_counter: u32,
    pub(crate) throttle_epoch: Time,
    pub(crate) throttling: Throttle,
    pub(crate) ping_interval: u32,
    pub(crate) timeout: Timeout,
    pub(crate) rtt: u32,
    pub(crate) last_rtt: u32,
    pub(crate) lowest_rtt: u32,
    pub(crate) variance: u32,
    pub(crate) last_variance: u32,
    pub(crate) highest_variance: u32,
    pub(crate) mtu: u32,
    pub(crate) window: u32,
    pub(crate) in_transit: u32,
    /// Sequence number of commands that concern the connection.
    pub(crate) outgoing_sequence: u16,
    pub(crate) outgoing_group: u16,
    pub(crate) incoming_base: u16,
    pub(crate) unsequenced: [u32; UNSEQUENCED_WORDS],
    /// A number of the application's: that came with CONNECT, or that goes with DISCONNECT.
    pub(crate) event_data: u32,
    /// Bytes of packets that have arrived and were not read.
    pub(crate) waiting: u32,
    /// Bytes of packets that wait to be sent or acknowledged.
    pub(crate) queued: u32,
    pub(crate) banks: [Link; 16],
    pub(crate) acknowledgements: List,
    /// Sent and not acknowledged.
    pub(crate) sent: List,
    /// Reliable commands with data that wait.
    pub(crate) data: List,
    /// All other commands that wait.
    pub(crate) control: List,
    /// Packets to be read.
    pub(crate) delivered: List,
    /// The packet that the application is reading.
    pub(crate) reading: Link,
    /// There was no memory for a message of this many blocks and commands.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) quotas: Quotas,
}

impl Peer {
    /// A slot that never had a connection.
    pub const VACANT: Self = Self {
        state: State::Disconnected,
        end: End::Own,
        news: News { connected: false, writable: false, is_queued: false },
        next_news: Link::NONE,
        generation: 0,
        address: Address::NONE,
        connection_hash: 0,
        source_hash: 0,
        source_next: Link::NONE,
        source_previous: Link::NONE,
        source_count: 0,
        source_half_open: 0,
        is_incoming: false,
        remote_id: NO_PEER,
        connect_id: [0; 4],
        stamp_offset: 0,
        verify_times: [Time::ZERO; 4],
        incoming_session: NO_SESSION,
        outgoing_session: NO_SESSION,
        channel_count: 0,
        incoming_bandwidth: 0,
        outgoing_bandwidth: 0,
        outgoing_total: 0,
        unacknowledged: 0,
        is_limit_fixed: false,
        is_settled: false,
        last_receive: Time::ZERO,
        next_timeout: Time::ZERO,
        earliest_timeout: Time::ZERO,
        loss_epoch: Time::ZERO,
        packets_sent: 0,
        packets_lost: 0,
        loss: 0,
        loss_variance: 0,
        throttle: THROTTLE_SCALE,
        throttle_limit: THROTTLE_SCALE,
        throttle_counter: 0,
        throttle_epoch: Time::ZERO,
        throttling: Throttle { interval: 5_000, acceleration: 2, deceleration: 2 },
        ping_interval: PING_INTERVAL,
        timeout: Timeout::DEFAULT,
        rtt: RTT_DEFAULT,
        last_rtt: RTT_DEFAULT,
        lowest_rtt: RTT_DEFAULT,
        variance: 0,
        last_variance: 0,
        highest_variance: 0,
        mtu: 0,
        window: WINDOW_MAX,
        in_transit: 0,
        outgoing_sequence: 0,
        outgoing_group: 0,
        incoming_base: 0,
        unsequenced: [0; UNSEQUENCED_WORDS],
        event_data: 0,
        waiting: 0,
        queued: 0,
        banks: [Link::NONE; 16],
        acknowledgements: List::EMPTY,
        sent: List::EMPTY,
        data: List::EMPTY,
        control: List::EMPTY,
        delivered: List::EMPTY,
        reading: Link::NONE,
        wanted: None,
        quotas: Quotas::NONE,
    };

    /// Everything but what outlives a connection is as it was in the beginning. All lists must be empty.
    pub(crate) const fn reset(&mut self, mtu: u32) {
        let Self {
            generation, incoming_session, outgoing_session, news, next_news, quotas, ..
        } = *self;
        *self = Self {
            generation,
            incoming_session,
            outgoing_session,
            news: News { connected: false, writable: false, is_queued: news.is_queued },
            next_news,
            quotas,
            mtu,
            ..Self::VACANT
        };
    }

    /// Whether this is the connection that `id` stands for, and it is there.
    #[inline]
    pub(crate) const fn is(&self, id: PeerId) -> bool {
        self.generation == id.generation() && !matches!(self.state, State::Disconnected)
    }

    /// Whether packets go to and fro, or did until the application wanted to leave.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, State::Connected | State::DisconnectLater)
    }

    /// Whether anything is queued or unacknowledged.
    pub(crate) const fn has_outgoing(&self) -> bool {
        !(self.data.is_empty() && self.control.is_empty() && self.sent.is_empty())
    }

    /// Whether it is known to the indexes by address.
    pub(crate) const fn is_indexed(&self) -> bool {
        !matches!(self.state, State::Disconnected | State::Connecting)
    }
}
