//! Talking through an endpoint: messages out and in, events, and goodbye.

use bowline_core::{
    CancelError, CloseReason, DisconnectReason, Duration, Event, Incoming, Instant, Messages,
    Outgoing, PeerId, RefuseReason, SendError, Tag,
};
use bowline_wire::native::CloseCause;

use crate::endpoint::{Endpoint, Freed, UnknownPeer, find};
use crate::peer::{Peer, Phase};
use crate::read::Found;
use crate::send::Refused;
use crate::storage::{Memory, Storage};

/// When an application that waits for memory which storage could not get may try again: nobody tells when there
/// is some.
const GROW_AGAIN: Duration = Duration::from_millis(50);

/// What became of a broadcast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Broadcast {
    /// How many sessions took the message.
    pub sent: u32,
    /// How many did not; those without room get an [`Event::Writable`].
    pub refused: u32,
}

impl<S: Storage> Messages for Endpoint<S> {
    #[inline]
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        if self.storage.parts().send_short(to, &message) {
            return Ok(());
        }
        self.send_any(now, to, &message)
    }

    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError> {
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, to).ok_or(CancelError::UnknownPeer)?;
        parts.peers[link].cancel(&mut parts.memory, tag)?;
        self.freed = Freed::ALL;
        self.settle(self.context.now, link);
        Ok(())
    }

    fn poll_event(&mut self) -> Option<Event> {
        if let Some(link) = self.introduced.take() {
            let mut parts = self.storage.parts();
            parts.peers[link].forget_payload(&mut parts.memory);
            self.freed = Freed::ALL;
            self.lines.reconsider(&mut parts, &self.context, link);
        }
        self.unblock();
        self.lines.news = false;
        if self.answer.as_mut().is_some_and(|answer| core::mem::take(&mut answer.untold)) {
            return Some(Event::Answered);
        }
        while let Some(link) = self.lines.ready.front() {
            let mut parts = self.storage.parts();
            let peer = &mut parts.peers[link];
            let id = peer.id(link);
            let event = peer.poll_event(&mut parts.memory, id);
            let (more, over) = (peer.tells(), peer.is_over());
            if !more {
                self.lines.ready.pop(&mut parts.peers);
            }
            if over {
                self.retire(link);
            }
            if let Some(Event::Connected(_)) = event {
                self.introduced = Some(link);
            }
            if let Some(Event::Outcome(..)) = event {
                self.freed = Freed::ALL;
                self.lines.reconsider(&mut self.storage.parts(), &self.context, link);
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    #[inline]
    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        let short = self.storage.parts().recv_short(from);
        let Found { channel, mode, key, at, len } = short.or_else(|| self.recv_any(from))?;
        let (block, pos) = at.place();
        let chunks = self.storage.parts().memory.pool.into_chunks(block, pos, len);
        Some(Incoming::new(channel, mode, chunks).with_key(key))
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        let now = self.enter(now);
        let mut parts = self.storage.parts();
        let Some(link) = find(&parts.peers, peer) else { return };
        let peer = &mut parts.peers[link];
        let reason = DisconnectReason::Closed(reason);
        match peer.phase {
            Phase::Open => {
                peer.begin_close(
                    &mut parts.memory,
                    &self.context,
                    now,
                    CloseCause::Application,
                    reason,
                );
            }
            Phase::Hello | Phase::Connect { .. } => peer.end(&mut parts.memory, reason),
            Phase::Asked => {
                let code = RefuseReason::ByApplication(CloseReason(0));
                self.refuse_link(now, link, code, reason);
            }
            Phase::Vacant | Phase::Closing { .. } | Phase::Closed => return,
        }
        self.freed = Freed::ALL;
        self.settle(now, link);
    }
}

impl<S: Storage> Endpoint<S> {
    /// Sends a message to every open session but `except`.
    pub fn broadcast(
        &mut self,
        now: Instant,
        message: Outgoing<'_>,
        except: Option<PeerId>,
    ) -> Broadcast {
        let mut outcome = Broadcast::default();
        let mut at = self.lines.sessions.front();
        while let Some(link) = at {
            let mut parts = self.storage.parts();
            at = self.lines.sessions.after(&mut parts.peers, link);
            let peer = &parts.peers[link];
            let id = peer.id(link);
            if !matches!(peer.phase, Phase::Open) || except == Some(id) {
                continue;
            }
            match self.send(now, id, message) {
                Ok(()) => outcome.sent += 1,
                Err(_) => outcome.refused += 1,
            }
        }
        outcome
    }

    /// Closes a session once everything that was queued has been sent and acknowledged. Nothing
    /// more can be sent meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such session, or it is not open.
    pub fn finish(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        let now = self.enter(now);
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, peer).ok_or(UnknownPeer)?;
        let peer = &mut parts.peers[link];
        if !matches!(peer.phase, Phase::Open) || peer.finishing.is_some() {
            return Err(UnknownPeer);
        }
        peer.finishing = Some(reason);
        self.settle(now, link);
        Ok(())
    }

    /// Queues a message, whatever there is to be done for it.
    #[inline(never)]
    fn send_any(
        &mut self,
        now: Instant,
        to: PeerId,
        message: &Outgoing<'_>,
    ) -> Result<(), SendError> {
        let Self { storage, lines, context, .. } = self;
        if storage.parts().send_anew(lines, context, to, message) {
            return Ok(());
        }
        self.enter(now);
        loop {
            let mut parts = self.storage.parts();
            let link = find(&parts.peers, to).ok_or(SendError::UnknownPeer)?;
            let peer = &mut parts.peers[link];
            match peer.send(&mut parts.memory, &self.context, message) {
                Ok(()) => {
                    // It may have superseded another.
                    if peer.tells() {
                        self.lines.tell(&mut parts.peers, link);
                    }
                    self.lines.active.push(&mut parts.peers, link);
                    return Ok(());
                }
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Short(need)) if self.storage.grow(need) => {}
                Err(refused) => {
                    let mut parts = self.storage.parts();
                    let peer = &mut parts.peers[link];
                    peer.wants_ticket = !message.is_plain();
                    peer.wanted_blocks = match refused {
                        Refused::Full { blocks } => blocks,
                        _ => 1,
                    };
                    self.lines.block(&mut parts, &self.context, link);
                    if let Refused::Short(_) = refused {
                        let at = self.context.now + GROW_AGAIN;
                        parts.schedule.set_earlier(link.index(), at);
                    }
                    return Err(SendError::Full);
                }
            }
        }
    }

    /// The next message of a session, whatever there is to be done for it.
    #[inline(never)]
    fn recv_any(&mut self, from: PeerId) -> Option<Found> {
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, from)?;
        let peer = &mut parts.peers[link];
        let message = peer.next_message(&mut parts.memory, &self.context);
        self.freed = Freed::ALL;
        if peer.credit_due || peer.misbehaved || peer.starved_of < u32::MAX {
            self.lines.settle(&mut parts, &self.context, self.context.now, link);
        }
        message
    }
}

impl Peer {
    /// Whether there is an event of this session to tell.
    pub(crate) fn tells(&self) -> bool {
        self.tell_asked
            || self.tell_connected
            || self.tell_readable
            || self.tell_writable
            || !self.outcomes.is_empty()
            || self.ended.is_some() && matches!(self.phase, Phase::Closed) && !self.told_ended
    }

    /// The next event of this session, in a fixed order.
    fn poll_event(&mut self, memory: &mut Memory<'_>, id: PeerId) -> Option<Event> {
        if core::mem::take(&mut self.tell_asked) {
            return Some(Event::Asked(id));
        }
        if core::mem::take(&mut self.tell_connected) {
            return Some(Event::Connected(id));
        }
        if core::mem::take(&mut self.tell_readable) {
            return Some(Event::Readable(id));
        }
        if let Some((tag, outcome)) = self.poll_outcome(memory) {
            return Some(Event::Outcome(id, tag, outcome));
        }
        if core::mem::take(&mut self.tell_writable) && matches!(self.phase, Phase::Open) {
            return Some(Event::Writable(id));
        }
        match self.ended {
            Some(reason) if matches!(self.phase, Phase::Closed) && !self.told_ended => {
                self.told_ended = true;
                Some(Event::Disconnected(id, reason))
            }
            _ => None,
        }
    }
}
