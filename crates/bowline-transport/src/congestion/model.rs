use bowline_core::{Duration, Instant};

use super::{Controller, WINDOW_MIN, initial_window};
use crate::rtt::RttEstimator;

/// How long a shortest round trip is believed: between one and two of these.
const RTT_SPAN: Duration = Duration::from_secs(5);
/// How long the window is small to see the path without our own queue.
const LOOK_SPAN: Duration = Duration::from_millis(200);
/// Rounds of a cycle in [`Phase::Cruise`].
const CYCLE: u8 = 8;
/// Rounds without growth by a quarter after which the rate is taken for the path's.
const PLATEAU: u8 = 3;
/// Rounds in a row with a queue after which it is somebody else's.
const CROWDED: u8 = 24;
/// A share of losses, in 1/256, above which they are never taken for chance: 30 %.
const CHANCE_MAX: u64 = 77;

/// A model of the path, its delivery rate and its shortest round trip: packets are paced at the one, and twice
/// the product of both may be in flight.
///
/// After BBR (Cardwell and others, *Communications of the ACM* 60(2), 2017), measured in rounds, so that it
/// needs no state for each packet:
///
/// - A round ends when a packet that was sent in it is acknowledged. What arrived in it, over its time, is a
///   sample of the rate, but no more than what was sent in the round before, over its time: whoever
///   acknowledges in a burst proves no more. The model's rate is the largest sample of 8 to 16 rounds.
/// - A loss alone is no congestion. As long as round trips show no queue, what was lost counts as if it had arrived,
///   up to 30 %: the path carries it. With a queue it counts as not arrived, so that the rate falls.
/// - At first the rate grows with each round, until it no longer does or a queue forms; then the queue is
///   drained. From then on one round in eight is a quarter faster, and the next a quarter slower. A round after
///   one with a queue is slower too, unless the queue stays for 24 rounds: then it is somebody else's, and who
///   yielded to it would get nothing.
/// - A round in which the application was the limit can raise the rate, and never lowers it.
/// - Each 5 s the window is halved for 200 ms, to see the shortest round trip. Flows that share a
///   queue see it fall together, and then look together.
///
/// A caller who comes at 60 Hz sees round trips in steps of 17 ms: that is why it measures rates and not
/// delays, which only end its first phase.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathModel {
    phase: Phase,
    /// The round's beginning, and what happened since, in bytes.
    began: Instant,
    sent: u32,
    arrived: u32,
    lost: u32,
    /// What the last round sent, in bytes per second.
    sent_rate: u32,
    /// The shortest round trip of this round in microseconds; `u32::MAX` for none.
    round_rtt: u32,
    app_limited: bool,
    /// So many rounds in a row had a queue.
    queued: u8,
    /// The largest rate of this cycle and of the one before, in bytes per second; 0 if unknown.
    rates: [u32; 2],
    /// The shortest round trip of this span and of the one before, in microseconds.
    rtts: [u32; 2],
    rtts_since: Instant,
    max: u32,
    datagram: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    /// Looking for the rate; `stale` rounds brought no growth over `best`.
    Start { best: u32, stale: u8 },
    /// What the start queued is let out.
    Drain,
    /// At the rate, in this round of the cycle.
    Cruise { round: u8 },
    /// Little is sent until then, to see the shortest round trip.
    Look { until: Instant },
}

impl PathModel {
    /// For datagrams of `datagram` bytes, with at most `max` bytes in flight, and at least [`WINDOW_MIN`].
    #[must_use]
    pub const fn new(datagram: u16, max: u32) -> Self {
        Self {
            phase: Phase::Start { best: 0, stale: 0 },
            began: Instant::ZERO,
            sent: 0,
            arrived: 0,
            lost: 0,
            sent_rate: 0,
            round_rtt: u32::MAX,
            app_limited: false,
            queued: 0,
            rates: [0; 2],
            rtts: [u32::MAX; 2],
            rtts_since: Instant::ZERO,
            max: if max < WINDOW_MIN { WINDOW_MIN } else { max },
            datagram,
        }
    }

    /// The path's rate as far as it is known, in bytes per second; 0 if it is not.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let [now, before] = self.rates;
        now.max(before)
    }

    fn rtt_min(&self) -> u32 {
        let [now, before] = self.rtts;
        now.min(before)
    }

    /// Bytes that fill the path without a queue.
    fn product(&self) -> u64 {
        u64::from(self.rate()).saturating_mul(self.rtt_min().into()) / 1_000_000
    }

    /// Whether the queue is not ours: it stays although we yield to it.
    fn is_crowded(&self) -> bool {
        self.queued >= CROWDED
    }

    /// Whether all packets of this round waited in a queue.
    fn has_queue(&self) -> bool {
        let min = self.rtt_min();
        self.round_rtt < u32::MAX && self.round_rtt > min.saturating_add((min / 8).max(4_000))
    }

    fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX - 1).max(1);
        self.round_rtt = self.round_rtt.min(rtt);
        let (seen, [current, _]) = (self.rtt_min(), self.rtts);
        if rtt < seen - seen / 16 {
            // Whoever shares the queue sees it too: all look again at the same time.
            self.rtts_since = now;
        }
        if now.saturating_since(self.rtts_since) < RTT_SPAN {
            let [current, _] = &mut self.rtts;
            *current = rtt.min(*current);
            return;
        }
        self.rtts = [rtt, current];
        self.rtts_since = now;
        if matches!(self.phase, Phase::Cruise { .. }) {
            self.phase = Phase::Look { until: now + LOOK_SPAN };
        }
    }

    fn end_round(&mut self, now: Instant) {
        let span = now.saturating_since(self.began);
        let per_second =
            |bytes: u32| u32::try_from(super::rate_of(bytes.into(), span)).unwrap_or(u32::MAX);
        self.queued = if self.has_queue() { self.queued.saturating_add(1) } else { 0 };
        let total = u64::from(self.arrived) + u64::from(self.lost);
        let by_chance = u64::from(self.lost) * 256 <= total * CHANCE_MAX && self.queued == 0;
        let carried = if by_chance { self.arrived.saturating_add(self.lost) } else { self.arrived };
        let sample = per_second(carried).min(self.sent_rate);
        let [rate, _] = &mut self.rates;
        if !self.app_limited || sample > *rate {
            *rate = sample.max(*rate);
        }
        self.next_phase(now);
        self.sent_rate = per_second(self.sent);
        self.begin_round(now);
    }

    fn begin_round(&mut self, now: Instant) {
        (self.began, self.sent, self.arrived, self.lost) = (now, 0, 0, 0);
        (self.round_rtt, self.app_limited) = (u32::MAX, false);
    }

    fn next_phase(&mut self, now: Instant) {
        let (rate, queue) = (self.rate(), self.has_queue());
        self.phase = match self.phase {
            Phase::Start { .. } if queue && !self.app_limited => Phase::Drain,
            Phase::Start { best, stale } => {
                if rate >= best.saturating_add(best / 4) {
                    Phase::Start { best: rate, stale: 0 }
                } else if self.app_limited {
                    Phase::Start { best, stale }
                } else if stale + 1 >= PLATEAU {
                    Phase::Drain
                } else {
                    Phase::Start { best, stale: stale + 1 }
                }
            }
            Phase::Drain if queue => Phase::Drain,
            // Not all flows that begin together probe together.
            Phase::Drain => Phase::Cruise { round: 2 + (now.as_micros() / 64 % 6) as u8 },
            Phase::Cruise { round } if round + 1 < CYCLE => Phase::Cruise { round: round + 1 },
            Phase::Cruise { .. } => {
                if !self.app_limited {
                    let [current, _] = self.rates;
                    self.rates = [0, current];
                }
                Phase::Cruise { round: 0 }
            }
            Phase::Look { until } if until <= now => Phase::Cruise { round: 2 },
            Phase::Look { until } => Phase::Look { until },
        };
    }
}

impl Controller for PathModel {
    fn on_sent(&mut self, _now: Instant, bytes: u32) {
        self.sent = self.sent.saturating_add(bytes);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent_at: Instant,
        bytes: u32,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.arrived = self.arrived.saturating_add(bytes);
        self.app_limited |= app_limited;
        self.on_rtt(now, now.saturating_since(sent_at));
        if self.began == Instant::ZERO {
            // What was sent before the first acknowledgement came was sent in a round trip.
            self.began = sent_at;
            self.end_round(now);
            return;
        }
        // A packet that was sent in this round, and not at the very instant at which it began.
        if sent_at >= self.began && now.saturating_since(self.began) >= Duration::from_millis(1) {
            self.end_round(now);
        }
    }

    fn on_congestion(&mut self, _now: Instant, _sent_at: Instant, persistent: bool) {
        if persistent {
            let half = self.rate() / 2;
            self.rates = [0, half];
            self.phase = Phase::Start { best: half, stale: 0 };
        }
    }

    fn on_lost(&mut self, bytes: u32) {
        self.lost = self.lost.saturating_add(bytes);
    }

    /// Between 3/4 and 5/4 of the path's rate; twice that and more while it is not known.
    fn pacing_rate(&self, rtt: &RttEstimator) -> Option<u64> {
        let initial = super::rate_of(initial_window(self.datagram).into(), rtt.smoothed());
        let (rate, hundredths) = match self.phase {
            Phase::Start { .. } => ((self.rate().into()), 277),
            Phase::Drain => (self.rate().into(), 50),
            Phase::Cruise { round: 0 } => (self.rate().into(), 125),
            Phase::Cruise { round: 1 } => (self.rate().into(), 75),
            Phase::Cruise { .. } if self.queued > 0 && !self.is_crowded() => {
                (self.rate().into(), 85)
            }
            Phase::Cruise { .. } | Phase::Look { .. } => (u64::from(self.rate()), 98),
        };
        let floor = match self.phase {
            Phase::Start { .. } => initial * 2,
            // Two datagrams each round trip.
            _ => super::rate_of(WINDOW_MIN.into(), rtt.smoothed()),
        };
        Some((rate * hundredths / 100).max(floor))
    }

    fn window(&self) -> u32 {
        let window = match self.phase {
            _ if self.rate() == 0 => u64::from(initial_window(self.datagram)) * 2,
            Phase::Start { .. } => self.product() * 3 + u64::from(initial_window(self.datagram)),
            Phase::Look { .. } => self.product() / 2,
            _ => {
                let product = self.product();
                // Acknowledgements come late, and in bursts from callers who come seldom.
                let few = 2 * u64::from(self.datagram);
                (product * 7 / 4).max(product + u64::from(self.rate()) / 64) + few
            }
        };
        u32::try_from(window).unwrap_or(u32::MAX).clamp(WINDOW_MIN, self.max)
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

    /// A path of 50 ms that delivers `per_round` datagrams in each, from `from` on; `lost` more are lost.
    fn run(
        model: &mut PathModel,
        from: u64,
        rounds: u64,
        (per_round, lost): (u64, u64),
        idle: bool,
    ) {
        for round in 0..rounds {
            let sent = from + round * 50;
            for nth in 0..per_round {
                model.on_sent(at(sent), 1_200);
                if nth < lost {
                    model.on_sent(at(sent), 1_200);
                    model.on_lost(1_200);
                }
                model.on_ack(at(sent + 50), at(sent), 1_200, idle, &path());
            }
        }
    }

    #[test]
    fn the_rate_is_what_arrives_in_a_round_trip() {
        let mut model = PathModel::new(1_200, u32::MAX);
        run(&mut model, 100, 20, (50, 0), false);
        let rate = model.rate();
        assert!((1_150_000..=1_210_000).contains(&rate), "{rate}");
    }

    #[test]
    fn losses_without_a_queue_do_not_lower_it() {
        let mut model = PathModel::new(1_200, u32::MAX);
        run(&mut model, 100, 20, (50, 0), false);
        let before = model.rate();
        run(&mut model, 1_100, 100, (40, 10), false);
        assert!(model.rate() >= before / 100 * 97, "{before} {}", model.rate());
    }

    #[test]
    fn an_application_that_sends_little_does_not_lower_it() {
        let mut model = PathModel::new(1_200, u32::MAX);
        run(&mut model, 100, 20, (50, 0), false);
        let before = model.rate();
        run(&mut model, 1_100, 200, (2, 0), true);
        assert_eq!(model.rate(), before);
    }

    #[test]
    fn acknowledgements_in_a_burst_prove_no_more_than_was_sent() {
        let mut model = PathModel::new(1_200, u32::MAX);
        run(&mut model, 100, 20, (10, 0), false);
        let before = model.rate();
        // 100 datagrams of the last two seconds are acknowledged within a millisecond.
        (0..100).for_each(|nth| {
            model.on_sent(at(1_100 + nth * 20), 1_200);
        });
        for nth in 0..100 {
            model.on_ack(at(3_100 + nth / 99), at(1_100 + nth * 20), 1_200, false, &path());
        }
        assert!(model.rate() <= before * 5 / 4, "{before} {}", model.rate());
    }

    #[test]
    fn persistent_congestion_halves_it_and_starts_again() {
        let mut model = PathModel::new(1_200, u32::MAX);
        run(&mut model, 100, 20, (50, 0), false);
        let before = model.rate();
        model.on_congestion(at(2_000), at(1_000), true);
        assert_eq!(model.rate(), before / 2);
        assert!(matches!(model.phase, Phase::Start { .. }));
    }

    #[test]
    fn it_stays_small() {
        assert!(size_of::<PathModel>() <= 96, "{}", size_of::<PathModel>());
    }

    proptest! {
        /// Whatever happens, the window stays in its bounds and there is a rate.
        #[test]
        fn it_stays_in_its_bounds(
            steps in prop::collection::vec((0_u8..8, 0_u64..5_000, any::<u32>()), 0..300),
            datagram in any::<u16>(), max in any::<u32>(),
        ) {
            let mut model = PathModel::new(datagram, max);
            let mut now = 100;
            for (step, wait, bytes) in steps {
                now += wait;
                match step {
                    0 => model.on_congestion(at(now), at(now - 50), bytes % 2 == 0),
                    1 => model.on_lost(bytes),
                    2 | 3 => model.on_sent(at(now), bytes),
                    _ => model.on_ack(at(now), at(now - 50), bytes, step == 4, &path()),
                }
                prop_assert!((WINDOW_MIN..=max.max(WINDOW_MIN)).contains(&model.window()));
                prop_assert!(model.pacing_rate(&path()) > Some(0));
            }
        }
    }
}
