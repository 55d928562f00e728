//! Commands that arrive as they were sent, with none missing: what most datagrams begin with, and all of most of them.
//!
//! They do what they would do one by one in `receive`, but what is the same for all of a run is looked up and settled
//! once. At anything else the run ends, before it has any effect: that is dealt with there.

use bowline_core::{Link, Pool, Slot, Slots};
use bowline_wire::enet::{CONNECTION_CHANNEL, CommandKind, PlainAcknowledge, PlainPacket};

use crate::arrival::Arrival;
use crate::channel::{Bank, Channel};
use crate::command::{Acknowledgement, Queued};
use crate::flags::Flags;
use crate::host::Shared;
use crate::peer::{Peer, State};
use crate::storage::{Memory, Parts, Storage};

/// Takes the commands at the front that arrive in order; answers what is left.
#[inline(always)]
pub(crate) fn take_in_order<'a, S: Storage>(
    storage: &mut S,
    shared: &mut Shared,
    slot: usize,
    sent_time: Option<u16>,
    commands: &'a [u8],
) -> &'a [u8] {
    // Taken apart, so that only what is needed has to be put together.
    let Parts { peers, memory, mut sets, .. } = storage.parts();
    let Memory {
        banks,
        mut channels,
        commands: mut sent,
        mut acknowledgements,
        mut arrivals,
        mut pool,
    } = memory;
    let Some(peer) = peers.get_mut(slot) else { return commands };
    if peer.state != State::Connected {
        return commands;
    }
    let flight =
        Flight { banks: &banks, channels: &mut channels, commands: &mut sent, pool: &mut pool };
    let rest = peer.acknowledged_in_order(flight, shared, commands);
    let mut is_ready = rest.len() < commands.len();
    let landing = Landing {
        banks: &banks,
        channels: &mut channels,
        arrivals: &mut arrivals,
        acknowledgements: &mut acknowledgements,
        pool: &mut pool,
    };
    let left = peer.packets_in_order(landing, shared, sent_time, rest, &mut is_ready);
    let is_news = left.len() < rest.len() && !peer.news.is_queued;
    if is_ready {
        sets.ready.insert(slot);
    }
    if is_news {
        shared.push_news(peers, slot);
    }
    left
}

/// What acknowledgements change.
struct Flight<'a, 'm> {
    banks: &'a Slots<'m, Bank>,
    channels: &'a mut Slots<'m, Channel>,
    commands: &'a mut Slots<'m, Queued>,
    pool: &'a mut Pool<'m>,
}

/// What packets change.
struct Landing<'a, 'm> {
    banks: &'a Slots<'m, Bank>,
    channels: &'a mut Slots<'m, Channel>,
    arrivals: &'a mut Slots<'m, Arrival>,
    acknowledgements: &'a mut Slots<'m, Acknowledgement>,
    pool: &'a mut Pool<'m>,
}

impl Peer {
    /// Takes acknowledgements of the oldest commands in flight, in the order of those.
    #[inline(always)]
    fn acknowledged_in_order<'a>(
        &mut self,
        flight: Flight<'_, '_>,
        shared: &mut Shared,
        commands: &'a [u8],
    ) -> &'a [u8] {
        let Flight { banks, channels, commands: records, pool } = flight;
        let now = shared.clock.now;
        let check_times = shared.config.hardening.check_times;
        let first = self.sent.first;
        let (mut at, mut last, mut count) = (first, Link::NONE, 0);
        let (mut blocks, mut payload) = (0, 0u32);
        let (mut number, mut channel) = (CONNECTION_CHANNEL, Link::NONE);
        let mut rest = commands;
        while let Some((acknowledge, later)) = PlainAcknowledge::split(rest) {
            let Some(link) = at.some() else { break };
            let queued = &records[link];
            if queued.sequence != acknowledge.sequence || queued.channel != acknowledge.channel {
                break;
            }
            let sent = now.at_stamp(acknowledge.sent_time.wrapping_sub(self.stamp_offset));
            if now.is_before(sent) || check_times && sent.is_before(queued.first_sent) {
                break;
            }
            if number != acknowledge.channel {
                // Commands that concern the connection are of none that is open.
                let Some(open) = self.open_in(banks, acknowledge.channel) else { break };
                (number, channel) = (acknowledge.channel, open);
            } else if channel.is_none() {
                break;
            }
            (at, last, count) = (queued.next(), link, count + 1);
            payload = payload.wrapping_add(queued.payload.into());
            blocks += pool.free_chain(queued.bytes);
            channels[channel].count_acknowledged(acknowledge.sequence);
            self.measure(now, now.distance(sent).max(1));
            rest = later;
        }
        if count > 0 {
            self.in_transit = self.in_transit.saturating_sub(payload);
            self.queued = self.queued.saturating_sub(payload);
            pool.count_given(&mut self.quotas.blocks, blocks);
            if count > 1 {
                // What the timer is left at when none remains in flight.
                self.time(&records[last]);
            }
            records.give_run(&mut self.quotas.commands, first, last, count);
            self.sent.begin_at(records, at);
            if let Some(first) = at.some() {
                self.time(&records[first]);
            }
            shared.freed = true;
        }
        rest
    }

    /// Takes packets whose turn it is, of one command and one block each, and acknowledges those that are reliable.
    #[inline(always)]
    fn packets_in_order<'a>(
        &mut self,
        landing: Landing<'_, '_>,
        shared: &Shared,
        sent_time: Option<u16>,
        commands: &'a [u8],
        is_ready: &mut bool,
    ) -> &'a [u8] {
        let Landing { banks, channels, arrivals, acknowledgements, pool } = landing;
        let config = &shared.config;
        let stamp = sent_time.unwrap_or_default();
        let mut run = Acknowledgement { count: 0, sent_time: stamp, ..Acknowledgement::VACANT };
        // Acknowledgements for which there is room.
        let mut room = None;
        let (mut number, mut open) = (CONNECTION_CHANNEL, Link::NONE);
        let mut rest = commands;
        while let Some((packet, later)) = PlainPacket::split(rest) {
            if packet.payload.len() > config.packet_max as usize || !self.takes_more(config) {
                break;
            }
            if number != packet.channel || open.is_none() {
                if packet.channel >= self.channel_count {
                    break;
                }
                let Some(other) = self.open_in(banks, packet.channel) else { break };
                (number, open) = (packet.channel, other);
            }
            let channel = &mut channels[open];
            if !channel.is_in_order(&packet) {
                break;
            }
            match packet.kind {
                CommandKind::SendReliable => {
                    let room =
                        room.get_or_insert_with(|| self.acknowledgeable(acknowledgements, config));
                    let Some(less) = room.checked_sub(1).filter(|_| sent_time.is_some()) else {
                        break;
                    };
                    *room = less;
                }
                CommandKind::SendUnsequenced if !self.expects_group(packet.unreliable) => break,
                _ => {}
            }
            let mut arrival = arrival_of(&packet);
            if !arrival.fill(pool, &mut self.quotas.blocks, packet.payload) {
                break;
            }
            let (bytes, len) = (arrival.bytes, arrival.len);
            let quota = &mut self.quotas.arrivals;
            if self.delivered.push_new(arrivals, quota, arrival).is_none() {
                pool.give_chain(&mut self.quotas.blocks, bytes);
                break;
            }
            self.waiting = self.waiting.saturating_add(len);
            rest = later;
            match packet.kind {
                CommandKind::SendReliable => {
                    channel.incoming_reliable = packet.sequence;
                    channel.incoming_unreliable = 0;
                    if run.count == 0 || run.channel != number {
                        if run.count > 0 {
                            let _ = self.push_acknowledgement(acknowledgements, run);
                        }
                        (run.channel, run.sequence, run.count) = (number, packet.sequence, 0);
                    }
                    run.count += 1;
                }
                CommandKind::SendUnreliable => channel.incoming_unreliable = packet.unreliable,
                _ => self.note_group(packet.unreliable),
            }
        }
        if run.count > 0 {
            *is_ready = true;
            // That there is room was asked before.
            let _ = self.push_acknowledgement(acknowledgements, run);
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
