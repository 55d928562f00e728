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
