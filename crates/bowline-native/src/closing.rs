//! Ends of sessions: saying goodbye, and giving everything back.

use bowline_core::{DisconnectReason, Instant, Link, Slot};
use bowline_transport::fragments::{self};
use bowline_transport::reliable::Ranges;
use bowline_wire::native::CloseCause;

use crate::domain::Lane;
use crate::endpoint::Context;
use crate::peer::{Peer, Phase};
use crate::promise::Promise;
use crate::read::{Held, ReadRun};
use crate::storage::Memory;

/// How often CLOSE is sent before the peer is given up.
const CLOSE_TRIES: u8 = 3;

impl Peer {
    /// This side begins to say goodbye. What has arrived can still be read until the application knows
    /// that the session is over; what arrives from now on is not taken in.
    pub(crate) fn begin_close(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        cause: CloseCause,
        reason: DisconnectReason,
    ) {
        self.clear_sending(memory);
        self.ended = Some(reason);
        self.finishing = None;
        self.phase = Phase::Closing { cause, tries: 0 };
        self.repeat_at = now;
        // However slow the peer made its acknowledgements seem, and if nothing can be sent to it at all.
        self.give_up_at = context.clock.attended(now) + context.config.idle_timeout;
    }

    /// The session is over; what has arrived can still be read until the application knows.
    pub(crate) fn end(&mut self, memory: &mut Memory<'_>, reason: DisconnectReason) {
        self.clear_sending(memory);
        self.ended = self.ended.or(Some(reason));
        self.phase = Phase::Closed;
        self.repeat_at = Instant::MAX;
        self.give_up_at = Instant::MAX;
    }

    /// How many tries of CLOSE are left after `tries`.
    pub(crate) const fn close_tries_left(tries: u8) -> bool {
        tries < CLOSE_TRIES
    }

    /// Gives everything back; the session is no more.
    pub(crate) fn vacate(&mut self, memory: &mut Memory<'_>, promise: &Promise) {
        self.clear_sending(memory);
        while self.poll_outcome(memory).is_some() {}
        if !cfg!(bowline_mutant = "leak") {
            self.clear_receiving(memory);
        }
        self.forget_payload(memory);
        let mut at = self.domains;
        while let Some(link) = at.some() {
            at = memory.domains[link].next();
            memory.domains.give(&mut self.domain_quota, link);
        }
        self.domains = Link::NONE;
        memory.table.end(&mut self.row);
        self.dismiss(memory, promise);
        self.phase = Phase::Vacant;
    }

    /// Gives back everything that waits to be sent, and forgets what is in flight.
    pub(crate) fn clear_sending(&mut self, memory: &mut Memory<'_>) {
        while let Some(packet) = self.sent.pop(&mut memory.records) {
            let more = memory.records[packet].more;
            memory.records.give_list(&mut self.send_records, more);
            memory.records.give(&mut self.send_records, packet);
        }
        self.line.clear(&mut memory.domains);
        let mut at = self.domains;
        while let Some(link) = at.some() {
            self.abandon(memory, link);
            let domain = &mut memory.domains[link];
            at = domain.next();
            self.statistics.bytes_abandoned =
                self.statistics.bytes_abandoned.wrapping_add(domain.queued());
            let ranges =
                &mut Ranges { records: &mut memory.records, quota: &mut self.send_records };
            match &mut domain.lane {
                Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                    out.clear(&mut memory.pool, &mut self.send_blocks);
                }
                Lane::Reliable { out, .. } | Lane::Loose { out, .. } => {
                    out.clear(&mut memory.pool, &mut self.send_blocks, ranges);
                }
            }
        }
        self.loss_at = Instant::MAX;
        self.probe_due = false;
        self.expire_at = Instant::MAX;
    }

    /// Gives back everything that has arrived and was not read.
    pub(crate) fn clear_receiving(&mut self, memory: &mut Memory<'_>) {
        if let Held::Assembly { link } = self.held {
            self.release_assembly(memory, link);
        }
        (self.held, self.run) = (Held::Nothing, ReadRun::NONE);
        while let Some(note) = self.notes.pop_front(&mut memory.records) {
            if let crate::note::Note::Assembly(link) = crate::note::Note::of(&memory.records[note])
            {
                self.release_assembly(memory, link);
            }
            memory.records.give(&mut self.receive_records, note);
        }
        self.inbox.clear(&mut memory.pool, &mut self.inbox_blocks);
        self.reassembly.clear(&mut fragments::Memory {
            slots: &mut memory.assemblies,
            slot_quota: &mut self.assembly_quota,
            pool: &mut memory.pool,
            block_quota: &mut self.inbox_blocks,
        });
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = domain.next();
            domain.notes = 0;
            let ranges =
                &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
            let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
            match &mut domain.lane {
                Lane::Reliable { stream, .. } => stream.clear(pool, blocks, ranges),
                Lane::Loose { stream, .. } => stream.clear(pool, blocks, ranges),
                Lane::Unreliable { .. } | Lane::Ordered { .. } => {}
            }
        }
        self.unnoted = false;
        self.long = Link::NONE;
    }

    /// Gives the connect payload back. One that came is kept until the application has heard of the
    /// session, even if that is over by then.
    pub(crate) fn forget_payload(&mut self, memory: &mut Memory<'_>) {
        memory.pool.give_chain(&mut self.send_blocks, self.payload);
        (self.payload, self.payload_len) = (Link::NONE, 0);
    }

    /// Gives back a message that was put together.
    pub(crate) fn release_assembly(&mut self, memory: &mut Memory<'_>, link: Link) {
        self.assembled = self.assembled.saturating_sub(memory.assemblies[link].total());
        fragments::release(
            &mut fragments::Memory {
                slots: &mut memory.assemblies,
                slot_quota: &mut self.assembly_quota,
                pool: &mut memory.pool,
                block_quota: &mut self.inbox_blocks,
            },
            link,
        );
    }
}
