//! Loss against its definition (RFC 9002, section 6.1): a packet is lost if one sent three later is acknowledged, or a
//! later one, and nine eighths of a round trip have passed.

use bowline_core::{Duration, Instant};
use bowline_transport::loss::{LossDetector, Verdict};
use bowline_transport::rtt::RttEstimator;

use crate::feed::Feed;

/// Acks of any numbers in any order, and questions about any packet at any time.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut detector = LossDetector::new();
    let mut rtt = RttEstimator::new(Duration::from_millis(100));
    let mut acked: Vec<u64> = Vec::new();
    let mut probes = 0u32;
    let base = feed.sized() >> 8;
    while !feed.is_empty() {
        let number = base + u64::from(feed.u8());
        match feed.u8() % 8 {
            0 | 1 => {
                detector.on_ack(number);
                acked.push(number);
            }
            2 => rtt.on_sample(Duration::from_micros(feed.sized() & 0xFF_FFFF), Duration::ZERO),
            3 => {
                detector.on_probe_timeout();
                probes += 1;
            }
            4 => {
                detector.on_progress();
                probes = 0;
            }
            _ => {
                let sent_at = Instant::from_micros(u64::from(feed.u32()));
                let now = sent_at + Duration::from_micros(feed.sized() & 0xFFF_FFFF);
                let verdict = detector.verdict(number, sent_at, now, &rtt);
                assert_eq!(verdict, by_definition(&acked, number, sent_at, now, &rtt));
                let period = rtt.probe_timeout(Duration::ZERO).as_micros() as u128;
                let wait = (period << probes.min(16)).min(60_000_000) as u64;
                let probe_at = detector.probe_at(sent_at, &rtt, Duration::ZERO);
                assert_eq!(probe_at, sent_at + Duration::from_micros(wait));
            }
        }
        assert_eq!(detector.largest_acked(), acked.iter().max().copied());
    }
}

fn by_definition(
    acked: &[u64],
    number: u64,
    sent_at: Instant,
    now: Instant,
    rtt: &RttEstimator,
) -> Verdict {
    let trip = rtt.smoothed().max(rtt.latest()).as_micros();
    let lost_at = sent_at + Duration::from_micros((trip + trip / 8).max(1_000));
    if acked.iter().any(|acked| *acked >= number + 3) {
        Verdict::Lost
    } else if acked.iter().all(|acked| *acked <= number) {
        Verdict::Pending
    } else if now >= lost_at {
        Verdict::Lost
    } else {
        Verdict::At(lost_at)
    }
}
