//! Numbers for what a protocol answers, for files and interfaces that have no enums.

use crate::{
    CancelError, CloseReason, DisconnectReason, Event, Outcome, PeerId, RefuseReason, SendError,
    Tag,
};

/// A value as a row of numbers: which it is, and what it tells besides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Code {
    /// Which value, below 32.
    pub kind: u8,
    /// What it tells; zeros where it tells less.
    pub details: [u64; Self::DETAILS_MAX],
}

impl Code {
    /// Most numbers that a value takes besides its kind.
    pub const DETAILS_MAX: usize = 5;

    /// A value that tells nothing besides which it is.
    pub const fn bare(kind: u8) -> Self {
        Self { kind, details: [0; Self::DETAILS_MAX] }
    }

    /// A value that tells what can be written in two numbers.
    pub const fn with(kind: u8, [a, b]: [u64; 2]) -> Self {
        Self { kind, details: [a, b, 0, 0, 0] }
    }
}

/// A value that can be written as numbers.
///
/// The numbers of a value never change; new values get new ones. What [`Self::from_code`] takes is
/// exactly what [`Self::to_code`] makes.
pub trait Coded: Sized {
    /// The value as numbers.
    fn to_code(&self) -> Code;

    /// The value that these numbers stand for, if any.
    fn from_code(code: Code) -> Option<Self>;
}

/// The value that `made` is, if it is written exactly as `code`.
fn exact<T: Coded>(made: T, code: Code) -> Option<T> {
    (made.to_code() == code).then_some(made)
}

impl Coded for SendError {
    fn to_code(&self) -> Code {
        match *self {
            Self::UnknownPeer => Code::bare(0),
            Self::NotConnected => Code::bare(1),
            Self::Closing => Code::bare(2),
            Self::ChannelNotOpen { count } => Code::with(3, [count.into(), 0]),
            Self::TooLong { len, max } => Code::with(4, [len as u64, max as u64]),
            Self::Unsupported => Code::bare(5),
            Self::Full => Code::bare(6),
            Self::Key => Code::bare(7),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [a, b, ..] = code.details;
        let made = match code.kind {
            0 => Self::UnknownPeer,
            1 => Self::NotConnected,
            2 => Self::Closing,
            3 => Self::ChannelNotOpen { count: a as u16 },
            4 => Self::TooLong { len: a as usize, max: b as usize },
            5 => Self::Unsupported,
            6 => Self::Full,
            7 => Self::Key,
            _ => return None,
        };
        exact(made, code)
    }
}

impl Coded for CancelError {
    fn to_code(&self) -> Code {
        Code::bare(match self {
            Self::UnknownPeer => 0,
            Self::UnknownTag => 1,
            Self::Unsupported => 2,
            Self::AlreadySent => 3,
        })
    }

    fn from_code(code: Code) -> Option<Self> {
        let made = match code.kind {
            0 => Self::UnknownPeer,
            1 => Self::UnknownTag,
            2 => Self::Unsupported,
            3 => Self::AlreadySent,
            _ => return None,
        };
        exact(made, code)
    }
}

impl Coded for Outcome {
    fn to_code(&self) -> Code {
        Code::bare(match self {
            Self::Acknowledged => 0,
            Self::Lost => 1,
            Self::Expired => 2,
            Self::Superseded => 3,
            Self::Refused => 4,
            Self::Cancelled => 5,
            Self::Closed => 6,
        })
    }

    fn from_code(code: Code) -> Option<Self> {
        let made = match code.kind {
            0 => Self::Acknowledged,
            1 => Self::Lost,
            2 => Self::Expired,
            3 => Self::Superseded,
            4 => Self::Refused,
            5 => Self::Cancelled,
            6 => Self::Closed,
            _ => return None,
        };
        exact(made, code)
    }
}

impl Coded for RefuseReason {
    fn to_code(&self) -> Code {
        match *self {
            Self::Version(version) => Code::with(0, [version.into(), 0]),
            Self::Application => Code::bare(1),
            Self::Full => Code::bare(2),
            Self::Limits => Code::bare(3),
            Self::ByApplication(reason) => Code::with(4, [reason.0.into(), 0]),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [a, ..] = code.details;
        let made = match code.kind {
            0 => Self::Version(a as u8),
            1 => Self::Application,
            2 => Self::Full,
            3 => Self::Limits,
            4 => Self::ByApplication(CloseReason(a as u32)),
            _ => return None,
        };
        exact(made, code)
    }
}

impl Coded for DisconnectReason {
    fn to_code(&self) -> Code {
        match *self {
            Self::Closed(reason) => Code::with(0, [reason.0.into(), 0]),
            Self::ClosedByPeer(reason) => Code::with(1, [reason.0.into(), 0]),
            Self::Refused(reason) => {
                let Code { kind, details: [a, ..] } = reason.to_code();
                Code::with(2, [kind.into(), a])
            }
            Self::ConnectTimedOut => Code::bare(3),
            Self::TimedOut => Code::bare(4),
            Self::PeerMisbehaved => Code::bare(5),
            Self::AccusedByPeer => Code::bare(6),
            Self::Replaced => Code::bare(7),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [a, b, ..] = code.details;
        let made = match code.kind {
            0 => Self::Closed(CloseReason(a as u32)),
            1 => Self::ClosedByPeer(CloseReason(a as u32)),
            2 => Self::Refused(RefuseReason::from_code(Code::with(a as u8, [b, 0]))?),
            3 => Self::ConnectTimedOut,
            4 => Self::TimedOut,
            5 => Self::PeerMisbehaved,
            6 => Self::AccusedByPeer,
            7 => Self::Replaced,
            _ => return None,
        };
        exact(made, code)
    }
}

impl Coded for Event {
    fn to_code(&self) -> Code {
        let of = |kind, peer: PeerId, [a, b, c]: [u64; 3]| {
            let details = [peer.slot() as u64, peer.generation().into(), a, b, c];
            Code { kind, details }
        };
        match *self {
            Self::Asked(peer) => of(0, peer, [0; 3]),
            Self::Connected(peer) => of(1, peer, [0; 3]),
            Self::Readable(peer) => of(2, peer, [0; 3]),
            Self::Writable(peer) => of(3, peer, [0; 3]),
            Self::Outcome(peer, tag, outcome) => {
                of(4, peer, [outcome.to_code().kind.into(), tag.0.into(), 0])
            }
            Self::Disconnected(peer, reason) => {
                let Code { kind, details: [a, b, ..] } = reason.to_code();
                of(5, peer, [kind.into(), a, b])
            }
            Self::Answered => Code::bare(6),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [slot, generation, a, b, c] = code.details;
        let peer = PeerId::new(slot as u32, generation as u32);
        let made = match code.kind {
            0 => Self::Asked(peer),
            1 => Self::Connected(peer),
            2 => Self::Readable(peer),
            3 => Self::Writable(peer),
            4 => {
                let outcome = Outcome::from_code(Code::bare(a as u8))?;
                Self::Outcome(peer, Tag(b as u32), outcome)
            }
            5 => {
                let reason = DisconnectReason::from_code(Code::with(a as u8, [b, c]))?;
                Self::Disconnected(peer, reason)
            }
            6 => Self::Answered,
            _ => return None,
        };
        exact(made, code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whatever_is_taken_is_written_so<T: Coded>(code: Code) -> Result<bool, TestCaseError> {
        let taken = T::from_code(code);
        if let Some(value) = &taken {
            prop_assert_eq!(value.to_code(), code);
        }
        Ok(taken.is_some())
    }

    /// How many kinds `T` has, which are the lowest numbers.
    fn kinds<T: Coded>() -> usize {
        let is_taken = |kind: &u8| T::from_code(Code::bare(*kind)).is_some();
        let count = (0..=255).filter(is_taken).count();
        assert!((0..count as u8).all(|kind| is_taken(&kind)));
        count
    }

    #[test]
    fn every_kind_has_a_number_of_its_own() {
        assert_eq!(kinds::<SendError>(), 8);
        assert_eq!(kinds::<CancelError>(), 4);
        assert_eq!(kinds::<Outcome>(), 7);
        assert_eq!(kinds::<RefuseReason>(), 5);
        assert_eq!(kinds::<DisconnectReason>(), 8);
        assert_eq!(kinds::<Event>(), 7);
    }

    #[test]
    fn values_within_values_come_back() {
        let peer = PeerId::new(3, 70_000);
        let refused = RefuseReason::ByApplication(CloseReason(u32::MAX));
        for event in [
            Event::Disconnected(peer, DisconnectReason::Refused(refused)),
            Event::Disconnected(peer, DisconnectReason::Refused(RefuseReason::Version(9))),
            Event::Outcome(peer, Tag(u32::MAX), Outcome::Closed),
        ] {
            assert_eq!(Event::from_code(event.to_code()), Some(event));
        }
    }

    proptest! {
        #[test]
        fn there_is_one_way_to_write_each(
            kind in 0..9u8, details in prop::array::uniform5(prop_oneof![0..9u64, any::<u64>()]),
        ) {
            let code = Code { kind, details };
            whatever_is_taken_is_written_so::<SendError>(code)?;
            whatever_is_taken_is_written_so::<CancelError>(code)?;
            whatever_is_taken_is_written_so::<Outcome>(code)?;
            whatever_is_taken_is_written_so::<RefuseReason>(code)?;
            whatever_is_taken_is_written_so::<DisconnectReason>(code)?;
            whatever_is_taken_is_written_so::<Event>(code)?;
        }
    }
}
