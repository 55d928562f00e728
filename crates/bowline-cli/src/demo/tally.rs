//! Sums over all clients and both directions.

use bowline::{Duration, Mode, Outcome};
use hdrhistogram::Histogram;

use super::lane::Lane;
use super::oracle::Fate;

/// Longest latency that is told apart from longer ones, in microseconds.
const LATENCY_MAX: u64 = 600_000_000;
/// Messages longer than this, in bytes, never travel in one datagram.
const WHOLE_MAX: u32 = 1200;

/// How messages end while their session lasts.
pub(super) const ENDS: [Outcome; 5] = [
    Outcome::Acknowledged,
    Outcome::Lost,
    Outcome::Expired,
    Outcome::Cancelled,
    Outcome::Superseded,
];

/// In one word.
pub(super) const fn name(end: Outcome) -> &'static str {
    match end {
        Outcome::Acknowledged => "acknowledged",
        Outcome::Lost => "lost",
        Outcome::Expired => "expired",
        Outcome::Superseded => "replaced",
        Outcome::Cancelled => "cancelled",
        Outcome::Closed => "closed",
        _ => "refused",
    }
}

/// What happened on each lane.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    lanes: Vec<LaneTally>,
    /// By mode (without reliable) and number of datagrams.
    spread: [Vec<Spread>; 2],
}

/// What happened on one lane, or on several together.
#[derive(Clone, Debug)]
pub(super) struct LaneTally {
    /// Messages taken for sending.
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) delivered: u64,
    pub(super) delivered_bytes: u64,
    /// Messages not taken for sending, as there was no room.
    pub(super) refused: u64,
    /// How many ended how, in the order of [`ENDS`].
    pub(super) ends: [u64; ENDS.len()],
    /// From being taken to being delivered, in microseconds.
    latency: Histogram<u32>,
}

/// What became of the unreliable messages that were spread over the same number of datagrams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Spread {
    pub(super) sent: u64,
    pub(super) delivered: u64,
}

impl LaneTally {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX, 2);
        // The bounds are constants, and within what it takes.
        let latency = latency.unwrap_or_else(|_| unreachable!("good bounds"));
        let ends = [0; ENDS.len()];
        Self { sent: 0, sent_bytes: 0, delivered: 0, delivered_bytes: 0, refused: 0, ends, latency }
    }

    /// The latency that `percent` of a hundred delivered messages did not exceed.
    pub(super) fn latency(&self, percent: f64) -> Option<Duration> {
        let micros = self.latency.value_at_percentile(percent);
        (!self.latency.is_empty()).then_some(Duration::from_micros(micros))
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.refused += other.refused;
        self.ends.iter_mut().zip(other.ends).for_each(|(sum, other)| *sum += other);
        let _ = self.latency.add(&other.latency);
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        let lanes = Lane::all().map(|_| LaneTally::new()).collect();
        Self { lanes, spread: [Vec::new(), Vec::new()] }
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneTally {
        &self.lanes[lane.index().expect("only lanes that exist are asked about")]
    }

    /// All channels of `mode` together, or of all modes.
    pub(super) fn total(&self, mode: Option<Mode>) -> LaneTally {
        let mut total = LaneTally::new();
        Lane::all()
            .zip(&self.lanes)
            .filter(|(lane, _)| mode.is_none_or(|mode| lane.mode == mode))
            .for_each(|(_, tally)| total.add(tally));
        total
    }

    /// Unreliable messages of `mode` by the number of datagrams they were spread over, from 1.
    pub(super) fn spread(&self, mode: Mode) -> &[Spread] {
        self.spread.get(mode as usize).map_or(&[], |spread| spread)
    }

    fn lane_mut(&mut self, lane: Lane) -> Option<&mut LaneTally> {
        self.lanes.get_mut(lane.index()?)
    }

    pub(super) fn on_sent(&mut self, lane: Lane, len: usize) {
        if let Some(tally) = self.lane_mut(lane) {
            tally.sent += 1;
            tally.sent_bytes += len as u64;
        }
    }

    pub(super) fn on_refused(&mut self, lane: Lane) {
        if let Some(tally) = self.lane_mut(lane) {
            tally.refused += 1;
        }
    }

    pub(super) fn on_outcome(&mut self, lane: Lane, outcome: Outcome) {
        let end = ENDS.iter().position(|end| *end == outcome);
        if let (Some(tally), Some(end)) = (self.lane_mut(lane), end) {
            tally.ends[end] += 1;
        }
    }

    pub(super) fn on_delivered(&mut self, lane: Lane, len: usize, latency: Duration) {
        if let Some(tally) = self.lane_mut(lane) {
            tally.delivered += 1;
            tally.delivered_bytes += len as u64;
            tally.latency.saturating_record(latency.as_micros().max(1));
        }
    }

    pub(super) fn on_end(&mut self, lane: Lane, fate: &Fate) {
        if fate.given_up {
            return;
        }
        let datagrams = match fate.datagrams {
            0 if fate.len > WHOLE_MAX => return,
            0 => 1,
            count => count as usize,
        };
        let Some(spread) = self.spread.get_mut(lane.mode as usize) else { return };
        if spread.len() < datagrams {
            spread.resize(datagrams, Spread::default());
        }
        if let Some(spread) = spread.get_mut(datagrams - 1) {
            spread.sent += 1;
            spread.delivered += u64::from(fate.delivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_their_lanes() {
        let mut tally = Tally::new();
        for (count, lane) in Lane::all().enumerate() {
            for micros in 0..=count as u64 {
                tally.on_sent(lane, 10);
                tally.on_delivered(lane, 10, Duration::from_micros(100 * micros));
            }
            tally.on_outcome(lane, ENDS[count % ENDS.len()]);
        }
        assert_eq!(tally.total(None).ends, [3; ENDS.len()]);
        assert_eq!(tally.total(None).sent, 120);
        assert_eq!(tally.total(Some(Mode::Reliable)).delivered, 7 + 8 + 9);
        assert_eq!(tally.total(Some(Mode::Unreliable)).delivered_bytes, 10 * (1 + 2 + 3));
        let longest = tally.total(None).latency(100.0).unwrap().as_micros();
        assert!((1_400..=1_415).contains(&longest), "{longest}");
    }

    #[test]
    fn messages_of_unknown_spread_are_left_out() {
        let mut tally = Tally::new();
        let lane = Lane::new(Mode::Unreliable, 0);
        tally.on_end(lane, &Fate { len: 4000, datagrams: 0, delivered: true, given_up: false });
        tally.on_end(lane, &Fate { len: 4000, datagrams: 4, delivered: false, given_up: false });
        tally.on_end(lane, &Fate { len: 12, datagrams: 0, delivered: true, given_up: false });
        tally.on_end(
            Lane::new(Mode::Reliable, 0),
            &Fate { len: 12, datagrams: 1, delivered: true, given_up: false },
        );
        let given_up = Fate { len: 9, datagrams: 1, delivered: false, given_up: true };
        tally.on_end(lane, &given_up);
        let spread = tally.spread(Mode::Unreliable);
        assert_eq!(spread[0], Spread { sent: 1, delivered: 1 });
        assert_eq!(spread[3], Spread { sent: 1, delivered: 0 });
        assert_eq!(spread.iter().map(|spread| spread.sent).sum::<u64>(), 2);
        assert!(tally.spread(Mode::Reliable).is_empty());
    }
}
