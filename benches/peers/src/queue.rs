//! A link for libraries that take datagrams from a socket one by one.

use bowline_benches::link::Carried;

/// Bytes of IP and UDP header that each datagram has on a real network.
const IP_UDP_LEN: usize = 28;

/// Datagrams under way in one direction. Both ends call each other by the same address.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    used: usize,
    taken: usize,
    datagrams: Vec<(u32, usize)>,
    taken_datagrams: usize,
}

impl Queue {
    /// A queue with room for `len` bytes before it grows.
    pub fn new(len: usize) -> Self {
        let datagrams = Vec::with_capacity(len / 64);
        Self { bytes: Vec::with_capacity(len), datagrams, ..Self::default() }
    }

    /// A piece of the datagram that [`Queue::end`] ends.
    #[inline]
    pub fn put(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// What was put since the last one is a datagram; answers its length.
    #[inline]
    pub fn end(&mut self, address: u32) -> usize {
        let len = self.bytes.len() - self.used;
        self.used = self.bytes.len();
        self.datagrams.push((address, len));
        len
    }

    /// Whether all of it was taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken_datagrams == self.datagrams.len()
    }

    /// The next datagram and whom it is from.
    #[inline]
    pub fn take(&mut self) -> Option<(u32, &[u8])> {
        let Some(&(address, len)) = self.datagrams.get(self.taken_datagrams) else {
            self.bytes.clear();
            self.datagrams.clear();
            (self.used, self.taken, self.taken_datagrams) = (0, 0, 0);
            return None;
        };
        let datagram = &self.bytes[self.taken..self.taken + len];
        self.taken += len;
        self.taken_datagrams += 1;
        Some((address, datagram))
    }
}

/// What a host sees instead of a network and a clock.
#[derive(Debug, Default)]
pub struct World {
    /// The time, in milliseconds.
    pub now: u32,
    /// What has come.
    pub inbound: Queue,
    outbound: Queue,
    sent: Carried,
}

impl World {
    /// A world at one second past the beginning of time, with room for `len` bytes each way.
    pub fn new(len: usize) -> Self {
        let (inbound, outbound) = (Queue::new(len), Queue::new(len));
        Self { now: 1_000, inbound, outbound, sent: Carried::default() }
    }

    /// A piece of the datagram that [`World::send_off`] sends.
    #[inline]
    pub fn put(&mut self, piece: &[u8]) {
        self.outbound.put(piece);
    }

    /// Sends what was put since the last one; answers its length.
    #[inline]
    pub fn send_off(&mut self, to: u32) -> usize {
        let len = self.outbound.end(to);
        self.sent.datagrams += 1;
        self.sent.bytes += (len + IP_UDP_LEN) as u64;
        len
    }

    /// What was ever sent.
    pub fn sent(&self) -> Carried {
        self.sent
    }

    /// Brings what this end has sent to the other, which has taken all that it got before.
    #[inline]
    pub fn deliver(&mut self, other: &mut Self) {
        debug_assert!(other.inbound.is_empty());
        core::mem::swap(&mut self.outbound, &mut other.inbound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_whole_and_in_order() {
        let mut queue = Queue::new(0);
        for _ in 0..3 {
            queue.put(b"ab");
            queue.put(b"c");
            assert_eq!(queue.end(1), 3);
            assert_eq!(queue.end(2), 0);
            assert_eq!(queue.take(), Some((1, &b"abc"[..])));
            assert_eq!(queue.take(), Some((2, &b""[..])));
            assert_eq!(queue.take(), None);
        }
    }

    #[test]
    fn what_one_sends_the_other_gets() {
        let mut worlds = [World::new(0), World::new(0)];
        let [one, other] = &mut worlds;
        for _ in 0..3 {
            one.put(b"there");
            assert_eq!(one.send_off(7), 5);
            one.deliver(other);
            assert_eq!(other.inbound.take(), Some((7, &b"there"[..])));
            assert_eq!((other.inbound.take(), one.inbound.take()), (None, None));
        }
        assert_eq!((one.sent().bytes, other.sent().bytes), (3 * (5 + 28), 0));
    }
}
