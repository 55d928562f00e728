//! Watching the datagrams of a network.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bowline_core::{Address, Duration, Ecn, Instant};

use crate::pcap::{Pcap, Vantage};
use crate::{Net, NodeId, Rng};

/// A datagram, seen somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// When.
    pub at: Instant,
    /// The address it carries as its source.
    pub from: Address,
    /// The address it is for.
    pub to: Address,
    /// Its congestion mark.
    pub ecn: Option<Ecn>,
    /// Its payload, at an arrival with whatever damage was done on the way.
    pub bytes: &'a [u8],
}

/// What the network did with a datagram that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Departure {
    /// It will arrive, once or twice.
    Passed {
        /// How long it waits for the bottleneck before its first byte goes out.
        queued: Duration,
    },
    /// It will not arrive.
    Lost(Loss),
}

/// Why a datagram will not arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Bad luck, single or in a burst.
    Chance,
    /// The link was down.
    Outage,
    /// The queue was full.
    QueueFull,
    /// It was longer than the path takes.
    TooLong,
    /// The filter did not want it.
    Filtered,
    /// Nobody has the address it is for.
    Unroutable,
}

/// What came of a copy that reached the end of its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// The machine gets it, at once or when it is next called.
    Taken {
        /// When it was sent.
        sent: Instant,
    },
    /// The socket buffer of a sleeping receiver was full.
    SocketFull,
    /// Nobody has the address any more.
    Vanished,
}

/// Sees every datagram of a [`crate::Net`] as it is sent and as it arrives. It only watches: to
/// interfere, set a filter ([`crate::Net::set_filter`]).
pub trait Tap {
    /// `node` sent a datagram.
    fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) {
        let _ = (node, seen, fate);
    }

    /// A copy reached `node`, or the place where its receiver no longer is.
    fn arrival(&mut self, node: Option<NodeId>, seen: &Sighting<'_>, fate: Arrival) {
        let _ = (node, seen, fate);
    }
}

/// Everything that watches one network.
#[derive(Default)]
pub(crate) struct Taps {
    pub(crate) others: Vec<Box<dyn Tap>>,
    pub(crate) trace: Option<TraceHash>,
    pub(crate) capture: Option<(Vantage, Pcap)>,
}

impl Tap for Taps {
    fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) {
        if let Some(trace) = &mut self.trace {
            trace.departure(node, seen, fate);
        }
        if let Some((vantage, pcap)) = &mut self.capture
            && vantage.shows_departure(node)
        {
            pcap.record(seen);
        }
        self.others.iter_mut().for_each(|tap| tap.departure(node, seen, fate));
    }

    fn arrival(&mut self, node: Option<NodeId>, seen: &Sighting<'_>, fate: Arrival) {
        if let Some(trace) = &mut self.trace {
            trace.arrival(node, seen, fate);
        }
        if let Some((vantage, pcap)) = &mut self.capture
            && vantage.shows_arrival(node)
        {
            pcap.record(seen);
        }
        self.others.iter_mut().for_each(|tap| tap.arrival(node, seen, fate));
    }
}

/// A number that follows from every byte, address, time and fate of a run, in order: two runs
/// with the same one were the same run. Proof against accidents, not against malice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TraceHash(u64);

impl TraceHash {
    /// The hash of what was seen so far.
    pub const fn value(self) -> u64 {
        self.0
    }

    fn mix(&mut self, word: u64) {
        self.0 = Rng::stream(self.0, word).next_u64();
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        // The length first, so that nothing can be moved from one field to the next.
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // One multiplication for eight bytes of payload; `mix` would take six.
            self.0 = (self.0 ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    }

    fn mix_sighting(&mut self, seen: &Sighting<'_>) {
        self.mix(seen.at.as_micros());
        self.mix_bytes(&seen.from.to_bytes());
        self.mix_bytes(&seen.to.to_bytes());
        self.mix(seen.ecn.map_or(0, |ecn| ecn as u64));
        self.mix_bytes(seen.bytes);
    }
}

impl Tap for TraceHash {
    fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) {
        self.mix(node.index() as u64);
        self.mix_sighting(seen);
        match fate {
            Departure::Passed { queued } => self.mix(queued.as_micros()),
            Departure::Lost(loss) => self.mix(u64::MAX - loss as u64),
        }
    }

    fn arrival(&mut self, node: Option<NodeId>, seen: &Sighting<'_>, fate: Arrival) {
        self.mix(node.map_or(u64::MAX, |node| node.index() as u64));
        self.mix_sighting(seen);
        match fate {
            Arrival::Taken { sent } => self.mix(sent.as_micros()),
            Arrival::SocketFull => self.mix(u64::MAX),
            Arrival::Vanished => self.mix(u64::MAX - 1),
        }
    }
}

/// Ways to watch.
impl Net {
    /// Shows `tap` every datagram from now on.
    pub fn add_tap(&mut self, tap: Box<dyn Tap>) {
        self.taps().others.push(tap);
    }

    /// Starts to hash everything that is sent and everything that arrives. Costs time for each
    /// byte.
    pub fn start_trace(&mut self) {
        self.taps().trace = Some(TraceHash::default());
    }

    /// The hash since [`Self::start_trace`].
    pub fn trace(&self) -> Option<TraceHash> {
        self.taps.as_ref()?.trace
    }

    /// Starts a capture of what can be seen from `vantage`; one before it is lost.
    pub fn start_pcap(&mut self, vantage: Vantage) {
        self.taps().capture = Some((vantage, Pcap::new()));
    }

    /// The capture since [`Self::start_pcap`], to look at or to [drain](Pcap::drain).
    pub fn pcap(&mut self) -> Option<&mut Pcap> {
        self.taps.as_mut()?.capture.as_mut().map(|(_, pcap)| pcap)
    }

    fn taps(&mut self) -> &mut Taps {
        self.taps.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(change: impl FnOnce(&mut Sighting<'static>)) -> u64 {
        let mut seen = Sighting {
            at: Instant::from_micros(1),
            from: Address::from_raw(b"a").unwrap(),
            to: Address::from_raw(b"b").unwrap(),
            ecn: None,
            bytes: b"the bytes of a datagram",
        };
        change(&mut seen);
        let mut hash = TraceHash::default();
        hash.arrival(Some(NodeId::new(1)), &seen, Arrival::Taken { sent: Instant::ZERO });
        hash.value()
    }

    #[test]
    fn every_field_of_a_sighting_counts() {
        let all = [
            hash_of(|_| {}),
            hash_of(|seen| seen.at = Instant::from_micros(2)),
            hash_of(|seen| seen.from = Address::NONE),
            hash_of(|seen| seen.to = Address::NONE),
            hash_of(|seen| seen.ecn = Some(Ecn::Ce)),
            hash_of(|seen| seen.bytes = b"the bytes of a datagran"),
            hash_of(|seen| seen.bytes = b"Uhe bytes of a datagram"),
            hash_of(|seen| seen.bytes = b"the bytes of a datagram\0"),
        ];
        for (i, hash) in all.iter().enumerate() {
            assert!(!all[..i].contains(hash), "change {i} does not count");
        }
        assert_eq!(hash_of(|_| {}), all[0]);
    }

    #[test]
    fn the_order_of_events_counts() {
        let seen = Sighting {
            at: Instant::ZERO,
            from: Address::NONE,
            to: Address::NONE,
            ecn: None,
            bytes: &[],
        };
        let (mut ab, mut ba) = (TraceHash::default(), TraceHash::default());
        ab.departure(NodeId::new(0), &seen, Departure::Lost(Loss::Chance));
        ab.departure(NodeId::new(1), &seen, Departure::Lost(Loss::Chance));
        ba.departure(NodeId::new(1), &seen, Departure::Lost(Loss::Chance));
        ba.departure(NodeId::new(0), &seen, Departure::Lost(Loss::Chance));
        assert_ne!(ab, ba);
    }
}
