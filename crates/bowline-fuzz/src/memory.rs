//! Memory of endpoints that are fuzzed: small, so that it is often full.

use bowline_core::Duration;
use bowline_native::{Config, Fixed, Gate, Heap, IncompleteLimits, Limits, Need, Parts, Storage};

/// The application number of all endpoints here.
pub const APPLICATION: u64 = 0xf_022;

/// A kind of memory, and a configuration that suits it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A heap with room for most things.
    Roomy,
    /// A heap with short blocks, which grows up to a low limit.
    Tight,
    /// Arrays with the limits of [`Self::Twin`].
    Fixed,
    /// A heap of the shape of [`Self::Fixed`]: from outside the two cannot be told apart.
    Twin,
    /// Arrays of a few kilobytes, one channel.
    Small,
}

type Arrays = Fixed<3, 3, 200, 400, 128>;

impl Kind {
    /// All of them, the tightest first.
    pub const ALL: [Self; 5] = [Self::Tight, Self::Fixed, Self::Small, Self::Twin, Self::Roomy];

    /// A configuration that leaves some of the memory unpromised.
    pub const fn config(self) -> Config {
        let full = Config::new(APPLICATION);
        let (messages, bytes, age) = match self {
            Self::Tight => (3, 12_000, Duration::from_secs(1)),
            _ => (2, 6_000, Duration::from_millis(700)),
        };
        let incomplete = IncompleteLimits { messages, bytes, age };
        match self {
            Self::Roomy => full,
            Self::Tight => Config {
                loose_credit: 0,
                channels: 17,
                credit: 300,
                credit_max: 6_000,
                reliable_max: 30_000,
                ordered_max: 9_000,
                unreliable_max: 9_000,
                send_max: 40_000,
                send_reserve: 500,
                inbox_max: 12_000,
                in_flight_max: 20_000,
                incomplete,
                ..full
            },
            Self::Fixed | Self::Twin => Config {
                loose_credit: 0,
                channels: 3,
                credit: 400,
                credit_max: 2_000,
                reliable_max: 8_000,
                ordered_max: 4_000,
                unreliable_max: 4_000,
                send_max: 12_000,
                send_reserve: 800,
                inbox_max: 6_000,
                in_flight_max: 9_000,
                incomplete,
                ..full
            },
            Self::Small => Config::small(APPLICATION),
        }
    }

    /// Unused memory of this kind.
    pub fn memory(self) -> Memory {
        Memory(match self {
            Self::Roomy => Box::new(Heap::new(Limits::for_peers(8))),
            Self::Tight => Box::new(Heap::new(Limits {
                peers: 3,
                channels: 17,
                records: 300,
                bytes: 120_000,
                block_len: 96,
            })),
            Self::Fixed => Box::new(Arrays::new()),
            // With a place for every record and reply that the arrays have, and no others.
            Self::Twin => match Heap::of_shape(&Arrays::new().shape()) {
                Some(heap) => Box::new(heap),
                None => unreachable!("arrays of any shape can lie on a heap"),
            },
            Self::Small => Box::new(Fixed::<2, 1, 48, 64, 128>::new()),
        })
    }
}

/// Memory of any kind.
pub struct Memory(Box<dyn Storage>);

impl core::fmt::Debug for Memory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Memory").finish()
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
        self.0.grow(need)
    }
}
