//! Beginning sessions as the client.

use bowline_core::{
    Address, CloseReason, Code, Coded, DisconnectReason, DropReason, Instant, Link, PeerId,
    RefuseReason,
};
use bowline_transport::run::Cursor;
use bowline_wire::native::{COOKIE_LEN, Handshake, Parameters, RefuseCode};

use crate::config::Config;
use crate::cookies::ticks;
use crate::endpoint::Endpoint;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Storage};

/// What a CONNECT takes at most besides its payload, in bytes.
const CONNECT_LEN: usize = 69;

/// Why a connection could not be begun. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no memory for another session.
    Full,
    /// There is a session with this address.
    AlreadyConnected(PeerId),
    /// The payload does not fit a datagram.
    PayloadTooLong {
        /// Its length, in bytes.
        len: usize,
        /// The longest one, in bytes.
        max: usize,
    },
}

impl core::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => f.write_str("no memory for another session"),
            Self::AlreadyConnected(peer) => write!(f, "session {peer} has this address"),
            Self::PayloadTooLong { len, max } => {
                write!(f, "connect payload of {len} bytes is longer than {max}")
            }
        }
    }
}

impl core::error::Error for ConnectError {}

impl Coded for ConnectError {
    fn to_code(&self) -> Code {
        match *self {
            Self::Full => Code::bare(0),
            Self::AlreadyConnected(peer) => {
                Code::with(1, [peer.slot() as u64, peer.generation().into()])
            }
            Self::PayloadTooLong { len, max } => Code::with(2, [len as u64, max as u64]),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [a, b, ..] = code.details;
        let made = match code.kind {
            0 => Self::Full,
            1 => Self::AlreadyConnected(PeerId::new(a as u32, b as u32)),
            2 => Self::PayloadTooLong { len: a as usize, max: b as usize },
            _ => return None,
        };
        (made.to_code() == code).then_some(made)
    }
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
            let id = parts.peers[link].id(link);
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
        let id = peer.id(link);
        self.settle(now, link);
        Ok(id)
    }

    pub(crate) fn on_challenge(
        &mut self,
        now: Instant,
        from: &Address,
        client_half: u64,
        cookie: [u8; COOKIE_LEN],
    ) -> Result<(), DropReason> {
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

    pub(crate) fn on_accept(
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
        self.on_begun(link);
        self.settle(now, link);
        Ok(())
    }

    pub(crate) fn on_refuse(
        &mut self,
        now: Instant,
        from: &Address,
        version: u8,
        client_half: u64,
        (code, detail): (RefuseCode, u32),
    ) -> Result<(), DropReason> {
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
}

impl Peer {
    pub(crate) fn write_connect(
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
        let mut at = Cursor::at(self.payload, 0);
        at.read(&memory.pool, buf.get_mut(head..len)?);
        let checksum = bowline_wire::checksum::crc32(buf.get(..len)?).to_be_bytes();
        *buf.get_mut(len..)?.first_chunk_mut()? = checksum;
        Some(len + 4)
    }
}
