//! Every kind of memory an endpoint can have, behind one type.

use bowline_core::Duration;
use bowline_native::{Config, Fixed, Gate, Heap, IncompleteLimits, Limits, Need, Parts, Storage};

use crate::allocator::watch;

/// The application number of all endpoints here.
pub const APPLICATION: u64 = 0xb0_71_1e;

/// A kind of memory, and a configuration that suits it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A heap with room for everything.
    Heap,
    /// A heap with short blocks and a low limit, so that it is often full.
    TightHeap,
    /// Arrays of about 160 KiB, four channels.
    Fixed,
    /// A heap with the limits of [`Self::Fixed`].
    TwinHeap,
    /// Arrays of about 12 KiB, one channel, without the loose modes, for microcontrollers.
    SmallFixed,
    /// A heap for two sessions of 256 channels.
    WideHeap,
}

impl Kind {
    /// All that differ.
    pub const ALL: [Self; 4] = [Self::Heap, Self::TightHeap, Self::Fixed, Self::SmallFixed];

    /// Most sessions it holds.
    pub const fn peers(self) -> usize {
        match self {
            Self::Heap => 16,
            Self::TightHeap => 6,
            Self::Fixed | Self::TwinHeap => 4,
            Self::SmallFixed | Self::WideHeap => 2,
        }
    }

    /// A configuration that leaves some of the memory unpromised.
    pub const fn config(self) -> Config {
        let full = Config::new(APPLICATION);
        match self {
            Self::Heap => full,
            Self::TightHeap => Config {
                channels: 5,
                credit: 1_000,
                credit_max: 20_000,
                loose_credit: 512,
                reliable_max: 80_000,
                ordered_max: 20_000,
                unreliable_max: 20_000,
                send_max: 150_000,
                send_reserve: 2_000,
                inbox_max: 40_000,
                incomplete: IncompleteLimits {
                    messages: 4,
                    bytes: 40_000,
                    age: Duration::from_secs(1),
                },
                in_flight_max: 40_000,
                ..full
            },
            Self::Fixed | Self::TwinHeap => Config {
                channels: 4,
                credit: 600,
                credit_max: 4_096,
                loose_credit: 256,
                reliable_max: 20_000,
                ordered_max: 8_000,
                unreliable_max: 8_000,
                send_max: 30_000,
                send_reserve: 1_500,
                inbox_max: 20_000,
                incomplete: IncompleteLimits {
                    messages: 1,
                    bytes: 10_000,
                    age: Duration::from_secs(1),
                },
                in_flight_max: 20_000,
                ..full
            },
            Self::SmallFixed => Config::small(APPLICATION),
            Self::WideHeap => Config { channels: 256, ..full },
        }
    }

    /// Unused memory of this kind.
    pub fn memory(self) -> Memory {
        Memory(match self {
            Self::Heap => Box::new(Heap::new(Limits::for_peers(16))),
            Self::TightHeap => Box::new(Heap::new(Limits {
                peers: 6,
                channels: 5,
                records: 400,
                bytes: 400_000,
                block_len: 96,
            })),
            Self::Fixed => Box::new(Fixed::<4, 4, 300, 1_100, 128, 5>::new()),
            Self::TwinHeap => Box::new(Heap::new(Limits {
                peers: 4,
                channels: 4,
                records: 300,
                bytes: 1_100 * 128,
                block_len: 128,
            })),
            Self::SmallFixed => Box::new(Fixed::<2, 1, 48, 64, 128>::new()),
            Self::WideHeap => Box::new(Heap::new(Limits {
                peers: 2,
                channels: 256,
                records: 20_000,
                bytes: 128 << 20,
                block_len: 1_024,
            })),
        })
    }
}

/// Memory of any kind. What it asks of the allocator is watched ([`crate::allocator`]).
pub struct Memory(Box<dyn Storage>);

impl Memory {
    /// Memory of a kind that is not listed here.
    pub fn new(storage: impl Storage + 'static) -> Self {
        Self(Box::new(storage))
    }
}

impl core::fmt::Debug for Memory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Storage for Memory {
    fn parts(&mut self) -> Parts<'_> {
        self.0.parts()
    }

    fn gate(&mut self) -> Gate<'_> {
        self.0.gate()
    }

    fn grow(&mut self, need: Need) -> bool {
        watch(|| self.0.grow(need))
    }
}
