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
        let least = if cfg!(bowline_mutant = "no_gap") { 1 } else { 2 };
        let end = start.checked_sub(u64::from(gap) + least)?;
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

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn form(largest_len: u8) -> AckForm {
        if largest_len == 1 { AckForm::Ranges1 } else { AckForm::Ranges2 }
    }

    /// As the ranges of `numbers`, newest first.
    fn ranges_of(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &number in numbers.iter().rev() {
            match ranges.last_mut() {
                Some((start, _)) if *start == number + 1 => *start = number,
                _ => ranges.push((number, number)),
            }
        }
        ranges
    }

    fn numbers_of(ranges: impl Iterator<Item = (u64, u64)>) -> BTreeSet<u64> {
        ranges.flat_map(|(start, end)| start..=end).collect()
    }

    fn parse_whole(form: AckForm, bytes: &[u8]) -> AckBlock<'_> {
        let (block, rest) = AckBlock::parse(form, bytes).unwrap();
        assert!(rest.is_empty());
        block.unwrap()
    }

    #[test]
    fn the_layout_is_the_one_drawn() {
        let mut buf = [0; 32];
        let mut w = Writer::new(&mut buf);
        let ranges = [(0x0127, 0x012A), (0x0125, 0x0125), (0, 0x20)];
        emit_ack_ranges(&mut w, 2, 5, ranges.into_iter(), 32).unwrap();
        assert_eq!(w.written(), [0x01, 0x2A, 0x85, 3, 2, 0, 0, 0x81, 0x03, 0x20]);
        let block = parse_whole(AckForm::Ranges2, w.written());
        assert_eq!((block.form(), block.largest_low()), (AckForm::Ranges2, 0x012A));
        assert_eq!(block.delay(), Some(5));
        assert_eq!(block.check(0x012A), Ok(()));
        assert_eq!(block.ranges(0x012A).collect::<Vec<_>>(), ranges);
    }

    #[test]
    fn a_number_below_0_is_found_before_it_is_used() {
        let block = parse_whole(AckForm::Ranges1, &[20, 0x80, 5, 1, 3, 9]);
        assert_eq!(block.check(18), Err(Malformed::Underflow));
        assert_eq!(block.check(19), Ok(()));
        assert_eq!(block.ranges(18).collect::<Vec<_>>(), [(13, 18)]);
        assert_eq!(block.ranges(19).collect::<Vec<_>>(), [(14, 19), (0, 9)]);
    }

    #[test]
    fn the_short_form_stops_at_0() {
        let block = parse_whole(AckForm::Short, &[3]);
        assert_eq!(block.delay(), None);
        assert_eq!(block.check(3), Ok(()));
        assert_eq!(block.ranges(3).collect::<Vec<_>>(), [(0, 3)]);
        assert_eq!(block.ranges(0x103).collect::<Vec<_>>(), [(0xFC, 0x103)]);
    }

    #[test]
    fn before_the_first_ack_the_first_number_may_be_0() {
        let block = parse_whole(AckForm::Short, &[0]);
        let before_0 = 0u64.wrapping_sub(1);
        assert_eq!(block.expand_largest(before_0, 0), Expanded::Largest(0));
        assert_eq!(block.expand_largest(before_0, 200), Expanded::Largest(0));
        assert_eq!(block.expand_largest(before_0, 255), Expanded::Ambiguous);
        let block = parse_whole(AckForm::Short, &[0xFF]);
        assert_eq!(block.expand_largest(before_0, 200), Expanded::NeverSent);
    }

    #[test]
    fn a_longer_range_than_a_varint_can_say_is_reported_in_part() {
        let mut buf = [0; 32];
        let mut w = Writer::new(&mut buf);
        let ranges = [(1 << 32, 1 << 33), (5, 6)];
        emit_ack_ranges(&mut w, 1, 255, ranges.into_iter(), 32).unwrap();
        assert_eq!(w.written(), [0, 0x7F, 0xEF, 0xFF, 0xFF, 0xFF]);
        let mut w = Writer::new(&mut buf);
        let ranges = [(1 << 33, 1 << 33), (1 << 32, (1 << 33) - 2), (5, 6)];
        emit_ack_ranges(&mut w, 1, 0, ranges.into_iter(), 32).unwrap();
        assert_eq!(w.written(), [0, 0x80, 0, 1, 0, 0xEF, 0xFF, 0xFF, 0xFF]);
    }

    #[test]
    fn no_ranges_is_no_block() {
        let mut buf = [0; 8];
        let mut w = Writer::new(&mut buf);
        assert_eq!(emit_ack_ranges(&mut w, 1, 0, core::iter::empty(), 8), Err(NoRoom));
        assert_eq!(emit_ack_ranges(&mut w, 1, 0, [(1, 200)].into_iter(), 3), Err(NoRoom));
        assert!(w.is_empty());
    }

    proptest! {
        #[test]
        fn the_newest_ranges_that_fit_arrive(
            numbers in prop::collection::btree_set(0u64..400, 1..200), base in 0u64..1 << 40,
            largest_len in 1u8..=2, delay in 0u8..=127, room in 0usize..100,
        ) {
            let numbers: BTreeSet<_> = numbers.into_iter().map(|number| base + number).collect();
            let ranges = ranges_of(&numbers);
            let largest = *numbers.last().unwrap();
            let mut buf = [0; 200];
            let mut w = Writer::new(&mut buf);
            if emit_ack_ranges(&mut w, largest_len, delay, ranges.iter().copied(), room).is_err() {
                let first = varint::len((largest - ranges[0].0) as u32);
                prop_assert!(room < usize::from(largest_len) + 1 + first);
                prop_assert!(w.is_empty());
                return Ok(());
            }
            prop_assert!(w.len() <= room);
            let block = parse_whole(form(largest_len), w.written());
            prop_assert_eq!(block.delay(), Some(delay));
            prop_assert_eq!(block.check(largest), Ok(()));
            let arrived: Vec<_> = block.ranges(largest).collect();
            prop_assert_eq!(&arrived[..], &ranges[..arrived.len()]);
            // One more would not have fitted.
            if let Some((start, end)) = ranges.get(arrived.len()) {
                let gap = arrived.last().unwrap().0 - end - 2;
                let count_len = usize::from(arrived.len() == 1);
                let pair = varint::len(gap as u32) + varint::len((end - start) as u32);
                prop_assert!(arrived.len() == ACK_RANGES_MAX || w.len() + count_len + pair > room);
            }
        }

        #[test]
        fn what_is_parsed_is_what_would_be_written(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..80),
            form in prop::sample::select(&[AckForm::Ranges1, AckForm::Ranges2]),
        ) {
            let Ok((block, rest)) = AckBlock::parse(form, &bytes) else { return Ok(()) };
            let block = block.unwrap();
            let len = bytes.len() - rest.len();
            let largest = 1 << 40 | u64::from(block.largest_low());
            let mut buf = [0; 80];
            let mut w = Writer::new(&mut buf);
            let largest_len = if form == AckForm::Ranges1 { 1 } else { 2 };
            let delay = block.delay().unwrap();
            emit_ack_ranges(&mut w, largest_len, delay, block.ranges(largest), len).unwrap();
            prop_assert_eq!(w.written(), &bytes[..len]);
        }

        /// The model walks down number by number and stops below 0.
        #[test]
        fn check_is_right_about_underflow(
            pairs in prop::collection::vec((0u8..20, 0u8..20), 0..6), first in 0u8..20,
            largest in 0u64..100,
        ) {
            let mut bytes = alloc::vec![largest as u8, 0x80, first, pairs.len() as u8];
            bytes.extend(pairs.iter().flat_map(|&(gap, more)| [gap, more]));
            if pairs.is_empty() {
                bytes.truncate(3);
                bytes[1] = 0;
            }
            let block = parse_whole(AckForm::Ranges1, &bytes);
            let mut number = largest as i64;
            let mut acked: BTreeSet<i64> = (number - i64::from(first)..=number).collect();
            number -= i64::from(first) + 1;
            for (gap, more) in pairs {
                number -= i64::from(gap) + 1;
                acked.extend(number - i64::from(more)..=number);
                number -= i64::from(more) + 1;
            }
            prop_assert_eq!(block.check(largest).is_ok(), acked.iter().all(|number| *number >= 0));
            if block.check(largest).is_ok() {
                let numbers = numbers_of(block.ranges(largest));
                prop_assert_eq!(numbers, acked.into_iter().map(|number| number as u64).collect());
            } else {
                prop_assert!(block.ranges(largest).all(|(start, end)| start <= end && end <= largest));
            }
        }

        #[test]
        fn the_largest_expands_to_the_one_number_it_can_be(
            a in 0u64..100_000, sent in 0u64..70_000, low in any::<u16>(), is_long in any::<bool>(),
        ) {
            let s = a + sent;
            let (block, span) = match is_long {
                true => ([&low.to_be_bytes()[..], &[0, 0]].concat(), 0x1_0000),
                false => (alloc::vec![low as u8], 0x100),
            };
            let form = if is_long { AckForm::Ranges2 } else { AckForm::Short };
            let block = parse_whole(form, &block);
            let low = u64::from(low) % span;
            let expected = match (a..=s).filter(|number| number % span == low).collect::<Vec<_>>()[..] {
                _ if sent >= span => Expanded::Ambiguous,
                [] => Expanded::NeverSent,
                [largest] => Expanded::Largest(largest),
                _ => unreachable!("less than a span was sent"),
            };
            prop_assert_eq!(block.expand_largest(a, s), expected);
        }
    }
}
