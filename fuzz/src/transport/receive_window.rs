//! The receive window against a sorted set, and the peer that believes its reports.

use std::collections::BTreeSet;

use bowline_transport::receive_window::{Freshness, ReceiveWindow};

use crate::feed::Feed;

/// Packets arrive anywhere; reports go out, and some of them are acknowledged in any order.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let first = match feed.u8() % 4 {
        0 => u64::from(feed.u8()),
        1 => u64::from(u32::MAX) - u64::from(feed.u8()),
        _ => feed.sized() >> 4,
    };
    let mut window = ReceiveWindow::new(first);
    let mut accepted: BTreeSet<u64> = BTreeSet::new();
    let mut reports: Vec<(u64, Vec<u64>)> = Vec::new();
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    while !feed.is_empty() {
        let ahead = match feed.u8() % 8 {
            0..3 => 0,
            3 | 4 => i64::from(feed.u8() as i8) >> 3,
            5 => i64::from(feed.u16() as i16) >> 4,
            6 => {
                if let Some(largest) = window.largest() {
                    let told = window.ranges().flat_map(|(start, end)| start..=end).collect();
                    reports.push((largest, told));
                }
                continue;
            }
            _ => {
                let Some(at) = feed.below(256).checked_rem(reports.len()) else { continue };
                let (largest, told) = &reports[at];
                seen.extend(told);
                window.set_reported(*largest);
                continue;
            }
        };
        let number = window.expected().saturating_add_signed(ahead);
        let largest = accepted.last().copied();
        match window.check(number) {
            Freshness::Duplicate => assert!(accepted.contains(&number), "{number} is new"),
            Freshness::Stale => {
                let forgotten = largest.is_some_and(|l| number + ReceiveWindow::LEN_MIN < l);
                assert!(number < first || number == u64::MAX || forgotten, "{number} is not stale");
            }
            Freshness::New => {
                let expected = largest.map_or(first, |largest| largest + 1);
                let arrival = window.record(number);
                assert!(accepted.insert(number), "{number} is taken twice");
                assert_eq!(arrival.in_order, number == expected);
                assert_eq!(arrival.new_gap, number > expected);
            }
        }
        check_window(&window, first, &accepted, &seen);
    }
}

fn check_window(
    window: &ReceiveWindow,
    first: u64,
    accepted: &BTreeSet<u64>,
    seen: &BTreeSet<u64>,
) {
    let largest = accepted.last().copied();
    assert_eq!(window.largest(), largest);
    assert_eq!(window.expected(), largest.map_or(first, |largest| largest + 1));
    let ranges: Vec<_> = window.ranges().collect();
    assert!(ranges.windows(2).all(|pair| pair[0].0 > pair[1].1 + 1), "{ranges:?}");
    let told: BTreeSet<u64> = ranges.iter().flat_map(|&(start, end)| start..=end).collect();
    assert!(told.iter().eq(accepted.range(window.floor()..)), "reports {ranges:?}");
    let Some(largest) = largest else { return };
    let eight = largest.saturating_sub(7).max(first);
    let last_eight = (eight..=largest).all(|number| accepted.contains(&number));
    assert_eq!(window.last_eight(), last_eight);
    if window.needs_only_last_eight() {
        assert!(last_eight && told.iter().all(|&number| number >= eight));
    }
    let from = largest.saturating_sub(ReceiveWindow::LEN_MIN).max(first);
    let known = |number: &u64| told.contains(number) || seen.contains(number);
    assert!(accepted.range(from..).all(known), "something is neither reported nor seen");
}
