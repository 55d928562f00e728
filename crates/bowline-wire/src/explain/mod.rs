//! Prints datagrams field by field.

mod enet;
mod handshake;
mod session;

use core::fmt::{self, Display, Formatter};

use crate::native::{
    AckBlock, AckForm, Handshake, Integrity, PacketHead, TRAILER_LEN, frames, is_session,
};
use crate::reader::Reader;
use crate::{Malformed, checksum};

pub use enet::ExplainEnet;

/// A datagram as text: one line per field, with offset, bytes, name and value.
///
/// Takes any bytes. What is malformed is explained up to the fault.
///
/// ```
/// use bowline_wire::Explain;
/// use bowline_wire::native::Integrity;
///
/// let datagram = [0x80, 0x07, 0x20, 0x02, b'h', b'i'];
/// let explain = Explain { datagram: &datagram, connection_id_len: None, integrity: Integrity::None };
/// assert_eq!(explain.to_string(), "\
/// session packet, 6 bytes
///    0  80                       flags             no ack block, number of 1 byte
///    1  07                       number            ..07
///    2  20                       type              UNRELIABLE, channel 0, to the end
///    3  02                       message length    2
///    4  68 69                    message           2 bytes
/// ");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Explain<'a> {
    /// Any bytes.
    pub datagram: &'a [u8],
    /// Length of the connection ids of its receiver, 0 or 4. If `None`, it is 0, or 4 if only that makes sense.
    pub connection_id_len: Option<u8>,
    /// What was agreed for its session. The trailer is shown, but takes a session to be checked.
    pub integrity: Integrity,
}

impl Display for Explain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(first) = self.datagram.first() else { return f.write_str("empty datagram\n") };
        let what = if is_session(*first) { "session packet" } else { "handshake datagram" };
        write!(f, "{what}, ")?;
        show_len(self.datagram.len(), f)?;
        f.write_str("\n")?;
        let mut page = Page { f, datagram: self.datagram, r: Reader(self.datagram), hidden: 0 };
        let explained = match is_session(*first) {
            true => self.session(&mut page),
            false => self.handshake(&mut page),
        };
        match explained {
            Err(Stop::Fault(fault)) => page.fault(fault),
            Err(Stop::Page) => Err(fmt::Error),
            Ok(()) => Ok(()),
        }
    }
}

impl Explain<'_> {
    fn session(&self, page: &mut Page<'_, '_, '_>) -> Explained {
        let trailer_len = self.integrity.trailer_len();
        let cid_len = self.connection_id_len.unwrap_or_else(|| self.guess());
        let head = page.head(cid_len)?;
        if head.key_phase && !cfg!(bowline_mutant = "unexplained") {
            return Err(Malformed::Reserved.into());
        }
        page.hide(trailer_len)?;
        let is_empty = head.ack == AckForm::None && page.r.0.is_empty();
        page.ack(head.ack)?;
        if is_empty {
            return Err(Malformed::Empty.into());
        }
        page.frames()?;
        page.unhide();
        if trailer_len > 0 {
            page.field("checksum", Reader::u32, |crc, f| write!(f, "{crc:08x}, of a session"))?;
        }
        Ok(())
    }

    /// The length of connection ids that makes sense of the packet.
    fn guess(&self) -> u8 {
        let makes_sense = |cid_len: &u8| {
            let (head, rest) = PacketHead::parse(self.datagram, *cid_len)?;
            let len = rest.len().checked_sub(self.integrity.trailer_len());
            let rest = len.and_then(|len| rest.get(..len)).ok_or(Malformed::Truncated)?;
            let (_, rest) = AckBlock::parse(head.ack, rest)?;
            frames(rest).try_for_each(|frame| frame.map(|_| ()))
        };
        [0, 4].into_iter().find(|cid_len| makes_sense(cid_len).is_ok()).unwrap_or(0)
    }

    fn handshake(&self, page: &mut Page<'_, '_, '_>) -> Explained {
        let verdict = Handshake::parse(self.datagram);
        page.hide(TRAILER_LEN)?;
        page.contents(verdict == Err(Malformed::Version))?;
        page.bytes("left over", usize::MAX)?;
        page.unhide();
        let covered = self.datagram.len().saturating_sub(TRAILER_LEN);
        let right = checksum::crc32(self.datagram.get(..covered).unwrap_or_default());
        page.field("checksum", Reader::u32, |crc, f| match *crc == right {
            true => write!(f, "{crc:08x}"),
            false => write!(f, "{crc:08x}, but it is {right:08x}"),
        })?;
        verdict.map(|_| ()).map_err(Stop::Fault)
    }
}

type Explained<T = ()> = Result<T, Stop>;

/// Why the explanation ends.
enum Stop {
    /// The datagram is wrong here.
    Fault(Malformed),
    /// The page takes no more.
    Page,
}

impl From<Malformed> for Stop {
    fn from(fault: Malformed) -> Self {
        Self::Fault(fault)
    }
}

impl From<fmt::Error> for Stop {
    fn from(_: fmt::Error) -> Self {
        Self::Page
    }
}

/// How many bytes of a field are shown.
const SHOWN_MAX: usize = 8;

/// What is read so far, and where it is explained.
struct Page<'a, 'f, 'g> {
    f: &'g mut Formatter<'f>,
    datagram: &'a [u8],
    r: Reader<'a>,
    /// Bytes at the end that the reader does not see.
    hidden: usize,
}

impl<'a> Page<'a, '_, '_> {
    /// Takes the last `len` bytes out of sight.
    fn hide(&mut self, len: usize) -> Explained {
        let left = self.r.0.len().checked_sub(len).ok_or(Malformed::Truncated)?;
        self.r.0 = self.r.0.get(..left).unwrap_or_default();
        self.hidden = len;
        Ok(())
    }

    /// Goes on with what was hidden, after all else was read.
    fn unhide(&mut self) {
        let at = self.datagram.len().saturating_sub(self.hidden);
        self.r.0 = self.datagram.get(at..).unwrap_or_default();
        self.hidden = 0;
    }

    /// Reads one field, and writes a line about it.
    fn field<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
        show: impl FnOnce(&T, &mut Formatter<'_>) -> fmt::Result,
    ) -> Explained<T> {
        let before = self.r;
        let value = read(&mut self.r).inspect_err(|_| self.r = before)?;
        let len = before.0.len().saturating_sub(self.r.0.len());
        self.columns(before.0, len, name)?;
        show(&value, self.f)?;
        self.f.write_str("\n")?;
        Ok(value)
    }

    /// Offset, bytes and name.
    fn columns(&mut self, bytes: &[u8], len: usize, name: &str) -> fmt::Result {
        let offset = self.datagram.len().saturating_sub(self.hidden + bytes.len());
        write!(self.f, "{offset:4} ")?;
        for at in 0..SHOWN_MAX {
            match bytes.get(at) {
                Some(byte) if at < len => write!(self.f, " {byte:02x}")?,
                _ => self.f.write_str("   ")?,
            }
        }
        write!(self.f, "{} {name:16}  ", if len > SHOWN_MAX { '…' } else { ' ' })
    }

    fn fault(&mut self, fault: Malformed) -> fmt::Result {
        let bytes = self.r.0;
        self.columns(bytes, bytes.len(), "FAULT")?;
        writeln!(self.f, "{fault}")
    }

    fn number(
        &mut self,
        name: &str,
        read: fn(&mut Reader<'a>) -> Result<u32, Malformed>,
    ) -> Explained<u32> {
        self.field(name, read, Display::fmt)
    }

    fn u8(&mut self, name: &str) -> Explained<u8> {
        self.field(name, Reader::u8, Display::fmt)
    }

    fn u64(&mut self, name: &str) -> Explained<u64> {
        self.field(name, Reader::u64, |value, f| write!(f, "{value:016x}"))
    }

    /// As many bytes as there are, up to `len`; no line if there are none.
    fn bytes(&mut self, name: &str, len: usize) -> Explained {
        let len = len.min(self.r.0.len());
        if len > 0 {
            self.field(name, |r| r.bytes(len), |bytes, f| show_len(bytes.len(), f))?;
        }
        Ok(())
    }
}

fn show_len(len: usize, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{len} {}", if len == 1 { "byte" } else { "bytes" })
}
