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
            let grace = if cfg!(bowline_mutant = "no_grace") { Duration::ZERO } else { GRACE };
            self.stalled += (now - expected).saturating_sub(grace);
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
    /// Filler for memory that is not in use.
    pub const UNUSED: Self = Self {
        heard: Instant::ZERO,
        eliciting_sent: Instant::ZERO,
        idle_timeout_ms: 0,
        keep_alive_ms: 0,
    };

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
        self.heard = attended;
    }

    /// A packet that the peer must answer was sent at the real time `now`, so no ping is needed
    /// for an interval.
    pub fn on_eliciting_sent(&mut self, now: Instant) {
        self.eliciting_sent = now;
    }

    /// When such a packet was sent last, or the session began.
    pub const fn eliciting_sent(&self) -> Instant {
        self.eliciting_sent
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

    /// The longest time without anything that the peer must answer.
    pub fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms.into())
    }

    fn dead_at(&self) -> Instant {
        self.heard + Duration::from_millis(self.idle_timeout_ms.into())
    }

    fn ping_at(&self) -> Instant {
        self.eliciting_sent + self.keep_alive()
    }
}

fn saturated(millis: u64) -> u32 {
    u32::try_from(millis).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_micros(7_000_000_000);
    const IDLE: Duration = Duration::from_secs(10);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(since_start: u64) -> Instant {
        START + millis(since_start)
    }

    fn started() -> CallerClock {
        let mut clock = CallerClock::new();
        clock.observe(START, None);
        clock
    }

    fn peer_heard_at_start() -> Liveness {
        Liveness::new(START, IDLE, keep_alive_for(IDLE, IDLE))
    }

    #[test]
    fn time_before_the_first_call_is_no_absence() {
        assert_eq!(started().attended(START), START);
    }

    #[test]
    fn time_that_goes_backwards_stands_still() {
        let mut clock = started();
        assert_eq!(clock.observe(Instant::ZERO, Some(Instant::ZERO)), START);
        assert_eq!(clock.observe(after(1), Some(Instant::ZERO)), after(1));
        assert_eq!(clock.stalled(), Duration::ZERO);
    }

    #[test]
    fn a_long_sleep_to_the_deadline_is_attended() {
        let mut clock = started();
        clock.observe(after(3_600_000), Some(after(3_600_000)));
        assert_eq!(clock.attended(after(3_600_000)), after(3_600_000));
    }

    #[test]
    fn lateness_beyond_the_grace_is_absence() {
        let mut clock = started();
        clock.observe(after(1_250), Some(after(1_000)));
        assert_eq!(clock.stalled(), Duration::ZERO);
        clock.observe(after(31_250), Some(after(2_250)));
        assert_eq!(clock.stalled(), millis(29_000 - 250));
        assert_eq!(clock.attended(after(31_250)), after(2_500));
        assert_eq!(clock.real(after(2_500)), after(31_250));
    }

    #[test]
    fn a_deadline_missed_long_ago_counts_from_the_last_call() {
        let mut clock = started();
        clock.observe(after(200), Some(Instant::ZERO));
        clock.observe(after(400), Some(Instant::ZERO));
        assert_eq!(clock.stalled(), Duration::ZERO);
        clock.observe(after(900), Some(Instant::ZERO));
        assert_eq!(clock.stalled(), millis(250));
    }

    #[test]
    fn a_gap_in_which_nothing_was_awaited_is_absence() {
        let mut clock = started();
        clock.observe(after(30_000), None);
        assert_eq!(clock.attended(after(30_000)), after(250));
    }

    #[test]
    fn attended_time_stands_still_between_suspend_and_resume() {
        let mut clock = started();
        clock.suspend();
        clock.observe(after(100), Some(after(5_000)));
        clock.resume(after(9_000));
        assert_eq!(clock.attended(after(9_000)), START);
        clock.observe(after(9_100), Some(after(9_100)));
        assert_eq!(clock.attended(after(9_100)), after(100));
    }

    #[test]
    fn a_resume_that_nobody_waited_for_does_nothing() {
        let mut clock = started();
        clock.resume(after(9_000));
        assert_eq!(clock, started());
        clock.observe(after(9_000), Some(after(9_000)));
        assert_eq!(clock.attended(after(9_000)), after(9_000));
    }

    #[test]
    fn silence_for_the_idle_timeout_is_death_and_not_sooner() {
        let mut peer = peer_heard_at_start();
        peer.on_heard(after(500));
        assert!(!peer.poll_dead(after(10_499)));
        assert!(peer.poll_dead(after(10_500)));
    }

    #[test]
    fn a_ping_is_due_a_third_of_the_timeout_after_the_last_question() {
        let mut peer = peer_heard_at_start();
        assert!(!peer.poll_ping(after(3_332)));
        assert!(peer.poll_ping(after(3_333)));
        peer.on_eliciting_sent(after(3_333));
        assert!(!peer.poll_ping(after(6_665)));
        // Hearing the peer says nothing of whether it hears us.
        peer.on_heard(after(6_665));
        assert!(peer.poll_ping(after(6_666)));
    }

    #[test]
    fn the_shorter_timeout_sets_the_pace() {
        assert_eq!(keep_alive_for(millis(900), millis(30_000)), millis(300));
        assert_eq!(keep_alive_for(millis(30_000), millis(900)), millis(300));
    }

    #[test]
    fn no_announced_timeout_makes_pings_a_flood() {
        let hasty = keep_alive_for(IDLE, Duration::ZERO);
        let mut peer = Liveness::new(START, IDLE, hasty);
        peer.on_eliciting_sent(START);
        assert!(!peer.poll_ping(after(9)));
        assert!(peer.poll_ping(after(10)));
    }

    #[test]
    fn the_deadline_is_the_earlier_of_ping_and_death() {
        let mut clock = started();
        let mut peer = peer_heard_at_start();
        assert_eq!(peer.deadline(&clock), after(3_333));
        peer.on_eliciting_sent(after(9_000));
        assert_eq!(peer.deadline(&clock), after(10_000));
        clock.suspend();
        clock.resume(after(1_000));
        assert_eq!(peer.deadline(&clock), after(11_000));
    }

    #[test]
    fn endless_timeouts_end_after_seven_weeks() {
        let peer = Liveness::new(START, Duration::MAX, Duration::MAX);
        assert!(!peer.poll_dead(START + Duration::from_secs(49 * 86_400)));
        assert!(!peer.poll_ping(START + Duration::from_secs(49 * 86_400)));
        assert!(peer.poll_dead(Instant::MAX));
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_given_to_the_peer() {
        let peer = Liveness::new(START, Duration::from_micros(100_001), millis(33));
        assert!(!peer.poll_dead(after(100)));
        assert!(peer.poll_dead(after(101)));
    }

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<Liveness>(), 24);
    }

    /// One endpoint with one peer. The peer answers each ping `answer_after` it was sent, or never;
    /// answers wait in the socket until the caller comes.
    struct Scene {
        clock: CallerClock,
        peer: Liveness,
        told: Instant,
        now: Instant,
        answer_after: Option<Duration>,
        on_their_way: Vec<Instant>,
    }

    impl Scene {
        fn new(idle: Duration, answer_after: Option<Duration>) -> Self {
            let clock = started();
            let peer = Liveness::new(clock.attended(START), idle, keep_alive_for(idle, idle));
            let told = peer.deadline(&clock);
            Self { clock, peer, told, now: START, answer_after, on_their_way: Vec::new() }
        }

        /// The caller comes at `now`, as a machine is driven; answers whether the peer is dead.
        fn visit(&mut self, now: Instant) -> bool {
            self.now = self.clock.observe(now, Some(self.told));
            let attended = self.clock.attended(self.now);
            if self.on_their_way.iter().any(|arrival| *arrival <= self.now) {
                self.peer.on_heard(attended);
            }
            self.on_their_way.retain(|arrival| *arrival > now);
            if self.peer.poll_ping(self.now) {
                self.peer.on_eliciting_sent(self.now);
                self.on_their_way.extend(self.answer_after.map(|span| self.now + span));
            }
            self.told = self.peer.deadline(&self.clock);
            self.peer.poll_dead(attended)
        }

        fn absence(&mut self, announced: bool, until: Instant) {
            if announced {
                self.clock.suspend();
                self.clock.resume(until);
            }
        }
    }

    /// Gaps of every size, between a microsecond and a minute.
    fn gap() -> impl Strategy<Value = Duration> {
        prop_oneof![1_u64..1_000, 1_000_u64..1_000_000, 1_000_000_u64..60_000_000]
            .prop_map(Duration::from_micros)
    }

    proptest! {
        /// The model adds up what each call earns.
        #[test]
        fn each_call_earns_the_sleep_it_was_allowed_and_a_grace(
            calls in prop::collection::vec((gap(), prop::option::of(gap()), any::<bool>()), 1..50),
        ) {
            let (mut clock, mut now, mut earned) = (started(), START, Duration::ZERO);
            for (gap, sleep, suspended) in calls {
                let due = sleep.map(|sleep| now + sleep);
                if suspended {
                    clock.suspend();
                    clock.resume(now + gap);
                } else {
                    earned += gap.min(sleep.unwrap_or(Duration::ZERO) + GRACE);
                }
                now = clock.observe(now + gap, due);
                prop_assert_eq!(clock.attended(now), START + earned);
                prop_assert_eq!(clock.real(clock.attended(now)), now);
            }
        }

        /// Whatever the caller does, a peer that answers a ping before the next one lives. (From
        /// one second on; see [`Liveness`].)
        #[test]
        fn no_absence_kills_a_peer_that_answers(
            idle in 1_000_u64..30_000,
            visits in prop::collection::vec((gap(), any::<bool>(), any::<bool>()), 1..200),
            promptness in 1_u64..=100,
        ) {
            let third = idle / 3;
            let slowest = third.min(2 * third - 250 - 2);
            let mut scene = Scene::new(millis(idle), Some(millis(slowest * promptness / 100)));
            for (gap, punctual, announced) in visits {
                let next = scene.now + gap;
                if punctual {
                    prop_assert!(!scene.visit(scene.told.min(next)));
                } else {
                    scene.absence(announced, next);
                    prop_assert!(!scene.visit(next));
                }
            }
        }

        /// A caller that is never later than the grace finds the dead in time.
        #[test]
        fn a_dead_peer_is_found_in_time_by_a_punctual_caller(
            idle in 100_u64..30_000,
            visits in prop::collection::vec((gap(), 0_u64..=250_000), 1..100),
        ) {
            let mut scene = Scene::new(millis(idle), None);
            for (gap, late) in visits.into_iter().cycle() {
                let latest = scene.told + Duration::from_micros(late);
                let dead = scene.visit(latest.min(scene.now + gap));
                prop_assert_eq!(dead, scene.now >= after(idle));
                if dead {
                    prop_assert!(scene.now <= after(idle) + GRACE);
                    break;
                }
            }
        }

        /// A caller that asks for no deadline but comes every frame needs a frame more.
        #[test]
        fn a_dead_peer_is_found_within_a_frame_by_a_caller_that_never_asks(
            idle in 100_u64..30_000, frame in 1_u64..=250,
        ) {
            let (mut clock, peer) = (started(), Liveness::new(START, millis(idle), millis(idle)));
            let mut now = START;
            while !peer.poll_dead(clock.attended(now)) {
                prop_assert!(now < after(idle));
                now = clock.observe(now + millis(frame), None);
            }
            prop_assert!(now >= after(idle));
        }

        /// Even a caller that is always late finds the dead: each call earns a grace.
        #[test]
        fn a_dead_peer_is_found_by_a_caller_that_is_always_late(
            idle in 100_u64..30_000, step in 251_u64..100_000,
        ) {
            let mut scene = Scene::new(millis(idle), None);
            let mut visits = 0;
            while !scene.visit(scene.now + millis(step)) {
                visits += 1;
                prop_assert!(visits <= idle / GRACE.as_millis());
            }
        }
    }
}
