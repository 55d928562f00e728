//! Session packets made of structured parts, for those who break rules.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline_wire::native::{
    AckForm, CloseCause, Frame, Offset, PacketHead, SessionCrc, Stream, emit_ack_ranges,
    emit_ack_short,
};
use bowline_wire::{NoRoom, Writer, varint};

/// A packet may be this long, in bytes.
const LEN_MAX: usize = 1_200;
/// Streams that are made up are messages of this length, prefixes included.
const PERIOD: u32 = 8;

/// A session packet in parts. Numbers and offsets are relative to what its maker knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Bits of the head: ack form, length of the number, key phase.
    pub flags: u8,
    /// How far its number is ahead of the last one.
    pub ahead: i8,
    /// How far the largest number that it acknowledges lies behind the largest that came.
    pub ack_behind: i8,
    /// How many numbers before that it acknowledges too.
    pub ack_more: u8,
    /// The frames.
    pub parts: Vec<Part>,
}

/// A frame in parts; `ahead` of the beginning of its stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// Asks for an ack.
    Ping,
    /// Credit for a stream of the other side.
    Credit(u8, u8, u16),
    /// The end, for this reason.
    Close(u8),
    /// Something is given up.
    Void(u8, u8, u16, u16),
    /// Whole messages of these lengths.
    Unreliable(u8, bool, [u8; 2]),
    /// A part of a message: id, offset, total, length.
    Fragment(u8, bool, u8, [u16; 2], u8),
    /// A range of a stream, with a short offset or a long one.
    Reliable(u8, bool, u16, u8),
    /// A range of a loose stream, whole messages or a part of one.
    Loose(u8, bool, u16, Option<u8>, u8),
    /// Any bytes.
    Raw(Vec<u8>),
}

/// What the maker of a packet knows of its session.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge {
    /// What the receiver wants to see as the session's name, if anything.
    pub connection_id: Option<u32>,
    /// The last number that was used.
    pub number: u64,
    /// Where the streams of the sender begin, and those of the receiver.
    pub initials: [u32; 2],
    /// The largest number that came from the receiver.
    pub largest: u64,
    /// What makes a checksum right, if there are any.
    pub crc: Option<SessionCrc>,
}

impl Packet {
    /// Its number, and the datagram with a right checksum.
    pub fn seal(&self, known: &Knowledge) -> (u64, Vec<u8>) {
        const FORMS: [AckForm; 4] =
            [AckForm::None, AckForm::Short, AckForm::Ranges1, AckForm::Ranges2];
        let number = known.number.saturating_add_signed(self.ahead.into());
        let ack = FORMS[usize::from(self.flags & 3)];
        let head = PacketHead {
            key_phase: self.flags & 0xF0 == 0xF0,
            ack,
            connection_id: known.connection_id.unwrap_or(0),
            number_len: 4 - (self.flags >> 2 & 3),
            number_low: number as u32,
        };
        let mut buf = [0; LEN_MAX];
        let mut w = Writer::new(&mut buf);
        w.hold_back(4);
        let cid_len = if known.connection_id.is_some() { 4 } else { 0 };
        let emitted = head.emit(cid_len, &mut w).and_then(|()| self.emit_ack(ack, known, &mut w));
        debug_assert!(emitted.is_ok(), "head and acks are short");
        for part in &self.parts {
            // What does not fit is left out.
            let _ = part.emit(known, &mut w);
        }
        w.hold_back(0);
        let crc = known.crc.map(|crc| crc.checksum(number, w.written()));
        let _ = crc.map_or(Ok(()), |crc| w.u32(crc));
        (number, w.written().to_vec())
    }

    fn emit_ack(
        &self,
        form: AckForm,
        known: &Knowledge,
        w: &mut Writer<'_>,
    ) -> core::result::Result<(), NoRoom> {
        let largest = known.largest.saturating_add_signed(-i64::from(self.ack_behind));
        let start = largest.saturating_sub(self.ack_more.into());
        let below = start.saturating_sub(3);
        let ranges = [(start, largest), (below, below)];
        let count = if start > 4 && self.ack_more & 1 == 1 { 2 } else { 1 };
        let ranges = ranges.into_iter().take(count);
        match form {
            AckForm::None => Ok(()),
            AckForm::Short => emit_ack_short(w, largest),
            AckForm::Ranges1 => emit_ack_ranges(w, 1, self.ack_more, ranges, 40),
            AckForm::Ranges2 => emit_ack_ranges(w, 2, self.ack_more, ranges, 40),
        }
    }
}

/// The byte at `at` of every stream: messages of seven bytes, whatever piece of it is sent when.
fn byte(at: u32) -> u8 {
    if at.is_multiple_of(PERIOD) { PERIOD as u8 - 1 } else { (at / PERIOD % 4) as u8 }
}

fn text(from: u32, len: u32) -> Vec<u8> {
    (from..from.saturating_add(len)).map(byte).collect()
}

fn stream(which: u8) -> Stream {
    match which % 3 {
        0 => Stream::Reliable,
        1 => Stream::Unordered,
        _ => Stream::Latest,
    }
}

impl Part {
    fn emit(&self, known: &Knowledge, w: &mut Writer<'_>) -> core::result::Result<(), NoRoom> {
        let [ours, theirs] = known.initials;
        match *self {
            Self::Ping => Frame::Ping.emit(false, w),
            Self::Credit(which, channel, ahead) => {
                let limit = theirs.wrapping_add(u32::from(ahead) << (which >> 4));
                Frame::Credit { stream: stream(which), channel, limit }.emit(false, w)
            }
            Self::Close(reason) => {
                let cause = CloseCause::Application;
                Frame::Close { cause, reason: reason.into() }.emit(false, w)
            }
            Self::Void(which, channel, ahead, len) => {
                let len = u32::from(len).max(1);
                let offset = ours.wrapping_add(ahead.into());
                Frame::Void { stream: stream(which), channel, offset, len }.emit(false, w)
            }
            Self::Unreliable(channel, ordered, lens) => {
                let mut messages = Vec::new();
                for len in lens {
                    let (prefix, prefix_len) = varint::encode(len.into());
                    messages.extend_from_slice(&prefix[..prefix_len]);
                    messages.extend(text(0, len.into()));
                }
                Frame::Unreliable { channel, ordered, messages: &messages }.emit(false, w)
            }
            Self::Fragment(channel, ordered, id, [offset, total], len) => {
                let data = text(offset.into(), u32::from(len).max(1));
                let total = u32::from(total).max(u32::from(offset) + data.len() as u32);
                let (id, offset) = (u16::from(id).wrapping_sub(2), offset.into());
                Frame::Fragment { channel, ordered, id, offset, total, data: &data }.emit(false, w)
            }
            Self::Reliable(channel, short, ahead, len) => {
                let data = text(ahead.into(), u32::from(len).max(1));
                let at = ours.wrapping_add(ahead.into());
                let offset = if short { Offset::Short(at as u8) } else { Offset::Long(at) };
                Frame::Reliable { channel, offset, data: &data }.emit(false, w)
            }
            Self::Loose(channel, latest, ahead, back, len) => {
                let ahead = u32::from(ahead) / PERIOD * PERIOD;
                let whole = (u32::from(len) / PERIOD).max(1) * PERIOD;
                let (from, len) = match back {
                    None => (ahead, whole),
                    Some(back) => (ahead + u32::from(back) % PERIOD, u32::from(len).max(1)),
                };
                let (data, offset) = (text(from, len), ours.wrapping_add(from));
                let back = back.map(|back| u32::from(back) % PERIOD);
                Frame::Loose { channel, latest, offset, back, data: &data }.emit(false, w)
            }
            Self::Raw(ref bytes) => w.bytes(bytes),
        }
    }
}

/// Mostly near the beginning, often at the edge of a message.
fn near(u: &mut Unstructured<'_>) -> Result<u16> {
    let at = u16::arbitrary(u)?;
    Ok(match at >> 13 {
        0..3 => (at & 31) * PERIOD as u16,
        3..5 => at & 0xFF,
        5 => at & 0x7FF,
        _ => at,
    })
}

impl<'a> Arbitrary<'a> for Part {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let which = u8::arbitrary(u)?;
        let channel = match which >> 4 {
            15 => u8::arbitrary(u)?,
            channel => channel & 3,
        };
        let flag = which & 0x10 != 0;
        Ok(match which & 15 {
            0 => Self::Ping,
            1 => Self::Credit(u8::arbitrary(u)?, channel, near(u)?),
            2 => match u8::arbitrary(u)? {
                reason @ 0..32 => Self::Close(reason),
                _ => Self::Ping,
            },
            3 => Self::Void(u8::arbitrary(u)?, channel, near(u)?, near(u)?),
            4 | 5 => Self::Unreliable(channel, flag, <[u8; 2]>::arbitrary(u)?),
            6 | 7 => {
                let id = u8::arbitrary(u)? & 7;
                Self::Fragment(channel, flag, id, [near(u)?, near(u)?], u8::arbitrary(u)?)
            }
            8..11 => Self::Reliable(channel, flag, near(u)?, u8::arbitrary(u)?),
            11..14 => {
                let back = u8::arbitrary(u)?;
                let back = (back & 1 == 1).then_some(back >> 1);
                Self::Loose(channel, flag, near(u)?, back, u8::arbitrary(u)?)
            }
            _ => {
                let len = usize::from(u8::arbitrary(u)? & 31).min(u.len());
                Self::Raw(u.bytes(len)?.to_vec())
            }
        })
    }
}

impl<'a> Arbitrary<'a> for Packet {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let flags = u8::arbitrary(u)?;
        let ahead = u8::arbitrary(u)?;
        // Mostly the next number.
        let ahead = if ahead < 200 { 1 } else { (ahead << 2) as i8 };
        let (mut ack_behind, mut ack_more) = (0, 0);
        if flags & 3 != 0 {
            ack_behind = i8::arbitrary(u)? >> 3;
            ack_more = u8::arbitrary(u)?;
        }
        let count = 1 + (flags >> 4 & 3);
        let parts = (0..count).map(|_| Part::arbitrary(u)).collect::<Result<_>>()?;
        Ok(Self { flags, ahead, ack_behind, ack_more, parts })
    }
}
