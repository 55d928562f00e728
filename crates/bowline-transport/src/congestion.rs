//! How much may be in flight: the seam for congestion controllers, and the simplest one.

mod fixed;
mod in_flight;

use bowline_core::Instant;

use crate::rtt::RttEstimator;

pub use fixed::FixedWindow;
pub use in_flight::InFlight;

/// The least window of any controller, in bytes: two datagrams of 1200 (`kMinimumWindow`, RFC 9002
/// section 7.2). With less, a lost datagram could only be noticed by a probe.
pub const WINDOW_MIN: u32 = 2 * 1200;

/// Decides how many bytes of one session the network may hold at once.
///
/// It is told what happens to packets that count as in flight (RFC 9002 section 2: those that ask
/// for an acknowledgement, and those padded), and never of others. Bytes are whole datagrams as
/// handed to the socket. What is in flight is counted beside it, by [`InFlight`].
///
/// On an acknowledgement report losses first ([`Self::on_congestion`], once for all that it
/// proves), then each acknowledged packet ([`Self::on_ack`]).
pub trait Controller {
    /// A packet of `bytes` went out at `now`.
    fn on_sent(&mut self, now: Instant, bytes: u32);

    /// A packet of `bytes` sent at `sent_at` was newly acknowledged at `now`.
    ///
    /// `app_limited`: the application, not the window, bounded what was in flight when the packet
    /// was sent, so that its arrival does not prove room for more (RFC 9002 section 7.8). `rtt`
    /// includes the sample that the acknowledgement gave.
    fn on_ack(
        &mut self,
        now: Instant,
        sent_at: Instant,
        bytes: u32,
        app_limited: bool,
        rtt: &RttEstimator,
    );

    /// Packets were found lost, or the peer reported congestion marks, at `now`.
    ///
    /// `sent_at` is when the latest of these packets was sent; a controller answers once to all
    /// that was sent before its last answer (RFC 9002 section 7.3.2). `persistent`: everything of
    /// [`persistent_congestion_after`](crate::loss::persistent_congestion_after) was lost.
    ///
    /// A lost path MTU probe is no congestion and not reported (RFC 8899 section 3).
    fn on_congestion(&mut self, now: Instant, sent_at: Instant, persistent: bool);

    /// How many bytes may be in flight, at least [`WINDOW_MIN`].
    ///
    /// May shrink below what is in flight; then nothing but probes goes out until that fits.
    fn window(&self) -> u32;
}
