//! The mechanisms of `bowline-transport`, each against an obvious model.

pub mod acks;
pub mod congestion;
pub mod credit;
pub mod fragments;
pub mod inbox;
pub mod liveness;
pub mod loss;
pub mod lost;
mod memory;
pub mod receive_window;
pub mod rtt;
pub mod run;
pub mod scheduler;
pub mod sent;
pub mod share;
pub mod streams;
pub mod unreliable;
