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
        self.variation = weighted(self.variation, 3, adjusted.abs_diff(self.smoothed));
        self.smoothed = weighted(self.smoothed, 7, adjusted);
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
        if self.latest >= self.min.saturating_add(ack_delay) {
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

/// `(old * weight + new) / (weight + 1)` to nearest, for a `weight` of 3 or 7.
fn weighted(old: u32, weight: u8, new: u32) -> u32 {
    let parts = u64::from(weight) + 1;
    let sum = u64::from(old) * u64::from(weight) + u64::from(new);
    // An average of two `u32` is one.
    ((sum + parts / 2) / parts) as u32
}
