//! A machine that cannot be driven.

use bowline_core::Instant;

use crate::NodeId;

/// A machine broke the contract of [`bowline_core::Machine`], so that driving it further would
/// not end. A bug of the machine, or of the test that drives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Asked again and again, it has nothing to send, and still names a deadline that has passed.
    DeadlineNotActedOn {
        /// Whose machine it is.
        node: NodeId,
        /// The time it was told.
        now: Instant,
        /// What it answered when asked for its next timeout.
        timeout: Instant,
    },
    /// It keeps on sending without waiting for time to pass.
    EndlessTransmit {
        /// Whose machine it is.
        node: NodeId,
        /// The time it was told.
        now: Instant,
    },
    /// Machines keep answering each other without time passing: a link without delay, and
    /// machines that answer everything.
    EndlessExchange {
        /// When the clock stopped.
        now: Instant,
    },
    /// It claims to have written more than the buffer holds.
    TransmitTooLong {
        /// Whose machine it is.
        node: NodeId,
        /// What it claims to have written, in bytes.
        len: usize,
    },
    /// It needs a buffer longer than any datagram, or longer than it said before.
    BufferNeverLongEnough {
        /// Whose machine it is.
        node: NodeId,
        /// What it asks for, in bytes.
        needed: usize,
    },
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::DeadlineNotActedOn { node, now, timeout } => write!(
                f,
                "machine {} has nothing to send at {} us and still asks to be called at {} us",
                node.index(),
                now.as_micros(),
                timeout.as_micros()
            ),
            Self::EndlessTransmit { node, now } => {
                write!(
                    f,
                    "machine {} does not stop sending at {} us",
                    node.index(),
                    now.as_micros()
                )
            }
            Self::EndlessExchange { now } => {
                write!(f, "the machines answer each other without end at {} us", now.as_micros())
            }
            Self::TransmitTooLong { node, len } => {
                write!(f, "machine {} claims to have written {len} bytes", node.index())
            }
            Self::BufferNeverLongEnough { node, needed } => {
                write!(f, "machine {} asks for a buffer of {needed} bytes", node.index())
            }
        }
    }
}

impl core::error::Error for Fault {}
