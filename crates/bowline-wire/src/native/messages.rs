//! Prefixed messages (PROTOCOL.md, section 2): a length as a varint, then as many bytes.

use crate::{Malformed, varint};

/// The messages in the prefixed messages of a frame.
#[inline]
pub const fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages(bytes)
}

/// Iterator over prefixed messages. Ends before the first that is malformed, which there is none
/// of in a [`Frame`](super::Frame).
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (message, rest) = split_message(self.0)?;
        self.0 = rest;
        Some(message)
    }
}

impl core::iter::FusedIterator for Messages<'_> {}

/// `bytes`, if they are whole prefixed messages.
#[inline]
pub(super) fn whole_messages(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        at += match first {
            0..0x80 => 1 + usize::from(first),
            _ => long_message_len(bytes, at)?,
        };
    }
    if at == bytes.len() { Ok(bytes) } else { Err(Malformed::Messages) }
}

/// Length of the prefixed message at `at`, whose prefix is longer than a byte.
fn long_message_len(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let (_, after) = split_message(rest).ok_or(Malformed::Messages)?;
    Ok(rest.len() - after.len())
}

/// The first prefixed message of `bytes`, and what follows it.
#[inline]
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = varint::parse(bytes).ok()?;
    rest.split_at_checked(len as usize)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_message_is_a_message() {
        assert_eq!(messages(&[0, 1, b'a', 0]).collect::<Vec<_>>(), [&b""[..], b"a", b""]);
    }

    #[test]
    fn what_does_not_end_with_a_message_is_malformed() {
        for bytes in [&[1][..], &[0, 2, b'a'], &[0x80], &[0x80, 0]] {
            assert_eq!(whole_messages(bytes), Err(Malformed::Messages), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        ) {
            let mut bytes = Vec::new();
            for message in &sent {
                let (prefix, len) = varint::encode(message.len() as u32);
                bytes.extend_from_slice(&prefix[..len]);
                bytes.extend_from_slice(message);
            }
            prop_assert_eq!(whole_messages(&bytes), Ok(&bytes[..]));
            let received: Vec<_> = messages(&bytes).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(received, sent);
        }
    }
}
