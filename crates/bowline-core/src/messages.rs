//! The seam between a protocol and the application that talks through it.

use crate::pool::Chunks;
use crate::{Duration, Instant};

/// A protocol as an application drives it: messages in, messages and events out.
pub trait Messages {
    /// Queues a message for `to`.
    ///
    /// # Errors
    ///
    /// Nothing is queued and nothing has changed, except that after [`SendError::Full`] an
    /// [`Event::Writable`] will come.
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError>;

    /// Withdraws a tagged message that has not ended yet; if several have the tag, the oldest of a
    /// channel and mode. Its outcome is [`Outcome::Cancelled`]. If parts of it were sent already, the
    /// peer may have received it nevertheless.
    ///
    /// # Errors
    ///
    /// When there is no such message, or it cannot be withdrawn. Nothing has changed then.
    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError>;

    /// The next thing the application should know.
    fn poll_event(&mut self) -> Option<Event>;

    /// The next message of a peer, in order of arrival over all channels.
    ///
    /// Its memory is given back with the next call for the same peer, so call until `None`.
    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>>;

    /// Ends a session and tells the peer why. What was queued and not sent yet is dropped.
    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason);
}

/// What becomes of a message on its way, in the words of Godot's documentation for the first
/// three.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Mode {
    /// Not resent: may be lost, may arrive in any order, arrives at most once.
    Unreliable = 0,
    /// Not resent; whatever arrives later than a newer one is dropped, so order holds.
    UnreliableOrdered = 1,
    /// Resent until acknowledged; arrives exactly once and in the order sent.
    Reliable = 2,
    /// Resent until acknowledged; arrives exactly once, as soon as it can.
    ReliableUnordered = 3,
    /// Resent until acknowledged or replaced by a newer message of the same key.
    ReliableLatest = 4,
}

impl Mode {
    /// The three modes of Godot, in the order of their discriminants.
    pub const GODOT: [Self; 3] = [Self::Unreliable, Self::UnreliableOrdered, Self::Reliable];

    /// Whether messages are resent until acknowledged.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Unreliable | Self::UnreliableOrdered)
    }
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unreliable => "unreliable",
            Self::UnreliableOrdered => "unreliable-ordered",
            Self::Reliable => "reliable",
            Self::ReliableUnordered => "reliable-unordered",
            Self::ReliableLatest => "reliable-latest",
        })
    }
}

/// One of up to 256 channels. Channels do not wait for each other, and within a channel neither
/// do the modes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChannelId(pub u8);

/// A session of an endpoint. Never reused: a later session in the same place has another id.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeerId {
    generation: u32,
    slot: u32,
}

impl PeerId {
    /// The id of the `generation`-th session in `slot`; for protocol crates.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { generation, slot }
    }

    /// The place of the session in its endpoint.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Which session in that place.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// As one number, for interfaces that have no structs.
    pub const fn to_raw(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// From the number that [`Self::to_raw`] made.
    pub const fn from_raw(raw: u64) -> Self {
        Self { generation: (raw >> 32) as u32, slot: raw as u32 }
    }
}

impl core::fmt::Display for PeerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// The application's name for a message whose outcome it wants to know.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tag(pub u32);

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Which channel.
    pub channel: ChannelId,
    /// Which transfer mode; the one asked for is the one used.
    pub mode: Mode,
    /// The bytes, gathered from any number of pieces.
    pub pieces: &'a [&'a [u8]],
    /// Set to learn the message's [`Outcome`].
    pub tag: Option<Tag>,
    /// How long the message is worth delivering.
    pub time_to_live: Option<Duration>,
    /// What the message replaces: needed with [`Mode::ReliableLatest`], and not allowed with others.
    pub key: Option<u32>,
}

impl<'a> Outgoing<'a> {
    /// A message without tag, deadline and key.
    pub const fn new(channel: ChannelId, mode: Mode, pieces: &'a [&'a [u8]]) -> Self {
        Self { channel, mode, pieces, tag: None, time_to_live: None, key: None }
    }

    /// The same message with a tag: its [`Outcome`] is told.
    #[must_use]
    pub const fn tagged(self, tag: Tag) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// The same message with a time to live, from when it is sent on.
    #[must_use]
    pub const fn expiring(self, after: Duration) -> Self {
        Self { time_to_live: Some(after), ..self }
    }

    /// The same message with a key.
    #[must_use]
    pub const fn with_key(self, key: u32) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Whether it has neither tag nor deadline nor key.
    pub const fn is_plain(&self) -> bool {
        self.tag.is_none() && self.time_to_live.is_none() && self.key.is_none()
    }

    /// Length of the message, in bytes.
    pub fn len(&self) -> usize {
        match self.pieces {
            [piece] => piece.len(),
            pieces => pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.len())),
        }
    }

    /// Whether the message has no bytes. It is delivered all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A received message, readable in pieces without copying.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    channel: ChannelId,
    mode: Mode,
    key: Option<u32>,
    chunks: Chunks<'a>,
}

impl<'a> Incoming<'a> {
    /// A message whose bytes lie in pool blocks; for protocol crates.
    pub const fn new(channel: ChannelId, mode: Mode, chunks: Chunks<'a>) -> Self {
        Self { channel, mode, key: None, chunks }
    }

    /// The same message with a key; for protocol crates.
    #[must_use]
    pub const fn with_key(self, key: Option<u32>) -> Self {
        Self { key, ..self }
    }

    /// What it replaces, in mode [`Mode::ReliableLatest`].
    pub const fn key(&self) -> Option<u32> {
        self.key
    }

    /// The channel it came on.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The mode it was sent with.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The bytes in order, piece by piece.
    pub const fn chunks(&self) -> IncomingChunks<'a> {
        self.chunks
    }

    /// All bytes at once, if they happen to lie side by side. Most short messages do.
    #[inline]
    pub fn as_slice(&self) -> Option<&'a [u8]> {
        if let Some(piece) = self.chunks.rest_of_block() {
            return Some(piece);
        }
        let mut chunks = self.chunks;
        match chunks.next() {
            None => Some(&[]),
            Some(piece) if chunks.is_empty() => Some(piece),
            Some(_) => None,
        }
    }

    /// Copies the message to the start of `out` and returns that part, or `None` if it is too
    /// short; then nothing is copied and the message can still be read.
    pub fn copy_to<'o>(&self, out: &'o mut [u8]) -> Option<&'o mut [u8]> {
        let out = out.get_mut(..self.len())?;
        let mut at = 0;
        for piece in self.chunks {
            if let Some(here) = out.get_mut(at..at + piece.len()) {
                here.copy_from_slice(piece);
            }
            at += piece.len();
        }
        Some(out)
    }

    /// The message in a buffer of its own.
    #[cfg(feature = "alloc")]
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        let mut all = alloc::vec::Vec::with_capacity(self.len());
        self.chunks.for_each(|piece| all.extend_from_slice(piece));
        all
    }
}

/// The pieces of an [`Incoming`] message, in order.
pub type IncomingChunks<'a> = Chunks<'a>;

/// Something the application should know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// Somebody asks for a session and waits to be accepted or refused. May be told when he has given
    /// up already: then accepting fails, and [`Event::Disconnected`] follows.
    Asked(PeerId),
    /// A session began, on either side's initiative.
    Connected(PeerId),
    /// [`Messages::recv`] has something for this peer.
    Readable(PeerId),
    /// After [`SendError::Full`]: there is room again.
    Writable(PeerId),
    /// A tagged message has come to its end.
    Outcome(PeerId, Tag, Outcome),
    /// A session ended, or never began. The last event of this id: whatever of it was not read
    /// is gone once this has been polled.
    Disconnected(PeerId, DisconnectReason),
    /// An unconnected query was answered; the protocol says how to read the answer.
    Answered,
}

/// What became of a tagged message: each ends in exactly one of these, told by [`Event::Outcome`] before the
/// session's [`Event::Disconnected`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Outcome {
    /// The peer has all of it. In a mode that resends, its application will get it if it goes on reading;
    /// in one that does not, it may still be dropped there as late, or for lack of room.
    Acknowledged,
    /// Its packet, or one of its packets, was taken for lost, and its mode does not resend. It may arrive
    /// nevertheless: an acknowledgement that comes later is counted, and changes nothing.
    Lost,
    /// Its time to live ran out before it was acknowledged; in a mode that does not resend, before any of it was
    /// sent. If some was sent, it may have arrived.
    Expired,
    /// A newer message of its key replaced it. If some was sent, it may have arrived.
    Superseded,
    /// The peer said that it has no room for it. The native protocol has no such word: there it is loss.
    Refused,
    /// The application withdrew it. If some was sent, it may have arrived.
    Cancelled,
    /// The session ended first.
    Closed,
}

/// Why an application ended a session, in its own numbering.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CloseReason(pub u32);

/// Why a session ended, or never began.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This side closed it.
    Closed(CloseReason),
    /// The peer closed it.
    ClosedByPeer(CloseReason),
    /// The peer would not begin it.
    Refused(RefuseReason),
    /// Nobody answered the request for a session.
    ConnectTimedOut,
    /// Nothing was heard from the peer for too long, or too little came of a long message that it began.
    TimedOut,
    /// The peer broke the rules of the protocol.
    PeerMisbehaved,
    /// The peer says that this side broke the rules of the protocol.
    AccusedByPeer,
    /// The peer began another session from the same address.
    Replaced,
}

/// Why a peer would not begin a session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RefuseReason {
    /// It speaks another version of the protocol: this one.
    Version(u8),
    /// It serves another application.
    Application,
    /// It has no room for another peer.
    Full,
    /// The two sides' limits or required integrity have nothing in common.
    Limits,
    /// Its application said no, for this reason.
    ByApplication(CloseReason),
}

/// Why a message was not accepted. Nothing of it was queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SendError {
    /// There is no such session, or it has ended.
    UnknownPeer,
    /// The session has not begun yet.
    NotConnected,
    /// The session is being closed.
    Closing,
    /// The channel was not agreed; channels below `count` were.
    ChannelNotOpen {
        /// How many channels the session has.
        count: u16,
    },
    /// Longer than the peer, or this side's memory, takes in this mode. It never will fit.
    TooLong {
        /// Length of the message, in bytes.
        len: usize,
        /// Longest message in this mode, in bytes.
        max: usize,
    },
    /// The protocol, or the peer, has no such mode, tag, deadline or key.
    Unsupported,
    /// A message of [`Mode::ReliableLatest`] has no key, or another one has.
    Key,
    /// No room until something is sent or acknowledged; [`Event::Writable`] will tell.
    Full,
}

impl core::fmt::Display for SendError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownPeer => f.write_str("no such session"),
            Self::NotConnected => f.write_str("the session has not begun yet"),
            Self::Closing => f.write_str("the session is being closed"),
            Self::ChannelNotOpen { count } => {
                write!(f, "channel not open: the session has {count}")
            }
            Self::TooLong { len, max } => {
                write!(f, "message of {len} bytes is longer than {max}")
            }
            Self::Unsupported => f.write_str("mode or option not supported"),
            Self::Key => f.write_str("reliable-latest takes a key, and no other mode does"),
            Self::Full => f.write_str("no room until something is sent or acknowledged"),
        }
    }
}

impl core::error::Error for SendError {}

/// Why a message could not be withdrawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CancelError {
    /// There is no such session, or it has ended.
    UnknownPeer,
    /// No message with this tag is under way: there was none, or it has ended.
    UnknownTag,
    /// It was sent, in a mode that sends once: its outcome will come.
    AlreadySent,
    /// The protocol, or this version of it, cannot withdraw messages.
    Unsupported,
}

impl core::fmt::Display for CancelError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::UnknownPeer => "no such session",
            Self::UnknownTag => "no message with this tag is under way",
            Self::AlreadySent => "the message was sent already",
            Self::Unsupported => "messages cannot be withdrawn",
        })
    }
}

impl core::error::Error for CancelError {}

impl core::fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Closed(reason) => write!(f, "closed (reason {})", reason.0),
            Self::ClosedByPeer(reason) => write!(f, "closed by the peer (reason {})", reason.0),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::ConnectTimedOut => f.write_str("nobody answered"),
            Self::TimedOut => f.write_str("nothing heard from the peer for too long"),
            Self::PeerMisbehaved => f.write_str("the peer broke the protocol"),
            Self::AccusedByPeer => f.write_str("the peer says that this side broke the protocol"),
            Self::Replaced => f.write_str("the peer began another session"),
        }
    }
}

impl core::error::Error for DisconnectReason {}

impl core::error::Error for RefuseReason {}

impl core::fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the peer speaks protocol version {version}"),
            Self::Application => f.write_str("the peer serves another application"),
            Self::Full => f.write_str("the peer has no room for another session"),
            Self::Limits => f.write_str("the two sides' limits have nothing in common"),
            Self::ByApplication(reason) => write!(f, "by the application (reason {})", reason.0),
        }
    }
}
