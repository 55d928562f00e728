//! Making datagrams: which peers get one, and what goes into it.

use bowline_core::{BlockId, BufferTooShort, Instant, Link, Pool, Slot, Transmit};
use bowline_wire::Writer;
use bowline_wire::enet::{
    CHECKSUM_LEN, Command, CommandHead, CommandKind, Header, MAX_COMMANDS, NO_PEER, Time,
};

use crate::channel::Channel;
use crate::command::{Acknowledgement, Queued};
use crate::compression::Compression;
use crate::config::{Hardening, Release};
use crate::host::{Host, Shared, Work};
use crate::list::{List, Node};
use crate::peer::{End, Peer, State};
use crate::storage::{Memory, Need, Storage};

/// Milliseconds over which losses are averaged.
const LOSS_INTERVAL: u32 = 10_000;
/// What stands for all commands lost.
const LOSS_SCALE: u32 = 65_536;
/// What the throttle's counter grows by with each unreliable packet.
const THROTTLE_STEP: u32 = 7;
/// Bytes of an acknowledgement and of a ping.
const ACKNOWLEDGE_LEN: usize = 8;
const PING_LEN: usize = 4;

impl<S: Storage, C: Compression> Host<S, C> {
    /// The next datagram; `check_timeouts` as [`bowline_core::Machine::poll_transmit`] does, and
    /// `enet_host_flush` does not.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        check_timeouts: bool,
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.shared.clock.advance(now);
        if !self.shared.farewells.is_empty() {
            return self.say_farewell(buf);
        }
        if !self.shared.pass.is_begun {
            self.begin_pass(check_timeouts);
        }
        loop {
            let mut work = Work { parts: self.storage.parts(), shared: &mut self.shared };
            let Some(slot) = work.next_ready() else { return Ok(None) };
            let Some(peer) = work.parts.peer(slot) else { return Ok(None) };
            let needed = peer.mtu as usize + CHECKSUM_LEN;
            if buf.len() < needed {
                return Err(BufferTooShort { needed });
            }
            work.parts.sets.ready.remove(slot);
            work.shared.pass.at = slot + 1;
            if !work.parts.memory.has_reserve() {
                provide(&mut self.storage);
                work = Work { parts: self.storage.parts(), shared: &mut self.shared };
            }
            if let Some(filled) = work.visit(slot, buf, check_timeouts) {
                return Ok(Some(self.finish_datagram(&filled, buf)));
            }
        }
    }

    fn begin_pass(&mut self, check_timeouts: bool) {
        if check_timeouts {
            if self.shared.recalculate {
                let count = self.shared.connected as usize;
                crate::send::provide(&mut self.storage, count, count);
            }
            self.work().tick();
        }
        self.work().rouse();
        self.shared.pass.is_begun = true;
        self.shared.pass.at = 0;
    }

    fn say_farewell(&mut self, buf: &mut [u8]) -> Result<Option<Transmit>, BufferTooShort> {
        let needed = crate::farewell::FAREWELL_MAX;
        let Some(room) = buf.get_mut(..needed) else { return Err(BufferTooShort { needed }) };
        let parts = self.storage.parts();
        let Some(farewell) = self.shared.farewells.pop(parts.farewells) else { return Ok(None) };
        room.copy_from_slice(&farewell.bytes);
        Ok(Some(self.shared.sent(farewell.to, farewell.len.into())))
    }

    /// Puts header and checksum before the commands, and compresses these if that helps.
    fn finish_datagram(&mut self, filled: &Filled, buf: &mut [u8]) -> Transmit {
        let Filled { start, end, to, mut header, connect_id } = *filled;
        let checksum = self.shared.config.checksum;
        let commands = buf.get(start..end).unwrap_or_default();
        let compressed = self.compression.compress(commands);
        header.compressed = compressed.is_some();
        let mut head = [0; Header::MAX_LEN + CHECKSUM_LEN];
        let mut writer = Writer::new(&mut head);
        let _ = header.emit(&mut writer);
        if checksum.wire_len() > 0 {
            let sum = checksum.of(writer.written(), connect_id, commands);
            let _ = writer.bytes(&sum);
        }
        let head = writer.written();
        let len = match compressed {
            Some(bytes) => {
                let mut writer = Writer::new(buf);
                let _ = writer.bytes(head);
                let _ = writer.bytes(bytes);
                writer.len()
            }
            None => {
                // Without a sent time the header is shorter than the room that was left for it.
                move_down(buf, start, end, start.saturating_sub(head.len()));
                if let Some(room) = buf.get_mut(..head.len()) {
                    room.copy_from_slice(head);
                }
                head.len() + (end - start)
            }
        };
        self.shared.sent(to, len)
    }
}

/// Commands and blocks for a ping and the end of a connection.
const RESERVE: usize = 4;

impl Memory<'_> {
    fn has_reserve(&self) -> bool {
        self.commands.vacant() >= RESERVE && self.pool.has(RESERVE)
    }
}

/// Sees to it that there is memory for a ping and the end of a connection.
#[cold]
fn provide<S: Storage>(storage: &mut S) {
    while storage.parts().memory.commands.vacant() < RESERVE && storage.grow(Need::Command) {}
    while storage.parts().memory.pool.vacant() < RESERVE && storage.grow(Need::Block) {}
}

impl Shared {
    const fn sent(&mut self, to: bowline_core::Address, len: usize) -> Transmit {
        self.statistics.datagrams_sent += 1;
        self.statistics.bytes_sent += len as u64;
        Transmit { to, len, segment_len: None, ecn: None }
    }
}

/// A datagram whose commands are in the buffer.
#[derive(Clone, Copy)]
struct Filled {
    /// Where in the buffer the commands are.
    start: usize,
    end: usize,
    to: bowline_core::Address,
    header: Header,
    /// What the checksum begins with.
    connect_id: [u8; 4],
}

/// A datagram that is being filled.
struct Packing<'b> {
    writer: Writer<'b>,
    commands: usize,
    /// Some command asks for an acknowledgement.
    timed: bool,
    /// There was more than fits.
    again: bool,
    /// A reliable command went along, or would have but for the window.
    reliable: bool,
}

impl Packing<'_> {
    fn has_room(&mut self, len: usize) -> bool {
        let fits = self.commands < MAX_COMMANDS && self.writer.room() >= len;
        self.again |= !fits;
        fits
    }
}

/// What a peer has to send while a datagram is filled.
struct Left {
    /// The first that is left of reliable data.
    data: Link,
    /// All of it waits for acknowledgements.
    is_held_back: bool,
    /// The first that is left of all else.
    control: Link,
    /// What was sent for good, from the front of the latter list.
    sent: Run,
}

/// Neighbours of a list, in its order.
struct Run {
    first: Link,
    last: Link,
    count: u32,
}

impl Run {
    const EMPTY: Self = Self { first: Link::NONE, last: Link::NONE, count: 0 };

    /// Adds the next one.
    #[inline]
    const fn push(&mut self, link: Link) {
        if self.count == 0 {
            self.first = link;
        }
        self.last = link;
        self.count += 1;
    }
}

impl Work<'_> {
    /// Those whose time has come are looked at in this pass.
    fn rouse(&mut self) {
        while let Some((slot, at)) = self.parts.schedule.earliest() {
            if at > self.shared.clock.instant {
                break;
            }
            self.parts.schedule.set(slot, None);
            self.parts.sets.ready.insert(slot);
        }
    }

    /// The next peer of this pass, or of the next one for those that had more to send. None ends the passes.
    fn next_ready(&mut self) -> Option<usize> {
        let crate::storage::Sets { ready, again, .. } = &mut self.parts.sets;
        if let Some(slot) = ready.next(self.shared.pass.at) {
            return Some(slot);
        }
        let mut from = 0;
        while let Some(slot) = again.next(from) {
            again.remove(slot);
            ready.insert(slot);
            from = slot + 1;
        }
        // Who became ready behind the pass waits for the next one, which begins at once.
        self.shared.pass.at = 0;
        let next = if from > 0 { ready.next(0) } else { None };
        self.shared.pass.is_begun = next.is_some();
        next
    }

    /// Makes at most one datagram for a peer.
    fn visit(&mut self, slot: usize, buf: &mut [u8], check_timeouts: bool) -> Option<Filled> {
        let now = self.shared.clock.now;
        let checksum_len = self.shared.config.checksum.wire_len();
        let peer = self.parts.peers.get_mut(slot)?;
        if matches!(peer.state, State::Disconnected | State::Zombie) {
            return None;
        }
        let start = Header::MAX_LEN + checksum_len;
        let room = (peer.mtu as usize).saturating_sub(Header::MAX_LEN);
        let mut packing = Packing {
            writer: Writer::new(buf.get_mut(start..start + room)?),
            commands: 0,
            timed: false,
            again: false,
            reliable: false,
        };
        let memory = &mut self.parts.memory;
        let parts = peer.pack_acknowledgements(memory, &mut packing);
        if parts {
            let end = End::Peer(peer.event_data);
            self.finish(slot, end);
        } else {
            let is_due = !peer.sent.is_empty() && !now.is_before(peer.next_timeout);
            if check_timeouts && is_due && peer.check_timeouts(memory, self.shared) {
                self.lose(slot, End::TimedOut);
                return None;
            }
            self.pack(slot, &mut packing);
        }
        let (end, again) = (start + packing.writer.len(), packing.again);
        let is_empty = packing.commands == 0;
        let timed = packing.timed;
        if again {
            self.parts.sets.again.insert(slot);
        }
        let filled = self.parts.peers.get_mut(slot).filter(|_| !is_empty).map(|peer| {
            peer.average_loss(now);
            let is_known = peer.remote_id != NO_PEER;
            let sent_time = timed.then(|| now.stamp().wrapping_add(peer.stamp_offset));
            let header = Header {
                peer_id: peer.remote_id,
                session: if is_known { peer.outgoing_session & 3 } else { 0 },
                compressed: false,
                sent_time,
            };
            let connect_id = if is_known { peer.connect_id } else { [0; 4] };
            Filled { start, end, to: peer.address, header, connect_id }
        });
        self.depart(slot);
        self.time(slot);
        filled
    }

    /// Fills a datagram with what is queued, and a ping if nobody else asks for an answer.
    fn pack(&mut self, slot: usize, packing: &mut Packing<'_>) {
        let now = self.shared.clock.now;
        let Some(peer) = self.parts.peers.get_mut(slot) else { return };
        let memory = &mut self.parts.memory;
        let is_queued = !peer.data.is_empty() || !peer.control.is_empty();
        if is_queued {
            peer.pack(memory, self.shared, packing);
        }
        let is_quiet = !packing.reliable
            && peer.sent.is_empty()
            && now.distance(peer.last_receive) >= peer.ping_interval
            && packing.writer.room() >= PING_LEN;
        if is_quiet && peer.state == State::Connected {
            let _ = peer.queue_control(memory, self.shared, true, &Command::Ping);
            peer.pack(memory, self.shared, packing);
        }
    }

    /// One who wanted to leave later does so when everything is sent.
    fn depart(&mut self, slot: usize) {
        if let Some(peer) = self.parts.peers.get(slot)
            && peer.state == State::DisconnectLater
            && !peer.has_outgoing()
        {
            self.begin_disconnect(slot);
        }
    }

    /// Sets when this peer is to be looked at again if nothing happens.
    fn time(&mut self, slot: usize) {
        let Some(peer) = self.parts.peers.get(slot) else { return };
        let at = match peer.state {
            State::Disconnected | State::Zombie => None,
            _ if !peer.sent.is_empty() => Some(peer.next_timeout),
            State::Connected => Some(peer.last_receive + peer.ping_interval),
            _ => None,
        };
        match at {
            Some(at) => {
                let at = self.shared.clock.when(at);
                self.parts.schedule.set_earlier(slot, at);
            }
            None => self.parts.schedule.set(slot, None),
        }
    }
}

impl Acknowledgement {
    /// Packs them, as many as there is room for. Answers whether that was all.
    #[inline(always)]
    fn pack(&mut self, packing: &mut Packing<'_>) -> bool {
        while self.count > 0 {
            if !packing.has_room(ACKNOWLEDGE_LEN) {
                return false;
            }
            let head = CommandHead::plain(self.channel, self.sequence);
            let _ = packing.writer.bytes(&head.acknowledge_bytes(self.sent_time));
            packing.commands += 1;
            self.sequence = self.sequence.wrapping_add(1);
            self.count -= 1;
        }
        true
    }
}

impl Peer {
    /// Packs acknowledgements, oldest first. Answers whether one was for a DISCONNECT: then the peer is done.
    fn pack_acknowledgements(
        &mut self,
        memory: &mut Memory<'_>,
        packing: &mut Packing<'_>,
    ) -> bool {
        let mut parts = false;
        let List { first, last } = self.acknowledgements;
        let (mut at, mut packed, mut count) = (first, Link::NONE, 0);
        while let Some(link) = at.some() {
            let acknowledgement = &mut memory.acknowledgements[link];
            if !acknowledgement.pack(packing) {
                break;
            }
            parts |= acknowledgement.parts && self.state == State::AcknowledgingDisconnect;
            (packed, at, count) = (link, acknowledgement.next(), count + 1);
        }
        if packed.is_some() {
            let quota = &mut self.quotas.acknowledgements;
            memory.acknowledgements.give_run(quota, first, packed, count);
            self.acknowledgements = match at.some() {
                Some(first) => {
                    memory.acknowledgements[first].set_previous(Link::NONE);
                    List { first, last }
                }
                None => List::EMPTY,
            };
        }
        // Nothing else was packed before.
        self.unacknowledged = self.unacknowledged.saturating_sub(packing.commands as u32);
        parts
    }

    /// Moves commands that were not acknowledged in time back to those that wait. Answers whether the peer is lost.
    fn check_timeouts(&mut self, memory: &mut Memory<'_>, shared: &Shared) -> bool {
        let now = shared.clock.now;
        let Hardening { verify_attempts_max, .. } = shared.config.hardening;
        let is_old = shared.config.release == Release::V1_3_17;
        let (mut data, mut control) = (Link::NONE, Link::NONE);
        let mut stamp = if is_old { self.stamp_before(memory, shared) } else { 0 };
        let mut at = self.sent.first;
        while let Some(link) = at.some() {
            let queued = memory.commands[link];
            let next = queued.next();
            at = next;
            if now.distance(queued.sent) < queued.rto {
                continue;
            }
            if self.earliest_timeout == Time::ZERO || queued.sent.is_before(self.earliest_timeout) {
                self.earliest_timeout = queued.sent;
            }
            let waited = now.distance(self.earliest_timeout);
            let is_backed_off = match is_old {
                true => queued.rto >= queued.rto_limit,
                false => {
                    let doublings = u32::from(queued.attempts).saturating_sub(1);
                    1u32.checked_shl(doublings).unwrap_or(0) >= self.timeout.limit
                }
            };
            let is_tired = queued.kind == CommandKind::VerifyConnect
                && verify_attempts_max < u16::MAX
                && queued.attempts >= verify_attempts_max;
            if self.earliest_timeout != Time::ZERO
                && (waited >= self.timeout.maximum
                    || is_tired
                    || is_backed_off && waited >= self.timeout.minimum)
            {
                return true;
            }
            self.packets_lost = self.packets_lost.wrapping_add(1);
            let is_first = self.sent.first == link;
            self.sent.remove(&mut memory.commands, link);
            memory.commands[link].rto = queued.rto.saturating_mul(2);
            if is_old {
                memory.commands[link].stamp = stamp;
                stamp = stamp.wrapping_add(1);
            }
            let (list, after) = if queued.is_data() {
                self.in_transit = self.in_transit.saturating_sub(queued.payload.into());
                (&mut self.data, &mut data)
            } else {
                (&mut self.control, &mut control)
            };
            list.insert_after(&mut memory.commands, *after, link);
            *after = link;
            if is_first && let Some(first) = next.some() {
                let first = &memory.commands[first];
                self.next_timeout = first.sent + first.rto;
            }
        }
        false
    }

    /// Up to release 1.3.17 there was one list, to whose front commands went that were resent: the first of as many
    /// stamps before all others as there are commands to be resent.
    fn stamp_before(&self, memory: &Memory<'_>, shared: &Shared) -> u32 {
        let now = shared.clock.now;
        let stamp = |list: List| list.first.some().map(|first| memory.commands[first].stamp);
        let first = match (stamp(self.data), stamp(self.control)) {
            (Some(data), Some(control)) => {
                let is_data_first = Time::from_millis(data).is_before(Time::from_millis(control));
                if is_data_first { data } else { control }
            }
            (Some(first), None) | (None, Some(first)) => first,
            (None, None) => shared.last_stamp().wrapping_add(1),
        };
        let (mut count, mut at) = (0, self.sent.first);
        while let Some(link) = at.some() {
            let queued = &memory.commands[link];
            count += u32::from(now.distance(queued.sent) >= queued.rto);
            at = queued.next();
        }
        first.wrapping_sub(count)
    }

    /// Fills a datagram with commands that wait, in the order in which they were queued.
    fn pack(&mut self, memory: &mut Memory<'_>, shared: &mut Shared, packing: &mut Packing<'_>) {
        let mut left = Left {
            data: self.data.first,
            is_held_back: false,
            control: self.control.first,
            sent: Run::EMPTY,
        };
        while self.pack_next(&mut left, memory, shared, packing) {}
        self.give_sent(&mut left, memory);
        self.data.begin_at(&mut memory.commands, left.data);
        self.control.begin_at(&mut memory.commands, left.control);
    }

    /// Packs the next command, or drops it. Answers whether there may be another. The lists begin, until all is packed,
    /// where `left` says.
    #[inline]
    fn pack_next(
        &mut self,
        left: &mut Left,
        memory: &mut Memory<'_>,
        shared: &mut Shared,
        packing: &mut Packing<'_>,
    ) -> bool {
        let data = if left.is_held_back { Link::NONE } else { left.data };
        let link = match (left.control.some(), data.some()) {
            (None, None) => return false,
            (Some(control), None) => control,
            (None, Some(data)) => data,
            (Some(control), Some(data)) => {
                let (of_data, of_control) =
                    (memory.commands[data].stamp, memory.commands[control].stamp);
                let is_data_first =
                    Time::from_millis(of_data).is_before(Time::from_millis(of_control));
                if is_data_first { data } else { control }
            }
        };
        let is_data = link == data;
        let queued = &memory.commands[link];
        let (next, bytes, len) = (queued.next(), queued.bytes, usize::from(queued.len));
        let (acknowledge, payload) = (queued.acknowledge, queued.payload);
        if acknowledge {
            if is_data && self.is_held_back(memory, queued) {
                // What comes later in this list waits as well.
                left.is_held_back = true;
                return true;
            }
            packing.reliable = true;
        }
        if !packing.has_room(len) {
            return false;
        }
        if acknowledge {
            packing.timed = true;
            match is_data {
                true => left.data = next,
                false => {
                    self.give_sent(left, memory);
                    left.control = next;
                }
            }
            self.pack_reliable(memory, shared.clock.now, link, is_data);
            copy_out(&memory.pool, bytes, len, &mut packing.writer);
        } else if queued.begins_packet && self.is_throttled() {
            self.give_sent(left, memory);
            self.drop_packet(left, memory, shared.config.release);
            shared.freed = true;
            return true;
        } else {
            copy_out(&memory.pool, bytes, len, &mut packing.writer);
            left.control = next;
            self.queued = self.queued.saturating_sub(payload.into());
            memory.pool.give_chain(&mut self.quotas.blocks, bytes);
            left.sent.push(link);
        }
        packing.commands += 1;
        self.packets_sent = self.packets_sent.wrapping_add(1);
        true
    }

    /// Gives back the records of commands that were sent for good.
    #[inline]
    fn give_sent(&mut self, left: &mut Left, memory: &mut Memory<'_>) {
        let Run { first, last, count } = core::mem::replace(&mut left.sent, Run::EMPTY);
        if count > 0 {
            memory.commands.give_run(&mut self.quotas.commands, first, last, count);
        }
    }

    /// Whether a reliable command with data must wait for acknowledgements.
    #[inline]
    fn is_held_back(&self, memory: &Memory<'_>, queued: &Queued) -> bool {
        if queued.attempts == 0
            && Channel::begins_window(queued.sequence)
            && let Some(channel) = self.open(memory, queued.channel)
            && memory.channels[channel].is_window_shut(queued.sequence)
        {
            return true;
        }
        let window = self.throttle.saturating_mul(self.window) / crate::peer::THROTTLE_SCALE;
        self.in_transit + u32::from(queued.payload) > window.max(self.mtu)
    }

    /// Moves a command that is being sent to those in flight.
    #[inline(never)]
    fn pack_reliable(&mut self, memory: &mut Memory<'_>, now: Time, link: Link, is_data: bool) {
        let queued = &mut memory.commands[link];
        if queued.kind == CommandKind::VerifyConnect {
            let len = self.verify_times.len();
            let place = usize::from(queued.attempts).checked_rem(len).unwrap_or(0);
            if let Some(time) = self.verify_times.get_mut(place) {
                *time = now;
            }
        }
        let is_first = queued.attempts == 0;
        if is_first {
            queued.first_sent = now;
        }
        queued.attempts = queued.attempts.saturating_add(1);
        if queued.rto == 0 {
            queued.rto = self.rtt.saturating_add(self.variance.saturating_mul(4));
            queued.rto_limit = self.timeout.limit.saturating_mul(queued.rto);
        }
        queued.sent = now;
        if self.sent.is_empty() {
            self.next_timeout = now + queued.rto;
        }
        if !is_data {
            self.sent.push(&mut memory.commands, link);
            return;
        }
        self.in_transit = self.in_transit.saturating_add(queued.payload.into());
        let (channel, sequence) = (queued.channel, queued.sequence);
        self.sent.push(&mut memory.commands, link);
        if is_first && let Some(channel) = self.open(memory, channel) {
            memory.channels[channel].count_sent(sequence);
        }
    }

    /// Whether the throttle lets the next unreliable packet fall.
    const fn is_throttled(&mut self) -> bool {
        self.throttle_counter =
            (self.throttle_counter + THROTTLE_STEP) % crate::peer::THROTTLE_SCALE;
        self.throttle_counter > self.throttle
    }

    /// Drops the unreliable packet that waits first with those right behind it that bear the same numbers: its other
    /// fragments, but also unsequenced packets.
    ///
    /// Up to release 1.3.17 there was one list, in which reliable data may stand between.
    #[cold]
    fn drop_packet(&mut self, left: &mut Left, memory: &mut Memory<'_>, release: Release) {
        let first = memory.commands[left.control];
        while let Some(link) = left.control.some() {
            let queued = &memory.commands[link];
            if (queued.sequence, queued.unreliable) != (first.sequence, first.unreliable) {
                break;
            }
            if release == Release::V1_3_17
                && is_data_between(memory, left.data, first.stamp, queued.stamp)
            {
                break;
            }
            left.control = queued.next();
            self.give_command(memory, link);
        }
    }

    /// Takes the losses since last time into account.
    fn average_loss(&mut self, now: Time) {
        if self.loss_epoch == Time::ZERO {
            self.loss_epoch = now;
            return;
        }
        if now.distance(self.loss_epoch) < LOSS_INTERVAL {
            return;
        }
        let lost = self.packets_lost.wrapping_mul(LOSS_SCALE);
        if let Some(loss) = lost.checked_div(self.packets_sent) {
            let distance = loss.abs_diff(self.loss);
            self.loss_variance = self.loss_variance.wrapping_mul(3).wrapping_add(distance) / 4;
            self.loss = self.loss.wrapping_mul(7).wrapping_add(loss) / 8;
            self.loss_epoch = now;
            self.packets_sent = 0;
            self.packets_lost = 0;
        }
    }
}

/// Whether some of the reliable data that waits, from `data` on, was queued between two stamps.
fn is_data_between(memory: &Memory<'_>, data: Link, first: u32, last: u32) -> bool {
    let (first, last) = (Time::from_millis(first), Time::from_millis(last));
    let mut at = data;
    while let Some(link) = at.some() {
        let queued = &memory.commands[link];
        let stamp = Time::from_millis(queued.stamp);
        if !stamp.is_before(last) {
            return false;
        }
        if !stamp.is_before(first) {
            return true;
        }
        at = queued.next();
    }
    false
}

/// Moves the bytes from `start` to `end` down by `gap`, without the panics of `copy_within`.
fn move_down(buf: &mut [u8], start: usize, end: usize, gap: usize) {
    let mut part = [0; 64];
    let mut at = start;
    while gap > 0 && at < end {
        let len = (end - at).min(part.len());
        let (Some(part), Some(from)) = (part.get_mut(..len), buf.get(at..at + len)) else { return };
        part.copy_from_slice(from);
        let Some(to) = buf.get_mut(at.wrapping_sub(gap)..(at + len).wrapping_sub(gap)) else {
            return;
        };
        if to.len() == part.len() {
            to.copy_from_slice(part);
        }
        at += len;
    }
}

/// Appends the `len` bytes of a command, of which `first` is the first block.
#[inline]
fn copy_out(pool: &Pool<'_>, first: BlockId, len: usize, writer: &mut Writer<'_>) {
    // There is room: that was asked before.
    if let Some(bytes) = pool.bytes(first, 0).get(..len) {
        let _ = writer.bytes(bytes);
        return;
    }
    copy_out_long(pool, first, len, writer);
}

/// As [`copy_out`], of more than one block.
#[inline(never)]
fn copy_out_long(pool: &Pool<'_>, first: BlockId, len: usize, writer: &mut Writer<'_>) {
    for piece in pool.chunks(first, 0, len) {
        let _ = writer.bytes(piece);
    }
}
