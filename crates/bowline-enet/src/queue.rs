//! Queueing commands and acknowledgements: what they are numbered, and in which order they go.

use bowline_core::{BlockId, Link, Pool, Quota, Slot, Slots};
use bowline_wire::Writer;
use bowline_wire::enet::{CONNECTION_CHANNEL, Command, CommandHead, CommandKind};

use crate::arrival::Arrival;
use crate::channel::{Bank, Channel};
use crate::command::{Acknowledgement, Queued};
use crate::config::Config;
use crate::flags::Flags;
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
        self.open_in(&memory.banks, number)
    }

    /// As [`Self::open`], for whom only this is lent.
    #[inline]
    pub(crate) fn open_in(&self, banks: &Slots<'_, Bank>, number: u8) -> Option<Link> {
        let (bank, place) = (usize::from(number >> 4), usize::from(number & 15));
        banks.get(*self.banks.get(bank)?)?.channels.get(place)?.some()
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
        let mut nothing = Pieces { rest: &[], at: 0 };
        let quota = &mut self.quotas.blocks;
        let bytes = store_long(&mut memory.pool, quota, writer.written(), 0, &mut nothing);
        let queued = Queued {
            bytes: bytes.ok_or(Full)?,
            len: writer.len() as u16,
            kind: command.kind(),
            acknowledge,
            channel: CONNECTION_CHANNEL,
            sequence,
            ..Queued::VACANT
        };
        self.queue(memory, shared, queued)?;
        self.outgoing_sequence = sequence;
        Ok(())
    }

    /// Queues a packet that goes in one command, and if it is `SHORT` in one block, if memory is not short.
    ///
    /// Inlined, like what it calls, where most packets are queued: there only those records are lent that it changes.
    #[inline(always)]
    pub(crate) fn queue_packet<const SHORT: bool>(
        &mut self,
        lent: &mut Lent<'_, '_>,
        shared: &mut Shared,
        channel: Link,
        packet: &Packet<'_>,
    ) -> Result<(), Full> {
        let numbers = &mut lent.channels[channel];
        let kind = packet.flags.kind(numbers.is_worn());
        let (number, payload) = (packet.channel, packet.len as u16);
        let (sequence, unreliable, fixed) = match kind {
            CommandKind::SendReliable => {
                let sequence = numbers.outgoing_reliable.wrapping_add(1);
                let head = CommandHead::acknowledged(number, sequence);
                (sequence, 0, Fixed { bytes: head.reliable_bytes(payload), len: 6 })
            }
            CommandKind::SendUnsequenced => {
                let group = self.outgoing_group.wrapping_add(1);
                let head = CommandHead::unsequenced(number, 0);
                (0, 0, Fixed { bytes: head.unsequenced_bytes(group, payload), len: 8 })
            }
            _ => {
                let unreliable = numbers.outgoing_unreliable.wrapping_add(1);
                let sequence = numbers.outgoing_reliable;
                let head = CommandHead::plain(number, sequence);
                let bytes = head.unreliable_bytes(unreliable, payload);
                (sequence, unreliable, Fixed { bytes, len: 8 })
            }
        };
        let quota = &mut self.quotas.blocks;
        let bytes = match SHORT {
            true => store_short(lent.pool, quota, &fixed, packet),
            false => store_packet(lent.pool, quota, &fixed, packet),
        };
        let queued = Queued {
            bytes: bytes.ok_or(Full)?,
            payload,
            kind,
            channel: number,
            begins_packet: true,
            acknowledge: kind == CommandKind::SendReliable,
            sequence,
            unreliable,
            len: fixed.len as u16 + payload,
            ..Queued::VACANT
        };
        self.enqueue(lent.commands, lent.pool, shared, queued)?;
        let numbers = &mut lent.channels[channel];
        match kind {
            CommandKind::SendReliable => numbers.number_reliable(sequence),
            CommandKind::SendUnsequenced => {
                self.outgoing_group = self.outgoing_group.wrapping_add(1);
            }
            _ => numbers.outgoing_unreliable = unreliable,
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
        let (quota, payload) = (&mut self.quotas.blocks, queued.payload);
        let fixed = writer.written();
        let len = fixed.len() as u16 + payload;
        let bytes = store_long(&mut memory.pool, quota, fixed, payload.into(), pieces);
        let queued = Queued { bytes: bytes.ok_or(Full)?, len, ..queued };
        self.queue(memory, shared, queued)?;
        match acknowledge {
            true => memory.channels[channel].number_reliable(sequence),
            false => memory.channels[channel].outgoing_unreliable = unreliable,
        }
        Ok(())
    }

    fn queue(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        queued: Queued,
    ) -> Result<(), Full> {
        self.enqueue(&mut memory.commands, &mut memory.pool, shared, queued)
    }

    /// Queues a command whose bytes are there; if memory is short they are given back.
    #[inline(always)]
    fn enqueue(
        &mut self,
        commands: &mut Slots<'_, Queued>,
        pool: &mut Pool<'_>,
        shared: &mut Shared,
        queued: Queued,
    ) -> Result<(), Full> {
        let Queued { bytes, len, payload, acknowledge, .. } = queued;
        let list = match acknowledge && queued.is_data() {
            true => &mut self.data,
            false => &mut self.control,
        };
        let queued = Queued { stamp: shared.next_stamp(), ..queued };
        let quota = &mut self.quotas.commands;
        if list.push_new(commands, quota, queued).is_none() {
            pool.give_chain(&mut self.quotas.blocks, bytes);
            return Err(Full);
        }
        self.outgoing_total = self.outgoing_total.wrapping_add(len.into());
        self.queued = self.queued.saturating_add(payload.into());
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
        self.push_acknowledgement(&mut memory.acknowledgements, acknowledgement)
    }

    /// For how many acknowledgements there is room.
    pub(crate) fn acknowledgeable(
        &self,
        acknowledgements: &Slots<'_, Acknowledgement>,
        config: &Config,
    ) -> u32 {
        let quota = &self.quotas.acknowledgements;
        let available = acknowledgements.available(quota) as u32;
        match config.hardening.acknowledgements_max {
            u16::MAX => available,
            max => available.min(u32::from(max).saturating_sub(self.unacknowledged)),
        }
    }

    #[inline(always)]
    pub(crate) fn push_acknowledgement(
        &mut self,
        acknowledgements: &mut Slots<'_, Acknowledgement>,
        acknowledgement: Acknowledgement,
    ) -> Result<(), Full> {
        let quota = &mut self.quotas.acknowledgements;
        let list = &mut self.acknowledgements;
        list.push_new(acknowledgements, quota, acknowledgement).ok_or(Full)?;
        let count = u32::from(acknowledgement.count);
        self.unacknowledged = self.unacknowledged.wrapping_add(count);
        self.outgoing_total = self.outgoing_total.wrapping_add(ACKNOWLEDGE_LEN.wrapping_mul(count));
        Ok(())
    }

    /// Gives back the memory of a command that is in no list.
    #[inline]
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
        self.unacknowledged = 0;
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
        self.finish_reading(&mut memory.arrivals, &mut memory.pool);
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
    #[inline]
    pub(crate) fn give_arrival(&mut self, memory: &mut Memory<'_>, link: Link) {
        let arrival = &mut memory.arrivals[link];
        self.waiting = self.waiting.saturating_sub(arrival.len);
        arrival.give_bytes(&mut memory.pool, &mut self.quotas.blocks);
        memory.arrivals.give(&mut self.quotas.arrivals, link);
    }

    /// Gives back the packet that the application has been reading.
    #[inline]
    pub(crate) fn finish_reading(
        &mut self,
        arrivals: &mut Slots<'_, Arrival>,
        pool: &mut Pool<'_>,
    ) {
        if let Some(link) = core::mem::replace(&mut self.reading, Link::NONE).some() {
            // It does not count as waiting any more.
            arrivals[link].give_bytes(pool, &mut self.quotas.blocks);
            arrivals.give(&mut self.quotas.arrivals, link);
        }
    }
}

/// A packet that is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) channel: u8,
    pub(crate) flags: Flags,
    /// Length of all pieces together, in bytes.
    pub(crate) len: u32,
    pub(crate) pieces: &'a [&'a [u8]],
}

/// What queueing a packet changes.
pub(crate) struct Lent<'a, 'm> {
    pub(crate) channels: &'a mut Slots<'m, Channel>,
    pub(crate) commands: &'a mut Slots<'m, Queued>,
    pub(crate) pool: &'a mut Pool<'m>,
}

/// The head of a command that carries a whole packet.
struct Fixed {
    bytes: [u8; 8],
    /// How many of them belong to it.
    len: usize,
}

/// Takes one block, in which there is room for it all, and puts head and packet in.
#[inline(always)]
fn store_short(
    pool: &mut Pool<'_>,
    quota: &mut Quota,
    fixed: &Fixed,
    packet: &Packet<'_>,
) -> Option<BlockId> {
    let (block, room) = pool.take_bytes(quota)?;
    let mut writer = Writer::new(room);
    // There is room: that was asked before.
    let _ = writer.bytes(&fixed.bytes);
    writer.truncate(fixed.len);
    for piece in packet.pieces {
        let _ = writer.bytes(piece);
    }
    Some(block)
}

/// Takes as many blocks as it needs, and puts head and packet in.
fn store_packet(
    pool: &mut Pool<'_>,
    quota: &mut Quota,
    fixed: &Fixed,
    packet: &Packet<'_>,
) -> Option<BlockId> {
    let bytes = fixed.bytes.get(..fixed.len)?;
    let mut pieces = Pieces { rest: packet.pieces, at: 0 };
    store_long(pool, quota, bytes, packet.len as usize, &mut pieces)
}

/// Takes as many blocks as a command needs and puts it in: `fixed`, and the next `payload` bytes of `pieces`.
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
