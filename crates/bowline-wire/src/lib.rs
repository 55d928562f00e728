//! Wire formats as views and values over byte slices: bowline's own, and ENet's.
//!
//! - [`native`] has the datagrams of the protocol: [`Handshake`](native::Handshake),
//!   [`PacketHead`](native::PacketHead), [`AckBlock`](native::AckBlock), [`Frame`](native::Frame).
//!   Each has a `parse`, which returns what it did not read, and an `emit` into a [`Writer`].
//! - [`enet`] has those of ENet 1.3: [`Header`](enet::Header), [`Command`](enet::Command).
//! - [`varint`] and [`checksum`] are what they are made of.
//! - [`Explain`] prints any datagram, well formed or not, field by field, [`ExplainEnet`] those of ENet.
//!
//! Whatever is parsed was checked as far as its bytes alone can tell; what depends on a session
//! (limits, channels, numbers seen before) is the business of the session. Nothing here keeps state,
//! allocates, or panics on any input in a release build.
//!
//! What follows is the specification of the native protocol.
//!
#![doc = include_str!("../PROTOCOL.md")]
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod enet;
mod explain;
mod malformed;
pub mod native;
mod reader;
pub mod varint;
mod writer;

pub use explain::{Explain, ExplainEnet};
pub use malformed::Malformed;
pub use writer::{NoRoom, Writer};
