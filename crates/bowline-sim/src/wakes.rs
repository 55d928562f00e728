//! When each node is to be called.

use alloc::vec::Vec;

use bowline_core::{Entry, Instant, Schedule};

use crate::NodeId;

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
