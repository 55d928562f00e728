//! The slowest hop of a path: a rate, and a queue that drops what it has no room for.

use core::num::NonZeroU64;

use bowline_core::{Duration, Instant};

const MICROS_PER_SECOND: u64 = 1_000_000;

/// When the hop is through with all it has accepted, exact to a fraction of a microsecond.
///
/// Because nothing that was accepted is ever taken back, the queue needs no list: what waits is
/// what the rate has yet to carry until then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bottleneck {
    free_at: Instant,
    /// What is missing from `free_at`, in `1 / rate` microseconds; below `rate`.
    fraction: u64,
}

/// A datagram came through: when, and how long it waited before its first byte went out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Through {
    pub(crate) at: Instant,
    pub(crate) queued: Duration,
}

impl Bottleneck {
    /// `size` bytes arrive at the queue, which has room for `queue`; `None` if they are dropped.
    pub(crate) fn pass(
        &mut self,
        now: Instant,
        size: u64,
        rate: NonZeroU64,
        queue: u64,
    ) -> Option<Through> {
        if self.is_idle(now) {
            *self = Self { free_at: now, fraction: 0 };
        } else if self.backlog(now, rate) + size > queue {
            return None;
        }
        let queued = self.clear_at() - now;
        let work = size * MICROS_PER_SECOND + self.fraction;
        self.free_at = self.free_at + Duration::from_micros(work / rate);
        self.fraction = work % rate;
        Some(Through { at: self.clear_at(), queued })
    }

    /// The bytes it has accepted and not yet carried, a part of a byte counted as one.
    pub(crate) fn backlog(&self, now: Instant, rate: NonZeroU64) -> u64 {
        let wait = (self.free_at - now).as_micros();
        (wait.saturating_mul(rate.get()).saturating_add(self.fraction)).div_ceil(MICROS_PER_SECOND)
    }

    /// The rate changes; what was accepted keeps its time.
    pub(crate) fn on_rate_change(&mut self) {
        *self = Self { free_at: self.clear_at(), fraction: 0 };
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.clear_at() <= now
    }

    /// The first whole microsecond at which everything accepted is through.
    fn clear_at(&self) -> Instant {
        self.free_at + Duration::from_micros(u64::from(self.fraction > 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(bytes_per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes_per_second).unwrap()
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_thousand_bytes_at_a_megabyte_per_second_take_a_millisecond() {
        let mut hop = Bottleneck::default();
        let first = hop.pass(at(7), 1_000, rate(1_000_000), 2_000).unwrap();
        assert_eq!(first, Through { at: at(1_007), queued: Duration::ZERO });
        let second = hop.pass(at(7), 1_000, rate(1_000_000), 2_000).unwrap();
        assert_eq!(second, Through { at: at(2_007), queued: Duration::from_millis(1) });
        assert_eq!(hop.pass(at(7), 1, rate(1_000_000), 2_000), None);
        assert_eq!(hop.backlog(at(7), rate(1_000_000)), 2_000);
        assert!(hop.pass(at(8), 1, rate(1_000_000), 2_000).is_some());
    }

    #[test]
    fn fractions_of_a_microsecond_add_up() {
        let mut hop = Bottleneck::default();
        // 3 bytes per second: a byte takes a third of a second.
        let through: [u64; 6] =
            core::array::from_fn(|_| hop.pass(at(0), 1, rate(3), 100).unwrap().at.as_micros());
        assert_eq!(through, [333_334, 666_667, 1_000_000, 1_333_334, 1_666_667, 2_000_000]);
    }

    #[test]
    fn what_takes_less_than_a_microsecond_waits_too() {
        let mut hop = Bottleneck::default();
        assert!(hop.pass(at(0), 1, rate(2_000_000), 1).is_some());
        assert_eq!(hop.backlog(at(0), rate(2_000_000)), 1);
        assert_eq!(hop.pass(at(0), 1, rate(2_000_000), 1), None);
    }

    #[test]
    fn an_idle_hop_takes_what_its_queue_could_not_hold() {
        let mut hop = Bottleneck::default();
        assert!(hop.pass(at(0), 1_500, rate(1_500), 0).is_some());
        assert_eq!(hop.pass(at(999_999), 1, rate(1_500), 0), None);
        assert!(hop.pass(at(1_000_000), 1, rate(1_500), 0).is_some());
    }

    #[test]
    fn a_change_of_rate_leaves_what_was_accepted_alone() {
        let mut hop = Bottleneck::default();
        hop.pass(at(0), 1, rate(3), 10);
        hop.on_rate_change();
        let next = hop.pass(at(0), 1, rate(1_000_000), 1_000_000).unwrap();
        assert_eq!(next, Through { at: at(333_335), queued: Duration::from_micros(333_334) });
    }

    proptest! {
        /// Against the obvious model: a list of exact finishing times, as fractions.
        #[test]
        fn it_is_a_queue_of_bytes_at_a_rate(
            bytes_per_second in 1_u64..5_000_000,
            queue in 0_u64..20_000,
            arrivals in prop::collection::vec((0_u64..20_000, 1_u64..2_000), 1..100),
        ) {
            let mut hop = Bottleneck::default();
            let mut now = 0;
            // Everything in units of 1 / rate microseconds.
            let unit = u128::from(bytes_per_second);
            let mut free = 0_u128;
            for (gap, size) in arrivals {
                now += gap;
                let start = free.max(u128::from(now) * unit);
                let waiting = start - u128::from(now) * unit;
                let fits = waiting == 0 || waiting.div_ceil(1_000_000) + u128::from(size) <= u128::from(queue);
                let expected = fits.then(|| {
                    free = start + u128::from(size) * 1_000_000;
                    Through {
                        at: at(free.div_ceil(unit) as u64),
                        queued: Duration::from_micros(waiting.div_ceil(unit) as u64),
                    }
                });
                prop_assert_eq!(hop.pass(at(now), size, rate(bytes_per_second), queue), expected);
            }
        }
    }
}
