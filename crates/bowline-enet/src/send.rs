//! Sending packets: how they are cut, and what goes along with them.

use bowline_core::{Address, ChannelId, Instant, PeerId, Pool, SendError, Slot};
use bowline_wire::enet::{Command, Fragment, MAX_FRAGMENTS, Throttle};

use crate::command::Queued;
use crate::compression::Compression;
use crate::config::Config;
use crate::flags::Flags;
use crate::host::{Host, Shared, UnknownPeer, Work};
use crate::peer::{PING_INTERVAL, PING_INTERVAL_MAX, Peer, State, Timeout, Wanted};
use crate::queue::{Full, Lent, Packet, Pieces};
use crate::statistics::PeerStatistics;
use crate::storage::{Memory, Need, Parts, Storage};

/// Bytes of header and fragment that a payload must leave in a datagram.
const FRAGMENT_OVERHEAD: u32 = 4 + 24;
/// The longest command without a payload, in bytes.
const FIXED_MAX: usize = 24;
/// How many peers that wait for memory are asked at a time.
const UNBLOCKED_MAX: usize = 32;

/// How a packet is to be sent.
struct Plan {
    /// Longest payload of a command, in bytes.
    limit: u32,
    /// How many commands it takes.
    count: u32,
    /// How many blocks it takes at most.
    blocks: usize,
    /// More is queued than may be.
    is_over: bool,
}

impl Peer {
    /// The longest payload of a command, in bytes.
    #[inline]
    const fn payload_max(&self, config: &Config) -> usize {
        let overhead = FRAGMENT_OVERHEAD + config.checksum.wire_len() as u32;
        let max = self.mtu.saturating_sub(overhead);
        if max > 0 { max as usize } else { 1 }
    }

    /// Whether more is queued than may be, with so many bytes more.
    #[inline]
    const fn is_over(&self, len: usize, config: &Config) -> bool {
        self.queued > 0 && self.queued as u64 + len as u64 > config.send_max as u64
    }

    /// Whether a packet goes in one command of one block, and now.
    #[inline]
    fn sends_short(&self, len: usize, config: &Config, pool: &Pool<'_>) -> bool {
        len.saturating_add(FIXED_MAX) <= pool.block_len()
            && len <= self.payload_max(config)
            && len <= config.packet_max as usize
            && !self.is_over(len, config)
    }

    fn plan(&self, len: usize, config: &Config, pool: &Pool<'_>) -> Plan {
        let limit = self.payload_max(config) as u32;
        let is_over = self.is_over(len, config);
        if len <= limit as usize {
            return Plan { limit, count: 1, blocks: pool.blocks_for(FIXED_MAX + len), is_over };
        }
        let count = len.div_ceil(limit as usize);
        let blocks = count.saturating_mul(pool.blocks_for(FIXED_MAX + limit as usize));
        Plan { limit, count: count as u32, blocks, is_over }
    }
}

impl<S: Storage, C: Compression> Host<S, C> {
    /// Queues a packet, gathered from `pieces`, as `enet_peer_send` does: without
    /// [`Flags::UNRELIABLE_FRAGMENT`] one that is too long for a datagram is sent reliably, whatever else `flags` say.
    ///
    /// # Errors
    ///
    /// Nothing is queued then. After [`SendError::Full`], [`bowline_core::Event::Writable`] will come.
    pub fn send_packet(
        &mut self,
        now: Instant,
        to: PeerId,
        channel: ChannelId,
        flags: Flags,
        pieces: &[&[u8]],
    ) -> Result<(), SendError> {
        self.shared.clock.advance(now);
        let len = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
        let slot = self.storage.parts().find(to).ok_or(SendError::UnknownPeer)?;
        self.send_to(slot, channel, flags, pieces, len)
    }

    /// Queues a packet for everybody who is connected: [`Self::send_packet`] to each. Answers to how many; those who
    /// lack the channel or the room are passed over.
    pub fn broadcast(
        &mut self,
        now: Instant,
        channel: ChannelId,
        flags: Flags,
        pieces: &[&[u8]],
    ) -> usize {
        self.shared.clock.advance(now);
        let len = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
        let (mut from, mut count) = (0, 0);
        while let Some(slot) = self.storage.parts().sets.taken.next(from) {
            from = slot + 1;
            count += usize::from(self.send_to(slot, channel, flags, pieces, len).is_ok());
        }
        count
    }

    fn send_to(
        &mut self,
        slot: usize,
        channel: ChannelId,
        flags: Flags,
        pieces: &[&[u8]],
        len: usize,
    ) -> Result<(), SendError> {
        // Taken apart, so that only what is needed has to be put together.
        let Parts { peers, memory, mut sets, .. } = self.storage.parts();
        let Memory { banks, mut channels, mut commands, mut pool, .. } = memory;
        let peer = peers.get_mut(slot).ok_or(SendError::UnknownPeer)?;
        match peer.state {
            State::Connected => {}
            State::Connecting | State::AcknowledgingConnect => return Err(SendError::NotConnected),
            _ => return Err(SendError::Closing),
        }
        if channel.0 >= peer.channel_count {
            return Err(SendError::ChannelNotOpen { count: peer.channel_count.into() });
        }
        let packet = Packet { channel: channel.0, flags, len: len as u32, pieces };
        let mut lent = Lent { channels: &mut channels, commands: &mut commands, pool: &mut pool };
        if peer.sends_short(len, &self.shared.config, lent.pool)
            && let Some(open) = peer.open_in(&banks, packet.channel)
            && peer.queue_packet::<true>(&mut lent, &mut self.shared, open, &packet).is_ok()
        {
            sets.ready.insert(slot);
            return Ok(());
        }
        self.send_long(slot, Packet { ..packet }, len)
    }

    /// Queues a packet of many commands or blocks, or one for which there may be no memory yet. If there is to be none
    /// the peer waits for it.
    #[inline(never)]
    fn send_long(&mut self, slot: usize, packet: Packet<'_>, len: usize) -> Result<(), SendError> {
        let config = &self.shared.config;
        let Parts { peers, memory, .. } = self.storage.parts();
        let peer = peers.get_mut(slot).ok_or(SendError::UnknownPeer)?;
        let plan = peer.plan(len, config, &memory.pool);
        let (commands_max, blocks_max) = memory.packet_max();
        let packet_max = config.packet_max as usize;
        if len > packet_max || plan.count > commands_max || plan.blocks > blocks_max {
            let max = memory.longest_packet(&plan).min(packet_max);
            return Err(SendError::TooLong { len, max });
        }
        self.send_planned(slot, &packet, &plan).ok_or(SendError::Full)
    }

    /// Queues a packet, if there is memory for it or can be.
    fn send_planned(&mut self, slot: usize, packet: &Packet<'_>, plan: &Plan) -> Option<()> {
        let Plan { count, blocks, .. } = *plan;
        if !plan.is_over {
            provide(&mut self.storage, count as usize, blocks);
        }
        let mut parts = self.storage.parts();
        let peer = parts.peers.get_mut(slot)?;
        if plan.is_over || !peer.has_room(&parts.memory, count, blocks as u32) {
            peer.wanted = Some(Wanted { commands: count, blocks: blocks as u32, channel: false });
            parts.sets.blocked.insert(slot);
            return None;
        }
        if peer.send(&mut parts.memory, &mut self.shared, packet, plan).is_err() {
            peer.wanted = Some(Wanted { commands: count, blocks: blocks as u32, channel: true });
            parts.sets.blocked.insert(slot);
            return None;
        }
        parts.sets.ready.insert(slot);
        Some(())
    }

    /// Asks the peer for an acknowledgement.
    ///
    /// # Errors
    ///
    /// When it is not connected.
    pub fn ping(&mut self, now: Instant, peer: PeerId) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        provide(&mut self.storage, 1, 1);
        let mut work = self.work();
        work.parts.sets.ready.insert(slot);
        let peer = work.parts.peers.get_mut(slot).ok_or(UnknownPeer)?;
        if peer.state != State::Connected {
            return Err(UnknownPeer);
        }
        peer.queue_control(&mut work.parts.memory, work.shared, true, &Command::Ping)
            .map_err(|_| UnknownPeer)
    }

    /// How long without an acknowledgement until the peer is pinged, in milliseconds, at most a day; 0 for 500. Until
    /// the connection ends.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn set_ping_interval(&mut self, peer: PeerId, millis: u32) -> Result<(), UnknownPeer> {
        let mut parts = self.storage.parts();
        let slot = parts.find(peer).ok_or(UnknownPeer)?;
        parts.sets.ready.insert(slot);
        let peer = parts.peer(slot).ok_or(UnknownPeer)?;
        peer.ping_interval =
            if millis == 0 { PING_INTERVAL } else { millis.min(PING_INTERVAL_MAX) };
        Ok(())
    }

    /// How long to wait for an unanswered peer; each 0 stands for ENet's default. Until the connection ends.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn set_timeout(&mut self, peer: PeerId, timeout: Timeout) -> Result<(), UnknownPeer> {
        let mut parts = self.storage.parts();
        let slot = parts.find(peer).ok_or(UnknownPeer)?;
        let or = |value: u32, default| if value == 0 { default } else { value };
        let peer = parts.peer(slot).ok_or(UnknownPeer)?;
        peer.timeout = Timeout {
            limit: or(timeout.limit, Timeout::DEFAULT.limit),
            minimum: or(timeout.minimum, Timeout::DEFAULT.minimum),
            maximum: or(timeout.maximum, Timeout::DEFAULT.maximum),
        };
        Ok(())
    }

    /// How unreliable packets are throttled, on both sides: the peer is told. Until the connection ends.
    ///
    /// # Errors
    ///
    /// When there is no such connection, or it has not begun or is ending.
    pub fn configure_throttle(
        &mut self,
        now: Instant,
        peer: PeerId,
        throttle: Throttle,
    ) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        provide(&mut self.storage, 1, 1);
        let mut work = self.work();
        work.parts.sets.ready.insert(slot);
        let peer = work.parts.peers.get_mut(slot).ok_or(UnknownPeer)?;
        if !peer.is_live() {
            // The answer to a request must bear the settings of the request.
            return Err(UnknownPeer);
        }
        peer.throttling = throttle;
        let command = Command::ThrottleConfigure(throttle);
        peer.queue_control(&mut work.parts.memory, work.shared, true, &command)
            .map_err(|_| UnknownPeer)
    }

    /// Sets what this host can receive and will send, in bytes per second; 0 is no limit. All peers are told within a
    /// second.
    pub const fn set_bandwidth(&mut self, incoming: u32, outgoing: u32) {
        self.shared.config.incoming_bandwidth = incoming;
        self.shared.config.outgoing_bandwidth = outgoing;
        self.shared.recalculate = true;
    }

    /// Sets how many channels others may have, in `1..=255`; 0 stands for 255. Of connections that there are nothing
    /// changes.
    pub const fn set_channel_limit(&mut self, limit: u8) {
        self.shared.config.channel_limit = if limit == 0 { 255 } else { limit };
    }

    /// What is known of a peer.
    pub fn peer_statistics(&mut self, peer: PeerId) -> Option<PeerStatistics> {
        let parts = self.storage.parts();
        let slot = parts.find(peer)?;
        parts.peers.get(slot).map(Peer::statistics)
    }

    /// The numbers of a slot, whether it is free or not: for tests and tools.
    pub fn slot_statistics(&mut self, slot: usize) -> Option<PeerStatistics> {
        self.storage.parts().peers.get(slot).map(Peer::statistics)
    }

    /// The number that the peer gave with its request for a connection; 0 if this side asked.
    pub fn connect_data(&mut self, peer: PeerId) -> Option<u32> {
        let parts = self.storage.parts();
        let slot = parts.find(peer)?;
        parts.peers.get(slot).map(|peer| peer.event_data)
    }

    /// Whether the peer asked for the connection, or this side did.
    pub fn is_incoming(&mut self, peer: PeerId) -> Option<bool> {
        let parts = self.storage.parts();
        let slot = parts.find(peer)?;
        parts.peers.get(slot).map(|peer| peer.is_incoming)
    }

    /// Whether another connection that the other side asked for gave the same number. Looks at all of them.
    pub(crate) fn has_other_with_data(&mut self, peer: PeerId, data: u32) -> bool {
        let parts = self.storage.parts();
        let mut from = 0;
        while let Some(slot) = parts.sets.taken.next(from) {
            from = slot + 1;
            let is_same = parts.peers.get(slot).is_some_and(|other| {
                other.is_live() && other.is_incoming && other.event_data == data
            });
            if is_same && slot != peer.slot() {
                return true;
            }
        }
        false
    }

    /// The channel of the next packet that a peer's application reads.
    pub(crate) fn next_channel(&mut self, peer: PeerId) -> Option<ChannelId> {
        let parts = self.storage.parts();
        let slot = parts.find(peer)?;
        let next = parts.peers.get(slot)?.delivered.first.some()?;
        Some(ChannelId(parts.memory.arrivals[next].channel))
    }

    /// The latest time that this host has been told.
    pub(crate) const fn now(&self) -> Instant {
        self.shared.clock.instant
    }

    /// Where a peer is.
    pub fn address(&mut self, peer: PeerId) -> Option<Address> {
        let parts = self.storage.parts();
        let slot = parts.find(peer)?;
        parts.peers.get(slot).map(|peer| peer.address)
    }
}

impl Memory<'_> {
    /// Most commands and blocks of a packet: what one peer can have of them when nobody else has any.
    fn packet_max(&self) -> (u32, usize) {
        let commands = self.commands.ledger().limit() / 2;
        (commands.min(MAX_FRAGMENTS), self.pool.ledger().limit() as usize / 2)
    }

    /// The longest packet that fits into so much, in bytes.
    #[cold]
    fn longest_packet(&self, plan: &Plan) -> usize {
        let (commands, blocks) = self.packet_max();
        let limit = plan.limit as usize;
        let fragments = blocks.checked_div(self.pool.blocks_for(FIXED_MAX + limit)).unwrap_or(0);
        match fragments.min(commands as usize) {
            0 => blocks.saturating_mul(self.pool.block_len()).saturating_sub(FIXED_MAX),
            fragments => fragments.saturating_mul(limit),
        }
    }
}

/// Sees to it that there is memory for commands and blocks, as far as there may be any.
#[cold]
pub(crate) fn provide<S: Storage>(storage: &mut S, commands: usize, blocks: usize) {
    loop {
        let memory = storage.parts().memory;
        let need = if memory.commands.vacant() < commands {
            Need::Command
        } else if memory.pool.vacant() < blocks {
            Need::Block
        } else if memory.channels.vacant() == 0 || memory.banks.vacant() == 0 {
            Need::Channel
        } else {
            return;
        };
        if !storage.grow(need) {
            return;
        }
    }
}

impl Peer {
    /// Whether there is memory for commands and blocks.
    #[inline]
    pub(crate) fn has_room(&self, memory: &Memory<'_>, commands: u32, blocks: u32) -> bool {
        memory.commands.can_take(&self.quotas.commands, commands)
            && memory.pool.can_take(&self.quotas.blocks, blocks)
    }

    fn send(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        packet: &Packet<'_>,
        plan: &Plan,
    ) -> Result<(), Full> {
        let Packet { channel: number, flags, len, pieces } = *packet;
        let channel = self.channel(memory, number)?;
        if plan.count == 1 {
            let Memory { channels, commands, pool, .. } = memory;
            let mut lent = Lent { channels, commands, pool };
            return self.queue_packet::<false>(&mut lent, shared, channel, packet);
        }
        let numbers = &memory.channels[channel];
        let is_unreliable = flags.contains(Flags::UNRELIABLE_FRAGMENT)
            && !flags.contains(Flags::RELIABLE)
            && !numbers.is_worn();
        let start_sequence = match is_unreliable {
            true => numbers.outgoing_unreliable.wrapping_add(1),
            false => numbers.outgoing_reliable.wrapping_add(1),
        };
        let mut pieces = Pieces { rest: pieces, at: 0 };
        for number_of in 0..plan.count {
            let offset = number_of * plan.limit;
            let payload = (len - offset).min(plan.limit) as u16;
            let fragment = Fragment {
                start_sequence,
                count: plan.count,
                number: number_of,
                total: len,
                offset,
                payload: &[],
            };
            let command = match is_unreliable {
                true => Command::SendUnreliableFragment(fragment),
                false => Command::SendFragment(fragment),
            };
            let begins_packet = number_of == 0;
            let part = Queued { payload, channel: number, begins_packet, ..Queued::VACANT };
            self.queue_fragment(memory, shared, channel, part, &command, &mut pieces)?;
        }
        Ok(())
    }

    pub(crate) const fn statistics(&self) -> PeerStatistics {
        PeerStatistics {
            state: self.state,
            rtt: self.rtt,
            rtt_variance: self.variance,
            loss: self.loss,
            loss_variance: self.loss_variance,
            throttle: self.throttle,
            throttle_limit: self.throttle_limit,
            in_transit: self.in_transit,
            waiting: self.waiting,
            window: self.window,
            mtu: self.mtu,
            next_timeout: self.next_timeout.as_millis(),
            channels: self.channel_count,
        }
    }
}

impl Work<'_> {
    /// Finds peers that waited for memory which is there now. Of those that wait a few are asked at a time, the
    /// next ones next time, so that none waits for others that cannot be helped.
    #[cold]
    pub(crate) fn unblock(&mut self) {
        let mut from = match self.shared.unblocking {
            Some(from) => from,
            None if core::mem::take(&mut self.shared.freed) => 0,
            None => return,
        };
        self.shared.unblocking = None;
        for _ in 0..UNBLOCKED_MAX {
            let Some(slot) = self.parts.sets.blocked.next(from) else { return };
            from = slot + 1;
            let Some(peer) = self.parts.peers.get_mut(slot) else { return };
            let Some(Wanted { commands, blocks, channel }) = peer.wanted else {
                self.parts.sets.blocked.remove(slot);
                continue;
            };
            let is_under = peer.queued <= self.shared.config.send_max / 2;
            let memory = &self.parts.memory;
            let has_channel = !channel
                || memory.channels.can_take(&peer.quotas.channels, 1)
                    && memory.banks.can_take(&peer.quotas.banks, 1);
            if is_under && has_channel && peer.has_room(memory, commands, blocks) {
                peer.wanted = None;
                peer.news.writable = true;
                self.parts.sets.blocked.remove(slot);
                self.shared.push_news(self.parts.peers, slot);
            }
        }
        self.shared.unblocking = Some(from);
    }
}
