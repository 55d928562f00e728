//! What the endpoints say to their applications.

use bowline_core::{
    CancelError, ChannelId, DisconnectReason, Event, Mode, Outcome, Outgoing, PeerId, SendError,
    Tag,
};

use super::{EVENTS_MAX, Hostile};
use crate::game::Delivery;
use crate::ledger::Unaccountable;
use crate::oracle::Direction;
use crate::setup::more_digest;
use crate::{Failure, Side};

/// The first number of sessions that their clients know nothing of.
const GHOSTS: u64 = 1 << 62;

impl Hostile<'_> {
    /// An attentive application takes note of everything.
    pub(super) fn attend(&mut self, side: Side) -> Result<(), Failure> {
        if !self.attentive[side.index()] || self.away[side.index()] {
            return Ok(());
        }
        self.poll(side, EVENTS_MAX)?;
        (0..self.sessions[side.index()].len())
            .try_for_each(|at| self.read_session(side, at, u32::MAX))
    }

    /// Takes up to `most` events.
    pub(super) fn poll(&mut self, side: Side, most: u32) -> Result<(), Failure> {
        for _ in 0..most {
            let Some(event) = self.subjects[side.index()].poll_event() else { return Ok(()) };
            let told = format!("{:?} {side:?} {event:?}", self.now);
            self.report.digest = more_digest(self.report.digest, told.as_bytes());
            if self.is_ghost(side, &event) {
                return Err(Failure::Ghost(side, event));
            }
            match event {
                Event::Asked(peer) => {
                    self.session(side, peer);
                    let accept = self.attempts % 8 != 7;
                    self.subjects[side.index()].answer(self.now, peer, accept);
                }
                Event::Connected(peer) => self.on_connected(side, peer)?,
                Event::Writable(peer) => {
                    let at = self.session(side, peer);
                    self.sessions[side.index()][at].full = false;
                }
                Event::Outcome(peer, tag, outcome) => self.on_outcome(side, peer, tag, outcome)?,
                Event::Disconnected(peer, reason) => self.on_disconnected(side, peer, reason)?,
                _ => {}
            }
        }
        if most < EVENTS_MAX { Ok(()) } else { Err(Failure::Livelock(side, "events")) }
    }

    fn on_connected(&mut self, side: Side, peer: PeerId) -> Result<(), Failure> {
        let payload = self.subjects[side.index()].payload(peer);
        let at = self.session(side, peer);
        let is_own = self.sessions[side.index()][at].attempt.is_some();
        if self.rogue.is_some() && side == Side::Right && payload.is_empty() && !is_own {
            self.rogues.insert(peer);
            self.report.rogues += 1;
            return Ok(());
        }
        self.report.sessions += 1;
        // Whose attempt it is that became the session: ours, or the one whose payload came.
        let theirs = payload.first_chunk().map(|number| u64::from_be_bytes(*number));
        let ours = self.sessions[side.index()][at].attempt;
        let by_client = theirs.is_none();
        let Some(session) = theirs.or(ours) else {
            return Err(Failure::Ghost(side, Event::Connected(peer)));
        };
        let mut out = Direction { session, by_client };
        if self.begun.contains(&out) {
            // A copy of a request came after its session was over. What does its client say to that?
            // Without checksums nothing tells copies of the old session's packets from new ones.
            self.tainted |= !self.checked;
            self.poll(side.other(), EVENTS_MAX)?;
            let back = Direction { by_client: !by_client, ..out };
            let others = &self.sessions[side.other().index()];
            if self.ended.contains(&back) || others.iter().any(|other| other.out == Some(back)) {
                // He has been told of one of them, and nothing here tells which: if it is this one, what either
                // says belongs to it.
                self.tainted = true;
                self.attempts += 1;
                out.session = GHOSTS + self.attempts;
            } else {
                // Of the first one he has heard nothing; he gets this one.
                self.ended.remove(&out);
                self.oracle.forget(out);
            }
        }
        // Without checksums packets of one session are taken in another if their numbers lie near enough.
        self.tainted |= !self.checked && self.begun.iter().any(|other| other.session != session);
        self.begun.insert(out);
        let at = self.session(side, peer);
        self.sessions[side.index()][at].out = Some(out);
        Ok(())
    }

    fn on_disconnected(
        &mut self,
        side: Side,
        peer: PeerId,
        reason: DisconnectReason,
    ) -> Result<(), Failure> {
        let at = self.session(side, peer);
        let session = self.sessions[side.index()].swap_remove(at);
        self.gone[side.index()].insert(peer, session.out);
        if self.is_rogue(side, peer) {
            return Ok(());
        }
        self.ended.extend(session.out);
        let ended = self.ledgers[side.index()].session_ended(peer);
        ended.map_err(|fault| Failure::Ended(side, fault))?;
        match reason {
            DisconnectReason::PeerMisbehaved | DisconnectReason::AccusedByPeer if !self.tainted => {
                Err(Failure::Accused(side, reason))
            }
            _ => Ok(()),
        }
    }

    fn on_outcome(
        &mut self,
        side: Side,
        peer: PeerId,
        tag: Tag,
        outcome: Outcome,
    ) -> Result<(), Failure> {
        self.session(side, peer);
        let ledger = &mut self.ledgers[side.index()];
        // That its session is over will be told only after this.
        let message = ledger.outcome(self.now, peer, tag, outcome, true);
        let message = message.map_err(|fault| Failure::Ended(side, fault))?;
        match outcome {
            Outcome::Acknowledged => self.oracle.acknowledged(message.id),
            _ => self.oracle.given_up(message.id),
        }
        Ok(())
    }

    /// Withdraws a message without an end.
    pub(super) fn cancel(&mut self, side: Side, which: u8, tag: u8) -> Result<(), Failure> {
        let Some(at) = self.pick(side, which) else { return Ok(()) };
        let peer = self.sessions[side.index()][at].peer;
        let tags: Vec<Tag> = self.ledgers[side.index()].pending(peer).collect();
        // Those that were sent last are most often the ones.
        let Some(back) = usize::from(tag).checked_rem(tags.len()) else { return Ok(()) };
        let tag = tags[tags.len() - 1 - back];
        match self.subjects[side.index()].cancel(peer, tag) {
            Ok(()) => {
                let id = self.ledgers[side.index()].cancelled(peer, tag);
                id.into_iter().for_each(|id| self.oracle.given_up(id));
                Ok(())
            }
            Err(CancelError::UnknownTag | CancelError::UnknownPeer) => {
                // Then its end is known, and must be told by the time that all work is done.
                self.poll(side, EVENTS_MAX)?;
                self.flush(side)?;
                self.poll(side, EVENTS_MAX)?;
                let unheard =
                    self.ledgers[side.index()].pending(peer).any(|pending| pending == tag);
                if unheard && self.is_closing(side, peer) {
                    return Ok(());
                }
                let fault = Unaccountable::Unheard(peer, tag);
                if unheard { Err(Failure::Ended(side, fault)) } else { Ok(()) }
            }
            Err(_) => Ok(()),
        }
    }

    /// Whether a session is being closed, which ends its messages in due course: then it takes no others.
    fn is_closing(&mut self, side: Side, peer: PeerId) -> bool {
        let probe = Outgoing::new(ChannelId(0), Mode::Reliable, &[]);
        self.subjects[side.index()].send(self.now, peer, probe) == Err(SendError::Closing)
    }

    pub(super) fn read(&mut self, side: Side, which: u8, most: u8) -> Result<(), Failure> {
        let Some(at) = self.pick(side, which) else { return Ok(()) };
        self.read_session(side, at, most.into())
    }

    fn read_session(&mut self, side: Side, at: usize, most: u32) -> Result<(), Failure> {
        let peer = self.sessions[side.index()][at].peer;
        for _ in 0..most {
            let Some(message) = self.subjects[side.index()].recv(peer) else { break };
            let (channel, mode) = (message.channel(), message.mode());
            let bytes = message.to_vec();
            let delivery = Delivery { at: side, channel, mode, bytes: &bytes };
            let opinion = self.game.received(&delivery);
            self.report.digest = more_digest(self.report.digest, &bytes);
            if self.tainted || self.is_rogue(side, peer) {
                continue;
            }
            // What is read before its session's beginning was told belongs to it all the same.
            if self.sessions[side.index()][at].out.is_none() {
                self.poll(side, EVENTS_MAX)?;
            }
            let here = self.find(side, peer);
            let out = match here {
                Some(at) => self.sessions[side.index()][at].out,
                // Its beginning and its end were told at once.
                None => self.gone[side.index()].get(&peer).copied().flatten(),
            };
            let Some(out) = out else {
                return Err(Failure::Ghost(side, Event::Readable(peer)));
            };
            let back = Direction { by_client: !out.by_client, ..out };
            self.oracle.received(back, channel, mode, &bytes)?;
            opinion.map_err(|opinion| Failure::Game(side, opinion))?;
            if here != Some(at) {
                break;
            }
        }
        Ok(())
    }
}
