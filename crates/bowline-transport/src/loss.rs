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

    /// One more than the largest number acknowledged so far; 0 if there is none.
    #[inline]
    pub const fn acked_end(&self) -> u64 {
        self.acked_end
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
        if ahead >= PACKET_THRESHOLD + u64::from(cfg!(bowline_mutant = "slow_loss"))
            || lost_at <= now
        {
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const SENT: Instant = Instant::from_micros(1_000_000);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn path(round_trip: u64) -> RttEstimator {
        let mut rtt = RttEstimator::new(Duration::from_millis(333));
        rtt.on_sample(micros(round_trip), Duration::ZERO);
        rtt
    }

    fn acked(largest: u64) -> LossDetector {
        let mut loss = LossDetector::new();
        loss.on_ack(largest);
        loss
    }

    #[test]
    fn without_a_later_acknowledgement_nothing_is_lost() {
        let (rtt, end) = (path(80_000), Instant::MAX);
        assert_eq!(LossDetector::new().verdict(0, SENT, end, &rtt), Verdict::Pending);
        assert_eq!(acked(7).verdict(7, SENT, end, &rtt), Verdict::Pending);
        assert_eq!(acked(7).verdict(8, SENT, end, &rtt), Verdict::Pending);
        assert_eq!(LossDetector::new().largest_acked(), None);
    }

    #[test]
    fn three_ahead_is_lost_and_two_ahead_is_given_time() {
        let rtt = path(80_000);
        let at = Verdict::At(SENT + micros(90_000));
        assert_eq!(acked(10).verdict(7, SENT, SENT, &rtt), Verdict::Lost);
        assert_eq!(acked(10).verdict(8, SENT, SENT, &rtt), at);
        assert_eq!(acked(10).verdict(9, SENT, SENT, &rtt), at);
    }

    #[test]
    fn the_time_given_is_nine_eighths_of_the_longer_round_trip() {
        let mut rtt = path(80_000);
        rtt.on_sample(micros(160_000), Duration::ZERO);
        let at = SENT + micros(180_000);
        assert_eq!(acked(1).verdict(0, SENT, SENT, &rtt), Verdict::At(at));
        rtt.on_sample(micros(8_000), Duration::ZERO);
        // 7/8 * 90 + 1/8 * 8 is the smoothed one.
        let at = SENT + micros(79_750 * 9 / 8);
        assert_eq!(acked(1).verdict(0, SENT, SENT, &rtt), Verdict::At(at));
    }

    #[test]
    fn the_time_given_is_at_least_a_timer_tick() {
        let at = Verdict::At(SENT + GRANULARITY);
        assert_eq!(acked(1).verdict(0, SENT, SENT, &path(10)), at);
        assert_eq!(acked(1).verdict(0, SENT, SENT, &path(0)), at);
    }

    #[test]
    fn an_old_acknowledgement_takes_nothing_back() {
        let mut loss = acked(10);
        loss.on_ack(3);
        assert_eq!(loss.largest_acked(), Some(10));
    }

    #[test]
    fn the_largest_numbers_are_numbers() {
        let loss = acked(u64::MAX - 1);
        assert_eq!(loss.largest_acked(), Some(u64::MAX - 1));
        assert_eq!(loss.verdict(u64::MAX - 4, SENT, SENT, &path(1)), Verdict::Lost);
        assert_eq!(acked(0).largest_acked(), Some(0));
    }

    #[test]
    fn probes_back_off_until_a_minute_and_progress_ends_that() {
        let (rtt, mut loss) = (path(80_000), LossDetector::new());
        // 80 ms + 4 * 40 ms + 10 ms of the peer's delay.
        let waits: Vec<_> = (0..12)
            .map(|_| {
                let at = loss.probe_at(SENT, &rtt, micros(10_000));
                loss.on_probe_timeout();
                (at - SENT).as_millis()
            })
            .collect();
        let doubled = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
        assert_eq!(waits[..8], doubled);
        assert_eq!(waits[8..], [60_000; 4]);
        loss.on_ack(5);
        assert_eq!(loss.probe_count(), 12);
        loss.on_progress();
        assert_eq!(loss.probe_count(), 0);
        assert_eq!(loss.probe_at(SENT, &rtt, micros(10_000)), SENT + micros(250_000));
    }

    #[test]
    fn even_the_shortest_wait_reaches_a_minute_before_the_count_stops() {
        let (rtt, mut loss) = (path(0), LossDetector::new());
        assert_eq!(loss.probe_at(SENT, &rtt, Duration::ZERO), SENT + GRANULARITY);
        for _ in 0..1_000 {
            loss.on_probe_timeout();
        }
        assert_eq!(loss.probe_count(), PROBE_COUNT_MAX);
        assert_eq!(loss.probe_at(SENT, &rtt, Duration::ZERO), SENT + PROBE_TIMEOUT_MAX);
        assert_eq!(loss.probe_at(Instant::MAX, &rtt, Duration::MAX), Instant::MAX);
    }

    #[test]
    fn persistent_congestion_takes_three_probe_timeouts() {
        let span = persistent_congestion_after(&path(80_000), micros(10_000));
        assert_eq!(span, micros(750_000));
    }

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<LossDetector>(), 16);
    }

    proptest! {
        /// The model knows every acknowledgement and looks for one that proves the loss.
        #[test]
        fn a_packet_is_lost_if_some_acknowledgement_proves_it(
            mut acks in prop::collection::vec(0_u64..20, 0..8),
            round_trip in 0_u64..300_000,
            number in 0_u64..20,
            elapsed in 0_u64..400_000,
        ) {
            acks.retain(|ack| *ack != number);
            let (rtt, mut loss) = (path(round_trip), LossDetector::new());
            acks.iter().for_each(|&ack| loss.on_ack(ack));
            let given = (round_trip + round_trip / 8).max(1_000);
            let by_number = acks.iter().any(|&ack| ack >= number + 3);
            let later = acks.iter().any(|&ack| ack > number);
            let expected = match (by_number, later) {
                (true, _) => Verdict::Lost,
                (false, true) if elapsed >= given => Verdict::Lost,
                (false, true) => Verdict::At(SENT + micros(given)),
                (false, false) => Verdict::Pending,
            };
            prop_assert_eq!(loss.verdict(number, SENT, SENT + micros(elapsed), &rtt), expected);
        }

        /// A timer set by a verdict finds the packet lost, and not a microsecond earlier.
        #[test]
        fn the_time_named_is_the_time_it_is_lost(
            round_trip in 0_u64..u64::from(u32::MAX), ahead in 1_u64..3,
        ) {
            let (rtt, loss) = (path(round_trip), acked(100));
            let Verdict::At(at) = loss.verdict(100 - ahead, SENT, SENT, &rtt) else {
                return Err(TestCaseError::fail("no time was given"));
            };
            let before = Instant::from_micros(at.as_micros() - 1);
            prop_assert_eq!(loss.verdict(100 - ahead, SENT, at, &rtt), Verdict::Lost);
            prop_assert_eq!(loss.verdict(100 - ahead, SENT, before, &rtt), Verdict::At(at));
        }
    }
}
