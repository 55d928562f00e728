//! What became of messages: tickets for those whose end somebody wants to know, or that may be
//! given up.
//!
//! A ticket is a record that tells which bytes of a stream, or of a queue, are the message's. It
//! stays in its lane, in order of those bytes, until they are acknowledged or gone; and it stays
//! taken until its outcome was told, so that none is ever lost: who polls no outcomes runs out of
//! tickets, which is a `Full` at `send`.

use bowline_core::serial::ahead32;
use bowline_core::{Code, Coded, Instant, Link, Outcome, Quota, Slots, Tag};

use crate::record::{List, Record};

/// What a ticket remembers of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// Set if the outcome is to be told.
    pub tag: Option<Tag>,
    /// When the message is not worth sending any more, or never.
    pub deadline: Instant,
    /// What it replaces; 0 where nothing is replaced.
    pub key: u32,
}

/// The outcome is to be told.
const TAGGED: u16 = 1;
/// The outcome is known.
const DECIDED: u16 = 2;
/// The message was given up: its bytes are passed over.
const DEAD: u16 = 4;
/// That is to be told to the receiver, since some of the bytes were sent.
const DUE: u16 = 8;
/// It is in no lane any more.
const OUT: u16 = 16;
/// It waits to be told.
const UNTOLD: u16 = 32;

/// Outcomes that wait to be told, in the order in which they were decided.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes {
    head: Link,
    tail: Link,
}

impl Outcomes {
    /// Nothing to tell.
    pub const NONE: Self = Self { head: Link::NONE, tail: Link::NONE };

    /// Whether there is nothing to tell.
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    fn push(&mut self, records: &mut Slots<'_, Record>, ticket: Link) {
        records[ticket].more = Link::NONE;
        if self.head.is_none() {
            self.head = ticket;
        } else {
            records[self.tail].more = ticket;
        }
        self.tail = ticket;
    }

    /// The next outcome; its ticket is given back, unless the message's bytes are still here.
    pub fn pop(
        &mut self,
        records: &mut Slots<'_, Record>,
        quota: &mut Quota,
    ) -> Option<(Tag, Outcome)> {
        let link = self.head.some()?;
        let ticket = &mut records[link];
        self.head = ticket.more;
        ticket.flags &= !UNTOLD;
        let outcome = Outcome::from_code(Code::bare(ticket.size as u8)).unwrap_or(Outcome::Closed);
        let told = (Tag(ticket.number), outcome);
        if ticket.flags & OUT != 0 {
            records.give(quota, link);
        }
        Some(told)
    }
}

/// The newest messages of a lane by key: chains of tickets, since keys are many and memory is not.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    chains: [Link; 4],
}

impl Keys {
    /// No message has a key.
    pub const NONE: Self = Self { chains: [Link::NONE; 4] };

    fn chain(&mut self, key: u32) -> &mut Link {
        // Keys are often multiples of something.
        let [a, b, c, d] = &mut self.chains;
        match (key ^ key >> 2 ^ key >> 8) & 3 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }

    /// The ticket of the newest message with this key that has not ended. Takes a walk over a quarter
    /// of all keys.
    pub fn find(&mut self, records: &Slots<'_, Record>, key: u32) -> Option<Link> {
        let mut at = *self.chain(key);
        while let Some(link) = at.some() {
            if records[link].reported == key {
                return Some(link);
            }
            at = records[link].more;
        }
        None
    }

    /// Adds a ticket; no other has its key.
    pub fn insert(&mut self, records: &mut Slots<'_, Record>, ticket: Link) {
        let chain = self.chain(records[ticket].reported);
        records[ticket].more = *chain;
        *chain = ticket;
    }

    fn remove(&mut self, records: &mut Slots<'_, Record>, ticket: Link) {
        let after = records[ticket].more;
        let chain = self.chain(records[ticket].reported);
        if *chain == ticket {
            *chain = after;
            return;
        }
        let mut at = *chain;
        while let Some(link) = at.some() {
            at = records[link].more;
            if at == ticket {
                records[link].more = after;
                return;
            }
        }
    }
}

/// Where tickets go when they have served.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Whose tickets they are.
    pub quota: &'a mut Quota,
    /// Outcomes to be told.
    pub outcomes: &'a mut Outcomes,
    /// The keys of the lane, if it has any.
    pub keys: Option<&'a mut Keys>,
}

impl<'a> Ends<'a> {
    /// For a lane without keys.
    pub const fn new(quota: &'a mut Quota, outcomes: &'a mut Outcomes) -> Self {
        Self { quota, outcomes, keys: None }
    }

    /// The message has ended, unless it had before.
    fn decide(&mut self, records: &mut Slots<'_, Record>, link: Link, outcome: Outcome) -> bool {
        if records[link].flags & DECIDED != 0 {
            return false;
        }
        if let Some(keys) = &mut self.keys {
            keys.remove(records, link);
        }
        let ticket = &mut records[link];
        ticket.flags |= DECIDED;
        if ticket.flags & TAGGED != 0 {
            ticket.flags |= UNTOLD;
            ticket.size = u16::from(outcome.to_code().kind);
            self.outcomes.push(records, link);
        }
        true
    }

    /// The ticket has left its lane.
    fn release(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        let ticket = &mut records[link];
        ticket.flags |= OUT;
        if ticket.flags & UNTOLD == 0 {
            records.give(self.quota, link);
        }
    }
}

/// The tickets of a lane, in order of their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Tickets {
    list: List,
    /// How many were given up.
    dead: u32,
    /// For how many of these that is to be told to the receiver.
    due: u32,
}

impl Tickets {
    /// No tickets.
    pub const NONE: Self = Self { list: List::EMPTY, dead: 0, due: 0 };

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether messages were given up of which the receiver is to be told.
    pub const fn any_due(&self) -> bool {
        self.due > 0
    }

    /// Adds the ticket of the newest message, whose bytes are `start..end`, to the vacant record
    /// `link`.
    pub fn push(
        &mut self,
        records: &mut Slots<'_, Record>,
        link: Link,
        request: &Request,
        start: u32,
        end: u32,
    ) {
        let ticket = &mut records[link];
        *ticket = Record {
            start,
            end,
            number: request.tag.map_or(0, |tag| tag.0),
            at: request.deadline,
            reported: request.key,
            flags: if request.tag.is_some() { TAGGED } else { 0 },
            ..*ticket
        };
        self.list.push_back(records, link);
    }

    /// The first ticket that is wanted, and the one before it.
    fn find(
        &self,
        records: &Slots<'_, Record>,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<(Link, Link)> {
        let (mut before, mut at) = (Link::NONE, self.list.head);
        while let Some(link) = at.some() {
            if wanted(&records[link]) {
                return Some((before, link));
            }
            (before, at) = (link, records[link].next);
        }
        None
    }

    /// The ticket of the oldest message with this tag that has not ended.
    pub fn find_tag(&self, records: &Slots<'_, Record>, tag: Tag) -> Option<Link> {
        let wanted =
            |ticket: &Record| ticket.flags & (TAGGED | DECIDED) == TAGGED && ticket.number == tag.0;
        self.find(records, wanted).map(|(_, link)| link)
    }

    /// The message has ended before its bytes were acknowledged: they are passed over. `sent` is
    /// the first byte that was not sent.
    pub fn give_up(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        link: Link,
        outcome: Outcome,
        sent: u32,
    ) {
        if !ends.decide(records, link, outcome) {
            return;
        }
        let ticket = &mut records[link];
        ticket.flags |= DEAD;
        self.dead += 1;
        if ahead32(sent, ticket.start) > 0 {
            ticket.flags |= DUE;
            self.due += 1;
        }
    }

    /// Gives up messages whose time is over, and tells when the next one's is. Walks all tickets.
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
        while let Some(link) = self.list.head.some() {
            ends.decide(records, link, Outcome::Closed);
            self.remove(records, ends, Link::NONE);
        }
    }

    /// Takes the ticket behind `before` out of the lane.
    fn remove(&mut self, records: &mut Slots<'_, Record>, ends: &mut Ends<'_>, before: Link) {
        let Some(link) = self.list.remove_after(records, before) else { return };
        let flags = records[link].flags;
        self.dead -= u32::from(flags & DEAD != 0);
        self.due -= u32::from(flags & DUE != 0);
        ends.release(records, link);
    }

    /// The range given up that `offset` lies in, with those that follow it directly.
    pub fn void_at(&self, records: &Slots<'_, Record>, offset: u32) -> Option<(u32, u32)> {
        if self.dead == 0 {
            return None;
        }
        let holds = |ticket: &Record| {
            ticket.flags & DEAD != 0
                && ahead32(ticket.start, offset) <= 0
                && ahead32(ticket.end, offset) > 0
        };
        self.find(records, holds).map(|(_, link)| self.joined(records, link))
    }

    /// The next offset from `offset` on at which something was given up.
    pub fn void_after(&self, records: &Slots<'_, Record>, offset: u32) -> Option<u32> {
        if self.dead == 0 {
            return None;
        }
        let beyond =
            |ticket: &Record| ticket.flags & DEAD != 0 && ahead32(ticket.start, offset) >= 0;
        self.find(records, beyond).map(|(_, link)| records[link].start)
    }

    /// The first range given up of which the receiver is to be told.
    pub fn first_due(&self, records: &Slots<'_, Record>) -> Option<(u32, u32)> {
        if self.due == 0 {
            return None;
        }
        let due = |ticket: &Record| ticket.flags & DUE != 0;
        self.find(records, due).map(|(_, link)| self.joined(records, link))
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
        self.mark(records, start, end, false);
    }

    /// What told the receiver that something in `start..end` was given up did not arrive.
    pub fn on_void_lost(&mut self, records: &mut Slots<'_, Record>, start: u32, end: u32) {
        self.mark(records, start, end, true);
    }

    fn mark(&mut self, records: &mut Slots<'_, Record>, start: u32, end: u32, due: bool) {
        let mut at = self.list.head;
        while let Some(link) = at.some() {
            let ticket = &mut records[link];
            if ahead32(ticket.start, end) >= 0 {
                break;
            }
            at = ticket.next;
            let was = ticket.flags & DUE != 0;
            if ticket.flags & DEAD == 0 || ahead32(ticket.end, start) <= 0 || was == due {
                continue;
            }
            ticket.flags ^= DUE;
            self.due = if due { self.due + 1 } else { self.due - 1 };
        }
    }

    /// How many bytes the message of a ticket takes, if it has not ended and none were sent.
    pub fn unsent(&self, records: &Slots<'_, Record>, link: Link, sent: u32) -> Option<(u32, u32)> {
        let ticket = &records[link];
        let unsent = ticket.flags & DECIDED == 0 && ahead32(ticket.start, sent) >= 0;
        unsent.then_some((ticket.start, ticket.end))
    }

    /// Another message takes the place of one that was not sent: `newer` follows `link`, with the
    /// same bytes, and `link` is superseded.
    pub fn replace(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        link: Link,
        newer: Link,
        request: &Request,
    ) {
        let Record { start, end, next, .. } = records[link];
        let mut one = Self::NONE;
        one.push(records, newer, request, start, end);
        records[newer].next = next;
        records[link].next = newer;
        if self.list.tail == link {
            self.list.tail = newer;
        }
        ends.decide(records, link, Outcome::Superseded);
        let before = self.find(records, |ticket| ticket.next == link).map(|(_, before)| before);
        self.remove(records, ends, before.unwrap_or(Link::NONE));
    }
}

/// The tickets of messages that are sent once: those that wait, and those under way.
#[derive(Clone, Copy, Debug)]
pub struct OnceTickets {
    waiting: Tickets,
    /// Each counts, as `reported`, the bytes of its message that are not acknowledged.
    under_way: Tickets,
}

impl OnceTickets {
    /// No tickets.
    pub const NONE: Self = Self { waiting: Tickets::NONE, under_way: Tickets::NONE };

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// The tickets of messages that wait to be sent.
    pub const fn waiting(&mut self) -> &mut Tickets {
        &mut self.waiting
    }

    /// Whether a message under way has this tag.
    pub fn is_under_way(&self, records: &Slots<'_, Record>, tag: Tag) -> bool {
        self.under_way.find_tag(records, tag).is_some()
    }

    /// The message at `offset`, if it was given up: up to where.
    pub fn dead_at(&self, records: &Slots<'_, Record>, offset: u32) -> Option<u32> {
        self.waiting.void_at(records, offset).map(|(_, end)| end)
    }

    /// The offset up to which no message was given up, if any was.
    pub fn dead_after(&self, records: &Slots<'_, Record>, offset: u32) -> Option<u32> {
        self.waiting.void_after(records, offset)
    }

    /// All that waited before `offset` was dropped, since it was given up.
    pub fn on_dropped(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        offset: u32,
    ) {
        self.waiting.settle_before(records, ends, offset);
    }

    /// Messages before `offset` are under way. `prefix` bytes of each do not travel.
    ///
    /// Returns whether any of them has a ticket.
    pub fn on_sent(&mut self, records: &mut Slots<'_, Record>, offset: u32, prefix: u32) -> bool {
        let mut any = false;
        while let Some(link) = self.waiting.list.head.some()
            && ahead32(records[link].start, offset) < 0
        {
            self.waiting.list.pop_front(records);
            let ticket = &mut records[link];
            ticket.start = ticket.start.wrapping_add(prefix);
            ticket.reported = ticket.end.wrapping_sub(ticket.start);
            self.under_way.list.push_back(records, link);
            any = true;
        }
        any
    }

    /// A packet with the bytes `start..end` was acknowledged.
    pub fn on_acked(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        start: u32,
        end: u32,
    ) {
        self.on_fate(records, ends, start, end, Outcome::Acknowledged);
    }

    /// A packet with the bytes `start..end` was lost.
    pub fn on_lost(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        start: u32,
        end: u32,
    ) {
        self.on_fate(records, ends, start, end, Outcome::Lost);
    }

    fn on_fate(
        &mut self,
        records: &mut Slots<'_, Record>,
        ends: &mut Ends<'_>,
        start: u32,
        end: u32,
        outcome: Outcome,
    ) {
        let (mut before, mut at) = (Link::NONE, self.under_way.list.head);
        while let Some(link) = at.some() {
            let ticket = &mut records[link];
            if ahead32(ticket.start, end) >= 0 {
                break;
            }
            at = ticket.next;
            let from = if ahead32(ticket.start, start) > 0 { ticket.start } else { start };
            let upto = if ahead32(ticket.end, end) < 0 { ticket.end } else { end };
            let here = ahead32(upto, from);
            if here > 0 {
                ticket.reported = ticket.reported.saturating_sub(here as u32);
            }
            if here <= 0 || outcome == Outcome::Acknowledged && ticket.reported > 0 {
                before = link;
                continue;
            }
            ends.decide(records, link, outcome);
            self.under_way.remove(records, ends, before);
        }
    }

    /// The session ends.
    pub fn abandon(&mut self, records: &mut Slots<'_, Record>, ends: &mut Ends<'_>) {
        self.under_way.abandon(records, ends);
        self.waiting.abandon(records, ends);
    }
}
