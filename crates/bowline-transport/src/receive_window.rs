//! Which packet numbers were accepted, and which of them still have to be reported.
//!
//! ```text
//!    first        floor                         largest
//!      |            |                              |
//!      v            v                              v
//!  ----#####.#####..#####.########..######.########
//!           |       |<---- what ranges() tells --->|
//!           |<---- what check() can tell apart --->|
//!         bottom
//! ```
//!
//! Recording a number, judging one and telling whether the shortest ack block will do take
//! constant time; a report takes a few steps per range and word.

use core::iter::FusedIterator;

/// Which packet numbers of a peer were accepted: a bitmap that moves along with the largest one.
///
/// [`Self::check`] before a packet is believed, [`Self::record`] once everything in it was
/// accepted, [`Self::ranges`] when an ack is written, [`Self::set_reported`] when the packet that
/// carried it was acknowledged in turn.
#[derive(Clone, Debug)]
pub struct ReceiveWindow {
    /// Number `n` is bit `n % 64` of word `n / 64 % 16`. No bit above the largest number is set,
    /// nor any below the bottom of the window.
    words: [u64; WORDS],
    /// The number after the largest accepted one; `first` as long as there is none.
    next: u64,
    /// What the peer announced as its first number.
    first: u64,
    /// The lowest number that still needs to be reported.
    floor: u64,
    late: Late,
    /// Those that came since the largest number moved on from where it was with `late`. Kept
    /// apart, or else steady reordering would never let a report catch up.
    later: Late,
}

/// Numbers that came after larger ones and may be missing in reports that are still on the way.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// The lowest of them; `u64::MAX` if there are none.
    lowest: u64,
    /// The largest number accepted when the last of them came: a report that goes further up was
    /// made later, so it holds all of them.
    largest: u64,
}

impl Late {
    const NONE: Self = Self { lowest: u64::MAX, largest: 0 };

    const fn is_none(&self) -> bool {
        self.lowest == u64::MAX
    }
}

/// What is known of a packet number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Freshness {
    /// Not accepted yet.
    New,
    /// Accepted before.
    Duplicate,
    /// Below what the window remembers, or a number that the peer may not use at all.
    Stale,
}

/// How a number that was recorded relates to those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Arrival {
    /// It was the [`ReceiveWindow::expected`] one.
    pub in_order: bool,
    /// It is the largest one so far, and those right below it are missing.
    pub new_gap: bool,
}

impl Arrival {
    /// Whether the number is the largest one so far.
    pub const fn is_largest(self) -> bool {
        self.in_order || self.new_gap
    }
}

impl ReceiveWindow {
    /// How many numbers below the largest can be told apart, at least. The protocol asks for 512.
    pub const LEN_MIN: u64 = (WORDS as u64 - 1) * 64;

    /// Nothing was accepted from a peer that begins with number `first`.
    pub const fn new(first: u64) -> Self {
        let (late, later) = (Late::NONE, Late::NONE);
        Self { words: [0; WORDS], next: first, first, floor: first, late, later }
    }

    /// What the peer announced as its first number.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The largest number accepted.
    #[inline]
    pub const fn largest(&self) -> Option<u64> {
        if self.next > self.first { Some(self.next - 1) } else { None }
    }

    /// The number after the largest accepted one, or the first one.
    #[inline]
    pub const fn expected(&self) -> u64 {
        self.next
    }

    /// Whether a packet with this number may be accepted. `u64::MAX` never is.
    #[inline]
    pub fn check(&self, number: u64) -> Freshness {
        if number < self.bottom() || number == u64::MAX {
            Freshness::Stale
        } else if number < self.next && self.word(number / 64) >> (number % 64) & 1 == 1 {
            Freshness::Duplicate
        } else {
            Freshness::New
        }
    }

    /// Remembers `number` as accepted. It must be [`Freshness::New`]; any other changes nothing.
    #[inline]
    pub fn record(&mut self, number: u64) -> Arrival {
        let arrival = Arrival { in_order: number == self.next, new_gap: number > self.next };
        if self.check(number) != Freshness::New {
            debug_assert!(false, "recorded without a check");
            return Arrival { in_order: false, new_gap: false };
        }
        if arrival.is_largest() {
            self.advance(number);
        } else {
            self.floor = self.floor.min(number);
            let largest = self.next - 1;
            let same = self.late.is_none() || self.late.largest == largest;
            let late = if same { &mut self.late } else { &mut self.later };
            *late = Late { lowest: late.lowest.min(number), largest };
        }
        if let Some(word) = self.words.get_mut(place(number / 64)) {
            *word |= 1 << (number % 64);
        }
        arrival
    }

    /// Whether the last eight numbers up to the largest were accepted, or all since the first if
    /// there are fewer. `false` if nothing was accepted.
    #[inline]
    pub fn last_eight(&self) -> bool {
        let Some(largest) = self.largest() else { return false };
        let above = 63 - (largest % 64) as u32;
        // In two shifts, since one by 64 would not do.
        let older = self.word((largest / 64).wrapping_sub(1)) >> 1 >> (63 - above);
        let newest_first = self.word(largest / 64) << above | if above == 0 { 0 } else { older };
        u64::from(newest_first.leading_ones()) >= (self.next - self.first).min(8)
    }

    /// Whether an ack of exactly the last eight numbers tells all that needs to be told.
    #[inline]
    pub fn needs_only_last_eight(&self) -> bool {
        self.floor.saturating_add(8) >= self.next && self.last_eight()
    }

    /// The lowest number that still has to be reported if it was accepted.
    #[inline]
    pub fn floor(&self) -> u64 {
        self.floor.max(self.bottom())
    }

    /// The peer has acknowledged a packet in which all of [`Self::ranges`] was reported, when
    /// `upto` was the largest number: what it has seen need not be reported again.
    ///
    /// A number that came later than larger ones may be missing in that report. It stays
    /// reported until a report is acknowledged that surely came after it, and so does all above.
    pub fn set_reported(&mut self, upto: u64) {
        if upto > self.late.largest {
            self.late = if upto > self.later.largest { Late::NONE } else { self.later };
            self.later = Late::NONE;
        }
        let unsure = self.late.lowest.min(self.later.lowest);
        self.floor = self.floor.max(upto.saturating_add(1).min(self.next).min(unsure));
    }

    /// The numbers to report, as inclusive ranges `(start, end)` from the largest down. Between
    /// two of them at least one number is missing.
    pub fn ranges(&self) -> Ranges<'_> {
        Ranges { window: self, left: self.next.saturating_sub(self.floor()), next: self.next }
    }

    /// The lowest number that the window can tell anything of.
    #[inline]
    fn bottom(&self) -> u64 {
        let largest = self.next.saturating_sub(1);
        ((largest / 64).saturating_sub(WORDS as u64 - 1) * 64).max(self.first)
    }

    #[inline]
    fn word(&self, index: u64) -> u64 {
        self.words.get(place(index)).copied().unwrap_or(0)
    }

    /// Makes `number` the largest one, and forgets what falls out at the bottom.
    #[inline]
    fn advance(&mut self, number: u64) {
        let from = self.next.saturating_sub(1) / 64;
        let to = number / 64;
        for index in from.saturating_add(1)..=to.min(from.saturating_add(WORDS as u64)) {
            if let Some(word) = self.words.get_mut(place(index)) {
                *word = 0;
            }
        }
        self.next = number + 1;
    }

    /// How many numbers, from `at` down, were all accepted, or all not accepted; `max` at most.
    fn run(&self, accepted: bool, mut at: u64, max: u64) -> u64 {
        let flip = if accepted { 0 } else { u64::MAX };
        let mut len = 0;
        while len < max {
            let in_word = at % 64 + 1;
            let here = ((self.word(at / 64) ^ flip) << (64 - in_word)).leading_ones();
            len += u64::from(here);
            if u64::from(here) < in_word || at < in_word {
                break;
            }
            at -= in_word;
        }
        len.min(max)
    }
}

/// Ranges of accepted numbers, from the largest down. Made by [`ReceiveWindow::ranges`].
#[derive(Clone, Debug)]
pub struct Ranges<'w> {
    window: &'w ReceiveWindow,
    /// One more than the number to look at next.
    next: u64,
    /// How many numbers are left to look at, `next` at most.
    left: u64,
}

impl Ranges<'_> {
    fn skip(&mut self, accepted: bool) -> u64 {
        if self.left == 0 {
            return 0;
        }
        let len = self.window.run(accepted, self.next - 1, self.left);
        self.left -= len;
        self.next -= len;
        len
    }
}

impl Iterator for Ranges<'_> {
    /// First and last number of a range.
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.skip(false);
        let end = self.next.checked_sub(1)?;
        let len = self.skip(true);
        (len > 0).then_some((self.next, end))
    }
}

impl FusedIterator for Ranges<'_> {}

const WORDS: usize = 16;

/// Where the word with this index lies in the ring.
#[inline]
const fn place(index: u64) -> usize {
    index as usize % WORDS
}
