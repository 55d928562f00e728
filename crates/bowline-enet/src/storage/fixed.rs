//! Memory sized at compile time.

use bowline_core::{Entry, Link, Schedule, Slot};

use super::{Capacity, Control, Parts, Slices, Storage};
use crate::arrival::Arrival;
use crate::channel::{Bank, Channel};
use crate::command::{Acknowledgement, Queued};
use crate::farewell::Farewell;
use crate::peer::Peer;

/// Last words that can wait in a [`Fixed`].
const FAREWELLS: usize = 4;

/// Memory sized at compile time and fit for a `static`: for `PEERS` connections that use `CHANNELS` channels
/// in all, with `COMMANDS` commands to be sent or acknowledged, as many acknowledgements and packets that have arrived, and
/// `BLOCKS` blocks of `BLOCK_LEN` bytes (4 of them overhead).
///
/// Half of each is promised to the peers in equal parts, the other half is for who needs more.
#[derive(Debug)]
pub struct Fixed<
    const PEERS: usize,
    const CHANNELS: usize,
    const COMMANDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize = 128,
> {
    peers: [Peer; PEERS],
    banks: [Bank; CHANNELS],
    channels: [Channel; CHANNELS],
    commands: [Queued; COMMANDS],
    acknowledgements: [Acknowledgement; COMMANDS],
    arrivals: [Arrival; COMMANDS],
    bytes: [[u8; BLOCK_LEN]; BLOCKS],
    sets: [[u64; PEERS]; 4],
    indexes: [[[Link; 2]; PEERS]; 2],
    deadlines: [Entry; PEERS],
    places: [u32; PEERS],
    farewells: [Farewell; FAREWELLS],
    control: Control,
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const COMMANDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Fixed<PEERS, CHANNELS, COMMANDS, BLOCKS, BLOCK_LEN>
{
    /// All the bytes that this memory takes.
    pub const BYTES: usize = size_of::<Self>();

    /// Unused memory.
    pub const fn new() -> Self {
        const { assert!(PEERS > 0 && PEERS <= 4095 && CHANNELS >= PEERS && BLOCK_LEN >= 64) };
        Self {
            peers: [const { Peer::VACANT }; PEERS],
            banks: [Bank::VACANT; CHANNELS],
            channels: [Channel::VACANT; CHANNELS],
            commands: [Queued::VACANT; COMMANDS],
            acknowledgements: [Acknowledgement::VACANT; COMMANDS],
            arrivals: [Arrival::VACANT; COMMANDS],
            bytes: [[0; BLOCK_LEN]; BLOCKS],
            sets: [[0; PEERS]; 4],
            indexes: [[[Link::NONE; 2]; PEERS]; 2],
            deadlines: [Entry::NONE; PEERS],
            places: [Schedule::UNPLACED; PEERS],
            farewells: [Farewell::VACANT; FAREWELLS],
            control: Control::new(&Capacity {
                peers: PEERS as u32,
                channels: CHANNELS as u32,
                commands: COMMANDS as u32,
                acknowledgements: COMMANDS as u32,
                arrivals: COMMANDS as u32,
                blocks: BLOCKS as u32,
                block_len: BLOCK_LEN as u32,
            }),
        }
    }
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const COMMANDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Default for Fixed<PEERS, CHANNELS, COMMANDS, BLOCKS, BLOCK_LEN>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<
    const PEERS: usize,
    const CHANNELS: usize,
    const COMMANDS: usize,
    const BLOCKS: usize,
    const BLOCK_LEN: usize,
> Storage for Fixed<PEERS, CHANNELS, COMMANDS, BLOCKS, BLOCK_LEN>
{
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
                bytes: self.bytes.as_flattened_mut(),
                sets: [taken, ready, again, blocked],
                indexes: [connections.as_flattened_mut(), sources.as_flattened_mut()],
                deadlines: &mut self.deadlines,
                places: &mut self.places,
                farewells: &mut self.farewells,
            },
            &mut self.control,
        )
    }
}
