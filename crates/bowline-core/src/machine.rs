//! The seam between a protocol and whatever moves its datagrams.

use core::num::NonZeroU16;

use crate::{Address, Instant};

/// A protocol as every I/O backend drives it: bytes and time in, bytes and deadlines out.
///
/// Drive it so, in a loop, on one thread:
///
/// 1. hand in every datagram that has arrived ([`Self::handle_datagram`]); an `Err` is only worth
///    counting;
/// 2. let the application read events and messages and send its own ([`crate::Messages`]);
/// 3. send what [`Self::poll_transmit`] writes until it answers `Ok(None)`; a datagram that the
///    network does not take now may be thrown away, which counts as lost;
/// 4. wait until a datagram arrives or [`Self::poll_timeout`] has passed, and start again.
///
/// Expired timers act inside [`Self::poll_transmit`], so being late is never an error, and being
/// early only finds nothing to do. A `now` that goes backwards is taken for the latest one seen.
pub trait Machine {
    /// Takes in one datagram. It may be changed (opened in place) but holds nothing afterwards.
    ///
    /// # Errors
    ///
    /// Why nothing, or not everything, came of it. No session is harmed by a datagram that was
    /// dropped.
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason>;

    /// Writes the next datagram due at `now` to the start of `buf`, or answers `None`.
    ///
    /// # Errors
    ///
    /// [`BufferTooShort`] when the next datagram may need more room; nothing is lost, and the
    /// call can be repeated with a longer buffer.
    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort>;

    /// When to call [`Self::poll_transmit`] at the latest if nothing else happens.
    ///
    /// [`Instant::ZERO`], or anything past, means at once; `None` means there is nothing to wait
    /// for.
    fn poll_timeout(&mut self) -> Option<Instant>;
}

impl<M: Machine + ?Sized> Machine for &mut M {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        (**self).handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        (**self).poll_transmit(now, buf)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        (**self).poll_timeout()
    }
}

/// What is known of a received datagram besides its bytes. One datagram each: an edge that
/// receives several coalesced ones splits them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Received {
    /// Who sent it, as far as the network can tell.
    pub from: Address,
    /// The congestion mark it carried, where the edge can see that.
    pub ecn: Option<Ecn>,
}

impl From<core::net::SocketAddr> for Received {
    fn from(from: core::net::SocketAddr) -> Self {
        Address::from(from).into()
    }
}

impl From<Address> for Received {
    fn from(from: Address) -> Self {
        Self { from, ecn: None }
    }
}

/// One datagram to send, or a train of equal ones to the same peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a datagram that is not sent counts as lost"]
pub struct Transmit {
    /// Where to.
    pub to: Address,
    /// How many bytes of the caller's buffer to send.
    pub len: usize,
    /// If set, the bytes are several datagrams of this length each, the last one perhaps shorter.
    pub segment_len: Option<NonZeroU16>,
    /// The congestion mark to set, where the edge can.
    pub ecn: Option<Ecn>,
}

/// Explicit congestion notification, the two bits of the IP header ([RFC 3168]).
///
/// [RFC 3168]: https://www.rfc-editor.org/rfc/rfc3168
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ecn {
    /// ECT(1).
    Ect1 = 1,
    /// ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

/// The buffer is shorter than the next datagram may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooShort {
    /// A length that is enough, in bytes.
    pub needed: usize,
}

impl core::fmt::Display for BufferTooShort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the buffer is too short: {} bytes are needed", self.needed)
    }
}

impl core::error::Error for BufferTooShort {}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident($snake:literal) = $text:literal,)*) => {
        /// Why a datagram was dropped. Each reason has a counter of its own.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The place of this reason's counter, below [`Self::COUNT`].
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The name of this reason's counter: `dropped_truncated` and so on. It never changes.
            pub const fn counter_name(self) -> &'static str {
                match self { $(Self::$name => concat!("dropped_", $snake),)* }
            }
        }

        impl core::fmt::Display for DropReason {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

drop_reasons! {
    /// Ends in the middle of something, or is empty.
    Truncated("truncated") = "truncated",
    /// Holds something that nobody may send.
    Malformed("malformed") = "malformed",
    /// Not this protocol, or a version of it that is not spoken here.
    UnknownVersion("unknown_version") = "unknown protocol or version",
    /// For another application.
    WrongApplication("wrong_application") = "for another application",
    /// The integrity check failed.
    Corrupt("corrupt") = "integrity check failed",
    /// For a session that is not here.
    Stray("stray") = "no such session",
    /// For a session of another address.
    WrongAddress("wrong_address") = "session of another address",
    /// Received before.
    Duplicate("duplicate") = "received before",
    /// Older than the receive window remembers.
    Stale("stale") = "older than the receive window",
    /// No memory for what it carried; the sender will try again.
    Full("full") = "no memory for its contents",
    /// Carries more than was agreed: a message too long, a channel that is not open.
    OverLimit("over_limit") = "exceeds an agreed limit",
    /// The cookie is forged, expired, or of another address.
    BadCookie("bad_cookie") = "bad cookie",
    /// Too many like it at once.
    RateLimited("rate_limited") = "rate limit",
    /// Against the rules of the protocol in a way that only a broken or hostile peer produces.
    Misbehaved("misbehaved") = "peer misbehaved",
    /// Well formed, but nobody waits for it in this state.
    Unexpected("unexpected") = "unexpected in this state",
    /// Asks for a session or an answer, and who sent it is banned.
    Banned("banned") = "sender is banned",
    /// Asks for a session, and there are to be no more.
    Draining("draining") = "no new sessions",
}

impl core::error::Error for DropReason {}
