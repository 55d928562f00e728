//! A UDP socket that shrugs off what networks do.

use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;
use std::io;
use std::net::ToSocketAddrs;

use bowline_core::{Received, Transmit};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::address::{Family, canonical, takes_v4};
use crate::fault::Fault;
use crate::stats::SocketStats;

/// A [`std::net::UdpSocket`] that never blocks, counts what goes wrong, and knows one address per
/// peer.
///
/// Full buffers, ICMP errors, datagrams that are too long and addresses that nothing can be sent
/// to are numbers in [`Self::stats`]; the datagram concerned counts as lost. An
/// [`io::Error`] means that the socket itself is of no more use.
#[derive(Debug)]
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    family: Family,
    stats: SocketStats,
}

/// What came of [`UdpSocket::send`], in datagrams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "a full socket wants a pause"]
pub struct Sent {
    /// How many the system took.
    pub sent: usize,
    /// How many are lost already.
    pub lost: usize,
    /// Whether some are lost because a buffer was full, so that a pause would help the next ones.
    pub full: bool,
}

/// What [`UdpSocket::recv`] found.
#[derive(Debug, Eq, PartialEq)]
pub enum Arrival<'b> {
    /// A datagram, perhaps of no bytes.
    Datagram(Received, &'b mut [u8]),
    /// Something that was counted and is no datagram; there may be more behind it.
    Fault,
    /// Nothing is waiting.
    Nothing,
}

impl UdpSocket {
    /// Binds to the first of `addresses` that can be bound; port 0 takes any free one.
    ///
    /// `[::]` takes IPv4 as well wherever the system can do that. On a machine without IPv6 it
    /// cannot be bound, so a program for anywhere names `0.0.0.0` behind it.
    ///
    /// # Errors
    ///
    /// The last address's, or that there was none.
    pub fn bind(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        let mut error = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for address in addresses.to_socket_addrs()? {
            match bind_one(address) {
                Ok(socket) => return Self::from_std(socket),
                Err(reason) => error = reason,
            }
        }
        Err(error)
    }

    /// Takes over a socket made elsewhere, for options that are not here. It is set not to block,
    /// as are all copies of it, and should not be connected: many systems refuse to name the
    /// peer of a connected socket again with each datagram, which is then unsendable.
    ///
    /// # Errors
    ///
    /// When it is no open and bound UDP socket.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let only_v6 = local.is_ipv6() && SockRef::from(&socket).only_v6()?;
        let family = Family::of(local, only_v6);
        Ok(Self { socket, family, stats: SocketStats::default() })
    }

    /// The address it is bound to, in [`canonical`] form.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr().map(canonical)
    }

    /// Another handle of the same socket, with counters of its own that start at zero.
    ///
    /// # Errors
    ///
    /// The system's: too many handles.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, family: self.family, stats: SocketStats::default() })
    }

    /// What became of its datagrams so far.
    pub fn stats(&self) -> SocketStats {
        self.stats
    }

    /// Sends the datagram at the start of `buf`, or the train of them, that `transmit` describes.
    ///
    /// Never blocks. When a buffer is full, the rest of a train is lost as well. `transmit.ecn` is
    /// not set on the datagrams yet.
    ///
    /// # Errors
    ///
    /// Only when the socket is of no more use.
    pub fn send(&mut self, transmit: &Transmit, buf: &[u8]) -> io::Result<Sent> {
        debug_assert!(transmit.len <= buf.len(), "a transmit must lie within its buffer");
        let bytes = buf.get(..transmit.len).unwrap_or(buf);
        let to = self.family.destination(&transmit.to);
        let stats = &mut self.stats;
        send_train(segments(bytes, transmit.segment_len), stats, |segment| match to {
            Some(to) => self.socket.send_to(segment, to),
            None => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    /// Takes the next waiting datagram, if there is one. Never blocks.
    ///
    /// `buf` must be longer than any datagram that is to be received: one that fills it may have
    /// been cut by the system, so it is counted and dropped. 65,536 bytes are always enough.
    /// [`Received::ecn`] is always `None` yet.
    ///
    /// # Errors
    ///
    /// Only when the socket is of no more use.
    pub fn recv<'b>(&mut self, buf: &'b mut [u8]) -> io::Result<Arrival<'b>> {
        match self.socket.recv_from(buf) {
            Ok((len, from)) => Ok(self.on_datagram(buf, len, from)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Arrival::Nothing),
            Err(error) => self.stats.on_error(error).map(|_| Arrival::Fault),
        }
    }

    fn on_datagram<'b>(&mut self, buf: &'b mut [u8], len: usize, from: SocketAddr) -> Arrival<'b> {
        if len >= buf.len() {
            self.stats.truncated += 1;
            return Arrival::Fault;
        }
        self.stats.on_received(len);
        let from = Received { from: canonical(from).into(), ecn: None };
        Arrival::Datagram(from, &mut buf[..len])
    }

    /// Waits until a datagram arrives, `timeout` has passed, or a signal comes; for any time with
    /// `None`.
    ///
    /// Not shorter than `timeout`, but longer by what the system's timer and scheduler take: a
    /// millisecond where it knows nothing finer (macOS, Windows).
    ///
    /// # Errors
    ///
    /// Only when the socket is of no more use.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| {
            let timeout = timeout.min(WAIT_MAX);
            Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ }
        });
        match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref())
        {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The socket itself, for its options and for an event loop that watches it.
impl AsRef<std::net::UdpSocket> for UdpSocket {
    fn as_ref(&self) -> &std::net::UdpSocket {
        &self.socket
    }
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if let SocketAddr::V6(v6) = address
        && takes_v4(*v6.ip())
    {
        // Linux and macOS do this unasked, Windows does not, and OpenBSD refuses. What became of
        // it is asked again in `from_std`.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The datagrams of a train; without a length, or without bytes, exactly one.
fn segments(bytes: &[u8], segment_len: Option<NonZeroU16>) -> impl Iterator<Item = &[u8]> {
    let segment_len = segment_len.map_or(bytes.len(), |len| len.get().into());
    let empty = bytes.is_empty().then_some(bytes);
    bytes.chunks(segment_len.max(1)).chain(empty)
}

/// Sends and counts each segment, until a buffer is full; counts the rest as lost to that.
fn send_train<'a>(
    segments: impl Iterator<Item = &'a [u8]>,
    stats: &mut SocketStats,
    mut send: impl FnMut(&'a [u8]) -> io::Result<usize>,
) -> io::Result<Sent> {
    let mut result = Sent::default();
    let mut full = None;
    for segment in segments {
        let fault = match full {
            Some(fault) => {
                stats.on_fault(fault);
                Some(fault)
            }
            None => send_one(segment, stats, &mut send)?,
        };
        match fault {
            None => result.sent += 1,
            Some(_) => result.lost += 1,
        }
        full = fault.filter(|fault| fault.is_full());
    }
    result.full = full.is_some();
    Ok(result)
}

/// Sends and counts one segment; answers why it is lost, if it is.
fn send_one<'a>(
    segment: &'a [u8],
    stats: &mut SocketStats,
    send: &mut impl FnMut(&'a [u8]) -> io::Result<usize>,
) -> io::Result<Option<Fault>> {
    loop {
        match send(segment) {
            Ok(len) => {
                stats.on_sent(len);
                return Ok(None);
            }
            Err(error) => match stats.on_error(error)? {
                Fault::Interrupted => {}
                fault => return Ok(Some(fault)),
            },
        }
    }
}

/// Within what every system's wait can express; whoever waits for longer wakes once in between.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends "abcdefg" as a train of two bytes each over a socket that gives `answers`.
    fn train(answers: &[Result<(), Errno>]) -> (io::Result<Sent>, SocketStats, Vec<&[u8]>) {
        let mut stats = SocketStats::default();
        let mut asked = Vec::new();
        let mut answers = answers.iter();
        let result = send_train(segments(b"abcdefg", NonZeroU16::new(2)), &mut stats, |segment| {
            asked.push(segment);
            answers.next().expect("asked too often").map(|()| segment.len()).map_err(Into::into)
        });
        (result, stats, asked)
    }

    #[test]
    fn a_full_buffer_takes_the_rest_of_the_train_with_it() {
        let (result, stats, asked) = train(&[Ok(()), Err(Errno::NOBUFS)]);
        assert_eq!(result.unwrap(), Sent { sent: 1, lost: 3, full: true });
        assert_eq!((stats.sent, stats.no_buffers), (1, 3));
        assert_eq!(asked, [b"ab", b"cd"]);
    }

    #[test]
    fn any_other_trouble_costs_one_datagram() {
        let (result, stats, asked) =
            train(&[Err(Errno::CONNREFUSED), Ok(()), Err(Errno::MSGSIZE), Ok(())]);
        assert_eq!(result.unwrap(), Sent { sent: 2, lost: 2, full: false });
        assert_eq!((stats.unreachable, stats.too_long), (1, 1));
        assert_eq!((stats.sent, stats.sent_bytes), (2, 3));
        assert_eq!(asked.len(), 4);
    }

    #[test]
    fn an_interrupted_send_is_repeated() {
        let (result, stats, asked) = train(&[Err(Errno::INTR), Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(result.unwrap(), Sent { sent: 4, lost: 0, full: false });
        assert_eq!((stats.sent, stats.interrupted), (4, 1));
        assert_eq!(asked[0], asked[1]);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_that_is_none_is_an_error_and_not_a_state() {
        let none = || {
            let file = std::fs::File::open("/dev/null").unwrap();
            std::net::UdpSocket::from(std::os::fd::OwnedFd::from(file))
        };
        assert!(UdpSocket::from_std(none()).is_err());

        let stats = SocketStats::default();
        let mut socket = UdpSocket { socket: none(), family: Family::V4, stats };
        let to = SocketAddr::from(([127, 0, 0, 1], 7777)).into();
        let transmit = Transmit { to, len: 1, segment_len: None, ecn: None };
        assert!(socket.send(&transmit, b"x").is_err());
        assert!(socket.recv(&mut [0; 8]).is_err());
        assert_eq!(socket.stats(), SocketStats::default());
    }
}
