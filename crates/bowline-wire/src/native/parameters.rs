//! What the two sides of a session tell each other (PROTOCOL.md, section 4).

use super::{DATAGRAM_MIN, Integrity};
use crate::reader::{Reader, legal};
use crate::{Malformed, NoRoom, Writer};

const ACK_DELAY_MAX: u8 = 124;
const IDLE_TIMEOUT_MIN: u32 = 100;

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
    /// Credit of each reliable stream to it to begin with, in bytes, in `1..=268_435_455`.
    pub credit: u32,
    /// The longest reliable message it takes, in bytes, up to 268,435,455.
    pub reliable_max: u32,
    /// The longest unreliable-ordered message it takes, in bytes, up to 268,435,455.
    pub ordered_max: u32,
    /// The longest unreliable message it takes, in bytes, up to 268,435,455.
    pub unreliable_max: u32,
}

impl Parameters {
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
        legal((), ack_delay <= ACK_DELAY_MAX)?;
        let idle_timeout_ms = r.varint()?;
        legal((), idle_timeout_ms >= IDLE_TIMEOUT_MIN)?;
        let credit = r.varint()?;
        legal((), credit >= 1)?;
        Ok(Self {
            connection_id,
            initial,
            integrity,
            datagram_max,
            channels,
            ack_delay,
            idle_timeout_ms,
            credit,
            reliable_max: r.varint()?,
            ordered_max: r.varint()?,
            unreliable_max: r.varint()?,
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        debug_assert!((1..=256).contains(&self.channels));
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
        w.varint(self.reliable_max)?;
        w.varint(self.ordered_max)?;
        w.varint(self.unreliable_max)
    }
}
