//! Where a message lies in its stream.

use bowline_core::Pool;
use bowline_core::serial::ahead32;

use crate::run::Cursor;

/// The bytes of a message in a stream, its prefix included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Extent {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Extent {
    /// No message; the next one begins here.
    pub(super) const fn at(offset: u32) -> Self {
        Self { start: offset, end: offset }
    }

    pub(super) const fn holds(&self, offset: u32) -> bool {
        ahead32(offset, self.start) >= 0 && ahead32(self.end, offset) > 0
    }

    pub(super) const fn len(&self) -> usize {
        self.end.wrapping_sub(self.start) as usize
    }

    /// The message after this one, in a stream up to `end`; `at` is where it begins, and moves on.
    pub(super) fn next(&self, pool: &Pool<'_>, at: &mut Cursor, end: u32) -> Option<Self> {
        let left = ahead32(end, self.end).max(0) as usize;
        let (len, prefix) = at.peek_prefix(pool, left).ok().flatten()?;
        at.skip(pool, prefix + len);
        Some(Self { start: self.end, end: self.end.wrapping_add((prefix + len) as u32) })
    }
}
