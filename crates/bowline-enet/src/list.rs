//! Doubly linked lists of records in lent memory.

use bowline_core::{Link, Quota, Slot, Slots};

/// A record that can sit in a [`List`].
pub(crate) trait Node: Slot {
    /// The record before it.
    fn previous(&self) -> Link;

    /// Sets the record before it.
    fn set_previous(&mut self, previous: Link);
}

/// First and last of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct List {
    pub(crate) first: Link,
    pub(crate) last: Link,
}

impl List {
    pub(crate) const EMPTY: Self = Self { first: Link::NONE, last: Link::NONE };

    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn push<T: Node>(&mut self, slots: &mut Slots<'_, T>, link: Link) {
        let node = &mut slots[link];
        node.set_previous(self.last);
        node.set_next(Link::NONE);
        match self.last.some() {
            Some(last) => slots[last].set_next(link),
            None => self.first = link,
        }
        self.last = link;
    }

    /// Takes a record, makes it `node` and puts it last; None if there is none to take.
    #[inline(always)]
    pub(crate) fn push_new<T: Node>(
        &mut self,
        slots: &mut Slots<'_, T>,
        quota: &mut Quota,
        mut node: T,
    ) -> Option<Link> {
        node.set_previous(self.last);
        node.set_next(Link::NONE);
        let link = slots.insert(quota, node)?;
        match self.last.some() {
            Some(last) => slots[last].set_next(link),
            None => self.first = link,
        }
        self.last = link;
        Some(link)
    }

    /// Puts `link` behind `after`, or first if that is nothing.
    pub(crate) fn insert_after<T: Node>(
        &mut self,
        slots: &mut Slots<'_, T>,
        after: Link,
        link: Link,
    ) {
        let next = match after.some() {
            Some(after) => slots[after].next(),
            None => self.first,
        };
        let node = &mut slots[link];
        node.set_previous(after);
        node.set_next(next);
        match after.some() {
            Some(after) => slots[after].set_next(link),
            None => self.first = link,
        }
        match next.some() {
            Some(next) => slots[next].set_previous(link),
            None => self.last = link,
        }
    }

    /// Takes `link` out, which is in this list.
    pub(crate) fn remove<T: Node>(&mut self, slots: &mut Slots<'_, T>, link: Link) {
        let node = &slots[link];
        let (previous, next) = (node.previous(), node.next());
        match previous.some() {
            Some(previous) => slots[previous].set_next(next),
            None => self.first = next,
        }
        match next.some() {
            Some(next) => slots[next].set_previous(previous),
            None => self.last = previous,
        }
    }

    /// Those before `first`, which is in this list or nothing, were taken out without telling it.
    #[inline]
    pub(crate) fn begin_at<T: Node>(&mut self, slots: &mut Slots<'_, T>, first: Link) {
        self.first = first;
        match first.some() {
            Some(first) => slots[first].set_previous(Link::NONE),
            None => self.last = Link::NONE,
        }
    }

    #[inline]
    pub(crate) fn pop<T: Node>(&mut self, slots: &mut Slots<'_, T>) -> Option<Link> {
        let first = self.first.some()?;
        self.remove(slots, first);
        Some(first)
    }

    /// Takes everything out and gives the records back, after `each` has seen it.
    pub(crate) fn clear<T: Node>(
        &mut self,
        slots: &mut Slots<'_, T>,
        quota: &mut Quota,
        mut each: impl FnMut(&T),
    ) {
        while let Some(link) = self.pop(slots) {
            each(&slots[link]);
            slots.give(quota, link);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bowline_core::SlotControl;
    use proptest::prelude::*;

    use super::*;

    struct Item {
        next: Link,
        previous: Link,
    }

    impl Slot for Item {
        const VACANT: Self = Self { next: Link::NONE, previous: Link::NONE };

        fn next(&self) -> Link {
            self.next
        }

        fn set_next(&mut self, next: Link) {
            self.next = next;
        }
    }

    impl Node for Item {
        fn previous(&self) -> Link {
            self.previous
        }

        fn set_previous(&mut self, previous: Link) {
            self.previous = previous;
        }
    }

    proptest! {
        /// Whatever is put in and taken out, from both ends the list is what a vector is.
        #[test]
        fn a_list_is_a_vector(ops in prop::collection::vec((0u8..4, 0usize..20), 0..200)) {
            let mut items = [const { Item::VACANT }; 16];
            let mut control = SlotControl::new(16);
            let mut slots = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let (mut list, mut model) = (List::EMPTY, Vec::new());
            for (op, at) in ops {
                match op {
                    0 | 1 => {
                        let Some(link) = slots.take(&mut quota) else { continue };
                        let at = at.min(model.len());
                        let after = if at == 0 { Link::NONE } else { model[at - 1] };
                        if op == 0 && at == model.len() {
                            list.push(&mut slots, link);
                        } else {
                            list.insert_after(&mut slots, after, link);
                        }
                        model.insert(at, link);
                    }
                    2 if at < model.len() => {
                        let link = model.remove(at);
                        list.remove(&mut slots, link);
                        slots.give(&mut quota, link);
                    }
                    _ => {}
                }
                let (mut seen, mut link) = (Vec::new(), list.first);
                while link.is_some() {
                    seen.push(link);
                    link = slots[link].next;
                }
                prop_assert_eq!(&seen, &model);
                let (mut back, mut link) = (Vec::new(), list.last);
                while link.is_some() {
                    back.insert(0, link);
                    link = slots[link].previous;
                }
                prop_assert_eq!(&back, &model);
            }
        }
    }
}
