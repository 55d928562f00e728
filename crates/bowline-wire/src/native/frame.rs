//! Frames (PROTOCOL.md, sections 3.4 to 3.8).
//!
//! Those that carry data begin with a [`DataHead`](super::DataHead).
//! Of the others, the first byte is the type.

use super::data_head::{
    CHANNEL_LONG, CONTROL, HAS_LEN, LOOSE, LOOSE_BACK, LOOSE_LATEST, RELIABLE_LONG, RELIABLE_SHORT,
    UNRELIABLE, UNRELIABLE_ORDERED, UNRELIABLE_ORDERED_FRAGMENT,
};
use super::messages::whole_messages;
use super::{DataKind, Stream};
use crate::reader::{Reader, legal};
use crate::{Malformed, NoRoom, Writer};

const PADDING: u8 = 0;
const PING: u8 = 1;
const CREDIT: u8 = 2;
const CLOSE: u8 = 3;
const VOID: u8 = 4;
const REPEAT: u8 = 5;
const PARITY: u8 = 6;

/// Why a session was closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum CloseCause {
    /// The application did it.
    Application = 0,
    /// The peer broke the rules.
    Misbehaviour = 1,
}

/// Where in its stream a range of bytes belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Offset {
    /// The low byte of the offset.
    Short(u8),
    /// The offset.
    Long(u32),
}

/// One frame of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Frame<'a> {
    /// Nothing, of one byte.
    Padding,
    /// Asks for an ack.
    Ping,
    /// Raises the limit of a stream.
    Credit {
        /// Which stream of the channel.
        stream: Stream,
        /// Whose stream.
        channel: u8,
        /// Up to which offset bytes may be sent, that one not included.
        limit: u32,
    },
    /// Ends the session.
    Close {
        /// Why.
        cause: CloseCause,
        /// The application's number; 0 for other causes.
        reason: u32,
    },
    /// Stream bytes that will not be sent: the messages they belong to were given up.
    Void {
        /// Which stream of the channel.
        stream: Stream,
        /// Whose stream.
        channel: u8,
        /// The first of them.
        offset: u32,
        /// How many, in bytes, 1 or more.
        len: u32,
    },
    /// The unreliable-ordered messages of an earlier packet. Not used in this version.
    Repeat {
        /// How far that packet's number lies below this one's, 1 or more.
        distance: u32,
        /// The channel.
        channel: u8,
        /// Whole prefixed messages, at least one; see [`messages`](super::messages).
        messages: &'a [u8],
    },
    /// The exclusive-or of earlier packets. Not used in this version.
    Parity {
        /// How far the first packet's number lies below this one's, 1 or more.
        distance: u32,
        /// How many packets, in `2..=32`.
        count: u8,
        /// The exclusive-or, not empty.
        data: &'a [u8],
    },
    /// Messages that are not resent.
    Unreliable {
        /// The channel.
        channel: u8,
        /// Whether those are dropped that come after a newer one.
        ordered: bool,
        /// Whole prefixed messages, at least one; see [`messages`](super::messages).
        messages: &'a [u8],
    },
    /// A part of a message that is not resent.
    Fragment {
        /// The channel.
        channel: u8,
        /// Whether the message is unreliable-ordered.
        ordered: bool,
        /// Which message of this channel and mode; wraps.
        id: u16,
        /// Where in the message the data begin, in bytes.
        offset: u32,
        /// Length of the message, in bytes; not less than `offset` and the data together.
        total: u32,
        /// The bytes, not empty.
        data: &'a [u8],
    },
    /// A range of a stream of mode reliable.
    Reliable {
        /// Whose stream.
        channel: u8,
        /// Where in it the data begin.
        offset: Offset,
        /// The bytes, not empty.
        data: &'a [u8],
    },
    /// Whole messages of a loose stream, or a part of one.
    Loose {
        /// Whose stream.
        channel: u8,
        /// Whether the stream is that of mode reliable-latest; else it is that of reliable-unordered.
        latest: bool,
        /// Where in it the data begin.
        offset: u32,
        /// For a part of a message: how far before `offset` that message begins, its length
        /// included, in bytes, up to 268,435,455; `None` for whole messages.
        back: Option<u32>,
        /// Without `back` whole prefixed messages, at least one, see [`messages`](super::messages);
        /// with it any bytes, not empty, which need not be of one message as they should.
        data: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, which end where the packet does before its trailer, and what
    /// follows it.
    ///
    /// # Errors
    ///
    /// Whatever the bytes of one frame can tell: see [`Malformed`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut r = Reader(bytes);
        let kind = r.u8()?;
        let frame = match kind >> 5 {
            CONTROL => Self::parse_control(kind, &mut r)?,
            kind_of_data => Self::parse_data(kind_of_data, kind, &mut r)?,
        };
        Ok((frame, r.0))
    }

    fn parse_control(kind: u8, r: &mut Reader<'a>) -> Result<Self, Malformed> {
        match kind {
            PADDING => Ok(Self::Padding),
            PING => Ok(Self::Ping),
            CREDIT => {
                let (stream, channel) = (Stream::from_wire(r.u8()?)?, r.u8()?);
                Ok(Self::Credit { stream, channel, limit: r.u32()? })
            }
            CLOSE => parse_close(r),
            VOID => {
                let (stream, channel, offset) = (Stream::from_wire(r.u8()?)?, r.u8()?, r.u32()?);
                Ok(Self::Void { stream, channel, offset, len: at_least_one(r)? })
            }
            REPEAT => {
                let (distance, channel) = (at_least_one(r)?, r.u8()?);
                Ok(Self::Repeat { distance, channel, messages: whole_messages(data(r, true)?)? })
            }
            PARITY => {
                let (distance, count) = (at_least_one(r)?, r.u8()?);
                legal(count, (2..=32).contains(&count))?;
                Ok(Self::Parity { distance, count, data: data(r, true)? })
            }
            _ => Err(Malformed::Kind),
        }
    }

    #[inline]
    fn parse_data(kind: u8, type_byte: u8, r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let channel = match type_byte & 0x0F {
            CHANNEL_LONG => {
                let channel = r.u8()?;
                legal(channel, channel >= CHANNEL_LONG)?
            }
            channel => channel,
        };
        let has_len = type_byte & HAS_LEN != 0;
        Ok(match kind {
            UNRELIABLE | UNRELIABLE_ORDERED => Self::Unreliable {
                channel,
                ordered: kind == UNRELIABLE_ORDERED,
                messages: whole_messages(data(r, has_len)?)?,
            },
            RELIABLE_SHORT => {
                let offset = Offset::Short(r.u8()?);
                Self::Reliable { channel, offset, data: data(r, has_len)? }
            }
            RELIABLE_LONG => {
                let offset = Offset::Long(r.u32()?);
                Self::Reliable { channel, offset, data: data(r, has_len)? }
            }
            LOOSE => parse_loose(channel, has_len, r)?,
            _ => {
                let (id, offset, total) = (r.u16()?, r.varint()?, r.varint()?);
                let data = data(r, has_len)?;
                let end = u64::from(offset).saturating_add(data.len() as u64);
                legal((), end <= total.into() || cfg!(bowline_mutant = "past_the_end"))?;
                let ordered = kind == UNRELIABLE_ORDERED_FRAGMENT;
                Self::Fragment { channel, ordered, id, offset, total, data }
            }
        })
    }

    /// Appends the frame; with `last` one that holds data goes on to the end of the packet, and
    /// nothing may follow it.
    ///
    /// # Errors
    ///
    /// When it does not fit. Then nothing is written.
    #[inline]
    pub fn emit(&self, last: bool, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        w.whole(|w| match *self {
            Self::Padding => w.u8(PADDING),
            Self::Ping => w.u8(PING),
            Self::Credit { stream, channel, limit } => {
                w.u8(CREDIT)?;
                w.u8(stream.to_wire())?;
                w.u8(channel)?;
                w.u32(limit)
            }
            Self::Close { cause, reason } => {
                w.u8(CLOSE)?;
                w.u8(cause as u8)?;
                w.u32(reason)
            }
            Self::Void { stream, channel, offset, len } => {
                w.u8(VOID)?;
                w.u8(stream.to_wire())?;
                w.u8(channel)?;
                w.u32(offset)?;
                w.varint(len)
            }
            Self::Repeat { distance, channel, messages } => {
                w.u8(REPEAT)?;
                w.varint(distance)?;
                w.u8(channel)?;
                w.varint(len32(messages))?;
                w.bytes(messages)
            }
            Self::Parity { distance, count, data } => {
                w.u8(PARITY)?;
                w.varint(distance)?;
                w.u8(count)?;
                w.varint(len32(data))?;
                w.bytes(data)
            }
            Self::Unreliable { channel, ordered, messages } => {
                let kind = if ordered { DataKind::UnreliableOrdered } else { DataKind::Unreliable };
                kind.emit(channel, messages, last, w)
            }
            Self::Fragment { channel, ordered, id, offset, total, data } => {
                DataKind::Fragment { ordered, id, offset, total }.emit(channel, data, last, w)
            }
            Self::Reliable { channel, offset: Offset::Short(offset), data } => {
                DataKind::ReliableShort(offset).emit(channel, data, last, w)
            }
            Self::Reliable { channel, offset: Offset::Long(offset), data } => {
                DataKind::ReliableLong(offset).emit(channel, data, last, w)
            }
            Self::Loose { channel, latest, offset, back, data } => {
                DataKind::Loose { latest, offset, back }.emit(channel, data, last, w)
            }
        })
    }

    /// Whether the packet it is in is to be acknowledged.
    #[inline]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding)
    }
}

fn parse_close<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let cause = match r.u8()? {
        0 => CloseCause::Application,
        1 => CloseCause::Misbehaviour,
        _ => return Err(Malformed::Illegal),
    };
    let reason = r.u32()?;
    legal(Frame::Close { cause, reason }, reason == 0 || cause == CloseCause::Application)
}

#[inline]
fn parse_loose<'a>(channel: u8, has_len: bool, r: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let what = r.u8()?;
    if what & !(LOOSE_LATEST | LOOSE_BACK) != 0 {
        return Err(Malformed::Reserved);
    }
    let offset = r.u32()?;
    let back = if what & LOOSE_BACK == 0 { None } else { Some(r.varint()?) };
    let data = data(r, has_len)?;
    if back.is_none() {
        whole_messages(data)?;
    }
    Ok(Frame::Loose { channel, latest: what & LOOSE_LATEST != 0, offset, back, data })
}

fn at_least_one(r: &mut Reader<'_>) -> Result<u32, Malformed> {
    let value = r.varint()?;
    legal(value, value >= 1)
}

/// The data of a frame: as many as their length says, or all.
#[inline]
fn data<'a>(r: &mut Reader<'a>, has_len: bool) -> Result<&'a [u8], Malformed> {
    let data = if has_len {
        let len = r.varint()?;
        r.bytes(len as usize)?
    } else {
        r.rest()
    };
    if data.is_empty() { Err(Malformed::Empty) } else { Ok(data) }
}

#[inline]
fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::varint;

    fn emitted(frame: &Frame<'_>, last: bool) -> Vec<u8> {
        let mut buf = [0; 400];
        let mut w = Writer::new(&mut buf);
        frame.emit(last, &mut w).unwrap();
        w.written().to_vec()
    }

    fn has_data(frame: &Frame<'_>) -> bool {
        matches!(
            frame,
            Frame::Unreliable { .. }
                | Frame::Fragment { .. }
                | Frame::Reliable { .. }
                | Frame::Loose { .. }
        )
    }

    fn prefixed() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..4).prop_map(
            |messages| {
                messages
                    .iter()
                    .flat_map(|message| [&[message.len() as u8][..], message].concat())
                    .collect()
            },
        )
    }

    /// How many kinds [`frame`] makes.
    const KINDS: u8 = 14;

    /// Any frame, over bytes that live elsewhere.
    fn frame<'a>(
        which: u8,
        n: (u8, u8, u16, u32),
        wide: (u32, u32),
        messages: &'a [u8],
        data: &'a [u8],
    ) -> Frame<'a> {
        let (channel, small, id, long) = n;
        let (offset, more) = wide;
        let ordered = small % 2 == 0;
        let stream = Stream::from_wire(small % 3).unwrap();
        match which {
            0 => Frame::Padding,
            1 => Frame::Ping,
            2 => Frame::Credit { stream, channel, limit: long },
            3 => Frame::Close { cause: CloseCause::Application, reason: long },
            4 => Frame::Close { cause: CloseCause::Misbehaviour, reason: 0 },
            5 => Frame::Void { stream, channel, offset: long, len: offset + 1 },
            6 => Frame::Repeat { distance: offset + 1, channel, messages },
            7 => Frame::Parity { distance: offset + 1, count: 2 + small % 31, data },
            8 => Frame::Unreliable { channel, ordered, messages },
            9 => {
                let total = offset + data.len() as u32 + more;
                Frame::Fragment { channel, ordered, id, offset, total, data }
            }
            10 => Frame::Reliable { channel, offset: Offset::Short(small), data },
            11 => Frame::Reliable { channel, offset: Offset::Long(long), data },
            12 => {
                Frame::Loose { channel, latest: ordered, offset: long, back: None, data: messages }
            }
            _ => Frame::Loose { channel, latest: ordered, offset: long, back: Some(offset), data },
        }
    }

    #[test]
    fn each_kind_of_data_frame_as_drawn() {
        let data = &[0xAA, 0xBB][..];
        let messages = &[1, 0xAA][..];
        for (frame, whole, last) in [
            (
                Frame::Unreliable { channel: 14, ordered: false, messages },
                &[0x3E, 2, 1, 0xAA][..],
                &[0x2E, 1, 0xAA][..],
            ),
            (
                Frame::Unreliable { channel: 15, ordered: true, messages },
                &[0x5F, 15, 2, 1, 0xAA],
                &[0x4F, 15, 1, 0xAA],
            ),
            (
                Frame::Reliable { channel: 1, offset: Offset::Short(9), data },
                &[0x71, 9, 2, 0xAA, 0xBB],
                &[0x61, 9, 0xAA, 0xBB],
            ),
            (
                Frame::Reliable { channel: 1, offset: Offset::Long(9), data },
                &[0x91, 0, 0, 0, 9, 2, 0xAA, 0xBB],
                &[0x81, 0, 0, 0, 9, 0xAA, 0xBB],
            ),
            (
                Frame::Fragment { channel: 0, ordered: false, id: 7, offset: 3, total: 5, data },
                &[0xB0, 0, 7, 3, 5, 2, 0xAA, 0xBB],
                &[0xA0, 0, 7, 3, 5, 0xAA, 0xBB],
            ),
            (
                Frame::Fragment { channel: 0, ordered: true, id: 7, offset: 3, total: 128, data },
                &[0xD0, 0, 7, 3, 0x80, 0x80, 2, 0xAA, 0xBB],
                &[0xC0, 0, 7, 3, 0x80, 0x80, 0xAA, 0xBB],
            ),
            (
                Frame::Loose { channel: 2, latest: false, offset: 9, back: None, data: messages },
                &[0xF2, 0, 0, 0, 0, 9, 2, 1, 0xAA],
                &[0xE2, 0, 0, 0, 0, 9, 1, 0xAA],
            ),
            (
                Frame::Loose { channel: 255, latest: true, offset: 9, back: Some(128), data },
                &[0xFF, 255, 3, 0, 0, 0, 9, 0x80, 0x80, 2, 0xAA, 0xBB],
                &[0xEF, 255, 3, 0, 0, 0, 9, 0x80, 0x80, 0xAA, 0xBB],
            ),
        ] {
            assert_eq!(emitted(&frame, false), whole);
            assert_eq!(emitted(&frame, true), last);
        }
    }

    #[test]
    fn only_padding_asks_for_no_ack() {
        for which in 0..KINDS {
            let frame = frame(which, (0, 0, 0, 0), (0, 0), &[0], &[0]);
            assert_eq!(frame.is_ack_eliciting(), frame != Frame::Padding);
        }
    }

    #[test]
    fn a_fragment_ends_within_its_message() {
        assert_eq!(Frame::parse(&[0xA0, 0, 0, 1, 2, 0xAA, 0xBB]), Err(Malformed::Illegal));
        assert!(Frame::parse(&[0xA0, 0, 0, 1, 2, 0xAA]).is_ok());
        assert_eq!(Frame::parse(&[0xA0, 0, 0, 0, 0, 0xAA]), Err(Malformed::Illegal));
    }

    #[test]
    fn each_stream_has_its_byte_in_credit_and_void() {
        for (byte, stream) in [(0, Stream::Reliable), (1, Stream::Unordered), (2, Stream::Latest)] {
            let credit = Frame::Credit { stream, channel: 7, limit: 9 };
            assert_eq!(emitted(&credit, false), [2, byte, 7, 0, 0, 0, 9]);
            let void = Frame::Void { stream, channel: 7, offset: 9, len: 5 };
            assert_eq!(emitted(&void, false), [4, byte, 7, 0, 0, 0, 9, 5]);
        }
        assert_eq!(Frame::parse(&[2, 3, 7, 0, 0, 0, 9]), Err(Malformed::Illegal));
        assert_eq!(Frame::parse(&[4, 3, 7, 0, 0, 0, 9, 5]), Err(Malformed::Illegal));
        assert_eq!(Frame::parse(&[4, 0, 7, 0, 0, 0, 9, 0]), Err(Malformed::Illegal));
    }

    #[test]
    fn loose_data_are_whole_messages_unless_they_say_where_theirs_begins() {
        let whole = |latest, bytes: &[u8]| [&[0xE0, latest, 0, 0, 0, 9][..], bytes].concat();
        for latest in [0, 1] {
            assert!(Frame::parse(&whole(latest, &[1, 0xAA, 0])).is_ok());
            for cut in [&[2, 0xAA][..], &[0, 1], &[0x80]] {
                assert_eq!(Frame::parse(&whole(latest, cut)), Err(Malformed::Messages));
                let part = whole(latest | 2, &[&[5][..], cut].concat());
                let Ok((Frame::Loose { back, data, .. }, [])) = Frame::parse(&part) else {
                    panic!("{part:02x?}")
                };
                assert_eq!((back, data), (Some(5), cut));
            }
        }
    }

    #[test]
    fn loose_has_no_other_bits_and_some_data() {
        for bit in 2..8 {
            let reserved = [0xE0, 1 << bit, 0, 0, 0, 9, 0];
            assert_eq!(Frame::parse(&reserved), Err(Malformed::Reserved));
        }
        assert_eq!(Frame::parse(&[0xE0, 0, 0, 0, 0, 9]), Err(Malformed::Empty));
        assert_eq!(Frame::parse(&[0xE0, 2, 0, 0, 0, 9, 0]), Err(Malformed::Empty));
        assert_eq!(Frame::parse(&[0xE0, 2, 0, 0, 0, 9]), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            which in 0..KINDS, n in any::<(u8, u8, u16, u32)>(),
            wide in (0..varint::MAX / 2, 0..varint::MAX / 4), messages in prefixed(),
            data in prop::collection::vec(any::<u8>(), 1..200),
        ) {
            let frame = frame(which, n, wide, &messages, &data);
            let mut bytes = emitted(&frame, false);
            let len = bytes.len();
            bytes.push(0x01);
            prop_assert_eq!(Frame::parse(&bytes), Ok((frame, &[0x01][..])));
            let last = emitted(&frame, true);
            prop_assert_eq!(Frame::parse(&last), Ok((frame, &[][..])));
            for room in 0..len {
                let mut short = [0; 400];
                let mut w = Writer::new(&mut short[..room]);
                prop_assert_eq!(frame.emit(false, &mut w), Err(NoRoom));
                prop_assert!(w.is_empty());
            }
            for cut in 0..len {
                prop_assert!(Frame::parse(&bytes[..cut]).is_err(), "{} of {}", cut, len);
            }
        }

        #[test]
        fn what_is_read_is_what_would_be_written(
            kind in any::<u8>(),
            fields in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..20], 0..40),
        ) {
            let bytes = [&[kind][..], &fields].concat();
            let Ok((frame, rest)) = Frame::parse(&bytes) else { return Ok(()) };
            let last = has_data(&frame) && kind & HAS_LEN == 0;
            prop_assert_eq!(emitted(&frame, last), &bytes[..bytes.len() - rest.len()]);
        }
    }
}
