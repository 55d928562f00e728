//! What a run can find.

use bowline_core::{DisconnectReason, Event, SendError};

use crate::Side;
use crate::ledger::Unaccountable;
use crate::oracle::Violation;

/// Something that must not be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A message was delivered that must not have been, or not then.
    Delivered(Violation),
    /// A tagged message ended in a way it must not have.
    Ended(Side, Unaccountable),
    /// A session ended by an accusation, and nobody had broken a rule.
    Accused(Side, DisconnectReason),
    /// A message was refused that should have been taken, or the other way round.
    Refused(Side, SendError, String),
    /// An event for a session that has ended, or never was.
    Ghost(Side, Event),
    /// There is no end of datagrams, events or timeouts, and no time passes.
    Livelock(Side, &'static str),
    /// A datagram for nobody, or longer than agreed.
    Transmit(Side, String),
    /// The link was kind for a long time, and something is still missing.
    Stuck(Vec<String>),
    /// All sessions are over, and memory is still in use.
    Leak(Side, String),
    /// The game says so.
    Game(Side, String),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Delivered(violation) => write!(f, "{violation}"),
            Self::Game(side, text) => write!(f, "the game at {side:?}: {text}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl core::error::Error for Failure {}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Delivered(violation)
    }
}
