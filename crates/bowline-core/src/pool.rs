//! A pool of equal blocks, which hold the bytes of all messages.

use crate::{Ledger, Link, Quota};

/// The place of a block in a [`Pool`], or nowhere.
pub type BlockId = Link;

/// Bytes at the start of each block that hold the link to the next one.
const LINK_LEN: usize = 4;

/// The part of a [`Pool`] that outlives a borrow.
#[derive(Debug)]
pub struct PoolControl {
    free: BlockId,
    /// Blocks from here on were never handed out: no initialising pass, and room to grow.
    fresh: u32,
    /// Distance between blocks, in bytes.
    stride: u32,
    ledger: Ledger,
}

impl PoolControl {
    /// The control of an unused pool of blocks of `stride` bytes that may grow to `limit` blocks.
    ///
    /// Four bytes of each block are the pool's own. `stride` is raised to 16 if it is less.
    pub const fn new(stride: u32, limit: u32) -> Self {
        let stride = if stride < 16 { 16 } else { stride };
        Self { free: Link::NONE, fresh: 0, stride, ledger: Ledger::new(limit) }
    }

    /// How much is taken and promised, in blocks.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Distance between blocks, in bytes.
    pub const fn stride(&self) -> usize {
        self.stride as usize
    }

    /// Bytes of message that one block holds.
    pub const fn block_len(&self) -> usize {
        self.stride as usize - LINK_LEN
    }
}

/// A view of lent memory as blocks of equal length that can be chained.
#[derive(Debug)]
pub struct Pool<'m> {
    bytes: &'m mut [u8],
    control: &'m mut PoolControl,
}

impl<'m> Pool<'m> {
    /// Views `bytes` as blocks; what is left over at the end is not used.
    pub fn new(bytes: &'m mut [u8], control: &'m mut PoolControl) -> Self {
        Self { bytes, control }
    }

    /// How much is taken and promised, in blocks.
    pub fn ledger(&self) -> &Ledger {
        &self.control.ledger
    }

    /// Bytes of message that one block holds.
    #[inline]
    pub fn block_len(&self) -> usize {
        self.control.block_len()
    }

    /// Distance between blocks, in bytes.
    pub fn stride(&self) -> usize {
        self.control.stride()
    }

    /// How many blocks hold `len` bytes.
    pub fn blocks_for(&self, len: usize) -> usize {
        len.div_ceil(self.block_len().max(1))
    }

    /// Blocks that can be taken before the owner of the memory has to lend more of it.
    pub fn vacant(&self) -> usize {
        (self.bytes.len() / self.control.stride.max(1) as usize)
            .saturating_sub(self.control.ledger.in_use() as usize)
    }

    /// Whether the owner of `quota` could take `count` blocks now.
    #[inline]
    pub fn can_take(&self, quota: &Quota, count: u32) -> bool {
        self.has(count as usize) && self.control.ledger.can_take(quota, count)
    }

    /// Whether `count` blocks could be taken before the owner of the memory has to lend more of it.
    #[inline]
    pub fn has(&self, count: usize) -> bool {
        // As `vacant() >= count`, without a division.
        let blocks = (self.control.ledger.in_use() as usize).saturating_add(count);
        count == 0 || blocks.saturating_mul(self.control.stride as usize) <= self.bytes.len()
    }

    /// How many blocks the owner of `quota` could take now.
    pub fn available(&self, quota: &Quota) -> usize {
        self.vacant().min(self.control.ledger.available(quota) as usize)
    }

    /// Promises `count` more blocks to the owner of `quota`.
    pub fn promise(&mut self, quota: &mut Quota, count: u32) -> bool {
        self.control.ledger.promise(quota, count)
    }

    /// Keeps `count` blocks for those who will be admitted: [`Ledger::keep`].
    pub const fn keep(&mut self, count: u32) {
        self.control.ledger.keep(count);
    }

    /// Promises `count` blocks to a newcomer: [`Ledger::admit`].
    pub fn admit(&mut self, quota: &mut Quota, count: u32) -> bool {
        self.control.ledger.admit(quota, count)
    }

    /// Ends all promises to the owner of `quota`: [`Ledger::dismiss`].
    pub fn dismiss(&mut self, quota: &mut Quota, count: u32) {
        self.control.ledger.dismiss(quota, count);
    }

    /// Takes back a promise of `count` blocks.
    pub fn release_promise(&mut self, quota: &mut Quota, count: u32) {
        self.control.ledger.release(quota, count);
    }

    /// Takes a block with unspecified contents and no successor.
    pub fn take(&mut self, quota: &mut Quota) -> Option<BlockId> {
        self.take_bytes(quota).map(|(block, _)| block)
    }

    /// As [`Self::take`], with all the bytes of the block, to be written.
    #[inline(always)]
    pub fn take_bytes(&mut self, quota: &mut Quota) -> Option<(BlockId, &mut [u8])> {
        let control = &mut *self.control;
        let recycled = control.free.is_some();
        let block = if recycled { control.free } else { Link::new(control.fresh) };
        let stride = control.stride as usize;
        let start = block.index().checked_mul(stride)?;
        let whole = self.bytes.get_mut(start..start.checked_add(stride)?)?;
        let (link, bytes) = whole.split_first_chunk_mut::<LINK_LEN>()?;
        if !control.ledger.take_one(quota) {
            return None;
        }
        if recycled {
            control.free = Link::new(u32::from_le_bytes(*link));
        } else {
            control.fresh += 1;
        }
        *link = (Link::NONE.index() as u32).to_le_bytes();
        Some((block, bytes))
    }

    /// Gives one block back.
    pub fn give(&mut self, quota: &mut Quota, block: BlockId) {
        debug_assert!(block.is_some());
        let free = self.control.free;
        self.set_next(block, free);
        self.control.free = block;
        self.control.ledger.give_one(quota);
    }

    /// Gives back `first` and all blocks after it: most often there is no other.
    #[inline]
    pub fn give_chain(&mut self, quota: &mut Quota, first: BlockId) {
        let Some(block) = first.some() else { return };
        let next = self.free(block);
        self.control.ledger.give_one(quota);
        if next.is_some() {
            let count = self.free_rest(next);
            self.count_given(quota, count);
        }
    }

    /// As [`Self::give_chain`], but answers how many they are: [`Self::count_given`] must be told, at once or for many
    /// chains together.
    #[inline]
    #[must_use]
    pub fn free_chain(&mut self, first: BlockId) -> u32 {
        let Some(block) = first.some() else { return 0 };
        let next = self.free(block);
        if next.is_none() { 1 } else { 1 + self.free_rest(next) }
    }

    #[inline(never)]
    fn free_rest(&mut self, first: BlockId) -> u32 {
        let (mut at, mut count) = (first, 0);
        while let Some(block) = at.some() {
            at = self.free(block);
            count += 1;
        }
        count
    }

    /// Counts blocks as given back by the owner of `quota`.
    #[inline]
    pub const fn count_given(&mut self, quota: &mut Quota, count: u32) {
        self.control.ledger.give(quota, count);
    }

    /// Puts a block with those that are free; answers which came after it.
    #[inline]
    fn free(&mut self, block: BlockId) -> BlockId {
        let start = block.index().wrapping_mul(self.control.stride as usize);
        let bytes = self.bytes.get_mut(start..);
        let link = bytes.and_then(|bytes| bytes.first_chunk_mut::<LINK_LEN>());
        debug_assert!(link.is_some(), "dangling block");
        let Some(link) = link else { return Link::NONE };
        let next = Link::new(u32::from_le_bytes(*link));
        *link = (self.control.free.index() as u32).to_le_bytes();
        self.control.free = block;
        next
    }

    /// Takes a chain of `count` blocks, all or nothing.
    pub fn take_chain(&mut self, quota: &mut Quota, count: usize) -> Option<BlockId> {
        if count == 1 {
            return self.take(quota);
        }
        if count > self.available(quota) {
            return None;
        }
        let mut first = Link::NONE;
        for _ in 0..count {
            let Some(block) = self.take(quota) else { break };
            self.set_next(block, first);
            first = block;
        }
        Some(first)
    }

    /// The block after `block` in its chain.
    #[inline]
    pub fn next(&self, block: BlockId) -> BlockId {
        next_in(self.bytes, self.control.stride as usize, block)
    }

    /// Chains `next` after `block`.
    pub fn set_next(&mut self, block: BlockId, next: BlockId) {
        let start = block.index().wrapping_mul(self.control.stride as usize);
        let link = self.bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<LINK_LEN>());
        debug_assert!(link.is_some(), "dangling block");
        if let Some(link) = link {
            *link = (next.index() as u32).to_le_bytes();
        }
    }

    /// The bytes of `block` from `pos` on; empty when there are none.
    #[inline]
    pub fn bytes(&self, block: BlockId, pos: usize) -> &[u8] {
        tail_of(self.bytes, self.control.stride as usize, block, pos)
    }

    /// The bytes of `block` from `pos` on, to be written; empty when there are none.
    #[inline]
    pub fn bytes_mut(&mut self, block: BlockId, pos: usize) -> &mut [u8] {
        let stride = self.control.stride as usize;
        let start = block.index().wrapping_mul(stride);
        let range = start.wrapping_add(LINK_LEN + pos)..start.wrapping_add(stride);
        self.bytes.get_mut(range).unwrap_or_default()
    }

    /// A read-only walk along a chain, from byte `pos` of `block` on, over `len` bytes.
    pub fn chunks(&self, block: BlockId, pos: usize, len: usize) -> Chunks<'_> {
        Chunks { bytes: self.bytes, stride: self.control.stride as usize, block, pos, left: len }
    }

    /// As [`Self::chunks`], for as long as the memory itself is lent.
    pub fn into_chunks(self, block: BlockId, pos: usize, len: usize) -> Chunks<'m> {
        Chunks { bytes: self.bytes, stride: self.control.stride as usize, block, pos, left: len }
    }
}

#[inline]
fn next_in(bytes: &[u8], stride: usize, block: BlockId) -> BlockId {
    let start = block.index().wrapping_mul(stride);
    match bytes.get(start..).and_then(|rest| rest.first_chunk::<LINK_LEN>()) {
        Some(link) => Link::new(u32::from_le_bytes(*link)),
        None => Link::NONE,
    }
}

#[inline]
fn tail_of(bytes: &[u8], stride: usize, block: BlockId, pos: usize) -> &[u8] {
    let start = block.index().wrapping_mul(stride);
    bytes.get(start.wrapping_add(LINK_LEN + pos)..start.wrapping_add(stride)).unwrap_or_default()
}

/// The pieces of a byte string that lies in a chain of blocks, in order.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    stride: usize,
    block: BlockId,
    pos: usize,
    left: usize,
}

impl Chunks<'_> {
    /// A walk over nothing.
    pub const EMPTY: Self = Self { bytes: &[], stride: 16, block: Link::NONE, pos: 0, left: 0 };

    /// Bytes still to come.
    pub const fn len(&self) -> usize {
        self.left
    }

    /// Whether nothing is to come.
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Chunks<'a> {
    /// All of it, if it lies in the block where it begins.
    #[inline]
    pub(crate) fn rest_of_block(&self) -> Option<&'a [u8]> {
        tail_of(self.bytes, self.stride, self.block, self.pos).get(..self.left)
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.left > 0 {
            let piece = tail_of(self.bytes, self.stride, self.block, self.pos);
            let piece = piece.get(..self.left).unwrap_or(piece);
            if self.block.is_none() {
                return None;
            }
            self.left -= piece.len();
            self.pos = 0;
            self.block = next_in(self.bytes, self.stride, self.block);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn chains_come_back_and_go_out_again() {
        let mut bytes = [0; 16 * 8 + 5];
        let mut control = PoolControl::new(16, 8);
        let mut quota = Quota::NONE;
        let mut pool = Pool::new(&mut bytes, &mut control);
        assert_eq!(pool.block_len(), 12);
        let a = pool.take_chain(&mut quota, 3).unwrap();
        let b = pool.take_chain(&mut quota, 5).unwrap();
        assert_eq!(pool.take(&mut quota), None);
        assert_eq!(pool.take_chain(&mut quota, 1), None);

        let mut at = a;
        for n in 0..3 {
            pool.bytes_mut(at, 0).fill(n);
            at = pool.next(at);
        }
        assert!(at.is_none());
        let text: Vec<u8> = pool.chunks(a, 10, 15).flatten().copied().collect();
        assert_eq!(text, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(pool.chunks(a, 0, 100).flatten().count(), 36, "ends with the chain");

        pool.give_chain(&mut quota, b);
        pool.give_chain(&mut quota, a);
        assert_eq!(pool.ledger().in_use(), 0);
        assert_eq!(quota, Quota::NONE);
        assert!(pool.take_chain(&mut quota, 8).is_some());
    }

    #[test]
    fn no_block_reaches_no_bytes() {
        let mut bytes = [0; 64];
        let mut control = PoolControl::new(32, 2);
        let pool = Pool::new(&mut bytes, &mut control);
        assert!(pool.bytes(Link::NONE, 0).is_empty());
        assert!(pool.bytes(Link::new(7), 0).is_empty());
        assert!(pool.bytes(Link::new(0), 29).is_empty());
        assert_eq!(pool.chunks(Link::NONE, 0, 9).next(), None);
    }
}
