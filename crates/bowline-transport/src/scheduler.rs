//! Who is next: queues whose links lie in the members themselves.

use bowline_core::{Link, Slot, Slots};

/// Where a member of a [`Queue`] keeps its place: who is before it and who behind.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// [`NOWHERE`] if it is in no queue.
    before: Link,
    after: Link,
}

/// Stands for the member before one that is in no queue. No supply is so large that it has one here.
const NOWHERE: Link = Link::new(u32::MAX - 1);

impl Place {
    /// Not in the queue.
    pub const OUT: Self = Self { before: NOWHERE, after: Link::NONE };

    /// Whether the member is in the queue.
    pub const fn is_queued(&self) -> bool {
        self.before.index() != NOWHERE.index()
    }
}

/// Something that can be in queue number `Q`.
pub trait Member<const Q: u8>: Slot {
    /// Its place in that queue.
    fn place(&mut self) -> &mut Place;
}

/// A first-in, first-out queue in which each member is at most once, and which it can leave from anywhere:
/// everything takes constant time.
///
/// As a channel scheduler it is a round robin: a channel that filled a packet goes behind the
/// others ([`Queue::rotate`]), so a backlog on one delays the head of another by one packet at most for
/// each channel before it.
#[derive(Clone, Copy, Debug)]
pub struct Queue<const Q: u8> {
    head: Link,
    tail: Link,
}

impl<const Q: u8> Queue<Q> {
    /// A queue of nobody.
    pub const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE };

    /// Whether nobody is in it.
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Who is next.
    pub fn front(&self) -> Option<Link> {
        self.head.some()
    }

    /// Who comes after `member`.
    pub fn after<T: Member<Q>>(&self, slots: &mut Slots<'_, T>, member: Link) -> Option<Link> {
        slots[member].place().after.some()
    }

    /// Puts `member` last, unless it is in the queue already.
    #[inline]
    pub fn push<T: Member<Q>>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let place = slots[member].place();
        if place.is_queued() {
            return;
        }
        let before = if self.head.is_none() { Link::NONE } else { self.tail };
        *place = Place { before, after: Link::NONE };
        match before.some() {
            Some(before) => slots[before].place().after = member,
            None => self.head = member,
        }
        self.tail = member;
    }

    /// Puts `member` first, unless it is in the queue already.
    pub fn push_front<T: Member<Q>>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let head = self.head;
        let place = slots[member].place();
        if place.is_queued() {
            return;
        }
        *place = Place { before: Link::NONE, after: head };
        match head.some() {
            Some(after) => slots[after].place().before = member,
            None => self.tail = member,
        }
        self.head = member;
    }

    /// Takes out who is next.
    pub fn pop<T: Member<Q>>(&mut self, slots: &mut Slots<'_, T>) -> Option<Link> {
        let member = self.head.some()?;
        let place = slots[member].place();
        self.head = place.after;
        if !cfg!(bowline_mutant = "still_queued") {
            *place = Place::OUT;
        }
        if let Some(head) = self.head.some() {
            slots[head].place().before = Link::NONE;
        }
        Some(member)
    }

    /// Sends who is next behind all others.
    pub fn rotate<T: Member<Q>>(&mut self, slots: &mut Slots<'_, T>) {
        if let Some(member) = self.pop(slots) {
            self.push(slots, member);
        }
    }

    /// Takes `member` out wherever it is.
    pub fn remove<T: Member<Q>>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let place = slots[member].place();
        if !place.is_queued() {
            return;
        }
        let Place { before, after } = core::mem::replace(place, Place::OUT);
        match before.some() {
            Some(before) => slots[before].place().after = after,
            None => self.head = after,
        }
        match after.some() {
            Some(after) => slots[after].place().before = before,
            None => self.tail = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::{Quota, SlotControl};
    use proptest::prelude::*;

    use super::*;

    struct Item(Link, Place);

    impl Slot for Item {
        const VACANT: Self = Self(Link::NONE, Place::OUT);

        fn next(&self) -> Link {
            self.0
        }

        fn set_next(&mut self, next: Link) {
            self.0 = next;
        }
    }

    impl Member<0> for Item {
        fn place(&mut self) -> &mut Place {
            &mut self.1
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_deque(ops in prop::collection::vec((0u8..5, 0usize..5), 0..100)) {
            let mut items = vec![Item::VACANT, Item::VACANT, Item::VACANT, Item::VACANT, Item::VACANT];
            let mut control = SlotControl::new(5);
            let mut slots = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let links: Vec<_> = (0..5).map(|_| slots.take(&mut quota).unwrap()).collect();
            let (mut queue, mut model) = (Queue::<0>::EMPTY, VecDeque::new());
            for (op, who) in ops {
                let member = links[who];
                match op {
                    0 => { queue.push(&mut slots, member); if !model.contains(&member) { model.push_back(member); } }
                    1 => { queue.push_front(&mut slots, member); if !model.contains(&member) { model.push_front(member); } }
                    2 => prop_assert_eq!(queue.pop(&mut slots), model.pop_front()),
                    3 => { queue.rotate(&mut slots); if let Some(m) = model.pop_front() { model.push_back(m); } }
                    _ => { queue.remove(&mut slots, member); model.retain(|m| *m != member); }
                }
                prop_assert_eq!(queue.front(), model.front().copied());
                prop_assert_eq!(slots[member].place().is_queued(), model.contains(&member));
            }
        }

        /// Whoever has something to send goes again after each of the others went once at most,
        /// whoever comes and goes meanwhile.
        #[test]
        fn nobody_waits_for_more_than_one_turn_of_each_other(
            ops in prop::collection::vec((0usize..6, 0u8..4), 0..200),
        ) {
            let mut items: Vec<Item> = (0..6).map(|_| Item::VACANT).collect();
            let mut control = SlotControl::new(6);
            let mut slots = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let links: Vec<_> = (0..6).map(|_| slots.take(&mut quota).unwrap()).collect();
            let mut queue = Queue::<0>::EMPTY;
            // Who went while a member waited.
            let mut passed: Vec<Vec<Link>> = vec![Vec::new(); 6];
            for (who, what) in ops {
                if what == 0 {
                    if !slots[links[who]].place().is_queued() { passed[who].clear(); }
                    queue.push(&mut slots, links[who]);
                    continue;
                }
                let Some(next) = queue.front() else { continue };
                if what == 1 { queue.pop(&mut slots); } else { queue.rotate(&mut slots); }
                for (passed, &member) in passed.iter_mut().zip(&links) {
                    if member == next {
                        passed.clear();
                    } else if slots[member].place().is_queued() {
                        prop_assert!(!passed.contains(&next), "{next:?} went twice");
                        passed.push(next);
                    }
                }
            }
        }

        /// Those that always have something to send get the same share, to a packet.
        #[test]
        fn a_backlog_is_shared_evenly(members in 1usize..6, packets in 0usize..100) {
            let mut items: Vec<Item> = (0..6).map(|_| Item::VACANT).collect();
            let mut control = SlotControl::new(6);
            let mut slots = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let mut queue = Queue::<0>::EMPTY;
            for _ in 0..members {
                let link = slots.take(&mut quota).unwrap();
                queue.push(&mut slots, link);
            }
            let mut sent = [0; 6];
            for _ in 0..packets {
                sent[queue.front().unwrap().index()] += 1;
                queue.rotate(&mut slots);
            }
            let share = packets / members;
            for sent in &sent[..members] {
                prop_assert!((share..=share + 1).contains(sent), "{sent:?}");
            }
        }
    }
}
