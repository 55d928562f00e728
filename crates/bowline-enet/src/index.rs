//! Finding peers by a hash: open addressing in lent memory at least twice as long as there are peers.

use bowline_core::Link;

/// A table of those of which a hash is known.
#[derive(Debug)]
pub(crate) struct Index<'m>(pub(crate) &'m mut [Link]);

impl Index<'_> {
    fn home(&self, hash: u64) -> usize {
        (hash as u32 as usize).checked_rem(self.0.len()).unwrap_or(0)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 >= self.0.len() { 0 } else { at + 1 }
    }

    fn at(&self, at: usize) -> Link {
        self.0.get(at).copied().unwrap_or(Link::NONE)
    }

    fn put(&mut self, at: usize, link: Link) {
        if let Some(place) = self.0.get_mut(at) {
            *place = link;
        }
    }

    /// The one of this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(Link) -> bool) -> Option<Link> {
        let mut at = self.home(hash);
        for _ in 0..self.0.len() {
            let link = self.at(at).some()?;
            if is_it(link) {
                return Some(link);
            }
            at = self.after(at);
        }
        None
    }

    pub(crate) fn insert(&mut self, hash: u64, link: Link) {
        let mut at = self.home(hash);
        for _ in 0..self.0.len() {
            if self.at(at).is_none() {
                self.put(at, link);
                return;
            }
            at = self.after(at);
        }
        debug_assert!(false, "the index is longer than what it finds");
    }

    /// Puts `new` where `old` is, which has the same hash.
    pub(crate) fn replace(&mut self, hash: u64, old: Link, new: Link) {
        let mut at = self.home(hash);
        for _ in 0..self.0.len() {
            if self.at(at) == old {
                self.put(at, new);
                return;
            }
            at = self.after(at);
        }
    }

    /// Takes one out, and closes the gap so that no search ends there too early.
    pub(crate) fn remove(&mut self, hash: u64, link: Link, hash_of: impl Fn(Link) -> u64) {
        let len = self.0.len();
        let mut hole = self.home(hash);
        let mut steps = 0;
        while self.at(hole) != link {
            steps += 1;
            if self.at(hole).is_none() || steps > len {
                return;
            }
            hole = self.after(hole);
        }
        let mut at = hole;
        for _ in 0..len {
            at = self.after(at);
            let Some(next) = self.at(at).some() else { break };
            let home = self.home(hash_of(next));
            // The entry may fill the hole if its home does not lie between the hole and itself.
            let between =
                if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !between {
                self.put(hole, next);
                hole = at;
            }
        }
        self.put(hole, Link::NONE);
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few hashes, many collisions: who was put in and not taken out is found, nobody else.
        #[test]
        fn an_index_is_a_set(ops in prop::collection::vec((any::<bool>(), 0u32..16), 0..200)) {
            let hash = |link: Link| (link.index() % 5) as u64;
            let mut places = [Link::NONE; 32];
            let mut index = Index(&mut places);
            let mut model = BTreeSet::new();
            for (insert, number) in ops {
                let link = Link::new(number);
                if insert && model.insert(number) {
                    index.insert(hash(link), link);
                } else if !insert && model.remove(&number) {
                    index.remove(hash(link), link, hash);
                }
                for number in 0..16 {
                    let link = Link::new(number);
                    let found = index.find(hash(link), |at| at == link).is_some();
                    prop_assert_eq!(found, model.contains(&number));
                }
            }
        }
    }
}
