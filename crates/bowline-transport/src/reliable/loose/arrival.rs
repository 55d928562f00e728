//! What a frame of a loose stream brings.

use crate::run;

/// What a frame of a loose stream brings.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Stream offset of the first byte.
    pub offset: u32,
    /// How many bytes before that the message begins which `data` is a part of; none if `data` are
    /// whole prefixed messages.
    pub back: Option<u32>,
    /// The bytes.
    pub data: &'a [u8],
}

/// A whole message of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    /// Stream offset of its prefix.
    pub(super) start: u32,
    /// Stream offset behind it.
    pub(super) end: u32,
    pub(super) content: &'a [u8],
}

impl<'a> Arrival<'a> {
    /// Stream offset behind the last byte.
    pub const fn end(&self) -> u32 {
        self.offset.wrapping_add(self.data.len() as u32)
    }

    /// Stream offset at which the message begins that the first byte is of.
    pub(super) const fn message(&self) -> u32 {
        match self.back {
            Some(back) => self.offset.wrapping_sub(back),
            None => self.offset,
        }
    }

    /// The byte at a stream offset.
    pub(super) fn byte(&self, offset: u32) -> Option<u8> {
        self.data.get(offset.wrapping_sub(self.offset) as usize).copied()
    }

    /// The whole messages; none, and then no more, where there is no such.
    pub(super) fn messages(&self) -> impl Iterator<Item = Option<Whole<'a>>> + use<'a> {
        let (mut start, mut rest) = (self.offset, self.data);
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some((content, behind)) = split_message(rest) else {
                rest = &[];
                return Some(None);
            };
            let end = start.wrapping_add((rest.len() - behind.len()) as u32);
            let message = Whole { start, end, content };
            (start, rest) = (end, behind);
            Some(Some(message))
        })
    }
}

/// The content of the first of these prefixed messages, and what is behind it.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, prefix) = run::prefix(bytes).ok()??;
    bytes.get(prefix..)?.split_at_checked(len)
}
