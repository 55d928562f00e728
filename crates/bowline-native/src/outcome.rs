//! Messages whose outcome is to be told, or that may be given up before they arrive.

use bowline_core::{CancelError, Instant, Link, Mode, Outcome, Outgoing, Slot, Tag};
use bowline_transport::tickets::{Ends, Request};

use crate::domain::{Lane, Tickets};
use crate::peer::{Peer, Phase};
use crate::send::Refused;
use crate::storage::{Memory, Need};

impl Peer {
    /// A ticket for a message that needs one: it has a tag, a deadline or a key.
    pub(crate) fn take_ticket(
        &mut self,
        memory: &mut Memory<'_>,
        tickets_max: u32,
        message: &Outgoing<'_>,
    ) -> Result<Option<Link>, Refused> {
        if message.is_plain() && message.mode != Mode::ReliableLatest {
            return Ok(None);
        }
        let free = memory.records.ledger().available(&self.tickets);
        let all_taken = self.tickets.held() >= tickets_max;
        if all_taken && !cfg!(bowline_mutant = "any_ticket") || free == 0 {
            return Err(Refused::FullOfTickets);
        }
        match memory.records.take(&mut self.tickets) {
            Some(link) => Ok(Some(link)),
            None => Err(Refused::Short(Need::Record)),
        }
    }

    /// Gives the ticket to the message that was appended last, from the offset `start` on.
    pub(crate) fn attach(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        domain: Link,
        ticket: Link,
        message: &Outgoing<'_>,
        start: u32,
    ) {
        let request = request(now, message);
        let domain = &mut memory.domains[domain];
        let end = domain.end();
        let Tickets { tickets, keys, .. } = domain.tickets();
        tickets.push(&mut memory.records, ticket, &request, start, end);
        if let Some(keys) = keys {
            keys.insert(&mut memory.records, ticket);
        }
        self.expire_at = self.expire_at.min(request.deadline);
    }

    /// Withdraws the message with this tag.
    pub(crate) fn cancel(&mut self, memory: &mut Memory<'_>, tag: Tag) -> Result<(), CancelError> {
        match self.phase {
            Phase::Open => {}
            Phase::Vacant | Phase::Closing { .. } | Phase::Closed => {
                return Err(CancelError::UnknownPeer);
            }
            // Nothing is sent before it begins.
            Phase::Hello | Phase::Connect { .. } | Phase::Asked => {
                return Err(CancelError::UnknownTag);
            }
        }
        let (mut error, mut at) = (CancelError::UnknownTag, self.domains);
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = domain.next();
            if let Lane::Unreliable { out } | Lane::Ordered { out, .. } = &mut domain.lane
                && out.tickets().is_under_way(&memory.records, tag)
            {
                error = CancelError::AlreadySent;
            }
            let Tickets { tickets, sent, keys } = domain.tickets();
            let Some(ticket) = tickets.find_tag(&memory.records, tag) else { continue };
            let (quota, outcomes) = (&mut self.tickets, &mut self.outcomes);
            let ends = &mut Ends { quota, outcomes, keys };
            tickets.give_up(&mut memory.records, ends, ticket, Outcome::Cancelled, sent);
            self.after_giving_up(memory, link);
            return Ok(());
        }
        Err(error)
    }

    /// Gives up the messages whose time to live is over.
    #[inline(never)]
    pub(crate) fn expire(&mut self, memory: &mut Memory<'_>, now: Instant) {
        let (mut next, mut at) = (Instant::MAX, self.domains);
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = domain.next();
            let Tickets { tickets, sent, keys } = domain.tickets();
            if tickets.is_empty() {
                continue;
            }
            let (quota, outcomes) = (&mut self.tickets, &mut self.outcomes);
            let ends = &mut Ends { quota, outcomes, keys };
            next = next.min(tickets.expire(&mut memory.records, ends, now, sent));
            self.after_giving_up(memory, link);
        }
        self.expire_at = next;
    }

    /// What was given up at the front of a queue takes no memory any more; the receiver of a stream is
    /// to be told.
    fn after_giving_up(&mut self, memory: &mut Memory<'_>, link: Link) {
        let domain = &mut memory.domains[link];
        if let Lane::Unreliable { out } | Lane::Ordered { out, .. } = &mut domain.lane {
            let ends = &mut Ends::new(&mut self.tickets, &mut self.outcomes);
            out.drop_dead(&mut memory.pool, &mut self.send_blocks, &mut memory.records, ends);
        }
        if domain.is_pending() {
            self.line.push(&mut memory.domains, link);
        } else {
            self.line.remove(&mut memory.domains, link);
        }
    }

    /// Ends all messages of a domain that have not ended: the session does.
    pub(crate) fn abandon(&mut self, memory: &mut Memory<'_>, link: Link) {
        let ends = &mut Ends::new(&mut self.tickets, &mut self.outcomes);
        match &mut memory.domains[link].lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                out.tickets().abandon(&mut memory.records, ends);
            }
            Lane::Reliable { out, .. } => out.tickets().abandon(&mut memory.records, ends),
            Lane::Loose { out, keys, latest, .. } => {
                ends.keys = latest.then_some(keys);
                out.tickets().abandon(&mut memory.records, ends);
            }
        }
    }

    /// The first byte of a message of the same key that was not sent and has as many bytes as `message`
    /// takes, which is `whole`.
    pub(crate) fn place_of_older(
        &self,
        memory: &mut Memory<'_>,
        link: Link,
        message: &Outgoing<'_>,
        whole: usize,
    ) -> Option<u32> {
        let key = message.key?;
        let Lane::Loose { out, keys, .. } = &mut memory.domains[link].lane else { return None };
        let older = keys.find(&memory.records, key)?;
        let sent = out.sent();
        let (start, end) = out.tickets().unsent(&memory.records, older, sent)?;
        (end.wrapping_sub(start) as usize == whole).then_some(start)
    }

    /// A newer message of a key comes: the one before it ends. The newer one is put into its `place`, if
    /// there is one; returns whether it was.
    pub(crate) fn supersede(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        link: Link,
        newer: Link,
        message: &Outgoing<'_>,
        (place, whole): (Option<u32>, usize),
    ) -> bool {
        let Lane::Loose { out, keys, .. } = &mut memory.domains[link].lane else { return false };
        let Some(older) = message.key.and_then(|key| keys.find(&memory.records, key)) else {
            return false;
        };
        let (records, sent) = (&mut memory.records, out.sent());
        let (quota, outcomes) = (&mut self.tickets, &mut self.outcomes);
        let ends = &mut Ends { quota, outcomes, keys: Some(keys) };
        let Some(start) = place else {
            out.tickets().give_up(records, ends, older, Outcome::Superseded, sent);
            self.after_giving_up(memory, link);
            return false;
        };
        let request = request(now, message);
        ends.replace(records, older, newer, &request);
        out.overwrite(&mut memory.pool, start, whole, message.pieces);
        self.expire_at = self.expire_at.min(request.deadline);
        true
    }

    /// The next outcome that the application does not know.
    pub(crate) fn poll_outcome(&mut self, memory: &mut Memory<'_>) -> Option<(Tag, Outcome)> {
        self.outcomes.pop(&mut memory.records, &mut self.tickets)
    }
}

fn request(now: Instant, message: &Outgoing<'_>) -> Request {
    let deadline = message.time_to_live.map_or(Instant::MAX, |time| now + time);
    Request { tag: message.tag, deadline, key: message.key.unwrap_or(0) }
}
