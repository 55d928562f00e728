//! The commands of a datagram, one after the other.

use super::{Command, CommandHead};
use crate::Malformed;

/// The commands of a datagram: all behind its header and checksum, not compressed any more.
///
/// Those before a malformed one are good: a receiver acts on them. There may be none.
#[inline]
pub const fn commands(bytes: &[u8]) -> Commands<'_> {
    Commands { rest: bytes }
}

/// Iterator over the commands of a datagram. Ends after the first error.
#[derive(Clone, Copy, Debug)]
pub struct Commands<'a> {
    rest: &'a [u8],
}

impl<'a> Commands<'a> {
    /// What was not read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<(CommandHead, Command<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = Command::parse(self.rest);
        self.rest = parsed.map_or(&[], |(_, _, rest)| rest);
        Some(parsed.map(|(head, command, _)| (head, command)))
    }
}

impl core::iter::FusedIterator for Commands<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 4] = [0x85, 0xFF, 0, 2];

    #[test]
    fn come_in_the_order_sent_up_to_the_end() {
        let bytes = [&PING[..], &[0x86, 1, 0, 9, 0, 1, b'x'], &PING].concat();
        let mut commands = commands(&bytes);
        let ping = (CommandHead::acknowledged(0xFF, 2), Command::Ping);
        let send = (CommandHead::acknowledged(1, 9), Command::SendReliable { payload: b"x" });
        assert_eq!(commands.next(), Some(Ok(ping)));
        assert_eq!(commands.next(), Some(Ok(send)));
        assert_eq!(commands.rest(), PING);
        assert_eq!(commands.next(), Some(Ok(ping)));
        assert_eq!(commands.next(), None);
    }

    #[test]
    fn those_before_a_fault_are_good() {
        for (fault, malformed) in [
            (&[0x80, 1, 0, 9][..], Malformed::Kind),
            (&[0x8D, 1, 0, 9], Malformed::Kind),
            (&[0x85, 1, 0], Malformed::Truncated),
            (&[0x84, 1, 0, 9, 0, 0, 0], Malformed::Truncated),
            (&[0x86, 1, 0, 9, 0, 2, b'x'], Malformed::Payload),
        ] {
            let bytes = [&PING[..], fault].concat();
            let mut commands = commands(&bytes);
            assert!(matches!(commands.next(), Some(Ok((_, Command::Ping)))));
            assert_eq!(commands.next(), Some(Err(malformed)));
            assert_eq!(commands.next(), None);
        }
    }
}
