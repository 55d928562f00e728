//! A machine without a protocol: what it is told to send goes out, what arrives is kept.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bowline_core::{
    Address, BufferTooShort, DropReason, Ecn, Instant, Machine, Received, Transmit,
};

/// A bare socket on the network, to play an attacker, a scripted peer, or a sink.
///
/// ```
/// use bowline_sim::{Link, Mailbox, Net};
///
/// let mut net = Net::with_nodes(1, 2, Link::LAN);
/// let (mut alice, mut bob) = (Mailbox::new(), Mailbox::new());
/// alice.send(net.address(1), b"hello");
/// net.step(&mut [&mut alice, &mut bob])?;
/// assert_eq!(bob.receive().unwrap().bytes, b"hello");
/// # Ok::<(), bowline_sim::Fault>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    outbox: VecDeque<(Address, Vec<u8>)>,
    inbox: VecDeque<Letter>,
}

/// A datagram that a [`Mailbox`] received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Letter {
    /// When it was handed in.
    pub at: Instant,
    /// The address it came from.
    pub from: Address,
    /// Its congestion mark.
    pub ecn: Option<Ecn>,
    /// Its payload.
    pub bytes: Vec<u8>,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a datagram when next polled.
    pub fn send(&mut self, to: Address, bytes: &[u8]) {
        self.outbox.push_back((to, bytes.to_vec()));
    }

    /// The next datagram that arrived.
    pub fn receive(&mut self) -> Option<Letter> {
        self.inbox.pop_front()
    }

    /// How many datagrams have arrived and not been looked at.
    pub fn len(&self) -> usize {
        self.inbox.len()
    }

    /// Whether there is nothing to receive.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }
}

impl Machine for Mailbox {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let Received { from, ecn } = from;
        self.inbox.push_back(Letter { at: now, from, ecn, bytes: datagram.to_vec() });
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        _now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let Some((to, bytes)) = self.outbox.pop_front() else { return Ok(None) };
        let len = bytes.len();
        let Some(room) = buf.get_mut(..len) else {
            self.outbox.push_front((to, bytes));
            return Err(BufferTooShort { needed: len });
        };
        room.copy_from_slice(&bytes);
        Ok(Some(Transmit { to, len, segment_len: None, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        // What waits in the outbox wants to go at once.
        (!self.outbox.is_empty()).then_some(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_buffer_loses_nothing() {
        let mut mailbox = Mailbox::new();
        mailbox.send(Address::NONE, b"abc");
        mailbox.send(Address::NONE, b"d");
        let mut buf = [0; 3];
        let short = mailbox.poll_transmit(Instant::ZERO, &mut buf[..2]);
        assert_eq!(short, Err(BufferTooShort { needed: 3 }));
        assert_eq!(mailbox.poll_timeout(), Some(Instant::ZERO));
        let lens = [(); 3].map(|()| {
            mailbox.poll_transmit(Instant::ZERO, &mut buf).unwrap().map(|transmit| transmit.len)
        });
        assert_eq!((lens, mailbox.poll_timeout()), ([Some(3), Some(1), None], None));
    }
}
