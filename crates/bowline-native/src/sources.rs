//! What is known of sources: how often they ask, and how many sessions they have.
//!
//! Both tables are in lent memory and know a source by 32 bits of a keyed hash, so that nobody outside
//! can choose who shares a place.

use bowline_core::Instant;

/// One unit of time here, in bits of a microsecond: 64 µs. What is counted wraps after 76 hours.
const UNIT_BITS: u32 = 6;

/// Units in a second.
const UNITS_PER_SECOND: u32 = 1_000_000 >> UNIT_BITS;

/// In how many places a source may be.
const WAYS: usize = 4;

/// How often one source may ask for a session or an answer: a token bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RateLimit {
    /// How many datagrams at once, at least 1.
    pub burst: u32,
    /// How many more each second after that, `1..=1_000`.
    pub per_second: u32,
}

impl RateLimit {
    /// Longest time after which a source may ask as if it had never done so, in seconds.
    const WINDOW_MAX: u32 = 3_600;

    pub(crate) const fn is_sound(&self) -> bool {
        self.burst > 0
            && self.per_second > 0
            && self.per_second <= 1_000
            && self.burst / self.per_second < Self::WINDOW_MAX
    }

    /// Units of time that a datagram costs.
    const fn cost(&self) -> u32 {
        match UNITS_PER_SECOND.checked_div(self.per_second) {
            Some(cost) => cost,
            None => UNITS_PER_SECOND,
        }
    }
}

/// How much a source has asked for lately.
#[derive(Clone, Copy, Debug)]
pub struct SourceRate {
    tag: u32,
    /// When it may ask for a whole burst again, in units of time.
    paid_at: u32,
}

impl SourceRate {
    /// Nobody's.
    pub const VACANT: Self = Self { tag: 0, paid_at: 0 };
}

/// Whether the source `tag` may ask once more at `now`; if so, that counts.
///
/// A source that asks a lot keeps its place; one that finds none, because all its places belong to
/// others who do, is let pass. So those who ask from many addresses keep nobody out.
pub(crate) fn may_ask(
    places: &mut [SourceRate],
    limit: &RateLimit,
    tag: u32,
    now: Instant,
) -> bool {
    let now = (now.as_micros() >> UNIT_BITS) as u32;
    let (cost, window) = (limit.cost(), limit.cost().saturating_mul(limit.burst));
    let mut free = None;
    let len = places.len();
    for at in (0..WAYS.min(len)).map(|way| place(tag, way, len)) {
        let Some(known) = places.get_mut(at) else { return true };
        let ahead = known.paid_at.wrapping_sub(now);
        // What seems to lie further ahead than anyone can be is past.
        let owed = if ahead <= window { ahead } else { 0 };
        if known.tag == tag {
            let may = owed + cost <= window;
            if may {
                known.paid_at = now.wrapping_add(owed + cost);
            }
            return may;
        }
        if owed == 0 && free.is_none() {
            free = Some(at);
        }
    }
    if let Some(free) = free.and_then(|at| places.get_mut(at)) {
        *free = SourceRate { tag, paid_at: now.wrapping_add(cost) };
    }
    true
}

/// How many sessions a source has.
#[derive(Clone, Copy, Debug)]
pub struct SourceCount {
    tag: u32,
    /// 0 if the place is vacant.
    count: u32,
}

impl SourceCount {
    /// Nobody's.
    pub const VACANT: Self = Self { tag: 0, count: 0 };
}

/// Counts of sessions by source, in twice as many places as there may be sessions.
#[derive(Debug)]
pub(crate) struct SourceCounts<'m>(pub(crate) &'m mut [SourceCount]);

impl SourceCounts<'_> {
    /// How many sessions the source `tag` has.
    pub(crate) fn count(&self, tag: u32) -> u32 {
        self.find(tag).ok().and_then(|at| self.0.get(at)).map_or(0, |known| known.count)
    }

    /// It has one more.
    pub(crate) fn add(&mut self, tag: u32) {
        let (Ok(at) | Err(at)) = self.find(tag);
        if let Some(known) = self.0.get_mut(at) {
            *known = SourceCount { tag, count: known.count.saturating_add(1) };
        }
    }

    /// It has one less.
    pub(crate) fn remove(&mut self, tag: u32) {
        let Ok(at) = self.find(tag) else { return };
        let Some(known) = self.0.get_mut(at) else { return };
        known.count = known.count.saturating_sub(1);
        if known.count == 0 {
            self.close_gap(at);
        }
    }

    /// Nobody has any.
    pub(crate) fn clear(&mut self) {
        self.0.fill(SourceCount::VACANT);
    }

    /// Where `tag` is, or where it would be put.
    fn find(&self, tag: u32) -> Result<usize, usize> {
        let len = self.0.len();
        for way in 0..len {
            let at = place(tag, way, len);
            match self.0.get(at) {
                Some(known) if known.count == 0 => return Err(at),
                Some(known) if known.tag == tag => return Ok(at),
                _ => {}
            }
        }
        Err(len)
    }

    /// Moves up what a search would not find any more behind the vacant place `gap`.
    fn close_gap(&mut self, mut gap: usize) {
        let len = self.0.len();
        let mut at = gap;
        for _ in 1..len {
            at = if at + 1 >= len { 0 } else { at + 1 };
            let Some(&known) = self.0.get(at).filter(|known| known.count > 0) else { break };
            let home = place(known.tag, 0, len);
            let between =
                if gap <= at { gap < home && home <= at } else { gap < home || home <= at };
            if !between {
                self.put(gap, known);
                self.put(at, SourceCount::VACANT);
                gap = at;
            }
        }
    }

    fn put(&mut self, at: usize, known: SourceCount) {
        if let Some(here) = self.0.get_mut(at) {
            *here = known;
        }
    }
}

/// Where a source may be among `len` places, the first of which is its home.
fn place(tag: u32, way: usize, len: usize) -> usize {
    let home = (tag as usize).checked_rem(len).unwrap_or(0);
    let at = home + way;
    if at >= len { at - len } else { at }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::Duration;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RateLimit = RateLimit { burst: 4, per_second: 2 };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let mut places = [SourceRate::VACANT; 8];
        let mut asks = |millis, times| {
            (0..times).filter(|_| may_ask(&mut places, &LIMIT, 7, at(millis))).count()
        };
        assert_eq!(asks(10_000, 9), 4);
        assert_eq!(asks(10_499, 9), 0);
        assert_eq!(asks(10_501, 9), 1);
        assert_eq!(asks(11_502, 9), 2);
        assert_eq!(asks(60_000, 9), 4, "no more than a burst is ever saved");
    }

    #[test]
    fn what_one_source_does_costs_no_other() {
        let mut places = [SourceRate::VACANT; 16];
        // All at once, as many as there is no place for, and each far beyond what it may.
        for round in 0..100 {
            for tag in 0..1_000 {
                let may = may_ask(&mut places, &LIMIT, tag, at(10_000));
                assert!(may || round >= 4, "source {tag} was kept out in round {round}");
            }
        }
        assert!(may_ask(&mut places, &LIMIT, 5_000, at(10_000)), "nor is a newcomer");
        let kept = (0..1_000).filter(|tag| !may_ask(&mut places, &LIMIT, *tag, at(10_000))).count();
        assert_eq!(kept, 16, "those who have a place are held to it");
    }

    proptest! {
        /// In any stretch of time a source that always finds its place gets its burst and its rate, and no
        /// more; and never less than its rate.
        #[test]
        fn a_bucket_is_a_bucket(gaps in prop::collection::vec(0u64..1_500, 1..200), start in any::<u32>()) {
            let mut places = [SourceRate::VACANT; 4];
            let (mut now, mut taken) = (u64::from(start), Vec::new());
            for gap in gaps {
                now += gap;
                if may_ask(&mut places, &LIMIT, 1, at(now)) {
                    taken.push(now);
                } else {
                    let recent = taken.iter().filter(|then| now - **then <= 2_000).count();
                    prop_assert!(recent >= 4, "refused although a whole bucket came in since");
                }
            }
            for (i, first) in taken.iter().enumerate() {
                for (n, last) in taken[i..].iter().enumerate() {
                    // A millisecond for times that were rounded.
                    prop_assert!(n as u64 <= 4 + (last - first + 1) * 2 / 1_000);
                }
            }
        }

        #[test]
        fn counts_agree_with_a_map(ops in prop::collection::vec((0u32..24, any::<bool>()), 0..300), worst: bool) {
            let mut places = vec![SourceCount::VACANT; 32];
            let mut counts = SourceCounts(&mut places);
            let mut model = BTreeMap::<u32, u32>::new();
            for (tag, more) in ops {
                // At worst all have the same home.
                let tag = if worst { tag * 32 } else { tag.wrapping_mul(0x9E37_79B9) };
                if more && (model.len() < 16 || model.contains_key(&tag)) {
                    counts.add(tag);
                    *model.entry(tag).or_default() += 1;
                } else {
                    counts.remove(tag);
                    if let Some(count) = model.get_mut(&tag) {
                        *count -= 1;
                    }
                    model.retain(|_, count| *count > 0);
                }
                for tag in (0..24).flat_map(|tag: u32| [tag * 32, tag.wrapping_mul(0x9E37_79B9)]) {
                    prop_assert_eq!(counts.count(tag), model.get(&tag).copied().unwrap_or(0));
                }
                prop_assert_eq!(counts.0.iter().filter(|known| known.count > 0).count(), model.len());
            }
        }
    }
}
