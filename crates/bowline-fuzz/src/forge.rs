//! Datagrams that nobody sent, made of structured headers.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline_wire::checksum::crc32;
use bowline_wire::native::{
    Direction, Handshake, Integrity, PacketHead, SessionCrc, VERSION, is_session,
};

use crate::packet::{Knowledge, Packet};

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

/// What somebody on the path has overheard of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets {
    halves: Option<(u64, u64)>,
    /// Names for the session in packets to its client, and to its server.
    ids: [Option<u32>; 2],
    /// Last number seen in packets to the client, and to the server.
    numbers: [u64; 2],
    /// Where the streams of the client begin, and of the server.
    initials: [u32; 2],
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
                self.initials[0] = parameters.initial;
            }
            Ok(Handshake::Accept { client_half, server_half, parameters }) => {
                self.halves = Some((client_half, server_half));
                self.ids[1] = parameters.connection_id;
                self.numbers[0] = parameters.initial.into();
                self.initials[1] = parameters.initial;
                self.has_crc = parameters.integrity == Integrity::Crc32;
            }
            _ => {}
        }
    }

    /// What its sender would know of a packet to the client or server, if enough was overheard.
    fn knowledge(&self, to_client: bool) -> Option<Knowledge> {
        let (client_half, server_half) = self.halves?;
        let (to, from) = (usize::from(!to_client), usize::from(to_client));
        let way = if to_client { Direction::ServerToClient } else { Direction::ClientToServer };
        let crc = SessionCrc::new(client_half, server_half, way);
        Some(Knowledge {
            connection_id: self.ids[to],
            number: self.numbers[to],
            initials: [self.initials[to ^ 1], self.initials[from ^ 1]],
            largest: self.numbers[from],
            crc: self.has_crc.then_some(crc),
        })
    }
}

/// What a stranger knows: the form of a packet is right, nothing else is.
const NOTHING: Knowledge = Knowledge {
    connection_id: Some(0x1234_5678),
    number: 77,
    initials: [0; 2],
    largest: 77,
    crc: None,
};

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
                let known = secrets.and_then(|secrets| secrets.knowledge(to_client));
                packet.seal(&known.unwrap_or(NOTHING)).1
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
        let len = match which & 7 {
            0..5 => usize::from(u8::arbitrary(u)?).min(u.len()),
            _ => 0,
        };
        Ok(match which & 7 {
            0 => Self::Raw(u.bytes(len)?.to_vec()),
            1 | 2 => Self::Handshake { kind: which >> 3 & 7, contents: u.bytes(len)?.to_vec() },
            3 | 4 => {
                let at = u8::arbitrary(u)? & 127;
                let len = (len & 15).min(u.len());
                Self::Echo { ago: which >> 3, at, with: u.bytes(len)?.to_vec() }
            }
            _ => Self::Packet(Packet::arbitrary(u)?),
        })
    }
}
