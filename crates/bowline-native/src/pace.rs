//! What must come of a message, and by when, that was given memory which all share.

use bowline_core::{Duration, Instant};

/// In so many periods, at the latest, all of it is there.
const SHARES: u32 = 32;

/// Bytes per second with which nobody is too slow, however long the message is.
const RATE_ENOUGH: u64 = 8 * 1024;

/// How fast a message must come that was given memory which all share.
///
/// In each period a share of it must arrive: 1/32 of what was missing at first, or what comes in a period at
/// 8 KiB/s if that is less. There are as many periods as shares, and one more: who keeps the memory all the
/// same, by changing what it was for, gains no time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes.
    share: u32,
    /// How many periods there may still be after this one.
    periods: u32,
    /// When this one ends.
    until: Instant,
    /// How much had arrived when it began.
    arrived: u32,
}

impl Pace {
    /// For nothing.
    pub(crate) const NONE: Self = Self { share: 0, periods: 0, until: Instant::ZERO, arrived: 0 };

    /// From now on, when so much has `arrived` of what goes to `end`.
    pub(crate) fn new(now: Instant, period: Duration, arrived: u32, end: u32) -> Self {
        let len = end.wrapping_sub(arrived);
        let enough = period.as_millis().saturating_mul(RATE_ENOUGH) / 1_000;
        let share = u64::from(len.div_ceil(SHARES)).min(enough).max(1) as u32;
        let periods = len.checked_div(share).unwrap_or(0).saturating_add(1);
        Self { share, periods, until: now + period, arrived }
    }

    /// Whether this period is over.
    #[inline]
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Begins the next period, and says whether too little has `arrived` in this one.
    pub(crate) fn is_missed(&mut self, now: Instant, period: Duration, arrived: u32) -> bool {
        if self.periods == 0 || arrived.wrapping_sub(self.arrived) < self.share {
            return !cfg!(bowline_mutant = "endless_patience");
        }
        self.periods -= 1;
        (self.until, self.arrived) = (now + period, arrived);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    /// When somebody is found to be late of whom so much `arrived` by each second, if he is before all is there.
    fn late_at(len: u32, arrived: impl Fn(u64) -> u64) -> Option<u64> {
        let initial = u32::MAX - 1_000;
        let mut pace = Pace::new(at(0), PERIOD, initial, initial.wrapping_add(len));
        let mut missing = (0..).take_while(|second| arrived(*second) < len.into());
        missing.find(|second| {
            let arrived = initial.wrapping_add(arrived(*second) as u32);
            pace.is_over(at(*second)) && pace.is_missed(at(*second), PERIOD, arrived)
        })
    }

    proptest! {
        /// Neither with 1/32 of the message in each period, at whatever time of it, nor with 8 KiB in a second.
        #[test]
        fn who_is_fast_enough_is_never_late(len in 1..1u32 << 28, ahead in 0u64..1 << 20) {
            let second = u64::from(len).div_ceil(32).div_ceil(19).min(RATE_ENOUGH);
            prop_assert_eq!(late_at(len, |now| ahead + now * second), None);
            // All of a period in its last second but one.
            let burst = |now: u64| ahead + (now + 2) / 20 * 20 * second;
            prop_assert_eq!(late_at(len, burst), None);
        }

        /// Whoever stops is late when the next period is over, however far he has got.
        #[test]
        fn who_stops_is_late_after_a_period(len in 100u32..1 << 28, stops in 0u64..300) {
            let second = u64::from(len).div_ceil(32).div_ceil(19).min(RATE_ENOUGH);
            let late = late_at(len, |now| (now.min(stops) * second).min(u64::from(len) - 1));
            prop_assert!(late.is_some_and(|late| late <= stops + 40), "{late:?}");
        }
    }

    #[test]
    fn a_byte_now_and_then_is_too_little() {
        assert_eq!(late_at(1 << 20, |now| now), Some(20));
        assert_eq!(late_at(32, |now| now / 15), None, "unless that is what a message comes to");
    }

    #[test]
    fn who_keeps_it_beyond_the_end_gains_no_time() {
        let mut pace = Pace::new(at(0), PERIOD, 0, 32_000);
        let missed = (1..).find(|&n| pace.is_missed(at(n * 20), PERIOD, n as u32 * 2_000));
        assert_eq!(missed, Some(34));
    }
}
