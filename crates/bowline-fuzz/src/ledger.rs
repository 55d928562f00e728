//! What became of every tagged message.

use alloc::collections::BTreeMap;

use bowline_core::{Duration, Instant, Mode, Outcome, PeerId, Tag};

use crate::oracle::MessageId;

/// A tagged message without an end.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Its mode.
    pub mode: Mode,
    /// When its time to live is over.
    pub deadline: Option<Instant>,
    /// Whether a newer message of its key was sent.
    pub superseded: bool,
    /// What a [`Mode::ReliableLatest`] message replaces.
    pub key: Option<u32>,
    /// Its channel.
    pub channel: u8,
    /// Whether it was withdrawn.
    pub cancelled: bool,
    /// The model's name for it.
    pub id: MessageId,
}

/// An outcome that must not have been told, or was not.
#[derive(Clone, Debug)]
pub enum Unaccountable {
    /// The message had an end already, or was never sent.
    Unknown(PeerId, Tag, Outcome),
    /// It cannot have ended so, for this reason.
    Unfounded(Pending, Outcome, &'static str),
    /// The session is over, and these have no end.
    Forgotten(PeerId, Vec<Tag>),
    /// It could not be withdrawn since it had ended, but nobody was told how.
    Unheard(PeerId, Tag),
}

/// Every tagged message of one side that has no end yet.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pending: BTreeMap<(PeerId, Tag), Pending>,
    ended: u64,
}

impl Ledger {
    /// A message was taken. Of a key the newest counts: those before it may be superseded from here on.
    pub fn sent(&mut self, peer: PeerId, tag: Tag, message: Pending) {
        self.replaced(peer, message.channel, message.mode, message.key);
        self.pending.insert((peer, tag), message);
    }

    /// A message with this key was taken, tagged or not.
    pub fn replaced(&mut self, peer: PeerId, channel: u8, mode: Mode, key: Option<u32>) {
        if mode != Mode::ReliableLatest {
            return;
        }
        for ((of, _), other) in &mut self.pending {
            let same = other.mode == mode && other.channel == channel && other.key == key;
            other.superseded |= *of == peer && same;
        }
    }

    /// A message was withdrawn; the model's name for it.
    pub fn cancelled(&mut self, peer: PeerId, tag: Tag) -> Option<MessageId> {
        let message = self.pending.get_mut(&(peer, tag))?;
        message.cancelled = true;
        Some(message.id)
    }

    /// The message with this tag has come to its end, which is told.
    ///
    /// # Errors
    ///
    /// When it must not have.
    pub fn outcome(
        &mut self,
        now: Instant,
        peer: PeerId,
        tag: Tag,
        outcome: Outcome,
        closing: bool,
    ) -> Result<Pending, Unaccountable> {
        let Some(message) = self.pending.remove(&(peer, tag)) else {
            return Err(Unaccountable::Unknown(peer, tag, outcome));
        };
        self.ended += 1;
        let fault = match outcome {
            Outcome::Lost if message.mode.is_reliable() => Some("its mode resends"),
            Outcome::Expired if message.deadline.is_none_or(|deadline| now < deadline) => {
                Some("its time was not over")
            }
            Outcome::Superseded if !message.superseded => Some("nothing newer was sent"),
            Outcome::Cancelled if !message.cancelled => Some("nobody withdrew it"),
            Outcome::Closed if !closing => Some("its session is open"),
            _ if message.cancelled && outcome != Outcome::Cancelled => Some("it was withdrawn"),
            _ => None,
        };
        match fault {
            Some(why) => Err(Unaccountable::Unfounded(message, outcome, why)),
            None => Ok(message),
        }
    }

    /// The session is over, and nothing more will be told of it.
    ///
    /// # Errors
    ///
    /// When messages of it have no end.
    pub fn session_ended(&mut self, peer: PeerId) -> Result<(), Unaccountable> {
        let of_it = |(of, tag): &(PeerId, Tag)| (*of == peer).then_some(*tag);
        let left: Vec<Tag> = self.pending.keys().filter_map(of_it).collect();
        if left.is_empty() { Ok(()) } else { Err(Unaccountable::Forgotten(peer, left)) }
    }

    /// Tags without an end, oldest first.
    pub fn pending(&self, peer: PeerId) -> impl Iterator<Item = Tag> {
        self.pending.keys().filter(move |key| key.0 == peer).map(|key| key.1)
    }

    /// The message with this tag, if it has no end.
    pub fn message(&self, peer: PeerId, tag: Tag) -> Option<&Pending> {
        self.pending.get(&(peer, tag))
    }

    /// A message of a mode that resends, of which nobody has said `late` after its deadline that it has expired, if
    /// it is `now`.
    pub fn overdue(&self, peer: PeerId, now: Instant, late: Duration) -> Option<(Tag, Instant)> {
        let of_peer = self.pending.iter().filter(|((of, _), _)| *of == peer);
        let mut deadlines = of_peer
            .filter(|(_, message)| message.mode.is_reliable())
            .filter_map(|((_, tag), message)| Some((*tag, message.deadline?)));
        deadlines.find(|(_, deadline)| *deadline + late < now)
    }

    /// How many messages have come to their end.
    pub fn ended(&self) -> u64 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::new(0, 1);
    const NOW: Instant = Instant::from_micros(1_000);

    fn message(mode: Mode) -> Pending {
        Pending {
            mode,
            deadline: Some(Instant::from_micros(2_000)),
            superseded: false,
            key: Some(7),
            channel: 0,
            cancelled: false,
            id: MessageId::NONE,
        }
    }

    fn end(ledger: &mut Ledger, tag: u32, outcome: Outcome) -> Result<Pending, Unaccountable> {
        ledger.outcome(NOW, PEER, Tag(tag), outcome, false)
    }

    #[test]
    fn an_end_comes_once() {
        let mut ledger = Ledger::default();
        ledger.sent(PEER, Tag(1), message(Mode::Reliable));
        assert!(end(&mut ledger, 1, Outcome::Acknowledged).is_ok());
        let again = end(&mut ledger, 1, Outcome::Acknowledged);
        assert!(matches!(again, Err(Unaccountable::Unknown(..))));
        assert!(ledger.session_ended(PEER).is_ok());
    }

    #[test]
    fn an_end_has_a_reason() {
        for (outcome, mode) in [
            (Outcome::Lost, Mode::Reliable),
            (Outcome::Expired, Mode::Unreliable),
            (Outcome::Superseded, Mode::ReliableLatest),
            (Outcome::Cancelled, Mode::Reliable),
            (Outcome::Closed, Mode::Reliable),
        ] {
            let mut ledger = Ledger::default();
            ledger.sent(PEER, Tag(1), message(mode));
            let ended = end(&mut ledger, 1, outcome);
            assert!(matches!(ended, Err(Unaccountable::Unfounded(..))), "{outcome:?}");
        }
    }

    #[test]
    fn a_newer_message_of_the_key_supersedes() {
        let mut ledger = Ledger::default();
        ledger.sent(PEER, Tag(1), message(Mode::ReliableLatest));
        ledger.sent(PEER, Tag(2), message(Mode::ReliableLatest));
        assert!(end(&mut ledger, 1, Outcome::Superseded).is_ok());
        assert!(end(&mut ledger, 2, Outcome::Superseded).is_err());
    }

    #[test]
    fn no_end_at_the_end_of_the_session_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.sent(PEER, Tag(1), message(Mode::Reliable));
        assert!(matches!(ledger.session_ended(PEER), Err(Unaccountable::Forgotten(..))));
    }
}
