//! Taking in datagrams.

use bowline_core::{Address, DropReason, Received};
use bowline_wire::enet::{
    Command, CommandKind, CommandView, Header, MTU_MAX, NO_PEER, split_checksum,
};

use crate::compression::Compression;
use crate::config::Verdict;
use crate::host::{Host, Shared, Work};
use crate::in_order::take_in_order;
use crate::peer::State;
use crate::storage::{Need, Parts, Storage};

/// Shortest command that asks for an acknowledgement, in bytes.
const COMMAND_LEN_MIN: usize = 4;
/// Shortest command that carries a packet, in bytes.
const PACKET_LEN_MIN: usize = 6;

/// What a datagram may still cost, and what follows from it.
pub(crate) struct Course {
    /// Entries of lists that may be looked through.
    steps: u32,
    /// Acknowledgements for which there is room.
    pub(crate) acknowledgements: u32,
    /// The peer may have something to send.
    is_ready: bool,
}

impl Course {
    /// Counts one entry that is looked at.
    pub(crate) const fn step(&mut self) -> Result<(), DropReason> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(DropReason::RateLimited),
        }
    }

    /// The peer is to be looked at when datagrams are made.
    #[inline]
    pub(crate) const fn rouse(&mut self) {
        self.is_ready = true;
    }
}

impl<S: Storage, C: Compression> Host<S, C> {
    pub(crate) fn receive(
        &mut self,
        from: &Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        if let Some(intercept) = self.shared.config.intercept
            && intercept(from, datagram) == Verdict::Consumed
        {
            return Ok(());
        }
        if datagram.len() > MTU_MAX as usize {
            return Err(DropReason::OverLimit);
        }
        let (header, rest) = Header::parse(datagram).map_err(|error| error.drop_reason())?;
        let config = &self.shared.config;
        let (checksum, rest) = match config.checksum.wire_len() {
            0 => (None, rest),
            _ => {
                let (checksum, rest) = split_checksum(rest).map_err(|error| error.drop_reason())?;
                (Some(checksum), rest)
            }
        };
        let slot = self.storage.parts().addressed(&header, &from.from)?;
        let head_len = datagram.len() - rest.len();
        let bytes = match header.compressed {
            false => rest,
            true => self
                .compression
                .decompress(rest, MTU_MAX as usize - head_len)
                .filter(|bytes| !bytes.is_empty())
                .ok_or(DropReason::Malformed)?,
        };
        if let Some(checksum) = checksum {
            let head = datagram.get(..header.wire_len()).unwrap_or_default();
            let parts = self.storage.parts();
            let peer = slot.and_then(|slot| parts.peers.get(slot));
            let connect_id = peer.map_or([0; 4], |peer| peer.connect_id);
            if config.checksum.of(head, connect_id, bytes) != checksum {
                return Err(DropReason::Corrupt);
            }
        }
        let rest = match slot {
            Some(slot) => {
                take_in_order(&mut self.storage, &mut self.shared, slot, header.sent_time, bytes)
            }
            None => bytes,
        };
        if rest.is_empty() {
            return Ok(());
        }
        take_commands(&mut self.storage, &mut self.shared, slot, from.from, &header, rest)
    }
}

/// Acts on the commands of a datagram. What was done before one that is no good stays done.
#[inline(never)]
fn take_commands<S: Storage>(
    storage: &mut S,
    shared: &mut Shared,
    mut slot: Option<usize>,
    from: Address,
    header: &Header,
    commands: &[u8],
) -> Result<(), DropReason> {
    provide(storage, commands.len());
    if slot.is_none() {
        provide_peer(storage);
    }
    let mut work = Work { parts: storage.parts(), shared };
    let mut course = Course {
        steps: work.shared.config.hardening.steps_max,
        acknowledgements: slot.map_or(0, |slot| work.acknowledgeable(slot)),
        is_ready: false,
    };
    let result = work.take_each(&mut slot, from, header, commands, &mut course);
    if course.is_ready
        && let Some(slot) = slot
    {
        work.parts.sets.ready.insert(slot);
    }
    result
}

/// Sees to it that a datagram of `len` bytes finds memory, as far as there is any.
fn provide<S: Storage>(storage: &mut S, len: usize) {
    loop {
        let Parts { memory, .. } = storage.parts();
        let packets = len / PACKET_LEN_MIN;
        let blocks = packets + len / memory.pool.block_len().max(1) + 16;
        let need = if memory.acknowledgements.vacant() < len / COMMAND_LEN_MIN {
            Need::Acknowledgement
        } else if memory.arrivals.vacant() < packets {
            Need::Arrival
        } else if memory.pool.vacant() < blocks {
            Need::Block
        } else if memory.commands.vacant() < 4 {
            Need::Command
        } else if memory.channels.vacant() < 16 || memory.banks.vacant() < 16 {
            Need::Channel
        } else {
            return;
        };
        if !storage.grow(need) {
            return;
        }
    }
}

/// Sees to it that there is a slot for a newcomer, if there may be one.
pub(crate) fn provide_peer<S: Storage>(storage: &mut S) {
    let parts = storage.parts();
    if parts.free_slot().is_none() {
        storage.grow(Need::Peer);
    }
}

impl Parts<'_> {
    /// The lowest slot without a connection.
    pub(crate) fn free_slot(&self) -> Option<usize> {
        let taken = &self.sets.taken;
        let full = taken.words.iter().take_while(|word| **word == u64::MAX).count();
        let word = taken.words.get(full)?;
        let slot = full * 64 + word.trailing_ones() as usize;
        (slot < self.peers.len()).then_some(slot)
    }

    /// The slot that a datagram is for; nothing if it is for none in particular.
    fn addressed(&self, header: &Header, from: &Address) -> Result<Option<usize>, DropReason> {
        if header.peer_id == NO_PEER {
            return Ok(None);
        }
        let slot = usize::from(header.peer_id);
        let peer = self.peers.get(slot).ok_or(DropReason::Stray)?;
        if matches!(peer.state, State::Disconnected | State::Zombie) {
            return Err(DropReason::Stray);
        }
        if peer.address != *from {
            return Err(DropReason::WrongAddress);
        }
        if peer.remote_id != NO_PEER && header.session != peer.incoming_session {
            return Err(DropReason::Stray);
        }
        Ok(Some(slot))
    }
}

impl Work<'_> {
    #[inline(always)]
    fn take_each(
        &mut self,
        slot: &mut Option<usize>,
        from: Address,
        header: &Header,
        commands: &[u8],
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let mut rest = commands;
        while !rest.is_empty() {
            let (command, later) = CommandView::parse(rest).map_err(|error| error.drop_reason())?;
            rest = later;
            let is_acknowledged = command.head.acknowledge;
            let at = match *slot {
                Some(at) => {
                    if is_acknowledged && course.acknowledgements == 0 {
                        return Err(DropReason::Full);
                    }
                    self.on_command(at, &command, course)?;
                    at
                }
                None => {
                    let at = self.on_first(from, &command)?;
                    *slot = Some(at);
                    course.acknowledgements = self.acknowledgeable(at);
                    at
                }
            };
            if is_acknowledged {
                self.acknowledge(at, header, &command, course)?;
            }
        }
        Ok(())
    }

    /// A command of somebody unknown: a request for a connection, or nothing.
    #[cold]
    fn on_first(&mut self, from: Address, command: &CommandView<'_>) -> Result<usize, DropReason> {
        match command.command().map_err(|error| error.drop_reason())? {
            Command::Connect { parameters, data } => self.on_connect(from, &parameters, data),
            _ => Err(DropReason::Unexpected),
        }
    }

    /// For how many acknowledgements there is room.
    fn acknowledgeable(&self, slot: usize) -> u32 {
        let Some(peer) = self.parts.peers.get(slot) else { return 0 };
        peer.acknowledgeable(&self.parts.memory.acknowledgements, &self.shared.config)
    }

    /// Acknowledges a command that asks for it.
    #[inline(always)]
    fn acknowledge(
        &mut self,
        slot: usize,
        header: &Header,
        command: &CommandView<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let CommandView { head, kind, .. } = *command;
        let Some(sent_time) = header.sent_time else {
            self.part_without_time(slot);
            return Err(DropReason::Malformed);
        };
        let Some(peer) = self.parts.peers.get_mut(slot) else { return Ok(()) };
        let parts = match peer.state {
            State::Disconnecting
            | State::AcknowledgingConnect
            | State::Disconnected
            | State::Zombie => return Ok(()),
            State::AcknowledgingDisconnect if kind != CommandKind::Disconnect => return Ok(()),
            State::AcknowledgingDisconnect => true,
            _ => kind == CommandKind::Disconnect,
        };
        course.rouse();
        course.acknowledgements = course.acknowledgements.saturating_sub(1);
        peer.queue_acknowledgement(&mut self.parts.memory, head, sent_time, parts)
            .map_err(|_| DropReason::Full)
    }

    #[inline]
    fn on_command(
        &mut self,
        slot: usize,
        command: &CommandView<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        match command.kind {
            CommandKind::Acknowledge => {
                let [sequence, sent_time] = command.numbers();
                self.on_acknowledge(slot, command.head.channel, sequence, sent_time, course)
            }
            CommandKind::SendReliable
            | CommandKind::SendUnreliable
            | CommandKind::SendUnsequenced
            | CommandKind::SendFragment
            | CommandKind::SendUnreliableFragment => self.on_packet(slot, command, course),
            _ => self.on_control(slot, command),
        }
    }

    /// A command that concerns the connection.
    #[cold]
    fn on_control(&mut self, slot: usize, command: &CommandView<'_>) -> Result<(), DropReason> {
        match command.command().map_err(|error| error.drop_reason())? {
            Command::VerifyConnect { parameters } => self.on_verify(slot, &parameters),
            Command::Disconnect { data } => {
                self.on_disconnect(slot, command.head.acknowledge, data);
                Ok(())
            }
            Command::Ping => self.live(slot).map(|_| ()),
            Command::BandwidthLimit { incoming, outgoing } => {
                self.on_bandwidth_limit(slot, incoming, outgoing)
            }
            Command::ThrottleConfigure(throttle) => {
                let (peer, _) = self.live(slot)?;
                peer.throttling = throttle;
                Ok(())
            }
            _ => Err(DropReason::Unexpected),
        }
    }

    /// A peer to which packets go and from which they come, with what all share.
    fn live(&mut self, slot: usize) -> Result<(&mut crate::peer::Peer, &mut Shared), DropReason> {
        match self.parts.peers.get_mut(slot) {
            Some(peer) if peer.is_live() => Ok((peer, self.shared)),
            _ => Err(DropReason::Unexpected),
        }
    }

    #[inline]
    fn on_packet(
        &mut self,
        slot: usize,
        command: &CommandView<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let Some(peer) = self.parts.peers.get_mut(slot) else { return Err(DropReason::Stray) };
        if !peer.is_live() {
            return Err(DropReason::Unexpected);
        }
        if command.head.channel >= peer.channel_count
            || command.payload().len() > self.shared.config.packet_max as usize
        {
            return Err(DropReason::OverLimit);
        }
        peer.take_packet(&mut self.parts.memory, &self.shared.config, command, course)?;
        if !peer.delivered.is_empty() && !peer.news.is_queued {
            self.shared.push_news(self.parts.peers, slot);
        }
        Ok(())
    }
}
