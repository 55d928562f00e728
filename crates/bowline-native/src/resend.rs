//! Sending again what was lost, or may have been.

use bowline_core::{Instant, Link, Slots};
use bowline_transport::record::Record;
use bowline_transport::reliable::Ranges;
use bowline_wire::NoRoom;
use bowline_wire::native::{DataHead, Frame};

use crate::domain::Lane;
use crate::packet::Packet;
use crate::peer::Peer;
use crate::pieces::offset_kind;
use crate::storage::Memory;

impl Peer {
    /// After a probe timeout: the oldest bytes in flight, alone, in a packet that takes over their
    /// record; or a PING.
    pub(crate) fn write_probe(
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
    pub(crate) fn take_lost(&mut self, memory: &mut Memory<'_>) -> Option<Link> {
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
    pub(crate) fn write_range(
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
}
