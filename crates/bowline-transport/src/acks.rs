//! When to acknowledge.

use bowline_core::{Duration, Instant};

/// How many ack-eliciting packets are answered at once, however little time has passed.
pub const ELICITING_MAX: u8 = 4;

/// One unit of [`AckSchedule::delay_code`].
pub const DELAY_UNIT: Duration = Duration::from_micros(250);

/// The largest [`AckSchedule::delay_code`], which also stands for all longer delays.
pub const DELAY_CODE_MAX: u8 = 127;

/// When an ack is due for the packets that arrived, and how long the largest has waited for it.
///
/// Tell it of every packet that was accepted ([`Self::on_packet`]), and of every ack block that
/// goes out ([`Self::on_sent`]). Send an ack by itself at [`Self::due`], and along with anything
/// else that goes out while one is [`Self::pending`].
#[derive(Clone, Copy, Debug)]
pub struct AckSchedule {
    /// When the largest packet number arrived.
    largest_at: Instant,
    /// When the oldest eliciting packet that was not acknowledged must be; [`Instant::MAX`] if there is
    /// none, which takes half the room of an `Option`.
    due: Instant,
    /// Eliciting packets since the last ack, [`ELICITING_MAX`] at most.
    eliciting: u8,
}

impl Default for AckSchedule {
    fn default() -> Self {
        Self::new()
    }
}

impl AckSchedule {
    /// Nothing has arrived.
    pub const fn new() -> Self {
        Self { largest_at: Instant::ZERO, due: Instant::MAX, eliciting: 0 }
    }

    /// A packet was accepted.
    ///
    /// `eliciting` if it asks for an ack, `in_order` if its number was the expected one,
    /// `is_largest` if no larger one came before; `max_delay` is how long this side promised to
    /// withhold an ack at most. A packet that asks for none never makes one due, whatever
    /// its number: else two sides could acknowledge each other's acks for ever.
    #[inline]
    pub fn on_packet(
        &mut self,
        now: Instant,
        eliciting: bool,
        in_order: bool,
        is_largest: bool,
        max_delay: Duration,
    ) {
        if is_largest {
            self.largest_at = now;
        }
        if !eliciting {
            return;
        }
        self.eliciting = self.eliciting.saturating_add(1).min(ELICITING_MAX);
        let many = ELICITING_MAX + u8::from(cfg!(bowline_mutant = "late_acks"));
        let at = if in_order && self.eliciting < many { now + max_delay } else { Instant::ZERO };
        self.due = self.due.min(at);
    }

    /// An ack block went out, alone or along with other frames.
    #[inline]
    pub fn on_sent(&mut self) {
        self.due = Instant::MAX;
        self.eliciting = 0;
    }

    /// When an ack has to be sent even if there is nothing else to send; [`Instant::ZERO`] means
    /// at once.
    #[inline]
    pub fn due(&self) -> Option<Instant> {
        self.pending().then_some(self.due)
    }

    /// Whether anything that asks for an ack arrived since the last one, so that one is worth its
    /// bytes in a packet that is sent anyway. What asks for none is not kept by its sender, who would
    /// learn nothing.
    #[inline]
    pub fn pending(&self) -> bool {
        self.due < Instant::MAX
    }

    /// How long the packet with the largest number has been here. Meaningless before any was.
    pub const fn delay(&self, now: Instant) -> Duration {
        now.saturating_since(self.largest_at)
    }

    /// [`Self::delay`] in units of 250 µs, rounded down, in `0..=127`.
    pub fn delay_code(&self, now: Instant) -> u8 {
        let units = self.delay(now).as_micros() / DELAY_UNIT.as_micros();
        units.min(u64::from(DELAY_CODE_MAX)) as u8
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_millis(8);

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn an_ack_waits_for_more_packets_but_not_long() {
        let mut acks = AckSchedule::new();
        assert!(!acks.pending());
        acks.on_packet(at(100), true, true, true, DELAY);
        acks.on_packet(at(5_000), true, true, true, DELAY);
        assert_eq!(acks.due(), Some(at(8_100)), "counted from the first one");
        assert!(acks.pending());
        acks.on_sent();
        assert_eq!(acks.due(), None);
        assert!(!acks.pending());
    }

    #[test]
    fn every_fourth_eliciting_packet_is_answered_at_once() {
        let mut acks = AckSchedule::new();
        for round in 0..3 {
            for n in 1..=4 {
                acks.on_packet(at(round * 10 + n), true, true, true, DELAY);
                assert_eq!(acks.due() == Some(Instant::ZERO), n == 4);
            }
            acks.on_sent();
        }
    }

    #[test]
    fn disorder_is_answered_at_once() {
        let mut acks = AckSchedule::new();
        acks.on_packet(at(10), true, true, true, DELAY);
        acks.on_packet(at(20), true, false, true, DELAY);
        assert_eq!(acks.due(), Some(Instant::ZERO));
        acks.on_packet(at(30), true, true, true, DELAY);
        assert_eq!(acks.due(), Some(Instant::ZERO), "and stays due");
    }

    #[test]
    fn acks_alone_are_never_acknowledged() {
        let mut acks = AckSchedule::new();
        for n in 0..40 {
            acks.on_packet(at(n), false, n % 3 == 0, true, DELAY);
        }
        assert_eq!(acks.due(), None);
        assert!(!acks.pending(), "nor does an ack ride along");
    }

    #[test]
    fn the_delay_is_that_of_the_largest() {
        let mut acks = AckSchedule::new();
        acks.on_packet(at(1_000), true, true, true, DELAY);
        acks.on_packet(at(2_000), true, false, false, DELAY);
        assert_eq!(acks.delay(at(2_249)), Duration::from_micros(1_249));
        assert_eq!(acks.delay_code(at(2_249)), 4);
        assert_eq!(acks.delay_code(at(2_250)), 5);
        assert_eq!(acks.delay_code(at(1_000 + 31_749)), 126);
        assert_eq!(acks.delay_code(at(1_000 + 31_750)), 127);
        assert_eq!(acks.delay_code(Instant::MAX), 127);
        assert_eq!(acks.delay_code(at(0)), 0, "a clock that went back");
    }

    proptest! {
        /// The packets since the last ack, written down, tell when the next one is due.
        #[test]
        fn agrees_with_a_list_of_packets(
            ops in prop::collection::vec((0u64..9_000, any::<bool>(), any::<bool>(), 0u8..8), 0..80),
        ) {
            let mut acks = AckSchedule::new();
            let mut waiting: Vec<(Instant, bool, bool)> = Vec::new();
            let mut now = Instant::ZERO;
            for (micros, eliciting, in_order, what) in ops {
                now = now + Duration::from_micros(micros);
                if what == 0 {
                    acks.on_sent();
                    waiting.clear();
                } else {
                    acks.on_packet(now, eliciting, in_order, in_order, DELAY);
                    waiting.push((now, eliciting, in_order));
                }
                let asking = waiting.iter().filter(|packet| packet.1);
                let at_once = asking.clone().any(|packet| !packet.2) || asking.clone().count() >= 4;
                let due = asking.map(|packet| packet.0 + DELAY).min();
                prop_assert_eq!(acks.due(), due.map(|due| if at_once { Instant::ZERO } else { due }));
                prop_assert_eq!(acks.pending(), due.is_some());
            }
        }
    }
}
