//! Messages, fragments and pieces of streams, put into packets.

use bowline_core::{Instant, Link};
use bowline_transport::reliable::{OutStream, Piece, Ranges};
use bowline_transport::tickets::Ends;
use bowline_transport::unreliable::Next;
use bowline_wire::native::{DataHead, DataKind, Frame, Stream};
use bowline_wire::{NoRoom, varint};

use crate::domain::Lane;
use crate::packet::{Packet, Range};
use crate::peer::Peer;
use crate::storage::Memory;

/// Room left in a packet below which no piece of a longer stream or message is cut.
const PIECE_MIN: usize = 16;

/// What became of a packet that a domain was asked to write into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Packed {
    /// The domain has nothing more, and others may follow.
    All,
    /// Nothing more goes into this packet, whether or not the domain has more.
    PacketFull,
}

impl Peer {
    pub(crate) fn write_data(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
    ) -> Result<(), NoRoom> {
        while let Some(link) = self.line.front(&mut memory.domains, now) {
            let before = packet.writer.len();
            let packed = self.pack_domain(memory, now, packet, link)?;
            let bytes = packet.writer.len() - before;
            let more = memory.domains[link].is_pending();
            self.line.charge(&mut memory.domains, link, bytes as u32, more, now);
            if packed == Packed::PacketFull || more {
                break;
            }
        }
        Ok(())
    }

    fn pack_domain(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        packet: &mut Packet<'_>,
        link: Link,
    ) -> Result<Packed, NoRoom> {
        let others = self.line.has_others(&mut memory.domains, link, now);
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
            if piece.void {
                if room < VOID_MAX
                    || !packet.note_range(ranges.records, ranges.quota, range_of(link, piece))
                {
                    return Ok(Packed::PacketFull);
                }
                out.take_void(&memory.pool, ranges.records, piece);
                void_frame(Stream::Reliable, channel, piece).emit(false, &mut packet.writer)?;
                packet.eliciting = true;
                continue;
            }
            let Some((kind, len, len_field)) = plan_piece(out, piece, channel, room, others) else {
                return Ok(Packed::PacketFull);
            };
            let range = range_of(link, Piece { len: len as u32, ..piece });
            if !packet.note_range(ranges.records, ranges.quota, range) {
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
        let has_tickets = !out.tickets().is_empty();
        let kind = if ordered { DataKind::UnreliableOrdered } else { DataKind::Unreliable };
        let bare = DataHead { kind, channel, len: None }.len();
        loop {
            let room = packet.writer.room();
            // What an empty packet holds: this one's, with a longer packet number.
            let room_max = (room + packet.writer.len()).saturating_sub(packet.head_len + 3 + bare);
            let (pool, quota) = (&mut memory.pool, &mut self.send_blocks);
            let records = &mut memory.records;
            let mut ends = Ends::new(&mut self.tickets, &mut self.outcomes);
            if has_tickets {
                out.drop_dead(pool, quota, records, &mut ends);
                // For the range of bytes whose fate decides that of the messages.
                if !packet.has_room_for_range(records, &self.send_records) {
                    return Ok(Packed::PacketFull);
                }
            }
            let alive = if has_tickets { out.alive(records) } else { out.queued() };
            let start = out.offset();
            match out.next(pool, quota, alive, room.saturating_sub(bare), room_max) {
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
                    let end = out.offset();
                    if has_tickets && out.tickets().on_sent(records, end, 0) {
                        let range = Range { domain: link, start, end, void: false };
                        packet.note_range(records, &mut self.send_records, range);
                    }
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
                    // The prefix of the message, which does not travel, was taken out by now.
                    let start = out.offset();
                    let prefix = varint::len(total) as u32;
                    let new = has_tickets && offset == 0;
                    let tagged = new && out.tickets().on_sent(records, start, prefix)
                        || has_tickets && offset > 0;
                    let follow = others || out.queued() as usize > len;
                    let left = space.saturating_sub(len + varint::len(len as u32));
                    let more = follow && left >= PIECE_MIN;
                    let head = DataHead { kind, channel, len: more.then_some(len as u32) };
                    head.emit(&mut packet.writer)?;
                    let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
                    out.take_fragment(pool, quota, space);
                    packet.writer.advance(len);
                    packet.eliciting = true;
                    if tagged {
                        let range = Range { domain: link, start, end: out.offset(), void: false };
                        packet.note_range(records, &mut self.send_records, range);
                    }
                    if !more {
                        return Ok(Packed::PacketFull);
                    }
                }
            }
        }
    }
}

/// The longest VOID frame, in bytes.
const VOID_MAX: usize = 11;

/// Tells that a range of a stream was given up.
pub(crate) const fn void_frame(stream: Stream, channel: u8, piece: Piece) -> Frame<'static> {
    Frame::Void { stream, channel, offset: piece.start, len: piece.len }
}

pub(crate) const fn range_of(domain: Link, piece: Piece) -> Range {
    let Piece { start, len, void, .. } = piece;
    Range { domain, start, end: start.wrapping_add(len), void }
}

/// How a range of a stream goes into `room` bytes: kind of frame, bytes of it, and its length field.
fn plan_piece(
    out: &OutStream,
    piece: Piece,
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

pub(crate) fn offset_kind(short: bool, start: u32) -> DataKind {
    let short = short || cfg!(bowline_mutant = "short_offsets");
    if short { DataKind::ReliableShort(start as u8) } else { DataKind::ReliableLong(start) }
}
