//! Equal records in lent memory, handed out one at a time.

use core::ops::{Index, IndexMut};

use crate::{Ledger, Quota};

/// The place of a record in [`Slots`], or nowhere.
///
/// Four bytes, unlike an `Option<u32>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link(u32);

impl Link {
    /// No record.
    pub const NONE: Self = Self(u32::MAX);

    /// The record at `index`, which must be below `u32::MAX`.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Whether this names no record.
    pub const fn is_none(self) -> bool {
        self.0 == u32::MAX
    }

    /// Whether this names a record.
    pub const fn is_some(self) -> bool {
        self.0 != u32::MAX
    }

    /// The index of the record; meaningless for [`Link::NONE`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// This link, unless it is [`Link::NONE`].
    pub const fn some(self) -> Option<Self> {
        if self.is_none() { None } else { Some(self) }
    }
}

/// A record that can sit in a list: it has room for one link.
pub trait Slot {
    /// A record in its unused state.
    const VACANT: Self;

    /// The next record in whatever list this one is in.
    fn next(&self) -> Link;

    /// Sets the next record.
    fn set_next(&mut self, next: Link);
}

/// The part of [`Slots`] that outlives a borrow.
#[derive(Debug)]
pub struct SlotControl<T> {
    free: Link,
    /// Records from here on were never handed out, so that no initialising pass is needed and
    /// the supply can grow by lending a longer slice.
    fresh: u32,
    ledger: Ledger,
    /// What an invalid link refers to, so that no link can cause a panic.
    spare: T,
}

impl<T: Slot> SlotControl<T> {
    /// The control of an unused supply that may grow to `limit` records.
    pub const fn new(limit: u32) -> Self {
        Self { free: Link::NONE, fresh: 0, ledger: Ledger::new(limit), spare: T::VACANT }
    }

    /// How much is taken and promised.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// A view of lent memory as records.
///
/// Indexing with a [`Link`] never panics: a link to nowhere reaches a spare record (and is a bug,
/// so it asserts in debug builds).
#[derive(Debug)]
pub struct Slots<'m, T> {
    items: &'m mut [T],
    control: &'m mut SlotControl<T>,
}

impl<'m, T: Slot> Slots<'m, T> {
    /// Views `items` as records.
    pub fn new(items: &'m mut [T], control: &'m mut SlotControl<T>) -> Self {
        Self { items, control }
    }

    /// How much is taken and promised.
    pub fn ledger(&self) -> &Ledger {
        &self.control.ledger
    }

    /// Promises `count` more records to the owner of `quota`.
    pub fn promise(&mut self, quota: &mut Quota, count: u32) -> bool {
        self.control.ledger.promise(quota, count)
    }

    /// Keeps `count` records for those who will be admitted: [`Ledger::keep`].
    pub const fn keep(&mut self, count: u32) {
        self.control.ledger.keep(count);
    }

    /// Promises `count` records to a newcomer: [`Ledger::admit`].
    pub fn admit(&mut self, quota: &mut Quota, count: u32) -> bool {
        self.control.ledger.admit(quota, count)
    }

    /// Ends all promises to the owner of `quota`: [`Ledger::dismiss`].
    pub fn dismiss(&mut self, quota: &mut Quota, count: u32) {
        self.control.ledger.dismiss(quota, count);
    }

    /// Takes back a promise of `count` records.
    pub fn release_promise(&mut self, quota: &mut Quota, count: u32) {
        self.control.ledger.release(quota, count);
    }

    /// Records that can be taken before the owner of the memory has to lend more of it.
    pub fn vacant(&self) -> usize {
        self.items.len().saturating_sub(self.control.ledger.in_use() as usize)
    }

    /// How many records the owner of `quota` could take now.
    pub fn available(&self, quota: &Quota) -> usize {
        self.vacant().min(self.control.ledger.available(quota) as usize)
    }

    /// Whether the owner of `quota` could take `count` records now.
    #[inline]
    pub fn can_take(&self, quota: &Quota, count: u32) -> bool {
        count as usize <= self.vacant() && self.control.ledger.can_take(quota, count)
    }

    /// Takes a record in its vacant state.
    pub fn take(&mut self, quota: &mut Quota) -> Option<Link> {
        self.insert(quota, T::VACANT)
    }

    /// Takes a record and fills it with `record`.
    #[inline(always)]
    pub fn insert(&mut self, quota: &mut Quota, record: T) -> Option<Link> {
        let recycled = self.control.free.is_some();
        let link = if recycled { self.control.free } else { Link(self.control.fresh) };
        let item = self.items.get_mut(link.index())?;
        if !self.control.ledger.take_one(quota) {
            return None;
        }
        if recycled {
            self.control.free = item.next();
        } else {
            self.control.fresh += 1;
        }
        *item = record;
        Some(link)
    }

    /// The record at `link`, if there is memory for it; also for links that came from outside.
    #[inline]
    pub fn get(&self, link: Link) -> Option<&T> {
        self.items.get(link.index())
    }

    /// The record at `link`, if there is memory for it; also for links that came from outside.
    #[inline]
    pub fn get_mut(&mut self, link: Link) -> Option<&mut T> {
        self.items.get_mut(link.index())
    }

    /// How many records are lent, in use or not.
    pub fn lent(&self) -> usize {
        self.items.len()
    }

    /// Gives a record back.
    #[inline]
    pub fn give(&mut self, quota: &mut Quota, link: Link) {
        debug_assert!(link.is_some());
        let free = self.control.free;
        self[link].set_next(free);
        self.control.free = link;
        self.control.ledger.give_one(quota);
    }

    /// Gives back the `count` records from `first` to `last`, of which each is chained to the next.
    #[inline]
    pub fn give_run(&mut self, quota: &mut Quota, first: Link, last: Link, count: u32) {
        let free = self.control.free;
        self[last].set_next(free);
        self.control.free = first;
        self.control.ledger.give(quota, count);
    }

    /// Gives back `first` and all records after it.
    pub fn give_list(&mut self, quota: &mut Quota, first: Link) {
        let mut at = first;
        while let Some(link) = at.some() {
            at = self[link].next();
            self.give(quota, link);
        }
    }
}

impl<T: Slot> Index<Link> for Slots<'_, T> {
    type Output = T;

    #[inline]
    fn index(&self, link: Link) -> &T {
        let item = self.items.get(link.index());
        debug_assert!(item.is_some(), "dangling link");
        item.unwrap_or(&self.control.spare)
    }
}

impl<T: Slot> IndexMut<Link> for Slots<'_, T> {
    #[inline]
    fn index_mut(&mut self, link: Link) -> &mut T {
        let item = self.items.get_mut(link.index());
        debug_assert!(item.is_some(), "dangling link");
        item.unwrap_or(&mut self.control.spare)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    struct Item(Link, u32);

    impl Slot for Item {
        const VACANT: Self = Self(Link::NONE, 0);

        fn next(&self) -> Link {
            self.0
        }

        fn set_next(&mut self, next: Link) {
            self.0 = next;
        }
    }

    #[test]
    fn records_come_back_and_go_out_again() {
        let mut items = [const { Item::VACANT }; 3];
        let mut control = SlotControl::new(3);
        let mut quota = Quota::NONE;
        let mut slots = Slots::new(&mut items, &mut control);
        let taken: Vec<_> = core::iter::from_fn(|| slots.take(&mut quota)).collect();
        assert_eq!(taken.len(), 3);
        slots[taken[1]].1 = 7;
        slots.give(&mut quota, taken[1]);
        assert_eq!(slots.take(&mut quota), Some(taken[1]));
        assert_eq!(slots[taken[1]].1, 0, "handed out in its vacant state");
        for link in taken {
            slots.give(&mut quota, link);
        }
        assert_eq!(slots.ledger().in_use(), 0);
    }

    #[test]
    fn longer_memory_serves_more_up_to_the_limit() {
        let mut items = [const { Item::VACANT }; 4];
        let mut control = SlotControl::new(3);
        let mut quota = Quota::NONE;
        let mut slots = Slots::new(&mut items[..1], &mut control);
        assert!(slots.take(&mut quota).is_some());
        assert!(slots.take(&mut quota).is_none());
        let mut slots = Slots::new(&mut items, &mut control);
        assert!(slots.take(&mut quota).is_some());
        assert!(slots.take(&mut quota).is_some());
        assert!(slots.take(&mut quota).is_none(), "the limit holds");
    }
}
