use bowline_core::{Duration, Instant};

use super::{Controller, WINDOW_MIN, initial_window, rate_of};
use crate::rtt::RttEstimator;

/// Times beyond this, in milliseconds from the inflection of the curve, count as this: the curve is far above
/// every window by then.
const SPAN_MAX: i64 = 100_000;

/// Samples of a round trip that must show delay before slow start ends (`N_RTT_SAMPLE`, RFC 9406).
const SAMPLES_MIN: u8 = 8;

/// CUBIC ([RFC 9438]): after a loss the window returns along a cubic curve of time to where the loss was, stays
/// near it, and then probes ever faster. What TCP does nearly everywhere.
///
/// With fast convergence and the Reno-friendly region. Slow start ends at a loss, or when the round trip has
/// grown as in HyStart++ ([RFC 9406] section 4.2), here without its conservative phase: growth goes on along
/// the curve.
///
/// [RFC 9438]: https://www.rfc-editor.org/rfc/rfc9438
/// [RFC 9406]: https://www.rfc-editor.org/rfc/rfc9406#section-4.2
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cubic {
    window: u32,
    threshold: u32,
    max: u32,
    datagram: u16,
    /// Where the curve is flat, in bytes: the window before the last loss, or a little less.
    top: u32,
    /// The window of Reno since the curve began (`W_est`).
    reno: u32,
    /// Milliseconds from the beginning of the curve to its top (`K`).
    rise: u32,
    /// When the curve began; none in slow start and after the application was the limit.
    epoch: Option<Instant>,
    recovery: Option<Instant>,
    slow_start: RoundTrips,
    /// Window, threshold and top before the last answer.
    before: (u32, u32, u32),
}

/// The shortest round trips of this round and the last, in microseconds; `u32::MAX` for none.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct RoundTrips {
    began: Instant,
    last: u32,
    current: u32,
    samples: u8,
}

impl RoundTrips {
    const NONE: Self = Self { began: Instant::ZERO, last: u32::MAX, current: u32::MAX, samples: 0 };

    /// Takes in a sample, and tells whether a queue is forming.
    fn on_ack(&mut self, now: Instant, sent_at: Instant, rtt: Duration) -> bool {
        if sent_at >= self.began {
            *self = Self { began: now, last: self.current, current: u32::MAX, samples: 0 };
        }
        self.current = self.current.min(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        self.samples = self.samples.saturating_add(1);
        let grown = (self.last / 8).clamp(4_000, 16_000);
        self.samples >= SAMPLES_MIN
            && self.current >= self.last.saturating_add(grown)
            && self.last < u32::MAX
    }
}

impl Cubic {
    /// For datagrams of `datagram` bytes, with a window of at most `max` bytes, and at least [`WINDOW_MIN`].
    #[must_use]
    pub const fn new(datagram: u16, max: u32) -> Self {
        let max = if max < WINDOW_MIN { WINDOW_MIN } else { max };
        let initial = initial_window(datagram);
        let window = if initial < max { initial } else { max };
        Self {
            window,
            threshold: u32::MAX,
            max,
            datagram: if datagram == 0 { 1 } else { datagram },
            top: 0,
            reno: 0,
            rise: 0,
            epoch: None,
            recovery: None,
            slow_start: RoundTrips::NONE,
            before: (window, u32::MAX, 0),
        }
    }

    fn begin_curve(&mut self, now: Instant) -> Instant {
        self.top = self.top.max(self.window);
        self.reno = self.window;
        self.rise = rise(self.top - self.window, self.datagram);
        self.epoch = Some(now);
        now
    }

    /// The curve at `elapsed` after its beginning, in bytes.
    fn curve(&self, elapsed: Duration) -> u32 {
        let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let span = elapsed.saturating_sub(self.rise.into()).clamp(-SPAN_MAX, SPAN_MAX);
        // C = 0.4 segments / s^3; a thousandth first, so that it fits.
        let grown = span * span * span / 1_000 * (2 * i64::from(self.datagram) / 5) / 1_000_000;
        let window = i64::from(self.top) + grown;
        u32::try_from(window.max(0)).unwrap_or(u32::MAX)
    }

    fn avoid(&mut self, now: Instant, bytes: u32, rtt: &RttEstimator) {
        let began = match self.epoch {
            Some(began) => began,
            None => self.begin_curve(now),
        };
        let window = u64::from(self.window.max(1));
        // Reno as fast as a controller that falls to 7/10 needs to be: 9/17 of a datagram each round trip,
        // and a whole one above the last top.
        let (part, whole) = if self.reno < self.top { (9, 17) } else { (1, 1) };
        let share = |step: u64| step.saturating_mul(bytes.into()).checked_div(window).unwrap_or(0);
        let step = share(u64::from(self.datagram) * part / whole).max(1);
        self.reno = self.reno.saturating_add(step as u32);
        let ahead = now.saturating_since(began) + rtt.smoothed();
        let target = self.curve(ahead).clamp(self.window, self.window / 2 * 3);
        let step = share(u64::from(target - self.window));
        let curve = self.window.saturating_add(step as u32);
        // While Reno would have more, that is the window.
        self.window = curve.max(self.reno.min(self.window.saturating_add(bytes)));
    }
}

/// Milliseconds that a curve takes to rise by `height` bytes to its top.
fn rise(height: u32, datagram: u16) -> u32 {
    let cubed = (u64::from(height) * 2_500_000_000).checked_div(datagram.into()).unwrap_or(0);
    cube_root(cubed)
}

/// The largest integer whose cube is not above `n`, bit by bit.
fn cube_root(n: u64) -> u32 {
    (0..22).rev().fold(0, |root: u64, bit| {
        let next = root | 1 << bit;
        // Below 2^22, so that the cube fits but for the largest.
        match next.checked_mul(next).and_then(|square| square.checked_mul(next)) {
            Some(cube) if cube <= n => next,
            _ => root,
        }
    }) as u32
}

impl Controller for Cubic {
    fn on_sent(&mut self, _now: Instant, _bytes: u32) {}

    fn on_ack(
        &mut self,
        now: Instant,
        sent_at: Instant,
        bytes: u32,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        if app_limited {
            // Time in which nothing was tried does not count (RFC 9438 section 5.8).
            self.epoch = None;
            return;
        }
        if self.recovery.is_some_and(|at| sent_at <= at) {
            return;
        }
        if self.window < self.threshold {
            self.window = self.window.saturating_add(bytes);
            if self.slow_start.on_ack(now, sent_at, now.saturating_since(sent_at)) {
                self.threshold = self.window;
            }
        } else {
            self.avoid(now, bytes, rtt);
        }
        self.window = self.window.min(self.max);
    }

    fn on_congestion(&mut self, now: Instant, sent_at: Instant, persistent: bool) {
        if !persistent && self.recovery.is_some_and(|at| sent_at <= at) {
            return;
        }
        self.before = (self.window, self.threshold, self.top);
        // Fast convergence: who lost before reaching the old top leaves room for others.
        let tenths = |bytes: u32, part: u64| (u64::from(bytes) * part / 100) as u32;
        self.top = if self.window < self.top { tenths(self.window, 85) } else { self.window };
        self.threshold = tenths(self.window, 70).max(WINDOW_MIN);
        self.window = if persistent { WINDOW_MIN } else { self.threshold };
        self.recovery = if persistent { None } else { Some(now) };
        self.epoch = None;
        self.slow_start = RoundTrips::NONE;
    }

    fn on_spurious(&mut self, sent_at: Instant) {
        if self.recovery.is_some_and(|at| sent_at <= at) {
            let (window, threshold, top) = self.before;
            self.window = self.window.max(window);
            self.threshold = threshold;
            self.top = top;
            (self.epoch, self.recovery) = (None, None);
        }
    }

    /// 5/4 of a window each round trip, and twice a window in slow start (RFC 9002 section 7.7).
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

    /// A window's worth is acknowledged each 50 ms from `from` on.
    fn run(cubic: &mut Cubic, from: u64, rounds: u64) {
        for round in 0..rounds {
            let sent = from + round * 50;
            for _ in 0..cubic.window() / 1_200 {
                cubic.on_ack(at(sent + 50), at(sent), 1_200, false, &path());
            }
        }
    }

    fn lost_at(window: u32) -> Cubic {
        let mut cubic = Cubic::new(1_200, u32::MAX);
        cubic.window = window;
        cubic.on_congestion(at(100), at(50), false);
        cubic
    }

    #[test]
    fn a_loss_leaves_seven_tenths() {
        let cubic = lost_at(1_200_000);
        assert_eq!((cubic.window(), cubic.top), (840_000, 1_200_000));
    }

    #[test]
    fn a_second_loss_below_the_top_leaves_room_to_others() {
        let mut cubic = lost_at(1_200_000);
        cubic.on_congestion(at(200), at(150), false);
        assert_eq!((cubic.window(), cubic.top), (588_000, 714_000));
    }

    #[test]
    fn it_is_back_at_the_top_after_k() {
        let mut cubic = lost_at(1_200_000);
        // K = cbrt(1000 * 0.3 / 0.4) s = 9.08 s.
        run(&mut cubic, 110, 90);
        assert!((1_150_000..1_200_000).contains(&cubic.window()), "{}", cubic.window());
        run(&mut cubic, 110 + 90 * 50, 100);
        assert!((1_199_000..1_220_000).contains(&cubic.window()), "{}", cubic.window());
        run(&mut cubic, 110 + 190 * 50, 100);
        assert!(cubic.window() > 1_220_000, "{}", cubic.window());
    }

    #[test]
    fn on_a_short_path_it_is_not_slower_than_reno_would_be() {
        let mut cubic = lost_at(24_000);
        // Reno with 7/10 gains 9/17 of a datagram in each of 20 round trips.
        run(&mut cubic, 110, 20);
        assert!(cubic.window() >= 16_800 + 20 * 600 * 8 / 10, "{}", cubic.window());
    }

    #[test]
    fn slow_start_ends_when_the_round_trip_grows() {
        let mut cubic = Cubic::new(1_200, u32::MAX);
        for round in 0..3u64 {
            let (sent, rtt) = (round * 100, 50 + round / 2 * 10);
            for _ in 0..10 {
                cubic.on_ack(at(sent + rtt), at(sent), 1_200, false, &path());
            }
        }
        assert!(cubic.threshold < u32::MAX);
        assert!(cubic.window() <= 48_000);
    }

    #[test]
    fn a_loss_that_was_none_is_taken_back() {
        let mut cubic = lost_at(1_200_000);
        cubic.on_spurious(at(50));
        assert_eq!((cubic.window(), cubic.threshold), (1_200_000, u32::MAX));
    }

    #[test]
    fn a_pause_of_the_application_is_no_time_on_the_curve() {
        let mut cubic = lost_at(1_200_000);
        run(&mut cubic, 110, 2);
        let before = cubic.window();
        cubic.on_ack(at(30_000), at(29_950), 1_200, true, &path());
        cubic.on_ack(at(60_000), at(59_950), 1_200, false, &path());
        assert!(cubic.window() - before < 1_200, "{}", cubic.window() - before);
    }

    proptest! {
        #[test]
        fn the_cube_root_is_the_largest_that_fits(n in any::<u64>()) {
            let root = u128::from(cube_root(n));
            prop_assert!(root.pow(3) <= n.into() && (root + 1).pow(3) > n.into());
        }

        /// The curve in floating point.
        #[test]
        fn the_curve_is_that_of_the_rfc(
            top in 20_000_u32..4_000_000, elapsed in 0_u64..20_000,
        ) {
            let mut cubic = Cubic::new(1_200, u32::MAX);
            cubic.window = top;
            cubic.on_congestion(at(100), at(50), false);
            cubic.begin_curve(at(100));
            let segments = f64::from(top) / 1_200.0;
            let k = (segments * 0.3 / 0.4).cbrt();
            let model = 1_200.0 * (0.4 * (elapsed as f64 / 1_000.0 - k).powi(3) + segments);
            let is = f64::from(cubic.curve(Duration::from_millis(elapsed)));
            prop_assert!((is - model).abs() <= model * 0.01 + 1_200.0, "{is} {model}");
        }

        #[test]
        fn it_stays_in_its_bounds_and_only_losses_shrink_it(
            steps in prop::collection::vec((0_u8..8, 0_u64..5_000, 1_u32..70_000), 0..300),
            datagram in 0_u16.., max in 0_u32..2_000_000,
        ) {
            let mut cubic = Cubic::new(datagram, max);
            let mut now = 100;
            for (step, wait, bytes) in steps {
                now += wait;
                let before = cubic.window();
                match step {
                    0 => cubic.on_congestion(at(now), at(now - 50), false),
                    1 => cubic.on_spurious(at(now - 60)),
                    _ => cubic.on_ack(at(now), at(now - 50), bytes, step == 2, &path()),
                }
                let after = cubic.window();
                prop_assert!((WINDOW_MIN..=max.max(WINDOW_MIN)).contains(&after));
                prop_assert!(step == 0 || after >= before);
                prop_assert!(step != 2 || after == before);
                prop_assert!(step < 2 || after - before <= bytes.max(1));
            }
        }
    }
}
