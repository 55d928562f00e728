//! Whether a packet can be taken: nothing of it is applied before all of it was checked.

use bowline_core::serial::ahead32;
use bowline_core::{ChannelId, DropReason, Link, Mode};
use bowline_transport::fragments::{self, Fragment};
use bowline_transport::reliable::Refused;
use bowline_transport::reliable::loose::{Arrival, Needs, Unfit};
use bowline_wire::native::{Frame, Offset, frames, messages};

use crate::config::Config;
use crate::domain::{Lane, mode_of};
use crate::peer::Peer;
use crate::receive::Failed;
use crate::storage::{Memory, Need};

/// How many blocks and pieces of streams one packet may have walked over, unless it is for a single range.
const STEPS_MAX: usize = 4_096;

/// What a packet would take if it were accepted.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) inbox: usize,
    pub(crate) stream_blocks: usize,
    /// The stream of the frame before, and the most blocks that one of its frames in a row takes.
    pub(crate) stream: Option<(Link, usize)>,
    /// Blocks and pieces to walk over to get at places ahead in streams.
    pub(crate) steps: usize,
    pub(crate) records: usize,
    pub(crate) fragments: fragments::Plan,
    pub(crate) any_fragment: bool,
    pub(crate) any_loose: bool,
    pub(crate) eliciting: bool,
    pub(crate) any_frame: bool,
}

impl Peer {
    /// Checks all frames of a packet; nothing changes but that domains are opened.
    pub(crate) fn check_frames(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        number: u64,
        body: &[u8],
    ) -> Result<Plan, Failed> {
        let mut plan = Plan::default();
        for frame in frames(body) {
            let frame = frame?;
            plan.any_frame = true;
            plan.eliciting |= frame.is_ack_eliciting();
            self.check_frame(memory, config, number, &frame, &mut plan)?;
        }
        Ok(plan)
    }

    fn check_frame(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        number: u64,
        frame: &Frame<'_>,
        plan: &mut Plan,
    ) -> Result<(), Failed> {
        match *frame {
            Frame::Padding | Frame::Ping | Frame::Close { .. } => Ok(()),
            Frame::Credit { stream, channel, .. } => {
                if stream.is_loose() && self.theirs.loose_credit == 0 {
                    return Err(DropReason::Unexpected.into());
                }
                self.open_for(memory, config, channel, mode_of(stream)).map(drop)
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
                    let link = self.open_for(memory, config, channel, mode)?;
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
                    self.open_for(memory, config, channel, Mode::UnreliableOrdered)?;
                }
                let fragment = Fragment { channel, ordered, id, offset, total, data, number };
                self.check_fragment(memory, config, &fragment, plan)
            }
            Frame::Void { stream, channel, offset, len } => {
                let link = self.open_for(memory, config, channel, mode_of(stream))?;
                check_void(memory, link, offset, len, plan)
            }
            Frame::Loose { channel, latest, offset, back, data } => {
                let mode = if latest { Mode::ReliableLatest } else { Mode::ReliableUnordered };
                let link = self.open_for(memory, config, channel, mode)?;
                let Lane::Loose { stream, .. } = &memory.domains[link].lane else { return Ok(()) };
                let (pool, records) = (&memory.pool, &memory.records);
                let arrival = Arrival { offset, back, data };
                plan.any_loose = true;
                plan.add_loose(link, stream.check(pool, records, &arrival, config.reliable_max))
            }
            Frame::Reliable { channel, offset, data } => {
                let link = self.open_for(memory, config, channel, Mode::Reliable)?;
                check_stream(memory, link, number, offset, data.len(), plan)
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
        channel: u8,
        mode: Mode,
    ) -> Result<Link, Failed> {
        self.check_channel(channel)?;
        let loose = matches!(mode, Mode::ReliableUnordered | Mode::ReliableLatest);
        if loose && config.loose_credit == 0 {
            return Err(DropReason::Unexpected.into());
        }
        self.domain(memory, config, ChannelId(channel), mode).map_err(Failed::Short)
    }

    /// Whether there is memory for all of a packet.
    pub(crate) fn check_memory(
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
}

/// Checks a range of a stream that was given up.
fn check_void(
    memory: &Memory<'_>,
    link: Link,
    start: u32,
    len: u32,
    plan: &mut Plan,
) -> Result<(), Failed> {
    let (pool, end) = (&memory.pool, start.wrapping_add(len));
    match &memory.domains[link].lane {
        Lane::Reliable { stream, .. } => {
            let steps = pool.blocks_for(len as usize) + usize::from(stream.pieces());
            plan.add(link, stream.check_void(pool, start, end), steps)
        }
        Lane::Loose { stream, .. } => {
            plan.add_loose(link, stream.check_void(pool, start, end, plan.any_loose))
        }
        Lane::Unreliable { .. } | Lane::Ordered { .. } => Ok(()),
    }
}

/// Checks a range of a stream, whose domain is `link`.
fn check_stream(
    memory: &Memory<'_>,
    link: Link,
    number: u64,
    offset: Offset,
    len: usize,
    plan: &mut Plan,
) -> Result<(), Failed> {
    let Lane::Reliable { stream, .. } = &memory.domains[link].lane else { return Ok(()) };
    let start = match offset {
        Offset::Long(start) => start,
        Offset::Short(low) => stream.expand(number, low).ok_or(DropReason::Stale)?,
    };
    let needed = stream.check(&memory.pool, start, start.wrapping_add(len as u32));
    let ahead = ahead32(start, stream.base()).max(0) as usize;
    let pieces = if ahead > 0 { stream.pieces().into() } else { 0 };
    plan.add(link, needed, memory.pool.blocks_for(ahead) + pieces)
}

impl Plan {
    /// Adds what a range of a stream needs, and the blocks and pieces to walk over for it.
    fn add(
        &mut self,
        link: Link,
        needed: Result<(usize, usize), Refused>,
        steps: usize,
    ) -> Result<(), Failed> {
        let (blocks, records) = match needed {
            Ok(needed) => needed,
            Err(Refused::OverCredit) => return Err(Failed::Misbehaved),
            Err(Refused::Crowded) => return Err(DropReason::Full.into()),
            Err(Refused::Full { blocks }) => return Err(Failed::Short(Need::Blocks(blocks))),
        };
        self.add_needs(link, Needs { blocks, records, steps })
    }

    fn add_loose(&mut self, link: Link, needed: Result<Needs, Unfit>) -> Result<(), Failed> {
        match needed {
            Ok(needs) => self.add_needs(link, needs),
            Err(Unfit::Crowded) => Err(DropReason::Full.into()),
            Err(Unfit::OverCredit | Unfit::Bad) => Err(Failed::Misbehaved),
        }
    }

    fn add_needs(&mut self, link: Link, needs: Needs) -> Result<(), Failed> {
        // What this packet adds to a stream in pieces is walked over too.
        let own = if needs.records > 0 { self.records } else { 0 };
        let steps = self.steps + needs.steps + own;
        if self.steps > 0 && steps > STEPS_MAX {
            return Err(DropReason::Full.into());
        }
        self.steps = steps;
        // Each frame of a stream counts from the stream's last block, those before it included.
        let before = self.stream.filter(|(stream, _)| *stream == link).map_or(0, |(_, most)| most);
        self.stream = Some((link, needs.blocks.max(before)));
        self.stream_blocks += needs.blocks.saturating_sub(before);
        self.records += needs.records;
        Ok(())
    }
}
