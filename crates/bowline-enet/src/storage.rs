//! Memory that a host borrows for the length of each call.

use bowline_core::{Entry, Link, Pool, PoolControl, Schedule, SlotControl, Slots};

use crate::arrival::Arrival;
use crate::channel::{Bank, Channel};
use crate::command::{Acknowledgement, Queued};
use crate::farewell::Farewell;
use crate::index::Index;
use crate::peer::Peer;
use crate::slotset::{Slotset, Word};

mod fixed;
#[cfg(feature = "alloc")]
mod heap;

pub use fixed::Fixed;
#[cfg(feature = "alloc")]
pub use heap::{Heap, Limits};

/// Memory for a host and all its peers.
///
/// Implementors decide where the slices live and whether they can grow; everything else is the host's. The
/// slices may move between calls but must keep their contents.
pub trait Storage {
    /// Lends everything.
    fn parts(&mut self) -> Parts<'_>;

    /// Tries to make room for `need`; returns whether there is more of it now.
    ///
    /// Fixed memory never can. Growing memory refuses at its limit, or when the allocator does.
    fn grow(&mut self, need: Need) -> bool {
        let _ = need;
        false
    }
}

impl<S: Storage + ?Sized> Storage for &mut S {
    fn parts(&mut self) -> Parts<'_> {
        (**self).parts()
    }

    fn grow(&mut self, need: Need) -> bool {
        (**self).grow(need)
    }
}

/// What a host is short of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Peer slots, and whatever is kept per peer.
    Peer,
    /// Channels, and what leads to them.
    Channel,
    /// Commands to be sent.
    Command,
    /// Acknowledgements to be sent.
    Acknowledgement,
    /// Packets that have arrived.
    Arrival,
    /// Blocks of bytes.
    Block,
}

/// How many of each thing there may be, for all peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Connections.
    pub peers: u32,
    /// Channels that are in use.
    pub channels: u32,
    /// Commands queued or not acknowledged: a packet, or a fragment of one, each.
    pub commands: u32,
    /// Acknowledgements that were not sent yet.
    pub acknowledgements: u32,
    /// Packets that have arrived, or begun to, and were not read.
    pub arrivals: u32,
    /// Pool blocks.
    pub blocks: u32,
    /// Length of a block, in bytes; 4 of them are the pool's own. At least 64.
    pub block_len: u32,
}

/// The part of a host's memory that is not an array.
#[derive(Debug)]
pub struct Control {
    pub(crate) peers: u32,
    pub(crate) banks: SlotControl<Bank>,
    pub(crate) channels: SlotControl<Channel>,
    pub(crate) commands: SlotControl<Queued>,
    pub(crate) acknowledgements: SlotControl<Acknowledgement>,
    pub(crate) arrivals: SlotControl<Arrival>,
    pub(crate) pool: PoolControl,
    pub(crate) scheduled: u32,
    pub(crate) taken: u64,
    pub(crate) ready: u64,
    pub(crate) again: u64,
    pub(crate) blocked: u64,
}

impl Control {
    /// The control of unused memory that may grow to `capacity`.
    pub const fn new(capacity: &Capacity) -> Self {
        Self {
            peers: capacity.peers,
            banks: SlotControl::new(capacity.channels),
            channels: SlotControl::new(capacity.channels),
            commands: SlotControl::new(capacity.commands),
            acknowledgements: SlotControl::new(capacity.acknowledgements),
            arrivals: SlotControl::new(capacity.arrivals),
            pool: PoolControl::new(capacity.block_len, capacity.blocks),
            scheduled: 0,
            taken: 0,
            ready: 0,
            again: 0,
            blocked: 0,
        }
    }
}

/// Slices of a host's memory, for whoever lends them. All begin in their vacant state.
#[derive(Debug)]
pub struct Slices<'m> {
    /// One per connection.
    pub peers: &'m mut [Peer],
    /// As many as channels.
    pub banks: &'m mut [Bank],
    /// Channels in use.
    pub channels: &'m mut [Channel],
    /// Commands to be sent, or acknowledged.
    pub commands: &'m mut [Queued],
    /// Acknowledgements to be sent.
    pub acknowledgements: &'m mut [Acknowledgement],
    /// Packets that have arrived.
    pub arrivals: &'m mut [Arrival],
    /// Bytes of all packets.
    pub bytes: &'m mut [u8],
    /// Four sets of peers: a bit for each, 0 to begin with.
    pub sets: [&'m mut [u64]; 4],
    /// Peers by address and connect id, and by source: each at least twice as long as there are peers;
    /// [`Link::NONE`] to begin with.
    pub indexes: [&'m mut [Link]; 2],
    /// As many as peers.
    pub deadlines: &'m mut [Entry],
    /// As many as peers; [`Schedule::UNPLACED`] to begin with.
    pub places: &'m mut [u32],
    /// Last datagrams of peers that are gone.
    pub farewells: &'m mut [Farewell],
}

/// A host's memory, lent for one call.
#[derive(Debug)]
pub struct Parts<'m> {
    pub(crate) peers: &'m mut [Peer],
    /// Most peers that there may come to be.
    pub(crate) peers_max: u32,
    pub(crate) memory: Memory<'m>,
    pub(crate) sets: Sets<'m>,
    pub(crate) connections: Index<'m>,
    pub(crate) sources: Index<'m>,
    pub(crate) schedule: Schedule<'m>,
    pub(crate) farewells: &'m mut [Farewell],
}

/// What all peers share.
#[derive(Debug)]
pub(crate) struct Memory<'m> {
    pub(crate) banks: Slots<'m, Bank>,
    pub(crate) channels: Slots<'m, Channel>,
    pub(crate) commands: Slots<'m, Queued>,
    pub(crate) acknowledgements: Slots<'m, Acknowledgement>,
    pub(crate) arrivals: Slots<'m, Arrival>,
    pub(crate) pool: Pool<'m>,
}

/// Who is where.
#[derive(Debug)]
pub(crate) struct Sets<'m> {
    /// Slots that are not free.
    pub(crate) taken: Slotset<'m>,
    /// Peers that may have something to send in this pass.
    pub(crate) ready: Slotset<'m>,
    /// Peers that had more than a datagram took, for the next pass.
    pub(crate) again: Slotset<'m>,
    /// Peers to whom a message did not fit into memory.
    pub(crate) blocked: Slotset<'m>,
}

impl<'m> Parts<'m> {
    /// Views lent slices as a host's memory.
    pub fn new(slices: Slices<'m>, control: &'m mut Control) -> Self {
        let [taken, ready, again, blocked]: [&'m mut [Word]; 4] = slices.sets;
        let [connections, sources] = slices.indexes;
        Self {
            peers: slices.peers,
            peers_max: control.peers,
            memory: Memory {
                banks: Slots::new(slices.banks, &mut control.banks),
                channels: Slots::new(slices.channels, &mut control.channels),
                commands: Slots::new(slices.commands, &mut control.commands),
                acknowledgements: Slots::new(
                    slices.acknowledgements,
                    &mut control.acknowledgements,
                ),
                arrivals: Slots::new(slices.arrivals, &mut control.arrivals),
                pool: Pool::new(slices.bytes, &mut control.pool),
            },
            sets: Sets {
                taken: Slotset { words: taken, summary: &mut control.taken },
                ready: Slotset { words: ready, summary: &mut control.ready },
                again: Slotset { words: again, summary: &mut control.again },
                blocked: Slotset { words: blocked, summary: &mut control.blocked },
            },
            connections: Index(connections),
            sources: Index(sources),
            schedule: Schedule::new(slices.deadlines, slices.places, &mut control.scheduled),
            farewells: slices.farewells,
        }
    }
}
