//! A peer with a session of its own that keeps no rules.

use bowline_core::Address;
use bowline_wire::native::{
    Direction, Handshake, Integrity, PacketHead, Parameters, SessionCrc, VERSION, is_session,
};

use crate::memory::APPLICATION;
use crate::packet::{Knowledge, Packet};

const CLIENT_HALF: u64 = 0xBAD_5EED;

/// What it says of itself: it takes everything.
const PARAMETERS: Parameters = Parameters {
    connection_id: None,
    initial: 1_000,
    integrity: Integrity::None,
    datagram_max: 1_200,
    channels: 256,
    ack_delay: 100,
    idle_timeout_ms: 10_000,
    credit: 10_000,
    loose_credit: 10,
    reliable_max: 1_000_000,
    ordered_max: 100_000,
    unreliable_max: 100_000,
};

/// A client that shakes hands in all order, and from then on sends what it likes.
#[derive(Clone, Copy, Debug)]
pub struct Rogue {
    address: Address,
    known: Option<Knowledge>,
}

impl Rogue {
    /// A stranger at `address`.
    pub const fn new(address: Address) -> Self {
        Self { address, known: None }
    }

    /// Where it sits.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The first thing it says.
    pub fn hello(&self) -> Vec<u8> {
        let (application, client_half) = (APPLICATION, CLIENT_HALF);
        emitted(&Handshake::Hello { version: VERSION, application, client_half, len: 40 })
    }

    /// Somebody sent it `datagram`; what it answers, as long as it follows the rules.
    pub fn hear(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.first().is_some_and(|first| is_session(*first)) {
            let known = self.known.as_mut()?;
            if let Ok((head, _)) = PacketHead::parse(datagram, 0) {
                known.largest = head.expand_number(known.largest + 1);
            }
            return None;
        }
        match Handshake::parse(datagram).ok()? {
            Handshake::Challenge { cookie, .. } => Some(emitted(&Handshake::Connect {
                application: APPLICATION,
                client_half: CLIENT_HALF,
                cookie,
                parameters: PARAMETERS,
                payload: b"",
            })),
            Handshake::Accept { client_half, server_half, parameters } if self.known.is_none() => {
                let way = Direction::ClientToServer;
                let crc = SessionCrc::new(client_half, server_half, way);
                self.known = Some(Knowledge {
                    connection_id: parameters.connection_id,
                    number: u64::from(PARAMETERS.initial) - 1,
                    initials: [PARAMETERS.initial, parameters.initial],
                    largest: u64::from(parameters.initial),
                    crc: (parameters.integrity == Integrity::Crc32).then_some(crc),
                });
                None
            }
            _ => None,
        }
    }

    /// The datagram of a packet in its session, if it has one.
    pub fn packet(&mut self, packet: &Packet) -> Option<Vec<u8>> {
        let known = self.known.as_mut()?;
        let (number, datagram) = packet.seal(known);
        known.number = known.number.max(number);
        Some(datagram)
    }
}

fn emitted(handshake: &Handshake<'_>) -> Vec<u8> {
    let mut buf = [0; 256];
    let len = handshake.emit(40, &mut buf).unwrap_or(0);
    buf[..len].to_vec()
}
