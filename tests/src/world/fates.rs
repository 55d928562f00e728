//! What applications ask for their messages, and what they are told of them.

use bowline_core::{CancelError, DisconnectReason, Duration, Messages, Mode, Outcome, PeerId, Tag};
use bowline_fuzz::ledger::{Pending, Unaccountable};
use bowline_sim::PERCENT;

use super::{Failure, Player, Session, Waiting, World};
use crate::oracle::{Direction, MessageId, Terms};

/// How late it may be told that a message has expired, if nobody sleeps.
const LATE_MAX: Duration = Duration::from_millis(1);
/// What fits a datagram whole, whatever else is in it and however short datagrams are.
const WHOLE: usize = 100;

impl World {
    /// Asks more for a message than to arrive, perhaps.
    pub(super) fn wish(&mut self, node: usize, most: usize, message: &mut Waiting) {
        let wishes = self.scenario.wishes;
        let rng = &mut self.players[node].rng;
        let is_latest = message.mode == Mode::ReliableLatest;
        let tags = wishes.tag > 0 && rng.chance(wishes.tag);
        let dies = wishes.life > 0 && rng.chance(wishes.life);
        if !(is_latest || tags || dies) || most < 8 {
            return;
        }
        self.tags += 1;
        message.tag = tags.then_some(Tag(self.tags));
        message.life = dies.then(|| rng.duration(wishes.life_max));
        message.key = is_latest.then(|| rng.below(wishes.keys) as u32);
        // The models must be able to tell it from all others.
        message.bytes.resize(message.bytes.len().max(8), 0);
        message.bytes[..4].copy_from_slice(&self.tags.to_be_bytes());
        message.bytes[4..8].copy_from_slice(b"own\0");
    }

    pub(super) fn on_outcome(
        &mut self,
        node: usize,
        peer: PeerId,
        tag: Tag,
        outcome: Outcome,
    ) -> Result<(), Failure> {
        let now = self.net.now();
        let fail = |fault| Failure::Fate { node, fault };
        let Some(at) = self.find(node, peer) else {
            return Err(fail(Unaccountable::Unknown(peer, tag, outcome)));
        };
        let player = &mut self.players[node];
        // If it is closed its session must end, be it that this side is about to end it.
        let message = player.ledger.outcome(now, peer, tag, outcome, true).map_err(fail)?;
        player.sessions[at].closed |= outcome == Outcome::Closed;
        self.tally.outcomes += 1;
        match outcome {
            Outcome::Acknowledged => self.oracle.acknowledged(message.id),
            Outcome::Expired | Outcome::Cancelled if !message.mode.is_reliable() => {
                self.oracle.unsent(message.id)?;
            }
            _ => self.oracle.given_up(message.id),
        }
        let given_up = [Outcome::Expired, Outcome::Cancelled, Outcome::Superseded];
        self.tally.given_up += u64::from(given_up.contains(&outcome));
        Ok(())
    }

    /// All events are known: nothing is overdue.
    pub(super) fn check_fates(&mut self, node: usize, turn: bool) -> Result<(), Failure> {
        let player = &mut self.players[node];
        let asked_before = core::mem::replace(&mut player.asked_at, self.net.now());
        for (peer, tag) in player.doubts.drain(..) {
            if player.ledger.message(peer, tag).is_some() {
                let answer = Err(CancelError::UnknownTag);
                return Err(Failure::Cancel { node, tag, answer });
            }
        }
        if !turn {
            return Ok(());
        }
        // Who was driven then had to find out, and was asked since.
        let tick = self.scenario.nodes[node].tick.unwrap_or_default();
        let limit = LATE_MAX + tick;
        for session in &player.sessions {
            let overdue = player.ledger.overdue(session.peer, asked_before, limit);
            if let Some((tag, deadline)) = overdue {
                return Err(Failure::Overdue { node, tag, deadline });
            }
        }
        Ok(())
    }

    /// The session is over: everything of it has its end.
    pub(super) fn check_ends(
        &mut self,
        node: usize,
        session: &Session,
        reason: DisconnectReason,
    ) -> Result<(), Failure> {
        let ended = self.players[node].ledger.session_ended(session.peer);
        ended.map_err(|fault| Failure::Fate { node, fault })?;
        // Who finishes waits for the ends of all messages.
        if session.finishing && session.closed && matches!(reason, DisconnectReason::Closed(_)) {
            return Err(Failure::Hasty { node, peer: session.peer });
        }
        Ok(())
    }

    /// Withdraws a message, or one that there never was, perhaps.
    pub(super) fn withdraw(&mut self, node: usize, at: usize) -> Result<(), Failure> {
        let chance = self.scenario.wishes.cancel;
        let player = &mut self.players[node];
        let (peer, closing) = (player.sessions[at].peer, player.sessions[at].closing);
        if chance == 0 || closing || !player.rng.chance(chance) {
            return Ok(());
        }
        let pending: Vec<Tag> = player.ledger.pending(peer).collect();
        let known = !pending.is_empty() && player.rng.chance(90 * PERCENT);
        let tag = if known {
            pending[player.rng.below(pending.len() as u64) as usize]
        } else {
            Tag(player.rng.below(1 << 32) as u32 | 1 << 31)
        };
        let answer = player.party.endpoint().cancel(peer, tag);
        match answer {
            Ok(()) if known => {
                if let Some(id) = player.ledger.cancelled(peer, tag) {
                    self.oracle.given_up(id);
                }
                Ok(())
            }
            Err(CancelError::AlreadySent)
                if player.ledger.message(peer, tag).is_some_and(|of| !of.mode.is_reliable()) =>
            {
                Ok(())
            }
            Err(CancelError::UnknownTag | CancelError::UnknownPeer) if !known => Ok(()),
            // Sending a message may have been the end of another, or the session may have ended; the events
            // will tell.
            Err(CancelError::UnknownTag | CancelError::UnknownPeer) => {
                player.doubts.push((peer, tag));
                Ok(())
            }
            _ => Err(Failure::Cancel { node, tag, answer }),
        }
    }

    /// How many messages of this direction have not arrived, of which an acknowledgement says that they have.
    pub(super) fn vouched_missing(&self, out: Direction) -> usize {
        self.oracle.acked_missing(out, |mode, len| mode == Mode::Unreliable && len <= WHOLE)
    }
}

impl Player {
    /// A message was taken; if it has a tag, its outcome will be told.
    pub(super) fn expect(&mut self, peer: PeerId, message: &Waiting, terms: Terms, id: MessageId) {
        let &Waiting { channel, mode, tag, key, .. } = message;
        let Some(tag) = tag else { return self.ledger.replaced(peer, channel.0, mode, key) };
        let pending = Pending {
            mode,
            deadline: terms.deadline,
            superseded: false,
            key,
            channel: channel.0,
            cancelled: false,
            id,
        };
        self.ledger.sent(peer, tag, pending);
    }
}
