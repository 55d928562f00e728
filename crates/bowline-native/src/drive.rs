//! Driving an endpoint: datagrams in, datagrams out, and when to be called next.

use bowline_core::{
    Address, BufferTooShort, DropReason, Duration, Instant, Link, Machine, Received, Transmit,
};
use bowline_wire::native::{PacketHead, is_session};

use crate::endpoint::{Context, Endpoint, Freed};
use crate::receive::{Failed, Packet};
use crate::storage::{Need, Parts, Storage};

/// Records that are lent before a packet is made, so that making it need not stop for more.
const RECORDS_AHEAD: usize = 4;

/// How many timers act before something is sent, if there is anything to send.
const FIRED_MAX: usize = 32;

impl<S: Storage> Machine for Endpoint<S> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let now = self.enter(now);
        let outcome = match datagram.first() {
            None => Err(DropReason::Truncated),
            Some(&first) if is_session(first) => self.handle_packet(now, &from.from, datagram),
            Some(_) => self.handle_handshake(now, &from.from, datagram),
        };
        match outcome {
            Ok(()) => {
                self.statistics.datagrams_received += 1;
                self.statistics.bytes_received += datagram.len() as u64;
            }
            Err(reason) => {
                bowline_core::trace!("a datagram is dropped: {:?}", reason);
                self.statistics.count_drop(reason);
            }
        }
        outcome
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let now = self.enter(now);
        loop {
            let due = self.storage.parts().schedule.earliest().is_some_and(|(_, at)| at <= now);
            if due {
                self.fire(now);
            }
            self.feed_starved(now);
            if !self.replies.is_empty()
                && let Some(transmit) = self.transmit_reply(now, buf)?
            {
                return Ok(Some(transmit));
            }
            while let Some(link) = self.lines.active.front() {
                if let Some(transmit) = self.transmit_session(now, link, buf)? {
                    return Ok(Some(transmit));
                }
            }
            if !due {
                return Ok(None);
            }
        }
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        // Timers and sending bring events too, after the application has asked for them.
        self.unblock();
        let now = self.context.now;
        let mut parts = self.storage.parts();
        let at_once = self.lines.any_wants_transmit(&mut parts, &self.context, now)
            || self.lines.blocked.is_asking()
            || self.lines.starved.is_asking();
        let news = core::mem::take(&mut self.lines.news);
        self.told = if at_once || news || !self.replies.is_empty() {
            Some(now)
        } else {
            parts.schedule.earliest().map(|(_, at)| at)
        };
        self.told
    }
}

impl<S: Storage> Endpoint<S> {
    fn handle_packet(
        &mut self,
        now: Instant,
        from: &Address,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let id_len = if self.context.config.connection_ids { 4 } else { 0 };
        let (head, rest) =
            PacketHead::parse(datagram, id_len).map_err(bowline_wire::Malformed::drop_reason)?;
        let packet = Packet { head, rest, datagram };
        loop {
            let mut parts = self.storage.parts();
            let link = self.context.find_session(&parts, from, &head).ok_or(DropReason::Stray)?;
            let peer = &mut parts.peers[link];
            if peer.address != *from {
                return Err(DropReason::WrongAddress);
            }
            let outcome = match peer.handle(&mut parts.memory, &self.context, now, &packet) {
                Ok(()) => Ok(()),
                Err(Failed::Drop(reason)) => Err(reason),
                Err(Failed::Short(need)) => {
                    if self.storage.grow(need) {
                        continue;
                    }
                    parts = self.storage.parts();
                    Err(DropReason::Full)
                }
                Err(Failed::Misbehaved) => {
                    // Without integrity, an accident on the link could be the culprit.
                    peer.misbehaved |= peer.integrity != crate::config::Integrity::None;
                    Err(DropReason::Misbehaved)
                }
            };
            if outcome.is_err() {
                let dropped = &mut parts.peers[link].statistics.datagrams_dropped;
                *dropped = dropped.wrapping_add(1);
            }
            self.freed = Freed::ALL;
            self.lines.settle(&mut parts, &self.context, now, link);
            return outcome;
        }
    }

    /// Has the first session in line write its next datagram, and sets its timer when it has no more.
    fn transmit_session(
        &mut self,
        now: Instant,
        link: Link,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let mut parts = self.storage.parts();
        if parts.memory.records.vacant() < RECORDS_AHEAD {
            self.storage.grow(Need::Record);
            parts = self.storage.parts();
        }
        let peer = &mut parts.peers[link];
        // Its timer is set when it has nothing more to send, so this may be the first chance to look. What
        // has no time to live at all may still go now.
        if peer.expire_at < now {
            peer.expire(&mut parts.memory, now.saturating_before(Duration::from_micros(1)));
            self.freed = Freed::ALL;
        }
        let wanted = peer.wants_transmit(now);
        let sent = if wanted {
            peer.poll_transmit(&mut parts.memory, &mut self.context, now, buf)?
        } else {
            None
        };
        let to = peer.address;
        if let Some(len) = sent {
            peer.statistics.datagrams_sent = peer.statistics.datagrams_sent.wrapping_add(1);
            peer.statistics.bytes_sent += len as u64;
            self.statistics.datagrams_sent += 1;
            self.statistics.bytes_sent += len as u64;
            self.freed = Freed::ALL;
        }
        let stuck = wanted && sent.is_none();
        if self.lines.pass(&mut parts, &self.context, now, link, stuck) {
            self.retire(link);
        }
        Ok(sent.map(|len| Transmit { to, len, segment_len: None, ecn: None }))
    }

    /// Lets some expired timers act: when ten thousand expire at once, what they have to send does not
    /// wait for the last of them.
    #[inline(never)]
    fn fire(&mut self, now: Instant) {
        let mut parts = self.storage.parts();
        for _ in 0..FIRED_MAX {
            let due = parts.schedule.earliest().filter(|(_, at)| *at <= now);
            let Some((slot, _)) = due else { return };
            let link = Link::new(slot as u32);
            parts.schedule.set(slot, None);
            parts.peers[link].on_timeout(&mut parts.memory, &self.context, now);
            self.lines.settle(&mut parts, &self.context, now, link);
            self.freed = Freed::ALL;
        }
    }
}

impl Context {
    /// The session that a packet is for.
    fn find_session(&self, parts: &Parts<'_>, from: &Address, head: &PacketHead) -> Option<Link> {
        if !self.config.connection_ids {
            return self.hash.find(parts.index, &parts.peers, from);
        }
        let link = Link::new(head.connection_id & ((1 << self.slot_bits) - 1));
        let peer = parts.peers.get(link)?;
        (peer.own_id == head.connection_id && peer.is_listed).then_some(link)
    }
}
