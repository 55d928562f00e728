//! The header of a datagram.

use super::NO_PEER;
use crate::reader::Reader;
use crate::{Malformed, NoRoom, Writer};

const HAS_SENT_TIME: u16 = 0x8000;
const COMPRESSED: u16 = 0x4000;
const SESSION_SHIFT: u32 = 12;

/// What a datagram begins with; all of it but the checksum, if there is one.
///
/// ```text
///  15 14 13  12 11                  0   16              31
/// +--+--+------+---------------------+--------------------+
/// |T |C | sess |       peer id       |  sent time, if T   |
/// +--+--+------+---------------------+--------------------+
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// The receiver's slot for this connection, in `0..=0xFFF`; [`NO_PEER`] while not known.
    pub peer_id: u16,
    /// The sender's outgoing session, in `0..=3`; 0 while the peer id is not known.
    pub session: u8,
    /// Whether the commands are compressed. The checksum never is.
    pub compressed: bool,
    /// Low 16 bits of the sender's time in milliseconds. There whenever a command asks for an
    /// acknowledgement, and then only.
    pub sent_time: Option<u16>,
}

impl Header {
    /// The longest header, in bytes.
    pub const MAX_LEN: usize = 4;

    /// The header at the start of `datagram`, and what follows it: checksum or commands.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] only: of the two bytes, all values have a meaning.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut r = Reader(datagram);
        let word = r.u16()?;
        let sent_time = if word & HAS_SENT_TIME == 0 { None } else { Some(r.u16()?) };
        let header = Self {
            peer_id: word & NO_PEER,
            session: (word >> SESSION_SHIFT) as u8 & 3,
            compressed: word & COMPRESSED != 0,
            sent_time,
        };
        Ok((header, r.0))
    }

    /// Appends the header.
    ///
    /// # Errors
    ///
    /// When it does not fit. Then nothing is written.
    #[inline]
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        let word = self.word().to_be_bytes();
        match self.sent_time {
            None => w.array(word),
            Some(time) => {
                let ([word0, word1], [time0, time1]) = (word, time.to_be_bytes());
                w.array([word0, word1, time0, time1])
            }
        }
    }

    /// Length on the wire: 2 bytes, or 4 with a sent time.
    #[inline]
    pub const fn wire_len(&self) -> usize {
        if self.sent_time.is_some() { 4 } else { 2 }
    }

    /// The first two bytes.
    const fn word(&self) -> u16 {
        debug_assert!(self.peer_id <= NO_PEER && self.session <= 3, "more bits than there are");
        let sent_time = if self.sent_time.is_some() { HAS_SENT_TIME } else { 0 };
        let compressed = if self.compressed { COMPRESSED } else { 0 };
        let session = ((self.session & 3) as u16) << SESSION_SHIFT;
        sent_time | compressed | session | self.peer_id & NO_PEER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout() {
        let header =
            Header { peer_id: 0x123, session: 2, compressed: true, sent_time: Some(0x4567) };
        assert_eq!(Header::parse(&[0xE1, 0x23, 0x45, 0x67, 9]), Ok((header, &[9][..])));
        let header = Header { peer_id: NO_PEER, session: 0, compressed: false, sent_time: None };
        assert_eq!(Header::parse(&[0x0F, 0xFF]), Ok((header, &[][..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_written_as_they_were_read(
            bytes in prop::collection::vec(any::<u8>(), 0..6), room in 0usize..6,
        ) {
            let is_long = bytes.first().is_some_and(|first| *first >= 0x80);
            let len = if is_long { 4 } else { 2 };
            let Ok((header, rest)) = Header::parse(&bytes) else {
                prop_assert!(bytes.len() < len);
                return Ok(());
            };
            prop_assert_eq!((header.wire_len(), rest), (len, &bytes[len..]));
            let mut buf = [0; 6];
            let mut w = Writer::new(&mut buf[..room]);
            let emitted = header.emit(&mut w);
            prop_assert_eq!(emitted.is_ok(), room >= len);
            prop_assert_eq!(w.written(), if emitted.is_ok() { &bytes[..len] } else { &[] });
        }
    }
}
