//! Memory from the allocator, that grows.

use alloc::vec::Vec;

use bowline_core::{Entry, Link, Schedule, Slot};

use super::{Capacity, Control, Need, Parts, Slices, Storage};
use crate::arrival::Arrival;
use crate::channel::{Bank, Channel};
use crate::command::{Acknowledgement, Queued};
use crate::farewell::Farewell;
use crate::peer::Peer;

/// Last words that wait to be sent at once.
const FAREWELLS: usize = 256;

/// How far a [`Heap`] may grow, and how it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once, in `1..=4095`.
    pub peers: u16,
    /// Most channels in use, over all connections.
    pub channels: u32,
    /// Most commands queued or not acknowledged (56 bytes each), over all connections; as many acknowledgements and
    /// packets that have arrived.
    pub commands: u32,
    /// Most bytes of packets in memory, over all connections.
    pub bytes: u64,
    /// Length of a pool block, in bytes, at least 64.
    pub block_len: u32,
}

impl Limits {
    /// Room for `peers` connections of eight channels and 1,024 commands each, and 512 KiB of packets for
    /// each, with 64 MiB on top.
    pub const fn for_peers(peers: u16) -> Self {
        let count = peers as u32;
        Self {
            peers,
            channels: 256 + count * 8,
            commands: 65_536 + count * 1_024,
            bytes: (64 << 20) + peers as u64 * (512 << 10),
            block_len: 256,
        }
    }

    const fn capacity(&self) -> Capacity {
        let block_len = if self.block_len < 64 { 64 } else { self.block_len };
        let blocks = self.bytes / block_len as u64;
        Capacity {
            peers: self.peers as u32,
            channels: self.channels,
            commands: self.commands,
            acknowledgements: self.commands,
            arrivals: self.commands,
            blocks: if blocks > 1 << 30 { 1 << 30 } else { blocks as u32 },
            block_len,
        }
    }
}

/// Memory from the allocator, doubling up to its [`Limits`].
///
/// Nothing is allocated per datagram or per packet once it has grown, and nothing is given back before the storage
/// is dropped. An allocator that refuses makes the host answer "full".
#[derive(Debug)]
pub struct Heap {
    capacity: Capacity,
    peers: Vec<Peer>,
    banks: Vec<Bank>,
    channels: Vec<Channel>,
    commands: Vec<Queued>,
    acknowledgements: Vec<Acknowledgement>,
    arrivals: Vec<Arrival>,
    bytes: Vec<u8>,
    sets: [Vec<u64>; 4],
    indexes: [Vec<Link>; 2],
    deadlines: Vec<Entry>,
    places: Vec<u32>,
    farewells: Vec<Farewell>,
    control: Control,
}

impl Heap {
    /// No memory yet, ready to grow to `limits`.
    pub const fn new(limits: Limits) -> Self {
        let capacity = limits.capacity();
        Self {
            control: Control::new(&capacity),
            capacity,
            peers: Vec::new(),
            banks: Vec::new(),
            channels: Vec::new(),
            commands: Vec::new(),
            acknowledgements: Vec::new(),
            arrivals: Vec::new(),
            bytes: Vec::new(),
            sets: [const { Vec::new() }; 4],
            indexes: [const { Vec::new() }; 2],
            deadlines: Vec::new(),
            places: Vec::new(),
            farewells: Vec::new(),
        }
    }

    /// Bytes taken from the allocator.
    pub fn allocated(&self) -> usize {
        fn bytes<T>(of: &Vec<T>) -> usize {
            of.capacity() * size_of::<T>()
        }
        bytes(&self.peers)
            + bytes(&self.banks)
            + bytes(&self.channels)
            + bytes(&self.commands)
            + bytes(&self.acknowledgements)
            + bytes(&self.arrivals)
            + bytes(&self.bytes)
            + self.sets.iter().map(bytes).sum::<usize>()
            + self.indexes.iter().map(bytes).sum::<usize>()
            + bytes(&self.deadlines)
            + bytes(&self.places)
            + bytes(&self.farewells)
    }

    /// Peers are put into the indexes anew, which are all of another length: by the hashes they know.
    fn grow_peers(&mut self) -> bool {
        let Some(count) = doubled(self.peers.len(), self.capacity.peers as usize, 4) else {
            return false;
        };
        let index = count.next_power_of_two() * 2;
        // All or nothing: only what was reserved for everything is filled.
        let fits = reserve(&mut self.peers, count)
            && reserve(&mut self.deadlines, count)
            && reserve(&mut self.places, count)
            && reserve(&mut self.farewells, FAREWELLS)
            && self.sets.iter_mut().all(|set| reserve(set, count.div_ceil(64)))
            && self.indexes.iter_mut().all(|places| reserve(places, index));
        if !fits {
            return false;
        }
        self.peers.resize(count, Peer::VACANT);
        self.deadlines.resize(count, Entry::NONE);
        self.places.resize(count, Schedule::UNPLACED);
        self.farewells.resize(FAREWELLS, Farewell::VACANT);
        self.sets.iter_mut().for_each(|set| set.resize(count.div_ceil(64), 0));
        self.indexes.iter_mut().for_each(|places| {
            places.clear();
            places.resize(index, Link::NONE);
        });
        self.parts().reindex();
        true
    }
}

/// Twice as many, at least `least`, at most `limit`; None if that is not more.
fn doubled(len: usize, limit: usize, least: usize) -> Option<usize> {
    let count = len.saturating_mul(2).max(least).min(limit);
    (count > len).then_some(count)
}

/// Makes room for `count` in all; false if the allocator refuses.
fn reserve<T>(of: &mut Vec<T>, count: usize) -> bool {
    of.try_reserve_exact(count.saturating_sub(of.len())).is_ok()
}

fn grow<T: Slot + Clone>(of: &mut Vec<T>, limit: u32) -> bool {
    let Some(count) = doubled(of.len(), limit as usize, 64) else { return false };
    let fits = reserve(of, count);
    if fits {
        of.resize(count, T::VACANT);
    }
    fits
}

impl Storage for Heap {
    #[inline]
    fn parts(&mut self) -> Parts<'_> {
        let [taken, ready, again, blocked] = &mut self.sets;
        let [connections, sources] = &mut self.indexes;
        Parts::new(
            Slices {
                peers: &mut self.peers,
                banks: &mut self.banks,
                channels: &mut self.channels,
                commands: &mut self.commands,
                acknowledgements: &mut self.acknowledgements,
                arrivals: &mut self.arrivals,
                bytes: &mut self.bytes,
                sets: [taken, ready, again, blocked],
                indexes: [connections, sources],
                deadlines: &mut self.deadlines,
                places: &mut self.places,
                farewells: &mut self.farewells,
            },
            &mut self.control,
        )
    }

    fn grow(&mut self, need: Need) -> bool {
        let Capacity { channels, commands, acknowledgements, arrivals, blocks, block_len, .. } =
            self.capacity;
        match need {
            Need::Peer => self.grow_peers(),
            Need::Channel => grow(&mut self.banks, channels) && grow(&mut self.channels, channels),
            Need::Command => grow(&mut self.commands, commands),
            Need::Acknowledgement => grow(&mut self.acknowledgements, acknowledgements),
            Need::Arrival => grow(&mut self.arrivals, arrivals),
            Need::Block => {
                let stride = block_len as usize;
                let limit = (blocks as usize).saturating_mul(stride);
                let Some(len) = doubled(self.bytes.len(), limit, 64 * stride) else { return false };
                let fits = reserve(&mut self.bytes, len);
                if fits {
                    self.bytes.resize(len, 0);
                }
                fits
            }
        }
    }
}
