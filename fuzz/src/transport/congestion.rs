//! Bytes in flight against a list of packets, and the fixed window.

use bowline_core::{Duration, Instant};
use bowline_transport::congestion::{Controller, FixedWindow, InFlight, WINDOW_MIN};
use bowline_transport::rtt::RttEstimator;

use crate::feed::Feed;

/// Packets depart and get one fate each.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let asked = feed.u32();
    let mut controller = FixedWindow::new(asked);
    let mut in_flight = InFlight::new();
    let mut packets: Vec<u32> = Vec::new();
    let rtt = RttEstimator::new(Duration::from_millis(50));
    let now = Instant::from_micros(5);
    while !feed.is_empty() {
        let how = feed.u8() % 5;
        if how < 2 {
            let bytes = u32::from(feed.u16());
            in_flight.on_sent(bytes);
            controller.on_sent(now, bytes);
            packets.push(bytes);
        } else if let Some(at) = feed.below(256).checked_rem(packets.len()) {
            let bytes = packets.swap_remove(at);
            match how {
                2 => {
                    in_flight.on_acked(bytes);
                    controller.on_ack(now, now, bytes, feed.flag(), &rtt);
                }
                3 => {
                    in_flight.on_lost(bytes);
                    controller.on_congestion(now, now, feed.flag());
                }
                _ => in_flight.on_discarded(bytes),
            }
        }
        assert_eq!(in_flight.bytes(), packets.iter().sum::<u32>());
        let window = controller.window();
        assert_eq!(window, asked.max(WINDOW_MIN));
        assert_eq!(in_flight.room(window), window.saturating_sub(packets.iter().sum()));
    }
}
