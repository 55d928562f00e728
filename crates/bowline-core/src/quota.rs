//! Who was promised how much of something that all share.

/// What is left of a shared supply, and how much of that is spoken for.
///
/// Invariant: what is promised is the sum, over all quotas, of what each guarantees and does not hold.
/// Nobody takes beyond his guarantee what another was promised, so a guarantee is always good.
/// Nor does anybody take what is kept for guarantees of those who have not come yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger {
    /// How many there are in all, in use or not.
    limit: u32,
    in_use: u32,
    /// For those who have not come yet.
    kept: u32,
    /// Neither in use, nor kept, nor promised. What is promised is the rest.
    common: u32,
}

/// One user's share of a supply: a guarantee, and what is held now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quota {
    guaranteed: u32,
    held: u32,
}

impl Quota {
    /// Nothing promised, nothing held.
    pub const NONE: Self = Self { guaranteed: 0, held: 0 };

    /// How much may be held whatever others do.
    pub const fn guaranteed(&self) -> u32 {
        self.guaranteed
    }

    /// How much is held.
    pub const fn held(&self) -> u32 {
        self.held
    }

    const fn unfilled(&self) -> u32 {
        self.guaranteed.saturating_sub(self.held)
    }
}

impl Ledger {
    /// A supply of `limit`, all of it free.
    pub const fn new(limit: u32) -> Self {
        Self { limit, in_use: 0, kept: 0, common: limit }
    }

    /// How many are taken.
    pub const fn in_use(&self) -> u32 {
        self.in_use
    }

    /// The size of the supply.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many are guaranteed to somebody who does not hold them.
    pub const fn promised(&self) -> u32 {
        self.limit - self.in_use - self.kept - self.common
    }

    /// How many anybody may take beyond a guarantee.
    pub const fn common(&self) -> u32 {
        self.common
    }

    /// How many more the owner of `quota` could take now.
    pub const fn available(&self, quota: &Quota) -> u32 {
        quota.unfilled().saturating_add(self.common)
    }

    /// Keeps `count` for those who will be admitted, or as many as are nobody's; instead of what was kept before.
    pub const fn keep(&mut self, count: u32) {
        let nobodys = self.kept + self.common;
        self.kept = if count < nobodys { count } else { nobodys };
        self.common = nobodys - self.kept;
    }

    /// Guarantees `count` to a newcomer, from what is kept for him as far as that goes.
    pub fn admit(&mut self, quota: &mut Quota, count: u32) -> bool {
        let his = count.min(self.kept);
        self.kept -= his;
        self.common += his;
        let admitted = self.promise(quota, count);
        if !admitted {
            self.kept += his;
            self.common -= his;
        }
        admitted
    }

    /// Ends all guarantees of `quota`, and keeps `count` of them for the next who comes.
    pub fn dismiss(&mut self, quota: &mut Quota, count: u32) {
        let count = count.min(quota.guaranteed);
        self.release(quota, quota.guaranteed);
        self.keep(self.kept.saturating_add(count));
    }

    /// Raises the guarantee of `quota` by `count`, if nobody was promised that.
    pub fn promise(&mut self, quota: &mut Quota, count: u32) -> bool {
        let unfilled = quota.unfilled();
        let raised = Quota { guaranteed: quota.guaranteed.saturating_add(count), ..*quota };
        let more = raised.unfilled() - unfilled;
        let Some(common) = self.common.checked_sub(more) else { return false };
        self.common = common;
        *quota = raised;
        true
    }

    /// Lowers the guarantee of `quota` by `count`.
    pub fn release(&mut self, quota: &mut Quota, count: u32) {
        let unfilled = quota.unfilled();
        quota.guaranteed = quota.guaranteed.saturating_sub(count);
        self.common += unfilled - quota.unfilled();
    }

    /// Whether the owner of `quota` could take `count` now.
    #[inline]
    pub const fn can_take(&self, quota: &Quota, count: u32) -> bool {
        count.saturating_sub(quota.unfilled()) <= self.common
    }

    /// Counts `count` as taken by the owner of `quota`, if that is allowed.
    #[inline]
    pub fn take(&mut self, quota: &mut Quota, count: u32) -> bool {
        let beyond = count.saturating_sub(quota.unfilled());
        let Some(common) = self.common.checked_sub(beyond) else { return false };
        self.common = common;
        self.in_use += count;
        quota.held += count;
        true
    }

    /// As [`Self::take`], of one: what happens most.
    #[inline]
    pub fn take_one(&mut self, quota: &mut Quota) -> bool {
        let beyond = u32::from(quota.held >= quota.guaranteed);
        let Some(common) = self.common.checked_sub(beyond) else { return false };
        self.common = common;
        self.in_use += 1;
        quota.held += 1;
        true
    }

    /// As [`Self::give`], of one.
    #[inline]
    pub fn give_one(&mut self, quota: &mut Quota) {
        debug_assert!(quota.held > 0 && self.in_use > 0);
        self.common += u32::from(quota.held > quota.guaranteed);
        quota.held = quota.held.wrapping_sub(1);
        self.in_use = self.in_use.wrapping_sub(1);
    }

    /// Counts `count` as given back by the owner of `quota`.
    #[inline]
    pub const fn give(&mut self, quota: &mut Quota, count: u32) {
        debug_assert!(count <= quota.held && count <= self.in_use);
        let beyond = quota.held.saturating_sub(quota.guaranteed);
        self.common += if beyond < count { beyond } else { count };
        quota.held = quota.held.wrapping_sub(count);
        self.in_use = self.in_use.wrapping_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever three users do, a guarantee is always good and the sums always hold.
        #[test]
        fn a_guarantee_is_always_good(ops in prop::collection::vec((0usize..3, 0u8..4, 0u32..9), 0..300)) {
            let mut ledger = Ledger::new(40);
            let mut quotas = [Quota::NONE; 3];
            for (who, what, count) in ops {
                let quota = &mut quotas[who];
                match what {
                    0 => { ledger.promise(quota, count); }
                    1 => ledger.release(quota, count),
                    2 => {
                        let good = count <= quota.guaranteed.saturating_sub(quota.held);
                        let taken = match count {
                            1 => ledger.take_one(quota),
                            _ => ledger.take(quota, count),
                        };
                        prop_assert!(taken || !good);
                    }
                    _ if count == 1 && quota.held > 0 => ledger.give_one(quota),
                    _ => ledger.give(quota, count.min(quota.held)),
                }
                prop_assert_eq!(ledger.in_use, quotas.iter().map(|q| q.held).sum::<u32>());
                prop_assert_eq!(ledger.promised(), quotas.iter().map(Quota::unfilled).sum::<u32>());
                prop_assert!(ledger.in_use + ledger.promised() <= ledger.limit);
            }
        }

        /// Whatever those do who are there, whoever comes next gets his guarantee.
        #[test]
        fn what_is_kept_for_a_newcomer_is_there(
            ops in prop::collection::vec((0usize..3, 0u8..6, 0u32..30), 0..300),
        ) {
            const EACH: u32 = 10;
            let mut ledger = Ledger::new(40);
            ledger.keep(3 * EACH);
            let mut quotas = [None; 3];
            for (who, what, count) in ops {
                match (&mut quotas[who], what) {
                    (absent @ None, 0) => {
                        let mut quota = Quota::NONE;
                        prop_assert!(ledger.admit(&mut quota, EACH));
                        *absent = Some(quota);
                    }
                    (Some(quota), 1) => { ledger.promise(quota, count); }
                    (Some(quota), 2 | 3) => { ledger.take(quota, count); }
                    (Some(quota), 4) => ledger.give(quota, count.min(quota.held)),
                    (Some(quota), 5) => {
                        ledger.give(quota, quota.held);
                        ledger.dismiss(quota, EACH);
                        quotas[who] = None;
                    }
                    _ => {}
                }
                let absent = quotas.iter().filter(|quota| quota.is_none()).count() as u32;
                prop_assert_eq!(ledger.kept, absent * EACH);
                prop_assert!(ledger.in_use + ledger.promised() + ledger.kept <= ledger.limit);
            }
        }
    }
}
