//! What an application says of a channel.

/// How a channel stands among the channels of its peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Class {
    /// Higher goes first, and as long as it has something to send, lower ones only get their
    /// minimum.
    pub priority: u8,
    /// Its part of what its priority gets, in proportion to the others' weights: 1 to 255.
    pub weight: u8,
    /// Bytes per second that it gets in any case, if it has so much to send; 0 for none.
    ///
    /// A minimum goes before a higher priority, but never twice in a row, so that all minimums
    /// together get every other datagram at most. What a channel gets as its share counts towards
    /// its minimum.
    pub rate_min: u32,
    /// Bytes per second that it never exceeds, but for [`BURST`](super::BURST) and one datagram; 0 for no bound.
    pub rate_max: u32,
}

impl Class {
    /// Priority 128, weight 16, no budget.
    pub const DEFAULT: Self = Self { priority: 128, weight: 16, rate_min: 0, rate_max: 0 };

    /// Whether this makes sense.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the caller's mistake. A [`Share`](super::Share) takes a weight of 0 for 1, and holds a
    /// minimum only as far as the maximum allows.
    pub const fn check(&self) -> Result<(), ClassError> {
        if self.weight == 0 {
            return Err(ClassError::WeightZero);
        }
        if self.rate_max != 0 && self.rate_min > self.rate_max {
            return Err(ClassError::MinimumAboveMaximum);
        }
        Ok(())
    }
}

impl Default for Class {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is wrong with a [`Class`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClassError {
    /// The weight is 0: it would wait for ever.
    WeightZero,
    /// The minimum is above the maximum.
    MinimumAboveMaximum,
}

impl core::fmt::Display for ClassError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::WeightZero => "a weight is 0",
            Self::MinimumAboveMaximum => "a minimum budget is above the maximum",
        })
    }
}

impl core::error::Error for ClassError {}
