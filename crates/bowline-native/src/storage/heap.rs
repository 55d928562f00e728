//! Memory from the allocator, that grows.

use alloc::vec::Vec;

use bowline_core::{Entry, Link, Schedule, Slot};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

use super::{Capacity, Control, Need, Parts, Slices, Storage};
use crate::domain::Domain;
use crate::peer::Peer;
use crate::reply::Reply;

/// Most answers to strangers that wait to be sent. What comes at once is a burst between two calls of
/// `poll_transmit`; who gets no answer asks again.
const REPLIES_MAX: usize = 256;

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
        let replies = (count / 4).clamp(16, REPLIES_MAX);
        // All or nothing: only what was reserved for everything is filled.
        let fits = reserve(&mut self.peers, count)
            && reserve(&mut self.table, table)
            && reserve(&mut self.index, count.next_power_of_two() * 2)
            && reserve(&mut self.deadlines, count)
            && reserve(&mut self.places, count)
            && reserve(&mut self.replies, replies);
        if fits {
            self.peers.resize_with(count, || Peer::VACANT);
            self.table.resize(table, [Link::NONE; 3]);
            self.index.resize(count.next_power_of_two() * 2, Link::NONE);
            self.deadlines.resize(count, Entry::NONE);
            self.places.resize(count, Schedule::UNPLACED);
            self.replies.resize_with(replies, || Reply::VACANT);
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
