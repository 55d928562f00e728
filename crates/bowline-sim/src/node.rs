//! One machine's place in the network: its address, its socket and the times it is called.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bowline_core::{Address, DropReason, Duration, Instant};

use crate::flight::FlightId;
use crate::{Net, NodeId, UDP_OVERHEAD};

/// Bytes a socket buffer takes if nobody says otherwise.
pub(crate) const SOCKET_LEN: usize = 256 * 1_024;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    /// The path to each node, by its index, as far as one was needed.
    pub(crate) paths: Vec<Option<u32>>,
    pub(crate) socket: Socket,
    pub(crate) refused: [u64; DropReason::COUNT],
    pub(crate) unroutable: u64,
    /// `None`: called whenever something is due.
    ticks: Option<Ticks>,
    /// When it is not called at all, each in `from..to`.
    stalls: Vec<(Instant, Instant)>,
}

/// A caller with a loop of its own.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    last: Option<Instant>,
    next: Instant,
    interval: Duration,
}

impl Node {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            paths: Vec::new(),
            socket: Socket { waiting: VecDeque::new(), len: 0, len_max: SOCKET_LEN },
            refused: [0; DropReason::COUNT],
            unroutable: 0,
            ticks: None,
            stalls: Vec::new(),
        }
    }

    /// Whether its caller looks after the machine at `now`.
    pub(crate) fn is_awake(&self, now: Instant) -> bool {
        self.stall_end(now).is_none() && self.ticks.is_none_or(|ticks| ticks.last == Some(now))
    }

    /// The end of the stall, or of the stalls without a gap between them, that `now` lies in.
    pub(crate) fn stall_end(&self, now: Instant) -> Option<Instant> {
        let mut end = now;
        while let Some((_, to)) = self.stalls.iter().find(|(from, to)| *from <= end && end < *to) {
            end = *to;
        }
        (end > now).then_some(end)
    }

    /// Freezes it in `from..to`.
    pub(crate) fn stall(&mut self, now: Instant, from: Instant, to: Instant) {
        self.stalls.retain(|(_, to)| *to > now);
        self.stalls.push((from, to));
    }

    /// Calls it at `first` and every `interval` after; the answer is the first time, not before
    /// `now`.
    pub(crate) fn tick(&mut self, now: Instant, first: Instant, interval: Duration) -> Instant {
        let mut ticks = Ticks { last: None, next: first, interval };
        if first < now {
            ticks.skip(now.saturating_before(Duration::from_micros(1)));
        }
        self.ticks = Some(ticks);
        ticks.next
    }

    /// Calls it whenever something is due.
    pub(crate) fn untick(&mut self) {
        self.ticks = None;
    }

    /// Whether it is called at fixed times only.
    pub(crate) fn ticks(&self) -> bool {
        self.ticks.is_some()
    }

    /// The time has come that was set for it: the answer is when to come again, where that is
    /// already known. Afterwards it is awake, unless it is stalled.
    pub(crate) fn on_wake(&mut self, now: Instant) -> Option<Instant> {
        if let Some(end) = self.stall_end(now) {
            return Some(end);
        }
        let ticks = self.ticks.as_mut()?;
        ticks.last = Some(now);
        ticks.skip(now);
        Some(ticks.next)
    }

    /// When it will be called for what came while it slept, unless its next tick does that.
    pub(crate) fn next_call(&self, now: Instant) -> Option<Instant> {
        self.stall_end(now).filter(|_| self.ticks.is_none())
    }
}

impl Ticks {
    /// Moves the next tick past `now`, in step with the first.
    fn skip(&mut self, now: Instant) {
        if self.next <= now {
            let interval = self.interval.as_micros();
            let missed = (now - self.next).as_micros() / interval + 1;
            self.next = self.next + self.interval.saturating_mul(missed);
        }
    }
}

/// Datagrams that have arrived while nobody called the machine. Each counts with its headers, so
/// that empty ones fill it too.
#[derive(Debug)]
pub(crate) struct Socket {
    waiting: VecDeque<(FlightId, usize)>,
    len: usize,
    pub(crate) len_max: usize,
}

impl Socket {
    /// Keeps a datagram of `len` bytes; false if there is no room.
    pub(crate) fn push(&mut self, id: FlightId, len: usize) -> bool {
        let len = len + UDP_OVERHEAD as usize;
        let fits = self.len + len <= self.len_max;
        if fits {
            self.len += len;
            self.waiting.push_back((id, len));
        }
        fits
    }

    pub(crate) fn pop(&mut self) -> Option<FlightId> {
        let (id, len) = self.waiting.pop_front()?;
        self.len -= len;
        Some(id)
    }
}

/// How nodes are called.
impl Net {
    /// Calls the machine of `node` only at `first` and every `interval` after, as a game does
    /// that looks at its socket once per frame. In between, datagrams wait in its socket buffer.
    ///
    /// A `first` in the past only sets the phase.
    ///
    /// # Panics
    ///
    /// If `interval` is zero.
    pub fn poll_every(&mut self, node: impl Into<NodeId>, first: Instant, interval: Duration) {
        assert!(interval > Duration::ZERO, "a node cannot be polled every zero microseconds");
        let (id, now) = (node.into(), self.now);
        let next = self.node_mut(id).tick(now, first, interval);
        self.wakes.set(id, Some(next));
    }

    /// Calls the machine of `node` whenever a datagram arrives or its timeout has passed, as
    /// before any [`Self::poll_every`].
    pub fn poll_when_due(&mut self, node: impl Into<NodeId>) {
        let (id, now) = (node.into(), self.now);
        self.node_mut(id).untick();
        self.wakes.set(id, Some(now));
    }

    /// Freezes `node` in `from..to`: its machine is not called, and datagrams wait in its socket
    /// buffer. At `to` it is called at once.
    pub fn stall(&mut self, node: impl Into<NodeId>, from: Instant, to: Instant) {
        let now = self.now;
        self.node_mut(node).stall(now, from, to);
    }

    /// Sets how much may wait in the socket buffer of `node` while it is not called, in bytes,
    /// with 28 bytes of headers for each datagram; 256 KiB before.
    pub fn set_socket_buffer(&mut self, node: impl Into<NodeId>, bytes: usize) {
        self.node_mut(node).socket.len_max = bytes;
    }

    /// Whether the caller of this machine looks after it at this instant. An application that
    /// acts between steps leaves alone those for which it does not.
    pub fn is_awake(&self, node: impl Into<NodeId>) -> bool {
        self.node(node).is_awake(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn stalls_that_touch_are_one() {
        let mut node = Node::new(Address::NONE);
        node.stall(at(0), at(20), at(30));
        node.stall(at(0), at(10), at(20));
        assert_eq!(node.stall_end(at(9)), None);
        assert_eq!(node.stall_end(at(10)), Some(at(30)));
        assert_eq!(node.stall_end(at(29)), Some(at(30)));
        assert_eq!(node.stall_end(at(30)), None);
        assert!(node.is_awake(at(9)) && !node.is_awake(at(15)) && node.is_awake(at(30)));
    }

    #[test]
    fn ticks_keep_step_after_a_stall() {
        let mut node = Node::new(Address::NONE);
        assert_eq!(node.tick(at(0), at(5), Duration::from_micros(10)), at(5));
        assert!(!node.is_awake(at(5)));
        assert_eq!(node.on_wake(at(5)), Some(at(15)));
        assert!(node.is_awake(at(5)) && !node.is_awake(at(6)));
        node.stall(at(5), at(10), at(38));
        assert_eq!(node.on_wake(at(15)), Some(at(38)));
        assert!(!node.is_awake(at(15)));
        assert_eq!(node.on_wake(at(38)), Some(at(45)));
        assert!(node.is_awake(at(38)));
    }

    #[test]
    fn a_first_tick_in_the_past_sets_the_phase() {
        let mut node = Node::new(Address::NONE);
        assert_eq!(node.tick(at(100), at(3), Duration::from_micros(10)), at(103));
        assert_eq!(node.tick(at(103), at(3), Duration::from_micros(10)), at(103));
    }

    #[test]
    fn a_socket_holds_what_it_may_and_no_byte_more() {
        let mut flights = crate::flight::Flights::default();
        let label = crate::flight::Label {
            from: Address::NONE,
            to: Address::NONE,
            ecn: None,
            sent: at(0),
            path: None,
            number: 0,
        };
        flights.start(at(0), label, &[], None);
        let id = flights.poll_arrival(at(0)).unwrap();
        let mut socket = Node::new(Address::NONE).socket;
        socket.len_max = 66;
        assert!(socket.push(id, 6) && !socket.push(id, 5) && socket.push(id, 4));
        assert_eq!(socket.pop(), Some(id));
        assert!(socket.push(id, 6) && !socket.push(id, 0));
    }
}
