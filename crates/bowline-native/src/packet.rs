//! A packet in the making, from its number to its trailer.

use bowline_core::{Instant, Link, Quota, Slots};
use bowline_transport::congestion::Controller;
use bowline_transport::record::Record;
use bowline_wire::Writer;
use bowline_wire::native::{AckForm, Integrity, PacketHead, TRAILER_LEN};

use crate::endpoint::Context;
use crate::peer::Peer;
use crate::storage::Memory;

/// How far the largest number sent may be ahead of the largest acknowledged.
const UNACKED_MAX: u64 = 60_000;

/// What is left of a packet, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) here: usize,
    /// What an empty packet has.
    pub(crate) empty: usize,
    /// Other domains have something for it too.
    pub(crate) others: bool,
}

/// Bytes of a domain that a packet carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) domain: Link,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// It carries not them but the word that they were given up.
    pub(crate) void: bool,
}

/// A packet in the making.
pub(crate) struct Packet<'b> {
    pub(crate) writer: Writer<'b>,
    pub(crate) number: u64,
    pub(crate) head_len: usize,
    /// The record of the packet, taken when the first frame that elicits an acknowledgement came.
    pub(crate) record: Link,
    /// The last record of `record`'s list of further ranges.
    pub(crate) last_range: Link,
    pub(crate) eliciting: bool,
    pub(crate) flags: u16,
    pub(crate) reported: u32,
    pub(crate) has_ack: bool,
}

impl Peer {
    /// Draws a number and writes the head.
    pub(crate) fn begin_packet<'b>(
        &mut self,
        context: &mut Context,
        buf: &'b mut [u8],
    ) -> Option<Packet<'b>> {
        if self.skip_after == 0 {
            self.skip_after = 65 + (context.random.next_u64() & 127) as u8;
        }
        if self.next_number == self.skipped.wrapping_add(u64::from(self.skip_after)) {
            self.skipped = self.next_number;
            self.skip_after = 0;
            self.next_number += 1;
        }
        let number = self.next_number;
        let ahead = (number + 1).saturating_sub(self.unacked_from());
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
            connection_id: self.their_id,
            number_len,
            number_low: number as u32,
        };
        head.emit(self.their_id_len, &mut writer).ok()?;
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
    pub(crate) fn finish_packet(
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
            record.flags |= packet.flags;
            record.reported = packet.reported;
            self.sent.push(&mut memory.records, link);
        }
        len
    }

    pub(crate) fn take_record(&mut self, memory: &mut Memory<'_>, packet: &mut Packet<'_>) -> bool {
        if packet.record.is_none()
            && let Some(link) = memory.records.take(&mut self.send_records)
        {
            packet.record = link;
        }
        packet.record.is_some()
    }

    pub(crate) fn drop_unused_record(&mut self, memory: &mut Memory<'_>, packet: &mut Packet<'_>) {
        if !packet.eliciting && packet.record.is_some() {
            memory.records.give(&mut self.send_records, packet.record);
            packet.record = Link::NONE;
        }
    }
}

impl Packet<'_> {
    /// What is left of the packet; `others` tells whether other domains have something for it.
    pub(crate) fn room(&self, others: bool) -> Room {
        let here = self.writer.room();
        // An empty packet: this one, with a longer packet number.
        let empty = (here + self.writer.len()).saturating_sub(self.head_len + 3);
        Room { here, empty, others }
    }

    /// Whether another range can be noted, whatever it is.
    pub(crate) fn has_room_for_range(&self, records: &Slots<'_, Record>, quota: &Quota) -> bool {
        self.last_range.is_none() && records[self.record].domain.is_none()
            || records.available(quota) >= 2
    }

    /// Notes that this packet carries a range of a stream, or of a queue; or, with [`Record::VOID`], that
    /// it tells of one given up.
    pub(crate) fn note_range(
        &mut self,
        records: &mut Slots<'_, Record>,
        quota: &mut Quota,
        range: Range,
    ) -> bool {
        let Range { domain, start, end, void } = range;
        let last = if self.last_range.is_some() { self.last_range } else { self.record };
        if last.is_none() {
            return false;
        }
        let flags = if void { Record::VOID } else { 0 };
        let record = &mut records[last];
        if record.domain.is_none() {
            (record.domain, record.start, record.end) = (domain, start, end);
            record.flags |= flags;
            return true;
        }
        if record.domain == domain && record.end == start && record.flags & Record::VOID == flags {
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
        record.flags = flags;
        if self.last_range.is_some() {
            records[self.last_range].next = link;
        } else {
            records[self.record].more = link;
        }
        self.last_range = link;
        true
    }
}
