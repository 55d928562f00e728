//! Records by key.

use bowline_core::{Link, Quota, Slots};

use crate::record::Record;

/// Records, each of which has a key of its own.
///
/// A digital search tree (Coffman and Eve, *File structures using hashing functions*, CACM 1970, without the
/// hashing): at each record on the way a bit of the key, from the lowest on, says where to turn. So
/// nobody can make it deeper than a key has bits. Of a record `reported` is the key, `domain` and `more`
/// are the branches for 0 and 1.
#[derive(Clone, Copy, Debug)]
pub struct KeyTree {
    root: Link,
}

impl KeyTree {
    /// A tree of nothing.
    pub const EMPTY: Self = Self { root: Link::NONE };

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The record with this key.
    pub fn find(&self, records: &Slots<'_, Record>, key: u32) -> Option<Link> {
        let (mut at, mut bits) = (self.root, key);
        while let Some(link) = at.some() {
            let record = &records[link];
            if record.reported == key {
                return Some(link);
            }
            at = if bits & 1 == 0 { record.domain } else { record.more };
            bits >>= 1;
        }
        None
    }

    /// Adds a record; no other has its key.
    pub fn insert(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        let record = &mut records[link];
        (record.domain, record.more) = (Link::NONE, Link::NONE);
        let (mut at, mut bits) = (self.root, record.reported);
        if at.is_none() {
            self.root = link;
        }
        while let Some(above) = at.some() {
            let record = &mut records[above];
            let branch = if bits & 1 == 0 { &mut record.domain } else { &mut record.more };
            at = *branch;
            if at.is_none() {
                *branch = link;
            }
            bits >>= 1;
        }
    }

    /// Takes a record out, if it is there.
    pub fn remove(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        let (mut above, mut at, mut bits) = (Link::NONE, self.root, records[link].reported);
        while at != link {
            let Some(here) = at.some() else { return };
            at = if bits & 1 == 0 { records[here].domain } else { records[here].more };
            (above, bits) = (here, bits >> 1);
        }
        // Whatever is below it may stand in its place; what has nothing below itself leaves no gap.
        let heir = self.take_leaf(records, link);
        if let Some(heir) = heir.some() {
            (records[heir].domain, records[heir].more) = (records[link].domain, records[link].more);
        }
        self.replace(records, above, link, heir);
    }

    /// Takes out a record below `link` that has none below itself.
    fn take_leaf(&mut self, records: &mut Slots<'_, Record>, link: Link) -> Link {
        let (mut above, mut leaf) = (link, child(&records[link]));
        while let Some(here) = leaf.some() {
            let below = child(&records[here]);
            if below.is_none() {
                self.replace(records, above, here, Link::NONE);
                break;
            }
            (above, leaf) = (here, below);
        }
        leaf
    }

    /// Puts `heir` where `link` was, below `above`.
    fn replace(&mut self, records: &mut Slots<'_, Record>, above: Link, link: Link, heir: Link) {
        let Some(above) = above.some() else {
            self.root = heir;
            return;
        };
        let record = &mut records[above];
        let branch = if record.domain == link { &mut record.domain } else { &mut record.more };
        *branch = heir;
    }

    /// Gives back the records that are not wanted.
    pub fn retain(
        &mut self,
        records: &mut Slots<'_, Record>,
        quota: &mut Quota,
        wanted: impl Fn(&Record) -> bool,
    ) {
        let mut at = core::mem::replace(&mut self.root, Link::NONE);
        while let Some(link) = at.some() {
            let Record { domain: left, more: right, .. } = records[link];
            if let Some(left) = left.some() {
                // The left branch goes above, so that the tree turns into a list bit by bit.
                records[link].domain = records[left].more;
                records[left].more = link;
                at = left;
                continue;
            }
            at = right;
            if wanted(&records[link]) {
                self.insert(records, link);
            } else {
                records.give(quota, link);
            }
        }
    }

    /// All that is in it.
    #[cfg(test)]
    pub(crate) fn links(&self, records: &Slots<'_, Record>) -> alloc::vec::Vec<Link> {
        let mut links = alloc::vec::Vec::from_iter(self.root.some());
        let mut count = 0;
        while let Some(&link) = links.get(count) {
            let Record { domain, more, .. } = records[link];
            links.extend([domain, more].into_iter().filter_map(Link::some));
            count += 1;
        }
        links
    }
}

/// A record below, if there is one.
const fn child(record: &Record) -> Link {
    if record.domain.is_some() { record.domain } else { record.more }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use bowline_core::{Slot, SlotControl};
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..40, (0u32..8).prop_map(|n| n << 29), any::<u32>()]
    }

    fn depth(records: &Slots<'_, Record>, at: Link) -> u32 {
        let Some(link) = at.some() else { return 0 };
        1 + depth(records, records[link].domain).max(depth(records, records[link].more))
    }

    proptest! {
        #![proptest_config(crate::thorough())]

        #[test]
        fn agrees_with_a_map(ops in prop::collection::vec((0u8..8, key()), 0..200)) {
            let mut items = vec![Record::VACANT; 200];
            let mut control = SlotControl::new(200);
            let mut records = Slots::new(&mut items, &mut control);
            let (mut quota, mut tree) = (Quota::NONE, KeyTree::EMPTY);
            let mut model = BTreeMap::new();
            for (op, key) in ops {
                match op {
                    0..5 if !model.contains_key(&key) => {
                        let link = records.take(&mut quota).unwrap();
                        records[link].reported = key;
                        tree.insert(&mut records, link);
                        model.insert(key, link);
                    }
                    7 => {
                        tree.retain(&mut records, &mut quota, |record| record.reported > key);
                        model.retain(|&kept, _| kept > key);
                    }
                    _ => {
                        let near = model.range(key..).chain(&model).next();
                        let Some((&key, &link)) = near else { continue };
                        tree.remove(&mut records, link);
                        records.give(&mut quota, link);
                        model.remove(&key);
                    }
                }
                prop_assert_eq!(tree.find(&records, key), model.get(&key).copied());
                for (&key, &link) in &model {
                    prop_assert_eq!(tree.find(&records, key), Some(link));
                }
                prop_assert_eq!(quota.held() as usize, model.len());
                prop_assert_eq!(tree.links(&records).len(), model.len());
                prop_assert_eq!(tree.is_empty(), model.is_empty());
                prop_assert!(depth(&records, tree.root) <= 33);
            }
            tree.retain(&mut records, &mut quota, |_| false);
            prop_assert_eq!(quota.held(), 0);
        }
    }
}
