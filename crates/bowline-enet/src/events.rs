//! What the application is told, and the packets that it reads.

use bowline_core::{
    BufferTooShort, CancelError, ChannelId, CloseReason, DisconnectReason, DropReason, Event,
    Incoming, IncomingChunks, Instant, Link, Machine, Messages, Outgoing, PeerId, Received,
    SendError, Tag, Transmit,
};

use crate::compression::Compression;
use crate::flags::Flags;
use crate::host::{Host, Shared};
use crate::peer::{End, News, Peer, State};
use crate::storage::{Memory, Parts, Storage};

/// A received packet, with ENet's flags.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The channel it came on.
    pub channel: ChannelId,
    /// How it was sent: a long one may have been sent in another way than its sender asked for.
    pub flags: Flags,
    /// Its bytes, readable in pieces without copying.
    pub chunks: IncomingChunks<'a>,
}

impl<S: Storage, C: Compression> Host<S, C> {
    /// The next packet of a peer, over all channels, in the order in which they became readable: what
    /// [`Messages::recv`] does, with ENet's flags.
    ///
    /// Its memory is given back with the next call for the same peer, so call until `None`.
    pub fn receive_packet(&mut self, from: PeerId) -> Option<Packet<'_>> {
        let slot = from.slot();
        let Parts { peers, memory, .. } = self.storage.parts();
        let Memory { mut arrivals, mut pool, .. } = memory;
        let peer = peers.get_mut(slot).filter(|peer| peer.is(from))?;
        if peer.reading.is_some() {
            peer.finish_reading(&mut arrivals, &mut pool);
            self.shared.freed = true;
        }
        if peer.state != State::Connected {
            return None;
        }
        let link = peer.delivered.pop(&mut arrivals)?;
        peer.reading = link;
        let arrival = &arrivals[link];
        peer.waiting = peer.waiting.saturating_sub(arrival.len);
        if !peer.delivered.is_empty() && !peer.news.is_queued {
            // Whoever reads one packet at a time is told of the next after all others had their turn.
            self.shared.push_news(peers, slot);
        }
        Some(Packet {
            channel: ChannelId(arrival.channel),
            flags: arrival.flags,
            chunks: pool.into_chunks(arrival.bytes(), 0, arrival.len as usize),
        })
    }

    /// [`Machine::poll_transmit`] without looking at timers, as `enet_host_flush` does: nothing is resent.
    ///
    /// # Errors
    ///
    /// As for [`Machine::poll_transmit`].
    pub fn poll_flush(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.transmit(now, buf, false)
    }
}

impl Shared {
    /// The next thing to tell of the first peer with news; with its slot, if it is told of for the last time.
    fn next_news(&mut self, peers: &mut [Peer]) -> Option<(Event, Option<usize>)> {
        loop {
            let link = self.news_first.some()?;
            let slot = link.index();
            let peer = peers.get_mut(slot)?;
            let id = PeerId::new(slot as u32, peer.generation);
            self.news_first = peer.next_news;
            if peer.next_news.is_none() {
                self.news_last = Link::NONE;
            }
            peer.next_news = Link::NONE;
            peer.news.is_queued = false;
            let is_readable = !peer.delivered.is_empty();
            let event = if peer.news.connected {
                peer.news.connected = false;
                if peer.news.writable || is_readable || peer.state == State::Zombie {
                    self.push_news(peers, slot);
                }
                Event::Connected(id)
            } else if peer.state == State::Zombie {
                self.recalculate |= matches!(peer.end, End::Peer(_) | End::Misbehaved);
                let was_asked = peer.remote_id == bowline_wire::enet::NO_PEER;
                let reason = reason_of(peer.end, peer.event_data, was_asked);
                return Some((Event::Disconnected(id, reason), Some(slot)));
            } else if peer.news.writable {
                peer.news = News { writable: false, ..peer.news };
                if is_readable {
                    self.push_news(peers, slot);
                }
                Event::Writable(id)
            } else if peer.state == State::Connected && is_readable {
                Event::Readable(id)
            } else {
                continue;
            };
            return Some((event, None));
        }
    }
}

const fn reason_of(end: End, own: u32, was_asked: bool) -> DisconnectReason {
    match end {
        End::Own => DisconnectReason::Closed(CloseReason(own)),
        End::Peer(data) => DisconnectReason::ClosedByPeer(CloseReason(data)),
        End::TimedOut if was_asked => DisconnectReason::ConnectTimedOut,
        End::TimedOut => DisconnectReason::TimedOut,
        End::Misbehaved => DisconnectReason::PeerMisbehaved,
    }
}

impl<S: Storage, C: Compression> Machine for Host<S, C> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.shared.clock.advance(now);
        self.shared.statistics.datagrams_received += 1;
        self.shared.statistics.bytes_received += datagram.len() as u64;
        let result = self.receive(&from, datagram);
        if let Err(reason) = result {
            self.shared.statistics.count_drop(reason);
        }
        result
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.transmit(now, buf, true)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let work = self.work();
        let is_busy = !work.shared.farewells.is_empty()
            || work.parts.sets.ready.next(0).is_some()
            || work.parts.sets.again.next(0).is_some();
        if is_busy {
            return Some(Instant::ZERO);
        }
        let timer = work.parts.schedule.earliest().map(|(_, at)| at);
        let tick = work.next_tick().map(|at| work.shared.clock.when(at));
        timer.into_iter().chain(tick).min()
    }
}

/// ENet has three of the modes; a message is a packet whose flags keep what its mode promises
/// ([`Flags::of_mode`]).
impl<S: Storage, C: Compression> Messages for Host<S, C> {
    /// ENet has no tags, deadlines and keys: [`SendError::Unsupported`].
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        let flags = Flags::of_mode(message.mode).filter(|_| message.is_plain());
        let flags = flags.ok_or(SendError::Unsupported)?;
        self.send_packet(now, to, message.channel, flags, message.pieces)
    }

    /// There are no tagged messages: [`CancelError::UnknownTag`], or [`CancelError::UnknownPeer`].
    fn cancel(&mut self, to: PeerId, _: Tag) -> Result<(), CancelError> {
        match self.storage.parts().find(to) {
            Some(_) => Err(CancelError::UnknownTag),
            None => Err(CancelError::UnknownPeer),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        if !self.storage.parts().sets.blocked.is_empty() {
            self.work().unblock();
        }
        let Parts { peers, .. } = self.storage.parts();
        let (event, gone) = self.shared.next_news(peers)?;
        if let Some(slot) = gone {
            self.work().reset(slot);
        }
        Some(event)
    }

    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        let packet = self.receive_packet(from)?;
        Some(Incoming::new(packet.channel, packet.flags.mode(), packet.chunks))
    }

    /// [`Host::disconnect`].
    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        let _ = self.disconnect(now, peer, reason.0);
    }
}
