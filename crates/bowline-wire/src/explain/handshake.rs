//! Handshake datagrams, field by field.

use core::fmt::Display;

use super::{Explained, Page};
use crate::native::{COOKIE_LEN, DELAY_UNIT_US};
use crate::reader::Reader;

impl Page<'_, '_, '_> {
    /// All but the checksum.
    pub(super) fn contents(&mut self, is_of_another_version: bool) -> Explained {
        let kind = self.field("kind", Reader::u8, |kind, f| {
            f.write_str(match kind {
                1 => "HELLO",
                2 => "CHALLENGE",
                3 => "CONNECT",
                4 => "ACCEPT",
                5 => "REFUSE",
                6 => "QUERY",
                7 => "ANSWER",
                _ => "unknown",
            })
        })?;
        self.u8("version")?;
        if is_of_another_version {
            return self.bytes("contents", usize::MAX);
        }
        match kind {
            1 | 3 | 6 => drop(self.u64("application")?),
            _ => {}
        }
        match kind {
            1..=5 => drop(self.u64("client half")?),
            6 | 7 => drop(self.u64("nonce")?),
            _ => return self.bytes("contents", usize::MAX),
        }
        match kind {
            2 => self.cookie(),
            3 => {
                self.cookie()?;
                self.parameters()?;
                self.bytes("payload", usize::MAX)
            }
            4 => {
                self.u64("server half")?;
                self.parameters()
            }
            5 => {
                self.u8("code")?;
                self.number("detail", Reader::u32)?;
                Ok(())
            }
            7 => self.bytes("payload", usize::MAX),
            _ => self.bytes("padding", usize::MAX),
        }
    }

    fn cookie(&mut self) -> Explained {
        self.field(
            "cookie",
            |r| r.array::<COOKIE_LEN>(),
            |cookie, f| cookie.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        )?;
        Ok(())
    }

    fn parameters(&mut self) -> Explained {
        let id_len = self.field("id length", Reader::u8, Display::fmt)?;
        self.bytes("connection id", id_len.into())?;
        self.number("initial", Reader::u32)?;
        self.u8("integrity")?;
        self.field("datagram_max", Reader::u16, |max, f| write!(f, "{max} bytes"))?;
        self.field("channels", Reader::u8, |channels, f| {
            write!(f, "{}", u16::from(*channels) + 1)
        })?;
        self.field("ack_delay", Reader::u8, |delay, f| {
            write!(f, "{} µs", u64::from(*delay) * DELAY_UNIT_US)
        })?;
        self.field("idle_timeout", Reader::varint, |timeout, f| write!(f, "{timeout} ms"))?;
        self.field("credit", Reader::varint, |credit, f| write!(f, "{credit} bytes"))?;
        self.field("loose_credit", Reader::u8, |power, f| match power {
            0 => f.write_str("none"),
            power => write!(f, "2^{power} bytes"),
        })?;
        for name in ["reliable_max", "ordered_max", "unreliable_max"] {
            self.field(name, Reader::varint, |max, f| write!(f, "{max} bytes"))?;
        }
        Ok(())
    }
}
