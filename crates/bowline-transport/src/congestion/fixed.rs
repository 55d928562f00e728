use bowline_core::Instant;

use super::{Controller, WINDOW_MIN};
use crate::rtt::RttEstimator;

/// A window that never moves: no congestion control.
///
/// For links whose capacity is known and not shared with strangers: a LAN, a serial line, a test.
/// It bounds what a sender can queue in the network, so its queue is never longer than the window,
/// and its rate is at most one window per round trip.
///
/// It does **not** yield: into an overloaded network it sends on at the same rate per round trip,
/// whatever is lost or marked, and takes its share from others. That is not for the Internet
/// ([RFC 8085] section 3.1).
///
/// [RFC 8085]: https://www.rfc-editor.org/rfc/rfc8085#section-3.1
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedWindow {
    window: u32,
}

impl FixedWindow {
    /// A window of `window` bytes, but at least [`WINDOW_MIN`].
    #[must_use]
    pub const fn new(window: u32) -> Self {
        Self { window: if window < WINDOW_MIN { WINDOW_MIN } else { window } }
    }
}

impl Controller for FixedWindow {
    fn on_sent(&mut self, _now: Instant, _bytes: u32) {}

    fn on_ack(
        &mut self,
        _now: Instant,
        _sent_at: Instant,
        _bytes: u32,
        _app_limited: bool,
        _rtt: &RttEstimator,
    ) {
    }

    fn on_congestion(&mut self, _now: Instant, _sent_at: Instant, _persistent: bool) {}

    fn window(&self) -> u32 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use bowline_core::Duration;

    use super::*;

    #[test]
    fn two_datagrams_always_fit() {
        assert_eq!(FixedWindow::new(0).window(), 2_400);
        assert_eq!(FixedWindow::new(2_399).window(), 2_400);
        assert_eq!(FixedWindow::new(2_401).window(), 2_401);
        assert_eq!(FixedWindow::new(u32::MAX).window(), u32::MAX);
    }

    #[test]
    fn nothing_moves_it() {
        let mut fixed = FixedWindow::new(64_000);
        let controller: &mut dyn Controller = &mut fixed;
        let rtt = RttEstimator::new(Duration::from_millis(333));
        let (sent_at, now) = (Instant::from_micros(5), Instant::from_micros(80_005));
        controller.on_sent(sent_at, 1_200);
        controller.on_ack(now, sent_at, 1_200, false, &rtt);
        controller.on_congestion(now, sent_at, true);
        assert_eq!(controller.window(), 64_000);
    }
}
