//! The network: who is on it and what lies between them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use bowline_core::{Address, DropReason, Duration, Ecn, Entry, Instant, Schedule};

use crate::flight::{Flights, Label};
use crate::node::Node;
use crate::path::Path;
use crate::pcap::{Pcap, Vantage};
use crate::tap::{Taps, TraceHash};
use crate::{Counters, Departure, Link, Loss, Rng, Sighting, Tap};

/// A machine's place in the network: the one at this index of the slice that is driven.
///
/// Every method takes a plain index as well.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(u32);

impl NodeId {
    /// The node whose machine is at `index`, which must be below 2^32.
    pub const fn new(index: usize) -> Self {
        assert!(index < u32::MAX as usize, "a network has fewer than 2^32 nodes");
        Self(index as u32)
    }

    /// The index of its machine.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for NodeId {
    fn from(index: usize) -> Self {
        Self::new(index)
    }
}

/// The address is already another node's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressTaken;

impl core::fmt::Display for AddressTaken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the address is already another node's")
    }
}

impl core::error::Error for AddressTaken {}

/// Decides which datagrams may enter their link.
pub(crate) type Filter = Box<dyn FnMut(NodeId, &Sighting<'_>) -> bool>;

/// A network of machines in virtual time. See the [crate documentation](crate) for how to drive
/// it.
///
/// Methods that name a node panic if there is none of that index.
pub struct Net {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) addresses: BTreeMap<Address, u32>,
    pub(crate) paths: Vec<Path>,
    pub(crate) default_link: Link,
    pub(crate) injected: Counters,
    pub(crate) flights: Flights,
    pub(crate) wakes: Wakes,
    /// Nodes whose machines have been given something, or are due, since they were last polled.
    pub(crate) due: Vec<NodeId>,
    pub(crate) is_due: Vec<bool>,
    /// Turns that ended without moving the clock, since the application last sent anything.
    pub(crate) rounds: u32,
    /// Where machines write what they send.
    pub(crate) buffer: Vec<u8>,
    pub(crate) filter: Option<Filter>,
    pub(crate) taps: Option<Taps>,
}

impl Net {
    /// A network without nodes. All luck follows from `seed`. The clock starts at one second.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            // Not at zero, where whatever lies in the past would look like the start.
            now: Instant::from_micros(1_000_000),
            nodes: Vec::new(),
            addresses: BTreeMap::new(),
            paths: Vec::new(),
            default_link: Link::PERFECT,
            injected: Counters::default(),
            flights: Flights::default(),
            wakes: Wakes::default(),
            due: Vec::new(),
            is_due: Vec::new(),
            rounds: 0,
            buffer: vec![0; 65_535],
            filter: None,
            taps: None,
        }
    }

    /// A network of `count` nodes with made-up addresses (10.0.0.1:7000, 10.0.0.2:7000, ...) and
    /// `link` in every direction.
    pub fn with_nodes(seed: u64, count: usize, link: Link) -> Self {
        let mut net = Self::new(seed);
        net.set_default_link(link);
        for number in 1..=count as u32 {
            let ip = Ipv4Addr::from(0x0a00_0000 + number);
            net.add_node(SocketAddr::from((ip, 7_000)).into()).expect("each number is new");
        }
        net
    }

    /// The same, with another time on the clock.
    ///
    /// # Panics
    ///
    /// If anything has happened yet.
    #[must_use]
    pub fn starting_at(mut self, now: Instant) -> Self {
        assert!(self.paths.is_empty() && self.flights.count() == 0, "the clock is running");
        self.now = now;
        self
    }

    /// Adds a node. Its machine is the next of the slice.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if another node has the address.
    pub fn add_node(&mut self, address: Address) -> Result<NodeId, AddressTaken> {
        if self.addresses.contains_key(&address) {
            return Err(AddressTaken);
        }
        let id = NodeId::new(self.nodes.len());
        self.addresses.insert(address, id.0);
        self.nodes.push(Node::new(address));
        self.wakes.add_slot();
        self.is_due.push(false);
        Ok(id)
    }

    /// The network's clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The seed that everything follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The address that `node` has now.
    pub fn address(&self, node: impl Into<NodeId>) -> Address {
        self.node(node).address
    }

    /// Sets what lies between `a` and `b`, in both directions.
    pub fn link(&mut self, a: impl Into<NodeId>, b: impl Into<NodeId>, link: Link) {
        let (a, b) = (a.into(), b.into());
        self.set_link(a, b, link);
        self.set_link(b, a, link);
    }

    /// Sets what lies on the way from one node to another, from now on; what has left keeps its
    /// fate, and the queue its contents.
    pub fn set_link(&mut self, from: impl Into<NodeId>, to: impl Into<NodeId>, link: Link) {
        let path = self.path(from.into(), to.into());
        let path = &mut self.paths[path as usize];
        path.own_link = true;
        path.set_link(link);
    }

    /// Sets what lies on every way that no link was set for.
    pub fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
        self.paths.iter_mut().filter(|path| !path.own_link).for_each(|path| path.set_link(link));
    }

    /// What happened on the way from one node to another so far.
    pub fn counters(&self, from: impl Into<NodeId>, to: impl Into<NodeId>) -> Counters {
        let paths = &self.node(from).paths;
        let path = paths.get(to.into().index()).copied().flatten();
        path.map(|path| self.paths[path as usize].counters).unwrap_or_default()
    }

    /// What happened everywhere so far, to what nodes sent and to what was injected.
    pub fn total(&self) -> Counters {
        let mut total = self.injected;
        self.paths.iter().for_each(|path| total += &path.counters);
        total
    }

    /// Copies on their way, or waiting in the socket buffer of a sleeping node.
    pub fn in_flight(&self) -> usize {
        self.flights.count()
    }

    /// Datagrams that the machine of `node` refused for this reason.
    pub fn refused(&self, node: impl Into<NodeId>, reason: DropReason) -> u64 {
        self.node(node).refused[reason.index()]
    }

    /// Datagrams that the machine of `node` refused for any reason.
    pub fn refused_total(&self, node: impl Into<NodeId>) -> u64 {
        self.node(node).refused.iter().sum()
    }

    /// Datagrams that `node` sent to addresses nobody has; no counters of a path hold them.
    pub fn unroutable(&self, node: impl Into<NodeId>) -> u64 {
        self.node(node).unroutable
    }

    /// Gives `node` another address, as a NAT does that has forgotten it, and answers with the old
    /// one: what it sends leaves with the new one, and what is on its way to the old one vanishes.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`] if another node has the address.
    pub fn rebind(
        &mut self,
        node: impl Into<NodeId>,
        new: Address,
    ) -> Result<Address, AddressTaken> {
        let id = node.into();
        if self.addresses.get(&new).is_some_and(|&owner| owner != id.0) {
            return Err(AddressTaken);
        }
        let old = core::mem::replace(&mut self.node_mut(id).address, new);
        self.addresses.remove(&old);
        self.addresses.insert(new, id.0);
        Ok(old)
    }

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

    /// The nodes whose machines were handed datagrams, or reached their timeout or their turn, in
    /// the last step: those worth asking for events.
    pub fn due(&self) -> &[NodeId] {
        &self.due
    }

    /// Sends a datagram from `node`, over the link, as though its machine had.
    pub fn send(&mut self, node: impl Into<NodeId>, to: Address, bytes: &[u8]) -> Departure {
        self.rounds = 0;
        self.depart(node.into(), to, None, bytes)
    }

    /// Lets a datagram arrive at `at`, from wherever, over no link at all: forged, replayed, or
    /// from somebody who is not on this network.
    pub fn inject(&mut self, at: Instant, from: Address, to: Address, bytes: &[u8]) {
        let (sent, number) = (self.now, self.injected.sent);
        self.rounds = 0;
        self.injected.sent += 1;
        self.injected.sent_bytes += bytes.len() as u64;
        let label = Label { from, to, ecn: None, sent, path: None, number };
        self.flights.start(at.max(self.now), label, bytes, None);
    }

    /// Shows `tap` every datagram from now on.
    pub fn add_tap(&mut self, tap: Box<dyn Tap>) {
        self.taps().others.push(tap);
    }

    /// Lets only those datagrams enter their link for which `filter`, told the sender, says true;
    /// for scripted losses. Replaces the filter before.
    pub fn set_filter(&mut self, filter: impl FnMut(NodeId, &Sighting<'_>) -> bool + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Lets everything enter its link again.
    pub fn clear_filter(&mut self) {
        self.filter = None;
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

    /// Sends `bytes` from `node` on the path to whoever has the address `to`.
    pub(crate) fn depart(
        &mut self,
        node: NodeId,
        to: Address,
        ecn: Option<Ecn>,
        bytes: &[u8],
    ) -> Departure {
        let from = self.node(node).address;
        let seen = Sighting { at: self.now, from, to, ecn, bytes };
        let Some(&target) = self.addresses.get(&to) else {
            self.node_mut(node).unroutable += 1;
            return self.watch_departure(node, &seen, Departure::Lost(Loss::Unroutable));
        };
        let path = self.path(node, NodeId(target));
        let wanted = self.filter.as_mut().is_none_or(|filter| filter(node, &seen));
        let passage = self.paths[path as usize].enter(self.now, bytes.len(), wanted);
        let fate = self.watch_departure(node, &seen, Departure::from(&passage));
        if let Ok(passage) = passage {
            let number = passage.number;
            let label = Label { from, to, ecn, sent: self.now, path: Some(path), number };
            for copy in [Some(passage.first), passage.second].into_iter().flatten() {
                self.flights.start(copy.at, label, bytes, copy.damage);
            }
        }
        fate
    }

    fn watch_departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) -> Departure {
        if let Some(taps) = &mut self.taps {
            taps.departure(node, seen, fate);
        }
        fate
    }

    /// The path between two nodes, made if need be. Its luck depends on the seed and on who they
    /// are, not on when it was made.
    fn path(&mut self, from: NodeId, to: NodeId) -> u32 {
        assert!(to.index() < self.nodes.len(), "{to:?} is not on the network");
        let next = self.paths.len() as u32;
        let paths = &mut self.node_mut(from).paths;
        if paths.len() <= to.index() {
            paths.resize(to.index() + 1, None);
        }
        let slot = &mut paths[to.index()];
        if let Some(path) = *slot {
            return path;
        }
        *slot = Some(next);
        let rng = Rng::stream(self.seed, u64::from(from.0) << 32 | u64::from(to.0));
        self.paths.push(Path::new(self.default_link, rng));
        next
    }

    fn taps(&mut self) -> &mut Taps {
        self.taps.get_or_insert_default()
    }

    fn node(&self, node: impl Into<NodeId>) -> &Node {
        &self.nodes[node.into().index()]
    }

    fn node_mut(&mut self, node: impl Into<NodeId>) -> &mut Node {
        &mut self.nodes[node.into().index()]
    }
}

impl core::fmt::Debug for Net {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Net")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("nodes", &self.nodes.len())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// The memory of a [`Schedule`] of when each node is to be called.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    heap: Vec<Entry>,
    places: Vec<u32>,
    len: u32,
}

impl Wakes {
    pub(crate) fn add_slot(&mut self) {
        self.heap.push(Entry::NONE);
        self.places.push(Schedule::UNPLACED);
    }

    pub(crate) fn set(&mut self, node: NodeId, at: Option<Instant>) {
        self.view().set(node.index(), at);
    }

    pub(crate) fn set_earlier(&mut self, node: NodeId, at: Instant) {
        self.view().set_earlier(node.index(), at);
    }

    pub(crate) fn earliest(&mut self) -> Option<(NodeId, Instant)> {
        self.view().earliest().map(|(node, at)| (NodeId::new(node), at))
    }

    fn view(&mut self) -> Schedule<'_> {
        Schedule::new(&mut self.heap, &mut self.places, &mut self.len)
    }
}
