//! Making packets out of what waits.

use bowline_core::{BufferTooShort, Instant, Link, Quota, Slots};
use bowline_transport::congestion::Controller;
use bowline_transport::record::Record;
use bowline_transport::reliable::Ranges;
use bowline_transport::unreliable::Next;
use bowline_wire::native::{
    AckForm, CloseCause, DataHead, DataKind, Frame, Integrity, PacketHead, TRAILER_LEN,
    emit_ack_ranges, emit_ack_short,
};
use bowline_wire::{NoRoom, Writer, varint};

use bowline_core::DisconnectReason;

use crate::domain::Lane;
use crate::endpoint::Context;
use crate::peer::{Peer, Phase};
use crate::storage::Memory;

/// Room left in a packet below which no piece of a longer stream or message is cut.
const PIECE_MIN: usize = 16;
/// Packets in a row that elicit no acknowledgement before one with a PING.
const NOT_ELICITING_MAX: u8 = 32;
/// How far the largest number sent may be ahead of the largest acknowledged.
const UNACKED_MAX: u64 = 60_000;

/// A packet in the making.
struct Packet<'b> {
    writer: Writer<'b>,
    number: u64,
    head_len: usize,
    /// The record of the packet, taken when the first frame that elicits an acknowledgement came.
    record: Link,
    /// The last record of `record`'s list of further ranges.
    last_range: Link,
    eliciting: bool,
    flags: u16,
    reported: u32,
    has_ack: bool,
}

/// What became of a packet that a domain was asked to write into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Packed {
    /// The domain has nothing more, and others may follow.
    All,
    /// Nothing more goes into this packet, whether or not the domain has more.
    PacketFull,
}

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

    /// Draws a number and writes the head.
    fn begin_packet<'b>(&mut self, context: &mut Context, buf: &'b mut [u8]) -> Option<Packet<'b>> {
        if self.skip_at == u64::MAX || self.next_number > self.skip_at {
            self.skip_at = self.next_number + 64 + (context.random.next_u64() & 127);
        }
        if self.next_number == self.skip_at {
            self.skipped = self.next_number;
            self.next_number += 1;
        }
        let number = self.next_number;
        let ahead = number.saturating_sub(self.acked).saturating_add(u64::from(!self.any_acked));
        if ahead > UNACKED_MAX {
            return None;
        }
        let number_len = match self.integrity {
            Integrity::None => 4,
            Integrity::Crc32 if cfg!(bowline_mutant = "short_numbers") => 1,
            Integrity::Crc32 => PacketHead::number_len_for(ahead)?,
        };
        let trailer = if self.integrity == Integrity::None { 0 } else { TRAILER_LEN };
        let mut writer = Writer::new(buf);
        writer.hold_back(trailer);
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: self.their_id.unwrap_or(0),
            number_len,
            number_low: number as u32,
        };
        head.emit(if self.their_id.is_some() { 4 } else { 0 }, &mut writer).ok()?;
        Some(Packet {
            head_len: writer.len(),
            writer,
            number,
            record: Link::NONE,
            last_range: Link::NONE,
            eliciting: false,
            flags: 0,
            reported: 0,
            has_ack: false,
        })
    }

    /// Trailer, record, counters.
    fn finish_packet(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        mut packet: Packet<'_>,
    ) -> usize {
        if self.integrity == Integrity::Crc32 {
            let checksum = self.crc_out.checksum(packet.number, packet.writer.written());
            packet.writer.hold_back(0);
            let fits = packet.writer.u32(checksum);
            debug_assert!(fits.is_ok(), "its room was held back");
        }
        let len = packet.writer.len();
        self.next_number = packet.number + 1;
        if packet.has_ack {
            self.acks.on_sent();
        }
        if packet.eliciting {
            self.not_eliciting = 0;
            self.eliciting_at = now;
            self.liveness.on_eliciting_sent(now);
            self.window.on_sent(now, len as u32);
        } else {
            self.not_eliciting = self.not_eliciting.saturating_add(1);
        }
        if let Some(link) = packet.record.some() {
            let record = &mut memory.records[link];
            record.number = packet.number as u32;
            record.at = now;
            record.size = len as u16;
            record.flags = packet.flags;
            record.reported = packet.reported;
            self.sent.push(&mut memory.records, link);
        }
        len
    }

    fn write_frames(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        let data = !self.pending.is_empty() && self.has_window();
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
            self.write_data(memory, packet)?;
        }
        self.drop_unused_record(memory, packet);
        Ok(())
    }

    fn take_record(&mut self, memory: &mut Memory<'_>, packet: &mut Packet<'_>) -> bool {
        if packet.record.is_none()
            && let Some(link) = memory.records.take(&mut self.send_records)
        {
            packet.record = link;
        }
        packet.record.is_some()
    }

    fn drop_unused_record(&mut self, memory: &mut Memory<'_>, packet: &mut Packet<'_>) {
        if !packet.eliciting && packet.record.is_some() {
            memory.records.give(&mut self.send_records, packet.record);
            packet.record = Link::NONE;
        }
    }

    /// An ack block, if anything waits to be acknowledged.
    fn write_ack(&mut self, now: Instant, packet: &mut Packet<'_>) -> Result<(), NoRoom> {
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
            let room = (packet.writer.room() / 2).max(8);
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
            let Lane::Reliable { stream, .. } = &domain.lane else { continue };
            if packet.writer.room() < 6 {
                left = true;
                break;
            }
            Frame::Credit { channel: domain.channel.0, limit: stream.credit().limit() }
                .emit(false, &mut packet.writer)?;
            domain.credit_due = false;
            packet.eliciting = true;
            packet.flags |= Record::CREDIT;
        }
        self.credit_due = left;
        Ok(())
    }

    fn write_data(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        while let Some(link) = self.pending.front() {
            match self.pack_domain(memory, packet, link)? {
                Packed::All => {
                    self.pending.pop(&mut memory.domains);
                }
                Packed::PacketFull => {
                    if memory.domains[link].is_pending() {
                        self.pending.rotate(&mut memory.domains);
                    } else {
                        self.pending.pop(&mut memory.domains);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn pack_domain(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
    ) -> Result<Packed, NoRoom> {
        let others = self.pending.after(&mut memory.domains, link).is_some();
        if matches!(memory.domains[link].lane, Lane::Reliable { .. }) {
            self.pack_reliable(memory, packet, link, others)
        } else {
            self.pack_unreliable(memory, packet, link, others)
        }
    }

    /// Puts ranges of a stream into a packet.
    fn pack_reliable(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Packed, NoRoom> {
        let domain = &mut memory.domains[link];
        let channel = domain.channel.0;
        let Lane::Reliable { out, .. } = &mut domain.lane else { return Ok(Packed::All) };
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        while let Some(piece) = out.peek(&mut ranges) {
            let room = packet.writer.room();
            let Some((kind, len, len_field)) = plan_piece(out, piece, channel, room, others) else {
                return Ok(Packed::PacketFull);
            };
            let end = piece.start.wrapping_add(len as u32);
            if !packet.note_range(ranges.records, ranges.quota, link, piece.start, end) {
                return Ok(Packed::PacketFull);
            }
            DataHead { kind, channel, len: len_field }.emit(&mut packet.writer)?;
            let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
            out.take(&memory.pool, &mut ranges, piece, space);
            packet.writer.advance(len);
            packet.eliciting = true;
            if piece.again {
                self.statistics.bytes_resent += len as u64;
            }
            if len_field.is_none() {
                return Ok(Packed::PacketFull);
            }
        }
        Ok(Packed::All)
    }

    /// Puts whole messages, or a fragment of one, into a packet.
    fn pack_unreliable(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Packed, NoRoom> {
        let domain = &mut memory.domains[link];
        let channel = domain.channel.0;
        let (out, ordered) = match &mut domain.lane {
            Lane::Unreliable { out } => (out, false),
            Lane::Ordered { out, .. } => (out, true),
            Lane::Reliable { .. } => return Ok(Packed::All),
        };
        let kind = if ordered { DataKind::UnreliableOrdered } else { DataKind::Unreliable };
        let bare = DataHead { kind, channel, len: None }.len();
        loop {
            let room = packet.writer.room();
            // What an empty packet holds: this one's, with a longer packet number.
            let room_max = (room + packet.writer.len()).saturating_sub(packet.head_len + 3 + bare);
            let (pool, quota) = (&mut memory.pool, &mut self.send_blocks);
            match out.next(pool, quota, room.saturating_sub(bare), room_max) {
                Next::Nothing => return Ok(Packed::All),
                Next::Later => return Ok(Packed::PacketFull),
                Next::Whole(len) => {
                    let left = room.saturating_sub(bare + varint::len(len as u32) + len);
                    let more = others && left >= PIECE_MIN && out.queued() as usize == len;
                    let head = DataHead { kind, channel, len: more.then_some(len as u32) };
                    head.emit(&mut packet.writer)?;
                    let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
                    out.take_whole(pool, quota, space);
                    packet.writer.advance(len);
                    packet.eliciting = true;
                    // Without a length the frame is the last one.
                    return Ok(if more { Packed::All } else { Packed::PacketFull });
                }
                Next::Fragment => {
                    let Some((id, offset, total)) = out.fragment() else {
                        return Ok(Packed::All);
                    };
                    let kind = DataKind::Fragment { ordered, id, offset, total };
                    let head_len = DataHead { kind, channel, len: None }.len();
                    let rest = (total - offset) as usize;
                    let Some(space) =
                        room.checked_sub(head_len).filter(|&s| s >= PIECE_MIN.min(rest))
                    else {
                        return Ok(Packed::PacketFull);
                    };
                    let len = rest.min(space);
                    let follow = others || out.queued() as usize > len;
                    let left = space.saturating_sub(len + varint::len(len as u32));
                    let more = follow && left >= PIECE_MIN;
                    let head = DataHead { kind, channel, len: more.then_some(len as u32) };
                    head.emit(&mut packet.writer)?;
                    let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
                    out.take_fragment(pool, quota, space);
                    packet.writer.advance(len);
                    packet.eliciting = true;
                    if !more {
                        return Ok(Packed::PacketFull);
                    }
                }
            }
        }
    }

    /// After a probe timeout: the oldest bytes in flight, alone, in a packet that takes over their
    /// record; or a PING.
    fn write_probe(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        self.statistics.probes = self.statistics.probes.wrapping_add(1);
        let domains = &memory.domains;
        // What its stream waits for, since nothing else may find room at the other side.
        let is_first = |records: &Slots<'_, Record>, link: Link| {
            let mut at = Some(link);
            while let Some(range) = at.map(|link| records[link]) {
                let lane = range.domain.some().map(|link| &domains[link].lane);
                if let Some(Lane::Reliable { out, .. }) = lane
                    && out.is_first(range.start, range.end)
                {
                    return true;
                }
                at = if at == Some(link) { range.more } else { range.next }.some();
            }
            false
        };
        let Some(oldest) = self.sent.pop_wanted(&mut memory.records, is_first) else {
            self.ping_due = true;
            return self.write_frames(memory, now, packet);
        };
        let old = memory.records[oldest];
        self.statistics.packets_lost = self.statistics.packets_lost.wrapping_add(1);
        if old.flags & Record::CREDIT != 0 {
            self.resend_credits(memory);
        }
        let mut at = old.more;
        while let Some(range) = at.some() {
            at = memory.records[range].next;
            self.on_range_lost(memory, range);
        }
        self.write_range(memory, now, packet, oldest)
    }

    /// A lost range whose record is not needed elsewhere.
    fn take_lost(&mut self, memory: &mut Memory<'_>) -> Option<Link> {
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = bowline_core::Slot::next(domain);
            if let Lane::Reliable { out, .. } = &mut domain.lane
                && let Some(lost) = out.take_lost(&mut ranges)
            {
                return Some(lost);
            }
        }
        None
    }

    /// The range of `oldest`, alone, in a packet that takes over the record; or a PING.
    fn write_range(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
        oldest: Link,
    ) -> Result<(), NoRoom> {
        let old = memory.records[oldest];
        memory.records[oldest] = Record { more: Link::NONE, domain: Link::NONE, ..old };
        packet.record = oldest;
        packet.eliciting = true;
        let range = old.domain.some().and_then(|link| {
            let Lane::Reliable { out, .. } = &memory.domains[link].lane else { return None };
            let (start, end) = out.unacked(old.start, old.end)?;
            Some((link, start, end))
        });
        let Some((link, start, end)) = range else {
            self.write_ack(now, packet)?;
            return Frame::Ping.emit(false, &mut packet.writer);
        };
        let domain = &memory.domains[link];
        let channel = domain.channel.0;
        let Lane::Reliable { out, .. } = &domain.lane else { return Ok(()) };
        let kind = offset_kind(out.allows_short_offset(end), start);
        let len = end.wrapping_sub(start) as usize;
        let head = DataHead { kind, channel, len: None };
        if head.len() + len + 16 <= packet.writer.room() {
            self.write_ack(now, packet)?;
        }
        let room = packet.writer.room().saturating_sub(head.len());
        let len = len.min(room);
        let cut = start.wrapping_add(len as u32);
        head.emit(&mut packet.writer)?;
        let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
        out.copy_range(&memory.pool, start, space);
        packet.writer.advance(len);
        self.statistics.bytes_resent += len as u64;
        let record = &mut memory.records[oldest];
        (record.domain, record.start, record.end) = (link, start, cut);
        if cut != end {
            // The rest waits for a record of its own; without one it rides on this packet's fate.
            if let Some(rest) = memory.records.take(&mut self.send_records) {
                let record = &mut memory.records[rest];
                (record.domain, record.start, record.end) = (link, cut, end);
                self.on_range_lost(memory, rest);
            } else {
                memory.records[oldest].end = end;
                packet.flags |= Record::CUT;
            }
        }
        Ok(())
    }

    /// The range of a lost packet goes back to its stream.
    pub(crate) fn on_range_lost(&mut self, memory: &mut Memory<'_>, range: Link) {
        let link = memory.records[range].domain;
        let lane = link.some().map(|link| &mut memory.domains[link].lane);
        let Some(Lane::Reliable { out, .. }) = lane else {
            memory.records.give(&mut self.send_records, range);
            return;
        };
        out.on_lost(
            &mut Ranges { records: &mut memory.records, quota: &mut self.send_records },
            range,
        );
        if out.is_pending() {
            self.pending.push_front(&mut memory.domains, link);
        }
    }

    /// Credit told in a lost packet is told again.
    pub(crate) fn resend_credits(&mut self, memory: &mut Memory<'_>) {
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = bowline_core::Slot::next(domain);
            if matches!(domain.lane, Lane::Reliable { .. }) {
                domain.credit_due = true;
                self.credit_due = true;
            }
        }
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

impl Packet<'_> {
    /// Notes that this packet carries a range of a stream.
    fn note_range(
        &mut self,
        records: &mut Slots<'_, Record>,
        quota: &mut Quota,
        domain: Link,
        start: u32,
        end: u32,
    ) -> bool {
        let last = if self.last_range.is_some() { self.last_range } else { self.record };
        if last.is_none() {
            return false;
        }
        let record = &mut records[last];
        if record.domain.is_none() {
            (record.domain, record.start, record.end) = (domain, start, end);
            return true;
        }
        if record.domain == domain && record.end == start {
            record.end = end;
            return true;
        }
        // The last record stays for packets that send again what was lost.
        if records.available(quota) < 2 {
            return false;
        }
        let Some(link) = records.take(quota) else { return false };
        let record = &mut records[link];
        (record.domain, record.start, record.end) = (domain, start, end);
        if self.last_range.is_some() {
            records[self.last_range].next = link;
        } else {
            records[self.record].more = link;
        }
        self.last_range = link;
        true
    }
}

/// How a range of a stream goes into `room` bytes: kind of frame, bytes of it, and its length field.
fn plan_piece(
    out: &bowline_transport::reliable::OutStream,
    piece: bowline_transport::reliable::Piece,
    channel: u8,
    room: usize,
    others: bool,
) -> Option<(DataKind, usize, Option<u32>)> {
    let wanted = piece.len as usize;
    let kind =
        offset_kind(out.allows_short_offset(piece.start.wrapping_add(piece.len)), piece.start);
    let head = DataHead { kind, channel, len: None }.len();
    let space = room.checked_sub(head).filter(|&space| space >= wanted.min(PIECE_MIN))?;
    if wanted >= space {
        return Some((kind, space, None));
    }
    let left = space.saturating_sub(wanted + varint::len(wanted as u32));
    let more = (others || piece.again) && left >= PIECE_MIN;
    Some((kind, wanted, more.then_some(wanted as u32)))
}

fn offset_kind(short: bool, start: u32) -> DataKind {
    let short = short || cfg!(bowline_mutant = "short_offsets");
    if short { DataKind::ReliableShort(start as u8) } else { DataKind::ReliableLong(start) }
}
