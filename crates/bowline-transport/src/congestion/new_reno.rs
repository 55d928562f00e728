use bowline_core::Instant;

use super::{Controller, WINDOW_MIN, initial_window, rate_of};
use crate::rtt::RttEstimator;

/// NewReno as in [RFC 9002] section 7: the window doubles each round trip until the first loss, then grows by a
/// datagram each round trip, and is halved once for all that was lost in a round trip.
///
/// Every loss counts as congestion, so that on a path that loses by itself it is slow: at 1 % its window
/// stays near 12 datagrams.
///
/// [RFC 9002]: https://www.rfc-editor.org/rfc/rfc9002#section-7
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NewReno {
    window: u32,
    /// Below it, the window doubles each round trip.
    threshold: u32,
    /// Bytes acknowledged since the window last grew, in congestion avoidance.
    acked: u32,
    max: u32,
    datagram: u16,
    /// When it last answered to congestion: what was sent before has its answer.
    recovery: Option<Instant>,
    /// Window and threshold before that.
    before: (u32, u32),
}

impl NewReno {
    /// For datagrams of `datagram` bytes, with a window of at most `max` bytes, and at least [`WINDOW_MIN`].
    #[must_use]
    pub const fn new(datagram: u16, max: u32) -> Self {
        let max = if max < WINDOW_MIN { WINDOW_MIN } else { max };
        let initial = initial_window(datagram);
        let window = if initial < max { initial } else { max };
        Self {
            window,
            threshold: u32::MAX,
            acked: 0,
            max,
            datagram,
            recovery: None,
            before: (window, u32::MAX),
        }
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, _now: Instant, _bytes: u32) {}

    fn on_ack(
        &mut self,
        _now: Instant,
        sent_at: Instant,
        bytes: u32,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        if app_limited || self.recovery.is_some_and(|at| sent_at <= at) {
            return;
        }
        if self.window < self.threshold {
            self.window = self.window.saturating_add(bytes);
        } else {
            self.acked = self.acked.saturating_add(bytes);
            if self.acked >= self.window {
                self.acked -= self.window;
                self.window = self.window.saturating_add(self.datagram.into());
            }
        }
        self.window = self.window.min(self.max);
    }

    fn on_congestion(&mut self, now: Instant, sent_at: Instant, persistent: bool) {
        if persistent {
            self.window = WINDOW_MIN;
            self.recovery = None;
            return;
        }
        if self.recovery.is_some_and(|at| sent_at <= at) {
            return;
        }
        self.before = (self.window, self.threshold);
        self.recovery = Some(now);
        self.window = (self.window / 2).max(WINDOW_MIN);
        self.threshold = self.window;
        self.acked = 0;
    }

    fn on_spurious(&mut self, sent_at: Instant) {
        if self.recovery.is_some_and(|at| sent_at <= at) {
            let (window, threshold) = self.before;
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
            self.recovery = None;
        }
    }

    /// 5/4 of a window each round trip, and twice a window while that doubles (RFC 9002 section 7.7).
    fn pacing_rate(&self, rtt: &RttEstimator) -> Option<u64> {
        let quarters = if self.window < self.threshold { 8 } else { 5 };
        Some(rate_of(u64::from(self.window) * quarters / 4, rtt.smoothed()))
    }

    fn window(&self) -> u32 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bowline_core::Duration;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn path() -> RttEstimator {
        let mut rtt = RttEstimator::new(Duration::from_millis(333));
        rtt.on_sample(Duration::from_millis(50), Duration::ZERO);
        rtt
    }

    fn ack(reno: &mut NewReno, sent: u64, bytes: u32) {
        reno.on_ack(at(sent + 50), at(sent), bytes, false, &path());
    }

    #[test]
    fn it_begins_with_ten_datagrams_and_doubles() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        assert_eq!(reno.window(), 12_000);
        ack(&mut reno, 0, 12_000);
        assert_eq!(reno.window(), 24_000);
    }

    #[test]
    fn after_a_loss_it_gains_a_datagram_each_window() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        reno.on_congestion(at(50), at(0), false);
        assert_eq!(reno.window(), 6_000);
        ack(&mut reno, 51, 5_999);
        assert_eq!(reno.window(), 6_000);
        ack(&mut reno, 51, 1);
        assert_eq!(reno.window(), 7_200);
    }

    #[test]
    fn one_round_trip_of_losses_has_one_answer() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        reno.on_congestion(at(50), at(0), false);
        reno.on_congestion(at(60), at(50), false);
        assert_eq!(reno.window(), 6_000);
        reno.on_congestion(at(110), at(51), false);
        assert_eq!(reno.window(), 3_000);
    }

    #[test]
    fn what_was_sent_before_the_loss_does_not_grow_it() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        reno.on_congestion(at(50), at(0), false);
        ack(&mut reno, 50, 60_000);
        assert_eq!(reno.window(), 6_000);
    }

    #[test]
    fn a_loss_that_was_none_is_taken_back_once() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        reno.on_congestion(at(50), at(0), false);
        reno.on_spurious(at(51));
        assert_eq!(reno.window(), 6_000, "that one was not answered to");
        reno.on_spurious(at(0));
        assert_eq!((reno.window(), reno.threshold), (12_000, u32::MAX));
    }

    #[test]
    fn persistent_congestion_leaves_two_datagrams() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        reno.on_congestion(at(50), at(0), true);
        assert_eq!(reno.window(), WINDOW_MIN);
    }

    #[test]
    fn an_application_that_sends_little_grows_nothing() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        for i in 0..1_000 {
            reno.on_ack(at(i + 50), at(i), 1_200, true, &path());
        }
        assert_eq!(reno.window(), 12_000);
    }

    #[test]
    fn it_is_paced_a_little_faster_than_its_window() {
        let mut reno = NewReno::new(1_200, u32::MAX);
        assert_eq!(reno.pacing_rate(&path()), Some(480_000));
        reno.on_congestion(at(50), at(0), false);
        assert_eq!(reno.pacing_rate(&path()), Some(150_000));
    }

    proptest! {
        /// The window stays in its bounds, only acknowledged bytes grow it, by no more than they are, and only
        /// losses shrink it, each to no less than half.
        #[test]
        fn it_grows_by_what_arrives_and_shrinks_by_half(
            steps in prop::collection::vec((0_u8..8, 0_u64..60, 1_u32..70_000), 0..300),
            datagram in 64_u16..9_000, max in 0_u32..200_000,
        ) {
            let mut reno = NewReno::new(datagram, max);
            let mut now = 100;
            let mut windows: Vec<u32> = Vec::new();
            for (step, wait, bytes) in steps {
                now += wait;
                let before = reno.window();
                windows.push(before);
                match step {
                    0 => reno.on_congestion(at(now), at(now - 50), false),
                    1 => reno.on_spurious(at(now - 60)),
                    _ => reno.on_ack(at(now), at(now - 50), bytes, step == 2, &path()),
                }
                let after = reno.window();
                prop_assert!((WINDOW_MIN..=max.max(WINDOW_MIN)).contains(&after));
                match step {
                    0 => prop_assert!(after <= before && after >= before / 2),
                    1 => prop_assert!(after == before || windows.contains(&after)),
                    2 => prop_assert_eq!(after, before),
                    _ => prop_assert!(after >= before && after - before <= bytes.max(datagram.into())),
                }
            }
        }
    }
}
