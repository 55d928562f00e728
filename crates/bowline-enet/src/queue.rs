//! Queueing commands and acknowledgements: what they are numbered, and in which order they go.

use bowline_core::{Link, Pool};
use bowline_wire::Writer;
use bowline_wire::enet::{CONNECTION_CHANNEL, Command, CommandHead, CommandKind};

use crate::host::Shared;
use crate::peer::Peer;
use crate::storage::Memory;

/// Longest command without its payload, in bytes.
const FIXED_MAX: usize = 48;
/// Length of an acknowledgement on the wire, in bytes.
const ACKNOWLEDGE_LEN: u32 = 8;

/// There is no memory for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

impl Peer {
    /// The channel of this number, made if it was not used yet.
    #[inline]
    pub(crate) fn channel(&mut self, memory: &mut Memory<'_>, number: u8) -> Result<Link, Full> {
        let (bank, place) = (usize::from(number >> 4), usize::from(number & 15));
        let link = self.banks.get(bank).copied().unwrap_or(Link::NONE);
        if let Some(link) = link.some()
            && let Some(channel) =
                memory.banks[link].channels.get(place).and_then(|channel| channel.some())
        {
            return Ok(channel);
        }
        self.open_channel(memory, bank, place)
    }

    #[cold]
    fn open_channel(
        &mut self,
        memory: &mut Memory<'_>,
        bank: usize,
        place: usize,
    ) -> Result<Link, Full> {
        let slot = self.banks.get_mut(bank).ok_or(Full)?;
        if slot.is_none() {
            *slot = memory.banks.take(&mut self.quotas.banks).ok_or(Full)?;
        }
        let channel = memory.channels.take(&mut self.quotas.channels).ok_or(Full)?;
        if let Some(place) = memory.banks[*slot].channels.get_mut(place) {
            *place = channel;
        }
        Ok(channel)
    }

    /// Queues a command that concerns the connection.
    pub(crate) fn queue_control(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        acknowledge: bool,
        command: &Command<'_>,
    ) -> Result<(), Full> {
        let link = memory.commands.take(&mut self.quotas.commands).ok_or(Full)?;
        let len = command.wire_len();
        let blocks = memory.pool.blocks_for(len);
        let Some(bytes) = memory.pool.take_chain(&mut self.quotas.blocks, blocks) else {
            memory.commands.give(&mut self.quotas.commands, link);
            return Err(Full);
        };
        self.outgoing_sequence = self.outgoing_sequence.wrapping_add(1);
        let head = CommandHead {
            acknowledge,
            unsequenced: !acknowledge,
            channel: CONNECTION_CHANNEL,
            sequence: self.outgoing_sequence,
        };
        let mut fixed = [0; FIXED_MAX];
        let mut writer = Writer::new(&mut fixed);
        // The longest command has as many bytes as there are.
        let _ = command.emit(head, &mut writer);
        crate::arrival::copy_in(&mut memory.pool, bytes, writer.written());
        self.outgoing_total = self.outgoing_total.wrapping_add(len as u32);
        let queued = &mut memory.commands[link];
        queued.bytes = bytes;
        queued.len = len as u16;
        queued.kind = command.kind();
        queued.acknowledge = acknowledge;
        queued.channel = CONNECTION_CHANNEL;
        queued.sequence = self.outgoing_sequence;
        queued.stamp = shared.next_stamp();
        self.control.push(&mut memory.commands, link);
        Ok(())
    }

    /// Queues one command of a packet: the whole, or a fragment. There must be memory for it.
    pub(crate) fn queue_data(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        channel: Link,
        packet: &Outbound<'_>,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), Full> {
        let fixed_len = packet.command.kind().fixed_len();
        let payload = usize::from(packet.payload);
        let link = memory.commands.take(&mut self.quotas.commands).ok_or(Full)?;
        let blocks = memory.pool.blocks_for(fixed_len + payload);
        let Some(bytes) = memory.pool.take_chain(&mut self.quotas.blocks, blocks) else {
            memory.commands.give(&mut self.quotas.commands, link);
            return Err(Full);
        };
        let numbers = &mut memory.channels[channel];
        let acknowledge =
            matches!(packet.command.kind(), CommandKind::SendReliable | CommandKind::SendFragment);
        let unsequenced = packet.command.kind() == CommandKind::SendUnsequenced;
        let mut command = packet.command;
        let (sequence, unreliable) = if acknowledge {
            numbers.outgoing_reliable = numbers.outgoing_reliable.wrapping_add(1);
            numbers.outgoing_unreliable = 0;
            (numbers.outgoing_reliable, 0)
        } else if unsequenced {
            self.outgoing_group = self.outgoing_group.wrapping_add(1);
            (0, 0)
        } else {
            if packet.begins {
                numbers.outgoing_unreliable = numbers.outgoing_unreliable.wrapping_add(1);
            }
            (numbers.outgoing_reliable, numbers.outgoing_unreliable)
        };
        match &mut command {
            Command::SendUnreliable { unreliable_sequence, .. } => {
                *unreliable_sequence = unreliable
            }
            Command::SendUnsequenced { group, .. } => *group = self.outgoing_group,
            _ => {}
        }
        let head = CommandHead { acknowledge, unsequenced, channel: packet.channel, sequence };
        let mut fixed = [0; 24];
        let mut writer = Writer::new(&mut fixed);
        let _ = command.emit_fixed(head, packet.payload, &mut writer);
        let mut fill = Fill { block: bytes, at: 0 };
        fill.write(&mut memory.pool, writer.written());
        pieces.copy(payload, |piece| fill.write(&mut memory.pool, piece));
        self.outgoing_total = self.outgoing_total.wrapping_add((fixed_len + payload) as u32);
        self.queued = self.queued.saturating_add(payload as u32);
        let queued = &mut memory.commands[link];
        queued.bytes = bytes;
        queued.len = (fixed_len + payload) as u16;
        queued.payload = packet.payload;
        queued.kind = command.kind();
        queued.acknowledge = acknowledge;
        queued.begins_packet = packet.begins;
        queued.channel = packet.channel;
        queued.sequence = sequence;
        queued.unreliable = unreliable;
        queued.stamp = shared.next_stamp();
        let list = if acknowledge { &mut self.data } else { &mut self.control };
        list.push(&mut memory.commands, link);
        Ok(())
    }

    /// Queues an acknowledgement, unless what it is for is too far ahead to have been taken.
    pub(crate) fn queue_acknowledgement(
        &mut self,
        memory: &mut Memory<'_>,
        head: CommandHead,
        sent_time: u16,
        parts: bool,
    ) -> Result<(), Full> {
        if head.channel < self.channel_count {
            let channel = self.channel(memory, head.channel)?;
            if !memory.channels[channel].acknowledges(head.sequence) {
                return Ok(());
            }
        }
        let link = memory.acknowledgements.take(&mut self.quotas.acknowledgements).ok_or(Full)?;
        let acknowledgement = &mut memory.acknowledgements[link];
        acknowledgement.sequence = head.sequence;
        acknowledgement.channel = head.channel;
        acknowledgement.sent_time = sent_time;
        acknowledgement.parts = parts;
        self.outgoing_total = self.outgoing_total.wrapping_add(ACKNOWLEDGE_LEN);
        self.acknowledgements.push(&mut memory.acknowledgements, link);
        Ok(())
    }

    /// Gives back the memory of a command that is in no list.
    pub(crate) fn give_command(&mut self, memory: &mut Memory<'_>, link: Link) {
        let queued = &memory.commands[link];
        let bytes = queued.bytes;
        self.queued = self.queued.saturating_sub(queued.payload.into());
        memory.pool.give_chain(&mut self.quotas.blocks, bytes);
        memory.commands.give(&mut self.quotas.commands, link);
    }

    /// Gives back all queued commands and acknowledgements, all packets that have arrived, and all channels.
    pub(crate) fn clear(&mut self, memory: &mut Memory<'_>) {
        self.acknowledgements.clear(
            &mut memory.acknowledgements,
            &mut self.quotas.acknowledgements,
            |_| {},
        );
        for mut list in [self.sent, self.data, self.control] {
            while let Some(link) = list.pop(&mut memory.commands) {
                self.give_command(memory, link);
            }
        }
        let empty = crate::list::List::EMPTY;
        (self.sent, self.data, self.control) = (empty, empty, empty);
        while let Some(link) = self.delivered.pop(&mut memory.arrivals) {
            self.give_arrival(memory, link);
        }
        self.finish_reading(memory);
        self.close_channels(memory);
        self.channel_count = 0;
        self.in_transit = 0;
    }

    fn close_channels(&mut self, memory: &mut Memory<'_>) {
        for bank in core::mem::replace(&mut self.banks, [Link::NONE; 16]) {
            let Some(bank) = bank.some() else { continue };
            for channel in memory.banks[bank].channels {
                let Some(link) = channel.some() else { continue };
                let (reliable, unreliable) =
                    (memory.channels[link].reliable, memory.channels[link].unreliable);
                for mut list in [reliable, unreliable] {
                    while let Some(arrival) = list.pop(&mut memory.arrivals) {
                        self.give_arrival(memory, arrival);
                    }
                }
                memory.channels.give(&mut self.quotas.channels, link);
            }
            memory.banks.give(&mut self.quotas.banks, bank);
        }
    }

    /// Gives back the memory of a packet that is in no list.
    pub(crate) fn give_arrival(&mut self, memory: &mut Memory<'_>, link: Link) {
        let mut arrival = memory.arrivals[link];
        self.waiting = self.waiting.saturating_sub(arrival.len);
        arrival.give_bytes(&mut memory.pool, &mut self.quotas.blocks);
        memory.arrivals.give(&mut self.quotas.arrivals, link);
    }

    /// Gives back the packet that the application has been reading.
    pub(crate) fn finish_reading(&mut self, memory: &mut Memory<'_>) {
        if let Some(link) = core::mem::replace(&mut self.reading, Link::NONE).some() {
            // It does not count as waiting any more.
            let waiting = self.waiting;
            self.give_arrival(memory, link);
            self.waiting = waiting;
        }
    }
}

/// What is to be queued for one command of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) command: Command<'a>,
    pub(crate) channel: u8,
    /// Bytes of the packet that go with it.
    pub(crate) payload: u16,
    /// The packet begins here.
    pub(crate) begins: bool,
}

/// A cursor over the pieces that a packet is gathered from.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pub(crate) rest: &'a [&'a [u8]],
    pub(crate) at: usize,
}

impl Pieces<'_> {
    /// Hands over the next `len` bytes.
    fn copy(&mut self, mut len: usize, mut write: impl FnMut(&[u8])) {
        while len > 0 {
            let Some((piece, later)) = self.rest.split_first() else { return };
            let left = piece.get(self.at..).unwrap_or_default();
            let now = left.get(..len).unwrap_or(left);
            write(now);
            len -= now.len();
            self.at += now.len();
            if self.at >= piece.len() {
                self.rest = later;
                self.at = 0;
            }
        }
    }
}

/// A place in a chain of blocks that is being filled.
struct Fill {
    block: Link,
    at: usize,
}

impl Fill {
    fn write(&mut self, pool: &mut Pool<'_>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = pool.bytes_mut(self.block, self.at);
            let count = room.len().min(bytes.len());
            if let (Some(room), Some((now, later))) =
                (room.get_mut(..count), bytes.split_at_checked(count))
            {
                room.copy_from_slice(now);
                bytes = later;
            }
            self.at += count;
            if !bytes.is_empty() {
                self.block = pool.next(self.block);
                self.at = 0;
                if self.block.is_none() {
                    return;
                }
            }
        }
    }
}
