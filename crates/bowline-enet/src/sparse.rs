//! A byte string of known length whose parts arrive in any order, in memory for those that have arrived.
//!
//! ```text
//!   root ──▶ [link, link, none, …]        levels of links, each a pool block
//!               │      └────▶ [bytes]     leaves: one pool block of the string each
//!               └──▶ [bytes]
//! ```

use bowline_core::{BlockId, Link, Pool, Quota};

/// Bytes of a link.
const LINK_LEN: usize = 4;
/// More levels than any length needs: 2^32 bytes in leaves of 60, found through 15 links a block.
const LEVELS_MAX: u32 = 8;

/// The string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse {
    root: BlockId,
    pub(crate) len: u32,
}

impl Sparse {
    pub(crate) const EMPTY: Self = Self { root: Link::NONE, len: 0 };

    /// A string of `len` bytes, all of them 0 so far.
    pub(crate) const fn new(len: u32) -> Self {
        Self { root: Link::NONE, len }
    }

    /// Blocks that writing `len` bytes can take at most.
    pub(crate) fn blocks_for(&self, pool: &Pool<'_>, len: usize) -> usize {
        let leaves = pool.blocks_for(len) + 1;
        leaves + leaves * self.levels(pool) as usize
    }

    /// Writes `bytes` at `offset`; false, and nothing more than some memory taken, if memory is short.
    pub(crate) fn write(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        offset: u32,
        mut bytes: &[u8],
    ) -> bool {
        let mut offset = offset as usize;
        while !bytes.is_empty() {
            let block_len = pool.block_len().max(1);
            let Some(leaf) = self.reach(pool, quota, offset / block_len) else { return false };
            let room = pool.bytes_mut(leaf, offset % block_len);
            let count = room.len().min(bytes.len());
            let (Some(room), Some((now, later))) =
                (room.get_mut(..count), bytes.split_at_checked(count))
            else {
                return false;
            };
            if count == 0 {
                return false;
            }
            room.copy_from_slice(now);
            offset += count;
            bytes = later;
        }
        true
    }

    /// The byte at `offset`, if it lies in a leaf that is there.
    pub(crate) fn byte(&self, pool: &Pool<'_>, offset: usize) -> u8 {
        let block_len = pool.block_len().max(1);
        let leaf = self.find(pool, offset / block_len);
        pool.bytes(leaf, offset % block_len).first().copied().unwrap_or(0)
    }

    /// Turns the string into a chain of blocks, and gives back what led to them. Leaves that are not there are
    /// taken now, for they are 0; if there is no memory for them, everything is given back and None answered.
    pub(crate) fn into_chain(mut self, pool: &mut Pool<'_>, quota: &mut Quota) -> Option<BlockId> {
        let leaves = pool.blocks_for(self.len as usize);
        let mut next = Link::NONE;
        for leaf in (0..leaves).rev() {
            let Some(block) = self.reach(pool, quota, leaf) else {
                self.give(pool, quota);
                return None;
            };
            pool.set_next(block, next);
            next = block;
        }
        let levels = self.levels(pool);
        if levels > 0 {
            give_nodes(pool, quota, self.root, levels, false);
        }
        Some(next)
    }

    /// Gives everything back.
    pub(crate) fn give(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        if self.root.is_none() {
            return;
        }
        give_nodes(pool, quota, self.root, self.levels(pool), true);
        self.root = Link::NONE;
    }

    /// Levels of links above the leaves.
    fn levels(&self, pool: &Pool<'_>) -> u32 {
        let fanout = fanout(pool);
        let (mut reach, mut levels) = (1usize, 0);
        let leaves = pool.blocks_for(self.len as usize);
        while reach < leaves && levels < LEVELS_MAX {
            reach = reach.saturating_mul(fanout);
            levels += 1;
        }
        levels
    }

    /// The leaf `index`, or no block.
    fn find(&self, pool: &Pool<'_>, index: usize) -> BlockId {
        let mut at = self.root;
        for level in (0..self.levels(pool)).rev() {
            if at.is_none() {
                break;
            }
            at = link_at(pool, at, place(pool, index, level));
        }
        at
    }

    /// The leaf `index`, taken if it was not there.
    fn reach(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, index: usize) -> Option<BlockId> {
        let levels = self.levels(pool);
        if self.root.is_none() {
            self.root = take(pool, quota, levels == 0)?;
        }
        let mut at = self.root;
        for level in (0..levels).rev() {
            let place = place(pool, index, level);
            let mut below = link_at(pool, at, place);
            if below.is_none() {
                below = take(pool, quota, level == 0)?;
                let bytes = (below.index() as u32).to_le_bytes();
                *pool.bytes_mut(at, place * LINK_LEN).first_chunk_mut()? = bytes;
            }
            at = below;
        }
        Some(at)
    }
}

fn fanout(pool: &Pool<'_>) -> usize {
    (pool.block_len() / LINK_LEN).max(2)
}

/// Which link of a block of `level` leads to leaf `index`.
fn place(pool: &Pool<'_>, index: usize, level: u32) -> usize {
    let fanout = fanout(pool);
    let below = fanout.saturating_pow(level);
    index.checked_div(below).unwrap_or(0).checked_rem(fanout).unwrap_or(0)
}

fn link_at(pool: &Pool<'_>, block: BlockId, place: usize) -> BlockId {
    let bytes = pool.bytes(block, place * LINK_LEN).first_chunk();
    bytes.map_or(Link::NONE, |bytes| Link::new(u32::from_le_bytes(*bytes)))
}

fn take(pool: &mut Pool<'_>, quota: &mut Quota, leaf: bool) -> Option<BlockId> {
    let block = pool.take(quota)?;
    // What leads nowhere is all ones.
    pool.bytes_mut(block, 0).fill(if leaf { 0 } else { 0xFF });
    Some(block)
}

/// Gives back a block of links and all those below it; of the leaves only on demand.
fn give_nodes(pool: &mut Pool<'_>, quota: &mut Quota, block: BlockId, levels: u32, leaves: bool) {
    if block.is_none() || (levels == 0 && !leaves) {
        return;
    }
    if levels > 1 || (levels == 1 && leaves) {
        for place in 0..fanout(pool) {
            let below = link_at(pool, block, place);
            give_nodes(pool, quota, below, levels - 1, leaves);
        }
    }
    pool.give(quota, block);
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::PoolControl;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written where, the chain is what a vector is, and all memory comes back.
        #[test]
        fn a_sparse_string_is_a_vector(
            len in 1u32..3_000,
            writes in prop::collection::vec((any::<u32>(), 1usize..200, any::<u8>()), 0..40),
            stride in 16u32..80,
        ) {
            let mut bytes = vec![0xEE; 64 << 10];
            let mut control = PoolControl::new(stride, 65_536 / stride);
            let mut pool = Pool::new(&mut bytes, &mut control);
            let mut quota = Quota::NONE;
            let (mut sparse, mut model) = (Sparse::new(len), vec![0; len as usize]);
            for (at, count, fill) in writes {
                let at = at % len;
                let count = count.min((len - at) as usize);
                let before = quota.held() as usize;
                let written: Vec<u8> = (0..count).map(|n| fill.wrapping_add(n as u8)).collect();
                let most = sparse.blocks_for(&pool, count);
                prop_assert!(sparse.write(&mut pool, &mut quota, at, &written));
                prop_assert!(quota.held() as usize - before <= most);
                model[at as usize..][..count].copy_from_slice(&written);
                prop_assert_eq!(sparse.byte(&pool, at as usize), model[at as usize]);
            }
            let chain = sparse.into_chain(&mut pool, &mut quota).unwrap();
            let read: Vec<u8> = pool.chunks(chain, 0, len as usize).flatten().copied().collect();
            prop_assert_eq!(read, model);
            prop_assert_eq!(quota.held() as usize, pool.blocks_for(len as usize));
            pool.give_chain(&mut quota, chain);
            prop_assert_eq!(quota.held(), 0);
        }

        /// Of what is given up in the middle, all memory comes back.
        #[test]
        fn nothing_is_kept_of_what_is_given_up(
            len in 1u32..100_000, at in any::<u32>(), blocks in 1u32..40,
        ) {
            let mut bytes = vec![0; 64 * blocks as usize];
            let mut control = PoolControl::new(64, blocks);
            let mut pool = Pool::new(&mut bytes, &mut control);
            let mut quota = Quota::NONE;
            let mut sparse = Sparse::new(len);
            let part = vec![1; 3_000];
            let at = at % len;
            let part = &part[..part.len().min((len - at) as usize)];
            if sparse.write(&mut pool, &mut quota, at, part) && at % 2 == 0 {
                if let Some(chain) = sparse.into_chain(&mut pool, &mut quota) {
                    pool.give_chain(&mut quota, chain);
                }
            } else {
                sparse.give(&mut pool, &mut quota);
            }
            prop_assert_eq!(quota.held(), 0);
        }
    }
}
