//! ENet 1.3 on the wire, without its sockets, clock and allocator: [`Host`] is a state machine that takes
//! datagrams and times in and gives datagrams out, in memory that its caller lends.
//!
//! Thousands of games speak ENet, among them all that use Godot's high-level multiplayer. Their clients and
//! servers cannot tell this host from the C library, but for what [`Hardening`] guards against.
//!
//! - [`for_enet_users`]: what stands for what in the C library;
//! - [`for_godot_users`]: how to serve games made with Godot, or be a client among them.
#![no_std]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod acknowledge;
mod arrival;
mod bandwidth;
mod channel;
mod clock;
mod command;
mod compression;
mod compressor;
mod config;
mod connect;
mod deliver;
mod disconnect;
mod events;
mod farewell;
mod flags;
pub mod godot;
mod host;
mod in_order;
mod index;
mod list;
mod peer;
mod queue;
mod random;
mod range_coder;
mod receive;
mod send;
mod slotset;
mod sources;
mod sparse;
mod statistics;
mod storage;
mod transmit;

#[doc = include_str!("../ENET.md")]
pub mod for_enet_users {}

#[doc = include_str!("../GODOT.md")]
pub mod for_godot_users {}

pub use bowline_wire::enet::Throttle;
pub use compression::{Compression, Uncompressed};
pub use compressor::{Buffered, Compressor};
pub use config::{
    Checksum, Config, ConfigError, ConnectRate, CustomChecksum, Hardening, Intercept, Release,
    Verdict,
};
pub use connect::ConnectError;
pub use events::Packet;
pub use flags::Flags;
pub use host::{Host, InUse, UnknownPeer};
pub use peer::{State, Timeout};
pub use range_coder::RangeCoder;
pub use statistics::{HostStatistics, PeerStatistics};
pub use storage::{Capacity, Control, Fixed, Need, Parts, Slices, Storage};
#[cfg(feature = "alloc")]
pub use storage::{Heap, Limits};
