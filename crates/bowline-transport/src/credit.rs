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
        if more || cfg!(bowline_mutant = "take_back_credit") {
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
    /// Blocks promised beyond those for the window.
    beyond: u32,
    /// End of the first incomplete message, as far as it is known.
    awaited: u32,
}

impl ReceiveCredit {
    /// `window` bytes from the offset `initial` on.
    ///
    /// Whoever calls has promised the blocks for it: [`blocks_for`].
    pub const fn new(initial: u32, window: u32) -> Self {
        Self {
            limit: initial.wrapping_add(window),
            window,
            beyond: 0,
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

    /// Blocks of `block_len` bytes promised for what is allowed.
    pub const fn blocks_promised(&self, block_len: usize) -> u32 {
        blocks_for(self.window, block_len) + self.beyond
    }

    /// Whether more is promised than for the window: for a message that was longer, until the sender has
    /// used what it was allowed for that.
    #[inline]
    pub const fn is_beyond(&self) -> bool {
        self.beyond > 0
    }

    /// Whether bytes up to `end` were allowed.
    #[inline]
    pub const fn allows(&self, end: u32) -> bool {
        ahead32(end, self.limit) <= 0
    }

    /// All before `read` was read.
    #[inline]
    pub const fn on_read(&mut self, read: u32) {
        // What is no longer ahead must not fall so far behind that it seems to be.
        if ahead32(self.awaited, read) <= 0 {
            self.awaited = read.wrapping_add(1);
        }
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
        let starved = is_long && !long;
        let short_of = if starved {
            blocks_for(awaited, pool.block_len())
                .saturating_sub(self.blocks_promised(pool.block_len()))
        } else {
            0
        };
        let credit = if long { awaited } else { self.window };
        let limit = read.wrapping_add(credit);
        let more = ahead32(limit, self.limit);
        if more >= 0 && self.beyond > 0 {
            self.release(pool, blocks, credit);
        }
        let raised = more >= (credit / 2).max(1) as i32
            || more > 0 && (used_up || !self.allows(self.awaited));
        if raised {
            self.limit = limit;
        }
        Grant { raised, long, starved, short_of }
    }

    /// Doubles the window, if there is memory that nobody needs more.
    fn widen(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, limits: &GrantLimits) {
        if self.window >= limits.window_max {
            return;
        }
        let wider = self.window.saturating_mul(2).min(limits.window_max);
        let needed = blocks_for(wider, pool.block_len());
        let promised = self.blocks_promised(pool.block_len());
        let more = needed.saturating_sub(promised);
        if more.saturating_add(limits.keep) <= pool.ledger().common()
            && self.promise(pool, blocks, wider)
        {
            (self.window, self.beyond) = (wider, promised.saturating_sub(needed));
        }
    }

    /// Sees to it that blocks for `credit` bytes are promised.
    fn promise(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, credit: u32) -> bool {
        let needed = blocks_for(credit, pool.block_len());
        let more = needed.saturating_sub(self.blocks_promised(pool.block_len()));
        let promised = more == 0 || pool.promise(blocks, more);
        if promised {
            self.beyond += more;
        }
        promised
    }

    /// Takes back what is promised beyond `credit` bytes, which are at least the window.
    fn release(&mut self, pool: &mut Pool<'_>, blocks: &mut Quota, credit: u32) {
        let needed = blocks_for(credit, pool.block_len());
        let kept = needed.saturating_sub(blocks_for(self.window, pool.block_len()));
        pool.release_promise(blocks, self.beyond.saturating_sub(kept));
        self.beyond = self.beyond.min(kept);
    }
}

/// How many blocks of `block_len` bytes hold `credit` bytes, wherever in a block they begin.
pub const fn blocks_for(credit: u32, block_len: usize) -> u32 {
    let block_len = block_len as u32;
    credit.div_ceil(if block_len == 0 { 1 } else { block_len }).saturating_add(1)
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
    /// How many blocks that message lacks; 0 if it is not starved.
    pub short_of: u32,
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bowline_core::PoolControl;
    use proptest::prelude::*;

    use super::*;

    const BLOCK_LEN: usize = 16;
    const LIMITS: GrantLimits = GrantLimits { window_max: 64, keep: 0, long: true };

    /// A stream of messages without its bytes, and somebody else who wants memory.
    struct World {
        control: PoolControl,
        blocks: Quota,
        others: Quota,
        sender: SendCredit,
        receiver: ReceiveCredit,
        read: u32,
        base: u32,
        /// Lengths of the messages that are not read yet.
        messages: Vec<u32>,
        starved: bool,
    }

    impl World {
        fn new(initial: u32, window: u32, blocks: u32, messages: Vec<u32>) -> Self {
            let mut world = Self {
                control: PoolControl::new(BLOCK_LEN as u32 + 4, blocks),
                blocks: Quota::NONE,
                others: Quota::NONE,
                sender: SendCredit::new(initial, window),
                receiver: ReceiveCredit::new(initial, window),
                read: initial,
                base: initial,
                messages,
                starved: false,
            };
            let promised = world.receiver.blocks_promised(BLOCK_LEN);
            assert!(Pool::new(&mut [], &mut world.control).promise(&mut world.blocks, promised));
            world
        }

        fn send(&mut self, most: u32) {
            let queued = self.messages.iter().sum::<u32>() - self.base.wrapping_sub(self.read);
            let len = most.min(queued).min(self.sender.left(self.base));
            self.base = self.base.wrapping_add(len);
        }

        /// Reads a message if it is complete.
        fn read(&mut self, limits: &GrantLimits) {
            let Some(&len) = self.messages.first() else { return };
            let arrived = self.base.wrapping_sub(self.read);
            if arrived >= len {
                assert!(self.receiver.may_be_complete(self.base));
                self.messages.remove(0);
                self.read = self.read.wrapping_add(len);
                self.receiver.on_read(self.read);
            } else if arrived > 0 {
                self.receiver.on_incomplete(self.read.wrapping_add(len));
                assert!(!self.receiver.may_be_complete(self.base));
            }
            self.grant(limits);
        }

        /// Grants, and holds the answer against what the memory allows.
        fn grant(&mut self, limits: &GrantLimits) {
            let before = self.receiver;
            let common = self.control.ledger().common();
            let awaited = self.receiver.awaited.wrapping_sub(self.read);
            let mut pool = Pool::new(&mut [], &mut self.control);
            let (read, base) = (self.read, self.base);
            let grant = self.receiver.grant(&mut pool, &mut self.blocks, limits, read, base);
            let then = before.blocks_promised(BLOCK_LEN);
            let now = self.receiver.blocks_promised(BLOCK_LEN);
            let common_now = self.control.ledger().common();

            let window = self.receiver.window();
            assert!(window <= limits.window_max.max(before.window));
            if window != before.window {
                let more = blocks_for(window, BLOCK_LEN).saturating_sub(then);
                assert!(more + limits.keep <= common, "the window took what others need more");
            }
            let needed = blocks_for(awaited, BLOCK_LEN);
            let free = needed <= common_now + now;
            assert_eq!(grant.long, awaited > window && limits.long && free);
            assert_eq!(grant.starved, awaited > window && !grant.long);
            let short_of = if grant.starved { needed.saturating_sub(now) } else { 0 };
            assert_eq!(grant.short_of, short_of);
            let in_window = blocks_for(window, BLOCK_LEN);
            assert_eq!(self.receiver.is_beyond(), now > in_window);
            assert!(self.receiver.is_beyond() || needed <= in_window || grant.starved);
            let limit = self.receiver.limit();
            assert!(limit.wrapping_sub(read) >= window.div_ceil(2), "half of the window is gone");
            assert!(grant.starved || self.receiver.allows(read.wrapping_add(awaited)));
            assert_eq!(grant.raised, limit != before.limit);
            assert_eq!(self.sender.on_limit(limit), grant.raised);
            self.starved = grant.starved;
        }

        /// Somebody is promised memory, or gives it back.
        fn crowd(&mut self, promise: bool, count: u32) {
            let mut pool = Pool::new(&mut [], &mut self.control);
            if promise {
                pool.promise(&mut self.others, count);
            } else {
                pool.release_promise(&mut self.others, count);
            }
        }

        fn check(&self) {
            let allowed = self.receiver.limit().wrapping_sub(self.read);
            let promised = self.blocks.guaranteed();
            assert_eq!(self.receiver.blocks_promised(BLOCK_LEN), promised);
            assert!(blocks_for(allowed, BLOCK_LEN) <= promised, "{allowed} allowed, {promised}");
            assert_eq!(self.sender.limit, self.receiver.limit());
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Send(u32),
        /// With this much to keep, and leave for long messages.
        Read(u32, bool),
        Crowd(bool, u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (1u32..200).prop_map(Op::Send),
            4 => (0u32..20, prop::bool::weighted(0.8)).prop_map(|(keep, long)| Op::Read(keep, long)),
            2 => (any::<bool>(), 0u32..30).prop_map(|(promise, count)| Op::Crowd(promise, count)),
        ]
    }

    proptest! {
        #![proptest_config(crate::thorough())]

        /// What is allowed is promised, the window grows only into memory that nobody needs more,
        /// and when the others have gone every message gets through, however long.
        #[test]
        fn whatever_is_allowed_is_promised_and_every_message_gets_through(
            initial in prop_oneof![Just(0u32), (u32::MAX - 600)..=u32::MAX],
            window in 1u32..120,
            window_max in 1u32..400,
            messages in prop::collection::vec(1u32..600, 1..12),
            ops in prop::collection::vec(op(), 0..80),
        ) {
            let mut world = World::new(initial, window, 50, messages);
            for op in ops {
                match op {
                    Op::Send(most) => world.send(most),
                    Op::Read(keep, long) => world.read(&GrantLimits { window_max, keep, long }),
                    Op::Crowd(promise, count) => world.crowd(promise, count),
                }
                world.check();
            }
            world.crowd(false, u32::MAX);
            // The longest message needs 39 blocks of the 50.
            let limits = GrantLimits { window_max, keep: 39, long: true };
            for _ in 0..10_000 {
                world.send(40);
                world.read(&limits);
                world.check();
            }
            prop_assert!(world.messages.is_empty(), "left: {:?}", world.messages);
            prop_assert!(!world.starved);
        }

        /// Limits that arrive in any order leave the highest.
        #[test]
        fn limits_may_overtake_each_other(
            initial in any::<u32>(),
            credit in 0u32..1_000,
            mut rises in prop::collection::vec(0u32..100_000, 0..20),
            sent in 0u32..2_000,
        ) {
            let mut sender = SendCredit::new(initial, credit);
            let mut highest = credit;
            for rise in rises.drain(..) {
                let raised = sender.on_limit(initial.wrapping_add(rise));
                prop_assert_eq!(raised, rise > highest);
                highest = highest.max(rise);
                let left = sender.left(initial.wrapping_add(sent));
                prop_assert_eq!(left, highest.saturating_sub(sent));
            }
        }
    }

    #[test]
    fn a_long_message_waits_for_memory_and_gets_it() {
        let mut world = World::new(0, 32, 12, Vec::from([100]));
        world.crowd(true, 9);
        world.send(100);
        world.read(&LIMITS);
        assert!(world.starved);
        world.crowd(false, 9);
        world.grant(&LIMITS);
        assert!(!world.starved);
        assert_eq!(world.sender.left(0), 100, "to its end and not further");
    }

    #[test]
    fn one_at_a_time_may_be_long() {
        let mut world = World::new(0, 32, 100, Vec::from([100]));
        let limits = GrantLimits { window_max: 32, long: false, ..LIMITS };
        world.send(10);
        world.read(&limits);
        assert!(world.starved);
        assert_eq!(world.sender.left(0), 32);
    }

    #[test]
    fn memory_for_a_long_message_comes_back_with_it() {
        let limits = GrantLimits { window_max: 32, ..LIMITS };
        let mut world = World::new(0, 32, 100, Vec::from([1_000]));
        for _ in 0..40 {
            world.send(32);
            world.read(&limits);
        }
        assert!(world.messages.is_empty());
        assert_eq!(world.blocks.guaranteed(), blocks_for(32, BLOCK_LEN));
        assert_eq!(world.sender.left(world.base), 32);
    }

    #[test]
    fn a_stream_of_whole_messages_does_not_stall_after_two_gigabytes() {
        const LEN: u32 = 1 << 20;
        let mut control = PoolControl::new(BLOCK_LEN as u32 + 4, LEN);
        let mut pool = Pool::new(&mut [], &mut control);
        let mut blocks = Quota::NONE;
        let mut credit = ReceiveCredit::new(7, LEN);
        assert!(pool.promise(&mut blocks, credit.blocks_promised(BLOCK_LEN)));
        let mut read = 7u32;
        for _ in 0..5_000 {
            // A message arrives in one piece and is read: none was ever incomplete.
            assert!(credit.may_be_complete(read.wrapping_add(LEN)));
            read = read.wrapping_add(LEN);
            credit.on_read(read);
            let grant = credit.grant(&mut pool, &mut blocks, &LIMITS, read, read);
            assert_eq!(grant, Grant { raised: true, long: false, starved: false, short_of: 0 });
        }
    }
}
