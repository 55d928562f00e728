//! The round-trip time: smoothed, its variation, its minimum ([RFC 9002] section 5).
//!
//! Samples come from this side's own send times. Which acknowledgements make a sample is the
//! caller's to decide (section 5.1): only one that newly acknowledges the largest number it names,
//! and at least one packet that asked for an acknowledgement.
//!
//! [RFC 9002]: https://www.rfc-editor.org/rfc/rfc9002#section-5

use bowline_core::Duration;

/// The finest time step that timers are taken to keep (`kGranularity`, RFC 9002 section 6.1.2).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// What a path's round trips have been like, in 16 bytes.
///
/// Whole microseconds in 32 bits: spans above 71 minutes count as 71 minutes. The averages round
/// to nearest, so that over a constant round trip they settle within 4 µs of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RttEstimator {
    smoothed: u32,
    variation: u32,
    /// [`Self::NO_SAMPLE`] until there is one.
    min: u32,
    latest: u32,
}

impl RttEstimator {
    const NO_SAMPLE: u32 = u32::MAX;

    /// Filler for memory that is not in use.
    pub const UNUSED: Self = Self { smoothed: 0, variation: 0, min: Self::NO_SAMPLE, latest: 0 };

    /// An estimator of a path of which nothing is known but a guess (sections 5.3 and 6.2.2, which
    /// recommends 333 ms). The variation starts at half of it.
    #[must_use]
    pub fn new(initial: Duration) -> Self {
        let initial = whole_micros(initial);
        Self { smoothed: initial, variation: initial / 2, min: Self::NO_SAMPLE, latest: initial }
    }

    /// A packet was acknowledged `latest` after it was sent, and the peer says that it held the
    /// acknowledgement back for `ack_delay`.
    ///
    /// `ack_delay` must not exceed what the peer promised as its maximum; the caller clamps it.
    /// It never brings a sample below the minimum, so a peer that lies about it gains nothing.
    pub fn on_sample(&mut self, latest: Duration, ack_delay: Duration) {
        self.latest = whole_micros(latest);
        if !self.has_sample() {
            self.min = self.latest;
            self.smoothed = self.latest;
            self.variation = self.latest / 2;
            return;
        }
        self.min = self.min.min(self.latest);
        let adjusted = self.without_delay(whole_micros(ack_delay));
        // The variation first, against the old average, as in RFC 9002 A.7 and RFC 6298 section
        // 2.3; the text of RFC 9002 section 5.3 lists the two the other way round.
        self.variation = averaged(self.variation, adjusted.abs_diff(self.smoothed), 2);
        self.smoothed = averaged(self.smoothed, adjusted, 3);
    }

    /// Persistent congestion was established: the path may have changed, so the minimum starts
    /// again at the latest sample (section 5.2).
    pub fn on_persistent_congestion(&mut self) {
        if self.has_sample() {
            self.min = self.latest;
        }
    }

    /// The smoothed round trip; the initial guess before the first sample.
    pub fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed.into())
    }

    /// The mean deviation from the smoothed round trip.
    pub fn variation(&self) -> Duration {
        Duration::from_micros(self.variation.into())
    }

    /// The shortest sample, whatever delay the peer reported; the initial guess before the first.
    pub fn min(&self) -> Duration {
        Duration::from_micros(if self.has_sample() { self.min } else { self.smoothed }.into())
    }

    /// The latest sample as measured; the initial guess before the first.
    pub fn latest(&self) -> Duration {
        Duration::from_micros(self.latest.into())
    }

    /// Whether there has been a sample, so that the figures are more than a guess.
    pub fn has_sample(&self) -> bool {
        self.min != Self::NO_SAMPLE
    }

    /// How long an acknowledgement may reasonably take before a probe is worth sending: the
    /// smoothed round trip, four variations (at least [`GRANULARITY`]), and the longest time the
    /// peer holds acknowledgements back (section 6.2.1). Without backoff.
    pub fn probe_timeout(&self, max_ack_delay: Duration) -> Duration {
        self.smoothed() + self.variation().saturating_mul(4).max(GRANULARITY) + max_ack_delay
    }

    /// The latest sample without `ack_delay`, unless that were less than the minimum.
    fn without_delay(&self, ack_delay: u32) -> u32 {
        if self.latest >= self.min.saturating_add(ack_delay) || cfg!(bowline_mutant = "any_delay") {
            self.latest.saturating_sub(ack_delay)
        } else {
            self.latest
        }
    }
}

/// `span` in microseconds, below [`RttEstimator::NO_SAMPLE`].
fn whole_micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).map_or(u32::MAX - 1, |micros| micros.min(u32::MAX - 1))
}

/// The average of `old` and `new` that gives `new` the weight `2^-bits`, to nearest.
fn averaged(old: u32, new: u32, bits: u32) -> u32 {
    let (old, new, half) = (u64::from(old), u64::from(new), (1 << bits) >> 1);
    // An average of two `u32` is one.
    (((old << bits) - old + new + half) >> bits) as u32
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn sampled(samples: &[(u64, u64)]) -> RttEstimator {
        let mut rtt = RttEstimator::new(Duration::from_millis(333));
        for &(latest, delay) in samples {
            rtt.on_sample(micros(latest), micros(delay));
        }
        rtt
    }

    #[test]
    fn a_guess_makes_the_first_probe_wait_a_second() {
        let rtt = sampled(&[]);
        assert!(!rtt.has_sample());
        assert_eq!(rtt.probe_timeout(Duration::ZERO), Duration::from_millis(999));
        assert_eq!((rtt.min(), rtt.latest()), (rtt.smoothed(), rtt.smoothed()));
    }

    #[test]
    fn the_first_sample_replaces_the_guess_and_ignores_the_delay() {
        let rtt = sampled(&[(80_000, 20_000)]);
        assert!(rtt.has_sample());
        assert_eq!(rtt.smoothed(), micros(80_000));
        assert_eq!(rtt.variation(), micros(40_000));
        assert_eq!(rtt.min(), micros(80_000));
        assert_eq!(rtt.probe_timeout(micros(25_000)), micros(80_000 + 160_000 + 25_000));
    }

    #[test]
    fn the_variation_is_taken_against_the_old_average() {
        // 16 ms above the average of 80 ms: 3/4 * 40 + 1/4 * 16, and 7/8 * 80 + 1/8 * 96.
        let rtt = sampled(&[(80_000, 0), (96_000, 0)]);
        assert_eq!(rtt.variation(), micros(34_000));
        assert_eq!(rtt.smoothed(), micros(82_000));
        assert_eq!(rtt.latest(), micros(96_000));
    }

    #[test]
    fn a_delay_is_subtracted_down_to_the_minimum_and_not_below() {
        let honest = sampled(&[(80_000, 0), (96_000, 16_000)]);
        assert_eq!(honest.smoothed(), micros(80_000));
        let lying = sampled(&[(80_000, 0), (96_000, 16_001)]);
        assert_eq!(lying.smoothed(), micros(82_000));
        assert_eq!(lying.min(), micros(80_000));
    }

    #[test]
    fn the_minimum_starts_again_after_persistent_congestion() {
        let mut rtt = sampled(&[(10_000, 0), (90_000, 0)]);
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), micros(90_000));
        let mut fresh = sampled(&[]);
        fresh.on_persistent_congestion();
        assert!(!fresh.has_sample());
    }

    #[test]
    fn the_variation_adds_at_least_a_timer_tick() {
        let rtt = sampled(&[(5_000, 0); 100]);
        assert!(rtt.variation() <= micros(2));
        assert_eq!(rtt.probe_timeout(Duration::ZERO), micros(6_000));
    }

    #[test]
    fn no_sample_is_long_enough_to_overflow() {
        assert!(sampled(&[(u32::MAX.into(), 0)]).has_sample());
        let mut rtt = RttEstimator::new(Duration::MAX);
        assert!(!rtt.has_sample());
        for _ in 0..100 {
            rtt.on_sample(Duration::MAX, Duration::MAX);
            assert!(rtt.has_sample());
        }
        assert_eq!(rtt.smoothed(), micros(u64::from(u32::MAX) - 1));
        assert_eq!(rtt.probe_timeout(Duration::MAX), Duration::MAX);
        rtt.on_sample(Duration::ZERO, Duration::MAX);
        assert_eq!(rtt.min(), Duration::ZERO);
    }

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<RttEstimator>(), 16);
    }

    /// The text of the RFC in floating point.
    struct Model {
        smoothed: f64,
        variation: f64,
        min: f64,
    }

    impl Model {
        fn of(samples: &[(u64, u64)]) -> Self {
            let first = samples[0].0 as f64;
            let mut model = Self { smoothed: first, variation: first / 2.0, min: first };
            for &(latest, delay) in &samples[1..] {
                let (latest, delay) = (latest as f64, delay as f64);
                model.min = model.min.min(latest);
                let adjusted = if latest >= model.min + delay { latest - delay } else { latest };
                let deviation = (model.smoothed - adjusted).abs();
                model.variation = 0.75 * model.variation + 0.25 * deviation;
                model.smoothed = 0.875 * model.smoothed + 0.125 * adjusted;
            }
            model
        }
    }

    fn samples(longest: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..longest, 0..=longest / 2), 1..60)
    }

    proptest! {
        /// Rounding is off by half at each step; the averages forget an eighth of the error of
        /// the one and a quarter of the other: 0.5 * 8 and (0.5 + 4 / 4) * 4.
        #[test]
        fn integers_follow_the_rfc_within_their_rounding(
            samples in prop_oneof![samples(200), samples(500_000), samples(u32::MAX.into())],
        ) {
            let rtt = sampled(&samples);
            let model = Model::of(&samples);
            let off = |is: Duration, should: f64| (is.as_micros() as f64 - should).abs();
            prop_assert!(off(rtt.smoothed(), model.smoothed) <= 4.001);
            prop_assert!(off(rtt.variation(), model.variation) <= 6.5);
            prop_assert!(off(rtt.min(), model.min) == 0.0);
        }

        #[test]
        fn no_reported_delay_brings_the_average_below_the_minimum(
            samples in samples(500_000),
        ) {
            let rtt = sampled(&samples);
            prop_assert!(rtt.smoothed() >= rtt.min());
        }

        #[test]
        fn a_steady_path_is_known_within_four_microseconds(
            before in samples(1_000_000), steady in 0_u64..1_000_000,
        ) {
            let mut rtt = sampled(&before);
            for _ in 0..150 {
                rtt.on_sample(micros(steady), Duration::ZERO);
            }
            prop_assert!(rtt.smoothed().as_micros().abs_diff(steady) <= 4);
            prop_assert!(rtt.variation().as_micros() <= 6);
        }
    }
}
