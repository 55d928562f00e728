use alloc::collections::BTreeSet;

use super::*;

/// The ranges of the list at `first`, from `initial` on.
fn listed(memory: &Memory, initial: u32, first: Link) -> Vec<(u32, u32)> {
    let mut at = first;
    let mut all = Vec::new();
    while let Some(link) = at.some() {
        let (start, end) = memory.range(link);
        all.push((start.wrapping_sub(initial), end.wrapping_sub(initial)));
        at = memory.items[link.index()].next;
    }
    all
}

/// The longest runs of bytes in the set.
fn runs(set: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = Vec::new();
    for &byte in set {
        match all.last_mut() {
            Some((_, end)) if *end == byte => *end += 1,
            _ => all.push((byte, byte + 1)),
        }
    }
    all
}

proptest! {
    /// The list is the set of its bytes, in as few ranges as can be, and the rest was given back.
    #[test]
    fn a_list_of_ranges_is_a_set_of_bytes(
        initial in initial(),
        inserted in prop::collection::vec((0u32..300, 1u32..40), 0..60),
    ) {
        let mut memory = Memory::new(0, 12, 100);
        let mut first = Link::NONE;
        let mut model = BTreeSet::new();
        for (start, len) in inserted {
            let from = initial.wrapping_add(start);
            let link = memory.record(from, from.wrapping_add(len));
            memory.with(|_, _, ranges| ranges.insert(&mut first, link));
            model.extend(start..start + len);
            let runs = runs(&model);
            prop_assert_eq!(memory.in_use().1 as usize, runs.len());
            prop_assert_eq!(listed(&memory, initial, first), runs);
        }
    }
}
