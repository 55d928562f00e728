//! From the caller's clock to ENet's, which counts milliseconds in 32 bits.

use bowline_core::{Duration, Instant};
use bowline_wire::enet::Time;

/// Both clocks, as they stood when a host last looked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The caller's latest time.
    pub(crate) instant: Instant,
    /// The same, as ENet has it.
    pub(crate) now: Time,
    /// What ENet's clock shows at the beginning of the caller's, in milliseconds.
    offset: u32,
}

impl Clock {
    pub(crate) const fn new(offset: u32) -> Self {
        Self { instant: Instant::ZERO, now: Time::from_millis(offset), offset }
    }

    /// Time passes; never backwards.
    pub(crate) fn advance(&mut self, instant: Instant) {
        if instant > self.instant {
            self.instant = instant;
            self.now = Time::from_millis(self.offset) + (instant.as_micros() / 1_000) as u32;
        }
    }

    /// When the caller's clock will show `time`; the present if that is past.
    pub(crate) fn when(&self, time: Time) -> Instant {
        // Times that differ by more than a day are before each other; timers take them for the future.
        if !self.now.is_before(time) {
            return self.instant;
        }
        let ahead = time.as_millis().wrapping_sub(self.now.as_millis());
        let whole = Instant::from_micros(self.instant.as_micros() / 1_000 * 1_000);
        whole + Duration::from_millis(ahead.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_wraps_and_time_goes_on() {
        let mut clock = Clock::new(u32::MAX - 9);
        let before = clock.now;
        clock.advance(Instant::from_micros(20_999));
        assert_eq!(clock.now, Time::from_millis(10));
        assert!(before.is_before(clock.now));
        assert_eq!(clock.when(Time::from_millis(15)), Instant::from_micros(25_000));
        assert_eq!(clock.when(before), Instant::from_micros(20_999));
        let far = Time::from_millis(10 + 3_000_000_000);
        assert_eq!(clock.when(far), Instant::from_micros(3_000_000_020_000));
    }
}
