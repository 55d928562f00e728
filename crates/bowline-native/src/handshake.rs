//! Datagrams of the handshake: who they are for, and which goes out next.

use bowline_core::{Address, BufferTooShort, DropReason, Duration, Instant, Transmit};
use bowline_wire::native::{HELLO_MIN, Handshake, VERSION};

use crate::endpoint::{Context, Endpoint};
use crate::peer::{Peer, Phase};
use crate::query::{ANSWER_LEN, INFO_LEN_MAX};
use crate::receive::{Failed, Packet};
use crate::reply::{Reply, ReplyKind};
use crate::storage::{Memory, Storage};

/// Attempts of CONNECT, over about 5 s, after which the cookie may have expired.
const COOKIE_TRIES: u8 = 4;

/// Time between the first two attempts of a handshake datagram; it doubles from there.
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(250);

impl<S: Storage> Endpoint<S> {
    pub(crate) fn handle_handshake(
        &mut self,
        now: Instant,
        from: &Address,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let handshake = Handshake::parse(datagram).map_err(bowline_wire::Malformed::drop_reason)?;
        let asks = matches!(
            handshake,
            Handshake::Hello { .. } | Handshake::Connect { .. } | Handshake::Query { .. }
        );
        if asks {
            self.admit(now, from)?;
        }
        match handshake {
            Handshake::Hello { version, application, client_half, .. } => {
                self.on_hello(from, version, application, client_half)
            }
            Handshake::Challenge { client_half, cookie } => {
                self.on_challenge(now, from, client_half, cookie)
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
                self.on_refuse(now, from, version, client_half, (code, detail))
            }
            Handshake::Query { application, nonce, len } => {
                self.on_query(from, application, nonce, len)
            }
            Handshake::Answer { nonce, payload } => self.on_answer(from, nonce, payload),
        }
    }

    pub(crate) fn queue_reply(&mut self, reply: Reply) -> bool {
        let parts = self.storage.parts();
        let fits = self.replies.push(parts.replies, reply);
        if !fits {
            self.statistics.replies_dropped = self.statistics.replies_dropped.wrapping_add(1);
        }
        fits
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
        packet: &Packet<'_>,
    ) -> Result<(), Failed> {
        match self.phase {
            Phase::Open | Phase::Closing { .. } => self.receive(memory, context, now, packet),
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

    /// When the next attempt of a handshake datagram is due.
    pub(crate) fn next_attempt(&mut self, now: Instant) {
        if self.tries >= COOKIE_TRIES && matches!(self.phase, Phase::Connect { .. }) {
            self.phase = Phase::Hello;
        }
        let doublings = u32::from(self.tries.min(3));
        self.tries = self.tries.saturating_add(1);
        self.repeat_at = now + HANDSHAKE_INTERVAL.saturating_mul(1 << doublings);
    }
}
