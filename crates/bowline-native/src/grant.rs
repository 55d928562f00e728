//! Credit for what the peer may send of its streams, as far as memory allows.

use bowline_core::{Instant, Link};
use bowline_transport::credit::GrantLimits;

use crate::domain::Lane;
use crate::endpoint::Context;
use crate::peer::Peer;
use crate::storage::Memory;

impl Peer {
    /// Raises the credit of a stream as far as memory allows.
    ///
    /// One message at a time may have more than its stream's window: a peer that begins many and ends none
    /// gets no further.
    pub(crate) fn grant(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        link: Link,
    ) {
        let domain = &mut memory.domains[link];
        let limits = GrantLimits {
            window_max: context.config.credit_max,
            keep: context.long_blocks + context.send_blocks,
            long: self.long.is_none() || self.long == link,
        };
        let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
        let grant = match &mut domain.lane {
            Lane::Reliable { stream, .. } => stream.grant(pool, blocks, &limits),
            Lane::Loose { stream, .. } => {
                stream.grant(pool, blocks, &limits, context.config.reliable_max)
            }
            Lane::Unreliable { .. } | Lane::Ordered { .. } => return,
        };
        if grant.long && self.long.is_none() {
            (self.long, self.long_moved) = (link, context.clock.attended(now));
        } else if !grant.long && self.long == link {
            self.long = Link::NONE;
            self.starved_of = 0;
        }
        if grant.raised && !cfg!(bowline_mutant = "forget_credit") {
            domain.credit_due = true;
            self.credit_due = true;
        }
        // If another message of this peer is why, it asks again when that is through.
        if grant.starved && limits.long {
            self.starved_of = self.starved_of.min(grant.short_of);
        }
    }

    /// Raises the credit of all streams as far as memory allows, after some was freed.
    pub(crate) fn grant_all(&mut self, memory: &mut Memory<'_>, context: &Context, now: Instant) {
        self.starved_of = u32::MAX;
        let mut at = self.domains;
        while let Some(link) = at.some() {
            self.grant(memory, context, now, link);
            at = bowline_core::Slot::next(&memory.domains[link]);
        }
    }

    /// A peer that is heard, and adds nothing to the message that was given so much memory, keeps it from
    /// everybody, be it on purpose or because its path lets only short datagrams through. Judged after two
    /// times of silence, since one may pass before it is heard at all.
    pub(crate) fn judge_long(&mut self, memory: &Memory<'_>, context: &Context, now: Instant) {
        let Some(link) = self.long.some() else { return };
        let complete = match &memory.domains[link].lane {
            Lane::Reliable { stream, .. } => stream.may_be_complete(),
            Lane::Loose { stream, .. } => stream.may_be_complete(),
            Lane::Unreliable { .. } | Lane::Ordered { .. } => return,
        };
        let due = self.long_moved + context.config.idle_timeout.saturating_mul(2);
        // Once it is complete it waits for our application.
        if due <= context.clock.attended(now) && !complete {
            self.gave_up = true;
        }
    }
}
