//! A link in memory: what is put on it in one tick is taken off in the next.

use bowline_core::{Address, Instant, Machine, Received};

/// Bytes of IP and UDP header that each datagram has on a real network.
const IP_UDP_LEN: usize = 28;

/// One direction of a link. Both ends call each other by the same address.
#[derive(Debug)]
pub struct Link {
    bytes: Vec<u8>,
    used: usize,
    datagrams: Vec<(Address, usize)>,
    carried: Carried,
}

/// What went over one direction of a link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, with 28 bytes of IP and UDP header each.
    pub bytes: u64,
    /// Datagrams that whoever they were brought to did not want.
    pub refused: u64,
}

impl Carried {
    /// What came on top of `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            datagrams: self.datagrams - before.datagrams,
            bytes: self.bytes - before.bytes,
            refused: self.refused - before.refused,
        }
    }
}

impl Link {
    /// A link that holds `len` bytes at a time.
    pub fn new(len: usize) -> Self {
        Self {
            bytes: vec![0; len],
            used: 0,
            datagrams: Vec::with_capacity(len / 64),
            carried: Carried::default(),
        }
    }

    /// Takes all that `machine` wants to send.
    #[inline]
    pub fn take_from(&mut self, now: Instant, machine: &mut impl Machine) {
        loop {
            let space = self.bytes.get_mut(self.used..).unwrap_or_default();
            let transmit = machine.poll_transmit(now, space).expect("the link has room");
            let Some(transmit) = transmit else { return };
            self.carry(transmit.to, transmit.len);
        }
    }

    /// Hands all that it carries to `machine`.
    #[inline]
    pub fn bring_to(&mut self, now: Instant, machine: &mut impl Machine) {
        let mut rest = self.bytes.as_mut_slice();
        for (from, len) in self.datagrams.drain(..) {
            let (datagram, more) = rest.split_at_mut(len);
            let taken = machine.handle_datagram(now, from.into(), datagram);
            self.carried.refused += u64::from(taken.is_err());
            rest = more;
        }
        self.used = 0;
    }

    /// What it ever carried.
    pub fn carried(&self) -> Carried {
        self.carried
    }

    /// Where the next datagram goes.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// Takes the first `len` bytes of its [`Link::space`] as a datagram.
    #[inline]
    pub fn carry(&mut self, to: Address, len: usize) {
        self.used += len;
        self.datagrams.push((to, len));
        self.carried.datagrams += 1;
        self.carried.bytes += (len + IP_UDP_LEN) as u64;
    }

    /// Hands all that it carries to `take`.
    #[inline]
    pub fn drain(&mut self, mut take: impl FnMut(Received, &[u8])) {
        let mut rest = self.bytes.as_slice();
        for (from, len) in self.datagrams.drain(..) {
            let (datagram, more) = rest.split_at(len);
            take(from.into(), datagram);
            rest = more;
        }
        self.used = 0;
    }
}
