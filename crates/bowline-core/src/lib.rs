//! The ground that every bowline protocol stands on.
//!
//! Three groups of things, all `no_std` and free of allocation:
//!
//! - **vocabulary**: [`Instant`] and [`Duration`], [`serial`] arithmetic, the opaque [`Address`],
//!   [`Mode`], [`ChannelId`], [`PeerId`];
//! - **lent memory**: a [`Pool`] of equal blocks, [`Slots`] of equal records, a [`Quota`] that
//!   says how much of either somebody was promised, and a [`Schedule`] of deadlines. Each is a
//!   view over slices that an owner lends for the length of one call;
//! - **the two seams**: [`Machine`], which every I/O backend drives, and [`Messages`], which every
//!   application drives. Both are dyn-compatible.
//!
//! No clock is read, no random number is drawn and no memory is allocated in this crate, and
//! nothing in it can panic on any input in a release build.
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod address;
mod codes;
mod log;
mod machine;
mod messages;
mod pool;
mod quota;
mod schedule;
pub mod serial;
mod slots;
mod time;

#[cfg(feature = "log")]
#[doc(hidden)]
pub use ::log as __log;
#[cfg(feature = "defmt")]
#[doc(hidden)]
pub use defmt as __defmt;

pub use address::{Address, AddressTooLong, Source};
pub use codes::{Code, Coded};
pub use machine::{BufferTooShort, DropReason, Ecn, Machine, Received, Transmit};
pub use messages::{
    CancelError, ChannelId, CloseReason, DisconnectReason, Event, Incoming, IncomingChunks,
    Messages, Mode, Outcome, Outgoing, PeerId, RefuseReason, SendError, Tag,
};
pub use pool::{BlockId, Pool, PoolControl};
pub use quota::{Ledger, Quota};
pub use schedule::{Entry, Schedule};
pub use slots::{Link, Slot, SlotControl, Slots};
pub use time::{Duration, Instant};
