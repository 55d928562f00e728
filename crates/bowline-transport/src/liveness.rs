//! Whether a peer is alive, judged only by time in which it could have been heard.
//!
//! A caller that loads a level, sits at a breakpoint or sleeps with its laptop's lid closed reads
//! no datagrams. When it is back, silence during its own absence proves nothing of its peers, so
//! an endpoint keeps a [`CallerClock`] that (almost) stands still meanwhile, and each session a
//! [`Liveness`] that counts silence by that clock.

use bowline_core::{Duration, Instant};

/// How late a caller may come before the rest of its lateness counts as absence.
///
/// More than any frame or tick of an application that runs well.
pub const GRACE: Duration = Duration::from_millis(250);

/// The shortest interval of keep-alives, whatever idle timeout a peer announces.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_millis(10);

/// How long the caller has attended to its endpoint: one per endpoint.
///
/// Two clocks are told apart. *Real* time is what the caller supplies. *Attended* time is real
/// time without the caller's absences; it never runs faster than real time and never backwards.
///
/// An absence is lateness above [`GRACE`]: the time since the caller was to come again (the
/// deadline it was told, though not before its last call), without the first 250 ms. These still
/// count as attended, so that even for a caller that is always late, attended time passes and the
/// dead are found in the end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CallerClock {
    last: Option<Instant>,
    stalled: Duration,
    suspended: bool,
}

impl CallerClock {
    /// A clock of a caller that has not come yet. Time before its first call is no absence.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None, stalled: Duration::ZERO, suspended: false }
    }

    /// The caller came at `now`, having been told to come by `due`. Answers the `now` to use from
    /// here on: a time before the last call is taken for that of the last call.
    ///
    /// Call it at every entry that brings a time. `due` is what the last `poll_timeout`
    /// *answered*, even if the application has made something due earlier since: a caller that
    /// slept until the deadline it was told, and then sent a message, was not late. `None`, which
    /// is also right for a caller that has never asked, makes any long gap an absence: nobody
    /// waited for anything in it, or nobody knows.
    pub fn observe(&mut self, now: Instant, due: Option<Instant>) -> Instant {
        let last = self.last.unwrap_or(now);
        let now = now.max(last);
        if self.suspended {
            self.stalled += now - last;
        } else {
            let expected = due.map_or(last, |due| due.max(last));
            self.stalled += (now - expected).saturating_sub(GRACE);
        }
        self.last = Some(now);
        now
    }

    /// The caller announces that it will be away: attended time stands still from its last call
    /// until [`Self::resume`].
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// The caller is back at `now`. Does nothing unless it had announced its absence.
    pub fn resume(&mut self, now: Instant) {
        if self.suspended {
            self.observe(now, None);
            self.suspended = false;
        }
    }

    /// The attended time at the real time `now`, which [`Self::observe`] has answered.
    pub fn attended(&self, now: Instant) -> Instant {
        now.saturating_before(self.stalled)
    }

    /// The real time at which it will be `attended`, if the caller is punctual from now on.
    pub fn real(&self, attended: Instant) -> Instant {
        attended + self.stalled
    }

    /// The sum of the caller's absences.
    pub fn stalled(&self) -> Duration {
        self.stalled
    }
}

/// The interval of keep-alives between two sides of these idle timeouts: a third of the shorter, so
/// that one and its answer may be lost and the next still be in time.
#[must_use]
pub const fn keep_alive_for(own: Duration, peer: Duration) -> Duration {
    let (own, peer) = (own.as_micros(), peer.as_micros());
    Duration::from_micros(if own < peer { own / 3 } else { peer / 3 })
}

/// Declares one silent peer dead and keeps the session alive at the peer, in 24 bytes.
///
/// Silence is counted in attended time, so that the caller's absence kills nobody; the pings that
/// keep this side alive at the peer are due in real time, because the peer's clock runs on.
///
/// Handle every datagram that has arrived before asking [`Self::poll_dead`]. Idle timeouts below
/// twice [`GRACE`] hold only for a caller that is punctual to a fraction of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Liveness {
    /// In attended time.
    heard: Instant,
    /// In real time.
    eliciting_sent: Instant,
    idle_timeout_ms: u32,
    keep_alive_ms: u32,
}

impl Liveness {
    /// A peer heard just now, at `now_attended`.
    ///
    /// Kept in whole milliseconds below 49 days: `idle_timeout` rounded up, `keep_alive` down but
    /// at least [`KEEP_ALIVE_MIN`]. Until [`Self::on_eliciting_sent`] is called, the first ping is
    /// due `keep_alive` after `now_attended`; if the caller has been absent before, that may have
    /// passed already.
    #[must_use]
    pub fn new(now_attended: Instant, idle_timeout: Duration, keep_alive: Duration) -> Self {
        Self {
            heard: now_attended,
            eliciting_sent: now_attended,
            idle_timeout_ms: saturated(idle_timeout.as_micros().div_ceil(1_000)),
            keep_alive_ms: saturated(keep_alive.max(KEEP_ALIVE_MIN).as_millis()),
        }
    }

    /// A packet of the peer was accepted at the attended time `attended`.
    ///
    /// Only one that passed the session's integrity check, or anyone can keep the dead alive.
    pub fn on_heard(&mut self, attended: Instant) {
        self.heard = self.heard.max(attended);
    }

    /// A packet that the peer must answer was sent at the real time `now`, so no ping is needed
    /// for an interval.
    pub fn on_eliciting_sent(&mut self, now: Instant) {
        self.eliciting_sent = self.eliciting_sent.max(now);
    }

    /// Whether the peer has been silent for the idle timeout at the attended time `attended`.
    pub fn poll_dead(&self, attended: Instant) -> bool {
        self.dead_at() <= attended
    }

    /// Whether a ping is due at the real time `now`: nothing that the peer must answer was sent
    /// for an interval. Stays due until [`Self::on_eliciting_sent`].
    pub fn poll_ping(&self, now: Instant) -> bool {
        self.ping_at() <= now
    }

    /// The real time at which either may be due, if nothing else happens.
    ///
    /// The caller's absences only ever make it later, so one computed before an absence is merely
    /// early.
    pub fn deadline(&self, clock: &CallerClock) -> Instant {
        clock.real(self.dead_at()).min(self.ping_at())
    }

    fn dead_at(&self) -> Instant {
        self.heard + Duration::from_millis(self.idle_timeout_ms.into())
    }

    fn ping_at(&self) -> Instant {
        self.eliciting_sent + Duration::from_millis(self.keep_alive_ms.into())
    }
}

fn saturated(millis: u64) -> u32 {
    u32::try_from(millis).unwrap_or(u32::MAX)
}
