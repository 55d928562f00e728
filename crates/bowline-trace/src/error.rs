//! What can be wrong with a trace.

use core::convert::Infallible;

use bowline_core::Instant;
use bowline_native::{ConfigError, Shape};

/// Why a trace could not be read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TraceError<E = Infallible> {
    /// It does not begin as a trace does.
    NotATrace,
    /// It is of this version of the format, which is not read here.
    Version(u16),
    /// Its bytes are not those that were written.
    Corrupt {
        /// Where the chunk begins that is damaged, in bytes from the start.
        at: u64,
    },
    /// It ends where more should come: whoever wrote it was ended.
    Truncated,
    /// It goes on after its end.
    Trailing,
    /// It was not written by a recorder: this record, counted from 0, makes no sense.
    Malformed {
        /// Which record.
        record: u64,
    },
    /// A record carries more than there is room for.
    TooLong {
        /// How much room it takes, in bytes.
        needed: usize,
    },
    /// It could not be got at.
    Source(E),
}

impl<E: core::fmt::Display> core::fmt::Display for TraceError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotATrace => f.write_str("not a trace"),
            Self::Version(version) => write!(f, "trace of format version {version}"),
            Self::Corrupt { at } => write!(f, "damaged in the chunk at byte {at}"),
            Self::Truncated => f.write_str("ends where more should come"),
            Self::Trailing => f.write_str("goes on after its end"),
            Self::Malformed { record } => write!(f, "record {record} makes no sense"),
            Self::TooLong { needed } => write!(f, "a record takes {needed} bytes of room"),
            Self::Source(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for TraceError<E> {}

/// Why a replay came to no good end.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReplayError<E = Infallible> {
    /// The trace could not be read on.
    Trace(TraceError<E>),
    /// Recorded with this version of the wire protocol, which is not spoken here.
    OtherWire(u8),
    /// Recorded with another MAC.
    OtherMac,
    /// Recorded on other memory.
    OtherMemory {
        /// What it was recorded on.
        recorded: Shape,
        /// What was given now.
        given: Shape,
    },
    /// Recorded with other classes of channels.
    OtherClasses,
    /// The configuration and this memory do not make an endpoint.
    Config(ConfigError),
    /// The endpoint answered otherwise than it had; [`Replay::divergence`](crate::Replay::divergence) tells more.
    Diverged {
        /// At which record, counted from 0.
        record: u64,
        /// When, by the time that the recorded caller said last.
        now: Instant,
    },
    /// Everything agreed but the hash of it.
    OtherHash {
        /// What the trace says.
        recorded: u64,
        /// What was computed.
        replayed: u64,
    },
}

impl<E> From<TraceError<E>> for ReplayError<E> {
    fn from(error: TraceError<E>) -> Self {
        Self::Trace(error)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for ReplayError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Trace(error) => error.fmt(f),
            Self::OtherWire(version) => {
                write!(f, "recorded with version {version} of the wire protocol")
            }
            Self::OtherMac => f.write_str("recorded with another MAC"),
            Self::OtherMemory { recorded, given } => {
                write!(f, "recorded on {recorded:?}, and given {given:?}")
            }
            Self::OtherClasses => f.write_str("recorded with other classes of channels"),
            Self::Config(error) => error.fmt(f),
            Self::Diverged { record, now } => {
                let (secs, micros) = (now.as_micros() / 1_000_000, now.as_micros() % 1_000_000);
                write!(f, "diverges at record {record}, at {secs}.{micros:06} s")
            }
            Self::OtherHash { recorded, replayed } => {
                write!(f, "recorded hash {recorded:016x}, replayed {replayed:016x}")
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for ReplayError<E> {}
