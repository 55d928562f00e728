//! The loop between a socket and a machine.

use core::time::Duration;
use std::io;
use std::net::ToSocketAddrs;

use bowline_core::{Instant, Machine};

use crate::{Arrival, Clock, Sent, SocketStats, UdpSocket};

/// Drives one machine over one socket, on the thread that calls it.
///
/// A call of [`Self::drive`] is one turn of the loop. It sends what the application queued since
/// the last one, sleeps until something happens, takes in what arrived, and sends what that (or
/// the time) made due. In between, the application has the machine to itself.
///
/// Allocates 64 KiB once, for the datagram in hand.
#[derive(Debug)]
pub struct Driver {
    socket: UdpSocket,
    clock: Clock,
    buf: Box<[u8]>,
    /// A turn's bound was met, and the machine may have more to send.
    backlog: bool,
    /// Nothing is sent before, since a buffer was full.
    blocked_until: Instant,
}

/// What one turn did, in datagrams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Handed to the machine.
    pub received: usize,
    /// Of those, how many the machine found fault with.
    pub dropped: usize,
    /// Taken by the system.
    pub sent: usize,
    /// Written by the machine, but not taken by the system.
    pub lost: usize,
    /// Whether the turn met a bound, so that the next one will not sleep. An application that
    /// drives once a frame wants to drive again now, within reason.
    pub more: bool,
}

impl Driver {
    /// Datagrams received in one turn at the most, and sent before or after its sleep (a train
    /// that begins below the bound is sent whole). So a flood from outside cannot keep the machine
    /// from sending, nor a bulk transfer the application from its turn.
    pub const BATCH_MAX: usize = 256;

    /// Binds a socket by [`UdpSocket::bind`] and starts a clock.
    ///
    /// # Errors
    ///
    /// Those of [`UdpSocket::bind`].
    pub fn bind(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        UdpSocket::bind(addresses).map(Self::new)
    }

    /// Drives over `socket`, with a clock that starts now.
    pub fn new(socket: UdpSocket) -> Self {
        Self::with_clock(socket, Clock::new())
    }

    /// Drives over `socket` by the time of `clock`, for a machine that has seen it before.
    pub fn with_clock(socket: UdpSocket, clock: Clock) -> Self {
        Self {
            socket,
            clock,
            buf: vec![0; BUF_LEN].into_boxed_slice(),
            backlog: false,
            blocked_until: Instant::ZERO,
        }
    }

    /// The socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The clock that the machine is driven by; stamp everything else it is told by this one too.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The time now by that clock.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What became of the socket's datagrams so far.
    pub fn stats(&self) -> SocketStats {
        self.socket.stats()
    }

    /// One turn: send, sleep, receive, send.
    ///
    /// Sleeps until a datagram arrives, the machine's next deadline or `max_wait`, whichever is
    /// first, and not at all while there is more to send or `max_wait` is zero.
    ///
    /// With `None` and no deadline only a datagram (or a signal) ends the sleep. Such a turn does
    /// not sleep when anything was due before, because that may have left the application an
    /// event to read: the end of a session, or room for messages again. With a wait of its own
    /// the application reads such an event that much later, but may queue something before every
    /// turn and still sleep.
    ///
    /// # Errors
    ///
    /// When the socket is of no more use, or when the machine asks for a buffer longer than any
    /// UDP datagram ([`io::ErrorKind::InvalidInput`]).
    pub fn drive(
        &mut self,
        machine: &mut dyn Machine,
        max_wait: Option<Duration>,
    ) -> io::Result<Progress> {
        let mut progress = Progress::default();
        let due = self.due(machine);
        self.transmit(machine, &mut progress)?;
        let was_due = due.is_some_and(|due| due <= self.clock.now());
        let max_wait = max_wait.or_else(|| was_due.then_some(Duration::ZERO));
        self.wait(machine, max_wait)?;
        let flooded = self.receive(machine, &mut progress)?;
        self.transmit(machine, &mut progress)?;
        progress.more = flooded || self.backlog;
        Ok(progress)
    }

    fn transmit(&mut self, machine: &mut dyn Machine, progress: &mut Progress) -> io::Result<()> {
        let mut count = 0;
        while count < Self::BATCH_MAX {
            self.backlog = false;
            let now = self.clock.now();
            if now < self.blocked_until {
                return Ok(());
            }
            let transmit = machine
                .poll_transmit(now, &mut self.buf)
                .map_err(|short| io::Error::new(io::ErrorKind::InvalidInput, short))?;
            let Some(transmit) = transmit else { return Ok(()) };
            let sent = self.socket.send(&transmit, &self.buf)?;
            self.on_sent(now, sent, progress);
            count += sent.sent + sent.lost;
        }
        self.backlog = true;
        Ok(())
    }

    fn on_sent(&mut self, now: Instant, sent: Sent, progress: &mut Progress) {
        progress.sent += sent.sent;
        progress.lost += sent.lost;
        if sent.full {
            self.blocked_until = now + PAUSE.into();
        }
    }

    fn wait(&self, machine: &mut dyn Machine, max_wait: Option<Duration>) -> io::Result<()> {
        let until_due = self.due(machine).map(|due| {
            let until_due = due.saturating_since(self.clock.now());
            Duration::from(until_due)
        });
        let timeout = match (until_due, max_wait) {
            (Some(until_due), Some(max_wait)) => Some(until_due.min(max_wait)),
            (one, other) => one.or(other),
        };
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        self.socket.wait(timeout)
    }

    /// When there is something to send at the latest.
    fn due(&self, machine: &mut dyn Machine) -> Option<Instant> {
        let due = if self.backlog { Some(Instant::ZERO) } else { machine.poll_timeout() };
        due.map(|due| due.max(self.blocked_until))
    }

    /// Answers whether the bound was met.
    fn receive(&mut self, machine: &mut dyn Machine, progress: &mut Progress) -> io::Result<bool> {
        for _ in 0..Self::BATCH_MAX {
            match self.socket.recv(&mut self.buf)? {
                Arrival::Datagram(from, datagram) => {
                    progress.received += 1;
                    let handled = machine.handle_datagram(self.clock.now(), from, datagram);
                    progress.dropped += usize::from(handled.is_err());
                }
                Arrival::Fault => {}
                Arrival::Nothing => return Ok(false),
            }
        }
        if progress.received == 0 {
            // An error that does not go away, on a socket that says it has something: not to be
            // waited for, and not to be asked about at full speed either.
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }
}

/// One byte more than the longest UDP datagram, so that none can fill it.
const BUF_LEN: usize = 1 << 16;

/// How long a full buffer is given to drain: short against a round trip, and 125 kB at 1 Gbit/s.
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use bowline_core::{Address, BufferTooShort, DropReason, Received, Transmit};

    use super::*;

    /// Always has something to send.
    struct Talker(Address);

    impl Machine for Talker {
        fn handle_datagram(
            &mut self,
            _: Instant,
            _: Received,
            _: &mut [u8],
        ) -> Result<(), DropReason> {
            Ok(())
        }

        fn poll_transmit(
            &mut self,
            _: Instant,
            _: &mut [u8],
        ) -> Result<Option<Transmit>, BufferTooShort> {
            Ok(Some(Transmit { to: self.0, len: 1, segment_len: None, ecn: None }))
        }

        fn poll_timeout(&mut self) -> Option<Instant> {
            Some(Instant::ZERO)
        }
    }

    #[test]
    fn only_a_full_buffer_makes_a_pause() {
        let mut driver = Driver::bind("127.0.0.1:0").unwrap();
        let mut progress = Progress::default();
        let now = Instant::from_micros(10);
        driver.on_sent(now, Sent { sent: 2, lost: 1, full: false }, &mut progress);
        assert_eq!(driver.blocked_until, Instant::ZERO);
        driver.on_sent(now, Sent { sent: 0, lost: 3, full: true }, &mut progress);
        assert_eq!(driver.blocked_until, Instant::from_micros(1_010));
        assert_eq!((progress.sent, progress.lost), (2, 4));
    }

    #[test]
    fn a_full_buffer_is_given_time_and_nothing_is_lost_to_it_meanwhile() {
        let mut driver = Driver::bind("127.0.0.1:0").unwrap();
        let mut talker = Talker(driver.socket().local_addr().unwrap().into());
        let start = driver.now();
        let until = start + bowline_core::Duration::from_millis(50);
        driver.blocked_until = until;
        let idle = driver.drive(&mut talker, Some(Duration::from_millis(5))).unwrap();
        assert_eq!(idle, Progress::default());
        assert!(driver.now() - start >= bowline_core::Duration::from_millis(5), "it has slept");
        let progress = driver.drive(&mut talker, None).unwrap();
        assert!(driver.now() >= until);
        assert!(progress.sent > 0);
    }
}
