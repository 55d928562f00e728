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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const EMPTY_MESSAGE: &[u8] = &[0];

    fn ordered(channel: u8) -> Frame<'static> {
        Frame::Unreliable { channel, ordered: true, messages: EMPTY_MESSAGE }
    }

    #[test]
    fn come_in_the_order_sent_up_to_the_end() {
        let frames: Vec<_> = frames(&[0x01, 0x51, 1, 0, 0x00, 0x42, 0]).collect();
        assert_eq!(frames, [Ok(Frame::Ping), Ok(ordered(1)), Ok(Frame::Padding), Ok(ordered(2))]);
    }

    #[test]
    fn end_after_the_first_fault() {
        let mut frames = frames(&[0x01, 0x07, 0x01]);
        assert_eq!(frames.rest().len(), 3);
        assert_eq!(frames.next(), Some(Ok(Frame::Ping)));
        assert_eq!(frames.next(), Some(Err(Malformed::Kind)));
        assert_eq!(frames.next(), None);
        assert!(frames.rest().is_empty());
    }

    #[test]
    fn an_unreliable_ordered_frame_comes_once_per_channel() {
        let mut bytes: Vec<u8> = (15..=255).flat_map(|channel| [0x5F, channel, 1, 0]).collect();
        assert!(frames(&bytes).all(|frame| frame.is_ok()));
        for channel in [15, 31, 32, 128, 255] {
            bytes.extend([0x5F, channel, 1, 0]);
            let last = frames(&bytes).last();
            assert_eq!(last, Some(Err(Malformed::Repeated)), "{channel}");
            bytes.truncate(bytes.len() - 4);
        }
    }

    #[test]
    fn other_frames_may_repeat_a_channel() {
        assert!(frames(&[0x31, 1, 0, 0x51, 1, 0, 0x31, 1, 0]).all(|frame| frame.is_ok()));
    }
}
