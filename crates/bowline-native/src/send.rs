//! Taking a message in from the application.

use bowline_core::{Link, Mode, Outgoing, PeerId, SendError};
use bowline_transport::run::encode_prefix;

use crate::domain::Lane;
use crate::endpoint::{Context, find};
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
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        Self::Error(error)
    }
}

impl Parts<'_> {
    /// Queues a short message of one piece where there is nothing to do but copy it: its session and
    /// domain are in line to be sent, and it fits into the domain's last block.
    ///
    /// Whatever else there is to do, or to refuse, is for [`Peer::send`].
    #[inline]
    pub(crate) fn send_short(&mut self, to: PeerId, message: &Outgoing<'_>) -> bool {
        let &[piece] = message.pieces else { return false };
        let Some(link) = find(self, to) else { return false };
        let peer = &mut self.peers[link];
        if !peer.is_active() || !peer.is_carefree() || !message.is_plain() {
            return false;
        }
        let known = self.memory.domain(link.index(), message.channel.0, message.mode);
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
}

impl Peer {
    /// Queues a message, all or nothing.
    pub(crate) fn send(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        slot: usize,
        message: &Outgoing<'_>,
    ) -> Result<(), Refused> {
        let len = message.len();
        self.check_message(memory, context, message, len)?;
        let link = self
            .domain(memory, &context.config, slot, message.channel, message.mode)
            .map_err(Refused::Short)?;
        let (bytes, prefix_len) = encode_prefix(len);
        let prefix = bytes.get(..prefix_len).unwrap_or_default();
        let needed = self.blocks_needed(memory, link, prefix_len + len);
        if needed > 0 {
            self.check_room(memory, context, needed)?;
        }
        let domain = &mut memory.domains[link];
        let (pool, quota) = (&mut memory.pool, &mut self.send_blocks);
        match &mut domain.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                out.append(pool, quota, prefix);
                message.pieces.iter().for_each(|piece| out.append(pool, quota, piece));
            }
            Lane::Reliable { out, .. } => {
                out.append(pool, quota, prefix);
                message.pieces.iter().for_each(|piece| out.append(pool, quota, piece));
            }
        }
        if domain.is_pending() {
            self.pending.push(&mut memory.domains, link);
        }
        self.statistics.messages_sent = self.statistics.messages_sent.wrapping_add(1);
        Ok(())
    }

    fn check_message(
        &self,
        memory: &Memory<'_>,
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
        if message.tag.is_some() || message.time_to_live.is_some() || message.key.is_some() {
            return Err(SendError::Unsupported);
        }
        let max = self.message_max(memory, context, message.mode).ok_or(SendError::Unsupported)?;
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        Ok(())
    }

    /// Longest message that this side's memory and the other side take in this mode, in bytes.
    pub(crate) fn message_max(
        &self,
        memory: &Memory<'_>,
        context: &Context,
        mode: Mode,
    ) -> Option<usize> {
        let theirs = match mode {
            Mode::Unreliable => self.theirs.unreliable_max,
            Mode::UnreliableOrdered => self.theirs.ordered_max,
            Mode::Reliable => self.theirs.reliable_max,
            Mode::ReliableUnordered | Mode::ReliableLatest => return None,
        };
        let block_len = memory.pool.block_len();
        let most = context.config.send_max as usize / block_len.max(1);
        // What can be had in the end, whatever windows have grown.
        let own = (context.send_blocks + context.promise.send_blocks) as usize;
        Some((theirs as usize).min((most.min(own) * block_len).saturating_sub(4)))
    }

    fn blocks_needed(&self, memory: &Memory<'_>, link: Link, len: usize) -> u32 {
        let needed = match &memory.domains[link].lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                out.blocks_needed(&memory.pool, len)
            }
            Lane::Reliable { out, .. } => out.blocks_needed(&memory.pool, len),
        };
        needed as u32
    }

    /// Whether this peer may take `needed` more blocks for what it sends.
    fn check_room(
        &self,
        memory: &Memory<'_>,
        context: &Context,
        needed: u32,
    ) -> Result<(), Refused> {
        if !self.has_send_room(memory, context, needed) {
            return Err(Refused::Full { blocks: needed });
        }
        if needed as usize > memory.pool.vacant() {
            return Err(Refused::Short(Need::Blocks(needed as usize)));
        }
        Ok(())
    }

    /// Whether limits and promises allow `needed` more blocks for what this peer sends.
    ///
    /// What is sent never takes what a long message needs that has begun to arrive: two sides that
    /// fill their memory with messages to each other would wait for each other for ever.
    pub(crate) fn has_send_room(
        &self,
        memory: &Memory<'_>,
        context: &Context,
        needed: u32,
    ) -> bool {
        let block_len = memory.pool.block_len().max(1) as u32;
        let most = (context.config.send_max / block_len).max(1);
        let ledger = memory.pool.ledger();
        let own = ledger.available(&self.send_blocks) - ledger.common();
        let common = ledger.common().saturating_sub(context.long_blocks);
        self.send_blocks.held() + needed <= most && needed <= own + common
    }
}
