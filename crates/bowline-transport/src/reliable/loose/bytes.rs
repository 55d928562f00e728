//! Where the bytes of a loose stream lie.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Pool, Quota};

use crate::run::Cursor;

/// A chain of blocks with room for every byte from the first that is not done to the last that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes {
    front: Cursor,
    start: u32,
    tail: Link,
    /// Offset behind the last byte of the last block.
    end: u32,
    /// An offset behind bytes that were written, and its place; none if they are gone.
    written: (u32, Cursor),
}

impl Bytes {
    /// No blocks yet; the first byte has the offset `start`.
    pub(super) const fn new(start: u32) -> Self {
        Self {
            front: Cursor::NONE,
            start,
            tail: Link::NONE,
            end: start,
            written: (start, Cursor::NONE),
        }
    }

    /// Offset of the first byte that is not done.
    pub(super) const fn start(&self) -> u32 {
        self.start
    }

    /// Its place.
    pub(super) const fn front(&self) -> Cursor {
        self.front
    }

    /// An offset behind bytes that were written last, and its place, if known.
    pub(super) const fn written(&self) -> (u32, Cursor) {
        self.written
    }

    /// Bytes were written up to an offset with that place.
    pub(super) const fn on_written(&mut self, upto: u32, at: Cursor) {
        self.written = (upto, at);
    }

    /// How many blocks are missing up to `end`.
    pub(super) fn missing(&self, pool: &Pool<'_>, end: u32) -> usize {
        pool.blocks_for(ahead32(end, self.end).max(0) as usize)
    }

    /// Sees to it that blocks reach up to `end`, all or nothing.
    pub(super) fn reach(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, end: u32) -> bool {
        let count = self.missing(pool, end);
        if count == 0 {
            return true;
        }
        let Some(chain) = pool.take_chain(blocks, count) else { return false };
        if self.tail.is_none() {
            self.front = Cursor::at(chain, 0);
        } else {
            pool.set_next(self.tail, chain);
        }
        let mut last = chain;
        while let Some(next) = pool.next(last).some() {
            last = next;
        }
        self.tail = last;
        self.end = self.end.wrapping_add((count * pool.block_len()) as u32);
        true
    }

    /// All before `start` is done; there need not be blocks for all of it.
    pub(super) fn advance(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, start: u32) {
        let block_len = pool.block_len();
        let (mut block, mut pos) = self.front.place();
        pos += start.wrapping_sub(self.start) as usize;
        while pos >= block_len
            && let Some(done) = block.some()
        {
            block = pool.next(done);
            pool.give(blocks, done);
            pos -= block_len;
        }
        if block.is_none() {
            *self = Self::new(start);
            return;
        }
        (self.start, self.front) = (start, Cursor::at(block, pos as u32));
        if ahead32(self.written.0, start) <= 0 {
            // Its block may be gone, and some day it would seem to lie ahead again.
            self.written = (start, Cursor::NONE);
        }
    }

    /// Gives all blocks back: nothing is in them.
    pub(super) fn clear(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota) {
        pool.give_chain(blocks, self.front.place().0);
        *self = Self::new(self.start);
    }
}
