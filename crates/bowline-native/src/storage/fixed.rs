//! Memory sized at compile time.

use bowline_core::{Entry, Link, Schedule, Slot};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

use super::{Capacity, Control, Parts, Slices, Storage};
use crate::bans::Ban;
use crate::domain::Domain;
use crate::gate::Gate;
use crate::peer::Peer;
use crate::reply::Reply;
use crate::sources::{SourceCount, SourceRate};

/// Messages in reassembly for which [`Fixed`] has room, per peer.
const ASSEMBLIES_PER_PEER: usize = 1;
/// Answers to strangers that can wait in a [`Fixed`].
const REPLIES: usize = 4;
/// Bans for which a [`Fixed`] has room.
const BANS: usize = 4;
/// Sources that a [`Fixed`] can hold to a rate.
const RATES: usize = 8;

/// Memory for `PEERS` sessions of `CHANNELS` channels, sized at compile time and fit for a `static`.
///
/// An endpoint refuses memory that does not hold what each of its sessions is promised
/// ([`crate::ConfigError::MemoryTooSmall`] says how much that is).
///
/// `MODES` is how many (channel, mode) pairs there may be for each channel: 3 suffice without the loose
/// modes (`Config::loose_credit` 0), with them it takes 5.
///
/// There is room for four bans, and to hold eight sources to a rate.
///
/// `RECORDS` records of 40 bytes and `BLOCKS` blocks of `BLOCK_LEN` bytes (4 of them overhead) are
/// shared by all sessions. [`Fixed::BYTES`] is all the memory an endpoint takes besides [`crate::Endpoint`]
/// itself.
#[derive(Debug)]
pub struct Fixed<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize = 128,
    const MODES: usize = 3,
> {
    peers: [Peer; PEERS],
    domains: [[[Domain; MODES]; CHANNELS]; PEERS],
    records: [Record; RECORDS],
    assemblies: [[Assembly; ASSEMBLIES_PER_PEER]; PEERS],
    bytes: [[u8; BLOCK_LEN]; BLOCKS],
    table: [[[Link; 5]; CHANNELS]; PEERS],
    index: [[Link; 2]; PEERS],
    deadlines: [Entry; PEERS],
    places: [u32; PEERS],
    replies: [Reply; REPLIES],
    bans: [Ban; BANS],
    ban_index: [[Link; 2]; BANS],
    rates: [SourceRate; RATES],
    counts: [[SourceCount; 2]; PEERS],
    control: Control,
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const RECORDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
    const MODES: usize,
> Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN, MODES>
{
    /// All the bytes that this memory takes.
    pub const BYTES: usize = size_of::<Self>();

    /// Bytes of that for each session, whatever it has to say.
    ///
    /// Records and blocks come on top, [`Self::SHARED_BYTES`], and at most 8 bytes of padding.
    pub const PEER_BYTES: usize = size_of::<Peer>()
        + size_of::<[[Domain; MODES]; CHANNELS]>()
        + size_of::<[Assembly; ASSEMBLIES_PER_PEER]>()
        + size_of::<[[Link; 5]; CHANNELS]>()
        + size_of::<[Link; 2]>()
        + size_of::<[SourceCount; 2]>()
        + size_of::<Entry>()
        + size_of::<u32>();

    /// Bytes of that which do not depend on how many of anything there are.
    pub const SHARED_BYTES: usize = size_of::<[Reply; REPLIES]>()
        + size_of::<[Ban; BANS]>()
        + size_of::<[[Link; 2]; BANS]>()
        + size_of::<[SourceRate; RATES]>()
        + size_of::<Control>();

    /// Unused memory.
    pub const fn new() -> Self {
        const { assert!(PEERS > 0 && CHANNELS > 0 && CHANNELS <= 256 && BLOCK_LEN >= 16 && MODES <= 5) };
        Self {
            peers: [const { Peer::VACANT }; PEERS],
            domains: [const { [const { [const { Domain::VACANT }; MODES] }; CHANNELS] }; PEERS],
            records: [Record::VACANT; RECORDS],
            assemblies: [const { [const { Assembly::VACANT }; ASSEMBLIES_PER_PEER] }; PEERS],
            bytes: [[0; BLOCK_LEN]; BLOCKS],
            table: [[[Link::NONE; 5]; CHANNELS]; PEERS],
            index: [[Link::NONE; 2]; PEERS],
            deadlines: [Entry::NONE; PEERS],
            places: [Schedule::UNPLACED; PEERS],
            replies: [Reply::VACANT; REPLIES],
            bans: [Ban::VACANT; BANS],
            ban_index: [[Link::NONE; 2]; BANS],
            rates: [SourceRate::VACANT; RATES],
            counts: [[SourceCount::VACANT; 2]; PEERS],
            control: Control::new(&Capacity {
                peers: PEERS as u32,
                domains: (PEERS * CHANNELS * MODES) as u32,
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
    const MODES: usize,
> Default for Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN, MODES>
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
    const MODES: usize,
> Storage for Fixed<PEERS, CHANNELS, RECORDS, BLOCKS, BLOCK_LEN, MODES>
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

    fn gate(&mut self) -> Gate<'_> {
        Gate {
            bans: &mut self.bans,
            ban_index: self.ban_index.as_flattened_mut(),
            bans_max: BANS as u32,
            rates: &mut self.rates,
            counts: self.counts.as_flattened_mut(),
        }
    }
}
