//! What is driven.

use bowline_core::{Address, CloseReason, Instant, Machine, Messages, Mode, PeerId};

/// An endpoint that can be driven against another: a machine with messages that can begin sessions.
pub trait Subject: Machine + Messages {
    /// Begins a session with `to`; `payload` is for the other side's application. Nothing if that cannot be now.
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]) -> Option<PeerId>;

    /// What the other side's application sent along with its request for this session; nothing for sessions
    /// that this side began.
    fn payload(&mut self, peer: PeerId) -> Vec<u8>;

    /// Lets in who has [asked](bowline_core::Event::Asked), or not.
    fn answer(&mut self, now: Instant, peer: PeerId, accept: bool);

    /// Closes a session once everything was acknowledged.
    fn finish(&mut self, now: Instant, peer: PeerId, reason: CloseReason) -> bool;

    /// Announces that its caller will be away, or that it is back.
    fn set_suspended(&mut self, now: Instant, away: bool);

    /// The longest message of this mode that the session takes, in bytes; nothing if there is no such session or it
    /// has not this mode.
    fn message_max(&mut self, peer: PeerId, mode: Mode) -> Option<usize>;

    /// How much memory is in use, in words; nothing at all when there are no sessions.
    fn leftovers(&mut self) -> Option<String>;
}
