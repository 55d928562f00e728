//! What follows from acknowledgements, and from their absence.

use bowline_core::serial::expand;
use bowline_core::{Duration, Instant, Link};
use bowline_transport::congestion::Controller;
use bowline_transport::record::{List, Record};
use bowline_transport::reliable::Ranges;
use bowline_transport::tickets::Ends;
use bowline_wire::native::{ACK_RANGES_MAX, AckBlock, DELAY_UNIT_US, Expanded};

use crate::domain::Lane;
use crate::peer::{Peer, Phase};
use crate::receive::Failed;
use crate::storage::Memory;

/// The acknowledgements of a packet, ready to be applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acks<'d> {
    pub(crate) block: AckBlock<'d>,
    pub(crate) largest: u64,
}

impl Peer {
    /// What a block acknowledges; nothing if that cannot be told.
    pub(crate) fn check_acks<'d>(&self, block: AckBlock<'d>) -> Result<Option<Acks<'d>>, Failed> {
        let newest = self.next_number.wrapping_sub(1);
        if newest < u64::from(self.initial_out) || self.next_number == 0 {
            return Err(Failed::Misbehaved);
        }
        let largest = match block.expand_largest(self.acked(), newest) {
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

    pub(crate) fn on_acks(&mut self, memory: &mut Memory<'_>, now: Instant, acks: &Acks<'_>) {
        let &Acks { block, largest } = acks;
        let mut ranges = heapless::Vec::<_, ACK_RANGES_MAX>::new();
        for range in block.ranges(largest) {
            let fits = ranges.push(range);
            debug_assert!(fits.is_ok(), "the parser bounds them");
        }
        ranges.reverse();
        let mut acked = self.sent.take_acked(&mut memory.records, &ranges);
        let late = self.sent.late_acks(&ranges);
        self.statistics.acks_late = self.statistics.acks_late.wrapping_add(late);
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
            let delay = Duration::from_micros(delay).min(self.theirs.ack_delay());
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
        let Record { domain, start, end, .. } = memory.records[range];
        let lane = domain.some().map(|link| &mut memory.domains[link].lane);
        let mut ranges = Ranges { records: &mut memory.records, quota: &mut self.send_records };
        let ends = &mut Ends::new(&mut self.tickets, &mut self.outcomes);
        match lane {
            Some(Lane::Reliable { out, .. } | Lane::Loose { out, latest: false, .. }) => {
                out.on_acked(&mut memory.pool, &mut self.send_blocks, &mut ranges, range);
                if !out.tickets().is_empty() {
                    out.settle(&mut memory.records, ends, (start, end));
                }
            }
            Some(Lane::Loose { out, keys, .. }) => {
                out.on_acked(&mut memory.pool, &mut self.send_blocks, &mut ranges, range);
                if !out.tickets().is_empty() {
                    ends.keys = Some(keys);
                    out.settle(&mut memory.records, ends, (start, end));
                }
            }
            Some(Lane::Unreliable { out } | Lane::Ordered { out, .. }) => {
                out.tickets().on_acked(&mut memory.records, ends, start, end);
                memory.records.give(&mut self.send_records, range);
            }
            None => memory.records.give(&mut self.send_records, range),
        }
    }

    /// Finds out which packets are lost by now.
    pub(crate) fn detect_lost(&mut self, memory: &mut Memory<'_>, now: Instant) {
        let (mut lost, next): (List, _) =
            self.sent.take_lost(&mut memory.records, &self.loss, &self.rtt, now);
        self.loss_at = next.unwrap_or(Instant::MAX);
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
    pub(crate) fn is_flushed(&self, memory: &mut Memory<'_>) -> bool {
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            if (domain.queued() > 0 || domain.has_tickets()) && !cfg!(bowline_mutant = "lose_last")
            {
                return false;
            }
            at = bowline_core::Slot::next(domain);
        }
        true
    }
}
