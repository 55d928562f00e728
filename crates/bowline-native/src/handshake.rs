//! Beginning sessions: cookies, both roles of the handshake, refusals, unconnected queries.

use bowline_core::serial::ahead32;
use bowline_core::{
    Address, BufferTooShort, CloseReason, DisconnectReason, DropReason, Instant, Link, PeerId,
    RefuseReason, Transmit,
};
use bowline_crypto::KeyedMac;
use bowline_transport::run::Cursor;
use bowline_wire::native::{COOKIE_LEN, HELLO_MIN, Handshake, Parameters, RefuseCode, VERSION};

use crate::config::{Accept, Config};
use crate::endpoint::{ConnectError, Context, Endpoint, UnknownPeer, find, refuse_code};
use crate::peer::{Peer, Phase};
use crate::receive::{Failed, Packet};
use crate::reply::{Reply, ReplyKind};
use crate::storage::{Memory, Need, Storage};

/// How long a cookie is good for, in ticks: 10 s.
const COOKIE_TICKS: u32 = 152;
/// What a CONNECT takes at most besides its payload, in bytes.
const CONNECT_LEN: usize = 68;
/// Longest answer to an unconnected query, in bytes.
pub const INFO_LEN_MAX: usize = 64;
/// Bytes of an ANSWER besides its payload.
const ANSWER_LEN: usize = 14;

/// Makes and checks cookies, and remembers none.
#[derive(Debug)]
pub(crate) struct Cookies {
    pub(crate) mac: &'static dyn KeyedMac,
    pub(crate) key: [u8; 16],
}

impl Cookies {
    fn tag(&self, address: &Address, client_half: u64, application: u64, issued: u32) -> u64 {
        let mut message = [0; 44];
        let parts = address
            .to_bytes()
            .into_iter()
            .chain(client_half.to_be_bytes())
            .chain(application.to_be_bytes())
            .chain(issued.to_be_bytes());
        message.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        self.mac.mac(&self.key, &message)
    }

    fn issue(
        &self,
        now: Instant,
        address: &Address,
        client_half: u64,
        application: u64,
    ) -> [u8; COOKIE_LEN] {
        let issued = ticks(now);
        let tag = self.tag(address, client_half, application, issued);
        let mut cookie = [0; COOKIE_LEN];
        let bytes = issued.to_be_bytes().into_iter().chain(tag.to_be_bytes());
        cookie.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        cookie
    }

    /// When the cookie was issued, if it is genuine and has not expired.
    fn check(
        &self,
        now: Instant,
        address: &Address,
        client_half: u64,
        application: u64,
        cookie: &[u8; COOKIE_LEN],
    ) -> Option<u32> {
        let (issued, tag) = cookie.split_first_chunk::<4>()?;
        let issued = u32::from_be_bytes(*issued);
        let expected = self.tag(address, client_half, application, issued).to_be_bytes();
        // No early exit: how much of a guess is right must not show in the time it takes.
        if cfg!(bowline_mutant = "skip_cookie") {
            return Some(issued);
        }
        let differs = tag.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
        (differs == 0 && ticks(now).wrapping_sub(issued) <= COOKIE_TICKS).then_some(issued)
    }
}

/// Time in units of 65.536 ms, in which attempts can be told apart; wraps after nine years.
fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> 16) as u32
}

/// What this endpoint tells whoever asks, without a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    bytes: heapless::Vec<u8, INFO_LEN_MAX>,
    set: bool,
}

/// What somebody answered to an unconnected query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who answered.
    pub from: Address,
    /// What.
    pub bytes: heapless::Vec<u8, INFO_LEN_MAX>,
    pub(crate) untold: bool,
}

impl<S: Storage> Endpoint<S> {
    /// Begins a *plain* session with `to`; [`bowline_core::Event::Connected`] or
    /// [`bowline_core::Event::Disconnected`] will tell what came of it.
    ///
    /// `payload` is for the other side's application ([`Self::connect_payload`]): a name, a ticket.
    /// It is readable on the way, and repeated until answered.
    ///
    /// # Errors
    ///
    /// Nothing was begun.
    pub fn connect_plain(
        &mut self,
        now: Instant,
        to: Address,
        payload: &[u8],
    ) -> Result<PeerId, ConnectError> {
        let now = self.enter(now);
        let max = usize::from(self.context.config.datagram_max).saturating_sub(CONNECT_LEN);
        if payload.len() > max {
            return Err(ConnectError::PayloadTooLong { len: payload.len(), max });
        }
        let parts = self.storage.parts();
        if let Some(link) = self.context.hash.find(parts.index, &parts.peers, &to) {
            let id = PeerId::new(link.index() as u32, parts.peers[link].generation);
            return Err(ConnectError::AlreadyConnected(id));
        }
        let link = self.begin_session(to).ok_or(ConnectError::Full)?;
        if !self.keep_payload(link, payload) {
            self.abort_session(link);
            return Err(ConnectError::Full);
        }
        let client_half = self.context.random.next_u64();
        let give_up_at = self.context.clock.attended(now) + self.context.config.connect_timeout;
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        peer.is_client = true;
        peer.client_half = client_half;
        peer.phase = Phase::Hello;
        peer.repeat_at = now;
        peer.give_up_at = give_up_at;
        let id = PeerId::new(link.index() as u32, peer.generation);
        self.settle(now, link);
        Ok(id)
    }

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
            peer.payload.front().read(&parts.memory.pool, out);
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
        self.statistics.sessions = self.statistics.sessions.wrapping_add(1);
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

    /// Sets what this endpoint answers to unconnected queries; nothing, if `info` is none.
    ///
    /// Returns false, and changes nothing, if it is longer than [`INFO_LEN_MAX`] bytes. It is
    /// sent only to queries that are at least as long as the answer.
    pub fn set_info(&mut self, info: Option<&[u8]>) -> bool {
        let Ok(bytes) = heapless::Vec::from_slice(info.unwrap_or_default()) else { return false };
        self.info = Info { bytes, set: info.is_some() };
        true
    }

    /// Asks whoever is at `to` for its info, without a session; [`bowline_core::Event::Answered`]
    /// tells when one has come. `to` may be a broadcast address.
    ///
    /// Returns whether there was room to queue the query. Only answers to queries since the last
    /// call of [`Self::end_queries`] count.
    pub fn query(&mut self, now: Instant, to: Address) -> bool {
        self.enter(now);
        let nonce = match self.query {
            Some(nonce) => nonce,
            None => self.context.random.next_u64(),
        };
        self.query = Some(nonce);
        if self.storage.parts().replies.is_empty() {
            self.grow_peers();
        }
        self.queue_reply(Reply { to, kind: ReplyKind::Query { nonce } })
    }

    /// Answers to earlier queries are no longer of interest.
    pub fn end_queries(&mut self) {
        (self.query, self.answer) = (None, None);
    }

    /// The answer that [`bowline_core::Event::Answered`] told of. Others are dropped until it is taken.
    pub const fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
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

    fn queue_reply(&mut self, reply: Reply) -> bool {
        let parts = self.storage.parts();
        let fits = self.replies.push(parts.replies, reply);
        if !fits {
            self.statistics.replies_dropped = self.statistics.replies_dropped.wrapping_add(1);
        }
        fits
    }

    fn grow_peers(&mut self) -> bool {
        let before = self.storage.parts().replies.len();
        let grew = self.storage.grow(Need::Peer);
        if grew {
            let parts = self.storage.parts();
            self.replies.on_grown(parts.replies, before);
            self.context.hash.rebuild(parts.index, &parts.peers);
        }
        grew
    }

    /// Takes a slot for a session with `address`, and what it is promised.
    fn begin_session(&mut self, address: Address) -> Option<Link> {
        if self.storage.parts().peers.vacant() == 0 {
            self.grow_peers();
        }
        let mut parts = self.storage.parts();
        let link = parts.peers.take(&mut self.peers_quota)?;
        let peer = &mut parts.peers[link];
        if !peer.promise(&mut parts.memory, &self.context.promise) {
            parts.peers.give(&mut self.peers_quota, link);
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        peer.generation = self.generation;
        peer.address = address;
        peer.phase = Phase::Asked;
        peer.is_listed = true;
        peer.integrity = self.context.config.integrity;
        let initial = self.context.random.next_u32();
        peer.initial_out = self.context.config.initial.unwrap_or(initial);
        if self.context.config.connection_ids {
            let high = u64::from(self.context.random.next_u32()) << self.context.slot_bits;
            peer.own_id = Some(high as u32 | link.index() as u32);
        }
        self.context.hash.insert(parts.index, &parts.peers, link);
        Some(link)
    }

    fn abort_session(&mut self, link: Link) {
        let mut parts = self.storage.parts();
        self.context.hash.remove(parts.index, &parts.peers, link);
        parts.peers[link].vacate(&mut parts.memory, link.index());
        parts.peers.give(&mut self.peers_quota, link);
    }

    /// Copies a connect payload into the session's memory.
    fn keep_payload(&mut self, link: Link, payload: &[u8]) -> bool {
        let parts = self.storage.parts();
        let needed = parts.memory.pool.blocks_for(payload.len());
        if needed > parts.memory.pool.vacant() {
            self.storage.grow(Need::Blocks(needed));
        }
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        if needed > parts.memory.pool.available(&peer.send_blocks) {
            return false;
        }
        peer.payload_len = payload.len() as u16;
        peer.payload.append(&mut parts.memory.pool, &mut peer.send_blocks, payload)
    }

    pub(crate) fn handle_handshake(
        &mut self,
        now: Instant,
        from: &Address,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let handshake = Handshake::parse(datagram).map_err(bowline_wire::Malformed::drop_reason)?;
        match handshake {
            Handshake::Hello { version, application, client_half, .. } => {
                self.on_hello(from, version, application, client_half)
            }
            Handshake::Challenge { client_half, cookie } => {
                let link = self.find_attempt(from, client_half)?;
                let mut parts = self.storage.parts();
                let peer = &mut parts.peers[link];
                if !matches!(peer.phase, Phase::Hello) {
                    return Err(DropReason::Duplicate);
                }
                (peer.phase, peer.tries, peer.repeat_at) = (Phase::Connect { cookie }, 0, now);
                self.settle(now, link);
                Ok(())
            }
            Handshake::Connect { application, client_half, cookie, parameters, payload } => {
                let own = self.context.config.application;
                let issued = self
                    .context
                    .cookies
                    .check(now, from, client_half, own, &cookie)
                    .filter(|_| application == own)
                    .ok_or(DropReason::BadCookie)?;
                self.on_connect(now, from, client_half, issued, &parameters, payload)
            }
            Handshake::Accept { client_half, server_half, parameters } => {
                self.on_accept(now, from, client_half, server_half, &parameters)
            }
            Handshake::Refuse { version, client_half, code, detail } => {
                let link = self.find_attempt(from, client_half)?;
                let reason = match code {
                    RefuseCode::Version => RefuseReason::Version(version),
                    RefuseCode::Application => RefuseReason::Application,
                    RefuseCode::Full => RefuseReason::Full,
                    RefuseCode::Limits => RefuseReason::Limits,
                    RefuseCode::ByApplication => RefuseReason::ByApplication(CloseReason(detail)),
                };
                let mut parts = self.storage.parts();
                let reason = DisconnectReason::Refused(reason);
                parts.peers[link].end(&mut parts.memory, reason);
                self.settle(now, link);
                Ok(())
            }
            Handshake::Query { application, nonce, len } => {
                let wanted = application == self.context.config.application && self.info.set;
                if !wanted || self.info.bytes.len() + ANSWER_LEN > len {
                    return Err(DropReason::Unexpected);
                }
                if self.storage.parts().replies.is_empty() {
                    self.grow_peers();
                }
                let kind = ReplyKind::Answer { nonce, room: len as u16 };
                self.queue_reply(Reply { to: *from, kind }).then_some(()).ok_or(DropReason::Full)
            }
            Handshake::Answer { nonce, payload } => {
                if self.query != Some(nonce) {
                    return Err(DropReason::Unexpected);
                }
                let bytes =
                    heapless::Vec::from_slice(payload).map_err(|_| DropReason::OverLimit)?;
                if self.answer.is_some() {
                    return Err(DropReason::Full);
                }
                self.answer = Some(Answer { from: *from, bytes, untold: true });
                Ok(())
            }
        }
    }

    fn on_hello(
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
        } else {
            (ReplyKind::Challenge { client_half }, Ok(()))
        };
        if !self.queue_reply(Reply { to: *from, kind }) {
            return Err(DropReason::Full);
        }
        outcome
    }

    /// The session with `from` that this side began with `client_half` and that has not begun yet.
    fn find_attempt(&mut self, from: &Address, client_half: u64) -> Result<Link, DropReason> {
        let parts = self.storage.parts();
        let link =
            self.context.hash.find(parts.index, &parts.peers, from).ok_or(DropReason::Stray)?;
        let peer = &parts.peers[link];
        let waits = matches!(peer.phase, Phase::Hello | Phase::Connect { .. });
        if !peer.is_client || peer.client_half != client_half {
            return Err(DropReason::Unexpected);
        }
        if waits { Ok(link) } else { Err(DropReason::Duplicate) }
    }

    fn on_connect(
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
            self.statistics.sessions = self.statistics.sessions.wrapping_add(1);
        }
        self.settle(now, link);
    }

    fn on_accept(
        &mut self,
        now: Instant,
        from: &Address,
        client_half: u64,
        server_half: u64,
        theirs: &Parameters,
    ) -> Result<(), DropReason> {
        let link = self.find_attempt(from, client_half)?;
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        // Also while this side asks for another cookie: the answer to the last one may have taken long.
        if theirs.integrity < self.context.config.integrity {
            return Err(DropReason::Malformed);
        }
        peer.server_half = server_half;
        // A CONNECT of the other side's that is no newer than this is a late copy.
        peer.issued = ticks(now).wrapping_add(1);
        peer.agree(&self.context.config, &self.context.clock, now, theirs);
        peer.forget_payload(&mut parts.memory);
        peer.open();
        peer.ping_due = true;
        self.statistics.sessions = self.statistics.sessions.wrapping_add(1);
        self.settle(now, link);
        Ok(())
    }

    /// Writes the oldest answer to a stranger.
    pub(crate) fn transmit_reply(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let parts = self.storage.parts();
        let Some(reply) = self.replies.front(parts.replies) else { return Ok(None) };
        let application = self.context.config.application;
        let (handshake, pad) = match reply.kind {
            ReplyKind::Challenge { client_half } => {
                let cookie = self.context.cookies.issue(now, &reply.to, client_half, application);
                (Handshake::Challenge { client_half, cookie }, 0)
            }
            ReplyKind::Refuse { client_half, code, detail } => {
                (Handshake::Refuse { version: VERSION, client_half, code, detail }, 0)
            }
            ReplyKind::Query { nonce } => {
                let len = INFO_LEN_MAX + ANSWER_LEN;
                (Handshake::Query { application, nonce, len }, len)
            }
            ReplyKind::Answer { nonce, room } => {
                let fits = self.info.bytes.len() + ANSWER_LEN <= usize::from(room);
                let payload = if fits { self.info.bytes.as_slice() } else { &[] };
                (Handshake::Answer { nonce, payload }, 0)
            }
        };
        let needed = INFO_LEN_MAX + ANSWER_LEN;
        let len = handshake.emit(pad, buf).map_err(|_| BufferTooShort { needed })?;
        self.replies.pop(parts.replies);
        self.statistics.datagrams_sent += 1;
        self.statistics.bytes_sent += len as u64;
        Ok(Some(Transmit { to: reply.to, len, segment_len: None, ecn: None }))
    }
}

impl Peer {
    /// Takes in a packet in whatever phase the session is.
    pub(crate) fn handle(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        slot: usize,
        packet: &Packet<'_>,
    ) -> Result<(), Failed> {
        match self.phase {
            Phase::Open | Phase::Closing { .. } => self.receive(memory, context, now, slot, packet),
            Phase::Vacant | Phase::Closed => Err(DropReason::Stray.into()),
            Phase::Hello | Phase::Connect { .. } | Phase::Asked => {
                Err(DropReason::Unexpected.into())
            }
        }
    }

    /// Writes the next datagram of the session and returns its length.
    pub(crate) fn poll_transmit(
        &mut self,
        memory: &mut Memory<'_>,
        context: &mut Context,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<usize>, BufferTooShort> {
        let limit = usize::from(context.config.datagram_max);
        let short = BufferTooShort { needed: limit };
        match self.phase {
            Phase::Hello => {
                let hello = Handshake::Hello {
                    version: VERSION,
                    application: context.config.application,
                    client_half: self.client_half,
                    len: HELLO_MIN,
                };
                let len = hello.emit(HELLO_MIN, buf).map_err(|_| short)?;
                self.next_attempt(now);
                Ok(Some(len))
            }
            Phase::Connect { cookie } => {
                let len = self.write_connect(memory, &context.config, cookie, buf).ok_or(short)?;
                self.next_attempt(now);
                Ok(Some(len))
            }
            Phase::Open if self.accept_due => {
                let accept = Handshake::Accept {
                    client_half: self.client_half,
                    server_half: self.server_half,
                    parameters: self.parameters(&context.config),
                };
                let len = accept.emit(0, buf).map_err(|_| short)?;
                self.accept_due = false;
                Ok(Some(len))
            }
            Phase::Vacant | Phase::Asked => Ok(None),
            Phase::Open | Phase::Closing { .. } | Phase::Closed => {
                self.transmit(memory, context, now, buf)
            }
        }
    }

    fn write_connect(
        &self,
        memory: &Memory<'_>,
        config: &Config,
        cookie: [u8; COOKIE_LEN],
        buf: &mut [u8],
    ) -> Option<usize> {
        let bare = Handshake::Connect {
            application: config.application,
            client_half: self.client_half,
            cookie,
            parameters: self.parameters(config),
            payload: &[],
        };
        let head = bare.emit(0, buf).ok()?.checked_sub(4)?;
        let len = head + usize::from(self.payload_len);
        let mut at: Cursor = self.payload.front();
        at.read(&memory.pool, buf.get_mut(head..len)?);
        let checksum = bowline_wire::checksum::crc32(buf.get(..len)?).to_be_bytes();
        *buf.get_mut(len..)?.first_chunk_mut()? = checksum;
        Some(len + 4)
    }

    /// A deadline of this session has passed.
    pub(crate) fn on_timeout(&mut self, memory: &mut Memory<'_>, context: &Context, now: Instant) {
        let attended = context.clock.attended(now);
        match self.phase {
            Phase::Vacant | Phase::Closed => {}
            Phase::Hello | Phase::Connect { .. } | Phase::Asked => {
                if self.give_up_at <= attended {
                    self.end(memory, DisconnectReason::ConnectTimedOut);
                }
            }
            Phase::Closing { tries, .. } => {
                let tried = self.repeat_at <= now && !Self::close_tries_left(tries);
                if tried || self.give_up_at <= attended {
                    self.phase = Phase::Closed;
                }
            }
            Phase::Open => self.on_open_timeout(memory, context, now, attended),
        }
    }

    fn on_open_timeout(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        attended: Instant,
    ) {
        let attended = if cfg!(bowline_mutant = "blame_the_absent") { now } else { attended };
        if self.liveness.poll_dead(attended) {
            self.end(memory, DisconnectReason::TimedOut);
            return;
        }
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_lost(memory, now);
        } else if self.loss_at.is_none() && !self.sent.is_empty() {
            let at = self.loss.probe_at(self.eliciting_at, &self.rtt, self.theirs.ack_delay);
            if at <= now {
                self.loss.on_probe_timeout();
                self.probe_due = true;
                // A client that was never heard may still wait for ACCEPT.
                self.accept_due |= !self.is_client && self.received.largest().is_none();
            }
        }
        if self.liveness.poll_ping(now) {
            // A probe that carries what the stream waits for, when its own time is still far.
            self.probe_due |= !self.sent.is_empty();
            self.ping_due |= self.sent.is_empty();
        }
        if self.reassembly.deadline().is_some_and(|at| at <= now) {
            let given_up = self.reassembly.expire(
                &mut bowline_transport::fragments::Memory {
                    slots: &mut memory.assemblies,
                    slot_quota: &mut self.assembly_quota,
                    pool: &mut memory.pool,
                    block_quota: &mut self.inbox_blocks,
                },
                &context.config.incomplete,
                now,
            );
            self.statistics.messages_incomplete =
                self.statistics.messages_incomplete.wrapping_add(given_up);
        }
    }
}
