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
        if !cfg!(bowline_mutant = "any_trailer") {
            r.end()?;
        }
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::native::Integrity;

    const ROOM: usize = 256;

    fn emitted(handshake: &Handshake<'_>, pad_to: usize) -> Vec<u8> {
        let mut buf = [0xEE; ROOM];
        let len = handshake.emit(pad_to, &mut buf).unwrap();
        buf[..len].to_vec()
    }

    fn sealed(covered: &[u8]) -> Vec<u8> {
        [covered, &checksum::crc32(covered).to_be_bytes()].concat()
    }

    fn parameters() -> impl Strategy<Value = Parameters> {
        let varint = 0..=crate::varint::MAX;
        let limits = (
            100..=crate::varint::MAX,
            1..=crate::varint::MAX,
            varint.clone(),
            varint.clone(),
            varint,
        );
        let rest = (any::<(Option<u32>, u32, bool)>(), 64..=u16::MAX, 1..=256u16, 0..=124u8);
        let loose_credit = prop_oneof![Just(0), 4..=27u8];
        (rest, limits, loose_credit).prop_map(|(rest, limits, loose_credit)| {
            let (chosen, datagram_max, channels, ack_delay) = rest;
            Parameters {
                connection_id: chosen.0,
                initial: chosen.1,
                integrity: if chosen.2 { Integrity::Crc32 } else { Integrity::None },
                datagram_max,
                channels,
                ack_delay,
                idle_timeout_ms: limits.0,
                credit: limits.1,
                loose_credit,
                reliable_max: limits.2,
                ordered_max: limits.3,
                unreliable_max: limits.4,
            }
        })
    }

    fn handshake<'a>(
        which: u8,
        version: u8,
        n: (u64, u64, u32),
        len: usize,
        parameters: Parameters,
        payload: &'a [u8],
    ) -> Handshake<'a> {
        let (application, client_half, detail) = n;
        let cookie = core::array::from_fn(|at| (client_half >> at) as u8);
        match which {
            0 => Handshake::Hello { version, application, client_half, len: len.max(HELLO_MIN) },
            1 => Handshake::Challenge { client_half, cookie },
            2 => Handshake::Connect { application, client_half, cookie, parameters, payload },
            3 => Handshake::Accept { client_half, server_half: application, parameters },
            4 => {
                let code = RefuseCode::ByApplication;
                Handshake::Refuse { version, client_half, code, detail }
            }
            5 => Handshake::Query { application, nonce: client_half, len: len.max(22) },
            _ => Handshake::Answer { nonce: client_half, payload },
        }
    }

    #[test]
    fn a_refusal_as_drawn() {
        let refuse = Handshake::Refuse {
            version: VERSION,
            client_half: 0x0102_0304_0506_0708,
            code: RefuseCode::Full,
            detail: 0,
        };
        assert_eq!(emitted(&refuse, 99), sealed(&[5, 2, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 0, 0, 0]));
    }

    #[test]
    fn no_answer_without_a_cookie_is_longer_than_a_hello() {
        let challenge = Handshake::Challenge { client_half: 1, cookie: [2; COOKIE_LEN] };
        let refuse =
            Handshake::Refuse { version: 2, client_half: 1, code: RefuseCode::Full, detail: 0 };
        assert!(emitted(&challenge, 0).len() <= HELLO_MIN);
        assert!(emitted(&refuse, 0).len() <= HELLO_MIN);
    }

    #[test]
    fn a_connect_without_payload_fits_the_shortest_link_if_its_lengths_have_three_bytes() {
        for (longest, len) in [(crate::varint::MAX, 69), ((1 << 21) - 1, 64)] {
            let parameters = Parameters {
                connection_id: Some(1),
                initial: 1,
                integrity: Integrity::Crc32,
                datagram_max: u16::MAX,
                channels: 256,
                ack_delay: 124,
                idle_timeout_ms: longest,
                credit: longest,
                loose_credit: 27,
                reliable_max: longest,
                ordered_max: longest,
                unreliable_max: longest,
            };
            let (cookie, payload) = ([2; COOKIE_LEN], &[][..]);
            let connect =
                Handshake::Connect { application: 1, client_half: 2, cookie, parameters, payload };
            assert_eq!(emitted(&connect, 0).len(), len);
            let server_half = 3;
            let accept = Handshake::Accept { client_half: 2, server_half, parameters };
            assert!(emitted(&accept, 0).len() < len);
        }
    }

    #[test]
    fn hello_is_padded_and_query_need_not_be() {
        let hello = Handshake::Hello { version: 2, application: 1, client_half: 2, len: 0 };
        let query = Handshake::Query { application: 1, nonce: 2, len: 0 };
        assert_eq!((emitted(&hello, 0).len(), emitted(&query, 0).len()), (40, 22));
        assert_eq!((emitted(&hello, 41).len(), emitted(&query, 41).len()), (41, 41));
        assert_eq!(hello.emit(ROOM + 1, &mut [0; ROOM]), Err(NoRoom));
        assert_eq!(hello.emit(0, &mut [0; HELLO_MIN - 1]), Err(NoRoom));
    }

    #[test]
    fn the_checksum_comes_before_all_else() {
        let mut hello =
            emitted(&Handshake::Hello { version: 7, application: 1, client_half: 2, len: 0 }, 0);
        assert_eq!(Handshake::parse(&sealed(&hello[..30])), Err(Malformed::Truncated));
        hello[0] = 0x70;
        assert_eq!(Handshake::parse(&hello), Err(Malformed::Checksum));
        assert_eq!(Handshake::parse(&hello[..5]), Err(Malformed::Truncated));
        assert_eq!(Handshake::parse(&sealed(&[0x70, 2])), Err(Malformed::Kind));
        assert_eq!(Handshake::parse(&sealed(&[0x70, 1])), Err(Malformed::Version));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            which in 0u8..7, version: u8, n: (u64, u64, u32), len in 0..ROOM, parameters in parameters(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let handshake = handshake(which, version, n, len, parameters, &payload);
            let bytes = emitted(&handshake, len);
            prop_assert_eq!(Handshake::parse(&bytes), Ok(handshake));
            prop_assert!(handshake.emit(len, &mut alloc::vec![0; bytes.len() - 1]).is_err());
        }

        /// Bytes that are almost a datagram, with the right checksum.
        #[test]
        fn what_is_read_is_what_would_be_written(
            which in 0u8..7, n: (u64, u64, u32), parameters in parameters(),
            payload in prop::collection::vec(any::<u8>(), 0..10),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            len in any::<prop::sample::Index>(),
        ) {
            let bytes = emitted(&handshake(which, VERSION, n, 0, parameters, &payload), 0);
            let mut covered = bytes[..bytes.len() - 4].to_vec();
            for (at, byte) in changes {
                let at = at.index(covered.len());
                covered[at] = byte;
            }
            covered.truncate(covered.len() - len.index(3));
            let bytes = sealed(&covered);
            let Ok(handshake) = Handshake::parse(&bytes) else { return Ok(()) };
            let again = emitted(&handshake, bytes.len());
            match handshake {
                // Padding may be any bytes, and is written as zeros.
                Handshake::Hello { .. } | Handshake::Query { .. } => {
                    prop_assert_eq!(&again[..18], &bytes[..18]);
                    prop_assert_eq!(again.len(), bytes.len());
                }
                _ => prop_assert_eq!(again, bytes),
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Handshake::parse(&bytes);
            let sealed = sealed(&bytes);
            prop_assert_ne!(Handshake::parse(&sealed), Err(Malformed::Checksum));
        }
    }
}
