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
#[derive(Clone, Copy, Debug, Default)]
pub struct AckSchedule {
    /// When the largest packet number arrived.
    largest_at: Instant,
    /// When the oldest eliciting packet that was not acknowledged must be.
    due: Option<Instant>,
    /// Eliciting packets since the last ack, [`ELICITING_MAX`] at most.
    eliciting: u8,
    pending: bool,
}

impl AckSchedule {
    /// Nothing has arrived.
    pub const fn new() -> Self {
        Self { largest_at: Instant::ZERO, due: None, eliciting: 0, pending: false }
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
        self.pending = true;
        if is_largest {
            self.largest_at = now;
        }
        if !eliciting {
            return;
        }
        self.eliciting = self.eliciting.saturating_add(1).min(ELICITING_MAX);
        let at = if in_order && self.eliciting < ELICITING_MAX {
            now + max_delay
        } else {
            Instant::ZERO
        };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// An ack block went out, alone or along with other frames.
    #[inline]
    pub fn on_sent(&mut self) {
        self.due = None;
        self.eliciting = 0;
        self.pending = false;
    }

    /// When an ack has to be sent even if there is nothing else to send; [`Instant::ZERO`] means
    /// at once.
    #[inline]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether anything arrived since the last ack, so that one is worth its bytes in a packet
    /// that is sent anyway.
    #[inline]
    pub const fn pending(&self) -> bool {
        self.pending
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
