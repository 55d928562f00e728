//! What became of messages: tickets for those whose end somebody wants to know, or that may be
//! given up.
//!
//! A ticket is a record that tells which bytes of a stream, or of a queue, are the message's. It
//! stays in its lane, in order of those bytes, until they are acknowledged or gone; and it stays
//! taken until its outcome was told, so that none is ever lost: who polls no outcomes runs out of
//! tickets, which is a `Full` at `send`.
//!
//! There may be thousands in a lane. So what is done for each packet or message takes a step or two, however
//! many there are; walks along the lane are for what is rare: loss, cancelling, a time that is over.

mod lane;
mod once;
mod outcomes;

pub use self::lane::Tickets;
pub use self::once::OnceTickets;
pub use self::outcomes::{Ends, Outcomes};

use bowline_core::{Instant, Tag};

/// What a ticket remembers of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// Set if the outcome is to be told.
    pub tag: Option<Tag>,
    /// When the message is not worth sending any more, or never.
    pub deadline: Instant,
    /// What it replaces; 0 where nothing is replaced.
    pub key: u32,
}

/// A flag of records: the outcome is to be told.
const TAGGED: u16 = 1;
/// The outcome is known.
const DECIDED: u16 = 2;
/// The message was given up: its bytes are passed over.
const DEAD: u16 = 4;
/// That is to be told to the receiver, since some of the bytes were sent.
const DUE: u16 = 8;
/// It is in no lane any more.
const OUT: u16 = 16;
/// It waits to be told.
const UNTOLD: u16 = 32;

#[cfg(test)]
mod tests;
