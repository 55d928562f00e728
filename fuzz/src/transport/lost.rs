//! Spurious losses against a set of the last ones.

use std::collections::BTreeSet;

use bowline_transport::late::LostPackets;

use crate::feed::Feed;

/// Packets are taken for lost, mostly in order, and some of them are acknowledged all the same.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut packets = LostPackets::NONE;
    let mut lost: BTreeSet<u64> = BTreeSet::new();
    let mut next = feed.sized() >> 8;
    while !feed.is_empty() {
        match feed.u8() % 3 {
            0 | 1 => {
                next += u64::from(feed.u8() & 15);
                packets.on_lost(next);
                lost.insert(next);
            }
            _ => {
                let end = (next + 8).saturating_sub(feed.u8().into());
                let start = end.saturating_sub(feed.u8().into());
                let late = packets.on_acked(start, end);
                let newest = lost.last().copied().unwrap_or(0);
                let remembered = newest.saturating_sub(63)..=newest;
                let known: Vec<u64> = lost.range(start..=end).copied().collect();
                let sure = known.iter().filter(|number| remembered.contains(number)).count();
                assert_eq!(late as usize, sure, "{known:?} of {start}..={end}");
                lost.retain(|number| !known.contains(number));
                // What is acknowledged leaves no newest to count from, but numbers go on from there.
                if lost.is_empty() {
                    packets = LostPackets::NONE;
                } else if lost.last() != Some(&newest) {
                    return;
                }
            }
        }
    }
}
