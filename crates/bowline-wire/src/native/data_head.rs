//! Frames that carry data, without the data (PROTOCOL.md, section 3.4).
//!
//! ```text
//! +------+---+---------+--------------+--------+----------------+--
//! | kind | L | channel | channel: u8  | fields | length: varint | data ...
//! |  3   | 1 |    4    | if the 4 are |        | if L           |
//! |      |   |         | all ones     |        |                |
//! +------+---+---------+--------------+--------+----------------+--
//! ```

use crate::{NoRoom, Writer, varint};

pub(super) const CONTROL: u8 = 0;
pub(super) const UNRELIABLE: u8 = 1;
pub(super) const UNRELIABLE_ORDERED: u8 = 2;
pub(super) const RELIABLE_SHORT: u8 = 3;
pub(super) const RELIABLE_LONG: u8 = 4;
pub(super) const UNRELIABLE_FRAGMENT: u8 = 5;
pub(super) const UNRELIABLE_ORDERED_FRAGMENT: u8 = 6;
pub(super) const LOOSE: u8 = 7;

/// Bit L: the length of the data is given.
pub(super) const HAS_LEN: u8 = 0x10;
/// Channels from this one on take a byte of their own.
pub(super) const CHANNEL_LONG: u8 = 0x0F;

/// Bit 0 of *what* in LOOSE: the mode is reliable-latest.
pub(super) const LOOSE_LATEST: u8 = 1;
/// Bit 1 of *what* in LOOSE: *back* is there.
pub(super) const LOOSE_BACK: u8 = 2;

/// Which kind of data frame, with its fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DataKind {
    /// Whole unreliable messages.
    Unreliable,
    /// Whole unreliable-ordered messages.
    UnreliableOrdered,
    /// Stream bytes from the offset on that ends in this byte.
    ReliableShort(u8),
    /// Stream bytes from this offset on.
    ReliableLong(u32),
    /// A part of a message; see [`Frame::Fragment`](super::Frame::Fragment).
    Fragment {
        /// Whether the message is unreliable-ordered.
        ordered: bool,
        /// Which message.
        id: u16,
        /// Where in it the data begin, in bytes.
        offset: u32,
        /// Its length, in bytes.
        total: u32,
    },
    /// Bytes of a loose stream; see [`Frame::Loose`](super::Frame::Loose).
    Loose {
        /// Whether the stream is that of mode reliable-latest; else it is that of reliable-unordered.
        latest: bool,
        /// Where in the stream the data begin.
        offset: u32,
        /// How far before `offset` the message begins that the data are a part of, in bytes, up to
        /// 268,435,455; `None` for whole messages.
        back: Option<u32>,
    },
}

impl DataKind {
    #[inline]
    pub(super) fn emit(
        self,
        channel: u8,
        data: &[u8],
        last: bool,
        w: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        let len = if last { None } else { Some(u32::try_from(data.len()).unwrap_or(u32::MAX)) };
        DataHead { kind: self, channel, len }.emit(w)?;
        w.bytes(data)
    }

    #[inline]
    const fn code(self) -> u8 {
        match self {
            Self::Unreliable => UNRELIABLE,
            Self::UnreliableOrdered => UNRELIABLE_ORDERED,
            Self::ReliableShort(_) => RELIABLE_SHORT,
            Self::ReliableLong(_) => RELIABLE_LONG,
            Self::Fragment { ordered: false, .. } => UNRELIABLE_FRAGMENT,
            Self::Fragment { ordered: true, .. } => UNRELIABLE_ORDERED_FRAGMENT,
            Self::Loose { .. } => LOOSE,
        }
    }

    #[inline]
    const fn fields_len(self) -> usize {
        match self {
            Self::Unreliable | Self::UnreliableOrdered => 0,
            Self::ReliableShort(_) => 1,
            Self::ReliableLong(_) => 4,
            Self::Fragment { offset, total, .. } => 2 + varint::len(offset) + varint::len(total),
            Self::Loose { back: None, .. } => 5,
            Self::Loose { back: Some(back), .. } => 5 + varint::len(back),
        }
    }
}

/// All of a data frame but its data, for whoever writes those himself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DataHead {
    /// Which frame, and its fields.
    pub kind: DataKind,
    /// The channel.
    pub channel: u8,
    /// Length of the data in bytes; `None` if they go on to the end of the packet.
    pub len: Option<u32>,
}

impl DataHead {
    /// Length of the head, in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub const fn len(&self) -> usize {
        let channel_len = if self.channel < CHANNEL_LONG { 0 } else { 1 };
        let len_len = match self.len {
            Some(len) => varint::len(len),
            None => 0,
        };
        1 + channel_len + self.kind.fields_len() + len_len
    }

    /// Appends the head.
    ///
    /// # Errors
    ///
    /// When it does not fit. Then nothing is written.
    #[inline]
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        if w.room() < self.len() {
            return Err(NoRoom);
        }
        let has_len = if self.len.is_some() { HAS_LEN } else { 0 };
        w.u8(self.kind.code() << 5 | has_len | self.channel.min(CHANNEL_LONG))?;
        if self.channel >= CHANNEL_LONG {
            w.u8(self.channel)?;
        }
        match self.kind {
            DataKind::Unreliable | DataKind::UnreliableOrdered => {}
            DataKind::ReliableShort(offset) => w.u8(offset)?,
            DataKind::ReliableLong(offset) => w.u32(offset)?,
            DataKind::Fragment { id, offset, total, .. } => {
                w.u16(id)?;
                w.varint(offset)?;
                w.varint(total)?;
            }
            DataKind::Loose { latest, offset, back } => {
                let what = if latest { LOOSE_LATEST } else { 0 };
                w.u8(if back.is_some() { what | LOOSE_BACK } else { what })?;
                w.u32(offset)?;
                if let Some(back) = back {
                    w.varint(back)?;
                }
            }
        }
        match self.len {
            Some(len) => w.varint(len),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len_of(kind: DataKind, channel: u8, len: Option<u32>) -> usize {
        let head = DataHead { kind, channel, len };
        let mut buf = [0; 32];
        let mut w = Writer::new(&mut buf);
        head.emit(&mut w).unwrap();
        assert_eq!(w.len(), head.len());
        let (len, mut short) = (w.len(), [0; 32]);
        assert_eq!(head.emit(&mut Writer::new(&mut short[..len - 1])), Err(NoRoom));
        assert_eq!(short, [0; 32], "nothing is written of what does not fit");
        len
    }

    #[test]
    fn says_how_long_it_is() {
        let fragment = DataKind::Fragment { ordered: true, id: 1, offset: 1 << 20, total: 1 << 27 };
        for (kind, fields_len) in [
            (DataKind::Unreliable, 0),
            (DataKind::UnreliableOrdered, 0),
            (DataKind::ReliableShort(1), 1),
            (DataKind::ReliableLong(1), 4),
            (fragment, 2 + 3 + 4),
            (DataKind::Loose { latest: false, offset: 1, back: None }, 1 + 4),
            (DataKind::Loose { latest: true, offset: 1, back: Some(0) }, 1 + 4 + 1),
            (DataKind::Loose { latest: true, offset: 1, back: Some(1 << 27) }, 1 + 4 + 4),
        ] {
            assert_eq!(len_of(kind, 14, None), 1 + fields_len);
            assert_eq!(len_of(kind, 15, None), 2 + fields_len);
            assert_eq!(len_of(kind, 0, Some(127)), 2 + fields_len);
            assert_eq!(len_of(kind, 255, Some(128)), 4 + fields_len);
        }
    }
}
