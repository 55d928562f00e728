//! Applying the frames of a packet that was checked.

use bowline_core::{CloseReason, DisconnectReason, Instant, Link, Mode};
use bowline_transport::fragments::{self, Fragment};
use bowline_transport::reliable::loose::{Arrival, Unfit};
use bowline_transport::reliable::{Head, Ranges};
use bowline_wire::native::{CloseCause, Frame, Offset, Stream, frames, messages};

use crate::config::Config;
use crate::domain::{Lane, mode_of};
use crate::endpoint::Context;
use crate::note::Note;
use crate::peer::Peer;
use crate::read::Held;
use crate::storage::Memory;

impl Peer {
    pub(crate) fn apply_frames(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        number: u64,
        body: &[u8],
    ) {
        let mut moved = false;
        for frame in frames(body) {
            let Ok(frame) = frame else { break };
            match frame {
                Frame::Credit { stream, channel, limit } => {
                    self.on_credit(memory, (stream, channel), limit);
                }
                Frame::Close { cause, reason } => {
                    self.on_close(memory, cause, reason);
                    break;
                }
                Frame::Unreliable { channel, ordered, messages } => {
                    self.on_messages(memory, number, channel, ordered, messages);
                }
                Frame::Fragment { channel, ordered, id, offset, total, data } => {
                    let fragment = Fragment { channel, ordered, id, offset, total, data, number };
                    self.on_fragment(memory, &context.config, now, &fragment);
                }
                Frame::Void { stream, channel, offset, len } => {
                    let Some(link) = memory.table.find(self.row, channel, mode_of(stream)) else {
                        continue;
                    };
                    moved |= self.on_void(memory, number, link, offset, len);
                }
                Frame::Loose { channel, latest, offset, back, data } => {
                    let stream = if latest { Stream::Latest } else { Stream::Unordered };
                    let Some(link) = memory.table.find(self.row, channel, mode_of(stream)) else {
                        continue;
                    };
                    let arrival = Arrival { offset, back, data };
                    moved |= self.on_loose(memory, context, link, &arrival);
                }
                Frame::Reliable { channel, offset, data } => {
                    let Some(link) = memory.table.find(self.row, channel, Mode::Reliable) else {
                        continue;
                    };
                    moved |= self.on_stream(memory, number, link, offset, data);
                }
                _ => {}
            }
        }
        if moved {
            self.on_streams_moved(memory, context, now, body);
        }
    }

    fn on_credit(&mut self, memory: &mut Memory<'_>, (stream, channel): (Stream, u8), limit: u32) {
        let Some(link) = memory.table.find(self.row, channel, mode_of(stream)) else { return };
        let (Lane::Reliable { out, .. } | Lane::Loose { out, .. }) = &mut memory.domains[link].lane
        else {
            return;
        };
        if out.on_credit(limit) && out.is_pending() {
            self.line.push(&mut memory.domains, link);
        }
    }

    pub(crate) fn on_close(&mut self, memory: &mut Memory<'_>, cause: CloseCause, reason: u32) {
        let reason = match cause {
            CloseCause::Application => DisconnectReason::ClosedByPeer(CloseReason(reason)),
            CloseCause::Misbehaviour => DisconnectReason::AccusedByPeer,
        };
        self.end(memory, reason);
        self.farewell_due = true;
    }

    fn on_messages(
        &mut self,
        memory: &mut Memory<'_>,
        number: u64,
        channel: u8,
        ordered: bool,
        all: &[u8],
    ) {
        if ordered
            && let Some(link) = memory.table.find(self.row, channel, Mode::UnreliableOrdered)
            && let Lane::Ordered { filter, late, .. } = &mut memory.domains[link].lane
            && !filter.deliver(2 * number)
        {
            let count = messages(all).count() as u32;
            *late = late.wrapping_add(count);
            self.statistics.messages_late = self.statistics.messages_late.wrapping_add(count);
            return;
        }
        self.inbox.append(&mut memory.pool, &mut self.inbox_blocks, all);
        let channel = channel ^ u8::from(cfg!(bowline_mutant = "wrong_channel"));
        let noted = self.note(memory, Note::Inbox { channel, ordered, left: all.len() as u32 });
        debug_assert!(noted, "its record was checked");
    }

    fn on_fragment(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        now: Instant,
        fragment: &Fragment<'_>,
    ) {
        if cfg!(bowline_mutant = "drop_fragment") && fragment.offset > 0 {
            return;
        }
        let mut lent = fragments::Memory {
            slots: &mut memory.assemblies,
            slot_quota: &mut self.assembly_quota,
            pool: &mut memory.pool,
            block_quota: &mut self.inbox_blocks,
        };
        let before = self.reassembly.abandoned();
        let inserted = self.reassembly.insert(&mut lent, &config.incomplete, now, fragment);
        let given_up = self.reassembly.abandoned().wrapping_sub(before);
        self.statistics.messages_incomplete =
            self.statistics.messages_incomplete.wrapping_add(given_up);
        let Ok(Some(link)) = inserted else { return };
        self.assembled = self.assembled.saturating_add(fragment.total);
        let rank = fragments::rank(&memory.assemblies[link]);
        if fragment.ordered
            && let Some(domain) =
                memory.table.find(self.row, fragment.channel, Mode::UnreliableOrdered)
            && let Lane::Ordered { filter, late, .. } = &mut memory.domains[domain].lane
            && !filter.deliver(rank)
        {
            *late = late.wrapping_add(1);
            self.statistics.messages_late = self.statistics.messages_late.wrapping_add(1);
            self.release_assembly(memory, link);
            return;
        }
        if !self.note(memory, Note::Assembly(link)) {
            debug_assert!(false, "its record was checked");
            self.release_assembly(memory, link);
        }
    }

    /// Returns whether more of the stream has arrived in order.
    fn on_stream(
        &mut self,
        memory: &mut Memory<'_>,
        number: u64,
        link: Link,
        offset: Offset,
        data: &[u8],
    ) -> bool {
        let domain = &mut memory.domains[link];
        let Lane::Reliable { stream, .. } = &mut domain.lane else { return false };
        let start = match offset {
            Offset::Long(start) => Some(start),
            Offset::Short(low) => stream.expand(number, low),
        };
        let Some(start) = start else { return false };
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
        let written =
            stream.write(&mut memory.pool, &mut self.stream_blocks, ranges, number, start, data);
        debug_assert!(written.is_ok(), "it was checked");
        let moved = written == Ok(true);
        domain.moved |= moved;
        moved
    }

    /// Returns whether more of the stream counts as arrived in order, or was read.
    fn on_void(
        &mut self,
        memory: &mut Memory<'_>,
        number: u64,
        link: Link,
        start: u32,
        len: u32,
    ) -> bool {
        let held = self.held == (Held::Stream { domain: link })
            || self.held == (Held::Loose { domain: link });
        if held {
            // What was read was not given up. Credit for it must wait like all other.
            self.give_back_held(memory);
        }
        let domain = &mut memory.domains[link];
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
        let end = start.wrapping_add(len);
        let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
        let moved = match &mut domain.lane {
            Lane::Reliable { stream, .. } => {
                let moved = stream.void(pool, blocks, ranges, number, start, end);
                debug_assert!(moved.is_ok(), "it was checked");
                moved == Ok(true)
            }
            Lane::Loose { stream, .. } => {
                let moved = stream.void(pool, blocks, ranges, start, end);
                self.misbehaved |= moved == Err(Unfit::Bad);
                moved == Ok(true)
            }
            Lane::Unreliable { .. } | Lane::Ordered { .. } => false,
        };
        domain.moved |= moved;
        moved || held
    }

    /// Returns whether there are more messages to be read, or more credit is to be given.
    fn on_loose(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        link: Link,
        arrival: &Arrival<'_>,
    ) -> bool {
        let domain = &mut memory.domains[link];
        let Lane::Loose { stream, .. } = &mut domain.lane else { return false };
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
        let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
        let taken = stream.write(pool, blocks, ranges, arrival, context.config.reliable_max);
        let Ok(taken) = taken else {
            self.misbehaved |= taken == Err(Unfit::Bad);
            return false;
        };
        domain.moved |= taken.moved;
        domain.ready |= taken.ready;
        taken.moved || taken.ready
    }

    /// Notes and credit for the streams that a packet moved. Only now, since they may take what the other
    /// frames of the packet were promised when it was checked.
    fn on_streams_moved(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        body: &[u8],
    ) {
        for frame in frames(body) {
            let (channel, stream, void) = match frame {
                Ok(Frame::Reliable { channel, .. }) => (channel, Stream::Reliable, false),
                Ok(Frame::Loose { channel, latest: true, .. }) => (channel, Stream::Latest, false),
                Ok(Frame::Loose { channel, .. }) => (channel, Stream::Unordered, false),
                Ok(Frame::Void { stream, channel, .. }) => (channel, stream, true),
                _ => continue,
            };
            let Some(link) = memory.table.find(self.row, channel, mode_of(stream)) else {
                continue;
            };
            let domain = &mut memory.domains[link];
            let ready = core::mem::take(&mut domain.ready);
            let moved = core::mem::take(&mut domain.moved);
            if moved {
                self.on_stream_moved(memory, context, now, link);
            }
            // Whichever frame of the packet moved the stream, what a VOID passed over makes room.
            if void || moved && stream.is_loose() {
                self.grant(memory, context, now, link);
            }
            if ready && !self.note(memory, Note::Loose { domain: link }) {
                self.unnoted = true;
            }
        }
    }

    /// More of a stream has arrived in order.
    fn on_stream_moved(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        link: Link,
    ) {
        let domain = &mut memory.domains[link];
        let Lane::Reliable { stream, .. } = &mut domain.lane else { return };
        let upto = stream.base();
        if domain.notes == 0 {
            if !stream.may_be_complete() {
                return;
            }
            // Given up behind a message that was read since.
            let (records, quota) = (&mut memory.records, &mut self.receive_records);
            let ranges = &mut Ranges { records, quota };
            stream.pass(&mut memory.pool, &mut self.stream_blocks, ranges);
            match stream.head(&memory.pool, &memory.records, upto, context.config.reliable_max) {
                Head::Message { .. } => {}
                Head::Partial => return self.grant(memory, context, now, link),
                Head::Bad => {
                    self.misbehaved = true;
                    return;
                }
            }
        }
        if !self.note(memory, Note::Stream { domain: link, upto }) {
            self.unnoted = true;
            self.tell_readable = true;
        }
    }
}
