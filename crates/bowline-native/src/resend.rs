//! Sending again what was lost, or may have been.

use bowline_core::serial::ahead32;
use bowline_core::{Instant, Link, Slots};
use bowline_transport::record::Record;
use bowline_transport::reliable::{Piece, Ranges};
use bowline_transport::tickets::Ends;
use bowline_wire::NoRoom;
use bowline_wire::native::{DataHead, Frame};

use crate::domain::Lane;
use crate::packet::Packet;
use crate::peer::Peer;
use crate::pieces::{plan_frame, range_of, void_frame};
use crate::storage::Memory;

/// Room beyond a range, in bytes, below which an ack block is left to another packet.
const ACK_ROOM: usize = 30;
/// At least as long as the head of the frame.
const HEAD_MAX: usize = 12;

impl Peer {
    /// After a probe timeout: the first bytes that a stream waits for, alone in a packet that answers for them
    /// from now on; or a PING.
    pub(crate) fn write_probe(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        self.statistics.probes = self.statistics.probes.wrapping_add(1);
        let domains = &memory.domains;
        // What its stream waits for, since nothing else may find room at the other side.
        let first = |records: &Slots<'_, Record>, packet: Link| {
            let mut at = Some(packet);
            while let Some(place) = at {
                let range = &records[place];
                let lane = range.domain.some().map(|link| &domains[link].lane);
                if let Some(out) = lane.and_then(Lane::out)
                    && out.is_first(range.start, range.end)
                {
                    return Some((packet, place));
                }
                at = if place == packet { range.more } else { range.next }.some();
            }
            None
        };
        let first = self.sent.find(&memory.records, first);
        if let Some(fresh) = memory.records.take(&mut self.send_records) {
            let Some((_, first)) = first else {
                memory.records.give(&mut self.send_records, fresh);
                // A sender without credit waits for nothing else.
                let tells_credit = |records: &Slots<'_, Record>, link: Link| {
                    (records[link].flags & Record::CREDIT != 0).then_some(())
                };
                match self.sent.find(&memory.records, tells_credit) {
                    Some(()) => self.resend_credits(memory),
                    None => self.ping_due = true,
                }
                return self.write_frames(memory, now, packet);
            };
            // From now on it is this packet that answers for the range.
            let Record { domain, start, end, flags, .. } = memory.records[first];
            let record = &mut memory.records[fresh];
            (record.domain, record.start, record.end) = (domain, start, end);
            record.flags = flags & Record::VOID;
            memory.records[first].domain = Link::NONE;
            return self.write_range(memory, now, packet, fresh);
        }
        let first = first.map(|(packet, _)| packet);
        self.take_over(memory, now, packet, first)
    }

    /// A probe where there is no record for it: it takes that of the packet it stands for, `wanted` or else the
    /// oldest, which counts as lost.
    fn take_over(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
        wanted: Option<Link>,
    ) -> Result<(), NoRoom> {
        let is_wanted = |_: &Slots<'_, Record>, link: Link| wanted == Some(link);
        let Some(oldest) = self.sent.pop_wanted(&mut memory.records, is_wanted) else {
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
        // What is sent once has lost the packet that answered for it.
        let lane = old.domain.some().map(|link| &mut memory.domains[link].lane);
        if let Some(Lane::Unreliable { out } | Lane::Ordered { out, .. }) = lane {
            let ends = &mut Ends::new(&mut self.tickets, &mut self.outcomes);
            out.tickets().on_lost(&mut memory.records, ends, old.start, old.end);
        }
        self.write_range(memory, now, packet, oldest)
    }

    /// A lost range whose record is not needed elsewhere.
    pub(crate) fn take_lost(&mut self, memory: &mut Memory<'_>) -> Option<Link> {
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = bowline_core::Slot::next(domain);
            if let Lane::Reliable { out, .. } | Lane::Loose { out, .. } = &mut domain.lane
                && let Some(lost) = out.take_lost(&mut ranges)
            {
                return Some(lost);
            }
        }
        None
    }

    /// The range of `oldest`, alone, in a packet that takes over the record; or a PING.
    pub(crate) fn write_range(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
        oldest: Link,
    ) -> Result<(), NoRoom> {
        let old = memory.records[oldest];
        memory.records[oldest] = Record { more: Link::NONE, domain: Link::NONE, flags: 0, ..old };
        packet.record = oldest;
        packet.eliciting = true;
        let lane = old.domain.some().map(|link| (link, &mut memory.domains[link]));
        let Some((link, domain)) = lane else { return self.write_ping(now, packet) };
        let channel = domain.channel.0;
        let stream = domain.lane.stream();
        let (Lane::Reliable { out, .. } | Lane::Loose { out, .. }) = &mut domain.lane else {
            return self.write_ping(now, packet);
        };
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.send_records };
        if old.flags & Record::VOID != 0 {
            // This packet may not tell of all of it.
            out.tickets().on_void_lost(ranges.records, old.start, old.end);
        }
        let Some(piece) = out.again(ranges, old.start, old.end) else {
            return self.write_ping(now, packet);
        };
        if piece.void {
            out.take_void(&memory.pool, &mut memory.records, piece);
            let range = range_of(link, piece);
            packet.note_range(&mut memory.records, &mut self.send_records, range);
            let before = packet.writer.len();
            void_frame(stream, channel, piece).emit(false, &mut packet.writer)?;
            self.charge(memory, now, link, packet.writer.len() - before);
            return self.leave_rest(memory, packet, link, range.end, old.end);
        }
        let room = packet.room(false);
        let plan = plan_frame(out, &memory.pool, piece, (stream, channel), room);
        let spare = room.here - plan.map_or(0, |plan| plan.len).min(room.here);
        if spare >= ACK_ROOM {
            // Never so long that what fitted does not fit any more.
            self.write_ack_within(now, packet, spare - HEAD_MAX)?;
        }
        let (Lane::Reliable { out, .. } | Lane::Loose { out, .. }) = &mut memory.domains[link].lane
        else {
            return Ok(());
        };
        let room = packet.room(false);
        let Some(plan) = plan_frame(out, &memory.pool, piece, (stream, channel), room) else {
            Frame::Ping.emit(false, &mut packet.writer)?;
            return self.leave_rest(memory, packet, link, piece.start, old.end);
        };
        let before = packet.writer.len();
        let head = DataHead { kind: plan.kind, channel, len: None };
        head.emit(&mut packet.writer)?;
        let space = packet.writer.tail_mut().get_mut(..plan.len).ok_or(NoRoom)?;
        let Some(out) = memory.domains[link].lane.out() else { return Ok(()) };
        out.copy_range(&memory.pool, piece.start, space);
        packet.writer.advance(plan.len);
        self.charge(memory, now, link, packet.writer.len() - before);
        self.statistics.bytes_resent += plan.len as u64;
        let range = range_of(link, Piece { len: plan.len as u32, ..piece });
        packet.note_range(&mut memory.records, &mut self.send_records, range);
        self.leave_rest(memory, packet, link, range.end, old.end)
    }

    /// What is sent out of turn counts like everything else.
    fn charge(&mut self, memory: &mut Memory<'_>, now: Instant, domain: Link, bytes: usize) {
        let more = memory.domains[domain].is_pending();
        self.line.charge(&mut memory.domains, domain, bytes as u32, more, now);
    }

    /// What lies between `cut` and `end` was in flight too, and does not fit this packet.
    fn leave_rest(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        domain: Link,
        cut: u32,
        end: u32,
    ) -> Result<(), NoRoom> {
        if ahead32(end, cut) <= 0 {
            return Ok(());
        }
        // It waits for a record of its own; without one it rides on this packet's fate.
        if let Some(rest) = memory.records.take(&mut self.send_records) {
            let record = &mut memory.records[rest];
            (record.domain, record.start, record.end) = (domain, cut, end);
            self.on_range_lost(memory, rest);
        } else {
            let record = &mut memory.records[packet.record];
            if record.domain.is_none() {
                (record.domain, record.start) = (domain, cut);
            }
            record.end = end;
            packet.flags |= Record::CUT;
        }
        Ok(())
    }

    fn write_ping(&mut self, now: Instant, packet: &mut Packet<'_>) -> Result<(), NoRoom> {
        self.write_ack(now, packet)?;
        Frame::Ping.emit(false, &mut packet.writer)
    }

    /// The range of a lost packet goes back to its stream.
    pub(crate) fn on_range_lost(&mut self, memory: &mut Memory<'_>, range: Link) {
        let Record { domain: link, start, end, .. } = memory.records[range];
        match link.some().map(|link| &mut memory.domains[link].lane) {
            Some(Lane::Reliable { out, .. } | Lane::Loose { out, .. }) => {
                let (records, quota) = (&mut memory.records, &mut self.send_records);
                out.on_lost(&mut Ranges { records, quota }, range);
                if out.is_pending() {
                    self.line.push_urgent(&mut memory.domains, link);
                }
            }
            Some(Lane::Unreliable { out } | Lane::Ordered { out, .. }) => {
                let ends = &mut Ends::new(&mut self.tickets, &mut self.outcomes);
                out.tickets().on_lost(&mut memory.records, ends, start, end);
                memory.records.give(&mut self.send_records, range);
            }
            None => memory.records.give(&mut self.send_records, range),
        }
    }

    /// Credit told in a lost packet is told again.
    pub(crate) fn resend_credits(&mut self, memory: &mut Memory<'_>) {
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = bowline_core::Slot::next(domain);
            if domain.lane.credit().is_some() {
                domain.credit_due = true;
                self.credit_due = true;
            }
        }
    }
}
