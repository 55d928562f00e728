//! Packets on their way in: whole ones and such as are put together, until the application reads them.

use bowline_core::{BlockId, Link, Pool, Quota, Slot};
use bowline_wire::Writer;

use crate::flags::Flags;
use crate::list::Node;
use crate::sparse::Sparse;

/// One packet that has arrived, or has begun to.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub(crate) next: Link,
    pub(crate) previous: Link,
    pub(crate) flags: Flags,
    pub(crate) channel: u8,
    /// The reliable sequence number of its (first) command.
    pub(crate) reliable: u16,
    /// The unreliable one.
    pub(crate) unreliable: u16,
    /// Length, in bytes.
    pub(crate) len: u32,
    /// Where its bytes begin, if all are there.
    pub(crate) bytes: BlockId,
    /// How many fragments it has; 0 if it came in one piece.
    pub(crate) count: u32,
    /// How many of them have not arrived.
    pub(crate) missing: u32,
    /// The bytes that have arrived of one that is put together.
    pub(crate) parts: Sparse,
    /// One bit for each fragment that has arrived.
    pub(crate) arrived: Sparse,
}

impl Slot for Arrival {
    const VACANT: Self = Self {
        next: Link::NONE,
        previous: Link::NONE,
        flags: Flags::NONE,
        channel: 0,
        reliable: 0,
        unreliable: 0,
        len: 0,
        bytes: Link::NONE,
        count: 0,
        missing: 0,
        parts: Sparse::EMPTY,
        arrived: Sparse::EMPTY,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Node for Arrival {
    fn previous(&self) -> Link {
        self.previous
    }

    fn set_previous(&mut self, previous: Link) {
        self.previous = previous;
    }
}

impl Arrival {
    /// Whether all of it has arrived.
    pub(crate) const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    pub(crate) const fn is_unsequenced(&self) -> bool {
        self.flags.contains(Flags::UNSEQUENCED)
    }

    pub(crate) const fn bytes(&self) -> BlockId {
        self.bytes
    }

    /// Begins a packet of `count` fragments.
    pub(crate) const fn begin(&mut self, count: u32) {
        self.count = count;
        self.missing = count;
        self.parts = Sparse::new(self.len);
        self.arrived = Sparse::new(count.div_ceil(8));
    }

    /// Takes in a packet of one piece; false if memory is short.
    #[inline(always)]
    pub(crate) fn fill(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        if bytes.len() <= pool.block_len() {
            let Some((block, room)) = pool.take_bytes(quota) else { return false };
            self.bytes = block;
            let _ = Writer::new(room).bytes(bytes);
            return true;
        }
        self.fill_long(pool, quota, bytes)
    }

    /// As [`Self::fill`], for what takes more than a block.
    fn fill_long(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) -> bool {
        let Some(chain) = pool.take_chain(quota, pool.blocks_for(bytes.len())) else {
            return false;
        };
        self.bytes = chain;
        copy_in(pool, chain, bytes);
        true
    }

    /// Takes in a fragment, unless it came before; false if memory is short.
    pub(crate) fn add(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        number: u32,
        offset: u32,
        bytes: &[u8],
    ) -> bool {
        if self.missing == 0 || self.missing > self.count {
            return true;
        }
        let (at, bit) = (number / 8, 1u8 << (number % 8));
        let seen = self.arrived.byte(pool, at as usize);
        if seen & bit != 0 {
            return true;
        }
        let needed = self.parts.blocks_for(pool, bytes.len()) + self.arrived.blocks_for(pool, 1);
        if needed > pool.available(quota)
            || !self.parts.write(pool, quota, offset, bytes)
            || !self.arrived.write(pool, quota, at, &[seen | bit])
        {
            return false;
        }
        self.missing = self.missing.saturating_sub(1);
        if self.missing > 0 {
            return true;
        }
        self.arrived.give(pool, quota);
        match self.parts.into_chain(pool, quota) {
            Some(chain) => self.bytes = chain,
            // Fragments that overlap left holes, and there is no memory for zeros: it stays incomplete.
            None => self.missing = u32::MAX,
        }
        self.parts = Sparse::EMPTY;
        self.missing == 0
    }

    /// Gives back all that its bytes lie in.
    #[inline]
    pub(crate) fn give_bytes(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        pool.give_chain(quota, self.bytes);
        self.bytes = Link::NONE;
        if self.missing > 0 {
            self.parts.give(pool, quota);
            self.arrived.give(pool, quota);
        }
    }
}

/// Copies `bytes` into a chain that is long enough.
pub(crate) fn copy_in(pool: &mut Pool<'_>, chain: BlockId, bytes: &[u8]) {
    let (mut block, mut rest) = (chain, bytes);
    while !rest.is_empty() {
        let room = pool.bytes_mut(block, 0);
        let count = room.len().min(rest.len());
        let (Some(room), Some((now, later))) =
            (room.get_mut(..count), rest.split_at_checked(count))
        else {
            return;
        };
        if count == 0 {
            return;
        }
        room.copy_from_slice(now);
        rest = later;
        block = pool.next(block);
    }
}
