//! Ack blocks (PROTOCOL.md, section 3.3).
//!
//! ```text
//! form 1   | L: u8        |
//! form 2   | L: u8        | ranges
//! form 3   | L: u16       | ranges
//!
//! ranges   | M | delay | first: varint | if M: count: u8 | count × (gap: varint, more: varint) |
//! ```
//!
//! `L` travels truncated, so a block is parsed before anyone can know its numbers:
//! [`AckBlock::parse`], then [`AckBlock::expand_largest`] by what this side has sent, then
//! [`AckBlock::check`], then [`AckBlock::ranges`].

use super::{ACK_RANGES_MAX, AckForm};
use crate::reader::{Reader, legal};
use crate::{Malformed, NoRoom, Writer, varint};

/// Bit M: more ranges than one follow.
const MORE: u8 = 0x80;
const DELAY_MAX: u8 = 0x7F;
/// How many numbers below `L` the short form acknowledges.
const SHORT_SPAN: u64 = 7;

/// An ack block whose bytes are well formed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AckBlock<'a> {
    largest_low: u16,
    form: AckForm,
    delay: u8,
    first: u32,
    /// Pairs of gap and more, all of them well formed.
    pairs: &'a [u8],
    /// How far the lowest number lies below `L`; 0 in the short form, which stops at 0 by itself.
    span: u64,
}

/// What `L` of an ack block means to the side that sent the packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Expanded {
    /// It is this number.
    Largest(u64),
    /// It may be one of several numbers: treat the block as lost.
    Ambiguous,
    /// It is no number that was sent: the peer misbehaves.
    NeverSent,
}

impl<'a> AckBlock<'a> {
    /// The block of this `form` at the start of `bytes`, none with [`AckForm::None`], and what
    /// follows it.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`], [`Malformed::Varint`], or [`Malformed::Illegal`] for a count out
    /// of its range.
    #[inline]
    pub fn parse(form: AckForm, bytes: &'a [u8]) -> Result<(Option<Self>, &'a [u8]), Malformed> {
        if form == AckForm::None {
            return Ok((None, bytes));
        }
        let mut r = Reader(bytes);
        let largest_low = match form {
            AckForm::Ranges2 => r.u16()?,
            _ => r.u8()?.into(),
        };
        let mut block = Self { largest_low, form, delay: 0, first: 0, pairs: &[], span: 0 };
        if form != AckForm::Short {
            block.parse_ranges(&mut r)?;
        }
        Ok((Some(block), r.0))
    }

    fn parse_ranges(&mut self, r: &mut Reader<'a>) -> Result<(), Malformed> {
        let delay = r.u8()?;
        self.delay = delay & DELAY_MAX;
        self.first = r.varint()?;
        self.span = self.first.into();
        if delay & MORE == 0 {
            return Ok(());
        }
        let count = r.u8()?;
        legal(count, (1..ACK_RANGES_MAX).contains(&count.into()))?;
        let bytes = r.0;
        for _ in 0..count {
            let gap = r.varint()?;
            let more = r.varint()?;
            self.span = self.span.wrapping_add(u64::from(gap) + u64::from(more) + 2);
        }
        self.pairs = bytes.get(..bytes.len().wrapping_sub(r.0.len())).unwrap_or_default();
        Ok(())
    }

    /// In which form the block came, never [`AckForm::None`].
    #[inline]
    pub const fn form(&self) -> AckForm {
        self.form
    }

    /// The low byte of `L`, or two of them in [`AckForm::Ranges2`].
    #[inline]
    pub const fn largest_low(&self) -> u16 {
        self.largest_low
    }

    /// How long `L` had been there, in units of 250 µs, where 127 is that or more.
    ///
    /// `None` in the short form, which means less than 1 ms.
    #[inline]
    pub const fn delay(&self) -> Option<u8> {
        match self.form {
            AckForm::Ranges1 | AckForm::Ranges2 => Some(self.delay),
            AckForm::None | AckForm::Short => None,
        }
    }

    /// What `L` is, where `a` is the largest number known to be acknowledged and `s` the largest
    /// one sent.
    ///
    /// Before anything was acknowledged `a` is the first number less one, wrapping.
    #[inline]
    pub const fn expand_largest(&self, a: u64, s: u64) -> Expanded {
        let mask = match self.form {
            AckForm::Ranges2 => 0xFFFF,
            _ => 0xFF,
        };
        let unacked = s.wrapping_sub(a);
        if unacked > mask {
            return Expanded::Ambiguous;
        }
        let ahead = (self.largest_low as u64).wrapping_sub(a) & mask;
        let largest = a.wrapping_add(ahead);
        if ahead > unacked || largest > s {
            return Expanded::NeverSent;
        }
        Expanded::Largest(largest)
    }

    /// Whether all numbers acknowledged exist if `L` is `largest`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Underflow`] when one of them is below 0.
    #[inline]
    pub const fn check(&self, largest: u64) -> Result<(), Malformed> {
        if largest < self.span { Err(Malformed::Underflow) } else { Ok(()) }
    }

    /// The ranges acknowledged if `L` is `largest`: first and last number of each, both included,
    /// newest range first.
    ///
    /// The short form is one range of eight numbers, or down to 0; numbers before the first one of
    /// the session mean nothing in it. Stops before a range that reaches below 0; see
    /// [`Self::check`].
    #[inline]
    pub fn ranges(&self, largest: u64) -> AckRanges<'a> {
        let start = match self.form {
            AckForm::None | AckForm::Short => Some(largest.saturating_sub(SHORT_SPAN)),
            AckForm::Ranges1 | AckForm::Ranges2 => largest.checked_sub(self.first.into()),
        };
        AckRanges { next: start.map(|start| (start, largest)), pairs: self.pairs }
    }
}

/// The ranges of an [`AckBlock`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    next: Option<(u64, u64)>,
    pairs: &'a [u8],
}

impl AckRanges<'_> {
    /// The range that the next pair puts below a range that begins with `start`.
    #[inline]
    fn below(&mut self, start: u64) -> Option<(u64, u64)> {
        let (gap, rest) = varint::parse(self.pairs).ok()?;
        let (more, rest) = varint::parse(rest).ok()?;
        self.pairs = rest;
        let end = start.checked_sub(u64::from(gap) + 2)?;
        Some((end.checked_sub(more.into())?, end))
    }
}

impl Iterator for AckRanges<'_> {
    type Item = (u64, u64);

    #[inline]
    fn next(&mut self) -> Option<(u64, u64)> {
        let range = self.next?;
        self.next = self.below(range.0);
        Some(range)
    }
}

impl core::iter::FusedIterator for AckRanges<'_> {}

/// Appends a block of [`AckForm::Short`].
///
/// # Errors
///
/// When it does not fit.
#[inline]
pub fn emit_ack_short(w: &mut Writer<'_>, largest: u64) -> Result<(), NoRoom> {
    w.u8(largest as u8)
}

/// Appends a block of [`AckForm::Ranges1`] or [`AckForm::Ranges2`], as `largest_len` is 1 or 2.
///
/// `ranges` are first and last number of each, newest first, with at least one number between two of
/// them; `L` is the last number of the first range. As many ranges are written as fit into `room`
/// bytes, and 32 at most. `delay_code` is in units of 250 µs; from 127 on it is 127.
///
/// # Errors
///
/// When not even the first range fits, or there is none. Then nothing is written.
pub fn emit_ack_ranges(
    w: &mut Writer<'_>,
    largest_len: u8,
    delay_code: u8,
    mut ranges: impl Iterator<Item = (u64, u64)>,
    room: usize,
) -> Result<(), NoRoom> {
    let (mut start, largest) = ranges.next().ok_or(NoRoom)?;
    let before = w.len();
    let end = before.saturating_add(room.min(w.room()));
    let (first, is_whole) = narrow(largest.wrapping_sub(start));
    if before + usize::from(largest_len.clamp(1, 2)) + 1 + varint::len(first) > end {
        return Err(NoRoom);
    }
    match largest_len {
        0 | 1 => w.u8(largest as u8)?,
        _ => w.u16(largest as u16)?,
    }
    let delay_at = w.len();
    let delay = delay_code.min(DELAY_MAX);
    w.u8(delay)?;
    w.varint(first)?;
    if !is_whole {
        return Ok(());
    }
    let count_at = w.len();
    let mut count = 0;
    for (next_start, next_end) in ranges.take(ACK_RANGES_MAX - 1) {
        let pair = start.checked_sub(next_end).and_then(|away| away.checked_sub(2)).map(narrow);
        debug_assert!(pair.is_some(), "ranges descend and leave gaps");
        let Some((gap, true)) = pair else { break };
        let (more, is_whole) = narrow(next_end.wrapping_sub(next_start));
        let count_len = usize::from(count == 0);
        if w.len() + count_len + varint::len(gap) + varint::len(more) > end {
            break;
        }
        if count == 0 {
            w.set(delay_at, MORE | delay);
            w.u8(0)?;
        }
        w.varint(gap)?;
        w.varint(more)?;
        count += 1;
        w.set(count_at, count);
        if !is_whole {
            break;
        }
        start = next_start;
    }
    Ok(())
}

/// As a varint, or the largest varint there is, and whether that is all of it.
///
/// A range that long is reported from its newest end only, and nothing below it.
#[inline]
fn narrow(count: u64) -> (u32, bool) {
    match u32::try_from(count) {
        Ok(count @ 0..=varint::MAX) => (count, true),
        _ => (varint::MAX, false),
    }
}
