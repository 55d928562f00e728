//! Queueing commands and acknowledgements: what they are numbered, and in which order they go.

use bowline_core::{BlockId, Link, Pool, Quota, Slot};
use bowline_wire::Writer;
use bowline_wire::enet::{CONNECTION_CHANNEL, Command, CommandHead, CommandKind};

use crate::command::{Acknowledgement, Queued};
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
    /// The channel of this number, if it was used before.
    #[inline]
    pub(crate) fn open(&self, memory: &Memory<'_>, number: u8) -> Option<Link> {
        let (bank, place) = (usize::from(number >> 4), usize::from(number & 15));
        let bank = memory.banks.get(*self.banks.get(bank)?)?;
        bank.channels.get(place)?.some()
    }

    /// The channel of this number, made if it was not used yet.
    #[inline]
    pub(crate) fn channel(&mut self, memory: &mut Memory<'_>, number: u8) -> Result<Link, Full> {
        match self.open(memory, number) {
            Some(channel) => Ok(channel),
            None => self.open_channel(memory, number),
        }
    }

    #[cold]
    fn open_channel(&mut self, memory: &mut Memory<'_>, number: u8) -> Result<Link, Full> {
        let (bank, place) = (usize::from(number >> 4), usize::from(number & 15));
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
        let sequence = self.outgoing_sequence.wrapping_add(1);
        let head = CommandHead {
            acknowledge,
            unsequenced: !acknowledge,
            channel: CONNECTION_CHANNEL,
            sequence,
        };
        let mut fixed = [0; FIXED_MAX];
        let mut writer = Writer::new(&mut fixed);
        // The longest command has as many bytes as there are.
        let _ = command.emit(head, &mut writer);
        let queued = Queued {
            kind: command.kind(),
            acknowledge,
            channel: CONNECTION_CHANNEL,
            sequence,
            ..Queued::VACANT
        };
        let mut nothing = Pieces { rest: &[], at: 0 };
        self.queue(memory, shared, queued, writer.written(), &mut nothing)?;
        self.outgoing_sequence = sequence;
        Ok(())
    }

    /// Queues a packet that goes in one command of this kind.
    #[inline]
    pub(crate) fn queue_packet(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        channel: Link,
        queued: Queued,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), Full> {
        let numbers = &memory.channels[channel];
        let (reliable, unreliable) = (numbers.outgoing_reliable, numbers.outgoing_unreliable);
        let len = queued.payload;
        match queued.kind {
            CommandKind::SendReliable => {
                let sequence = reliable.wrapping_add(1);
                let queued = Queued { sequence, acknowledge: true, ..queued };
                let head = CommandHead::acknowledged(queued.channel, sequence);
                self.queue(memory, shared, queued, &head.reliable_bytes(len), pieces)?;
                memory.channels[channel].number_reliable(sequence);
            }
            CommandKind::SendUnsequenced => {
                let group = self.outgoing_group.wrapping_add(1);
                let head = CommandHead::unsequenced(queued.channel, 0);
                self.queue(memory, shared, queued, &head.unsequenced_bytes(group, len), pieces)?;
                self.outgoing_group = group;
            }
            _ => {
                let unreliable = unreliable.wrapping_add(1);
                let queued = Queued { sequence: reliable, unreliable, ..queued };
                let head = CommandHead::plain(queued.channel, reliable);
                let head = head.unreliable_bytes(unreliable, len);
                self.queue(memory, shared, queued, &head, pieces)?;
                memory.channels[channel].outgoing_unreliable = unreliable;
            }
        }
        Ok(())
    }

    /// Queues a fragment of a packet.
    pub(crate) fn queue_fragment(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        channel: Link,
        queued: Queued,
        command: &Command<'_>,
        pieces: &mut Pieces<'_>,
    ) -> Result<(), Full> {
        let numbers = &memory.channels[channel];
        let (reliable, unreliable) = (numbers.outgoing_reliable, numbers.outgoing_unreliable);
        let acknowledge = command.kind() == CommandKind::SendFragment;
        let (sequence, unreliable) = match acknowledge {
            true => (reliable.wrapping_add(1), 0),
            false => (reliable, unreliable.wrapping_add(queued.begins_packet.into())),
        };
        let queued = Queued { kind: command.kind(), acknowledge, sequence, unreliable, ..queued };
        let head =
            CommandHead { acknowledge, unsequenced: false, channel: queued.channel, sequence };
        let mut fixed = [0; FIXED_MAX];
        let mut writer = Writer::new(&mut fixed);
        let _ = command.emit_fixed(head, queued.payload, &mut writer);
        self.queue(memory, shared, queued, writer.written(), pieces)?;
        match acknowledge {
            true => memory.channels[channel].number_reliable(sequence),
            false => memory.channels[channel].outgoing_unreliable = unreliable,
        }
        Ok(())
    }

    /// Queues a command: the bytes of `fixed`, and behind them its payload, the next bytes of `pieces`.
    #[inline]
    fn queue(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        queued: Queued,
        fixed: &[u8],
        pieces: &mut Pieces<'_>,
    ) -> Result<(), Full> {
        let quota = &mut self.quotas.blocks;
        let len = fixed.len() + usize::from(queued.payload);
        let bytes = store(&mut memory.pool, quota, fixed, queued.payload, pieces).ok_or(Full)?;
        let queued = Queued { bytes, len: len as u16, stamp: shared.next_stamp(), ..queued };
        let is_data = queued.acknowledge && queued.is_data();
        let list = if is_data { &mut self.data } else { &mut self.control };
        let quota = &mut self.quotas.commands;
        if list.push_new(&mut memory.commands, quota, queued).is_none() {
            memory.pool.give_chain(&mut self.quotas.blocks, bytes);
            return Err(Full);
        }
        self.outgoing_total = self.outgoing_total.wrapping_add(len as u32);
        self.queued = self.queued.saturating_add(queued.payload.into());
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
        let acknowledgement = Acknowledgement {
            sequence: head.sequence,
            channel: head.channel,
            sent_time,
            parts,
            ..Acknowledgement::VACANT
        };
        let quota = &mut self.quotas.acknowledgements;
        let list = &mut self.acknowledgements;
        list.push_new(&mut memory.acknowledgements, quota, acknowledgement).ok_or(Full)?;
        self.outgoing_total = self.outgoing_total.wrapping_add(ACKNOWLEDGE_LEN);
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
        let arrival = &mut memory.arrivals[link];
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

/// Takes blocks for a command and puts it in: `fixed`, and the next `payload` bytes of `pieces`.
#[inline]
fn store(
    pool: &mut Pool<'_>,
    quota: &mut Quota,
    fixed: &[u8],
    payload: u16,
    pieces: &mut Pieces<'_>,
) -> Option<BlockId> {
    let payload = usize::from(payload);
    if fixed.len() + payload > pool.block_len() {
        return store_long(pool, quota, fixed, payload, pieces);
    }
    let (block, room) = pool.take_bytes(quota)?;
    let mut writer = Writer::new(room);
    let _ = writer.bytes(fixed);
    pieces.copy(payload, |piece| {
        // There is room: that was asked before.
        let _ = writer.bytes(piece);
    });
    Some(block)
}

/// As [`store`], for what takes more than a block.
fn store_long(
    pool: &mut Pool<'_>,
    quota: &mut Quota,
    fixed: &[u8],
    payload: usize,
    pieces: &mut Pieces<'_>,
) -> Option<BlockId> {
    let first = pool.take_chain(quota, pool.blocks_for(fixed.len() + payload))?;
    let mut fill = Fill { block: first, at: 0 };
    fill.write(pool, fixed);
    pieces.copy(payload, |piece| fill.write(pool, piece));
    Some(first)
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
