//! Session packets, field by field.

use core::fmt::{self, Display, Formatter};

use super::{Explained, Page, show_len};
use crate::Malformed;
use crate::native::{AckBlock, AckForm, DELAY_UNIT_US, Frame, Frames, PacketHead, Stream, frames};
use crate::reader::Reader;

impl Page<'_, '_, '_> {
    pub(super) fn head(&mut self, cid_len: u8) -> Explained<PacketHead> {
        // A stand-in as long as any head, so that what is missing shows in its place.
        let flags = self.r.0.first().copied().unwrap_or_default();
        let (head, _) = PacketHead::parse(&[flags, 0, 0, 0, 0, 0, 0, 0, 0], cid_len)?;
        self.field("flags", Reader::u8, |_, f| {
            let key_phase = if head.key_phase { "key phase 1, " } else { "" };
            let ack = match head.ack {
                AckForm::None => "no ack block",
                AckForm::Short => "short ack",
                AckForm::Ranges1 => "ack ranges",
                AckForm::Ranges2 => "ack ranges of 2 bytes",
            };
            write!(f, "{key_phase}{ack}, number of ")?;
            show_len(head.number_len.into(), f)
        })?;
        if cid_len != 0 {
            self.field("connection id", Reader::u32, |id, f| write!(f, "{id:08x}"))?;
        }
        let number_len = usize::from(head.number_len);
        self.field(
            "number",
            |r| r.bytes(number_len),
            |bytes, f| {
                f.write_str("..")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            },
        )?;
        Ok(head)
    }

    pub(super) fn ack(&mut self, form: AckForm) -> Explained {
        let verdict = AckBlock::parse(form, self.r.0);
        let walked = match form {
            AckForm::None => Ok(()),
            AckForm::Short => self.largest(1, "L, and the 7 numbers before it"),
            AckForm::Ranges1 => self.largest(1, "L").and_then(|()| self.ranges()),
            AckForm::Ranges2 => self.largest(2, "L").and_then(|()| self.ranges()),
        };
        verdict?;
        walked
    }

    fn largest(&mut self, len: usize, what: &str) -> Explained {
        self.field(
            "ack largest",
            |r| r.bytes(len),
            |bytes, f| {
                f.write_str("..")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, ", {what}")
            },
        )?;
        Ok(())
    }

    fn ranges(&mut self) -> Explained {
        let delay = self.field("ack delay", Reader::u8, |delay, f| {
            let code = u64::from(delay & 0x7F);
            let or_more = if code == 0x7F { " or more" } else { "" };
            let ranges = if delay & 0x80 == 0 { "one range" } else { "several ranges" };
            write!(f, "{} µs{or_more}, {ranges}", code * DELAY_UNIT_US)
        })?;
        let first =
            self.field("ack first", Reader::varint, |first, f| write!(f, "L - {first} ..= L"))?;
        if delay & 0x80 == 0 {
            return Ok(());
        }
        let mut down = u64::from(first);
        for _ in 0..self.u8("ack count")? {
            let gap = u64::from(self.number("ack gap", Reader::varint)?);
            let near = down.saturating_add(gap).saturating_add(2);
            self.field("ack more", Reader::varint, |more, f| {
                down = near.saturating_add(u64::from(*more));
                write!(f, "{more}: L - {down} ..= L - {near}")
            })?;
        }
        Ok(())
    }

    pub(super) fn frames(&mut self) -> Explained {
        let mut frames = frames(self.r.0);
        while !self.r.0.is_empty() {
            if self.r.0.first() == Some(&0) {
                self.padding(&mut frames)?;
                continue;
            }
            let verdict = frames.next();
            let walked = self.frame(verdict);
            if let Some(Err(fault)) = verdict {
                return Err(fault.into());
            }
            walked?;
        }
        Ok(())
    }

    /// All PADDING frames in a row.
    fn padding(&mut self, frames: &mut Frames<'_>) -> Explained {
        let len = self.r.0.iter().take_while(|byte| **byte == 0).count();
        frames.take(len).for_each(drop);
        self.field("type", |r| r.bytes(len), |bytes, f| write!(f, "{} × PADDING", bytes.len()))?;
        Ok(())
    }

    /// The fields of a frame, as far as there are any; `verdict` is what the parser made of it.
    fn frame(&mut self, verdict: Option<Result<Frame<'_>, Malformed>>) -> Explained {
        let to_the_end = self.r.0.first().is_some_and(|kind| kind & 0x10 == 0);
        let kind = self.field("type", Reader::u8, show_type)?;
        if kind >> 5 == 0 {
            return self.control(kind);
        }
        if kind & 0x0F == 0x0F {
            self.u8("channel")?;
        }
        match kind >> 5 {
            3 => {
                self.field("offset", Reader::u8, |offset, f| write!(f, "..{offset:02x}"))?;
            }
            4 => {
                self.number("offset", Reader::u32)?;
            }
            5 | 6 => {
                self.field("message id", Reader::u16, Display::fmt)?;
                self.number("offset", Reader::varint)?;
                self.number("total", Reader::varint)?;
            }
            7 => self.loose()?,
            _ => {}
        }
        let len = match to_the_end {
            true => self.r.0.len(),
            false => self.number("length", Reader::varint)? as usize,
        };
        match verdict {
            Some(Ok(Frame::Unreliable { .. } | Frame::Loose { back: None, .. })) => {
                self.messages(len)
            }
            _ => self.bytes("data", len),
        }
    }

    /// The fields of LOOSE.
    fn loose(&mut self) -> Explained {
        let what = self.field("what", Reader::u8, |what, f| {
            f.write_str(if what & 1 == 0 { "reliable-unordered" } else { "reliable-latest" })?;
            f.write_str(if what & 2 == 0 { ", whole messages" } else { ", part of a message" })?;
            if what & !3 == 0 { Ok(()) } else { f.write_str(", reserved bits") }
        })?;
        self.number("offset", Reader::u32)?;
        if what & 2 != 0 {
            self.field("back", Reader::varint, |back, f| {
                write!(f, "{back}: the message begins as far before")
            })?;
        }
        Ok(())
    }

    fn stream(&mut self) -> Explained {
        self.field("stream", Reader::u8, |stream, f| {
            let text = match Stream::from_wire(*stream) {
                Ok(Stream::Reliable) => "reliable",
                Ok(Stream::Unordered) => "reliable-unordered",
                Ok(Stream::Latest) => "reliable-latest",
                Err(_) => "unknown",
            };
            write!(f, "{stream}, {text}")
        })?;
        Ok(())
    }

    fn control(&mut self, kind: u8) -> Explained {
        match kind {
            2 => {
                self.stream()?;
                self.u8("channel")?;
                self.number("limit", Reader::u32)?;
            }
            3 => {
                self.field("cause", Reader::u8, |cause, f| {
                    let text = match cause {
                        0 => "closed by the application",
                        1 => "misbehaviour",
                        _ => "unknown",
                    };
                    write!(f, "{cause}, {text}")
                })?;
                self.number("reason", Reader::u32)?;
            }
            4 => {
                self.stream()?;
                self.u8("channel")?;
                self.number("offset", Reader::u32)?;
                self.number("length", Reader::varint)?;
            }
            5 => {
                self.number("distance", Reader::varint)?;
                self.u8("channel")?;
                let len = self.number("length", Reader::varint)?;
                self.messages(len as usize)?;
            }
            6 => {
                self.number("distance", Reader::varint)?;
                self.u8("count")?;
                let len = self.number("length", Reader::varint)?;
                self.bytes("data", len as usize)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Prefixed messages in the next `len` bytes.
    fn messages(&mut self, len: usize) -> Explained {
        let end = self.r.0.len().saturating_sub(len);
        while self.r.0.len() > end {
            let len = self.number("message length", Reader::varint)? as usize;
            let left = self.r.0.len().saturating_sub(end);
            self.bytes("message", len.min(left))?;
        }
        Ok(())
    }
}

fn show_type(kind: &u8, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(match (kind >> 5, kind) {
        (_, 1) => "PING",
        (_, 2) => "CREDIT",
        (_, 3) => "CLOSE",
        (_, 4) => "VOID",
        (_, 5) => "REPEAT",
        (_, 6) => "PARITY",
        (1, _) => "UNRELIABLE",
        (2, _) => "UNRELIABLE_ORDERED",
        (3, _) => "RELIABLE, short offset",
        (4, _) => "RELIABLE, long offset",
        (5, _) => "UNRELIABLE_FRAGMENT",
        (6, _) => "UNRELIABLE_ORDERED_FRAGMENT",
        (7, _) => "LOOSE",
        _ => return f.write_str("unknown"),
    })?;
    if kind >> 5 != 0 {
        match kind & 0x0F {
            0x0F => f.write_str(", channel follows")?,
            channel => write!(f, ", channel {channel}")?,
        }
        f.write_str(if kind & 0x10 == 0 { ", to the end" } else { ", length follows" })?;
    }
    Ok(())
}
