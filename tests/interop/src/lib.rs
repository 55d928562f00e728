//! bowline's ENet beside the original: in lockstep under a virtual clock, and over real sockets.
//!
//! [`subject::Subject`] is a host as the tests drive it, whoever wrote it. `c_enet` wraps the C
//! library (where it is installed) so that it has neither a socket nor a clock.

#[cfg(c_enet)]
pub mod c_enet;
pub mod coder;
pub mod episode;
pub mod explain;
pub mod forge;
pub mod golden;
pub mod live;
pub mod matrix;
pub mod message;
pub mod network;
pub mod ours;
pub mod random;
pub mod relay;
pub mod scenario;
pub mod subject;
pub mod twin;

/// Why there is nothing to compare with, where the C library was not there at build time.
pub const NO_C_ENET: &str = "built without libenet (Debian: apt-get install libenet-dev)";
