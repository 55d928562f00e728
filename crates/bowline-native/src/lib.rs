//! The native bowline protocol: sessions and endpoint over lent memory, without I/O.
//!
//! [`Endpoint`] is everything behind one socket. It is a [`Machine`](bowline_core::Machine), which says how
//! to drive it, and [`Messages`](bowline_core::Messages), which says how to talk through it. Its memory comes
//! from whoever makes it: [`Fixed`] arrays fit for a `static`, or a `Heap` (feature `alloc`) that grows up
//! to limits someone wrote down.
//!
//! No clock is read, no socket opened, no random number drawn in this crate: the same inputs at the same
//! times with the same seed give the same bytes out.
//!
//! What is not here yet: secured sessions, outcomes and deadlines of messages, the two other reliable
//! modes, channel weights, redundancy, congestion control beyond a fixed window, pacing, path MTU search.
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

mod config;
mod domain;
mod endpoint;
mod handshake;
mod index;
mod peer;
mod random;
mod receive;
mod reply;
mod send;
mod statistics;
mod storage;
mod transmit;

pub use bowline_transport::fragments::Limits as IncompleteLimits;
pub use config::{Accept, Config, ConfigError, Integrity, MESSAGE_LEN_MAX};
pub use domain::Domain;
pub use endpoint::{Broadcast, ConnectError, Endpoint, UnknownPeer};
pub use handshake::{Answer, INFO_LEN_MAX};
pub use peer::Peer;
pub use reply::Reply;
pub use statistics::{EndpointStatistics, PathState, PeerStatistics};
pub use storage::{Capacity, Control, Fixed, InUse, Need, Parts, Slices, Storage};
#[cfg(feature = "alloc")]
pub use storage::{Heap, Limits};
