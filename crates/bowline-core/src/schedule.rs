//! When each of many slots wants attention next.

use crate::Instant;

/// One heap entry: slot `slot` wants attention at `at`.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    at: Instant,
    slot: u32,
}

impl Entry {
    /// Filler for lent arrays.
    pub const NONE: Self = Self { at: Instant::ZERO, slot: u32::MAX };
}

/// An indexed binary heap of deadlines over lent slices.
///
/// Setting, moving and clearing a deadline take `O(log n)`, finding the earliest `O(1)`, so ten
/// thousand idle peers cost nothing per poll.
#[derive(Debug)]
pub struct Schedule<'m> {
    /// The heap, earliest first, in `..*len`.
    heap: &'m mut [Entry],
    /// Where each slot sits in the heap, or [`Self::UNPLACED`].
    places: &'m mut [u32],
    len: &'m mut u32,
}

impl<'m> Schedule<'m> {
    /// Marks a slot without a deadline.
    pub const UNPLACED: u32 = u32::MAX;

    /// Views lent memory as a schedule of `places.len()` slots; `heap` is as long.
    pub fn new(heap: &'m mut [Entry], places: &'m mut [u32], len: &'m mut u32) -> Self {
        debug_assert_eq!(heap.len(), places.len());
        Self { heap, places, len }
    }

    /// The slot with the earliest deadline.
    pub fn earliest(&self) -> Option<(usize, Instant)> {
        if *self.len == 0 {
            return None;
        }
        self.heap.first().map(|entry| (entry.slot as usize, entry.at))
    }

    /// The deadline of `slot`.
    pub fn deadline(&self, slot: usize) -> Option<Instant> {
        let place = *self.places.get(slot)?;
        self.heap.get(place as usize).map(|entry| entry.at)
    }

    /// Sets, moves or clears the deadline of `slot`.
    pub fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        let Some(&place) = self.places.get(slot) else { return };
        match (place, deadline) {
            (Self::UNPLACED, None) => {}
            (Self::UNPLACED, Some(at)) => {
                let place = *self.len as usize;
                *self.len += 1;
                self.put(place, Entry { at, slot: slot as u32 });
                self.sift_up(place);
            }
            (place, Some(at)) => {
                self.put(place as usize, Entry { at, slot: slot as u32 });
                self.sift_down(place as usize);
                self.sift_up(place as usize);
            }
            (place, None) => {
                *self.len = self.len.saturating_sub(1);
                let last = self.at(*self.len as usize);
                if let Some(place) = self.places.get_mut(slot) {
                    *place = Self::UNPLACED;
                }
                if place != *self.len {
                    self.put(place as usize, last);
                    self.sift_down(place as usize);
                    self.sift_up(place as usize);
                }
            }
        }
    }

    /// Moves the deadline of `slot` to `at` if it has none or a later one.
    ///
    /// A deadline that only moves later may be left as it is: it fires early, and whoever is
    /// asked then sets the right one. Timers that are pushed back with every packet cost nothing
    /// that way.
    pub fn set_earlier(&mut self, slot: usize, at: Instant) {
        if self.deadline(slot).is_none_or(|current| at < current) {
            self.set(slot, Some(at));
        }
    }

    fn at(&self, place: usize) -> Entry {
        self.heap.get(place).copied().unwrap_or(Entry::NONE)
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if let Some(here) = self.heap.get_mut(place) {
            *here = entry;
        }
        if let Some(here) = self.places.get_mut(entry.slot as usize) {
            *here = place as u32;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (x, y) = (self.at(a), self.at(b));
        self.put(a, y);
        self.put(b, x);
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 && self.at(place).at < self.at((place - 1) / 2).at {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        let len = *self.len as usize;
        loop {
            let children = (2 * place + 1)..len.min(2 * place + 3);
            let Some(child) = children.min_by_key(|&child| self.at(child).at) else { return };
            if self.at(place).at <= self.at(child).at {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(ops in prop::collection::vec((0usize..9, 0u64..20, 0u8..3), 0..200)) {
            let mut heap = [Entry::NONE; 9];
            let mut places = [Schedule::UNPLACED; 9];
            let mut len = 0;
            let mut model = BTreeMap::new();
            for (slot, at, what) in ops {
                let mut schedule = Schedule::new(&mut heap, &mut places, &mut len);
                let at = Instant::from_micros(at);
                match what {
                    0 => { schedule.set(slot, None); model.remove(&slot); }
                    1 => { schedule.set(slot, Some(at)); model.insert(slot, at); }
                    _ => {
                        schedule.set_earlier(slot, at);
                        let entry = model.entry(slot).or_insert(at);
                        *entry = (*entry).min(at);
                    }
                }
                prop_assert_eq!(schedule.earliest().map(|(_, at)| at), model.values().min().copied());
                for slot in 0..9 {
                    prop_assert_eq!(schedule.deadline(slot), model.get(&slot).copied());
                }
            }
        }
    }
}
