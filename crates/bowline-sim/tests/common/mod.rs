//! Toy machines that drive the network in every way a protocol would.
#![allow(dead_code, unreachable_pub, reason = "shared by tests that each use some of it")]

use bowline_core::{
    Address, BufferTooShort, DropReason, Duration, Instant, Machine, Received, Transmit,
};
use bowline_sim::Rng;

/// Sends datagrams of random length to random peers at random times, alone and in trains, and
/// answers every third that it receives. Keeps what it received.
#[derive(Clone, Debug)]
pub struct Chatter {
    rng: Rng,
    peers: Vec<Address>,
    next: Instant,
    /// How many trains it still sends on its own account.
    pub left: u32,
    answers: Vec<Address>,
    /// The latest time it was told.
    pub now: Instant,
    /// When each datagram was handed in, from whom, and what.
    pub received: Vec<(Instant, Address, Vec<u8>)>,
}

impl Chatter {
    pub fn new(seed: u64, peers: Vec<Address>, left: u32) -> Self {
        Self {
            rng: Rng::new(seed),
            peers,
            next: Instant::ZERO,
            left,
            answers: Vec::new(),
            now: Instant::ZERO,
            received: Vec::new(),
        }
    }

    fn on_time(&mut self, now: Instant) {
        assert!(now >= self.now, "time goes backwards");
        self.now = now;
    }
}

impl Machine for Chatter {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.on_time(now);
        self.received.push((now, from.from, datagram.to_vec()));
        // A machine may change what it is given; the next user of the buffer must not see it.
        datagram.fill(0xee);
        if self.received.len().is_multiple_of(3) {
            self.answers.push(from.from);
        }
        if datagram.is_empty() { Err(DropReason::Truncated) } else { Ok(()) }
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.on_time(now);
        if let Some(to) = self.answers.pop() {
            let len = self.rng.below(40) as usize;
            self.rng.fill(&mut buf[..len]);
            return Ok(Some(Transmit { to, len, segment_len: None, ecn: None }));
        }
        if self.left == 0 || now < self.next {
            return Ok(None);
        }
        self.left -= 1;
        self.next = now + self.rng.duration(Duration::from_millis(30));
        let to = self.peers[self.rng.below(self.peers.len() as u64) as usize];
        let len = self.rng.below(3_000) as usize;
        self.rng.fill(&mut buf[..len]);
        let segment_len = core::num::NonZeroU16::new(self.rng.below(1_400) as u16);
        Ok(Some(Transmit { to, len, segment_len, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let answer = (!self.answers.is_empty()).then_some(Instant::ZERO);
        answer.or((self.left > 0).then_some(self.next))
    }
}

/// A machine that does whatever its functions say.
pub struct Puppet<T, P> {
    pub transmit: T,
    pub timeout: P,
}

impl<T, P> Machine for Puppet<T, P>
where
    T: FnMut(Instant, &mut [u8]) -> Result<Option<Transmit>, BufferTooShort>,
    P: FnMut() -> Option<Instant>,
{
    fn handle_datagram(
        &mut self,
        _now: Instant,
        _from: Received,
        _datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        (self.transmit)(now, buf)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        (self.timeout)()
    }
}

/// Sends back whatever it gets, at once.
#[derive(Default)]
pub struct Echo {
    waiting: Vec<(Address, Vec<u8>)>,
    pub count: u64,
}

impl Machine for Echo {
    fn handle_datagram(
        &mut self,
        _now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.count += 1;
        self.waiting.push((from.from, datagram.to_vec()));
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        _now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let Some((to, bytes)) = self.waiting.pop() else { return Ok(None) };
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(Some(Transmit { to, len: bytes.len(), segment_len: None, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

/// Microseconds after the start of a network's clock.
pub fn after(start: Instant, micros: u64) -> Instant {
    start + Duration::from_micros(micros)
}
