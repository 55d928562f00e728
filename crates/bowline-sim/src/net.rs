//! The network: who is on it and what lies between them.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use bowline_core::{Address, DropReason, Instant};

use crate::flight::Flights;
use crate::node::Node;
use crate::path::Path;
use crate::tap::Taps;
use crate::traffic::Filter;
use crate::wakes::Wakes;
use crate::{Counters, Link};

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

/// A network of machines in virtual time. See the [crate documentation](crate) for how to drive
/// it.
///
/// Methods that name a node panic if there is none of that index.
pub struct Net {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) addresses: BTreeMap<Address, NodeId>,
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
        self.addresses.insert(address, id);
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
        if self.addresses.get(&new).is_some_and(|&owner| owner != id) {
            return Err(AddressTaken);
        }
        let old = core::mem::replace(&mut self.node_mut(id).address, new);
        self.addresses.remove(&old);
        self.addresses.insert(new, id);
        Ok(old)
    }

    /// The nodes whose machines were handed datagrams, or reached their timeout or their turn, in
    /// the last step: those worth asking for events.
    pub fn due(&self) -> &[NodeId] {
        &self.due
    }

    pub(crate) fn node(&self, node: impl Into<NodeId>) -> &Node {
        &self.nodes[node.into().index()]
    }

    pub(crate) fn node_mut(&mut self, node: impl Into<NodeId>) -> &mut Node {
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
