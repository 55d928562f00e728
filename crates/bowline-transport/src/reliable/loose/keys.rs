//! Which keys were delivered, and how far on in the stream.

use bowline_core::Slots;
use bowline_core::serial::ahead32;

use super::super::Ranges;
use crate::key_tree::KeyTree;
use crate::record::Record;

/// The highest offset of each key of messages that were told: `start` of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    tree: KeyTree,
    /// Highest offset noted.
    last: u32,
    /// Once all before this was read, most of the tree is of no more use.
    sweep_at: u32,
}

impl Keys {
    pub(super) const NONE: Self = Self { tree: KeyTree::EMPTY, last: 0, sweep_at: 0 };

    /// The highest offset noted for `key`.
    pub(super) fn newest(&self, records: &Slots<'_, Record>, key: u32) -> Option<u32> {
        self.tree.find(records, key).map(|link| records[link].start)
    }

    /// Notes that `key` was told at `offset`. Takes a record, if the key is a new one.
    pub(super) fn note(&mut self, ranges: &mut Ranges<'_, '_>, key: u32, offset: u32) -> bool {
        if self.tree.is_empty() {
            (self.last, self.sweep_at) = (offset, offset);
        } else if ahead32(offset, self.last) > 0 {
            self.last = offset;
        }
        if let Some(link) = self.tree.find(ranges.records, key) {
            let newest = &mut ranges.records[link].start;
            if ahead32(offset, *newest) > 0 {
                *newest = offset;
            }
            return true;
        }
        let Some(link) = ranges.records.take(ranges.quota) else { return false };
        (ranges.records[link].reported, ranges.records[link].start) = (key, offset);
        self.tree.insert(ranges.records, link);
        true
    }

    /// All before `read` was read: gives back what is of no more use, now and then.
    ///
    /// What was noted is kept for two turns of the window at most, so its offset never seems to lie
    /// ahead again.
    pub(super) fn on_read(&mut self, ranges: &mut Ranges<'_, '_>, read: u32) {
        if !self.tree.is_empty() && ahead32(read, self.sweep_at) > 0 {
            let Ranges { records, quota } = ranges;
            self.tree.retain(records, quota, |record| ahead32(record.start, read) >= 0);
            self.sweep_at = self.last;
        }
    }

    /// Gives all back.
    pub(super) fn clear(&mut self, ranges: &mut Ranges<'_, '_>) {
        self.tree.retain(ranges.records, ranges.quota, |_| false);
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use bowline_core::{Quota, Slot, SlotControl};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::thorough())]

        /// Of every key that was noted ahead of what is read the highest offset is known, however long the
        /// stream, and of no other does it seem to be ahead. What is passed comes back.
        #[test]
        fn keys_are_known_until_they_are_passed(
            initial in any::<u32>(),
            turn in prop_oneof![Just(1u32 << 29), 1u32..1_000],
            ops in prop::collection::vec(
                (any::<bool>(), prop_oneof![0u32..6, any::<u32>(), (0u32..6).prop_map(|key| key << 29)], any::<u32>()),
                1..200,
            ),
        ) {
            let mut items = vec![Record::VACANT; 200];
            let (mut control, mut quota) = (SlotControl::new(200), Quota::NONE);
            let mut records = Slots::new(&mut items, &mut control);
            let mut ranges = Ranges { records: &mut records, quota: &mut quota };
            let (mut keys, mut read) = (Keys::NONE, 0u64);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let offset = |at: u64| initial.wrapping_add(at as u32);
            for (notes, key, ahead) in ops {
                let at = read + u64::from(ahead % turn);
                if notes {
                    let is_new = keys.newest(ranges.records, key).is_none();
                    let before = ranges.records.ledger().in_use();
                    prop_assert!(keys.note(&mut ranges, key, offset(at)));
                    prop_assert_eq!(ranges.records.ledger().in_use() - before, u32::from(is_new));
                    let newest = model.entry(key).or_default();
                    *newest = at.max(*newest);
                } else {
                    read = at;
                    keys.on_read(&mut ranges, offset(read));
                    model.retain(|_, &mut at| at >= read);
                }
                for (key, &at) in &model {
                    prop_assert_eq!(keys.newest(ranges.records, *key), Some(offset(at)));
                }
                for link in keys.tree.links(ranges.records) {
                    let node = &ranges.records[link];
                    let seems_ahead = ahead32(node.start, offset(read)) >= 0;
                    prop_assert_eq!(seems_ahead, model.contains_key(&node.reported));
                }
            }
            read += u64::from(turn);
            keys.on_read(&mut ranges, offset(read));
            prop_assert_eq!(ranges.records.ledger().in_use(), 0);
            keys.note(&mut ranges, 1, offset(read));
            keys.clear(&mut ranges);
            prop_assert_eq!(ranges.records.ledger().in_use(), 0);
        }
    }
}
