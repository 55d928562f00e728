//! How large a packet may be on this path: search by probes, and fall back when large ones vanish
//! ([RFC 8899]).
//!
//! [RFC 8899]: https://www.rfc-editor.org/rfc/rfc8899

use bowline_core::{Duration, Instant};

/// Of one size so many probes are lost before it is taken for too large, and in so many round trips
/// all large packets before the path is taken for a black hole (`MAX_PROBES`, RFC 8899 section 5.1.2).
pub const PROBES_MAX: u8 = 3;

/// After how long a finished search is repeated, as the path may have changed
/// (`PMTU_RAISE_TIMER`, RFC 8899 section 5.1.1).
pub const RAISE_AFTER: Duration = Duration::from_secs(600);

/// A probe is waited for at least so long (`PROBE_TIMER`, RFC 8899 section 5.1.1).
pub const PROBE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// A search ends when it could gain less than so many bytes.
pub const GAIN_MIN: u16 = 16;

/// Finds the largest packet size that a path carries, between a base that it must and a ceiling.
///
/// All sizes are those of whole packets in bytes, without the headers of UDP and IP. To drive it:
///
/// 1. ask [`Self::poll_probe`] whenever the path is in use, and at [`Self::poll_timeout`]. It names
///    the size of a probe: a packet that asks for an acknowledgement and is padded to that size, but
///    carries nothing that would have to be sent again. Once it went out: [`Self::on_probe_sent`];
/// 2. report every packet that is acknowledged to [`Self::on_acked`], those lost to
///    [`Self::on_lost`], a probe that is lost to [`Self::on_probe_lost`] (and to no congestion
///    controller: it says nothing of congestion), and to [`Self::on_stalled`] each time that nothing
///    at all was acknowledged for a probe timeout;
/// 3. build packets of up to [`Self::packet_max`], which those inputs may change: each returns
///    the new one. What was sent in larger packets and is lost is to be cut anew.
///
/// The ceiling is tried first, since most often the path carries what its first link does. Then each
/// probe halves what is unknown. One probe is in flight at a time.
///
/// A packet is to be reported lost only if a later one was acknowledged, as RFC 9002 has it: so the
/// path was alive, and large packets that are lost in one round trip after the other are lost for
/// their size. The base is used again, and a search begins for something smaller than what vanished. If
/// that vanishes too, the base it is until the next search in [`RAISE_AFTER`]: a peer that acknowledges
/// what never arrived gets a few large packets that do not arrive either.
///
/// There is no timer that confirms the size (`CONFIRMATION_TIMER`), since acknowledgements do, and no
/// state for a path that does not even carry the base: which one it must is configuration.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathMtu {
    base: u16,
    ceiling: u16,
    /// The largest size known to pass, between them.
    passes: u16,
    /// The least size taken for too large; the ceiling and one more if there is none.
    too_large: u16,
    /// How many probes of one size were lost.
    tries: u8,
    /// Since this search began, what had passed vanished.
    has_fallen: bool,
    phase: Phase,
    suspicion: Suspicion,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    /// The next probe can be sent.
    Searching,
    /// A probe of that size is in flight, and lost if nothing is heard of it.
    Probing { size: u16, until: Instant },
    /// Nothing to be found until then.
    Settled { until: Instant },
}

/// Losses that may be due to size.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Suspicion {
    /// In so many round trips large packets were lost, and none passed.
    rounds: u8,
    /// The smallest of them.
    size: u16,
    /// When the latest of these round trips began: what was sent before belongs to an earlier one.
    since: Instant,
}

impl Suspicion {
    const NONE: Self = Self { rounds: 0, size: u16::MAX, since: Instant::ZERO };
}

impl PathMtu {
    /// Begins with `base`, and looks for more up to `ceiling` at once.
    ///
    /// With a `ceiling` of `base` or less nothing is ever probed. `u16::MAX` counts as one less.
    #[must_use]
    pub const fn new(base: u16, ceiling: u16) -> Self {
        let ceiling = if ceiling < base { base } else { ceiling };
        Self {
            base,
            ceiling,
            passes: base,
            too_large: ceiling.saturating_add(1),
            tries: 0,
            has_fallen: false,
            phase: Phase::Searching,
            suspicion: Suspicion::NONE,
        }
    }

    /// How large packets may be now, in bytes.
    #[inline]
    pub const fn packet_max(&self) -> u16 {
        self.passes
    }

    /// The size of a probe to be sent now, if there is one.
    ///
    /// The same answer is given until [`Self::on_probe_sent`].
    pub fn poll_probe(&mut self, now: Instant) -> Option<u16> {
        match self.phase {
            Phase::Searching => {}
            Phase::Probing { size, until } if until <= now => self.on_probe_lost(size),
            Phase::Settled { until } if until <= now => self.restart(),
            Phase::Probing { .. } | Phase::Settled { .. } => return None,
        }
        let next = self.next_size();
        if next.is_none() {
            self.phase = Phase::Settled { until: now + RAISE_AFTER };
        }
        next
    }

    /// When to ask [`Self::poll_probe`] again, if nothing happens before.
    ///
    /// `None` if there will never be a probe; `Instant::ZERO` if one can be sent at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            _ if self.base == self.ceiling => None,
            Phase::Searching => Some(Instant::ZERO),
            Phase::Probing { until, .. } | Phase::Settled { until } => Some(until),
        }
    }

    /// The probe that [`Self::poll_probe`] named went out at `now`; an acknowledgement takes
    /// `timeout` at most, as far as anybody knows.
    pub fn on_probe_sent(&mut self, now: Instant, timeout: Duration) {
        if self.phase == Phase::Searching
            && let Some(size) = self.next_size()
        {
            self.phase = Phase::Probing { size, until: now + timeout.max(PROBE_TIMEOUT_MIN) };
        }
    }

    /// A packet of `size`, a probe or not, was newly acknowledged. The new maximum, if that changed it.
    #[must_use]
    pub fn on_acked(&mut self, size: u16) -> Option<u16> {
        if size >= self.suspicion.size {
            self.suspicion = Suspicion::NONE;
        }
        // Only a probe is larger than the maximum, unless it was sent before a fall.
        let Phase::Probing { size: probed, .. } = self.phase else { return None };
        if probed != size {
            return None;
        }
        (self.passes, self.tries, self.phase) = (size, 0, Phase::Searching);
        Some(size)
    }

    /// A probe of `size` was lost.
    pub fn on_probe_lost(&mut self, size: u16) {
        let Phase::Probing { size: probed, .. } = self.phase else { return };
        if probed != size {
            return;
        }
        self.phase = Phase::Searching;
        self.tries = self.tries.saturating_add(1);
        if self.tries >= PROBES_MAX {
            (self.tries, self.too_large) = (0, size);
        }
    }

    /// A packet of `size` that was no probe, sent at `sent_at`, was found lost at `now`. The new
    /// maximum, if that changed it.
    #[must_use]
    pub fn on_lost(&mut self, now: Instant, sent_at: Instant, size: u16) -> Option<u16> {
        if sent_at < self.suspicion.since {
            // Of this round trip it is known; but it may be smaller.
            if self.is_suspect(size) && self.suspicion.rounds > 0 {
                self.suspicion.size = self.suspicion.size.min(size);
            }
            return None;
        }
        self.suspect(now, size)
    }

    /// Nothing was acknowledged for a probe timeout, and the packet that waits longest has `size`. The
    /// new maximum, if that changed it.
    ///
    /// Where all that is in flight is too large, nothing proves anything lost.
    #[must_use]
    pub fn on_stalled(&mut self, now: Instant, size: u16) -> Option<u16> {
        self.suspect(now, size)
    }

    /// The base passes by definition, and what is larger than the maximum was sent before a fall.
    fn is_suspect(&self, size: u16) -> bool {
        size > self.base && size <= self.passes
    }

    fn suspect(&mut self, now: Instant, size: u16) -> Option<u16> {
        if !self.is_suspect(size) {
            return None;
        }
        let Suspicion { rounds, size: smallest, .. } = self.suspicion;
        let size = smallest.min(size);
        self.suspicion = Suspicion { rounds: rounds.saturating_add(1), size, since: now };
        if self.suspicion.rounds < PROBES_MAX {
            return None;
        }
        (self.passes, self.too_large, self.tries) = (self.base, size, 0);
        self.phase = if core::mem::replace(&mut self.has_fallen, true) {
            Phase::Settled { until: now + RAISE_AFTER }
        } else {
            Phase::Searching
        };
        self.suspicion = Suspicion { since: now, ..Suspicion::NONE };
        Some(self.base)
    }

    /// Everything up to the ceiling may pass by now.
    fn restart(&mut self) {
        (self.tries, self.has_fallen, self.phase) = (0, false, Phase::Searching);
        self.too_large = self.ceiling.saturating_add(1);
    }

    fn next_size(&self) -> Option<u16> {
        if self.too_large > self.ceiling {
            return Some(self.ceiling).filter(|&ceiling| ceiling > self.passes);
        }
        let unknown = self.too_large.saturating_sub(self.passes);
        (unknown > GAIN_MIN).then(|| self.passes.saturating_add(unknown / 2))
    }
}

#[cfg(test)]
mod tests;
