//! The members that have something to send, in the order in which they go.

use bowline_core::serial::ahead32;
use bowline_core::{Instant, Link, Slots};

use super::member::Standing;
use super::{Class, Member, Share};

/// Those that have something to send, who goes first in front.
///
/// Who has something to send is [pushed](Self::push). To fill a datagram, ask who is in
/// [front](Self::front), let it put in what it has and fits, and [charge](Self::charge) it, saying
/// whether it has more; go on until the datagram is full or nobody is in front. A member sends at most
/// one datagram's worth for a charge.
///
/// A member that comes stands behind those equals that are due before it, and has nothing to its
/// credit, however long it was away; a debt it keeps, though not of more than one datagram.
///
/// Coming, going and being charged cost a walk along the line at most, and a constant time with one
/// member, or for the first and for the last one. Without budgets [`Self::front`] is the head.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub(super) head: Link,
    pub(super) tail: Link,
    /// [`FREE`], or when somebody may send, as far as is known.
    due: Instant,
}

impl Line {
    /// A line of nobody.
    pub const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE, due: FREE };

    /// Whether nobody is in it.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// When somebody may send, or `None` if nobody is in line.
    ///
    /// Long past if it is not known that all have used up their maximum; before this instant
    /// [`Self::front`] answers nobody.
    #[inline]
    pub fn wake_at(&self) -> Option<Instant> {
        match self.due {
            _ if self.is_empty() => None,
            FREE | LOOK => Some(Instant::ZERO),
            due => Some(due),
        }
    }

    /// Whether somebody may send at `now`, as far as is known.
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_empty() && self.due <= now.max(LOOK)
    }

    /// Who is to send next.
    #[inline]
    pub fn front<T: Member>(&mut self, slots: &mut Slots<'_, T>, now: Instant) -> Option<Link> {
        if self.due == FREE {
            return self.head.some();
        }
        self.choose(slots, now)
    }

    /// Whether somebody besides `member` may send at `now`.
    #[inline]
    pub fn has_others<T: Member>(
        &self,
        slots: &mut Slots<'_, T>,
        member: Link,
        now: Instant,
    ) -> bool {
        if self.due == FREE {
            return self.tail.is_some() && (self.tail != member || self.head != member);
        }
        let mut at = self.head;
        while let Some(link) = at.some() {
            let share = slots[link].share();
            if link != member && !share.is_blocked(now) {
                return true;
            }
            at = share.next;
        }
        false
    }

    /// Puts `member` in line, unless it is there already.
    #[inline]
    pub fn push<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        if !slots[member].share().is_queued() {
            self.enter(slots, member, Standing::In);
        }
    }

    /// Puts `member` in line before its equals, also if it is there already: it has something to
    /// send again. After its next charge it stands like any other.
    #[inline]
    pub fn push_urgent<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let share = slots[member].share();
        if self.head == member && share.is_queued() || share.standing == Standing::Urgent {
            share.standing = Standing::Urgent;
            return;
        }
        if share.is_queued() {
            self.unlink(slots, member);
            self.insert(slots, member, Standing::Urgent);
        } else {
            self.enter(slots, member, Standing::Urgent);
        }
    }

    /// `member` has put `bytes` into a datagram, at most 65,535, and has more to send or leaves the
    /// line.
    #[inline]
    pub fn charge<T: Member>(
        &mut self,
        slots: &mut Slots<'_, T>,
        member: Link,
        bytes: u32,
        more: bool,
        now: Instant,
    ) {
        if self.due == FREE && self.head == member && self.tail == member {
            // Whoever comes next finds its pass and starts from there.
            let share = slots[member].share();
            share.standing = if more { Standing::In } else { Standing::Out };
            if !more {
                *self = Self::EMPTY;
            }
            return;
        }
        self.settle(slots, member, bytes, more, now);
    }

    /// Takes `member` out, wherever it is.
    pub fn remove<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        if slots[member].share().is_queued() {
            self.unlink(slots, member);
        }
    }

    /// Takes everybody out.
    pub fn clear<T: Member>(&mut self, slots: &mut Slots<'_, T>) {
        while let Some(member) = self.head.some() {
            self.unlink(slots, member);
        }
    }

    /// Gives `member` another class, whether or not it is in line.
    ///
    /// Where a rate changes, what was sent before no longer counts against it.
    pub fn set_class<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link, class: Class) {
        let old = *slots[member].share();
        self.remove(slots, member);
        let share = slots[member].share();
        *share = Share { pass: old.pass, ..Share::new(class) };
        if class.rate_max == old.rate_max {
            (share.max_at, share.max_part) = (old.max_at, old.max_part);
        }
        if class.rate_min == old.rate_min {
            (share.min_at, share.min_part) = (old.min_at, old.min_part);
        }
        if old.is_queued() {
            self.enter(slots, member, old.standing);
        }
    }

    /// Who is next where there are budgets: who has been owed longest, unless the first that may
    /// send has already stood back once; else that first.
    #[inline(never)]
    fn choose<T: Member>(&mut self, slots: &mut Slots<'_, T>, now: Instant) -> Option<Link> {
        let (mut first, mut owed, mut owed_at) = (None, None, now);
        let (mut budgets, mut passed, mut due) = (false, false, Instant::MAX);
        let mut at = if self.is_due(now) { self.head } else { return None };
        while let Some(link) = at.some() {
            let share = slots[link].share();
            at = share.next;
            budgets |= share.has_budget();
            if share.is_blocked(now) {
                due = due.min(share.max_at);
                continue;
            }
            if first.is_none() {
                (first, passed) = (Some(link), share.passed);
            }
            if share.rate_min != 0
                && (share.min_at < owed_at || owed.is_none() && share.min_at <= now)
            {
                (owed, owed_at) = (Some(link), share.min_at);
            }
        }
        self.due = match first {
            _ if !budgets => FREE,
            Some(_) => LOOK,
            None => due,
        };
        if passed { first } else { owed.or(first) }
    }

    /// Charges `member` where others stand in line, or there are budgets.
    #[inline(never)]
    fn settle<T: Member>(
        &mut self,
        slots: &mut Slots<'_, T>,
        member: Link,
        bytes: u32,
        more: bool,
        now: Instant,
    ) {
        if self.due == FREE && self.head == member {
            self.settle_head(slots, member, bytes, more);
            return;
        }
        let (queued, budgets) = (slots[member].share().is_queued(), self.due != FREE);
        if queued {
            if budgets {
                self.overtake(slots, member, now);
            }
            self.unlink(slots, member);
        }
        let share = slots[member].share();
        share.charge_budgets(bytes, now);
        if queued && self.is_empty() {
            // What it gets while nobody else waits is not late.
            share.drop_credit(bytes, now);
        }
        share.pass = share.pass.wrapping_add(share.cost(bytes));
        share.passed = false;
        if queued && more {
            self.insert(slots, member, Standing::In);
        }
        if budgets && !self.is_empty() {
            self.due = LOOK;
        }
    }

    /// Charges who is first of several, where there are no budgets.
    fn settle_head<T: Member>(
        &mut self,
        slots: &mut Slots<'_, T>,
        member: Link,
        bytes: u32,
        more: bool,
    ) {
        let share = slots[member].share();
        share.pass = share.pass.wrapping_add(share.cost(bytes));
        let old = core::mem::replace(&mut share.standing, Standing::Out);
        self.head = core::mem::replace(&mut share.next, Link::NONE);
        if !more {
            return;
        }
        if old == Standing::Urgent {
            self.insert(slots, member, Standing::In);
        } else {
            // It was behind none of its equals, so that one datagram does not bring it too far.
            share.standing = Standing::In;
            self.place(slots, member);
        }
    }

    /// `member` sends before those that stand in front of it: because they may not, which gives
    /// them nothing to their credit, or because it is owed, which the first that may remembers.
    fn overtake<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link, now: Instant) {
        let Share { priority, pass, .. } = *slots[member].share();
        let mut at = self.head;
        while let Some(link) = at.some().filter(|&link| link != member) {
            let share = slots[link].share();
            if !share.is_blocked(now) {
                share.passed = true;
                return;
            }
            if share.priority == priority && ahead32(pass, share.pass) > 0 {
                share.pass = pass;
            }
            at = share.next;
        }
    }

    /// Puts in line who was not there.
    #[inline]
    fn enter<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link, standing: Standing) {
        let share = slots[member].share();
        share.passed = false;
        if self.due != FREE || share.has_budget() {
            self.due = LOOK;
        }
        if self.head.is_none() {
            (share.standing, share.next) = (standing, Link::NONE);
            (self.head, self.tail) = (member, member);
            return;
        }
        let priority = share.priority;
        if let Some(pass) = self.pass_of(slots, priority) {
            let share = slots[member].share();
            let debt = ahead32(share.pass, pass).clamp(0, share.cost(DEBT_MAX) as i32);
            share.pass = pass.wrapping_add(debt as u32);
        }
        self.insert(slots, member, standing);
        if self.due != FREE
            && let Some(after) = slots[member].share().next.some()
        {
            // It comes behind the minimum that the one after it has just stood back for.
            let passed = core::mem::take(&mut slots[after].share().passed);
            slots[member].share().passed = passed;
        }
    }

    /// The pass of who is next of a priority, not counting those that are urgent if others are
    /// there.
    fn pass_of<T: Member>(&self, slots: &mut Slots<'_, T>, priority: u8) -> Option<u32> {
        let (mut at, mut pass) = (self.head, None);
        while let Some(link) = at.some() {
            let share = slots[link].share();
            if share.priority < priority {
                break;
            }
            if share.priority == priority {
                pass = Some(share.pass);
                if share.standing != Standing::Urgent {
                    break;
                }
            }
            at = share.next;
        }
        pass
    }

    /// Puts `member`, which is in no line, where it belongs.
    fn insert<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link, standing: Standing) {
        let priority = slots[member].share().priority;
        let base = self.pass_of(slots, priority);
        let share = slots[member].share();
        share.standing = standing;
        if let Some(pass) = base {
            // A minimum counts as part of the share. It may be far more than that, and passes must
            // stay close enough together to be compared.
            let ahead = ahead32(share.pass, pass).min(AHEAD_MAX);
            share.pass = pass.wrapping_add(ahead as u32);
        }
        self.place(slots, member);
    }

    /// Puts `member` behind all that stay before it.
    fn place<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let rank = slots[member].share().rank();
        let mut before = self.tail;
        if before.is_some() && !slots[before].share().rank().stays_before(rank) {
            before = Link::NONE;
            let mut at = self.head;
            while let Some(link) = at.some() {
                let other = slots[link].share();
                if !other.rank().stays_before(rank) {
                    break;
                }
                (before, at) = (link, other.next);
            }
        }
        let after = match before.some() {
            Some(before) => core::mem::replace(&mut slots[before].share().next, member),
            None => core::mem::replace(&mut self.head, member),
        };
        slots[member].share().next = after;
        if after.is_none() {
            self.tail = member;
        }
    }

    /// Takes out `member`, which is in line.
    fn unlink<T: Member>(&mut self, slots: &mut Slots<'_, T>, member: Link) {
        let share = slots[member].share();
        share.standing = Standing::Out;
        let next = core::mem::replace(&mut share.next, Link::NONE);
        let mut before = Link::NONE;
        if self.head == member {
            self.head = next;
        } else {
            before = self.head;
            while let Some(link) = before.some() {
                let share = slots[link].share();
                if share.next == member {
                    share.next = next;
                    break;
                }
                before = share.next;
            }
        }
        if self.tail == member {
            self.tail = before;
        }
        if self.head.is_none() {
            self.due = FREE;
        }
    }
}

/// No budgets are in play: the head may send.
const FREE: Instant = Instant::ZERO;

/// There are budgets, and somebody may be allowed to send.
const LOOK: Instant = Instant::from_micros(1);

/// The debt that outlasts an absence, in bytes of its own: about a datagram.
const DEBT_MAX: u32 = 2_048;

/// How far ahead of its equals a pass can be: as the longest datagram brings a weight of 1.
const AHEAD_MAX: i32 = 1 << 28;
