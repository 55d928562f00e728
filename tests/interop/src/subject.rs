//! A host as the tests drive it, whoever wrote it.
//!
//! Time is ENet's: milliseconds, 32 bits, wrapping.

use std::net::SocketAddrV4;

/// How a host is set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostConfig {
    /// Slots for peers, in 1..=4095.
    pub peers: usize,
    /// Channels accepted from clients, in 1..=255; 0 means 255.
    pub channel_limit: usize,
    /// Downstream in bytes per second; 0 means unlimited.
    pub incoming_bandwidth: u32,
    /// Upstream in bytes per second; 0 means unlimited.
    pub outgoing_bandwidth: u32,
    /// Whether every datagram carries a CRC-32.
    pub checksum: bool,
    /// Whether datagrams are compressed with the range coder.
    pub range_coder: bool,
    /// How many peers of one address are taken; 0 means the default.
    pub duplicate_peers: usize,
    /// The longest packet taken, in bytes; 0 means the default.
    pub packet_max: usize,
    /// The most bytes that wait for the application, per peer; 0 means the default.
    pub waiting_max: usize,
    /// The largest datagram, in bytes without checksum, in 576..=4096; 0 means the default.
    pub mtu: u32,
    /// What the clock says when the host is made.
    pub created: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            peers: 1,
            channel_limit: 0,
            incoming_bandwidth: 0,
            outgoing_bandwidth: 0,
            checksum: false,
            range_coder: false,
            duplicate_peers: 0,
            packet_max: 0,
            waiting_max: 0,
            mtu: 0,
            created: 1000,
        }
    }
}

/// What an application does to a host. `peer` is the number of a slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// Begins a connection; `connect_id` is as on the wire.
    Connect { to: SocketAddrV4, channels: usize, data: u32, connect_id: [u8; 4] },
    /// Queues a packet; the flags are ENet's.
    Send { peer: usize, channel: u8, flags: u32, bytes: Vec<u8> },
    /// Queues a packet for everyone.
    Broadcast { channel: u8, flags: u32, bytes: Vec<u8> },
    /// Drops what is queued and says goodbye.
    Disconnect { peer: usize, data: u32 },
    /// Says goodbye once and forgets the peer.
    DisconnectNow { peer: usize, data: u32 },
    /// Says goodbye when everything queued has been acknowledged.
    DisconnectLater { peer: usize, data: u32 },
    /// Forgets the peer without a word.
    Reset { peer: usize },
    /// Asks for an acknowledgement.
    Ping { peer: usize },
    /// How long without an acknowledgement until a ping, in milliseconds; 0 means the default.
    PingInterval { peer: usize, interval: u32 },
    /// Limit, minimum and maximum of the timeout; 0 means the default of each.
    Timeout { peer: usize, values: [u32; 3] },
    /// Interval, acceleration and deceleration of the throttle, here and at the peer.
    ThrottleConfigure { peer: usize, values: [u32; 3] },
    /// Downstream and upstream of the host.
    BandwidthLimit { incoming: u32, outgoing: u32 },
    /// Channels accepted from now on.
    ChannelLimit { channels: usize },
    /// Sends what can be sent.
    Flush,
}

/// What a host tells its application.
#[derive(Clone, Eq, PartialEq)]
pub enum Event {
    /// A connection is there.
    Connect { peer: usize, data: u32 },
    /// A connection is gone.
    Disconnect { peer: usize, data: u32 },
    /// A packet has arrived, with the flags it was sent under as far as they can be known.
    Receive { peer: usize, channel: u8, flags: u32, bytes: Vec<u8> },
}

impl Event {
    /// The slot that it is about.
    pub fn peer(&self) -> usize {
        match *self {
            Self::Connect { peer, .. }
            | Self::Disconnect { peer, .. }
            | Self::Receive { peer, .. } => peer,
        }
    }
}

impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Connect { peer, data } => write!(f, "connect of peer {peer}, data {data}"),
            Self::Disconnect { peer, data } => write!(f, "disconnect of peer {peer}, data {data}"),
            Self::Receive { peer, channel, flags, bytes } => write!(
                f,
                "receive from peer {peer} on channel {channel}, flags {flags}, {} bytes: {}",
                bytes.len(),
                hex(bytes)
            ),
        }
    }
}

/// What can be seen of a slot, to find the first difference before it is on the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerState {
    /// 0 disconnected, 5 connected and so on.
    pub state: u32,
    /// Round trip time, in milliseconds.
    pub rtt: u32,
    /// Its variance, in milliseconds.
    pub variance: u32,
    /// The share of unreliable packets sent, in 32nds.
    pub throttle: u32,
    /// What the throttle may rise to.
    pub throttle_limit: u32,
    /// Reliable bytes in flight.
    pub in_transit: u32,
    /// Received bytes that wait for the application or for earlier ones.
    pub waiting: u32,
    /// How many reliable bytes may be in flight.
    pub window: u32,
    /// The largest datagram, in bytes without checksum.
    pub mtu: u32,
    /// When the first reliable command in flight is due.
    pub next_timeout: u32,
    /// Mean loss, in 65536ths.
    pub loss: u32,
}

impl PeerState {
    /// Every number with its name in the golden transcripts.
    pub fn named(&self) -> [(&'static str, u32); 11] {
        [
            ("state", self.state),
            ("rtt", self.rtt),
            ("var", self.variance),
            ("throttle", self.throttle),
            ("limit", self.throttle_limit),
            ("inTransit", self.in_transit),
            ("waiting", self.waiting),
            ("window", self.window),
            ("mtu", self.mtu),
            ("nextTimeout", self.next_timeout),
            ("loss", self.loss),
        ]
    }
}

/// A datagram and where it goes to, or comes from.
pub type Datagram = (SocketAddrV4, Vec<u8>);

/// A host without socket and clock.
pub trait Subject {
    /// Does `op` when the clock says `now`. What it returns is what the C function does: 0, a slot,
    /// or a negative number where it refuses; 0 where there is nothing to return.
    fn apply(&mut self, now: u32, op: &Op) -> i32;

    /// A datagram that the next [`Self::service`] will find on the socket.
    fn push_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]);

    /// Serves the host at `now`, without waiting, until there is no event any more.
    fn service(&mut self, now: u32) -> Vec<Event>;

    /// What has been sent since the last call, oldest first.
    fn take_sent(&mut self) -> Vec<Datagram>;

    /// What slot `peer` looks like inside.
    fn peer_state(&self, peer: usize) -> PeerState;
}

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse of [`hex`]; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}
