//! Sets of peers by slot, walked in order of slots.

/// One bit for each of 64 peers.
pub(crate) type Word = u64;

/// A set of up to 4,096 slots over lent words, of which `summary` tells the ones that are not zero.
#[derive(Debug)]
pub(crate) struct Slotset<'m> {
    pub(crate) words: &'m mut [Word],
    pub(crate) summary: &'m mut u64,
}

impl Slotset<'_> {
    pub(crate) const fn is_empty(&self) -> bool {
        *self.summary == 0
    }

    pub(crate) fn insert(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word |= 1 << (slot % 64);
            *self.summary |= 1 << (slot / 64 % 64);
        }
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        if let Some(word) = self.words.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
            if *word == 0 {
                *self.summary &= !(1 << (slot / 64 % 64));
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// The lowest slot at or above `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let at = from / 64;
        let here = self.words.get(at)? & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(at * 64 + here.trailing_zeros() as usize);
        }
        let later = *self.summary & u64::MAX.checked_shl(at as u32 + 1).unwrap_or(0);
        if later == 0 {
            return None;
        }
        let at = later.trailing_zeros() as usize;
        let word = *self.words.get(at)?;
        (word != 0).then(|| at * 64 + word.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slotset_is_a_set(ops in prop::collection::vec((any::<bool>(), 0usize..4096), 0..300), from in 0usize..4096) {
            let (mut words, mut summary) = ([0; 64], 0);
            let mut set = Slotset { words: &mut words, summary: &mut summary };
            let mut model = BTreeSet::new();
            for (insert, slot) in ops {
                if insert {
                    set.insert(slot);
                    model.insert(slot);
                } else {
                    set.remove(slot);
                    model.remove(&slot);
                }
                prop_assert_eq!(set.contains(slot), insert);
                prop_assert_eq!(set.next(from), model.range(from..).next().copied());
                prop_assert_eq!(set.next(0), model.first().copied());
            }
        }
    }
}
