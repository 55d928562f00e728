//! How much may be in flight, and how fast it may go: the seam for congestion controllers, and four of them.

mod cubic;
mod fixed;
mod in_flight;
mod model;
mod new_reno;

use bowline_core::Instant;

use crate::rtt::RttEstimator;

pub use cubic::Cubic;
pub use fixed::FixedWindow;
pub use in_flight::InFlight;
pub use model::PathModel;
pub use new_reno::NewReno;

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

    /// A packet of `bytes` was found lost. For controllers that measure; most answer to
    /// [`Self::on_congestion`] alone.
    fn on_lost(&mut self, _bytes: u32) {}

    /// A packet sent at `sent_at` that had been taken for lost was acknowledged after all: if it was among
    /// what the last answer was given to, that answer is taken back.
    fn on_spurious(&mut self, _sent_at: Instant) {}

    /// How fast packets may leave, in bytes per second, at least 1; `None`: as fast as the window allows.
    fn pacing_rate(&self, _rtt: &RttEstimator) -> Option<u64> {
        None
    }

    /// How many bytes may be in flight, at least [`WINDOW_MIN`].
    ///
    /// May shrink below what is in flight; then nothing but probes goes out until that fits.
    fn window(&self) -> u32;
}

/// The window of a new session: ten datagrams, or what is nearest to that in 14,720 bytes (RFC 9002
/// section 7.2).
#[must_use]
pub const fn initial_window(datagram: u16) -> u32 {
    let datagram = datagram as u32;
    let few = if 2 * datagram > 14_720 { 2 * datagram } else { 14_720 };
    let window = if 10 * datagram < few { 10 * datagram } else { few };
    if window < WINDOW_MIN { WINDOW_MIN } else { window }
}

/// `bytes` in each `span` as a rate, in bytes per second, at least 1.
fn rate_of(bytes: u64, span: bowline_core::Duration) -> u64 {
    let micros = span.as_micros().max(1);
    bytes.saturating_mul(1_000_000).checked_div(micros).unwrap_or(0).max(1)
}
