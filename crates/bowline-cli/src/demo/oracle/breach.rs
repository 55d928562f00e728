//! How a promise can be broken, in words.

use core::fmt;

use bowline::Outcome;

use crate::demo::tally::name;

/// How a promise was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Breach {
    /// Nothing like this was sent on this stream.
    NeverSent {
        len: usize,
    },
    Twice {
        sequence: u64,
    },
    /// Came after a newer one.
    OutOfOrder {
        sequence: u64,
        expected: u64,
    },
    /// One before it was passed over.
    Skipped {
        sequence: u64,
        expected: u64,
    },
    Missing {
        count: u64,
    },
    /// Was acknowledged, and never handed over.
    Withheld {
        count: u64,
    },
    /// It had ended before, or nobody ever sent it, or nothing asked for such an end.
    WrongEnd {
        sequence: u64,
        outcome: Outcome,
    },
    Unended {
        count: u64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSent { len } => {
                write!(f, "got {len} bytes that were never sent there, or were changed on the way")
            }
            Self::Twice { sequence } => write!(f, "message {sequence} was delivered twice"),
            Self::OutOfOrder { sequence, expected } => {
                write!(f, "message {sequence} came when {expected} was the lowest that could")
            }
            Self::Skipped { sequence, expected } => {
                write!(f, "message {sequence} came when {expected} was next")
            }
            Self::Missing { count } => write!(f, "{count} messages never arrived"),
            Self::Withheld { count } => {
                write!(f, "{count} messages were acknowledged and never handed over")
            }
            Self::WrongEnd { sequence, outcome } => {
                write!(f, "message {sequence} was said to be {}, which cannot be", name(*outcome))
            }
            Self::Unended { count } => write!(f, "of {count} messages no end was told"),
        }
    }
}
