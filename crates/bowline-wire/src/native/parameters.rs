//! What the two sides of a session tell each other (PROTOCOL.md, section 4).

use super::{DATAGRAM_MIN, Integrity};
use crate::reader::{Reader, legal};
use crate::{Malformed, NoRoom, Writer};

const ACK_DELAY_MAX: u8 = 124;
const IDLE_TIMEOUT_MIN: u32 = 100;
const LOOSE_CREDIT_MIN: u8 = 4;
const LOOSE_CREDIT_MAX: u8 = 27;

/// What one side chose for itself and accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Parameters {
    /// What to put into packets to this side; `None` where connection ids are of length 0.
    pub connection_id: Option<u32>,
    /// First number of its packets, first offset of its streams.
    pub initial: u32,
    /// In CONNECT the least it asks for, in ACCEPT what holds.
    pub integrity: Integrity,
    /// The longest datagram it takes, in bytes, 64 or more.
    pub datagram_max: u16,
    /// How many channels it knows, in `1..=256`.
    pub channels: u16,
    /// The longest time it holds back an ack, in units of 250 µs, 124 or less.
    pub ack_delay: u8,
    /// After how much silence it gives up, in milliseconds, in `100..=268_435_455`.
    pub idle_timeout_ms: u32,
    /// Credit of each stream of mode reliable to it to begin with, in bytes, in `1..=268_435_455`.
    pub credit: u32,
    /// Credit of each loose stream to it to begin with: 2 to this power in bytes, in `4..=27`, or 0
    /// if it takes none of their messages. See [`Self::loose_credit_bytes`].
    pub loose_credit: u8,
    /// The longest message it takes in the three reliable modes, in bytes, up to 268,435,455.
    pub reliable_max: u32,
    /// The longest unreliable-ordered message it takes, in bytes, up to 268,435,455.
    pub ordered_max: u32,
    /// The longest unreliable message it takes, in bytes, up to 268,435,455.
    pub unreliable_max: u32,
}

impl Parameters {
    /// Credit of each loose stream to it to begin with, in bytes; 0 if it takes none of their
    /// messages.
    #[inline]
    pub const fn loose_credit_bytes(&self) -> u32 {
        match self.loose_credit {
            0 => 0,
            power => 1_u32.unbounded_shl(power as u32),
        }
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let connection_id = match r.u8()? {
            0 => None,
            4 => Some(r.u32()?),
            _ => return Err(Malformed::Illegal),
        };
        let initial = r.u32()?;
        let integrity = match r.u8()? {
            0 => Integrity::None,
            1 => Integrity::Crc32,
            _ => return Err(Malformed::Illegal),
        };
        let datagram_max = r.u16()?;
        legal((), usize::from(datagram_max) >= DATAGRAM_MIN)?;
        let channels = u16::from(r.u8()?) + 1;
        let ack_delay = r.u8()?;
        legal((), ack_delay <= ACK_DELAY_MAX || cfg!(bowline_mutant = "any_ack_delay"))?;
        let idle_timeout_ms = r.varint()?;
        legal((), idle_timeout_ms >= IDLE_TIMEOUT_MIN)?;
        let credit = r.varint()?;
        legal((), credit >= 1)?;
        let loose_credit = r.u8()?;
        legal((), matches!(loose_credit, 0 | LOOSE_CREDIT_MIN..=LOOSE_CREDIT_MAX))?;
        Ok(Self {
            connection_id,
            initial,
            integrity,
            datagram_max,
            channels,
            ack_delay,
            idle_timeout_ms,
            credit,
            loose_credit,
            reliable_max: r.varint()?,
            ordered_max: r.varint()?,
            unreliable_max: r.varint()?,
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        debug_assert!((1..=256).contains(&self.channels));
        debug_assert!(matches!(self.loose_credit, 0 | LOOSE_CREDIT_MIN..=LOOSE_CREDIT_MAX));
        match self.connection_id {
            None => w.u8(0)?,
            Some(id) => {
                w.u8(4)?;
                w.u32(id)?;
            }
        }
        w.u32(self.initial)?;
        w.u8(self.integrity as u8)?;
        w.u16(self.datagram_max)?;
        w.u8(self.channels.clamp(1, 256).wrapping_sub(1) as u8)?;
        w.u8(self.ack_delay)?;
        w.varint(self.idle_timeout_ms)?;
        w.varint(self.credit)?;
        w.u8(self.loose_credit)?;
        w.varint(self.reliable_max)?;
        w.varint(self.ordered_max)?;
        w.varint(self.unreliable_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREATEST: Parameters = Parameters {
        connection_id: Some(u32::MAX),
        initial: u32::MAX,
        integrity: Integrity::Crc32,
        datagram_max: u16::MAX,
        channels: 256,
        ack_delay: ACK_DELAY_MAX,
        idle_timeout_ms: crate::varint::MAX,
        credit: crate::varint::MAX,
        loose_credit: LOOSE_CREDIT_MAX,
        reliable_max: crate::varint::MAX,
        ordered_max: crate::varint::MAX,
        unreliable_max: crate::varint::MAX,
    };

    #[test]
    fn loose_credit_is_a_power_of_two_or_none() {
        for power in 0..=u8::MAX {
            let mut buf = [0; 64];
            let mut w = Writer::new(&mut buf);
            GREATEST.emit(&mut w).unwrap();
            // After connection id, initial, integrity, datagram_max, channels, ack_delay, and two
            // lengths of four bytes.
            w.set(5 + 4 + 1 + 2 + 1 + 1 + 8, power);
            let parsed = Parameters::parse(&mut Reader(w.written()));
            match power {
                0 => assert_eq!(parsed.unwrap().loose_credit_bytes(), 0),
                4..=27 => assert_eq!(parsed.unwrap().loose_credit_bytes(), 1 << power),
                _ => assert_eq!(parsed, Err(Malformed::Illegal), "{power}"),
            }
        }
    }
}
