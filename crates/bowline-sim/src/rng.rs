//! A small seeded generator of random numbers.

use bowline_core::Duration;

/// One percent, in the parts per million that every chance here is given in.
pub const PERCENT: u32 = 10_000;

/// Certainty, in parts per million.
const CERTAIN: u64 = 1_000_000;

/// The golden ratio's share of 2^64, odd: what SplitMix64 steps by.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64: 64 bits of state, integers only, the same numbers on every target.
///
/// For simulations, never for secrets: the seed follows from a single output.
///
/// Source: G. Steele, D. Lea, C. Flood, *Fast splittable pseudorandom number generators*, OOPSLA
/// 2014, with the constants of S. Vigna's public domain `splitmix64.c`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`; any seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator number `stream` of those that share `seed`.
    pub const fn stream(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GAMMA)) ^ stream))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A generator of its own, at the price of one number of this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// A number in `0..n`, or 0 if `n` is 0. Off from uniform by less than `n / 2^64`, so that
    /// each call takes exactly one number.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// True with a chance of `per_million` in a million; always, from a million on.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(CERTAIN) < u64::from(per_million)
    }

    /// A whole number of microseconds in `0..=longest`.
    pub fn duration(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros().saturating_add(1)))
    }

    /// Fills `bytes` at random.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// 32 random bytes: the seed of a machine.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

/// A bijection in which every input bit changes about half of the output bits.
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        let expected: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn impossible_never_happens_and_certain_always_does() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            assert!(!rng.chance(0));
            assert!(rng.chance(1_000_000));
            assert_eq!(rng.below(0), 0);
            assert_eq!(rng.below(1), 0);
        }
    }

    #[test]
    fn chances_come_out_as_asked() {
        let mut rng = Rng::new(2);
        for percent in [1, 10, 50, 99] {
            let hits = (0..100_000).filter(|_| rng.chance(percent * PERCENT)).count();
            let expected = percent as usize * 1_000;
            // Five standard deviations of a binomial with n = 100,000 are below 800.
            assert!(hits.abs_diff(expected) < 800, "{hits} hits instead of {expected}");
        }
    }

    #[test]
    fn every_value_of_a_small_range_comes_up_equally_often() {
        let mut rng = Rng::new(3);
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|_| counts[rng.below(7) as usize] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }

    #[test]
    fn durations_include_both_ends() {
        let mut rng = Rng::new(4);
        let mut seen = [false; 3];
        (0..100)
            .for_each(|_| seen[rng.duration(Duration::from_micros(2)).as_micros() as usize] = true);
        assert_eq!(seen, [true; 3]);
        assert_eq!(rng.duration(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let mut firsts: [u64; 64] =
            core::array::from_fn(|stream| Rng::stream(9, stream as u64).next_u64());
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(Rng::stream(9, 0), Rng::stream(10, 0));
    }

    #[test]
    fn a_fork_leaves_its_parent_one_number_on() {
        let mut parent = Rng::new(5);
        let mut twin = parent.clone();
        let mut child = parent.fork();
        (0..10).for_each(|_| {
            child.next_u64();
        });
        twin.next_u64();
        assert_eq!(parent, twin);
    }

    #[test]
    fn filling_reaches_the_last_byte() {
        let mut bytes = [0_u8; 13];
        let mut seen = [0_u8; 13];
        let mut rng = Rng::new(6);
        for _ in 0..8 {
            rng.fill(&mut bytes);
            seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte);
        }
        assert!(seen.iter().all(|&byte| byte != 0));
    }
}
