//! Reassembly of unreliable messages that came in fragments, and the cutting of such messages.
//!
//! Fragments name the bytes they carry by offset, so they may be of any length and be cut anew
//! when the path changes. The first one of a message to arrive fixes the message's length and
//! takes the memory for all of it; from then on every byte has its place, and a message that is
//! complete lies in its chain of blocks in order.
//!
//! **At most once.** A fragment is never sent again and a packet is never accepted twice, so no
//! byte of a message reaches [`Reassembly::insert`] a second time from an honest peer, and a
//! message that was completed cannot become complete again: a late fragment of it would need all
//! the others to come along. A peer that does send the bytes again has sent another message.
//!
//! **Bounded.** Per peer, [`Limits`] hold at all times; one more message costs the oldest one its
//! place. All fragments of one packet together cost a number of steps that is linear in
//! [`Limits::bytes`] ([`Plan`]).

mod assembly;
mod cutter;
mod plan;

use bowline_core::{Duration, Instant, Link, Pool, Quota, Slots};

pub use self::assembly::{Assembly, PART_MAX, rank, release};
use self::assembly::{Key, Span};
pub use self::cutter::Cutter;
pub use self::plan::Plan;

/// What one peer may occupy with incomplete messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many messages.
    pub messages: u16,
    /// The sum of their lengths, in bytes. No single message may be longer either.
    pub bytes: u32,
    /// How long after its first fragment a message is given up.
    pub age: Duration,
}

/// The memory that messages lie in, lent for one call.
#[derive(Debug)]
pub struct Memory<'a, 'm> {
    /// One record per message.
    pub slots: &'a mut Slots<'m, Assembly>,
    /// What this peer may take of them.
    pub slot_quota: &'a mut Quota,
    /// The bytes of the messages.
    pub pool: &'a mut Pool<'m>,
    /// What this peer may take of those.
    pub block_quota: &'a mut Quota,
}

/// A part of a message, as it came in a packet.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'d> {
    /// The channel of the message.
    pub channel: u8,
    /// Whether its mode is unreliable-ordered.
    pub ordered: bool,
    /// Which message of that channel and mode.
    pub id: u16,
    /// Where in the message `data` belongs, in bytes.
    pub offset: u32,
    /// Length of the message, in bytes.
    pub total: u32,
    /// The bytes; not empty.
    pub data: &'d [u8],
    /// The number of the packet it came in.
    pub number: u64,
}

/// Why a fragment was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refused {
    /// No bytes, or bytes beyond the end of the message: nobody may send that.
    Malformed,
    /// The message is longer than all incomplete ones of a peer together may be.
    TooLong,
    /// Another fragment gave the message another length.
    Contradiction,
    /// The message would be in more than [`PART_MAX`] parts, or the fragments of the packet
    /// would cost more steps than those of an honest one.
    TooScattered,
    /// No memory, even if all other incomplete messages of the peer were given up.
    Full,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed fragment",
            Self::TooLong => "message too long",
            Self::Contradiction => "fragments of one message contradict each other",
            Self::TooScattered => "fragments too scattered",
            Self::Full => "no memory for the message",
        })
    }
}

impl core::error::Error for Refused {}

/// The incomplete messages of one peer, oldest first.
///
/// For each packet: [`Self::check`] every fragment with one [`Plan`], then, if all is well with
/// the packet, [`Self::insert`] each. A message that is thereby completed belongs to the caller,
/// who gives it back by [`release`]. [`Self::expire`] at [`Self::deadline`], and
/// [`Self::clear`] at the end.
#[derive(Clone, Copy, Debug)]
pub struct Reassembly {
    head: Link,
    tail: Link,
    count: u16,
    /// The sum of the lengths of the messages.
    bytes: u32,
    /// How many blocks they hold.
    blocks: u32,
    /// When the oldest message is too old; [`Instant::MAX`] if there is none.
    deadline: Instant,
    abandoned: u32,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self::new()
    }
}

impl Reassembly {
    /// No messages.
    pub const fn new() -> Self {
        Self {
            head: Link::NONE,
            tail: Link::NONE,
            count: 0,
            bytes: 0,
            blocks: 0,
            deadline: Instant::MAX,
            abandoned: 0,
        }
    }

    /// How many messages are incomplete.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The sum of their lengths, in bytes.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Blocks that the incomplete messages lie in.
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// How many messages were given up so far, for want of room or because of their age. Wraps.
    pub const fn abandoned(&self) -> u32 {
        self.abandoned
    }

    /// When to call [`Self::expire`] next.
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline < Instant::MAX).then_some(self.deadline)
    }

    /// Whether [`Self::insert`] would accept `fragment`, after all others that were checked with
    /// the same `plan`. Changes nothing but the plan.
    ///
    /// # Errors
    ///
    /// Why it would not. Then drop the packet, and the plan with it.
    pub fn check(
        &self,
        mem: &Memory<'_, '_>,
        limits: &Limits,
        fragment: &Fragment<'_>,
        plan: &mut Plan,
    ) -> Result<(), Refused> {
        let known = self.find(mem.slots, Key::of(fragment)).map(|link| &mem.slots[link]);
        let then = plan.with(fragment, known, mem.pool, limits)?;
        if limits.messages == 0 || !self.room(mem, then.messages, then.blocks) {
            return Err(Refused::Full);
        }
        *plan = then;
        Ok(())
    }

    /// Whether other fragments of the same message are here.
    pub fn knows(&self, slots: &Slots<'_, Assembly>, fragment: &Fragment<'_>) -> bool {
        self.find(slots, Key::of(fragment)).is_some()
    }

    /// Puts the bytes of `fragment` in their place. Those that are there already stay as they
    /// are.
    ///
    /// The first fragment of a message takes the memory for all of it, and has the oldest
    /// messages given up until there is room ([`Self::abandoned`]). The message that the fragment
    /// completes is no longer among the incomplete ones: the caller owns it.
    ///
    /// # Errors
    ///
    /// Why nothing was done.
    pub fn insert(
        &mut self,
        mem: &mut Memory<'_, '_>,
        limits: &Limits,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<Option<Link>, Refused> {
        let span = Span::of(fragment, limits)?;
        let link = match self.find(mem.slots, Key::of(fragment)) {
            Some(link) => link,
            None => self.start(mem, limits, now, fragment)?,
        };
        let message = &mut mem.slots[link];
        message.add(mem.pool, fragment, span)?;
        if !message.is_complete() {
            return Ok(None);
        }
        self.unlink(mem, limits, link);
        Ok(Some(link))
    }

    /// Gives up the messages whose time is over, and returns how many.
    pub fn expire(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits, now: Instant) -> u32 {
        let before = self.abandoned;
        while self.head.is_some() && now >= mem.slots[self.head].started() + limits.age {
            self.abandon_oldest(mem, limits);
        }
        self.abandoned.wrapping_sub(before)
    }

    /// Gives everything back, as at the end of a session.
    pub fn clear(&mut self, mem: &mut Memory<'_, '_>) {
        let mut at = self.head;
        while let Some(link) = at.some() {
            at = mem.slots[link].next;
            release(mem, link);
        }
        *self = Self { abandoned: self.abandoned, ..Self::new() };
    }

    /// The incomplete message that `key` names. Most often it is the newest.
    fn find(&self, slots: &Slots<'_, Assembly>, key: Key) -> Option<Link> {
        let newest = self.tail.some()?;
        if slots[newest].key == key {
            return Some(newest);
        }
        let mut at = self.head;
        while at != newest {
            let link = at.some()?;
            if slots[link].key == key {
                return Some(link);
            }
            at = slots[link].next;
        }
        None
    }

    /// Whether so many messages in so many blocks find room if all that are here must go.
    fn room(&self, mem: &Memory<'_, '_>, messages: u32, blocks: u32) -> bool {
        let own_messages = usize::from(self.count);
        mem.slots.available(mem.slot_quota).saturating_add(own_messages) >= messages as usize
            && mem.pool.available(mem.block_quota).saturating_add(self.blocks as usize)
                >= blocks as usize
    }

    /// Begins the message of `fragment`, at the cost of the oldest ones.
    fn start(
        &mut self,
        mem: &mut Memory<'_, '_>,
        limits: &Limits,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<Link, Refused> {
        let total = fragment.total;
        let blocks = blocks(mem.pool, total);
        if !self.room(mem, 1, blocks) {
            return Err(Refused::Full);
        }
        while self.count >= limits.messages
            || self.bytes > limits.bytes.saturating_sub(total)
            || mem.slots.available(mem.slot_quota) == 0
            || mem.pool.available(mem.block_quota) < blocks as usize
        {
            if self.head.is_none() {
                return Err(Refused::Full);
            }
            self.abandon_oldest(mem, limits);
        }
        let Some(link) = mem.slots.take(mem.slot_quota) else { return Err(Refused::Full) };
        let Some(first) = mem.pool.take_chain(mem.block_quota, blocks as usize) else {
            mem.slots.give(mem.slot_quota, link);
            return Err(Refused::Full);
        };
        mem.slots[link] = Assembly::new(fragment, first, now);
        match self.tail.some() {
            Some(tail) => mem.slots[tail].next = link,
            None => self.head = link,
        }
        self.tail = link;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(total);
        self.blocks = self.blocks.saturating_add(blocks);
        self.set_deadline(mem, limits);
        Ok(link)
    }

    fn abandon_oldest(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits) {
        let oldest = self.head;
        self.unlink(mem, limits, oldest);
        release(mem, oldest);
        self.abandoned = self.abandoned.wrapping_add(1);
    }

    /// Takes `link` out of the list, which holds it.
    fn unlink(&mut self, mem: &mut Memory<'_, '_>, limits: &Limits, link: Link) {
        let mut before = Link::NONE;
        let mut at = self.head;
        while at != link && at.is_some() {
            before = at;
            at = mem.slots[at].next;
        }
        let (next, total) = (mem.slots[link].next, mem.slots[link].total());
        match before.some() {
            Some(before) => mem.slots[before].next = next,
            None => self.head = next,
        }
        if self.tail == link {
            self.tail = before;
        }
        mem.slots[link].next = Link::NONE;
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(total);
        self.blocks = self.blocks.saturating_sub(blocks(mem.pool, total));
        self.set_deadline(mem, limits);
    }

    fn set_deadline(&mut self, mem: &Memory<'_, '_>, limits: &Limits) {
        self.deadline = match self.head.some() {
            Some(oldest) => mem.slots[oldest].started() + limits.age,
            None => Instant::MAX,
        };
    }
}

fn blocks(pool: &Pool<'_>, len: u32) -> u32 {
    pool.blocks_for(len as usize) as u32
}

#[cfg(test)]
mod tests;
