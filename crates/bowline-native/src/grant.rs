//! Credit for what the peer may send of its streams, as far as memory allows.

use bowline_core::{Duration, Instant, Link, Slots};
use bowline_transport::credit::GrantLimits;
use bowline_transport::record::Record;

use crate::domain::Lane;
use crate::endpoint::Context;
use crate::pace::Pace;
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
        let (grant, credit) = match &mut domain.lane {
            Lane::Reliable { stream, .. } => {
                (stream.grant(pool, blocks, &limits), *stream.credit())
            }
            Lane::Loose { stream, .. } => {
                let grant = stream.grant(pool, blocks, &limits, context.config.reliable_max);
                (grant, *stream.credit())
            }
            Lane::Unreliable { .. } | Lane::Ordered { .. } => return,
        };
        // The memory counts, not the message: it is kept when the message is given up whose end it was for.
        if credit.is_beyond() && self.long.is_none() {
            let arrived = arrived(&domain.lane, &memory.records);
            let attended = context.clock.attended(now);
            self.long = link;
            self.pace = Pace::new(attended, period(context), arrived, credit.limit());
        } else if !credit.is_beyond() && self.long == link {
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

    /// A peer that is heard, and is slow to bring the message that was given so much memory, keeps it from
    /// everybody, be it on purpose or because its path lets only short datagrams through: see [`Pace`].
    ///
    /// To be asked when a packet comes and before it is taken in. What was whole before has been read since,
    /// unless our application is why nothing moves.
    pub(crate) fn judge_long(&mut self, memory: &Memory<'_>, context: &Context, now: Instant) {
        let Some(link) = self.long.some() else { return };
        let attended = context.clock.attended(now);
        if !self.pace.is_over(attended) {
            return;
        }
        let lane = &memory.domains[link].lane;
        let complete = match lane {
            Lane::Reliable { stream, .. } => stream.may_be_complete(),
            Lane::Loose { stream, .. } => stream.may_be_complete(),
            Lane::Unreliable { .. } | Lane::Ordered { .. } => return,
        };
        let arrived = arrived(lane, &memory.records);
        self.gave_up |= !complete && self.pace.is_missed(attended, period(context), arrived);
    }
}

/// How much has arrived of a stream.
fn arrived(lane: &Lane, records: &Slots<'_, Record>) -> u32 {
    match lane {
        Lane::Reliable { stream, .. } => stream.arrived(records),
        Lane::Loose { stream, .. } => stream.arrived(records),
        Lane::Unreliable { .. } | Lane::Ordered { .. } => 0,
    }
}

/// Two times of silence, since one may pass before a peer is heard at all.
const fn period(context: &Context) -> Duration {
    context.config.idle_timeout.saturating_mul(2)
}
