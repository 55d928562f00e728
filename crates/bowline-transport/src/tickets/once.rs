//! Tickets of messages that are sent once.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Outcome, Slots, Tag};

use super::{Ends, Tickets};
use crate::record::Record;

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

    /// The message at `offset`, the first that waits, if it was given up: up to where, with those that
    /// follow it directly.
    pub fn dead_at(&self, records: &Slots<'_, Record>, offset: u32) -> Option<u32> {
        self.waiting.void_at(records, offset, offset).map(|(_, end)| end)
    }

    /// How many of the `len` bytes from `offset` on, the first that wait, lie before the next message that
    /// was given up: [`Tickets::alive`].
    pub fn alive(&self, records: &Slots<'_, Record>, offset: u32, len: u32) -> u32 {
        self.waiting.alive(records, offset, len, offset)
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
        while let Some(link) = self.waiting.first().some()
            && ahead32(records[link].start, offset) < 0
        {
            self.waiting.take(records, Link::NONE);
            let ticket = &mut records[link];
            debug_assert!(ticket.flags & super::DEAD == 0, "what was given up is not sent");
            ticket.start = ticket.start.wrapping_add(prefix);
            ticket.reported = ticket.end.wrapping_sub(ticket.start);
            self.under_way.append(records, link);
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
        let (mut before, mut at) = (Link::NONE, self.under_way.first());
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
            if here <= 0
                || outcome == Outcome::Acknowledged
                    && ticket.reported > 0
                    && !cfg!(bowline_mutant = "any_part")
            {
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
