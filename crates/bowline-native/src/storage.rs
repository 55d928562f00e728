//! Memory that an endpoint borrows for the length of each call.
//!
//! ```text
//!   Fixed / Heap / yours        owns arrays, knows capacities, may grow
//!        │ parts()
//!        ▼
//!      Parts<'_>                peers, and Memory<'_>: everything that peers share
//! ```

use bowline_core::{Entry, Link, Mode, Pool, PoolControl, Schedule, Slot, SlotControl, Slots};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

use crate::domain::Domain;
use crate::peer::Peer;
use crate::reply::Reply;

/// Memory for an endpoint and all its peers.
///
/// Implementors decide where the slices live and whether they can grow; everything else is the
/// endpoint's. The slices may move between calls but must keep their contents.
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

/// What an endpoint is short of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// A free peer slot, and whatever is kept per peer.
    Peer,
    /// A (channel, mode) domain.
    Domain,
    /// A record.
    Record,
    /// A message in reassembly.
    Assembly,
    /// This many pool blocks.
    Blocks(usize),
}

/// The part of an endpoint's memory that is not an array.
#[derive(Debug)]
pub struct Control {
    pub(crate) peers: SlotControl<Peer>,
    pub(crate) domains: SlotControl<Domain>,
    pub(crate) records: SlotControl<Record>,
    pub(crate) assemblies: SlotControl<Assembly>,
    pub(crate) pool: PoolControl,
    pub(crate) scheduled: u32,
}

/// How many of each thing there may be.
#[derive(Clone, Copy, Debug)]
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

impl Control {
    /// The control of unused memory that may grow to `capacity`.
    pub const fn new(capacity: &Capacity) -> Self {
        Self {
            peers: SlotControl::new(capacity.peers),
            domains: SlotControl::new(capacity.domains),
            records: SlotControl::new(capacity.records),
            assemblies: SlotControl::new(capacity.assemblies),
            pool: PoolControl::new(capacity.block_len, capacity.blocks),
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
    /// For each peer and channel, the domains of the three modes; [`Link::NONE`] to begin with.
    pub table: &'m mut [[Link; 3]],
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
    pub(crate) table: &'m mut [[Link; 3]],
    pub(crate) channels: usize,
}

impl Memory<'_> {
    /// The domain of `channel` and `mode` of the peer in `slot`, if it is open.
    #[inline]
    pub(crate) fn domain(&self, slot: usize, channel: u8, mode: Mode) -> Option<Link> {
        let row = slot * self.channels + usize::from(channel);
        self.table.get(row).and_then(|row| row.get(mode as usize)).and_then(|link| link.some())
    }
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
                table: slices.table,
                channels,
            },
            index: slices.index,
            schedule: Schedule::new(slices.deadlines, slices.places, &mut control.scheduled),
            replies: slices.replies,
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

/// Messages in reassembly for which [`Fixed`] has room, per peer.
const ASSEMBLIES_PER_PEER: usize = 1;

/// Memory for `PEERS` sessions of `CHANNELS` channels, sized at compile time and fit for a `static`.
///
/// `RECORDS` records of 40 bytes and `BLOCKS` blocks of `BLOCK_LEN` bytes (4 of them overhead) are
/// shared by all sessions. `size_of::<Fixed<..>>()` is all the memory an endpoint takes besides
/// [`crate::Endpoint`] itself.
#[derive(Debug)]
pub struct Fixed<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize = 128,
> {
    peers: [Peer; PEERS],
    domains: [[[Domain; 3]; CHANNELS]; PEERS],
    records: [Record; RECORDS],
    assemblies: [[Assembly; ASSEMBLIES_PER_PEER]; PEERS],
    bytes: [[u8; BLOCK_LEN]; BLOCKS],
    table: [[[Link; 3]; CHANNELS]; PEERS],
    index: [[Link; 2]; PEERS],
    deadlines: [Entry; PEERS],
    places: [u32; PEERS],
    replies: [Reply; 4],
    control: Control,
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN>
{
    /// Unused memory.
    pub const fn new() -> Self {
        const { assert!(PEERS > 0 && CHANNELS > 0 && CHANNELS <= 256 && BLOCK_LEN >= 16) };
        Self {
            peers: [const { Peer::VACANT }; PEERS],
            domains: [const { [const { [const { Domain::VACANT }; 3] }; CHANNELS] }; PEERS],
            records: [Record::VACANT; RECORDS],
            assemblies: [const { [const { Assembly::VACANT }; ASSEMBLIES_PER_PEER] }; PEERS],
            bytes: [[0; BLOCK_LEN]; BLOCKS],
            table: [[[Link::NONE; 3]; CHANNELS]; PEERS],
            index: [[Link::NONE; 2]; PEERS],
            deadlines: [Entry::NONE; PEERS],
            places: [Schedule::UNPLACED; PEERS],
            replies: [Reply::VACANT; 4],
            control: Control::new(&Capacity {
                peers: PEERS as u32,
                domains: (PEERS * CHANNELS * 3) as u32,
                records: RECORDS as u32,
                assemblies: (PEERS * ASSEMBLIES_PER_PEER) as u32,
                blocks: BLOCKS as u32,
                block_len: BLOCK_LEN as u32,
            }),
        }
    }
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Default for Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Storage for Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN>
{
    #[inline]
    fn parts(&mut self) -> Parts<'_> {
        Parts::new(
            Slices {
                peers: &mut self.peers,
                domains: self.domains.as_flattened_mut().as_flattened_mut(),
                records: &mut self.records,
                assemblies: self.assemblies.as_flattened_mut(),
                bytes: self.bytes.as_flattened_mut(),
                table: self.table.as_flattened_mut(),
                index: self.index.as_flattened_mut(),
                deadlines: &mut self.deadlines,
                places: &mut self.places,
                replies: &mut self.replies,
            },
            &mut self.control,
            CHANNELS,
        )
    }
}

#[cfg(feature = "alloc")]
pub use heap::{Heap, Limits};

#[cfg(feature = "alloc")]
mod heap {
    use alloc::vec::Vec;

    use super::*;

    /// How far a [`Heap`] may grow, and how it is divided.
    #[derive(Clone, Copy, Debug)]
    pub struct Limits {
        /// Most sessions at once.
        pub peers: u32,
        /// Channels per session, at least as many as the configuration has.
        pub channels: u16,
        /// Most records (40 bytes each) over all sessions.
        pub records: u32,
        /// Most bytes of messages in memory, over all sessions.
        pub bytes: u64,
        /// Length of a pool block, in bytes; 1024 to 4096 is fast, less is thrifty.
        pub block_len: u32,
    }

    impl Limits {
        /// Room for `peers` sessions of the default configuration, for each of which twice its
        /// promised memory may be used, and 64 MiB on top.
        pub const fn for_peers(peers: u32) -> Self {
            Self {
                peers,
                channels: 8,
                records: 4096 + 512 * peers,
                bytes: (64 << 20) + peers as u64 * (512 << 10),
                block_len: 1024,
            }
        }
    }

    /// Memory from the allocator, doubling up to its [`Limits`].
    ///
    /// Nothing is allocated per packet or per message, and nothing is given back before the
    /// storage is dropped. An allocator that refuses makes the endpoint answer "full".
    #[derive(Debug)]
    pub struct Heap {
        limits: Limits,
        peers: Vec<Peer>,
        domains: Vec<Domain>,
        records: Vec<Record>,
        assemblies: Vec<Assembly>,
        bytes: Vec<u8>,
        table: Vec<[Link; 3]>,
        index: Vec<Link>,
        deadlines: Vec<Entry>,
        places: Vec<u32>,
        replies: Vec<Reply>,
        control: Control,
    }

    impl Heap {
        /// No memory yet, ready to grow to `limits`.
        pub const fn new(limits: Limits) -> Self {
            let block_len = if limits.block_len < 16 { 16 } else { limits.block_len };
            let blocks = limits.bytes / block_len as u64;
            let capacity = Capacity {
                peers: limits.peers,
                domains: limits.peers.saturating_mul(3 * limits.channels as u32),
                records: limits.records,
                assemblies: limits.peers.saturating_mul(32),
                blocks: if blocks > 1 << 30 { 1 << 30 } else { blocks as u32 },
                block_len,
            };
            Self {
                limits,
                peers: Vec::new(),
                domains: Vec::new(),
                records: Vec::new(),
                assemblies: Vec::new(),
                bytes: Vec::new(),
                table: Vec::new(),
                index: Vec::new(),
                deadlines: Vec::new(),
                places: Vec::new(),
                replies: Vec::new(),
                control: Control::new(&capacity),
            }
        }

        /// Bytes taken from the allocator.
        pub fn allocated(&self) -> usize {
            fn bytes<T>(of: &Vec<T>) -> usize {
                of.capacity() * size_of::<T>()
            }
            bytes(&self.peers)
                + bytes(&self.domains)
                + bytes(&self.records)
                + bytes(&self.assemblies)
                + bytes(&self.bytes)
                + bytes(&self.table)
                + bytes(&self.index)
                + bytes(&self.deadlines)
                + bytes(&self.places)
                + bytes(&self.replies)
        }

        fn grow_peers(&mut self) -> bool {
            let limit = self.limits.peers as usize;
            let Some(count) = doubled(self.peers.len(), limit, 4) else { return false };
            let table = count * self.limits.channels as usize;
            // All or nothing: only what was reserved for everything is filled.
            let fits = reserve(&mut self.peers, count)
                && reserve(&mut self.table, table)
                && reserve(&mut self.index, count.next_power_of_two() * 2)
                && reserve(&mut self.deadlines, count)
                && reserve(&mut self.places, count)
                && reserve(&mut self.replies, count.clamp(16, 1024));
            if fits {
                self.peers.resize_with(count, || Peer::VACANT);
                self.table.resize(table, [Link::NONE; 3]);
                self.index.resize(count.next_power_of_two() * 2, Link::NONE);
                self.deadlines.resize(count, Entry::NONE);
                self.places.resize(count, Schedule::UNPLACED);
                self.replies.resize_with(count.clamp(16, 1024), || Reply::VACANT);
            }
            fits
        }
    }

    /// Twice `len`, at least `least`, at most `limit`; none if that is no more than `len`.
    fn doubled(len: usize, limit: usize, least: usize) -> Option<usize> {
        let count = (len * 2).max(least).min(limit);
        (count > len).then_some(count)
    }

    fn reserve<T>(vec: &mut Vec<T>, count: usize) -> bool {
        vec.try_reserve_exact(count.saturating_sub(vec.len())).is_ok()
    }

    fn grow<T: Slot>(vec: &mut Vec<T>, limit: u32, least: usize) -> bool {
        let Some(count) = doubled(vec.len(), limit as usize, least) else { return false };
        let fits = reserve(vec, count);
        if fits {
            vec.resize_with(count, || T::VACANT);
        }
        fits
    }

    impl Storage for Heap {
        #[inline]
        fn parts(&mut self) -> Parts<'_> {
            Parts::new(
                Slices {
                    peers: &mut self.peers,
                    domains: &mut self.domains,
                    records: &mut self.records,
                    assemblies: &mut self.assemblies,
                    bytes: &mut self.bytes,
                    table: &mut self.table,
                    index: &mut self.index,
                    deadlines: &mut self.deadlines,
                    places: &mut self.places,
                    replies: &mut self.replies,
                },
                &mut self.control,
                self.limits.channels as usize,
            )
        }

        fn grow(&mut self, need: Need) -> bool {
            match need {
                Need::Peer => self.grow_peers(),
                Need::Domain => grow(&mut self.domains, self.control.domains.ledger().limit(), 8),
                Need::Record => grow(&mut self.records, self.control.records.ledger().limit(), 64),
                Need::Assembly => {
                    grow(&mut self.assemblies, self.control.assemblies.ledger().limit(), 4)
                }
                Need::Blocks(more) => {
                    let stride = self.control.pool.stride();
                    let now = self.bytes.len() / stride;
                    let limit = self.control.pool.ledger().limit() as usize;
                    let Some(count) = doubled(now, limit, (now + more).max(8)) else {
                        return false;
                    };
                    let fits = reserve(&mut self.bytes, count * stride);
                    if fits {
                        self.bytes.resize(count * stride, 0);
                    }
                    fits
                }
            }
        }
    }
}
