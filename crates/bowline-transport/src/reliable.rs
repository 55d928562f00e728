//! The reliable mode: a stream of bytes that is sent until acknowledged, and put in order again.
//!
//! A message is a length and its bytes in the stream, so a message costs a prefix, a copy and a
//! cursor step; what is cut into packets is ranges of the stream, whatever messages they hold.

mod extent;
mod in_stream;
pub mod loose;
mod out_stream;
mod ranges;

pub use self::in_stream::{Head, InStream, PIECES_MAX, Refused};
pub use self::loose::LooseStream;
pub use self::out_stream::{Cut, OutStream, Piece};
pub use self::ranges::Ranges;

use bowline_core::serial::ahead32;

/// Which of two offsets lies further on.
const fn later(a: u32, b: u32) -> u32 {
    if ahead32(a, b) > 0 { a } else { b }
}

/// Which of two offsets lies less far on.
const fn earlier(a: u32, b: u32) -> u32 {
    if ahead32(a, b) < 0 { a } else { b }
}

#[cfg(test)]
mod tests;
