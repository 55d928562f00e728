//! When to acknowledge, against a list of what waits for it.

use bowline_core::{Duration, Instant};
use bowline_transport::acks::AckSchedule;

use crate::feed::Feed;

/// Packets arrive, acks go out, time passes.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut now = Instant::from_micros(feed.sized() >> 8);
    let mut schedule = AckSchedule::new();
    // Until when each eliciting packet may wait; at once if nothing.
    let mut waiting: Vec<Option<Instant>> = Vec::new();
    let mut largest_at = None;
    while !feed.is_empty() {
        match feed.u8() % 4 {
            0 => {
                schedule.on_sent();
                waiting.clear();
            }
            1 => now = now + Duration::from_micros(u64::from(feed.u16()) << feed.below(12)),
            _ => {
                let how = feed.u8();
                let (eliciting, in_order, largest) = (how & 1 == 0, how & 2 == 0, how & 4 == 0);
                let delay = Duration::from_millis(u64::from(how >> 3));
                schedule.on_packet(now, eliciting, in_order, largest, delay);
                if eliciting {
                    waiting.push(in_order.then_some(now + delay));
                }
                if largest {
                    largest_at = Some(now);
                }
            }
        }
        let at_once = waiting.len() >= 4 || waiting.iter().any(Option::is_none);
        let first = waiting.iter().flatten().min().copied();
        let due = if at_once { Some(Instant::ZERO) } else { first };
        assert_eq!(schedule.due(), due, "{waiting:?}");
        assert_eq!(schedule.pending(), !waiting.is_empty());
        if let Some(largest_at) = largest_at {
            let delay = now.as_micros() - largest_at.as_micros();
            assert_eq!(schedule.delay(now).as_micros(), delay);
            assert_eq!(u64::from(schedule.delay_code(now)), (delay / 250).min(127));
        }
    }
}
