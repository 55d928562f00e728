//! Endpoints behind a thin door, through which a test can see them misbehave.

use alloc::collections::BTreeMap;

use bowline_core::{
    BufferTooShort, ChannelId, DropReason, Event, Instant, Machine, Messages, Mode, Outcome,
    Outgoing, PeerId, Received, SendError, Transmit,
};
use bowline_native::Endpoint;

use crate::memory::Memory;

/// A message in a buffer of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its channel.
    pub channel: ChannelId,
    /// Its mode.
    pub mode: Mode,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// An endpoint as an application of these tests drives it. What it does on the way can be changed.
pub trait Party: Machine {
    /// The endpoint itself.
    fn endpoint(&mut self) -> &mut Endpoint<Memory>;

    /// As [`Messages::send`].
    ///
    /// # Errors
    ///
    /// As there.
    fn offer(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        self.endpoint().send(now, to, message)
    }

    /// As [`Messages::poll_event`].
    fn next_event(&mut self) -> Option<Event> {
        self.endpoint().poll_event()
    }

    /// As [`Messages::recv`].
    fn receive(&mut self, from: PeerId) -> Option<Message> {
        let message = self.endpoint().recv(from)?;
        Some(Message { channel: message.channel(), mode: message.mode(), bytes: message.to_vec() })
    }
}

impl Party for Endpoint<Memory> {
    fn endpoint(&mut self) -> &mut Endpoint<Memory> {
        self
    }
}

/// How a [`Mutant`] is wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Flaw {
    /// Hands every twentieth message over twice.
    DeliversTwice,
    /// Hands over two messages that are waiting in the other order.
    SwapsNeighbours,
    /// Tells the channel before the right one.
    WrongChannel,
    /// Tells another mode.
    WrongMode,
    /// Changes a byte.
    CorruptsByte,
    /// Leaves out the last byte.
    CutsShort,
    /// Drops every twentieth reliable message.
    LosesReliable,
    /// Drops the last message of a session that has been closed properly.
    LosesLast,
    /// Never tells that there is room again.
    ForgetsWritable,
    /// Hands over messages of one session as those of another.
    MixesUpPeers,
    /// Holds back an unreliable-ordered message and hands it over after a newer one.
    LateOrdered,
    /// Accepts a message that it then forgets.
    ForgetsSend,
    /// Does not tell every twentieth outcome.
    ForgetsOutcome,
    /// Tells every twentieth outcome twice.
    TellsTwice,
    /// Says of what was lost that it has arrived.
    VouchesForTheLost,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::DeliversTwice,
        Self::SwapsNeighbours,
        Self::WrongChannel,
        Self::WrongMode,
        Self::CorruptsByte,
        Self::CutsShort,
        Self::LosesReliable,
        Self::LosesLast,
        Self::ForgetsWritable,
        Self::MixesUpPeers,
        Self::LateOrdered,
        Self::ForgetsSend,
        Self::ForgetsOutcome,
        Self::TellsTwice,
        Self::VouchesForTheLost,
    ];
}

/// An endpoint that is wrong in one way.
#[derive(Debug)]
pub struct Mutant {
    endpoint: Endpoint<Memory>,
    flaw: Flaw,
    count: u64,
    /// For each session, a message that is handed over later.
    held: BTreeMap<u64, Message>,
    /// An event that is told again.
    again: Option<Event>,
    peers: Vec<PeerId>,
}

impl Mutant {
    /// `endpoint`, made wrong.
    pub fn new(endpoint: Endpoint<Memory>, flaw: Flaw) -> Self {
        Self { endpoint, flaw, count: 0, held: BTreeMap::new(), again: None, peers: Vec::new() }
    }

    fn genuine(&mut self, from: PeerId) -> Option<Message> {
        Party::receive(&mut self.endpoint, from)
    }

    fn hold(&mut self, from: PeerId, message: Message) {
        self.held.insert(from.to_raw(), message);
    }

    /// Every twentieth time.
    fn is_turn(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(20)
    }
}

impl Party for Mutant {
    fn endpoint(&mut self) -> &mut Endpoint<Memory> {
        &mut self.endpoint
    }

    fn offer(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        if self.flaw == Flaw::ForgetsSend && message.mode == Mode::Reliable && self.is_turn() {
            return Ok(());
        }
        self.endpoint.send(now, to, message)
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.again.take() {
                return Some(event);
            }
            let event = self.endpoint.poll_event()?;
            if let Event::Outcome(peer, tag, outcome) = event {
                let flaw = self.flaw;
                match flaw {
                    Flaw::ForgetsOutcome if self.is_turn() => continue,
                    Flaw::TellsTwice if self.is_turn() => self.again = Some(event),
                    Flaw::VouchesForTheLost if outcome == Outcome::Lost => {
                        return Some(Event::Outcome(peer, tag, Outcome::Acknowledged));
                    }
                    _ => {}
                }
            }
            if let Event::Connected(peer) = event {
                self.peers.push(peer);
            }
            if self.flaw != Flaw::ForgetsWritable || !matches!(event, Event::Writable(_)) {
                return Some(event);
            }
        }
    }

    fn receive(&mut self, from: PeerId) -> Option<Message> {
        if self.flaw == Flaw::LosesLast {
            return self.all_but_last(from);
        }
        if let Some(message) = self.held.remove(&from.to_raw()) {
            return Some(message);
        }
        let flaw = self.flaw;
        let mut message = match flaw {
            Flaw::MixesUpPeers if self.is_turn() => {
                let other = self.peers.iter().copied().find(|peer| *peer != from);
                self.genuine(other.unwrap_or(from))?
            }
            _ => self.genuine(from)?,
        };
        match flaw {
            Flaw::DeliversTwice if self.is_turn() => self.hold(from, message.clone()),
            Flaw::SwapsNeighbours => {
                if let Some(next) = self.genuine(from) {
                    self.hold(from, message);
                    return Some(next);
                }
            }
            Flaw::WrongChannel => message.channel.0 = message.channel.0.saturating_sub(1),
            Flaw::WrongMode if message.mode == Mode::UnreliableOrdered => {
                message.mode = Mode::Unreliable;
            }
            Flaw::CorruptsByte if self.is_turn() => {
                if let Some(byte) = message.bytes.last_mut() {
                    *byte ^= 1;
                }
            }
            Flaw::CutsShort => {
                message.bytes.pop();
            }
            Flaw::LosesReliable if message.mode == Mode::Reliable && self.is_turn() => {
                return self.receive(from);
            }
            Flaw::LateOrdered if message.mode == Mode::UnreliableOrdered && self.is_turn() => {
                if let Some(next) = self.genuine(from) {
                    self.hold(from, message);
                    return Some(next);
                }
            }
            _ => {}
        }
        Some(message)
    }
}

impl Mutant {
    /// Hands a message over only once there is another one behind it.
    fn all_but_last(&mut self, from: PeerId) -> Option<Message> {
        loop {
            let next = self.genuine(from)?;
            let message = self.held.insert(from.to_raw(), next);
            if message.is_some() {
                return message;
            }
        }
    }
}

impl Machine for Mutant {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.endpoint.handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.endpoint.poll_transmit(now, buf)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }
}
