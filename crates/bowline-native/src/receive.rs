//! Taking packets apart: check everything, then record, then apply.

use bowline_core::serial::{ahead32, expand};
use bowline_core::{
    ChannelId, CloseReason, DisconnectReason, DropReason, Duration, Instant, Link, Mode,
};
use bowline_transport::congestion::Controller;
use bowline_transport::credit::GrantLimits;
use bowline_transport::fragments::{self, Fragment};
use bowline_transport::receive_window::Freshness;
use bowline_transport::record::{List, Record};
use bowline_transport::reliable::{Head, Ranges, Refused};
use bowline_wire::native::{
    ACK_RANGES_MAX, AckBlock, CloseCause, DELAY_UNIT_US, Expanded, Frame, Integrity, Offset,
    PacketHead, TRAILER_LEN, frames, messages,
};

use crate::config::Config;
use crate::domain::Lane;
use crate::endpoint::Context;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Need};

/// How far no sender is ahead of what its peer has accepted: it stops before.
const AHEAD_MAX: u64 = 65_535;

/// How many blocks of streams one packet may have walked over, unless it is for a single range.
const STEPS_MAX: usize = 4_096;

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failed {
    Drop(DropReason),
    /// The storage may have more of this.
    Short(Need),
    /// Against the rules.
    Misbehaved,
}

impl From<DropReason> for Failed {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<bowline_wire::Malformed> for Failed {
    fn from(malformed: bowline_wire::Malformed) -> Self {
        Self::Drop(malformed.drop_reason())
    }
}

/// A note in the order of arrival: where something can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Note {
    /// So many bytes of the inbox are messages of this channel and mode.
    Inbox { channel: u8, ordered: bool, left: u32 },
    /// The stream of this domain may be read up to this offset.
    Stream { domain: Link, upto: u32 },
    /// A message that was put together.
    Assembly(Link),
}

impl Note {
    const INBOX: u16 = 0;
    const STREAM: u16 = 1;
    const ASSEMBLY: u16 = 2;

    pub(crate) fn of(record: &Record) -> Self {
        match record.flags {
            Self::STREAM => Self::Stream { domain: record.domain, upto: record.end },
            Self::ASSEMBLY => Self::Assembly(record.domain),
            _ => Self::Inbox {
                channel: record.start as u8,
                ordered: record.start > 0xFF,
                left: record.end,
            },
        }
    }

    fn write(self, record: &mut Record) {
        (record.flags, record.domain, record.start, record.end) = match self {
            Self::Inbox { channel, ordered, left } => {
                (Self::INBOX, Link::NONE, u32::from(channel) | u32::from(ordered) << 8, left)
            }
            Self::Stream { domain, upto } => (Self::STREAM, domain, 0, upto),
            Self::Assembly(link) => (Self::ASSEMBLY, link, 0, 0),
        };
    }
}

/// What a packet would take if it were accepted.
#[derive(Debug, Default)]
struct Plan {
    inbox: usize,
    stream_blocks: usize,
    /// Blocks to walk over to get at places ahead in streams.
    steps: usize,
    records: usize,
    fragments: fragments::Plan,
    any_fragment: bool,
    eliciting: bool,
    any_frame: bool,
}

/// The acknowledgements of a packet, ready to be applied.
#[derive(Clone, Copy, Debug)]
struct Acks<'d> {
    block: AckBlock<'d>,
    largest: u64,
}

/// A packet that has been told apart but not checked against the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'d> {
    pub(crate) head: PacketHead,
    /// What follows the head.
    pub(crate) rest: &'d [u8],
    pub(crate) datagram: &'d [u8],
}

impl Peer {
    /// Takes in a packet of this session, whole or not at all.
    pub(crate) fn receive(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        slot: usize,
        packet: &Packet<'_>,
    ) -> Result<(), Failed> {
        let (number, body) = self.open_packet(packet)?;
        let (block, body) = AckBlock::parse(packet.head.ack, body)?;
        let acks = match block {
            Some(block) if number >= self.acks_from => self.check_acks(block)?,
            _ => None,
        };
        if matches!(self.phase, Phase::Closing { .. }) {
            return self.receive_last(memory, now, number, acks, body);
        }
        let plan = self.check_frames(memory, &context.config, slot, number, body)?;
        if !plan.any_frame && block.is_none() {
            return Err(DropReason::Malformed.into());
        }
        self.check_memory(memory, &context.config, &plan)?;

        let arrival = self.received.record(number);
        self.number_len_in = packet.head.number_len;
        self.liveness.on_heard(context.clock.attended(now));
        let in_order = arrival.in_order || !plan.eliciting;
        let max_delay = context.config.ack_delay;
        self.acks.on_packet(now, plan.eliciting, in_order, arrival.is_largest(), max_delay);
        self.statistics.datagrams_received = self.statistics.datagrams_received.wrapping_add(1);
        self.statistics.bytes_received += packet.datagram.len() as u64;
        if let Some(acks) = acks {
            self.acks_from = number + 1;
            self.on_acks(memory, now, &acks);
        }
        if !cfg!(bowline_mutant = "ack_without_taking") || number % 61 > 0 {
            self.apply_frames(memory, context, now, slot, number, body);
        }
        self.judge_long(memory, context, now);
        Ok(())
    }

    /// A peer that is heard, and adds nothing to the message that was given so much memory, keeps it from
    /// everybody, be it on purpose or because its path lets only short datagrams through. Judged after two times of silence, since one may pass before it is heard at all.
    fn judge_long(&mut self, memory: &Memory<'_>, context: &Context, now: Instant) {
        let Some(link) = self.long.some() else { return };
        let Lane::Reliable { stream, .. } = &memory.domains[link].lane else { return };
        let due = self.long_moved + context.config.idle_timeout.saturating_mul(2);
        // Once it is complete it waits for our application.
        if due <= context.clock.attended(now) && !stream.may_be_complete() {
            self.gave_up = true;
        }
    }

    /// While this side says goodbye only acknowledgements count, and the other's goodbye. Nothing else
    /// is taken in, so nothing else is acknowledged.
    fn receive_last(
        &mut self,
        memory: &mut Memory<'_>,
        now: Instant,
        number: u64,
        acks: Option<Acks<'_>>,
        body: &[u8],
    ) -> Result<(), Failed> {
        if let Some(acks) = acks {
            self.acks_from = number + 1;
            self.on_acks(memory, now, &acks);
        }
        for frame in frames(body) {
            if let Frame::Close { cause, reason } = frame? {
                let arrival = self.received.record(number);
                let largest = arrival.is_largest();
                self.acks.on_packet(now, true, arrival.in_order, largest, Duration::ZERO);
                self.on_close(memory, cause, reason);
                break;
            }
        }
        Ok(())
    }

    /// Number and contents of a packet that is genuine and new.
    fn open_packet<'d>(&self, packet: &Packet<'d>) -> Result<(u64, &'d [u8]), Failed> {
        if packet.head.key_phase {
            return Err(DropReason::Malformed.into());
        }
        let expected = self.received.expected();
        let number = packet.head.expand_number(expected);
        if number.saturating_sub(expected) > AHEAD_MAX {
            return Err(DropReason::Malformed.into());
        }
        let body = match self.integrity {
            Integrity::None if packet.head.number_len != 4 => {
                return Err(DropReason::Malformed.into());
            }
            Integrity::None => packet.rest,
            Integrity::Crc32 => {
                let checked = packet.datagram.len().checked_sub(TRAILER_LEN);
                let (covered, trailer) = checked
                    .and_then(|len| packet.datagram.split_at_checked(len))
                    .ok_or(DropReason::Truncated)?;
                let checksum = self.crc_in.checksum(number, covered).to_be_bytes();
                if trailer != checksum && !cfg!(bowline_mutant = "skip_checksum") {
                    return Err(DropReason::Corrupt.into());
                }
                let len =
                    packet.rest.len().checked_sub(TRAILER_LEN).ok_or(DropReason::Truncated)?;
                packet.rest.get(..len).ok_or(DropReason::Truncated)?
            }
        };
        match self.received.check(number) {
            Freshness::New => Ok((number, body)),
            Freshness::Duplicate if cfg!(bowline_mutant = "skip_dedup") => Ok((number, body)),
            Freshness::Duplicate => Err(DropReason::Duplicate.into()),
            Freshness::Stale => Err(DropReason::Stale.into()),
        }
    }

    /// What a block acknowledges; nothing if that cannot be told.
    fn check_acks<'d>(&self, block: AckBlock<'d>) -> Result<Option<Acks<'d>>, Failed> {
        let newest = self.next_number.wrapping_sub(1);
        if newest < u64::from(self.initial_out) || self.next_number == 0 {
            return Err(Failed::Misbehaved);
        }
        let largest = match block.expand_largest(self.acked, newest) {
            Expanded::Largest(largest) => largest,
            Expanded::Ambiguous => return Ok(None),
            Expanded::NeverSent => return Err(Failed::Misbehaved),
        };
        block.check(largest)?;
        let first = u64::from(self.initial_out);
        for (start, end) in block.ranges(largest) {
            // Form 1 names eight numbers, whether or not there were as many.
            let start = if block.delay().is_none() { start.max(first) } else { start };
            if start < first || (start..=end).contains(&self.skipped) {
                return Err(Failed::Misbehaved);
            }
        }
        Ok(Some(Acks { block, largest }))
    }

    /// Checks all frames of a packet; nothing changes but that domains are opened.
    fn check_frames(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        slot: usize,
        number: u64,
        body: &[u8],
    ) -> Result<Plan, Failed> {
        let mut plan = Plan::default();
        for frame in frames(body) {
            let frame = frame?;
            plan.any_frame = true;
            plan.eliciting |= frame.is_ack_eliciting();
            self.check_frame(memory, config, slot, number, &frame, &mut plan)?;
        }
        Ok(plan)
    }

    fn check_frame(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        slot: usize,
        number: u64,
        frame: &Frame<'_>,
        plan: &mut Plan,
    ) -> Result<(), Failed> {
        match *frame {
            Frame::Padding | Frame::Ping | Frame::Close { .. } => Ok(()),
            Frame::Credit { channel, .. } => {
                self.open_for(memory, config, slot, channel, Mode::Reliable).map(drop)
            }
            Frame::Unreliable { channel, ordered, messages: all } => {
                let (mode, max) = if ordered {
                    (Mode::UnreliableOrdered, config.ordered_max)
                } else {
                    (Mode::Unreliable, config.unreliable_max)
                };
                self.check_channel(channel)?;
                if all.len() > max as usize
                    && messages(all).any(|message| message.len() > max as usize)
                {
                    return Err(DropReason::OverLimit.into());
                }
                if ordered {
                    let link = self.open_for(memory, config, slot, channel, mode)?;
                    if let Lane::Ordered { filter, .. } = &memory.domains[link].lane
                        && !filter.is_newer(2 * number)
                    {
                        return Ok(());
                    }
                }
                plan.inbox += all.len();
                plan.records += 1;
                Ok(())
            }
            Frame::Fragment { channel, ordered, id, offset, total, data } => {
                self.check_channel(channel)?;
                let max = if ordered { config.ordered_max } else { config.unreliable_max };
                if total > max {
                    return Err(DropReason::OverLimit.into());
                }
                if ordered {
                    self.open_for(memory, config, slot, channel, Mode::UnreliableOrdered)?;
                }
                let fragment = Fragment { channel, ordered, id, offset, total, data, number };
                self.check_fragment(memory, config, &fragment, plan)
            }
            Frame::Reliable { channel, offset, data } => {
                let link = self.open_for(memory, config, slot, channel, Mode::Reliable)?;
                let Lane::Reliable { stream, .. } = &memory.domains[link].lane else {
                    return Ok(());
                };
                let start = match offset {
                    Offset::Long(start) => start,
                    Offset::Short(low) => stream.expand(number, low).ok_or(DropReason::Stale)?,
                };
                let end = start.wrapping_add(data.len() as u32);
                match stream.check(&memory.pool, start, end) {
                    Ok((blocks, records)) => {
                        let ahead = ahead32(start, stream.base()).max(0) as usize;
                        let steps = plan.steps + memory.pool.blocks_for(ahead);
                        if plan.steps > 0 && steps > STEPS_MAX {
                            return Err(DropReason::Full.into());
                        }
                        plan.steps = steps;
                        plan.stream_blocks += blocks;
                        plan.records += records;
                        Ok(())
                    }
                    Err(Refused::OverCredit) => Err(Failed::Misbehaved),
                    Err(Refused::Full { blocks }) => Err(Failed::Short(Need::Blocks(blocks))),
                }
            }
            _ => Err(DropReason::Unexpected.into()),
        }
    }

    fn check_fragment(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        fragment: &Fragment<'_>,
        plan: &mut Plan,
    ) -> Result<(), Failed> {
        // One message may wait however long it is.
        let waiting = self.waiting();
        if waiting > 0 && waiting.saturating_add(fragment.total) > config.inbox_max {
            return Err(DropReason::Full.into());
        }
        let blocks = memory.pool.blocks_for(fragment.total as usize);
        let lent = fragments::Memory {
            slots: &mut memory.assemblies,
            slot_quota: &mut self.assembly_quota,
            pool: &mut memory.pool,
            block_quota: &mut self.inbox_blocks,
        };
        let checked =
            self.reassembly.check(&lent, &config.incomplete, fragment, &mut plan.fragments);
        plan.any_fragment = true;
        plan.records += 1;
        match checked {
            Ok(()) => self.check_lent(memory, fragment, &plan.fragments),
            Err(fragments::Refused::Full) => Err(self.short_of(memory, &plan.fragments, blocks)),
            Err(fragments::Refused::TooLong) => Err(DropReason::OverLimit.into()),
            Err(_) => Err(DropReason::Malformed.into()),
        }
    }

    /// Whether memory that can grow should, so that a new message costs no older one.
    fn check_lent(
        &self,
        memory: &Memory<'_>,
        fragment: &Fragment<'_>,
        plan: &fragments::Plan,
    ) -> Result<(), Failed> {
        let (places, pool) = (&memory.assemblies, &memory.pool);
        if self.reassembly.knows(places, fragment) {
            return Ok(());
        }
        let messages = plan.messages() as usize;
        let may_have = places.ledger().available(&self.assembly_quota) as usize;
        if places.vacant() < messages && may_have >= messages {
            return Err(Failed::Short(Need::Assembly));
        }
        let blocks = plan.blocks() as usize;
        let may_have = pool.ledger().available(&self.inbox_blocks) as usize;
        if pool.vacant() < blocks && may_have >= blocks {
            return Err(Failed::Short(Need::Blocks(blocks)));
        }
        Ok(())
    }

    /// What is missing for the messages of `plan` and for one more, of `blocks` blocks: of what this
    /// peer has already it may give up all.
    fn short_of(&self, memory: &Memory<'_>, plan: &fragments::Plan, blocks: usize) -> Failed {
        let places = memory.assemblies.vacant() + usize::from(self.reassembly.count());
        if places <= plan.messages() as usize {
            return Failed::Short(Need::Assembly);
        }
        let lent = memory.pool.vacant() + self.reassembly.blocks() as usize;
        let needed = plan.blocks() as usize + blocks;
        if lent < needed {
            return Failed::Short(Need::Blocks(needed));
        }
        // Others were promised what is left; more memory would not change that.
        DropReason::Full.into()
    }

    /// Bytes of unreliable messages that wait to be read.
    fn waiting(&self) -> u32 {
        self.inbox.len().saturating_add(self.assembled)
    }

    fn check_channel(&self, channel: u8) -> Result<(), Failed> {
        if u16::from(channel) < self.theirs.channels {
            Ok(())
        } else {
            Err(DropReason::OverLimit.into())
        }
    }

    fn open_for(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        slot: usize,
        channel: u8,
        mode: Mode,
    ) -> Result<Link, Failed> {
        self.check_channel(channel)?;
        self.domain(memory, config, slot, ChannelId(channel), mode).map_err(Failed::Short)
    }

    /// Whether there is memory for all of a packet.
    fn check_memory(
        &self,
        memory: &Memory<'_>,
        config: &Config,
        plan: &Plan,
    ) -> Result<(), Failed> {
        // Fragments in the same packet were checked as if nothing else were in it.
        let fragments = plan.fragments.blocks() as usize;
        let mut others = plan.stream_blocks;
        if plan.inbox > 0 {
            if self.waiting() as usize + plan.inbox > config.inbox_max as usize {
                return Err(DropReason::Full.into());
            }
            let needed = self.inbox.blocks_needed(&memory.pool, plan.inbox);
            if needed + fragments > memory.pool.ledger().available(&self.inbox_blocks) as usize {
                return Err(DropReason::Full.into());
            }
            others += needed;
        }
        if others > 0 && others + fragments > memory.pool.vacant() {
            return Err(Failed::Short(Need::Blocks(others + fragments)));
        }
        if plan.stream_blocks > memory.pool.ledger().available(&self.stream_blocks) as usize {
            return Err(DropReason::Full.into());
        }
        // Streams can do without a note; whatever else arrives cannot.
        if plan.records > memory.records.available(&self.receive_records) {
            if plan.records > memory.records.ledger().available(&self.receive_records) as usize {
                return Err(DropReason::Full.into());
            }
            return Err(Failed::Short(Need::Record));
        }
        Ok(())
    }

    fn apply_frames(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        slot: usize,
        number: u64,
        body: &[u8],
    ) {
        let mut moved = false;
        for frame in frames(body) {
            let Ok(frame) = frame else { break };
            match frame {
                Frame::Credit { channel, limit } => self.on_credit(memory, slot, channel, limit),
                Frame::Close { cause, reason } => {
                    self.on_close(memory, cause, reason);
                    break;
                }
                Frame::Unreliable { channel, ordered, messages } => {
                    self.on_messages(memory, slot, number, channel, ordered, messages);
                }
                Frame::Fragment { channel, ordered, id, offset, total, data } => {
                    let fragment = Fragment { channel, ordered, id, offset, total, data, number };
                    self.on_fragment(memory, &context.config, now, slot, &fragment);
                }
                Frame::Reliable { channel, offset, data } => {
                    let Some(link) = memory.domain(slot, channel, Mode::Reliable) else { continue };
                    moved |= self.on_stream(memory, context, number, link, offset, data);
                }
                _ => {}
            }
        }
        if moved {
            self.on_streams_moved(memory, context, now, slot, body);
        }
    }

    /// Notes and credit for the streams that a packet moved. Only now, since they may take what the other
    /// frames of the packet were promised when it was checked.
    fn on_streams_moved(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        slot: usize,
        body: &[u8],
    ) {
        for frame in frames(body) {
            let Ok(Frame::Reliable { channel, .. }) = frame else { continue };
            let Some(link) = memory.domain(slot, channel, Mode::Reliable) else { continue };
            if core::mem::take(&mut memory.domains[link].moved) {
                self.on_stream_moved(memory, context, now, link);
            }
        }
    }

    fn on_credit(&mut self, memory: &mut Memory<'_>, slot: usize, channel: u8, limit: u32) {
        let Some(link) = memory.domain(slot, channel, Mode::Reliable) else { return };
        let Lane::Reliable { out, .. } = &mut memory.domains[link].lane else { return };
        if out.on_credit(limit) && out.is_pending() {
            self.pending.push(&mut memory.domains, link);
        }
    }

    fn on_close(&mut self, memory: &mut Memory<'_>, cause: CloseCause, reason: u32) {
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
        slot: usize,
        number: u64,
        channel: u8,
        ordered: bool,
        all: &[u8],
    ) {
        if ordered
            && let Some(link) = memory.domain(slot, channel, Mode::UnreliableOrdered)
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
        slot: usize,
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
            && let Some(domain) = memory.domain(slot, fragment.channel, Mode::UnreliableOrdered)
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
        context: &Context,
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
        if moved && self.long == link {
            self.long_moved = context.clock.attended(context.now);
        }
        moved
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
            match stream.head(&memory.pool, upto, context.config.reliable_max) {
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

    /// Notes where something can be read, as part of the last note if it can be.
    fn note(&mut self, memory: &mut Memory<'_>, note: Note) -> bool {
        self.tell_readable = true;
        if let Some(head) = self.notes.head.some() {
            let tail = self.notes.tail;
            debug_assert!(head.is_some());
            let joined = match (Note::of(&memory.records[tail]), note) {
                (
                    Note::Inbox { channel, ordered, left },
                    Note::Inbox { channel: c, ordered: o, left: more },
                ) if channel == c && ordered == o => {
                    Some(Note::Inbox { channel, ordered, left: left + more })
                }
                (Note::Stream { domain, .. }, Note::Stream { domain: d, upto }) if domain == d => {
                    Some(Note::Stream { domain, upto })
                }
                _ => None,
            };
            if let Some(joined) = joined {
                joined.write(&mut memory.records[tail]);
                return true;
            }
        }
        let Some(link) = memory.records.take(&mut self.receive_records) else { return false };
        note.write(&mut memory.records[link]);
        self.notes.push_back(&mut memory.records, link);
        if let Note::Stream { domain, .. } = note {
            memory.domains[domain].notes = memory.domains[domain].notes.saturating_add(1);
        }
        true
    }

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
        let Lane::Reliable { stream, .. } = &mut domain.lane else { return };
        let limits = GrantLimits {
            window_max: context.config.credit_max,
            keep: context.long_blocks + context.send_blocks,
            long: self.long.is_none() || self.long == link,
        };
        let grant = stream.grant(&mut memory.pool, &mut self.stream_blocks, &limits);
        if grant.long && self.long.is_none() {
            (self.long, self.long_moved) = (link, context.clock.attended(now));
        } else if !grant.long && self.long == link {
            self.long = Link::NONE;
            self.is_starved = true;
        }
        if grant.raised && !cfg!(bowline_mutant = "forget_credit") {
            domain.credit_due = true;
            self.credit_due = true;
        }
        self.is_starved |= grant.starved;
    }

    /// Raises the credit of all streams as far as memory allows, after some was freed.
    pub(crate) fn grant_all(&mut self, memory: &mut Memory<'_>, context: &Context, now: Instant) {
        self.is_starved = false;
        let mut at = self.domains;
        while let Some(link) = at.some() {
            self.grant(memory, context, now, link);
            at = bowline_core::Slot::next(&memory.domains[link]);
        }
    }

    fn on_acks(&mut self, memory: &mut Memory<'_>, now: Instant, acks: &Acks<'_>) {
        let &Acks { block, largest } = acks;
        let mut ranges = heapless::Vec::<_, ACK_RANGES_MAX>::new();
        for range in block.ranges(largest) {
            let fits = ranges.push(range);
            debug_assert!(fits.is_ok(), "the parser bounds them");
        }
        ranges.reverse();
        let mut acked = self.sent.take_acked(&mut memory.records, &ranges);
        self.acked = largest;
        self.any_acked = true;
        self.loss.on_ack(largest);
        let mut sample = None;
        while let Some(link) = acked.pop_front(&mut memory.records) {
            let record = memory.records[link];
            if record.number == largest as u32 {
                sample = Some(now - record.at);
            }
            self.on_packet_acked(memory, now, link);
            self.loss.on_progress();
        }
        if let Some(sample) = sample {
            let delay = u64::from(block.delay().unwrap_or(0)) * DELAY_UNIT_US;
            let delay = Duration::from_micros(delay).min(self.theirs.ack_delay);
            self.rtt.on_sample(sample, delay);
        }
        self.detect_lost(memory, now);
    }

    fn on_packet_acked(&mut self, memory: &mut Memory<'_>, now: Instant, link: Link) {
        let record = memory.records[link];
        if record.flags & Record::REPORTS != 0 {
            let near = self.received.largest().unwrap_or(0);
            self.received.set_reported(expand(near, u64::from(record.reported), 4));
        }
        self.window.on_ack(now, record.at, u32::from(record.size), false, &self.rtt);
        let mut at = record.more;
        while let Some(range) = at.some() {
            at = memory.records[range].next;
            self.on_range_acked(memory, range);
        }
        memory.records[link].more = Link::NONE;
        if record.flags & Record::CUT != 0 {
            self.on_range_lost(memory, link);
        } else {
            self.on_range_acked(memory, link);
        }
        if record.flags & Record::CLOSE != 0 {
            self.phase = Phase::Closed;
        }
    }

    fn on_range_acked(&mut self, memory: &mut Memory<'_>, range: Link) {
        let link = memory.records[range].domain;
        let lane = link.some().map(|link| &mut memory.domains[link].lane);
        let Some(Lane::Reliable { out, .. }) = lane else {
            memory.records.give(&mut self.send_records, range);
            return;
        };
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        out.on_acked(&mut memory.pool, &mut self.send_blocks, &mut ranges, range);
    }

    /// Finds out which packets are lost by now.
    pub(crate) fn detect_lost(&mut self, memory: &mut Memory<'_>, now: Instant) {
        let (mut lost, next): (List, _) =
            self.sent.take_lost(&mut memory.records, &self.loss, &self.rtt, now);
        self.loss_at = next;
        while let Some(link) = lost.pop_front(&mut memory.records) {
            let record = memory.records[link];
            if cfg!(bowline_mutant = "forget_loss") {
                self.on_packet_acked(memory, now, link);
                continue;
            }
            self.statistics.packets_lost = self.statistics.packets_lost.wrapping_add(1);
            self.window.on_congestion(now, record.at, false);
            if record.flags & Record::CREDIT != 0 {
                self.resend_credits(memory);
            }
            let mut at = record.more;
            while let Some(range) = at.some() {
                at = memory.records[range].next;
                self.on_range_lost(memory, range);
            }
            memory.records[link].more = Link::NONE;
            self.on_range_lost(memory, link);
        }
    }

    /// Whether everything that was queued has been sent and acknowledged.
    pub(crate) fn is_flushed(&self, memory: &Memory<'_>) -> bool {
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &memory.domains[link];
            if domain.queued() > 0 && !cfg!(bowline_mutant = "lose_last") {
                return false;
            }
            at = bowline_core::Slot::next(domain);
        }
        true
    }
}
