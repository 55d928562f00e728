//! The check that every packet of a session may carry (PROTOCOL.md, section 3.2).

use crate::checksum;

/// What protects the packets of a session, from less to more.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Integrity {
    /// Nothing but what the network below has.
    None = 0,
    /// A CRC-32 over the session's secret and the packet.
    Crc32 = 1,
}

impl Integrity {
    /// Length of the trailer of each packet, in bytes.
    #[inline]
    pub const fn trailer_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 => super::TRAILER_LEN,
        }
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Direction {
    /// From the side that sent CONNECT.
    ClientToServer = 0,
    /// From the side that sent ACCEPT.
    ServerToClient = 1,
}

/// The CRC of what all packets of one direction of a session have in common: secret and direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionCrc(u32);

impl SessionCrc {
    /// Filler for memory that is not in use.
    pub const UNUSED: Self = Self(0);

    /// For packets that go `direction`, of the session between the two halves.
    #[inline]
    pub fn new(client_half: u64, server_half: u64, direction: Direction) -> Self {
        let secret = client_half.wrapping_add(server_half.rotate_left(32));
        let crc = checksum::crc32(&secret.to_be_bytes());
        Self(checksum::update(crc, &[direction as u8]))
    }

    /// The trailer of packet `number`, whose bytes before the trailer are `bytes`.
    #[inline]
    pub fn checksum(self, number: u64, bytes: &[u8]) -> u32 {
        checksum::update(checksum::update(self.0, &number.to_be_bytes()), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_secret_direction_number_and_packet_in_this_order() {
        let crc = SessionCrc::new(0x0102_0304_0506_0708, 0x11, Direction::ServerToClient);
        let covered = [1, 2, 3, 4 + 0x11, 5, 6, 7, 8, 1, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x80, 0x34];
        assert_eq!(crc.checksum(0x1234, &[0x80, 0x34]), checksum::crc32(&covered));
    }

    #[test]
    fn no_integrity_is_less_than_any() {
        assert!(Integrity::None < Integrity::Crc32);
        assert_eq!((Integrity::None.trailer_len(), Integrity::Crc32.trailer_len()), (0, 4));
    }
}
