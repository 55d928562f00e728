//! ENet datagrams, field by field.

use core::fmt::{self, Display, Formatter};

use super::{Explained, Page, Stop, show_len};
use crate::Malformed;
use crate::enet::{Command, CommandKind, Header, NO_PEER, checksum};
use crate::reader::Reader;

/// A datagram of ENet 1.3 as text: one line per field, with offset, bytes, name and value.
///
/// Takes any bytes. What is malformed is explained up to the fault, where a receiver would stop.
///
/// ```
/// use bowline_wire::ExplainEnet;
///
/// let datagram = [0x80, 0x03, 0x03, 0xE8, 0x86, 0x00, 0x00, 0x01, 0x00, 0x02, b'h', b'i'];
/// assert_eq!(ExplainEnet::new(&datagram).to_string(), "\
/// ENet datagram, 12 bytes
///    0  80 03                    word              peer 3, session 0, sent time follows
///    2  03 e8                    sent time         1000 ms
///    4  86                       command           SEND_RELIABLE, to be acknowledged
///    5  00                       channel           0
///    6  00 01                    sequence          1
///    8  00 02                    length            2
///   10  68 69                    payload           2 bytes
/// ");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExplainEnet<'a> {
    /// Any bytes.
    pub datagram: &'a [u8],
    /// Whether a checksum was agreed, and so follows the header.
    pub has_checksum: bool,
    /// The connect id of the connection, by which to check the checksum. Not needed for a datagram to
    /// [`NO_PEER`]; `None` leaves others unchecked.
    pub connect_id: Option<[u8; 4]>,
    /// The commands of a compressed datagram, as whoever can has restored them. With `None` they
    /// stay compressed.
    pub commands: Option<&'a [u8]>,
}

impl<'a> ExplainEnet<'a> {
    /// A datagram without a checksum. If it is compressed, it stays so.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { datagram, has_checksum: false, connect_id: None, commands: None }
    }
}

impl Display for ExplainEnet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("ENet datagram, ")?;
        show_len(self.datagram.len(), f)?;
        f.write_str("\n")?;
        let mut page = Page { f, datagram: self.datagram, r: Reader(self.datagram), hidden: 0 };
        let explained = self.head(&mut page).and_then(|is_compressed| {
            if !is_compressed {
                return page.commands();
            }
            page.bytes("compressed", usize::MAX)?;
            let Some(commands) = self.commands else { return Ok(()) };
            page.f.write_str("commands, ")?;
            show_len(commands.len(), page.f)?;
            page.f.write_str(" when not compressed\n")?;
            (page.datagram, page.r) = (commands, Reader(commands));
            page.commands()
        });
        match explained {
            Err(Stop::Fault(fault)) => page.fault(fault),
            Err(Stop::Page) => Err(fmt::Error),
            Ok(()) => Ok(()),
        }
    }
}

impl<'a> ExplainEnet<'a> {
    /// Header and checksum; tells whether the commands are compressed.
    fn head(&self, page: &mut Page<'a, '_, '_>) -> Explained<bool> {
        // A stand-in as long as any header, so that what is missing shows in its place.
        let mut bytes = [0; Header::MAX_LEN];
        bytes.iter_mut().zip(self.datagram).for_each(|(place, byte)| *place = *byte);
        let (header, _) = Header::parse(&bytes)?;
        page.field("word", Reader::u16, |_, f| {
            match header.peer_id {
                NO_PEER => f.write_str("no peer")?,
                peer => write!(f, "peer {peer}")?,
            }
            write!(f, ", session {}", header.session)?;
            f.write_str(if header.compressed { ", compressed" } else { "" })?;
            f.write_str(if header.sent_time.is_some() { ", sent time follows" } else { "" })
        })?;
        if header.sent_time.is_some() {
            page.field("sent time", Reader::u16, |time, f| write!(f, "{time} ms"))?;
        }
        if self.has_checksum {
            let right = self.right_checksum(&header);
            page.field(
                "checksum",
                |r| r.array::<4>(),
                |found, f| {
                    show_hex(found, f)?;
                    match right {
                        Some(right) if right != *found => {
                            f.write_str(", but it is ")?;
                            show_hex(&right, f)
                        }
                        Some(_) => Ok(()),
                        None => f.write_str(", not checked"),
                    }
                },
            )?;
        }
        Ok(header.compressed)
    }

    /// What the checksum should be, as far as that is known.
    fn right_checksum(&self, header: &Header) -> Option<[u8; 4]> {
        let connect_id = if header.peer_id == NO_PEER { [0; 4] } else { self.connect_id? };
        let (head, rest) = self.datagram.split_at_checked(header.wire_len())?;
        let commands = if header.compressed { self.commands? } else { rest.get(4..)? };
        Some(checksum(head, connect_id, commands))
    }
}

impl Page<'_, '_, '_> {
    fn commands(&mut self) -> Explained {
        while !self.r.0.is_empty() {
            let verdict = Command::parse(self.r.0);
            let walked = self.command();
            verdict?;
            walked?;
        }
        Ok(())
    }

    /// The fields of a command, as far as there are any.
    fn command(&mut self) -> Explained {
        let first = self.field("command", Reader::u8, show_command)?;
        let kind = CommandKind::from_wire(first)?;
        self.u8("channel")?;
        self.u16("sequence")?;
        match kind {
            CommandKind::Acknowledge => {
                self.u16("acked sequence")?;
                self.field("acked sent time", Reader::u16, |time, f| write!(f, "{time} ms"))?;
            }
            CommandKind::Connect => {
                self.enet_parameters()?;
                self.number("data", Reader::u32)?;
            }
            CommandKind::VerifyConnect => self.enet_parameters()?,
            CommandKind::Disconnect => drop(self.number("data", Reader::u32)?),
            CommandKind::Ping => {}
            CommandKind::SendReliable => self.payload()?,
            CommandKind::SendUnreliable => {
                self.u16("unreliable")?;
                self.payload()?;
            }
            CommandKind::SendUnsequenced => {
                self.u16("group")?;
                self.payload()?;
            }
            CommandKind::SendFragment | CommandKind::SendUnreliableFragment => self.fragment()?,
            CommandKind::BandwidthLimit => self.bandwidths()?,
            CommandKind::ThrottleConfigure => self.throttle()?,
        }
        Ok(())
    }

    fn enet_parameters(&mut self) -> Explained {
        self.u16("outgoing peer")?;
        self.u8("incoming session")?;
        self.u8("outgoing session")?;
        self.field("mtu", Reader::u32, |mtu, f| write!(f, "{mtu} bytes"))?;
        self.field("window", Reader::u32, |window, f| write!(f, "{window} bytes"))?;
        self.number("channels", Reader::u32)?;
        self.bandwidths()?;
        self.throttle()?;
        self.field("connect id", |r| r.array::<4>(), |id, f| show_hex(id, f))?;
        Ok(())
    }

    fn bandwidths(&mut self) -> Explained {
        for name in ["incoming", "outgoing"] {
            self.field(name, Reader::u32, |bandwidth, f| match bandwidth {
                0 => f.write_str("0, no limit"),
                _ => write!(f, "{bandwidth} bytes/s"),
            })?;
        }
        Ok(())
    }

    fn throttle(&mut self) -> Explained {
        self.field("interval", Reader::u32, |interval, f| write!(f, "{interval} ms"))?;
        self.number("acceleration", Reader::u32)?;
        self.number("deceleration", Reader::u32)?;
        Ok(())
    }

    fn fragment(&mut self) -> Explained {
        self.u16("start")?;
        let len = self.u16("length")?;
        self.number("fragments", Reader::u32)?;
        self.number("fragment", Reader::u32)?;
        self.field("total", Reader::u32, |total, f| write!(f, "{total} bytes"))?;
        self.number("offset", Reader::u32)?;
        self.enet_payload(len)
    }

    fn payload(&mut self) -> Explained {
        let len = self.u16("length")?;
        self.enet_payload(len)
    }

    /// The whole payload; a part of one is left to the fault.
    fn enet_payload(&mut self, len: u16) -> Explained {
        let len = usize::from(len);
        if len > self.r.0.len() {
            return Err(Malformed::Payload.into());
        }
        self.bytes("payload", len)
    }

    fn u16(&mut self, name: &str) -> Explained<u16> {
        self.field(name, Reader::u16, Display::fmt)
    }
}

fn show_command(first: &u8, f: &mut Formatter<'_>) -> fmt::Result {
    match CommandKind::from_wire(*first) {
        Ok(kind) => write!(f, "{kind}")?,
        Err(_) => write!(f, "{}, unknown", first & 0x0F)?,
    }
    f.write_str(if first & 0x80 != 0 { ", to be acknowledged" } else { "" })?;
    f.write_str(if first & 0x40 != 0 { ", unsequenced" } else { "" })
}

fn show_hex(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
