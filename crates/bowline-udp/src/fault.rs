//! What an error of a UDP socket means.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// What a socket answers besides a datagram.
///
/// All but [`Self::Fatal`] are states of the network or of the system's memory: they pass, and
/// many of them anyone on the network can bring about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The socket's own buffer is full, or empty.
    WouldBlock,
    /// The system or the interface has no memory for it.
    NoBuffers,
    /// A route is missing, or somebody on the way said that the peer does not listen.
    Unreachable,
    /// Longer than the socket, the interface or the path takes, or than the receiver's buffer.
    TooLong,
    /// A firewall, or a broadcast address.
    NotPermitted,
    /// No datagram can be sent to such an address.
    Unsendable,
    /// A signal came.
    Interrupted,
    /// The socket is no socket, or no longer open: trying again is of no use.
    Fatal,
    /// Anything else.
    Other,
}

impl Fault {
    /// By kind where Rust has one, by number where it has not.
    ///
    /// A Windows socket reports an ICMP "port unreachable" as `ConnectionReset` and an expired
    /// time to live as `WSAENETRESET`, both on *receiving* and whatever was sent to whomever.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Self::WouldBlock,
            ErrorKind::Interrupted => Self::Interrupted,
            ErrorKind::OutOfMemory => Self::NoBuffers,
            ErrorKind::PermissionDenied => Self::NotPermitted,
            ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable => Self::Unsendable,
            ErrorKind::BrokenPipe => Self::Fatal,
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut => Self::Unreachable,
            _ => Errno::from_io_error(error).map_or(Self::Other, Self::of_errno),
        }
    }

    /// Whether it passes by waiting a moment.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::WouldBlock | Self::NoBuffers)
    }

    fn of_errno(errno: Errno) -> Self {
        match errno {
            Errno::MSGSIZE => Self::TooLong,
            Errno::NOBUFS => Self::NoBuffers,
            Errno::NETRESET | Errno::HOSTDOWN | Errno::NOPROTOOPT => Self::Unreachable,
            Errno::AFNOSUPPORT | Errno::DESTADDRREQ | Errno::ISCONN => Self::Unsendable,
            Errno::BADF | Errno::NOTSOCK | Errno::FAULT | Errno::SHUTDOWN => Self::Fatal,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> Fault {
        Fault::of(&io::Error::from(errno))
    }

    #[test]
    fn whatever_the_network_can_cause_is_not_fatal() {
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::NETDOWN,
            Errno::NETRESET,
            Errno::HOSTDOWN,
            Errno::NOPROTOOPT,
        ] {
            assert_eq!(of(errno), Fault::Unreachable, "{errno}");
        }
        assert_eq!(of(Errno::MSGSIZE), Fault::TooLong);
        assert_eq!(of(Errno::ACCESS), Fault::NotPermitted);
        assert_eq!(of(Errno::OPNOTSUPP), Fault::Other);
    }

    #[test]
    fn whatever_an_address_can_cause_is_not_fatal() {
        for errno in [Errno::INVAL, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::ISCONN] {
            assert_eq!(of(errno), Fault::Unsendable, "{errno}");
        }
    }

    #[test]
    fn full_buffers_and_signals_are_not_fatal() {
        assert_eq!(of(Errno::WOULDBLOCK), Fault::WouldBlock);
        assert_eq!(of(Errno::AGAIN), Fault::WouldBlock);
        assert_eq!(of(Errno::NOBUFS), Fault::NoBuffers);
        assert_eq!(of(Errno::INTR), Fault::Interrupted);
        #[cfg(unix)]
        assert_eq!(of(Errno::NOMEM), Fault::NoBuffers);
        #[cfg(unix)]
        assert_eq!(of(Errno::PERM), Fault::NotPermitted);
    }

    #[test]
    fn a_socket_that_is_none_is_fatal() {
        for errno in [Errno::BADF, Errno::NOTSOCK, Errno::FAULT] {
            assert_eq!(of(errno), Fault::Fatal, "{errno}");
        }
    }
}
