//! A conversation between two processes: what is typed on one side is printed on the other.

mod connect;
mod counters;
pub(crate) mod keyboard;
pub(crate) mod line;
mod options;
mod serve;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::sync::Arc;

use bowline::{Duration, Incoming, PeerId};

use crate::Failure;

pub(crate) use connect::connect;
pub(crate) use options::{ConnectOptions, ServeOptions};
pub(crate) use serve::serve;

/// How long what was typed may wait to be looked at.
pub(crate) const TYPED_WAIT: core::time::Duration = core::time::Duration::from_millis(20);
/// How long the others have to hear that this side closes.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(3);

/// The addresses that somebody may have meant.
pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, Failure> {
    let example = "give HOST:PORT, such as 127.0.0.1:7777 or [::1]:7777";
    let found = address.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => format!("{address:?} is no address: {example}"),
        _ => format!("{address:?} cannot be resolved ({error}); {example}"),
    })?;
    Ok(found.collect())
}

/// Raised when the user, or the system, asks this process to end; at the second time, it just does.
pub(crate) fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let raised = Arc::new(AtomicBool::new(false));
    let raise = Arc::clone(&raised);
    ctrlc::set_handler(move || {
        if raise.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(raised)
}

pub(crate) fn print_message(from: PeerId, incoming: &Incoming<'_>) -> io::Result<()> {
    let bytes = incoming.to_vec();
    let (channel, mode) = (incoming.channel().0, incoming.mode());
    let text = line::printable(&bytes);
    writeln!(io::stdout(), "{from}, channel {channel}, {mode}: {text}")
}

/// Prints something that nobody said.
pub(crate) fn print_note(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "* {text}")
}
