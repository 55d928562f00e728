//! What the parts of a stream are tested on.

mod in_stream;
mod link;
mod loose;
mod out_stream;
mod ranges;

use alloc::vec;
use alloc::vec::Vec;

use bowline_core::{Link, Pool, PoolControl, Quota, Slot, SlotControl, Slots};
use proptest::prelude::*;

use super::Ranges;
use crate::record::Record;
use crate::run::encode_prefix;

/// Memory, and what one stream takes of it.
struct Memory {
    bytes: Vec<u8>,
    pool: PoolControl,
    blocks: Quota,
    items: Vec<Record>,
    slots: SlotControl<Record>,
    records: Quota,
}

impl Memory {
    fn new(blocks: usize, block_len: usize, records: usize) -> Self {
        let stride = block_len + 4;
        Self {
            bytes: vec![0; blocks * stride],
            pool: PoolControl::new(stride as u32, blocks as u32),
            blocks: Quota::NONE,
            items: vec![Record::VACANT; records],
            slots: SlotControl::new(records as u32),
            records: Quota::NONE,
        }
    }

    fn with<R>(
        &mut self,
        act: impl FnOnce(&mut Pool<'_>, &mut Quota, &mut Ranges<'_, '_>) -> R,
    ) -> R {
        let mut pool = Pool::new(&mut self.bytes, &mut self.pool);
        let mut slots = Slots::new(&mut self.items, &mut self.slots);
        let mut ranges = Ranges { records: &mut slots, quota: &mut self.records };
        act(&mut pool, &mut self.blocks, &mut ranges)
    }

    /// A record of the range `start..end`.
    fn record(&mut self, start: u32, end: u32) -> Link {
        self.with(|_, _, ranges| {
            let link = ranges.records.take(ranges.quota).unwrap();
            (ranges.records[link].start, ranges.records[link].end) = (start, end);
            link
        })
    }

    fn range(&self, link: Link) -> (u32, u32) {
        (self.items[link.index()].start, self.items[link.index()].end)
    }

    fn in_use(&self) -> (u32, u32) {
        (self.pool.ledger().in_use(), self.slots.ledger().in_use())
    }
}

/// First offsets of streams: many that wrap soon.
fn initial() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), (u32::MAX - 500)..=u32::MAX, any::<u32>()]
}

/// The byte at `at` of any stream; no two windows of 256 are alike.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 8).wrapping_mul(151) ^ 0x5A) as u8
}

/// Prefixed messages of these lengths, one after the other.
fn stream_of(lens: &[usize]) -> Vec<u8> {
    let mut all = Vec::new();
    for &len in lens {
        let (prefix, prefix_len) = encode_prefix(len);
        all.extend(&prefix[..prefix_len]);
        all.extend((all.len()..all.len() + len).map(byte));
    }
    all
}
