//! What sessions do when time has passed.

use bowline_core::{DisconnectReason, Instant};

use crate::endpoint::Context;
use crate::peer::{Peer, Phase};
use crate::storage::Memory;

impl Peer {
    /// A deadline of this session has passed.
    pub(crate) fn on_timeout(&mut self, memory: &mut Memory<'_>, context: &Context, now: Instant) {
        let attended = context.clock.attended(now);
        match self.phase {
            Phase::Vacant | Phase::Closed => {}
            Phase::Hello | Phase::Connect { .. } | Phase::Asked => {
                if self.give_up_at <= attended {
                    self.end(memory, DisconnectReason::ConnectTimedOut);
                }
            }
            Phase::Closing { tries, .. } => {
                let tried = self.repeat_at <= now && !Self::close_tries_left(tries);
                if tried || self.give_up_at <= attended {
                    self.phase = Phase::Closed;
                }
            }
            Phase::Open => self.on_open_timeout(memory, context, now, attended),
        }
    }

    fn on_open_timeout(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        attended: Instant,
    ) {
        let attended = if cfg!(bowline_mutant = "blame_the_absent") { now } else { attended };
        if self.liveness.poll_dead(attended) {
            self.end(memory, DisconnectReason::TimedOut);
            return;
        }
        if self.loss_at <= now {
            self.detect_lost(memory, now);
        } else if self.loss_at == Instant::MAX && !self.sent.is_empty() {
            let at = self.probe_at();
            if at <= now {
                self.loss.on_probe_timeout();
                self.probe_due = true;
                // A client that was never heard may still wait for ACCEPT.
                self.accept_due |= !self.is_client && self.received.largest().is_none();
            }
        }
        if self.liveness.poll_ping(now) {
            // A probe that carries what the stream waits for, when its own time is still far.
            self.probe_due |= !self.sent.is_empty();
            self.ping_due |= self.sent.is_empty();
        }
        if self.expire_at <= now {
            self.expire(memory, now);
        }
        if self.reassembly.deadline().is_some_and(|at| at <= now) {
            let given_up = self.reassembly.expire(
                &mut bowline_transport::fragments::Memory {
                    slots: &mut memory.assemblies,
                    slot_quota: &mut self.assembly_quota,
                    pool: &mut memory.pool,
                    block_quota: &mut self.inbox_blocks,
                },
                &context.config.incomplete,
                now,
            );
            self.statistics.messages_incomplete =
                self.statistics.messages_incomplete.wrapping_add(given_up);
        }
    }
}
