//! bowline's host, served in the order in which `enet_host_service` does things.
//!
//! The C library tells some events at the moment they happen, and then does nothing more in that call;
//! others wait in its dispatch queue, where peers stand in line. Our host has one queue of events, and
//! a slot whose end was told is free. So it is asked for events at those moments only when the library
//! would look at them too.

use std::collections::VecDeque;
use std::net::{SocketAddr, SocketAddrV4};

use bowline_core::{
    Address, ChannelId, DisconnectReason, Event as Told, Instant, Machine, Messages, PeerId,
    Received,
};
use bowline_crypto::SipHash;
use bowline_enet::{
    Checksum, Compression, Config, Flags, Hardening, Heap, Host, Limits, Release, Throttle, Timeout,
};
use bowline_wire::enet::CommandKind;

use crate::explain::command_kinds;
use crate::subject::{Datagram, Event, HostConfig, Op, PeerState, Subject};

/// How many datagrams the C library takes in at most before it sends again.
const RECEIVE_MAX: usize = 256;
const DISCONNECTED: u32 = 0;
const CONNECTING: u32 = 1;
const ACKNOWLEDGING_CONNECT: u32 = 2;
const CONNECTED: u32 = 5;
const DISCONNECT_LATER: u32 = 6;
const DISCONNECTING: u32 = 7;
const ZOMBIE: u32 = 9;

/// A host of ours, without guards and with the rules of an older release.
pub struct Ours<C> {
    // `Subject::peer_state` looks only; the host wants to be borrowed for everything.
    host: std::cell::RefCell<Host<Heap, C>>,
    config: HostConfig,
    /// The connections that the application knows of, by slot.
    ids: Vec<Option<PeerId>>,
    inbound: VecDeque<Datagram>,
    sent: Vec<Datagram>,
    /// What is told before anything else is done.
    at_once: VecDeque<Told>,
    /// What waits in line.
    dispatch: VecDeque<Told>,
}

impl<C: Compression> Ours<C> {
    /// A host with the rules of 1.3.17, which is what the installed C library mostly is.
    ///
    /// # Panics
    ///
    /// If there is nonsense in `config`.
    pub fn new(config: &HostConfig, compression: C) -> Self {
        let or = |value: usize, default: u32| if value == 0 { default } else { value as u32 };
        let settings = Config {
            channel_limit: match config.channel_limit {
                limit @ 1..=255 => limit as u8,
                _ => 255,
            },
            incoming_bandwidth: config.incoming_bandwidth,
            outgoing_bandwidth: config.outgoing_bandwidth,
            mtu: if config.mtu == 0 { 1400 } else { config.mtu as u16 },
            checksum: if config.checksum { Checksum::Crc32 } else { Checksum::None },
            packet_max: or(config.packet_max, 32 << 20),
            waiting_max: or(config.waiting_max, 32 << 20),
            send_max: u32::MAX,
            source_peers_max: or(config.duplicate_peers, u16::MAX.into()) as u16,
            release: Release::V1_3_17,
            hardening: Hardening::OFF,
            clock_offset: config.created,
            ..Config::DEFAULT
        };
        let peers = config.peers as u16;
        // The C library takes whatever memory there is.
        let limits = Limits {
            channels: 256 * u32::from(peers),
            commands: 1 << 22,
            bytes: 1 << 32,
            ..Limits::for_peers(peers)
        };
        let host = Host::compressed(settings, &SipHash, &[7; 32], Heap::new(limits), compression);
        Self {
            host: host.expect("a host can be made").into(),
            config: config.clone(),
            ids: vec![None; config.peers],
            inbound: VecDeque::new(),
            sent: Vec::new(),
            at_once: VecDeque::new(),
            dispatch: VecDeque::new(),
        }
    }

    fn instant(&self, now: u32) -> Instant {
        Instant::from_micros(u64::from(now.wrapping_sub(self.config.created)) * 1000)
    }

    fn state(&self, slot: usize) -> u32 {
        self.host.borrow_mut().slot_statistics(slot).map_or(0, |peer| peer.state as u32)
    }

    fn states(&self) -> Vec<u32> {
        (0..self.ids.len()).map(|slot| self.state(slot)).collect()
    }

    /// The connection in the slot; one that does not exist if the application knows of none.
    fn id(&self, slot: usize) -> PeerId {
        self.ids[slot].unwrap_or(PeerId::new(slot as u32, u32::MAX))
    }

    /// `enet_host_service` with a timeout of 0.
    fn service_once(&mut self, now: u32) -> Option<Event> {
        if let Some(event) = self.dispatched() {
            return Some(event);
        }
        if let Some(event) = self.transmitted(now) {
            return Some(event);
        }
        for _ in 0..RECEIVE_MAX {
            let Some((from, mut bytes)) = self.inbound.pop_front() else { break };
            if bytes.is_empty() {
                break;
            }
            let before = self.states();
            let kinds = match before.contains(&DISCONNECTING) {
                true => command_kinds(&bytes, &self.config),
                false => Vec::new(),
            };
            let from = Received::from(SocketAddr::from(from));
            let now = self.instant(now);
            // What is dropped the C library does not mention, either.
            let _ = self.host.get_mut().handle_datagram(now, from, &mut bytes);
            let happened = before.iter().zip(self.states()).any(|(before, after)| {
                (*before != CONNECTED && after == CONNECTED && *before != DISCONNECT_LATER)
                    // That their goodbye crossed ours waits in line; that they heard ours does not.
                    || (*before == DISCONNECTING
                        && matches!(after, ZOMBIE | DISCONNECTED)
                        && !kinds.contains(&CommandKind::Disconnect))
            });
            if let Some(event) = self.told_at_once(happened) {
                return Some(event);
            }
        }
        self.transmitted(now).or_else(|| self.dispatched())
    }

    /// Sends what there is to send; what a timeout has to say about it.
    fn transmitted(&mut self, now: u32) -> Option<Event> {
        let before = self.states();
        self.send(now, true);
        let happened = before.iter().zip(self.states()).any(|(before, after)| {
            matches!(*before, CONNECTING | CONNECTED | DISCONNECT_LATER | DISCONNECTING)
                && matches!(after, ZOMBIE | DISCONNECTED)
        });
        self.told_at_once(happened)
    }

    fn send(&mut self, now: u32, with_timers: bool) {
        let now = self.instant(now);
        let mut room = [0; 5000];
        let host = self.host.get_mut();
        loop {
            let sent = match with_timers {
                true => host.poll_transmit(now, &mut room),
                false => host.poll_flush(now, &mut room),
            };
            let Some(transmit) = sent.expect("there is room for any datagram") else { return };
            let Some(SocketAddr::V4(to)) = transmit.to.socket_addr() else { continue };
            self.sent.push((to, room[..transmit.len].to_vec()));
        }
    }

    fn told_at_once(&mut self, happened: bool) -> Option<Event> {
        if happened {
            self.sort_events();
        }
        let told = self.at_once.pop_front()?;
        Some(self.event(told))
    }

    /// The next of what waits in line.
    fn dispatched(&mut self) -> Option<Event> {
        self.sort_events();
        if let Some(told) = self.at_once.pop_front() {
            return Some(self.event(told));
        }
        loop {
            match self.dispatch.pop_front()? {
                Told::Readable(id) => {
                    let Some(packet) = self.host.get_mut().receive_packet(id) else { continue };
                    let event = Event::Receive {
                        peer: id.slot(),
                        channel: packet.channel.0,
                        flags: packet.flags.bits(),
                        bytes: packet.chunks.flatten().copied().collect(),
                    };
                    self.sort_events();
                    return Some(event);
                }
                told => return Some(self.event(told)),
            }
        }
    }

    /// Takes all events from the host. One that can be read is told of again and again.
    fn sort_events(&mut self) {
        let mut seen = Vec::new();
        while let Some(told) = self.host.get_mut().poll_event() {
            match told {
                Told::Readable(_) if seen.contains(&told) => return,
                Told::Readable(_) => {
                    seen.push(told);
                    if !self.dispatch.contains(&told) {
                        self.dispatch.push_back(told);
                    }
                }
                Told::Connected(id) => {
                    self.ids[id.slot()] = Some(id);
                    self.at_once.push_back(told);
                }
                Told::Disconnected(
                    id,
                    DisconnectReason::ClosedByPeer(_) | DisconnectReason::PeerMisbehaved,
                ) => {
                    self.dispatch.retain(|it| *it != Told::Readable(id));
                    self.dispatch.push_back(told);
                }
                Told::Disconnected(id, _) => {
                    self.dispatch.retain(|it| *it != Told::Readable(id));
                    self.at_once.push_back(told);
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, told: Told) -> Event {
        match told {
            Told::Connected(id) => {
                let data = self.host.get_mut().connect_data(id).unwrap_or(0);
                Event::Connect { peer: id.slot(), data }
            }
            Told::Disconnected(id, reason) => {
                if self.ids[id.slot()] == Some(id) {
                    self.ids[id.slot()] = None;
                }
                let data = match reason {
                    DisconnectReason::ClosedByPeer(data) => data.0,
                    _ => 0,
                };
                Event::Disconnect { peer: id.slot(), data }
            }
            other => unreachable!("{other:?} is not told"),
        }
    }
}

impl<C: Compression> Subject for Ours<C> {
    fn apply(&mut self, now: u32, op: &Op) -> i32 {
        let at = self.instant(now);
        let (peer, slot) = match op {
            Op::Send { peer, .. }
            | Op::Disconnect { peer, .. }
            | Op::DisconnectNow { peer, .. }
            | Op::DisconnectLater { peer, .. }
            | Op::Reset { peer }
            | Op::Ping { peer }
            | Op::PingInterval { peer, .. }
            | Op::Timeout { peer, .. }
            | Op::ThrottleConfigure { peer, .. } => (self.id(*peer), *peer),
            _ => (PeerId::new(0, u32::MAX), 0),
        };
        let state = self.state(slot);
        let host = self.host.get_mut();
        // What we refuse with a typed error the C library ignores in silence, but for sending.
        match op {
            Op::Connect { to, channels, data, connect_id } => {
                let to = Address::from(SocketAddr::from(*to));
                let channels = (*channels).clamp(1, 255) as u8;
                let Ok(id) = host.connect_as(at, to, channels, *data, *connect_id) else {
                    return -1;
                };
                self.ids[id.slot()] = Some(id);
                return id.slot() as i32;
            }
            Op::Send { channel, flags, bytes, .. } => {
                let flags = Flags::from_bits(*flags);
                let sent = host.send_packet(at, peer, ChannelId(*channel), flags, &[bytes]);
                return if sent.is_ok() { 0 } else { -1 };
            }
            Op::Broadcast { channel, flags, bytes } => {
                host.broadcast(at, ChannelId(*channel), Flags::from_bits(*flags), &[bytes]);
            }
            Op::Disconnect { data, .. } => {
                let _ = host.disconnect(at, peer, *data);
                if matches!(state, CONNECTING | ACKNOWLEDGING_CONNECT) {
                    self.forget(slot);
                    self.send(now, false);
                }
            }
            Op::DisconnectNow { data, .. } => {
                let _ = host.disconnect_now(at, peer, *data);
                self.forget(slot);
                if !matches!(state, DISCONNECTED | DISCONNECTING | ZOMBIE) {
                    self.send(now, false);
                }
            }
            Op::DisconnectLater { data, .. } => {
                let _ = host.disconnect_later(at, peer, *data);
                if matches!(state, CONNECTING | ACKNOWLEDGING_CONNECT) {
                    self.forget(slot);
                    self.send(now, false);
                }
            }
            Op::Reset { .. } => {
                let _ = host.reset(at, peer);
                self.forget(slot);
            }
            Op::Ping { .. } => drop(host.ping(at, peer)),
            Op::PingInterval { interval, .. } => drop(host.set_ping_interval(peer, *interval)),
            Op::Timeout { values: [limit, minimum, maximum], .. } => {
                let [limit, minimum, maximum] = [*limit, *minimum, *maximum];
                let _ = host.set_timeout(peer, Timeout { limit, minimum, maximum });
            }
            Op::ThrottleConfigure { values: [interval, acceleration, deceleration], .. } => {
                let [interval, acceleration, deceleration] =
                    [*interval, *acceleration, *deceleration];
                let throttle = Throttle { interval, acceleration, deceleration };
                let _ = host.configure_throttle(at, peer, throttle);
            }
            Op::BandwidthLimit { incoming, outgoing } => host.set_bandwidth(*incoming, *outgoing),
            Op::ChannelLimit { channels } => {
                host.set_channel_limit(if *channels > 255 { 0 } else { *channels as u8 });
            }
            Op::Flush => self.send(now, false),
        }
        0
    }

    fn push_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        self.inbound.push_back((from, datagram.to_vec()));
    }

    fn service(&mut self, now: u32) -> Vec<Event> {
        std::iter::from_fn(|| self.service_once(now)).collect()
    }

    fn take_sent(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.sent)
    }

    fn peer_state(&self, peer: usize) -> PeerState {
        let Some(found) = self.host.borrow_mut().slot_statistics(peer) else {
            return PeerState::default();
        };
        PeerState {
            state: found.state as u32,
            rtt: found.rtt,
            variance: found.rtt_variance,
            throttle: found.throttle,
            throttle_limit: found.throttle_limit,
            in_transit: found.in_transit,
            waiting: found.waiting,
            window: found.window,
            mtu: found.mtu,
            next_timeout: found.next_timeout,
            loss: found.loss,
        }
    }
}

impl<C> Ours<C> {
    /// The application has let go of what was in the slot; nothing will be told of it.
    fn forget(&mut self, slot: usize) {
        self.ids[slot] = None;
        let is_of_slot = |told: &Told| match told {
            Told::Readable(id) | Told::Connected(id) | Told::Disconnected(id, _) => {
                id.slot() == slot
            }
            _ => false,
        };
        self.dispatch.retain(|told| !is_of_slot(told));
        self.at_once.retain(|told| !is_of_slot(told));
    }
}
