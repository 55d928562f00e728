//! Outcomes that are known, until they were told.

use bowline_core::{Code, Coded, Link, Outcome, Quota, Slots, Tag};

use super::{DECIDED, OUT, Request, TAGGED, UNTOLD};
use crate::key_tree::KeyTree;
use crate::record::Record;

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
        let outcome = Outcome::from_code(Code::bare(ticket.size as u8)).unwrap_or(Outcome::Closed);
        let told = (Tag(ticket.number), outcome);
        if cfg!(bowline_mutant = "outcome_twice") && ticket.flags & TAGGED != 0 {
            ticket.flags &= !TAGGED;
            return Some(told);
        }
        self.head = ticket.more;
        ticket.flags &= !UNTOLD;
        if ticket.flags & OUT != 0 {
            records.give(quota, link);
        }
        Some(told)
    }
}

/// Where tickets go when they have served.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Whose tickets they are.
    pub quota: &'a mut Quota,
    /// Outcomes to be told.
    pub outcomes: &'a mut Outcomes,
    /// By key, the tickets of a lane's messages that have not ended, if these have keys.
    pub keys: Option<&'a mut KeyTree>,
}

impl<'a> Ends<'a> {
    /// For a lane without keys.
    pub const fn new(quota: &'a mut Quota, outcomes: &'a mut Outcomes) -> Self {
        Self { quota, outcomes, keys: None }
    }

    /// The message has ended, unless it had before; returns whether it had not.
    pub(super) fn decide(
        &mut self,
        records: &mut Slots<'_, Record>,
        link: Link,
        outcome: Outcome,
    ) -> bool {
        if records[link].flags & DECIDED != 0 {
            return false;
        }
        if let Some(keys) = &mut self.keys {
            keys.remove(records, link);
        }
        self.note(records, link, outcome);
        true
    }

    fn note(&mut self, records: &mut Slots<'_, Record>, link: Link, outcome: Outcome) {
        let ticket = &mut records[link];
        ticket.flags |= DECIDED;
        if ticket.flags & TAGGED != 0 && !cfg!(bowline_mutant = "drop_outcome") {
            ticket.flags |= UNTOLD;
            ticket.size = u16::from(outcome.to_code().kind);
            self.outcomes.push(records, link);
        }
    }

    /// The ticket has left its lane.
    pub(super) fn release(&mut self, records: &mut Slots<'_, Record>, link: Link) {
        let ticket = &mut records[link];
        ticket.flags |= OUT;
        if ticket.flags & UNTOLD == 0 && !cfg!(bowline_mutant = "leak_ticket") {
            records.give(self.quota, link);
        }
    }

    /// A newer message of the same key takes the place, and the ticket, of one that has not ended
    /// and of which nothing was sent. The older one ends as superseded, with the vacant record `spare`.
    pub fn replace(
        &mut self,
        records: &mut Slots<'_, Record>,
        link: Link,
        spare: Link,
        request: &Request,
    ) {
        let Record { number, flags, .. } = records[link];
        (records[spare].number, records[spare].flags) = (number, flags & TAGGED);
        self.note(records, spare, Outcome::Superseded);
        self.release(records, spare);
        request.write(&mut records[link]);
    }
}

impl Request {
    pub(super) fn write(&self, ticket: &mut Record) {
        ticket.number = self.tag.map_or(0, |tag| tag.0);
        ticket.at = self.deadline;
        ticket.reported = self.key;
        ticket.flags = if self.tag.is_some() { TAGGED } else { 0 };
    }
}
