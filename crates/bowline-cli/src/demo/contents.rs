//! What messages hold: bytes that follow from the seed, the stream and the sequence.
//!
//! The first bytes of a message, up to four, are its *tag*: the low bytes of its sequence, veiled by
//! the key of the stream. So a receiver can tell which message it has before it compares all of it.

use super::lane::{Direction, Stream};
use super::random::Random;

/// Longest tag, in bytes. A message shorter than that is all tag.
pub(super) const TAG_LEN: usize = 4;

/// What the contents of one stream follow from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(seed: u64, stream: &Stream) -> Self {
        let direction = match stream.direction {
            Direction::ToServer => 0,
            Direction::ToClient => 1,
        };
        let lane = u64::from(stream.lane.channel.0) << 8 | stream.lane.mode as u64;
        Self(Random::new(&[seed, stream.client as u64, direction, lane]).next())
    }

    /// Makes `message` message number `sequence`, `len` bytes long.
    pub(super) fn fill(self, sequence: u64, len: usize, message: &mut Vec<u8>) {
        message.clear();
        let mut random = Random::new(&[self.0, sequence, len as u64]);
        while message.len() < len {
            message.extend_from_slice(&random.next().to_le_bytes());
        }
        message.truncate(len);
        let tag = (sequence as u32 ^ self.0 as u32).to_le_bytes();
        message.iter_mut().zip(tag).for_each(|(byte, tag)| *byte = tag);
    }

    /// The low bits of the sequence of a message that begins with `bytes`, and how many there are.
    pub(super) fn sequence_low(self, bytes: &[u8]) -> (u64, u32) {
        let len = bytes.len().min(TAG_LEN);
        let mut tag = [0; TAG_LEN];
        tag.iter_mut().zip(bytes).for_each(|(tag, byte)| *tag = *byte);
        let bits = 8 * len as u32;
        let mask = (1u64 << bits) - 1;
        (u64::from(u32::from_le_bytes(tag) ^ self.0 as u32) & mask, bits)
    }
}

#[cfg(test)]
mod tests {
    use bowline::Mode;

    use super::super::lane::Lane;
    use super::*;

    fn key(client: usize, direction: Direction, mode: Mode, channel: u8) -> Key {
        Key::new(7, &Stream { client, direction, lane: Lane::new(mode, channel) })
    }

    fn filled(key: Key, sequence: u64, len: usize) -> Vec<u8> {
        let mut message = vec![9; 5];
        key.fill(sequence, len, &mut message);
        message
    }

    #[test]
    fn a_message_says_which_it_is() {
        let key = key(0, Direction::ToServer, Mode::Reliable, 0);
        for (len, low, bits) in [(1, 0x78, 8), (3, 0x34_5678, 24), (90, 0x1234_5678, 32)] {
            let message = filled(key, 0xff_1234_5678, len);
            assert_eq!(message.len(), len);
            assert_eq!(key.sequence_low(&message), (low, bits));
        }
    }

    #[test]
    fn no_two_messages_are_alike() {
        let one = key(0, Direction::ToServer, Mode::Reliable, 0);
        let others = [
            filled(one, 2, 40),
            filled(one, 1, 41)[..40].to_vec(),
            filled(key(1, Direction::ToServer, Mode::Reliable, 0), 1, 40),
            filled(key(0, Direction::ToClient, Mode::Reliable, 0), 1, 40),
            filled(key(0, Direction::ToServer, Mode::Unreliable, 0), 1, 40),
            filled(key(0, Direction::ToServer, Mode::Reliable, 1), 1, 40),
        ];
        let first = filled(one, 1, 40);
        assert!(others.iter().all(|other| other[8..] != first[8..]));
        assert_eq!(first, filled(one, 1, 40));
    }
}
