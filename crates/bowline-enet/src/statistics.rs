//! What passed through.

use bowline_core::DropReason;

/// What passed through a host. Counters wrap.
#[derive(Clone, Copy, Debug)]
pub struct HostStatistics {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes sent, without IP and UDP headers.
    pub bytes_sent: u64,
    /// Datagrams received, whatever became of them.
    pub datagrams_received: u64,
    /// Bytes received, without IP and UDP headers.
    pub bytes_received: u64,
    /// Connections begun, on either side's initiative.
    pub connections: u64,
    dropped: [u64; DropReason::COUNT],
}

impl HostStatistics {
    pub(crate) const NONE: Self = Self {
        datagrams_sent: 0,
        bytes_sent: 0,
        datagrams_received: 0,
        bytes_received: 0,
        connections: 0,
        dropped: [0; DropReason::COUNT],
    };

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason.index()) {
            *count = count.wrapping_add(1);
        }
    }

    /// Datagrams of which nothing, or not everything, came, for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.index()).copied().unwrap_or(0)
    }

    /// All counters by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let own = [
            ("datagrams_sent", self.datagrams_sent),
            ("bytes_sent", self.bytes_sent),
            ("datagrams_received", self.datagrams_received),
            ("bytes_received", self.bytes_received),
            ("connections", self.connections),
        ];
        let dropped =
            DropReason::ALL.iter().map(|reason| (reason.counter_name(), self.dropped(*reason)));
        own.into_iter().chain(dropped)
    }
}

/// What is known of a peer: the numbers that ENet keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerStatistics {
    /// What it is doing.
    pub state: crate::State,
    /// Round trip time, in milliseconds.
    pub rtt: u32,
    /// Its mean deviation, in milliseconds.
    pub rtt_variance: u32,
    /// Share of commands that were taken for lost, in 65,536ths.
    pub loss: u32,
    /// Its deviation, in 65,536ths.
    pub loss_variance: u32,
    /// How much is sent, of 32.
    pub throttle: u32,
    /// How much may be, of 32.
    pub throttle_limit: u32,
    /// Bytes of reliable packets in flight.
    pub in_transit: u32,
    /// Bytes of packets that have arrived and were not read.
    pub waiting: u32,
    /// Bytes of reliable packets that may be in flight.
    pub window: u32,
    /// Longest datagram, in bytes.
    pub mtu: u32,
    /// When the first command in flight is resent, on ENet's clock, in milliseconds.
    pub next_timeout: u32,
    /// Channels of the connection.
    pub channels: u8,
}
