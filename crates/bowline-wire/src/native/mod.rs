//! The datagrams of the native protocol.
//!
//! A received datagram is one or the other, as [`is_session`] tells:
//!
//! - a [`Handshake`] datagram, parsed as a whole;
//! - a session packet: [`PacketHead::parse`], then find the session, expand the number, check and
//!   cut off the trailer with [`SessionCrc`], then [`AckBlock::parse`], then [`frames`].

mod ack;
mod data_head;
mod frame;
mod frames;
mod handshake;
mod integrity;
mod messages;
mod packet;
mod parameters;
mod stream;

pub use ack::{AckBlock, AckRanges, Expanded, emit_ack_ranges, emit_ack_short};
pub use data_head::{DataHead, DataKind};
pub use frame::{CloseCause, Frame, Offset};
pub use frames::{Frames, frames};
pub use handshake::{Handshake, RefuseCode};
pub use integrity::{Direction, Integrity, SessionCrc};
pub use messages::{Messages, messages};
pub use packet::{AckForm, PacketHead};
pub use parameters::Parameters;
pub use stream::Stream;

/// The version of the protocol that this crate reads and writes.
pub const VERSION: u8 = 2;
/// What every link must carry, in bytes of a datagram.
pub const DATAGRAM_MIN: usize = 64;
/// Length of the shortest whole HELLO, in bytes.
pub const HELLO_MIN: usize = 40;
/// Length of a cookie, in bytes.
pub const COOKIE_LEN: usize = 12;
/// Length of a CRC at the end of a packet or handshake datagram, in bytes.
pub const TRAILER_LEN: usize = 4;
/// The most ranges an ack block holds, the first included.
pub const ACK_RANGES_MAX: usize = 32;
/// Unit of the delay in an ack block and of `ack_delay`, in microseconds.
pub const DELAY_UNIT_US: u64 = 250;

/// Whether a datagram that begins with `first_byte` is a session packet; else it belongs to the
/// handshake.
#[inline]
pub const fn is_session(first_byte: u8) -> bool {
    first_byte >= 0x80
}
