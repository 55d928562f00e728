//! Which packets are lost, and when to probe ([RFC 9002] section 6).
//!
//! [RFC 9002]: https://www.rfc-editor.org/rfc/rfc9002#section-6

use bowline_core::{Duration, Instant};

use crate::rtt::{GRANULARITY, RttEstimator};

/// How many numbers an acknowledgement must be ahead of a packet to prove it lost
/// (`kPacketThreshold`, RFC 9002 section 6.1.1).
pub const PACKET_THRESHOLD: u64 = 3;

/// The longest time between two probes.
///
/// RFC 9002 sets no such limit; RFC 6298 section 2.5 allows one of 60 s or more.
pub const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Where the count of probes stops: 1 ms doubled so often exceeds [`PROBE_TIMEOUT_MAX`].
pub const PROBE_COUNT_MAX: u8 = 16;

/// What can be said of a packet that is not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// It is to be taken for lost.
    Lost,
    /// A later one is acknowledged; it is lost if it is not acknowledged by then.
    At(Instant),
    /// Nothing later is acknowledged, so only a probe can tell.
    Pending,
}

/// Judges sent packets by what has been acknowledged and by time, in 16 bytes.
///
/// It knows no packets; the caller asks about each that is still unacknowledged, oldest first:
///
/// 1. on an acknowledgement: [`Self::on_ack`] with the largest number it names, and
///    [`Self::on_progress`] if it newly acknowledges a packet that asked for it;
/// 2. then, and when a time that a verdict named has come: [`Self::verdict`] for each packet below
///    [`Self::largest_acked`]. The earliest [`Verdict::At`] is when to look again;
/// 3. if there is no such time while packets that ask for an acknowledgement are in flight: when
///    [`Self::probe_at`] has come, [`Self::on_probe_timeout`], and send a probe. It proves
///    nothing lost.
///
/// Numbers are those of packets, not reused, in the order of sending. A number skipped on purpose
/// counts like a packet: it makes the packet threshold smaller by one for those just before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LossDetector {
    /// One more than the largest acknowledged number; 0 if there is none.
    acked_end: u64,
    probe_count: u8,
}

impl LossDetector {
    /// A detector that has seen no acknowledgement.
    #[must_use]
    pub const fn new() -> Self {
        Self { acked_end: 0, probe_count: 0 }
    }

    /// An acknowledgement arrived whose largest number is `largest`. That may be an old one.
    ///
    /// The caller has checked that such a packet was sent. `u64::MAX` is no packet number.
    pub fn on_ack(&mut self, largest: u64) {
        debug_assert!(largest < u64::MAX);
        self.acked_end = self.acked_end.max(largest.saturating_add(1));
    }

    /// A packet that asked for an acknowledgement was newly acknowledged: probes need no longer
    /// back off.
    ///
    /// RFC 9002 section 6.2.1 resets the backoff on any acknowledgement. Here one of packets that
    /// did not ask for it does not, because the peer may send such a one at any time.
    pub fn on_progress(&mut self) {
        self.probe_count = 0;
    }

    /// The largest number acknowledged so far.
    pub fn largest_acked(&self) -> Option<u64> {
        self.acked_end.checked_sub(1)
    }

    /// What has become of the unacknowledged packet `number`, sent at `sent_at` (section 6.1).
    pub fn verdict(
        &self,
        number: u64,
        sent_at: Instant,
        now: Instant,
        rtt: &RttEstimator,
    ) -> Verdict {
        let ahead = self.largest_acked().map_or(0, |largest| largest.saturating_sub(number));
        if ahead == 0 {
            return Verdict::Pending;
        }
        let lost_at = sent_at + time_threshold(rtt);
        if ahead >= PACKET_THRESHOLD || lost_at <= now {
            Verdict::Lost
        } else {
            Verdict::At(lost_at)
        }
    }

    /// When to send a probe, if the last packet that asks for an acknowledgement was sent at
    /// `last_eliciting_sent` and nothing is heard (section 6.2.1).
    ///
    /// The wait doubles with each probe since the last progress, up to [`PROBE_TIMEOUT_MAX`].
    pub fn probe_at(
        &self,
        last_eliciting_sent: Instant,
        rtt: &RttEstimator,
        max_ack_delay: Duration,
    ) -> Instant {
        let wait = rtt.probe_timeout(max_ack_delay).saturating_mul(1 << self.probe_count);
        last_eliciting_sent + wait.min(PROBE_TIMEOUT_MAX)
    }

    /// The time of [`Self::probe_at`] has come and a probe is being sent.
    pub fn on_probe_timeout(&mut self) {
        self.probe_count = self.probe_count.saturating_add(1).min(PROBE_COUNT_MAX);
    }

    /// Probe timeouts since the last progress, up to [`PROBE_COUNT_MAX`].
    pub fn probe_count(&self) -> u8 {
        self.probe_count
    }
}

/// If everything is lost that was sent during at least this span, congestion is persistent
/// (RFC 9002 section 7.6.1): three probe timeouts without backoff.
#[must_use]
pub fn persistent_congestion_after(rtt: &RttEstimator, max_ack_delay: Duration) -> Duration {
    rtt.probe_timeout(max_ack_delay).saturating_mul(3)
}

/// How long after its sending a packet is lost, once a later one is acknowledged: 9/8 of a round
/// trip, at least [`GRANULARITY`] (`kTimeThreshold`, RFC 9002 section 6.1.2).
fn time_threshold(rtt: &RttEstimator) -> Duration {
    let round_trip = rtt.smoothed().max(rtt.latest());
    (round_trip + round_trip.shr(3)).max(GRANULARITY)
}
