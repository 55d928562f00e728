//! Drives bowline machines over std UDP sockets.

mod address;
mod clock;
mod driver;
mod fault;
mod socket;
mod stats;

pub use address::canonical;
pub use clock::Clock;
pub use driver::{Driver, Progress};
pub use socket::{Arrival, Sent, UdpSocket};
pub use stats::SocketStats;
