//! Datagrams that have left and not yet been handed over.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use bowline_core::{Address, Ecn, Instant};

use crate::path::Damage;

/// Where a datagram waits, in the air or in a socket buffer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FlightId(u32);

/// What is known of a datagram besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) ecn: Option<Ecn>,
    pub(crate) sent: Instant,
    /// Which path's counters it belongs to; `None` if it was injected.
    pub(crate) path: Option<u32>,
    /// Its place in the order of sending on that path.
    pub(crate) number: u64,
}

/// Every datagram under way, soonest first; those due together in the order they set off.
///
/// Buffers are used again, so after a warm-up nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    due: BinaryHeap<Reverse<(Instant, u64, FlightId)>>,
    started: u64,
    waiting: Vec<(Option<Label>, Vec<u8>)>,
    free: Vec<FlightId>,
}

impl Flights {
    /// Sets a copy of `bytes` on its way.
    pub(crate) fn start(
        &mut self,
        at: Instant,
        label: Label,
        bytes: &[u8],
        damage: Option<Damage>,
    ) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.waiting.push((None, Vec::new()));
            FlightId(self.waiting.len() as u32 - 1)
        });
        let (place, buffer) = &mut self.waiting[id.0 as usize];
        *place = Some(label);
        buffer.extend_from_slice(bytes);
        if let Some(damage) = damage {
            damage.inflict(buffer);
        }
        self.due.push(Reverse((at, self.started, id)));
        self.started += 1;
    }

    /// When the next one arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// One that has arrived by `now`.
    pub(crate) fn poll_arrival(&mut self, now: Instant) -> Option<FlightId> {
        let Reverse((at, ..)) = self.due.peek()?;
        if *at > now {
            return None;
        }
        self.due.pop().map(|Reverse((.., id))| id)
    }

    pub(crate) fn label(&self, id: FlightId) -> Label {
        self.waiting[id.0 as usize].0.expect("a datagram is labelled until it is done with")
    }

    pub(crate) fn bytes(&mut self, id: FlightId) -> &mut Vec<u8> {
        &mut self.waiting[id.0 as usize].1
    }

    /// The datagram was handed over or dropped.
    pub(crate) fn finish(&mut self, id: FlightId) {
        let (label, buffer) = &mut self.waiting[id.0 as usize];
        debug_assert!(label.is_some(), "a datagram is done with once");
        *label = None;
        buffer.clear();
        self.free.push(id);
    }

    /// How many are under way or wait in socket buffers.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label = Label {
        from: Address::NONE,
        to: Address::NONE,
        ecn: None,
        sent: Instant::ZERO,
        path: None,
        number: 0,
    };

    #[test]
    fn arrivals_come_in_order_of_time_then_of_departure() {
        let mut flights = Flights::default();
        for (at, byte) in [(5, b'c'), (3, b'a'), (5, b'd'), (3, b'b'), (5, b'e')] {
            flights.start(Instant::from_micros(at), LABEL, &[byte], None);
        }
        assert_eq!(flights.poll_arrival(Instant::from_micros(2)), None);
        let mut order = Vec::new();
        while let Some(id) = flights.poll_arrival(Instant::from_micros(5)) {
            order.extend_from_slice(flights.bytes(id));
            flights.finish(id);
        }
        assert_eq!(order, b"abcde");
        assert_eq!((flights.count(), flights.next_arrival()), (0, None));
    }

    #[test]
    fn buffers_are_used_again() {
        let mut flights = Flights::default();
        for _ in 0..1_000 {
            flights.start(Instant::ZERO, LABEL, &[1, 2, 3], None);
            let id = flights.poll_arrival(Instant::ZERO).unwrap();
            assert_eq!(*flights.bytes(id), [1, 2, 3]);
            flights.finish(id);
        }
        assert_eq!(flights.waiting.len(), 1);
    }
}
