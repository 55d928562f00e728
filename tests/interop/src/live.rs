//! A host on a real socket, as the scripted peer drives it, whoever wrote it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bowline_core::{Address, ChannelId, DisconnectReason, Event as Told, Messages, PeerId};
use bowline_crypto::SipHash;
use bowline_enet::{Checksum, Config, Flags, Heap, Host, Limits, Throttle, Timeout};
use bowline_udp::Driver;

use crate::coder::Coder;
use crate::subject::{Event, Op};

/// A host with its own socket and clock.
pub trait Live {
    /// Does `op`; returns as [`crate::subject::Subject::apply`].
    fn apply(&mut self, op: &Op) -> i32;

    /// Sends, receives and fires timers, without waiting; what came of it.
    fn poll(&mut self) -> Vec<Event>;
}

/// What a host on a socket is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `c`, or `bowline`.
    pub library: String,
    /// Where it listens; 0 for any port.
    pub port: u16,
    /// Slots for peers.
    pub peers: usize,
    /// As Godot numbers them: 0 none, 1 range coder, 2 FastLZ, 3 zlib, 4 Zstandard.
    pub compression: u32,
    /// Whether every datagram carries a CRC-32.
    pub checksum: bool,
}

/// Opens a host.
///
/// # Errors
///
/// Why not, in words.
pub fn open(settings: &Settings) -> Result<Box<dyn Live>, String> {
    match settings.library.as_str() {
        "c" => open_c(settings),
        "bowline" => open_bowline(settings),
        other => Err(format!("no library `{other}`")),
    }
}

/// Ours with everything at its default, as an application would have it.
fn open_bowline(settings: &Settings) -> Result<Box<dyn Live>, String> {
    let compression = Coder::new(settings.compression).ok_or("no such compressor")?;
    let config = Config {
        checksum: if settings.checksum { Checksum::Crc32 } else { Checksum::None },
        ..Config::default()
    };
    let heap = Heap::new(Limits::for_peers(settings.peers as u16));
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    let host = Host::compressed(config, &SipHash, &seed, heap, compression);
    let host = host.map_err(|error| error.to_string())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
    let driver = Driver::bind(address).map_err(|error| error.to_string())?;
    Ok(Box::new(Bowline { host, driver, ids: vec![None; settings.peers] }))
}

struct Bowline {
    host: Host<Heap, Coder>,
    driver: Driver,
    ids: Vec<Option<PeerId>>,
}

impl Bowline {
    /// The connection in the slot; one that does not exist if there is none.
    fn id(&self, slot: usize) -> PeerId {
        self.ids[slot].unwrap_or(PeerId::new(slot as u32, u32::MAX))
    }

    fn drive(&mut self) {
        let driven = self.driver.drive(&mut self.host, Some(Duration::ZERO));
        driven.expect("the socket is a socket");
    }
}

impl Live for Bowline {
    fn apply(&mut self, op: &Op) -> i32 {
        let now = self.driver.now();
        let done = match op {
            Op::Connect { to, channels, data, .. } => {
                let (to, channels) = (Address::from(SocketAddr::from(*to)), *channels as u8);
                let connected = self.host.connect(now, to, channels, *data);
                connected.map(|id| self.ids[id.slot()] = Some(id)).is_ok()
            }
            Op::Send { peer, channel, flags, bytes } => {
                let (id, flags) = (self.id(*peer), Flags::from_bits(*flags));
                self.host.send_packet(now, id, ChannelId(*channel), flags, &[bytes]).is_ok()
            }
            Op::Disconnect { peer, data } => {
                self.host.disconnect(now, self.id(*peer), *data).is_ok()
            }
            Op::DisconnectNow { peer, data } => {
                self.host.disconnect_now(now, self.id(*peer), *data).is_ok()
            }
            Op::DisconnectLater { peer, data } => {
                self.host.disconnect_later(now, self.id(*peer), *data).is_ok()
            }
            Op::Timeout { peer, values: [limit, minimum, maximum] } => {
                let [limit, minimum, maximum] = [*limit, *minimum, *maximum];
                let timeout = Timeout { limit, minimum, maximum };
                self.host.set_timeout(self.id(*peer), timeout).is_ok()
            }
            Op::ThrottleConfigure { peer, values: [interval, acceleration, deceleration] } => {
                let [interval, acceleration, deceleration] =
                    [*interval, *acceleration, *deceleration];
                let throttle = Throttle { interval, acceleration, deceleration };
                self.host.configure_throttle(now, self.id(*peer), throttle).is_ok()
            }
            Op::Flush => {
                self.drive();
                true
            }
            _ => false,
        };
        if done { 0 } else { -1 }
    }

    fn poll(&mut self) -> Vec<Event> {
        self.drive();
        let mut events = Vec::new();
        while let Some(told) = self.host.poll_event() {
            match told {
                Told::Connected(id) => {
                    self.ids[id.slot()] = Some(id);
                    let data = self.host.connect_data(id).unwrap_or(0);
                    events.push(Event::Connect { peer: id.slot(), data });
                }
                Told::Disconnected(id, reason) => {
                    self.ids[id.slot()] = None;
                    let data = match reason {
                        DisconnectReason::ClosedByPeer(data) => data.0,
                        _ => 0,
                    };
                    events.push(Event::Disconnect { peer: id.slot(), data });
                }
                Told::Readable(id) => {
                    while let Some(packet) = self.host.receive_packet(id) {
                        events.push(Event::Receive {
                            peer: id.slot(),
                            channel: packet.channel.0,
                            flags: packet.flags.bits(),
                            bytes: packet.chunks.flatten().copied().collect(),
                        });
                    }
                }
                _ => {}
            }
        }
        events
    }
}

#[cfg(not(c_enet))]
fn open_c(_: &Settings) -> Result<Box<dyn Live>, String> {
    Err(crate::NO_C_ENET.into())
}

#[cfg(c_enet)]
fn open_c(settings: &Settings) -> Result<Box<dyn Live>, String> {
    use crate::c_enet;
    use crate::subject::HostConfig;

    if settings.compression > 1 {
        return Err("the C library has no compressor but the range coder".into());
    }
    let config = HostConfig {
        peers: settings.peers,
        range_coder: settings.compression == 1,
        checksum: settings.checksum,
        ..HostConfig::default()
    };
    let host =
        c_enet::Host::on_socket(&config, settings.port).map_err(|error| error.to_string())?;
    Ok(Box::new(host))
}

#[cfg(c_enet)]
impl Live for crate::c_enet::Host {
    fn apply(&mut self, op: &Op) -> i32 {
        crate::subject::Subject::apply(self, 0, op)
    }

    fn poll(&mut self) -> Vec<Event> {
        crate::subject::Subject::service(self, 0)
    }
}
