//! Channels: sequence numbers, windows, and what waits to be delivered.

use bowline_core::{Link, Slot};
use bowline_wire::enet::{RELIABLE_WINDOW_SIZE, RELIABLE_WINDOWS};

use crate::list::List;

/// Windows of reliable numbers, from that of the newest delivered one on, in which packets are taken.
const WINDOWS_TAKEN: u16 = 7;
/// Windows that are clear ahead before a sender enters another.
const WINDOWS_CLEAR: u32 = 10;

/// One channel of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    next: Link,
    pub(crate) outgoing_reliable: u16,
    pub(crate) outgoing_unreliable: u16,
    pub(crate) incoming_reliable: u16,
    pub(crate) incoming_unreliable: u16,
    /// How many commands of each window are out and not acknowledged.
    outstanding: [u16; RELIABLE_WINDOWS as usize],
    /// Which windows have any.
    used: u16,
    /// Reliable packets that wait, by number.
    pub(crate) reliable: List,
    /// Unreliable and unsequenced ones, by numbers.
    pub(crate) unreliable: List,
    /// Where the last reliable, or unreliable, one was put in: the next belongs near it.
    pub(crate) reliable_finger: Link,
    pub(crate) unreliable_finger: Link,
}

impl Slot for Channel {
    const VACANT: Self = Self {
        next: Link::NONE,
        outgoing_reliable: 0,
        outgoing_unreliable: 0,
        incoming_reliable: 0,
        incoming_unreliable: 0,
        outstanding: [0; RELIABLE_WINDOWS as usize],
        used: 0,
        reliable: List::EMPTY,
        unreliable: List::EMPTY,
        reliable_finger: Link::NONE,
        unreliable_finger: Link::NONE,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

/// How many windows `sequence` lies ahead of `current`; the past is as far ahead as can be.
pub(crate) const fn windows_ahead(sequence: u16, current: u16) -> u16 {
    let wrapped = if sequence < current { RELIABLE_WINDOWS } else { 0 };
    sequence / RELIABLE_WINDOW_SIZE + wrapped - current / RELIABLE_WINDOW_SIZE
}

impl Channel {
    /// Whether a packet of this reliable number is taken.
    pub(crate) const fn takes(&self, sequence: u16) -> bool {
        windows_ahead(sequence, self.incoming_reliable) < WINDOWS_TAKEN
    }

    /// Whether what bears this reliable number is acknowledged.
    pub(crate) const fn acknowledges(&self, sequence: u16) -> bool {
        !matches!(windows_ahead(sequence, self.incoming_reliable), 7 | 8)
    }

    /// Unreliable numbers have run out: only a reliable packet helps.
    pub(crate) const fn is_worn(&self) -> bool {
        self.outgoing_unreliable == u16::MAX
    }

    /// A reliable command is queued.
    pub(crate) const fn number_reliable(&mut self, sequence: u16) {
        self.outgoing_reliable = sequence;
        self.outgoing_unreliable = 0;
    }

    /// Whether a command of this number is the first of a window.
    #[inline]
    pub(crate) const fn begins_window(sequence: u16) -> bool {
        sequence.is_multiple_of(RELIABLE_WINDOW_SIZE)
    }

    /// Whether a command of this number must wait until older ones are acknowledged: it is the first of a window,
    /// and the one before is full or some ahead are not clear.
    pub(crate) fn is_window_shut(&self, sequence: u16) -> bool {
        if !Self::begins_window(sequence) {
            return false;
        }
        let window = sequence / RELIABLE_WINDOW_SIZE;
        let before = (window + RELIABLE_WINDOWS - 1) % RELIABLE_WINDOWS;
        let is_full = self
            .outstanding
            .get(usize::from(before))
            .is_some_and(|count| *count >= RELIABLE_WINDOW_SIZE);
        let ahead = (1u32 << WINDOWS_CLEAR) - 1;
        let ahead = (ahead << window | ahead << window >> RELIABLE_WINDOWS) as u16;
        is_full || self.used & ahead != 0
    }

    /// A command is out for the first time.
    pub(crate) fn count_sent(&mut self, sequence: u16) {
        let window = sequence / RELIABLE_WINDOW_SIZE;
        if let Some(count) = self.outstanding.get_mut(usize::from(window)) {
            *count = count.saturating_add(1);
            self.used |= 1 << window;
        }
    }

    /// A command is acknowledged.
    pub(crate) fn count_acknowledged(&mut self, sequence: u16) {
        let window = sequence / RELIABLE_WINDOW_SIZE;
        if let Some(count) = self.outstanding.get_mut(usize::from(window))
            && *count > 0
        {
            *count -= 1;
            if *count == 0 {
                self.used &= !(1 << window);
            }
        }
    }
}

/// The channels of a peer that are in use: sixteen of these lead to sixteen channels each.
#[derive(Clone, Copy, Debug)]
pub struct Bank {
    next: Link,
    pub(crate) channels: [Link; 16],
}

impl Slot for Bank {
    const VACANT: Self = Self { next: Link::NONE, channels: [Link::NONE; 16] };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_far_ahead() {
        assert_eq!(windows_ahead(5, 5), 0);
        assert_eq!(windows_ahead(4, 5), 16);
        assert_eq!(windows_ahead(0, 4096), 15);
        assert_eq!(windows_ahead(4096 * 7, 4095), 7);
        assert_eq!(windows_ahead(10, 65_530), 1);
    }

    #[test]
    fn a_window_is_entered_when_ten_are_clear() {
        let mut channel = Channel::VACANT;
        channel.count_sent(5);
        // Windows 7 to 16, which is 0, are not clear.
        assert!(channel.is_window_shut(7 * 4096));
        assert!(!channel.is_window_shut(7 * 4096 + 1), "only the first of a window is asked");
        assert!(!channel.is_window_shut(6 * 4096));
        channel.count_acknowledged(5);
        assert!(!channel.is_window_shut(7 * 4096));
        for sequence in 0..4096 {
            channel.count_sent(4096 + sequence);
        }
        assert!(channel.is_window_shut(2 * 4096), "the window before is full");
    }
}
