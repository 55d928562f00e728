//! Round trips against the formulas of RFC 9002, section 5, in floating point.

use bowline_core::Duration;
use bowline_transport::rtt::RttEstimator;

use crate::feed::Feed;

/// How far integers may be off, in microseconds: half a microsecond a step, over the steps that averages remember.
const TOLERANCE: f64 = 12.0;

/// Samples, with the delay that the peer claims.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let initial = feed.sized() & 0xFFF_FFFF;
    let mut rtt = RttEstimator::new(Duration::from_micros(initial));
    let (mut smoothed, mut variation) = (initial as f64, initial as f64 / 2.0);
    let mut min: Option<u64> = None;
    let mut congested = false;
    while !feed.is_empty() {
        let latest = feed.sized() & 0x3FFF_FFFF;
        let delay = u64::from(feed.u16()) << feed.below(8);
        if latest == 0x3FFF_FFFF {
            rtt.on_persistent_congestion();
            min = min.map(|_| rtt.latest().as_micros());
            congested = true;
            continue;
        }
        rtt.on_sample(Duration::from_micros(latest), Duration::from_micros(delay));
        match min {
            None => (smoothed, variation) = (latest as f64, latest as f64 / 2.0),
            Some(before) => {
                let least = before.min(latest);
                let adjusted = if latest >= least + delay { latest - delay } else { latest } as f64;
                variation = 0.75 * variation + 0.25 * (smoothed - adjusted).abs();
                smoothed = 0.875 * smoothed + 0.125 * adjusted;
            }
        }
        let least = min.map_or(latest, |before| before.min(latest));
        min = Some(least);
        assert_eq!(rtt.latest().as_micros(), latest);
        assert_eq!(rtt.min().as_micros(), least, "the minimum of all samples");
        let off = (rtt.smoothed().as_micros() as f64 - smoothed).abs();
        assert!(off <= TOLERANCE, "smoothed {:?}, not {smoothed}", rtt.smoothed());
        let off = (rtt.variation().as_micros() as f64 - variation).abs();
        assert!(off <= TOLERANCE, "variation {:?}, not {variation}", rtt.variation());
        // No claimed delay brings the average below the minimum, as long as that is the minimum of all.
        assert!(congested || rtt.smoothed() + Duration::from_micros(5) >= rtt.min());
        let ack_delay = Duration::from_millis(25);
        let probe =
            rtt.smoothed() + (rtt.variation().saturating_mul(4)).max(Duration::from_millis(1));
        assert_eq!(rtt.probe_timeout(ack_delay), probe + ack_delay);
    }
}
