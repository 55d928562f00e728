//! A host on a real socket, as the scripted peer drives it, whoever wrote it.

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
        other => Err(format!("no library `{other}`")),
    }
}

#[cfg(not(c_enet))]
fn open_c(_: &Settings) -> Result<Box<dyn Live>, String> {
    Err(crate::NO_C_ENET.into())
}

#[cfg(c_enet)]
fn open_c(settings: &Settings) -> Result<Box<dyn Live>, String> {
    use crate::c_enet::Host;
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
    let host = Host::on_socket(&config, settings.port).map_err(|error| error.to_string())?;
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
