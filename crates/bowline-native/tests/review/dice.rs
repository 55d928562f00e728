//! Chance that can be had again.

/// Numbers that follow from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n
    }

    pub(crate) fn near(&mut self, base: u32) -> u32 {
        match self.below(60) {
            0 => self.0 as u32,
            1 => base.wrapping_add(0x7FFF_FF00).wrapping_add(self.below(600)),
            2..15 => base.wrapping_sub(self.below(300)),
            15..20 => base.wrapping_add(self.below(1_200)),
            _ => base.wrapping_add(self.below(80)),
        }
    }
}
