//! The mechanisms of reliable datagram protocols, one file each, usable alone.
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(test)]
extern crate alloc;

pub mod acks;
pub mod congestion;
pub mod credit;
pub mod fragments;
pub mod liveness;
pub mod loss;
pub mod receive_window;
pub mod record;
pub mod reliable;
pub mod rtt;
pub mod run;
pub mod scheduler;
pub mod sent;
pub mod unreliable;
