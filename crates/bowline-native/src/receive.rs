//! Taking packets apart: check everything, then record, then apply.

use bowline_core::{DropReason, Duration, Instant};
use bowline_transport::receive_window::Freshness;
use bowline_wire::native::{AckBlock, Frame, Integrity, PacketHead, TRAILER_LEN, frames};

use crate::acked::Acks;
use crate::endpoint::Context;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Need};

/// How far no sender is ahead of what its peer has accepted: it stops before.
const AHEAD_MAX: u64 = 65_535;

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
        let plan = self.check_frames(memory, &context.config, number, body)?;
        if !plan.any_frame && block.is_none() {
            return Err(DropReason::Malformed.into());
        }
        self.check_memory(memory, &context.config, &plan)?;

        self.judge_long(memory, context, now);
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
            self.apply_frames(memory, context, now, number, body);
        }
        Ok(())
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
}
