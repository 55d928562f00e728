//! Tickets of messages that are sent until they are acknowledged, or that wait to be sent.

use bowline_core::serial::ahead32;
use bowline_core::{Instant, Link, Outcome, Slots, Tag};

use super::{DEAD, DECIDED, DUE, Ends, Request, TAGGED};
use crate::key_tree::KeyTree;
use crate::record::{List, Record};

/// No packet has room for more bytes, so nobody looks further ahead.
const NEAR: u32 = 1 << 16;

/// The tickets of a lane, in order of their bytes.
///
/// `sent` is, wherever it is asked for, the offset of the first byte that was not sent.
#[derive(Clone, Copy, Debug)]
pub struct Tickets {
    list: List,
    /// The first whose bytes were not all sent.
    unsent: Link,
    /// The first that is due.
    first_due: Link,
    /// How many were given up.
    dead: u32,
    /// How many of these there are from `unsent` on.
    dead_unsent: u32,
    /// For how many the receiver is to be told that.
    due: u32,
}

impl Tickets {
    /// No tickets.
    pub const NONE: Self = Self {
        list: List::EMPTY,
        unsent: Link::NONE,
        first_due: Link::NONE,
        dead: 0,
        dead_unsent: 0,
        due: 0,
    };

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether messages were given up of which the receiver is to be told.
    pub const fn any_due(&self) -> bool {
        self.due > 0
    }

    /// The ticket of the oldest message.
    pub(super) const fn first(&self) -> Link {
        self.list.head
    }

    /// Adds the ticket of the newest message, whose bytes are `start..end`, to the vacant record
    /// `link`. None of them was sent.
    pub fn push(
        &mut self,
        records: &mut Slots<'_, Record>,
        link: Link,
        request: &Request,
        start: u32,
        end: u32,
    ) {
        let ticket = &mut records[link];
        (ticket.start, ticket.end) = (start, end);
        request.write(ticket);
        self.append(records, link);
    }

    pub(super) fn append(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        self.list.push_back(records, link);
        if self.unsent.is_none() {
            self.unsent = link;
        }
    }

    /// All before `sent` was sent by now.
    #[inline]
    pub fn on_sent(&mut self, records: &Slots<'_, Record>, sent: u32) {
        while let Some(link) = self.unsent.some()
            && ahead32(records[link].end, sent) <= 0
        {
            self.dead_unsent -= u32::from(records[link].flags & DEAD != 0);
            self.unsent = records[link].next;
        }
    }

    /// The ticket of the oldest message with this tag that has not ended. May walk over all.
    pub fn find_tag(&self, records: &Slots<'_, Record>, tag: Tag) -> Option<Link> {
        let mut at = self.list.head;
        while let Some(link) = at.some() {
            let ticket = &records[link];
            if ticket.flags & (TAGGED | DECIDED) == TAGGED && ticket.number == tag.0 {
                break;
            }
            at = ticket.next;
        }
        at.some()
    }

    /// The message has ended before its bytes were acknowledged: they are passed over.
    pub fn give_up(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        link: Link,
        outcome: Outcome,
        sent: u32,
    ) {
        if !ends.decide(records, link, outcome) || cfg!(bowline_mutant = "given_up_goes_on") {
            return;
        }
        let ticket = &mut records[link];
        ticket.flags |= DEAD;
        self.dead += 1;
        self.dead_unsent += u32::from(ahead32(ticket.end, sent) > 0);
        if ahead32(sent, ticket.start) > 0 {
            self.set_due(records, link);
        }
    }

    fn set_due(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        records[link].flags |= DUE;
        self.due += 1;
        let first = self.first_due.some().map(|first| records[first].start);
        if first.is_none_or(|first| ahead32(records[link].start, first) < 0) {
            self.first_due = link;
        }
    }

    /// Gives up messages whose time is over, and tells when the next one's is. Walks over all.
    pub fn expire(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        now: Instant,
        sent: u32,
    ) -> Instant {
        let (mut next, mut at) = (Instant::MAX, self.list.head);
        while let Some(link) = at.some() {
            let ticket = &records[link];
            at = ticket.next;
            if ticket.flags & DECIDED != 0 {
                continue;
            }
            if ticket.at <= now {
                self.give_up(records, ends, link, Outcome::Expired, sent);
            } else {
                next = next.min(ticket.at);
            }
        }
        next
    }

    /// All before `base` is acknowledged, or was passed over.
    pub fn settle_before(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        base: u32,
    ) {
        while let Some(link) = self.list.head.some()
            && ahead32(records[link].end, base) <= 0
        {
            ends.decide(records, link, Outcome::Acknowledged);
            self.remove(records, ends, Link::NONE);
        }
    }

    /// All of `start..end` is acknowledged: so are the messages that lie in it.
    pub fn settle_within(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        start: u32,
        end: u32,
    ) {
        let (mut before, mut at) = (Link::NONE, self.list.head);
        while let Some(link) = at.some() {
            let ticket = &records[link];
            if ahead32(ticket.end, end) > 0 {
                break;
            }
            at = ticket.next;
            if ahead32(ticket.start, start) < 0 {
                before = link;
                continue;
            }
            ends.decide(records, link, Outcome::Acknowledged);
            self.remove(records, ends, before);
        }
    }

    /// The session ends: so do all messages that had not, in this way.
    pub fn abandon(&mut self, records: &mut Slots<'_, Record>, ends: &mut Ends<'_>) {
        // All go, so none need be taken out of the tree.
        if let Some(keys) = ends.keys.take() {
            *keys = KeyTree::EMPTY;
        }
        while let Some(link) = self.list.head.some() {
            ends.decide(records, link, Outcome::Closed);
            self.remove(records, ends, Link::NONE);
        }
    }

    /// Takes the ticket behind `before` out of the lane for good.
    pub(super) fn remove(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        before: Link,
    ) {
        if let Some(link) = self.take(records, before) {
            ends.release(records, link);
        }
    }

    /// Takes the ticket behind `before` out, to put it elsewhere.
    pub(super) fn take(&mut self, records: &mut Slots<'_, Record>, before: Link) -> Option<Link> {
        let link = self.list.remove_after(records, before)?;
        let Record { flags, next, .. } = records[link];
        let dead = u32::from(flags & DEAD != 0);
        self.dead -= dead;
        if self.unsent == link {
            (self.unsent, self.dead_unsent) = (next, self.dead_unsent - dead);
        }
        if flags & DUE != 0 {
            self.due -= 1;
            self.pass_not_due(records, link);
        }
        Some(link)
    }

    /// `link`, which may have been the first that is due, is so no more.
    fn pass_not_due(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        records[link].flags &= !DUE;
        if self.first_due != link {
            return;
        }
        let mut at = if self.due > 0 { records[link].next } else { Link::NONE };
        while let Some(next) = at.some()
            && records[next].flags & DUE == 0
        {
            at = records[next].next;
        }
        self.first_due = at;
    }

    /// From where to look for tickets of `offset` and what follows: none of those before is of it.
    fn from(&self, offset: u32, sent: u32) -> Link {
        if ahead32(offset, sent) < 0 { self.list.head } else { self.unsent }
    }

    /// Whether something from `offset` on may have been given up.
    const fn any_dead(&self, offset: u32, sent: u32) -> bool {
        if ahead32(offset, sent) < 0 { self.dead > 0 } else { self.dead_unsent > 0 }
    }

    /// The range given up that `offset` lies in, with those that follow it directly.
    pub fn void_at(
        &self,
        records: &Slots<'_, Record>,
        offset: u32,
        sent: u32,
    ) -> Option<(u32, u32)> {
        if !self.any_dead(offset, sent) {
            return None;
        }
        let mut at = self.from(offset, sent);
        while let Some(link) = at.some()
            && ahead32(records[link].end, offset) <= 0
        {
            at = records[link].next;
        }
        let link = at.some()?;
        let ticket = &records[link];
        let holds = ticket.flags & DEAD != 0 && ahead32(ticket.start, offset) <= 0;
        holds.then(|| self.joined(records, link))
    }

    /// How many of the `len` bytes from `offset` on lie before the next message that was given up;
    /// the first one does. If any was, those beyond the longest packet do not count.
    pub fn alive(&self, records: &Slots<'_, Record>, offset: u32, len: u32, sent: u32) -> u32 {
        if !self.any_dead(offset, sent) {
            return len;
        }
        let len = len.min(NEAR);
        let mut at = self.from(offset, sent);
        while let Some(link) = at.some() {
            let ticket = &records[link];
            let ahead = ahead32(ticket.start, offset);
            if ahead >= 0 && ahead as u32 >= len {
                break;
            }
            if ahead >= 0 && ticket.flags & DEAD != 0 {
                return ahead as u32;
            }
            at = ticket.next;
        }
        len
    }

    /// The first range given up of which the receiver is to be told.
    pub fn first_due(&self, records: &Slots<'_, Record>) -> Option<(u32, u32)> {
        self.first_due.some().map(|link| self.joined(records, link))
    }

    /// The range of a ticket and of those given up that follow it directly.
    fn joined(&self, records: &Slots<'_, Record>, link: Link) -> (u32, u32) {
        let Record { start, mut end, mut next, .. } = records[link];
        while let Some(link) = next.some() {
            let ticket = &records[link];
            if ticket.flags & DEAD == 0 || ticket.start != end {
                break;
            }
            (end, next) = (ticket.end, ticket.next);
        }
        (start, end)
    }

    /// The receiver is being told that what begins in `start..end` was given up.
    pub fn on_void_sent(&mut self, records: &mut Slots<'_, Record>, start: u32, end: u32) {
        let mut at = self.first_due;
        while let Some(link) = at.some() {
            let ticket = &records[link];
            if ahead32(ticket.start, end) >= 0 {
                break;
            }
            at = ticket.next;
            if ticket.flags & DUE != 0 && ahead32(ticket.end, start) > 0 {
                self.due -= 1;
                self.pass_not_due(records, link);
            }
        }
    }

    /// What told the receiver that something in `start..end` was given up did not arrive. May walk over
    /// all before it.
    pub fn on_void_lost(&mut self, records: &mut Slots<'_, Record>, start: u32, end: u32) {
        let mut at = self.list.head;
        while let Some(link) = at.some() {
            let ticket = &records[link];
            if ahead32(ticket.start, end) >= 0 {
                break;
            }
            at = ticket.next;
            if ticket.flags & (DEAD | DUE) == DEAD && ahead32(ticket.end, start) > 0 {
                self.set_due(records, link);
            }
        }
    }

    /// The bytes of the message of a ticket, if it has not ended and none were sent.
    pub fn unsent(&self, records: &Slots<'_, Record>, link: Link, sent: u32) -> Option<(u32, u32)> {
        let ticket = &records[link];
        let unsent = ticket.flags & DECIDED == 0 && ahead32(ticket.start, sent) >= 0;
        unsent.then_some((ticket.start, ticket.end))
    }

    /// How many were given up: of all, and of those not sent to the end.
    #[cfg(test)]
    pub(super) const fn dead(&self) -> [u32; 2] {
        [self.dead, self.dead_unsent]
    }
}
