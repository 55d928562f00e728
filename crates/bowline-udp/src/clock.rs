//! The one place where a clock is read.

use bowline_core::{Duration, Instant};

/// Microseconds since this clock was made, by the monotonic clock of the system.
///
/// Starts just after [`Instant::ZERO`], so that zero stays free to mean "at once". A copy tells
/// the same time; another clock does not, so stamp everything one machine sees by copies of one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { epoch: std::time::Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.at(std::time::Instant::now())
    }

    /// What this clock showed, or will show, at `instant`; its first reading for anything before
    /// it was made.
    pub fn at(&self, instant: std::time::Instant) -> Instant {
        FIRST + Duration::from(instant.saturating_duration_since(self.epoch))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

const FIRST: Instant = Instant::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_starts_after_zero_and_never_goes_back() {
        let clock = Clock::new();
        let first = clock.now();
        assert!(first > Instant::ZERO);
        assert!(clock.now() >= first);
        let before = clock.epoch - core::time::Duration::from_millis(1);
        assert_eq!(clock.at(before), FIRST);
    }

    #[test]
    fn copies_tell_the_same_time() {
        let clock = Clock::new();
        let copy = clock;
        let later = clock.epoch + core::time::Duration::from_micros(1_234_567);
        assert_eq!(clock.at(later), Instant::from_micros(1_234_568));
        assert_eq!(copy.at(later), clock.at(later));
    }
}
