//! Taking a message in from the application.

use bowline_core::{Mode, Outgoing, PeerId, Pool, SendError};
use bowline_transport::reliable::loose::KEY_LEN;
use bowline_transport::run::encode_prefix;

use crate::endpoint::{Context, find};
use crate::lines::Lines;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Need, Parts};

/// Why a message was not taken in, or what is missing for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    Error(SendError),
    /// The storage may have more of this.
    Short(Need),
    /// All that this peer may have is taken.
    Full {
        blocks: u32,
    },
    /// It has as many messages with an outcome, a deadline or a key as it may.
    FullOfTickets,
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        Self::Error(error)
    }
}

impl Parts<'_> {
    /// Queues a short message of one piece where there is nothing to do but copy it: its session and
    /// domain are in line to be sent, and it fits into the last block of what waits there.
    ///
    /// Otherwise [`Self::send_anew`] may do, and [`Peer::send`] does whatever there is to do.
    #[inline]
    pub(crate) fn send_short(&mut self, to: PeerId, message: &Outgoing<'_>) -> bool {
        let &[piece] = message.pieces else { return false };
        let Some(link) = find(&self.peers, to) else { return false };
        let peer = &mut self.peers[link];
        if !peer.is_active() || !peer.is_carefree() || !message.is_plain() {
            return false;
        }
        let known = self.memory.table.find(peer.row, message.channel.0, message.mode);
        let Some(domain) = known.map(|domain| &mut self.memory.domains[domain]) else {
            return false;
        };
        let sent = domain.is_queued()
            && piece.len() <= usize::from(peer.theirs.short_max)
            && domain.append_short(&mut self.memory.pool, piece);
        if sent {
            peer.statistics.messages_sent = peer.statistics.messages_sent.wrapping_add(1);
        }
        sent
    }

    /// Queues a short message of one piece for an open domain, in its last block or a new one, and puts
    /// domain and session in line: the first message of a tick.
    ///
    /// Memory is taken apart here so that only what is used of it costs anything.
    #[inline]
    pub(crate) fn send_anew(
        self,
        lines: &mut Lines,
        context: &Context,
        to: PeerId,
        message: &Outgoing<'_>,
    ) -> bool {
        let Self { mut peers, memory, .. } = self;
        let &[piece] = message.pieces else { return false };
        let Some(link) = find(&peers, to) else { return false };
        let known = memory.table.find(peers[link].row, message.channel.0, message.mode);
        let Some(known) = known else { return false };
        let Memory { mut domains, mut pool, .. } = memory;
        let (peer, domain) = (&mut peers[link], &mut domains[known]);
        let sent = peer.is_carefree()
            && message.is_plain()
            && piece.len() <= usize::from(peer.theirs.short_max)
            && (domain.append_short(&mut pool, piece)
                || peer.has_send_room(&pool, context, 1)
                    && domain.append_short_anew(&mut pool, &mut peer.send_blocks, piece));
        if !sent {
            return false;
        }
        peer.statistics.messages_sent = peer.statistics.messages_sent.wrapping_add(1);
        if !domain.is_queued() && domain.is_pending() {
            peer.line.push(&mut domains, known);
        }
        if !peer.is_active() {
            lines.active.push(&mut peers, link);
        }
        true
    }
}

impl Peer {
    /// Queues a message, all or nothing.
    pub(crate) fn send(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        message: &Outgoing<'_>,
    ) -> Result<(), Refused> {
        let len = message.len();
        self.check_message(context, message, len)?;
        let link = self
            .domain(memory, &context.config, message.channel, message.mode)
            .map_err(Refused::Short)?;
        let key = message.key.map(u32::to_be_bytes);
        let key = key.as_ref().map_or(&[][..], |key| key);
        let (bytes, prefix_len) = encode_prefix(key.len() + len);
        let prefix = bytes.get(..prefix_len).unwrap_or_default();
        let whole = prefix_len + key.len() + len;
        let needed = memory.domains[link].blocks_needed(&memory.pool, whole) as u32;
        let place = self.place_of_older(memory, link, message, whole);
        if needed > 0 && place.is_none() {
            self.check_room(&memory.pool, context, needed)?;
        }
        let ticket = self.take_ticket(memory, context.config.tickets_max, message)?;
        if let Some(ticket) = ticket
            && message.key.is_some()
            && self.supersede(memory, context.now, link, ticket, message, (place, whole))
        {
            self.statistics.messages_sent = self.statistics.messages_sent.wrapping_add(1);
            return Ok(());
        }
        let domain = &mut memory.domains[link];
        let start = domain.end();
        let (pool, quota) = (&mut memory.pool, &mut self.send_blocks);
        domain.append(pool, quota, prefix);
        domain.append(pool, quota, key);
        message.pieces.iter().for_each(|piece| domain.append(pool, quota, piece));
        if let Some(ticket) = ticket {
            self.attach(memory, context.now, link, ticket, message, start);
        }
        if memory.domains[link].is_pending() {
            self.line.push(&mut memory.domains, link);
        }
        self.statistics.messages_sent = self.statistics.messages_sent.wrapping_add(1);
        Ok(())
    }

    fn check_message(
        &self,
        context: &Context,
        message: &Outgoing<'_>,
        len: usize,
    ) -> Result<(), SendError> {
        match self.phase {
            Phase::Open => {}
            Phase::Vacant => return Err(SendError::UnknownPeer),
            Phase::Closing { .. } | Phase::Closed => return Err(SendError::Closing),
            Phase::Hello | Phase::Connect { .. } | Phase::Asked => {
                return Err(SendError::NotConnected);
            }
        }
        if self.finishing.is_some() {
            return Err(SendError::Closing);
        }
        if u16::from(message.channel.0) >= self.theirs.channels {
            return Err(SendError::ChannelNotOpen { count: self.theirs.channels });
        }
        if message.key.is_some() != (message.mode == Mode::ReliableLatest) {
            return Err(SendError::Key);
        }
        let max = self.message_max(context, message.mode).ok_or(SendError::Unsupported)?;
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        Ok(())
    }

    /// Longest message that this side's memory and the other side take in this mode, in bytes.
    pub(crate) fn message_max(&self, context: &Context, mode: Mode) -> Option<usize> {
        let theirs = match mode {
            Mode::Unreliable => self.theirs.unreliable_max,
            Mode::UnreliableOrdered => self.theirs.ordered_max,
            Mode::Reliable => self.theirs.reliable_max,
            Mode::ReliableUnordered | Mode::ReliableLatest
                if self.theirs.loose_credit == 0 || context.config.loose_credit == 0 =>
            {
                return None;
            }
            Mode::ReliableUnordered | Mode::ReliableLatest => self.theirs.reliable_max,
        };
        let max = (theirs as usize).min(context.message_max);
        if mode == Mode::ReliableLatest { max.checked_sub(KEY_LEN) } else { Some(max) }
    }

    /// Whether this peer may take `needed` more blocks for what it sends.
    fn check_room(&self, pool: &Pool<'_>, context: &Context, needed: u32) -> Result<(), Refused> {
        if !self.has_send_room(pool, context, needed) {
            return Err(Refused::Full { blocks: needed });
        }
        if needed as usize > pool.vacant() {
            return Err(Refused::Short(Need::Blocks(needed as usize)));
        }
        Ok(())
    }

    /// Whether limits and promises allow `needed` more blocks for what this peer sends.
    ///
    /// What is sent never takes what a long message needs that has begun to arrive: two sides that
    /// fill their memory with messages to each other would wait for each other for ever.
    pub(crate) fn has_send_room(&self, pool: &Pool<'_>, context: &Context, needed: u32) -> bool {
        let ledger = pool.ledger();
        let own = ledger.available(&self.send_blocks) - ledger.common();
        let common = ledger.common().saturating_sub(context.long_blocks);
        self.send_blocks.held() + needed <= context.send_blocks_max && needed <= own + common
    }
}
