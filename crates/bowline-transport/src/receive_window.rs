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
        let unsure = match cfg!(bowline_mutant = "too_sure") {
            true => u64::MAX,
            false => self.late.lowest.min(self.later.lowest),
        };
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

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn filled(first: u64, numbers: impl IntoIterator<Item = u64>) -> ReceiveWindow {
        let mut window = ReceiveWindow::new(first);
        for number in numbers {
            window.record(number);
        }
        window
    }

    fn ranges(window: &ReceiveWindow) -> Vec<(u64, u64)> {
        window.ranges().collect()
    }

    #[test]
    fn nothing_is_known_before_the_first_packet() {
        let window = ReceiveWindow::new(70);
        assert_eq!(window.largest(), None);
        assert_eq!(window.expected(), 70);
        assert_eq!(window.check(69), Freshness::Stale);
        assert_eq!(window.check(70), Freshness::New);
        assert!(!window.last_eight());
        assert!(!window.needs_only_last_eight());
        assert_eq!(ranges(&window), []);
    }

    #[test]
    fn arrivals_tell_order_and_gaps() {
        let mut window = ReceiveWindow::new(5);
        assert_eq!(window.record(5), Arrival { in_order: true, new_gap: false });
        assert_eq!(window.record(6), Arrival { in_order: true, new_gap: false });
        assert_eq!(window.record(9), Arrival { in_order: false, new_gap: true });
        assert_eq!(window.record(7), Arrival { in_order: false, new_gap: false });
        assert_eq!(ranges(&window), [(9, 9), (5, 7)]);
        assert!(ReceiveWindow::new(5).record(6).new_gap, "the first one is missing");
    }

    #[test]
    fn eight_in_a_row_are_enough_across_words_and_at_the_start() {
        for first in 0..140 {
            let mut window = ReceiveWindow::new(first);
            for number in first..first + 80 {
                window.record(number);
                assert!(window.last_eight());
                assert_eq!(window.needs_only_last_eight(), number < first + 8);
            }
            window.record(first + 81);
            for number in first + 82..first + 100 {
                window.record(number);
                assert_eq!(window.last_eight(), number >= first + 88);
            }
        }
    }

    #[test]
    fn a_jump_past_the_window_forgets_everything() {
        for jump in [1_023, 1_024, 1_025, 5_000, 1 << 40] {
            let mut window = filled(3, 3..300);
            window.record(300 + jump);
            assert_eq!(window.check(299), Freshness::Stale);
            assert_eq!(ranges(&window).first(), Some(&(300 + jump, 300 + jump)));
            assert_eq!(window.ranges().count(), 1, "jump {jump}");
        }
    }

    #[test]
    fn the_last_number_of_all_is_never_accepted() {
        let mut window = filled(0, [u64::MAX - 1]);
        assert_eq!(window.check(u64::MAX), Freshness::Stale);
        assert_eq!(window.largest(), Some(u64::MAX - 1));
        window.set_reported(u64::MAX);
        assert_eq!(ranges(&window), []);
    }

    #[test]
    fn what_the_peer_has_seen_is_not_reported_again() {
        let mut window = filled(0, 0..100);
        window.set_reported(59);
        assert_eq!(ranges(&window), [(60, 99)]);
        window.set_reported(40);
        assert_eq!(ranges(&window), [(60, 99)], "an older report takes nothing back");
        assert!(!window.needs_only_last_eight());
        window.set_reported(91);
        assert!(window.needs_only_last_eight());
        window.set_reported(5_000);
        assert_eq!(window.floor(), 100, "never beyond what was accepted");
    }

    #[test]
    fn a_late_arrival_is_reported_until_a_report_that_held_it_was_seen() {
        let mut window = filled(0, (0..100).filter(|&number| number != 50));
        window.set_reported(90);
        window.record(50);
        assert_eq!(ranges(&window), [(50, 99)]);
        window.set_reported(99);
        assert_eq!(ranges(&window), [(50, 99)], "that report may be older than the late arrival");
        window.record(100);
        window.set_reported(100);
        assert_eq!(ranges(&window), []);
    }

    #[test]
    fn steady_reordering_does_not_keep_reports_from_catching_up() {
        let mut window = ReceiveWindow::new(0);
        for pair in 0..2_000 {
            window.record(2 * pair + 1);
            window.record(2 * pair);
            // Reports are acknowledged twenty numbers later.
            window.set_reported((2 * pair).saturating_sub(20));
            assert!(2 * pair < window.floor() + 64, "{} at {}", window.floor(), 2 * pair);
        }
    }

    /// What is reported at one time, and whether a number is missing in what the peer knows.
    #[derive(Default)]
    struct Reports {
        sent: Vec<(u64, Vec<u64>)>,
        seen: BTreeSet<u64>,
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// A packet this far beyond the expected one, or before it.
        Arrive(i64),
        /// A report goes out.
        Report,
        /// The report sent this long ago was acknowledged.
        Seen(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => Just(Op::Arrive(0)),
            4 => (-12i64..6).prop_map(Op::Arrive),
            1 => (-1_200i64..1_200).prop_map(Op::Arrive),
            3 => Just(Op::Report),
            2 => (0usize..6).prop_map(Op::Seen),
        ]
    }

    proptest! {
        #![proptest_config(crate::thorough())]

        #[test]
        fn agrees_with_a_sorted_set(
            first in prop_oneof![0u64..200, Just(u64::from(u32::MAX))],
            ops in prop::collection::vec(op(), 0..600),
        ) {
            let mut window = ReceiveWindow::new(first);
            let mut accepted = BTreeSet::new();
            let mut reports = Reports::default();
            for op in ops {
                match op {
                    Op::Arrive(ahead) => {
                        let number = window.expected().saturating_add_signed(ahead);
                        let far = accepted.last().is_some_and(|&l| number + ReceiveWindow::LEN_MIN < l);
                        let expected = match window.check(number) {
                            Freshness::Stale => { prop_assert!(far || number < first); None }
                            Freshness::Duplicate => { prop_assert!(accepted.contains(&number)); None }
                            Freshness::New => Some(accepted.last().map_or(first, |l| l + 1)),
                        };
                        let Some(expected) = expected else { continue };
                        let arrival = window.record(number);
                        prop_assert!(accepted.insert(number), "{} was taken twice", number);
                        prop_assert_eq!(arrival.in_order, number == expected);
                        prop_assert_eq!(arrival.new_gap, number > expected);
                    }
                    Op::Report => {
                        let all = window.ranges().flat_map(|(start, end)| start..=end).collect();
                        if let Some(largest) = window.largest() {
                            reports.sent.push((largest, all));
                        }
                    }
                    Op::Seen(ago) => {
                        let Some(at) = reports.sent.len().checked_sub(ago + 1) else { continue };
                        let (largest, all) = &reports.sent[at];
                        reports.seen.extend(all);
                        window.set_reported(*largest);
                    }
                }

                let largest = accepted.last().copied();
                prop_assert_eq!(window.largest(), largest);
                prop_assert_eq!(window.expected(), largest.map_or(first, |l| l + 1));
                let reported: Vec<_> = window.ranges().collect();
                let descending = reported.windows(2).all(|pair| pair[0].0 > pair[1].1 + 1);
                prop_assert!(descending && reported.iter().all(|&(start, end)| start <= end));
                let told: BTreeSet<u64> =
                    reported.iter().flat_map(|&(start, end)| start..=end).collect();
                let due: BTreeSet<u64> = accepted.range(window.floor()..).copied().collect();
                prop_assert_eq!(&told, &due);
                if let Some(largest) = largest {
                    let from = largest.saturating_sub(7).max(first);
                    let eight = (from..=largest).all(|n| accepted.contains(&n));
                    prop_assert_eq!(window.last_eight(), eight);
                    if window.needs_only_last_eight() {
                        prop_assert!(eight && told.iter().all(|&n| n >= from));
                    }
                    let from = largest.saturating_sub(ReceiveWindow::LEN_MIN).max(first);
                    for number in from..=largest {
                        let is = window.check(number) == Freshness::Duplicate;
                        prop_assert_eq!(is, accepted.contains(&number));
                    }
                    for number in accepted.range(from..) {
                        prop_assert!(told.contains(number) || reports.seen.contains(number),
                            "{} is neither reported nor known to be seen", number);
                    }
                }
            }
        }
    }
}
