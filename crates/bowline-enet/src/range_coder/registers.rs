//! The arithmetic of a range coder: an interval that shrinks with each symbol.

/// Below this, the top byte of both ends of the interval is the same.
const TOP: u32 = 1 << 24;
/// An interval is at least as long after each symbol.
const BOTTOM: u32 = 1 << 16;

/// The interval, `low..low + range`.
///
/// `range` never becomes 0: a symbol has a part of at least 1 of at most 65,535 of it, and before the next symbol it
/// is at least [`BOTTOM`] again.
#[derive(Clone, Copy, Debug)]
struct Interval {
    low: u32,
    range: u32,
}

impl Interval {
    const ALL: Self = Self { low: 0, range: u32::MAX };

    /// Divides the interval into `total` parts; each is what `range` says then.
    #[inline]
    fn divide(&mut self, total: u16) {
        debug_assert!(total > 0, "no symbol at all");
        self.range = self.range.checked_div(total.into()).unwrap_or(0);
    }

    /// Of the parts, takes the `count` ones from `under` on.
    #[inline]
    fn select(&mut self, under: u16, count: u16) {
        self.low = self.low.wrapping_add(u32::from(under).wrapping_mul(self.range));
        self.range = self.range.wrapping_mul(count.into());
    }

    /// Lets the top byte go, if there is need and it will not change any more.
    #[inline]
    fn shift(&mut self) -> Option<u8> {
        if self.low ^ self.low.wrapping_add(self.range) >= TOP {
            if self.range >= BOTTOM {
                return None;
            }
            // A carry could still reach the top byte: the interval is cut where it would.
            self.range = self.low.wrapping_neg() & (BOTTOM - 1);
        }
        let [top, ..] = self.low.to_be_bytes();
        self.low <<= 8;
        self.range <<= 8;
        Some(top)
    }
}

/// The sending side.
#[derive(Debug)]
pub(super) struct Encoder<'o> {
    interval: Interval,
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Encoder<'o> {
    pub(super) const fn new(out: &'o mut [u8]) -> Self {
        Self { interval: Interval::ALL, out, len: 0 }
    }

    /// Of `total` parts, the symbol has the `count` ones from `under` on. `None` when the output is full.
    #[inline]
    pub(super) fn encode(&mut self, under: u16, count: u16, total: u16) -> Option<()> {
        self.interval.divide(total);
        self.interval.select(under, count);
        if self.interval.range == 0 {
            return None;
        }
        while let Some(byte) = self.interval.shift() {
            self.put(byte)?;
        }
        Some(())
    }

    /// Ends the output, and returns its length. Zeros at its end are left out.
    pub(super) fn finish(mut self) -> Option<usize> {
        while self.interval.low != 0 {
            let [top, ..] = self.interval.low.to_be_bytes();
            self.put(top)?;
            self.interval.low <<= 8;
        }
        Some(self.len)
    }

    #[inline]
    fn put(&mut self, byte: u8) -> Option<()> {
        *self.out.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Decoder<'i> {
    interval: Interval,
    code: u32,
    /// What was not read yet; zeros follow it without end.
    input: &'i [u8],
}

impl<'i> Decoder<'i> {
    pub(super) fn new(input: &'i [u8]) -> Self {
        let mut decoder = Self { interval: Interval::ALL, code: 0, input };
        (0..4).for_each(|_| decoder.next());
        decoder
    }

    /// Where in `total` parts the symbol lies. On damaged input it may be `total` or more.
    #[inline]
    pub(super) fn read(&mut self, total: u16) -> u16 {
        self.interval.divide(total);
        let ahead = self.code.wrapping_sub(self.interval.low);
        ahead.checked_div(self.interval.range).unwrap_or(0) as u16
    }

    /// After [`Self::read`]: the symbol has the `count` parts from `under` on.
    #[inline]
    pub(super) fn consume(&mut self, under: u16, count: u16) -> Option<()> {
        self.interval.select(under, count);
        if self.interval.range == 0 {
            return None;
        }
        while self.interval.shift().is_some() {
            self.next();
        }
        Some(())
    }

    #[inline]
    fn next(&mut self) {
        self.code <<= 8;
        if let Some((byte, rest)) = self.input.split_first() {
            self.code |= u32::from(*byte);
            self.input = rest;
        }
    }
}
