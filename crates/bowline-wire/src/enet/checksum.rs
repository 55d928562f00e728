//! The optional checksum of a datagram.

use super::CHECKSUM_LEN;
use crate::{Malformed, checksum as crc};

/// The checksum of a datagram with this header, as it is on the wire.
///
/// `header` is the bytes of the [`Header`](super::Header) with its final flags; `connect_id` that of the
/// connection, or zeros when the datagram goes to [`NO_PEER`](super::NO_PEER); `commands` are not
/// compressed, also where the datagram is.
///
/// Since `connect_id` stands where the checksum will be, a sender that has put it there may as well
/// take the CRC of the whole datagram.
///
/// ```
/// use bowline_wire::enet::checksum;
///
/// assert_eq!(checksum(b"12", *b"3456", b"789"), 0xCBF4_3926u32.to_be_bytes());
/// ```
#[inline]
pub fn checksum(header: &[u8], connect_id: [u8; 4], commands: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut checksum = Checksum::new(header, connect_id);
    checksum.update(commands);
    checksum.finish()
}

/// A [`checksum`] of commands that lie in several places.
#[derive(Clone, Copy, Debug)]
pub struct Checksum(u32);

impl Checksum {
    /// Over the header and what stands in place of the checksum.
    #[inline]
    pub fn new(header: &[u8], connect_id: [u8; 4]) -> Self {
        Self(crc::update(crc::crc32(header), &connect_id))
    }

    /// Goes on with more of the commands, not compressed.
    #[inline]
    pub fn update(&mut self, commands: &[u8]) {
        self.0 = crc::update(self.0, commands);
    }

    /// The checksum, as it is on the wire.
    #[inline]
    pub const fn finish(self) -> [u8; CHECKSUM_LEN] {
        self.0.to_be_bytes()
    }
}

/// The checksum, and what follows it; of what follows the [`Header`](super::Header).
///
/// # Errors
///
/// [`Malformed::Truncated`].
#[inline]
pub fn split_checksum(bytes: &[u8]) -> Result<([u8; CHECKSUM_LEN], &[u8]), Malformed> {
    let (checksum, rest) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
    Ok((*checksum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_crc_of_the_datagram_with_the_connect_id_in_its_place() {
        let datagram = [0x80, 0x01, 0x03, 0xE8, 0xA0, 0xA1, 0xA2, 0xA3, 0x85, 0xFF, 0x00, 0x02];
        let (header, rest) = datagram.split_at(4);
        let (connect_id, commands) = split_checksum(rest).unwrap();
        let whole = crc::crc32(&datagram).to_be_bytes();
        assert_eq!(checksum(header, connect_id, commands), whole);
        let mut in_pieces = Checksum::new(header, connect_id);
        commands.iter().for_each(|byte| in_pieces.update(&[*byte]));
        assert_eq!(in_pieces.finish(), whole);
        assert_ne!(checksum(header, [0; 4], commands), whole);
    }

    #[test]
    fn takes_four_bytes() {
        assert_eq!(split_checksum(&[1, 2, 3, 4]), Ok(([1, 2, 3, 4], &[][..])));
        assert_eq!(split_checksum(&[1, 2, 3]), Err(Malformed::Truncated));
    }
}
