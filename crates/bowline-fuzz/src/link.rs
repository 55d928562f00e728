//! Datagrams under way, and those that have been.

use alloc::collections::VecDeque;

use bowline_core::Instant;

use crate::Side;

/// How many datagrams are remembered for those who send them again.
const SEEN_MAX: usize = 64;
/// How many datagrams can be under way to one side; more are lost.
const UNDER_WAY_MAX: usize = 256;

/// A datagram under way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// When it was sent.
    pub at: Instant,
    /// What.
    pub bytes: Vec<u8>,
    /// Whether a burst of it is damaged: one burst of up to 32 bits is what a CRC finds with certainty.
    pub damaged: bool,
}

/// What is under way to either side.
#[derive(Clone, Debug, Default)]
pub struct Link {
    under_way: [VecDeque<Flight>; 2],
    seen: [VecDeque<Vec<u8>>; 2],
}

impl Link {
    /// A datagram departs.
    pub fn push(&mut self, to: Side, at: Instant, bytes: &[u8]) {
        let seen = &mut self.seen[to.index()];
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(bytes.to_vec());
        let queue = &mut self.under_way[to.index()];
        if queue.len() < UNDER_WAY_MAX {
            queue.push_back(Flight { at, bytes: bytes.to_vec(), damaged: false });
        }
    }

    /// How many are under way to `to`.
    pub fn count(&self, to: Side) -> usize {
        self.under_way[to.index()].len()
    }

    /// Takes one out, wherever it stands.
    pub fn take(&mut self, to: Side, which: usize) -> Option<Flight> {
        let queue = &mut self.under_way[to.index()];
        let at = which.checked_rem(queue.len())?;
        queue.remove(at)
    }

    /// Takes out the oldest, if it was sent at `until` or before.
    pub fn take_due(&mut self, to: Side, until: Instant) -> Option<Flight> {
        let queue = &mut self.under_way[to.index()];
        let due = queue.iter().position(|flight| flight.at <= until)?;
        queue.remove(due)
    }

    /// When the oldest one to either side was sent.
    pub fn oldest(&self) -> Option<Instant> {
        self.under_way.iter().flatten().map(|flight| flight.at).min()
    }

    /// A copy of one that is under way follows it.
    pub fn duplicate(&mut self, to: Side, which: usize) {
        let queue = &mut self.under_way[to.index()];
        let Some(at) = which.checked_rem(queue.len()) else { return };
        if queue.len() < UNDER_WAY_MAX {
            let copy = queue[at].clone();
            queue.push_back(copy);
        }
    }

    /// A copy of one that was sent some time ago departs once more.
    pub fn replay(&mut self, to: Side, now: Instant, ago: usize) {
        let seen = &self.seen[to.index()];
        let Some(ago) = ago.checked_rem(seen.len()) else { return };
        let bytes = seen[seen.len() - 1 - ago].clone();
        let queue = &mut self.under_way[to.index()];
        if queue.len() < UNDER_WAY_MAX {
            queue.push_back(Flight { at: now, bytes, damaged: false });
        }
    }

    /// Flips bits of one that is under way, in a burst from byte `at` on, unless some are flipped already.
    pub fn corrupt(&mut self, to: Side, which: usize, at: usize, burst: [u8; 4]) {
        let queue = &mut self.under_way[to.index()];
        let Some(which) = which.checked_rem(queue.len()) else { return };
        let flight = &mut queue[which];
        let Some(at) = at.checked_rem(flight.bytes.len()) else { return };
        if !flight.damaged {
            flight.bytes[at..].iter_mut().zip(burst).for_each(|(byte, flip)| *byte ^= flip);
            flight.damaged = true;
        }
    }

    /// Cuts one short that is under way.
    pub fn truncate(&mut self, to: Side, which: usize, len: usize) {
        let queue = &mut self.under_way[to.index()];
        let Some(which) = which.checked_rem(queue.len()) else { return };
        let flight = &mut queue[which];
        let len = len % (flight.bytes.len() + 1);
        flight.bytes.truncate(len);
    }

    /// Loses all that is under way to `to`.
    pub fn clear(&mut self, to: Side) {
        self.under_way[to.index()].clear();
    }

    /// What was sent to `to` lately, newest first.
    pub fn seen(&self, to: Side) -> impl Iterator<Item = &[u8]> {
        self.seen[to.index()].iter().rev().map(|bytes| &bytes[..])
    }
}
