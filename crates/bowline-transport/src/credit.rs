//! Receive credit: how much of a stream may be sent before its receiver allows more.
//!
//! The receiver says up to which offset it takes bytes, its *limit*, and promises memory for
//! everything below. [`ReceiveCredit`] decides when and how far to raise it; [`SendCredit`] is what
//! the sender knows of it. Offsets are `u32` and wrap.

use bowline_core::serial::ahead32;
use bowline_core::{Pool, Quota};

/// What the sender of a stream may send: everything before the limit it was told last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendCredit {
    limit: u32,
}

impl SendCredit {
    /// `credit` bytes from the offset `initial` on.
    pub const fn new(initial: u32, credit: u32) -> Self {
        Self { limit: initial.wrapping_add(credit) }
    }

    /// The receiver told `limit`; one that is not above the last changes nothing, since such words
    /// overtake each other. Returns whether there is more credit now.
    pub const fn on_limit(&mut self, limit: u32) -> bool {
        let more = ahead32(limit, self.limit) > 0;
        if more {
            self.limit = limit;
        }
        more
    }

    /// How many bytes may be sent from the offset `sent` on.
    #[inline]
    pub const fn left(&self, sent: u32) -> u32 {
        let left = ahead32(self.limit, sent);
        if left > 0 { left as u32 } else { 0 }
    }
}

/// What the receiver of a stream allows its sender, and the memory promised for that.
///
/// At all times there is a promise for every byte from the one to be read next up to the limit,
/// wherever in their block they begin. The limit never falls.
///
/// Tell it how far the stream was read ([`Self::on_read`]) and where the message that stands at the
/// head will end ([`Self::on_incomplete`]), then ask [`Self::grant`]: after bytes were read, after
/// the end of an incomplete message became known, and, if the answer was [`Grant::starved`], after
/// somebody gave memory back.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveCredit {
    /// The sender sends nothing from this offset on.
    limit: u32,
    /// How much is to be allowed when everything was read, in bytes.
    window: u32,
    /// Blocks promised for what is allowed.
    promised: u32,
    /// End of the first incomplete message, as far as it is known.
    awaited: u32,
}

impl ReceiveCredit {
    /// `window` bytes from the offset `initial` on.
    ///
    /// Whoever calls has promised the blocks for it: [`Self::blocks_promised`].
    pub const fn new(initial: u32, window: u32, block_len: usize) -> Self {
        Self {
            limit: initial.wrapping_add(window),
            window,
            promised: blocks_for(window, block_len),
            awaited: initial.wrapping_add(1),
        }
    }

    /// The sender sends nothing from this offset on.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How much is to be allowed when everything was read, in bytes.
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// Blocks promised for what is allowed.
    pub const fn blocks_promised(&self) -> u32 {
        self.promised
    }

    /// Whether bytes up to `end` were allowed.
    #[inline]
    pub const fn allows(&self, end: u32) -> bool {
        ahead32(end, self.limit) <= 0
    }

    /// The message at the head is incomplete and ends at `end`, or not before, as far as that is
    /// known.
    pub const fn on_incomplete(&mut self, end: u32) {
        self.awaited = end;
    }

    /// Whether the message at the head may be complete, if all before `base` has arrived.
    #[inline]
    pub const fn may_be_complete(&self, base: u32) -> bool {
        ahead32(base, self.awaited) >= 0
    }

    /// Raises the limit as far as memory allows, and says whether the sender should be told.
    ///
    /// All before `read` was read, and all before `base` has arrived. The window grows by doubling
    /// up to `limits.window_max`, as long as `limits.keep` blocks stay for who needs them more: a
    /// message that is longer than the window is allowed up to its end, if it has begun, with their
    /// help too, and if `limits.long` says so.
    pub fn grant(
        &mut self,
        pool: &mut Pool<'_>,
        blocks: &mut Quota,
        limits: &GrantLimits,
        read: u32,
        base: u32,
    ) -> Grant {
        let used_up = ahead32(self.limit, base) <= (self.window / 4) as i32;
        if used_up {
            self.widen(pool, blocks, limits);
        }
        let awaited = ahead32(self.awaited, read).max(0) as u32;
        let is_long = awaited > self.window;
        let long = is_long && limits.long && self.promise(pool, blocks, awaited);
        let credit = if long { awaited } else { self.window };
        let limit = read.wrapping_add(credit);
        let more = ahead32(limit, self.limit);
        if more >= 0 {
            self.release(pool, blocks, credit);
        }
        let raised = more >= (credit / 2).max(1) as i32
            || more > 0 && (used_up || !self.allows(self.awaited));
        if raised {
            self.limit = limit;
        }
        Grant { raised, long, starved: is_long && !long }
    }

    /// Doubles the window, if there is memory that nobody needs more.
    fn widen(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, limits: &GrantLimits) {
        if self.window >= limits.window_max {
            return;
        }
        let wider = self.window.saturating_mul(2).min(limits.window_max);
        let more = blocks_for(wider, pool.block_len()).saturating_sub(self.promised);
        if more.saturating_add(limits.keep) <= pool.ledger().common()
            && self.promise(pool, blocks, wider)
        {
            self.window = wider;
        }
    }

    /// Sees to it that blocks for `credit` bytes are promised.
    fn promise(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, credit: u32) -> bool {
        let needed = blocks_for(credit, pool.block_len());
        if needed <= self.promised {
            return true;
        }
        let promised = pool.promise(blocks, needed - self.promised);
        if promised {
            self.promised = needed;
        }
        promised
    }

    /// Takes back what is promised beyond `credit` bytes.
    fn release(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, credit: u32) {
        let needed = blocks_for(credit, pool.block_len());
        if needed < self.promised {
            pool.release_promise(blocks, self.promised - needed);
            self.promised = needed;
        }
    }
}

/// How many blocks of `block_len` bytes hold `credit` bytes, wherever in a block they begin.
pub const fn blocks_for(credit: u32, block_len: usize) -> u32 {
    let block_len = if block_len == 0 { 1 } else { block_len as u32 };
    credit.div_ceil(block_len) + 1
}

/// What an attempt to raise the limit may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrantLimits {
    /// How far the window may grow, in bytes; below 2^30.
    pub window_max: u32,
    /// Blocks that a growing window must leave to all.
    pub keep: u32,
    /// Whether a message that is longer than the window may have what it needs.
    pub long: bool,
}

/// What became of an attempt to raise the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The sender should be told the new limit.
    pub raised: bool,
    /// A message that is longer than the window has begun, and has all the credit it needs.
    pub long: bool,
    /// A message that has begun needs more memory than there is now; ask again when some was freed.
    pub starved: bool,
}
