//! Handshake datagrams (PROTOCOL.md, section 4).
//!
//! ```text
//! +------+---------+-- ... --+--------+
//! | kind | version | contents | CRC-32 |
//! |  u8  |   u8    |          |  u32   |
//! +------+---------+-- ... --+--------+
//! ```

use super::{COOKIE_LEN, HELLO_MIN, Parameters, VERSION};
use crate::reader::{Reader, legal};
use crate::{Malformed, NoRoom, Writer, checksum};

const HELLO: u8 = 1;
const CHALLENGE: u8 = 2;
const CONNECT: u8 = 3;
const ACCEPT: u8 = 4;
const REFUSE: u8 = 5;
const QUERY: u8 = 6;
const ANSWER: u8 = 7;

/// Why a session was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum RefuseCode {
    /// The server speaks another version, the one the datagram carries.
    Version = 0,
    /// The server is of another application.
    Application = 1,
    /// The server has no room.
    Full = 2,
    /// The parameters of the two do not go together.
    Limits = 3,
    /// The server's application said so; `detail` is its reason.
    ByApplication = 4,
}

impl RefuseCode {
    const fn from_wire(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Version),
            1 => Ok(Self::Application),
            2 => Ok(Self::Full),
            3 => Ok(Self::Limits),
            4 => Ok(Self::ByApplication),
            _ => Err(Malformed::Illegal),
        }
    }
}

/// A whole handshake datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handshake<'a> {
    /// Asks for a cookie.
    Hello {
        /// The version the client speaks, which need not be ours.
        version: u8,
        /// Which application it belongs to.
        application: u64,
        /// Random bits of the client.
        client_half: u64,
        /// Length of the whole datagram in bytes, 40 or more: no answer is longer.
        len: usize,
    },
    /// The answer to HELLO.
    Challenge {
        /// From the HELLO.
        client_half: u64,
        /// Means something to the server only.
        cookie: [u8; COOKIE_LEN],
    },
    /// Asks for a session.
    Connect {
        /// Which application it belongs to.
        application: u64,
        /// Random bits of the client, the same as in HELLO.
        client_half: u64,
        /// From the CHALLENGE.
        cookie: [u8; COOKIE_LEN],
        /// The client's.
        parameters: Parameters,
        /// For the server's application.
        payload: &'a [u8],
    },
    /// Grants a session.
    Accept {
        /// From the CONNECT.
        client_half: u64,
        /// Random bits of the server.
        server_half: u64,
        /// The server's.
        parameters: Parameters,
    },
    /// Grants no session.
    Refuse {
        /// The version the server speaks, which need not be ours.
        version: u8,
        /// From the HELLO or CONNECT.
        client_half: u64,
        /// Why.
        code: RefuseCode,
        /// The application's reason; 0 for other codes.
        detail: u32,
    },
    /// Asks for whatever the server's application has to say.
    Query {
        /// Which application it belongs to.
        application: u64,
        /// Random bits, to know the answer by.
        nonce: u64,
        /// Length of the whole datagram in bytes: no answer is longer.
        len: usize,
    },
    /// The answer to QUERY.
    Answer {
        /// From the QUERY.
        nonce: u64,
        /// From the server's application.
        payload: &'a [u8],
    },
}

impl<'a> Handshake<'a> {
    /// The whole of `datagram`, whose checksum is checked first, then its version, then all else.
    ///
    /// HELLO and REFUSE are taken in any version.
    ///
    /// # Errors
    ///
    /// Whatever the bytes can tell: see [`Malformed`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (covered, crc) = datagram.split_last_chunk().ok_or(Malformed::Truncated)?;
        let (&[kind, version], contents) =
            covered.split_first_chunk().ok_or(Malformed::Truncated)?;
        if checksum::crc32(covered) != u32::from_be_bytes(*crc) {
            return Err(Malformed::Checksum);
        }
        if version != VERSION && !matches!(kind, HELLO | REFUSE) {
            return Err(Malformed::Version);
        }
        let mut r = Reader(contents);
        let handshake = match kind {
            HELLO if datagram.len() < HELLO_MIN => return Err(Malformed::Truncated),
            HELLO => {
                let (application, client_half) = (r.u64()?, r.u64()?);
                r.rest();
                Self::Hello { version, application, client_half, len: datagram.len() }
            }
            CHALLENGE => Self::Challenge { client_half: r.u64()?, cookie: r.array()? },
            CONNECT => Self::Connect {
                application: r.u64()?,
                client_half: r.u64()?,
                cookie: r.array()?,
                parameters: Parameters::parse(&mut r)?,
                payload: r.rest(),
            },
            ACCEPT => Self::Accept {
                client_half: r.u64()?,
                server_half: r.u64()?,
                parameters: Parameters::parse(&mut r)?,
            },
            REFUSE => Self::parse_refuse(version, &mut r)?,
            QUERY => {
                let (application, nonce) = (r.u64()?, r.u64()?);
                r.rest();
                Self::Query { application, nonce, len: datagram.len() }
            }
            ANSWER => Self::Answer { nonce: r.u64()?, payload: r.rest() },
            _ => return Err(Malformed::Kind),
        };
        r.end()?;
        Ok(handshake)
    }

    fn parse_refuse(version: u8, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let client_half = r.u64()?;
        let code = RefuseCode::from_wire(r.u8()?)?;
        let detail = r.u32()?;
        legal((), detail == 0 || code == RefuseCode::ByApplication)?;
        Ok(Self::Refuse { version, client_half, code, detail })
    }

    /// Writes the datagram to the start of `buf`, and returns its length in bytes.
    ///
    /// HELLO and QUERY are padded with zeros to `pad_to` bytes, HELLO to 40 at least; their `len` is
    /// not looked at. `pad_to` means nothing to the others.
    ///
    /// # Errors
    ///
    /// When it does not fit.
    pub fn emit(&self, pad_to: usize, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let mut w = Writer::new(buf);
        self.emit_contents(pad_to, &mut w)?;
        let crc = checksum::crc32(w.written());
        w.u32(crc)?;
        Ok(w.len())
    }

    fn emit_contents(&self, pad_to: usize, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        w.u8(self.kind())?;
        w.u8(self.version())?;
        match *self {
            Self::Hello { application, client_half, .. } => {
                w.u64(application)?;
                w.u64(client_half)?;
                pad(pad_to.max(HELLO_MIN), w)
            }
            Self::Challenge { client_half, ref cookie } => {
                w.u64(client_half)?;
                w.bytes(cookie)
            }
            Self::Connect { application, client_half, ref cookie, ref parameters, payload } => {
                w.u64(application)?;
                w.u64(client_half)?;
                w.bytes(cookie)?;
                parameters.emit(w)?;
                w.bytes(payload)
            }
            Self::Accept { client_half, server_half, ref parameters } => {
                w.u64(client_half)?;
                w.u64(server_half)?;
                parameters.emit(w)
            }
            Self::Refuse { client_half, code, detail, .. } => {
                w.u64(client_half)?;
                w.u8(code as u8)?;
                w.u32(detail)
            }
            Self::Query { application, nonce, .. } => {
                w.u64(application)?;
                w.u64(nonce)?;
                pad(pad_to, w)
            }
            Self::Answer { nonce, payload } => {
                w.u64(nonce)?;
                w.bytes(payload)
            }
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Challenge { .. } => CHALLENGE,
            Self::Connect { .. } => CONNECT,
            Self::Accept { .. } => ACCEPT,
            Self::Refuse { .. } => REFUSE,
            Self::Query { .. } => QUERY,
            Self::Answer { .. } => ANSWER,
        }
    }

    const fn version(&self) -> u8 {
        match *self {
            Self::Hello { version, .. } | Self::Refuse { version, .. } => version,
            _ => VERSION,
        }
    }
}

/// Fills up with zeros, so that the datagram has `len` bytes with its checksum.
fn pad(len: usize, w: &mut Writer<'_>) -> Result<(), NoRoom> {
    let missing = len.saturating_sub(w.len()).saturating_sub(super::TRAILER_LEN);
    w.tail_mut().get_mut(..missing).ok_or(NoRoom)?.fill(0);
    w.advance(missing);
    Ok(())
}
