//! Frames (PROTOCOL.md, sections 3.4 to 3.8).
//!
//! Those that carry data begin with a [`DataHead`](super::DataHead).
//! Of the others, the first byte is the type.

use super::DataKind;
use super::data_head::{
    CHANNEL_LONG, CONTROL, HAS_LEN, RELIABLE_LONG, RELIABLE_SHORT, UNRELIABLE, UNRELIABLE_ORDERED,
    UNRELIABLE_ORDERED_FRAGMENT,
};
use super::messages::whole_messages;
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
    /// Raises the limit of a reliable stream.
    Credit {
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
    /// Stream bytes that will not be sent. Not used in this version.
    Void {
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
        /// Whole prefixed messages, at least one; see [`messages`].
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
        /// Whole prefixed messages, at least one; see [`messages`].
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
    /// A range of a reliable stream.
    Reliable {
        /// Whose stream.
        channel: u8,
        /// Where in it the data begin.
        offset: Offset,
        /// The bytes, not empty.
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
            CREDIT => Ok(Self::Credit { channel: r.u8()?, limit: r.u32()? }),
            CLOSE => parse_close(r),
            VOID => {
                let (channel, offset) = (r.u8()?, r.u32()?);
                Ok(Self::Void { channel, offset, len: at_least_one(r)? })
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
        if kind > UNRELIABLE_ORDERED_FRAGMENT {
            return Err(Malformed::Kind);
        }
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
            _ => {
                let (id, offset, total) = (r.u16()?, r.varint()?, r.varint()?);
                let data = data(r, has_len)?;
                let end = u64::from(offset).saturating_add(data.len() as u64);
                legal((), end <= total.into())?;
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
            Self::Credit { channel, limit } => {
                w.u8(CREDIT)?;
                w.u8(channel)?;
                w.u32(limit)
            }
            Self::Close { cause, reason } => {
                w.u8(CLOSE)?;
                w.u8(cause as u8)?;
                w.u32(reason)
            }
            Self::Void { channel, offset, len } => {
                w.u8(VOID)?;
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
