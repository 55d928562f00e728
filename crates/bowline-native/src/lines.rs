//! Sessions that wait for something, in line.

use bowline_core::{DisconnectReason, Duration, Instant, Link, Slots};
use bowline_transport::scheduler::{Member, Queue};
use bowline_wire::native::CloseCause;

use crate::endpoint::Context;
use crate::peer::{ACTIVE, BLOCKED, LISTED, Peer, Phase, READY, STARVED};
use crate::storage::Parts;
use crate::waiting::{Lack, Waiting};

/// Earliest that a session is woken again which had nothing to do although its time had come.
const AGAIN: Duration = Duration::from_millis(1);
/// The same for one that had something to send and could not: too much is unacknowledged, or there is
/// no record for it.
const AGAIN_STUCK: Duration = Duration::from_millis(10);

/// Sessions in line; each has its places in itself.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Something happened to them: they may have something to send, or another deadline.
    pub(crate) active: Queue<ACTIVE>,
    /// They may have something to tell.
    pub(crate) ready: Queue<READY>,
    /// Their application waits for room.
    pub(crate) blocked: Waiting<BLOCKED>,
    /// They wait for memory to give credit for a message that has begun.
    pub(crate) starved: Waiting<STARVED>,
    /// All sessions, in the order in which they began.
    pub(crate) sessions: Queue<LISTED>,
    /// Somebody has had something to tell since the application asked last, and it was not woken for that.
    pub(crate) news: bool,
}

impl Lines {
    /// Nobody waits.
    pub(crate) const EMPTY: Self = Self {
        active: Queue::EMPTY,
        ready: Queue::EMPTY,
        blocked: Waiting::EMPTY,
        starved: Waiting::EMPTY,
        sessions: Queue::EMPTY,
        news: false,
    };

    /// After something happened to a session: carries out what follows from it, and puts it in line for
    /// what it wants. Its timer is set when its turn to send has come.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        parts: &mut Parts<'_>,
        context: &Context,
        now: Instant,
        link: Link,
    ) {
        self.conclude(parts, context, now, link);
        self.active.push(&mut parts.peers, link);
    }

    /// The first active session has sent what it could, which was nothing if it is `stuck`. It goes
    /// behind the others if it has more, or else its timer is set. Tells whether the session is over.
    pub(crate) fn pass(
        &mut self,
        parts: &mut Parts<'_>,
        context: &Context,
        now: Instant,
        link: Link,
        stuck: bool,
    ) -> bool {
        self.active.pop(&mut parts.peers);
        self.conclude(parts, context, now, link);
        let peer = &mut parts.peers[link];
        if stuck {
            peer.farewell_due = false;
        }
        let wants = peer.wants_transmit(now);
        if wants && !stuck {
            self.active.push(&mut parts.peers, link);
            return false;
        }
        let over = peer.is_over();
        if let Some(deadline) = peer.deadline(&context.clock) {
            let earliest = now + if wants { AGAIN_STUCK } else { AGAIN };
            // Messages that are given up make way, and their end is told in time.
            let at = deadline.max(earliest).min(peer.expire_at.max(now + AGAIN));
            parts.schedule.set_earlier(link.index(), at);
        }
        over
    }

    /// Whether an active session has something to send; the timers of those before it are set.
    pub(crate) fn any_wants_transmit(
        &mut self,
        parts: &mut Parts<'_>,
        context: &Context,
        now: Instant,
    ) -> bool {
        while let Some(link) = self.active.front() {
            let peer = &parts.peers[link];
            if peer.wants_transmit(now) || peer.is_over() {
                return true;
            }
            self.pass(parts, context, now, link, false);
        }
        false
    }

    /// Takes a session out of all lines.
    pub(crate) fn remove(&mut self, peers: &mut Slots<'_, Peer>, link: Link) {
        self.active.remove(peers, link);
        self.ready.remove(peers, link);
        self.blocked.remove(peers, link);
        self.starved.remove(peers, link);
        self.sessions.remove(peers, link);
    }

    #[inline]
    fn conclude(&mut self, parts: &mut Parts<'_>, context: &Context, now: Instant, link: Link) {
        if !parts.peers[link].is_carefree() {
            follow_up(parts, context, now, link);
        }
        let peer = &mut parts.peers[link];
        let starved = core::mem::replace(&mut peer.starved_of, u32::MAX);
        if peer.tells() {
            self.tell(&mut parts.peers, link);
        }
        if starved < u32::MAX {
            let lack = Lack { blocks: starved, record: false };
            self.starved.push(&mut parts.peers, link, &lack);
        }
        self.reconsider(parts, context, link);
    }

    /// Puts a session in line that has something to tell.
    pub(crate) fn tell(&mut self, peers: &mut Slots<'_, Peer>, link: Link) {
        self.news |= !Member::<READY>::place(&mut peers[link]).is_queued();
        self.ready.push(peers, link);
    }
}

/// Begins to close a session that is to be closed by now, and hides one that is closed.
#[inline(never)]
fn follow_up(parts: &mut Parts<'_>, context: &Context, now: Instant, link: Link) {
    let peer = &mut parts.peers[link];
    if let Phase::Open = peer.phase {
        if peer.misbehaved {
            bowline_core::warn!("{:?} broke the rules", peer.id(link));
            let reason = DisconnectReason::PeerMisbehaved;
            peer.begin_close(&mut parts.memory, context, now, CloseCause::Misbehaviour, reason);
        } else if peer.gave_up {
            let reason = DisconnectReason::TimedOut;
            peer.begin_close(&mut parts.memory, context, now, CloseCause::Application, reason);
        } else if let Some(reason) = peer.finishing
            && peer.is_flushed(&mut parts.memory)
        {
            let reason = DisconnectReason::Closed(reason);
            peer.begin_close(&mut parts.memory, context, now, CloseCause::Application, reason);
        }
    }
    if matches!(peer.phase, Phase::Closed) && peer.is_listed {
        bowline_core::debug!("{:?} is over: {:?}", peer.id(link), peer.ended);
        peer.is_listed = false;
        context.hash.remove(parts.index, &parts.peers, link);
    }
}

impl Peer {
    /// Whether the session is open and nothing forebodes its end.
    #[inline]
    pub(crate) fn is_carefree(&self) -> bool {
        matches!(self.phase, Phase::Open)
            && !(self.misbehaved || self.gave_up || self.finishing.is_some())
    }

    /// Whether the application knows that the session is over, and the peer was answered.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.told_ended && !self.farewell_due
    }
}
