//! The one kind of record that transient bookkeeping is made of.

use bowline_core::{Instant, Link, Slot};

/// A packet in flight, a range of a stream, or a note of what can be read; 40 bytes.
///
/// One type for all three, so that one supply serves all peers, and so that the range of an
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
