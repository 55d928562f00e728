//! The one kind of record that transient bookkeeping is made of.

use bowline_core::{Instant, Link, Slot};

/// A packet in flight, a range of a stream, a note of what can be read, or a
/// [ticket](crate::tickets) of a message; 40 bytes.
///
/// One type for all four, so that one supply serves all peers, and so that the range of an
/// acknowledged or lost packet can move to another list without asking for memory at a moment when
/// there may be none.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The next record of the list.
    pub next: Link,
    /// Further ranges of the same packet, a list of records.
    pub more: Link,
    /// The domain that the range is of; none when there is no range.
    pub domain: Link,
    /// First byte of the range, a stream offset.
    pub start: u32,
    /// End of the range, a stream offset.
    pub end: u32,
    /// Packet number, its low 32 bits.
    pub number: u32,
    /// When the packet was sent.
    pub at: Instant,
    /// With [`Record::REPORTS`], the largest number that its ack block acknowledged, low 32 bits.
    pub reported: u32,
    /// Length of the packet in bytes.
    pub size: u16,
    /// What else is true of it.
    pub flags: u16,
}

impl Record {
    /// The packet's ack block told everything that needed reporting up to `reported`.
    pub const REPORTS: u16 = 1;
    /// The packet held a CREDIT frame.
    pub const CREDIT: u16 = 2;
    /// The packet held a CLOSE frame.
    pub const CLOSE: u16 = 4;
    /// The packet held only the beginning of its range; all of it is to be sent again.
    pub const CUT: u16 = 8;
    /// Of the range nothing was sent but that it will not be.
    pub const VOID: u16 = 16;
}

impl Slot for Record {
    const VACANT: Self = Self {
        next: Link::NONE,
        more: Link::NONE,
        domain: Link::NONE,
        start: 0,
        end: 0,
        number: 0,
        at: Instant::ZERO,
        reported: 0,
        size: 0,
        flags: 0,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

/// A first-in, first-out list of slots, four bytes an end.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The oldest.
    pub head: Link,
    /// The newest; meaningless while `head` is none.
    pub tail: Link,
}

impl List {
    /// A list of nothing.
    pub const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE };

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Appends `link`.
    pub fn push_back<T: Slot>(&mut self, slots: &mut bowline_core::Slots<'_, T>, link: Link) {
        slots[link].set_next(Link::NONE);
        if self.head.is_none() {
            self.head = link;
        } else {
            slots[self.tail].set_next(link);
        }
        self.tail = link;
    }

    /// Puts `link` before all others.
    pub fn push_front<T: Slot>(&mut self, slots: &mut bowline_core::Slots<'_, T>, link: Link) {
        slots[link].set_next(self.head);
        if self.head.is_none() {
            self.tail = link;
        }
        self.head = link;
    }

    /// Takes the oldest out.
    pub fn pop_front<T: Slot>(&mut self, slots: &mut bowline_core::Slots<'_, T>) -> Option<Link> {
        let link = self.head.some()?;
        self.head = slots[link].next();
        Some(link)
    }

    /// Takes out the one after `before`, or the oldest if `before` is none.
    pub fn remove_after<T: Slot>(
        &mut self,
        slots: &mut bowline_core::Slots<'_, T>,
        before: Link,
    ) -> Option<Link> {
        let Some(before) = before.some() else { return self.pop_front(slots) };
        let link = slots[before].next().some()?;
        let next = slots[link].next();
        slots[before].set_next(next);
        if self.tail == link {
            self.tail = before;
        }
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::{Quota, SlotControl, Slots};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<Record>(), 40);
    }

    proptest! {
        #[test]
        fn a_list_is_a_queue(ops in prop::collection::vec((0u8..5, any::<usize>()), 0..200)) {
            let mut items = vec![Record::VACANT; 12];
            let mut control = SlotControl::new(12);
            let mut records = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            for (op, at) in ops {
                let taken = match op {
                    0 | 1 => {
                        let Some(link) = records.take(&mut quota) else { continue };
                        if op == 0 {
                            list.push_back(&mut records, link);
                            model.push_back(link);
                        } else {
                            list.push_front(&mut records, link);
                            model.push_front(link);
                        }
                        None
                    }
                    2 => {
                        let taken = list.pop_front(&mut records);
                        prop_assert_eq!(taken, model.pop_front());
                        taken
                    }
                    _ => {
                        // Before the first, or after one of them.
                        let at = at % (model.len() + 1);
                        let before = if at == 0 { Link::NONE } else { model[at - 1] };
                        let taken = list.remove_after(&mut records, before);
                        prop_assert_eq!(taken, model.remove(at));
                        taken
                    }
                };
                if let Some(taken) = taken { records.give(&mut quota, taken); }
                let mut links = Vec::new();
                let mut next = list.head;
                while let Some(link) = next.some() {
                    links.push(link);
                    next = records[link].next;
                }
                prop_assert_eq!(list.is_empty(), model.is_empty());
                prop_assert_eq!(&model, &links);
                prop_assert!(list.is_empty() || Some(&list.tail) == model.back());
            }
        }
    }
}
