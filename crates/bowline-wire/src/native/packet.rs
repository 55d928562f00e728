//! The head of a session packet (PROTOCOL.md, sections 3 and 3.1).
//!
//! ```text
//! +-------+---------------+---------------+--
//! | flags | connection id | packet number | ack block, frames, trailer ...
//! |  u8   | 0 or 4 bytes  |  1 to 4 bytes |
//! +-------+---------------+---------------+--
//!   1K aa nn 00
//! ```

use bowline_core::serial;

use crate::{Malformed, NoRoom, Writer};

const SESSION: u8 = 0x80;
const KEY_PHASE: u8 = 0x40;
const RESERVED: u8 = 0x03;

/// Which ack block a packet carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum AckForm {
    /// No ack block.
    None = 0,
    /// The largest number and the seven before it, in one byte.
    Short = 1,
    /// Ranges, with one byte of the largest number.
    Ranges1 = 2,
    /// Ranges, with two bytes of the largest number.
    Ranges2 = 3,
}

impl AckForm {
    #[inline]
    const fn from_flags(flags: u8) -> Self {
        match flags >> 4 & 3 {
            0 => Self::None,
            1 => Self::Short,
            2 => Self::Ranges1,
            _ => Self::Ranges2,
        }
    }
}

/// What every session packet begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PacketHead {
    /// Bit K. A plain session drops packets that have it.
    pub key_phase: bool,
    /// What follows the head.
    pub ack: AckForm,
    /// The receiver's name for the session; 0 where connection ids are of length 0.
    pub connection_id: u32,
    /// Length of the packet number, in `1..=4` bytes.
    pub number_len: u8,
    /// The low `number_len` bytes of the packet number.
    pub number_low: u32,
}

impl PacketHead {
    /// The head of `datagram`, and what follows it.
    ///
    /// `cid_len` is the length of this endpoint's connection ids, 0 or 4.
    ///
    /// # Errors
    ///
    /// [`Malformed::Reserved`] and [`Malformed::Truncated`].
    #[inline]
    pub fn parse(datagram: &[u8], cid_len: u8) -> Result<(Self, &[u8]), Malformed> {
        let (&flags, rest) = datagram.split_first().ok_or(Malformed::Truncated)?;
        if flags & (SESSION | RESERVED) != SESSION {
            return Err(Malformed::Reserved);
        }
        let (connection_id, rest) = match cid_len {
            0 => (0, rest),
            _ => {
                let (id, rest) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
                (u32::from_be_bytes(*id), rest)
            }
        };
        let number_len = (flags >> 2 & 3) + 1;
        let (number_low, rest) = match (number_len, rest) {
            (1, &[a, ref rest @ ..]) => (u32::from(a), rest),
            (2, &[a, b, ref rest @ ..]) => (u32::from_be_bytes([0, 0, a, b]), rest),
            (3, &[a, b, c, ref rest @ ..]) => (u32::from_be_bytes([0, a, b, c]), rest),
            (4, &[a, b, c, d, ref rest @ ..]) => (u32::from_be_bytes([a, b, c, d]), rest),
            _ => return Err(Malformed::Truncated),
        };
        let ack = AckForm::from_flags(flags);
        let key_phase = flags & KEY_PHASE != 0;
        Ok((Self { key_phase, ack, connection_id, number_len, number_low }, rest))
    }

    /// Appends the head; `cid_len` is the length of the receiver's connection ids, 0 or 4.
    ///
    /// Of [`Self::number_low`], as many bytes go out as [`Self::number_len`] says.
    ///
    /// # Errors
    ///
    /// When it does not fit.
    #[inline]
    pub fn emit(&self, cid_len: u8, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        if w.room() < Self::len(cid_len, self.number_len) {
            return Err(NoRoom);
        }
        w.u8(self.flags())?;
        if cid_len != 0 {
            w.u32(self.connection_id)?;
        }
        let [a, b, c, d] = self.number_low.to_be_bytes();
        match self.number_len {
            0 | 1 => w.u8(d),
            2 => w.bytes(&[c, d]),
            3 => w.bytes(&[b, c, d]),
            _ => w.bytes(&[a, b, c, d]),
        }
    }

    /// Length of a head, in bytes: `cid_len` is 0 or 4, `number_len` in `1..=4`.
    #[inline]
    pub const fn len(cid_len: u8, number_len: u8) -> usize {
        1 + if cid_len == 0 { 0 } else { 4 } + number_len as usize
    }

    /// The first byte.
    #[inline]
    pub const fn flags(&self) -> u8 {
        debug_assert!(1 <= self.number_len && self.number_len <= 4);
        let key_phase = if self.key_phase { KEY_PHASE } else { 0 };
        let number = match self.number_len {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            _ => 3,
        };
        SESSION | key_phase | (self.ack as u8) << 4 | number << 2
    }

    /// The whole packet number; `expected` is one more than the largest accepted so far.
    #[inline]
    pub const fn expand_number(&self, expected: u64) -> u64 {
        serial::expand(expected, self.number_low as u64, self.number_len as u32)
    }

    /// How many bytes of a number to send that lies `ahead` of the largest one acknowledged.
    ///
    /// `None` when four would not do.
    #[inline]
    pub const fn number_len_for(ahead: u64) -> Option<u8> {
        match ahead {
            0..0x80 => Some(1),
            0x80..0x8000 => Some(2),
            0x8000..0x80_0000 => Some(3),
            0x80_0000..0x8000_0000 => Some(4),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_with_all_its_bits() {
        let head = PacketHead {
            key_phase: true,
            ack: AckForm::Ranges1,
            connection_id: 0x0102_0304,
            number_len: 3,
            number_low: 0x0A_0B0C,
        };
        let mut buf = [0; 8];
        let mut w = Writer::new(&mut buf);
        head.emit(4, &mut w).unwrap();
        assert_eq!(w.written(), [0xE8, 1, 2, 3, 4, 0x0A, 0x0B, 0x0C]);
        assert_eq!(PacketHead::parse(&buf, 4), Ok((head, &[][..])));
        assert_eq!(PacketHead::parse(&buf[..7], 4), Err(Malformed::Truncated));
    }

    #[test]
    fn low_bits_are_reserved() {
        for flags in [0x81, 0x82, 0x83, 0x00, 0x7C] {
            assert_eq!(PacketHead::parse(&[flags, 0], 0), Err(Malformed::Reserved));
        }
        assert_eq!(PacketHead::parse(&[], 0), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_what_would_be_written(
            bytes in prop::collection::vec(any::<u8>(), 0..12), cid_len in prop::sample::select(&[0u8, 4]),
        ) {
            let Ok((head, rest)) = PacketHead::parse(&bytes, cid_len) else { return Ok(()) };
            let mut buf = [0; 16];
            let mut w = Writer::new(&mut buf);
            head.emit(cid_len, &mut w).unwrap();
            prop_assert_eq!(w.len(), PacketHead::len(cid_len, head.number_len));
            prop_assert_eq!(w.written(), &bytes[..bytes.len() - rest.len()]);
            for room in 0..w.len() {
                let mut short = [0; 16];
                prop_assert_eq!(head.emit(cid_len, &mut Writer::new(&mut short[..room])), Err(NoRoom));
            }
        }

        /// Whatever the receiver has seen between what it acknowledged and what was sent last.
        #[test]
        fn a_number_sent_short_is_expanded_to_itself(
            acked in 0u64..1 << 40, ahead in 1u64..1 << 31, seen in any::<prop::sample::Index>(),
        ) {
            let number = acked + ahead;
            let number_len = PacketHead::number_len_for(ahead).unwrap();
            let number_low = number as u32 & (u32::MAX >> (32 - 8 * number_len));
            let head = PacketHead {
                key_phase: false, ack: AckForm::None, connection_id: 0, number_len, number_low,
            };
            let expected = acked + 1 + seen.index(ahead as usize) as u64;
            prop_assert_eq!(head.expand_number(expected), number);
        }
    }

    #[test]
    fn four_bytes_carry_less_than_half_their_space() {
        assert_eq!(PacketHead::number_len_for(0x7F), Some(1));
        assert_eq!(PacketHead::number_len_for(0x80), Some(2));
        assert_eq!(PacketHead::number_len_for(0x7FFF), Some(2));
        assert_eq!(PacketHead::number_len_for(0x8000), Some(3));
        assert_eq!(PacketHead::number_len_for(0x7F_FFFF), Some(3));
        assert_eq!(PacketHead::number_len_for(0x80_0000), Some(4));
        assert_eq!(PacketHead::number_len_for(0x7FFF_FFFF), Some(4));
        assert_eq!(PacketHead::number_len_for(0x8000_0000), None);
    }
}
