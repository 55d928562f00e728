//! Memory from the allocator, that grows.

use alloc::vec::Vec;

use bowline_core::{Entry, Link, PoolControl, Schedule, Slot};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

use super::{Capacity, Control, Need, Parts, Shape, Slices, Storage};
use crate::bans::Ban;
use crate::config::Config;
use crate::domain::Domain;
use crate::gate::Gate;
use crate::peer::Peer;
use crate::promise::Promise;
use crate::reply::Reply;
use crate::sources::{SourceCount, SourceRate};

/// Most answers to strangers that wait to be sent. What comes at once is a burst between two calls of
/// `poll_transmit`; who gets no answer asks again.
const REPLIES_MAX: usize = 512;
const REPLIES_MIN: usize = 16;
/// How many sources are held to a rate at once: as many as there are sessions, within these.
const RATES_MAX: usize = 1_024;
const RATES_MIN: usize = 16;
/// Most bans there may be for each session, and in all.
const BANS_PER_PEER: u32 = 16;
const BANS_MAX: u32 = 1 << 16;
/// Most bytes that are taken at once for a shape, which somebody else may have thought up.
const FILLED_MAX: usize = 1 << 30;

/// How many (channel, mode) pairs there may be for each channel.
const MODES: u32 = 5;

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
            records: 4096u32.saturating_add(peers.saturating_mul(512)),
            bytes: (64 << 20) + peers as u64 * (512 << 10),
            block_len: 1024,
        }
    }

    /// What `peers` sessions of this configuration are promised, in blocks of 1 KiB, and on top of that:
    /// room for one message of the longest length to arrive and one to be sent, so that none is announced
    /// shorter; 64 records for each session, and 1,024.
    ///
    /// The configuration's channels are all that there is room for.
    pub const fn for_config(config: &Config, peers: u32) -> Self {
        const BLOCK_LEN: u32 = 1024;
        let mut longest = config.reliable_max;
        if longest < config.incomplete.bytes {
            longest = config.incomplete.bytes;
        }
        // Of each block four bytes are the pool's, and no message begins where a block does.
        let whole = (longest as u64 / (BLOCK_LEN as u64 - 4) + 3) * BLOCK_LEN as u64;
        let promised = config.blocks_per_peer(BLOCK_LEN) as u64 * BLOCK_LEN as u64;
        Self {
            peers,
            channels: config.channels,
            records: peers
                .saturating_mul(config.records_per_peer().saturating_add(64))
                .saturating_add(1_024),
            bytes: promised.saturating_mul(peers as u64).saturating_add(2 * whole),
            block_len: BLOCK_LEN,
        }
    }

    /// Most of each thing that there may come to be.
    const fn capacity(&self) -> Capacity {
        let block_len = if self.block_len < 16 { 16 } else { self.block_len };
        let blocks = self.bytes / block_len as u64;
        Capacity {
            peers: self.peers,
            domains: self.peers.saturating_mul(MODES * self.channels as u32),
            records: self.records,
            assemblies: self.peers.saturating_mul(32),
            blocks: if blocks > 1 << 30 { 1 << 30 } else { blocks as u32 },
            block_len,
        }
    }

    /// Most bytes that a [`Heap`] with these limits ever takes from the allocator: what [`Heap::allocated`]
    /// answers once everything has grown to its limit.
    ///
    /// While something grows, the allocator may need room for its old place as well.
    pub const fn bytes_max(&self) -> usize {
        let capacity = self.capacity();
        let blocks = times(capacity.blocks as usize, capacity.block_len as usize);
        self.peers_bytes(capacity.peers as usize)
            .saturating_add(times(capacity.peers as usize, self.row_len()))
            .saturating_add(array::<Domain>(capacity.domains))
            .saturating_add(array::<Record>(capacity.records))
            .saturating_add(array::<Assembly>(capacity.assemblies))
            .saturating_add(blocks)
            .saturating_add(self.gate_bytes())
    }

    /// Bytes of [`Self::bytes_max`] that are taken only for bans, and to count sessions by source.
    pub const fn gate_bytes(&self) -> usize {
        let (bans, peers) = (self.bans_max(), self.peers as usize);
        array::<Ban>(bans)
            .saturating_add(times(index_len(bans as usize), size_of::<Link>()))
            .saturating_add(times(index_len(peers), size_of::<SourceCount>()))
    }

    /// Most bans that there may be: sixteen for each session there may be, up to 65,536.
    pub const fn bans_max(&self) -> u32 {
        let bans = self.peers.saturating_mul(BANS_PER_PEER);
        if bans < BANS_MAX { bans } else { BANS_MAX }
    }

    /// Bytes taken from the allocator for `count` sessions that have nothing to say, once there is room
    /// for exactly so many, and they are not counted by source.
    pub const fn peers_bytes(&self, count: usize) -> usize {
        let PeerArrays { index, replies, rates } = self.peer_arrays(count);
        let each = size_of::<Peer>() + size_of::<Entry>() + size_of::<u32>();
        times(count, each)
            .saturating_add(times(index, size_of::<Link>()))
            .saturating_add(times(replies, size_of::<Reply>()))
            .saturating_add(times(rates, size_of::<SourceRate>()))
    }

    /// Bytes that a session takes of what all share when it holds everything that it is promised, and
    /// nothing more: all domains, its reserve for sending, the credit of every channel, a datagram of
    /// unreliable messages, and a few records.
    pub const fn promised_bytes(&self, config: &Config) -> usize {
        let block_len = self.capacity().block_len;
        let promise = Promise::of(config, PoolControl::new(block_len, 0).block_len());
        self.row_len()
            .saturating_add(array::<Domain>(promise.domains))
            .saturating_add(array::<Record>(promise.records()))
            .saturating_add(times(promise.blocks() as usize, block_len as usize))
    }

    /// Bytes of what tells the domains of a session that has any.
    const fn row_len(&self) -> usize {
        times(self.channels as usize, size_of::<[Link; 5]>())
    }

    /// Lengths of what there is once for all sessions, or several times for each.
    const fn peer_arrays(&self, peers: usize) -> PeerArrays {
        if peers == 0 {
            return PeerArrays { index: 0, replies: 0, rates: 0 };
        }
        PeerArrays {
            index: index_len(peers),
            replies: within(peers, REPLIES_MIN, REPLIES_MAX),
            rates: within(peers, RATES_MIN, RATES_MAX),
        }
    }
}

/// Lengths of a [`Heap`]'s arrays that follow from how many sessions there are.
struct PeerArrays {
    index: usize,
    replies: usize,
    rates: usize,
}

/// Places in which `count` things are found by their hash.
const fn index_len(count: usize) -> usize {
    if count == 0 { 0 } else { times(count.next_power_of_two(), 2) }
}

const fn within(count: usize, least: usize, most: usize) -> usize {
    if count < least {
        least
    } else if count < most {
        count
    } else {
        most
    }
}

const fn times(count: usize, len: usize) -> usize {
    count.saturating_mul(len)
}

const fn array<T>(count: u32) -> usize {
    times(count as usize, size_of::<T>())
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
    table: Vec<[Link; 5]>,
    index: Vec<Link>,
    deadlines: Vec<Entry>,
    places: Vec<u32>,
    replies: Vec<Reply>,
    bans: Vec<Ban>,
    ban_index: Vec<Link>,
    bans_max: u32,
    rates: Vec<SourceRate>,
    counts: Vec<SourceCount>,
    /// Sessions are counted by source.
    counting: bool,
    control: Control,
}

impl Heap {
    /// No memory yet, ready to grow to `limits`.
    pub const fn new(limits: Limits) -> Self {
        let capacity = limits.capacity();
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
            bans: Vec::new(),
            ban_index: Vec::new(),
            bans_max: limits.bans_max(),
            rates: Vec::new(),
            counts: Vec::new(),
            counting: false,
            control: Control::new(&capacity),
        }
    }

    /// Unused memory of the shape that some other has: where that has room for sessions before it grows, as
    /// [`super::Fixed`] has, everything is taken at once, and never grows.
    ///
    /// None if no heap has this shape, if the allocator refuses, or if more than 1 GiB were taken at once.
    pub fn of_shape(shape: &Shape) -> Option<Self> {
        let Shape { capacity, channels, peers, replies, bans, rates } = *shape;
        let Capacity { records, blocks, block_len, .. } = capacity;
        let bytes = u64::from(blocks) * u64::from(block_len);
        let limits = Limits { peers: capacity.peers, channels, records, bytes, block_len };
        let control = Control::new(&capacity);
        let mut heap = Self { control, bans_max: bans, ..Self::new(limits) };
        let fits = peers == 0 || heap.fill(&capacity, replies as usize, rates as usize);
        (fits && heap.shape() == *shape).then_some(heap)
    }

    /// Takes everything that there may ever be.
    fn fill(&mut self, capacity: &Capacity, replies: usize, rates: usize) -> bool {
        let Capacity { peers, domains, records, assemblies, blocks, block_len } = *capacity;
        let bytes = times(blocks as usize, block_len as usize);
        let taken = self
            .limits
            .peers_bytes(peers as usize)
            .saturating_add(times(replies, size_of::<Reply>()))
            .saturating_add(times(rates, size_of::<SourceRate>()))
            .saturating_add(array::<Domain>(domains))
            .saturating_add(array::<Record>(records))
            .saturating_add(array::<Assembly>(assemblies))
            .saturating_add(bytes);
        let fits = taken <= FILLED_MAX
            && self.take_peers(peers as usize, replies, rates)
            && self.take_table(peers as usize)
            && fill(&mut self.domains, domains as usize)
            && fill(&mut self.records, records as usize)
            && fill(&mut self.assemblies, assemblies as usize)
            && reserve(&mut self.bytes, bytes);
        if fits {
            self.bytes.resize(bytes, 0);
        }
        fits
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
            + bytes(&self.bans)
            + bytes(&self.ban_index)
            + bytes(&self.rates)
            + bytes(&self.counts)
    }

    fn grow_peers(&mut self) -> bool {
        let limit = self.limits.peers as usize;
        let Some(count) = doubled(self.peers.len(), limit, 4) else { return false };
        let PeerArrays { replies, rates, .. } = self.limits.peer_arrays(count);
        self.take_peers(count, replies, rates)
    }

    /// Takes whatever is kept for `count` sessions.
    fn take_peers(&mut self, count: usize, replies: usize, rates: usize) -> bool {
        let index = index_len(count);
        let counts = if self.counting { index } else { 0 };
        // All or nothing: only what was reserved for everything is filled.
        let fits = reserve(&mut self.peers, count)
            && reserve(&mut self.index, index)
            && reserve(&mut self.deadlines, count)
            && reserve(&mut self.places, count)
            && reserve(&mut self.replies, replies)
            && reserve(&mut self.rates, rates)
            && reserve(&mut self.counts, counts);
        if fits {
            self.peers.resize_with(count, || Peer::VACANT);
            self.index.resize(index, Link::NONE);
            self.deadlines.resize(count, Entry::NONE);
            self.places.resize(count, Schedule::UNPLACED);
            self.replies.resize_with(replies, || Reply::VACANT);
            self.rates.resize(rates, SourceRate::VACANT);
            self.counts.resize(counts, SourceCount::VACANT);
        }
        fits
    }

    fn grow_table(&mut self) -> bool {
        let channels = self.limits.channels as usize;
        let rows = self.table.len().checked_div(channels).unwrap_or(0);
        let Some(rows) = doubled(rows, self.limits.peers as usize, 4) else { return false };
        self.take_table(rows)
    }

    /// Takes a row for each of so many sessions.
    fn take_table(&mut self, rows: usize) -> bool {
        let channels = self.limits.channels as usize;
        let fits = reserve(&mut self.table, rows * channels);
        if fits {
            self.table.resize(rows * channels, [Link::NONE; 5]);
        }
        fits
    }
}

impl Heap {
    fn grow_bans(&mut self) -> bool {
        let Some(count) = doubled(self.bans.len(), self.bans_max as usize, 4) else { return false };
        let index = index_len(count);
        let fits = reserve(&mut self.bans, count) && reserve(&mut self.ban_index, index);
        if fits {
            self.bans.resize(count, Ban::VACANT);
            self.ban_index.resize(index, Link::NONE);
        }
        fits
    }

    fn begin_counting(&mut self) -> bool {
        let counts = index_len(self.peers.len().max(self.limits.peers.min(1) as usize));
        let fits = !self.counting && reserve(&mut self.counts, counts);
        if fits {
            self.counting = true;
            self.counts.resize(counts, SourceCount::VACANT);
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
    fill(vec, count)
}

fn fill<T: Slot>(vec: &mut Vec<T>, count: usize) -> bool {
    let fits = reserve(vec, count);
    if fits {
        vec.resize_with(count, || T::VACANT);
    }
    fits
}

impl Storage for Heap {
    #[inline]
    fn parts(&mut self) -> Parts<'_> {
        // It may say that it has more than it lends.
        let share = if cfg!(bowline_mutant = "short_heap") { 8 } else { 1 };
        let bytes = self.bytes.len() / share;
        Parts::new(
            Slices {
                peers: &mut self.peers,
                domains: &mut self.domains,
                records: &mut self.records,
                assemblies: &mut self.assemblies,
                bytes: self.bytes.get_mut(..bytes).unwrap_or_default(),
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

    fn gate(&mut self) -> Gate<'_> {
        Gate {
            bans: &mut self.bans,
            ban_index: &mut self.ban_index,
            bans_max: self.bans_max,
            rates: &mut self.rates,
            counts: &mut self.counts,
        }
    }

    fn grow(&mut self, need: Need) -> bool {
        match need {
            Need::Peer => self.grow_peers(),
            Need::Domain => grow(&mut self.domains, self.control.domains.ledger().limit(), 8),
            Need::Ban => self.grow_bans(),
            Need::Counts => self.begin_counting(),
            Need::Row => self.grow_table(),
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
