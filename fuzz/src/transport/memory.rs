//! What mechanisms borrow.

use bowline_core::{Link, Pool, PoolControl, Quota, Slot, SlotControl, Slots};
use bowline_transport::record::Record;
use bowline_transport::reliable::Ranges;

/// Blocks and records, and what one user takes of them.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    pool: PoolControl,
    blocks: Quota,
    items: Vec<Record>,
    slots: SlotControl<Record>,
    records: Quota,
}

impl Memory {
    pub(crate) fn new(blocks: usize, block_len: usize, records: usize) -> Self {
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

    pub(crate) fn with<R>(
        &mut self,
        act: impl FnOnce(&mut Pool<'_>, &mut Quota, &mut Ranges<'_, '_>) -> R,
    ) -> R {
        let mut pool = Pool::new(&mut self.bytes, &mut self.pool);
        let mut slots = Slots::new(&mut self.items, &mut self.slots);
        let mut ranges = Ranges { records: &mut slots, quota: &mut self.records };
        act(&mut pool, &mut self.blocks, &mut ranges)
    }

    /// A record of the range `start..end`.
    pub(crate) fn record(&mut self, start: u32, end: u32) -> Option<Link> {
        self.with(|_, _, ranges| {
            let link = ranges.records.take(ranges.quota)?;
            (ranges.records[link].start, ranges.records[link].end) = (start, end);
            Some(link)
        })
    }

    /// Blocks and records that are in use.
    pub(crate) fn in_use(&self) -> (u32, u32) {
        (self.pool.ledger().in_use(), self.slots.ledger().in_use())
    }
}

/// The byte at `at` of any message; no two stretches of it are alike.
pub(crate) fn byte(at: usize) -> u8 {
    ((at as u32).wrapping_mul(0x9E37_79B1) >> 24) as u8
}
