//! One direction between two nodes: its link, its luck and its counts.

use alloc::vec::Vec;

use bowline_core::{Duration, Instant};

use crate::bottleneck::{Bottleneck, Through};
use crate::{Bursts, Counters, Departure, Link, Loss, Rng};

/// A direction that has been configured or used.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) link: Link,
    /// Whether the link is this path's own, not the default of the network.
    pub(crate) own_link: bool,
    pub(crate) counters: Counters,
    /// Gives each datagram dice of its own, so that no setting of the link and no other
    /// datagram's luck changes the rolls of those that follow.
    rng: Rng,
    bad: bool,
    bottleneck: Bottleneck,
    /// One more than the number of the latest datagram that arrived.
    expected: u64,
}

/// Which copies of a datagram arrive.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) number: u64,
    pub(crate) queued: Duration,
    pub(crate) first: Copy,
    pub(crate) second: Option<Copy>,
}

/// When a copy arrives, and in what state.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) at: Instant,
    pub(crate) damage: Option<Damage>,
}

impl Path {
    pub(crate) fn new(link: Link, rng: Rng) -> Self {
        Self {
            link,
            own_link: false,
            counters: Counters::default(),
            rng,
            bad: false,
            bottleneck: Bottleneck::default(),
            expected: 0,
        }
    }

    /// Changes what happens to datagrams from now on; those on their way keep their fate.
    pub(crate) fn set_link(&mut self, link: Link) {
        if link.rate != self.link.rate {
            self.bottleneck.on_rate_change();
        }
        self.link = link;
    }

    /// A datagram of `len` bytes enters at `now`, or would, were it not for the filter.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        len: usize,
        wanted: bool,
    ) -> Result<Passage, Loss> {
        let mut dice = self.rng.fork();
        let number = self.counters.sent;
        self.counters.sent += 1;
        self.counters.sent_bytes += len as u64;
        let passage = self.pass(now, len, wanted, number, &mut dice);
        match &passage {
            Ok(passage) => {
                let copies = [Some(&passage.first), passage.second.as_ref()];
                self.counters.duplicated += u64::from(passage.second.is_some());
                self.counters.corrupted +=
                    copies.iter().flatten().filter(|copy| copy.damage.is_some()).count() as u64;
            }
            Err(loss) => *self.counter_of(*loss) += 1,
        }
        passage
    }

    /// A copy of datagram `number` reached the receiver.
    pub(crate) fn on_arrival(&mut self, number: u64) {
        self.counters.reordered += u64::from(number + 1 < self.expected);
        self.expected = self.expected.max(number + 1);
    }

    fn pass(
        &mut self,
        now: Instant,
        len: usize,
        wanted: bool,
        number: u64,
        dice: &mut Rng,
    ) -> Result<Passage, Loss> {
        if !wanted {
            return Err(Loss::Filtered);
        }
        if len > self.link.payload_max {
            return Err(Loss::TooLong);
        }
        if self.link.is_down(now) {
            return Err(Loss::Outage);
        }
        let Through { at, queued } = self.pass_bottleneck(now, len).ok_or(Loss::QueueFull)?;
        if self.is_lost(dice) {
            return Err(Loss::Chance);
        }
        let duplicate = dice.chance(self.link.duplicate);
        let mut first_dice = dice.fork();
        let second_dice = dice.fork();
        let first = self.copy(at, &mut first_dice);
        let second = duplicate
            .then_some(second_dice)
            .map(|mut dice| self.copy(at + self.link.duplicate_delay, &mut dice));
        Ok(Passage { number, queued, first, second })
    }

    fn pass_bottleneck(&mut self, now: Instant, len: usize) -> Option<Through> {
        let Some(rate) = self.link.rate else {
            return Some(Through { at: now, queued: Duration::ZERO });
        };
        let size = len as u64 + u64::from(self.link.overhead);
        let through = self.bottleneck.pass(now, size, rate, self.link.queue)?;
        self.counters.queue_max = self.counters.queue_max.max(self.bottleneck.backlog(now, rate));
        Some(through)
    }

    fn is_lost(&mut self, dice: &mut Rng) -> bool {
        let Bursts { worsens, recovers, good_loss, bad_loss } = self
            .link
            .bursts
            .unwrap_or(Bursts { worsens: 0, recovers: 0, good_loss: 0, bad_loss: 0 });
        self.bad ^= dice.chance(if self.bad { recovers } else { worsens });
        dice.chance(if self.bad { bad_loss } else { good_loss }) || dice.chance(self.link.loss)
    }

    fn copy(&self, sent: Instant, dice: &mut Rng) -> Copy {
        let mut at = sent + self.link.delay + dice.duration(self.link.jitter);
        if dice.chance(self.link.reorder) {
            at = at + self.link.reorder_delay;
        }
        let damage = dice.chance(self.link.corrupt).then(|| Damage(dice.fork()));
        Copy { at, damage }
    }

    fn counter_of(&mut self, loss: Loss) -> &mut u64 {
        match loss {
            Loss::Chance => &mut self.counters.lost,
            Loss::Outage => &mut self.counters.outage,
            Loss::QueueFull => &mut self.counters.queue_full,
            Loss::TooLong => &mut self.counters.too_long,
            // Without a path there is no link that could have dropped it.
            Loss::Filtered | Loss::Unroutable => &mut self.counters.filtered,
        }
    }
}

impl From<&Result<Passage, Loss>> for Departure {
    fn from(passage: &Result<Passage, Loss>) -> Self {
        match passage {
            Ok(passage) => Self::Passed { queued: passage.queued },
            Err(loss) => Self::Lost(*loss),
        }
    }
}

/// How a copy is damaged.
#[derive(Debug)]
pub(crate) struct Damage(Rng);

/// One damaged copy in this many is cut short; in the others, bits flip.
const CUT_SHORT: u64 = 8;

/// Most bits that flip in a damaged copy.
const FLIPS_MAX: u64 = 3;

impl Damage {
    /// Damages `bytes`. They are different afterwards, unless there are none.
    pub(crate) fn inflict(mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.0.below(CUT_SHORT) == 0 {
            bytes.truncate(self.0.below(bytes.len() as u64) as usize);
            return;
        }
        let mut bits = [u64::MAX; FLIPS_MAX as usize];
        let flips = 1 + self.0.below(FLIPS_MAX) as usize;
        for i in 0..flips {
            // A bit that flips twice would heal: eight bits at least leave room for three.
            bits[i] = loop {
                let bit = self.0.below(bytes.len() as u64 * 8);
                if !bits[..i].contains(&bit) {
                    break bit;
                }
            };
            bytes[(bits[i] / 8) as usize] ^= 1 << (bits[i] % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::PERCENT;

    fn path(link: Link) -> Path {
        Path::new(link, Rng::new(11))
    }

    /// Sends `count` datagrams a microsecond apart and says which were lost.
    fn losses(link: Link, count: usize) -> Vec<bool> {
        let mut path = path(link);
        (0..count).map(|i| path.enter(Instant::from_micros(i as u64), 100, true).is_err()).collect()
    }

    #[test]
    fn uniform_loss_comes_out_as_asked_over_a_hundred_thousand() {
        for percent in [1, 20, 60] {
            let lost = losses(Link::PERFECT.with_loss(percent * PERCENT), 100_000);
            let count = lost.iter().filter(|&&lost| lost).count();
            assert!(count.abs_diff(percent as usize * 1_000) < 800, "{count} at {percent} %");
        }
    }

    #[test]
    fn bursts_are_as_long_and_as_frequent_as_asked() {
        let link = Link::PERFECT.with_bursts(Bursts {
            worsens: 10_000,
            recovers: 100_000,
            good_loss: 0,
            bad_loss: 1_000_000,
        });
        let lost = losses(link, 200_000);
        let count = lost.iter().filter(|&&lost| lost).count();
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        // Bad for 1/11 of the time, in spells of ten datagrams: uniform loss of the same rate
        // would have runs of 1.1.
        assert!((16_500..20_000).contains(&count), "{count} lost");
        let mean = count as f64 / bursts as f64;
        assert!((9.0..11.0).contains(&mean), "bursts of {mean} on average");
        let uniform = losses(Link::PERFECT.with_loss(1_000_000 / 11), 200_000);
        let runs = uniform.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!(runs > 7 * bursts, "{runs} uniform runs, {bursts} bursts");
    }

    #[test]
    fn both_kinds_of_loss_add_up() {
        let link = Link::PERFECT.with_loss(50 * PERCENT).with_bursts(Bursts {
            worsens: 0,
            recovers: 0,
            good_loss: 500_000,
            bad_loss: 0,
        });
        let count = losses(link, 100_000).iter().filter(|&&lost| lost).count();
        assert!(count.abs_diff(75_000) < 800, "{count} lost");
    }

    #[test]
    fn no_setting_changes_the_luck_of_the_next() {
        // The same datagrams are lost whatever else the link does, and jitter is the same
        // whether neighbours are lost or not.
        let plain = Link::PERFECT.with_loss(10 * PERCENT);
        let rough = plain
            .with_duplicate(30 * PERCENT, Duration::from_micros(5))
            .with_corrupt(30 * PERCENT)
            .with_jitter(Duration::from_micros(50))
            .with_reorder(30 * PERCENT, Duration::from_micros(9));
        assert_eq!(losses(plain, 1_000), losses(rough, 1_000));
        let mut lossless = path(rough.with_loss(0));
        let mut lossy = path(rough);
        for i in 0..1_000 {
            let now = Instant::from_micros(i);
            let whole = lossless.enter(now, 9, true).unwrap();
            if let Ok(copy) = lossy.enter(now, 9, true) {
                assert_eq!(copy.first.at, whole.first.at);
                assert_eq!(copy.second.map(|copy| copy.at), whole.second.map(|copy| copy.at));
            }
        }
    }

    #[test]
    fn jitter_stays_in_its_range_and_fills_it() {
        let mut path = path(
            Link::PERFECT
                .with_delay(Duration::from_micros(100))
                .with_jitter(Duration::from_micros(9)),
        );
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            let at = path.enter(Instant::ZERO, 1, true).unwrap().first.at.as_micros();
            seen[(at - 100) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn duplicates_and_stragglers_are_as_late_as_asked() {
        let link = Link::PERFECT
            .with_duplicate(25 * PERCENT, Duration::from_micros(1_000))
            .with_reorder(10 * PERCENT, Duration::from_micros(7));
        let mut path = path(link);
        let mut late = 0_usize;
        for _ in 0..100_000 {
            let passage = path.enter(Instant::ZERO, 1, true).unwrap();
            let at = passage.first.at.as_micros();
            assert!(at == 0 || at == 7);
            late += usize::from(at == 7);
            if let Some(second) = passage.second {
                assert!([1_000, 1_007].contains(&second.at.as_micros()));
            }
        }
        assert!(late.abs_diff(10_000) < 500, "{late} late");
        assert!(path.counters.duplicated.abs_diff(25_000) < 800, "{:?}", path.counters);
    }

    #[test]
    fn what_is_lost_has_used_the_rate_and_what_is_too_long_has_not() {
        let link = Link::PERFECT.with_rate(1_000_000, 10_000).with_overhead(0);
        let mut lossy = path(link.with_loss(1_000_000));
        assert_eq!(lossy.enter(Instant::ZERO, 1_000, true).unwrap_err(), Loss::Chance);
        lossy.set_link(link);
        let behind = lossy.enter(Instant::ZERO, 1_000, true).unwrap();
        assert_eq!(behind.first.at, Instant::from_micros(2_000));
        assert_eq!(behind.queued, Duration::from_millis(1));

        let mut clamped = path(link.with_payload_max(999));
        assert_eq!(clamped.enter(Instant::ZERO, 1_000, true).unwrap_err(), Loss::TooLong);
        assert_eq!(clamped.enter(Instant::ZERO, 999, true).unwrap().queued, Duration::ZERO);
    }

    #[test]
    fn a_new_rate_begins_behind_what_the_old_one_accepted() {
        let link = Link::PERFECT.with_overhead(0);
        let mut path = path(link.with_rate(999_983, 10));
        // A byte takes a microsecond and 17 parts of 999,983.
        let first = path.enter(Instant::ZERO, 1, true).unwrap();
        path.set_link(link.with_rate(3, 10));
        let second = path.enter(Instant::ZERO, 1, true).unwrap();
        // Whatever else changes, fractions go on adding up.
        path.set_link(link.with_rate(3, 10).with_duplicate(1, Duration::ZERO));
        let third = path.enter(Instant::ZERO, 1, true).unwrap();
        let at = [first, second, third].map(|passage| passage.first.at.as_micros());
        assert_eq!(at, [2, 333_336, 666_669]);
    }

    #[test]
    fn the_queue_never_holds_more_than_it_may() {
        let mut path = path(Link::PERFECT.with_rate(1_000_000, 3_000));
        for i in 0..1_000 {
            let _ = path.enter(Instant::from_micros(i * 100), 500, true);
        }
        assert!(path.counters.queue_full > 500);
        assert!((2_500..=3_000).contains(&path.counters.queue_max), "{:?}", path.counters);
        // 100 ms at one byte per microsecond, headers included, and what is queued at the end.
        let through = (path.counters.sent - path.counters.queue_full) * 528;
        assert!((100_000..=103_000).contains(&through), "{through} bytes came through");
    }

    #[test]
    fn damage_always_shows() {
        let mut rng = Rng::new(1);
        let mut shortened = 0;
        for len in (1..=64).cycle().take(10_000) {
            let whole = vec![0_u8; len];
            let mut bytes = whole.clone();
            Damage(rng.fork()).inflict(&mut bytes);
            assert_ne!(bytes, whole);
            shortened += u32::from(bytes.len() < len);
            let flipped: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            assert!(if bytes.len() == len { (1..=3).contains(&flipped) } else { flipped == 0 });
        }
        assert!((1_100..1_400).contains(&shortened), "{shortened} of 10,000 cut short");
        let mut nothing = Vec::new();
        Damage(rng).inflict(&mut nothing);
        assert!(nothing.is_empty());
    }
}
