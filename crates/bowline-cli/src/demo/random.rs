//! Random numbers that a seed repeats.

/// SplitMix64 ([Steele, Lea and Flood, 2014](https://doi.org/10.1145/2660193.2660195)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// A sequence of its own for each list of parts.
    pub(super) fn new(parts: &[u64]) -> Self {
        let fold = |state, part| Self(state ^ part).next().wrapping_add(GOLDEN);
        Self(parts.iter().fold(0, fold))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: f64) -> bool {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64) * 100.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_reference_of_splitmix64() {
        let mut random = Random(1_234_567);
        let first: [u64; 3] = core::array::from_fn(|_| random.next());
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_chance_is_taken_as_often_as_it_says() {
        let mut random = Random::new(&[1]);
        let mut taken = |percent| (0..100_000).filter(|_| random.chance(percent)).count();
        assert_eq!((taken(0.0), taken(100.0)), (0, 100_000));
        assert!((4_700..5_300).contains(&taken(5.0)));
    }

    #[test]
    fn every_part_makes_another_sequence() {
        let first = |parts: &[u64]| Random::new(parts).next();
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1]), first(&[1, 0]));
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
    }
}
