//! Acknowledgements that come after their packet was taken for lost.

/// Which of the last packets taken for lost have not been acknowledged since: as many as lie within 64
/// numbers.
///
/// Only to know how often loss was seen where there was none; such an acknowledgement undoes nothing
/// here.
#[derive(Clone, Copy, Debug)]
pub struct LostPackets {
    newest: u64,
    /// Bit `i` stands for `newest - i`.
    lost: u64,
}

impl LostPackets {
    /// No packet was lost.
    pub const NONE: Self = Self { newest: 0, lost: 0 };

    /// A packet was taken for lost; numbers only grow, but for those that a timer had found earlier.
    pub fn on_lost(&mut self, number: u64) {
        if number >= self.newest || self.lost == 0 {
            let shift = number.saturating_sub(self.newest);
            let before = u32::try_from(shift).ok().and_then(|by| self.lost.checked_shl(by));
            (self.newest, self.lost) = (number, before.unwrap_or(0) | 1);
        } else {
            self.lost |= self.bit(number);
        }
    }

    const fn bit(&self, number: u64) -> u64 {
        let behind = self.newest.wrapping_sub(number);
        if behind < 64 { 1 << behind } else { 0 }
    }

    /// The numbers from `start` to `end` are acknowledged. Returns how many of them had been taken for
    /// lost, and forgets them.
    pub fn on_acked(&mut self, start: u64, end: u64) -> u32 {
        if self.lost == 0 || start > self.newest {
            return 0;
        }
        let oldest = self.newest.saturating_sub(63).max(start);
        let mut late = 0;
        for number in oldest..=end.min(self.newest) {
            let bit = self.bit(number);
            late += u32::from(self.lost & bit != 0);
            if !cfg!(bowline_mutant = "late_again") {
                self.lost &= !bit;
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_like_a_set_of_recent_numbers(
            first in prop_oneof![0u64..200, u64::MAX - 500..u64::MAX - 400],
            ops in prop::collection::vec((any::<bool>(), 0u64..9, 0u64..9), 0..80),
        ) {
            let (mut lost, mut model, mut at) = (LostPackets::NONE, BTreeSet::new(), first);
            for (lose, step, len) in ops {
                at += step;
                if lose {
                    lost.on_lost(at);
                    model.insert(at);
                } else {
                    let start = at.saturating_sub(3 * len);
                    let newest = model.iter().max().copied().unwrap_or(0);
                    let acked: Vec<u64> = model.range(start..=at).copied().collect();
                    let recent = acked.iter().filter(|&&number| newest - number < 64).count();
                    prop_assert_eq!(lost.on_acked(start, at), recent as u32);
                    acked.iter().for_each(|number| { model.remove(number); });
                }
            }
        }
    }
}
