//! Who is dead and when to ping, against two clocks kept by hand.

use bowline_core::{Duration, Instant};
use bowline_transport::liveness::{CallerClock, GRACE, KEEP_ALIVE_MIN, Liveness, keep_alive_for};

use crate::feed::Feed;

/// A caller that comes when it likes, is away with and without notice, and a peer that is heard or not.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let millis = |feed: &mut Feed<'_>| Duration::from_millis(u64::from(feed.u16()));
    let (own, theirs) = (millis(&mut feed), millis(&mut feed));
    let interval = keep_alive_for(own, theirs);
    assert_eq!(interval.as_micros(), own.as_micros().min(theirs.as_micros()) / 3);
    let mut now = Instant::from_micros(1 + (feed.sized() >> 24));
    let mut clock = CallerClock::new();
    now = clock.observe(now, None);
    let start = clock.attended(now);
    let mut life = Liveness::new(start, own, interval);
    let keep_alive = interval.max(KEEP_ALIVE_MIN).as_millis();
    assert_eq!(life.keep_alive().as_millis(), keep_alive);
    // The model: attended time passes unless the caller was away.
    let (mut attended, mut heard, mut pinged) = (start, start, start);
    let mut suspended = false;
    while !feed.is_empty() {
        match feed.u8() % 6 {
            0 => {
                life.on_heard(clock.attended(now));
                heard = attended;
            }
            1 => {
                life.on_eliciting_sent(now);
                pinged = now;
            }
            2 => {
                clock.suspend();
                suspended = true;
            }
            3 => {
                let back = now + millis(&mut feed);
                clock.resume(back);
                if suspended {
                    // Nothing of it was attended.
                    (now, suspended) = (back, false);
                }
            }
            _ => {
                let due = (feed.u8() & 3 != 0).then(|| life.deadline(&clock));
                let span = Duration::from_micros(u64::from(feed.u16()) << feed.below(12));
                let came =
                    if feed.u8() & 15 == 0 { now.saturating_before(span) } else { now + span };
                let expected = due.map_or(now, |due| due.max(now));
                let then = clock.observe(came, due);
                assert_eq!(then, came.max(now), "time goes on");
                let late = then.saturating_since(expected).saturating_sub(GRACE);
                let passed = then.saturating_since(now).saturating_sub(late);
                attended = if suspended { attended } else { attended + passed };
                now = then;
            }
        }
        assert_eq!(clock.attended(now), attended, "at {now:?}");
        assert!(clock.real(clock.attended(now)) == now);
        let idle = own.as_micros().div_ceil(1_000);
        let dead = attended.saturating_since(heard).as_millis() >= idle;
        assert_eq!(life.poll_dead(attended), dead, "{own:?} of silence");
        let due = now.saturating_since(pinged).as_millis() >= keep_alive;
        assert_eq!(life.poll_ping(now), due);
        // Who comes at the deadline finds something to do.
        let deadline = life.deadline(&clock);
        assert_eq!(deadline <= now, dead || due, "{deadline:?} at {now:?}");
    }
}
