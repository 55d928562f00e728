//! The frames of a packet, one after the other.

use super::Frame;
use crate::Malformed;

/// The frames of a packet: all between ack block and trailer.
///
/// A second unreliable-ordered frame of a channel is an error, as is one that is malformed. No frames
/// are no error here: a packet may have an ack block only.
#[inline]
pub const fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { rest: bytes, ordered: [0; 8] }
}

/// Iterator over the frames of a packet. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    /// One bit per channel: has had its unreliable-ordered frame.
    ordered: [u32; 8],
}

impl<'a> Frames<'a> {
    /// What was not read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether this is the first unreliable-ordered frame of `channel`.
    #[inline]
    fn is_first_of(&mut self, channel: u8) -> bool {
        let bit = 1 << (channel & 31);
        let Some(word) = self.ordered.get_mut(usize::from(channel >> 5)) else { return true };
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = Frame::parse(self.rest).and_then(|(frame, rest)| match frame {
            Frame::Unreliable { channel, ordered: true, .. } if !self.is_first_of(channel) => {
                Err(Malformed::Repeated)
            }
            _ => Ok((frame, rest)),
        });
        let (frame, rest) = match parsed {
            Ok((frame, rest)) => (Ok(frame), rest),
            Err(malformed) => (Err(malformed), &[][..]),
        };
        self.rest = rest;
        Some(frame)
    }
}

impl core::iter::FusedIterator for Frames<'_> {}
