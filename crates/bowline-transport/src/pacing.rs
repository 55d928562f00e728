//! When the next datagram may leave: a token bucket that knows how often its caller comes by
//! (RFC 9002 section 7.7).

use bowline_core::{Duration, Instant};

/// The longest wait that is made up for by a burst, whatever the caller's interval: 40 ms, so that a game at
/// 30 Hz still gets its rate.
pub const BURST_SPAN_MAX: Duration = Duration::from_millis(40);

/// The least time between two bursts that is asked for: no timer is finer.
pub const WAKE_SPAN: Duration = Duration::from_millis(1);

const MILLION: i64 = 1_000_000;

/// Paces datagrams at a rate that may change, in 24 bytes.
///
/// Tokens are bytes. They come in at the rate, up to what a burst may be; a datagram may go while there are
/// any, and may leave a debt, so that long ones need no larger bucket. A caller who comes each millisecond
/// sends a datagram or two at a time; one who comes each 16 ms sends what 16 ms carry, since the time from a
/// visit that ended for lack of tokens to the next is paid in full. After a pause that was not for lack
/// of tokens, a burst is what one such interval carries, and a few datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pacer {
    /// In millionths of a byte, so that the shortest visits lose nothing.
    tokens: i64,
    filled_at: Instant,
    /// The caller's interval in microseconds: the longest lately.
    interval: u32,
    /// The last visit ended for lack of tokens.
    is_short: bool,
}

impl Pacer {
    /// One that lets `burst` bytes go at once.
    #[must_use]
    pub const fn new(burst: u32) -> Self {
        Self {
            tokens: burst as i64 * MILLION,
            filled_at: Instant::ZERO,
            interval: 1_000,
            is_short: false,
        }
    }

    /// Fills in what has come since the last time, at `rate` bytes per second, and tells how many bytes may go
    /// now; 0 means to ask again at [`Self::next_at`].
    ///
    /// `datagram` is the length of the longest datagram, in bytes.
    pub fn available(&mut self, now: Instant, rate: u64, datagram: u16) -> u32 {
        if now > self.filled_at {
            self.fill(now, rate, datagram);
        }
        let available = u32::try_from(self.tokens.max(0) / MILLION).unwrap_or(u32::MAX);
        self.is_short |= available == 0;
        available
    }

    /// A datagram of `bytes` went out.
    pub fn on_sent(&mut self, bytes: u32) {
        self.tokens = self.tokens.saturating_sub(i64::from(bytes) * MILLION);
    }

    /// When tokens will be there again at `rate`; the last time they were filled in if they are.
    #[must_use]
    pub fn next_at(&self, rate: u64) -> Instant {
        if self.tokens >= MILLION {
            return self.filled_at;
        }
        let missing = MILLION.saturating_sub(self.tokens).unsigned_abs();
        let micros = missing.div_ceil(rate.max(1));
        self.filled_at + Duration::from_micros(micros).max(WAKE_SPAN)
    }

    /// The caller's interval as far as it is known.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval.into())
    }

    fn fill(&mut self, now: Instant, rate: u64, datagram: u16) {
        let elapsed = now.saturating_since(self.filled_at).min(Duration::from_secs(1_000));
        if self.is_short {
            let interval = elapsed.min(BURST_SPAN_MAX).as_micros() as u32;
            self.interval = interval.max(self.interval - self.interval / 8);
        }
        let span = self.interval().max(WAKE_SPAN);
        let paid = |span: Duration| {
            i64::try_from(rate.saturating_mul(span.as_micros())).unwrap_or(i64::MAX)
        };
        let burst = paid(span).saturating_add(2 * i64::from(datagram) * MILLION);
        self.tokens = self.tokens.saturating_add(paid(elapsed)).min(burst);
        (self.filled_at, self.is_short) = (now, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Sends all it may at `now`, and tells how many datagrams of 1,200 bytes.
    fn burst(pacer: &mut Pacer, now: u64, rate: u64) -> u32 {
        let mut sent = 0;
        while pacer.available(at(now), rate, 1_200) > 0 {
            pacer.on_sent(1_200);
            sent += 1;
        }
        sent
    }

    /// Bytes sent in two seconds by a caller who comes each `interval`.
    fn sent_at_interval(interval: u64, rate: u64) -> u64 {
        let mut pacer = Pacer::new(0);
        let visits = (0..2_000_000 / interval).map(|visit| 1_000_000 + visit * interval);
        visits.map(|now| u64::from(burst(&mut pacer, now, rate)) * 1_200).sum()
    }

    #[test]
    fn a_caller_each_millisecond_and_one_each_sixteen_get_the_same_rate() {
        for interval in [200, 1_000, 5_000, 16_667, 33_333] {
            let sent = sent_at_interval(interval, 2_500_000);
            assert!((4_850_000..5_050_000).contains(&sent), "{interval}: {sent}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut pacer = Pacer::new(0);
        for visit in 0..100 {
            burst(&mut pacer, 1_000_000 + visit * 1_000, 1_200_000);
        }
        // What the caller had to wait for is bounded too.
        let sent = burst(&mut pacer, 10_000_000, 1_200_000);
        assert!(sent <= 1 + 40 + 2, "{sent}");
    }

    #[test]
    fn a_debt_is_paid_before_the_next_datagram() {
        let mut pacer = Pacer::new(1);
        assert_eq!(pacer.available(at(0), 120_000, 1_200), 1);
        pacer.on_sent(1_200);
        assert_eq!(pacer.available(at(0), 120_000, 1_200), 0);
        assert_eq!(pacer.next_at(120_000), at(10_000));
        assert_eq!(pacer.available(at(9_990), 120_000, 1_200), 0);
        assert_eq!(pacer.available(at(10_000), 120_000, 1_200), 1);
    }

    #[test]
    fn a_rate_of_nothing_is_no_trouble() {
        let mut pacer = Pacer::new(0);
        assert_eq!(pacer.available(Instant::MAX, 0, 0), 0);
        assert!(pacer.next_at(0) >= at(1_000_000));
        assert!(pacer.available(Instant::MAX, u64::MAX, u16::MAX) == 0);
    }

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<Pacer>(), 24);
    }

    proptest! {
        /// However the caller comes, no more leaves in all than the rate allows, and what one burst may be.
        #[test]
        fn nobody_gets_more_than_the_rate(
            waits in prop::collection::vec(1_u64..100_000, 1..200), rate in 1_000_u64..100_000_000,
        ) {
            let mut pacer = Pacer::new(0);
            pacer.available(at(0), rate, 1_200);
            let (mut now, mut sent) = (0, 0);
            for wait in waits {
                now += wait;
                sent += u64::from(burst(&mut pacer, now, rate)) * 1_200;
            }
            prop_assert!(sent <= rate * now / 1_000_000 + 1_200);
        }

        /// Who comes when told to finds tokens.
        #[test]
        fn the_time_named_is_the_time(
            debt in 0_u32..100_000, rate in 1_u64..1_000_000_000,
        ) {
            let mut pacer = Pacer::new(0);
            prop_assert_eq!(pacer.available(at(0), rate, 1_200), 0);
            pacer.on_sent(debt);
            let next = pacer.next_at(rate);
            prop_assume!(next < at(1_000_000_000));
            prop_assert!(pacer.available(next, rate, 1_200) > 0);
        }
    }
}
