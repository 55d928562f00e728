//! Packets in flight against a map of them.

use std::collections::BTreeMap;

use bowline_core::{Duration, Instant};
use bowline_transport::loss::LossDetector;
use bowline_transport::record::List;
use bowline_transport::reliable::Ranges;
use bowline_transport::rtt::RttEstimator;
use bowline_transport::sent::SentPackets;

use super::memory::Memory;
use crate::feed::Feed;

/// Packets depart; ranges of numbers are acknowledged, whoever sent them; time passes.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut memory = Memory::new(1, 16, 64);
    let mut sent = SentPackets::NONE;
    let mut detector = LossDetector::new();
    let mut rtt = RttEstimator::new(Duration::from_millis(100));
    let mut next = match feed.u8() % 3 {
        0 => 0,
        1 => u64::from(u32::MAX) - u64::from(feed.u8()),
        _ => feed.sized() >> 4,
    };
    let mut now = Instant::from_micros(1_000);
    // Number: size, time. The model.
    let mut flying: BTreeMap<u64, (u16, Instant)> = BTreeMap::new();
    while !feed.is_empty() {
        match feed.u8() % 8 {
            0..3 => {
                let size = 1 + feed.u16() % 1_500;
                let Some(link) = memory.record(0, 0) else { continue };
                memory.with(|_, _, ranges| {
                    let record = &mut ranges.records[link];
                    (record.number, record.size, record.at) = (next as u32, size, now);
                    sent.push(ranges.records, link);
                });
                flying.insert(next, (size, now));
                // Some numbers are skipped on purpose.
                next += 1 + u64::from(feed.u8() % 16 == 0);
            }
            3 | 4 => {
                let newest = next.saturating_sub(1);
                let (end, len) =
                    (newest.saturating_sub(feed.u8().into()), u64::from(feed.u8() & 31));
                let (start, below) = (end.saturating_sub(len), u64::from(feed.u8() & 15));
                let lower = start.saturating_sub(2).saturating_sub(below);
                // Inclusive and ascending, as a caller has checked that they were sent.
                let two = [(lower.saturating_sub(below), lower), (start, end)];
                let ranges = if start > lower + 1 { &two[..] } else { &two[1..] };
                let is_in = |number: &u64| ranges.iter().any(|(a, b)| (a..=b).contains(&number));
                let expected: Vec<u64> = flying.keys().copied().filter(is_in).collect();
                let taken = memory.with(|_, _, records| {
                    let list = sent.take_acked(records.records, ranges);
                    give(list, records)
                });
                assert!(
                    taken.iter().eq(expected
                        .iter()
                        .map(|number| *number as u32)
                        .collect::<Vec<_>>()
                        .iter())
                );
                flying.retain(|number, _| !expected.contains(number));
                if next > 0 {
                    detector.on_ack(end);
                }
            }
            5 => {
                let (lost, at) = memory.with(|_, _, records| {
                    let (list, at) = sent.take_lost(records.records, &detector, &rtt, now);
                    (give(list, records), at)
                });
                check_lost(&lost, at, &mut flying, &detector, &rtt, now);
            }
            6 => {
                let oldest = memory.with(|_, _, records| {
                    let link = sent.pop(records.records)?;
                    let number = records.records[link].number;
                    records.records.give(records.quota, link);
                    Some(number)
                });
                assert_eq!(oldest, flying.pop_first().map(|(number, _)| number as u32));
            }
            _ => {
                now = now + Duration::from_micros(u64::from(feed.u16()) * 8);
                let sample = Duration::from_micros(u64::from(feed.u16()) * 8);
                rtt.on_sample(sample, Duration::ZERO);
            }
        }
        let in_flight: u32 = flying.values().map(|(size, _)| u32::from(*size)).sum();
        assert_eq!(sent.in_flight(), in_flight);
        assert_eq!(sent.is_empty(), flying.is_empty());
        assert_eq!(memory.in_use().1 as usize, flying.len(), "records");
    }
}

/// Gives the records of a list back, and returns their numbers.
fn give(list: List, ranges: &mut Ranges<'_, '_>) -> Vec<u32> {
    let (mut numbers, mut at) = (Vec::new(), list.head);
    while let Some(link) = at.some() {
        at = ranges.records[link].next;
        numbers.push(ranges.records[link].number);
        ranges.records.give(ranges.quota, link);
    }
    numbers
}

/// All that is proved lost is taken from the oldest on, up to the first that is not.
fn check_lost(
    lost: &[u32],
    at: Option<Instant>,
    flying: &mut BTreeMap<u64, (u16, Instant)>,
    detector: &LossDetector,
    rtt: &RttEstimator,
    now: Instant,
) {
    let trip = rtt.smoothed().max(rtt.latest()).as_micros();
    let threshold = Duration::from_micros((trip + trip / 8).max(1_000));
    let mut due = None;
    let mut expected = Vec::new();
    while let (Some(largest), Some((&number, &(_, sent_at)))) =
        (detector.largest_acked(), flying.first_key_value())
    {
        if number >= largest {
            break;
        }
        if largest - number < 3 && now < sent_at + threshold {
            due = Some(sent_at + threshold);
            break;
        }
        expected.push(number as u32);
        flying.pop_first();
    }
    assert_eq!(lost, expected);
    assert_eq!(at, due);
}
