//! Commands that arrive as they were sent, with none missing: what most datagrams are made of.
//!
//! They do what they would do one by one in `receive`, but what is the same for all of a run is looked up and settled
//! once. At anything else the run ends, before it has any effect: that is dealt with there.

use bowline_core::{Link, Slot};
use bowline_wire::enet::{CommandKind, PlainAcknowledge, PlainPacket};

use crate::arrival::Arrival;
use crate::channel::Channel;
use crate::command::Acknowledgement;
use crate::flags::Flags;
use crate::host::{Shared, Work};
use crate::peer::{Peer, State};
use crate::receive::Course;
use crate::storage::Memory;

impl Work<'_> {
    /// Takes the commands at the front that arrive in order; answers what is left.
    #[inline(always)]
    pub(crate) fn take_in_order<'a>(
        &mut self,
        slot: usize,
        sent_time: Option<u16>,
        commands: &'a [u8],
        course: &mut Course,
    ) -> &'a [u8] {
        let Some(peer) = self.parts.peers.get_mut(slot) else { return commands };
        if peer.state != State::Connected {
            return commands;
        }
        let memory = &mut self.parts.memory;
        let rest = peer.acknowledged_in_order(memory, self.shared, commands, course);
        let left = peer.packets_in_order(memory, self.shared, sent_time, rest, course);
        if left.len() < rest.len() && !peer.news.is_queued {
            self.shared.push_news(self.parts.peers, slot);
        }
        left
    }
}

impl Peer {
    /// Takes acknowledgements of the oldest commands in flight, in the order of those.
    #[inline(always)]
    fn acknowledged_in_order<'a>(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        commands: &'a [u8],
        course: &mut Course,
    ) -> &'a [u8] {
        let now = shared.clock.now;
        let check_times = shared.config.hardening.check_times;
        let first = self.sent.first;
        let (mut at, mut last, mut count) = (first, Link::NONE, 0);
        let (mut number, mut channel) = (0, Link::NONE);
        let mut rest = commands;
        while let Some((acknowledge, later)) = PlainAcknowledge::split(rest) {
            let Some(link) = at.some() else { break };
            let queued = &memory.commands[link];
            let is_it = queued.sequence == acknowledge.sequence
                && queued.channel == acknowledge.channel
                && queued.acknowledge
                && queued.attempts > 0
                && queued.is_data();
            let sent = now.at_stamp(acknowledge.sent_time.wrapping_sub(self.stamp_offset));
            let is_early = check_times && sent.is_before(queued.first_sent);
            if !is_it || is_early || now.is_before(sent) {
                break;
            }
            if channel.is_none() || number != queued.channel {
                number = queued.channel;
                let Some(open) = self.open_in(&memory.banks, number) else { break };
                channel = open;
            }
            let (bytes, payload) = (queued.bytes, u32::from(queued.payload));
            (at, last, count) = (queued.next(), link, count + 1);
            memory.channels[channel].count_acknowledged(acknowledge.sequence);
            memory.pool.give_chain(&mut self.quotas.blocks, bytes);
            self.in_transit = self.in_transit.saturating_sub(payload);
            self.queued = self.queued.saturating_sub(payload);
            self.measure(now, now.distance(sent).max(1));
            rest = later;
        }
        if count > 0 {
            if count > 1 {
                // What the timer is left at when none remains in flight.
                self.time(&memory.commands[last]);
            }
            memory.commands.give_run(&mut self.quotas.commands, first, last, count);
            self.sent.begin_at(&mut memory.commands, at);
            self.time_first(memory);
            shared.freed = true;
            course.rouse();
        }
        rest
    }

    /// Takes packets whose turn it is, of one command and one block each, and acknowledges those that are reliable.
    #[inline(always)]
    fn packets_in_order<'a>(
        &mut self,
        memory: &mut Memory<'_>,
        shared: &Shared,
        sent_time: Option<u16>,
        commands: &'a [u8],
        course: &mut Course,
    ) -> &'a [u8] {
        let config = &shared.config;
        let mut rest = commands;
        while let Some((packet, later)) = PlainPacket::split(rest) {
            if packet.channel >= self.channel_count
                || packet.payload.len() > config.packet_max as usize
                || !self.takes_more(config)
            {
                break;
            }
            let Some(open) = self.open_in(&memory.banks, packet.channel) else { break };
            let channel = &mut memory.channels[open];
            if !channel.is_in_order(&packet) {
                break;
            }
            let is_reliable = packet.kind == CommandKind::SendReliable;
            let acknowledged = sent_time.filter(|_| is_reliable);
            if is_reliable && (acknowledged.is_none() || course.acknowledgements == 0) {
                break;
            }
            let is_unsequenced = packet.kind == CommandKind::SendUnsequenced;
            if is_unsequenced && !self.expects_group(packet.unreliable) {
                break;
            }
            let mut arrival = arrival_of(&packet);
            if !arrival.fill(&mut memory.pool, &mut self.quotas.blocks, packet.payload) {
                break;
            }
            let (bytes, len) = (arrival.bytes, arrival.len);
            let quota = &mut self.quotas.arrivals;
            if self.delivered.push_new(&mut memory.arrivals, quota, arrival).is_none() {
                memory.pool.give_chain(&mut self.quotas.blocks, bytes);
                break;
            }
            self.waiting = self.waiting.saturating_add(len);
            if is_unsequenced {
                self.note_group(packet.unreliable);
            } else {
                channel.incoming_reliable = packet.sequence;
                channel.incoming_unreliable = packet.unreliable;
            }
            if let Some(sent_time) = acknowledged {
                course.acknowledgements = course.acknowledgements.saturating_sub(1);
                course.rouse();
                let PlainPacket { channel, sequence, .. } = packet;
                let new =
                    Acknowledgement { sequence, channel, sent_time, ..Acknowledgement::VACANT };
                // That there is room was asked before.
                let _ = self.push_acknowledgement(memory, new);
            }
            rest = later;
        }
        rest
    }
}

impl Channel {
    /// Whether it is this packet's turn, and nothing waits for it.
    #[inline(always)]
    const fn is_in_order(&self, packet: &PlainPacket<'_>) -> bool {
        let is_next = match packet.kind {
            CommandKind::SendReliable => packet.sequence == self.incoming_reliable.wrapping_add(1),
            CommandKind::SendUnreliable => {
                packet.sequence == self.incoming_reliable
                    && packet.unreliable > self.incoming_unreliable
            }
            _ => true,
        };
        is_next && self.reliable.is_empty() && self.unreliable.is_empty()
    }
}

#[inline(always)]
const fn arrival_of(packet: &PlainPacket<'_>) -> Arrival {
    let (flags, unreliable) = match packet.kind {
        CommandKind::SendReliable => (Flags::RELIABLE, 0),
        CommandKind::SendUnreliable => (Flags::NONE, packet.unreliable),
        _ => (Flags::UNSEQUENCED, 0),
    };
    Arrival {
        flags,
        channel: packet.channel,
        reliable: packet.sequence,
        unreliable,
        len: packet.payload.len() as u32,
        ..Arrival::VACANT
    }
}
