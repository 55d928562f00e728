//! What goes into an endpoint.

use bowline_core::{
    Address, ChannelId, CloseReason, Duration, Instant, Mode, PeerId, Received, Tag,
};
use bowline_native::Whom;

/// A call of an endpoint, without the bytes it carries: `len` says how many these are.
///
/// Named after the calls; `now` is what the caller said, even if it went backwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// [`Machine::handle_datagram`](bowline_core::Machine::handle_datagram).
    Datagram {
        /// The caller's time.
        now: Instant,
        /// From whom, and how marked.
        from: Received,
        /// Length of the datagram, in bytes.
        len: usize,
    },
    /// [`Machine::poll_transmit`](bowline_core::Machine::poll_transmit).
    PollTransmit {
        /// The caller's time.
        now: Instant,
        /// Length of the caller's buffer, at most [`crate::BUFFER_MAX`] bytes.
        room: usize,
    },
    /// [`Machine::poll_timeout`](bowline_core::Machine::poll_timeout).
    PollTimeout,
    /// [`Messages::send`](bowline_core::Messages::send).
    Send {
        /// The caller's time.
        now: Instant,
        /// To whom.
        to: PeerId,
        /// How.
        options: Options,
        /// Length of the message, in bytes.
        len: usize,
    },
    /// [`Messages::cancel`](bowline_core::Messages::cancel).
    Cancel {
        /// Of which session.
        to: PeerId,
        /// Which message.
        tag: Tag,
    },
    /// [`Messages::poll_event`](bowline_core::Messages::poll_event).
    PollEvent,
    /// [`Messages::recv`](bowline_core::Messages::recv).
    Recv {
        /// From whom.
        from: PeerId,
    },
    /// [`Messages::close`](bowline_core::Messages::close).
    Close {
        /// The caller's time.
        now: Instant,
        /// Which session.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// `connect_plain`.
    ConnectPlain {
        /// The caller's time.
        now: Instant,
        /// To whom.
        to: Address,
        /// Length of the payload, in bytes.
        len: usize,
    },
    /// `connect_payload`.
    ConnectPayload {
        /// Of which session.
        peer: PeerId,
        /// Length of the caller's buffer, at most [`crate::BUFFER_MAX`] bytes.
        room: usize,
    },
    /// `accept`.
    Accept {
        /// The caller's time.
        now: Instant,
        /// Whom.
        peer: PeerId,
    },
    /// `refuse`.
    Refuse {
        /// The caller's time.
        now: Instant,
        /// Whom.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// `finish`.
    Finish {
        /// The caller's time.
        now: Instant,
        /// Which session.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// `broadcast`.
    Broadcast {
        /// The caller's time.
        now: Instant,
        /// How.
        options: Options,
        /// To whom not.
        except: Option<PeerId>,
        /// Length of the message, in bytes.
        len: usize,
    },
    /// `suspend`.
    Suspend,
    /// `resume`.
    Resume {
        /// The caller's time.
        now: Instant,
    },
    /// `add_entropy`.
    AddEntropy {
        /// How many bytes of it.
        len: usize,
    },
    /// `set_info`.
    SetInfo {
        /// Length of the info, in bytes, if there is to be any.
        len: Option<usize>,
    },
    /// `query`.
    Query {
        /// The caller's time.
        now: Instant,
        /// Whom.
        to: Address,
    },
    /// `end_queries`.
    EndQueries,
    /// `take_answer`.
    TakeAnswer,
    /// `drain`.
    Drain {
        /// Whether no new sessions are to begin from outside.
        draining: bool,
    },
    /// `ban`.
    Ban {
        /// The caller's time.
        now: Instant,
        /// Whom.
        whom: Whom,
        /// Until when.
        until: Instant,
    },
    /// `unban`.
    Unban {
        /// Whom.
        whom: Whom,
    },
    /// `close_all`.
    CloseAll {
        /// The caller's time.
        now: Instant,
        /// With whom.
        whom: Whom,
        /// Why.
        reason: CloseReason,
    },
}

/// All of an [`Outgoing`](bowline_core::Outgoing) message but its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Which channel.
    pub channel: ChannelId,
    /// Which mode.
    pub mode: Mode,
    /// Whether it came in any number of pieces other than one. How they were cut is not recorded.
    pub gathered: bool,
    /// By which its outcome is told.
    pub tag: Option<Tag>,
    /// How long it is worth delivering.
    pub time_to_live: Option<Duration>,
    /// What it replaces.
    pub key: Option<u32>,
}

impl Input {
    /// How many bytes the call carries.
    pub const fn len(&self) -> usize {
        match *self {
            Self::Datagram { len, .. }
            | Self::Send { len, .. }
            | Self::ConnectPlain { len, .. }
            | Self::Broadcast { len, .. }
            | Self::AddEntropy { len }
            | Self::SetInfo { len: Some(len) } => len,
            _ => 0,
        }
    }

    /// Whether it carries none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time that the caller said, if it said any.
    pub const fn now(&self) -> Option<Instant> {
        match *self {
            Self::Datagram { now, .. }
            | Self::PollTransmit { now, .. }
            | Self::Send { now, .. }
            | Self::Close { now, .. }
            | Self::ConnectPlain { now, .. }
            | Self::Accept { now, .. }
            | Self::Refuse { now, .. }
            | Self::Finish { now, .. }
            | Self::Broadcast { now, .. }
            | Self::Resume { now }
            | Self::Query { now, .. }
            | Self::Ban { now, .. }
            | Self::CloseAll { now, .. } => Some(now),
            Self::PollTimeout
            | Self::Cancel { .. }
            | Self::PollEvent
            | Self::Recv { .. }
            | Self::ConnectPayload { .. }
            | Self::Suspend
            | Self::AddEntropy { .. }
            | Self::SetInfo { .. }
            | Self::EndQueries
            | Self::TakeAnswer
            | Self::Drain { .. }
            | Self::Unban { .. } => None,
        }
    }
}
