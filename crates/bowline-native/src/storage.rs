//! Memory that an endpoint borrows for the length of each call.
//!
//! ```text
//!   Fixed / Heap / yours        owns arrays, knows capacities, may grow
//!        │ parts()
//!        ▼
//!      Parts<'_>                peers, and Memory<'_>: everything that peers share
//! ```

use bowline_core::{Entry, Link, Pool, PoolControl, Schedule, SlotControl, Slots};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

use crate::domain::Domain;
use crate::gate::Gate;
use crate::peer::Peer;
use crate::reply::Reply;
use crate::table::{Table, TableControl};

mod fixed;
#[cfg(feature = "alloc")]
mod heap;

pub use fixed::Fixed;
#[cfg(feature = "alloc")]
pub use heap::{Heap, Limits};

/// Memory for an endpoint and all its peers.
///
/// Implementors decide where the slices live and whether they can grow; everything else is the
/// endpoint's. The slices may move between calls but must keep their contents.
pub trait Storage {
    /// Lends everything.
    fn parts(&mut self) -> Parts<'_>;

    /// Lends what is known of those who want to come in.
    fn gate(&mut self) -> Gate<'_>;

    /// What this memory can hold; asked before it is used.
    fn shape(&mut self) -> Shape {
        let Gate { bans_max, rates, .. } = self.gate();
        let rates = rates.len() as u32;
        Shape { bans: bans_max, rates, ..self.parts().shape() }
    }

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

    fn gate(&mut self) -> Gate<'_> {
        (**self).gate()
    }

    fn shape(&mut self) -> Shape {
        (**self).shape()
    }

    fn grow(&mut self, need: Need) -> bool {
        (**self).grow(need)
    }
}

/// What an endpoint is short of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// A free peer slot, and whatever is kept per peer.
    Peer,
    /// A (channel, mode) domain.
    Domain,
    /// What tells the domains of a session that has had none so far.
    Row,
    /// A record.
    Record,
    /// A message in reassembly.
    Assembly,
    /// This many pool blocks.
    Blocks(usize),
    /// A ban.
    Ban,
    /// Counts of sessions by source: from now on for as many sessions as there is room for.
    Counts,
}

/// The part of an endpoint's memory that is not an array.
#[derive(Debug)]
pub struct Control {
    pub(crate) peers: SlotControl<Peer>,
    pub(crate) domains: SlotControl<Domain>,
    pub(crate) records: SlotControl<Record>,
    pub(crate) assemblies: SlotControl<Assembly>,
    pub(crate) pool: PoolControl,
    pub(crate) table: TableControl,
    pub(crate) scheduled: u32,
}

/// How many of each thing there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Sessions.
    pub peers: u32,
    /// Open (channel, mode) domains of all sessions.
    pub domains: u32,
    /// Records of all sessions: packets in flight, ranges, notes.
    pub records: u32,
    /// Messages in reassembly of all sessions.
    pub assemblies: u32,
    /// Pool blocks of all sessions.
    pub blocks: u32,
    /// Length of a block, in bytes; 4 of them are the pool's own.
    pub block_len: u32,
}

/// All of unused memory that an endpoint's behaviour can depend on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// How far it goes.
    pub capacity: Capacity,
    /// Channels that it is laid out for, per session.
    pub channels: u16,
    /// Sessions for which there is memory before any of it grows.
    pub peers: u32,
    /// Answers to strangers for which there is.
    pub replies: u32,
    /// Most bans.
    pub bans: u32,
    /// Sources whose asking can be held to a rate, before anything grows.
    pub rates: u32,
}

impl Control {
    /// The control of unused memory that may grow to `capacity`.
    pub const fn new(capacity: &Capacity) -> Self {
        Self {
            peers: SlotControl::new(capacity.peers),
            domains: SlotControl::new(capacity.domains),
            records: SlotControl::new(capacity.records),
            assemblies: SlotControl::new(capacity.assemblies),
            pool: PoolControl::new(capacity.block_len, capacity.blocks),
            table: TableControl::new(),
            scheduled: 0,
        }
    }
}

/// Slices of an endpoint's memory, for whoever lends them. All begin in their vacant state.
#[derive(Debug)]
pub struct Slices<'m> {
    /// One per session.
    pub peers: &'m mut [Peer],
    /// One per open (channel, mode).
    pub domains: &'m mut [Domain],
    /// Packets in flight, ranges, notes.
    pub records: &'m mut [Record],
    /// Messages in reassembly.
    pub assemblies: &'m mut [Assembly],
    /// Message bytes of all peers.
    pub bytes: &'m mut [u8],
    /// The domains of a channel by mode, as often as there are channels, for each peer that may use some at
    /// once; [`Link::NONE`] to begin with.
    pub table: &'m mut [[Link; 5]],
    /// Peers by address: at least twice as many as peers; [`Link::NONE`] to begin with.
    pub index: &'m mut [Link],
    /// As many as peers.
    pub deadlines: &'m mut [Entry],
    /// As many as peers; [`Schedule::UNPLACED`] to begin with.
    pub places: &'m mut [u32],
    /// Answers to strangers that wait to be sent.
    pub replies: &'m mut [Reply],
}

/// An endpoint's memory, lent for one call.
#[derive(Debug)]
pub struct Parts<'m> {
    pub(crate) peers: Slots<'m, Peer>,
    pub(crate) memory: Memory<'m>,
    pub(crate) index: &'m mut [Link],
    pub(crate) schedule: Schedule<'m>,
    pub(crate) replies: &'m mut [Reply],
}

/// What all peers share.
#[derive(Debug)]
pub(crate) struct Memory<'m> {
    pub(crate) domains: Slots<'m, Domain>,
    pub(crate) records: Slots<'m, Record>,
    pub(crate) assemblies: Slots<'m, Assembly>,
    pub(crate) pool: Pool<'m>,
    pub(crate) table: Table<'m>,
}

impl<'m> Parts<'m> {
    /// Views slices as an endpoint's memory, for `channels` channels per peer.
    pub fn new(slices: Slices<'m>, control: &'m mut Control, channels: usize) -> Self {
        Self {
            peers: Slots::new(slices.peers, &mut control.peers),
            memory: Memory {
                domains: Slots::new(slices.domains, &mut control.domains),
                records: Slots::new(slices.records, &mut control.records),
                assemblies: Slots::new(slices.assemblies, &mut control.assemblies),
                pool: Pool::new(slices.bytes, &mut control.pool),
                table: Table::new(slices.table, &mut control.table, channels),
            },
            index: slices.index,
            schedule: Schedule::new(slices.deadlines, slices.places, &mut control.scheduled),
            replies: slices.replies,
        }
    }

    /// What these parts can hold.
    fn shape(&self) -> Shape {
        let memory = &self.memory;
        let capacity = Capacity {
            peers: self.peers.ledger().limit(),
            domains: memory.domains.ledger().limit(),
            records: memory.records.ledger().limit(),
            assemblies: memory.assemblies.ledger().limit(),
            blocks: memory.pool.ledger().limit(),
            block_len: memory.pool.stride() as u32,
        };
        Shape {
            capacity,
            channels: memory.table.channels() as u16,
            peers: self.peers.lent() as u32,
            replies: self.replies.len() as u32,
            bans: 0,
            rates: 0,
        }
    }

    /// What is in use, to measure or to check that all came back.
    pub fn in_use(&self) -> InUse {
        InUse {
            peers: self.peers.ledger().in_use(),
            domains: self.memory.domains.ledger().in_use(),
            records: self.memory.records.ledger().in_use(),
            assemblies: self.memory.assemblies.ledger().in_use(),
            blocks: self.memory.pool.ledger().in_use(),
            promised_blocks: self.memory.pool.ledger().promised(),
            promised_records: self.memory.records.ledger().promised(),
        }
    }
}

/// How much of an endpoint's memory is in use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InUse {
    /// Sessions, those that linger included.
    pub peers: u32,
    /// Open (channel, mode) domains.
    pub domains: u32,
    /// Records.
    pub records: u32,
    /// Messages in reassembly, or waiting to be read after it.
    pub assemblies: u32,
    /// Pool blocks that hold bytes.
    pub blocks: u32,
    /// Pool blocks that are set aside.
    pub promised_blocks: u32,
    /// Records that are set aside.
    pub promised_records: u32,
}
