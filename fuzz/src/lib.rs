//! What every fuzz target checks; `fuzz_targets/` only hands the bytes over.
//!
//! Each target is a module with a `check(&[u8])` that panics when a model and bowline disagree.

pub mod enet;
pub mod feed;
pub mod trace;
pub mod transport;
pub mod wire;
