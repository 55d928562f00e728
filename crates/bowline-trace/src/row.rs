//! What came of a call, as numbers: how it is written, hashed and compared.

use bowline_core::{Address, Code, Coded, Instant, PeerId};

/// Numbers, and at most one checksum and one address after them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Row {
    numbers: [u64; Self::LEN_MAX],
    len: usize,
    pub(crate) checksum: Option<u32>,
    pub(crate) address: Option<Address>,
}

impl Row {
    const LEN_MAX: usize = 8;

    pub(crate) fn of(numbers: &[u64]) -> Self {
        let mut row = Self::default();
        numbers.iter().for_each(|number| row.push(*number));
        row
    }

    pub(crate) fn push(&mut self, number: u64) {
        debug_assert!(self.len < Self::LEN_MAX);
        if let Some(place) = self.numbers.get_mut(self.len) {
            *place = number;
            self.len += 1;
        }
    }

    pub(crate) fn numbers(&self) -> &[u64] {
        self.numbers.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn with_checksum(self, checksum: u32) -> Self {
        Self { checksum: Some(checksum), ..self }
    }

    pub(crate) fn with_address(self, address: Address) -> Self {
        Self { address: Some(address), ..self }
    }

    pub(crate) fn peer(peer: PeerId) -> [u64; 2] {
        [peer.slot() as u64, peer.generation().into()]
    }

    /// Nothing as 0; something as its kind plus one, how many details it has, and these.
    pub(crate) fn optional<T: Coded>(value: Option<&T>) -> Self {
        let Some(value) = value else { return Self::of(&[0]) };
        let Code { kind, details } = value.to_code();
        let count = details.iter().rposition(|detail| *detail != 0).map_or(0, |last| last + 1);
        let mut row = Self::of(&[(u64::from(kind) + 1) << 3 | count as u64]);
        details.iter().take(count).for_each(|detail| row.push(*detail));
        row
    }
}

/// The distance from `base`, small whichever way it goes.
pub(crate) fn zigzag(at: Instant, base: Instant) -> u64 {
    let ahead = at.as_micros().wrapping_sub(base.as_micros()) as i64;
    ((ahead << 1) ^ (ahead >> 63)) as u64
}

/// What lies at that distance from `base`.
pub(crate) fn unzigzag(distance: u64, base: Instant) -> Instant {
    let ahead = (distance >> 1) ^ (distance & 1).wrapping_neg();
    Instant::from_micros(base.as_micros().wrapping_add(ahead))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_time_is_found_from_any_other(at: u64, base: u64) {
            let [at, base] = [at, base].map(Instant::from_micros);
            prop_assert_eq!(unzigzag(zigzag(at, base), base), at);
        }
    }

    #[test]
    fn near_times_are_small_numbers() {
        let at = |micros| Instant::from_micros(micros);
        assert_eq!(zigzag(at(5), at(5)), 0);
        assert_eq!(zigzag(at(4), at(5)), 1);
        assert_eq!(zigzag(at(6), at(5)), 2);
        assert_eq!(zigzag(at(u64::MAX), at(0)), 1);
    }
}
