//! Milliseconds that wrap.

use core::ops::{Add, Sub};

/// A point in time, in milliseconds modulo 2^32.
///
/// Two of them have an order only while they are less than a day apart, which is what
/// [`Self::is_before`] takes for granted. So there is no `Ord`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Time(u32);

/// From this distance on, a time counts as before.
const DAY: u32 = 86_400_000;

impl Time {
    /// 0 milliseconds; in ENet's variables often "never".
    pub const ZERO: Self = Self(0);

    /// The time `millis` milliseconds after the epoch, modulo 2^32.
    #[inline]
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch, modulo 2^32.
    #[inline]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// Whether `self` is earlier than `other`: not later by less than a day, nor the same.
    #[inline]
    pub const fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) >= DAY
    }

    /// Milliseconds between the two, in either direction.
    #[inline]
    pub const fn distance(self, other: Self) -> u32 {
        match self.0.wrapping_sub(other.0) {
            ahead if ahead < DAY => ahead,
            ahead => ahead.wrapping_neg(),
        }
    }

    /// The low 16 bits, as in the header of a datagram.
    #[inline]
    pub const fn stamp(self) -> u16 {
        self.0 as u16
    }

    /// The time with these low 16 bits that an acknowledgement received at `self` means: the same
    /// 65,536 ms, or the ones before if that would lie in their other half.
    ///
    /// It may lie after `self`, by less than 32,768 ms.
    #[inline]
    pub const fn at_stamp(self, stamp: u16) -> Self {
        let time = (self.0 & 0xFFFF_0000) | stamp as u32;
        let is_of_the_last = time & 0x8000 > self.0 & 0x8000;
        Self(if is_of_the_last { time.wrapping_sub(0x1_0000) } else { time })
    }
}

impl Add<u32> for Time {
    type Output = Self;

    /// The time `millis` later, modulo 2^32.
    #[inline]
    fn add(self, millis: u32) -> Self {
        Self(self.0.wrapping_add(millis))
    }
}

impl Sub<u32> for Time {
    type Output = Self;

    /// The time `millis` earlier, modulo 2^32.
    #[inline]
    fn sub(self, millis: u32) -> Self {
        Self(self.0.wrapping_sub(millis))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u32) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_day_ahead_is_before() {
        assert!(!at(0).is_before(at(0)));
        assert!(!at(DAY - 1).is_before(at(0)));
        assert!(at(DAY).is_before(at(0)));
        assert!(at(0).is_before(at(1)));
        assert!(at(u32::MAX).is_before(at(0)), "time wraps");
        assert!(!at(0).is_before(at(u32::MAX)));
    }

    #[test]
    fn distance_has_no_direction() {
        assert_eq!((at(5).distance(at(3)), at(3).distance(at(5))), (2, 2));
        assert_eq!(at(2).distance(at(u32::MAX)), 3);
        assert_eq!(at(u32::MAX).distance(at(2)), 3);
        assert_eq!(at(DAY).distance(at(0)), 0u32.wrapping_sub(DAY));
    }

    #[test]
    fn a_stamp_of_the_last_half_is_of_the_last_turn() {
        assert_eq!(at(0x0005_0010).at_stamp(0xFFF0), at(0x0004_FFF0));
        assert_eq!(at(0x0005_9000).at_stamp(0x8FFF), at(0x0005_8FFF));
        assert_eq!(at(0x0005_9000).at_stamp(0x0001), at(0x0005_0001));
        assert_eq!(at(0x0005_0010).at_stamp(0x0011), at(0x0005_0011), "after now");
        assert_eq!(at(0x0000_0010).at_stamp(0xFFF0), at(0xFFFF_FFF0), "time wraps");
    }

    proptest! {
        #[test]
        fn what_was_sent_in_the_last_half_turn_is_found_again(now: u32, ago in 0u32..=0x8000) {
            let sent = at(now) - ago;
            prop_assert_eq!(at(now).at_stamp(sent.stamp()), sent);
            prop_assert_eq!(at(now).distance(sent), ago);
            prop_assert_eq!(sent + ago, at(now));
        }
    }
}
