//! What each member of a line keeps.

use core::num::{NonZeroU8, NonZeroU32};

use bowline_core::serial::ahead32;
use bowline_core::{Duration, Instant, Link, Slot};

use super::Class;

/// How much time unused budget is kept for: what a minimum or maximum brings in this time can go
/// at once.
///
/// A caller that comes less often gets less than a minimum or maximum allows.
pub const BURST: Duration = Duration::from_millis(100);

/// Something that can be in a [`Line`](super::Line).
pub trait Member: Slot {
    /// What it keeps of the line.
    fn share(&mut self) -> &mut Share;
}

/// Whether a member stands in the line, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    Out,
    In,
    /// Before its equals, until it has sent something.
    Urgent,
}

/// What a member of a [`Line`](super::Line) keeps: its class, its place, what it has had.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// From this instant on it may send.
    pub(super) max_at: Instant,
    /// From this instant on it is owed.
    pub(super) min_at: Instant,
    pub(super) next: Link,
    /// Bytes sent, times [`PER_BYTE`], divided by the weight; wraps, and means something only in
    /// comparison with its equals.
    pub(super) pass: u32,
    pub(super) rate_min: u32,
    pub(super) rate_max: u32,
    /// What `max_at` and `min_at` lack, in 2⁻¹⁶ µs.
    pub(super) max_part: u16,
    pub(super) min_part: u16,
    pub(super) priority: u8,
    pub(super) weight: NonZeroU8,
    pub(super) standing: Standing,
    /// A minimum was served before it when it was first.
    pub(super) passed: bool,
}

impl Share {
    /// Not in the line.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        Self {
            max_at: Instant::ZERO,
            min_at: Instant::ZERO,
            next: Link::NONE,
            pass: 0,
            rate_min: if cfg!(bowline_mutant = "ignore_minimum") { 0 } else { class.rate_min },
            rate_max: if cfg!(bowline_mutant = "ignore_maximum") { 0 } else { class.rate_max },
            max_part: 0,
            min_part: 0,
            priority: if cfg!(bowline_mutant = "ignore_priority") { 0 } else { class.priority },
            weight: match NonZeroU8::new(class.weight) {
                Some(weight) if !cfg!(bowline_mutant = "ignore_weight") => weight,
                _ => NonZeroU8::MIN,
            },
            standing: Standing::Out,
            passed: false,
        }
    }

    /// Its class.
    pub const fn class(&self) -> Class {
        Class {
            priority: self.priority,
            weight: self.weight.get(),
            rate_min: self.rate_min,
            rate_max: self.rate_max,
        }
    }

    /// Whether it is in the line.
    #[inline]
    pub fn is_queued(&self) -> bool {
        self.standing != Standing::Out
    }

    pub(super) const fn has_budget(&self) -> bool {
        self.rate_min != 0 || self.rate_max != 0
    }

    /// Whether it has used up its maximum.
    pub(super) fn is_blocked(&self, now: Instant) -> bool {
        self.rate_max != 0 && self.max_at > now
    }

    /// What its place in line depends on.
    pub(super) const fn rank(&self) -> Rank {
        Rank { urgency: (self.priority as u16) << 8 | self.standing as u16, pass: self.pass }
    }

    /// What `bytes` add to the pass.
    pub(super) fn cost(&self, bytes: u32) -> u32 {
        if cfg!(bowline_mutant = "equal_weights") {
            return bytes.min(CHARGE_MAX) * PER_BYTE / 16;
        }
        (bytes.min(CHARGE_MAX) * PER_BYTE) / NonZeroU32::from(self.weight)
    }

    pub(super) fn charge_budgets(&mut self, bytes: u32, now: Instant) {
        if self.rate_max != 0 {
            (self.max_at, self.max_part) =
                advance(self.max_at, self.max_part, now, bytes, self.rate_max);
        }
        // Who gets more than the minimum is not made to starve for it later.
        if self.rate_min != 0 && self.min_at <= now {
            (self.min_at, self.min_part) =
                advance(self.min_at, self.min_part, now, bytes, self.rate_min);
        }
    }

    /// `bytes` went at `now`: it is owed nothing before the time that these take at its minimum.
    pub(super) fn drop_credit(&mut self, bytes: u32, now: Instant) {
        if self.rate_min != 0 {
            let (at, part) = advance(now, 0, now, bytes, self.rate_min);
            if at > self.min_at {
                (self.min_at, self.min_part) = (at, part);
            }
        }
    }
}

/// What the place of a member in line depends on.
#[derive(Clone, Copy)]
pub(super) struct Rank {
    /// The priority, and below it how it stands.
    urgency: u16,
    pass: u32,
}

impl Rank {
    /// Whether who has this rank keeps its place when `other` comes.
    pub(super) fn stays_before(self, other: Self) -> bool {
        if self.urgency == other.urgency {
            ahead32(other.pass, self.pass) >= 0
        } else {
            self.urgency > other.urgency
        }
    }
}

/// Moves an instant on by the time that `bytes` take at `rate`.
pub(super) fn advance(
    at: Instant,
    part: u16,
    now: Instant,
    bytes: u32,
    rate: u32,
) -> (Instant, u16) {
    let oldest = now.saturating_before(BURST);
    let (at, part) = if at < oldest { (oldest, 0) } else { (at, part) };
    let time = (u64::from(bytes.min(CHARGE_MAX)) * (1_000_000 << 16))
        .checked_div(u64::from(rate))
        .unwrap_or(0)
        + u64::from(part);
    (at + Duration::from_micros(time >> 16), time as u16)
}

/// What a byte adds to the pass of a weight of 1; what it adds to that of 255 is exact to 0.4 %.
const PER_BYTE: u32 = 1 << 12;

/// The longest datagram, in bytes.
const CHARGE_MAX: u32 = u16::MAX as u32;
