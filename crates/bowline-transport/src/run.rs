//! A queue of bytes in a chain of pool blocks.

use bowline_core::{BlockId, Link, Pool, Quota};

/// The longest message whose length takes one byte, in bytes.
pub const SHORT_MAX: usize = 0x7F;

/// Bytes waiting in a chain of blocks: appended at the tail, consumed at the head.
///
/// An empty run holds no block. Whoever keeps a [`Run`] knows how many bytes are in it.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    head: BlockId,
    tail: BlockId,
    head_pos: u32,
    tail_pos: u32,
}

/// A place in a run from which to read.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    block: BlockId,
    pos: u32,
}

impl Run {
    /// A run of no bytes.
    pub const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE, head_pos: 0, tail_pos: 0 };

    /// How many more blocks `len` more bytes would take.
    pub fn blocks_needed(&self, pool: &Pool<'_>, len: usize) -> usize {
        let room = pool.bytes(self.tail, self.tail_pos as usize).len();
        if len <= room { 0 } else { pool.blocks_for(len - room) }
    }

    /// Appends `bytes`.
    ///
    /// Returns whether all found room; check [`Self::blocks_needed`] first, since what did find room
    /// stays.
    #[inline]
    pub fn append(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) -> bool {
        let room = pool.bytes_mut(self.tail, self.tail_pos as usize);
        if let Some(room) = room.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.tail_pos += bytes.len() as u32;
            return true;
        }
        self.append_across(pool, quota, bytes)
    }

    /// Appends a short message and the length before it, if they fit into the last block.
    #[inline(always)]
    pub fn append_short(&mut self, pool: &mut Pool<'_>, message: &[u8]) -> bool {
        let room = pool.bytes_mut(self.tail, self.tail_pos as usize);
        let Some((prefix, room)) = room.split_first_mut() else { return false };
        let Some(room) = room.get_mut(..message.len()) else { return false };
        if message.len() > SHORT_MAX {
            return false;
        }
        *prefix = message.len() as u8;
        room.copy_from_slice(message);
        self.tail_pos += 1 + message.len() as u32;
        true
    }

    /// Takes another block, if the last one is full to the end and `len` bytes fit into a new one.
    ///
    /// They have to be appended then: no run ends with an empty block.
    pub fn begin_block(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, len: usize) -> bool {
        let is_full = pool.bytes(self.tail, self.tail_pos as usize).is_empty();
        is_full && len <= pool.block_len() && self.add_block(pool, quota)
    }

    fn add_block(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) -> bool {
        let Some(block) = pool.take(quota) else { return false };
        if self.head.is_none() {
            (self.head, self.head_pos) = (block, 0);
        } else {
            pool.set_next(self.tail, block);
        }
        (self.tail, self.tail_pos) = (block, 0);
        true
    }

    #[inline(never)]
    fn append_across(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = pool.bytes_mut(self.tail, self.tail_pos as usize);
            if room.is_empty() {
                if !self.add_block(pool, quota) {
                    return false;
                }
                continue;
            }
            let len = copy(room, bytes);
            self.tail_pos += len as u32;
            bytes = bytes.get(len..).unwrap_or_default();
        }
        true
    }

    /// The place of the first byte.
    pub const fn front(&self) -> Cursor {
        Cursor { block: self.head, pos: self.head_pos }
    }

    /// Gives the first `len` bytes back, and moves `cursor` on if it was at a block that went.
    ///
    /// `len` is at most what is in the run.
    pub fn consume(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        mut len: usize,
        cursor: &mut Cursor,
    ) {
        let block_len = pool.block_len();
        while let Some(block) = self.head.some() {
            let last = block == self.tail;
            let end = if last { self.tail_pos as usize } else { block_len };
            let here = end.saturating_sub(self.head_pos as usize);
            if len < here {
                self.head_pos += len as u32;
                return;
            }
            len -= here;
            let next = if last { Link::NONE } else { pool.next(block) };
            pool.give(quota, block);
            if cursor.block == block {
                *cursor = Cursor { block: next, pos: 0 };
            }
            (self.head, self.head_pos) = (next, 0);
            if last {
                *self = Self::EMPTY;
            }
        }
    }

    /// Gives all blocks back.
    pub fn clear(&mut self, pool: &mut Pool<'_>, quota: &mut Quota) {
        pool.give_chain(quota, self.head);
        *self = Self::EMPTY;
    }
}

impl Cursor {
    /// Nowhere; reading from here begins at the front of the run.
    pub const NONE: Self = Self { block: Link::NONE, pos: 0 };

    /// A place `pos` bytes into `block`.
    pub const fn at(block: BlockId, pos: u32) -> Self {
        Self { block, pos }
    }

    /// The block, and the position in it.
    pub const fn place(&self) -> (BlockId, usize) {
        (self.block, self.pos as usize)
    }

    /// This place, or the front of `run` if it is nowhere.
    pub const fn or_front(self, run: &Run) -> Self {
        if self.block.is_none() { run.front() } else { self }
    }

    /// Copies the next bytes to `out` and moves behind them; returns how many there were.
    #[inline]
    pub fn read(&mut self, pool: &Pool<'_>, out: &mut [u8]) -> usize {
        let here = pool.bytes(self.block, self.pos as usize);
        if let Some(here) = here.get(..out.len()) {
            out.copy_from_slice(here);
            self.pos += out.len() as u32;
            return out.len();
        }
        self.read_across(pool, out)
    }

    #[inline(never)]
    fn read_across(&mut self, pool: &Pool<'_>, out: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let here = pool.bytes(self.block, self.pos as usize);
            if here.is_empty() && !self.step(pool) {
                break;
            }
            let len = copy(rest, pool.bytes(self.block, self.pos as usize));
            self.pos += len as u32;
            done += len;
        }
        done
    }

    /// Writes along the chain from here on, and moves behind what was written; there is room.
    pub fn write(&mut self, pool: &mut Pool<'_>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let here = pool.bytes_mut(self.block, self.pos as usize);
            let len = copy(here, bytes);
            if len == 0 && !self.step(pool) {
                debug_assert!(false, "room was checked");
                return;
            }
            self.pos += len as u32;
            bytes = bytes.get(len..).unwrap_or_default();
        }
    }

    /// Moves `len` bytes on.
    pub fn skip(&mut self, pool: &Pool<'_>, mut len: usize) {
        loop {
            let here = pool.bytes(self.block, self.pos as usize).len();
            if len <= here {
                self.pos += len as u32;
                return;
            }
            len -= here;
            if !self.step(pool) {
                return;
            }
        }
    }

    /// The length of the message that begins here, and of its prefix; none if the prefix is not
    /// here in full (`left` bytes are), an error if it is none.
    #[inline]
    pub fn peek_prefix(
        &self,
        pool: &Pool<'_>,
        left: usize,
    ) -> Result<Option<(usize, usize)>, BadPrefix> {
        let here = pool.bytes(self.block, self.pos as usize);
        if let Some(&first) = here.first()
            && first < 0x80
            && left > 0
        {
            return Ok(Some((first as usize, 1)));
        }
        self.peek_long_prefix(pool, left)
    }

    #[inline(never)]
    fn peek_long_prefix(
        &self,
        pool: &Pool<'_>,
        left: usize,
    ) -> Result<Option<(usize, usize)>, BadPrefix> {
        let mut bytes = [0; 4];
        let (mut at, wanted) = (*self, left.min(4));
        let have = at.read(pool, bytes.get_mut(..wanted).unwrap_or_default());
        prefix(bytes.get(..have).unwrap_or_default())
    }

    /// How many bytes of whole messages from here on fit into `room`, of `len` bytes that are there.
    pub fn fit(mut self, pool: &Pool<'_>, len: usize, room: usize) -> usize {
        let mut fit = 0;
        loop {
            let here = pool.bytes(self.block, self.pos as usize);
            let here = here.get(..len - fit).unwrap_or(here);
            let (short, full) = fit_short(here, room - fit);
            fit += short;
            self.pos += short as u32;
            if full || fit == len {
                return fit;
            }
            let Ok(Some((message, prefix))) = self.peek_prefix(pool, len - fit) else { return fit };
            let whole = prefix + message;
            if fit + whole > room || fit + whole > len {
                return fit;
            }
            fit += whole;
            self.skip(pool, whole);
        }
    }

    fn step(&mut self, pool: &Pool<'_>) -> bool {
        if self.block.is_none() {
            return false;
        }
        let next = pool.next(self.block);
        if next.is_none() {
            return false;
        }
        *self = Self { block: next, pos: 0 };
        true
    }
}

/// How many bytes of short messages at the start of `bytes` fit into `room`, and whether the one after
/// them is too long for it.
#[inline]
fn fit_short(bytes: &[u8], room: usize) -> (usize, bool) {
    let mut fit = 0;
    while let Some(&prefix) = bytes.get(fit)
        && usize::from(prefix) <= SHORT_MAX
    {
        let end = fit + 1 + usize::from(prefix);
        if end > room + usize::from(cfg!(bowline_mutant = "tight_fit")) {
            return (fit, true);
        }
        if end > bytes.len() {
            break;
        }
        fit = end;
    }
    (fit, false)
}

/// What stands where the length of a message should is no length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadPrefix;

/// Decodes the length that begins a message: `Some((length, bytes of the prefix))`.
///
/// The prefix is a varint of one to four bytes whose first byte tells its length by leading ones;
/// only the shortest form is allowed.
pub fn prefix(bytes: &[u8]) -> Result<Option<(usize, usize)>, BadPrefix> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let (len, floor) = match first.leading_ones() {
        0 => return Ok(Some((first as usize, 1))),
        1 => (2, 1 << 7),
        2 => (3, 1 << 14),
        3 => (4, 1 << 21),
        _ => return Err(BadPrefix),
    };
    let Some(bytes) = bytes.get(..len) else { return Ok(None) };
    let all = bytes.iter().fold(0usize, |all, &byte| all << 8 | byte as usize);
    let value = all & ((1 << (7 * len)) - 1);
    if value < floor { Err(BadPrefix) } else { Ok(Some((value, len))) }
}

/// Encodes the length that begins a message: the bytes, and how many of them count.
///
/// `len` is below 2^28.
#[inline]
pub fn encode_prefix(len: usize) -> ([u8; 4], usize) {
    if len < 1 << 7 {
        return ([len as u8, 0, 0, 0], 1);
    }
    let (value, bytes) = match len {
        0..0x4000 => ((len | 0x8000) << 16, 2),
        0x4000..0x20_0000 => ((len | 0xC0_0000) << 8, 3),
        _ => (len & 0x0FFF_FFFF | 0xE000_0000, 4),
    };
    ((value as u32).to_be_bytes(), bytes)
}

/// Copies as much of `from` as `to` holds, and returns how much.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::PoolControl;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A run is a queue of bytes, whatever the lengths, and its blocks all come back.
        #[test]
        fn a_run_is_a_queue(ops in prop::collection::vec((any::<bool>(), 0usize..40), 0..200)) {
            let mut bytes = vec![0; 16 * 40];
            let mut control = PoolControl::new(16, 40);
            let mut pool = Pool::new(&mut bytes, &mut control);
            let (mut quota, mut run, mut model) = (Quota::NONE, Run::EMPTY, VecDeque::new());
            let mut count = 0u8;
            for (append, len) in ops {
                if append {
                    if run.blocks_needed(&pool, len) > pool.available(&quota) { continue; }
                    let piece: Vec<u8> = (0..len).map(|_| { count = count.wrapping_add(1); count }).collect();
                    prop_assert!(run.append(&mut pool, &mut quota, &piece));
                    model.extend(piece);
                } else {
                    let len = len.min(model.len());
                    let mut out = vec![0; len];
                    let mut cursor = run.front();
                    prop_assert_eq!(cursor.read(&pool, &mut out), len);
                    let wanted: Vec<u8> = model.drain(..len).collect();
                    prop_assert_eq!(out, wanted);
                    run.consume(&mut pool, &mut quota, len, &mut cursor);
                    let mut rest = vec![0; model.len()];
                    let mut cursor = cursor.or_front(&run);
                    prop_assert_eq!(cursor.read(&pool, &mut rest), model.len());
                    prop_assert!(rest.iter().eq(model.iter()));
                }
                if model.is_empty() { prop_assert_eq!(pool.ledger().in_use(), 0); }
            }
            run.clear(&mut pool, &mut quota);
            prop_assert_eq!(pool.ledger().in_use(), 0);
        }

        /// A short message is appended as a prefix and its bytes are, or not at all.
        #[test]
        fn a_short_message_is_appended_into_one_block(lens in prop::collection::vec(0usize..150, 1..20)) {
            let mut bytes = vec![0; 128 * 40];
            let mut control = PoolControl::new(128, 40);
            let mut pool = Pool::new(&mut bytes, &mut control);
            let (mut quota, mut run, mut model) = (Quota::NONE, Run::EMPTY, Vec::new());
            for (count, len) in lens.into_iter().enumerate() {
                let message = vec![count as u8; len];
                let (prefix, n) = encode_prefix(len);
                let room = pool.bytes(run.tail, run.tail_pos as usize).len();
                let mut fits = run.append_short(&mut pool, &message);
                prop_assert_eq!(fits, n == 1 && len < room);
                if !fits {
                    let begun = run.begin_block(&mut pool, &mut quota, 1 + len);
                    prop_assert_eq!(begun, room == 0 && len < pool.block_len());
                    fits = begun && run.append_short(&mut pool, &message);
                    prop_assert_eq!(fits, begun, "the message for which a block was begun fits it");
                }
                if !fits {
                    prop_assert!(run.append(&mut pool, &mut quota, &prefix[..n]));
                    prop_assert!(run.append(&mut pool, &mut quota, &message));
                }
                model.extend_from_slice(&prefix[..n]);
                model.extend(message);
            }
            let mut out = vec![0; model.len()];
            prop_assert_eq!(run.front().read(&pool, &mut out), model.len());
            prop_assert_eq!(out, model);
        }

        #[test]
        fn prefixes_survive_the_round_trip(len in 0usize..1 << 28) {
            let (bytes, n) = encode_prefix(len);
            prop_assert_eq!(prefix(&bytes[..n]), Ok(Some((len, n))));
            prop_assert_eq!(prefix(&bytes[..n - 1]), Ok(None));
        }
    }

    #[test]
    fn long_forms_of_short_lengths_are_refused() {
        assert_eq!(prefix(&[0x80, 0x7F]), Err(BadPrefix));
        assert_eq!(prefix(&[0x80, 0x80]), Ok(Some((128, 2))));
        assert_eq!(prefix(&[0xC0, 0x3F, 0xFF]), Err(BadPrefix));
        assert_eq!(prefix(&[0xF0, 0, 0, 0]), Err(BadPrefix));
    }
}
