//! Beginning a connection, in both roles.

use bowline_core::{Address, DropReason, Instant, PeerId};
use bowline_wire::enet::{
    CHANNELS_MAX, Command, CommandKind, MTU_MAX, MTU_MIN, NO_PEER, NO_SESSION, Parameters,
    WINDOW_MAX, WINDOW_MIN, WINDOW_SCALE,
};

use crate::compression::Compression;
use crate::config::Release;
use crate::host::{Host, Work};
use crate::peer::{End, State};
use crate::receive::provide_peer;
use crate::sources::{connection_hash, source_hash};
use crate::storage::{Need, Storage};

/// Why no connection was begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConnectError {
    /// No free slot, or no memory.
    Full,
    /// No channel, or more than 255.
    Channels,
}

impl core::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "no free slot, or no memory",
            Self::Channels => "there must be 1 to 255 channels",
        })
    }
}

impl core::error::Error for ConnectError {}

/// The window that goes with a bandwidth, in bytes.
const fn window_of(bandwidth: u32) -> u32 {
    if bandwidth == 0 {
        return WINDOW_MAX;
    }
    within(bandwidth / WINDOW_SCALE * WINDOW_MIN, WINDOW_MIN, WINDOW_MAX)
}

/// The window between a sender and a receiver, of which each may have a limit.
pub(crate) const fn window_between(sender: u32, receiver: u32) -> u32 {
    let (low, high) = if sender < receiver { (sender, receiver) } else { (receiver, sender) };
    window_of(if low == 0 { high } else { low })
}

const fn within(value: u32, least: u32, most: u32) -> u32 {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}

/// The session after the one that was offered; never our own of before.
const fn next_session(offered: u8, own: u8) -> u8 {
    let base = if offered == NO_SESSION { own } else { offered };
    let next = base.wrapping_add(1) & 3;
    if next == own { (next + 1) & 3 } else { next }
}

impl<S: Storage, C: Compression> Host<S, C> {
    /// Asks the host at `to` for a connection of `channels` channels (`1..=255`), and gives it the number `data`.
    ///
    /// [`bowline_core::Event::Connected`] follows, or after 31.5 seconds without an answer
    /// [`bowline_core::Event::Disconnected`]: ENet has no word for no.
    ///
    /// # Errors
    ///
    /// When there is no room, or `channels` is out of range.
    pub fn connect(
        &mut self,
        now: Instant,
        to: Address,
        channels: u8,
        data: u32,
    ) -> Result<PeerId, ConnectError> {
        let random = self.shared.random.next().to_le_bytes();
        let connect_id = random.first_chunk().copied().unwrap_or([0; 4]);
        self.connect_as(now, to, channels, data, connect_id)
    }

    /// [`Self::connect`] with a connect id of the caller's, for tests that compare datagrams byte for byte. Who
    /// knows the connect id of a connection can forge its checksums.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn connect_as(
        &mut self,
        now: Instant,
        to: Address,
        channels: u8,
        data: u32,
        connect_id: [u8; 4],
    ) -> Result<PeerId, ConnectError> {
        self.shared.clock.advance(now);
        if channels == 0 {
            return Err(ConnectError::Channels);
        }
        provide_peer(&mut self.storage);
        while self.storage.parts().memory.commands.vacant() == 0 && self.storage.grow(Need::Command)
        {
        }
        while self.storage.parts().memory.pool.vacant() < 2 && self.storage.grow(Need::Block) {}
        self.work().connect(to, channels, data, connect_id).ok_or(ConnectError::Full)
    }
}

impl Work<'_> {
    fn connect(
        &mut self,
        to: Address,
        channels: u8,
        data: u32,
        connect_id: [u8; 4],
    ) -> Option<PeerId> {
        let slot = self.parts.free_slot()?;
        let id = self.take_slot(slot, to)?;
        let config = &self.shared.config;
        let (incoming_bandwidth, outgoing_bandwidth) =
            (config.incoming_bandwidth, config.outgoing_bandwidth);
        let peer = self.parts.peers.get_mut(slot)?;
        peer.channel_count = channels;
        peer.connect_id = connect_id;
        peer.connection_hash = connection_hash(&self.shared.random, &to, connect_id);
        peer.source_hash = source_hash(&self.shared.random, &to);
        peer.window = window_of(outgoing_bandwidth);
        let parameters = Parameters {
            outgoing_peer_id: slot as u16,
            incoming_session: peer.incoming_session,
            outgoing_session: peer.outgoing_session,
            mtu: peer.mtu,
            window_size: peer.window,
            channel_count: channels.into(),
            incoming_bandwidth,
            outgoing_bandwidth,
            throttle: peer.throttling,
            connect_id,
        };
        let connect = Command::Connect { parameters, data };
        if peer.queue_control(&mut self.parts.memory, self.shared, true, &connect).is_err() {
            self.reset(slot);
            return None;
        }
        self.set_state(slot, State::Connecting);
        self.parts.sets.ready.insert(slot);
        Some(id)
    }

    /// Somebody asks for a connection. Answers its slot.
    pub(crate) fn on_connect(
        &mut self,
        from: Address,
        asked: &Parameters,
        data: u32,
    ) -> Result<usize, DropReason> {
        if asked.channel_count == 0 || asked.channel_count > CHANNELS_MAX {
            return Err(DropReason::Malformed);
        }
        if asked.outgoing_peer_id >= NO_PEER {
            return Err(DropReason::Malformed);
        }
        let connection = connection_hash(&self.shared.random, &from, asked.connect_id);
        if self.parts.find_connection(connection, &from, asked.connect_id).is_some() {
            return Err(DropReason::Duplicate);
        }
        if self.shared.draining {
            return Err(DropReason::Draining);
        }
        let slot = self.parts.free_slot().ok_or(DropReason::Full)?;
        let source = source_hash(&self.shared.random, &from);
        let (count, half_open) = self.parts.source_counts(source, &from);
        let config = self.shared.config;
        if is_reached(count, config.source_peers_max) {
            return Err(DropReason::OverLimit);
        }
        if is_reached(half_open, config.hardening.half_open_max) || !self.spend_connect() {
            return Err(DropReason::RateLimited);
        }
        self.take_slot(slot, from).ok_or(DropReason::Full)?;
        let peer = self.parts.peers.get_mut(slot).ok_or(DropReason::Full)?;
        peer.connection_hash = connection;
        peer.source_hash = source;
        peer.connect_id = asked.connect_id;
        peer.channel_count = asked.channel_count.min(config.channel_limit.into()) as u8;
        peer.is_incoming = true;
        peer.remote_id = asked.outgoing_peer_id;
        peer.incoming_bandwidth = asked.incoming_bandwidth;
        peer.outgoing_bandwidth = asked.outgoing_bandwidth;
        peer.throttling = asked.throttle;
        peer.event_data = data;
        peer.outgoing_session = next_session(asked.incoming_session, peer.outgoing_session);
        peer.incoming_session = next_session(asked.outgoing_session, peer.incoming_session);
        let mtu = within(asked.mtu, MTU_MIN, MTU_MAX);
        peer.mtu = match config.release {
            Release::V1_3_17 => mtu,
            Release::V1_3_18 => mtu.min(config.mtu.into()),
        };
        peer.window = window_between(config.outgoing_bandwidth, asked.incoming_bandwidth);
        let granted = within(
            window_of(config.incoming_bandwidth).min(asked.window_size),
            WINDOW_MIN,
            WINDOW_MAX,
        );
        let parameters = Parameters {
            outgoing_peer_id: slot as u16,
            incoming_session: peer.outgoing_session,
            outgoing_session: peer.incoming_session,
            mtu: peer.mtu,
            window_size: granted,
            channel_count: peer.channel_count.into(),
            incoming_bandwidth: config.incoming_bandwidth,
            outgoing_bandwidth: config.outgoing_bandwidth,
            throttle: asked.throttle,
            connect_id: asked.connect_id,
        };
        let verify = Command::VerifyConnect { parameters };
        if peer.queue_control(&mut self.parts.memory, self.shared, true, &verify).is_err() {
            self.reset(slot);
            return Err(DropReason::Full);
        }
        self.set_state(slot, State::AcknowledgingConnect);
        self.parts.sets.ready.insert(slot);
        Ok(slot)
    }

    /// Counts a CONNECT against the rate.
    fn spend_connect(&mut self) -> bool {
        let Some(rate) = self.shared.config.hardening.connect_rate else { return true };
        let now = self.shared.clock.instant;
        let millis = now.saturating_since(self.shared.connects_at).as_millis();
        if millis > 0 {
            let more = millis.saturating_mul(rate.per_second.into());
            let left = u64::from(self.shared.connects_left).saturating_add(more);
            self.shared.connects_left = left.min(u64::from(rate.burst) * 1_000) as u32;
            self.shared.connects_at = now;
        }
        match self.shared.connects_left.checked_sub(1_000) {
            Some(left) => {
                self.shared.connects_left = left;
                true
            }
            None => false,
        }
    }

    /// The connection is granted.
    pub(crate) fn on_verify(
        &mut self,
        slot: usize,
        granted: &Parameters,
    ) -> Result<(), DropReason> {
        let Some(peer) = self.parts.peers.get_mut(slot) else { return Ok(()) };
        if peer.state != State::Connecting {
            return Ok(());
        }
        let is_an_answer = (1..=CHANNELS_MAX).contains(&granted.channel_count)
            && granted.throttle == peer.throttling
            && granted.connect_id == peer.connect_id;
        let is_sane = granted.outgoing_peer_id < NO_PEER;
        if !is_an_answer || !is_sane {
            self.finish(slot, End::Misbehaved);
            return Err(DropReason::Misbehaved);
        }
        peer.remove_sent(&mut self.parts.memory, CommandKind::Connect);
        peer.channel_count = granted.channel_count.min(peer.channel_count.into()) as u8;
        peer.remote_id = granted.outgoing_peer_id;
        peer.incoming_session = granted.incoming_session & 3;
        peer.outgoing_session = granted.outgoing_session & 3;
        peer.mtu = within(granted.mtu, MTU_MIN, MTU_MAX).min(peer.mtu);
        peer.window = within(granted.window_size, WINDOW_MIN, WINDOW_MAX).min(peer.window);
        peer.incoming_bandwidth = granted.incoming_bandwidth;
        peer.outgoing_bandwidth = granted.outgoing_bandwidth;
        peer.event_data = 0;
        self.shared.statistics.connections += 1;
        self.connected(slot);
        Ok(())
    }

    /// How fast the other side can receive and will send has changed.
    pub(crate) fn on_bandwidth_limit(
        &mut self,
        slot: usize,
        incoming: u32,
        outgoing: u32,
    ) -> Result<(), DropReason> {
        let own = self.shared.config.outgoing_bandwidth;
        let Some(peer) = self.parts.peers.get_mut(slot).filter(|peer| peer.is_live()) else {
            return Err(DropReason::Unexpected);
        };
        self.shared.limited = self.shared.limited + u32::from(incoming != 0)
            - u32::from(peer.incoming_bandwidth != 0);
        peer.incoming_bandwidth = incoming;
        peer.outgoing_bandwidth = outgoing;
        peer.window = window_between(own, incoming);
        self.parts.sets.ready.insert(slot);
        Ok(())
    }
}

/// Whether a limit, of which the highest value is none, is reached.
fn is_reached(count: u32, limit: u16) -> bool {
    limit < u16::MAX && count >= u32::from(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_go_round() {
        assert_eq!(next_session(NO_SESSION, NO_SESSION), 0);
        let (mut client, mut server) = (0, 0);
        for expected in [1, 2, 3, 0] {
            server = next_session(client, server);
            client = server;
            assert_eq!(server, expected);
        }
        assert_eq!(next_session(0, 1), 2, "never the one of before");
    }

    #[test]
    fn windows_follow_the_smaller_bandwidth() {
        assert_eq!(window_between(0, 0), WINDOW_MAX);
        assert_eq!(window_between(0, 131_072), 8_192);
        assert_eq!(window_between(131_072, 0), 8_192);
        assert_eq!(window_between(131_072, 1_000_000), 8_192);
        assert_eq!(window_between(1, 1_000_000), WINDOW_MIN);
        assert_eq!(window_between(u32::MAX, u32::MAX), WINDOW_MAX);
    }
}
