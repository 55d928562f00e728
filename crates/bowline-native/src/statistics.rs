//! Counters. They wrap, and decide nothing.

use bowline_core::{DropReason, Duration};

/// What passed between this side and one peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeerStatistics {
    /// Datagrams sent, those of the handshake included.
    pub datagrams_sent: u32,
    /// Datagrams accepted.
    pub datagrams_received: u32,
    /// Bytes of datagrams sent.
    pub bytes_sent: u64,
    /// Bytes of datagrams accepted.
    pub bytes_received: u64,
    /// Datagrams of this session that were dropped, for whatever reason.
    pub datagrams_dropped: u32,
    /// Packets that were taken for lost.
    pub packets_lost: u32,
    /// Packets that were taken for lost and acknowledged later.
    pub acks_late: u32,
    /// Bytes of reliable messages that were sent again.
    pub bytes_resent: u64,
    /// Probes sent because nothing was heard in time.
    pub probes: u32,
    /// Messages accepted from the application.
    pub messages_sent: u32,
    /// Messages handed to the application.
    pub messages_received: u32,
    /// Unreliable-ordered messages that came after a newer one, and were dropped.
    pub messages_late: u32,
    /// Unreliable messages given up because a fragment did not come in time, or room was needed.
    pub messages_incomplete: u32,
    /// Bytes of messages accepted from the application and dropped because the session was closed.
    pub bytes_abandoned: u32,
}

impl PeerStatistics {
    /// All counters by name. Names never change.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // A new field does not compile before it is among them.
        let Self {
            datagrams_sent,
            datagrams_received,
            bytes_sent,
            bytes_received,
            datagrams_dropped,
            packets_lost,
            acks_late,
            bytes_resent,
            probes,
            messages_sent,
            messages_received,
            messages_late,
            messages_incomplete,
            bytes_abandoned,
        } = *self;
        [
            ("datagrams_sent", datagrams_sent.into()),
            ("datagrams_received", datagrams_received.into()),
            ("bytes_sent", bytes_sent),
            ("bytes_received", bytes_received),
            ("datagrams_dropped", datagrams_dropped.into()),
            ("packets_lost", packets_lost.into()),
            ("acks_late", acks_late.into()),
            ("bytes_resent", bytes_resent),
            ("probes", probes.into()),
            ("messages_sent", messages_sent.into()),
            ("messages_received", messages_received.into()),
            ("messages_late", messages_late.into()),
            ("messages_incomplete", messages_incomplete.into()),
            ("bytes_abandoned", bytes_abandoned.into()),
        ]
        .into_iter()
    }

    pub(crate) const NONE: Self = Self {
        datagrams_sent: 0,
        datagrams_received: 0,
        bytes_sent: 0,
        bytes_received: 0,
        datagrams_dropped: 0,
        packets_lost: 0,
        acks_late: 0,
        bytes_resent: 0,
        probes: 0,
        messages_sent: 0,
        messages_received: 0,
        messages_late: 0,
        messages_incomplete: 0,
        bytes_abandoned: 0,
    };
}

/// What is known of the path to a peer now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathState {
    /// Smoothed round-trip time; an assumption until there was a sample.
    pub rtt: Duration,
    /// Mean deviation of the round-trip time.
    pub rtt_variation: Duration,
    /// Shortest round-trip time seen.
    pub rtt_min: Duration,
    /// Bytes sent and neither acknowledged nor taken for lost.
    pub in_flight: u32,
    /// Bytes that may be in flight.
    pub window: u32,
    /// Bytes of messages that wait to be sent or acknowledged.
    pub queued: u32,
    /// Longest datagram that is sent, in bytes.
    pub datagram_max: u16,
}

/// What passed through an endpoint.
#[derive(Clone, Copy)]
pub struct EndpointStatistics {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams accepted.
    pub datagrams_received: u64,
    /// Bytes of datagrams sent.
    pub bytes_sent: u64,
    /// Bytes of datagrams accepted.
    pub bytes_received: u64,
    /// Sessions that began.
    pub sessions: u32,
    /// Answers to strangers that found no room to wait in.
    pub replies_dropped: u32,
    drops: [u32; DropReason::COUNT],
}

impl EndpointStatistics {
    pub(crate) const NONE: Self = Self {
        datagrams_sent: 0,
        datagrams_received: 0,
        bytes_sent: 0,
        bytes_received: 0,
        sessions: 0,
        replies_dropped: 0,
        drops: [0; DropReason::COUNT],
    };

    /// How many datagrams were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u32 {
        self.drops.get(reason.index()).copied().unwrap_or(0)
    }

    /// How many datagrams were dropped in all.
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().map(|&count| u64::from(count)).sum()
    }

    /// All counters by name, those of dropped datagrams by reason
    /// ([`DropReason::counter_name`]) included. Names never change.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // A new field does not compile before it is among them.
        let Self {
            datagrams_sent,
            datagrams_received,
            bytes_sent,
            bytes_received,
            sessions,
            replies_dropped,
            drops,
        } = *self;
        let counts = [
            ("datagrams_sent", datagrams_sent),
            ("datagrams_received", datagrams_received),
            ("bytes_sent", bytes_sent),
            ("bytes_received", bytes_received),
            ("sessions", sessions.into()),
            ("replies_dropped", replies_dropped.into()),
        ];
        let reasons = DropReason::ALL.iter().map(|reason| reason.counter_name());
        counts.into_iter().chain(reasons.zip(drops.map(u64::from)))
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason.index()) {
            *count = count.wrapping_add(1);
        }
    }
}

/// Every counter with its name.
impl core::fmt::Debug for EndpointStatistics {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.counters()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let mut statistics = EndpointStatistics::NONE;
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            (0..=at).for_each(|_| statistics.count_drop(*reason));
        }
        let counters: BTreeMap<_, _> = statistics.counters().collect();
        assert_eq!(counters.len(), 6 + DropReason::COUNT);
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(counters[reason.counter_name()], at as u64 + 1);
        }
        let plain = |name: &str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
        let of_peers: BTreeMap<_, _> = PeerStatistics::NONE.counters().collect();
        assert_eq!(of_peers.len(), 14);
        assert!(counters.keys().chain(of_peers.keys()).all(|name| plain(name)));
    }
}
