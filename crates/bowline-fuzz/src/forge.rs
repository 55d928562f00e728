//! Datagrams that nobody sent, made of structured headers.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline_wire::Writer;
use bowline_wire::checksum::crc32;
use bowline_wire::native::{
    AckForm, Direction, Handshake, PacketHead, SessionCrc, VERSION, is_session,
};

/// Who makes datagrams up, and what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Forgery {
    /// Any bytes.
    Raw(Vec<u8>),
    /// A handshake datagram of this kind and contents, with a right checksum.
    Handshake {
        /// Its kind; 1 to 7 mean something.
        kind: u8,
        /// All between version and checksum.
        contents: Vec<u8>,
    },
    /// One of the last handshake datagrams under way to the same side, with bytes replaced from an offset on, and
    /// a right checksum.
    Echo {
        /// How long ago.
        ago: u8,
        /// Where, after the kind and version.
        at: u8,
        /// By what.
        with: Vec<u8>,
    },
    /// A session packet around these frames.
    Packet(Packet),
}

/// A session packet in parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Bits of the head: ack form, length of the number.
    pub flags: u8,
    /// How far its number is ahead of the last one seen.
    pub ahead: i16,
    /// Ack block and frames.
    pub body: Vec<u8>,
}

/// What somebody on the path has overheard of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets {
    halves: Option<(u64, u64)>,
    /// Names for the session in packets to its client, and to its server.
    ids: [Option<u32>; 2],
    /// Last number seen in packets to the client, and to the server.
    numbers: [u64; 2],
    has_crc: bool,
}

impl Secrets {
    /// A datagram passed by; `to_client` tells which way.
    pub fn overhear(&mut self, datagram: &[u8], to_client: bool) {
        if datagram.first().is_some_and(|first| is_session(*first)) {
            let to = usize::from(!to_client);
            let cid_len = if self.ids[to].is_some() { 4 } else { 0 };
            if let Ok((head, _)) = PacketHead::parse(datagram, cid_len) {
                self.numbers[to] = head.expand_number(self.numbers[to] + 1);
            }
            return;
        }
        match Handshake::parse(datagram) {
            Ok(Handshake::Connect { parameters, .. }) => {
                self.ids[0] = parameters.connection_id;
                self.numbers[1] = parameters.initial.into();
            }
            Ok(Handshake::Accept { client_half, server_half, parameters }) => {
                self.halves = Some((client_half, server_half));
                self.ids[1] = parameters.connection_id;
                self.numbers[0] = parameters.initial.into();
                self.has_crc = parameters.integrity as u8 != 0;
            }
            _ => {}
        }
    }

    /// A packet to the client or server with a right checksum, if enough was overheard.
    fn seal(&self, packet: &Packet, to_client: bool) -> Option<Vec<u8>> {
        let (client_half, server_half) = self.halves?;
        let to = usize::from(!to_client);
        let way = if to_client { Direction::ServerToClient } else { Direction::ClientToServer };
        let number = self.numbers[to].saturating_add_signed(packet.ahead.into());
        let id = self.ids[to];
        let mut datagram = emit(packet, id.unwrap_or(0), if id.is_some() { 4 } else { 0 }, number);
        if self.has_crc {
            let crc = SessionCrc::new(client_half, server_half, way);
            datagram.extend_from_slice(&crc.checksum(number, &datagram).to_be_bytes());
        }
        Some(datagram)
    }
}

fn emit(packet: &Packet, connection_id: u32, cid_len: u8, number: u64) -> Vec<u8> {
    const FORMS: [AckForm; 4] = [AckForm::None, AckForm::Short, AckForm::Ranges1, AckForm::Ranges2];
    let head = PacketHead {
        key_phase: packet.flags & 0x80 != 0,
        ack: FORMS[usize::from(packet.flags & 3)],
        connection_id,
        number_len: (packet.flags >> 2 & 3) + 1,
        number_low: number as u32,
    };
    let mut buf = vec![0; 16 + packet.body.len()];
    let mut w = Writer::new(&mut buf);
    let wrote = head.emit(cid_len, &mut w).and_then(|()| w.bytes(&packet.body));
    debug_assert!(wrote.is_ok());
    w.written().to_vec()
}

impl Forgery {
    /// The datagram. `secrets` are what its maker has overheard, if he is on the path; `seen` what
    /// was under way to the same side, newest first.
    pub fn bytes<'s>(
        &self,
        secrets: Option<&Secrets>,
        to_client: bool,
        seen: impl Iterator<Item = &'s [u8]>,
    ) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Handshake { kind, contents } => sealed(*kind, contents),
            Self::Echo { ago, at, with } => {
                let mut handshakes = seen.filter(|bytes| !is_session(bytes[0]));
                let Some(echoed) = handshakes.nth(usize::from(*ago & 7)) else { return Vec::new() };
                let contents = echoed.len().checked_sub(4).and_then(|end| echoed.get(2..end));
                let mut contents = contents.unwrap_or_default().to_vec();
                let at = usize::from(*at).min(contents.len());
                contents[at..].iter_mut().zip(with).for_each(|(byte, with)| *byte = *with);
                sealed(echoed[0], &contents)
            }
            Self::Packet(packet) => {
                let known = secrets.and_then(|secrets| secrets.seal(packet, to_client));
                known.unwrap_or_else(|| {
                    // A stranger guesses: the form is right, nothing else is.
                    emit(packet, 0x1234_5678, 4, u64::from(packet.ahead as u16))
                })
            }
        }
    }
}

fn sealed(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut datagram = [&[kind & 0x7F, VERSION], contents].concat();
    let crc = crc32(&datagram);
    datagram.extend_from_slice(&crc.to_be_bytes());
    datagram
}

impl<'a> Arbitrary<'a> for Forgery {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let which = u8::arbitrary(u)?;
        let len = usize::from(u8::arbitrary(u)?).min(u.len());
        Ok(match which & 7 {
            0 => Self::Raw(u.bytes(len)?.to_vec()),
            1 | 2 => Self::Handshake { kind: which >> 3 & 7, contents: u.bytes(len)?.to_vec() },
            3 | 4 => {
                let at = u8::arbitrary(u)? & 127;
                let len = (len & 15).min(u.len());
                Self::Echo { ago: which >> 3, at, with: u.bytes(len)?.to_vec() }
            }
            _ => {
                let flags = u8::arbitrary(u)?;
                let ahead = i16::from(u8::arbitrary(u)? as i8);
                let len = len.min(u.len());
                Self::Packet(Packet { flags, ahead, body: u.bytes(len)?.to_vec() })
            }
        })
    }
}
