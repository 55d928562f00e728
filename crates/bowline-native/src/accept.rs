//! Beginning sessions as the server.

use bowline_core::serial::ahead32;
use bowline_core::{
    Address, CloseReason, DisconnectReason, DropReason, Instant, Link, PeerId, RefuseReason,
};
use bowline_transport::run::Cursor;
use bowline_wire::native::{Parameters, RefuseCode, VERSION};

use crate::config::Accept;
use crate::endpoint::{Endpoint, UnknownPeer, find};
use crate::peer::Phase;
use crate::reply::{Reply, ReplyKind};
use crate::storage::Storage;

impl<S: Storage> Endpoint<S> {
    /// What the other side's application sent along with its request for this session.
    ///
    /// Copies as much as `out` holds and returns its whole length; 0 when there was none, and for
    /// sessions that this side began. Kept from [`bowline_core::Event::Asked`] on until the first call of
    /// `poll_event` after the one that answered [`bowline_core::Event::Connected`].
    pub fn connect_payload(&mut self, peer: PeerId, out: &mut [u8]) -> usize {
        let parts = self.storage.parts();
        let Some(link) = find(&parts.peers, peer) else { return 0 };
        let peer = &parts.peers[link];
        if peer.is_client {
            return 0;
        }
        let len = usize::from(peer.payload_len);
        if let Some(out) = out.get_mut(..len.min(out.len())) {
            Cursor::at(peer.payload, 0).read(&parts.memory.pool, out);
        }
        len
    }

    /// Lets somebody in who asked ([`Accept::Ask`]).
    ///
    /// # Errors
    ///
    /// When there is no such session, or it was not asked for.
    pub fn accept(&mut self, now: Instant, peer: PeerId) -> Result<(), UnknownPeer> {
        let now = self.enter(now);
        let mut parts = self.storage.parts();
        let link = find(&parts.peers, peer).ok_or(UnknownPeer)?;
        let peer = &mut parts.peers[link];
        if !matches!(peer.phase, Phase::Asked) {
            return Err(UnknownPeer);
        }
        peer.liveness.on_heard(self.context.clock.attended(now));
        peer.open();
        peer.accept_due = true;
        self.on_begun(link);
        self.settle(now, link);
        Ok(())
    }

    /// Turns somebody away who asked ([`Accept::Ask`]), and tells why.
    ///
    /// # Errors
    ///
    /// When there is no such session, or it was not asked for.
    pub fn refuse(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        let now = self.enter(now);
        let parts = self.storage.parts();
        let link = find(&parts.peers, peer).ok_or(UnknownPeer)?;
        if !matches!(parts.peers[link].phase, Phase::Asked) {
            return Err(UnknownPeer);
        }
        let ended = DisconnectReason::Closed(reason);
        self.refuse_link(now, link, RefuseReason::ByApplication(reason), ended);
        self.settle(now, link);
        Ok(())
    }

    pub(crate) fn refuse_link(
        &mut self,
        now: Instant,
        link: Link,
        reason: RefuseReason,
        ended: DisconnectReason,
    ) {
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        let (to, client_half) = (peer.address, peer.client_half);
        peer.end(&mut parts.memory, ended);
        let (code, detail) = refuse_code(reason);
        self.queue_reply(Reply { to, kind: ReplyKind::Refuse { client_half, code, detail } });
        self.settle(now, link);
    }

    pub(crate) fn on_hello(
        &mut self,
        from: &Address,
        version: u8,
        application: u64,
        client_half: u64,
    ) -> Result<(), DropReason> {
        if self.context.config.accept == Accept::Never {
            return Err(DropReason::Unexpected);
        }
        if self.storage.parts().replies.is_empty() {
            self.grow_peers();
        }
        let refuse = |code| ReplyKind::Refuse { client_half, code, detail: 0 };
        let (kind, outcome) = if version != VERSION {
            (refuse(RefuseCode::Version), Err(DropReason::UnknownVersion))
        } else if application != self.context.config.application {
            (refuse(RefuseCode::Application), Err(DropReason::WrongApplication))
        } else if self.draining {
            (refuse(RefuseCode::Full), Err(DropReason::Draining))
        } else {
            (ReplyKind::Challenge { client_half }, Ok(()))
        };
        if !self.queue_reply(Reply { to: *from, kind }) {
            return Err(DropReason::Full);
        }
        outcome
    }

    pub(crate) fn on_connect(
        &mut self,
        now: Instant,
        from: &Address,
        client_half: u64,
        issued: u32,
        theirs: &Parameters,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        if self.context.config.accept == Accept::Never {
            return Err(DropReason::Unexpected);
        }
        let parts = self.storage.parts();
        let known = self.context.hash.find(parts.index, &parts.peers, from);
        if let Some(link) = known {
            let peer = &parts.peers[link];
            if peer.client_half == client_half && !peer.is_client {
                return self.repeat_accept(now, link);
            }
            let attempt = matches!(peer.phase, Phase::Hello | Phase::Connect { .. });
            // Both sides called each other: the attempt with the smaller half stands.
            if attempt && peer.client_half < client_half {
                return Err(DropReason::Unexpected);
            }
            if attempt {
                return self.turn_around(now, link, client_half, issued, theirs, payload);
            }
            if ahead32(issued, peer.issued) < 0 {
                return Err(DropReason::Stale);
            }
            self.replace(now, link);
        }
        let closed = if self.draining {
            Some(DropReason::Draining)
        } else {
            (!self.has_source_room(from)).then_some(DropReason::RateLimited)
        };
        if let Some(reason) = closed {
            let kind = ReplyKind::Refuse { client_half, code: RefuseCode::Full, detail: 0 };
            self.queue_reply(Reply { to: *from, kind });
            return Err(reason);
        }
        let Some(link) = self.begin_session(*from) else {
            if known.is_some() {
                // Its old session may have the last place, until the application has heard of its end.
                return Err(DropReason::Full);
            }
            let kind = ReplyKind::Refuse { client_half, code: RefuseCode::Full, detail: 0 };
            self.queue_reply(Reply { to: *from, kind });
            return Err(DropReason::Full);
        };
        if !self.keep_payload(link, payload) {
            self.abort_session(link);
            return Err(DropReason::Full);
        }
        self.count_session(link);
        self.become_server(now, link, client_half, issued, theirs);
        Ok(())
    }

    fn repeat_accept(&mut self, now: Instant, link: Link) -> Result<(), DropReason> {
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        if !matches!(peer.phase, Phase::Open) {
            return Err(DropReason::Duplicate);
        }
        peer.accept_due = true;
        self.settle(now, link);
        Ok(())
    }

    /// Our own attempt gives way to that of the other side, under the same peer id.
    fn turn_around(
        &mut self,
        now: Instant,
        link: Link,
        client_half: u64,
        issued: u32,
        theirs: &Parameters,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let mut parts = self.storage.parts();
        parts.peers[link].clear_sending(&mut parts.memory);
        parts.peers[link].forget_payload(&mut parts.memory);
        if !self.keep_payload(link, payload) {
            return Err(DropReason::Full);
        }
        self.become_server(now, link, client_half, issued, theirs);
        Ok(())
    }

    /// The client of a session begins anew: the old session is over.
    fn replace(&mut self, now: Instant, link: Link) {
        let mut parts = self.storage.parts();
        parts.peers[link].end(&mut parts.memory, DisconnectReason::Replaced);
        self.uncount_session(link);
        self.settle(now, link);
    }

    fn become_server(
        &mut self,
        now: Instant,
        link: Link,
        client_half: u64,
        issued: u32,
        theirs: &Parameters,
    ) {
        let server_half = self.context.random.next_u64();
        let asks = self.context.config.accept == Accept::Ask;
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        let was_attempt = peer.is_client;
        peer.is_client = false;
        peer.client_half = client_half;
        peer.server_half = server_half;
        peer.issued = issued;
        peer.agree(&self.context.config, &self.context.clock, now, theirs);
        if asks && !was_attempt {
            peer.phase = Phase::Asked;
            peer.tell_asked = true;
            peer.repeat_at = Instant::MAX;
            peer.give_up_at =
                self.context.clock.attended(now) + self.context.config.connect_timeout;
        } else {
            peer.open();
            peer.accept_due = true;
            self.on_begun(link);
        }
        self.settle(now, link);
    }
}

/// What a refusal says on the wire.
const fn refuse_code(reason: RefuseReason) -> (RefuseCode, u32) {
    match reason {
        RefuseReason::Version(_) => (RefuseCode::Version, 0),
        RefuseReason::Application => (RefuseCode::Application, 0),
        RefuseReason::Limits => (RefuseCode::Limits, 0),
        RefuseReason::ByApplication(reason) => (RefuseCode::ByApplication, reason.0),
        _ => (RefuseCode::Full, 0),
    }
}
