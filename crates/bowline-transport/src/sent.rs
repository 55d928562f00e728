//! Packets in flight, and what acknowledgements and time make of them.

use bowline_core::serial::ahead32;
use bowline_core::{Instant, Link, Slots};

use crate::late::LostPackets;
use crate::loss::{LossDetector, Verdict};
use crate::record::{List, Record};
use crate::rtt::RttEstimator;

/// Packets that elicit an acknowledgement and had none yet, oldest first.
///
/// One list walked from its old end: what an acknowledgement covers is mostly there, and what stays
/// there is soon found lost, so a walk is as long as what is new or missing.
#[derive(Clone, Copy, Debug)]
pub struct SentPackets {
    list: List,
    /// Sum of the packets' lengths.
    in_flight: u32,
    lost: LostPackets,
}

impl SentPackets {
    /// Nothing in flight.
    pub const NONE: Self = Self { list: List::EMPTY, in_flight: 0, lost: LostPackets::NONE };

    /// Bytes in flight.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether nothing is in flight.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The oldest packet in flight.
    pub fn oldest(&self) -> Option<Link> {
        self.list.head.some()
    }

    /// Adds the newest packet.
    #[inline]
    pub fn push(&mut self, records: &mut Slots<'_, Record>, packet: Link) {
        self.in_flight += u32::from(records[packet].size);
        self.list.push_back(records, packet);
    }

    /// Takes the oldest packet out, as if lost.
    pub fn pop(&mut self, records: &mut Slots<'_, Record>) -> Option<Link> {
        let link = self.list.pop_front(records)?;
        self.in_flight = self.in_flight.saturating_sub(u32::from(records[link].size));
        Some(link)
    }

    /// What `look` finds in the oldest packet in which it finds anything.
    pub fn find<T>(
        &self,
        records: &Slots<'_, Record>,
        look: impl Fn(&Slots<'_, Record>, Link) -> Option<T>,
    ) -> Option<T> {
        let mut at = self.list.head;
        while let Some(link) = at.some() {
            let found = look(records, link);
            if found.is_some() {
                return found;
            }
            at = records[link].next;
        }
        None
    }

    /// Takes the oldest packet out that is `wanted`, or else the oldest, as if lost.
    pub fn pop_wanted(
        &mut self,
        records: &mut Slots<'_, Record>,
        wanted: impl Fn(&Slots<'_, Record>, Link) -> bool,
    ) -> Option<Link> {
        let (mut before, mut at) = (Link::NONE, self.list.head);
        while let Some(link) = at.some() {
            if wanted(records, link) {
                self.list.remove_after(records, before);
                self.in_flight = self.in_flight.saturating_sub(u32::from(records[link].size));
                return Some(link);
            }
            (before, at) = (link, records[link].next);
        }
        self.pop(records)
    }

    /// How many of the packets that `ranges` acknowledge had been taken for lost, lately.
    pub fn late_acks(&mut self, ranges: &[(u64, u64)]) -> u32 {
        ranges.iter().map(|&(start, end)| self.lost.on_acked(start, end)).sum()
    }

    /// Takes out the packets that `ranges` acknowledge, oldest first.
    ///
    /// `ranges` are inclusive and ascending.
    pub fn take_acked(&mut self, records: &mut Slots<'_, Record>, ranges: &[(u64, u64)]) -> List {
        let mut acked = List::EMPTY;
        let mut ranges = ranges.iter();
        let mut range = ranges.next();
        let (mut before, mut at) = (Link::NONE, self.list.head);
        while let (Some(link), Some(&(start, end))) = (at.some(), range) {
            let number = records[link].number;
            if ahead32(number, end as u32) > 0 {
                range = ranges.next();
                continue;
            }
            at = records[link].next;
            if ahead32(number, start as u32) < 0 {
                before = link;
                continue;
            }
            self.list.remove_after(records, before);
            if !cfg!(bowline_mutant = "acked_in_flight") {
                self.in_flight = self.in_flight.saturating_sub(u32::from(records[link].size));
            }
            acked.push_back(records, link);
        }
        acked
    }

    /// Takes out the packets that are lost, oldest first, and tells when the next one will be.
    pub fn take_lost(
        &mut self,
        records: &mut Slots<'_, Record>,
        detector: &LossDetector,
        rtt: &RttEstimator,
        now: Instant,
    ) -> (List, Option<Instant>) {
        let mut lost = List::EMPTY;
        let Some(largest) = detector.largest_acked() else { return (lost, None) };
        while let Some(link) = self.list.head.some() {
            let record = &records[link];
            let behind = ahead32(largest as u32, record.number);
            let number = largest.wrapping_sub(i64::from(behind) as u64);
            match detector.verdict(number, record.at, now, rtt) {
                Verdict::Lost => {
                    self.lost.on_lost(number);
                    self.pop(records);
                    lost.push_back(records, link);
                }
                Verdict::At(at) => return (lost, Some(at)),
                Verdict::Pending => break,
            }
        }
        (lost, None)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::{Duration, Quota, Slot, SlotControl};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::thorough())]

        /// What is taken out is what the ranges name, in order, and the bytes always add up.
        #[test]
        fn acknowledged_packets_leave_in_order(
            first in prop_oneof![Just(0u64), Just(u32::MAX as u64 - 20)],
            acks in prop::collection::vec(prop::collection::btree_set(0u64..60, 0..30), 1..6),
        ) {
            let mut items = vec![Record::VACANT; 60];
            let mut control = SlotControl::new(60);
            let mut records = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let mut sent = SentPackets::NONE;
            let mut model = BTreeMap::new();
            for i in 0..60 {
                let link = records.take(&mut quota).unwrap();
                records[link].number = (first + i) as u32;
                records[link].size = 10 + i as u16;
                sent.push(&mut records, link);
                model.insert(first + i, 10 + i as u32);
            }
            for ack in acks {
                let mut ranges: Vec<(u64, u64)> = Vec::new();
                for number in ack {
                    match ranges.last_mut() {
                        Some((_, end)) if *end + 1 == first + number => *end += 1,
                        _ => ranges.push((first + number, first + number)),
                    }
                }
                let mut acked = sent.take_acked(&mut records, &ranges);
                for number in ranges.iter().flat_map(|&(start, end)| start..=end) {
                    if model.remove(&number).is_some() {
                        let link = acked.pop_front(&mut records).unwrap();
                        prop_assert_eq!(records[link].number, number as u32);
                        records.give(&mut quota, link);
                    }
                }
                prop_assert!(acked.is_empty());
                prop_assert_eq!(sent.in_flight(), model.values().sum::<u32>());
                prop_assert_eq!(records.ledger().in_use() as usize, model.len());
            }
            // In the end they go one by one, those whose length is wanted before others.
            for turn in 0u16.. {
                let is_wanted = |size: u32| size % 4 == u32::from(turn % 4);
                let first = model.iter().find(|&(_, &size)| is_wanted(size)).or(model.iter().next());
                let Some((&number, _)) = first else { break };
                let size = |records: &Slots<'_, Record>, link: Link| u32::from(records[link].size);
                let link = if turn % 5 == 0 {
                    let link = sent.pop(&mut records).unwrap();
                    prop_assert_eq!(Some(size(&records, link)), model.pop_first().map(|(_, size)| size));
                    link
                } else {
                    let wanted = |records: &Slots<'_, Record>, link| is_wanted(size(records, link));
                    let link = sent.pop_wanted(&mut records, wanted).unwrap();
                    prop_assert_eq!(Some(size(&records, link)), model.remove(&number));
                    link
                };
                records.give(&mut quota, link);
                prop_assert_eq!(sent.in_flight(), model.values().sum::<u32>());
            }
            prop_assert!(sent.is_empty());
            prop_assert_eq!(sent.pop(&mut records), None);
            prop_assert!(model.is_empty());
        }

        /// As acknowledgements come and time passes, exactly those packets are found lost, oldest
        /// first, that three numbers or a time threshold prove lost; and the time named is the one
        /// at which the next will be.
        #[test]
        fn what_is_lost_is_found_and_nothing_else(
            first in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 20), Just(1u64 << 40)],
            gaps in prop::collection::vec(0u64..30_000, 40),
            steps in prop::collection::vec((0u64..40, 0u64..60_000), 0..40),
        ) {
            let mut items = vec![Record::VACANT; 40];
            let mut control = SlotControl::new(40);
            let mut records = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let mut sent = SentPackets::NONE;
            let mut model = BTreeMap::new();
            let mut now = Instant::from_micros(1_000_000);
            for (number, gap) in (first..).zip(gaps) {
                now = now + Duration::from_micros(gap);
                let link = records.take(&mut quota).unwrap();
                (records[link].number, records[link].at, records[link].size) = (number as u32, now, 1);
                sent.push(&mut records, link);
                model.insert(number, now);
            }
            let mut rtt = RttEstimator::new(Duration::from_millis(333));
            rtt.on_sample(Duration::from_millis(80), Duration::ZERO);
            let given = Duration::from_millis(90);
            let (mut detector, mut largest) = (LossDetector::new(), None);
            for (acked, wait) in steps {
                now = now + Duration::from_micros(wait);
                let acked = first + acked;
                let mut list = sent.take_acked(&mut records, &[(acked, acked)]);
                prop_assert_eq!(list.pop_front(&mut records).is_some(), model.remove(&acked).is_some());
                detector.on_ack(acked);
                largest = largest.max(Some(acked));

                let (mut lost, next) = sent.take_lost(&mut records, &detector, &rtt, now);
                let behind = |number: u64| largest.is_some_and(|largest| number < largest);
                let is_lost = |number: u64, at: Instant| {
                    behind(number) && (number + 3 <= largest.unwrap() || at + given <= now)
                };
                let mut found = Vec::new();
                while let Some(link) = lost.pop_front(&mut records) {
                    found.push(records[link].number);
                }
                let expected = model.iter().filter(|&(&number, &at)| is_lost(number, at));
                prop_assert!(expected.map(|(&number, _)| number as u32).eq(found));
                model.retain(|&number, &mut at| !is_lost(number, at));
                prop_assert_eq!(sent.in_flight() as usize, model.len());
                let waits = model.iter().filter(|&(&number, _)| behind(number));
                prop_assert_eq!(next, waits.map(|(_, &at)| at + given).min());
            }
        }
    }
}
