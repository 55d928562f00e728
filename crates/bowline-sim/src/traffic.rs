//! Datagrams on their way from a node to a link.

use alloc::boxed::Box;

use bowline_core::{Address, Ecn, Instant};

use crate::flight::Label;
use crate::path::Path;
use crate::{Departure, Loss, Net, NodeId, Rng, Sighting, Tap};

/// Decides which datagrams may enter their link.
pub(crate) type Filter = Box<dyn FnMut(NodeId, &Sighting<'_>) -> bool>;

/// Besides what the machines send.
impl Net {
    /// Sends a datagram from `node`, over the link, as though its machine had.
    pub fn send(&mut self, node: impl Into<NodeId>, to: Address, bytes: &[u8]) -> Departure {
        self.rounds = 0;
        self.depart(node.into(), to, None, bytes)
    }

    /// Lets a datagram arrive at `at`, at once if that has passed, from wherever, over no link at all: forged, replayed, or
    /// from somebody who is not on this network.
    pub fn inject(&mut self, at: Instant, from: Address, to: Address, bytes: &[u8]) {
        let (sent, number) = (self.now, self.injected.sent);
        self.rounds = 0;
        self.injected.sent += 1;
        self.injected.sent_bytes += bytes.len() as u64;
        let label = Label { from, to, ecn: None, sent, path: None, number };
        self.flights.start(at, label, bytes, None);
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
        let path = self.path(node, target);
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
    pub(crate) fn path(&mut self, from: NodeId, to: NodeId) -> u32 {
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
        let rng = Rng::stream(self.seed, (from.index() as u64) << 32 | to.index() as u64);
        self.paths.push(Path::new(self.default_link, rng));
        next
    }
}
