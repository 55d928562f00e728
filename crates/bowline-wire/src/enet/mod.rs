//! ENet 1.3: the header of its datagrams, and the commands in them.
//!
//! ```text
//! 0        2         2 or 4      +4 if agreed
//! +--------+-----------+----------+---------+---------+--
//! | word   | sent time | checksum | command | command | ...
//! +--------+-----------+----------+---------+---------+--
//! ```
//!
//! A received datagram: [`Header::parse`]; find the peer; if a checksum was agreed,
//! [`split_checksum`]; undo the compression if [`Header::compressed`]; compare the checksum with
//! [`checksum`]; then [`commands`].
//!
//! Integers are big-endian, the connect id apart: four bytes that are only ever copied. Nothing on the
//! wire tells whether there is a checksum, or how the commands are compressed.

mod checksum;
mod command;
mod commands;
mod header;
mod kind;
mod time;
mod view;

pub use checksum::{Checksum, checksum, split_checksum};
pub use command::{Command, CommandHead, Fragment, Parameters, Throttle};
pub use commands::{Commands, commands};
pub use header::Header;
pub use kind::CommandKind;
pub use time::Time;
pub use view::{CommandView, PlainAcknowledge, PlainPacket};

/// The lowest MTU a peer is held to, in bytes of a datagram without its checksum.
pub const MTU_MIN: u32 = 576;
/// The highest MTU, and the most that a receiver reads of a datagram, in bytes.
pub const MTU_MAX: u32 = 4096;
/// The MTU of a host since release 1.3.18, in bytes.
pub const MTU_DEFAULT: u32 = 1392;
/// The MTU of a host up to release 1.3.17, in bytes.
pub const MTU_DEFAULT_OLD: u32 = 1400;
/// The most commands that a sender puts into a datagram, acknowledgements included. Receivers take
/// more.
pub const MAX_COMMANDS: usize = 32;
/// The smallest window, in bytes of reliable data in flight.
pub const WINDOW_MIN: u32 = 4096;
/// The largest window, in bytes of reliable data in flight.
pub const WINDOW_MAX: u32 = 65_536;
/// How many bytes per second of bandwidth give [`WINDOW_MIN`] bytes of window.
pub const WINDOW_SCALE: u32 = 65_536;
/// The most channels of a connection.
pub const CHANNELS_MAX: u32 = 255;
/// The channel of commands that concern the connection.
pub const CONNECTION_CHANNEL: u8 = 0xFF;
/// Where a datagram goes whose sender has no slot number yet: a CONNECT.
pub const NO_PEER: u16 = 0xFFF;
/// The most peers of a host: slots are 0 to 4094.
pub const PEERS_MAX: usize = 4095;
/// The session id of a peer that has had no session.
pub const NO_SESSION: u8 = 0xFF;
/// The most fragments of a packet.
pub const MAX_FRAGMENTS: u32 = 1 << 20;
/// Into how many windows the space of reliable sequence numbers is divided.
pub const RELIABLE_WINDOWS: u16 = 16;
/// The numbers of a window of reliable sequence numbers.
pub const RELIABLE_WINDOW_SIZE: u16 = 4096;
/// Windows of reliable sequence numbers that stay clear between the newest and the oldest.
pub const RELIABLE_WINDOWS_FREE: u16 = 8;
/// The groups of a window of unsequenced packets.
pub const UNSEQUENCED_WINDOW_SIZE: u16 = 1024;
/// How many windows ahead an unsequenced group is accepted.
pub const UNSEQUENCED_WINDOWS_FREE: u16 = 32;
/// Length of the field of a checksum, in bytes.
pub const CHECKSUM_LEN: usize = 4;
