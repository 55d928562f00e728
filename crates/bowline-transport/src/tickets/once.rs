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

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::{Instant, Quota, Slot, SlotControl};
    use proptest::prelude::*;

    use super::super::{Outcomes, Request};
    use super::*;

    proptest! {
        #![proptest_config(crate::thorough())]

        /// Whatever waits is given up or sent, in one packet or in several; of what is sent the first packet lost
        /// decides, or else the last one acknowledged. Each message ends once, and all tickets come back.
        #[test]
        fn each_message_ends_as_its_packets_do(
            initial in prop_oneof![Just(0u32), (u32::MAX - 300)..=u32::MAX],
            messages in prop::collection::vec((3u32..30, prop::bool::weighted(0.3), 1u32..4), 1..20),
            fates in prop::collection::vec((any::<usize>(), prop::bool::weighted(0.8)), 80),
            close_after in 0usize..80,
        ) {
            let mut items = vec![Record::VACANT; 20];
            let mut control = SlotControl::new(20);
            let mut records = Slots::new(&mut items, &mut control);
            let (mut quota, mut outcomes) = (Quota::NONE, Outcomes::NONE);
            let (mut once, mut end) = (OnceTickets::NONE, initial);
            let mut links = Vec::new();
            for (tag, &(len, ..)) in messages.iter().enumerate() {
                let link = records.take(&mut quota).unwrap();
                let tag = Some(Tag(tag as u32));
                let request = Request { tag, deadline: Instant::MAX, key: 0 };
                once.waiting().push(&mut records, link, &request, end, end.wrapping_add(len));
                end = end.wrapping_add(len);
                links.push(link);
            }
            let ends = &mut Ends::new(&mut quota, &mut outcomes);
            for (&link, _) in links.iter().zip(&messages).filter(|(_, message)| message.1) {
                once.waiting().give_up(&mut records, ends, link, Outcome::Cancelled, initial);
            }

            // Which packets there are: whose they are, and their bytes. A prefix of two bytes does not travel.
            let (mut packets, mut at) = (Vec::new(), initial);
            for (tag, &(len, given_up, parts)) in messages.iter().enumerate() {
                let next = at.wrapping_add(len);
                if given_up {
                    if let Some(end) = once.dead_at(&records, at) {
                        once.on_dropped(&mut records, ends, end);
                    }
                } else {
                    prop_assert_eq!(once.dead_at(&records, at), None);
                    let prefix = if parts > 1 { 2 } else { 0 };
                    prop_assert!(once.on_sent(&mut records, at.wrapping_add(prefix).wrapping_add(1), prefix));
                    let (body, each) = (at.wrapping_add(prefix), (len - prefix).div_ceil(parts));
                    for part in 0..parts {
                        let (start, stop) = (part * each, (part * each + each).min(len - prefix));
                        if start < stop {
                            packets.push((tag, body.wrapping_add(start), body.wrapping_add(stop)));
                        }
                    }
                }
                at = next;
            }

            let mut left: Vec<usize> = (0..messages.len())
                .map(|tag| packets.iter().filter(|packet| packet.0 == tag).count())
                .collect();
            let mut ended: Vec<Option<Outcome>> =
                messages.iter().map(|message| message.1.then_some(Outcome::Cancelled)).collect();
            for (which, acked) in fates.into_iter().take(close_after) {
                if packets.is_empty() { break; }
                let (tag, start, stop) = packets.swap_remove(which % packets.len());
                left[tag] -= 1;
                if acked {
                    once.on_acked(&mut records, ends, start, stop);
                } else {
                    once.on_lost(&mut records, ends, start, stop);
                }
                let fate = if !acked { Some(Outcome::Lost) } else { (left[tag] == 0).then_some(Outcome::Acknowledged) };
                ended[tag] = ended[tag].or(fate);
            }
            once.abandon(&mut records, ends);
            prop_assert!(once.is_empty());
            let mut told = vec![None; messages.len()];
            while let Some((tag, outcome)) = outcomes.pop(&mut records, &mut quota) {
                prop_assert_eq!(told[tag.0 as usize].replace(outcome), None, "told twice");
            }
            let expected: Vec<_> = ended.into_iter().map(|end| end.or(Some(Outcome::Closed))).collect();
            prop_assert_eq!(told, expected);
            prop_assert_eq!(quota.held(), 0);
        }
    }
}
