//! What became of the datagrams of one socket.

use std::io;

use crate::fault::Fault;

/// Counters of one socket.
///
/// Every datagram that [`crate::UdpSocket::send`] was given adds one to [`Self::sent`] or to one of the
/// reasons below it. A datagram counted as sent was taken by the system, which is all that is
/// known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams that the system took.
    pub sent: u64,
    /// Their payload, in bytes.
    pub sent_bytes: u64,
    /// Datagrams received whole.
    pub received: u64,
    /// Their payload, in bytes.
    pub received_bytes: u64,
    /// Not sent: the socket's send buffer was full.
    pub would_block: u64,
    /// Not sent or not received: the system or the interface had no memory.
    pub no_buffers: u64,
    /// No route, or an ICMP error for something sent earlier, reported by a send or a receive.
    pub unreachable: u64,
    /// Not sent: longer than the socket, the interface or the path takes.
    pub too_long: u64,
    /// Not sent: forbidden by a firewall, or to a broadcast address.
    pub not_permitted: u64,
    /// Not sent: the address is raw, of another family than the socket, or no destination at all
    /// (port 0, no interface for a link-local one).
    pub unsendable: u64,
    /// Received, but longer than the buffer, and dropped.
    pub truncated: u64,
    /// Calls that a signal interrupted; they were repeated.
    pub interrupted: u64,
    /// Any other error that did not stop the socket.
    pub other: u64,
}

impl SocketStats {
    pub(crate) fn on_sent(&mut self, len: usize) {
        self.sent += 1;
        self.sent_bytes += len as u64;
    }

    pub(crate) fn on_received(&mut self, len: usize) {
        self.received += 1;
        self.received_bytes += len as u64;
    }

    /// Counts an error, or gives it back if it is fatal.
    pub(crate) fn on_error(&mut self, error: io::Error) -> io::Result<Fault> {
        match Fault::of(&error) {
            Fault::Fatal => Err(error),
            fault => {
                self.on_fault(fault);
                Ok(fault)
            }
        }
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        let count = match fault {
            Fault::WouldBlock => &mut self.would_block,
            Fault::NoBuffers => &mut self.no_buffers,
            Fault::Unreachable => &mut self.unreachable,
            Fault::TooLong => &mut self.too_long,
            Fault::NotPermitted => &mut self.not_permitted,
            Fault::Unsendable => &mut self.unsendable,
            Fault::Interrupted => &mut self.interrupted,
            Fault::Fatal | Fault::Other => &mut self.other,
        };
        *count += 1;
    }
}
