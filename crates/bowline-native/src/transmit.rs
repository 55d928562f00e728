//! Making packets out of what waits: which frames, in which order.

use bowline_core::DisconnectReason;
use bowline_core::{BufferTooShort, Instant};
use bowline_transport::record::Record;
use bowline_wire::NoRoom;
use bowline_wire::native::{AckForm, CloseCause, Frame, emit_ack_ranges, emit_ack_short};

use crate::endpoint::Context;
use crate::packet::Packet;
use crate::peer::{Peer, Phase};
use crate::storage::Memory;

/// Packets in a row that elicit no acknowledgement before one with a PING.
const NOT_ELICITING_MAX: u8 = 32;

impl Peer {
    /// Writes the next session packet due at `now` and returns its length.
    pub(crate) fn transmit(
        &mut self,
        memory: &mut Memory<'_>,
        context: &mut Context,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<usize>, BufferTooShort> {
        let limit = usize::from(self.theirs.datagram_max);
        let needed = BufferTooShort { needed: limit };
        let buf = buf.get_mut(..limit).ok_or(needed)?;
        let Some(mut packet) = self.begin_packet(context, buf) else { return Ok(None) };
        let ended = matches!(self.phase, Phase::Closing { .. } | Phase::Closed);
        let probe = core::mem::take(&mut self.probe_due);
        let wrote = if ended {
            self.write_goodbye(memory, now, &mut packet)
        } else if probe {
            self.write_probe(memory, now, &mut packet)
        } else {
            self.write_frames(memory, now, &mut packet)
        };
        if wrote.is_err() || packet.writer.len() <= packet.head_len {
            debug_assert!(wrote.is_ok(), "room is checked before anything is written");
            if packet.record.is_some() {
                memory.records.give(&mut self.send_records, packet.record);
            }
            return Ok(None);
        }
        Ok(Some(self.finish_packet(memory, now, packet)))
    }

    pub(crate) fn write_frames(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        // Only looking tells whether all have used up their budgets.
        let data = self.has_window() && self.line.front(&mut memory.domains, now).is_some();
        let ack_due = self.acks.due().is_some_and(|due| due <= now);
        if !(data || ack_due || self.ping_due || self.credit_due) {
            return Ok(());
        }
        let ping = self.ping_due || ack_due && self.not_eliciting >= NOT_ELICITING_MAX;
        self.write_ack(now, packet)?;
        if !(data || ping || self.credit_due) {
            return Ok(());
        }
        if !self.take_record(memory, packet) {
            // What was lost has records, and waits for none.
            let lost = if data { self.take_lost(memory) } else { None };
            return lost.map_or(Ok(()), |lost| self.write_range(memory, now, packet, lost));
        }
        if self.credit_due {
            self.write_credits(memory, packet)?;
        }
        if ping {
            self.ping_due = false;
            Frame::Ping.emit(false, &mut packet.writer)?;
            packet.eliciting = true;
        }
        if data {
            self.write_data(memory, now, packet)?;
        }
        self.drop_unused_record(memory, packet);
        Ok(())
    }

    /// An ack block, if anything waits to be acknowledged.
    pub(crate) fn write_ack(
        &mut self,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        let room = packet.writer.room();
        self.write_ack_within(now, packet, room)
    }

    /// The same in `room` bytes at most, 8 or more.
    pub(crate) fn write_ack_within(
        &mut self,
        now: Instant,
        packet: &mut Packet<'_>,
        room: usize,
    ) -> Result<(), NoRoom> {
        if !self.acks.pending() || packet.has_ack {
            return Ok(());
        }
        let Some(largest) = self.received.largest() else { return Ok(()) };
        let delay = self.acks.delay_code(now);
        let small = self.number_len_in == 1;
        let (form, all) = if small && delay < 4 && self.received.needs_only_last_eight() {
            emit_ack_short(&mut packet.writer, largest)?;
            (AckForm::Short, true)
        } else {
            let (form, len) = if small { (AckForm::Ranges1, 1) } else { (AckForm::Ranges2, 2) };
            let room = (packet.writer.room() / 2).max(8).min(room);
            let (mut ranges, mut all) = (self.received.ranges(), false);
            let ranges = core::iter::from_fn(|| {
                let next = ranges.next();
                // Asked for more than there are: those before were written.
                all = next.is_none();
                next
            });
            if emit_ack_ranges(&mut packet.writer, len, delay, ranges, room).is_err() {
                return Ok(());
            }
            (form, all)
        };
        packet.writer.set_bits(0, (form as u8) << 4);
        packet.has_ack = true;
        if all {
            packet.flags |= Record::REPORTS;
            packet.reported = largest as u32;
        }
        Ok(())
    }

    fn write_credits(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        let mut at = self.domains;
        let mut left = false;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = bowline_core::Slot::next(domain);
            if !domain.credit_due {
                continue;
            }
            let Some(credit) = domain.lane.credit() else { continue };
            if packet.writer.room() < 7 {
                left = true;
                break;
            }
            let (stream, limit) = (domain.lane.stream(), credit.limit());
            Frame::Credit { stream, channel: domain.channel.0, limit }
                .emit(false, &mut packet.writer)?;
            domain.credit_due = false;
            packet.eliciting = true;
            packet.flags |= Record::CREDIT;
        }
        self.credit_due = left;
        Ok(())
    }

    /// CLOSE, or the last acknowledgement to somebody who sent it.
    fn write_goodbye(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        self.write_ack(now, packet)?;
        let Phase::Closing { cause, tries } = self.phase else {
            self.farewell_due = false;
            return Ok(());
        };
        let reason = match (cause, self.ended) {
            (CloseCause::Application, Some(DisconnectReason::Closed(reason))) => reason.0,
            _ => 0,
        };
        self.phase = Phase::Closing { cause, tries: tries.saturating_add(1) };
        self.repeat_at = now + self.probe_timeout().saturating_mul(1 << tries.min(4));
        Frame::Close { cause, reason }.emit(false, &mut packet.writer)?;
        packet.flags |= Record::CLOSE;
        packet.eliciting = self.take_record(memory, packet);
        Ok(())
    }
}
