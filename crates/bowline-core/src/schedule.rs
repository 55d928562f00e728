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
                *self.len += 1;
                self.place(*self.len as usize - 1, Entry { at, slot: slot as u32 });
            }
            (place, Some(at)) => self.place(place as usize, Entry { at, slot: slot as u32 }),
            (place, None) => {
                *self.len = self.len.saturating_sub(1);
                let last = self.at(*self.len as usize);
                if let Some(place) = self.places.get_mut(slot) {
                    *place = Self::UNPLACED;
                }
                if place != *self.len {
                    self.place(place as usize, last);
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

    /// Puts an entry where it belongs from `hole` up or down, and all that lie between one place on.
    fn place(&mut self, mut hole: usize, entry: Entry) {
        while hole > 0 {
            let parent = self.at((hole - 1) / 2);
            if parent.at <= entry.at {
                break;
            }
            self.put(hole, parent);
            hole = (hole - 1) / 2;
        }
        let len = *self.len as usize;
        loop {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            if left >= len {
                break;
            }
            let (mut child, mut place) = (self.at(left), left);
            if right < len {
                let other = self.at(right);
                if other.at < child.at {
                    (child, place) = (other, right);
                }
            }
            if entry.at <= child.at {
                break;
            }
            self.put(hole, child);
            hole = place;
        }
        self.put(hole, entry);
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
