//! Ending a connection, in all of ENet's ways.

use bowline_core::{Instant, PeerId};
use bowline_wire::Writer;
use bowline_wire::enet::{CONNECTION_CHANNEL, Command, CommandHead, Header, NO_PEER};

use crate::compression::Compression;
use crate::farewell::{FAREWELL_MAX, Farewell};
use crate::host::{Host, UnknownPeer, Work};
use crate::peer::{End, State};
use crate::storage::Storage;

impl<S: Storage, C: Compression> Host<S, C> {
    /// Tells the peer `data` and ends the connection once it has acknowledged that, or after a time; then
    /// [`bowline_core::Event::Disconnected`] is told. Everything queued is dropped, sent or not, read or not.
    ///
    /// A connection that has not begun ends at once, and nothing is told. One that is ending already stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId, data: u32) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        self.disconnect_slot(slot, data);
        Ok(())
    }

    /// [`Self::disconnect`] once everything queued has been sent and, if it is reliable, acknowledged. Nothing more can
    /// be sent, and what arrives is dropped, also what has arrived and was not read.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn disconnect_later(
        &mut self,
        now: Instant,
        peer: PeerId,
        data: u32,
    ) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        let mut work = self.work();
        match work.parts.peer(slot) {
            Some(peer) if peer.is_live() && peer.has_outgoing() => {
                peer.event_data = data;
                work.set_state(slot, State::DisconnectLater);
            }
            _ => self.disconnect_slot(slot, data),
        }
        Ok(())
    }

    /// Tells the peer `data`, once, and forgets the connection at once: nothing is told here. If that one datagram is
    /// lost the peer will find out by itself.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn disconnect_now(
        &mut self,
        now: Instant,
        peer: PeerId,
        data: u32,
    ) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        let state = self.work().parts.peer(slot).map(|peer| peer.state);
        if !matches!(state, None | Some(State::Zombie | State::Disconnecting)) {
            self.bid_farewell(slot, data);
        }
        self.work().reset(slot);
        Ok(())
    }

    /// Forgets the connection at once: nothing is sent, nothing told. The peer will find out by itself.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn reset(&mut self, now: Instant, peer: PeerId) -> Result<(), UnknownPeer> {
        let slot = self.at(now, peer)?;
        self.work().reset(slot);
        Ok(())
    }

    /// Time passes, and the slot of a connection is looked up.
    pub(crate) fn at(&mut self, now: Instant, peer: PeerId) -> Result<usize, UnknownPeer> {
        self.shared.clock.advance(now);
        self.storage.parts().find(peer).ok_or(UnknownPeer)
    }

    fn disconnect_slot(&mut self, slot: usize, data: u32) {
        let mut work = self.work();
        let Some(peer) = work.parts.peer(slot) else { return };
        match peer.state {
            State::Disconnected
            | State::Disconnecting
            | State::AcknowledgingDisconnect
            | State::Zombie => {}
            State::Connected | State::DisconnectLater => {
                peer.event_data = data;
                work.begin_disconnect(slot);
            }
            State::Connecting | State::AcknowledgingConnect => {
                self.bid_farewell(slot, data);
                self.work().reset(slot);
            }
        }
    }

    /// Queues the last datagram of a peer that is about to be forgotten.
    fn bid_farewell(&mut self, slot: usize, data: u32) {
        let Some(peer) = self.storage.parts().peers.get(slot).cloned() else { return };
        let sequence = peer.outgoing_sequence.wrapping_add(1);
        let mut commands = [0; 8];
        let mut writer = Writer::new(&mut commands);
        let head = CommandHead::unsequenced(CONNECTION_CHANNEL, sequence);
        let _ = Command::Disconnect { data }.emit(head, &mut writer);
        let session = if peer.remote_id == NO_PEER { 0 } else { peer.outgoing_session };
        let compressed = self.compression.compress(&commands);
        let header = Header {
            peer_id: peer.remote_id,
            session,
            compressed: compressed.is_some(),
            sent_time: None,
        };
        let mut farewell = Farewell { to: peer.address, bytes: [0; FAREWELL_MAX], len: 0 };
        let mut writer = Writer::new(&mut farewell.bytes);
        let _ = header.emit(&mut writer);
        if self.shared.config.checksum.wire_len() > 0 {
            let connect_id = if peer.remote_id == NO_PEER { [0; 4] } else { peer.connect_id };
            let sum = self.shared.config.checksum.of(writer.written(), connect_id, &commands);
            let _ = writer.bytes(&sum);
        }
        let _ = writer.bytes(compressed.unwrap_or(&commands));
        farewell.len = writer.len() as u8;
        self.shared.farewells.push(self.storage.parts().farewells, farewell);
    }
}

impl Work<'_> {
    /// Drops everything queued, and tells the peer the number that was left for it.
    pub(crate) fn begin_disconnect(&mut self, slot: usize) {
        self.clear(slot);
        let Some(peer) = self.parts.peers.get_mut(slot) else { return };
        let disconnect = Command::Disconnect { data: peer.event_data };
        let queued = peer.queue_control(&mut self.parts.memory, self.shared, true, &disconnect);
        self.set_state(slot, State::Disconnecting);
        self.parts.sets.ready.insert(slot);
        if queued.is_err() {
            // Not even memory for that: the peer will find out by itself.
            self.finish(slot, End::Own);
        }
    }

    /// The peer ends the connection.
    pub(crate) fn on_disconnect(&mut self, slot: usize, acknowledge: bool, data: u32) {
        let Some(peer) = self.parts.peers.get_mut(slot) else { return };
        let state = peer.state;
        if matches!(state, State::Disconnected | State::Zombie | State::AcknowledgingDisconnect) {
            return;
        }
        self.clear(slot);
        match state {
            State::AcknowledgingConnect => return self.reset(slot),
            State::Connected | State::DisconnectLater if acknowledge => {
                self.set_state(slot, State::AcknowledgingDisconnect);
            }
            _ => self.finish(slot, End::Peer(data)),
        }
        if let Some(peer) = self.parts.peer(slot) {
            peer.end = End::Peer(data);
            peer.event_data = data;
        }
    }

    /// What was to be acknowledged bore no time, so it is not. If it was a DISCONNECT, nothing would ever end the
    /// wait for its acknowledgement to be sent: it is over at once.
    pub(crate) fn part_without_time(&mut self, slot: usize) {
        let Some(peer) = self.parts.peers.get(slot) else { return };
        let is_stuck =
            peer.state == State::AcknowledgingDisconnect && peer.acknowledgements.is_empty();
        if is_stuck && self.shared.config.hardening.check_times {
            let end = End::Peer(peer.event_data);
            self.finish(slot, end);
        }
    }

    /// A connection has timed out, or the peer has acknowledged that it is over.
    pub(crate) fn lose(&mut self, slot: usize, end: End) {
        let Some(peer) = self.parts.peers.get(slot) else { return };
        match peer.state {
            State::Disconnected | State::AcknowledgingConnect => self.reset(slot),
            state => {
                self.shared.recalculate |= state != State::Connecting;
                self.finish(slot, end);
            }
        }
    }

    /// It is over; the application is to be told, and then the slot is free.
    pub(crate) fn finish(&mut self, slot: usize, end: End) {
        self.clear(slot);
        self.set_state(slot, State::Zombie);
        if let Some(peer) = self.parts.peer(slot) {
            peer.end = end;
        }
        self.parts.schedule.set(slot, None);
        self.shared.push_news(self.parts.peers, slot);
    }
}
