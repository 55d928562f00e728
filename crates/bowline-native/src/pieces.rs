//! Messages, fragments and pieces of streams, put into packets.

use bowline_core::{Instant, Link, Pool};
use bowline_transport::reliable::{Cut, OutStream, Piece, Ranges};
use bowline_transport::tickets::Ends;
use bowline_transport::unreliable::{Next, OutQueue};
use bowline_wire::native::{DataHead, DataKind, Frame, Stream};
use bowline_wire::{NoRoom, varint};

use crate::domain::Lane;
use crate::packet::{Packet, Range, Room};
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
        if memory.domains[link].lane.out().is_some() {
            self.pack_stream(memory, packet, link, others)
        } else {
            self.pack_unreliable(memory, packet, link, others)
        }
    }

    /// Puts ranges of a stream into a packet.
    fn pack_stream(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Packed, NoRoom> {
        let domain = &mut memory.domains[link];
        let (stream, channel) = (domain.lane.stream(), domain.channel.0);
        let (Lane::Reliable { out, .. } | Lane::Loose { out, .. }) = &mut domain.lane else {
            return Ok(Packed::All);
        };
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        while let Some(piece) = out.peek(&mut ranges) {
            if piece.void {
                let range = range_of(link, piece);
                if packet.writer.room() < VOID_MAX
                    || !packet.note_range(ranges.records, ranges.quota, range)
                {
                    return Ok(Packed::PacketFull);
                }
                out.take_void(&memory.pool, ranges.records, piece);
                void_frame(stream, channel, piece).emit(false, &mut packet.writer)?;
                packet.eliciting = true;
                continue;
            }
            let (pool, room) = (&memory.pool, packet.room(others));
            let Some(plan) = plan_frame(out, pool, piece, (stream, channel), room) else {
                return Ok(Packed::PacketFull);
            };
            let range = range_of(link, Piece { len: plan.len as u32, ..piece });
            if !packet.note_range(ranges.records, ranges.quota, range) {
                return Ok(Packed::PacketFull);
            }
            let len = plan.follow.then_some(plan.len as u32);
            DataHead { kind: plan.kind, channel, len }.emit(&mut packet.writer)?;
            let space = packet.writer.tail_mut().get_mut(..plan.len).ok_or(NoRoom)?;
            out.take(&memory.pool, &mut ranges, piece, space);
            packet.writer.advance(plan.len);
            packet.eliciting = true;
            if piece.again {
                self.statistics.bytes_resent += plan.len as u64;
            }
            if !plan.follow {
                return Ok(Packed::PacketFull);
            }
        }
        Ok(Packed::All)
    }

    /// Puts whole messages, or fragments, into a packet.
    fn pack_unreliable(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Packed, NoRoom> {
        loop {
            if let Some(packed) = self.pack_next(memory, packet, link, others)? {
                return Ok(packed);
            }
        }
    }

    /// Puts whole messages, or a fragment of one, into a packet. More may follow in it if nothing is said.
    #[inline]
    fn pack_next(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Option<Packed>, NoRoom> {
        let domain = &mut memory.domains[link];
        let channel = domain.channel.0;
        let Some((out, ordered)) = sends_once(&mut domain.lane) else {
            return Ok(Some(Packed::All));
        };
        let has_tickets = !out.tickets().is_empty();
        let kind = if ordered { DataKind::UnreliableOrdered } else { DataKind::Unreliable };
        let bare = DataHead { kind, channel, len: None }.len();
        let room = packet.writer.room();
        let room_max = packet.room(others).empty.saturating_sub(bare);
        let (pool, quota) = (&mut memory.pool, &mut self.send_blocks);
        let records = &mut memory.records;
        let mut ends = Ends::new(&mut self.tickets, &mut self.outcomes);
        if has_tickets {
            out.drop_dead(pool, quota, records, &mut ends);
            // For the range of bytes whose fate decides that of the messages.
            if !packet.has_room_for_range(records, &self.send_records) {
                return Ok(Some(Packed::PacketFull));
            }
        }
        let alive = if has_tickets { out.alive(records) } else { out.queued() };
        let len = match out.next(pool, quota, alive, room.saturating_sub(bare), room_max) {
            Next::Nothing => return Ok(Some(Packed::All)),
            Next::Later => return Ok(Some(Packed::PacketFull)),
            Next::Fragment => return self.pack_fragment(memory, packet, link, others),
            Next::Whole(len) => len,
        };
        let left = room.saturating_sub(bare + varint::len(len as u32) + len);
        let more = others && left >= PIECE_MIN && out.queued() as usize == len;
        DataHead { kind, channel, len: more.then_some(len as u32) }.emit(&mut packet.writer)?;
        let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
        let start = out.offset();
        out.take_whole(pool, quota, space);
        packet.writer.advance(len);
        packet.eliciting = true;
        let end = out.offset();
        if has_tickets && out.tickets().on_sent(records, end, 0) {
            let range = Range { domain: link, start, end, void: false };
            packet.note_range(records, &mut self.send_records, range);
        }
        // Without a length the frame is the last one.
        Ok(Some(if more { Packed::All } else { Packed::PacketFull }))
    }

    /// Puts the next fragment of a message into a packet. More of the domain may follow in it if nothing is said.
    fn pack_fragment(
        &mut self,
        memory: &mut Memory<'_>,
        packet: &mut Packet<'_>,
        link: Link,
        others: bool,
    ) -> Result<Option<Packed>, NoRoom> {
        let domain = &mut memory.domains[link];
        let channel = domain.channel.0;
        let Some((out, ordered)) = sends_once(&mut domain.lane) else {
            return Ok(Some(Packed::All));
        };
        let has_tickets = !out.tickets().is_empty();
        let records = &mut memory.records;
        let Some((id, offset, total)) = out.fragment() else { return Ok(Some(Packed::All)) };
        let kind = DataKind::Fragment { ordered, id, offset, total };
        let head_len = DataHead { kind, channel, len: None }.len();
        let rest = (total - offset) as usize;
        let space = packet.writer.room().checked_sub(head_len);
        let Some(space) = space.filter(|&space| space >= PIECE_MIN.min(rest)) else {
            return Ok(Some(Packed::PacketFull));
        };
        let len = rest.min(space);
        // The prefix of the message, which does not travel, was taken out by now.
        let start = out.offset();
        let prefix = varint::len(total) as u32;
        let new = has_tickets && offset == 0;
        let tagged =
            new && out.tickets().on_sent(records, start, prefix) || has_tickets && offset > 0;
        let follow = others || out.queued() as usize > len;
        let left = space.saturating_sub(len + varint::len(len as u32));
        let more = follow && left >= PIECE_MIN;
        let head = DataHead { kind, channel, len: more.then_some(len as u32) };
        head.emit(&mut packet.writer)?;
        let space = packet.writer.tail_mut().get_mut(..len).ok_or(NoRoom)?;
        out.take_fragment(&mut memory.pool, &mut self.send_blocks, space);
        packet.writer.advance(len);
        packet.eliciting = true;
        if tagged {
            let range = Range { domain: link, start, end: out.offset(), void: false };
            packet.note_range(records, &mut self.send_records, range);
        }
        Ok(if more { None } else { Some(Packed::PacketFull) })
    }
}

/// What waits in a lane of a mode that does not resend, and whether it keeps order.
#[inline]
const fn sends_once(lane: &mut Lane) -> Option<(&mut OutQueue, bool)> {
    match lane {
        Lane::Unreliable { out } => Some((out, false)),
        Lane::Ordered { out, .. } => Some((out, true)),
        Lane::Reliable { .. } | Lane::Loose { .. } => None,
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

/// How a range of a stream goes into a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: DataKind,
    /// Bytes of it.
    pub(crate) len: usize,
    /// Another frame may follow, so the length is told.
    follow: bool,
}

/// How `piece` goes into what is left of a packet, if it does.
#[inline]
pub(crate) fn plan_frame(
    out: &mut OutStream,
    pool: &Pool<'_>,
    piece: Piece,
    (stream, channel): (Stream, u8),
    room: Room,
) -> Option<Plan> {
    if stream.is_loose() {
        return plan_loose(out, pool, piece, (stream, channel), room);
    }
    let wanted = piece.len as usize;
    let kind =
        offset_kind(out.allows_short_offset(piece.start.wrapping_add(piece.len)), piece.start);
    let head = DataHead { kind, channel, len: None }.len();
    let space = room.here.checked_sub(head).filter(|&space| space >= wanted.min(PIECE_MIN))?;
    if wanted >= space {
        return Some(Plan { kind, len: space, follow: false });
    }
    let left = space.saturating_sub(wanted + varint::len(wanted as u32));
    let follow = (room.others || piece.again) && left >= PIECE_MIN;
    Some(Plan { kind, len: wanted, follow })
}

/// The same for a loose stream, which is cut between messages where they are not too long.
#[inline(never)]
fn plan_loose(
    out: &mut OutStream,
    pool: &Pool<'_>,
    piece: Piece,
    (stream, channel): (Stream, u8),
    room: Room,
) -> Option<Plan> {
    let latest = stream == Stream::Latest;
    let kind = |back| DataKind::Loose { latest, offset: piece.start, back };
    let head = |back| DataHead { kind: kind(back), channel, len: None }.len();
    let (whole, part) = (head(None), head(Some(varint::MAX)));
    let space = room.here.saturating_sub(part);
    let space = if space < PIECE_MIN { 0 } else { space };
    let (here, empty) = (room.here.saturating_sub(whole), room.empty.saturating_sub(whole));
    let (back, len) = match out.cut(pool, piece, here, space, empty) {
        Cut::Later => return None,
        Cut::Whole(len) => (None, len),
        Cut::Part { back, len } => (Some(back), len),
    };
    let left = room.here.saturating_sub(head(back) + varint::len(len as u32) + len);
    let all = len == piece.len as usize;
    let follow = (room.others || piece.again) && all && left >= PIECE_MIN;
    Some(Plan { kind: kind(back), len, follow })
}

fn offset_kind(short: bool, start: u32) -> DataKind {
    let short = short || cfg!(bowline_mutant = "short_offsets");
    if short { DataKind::ReliableShort(start as u8) } else { DataKind::ReliableLong(start) }
}
