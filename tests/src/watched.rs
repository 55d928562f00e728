//! Machines all of whose calls are watched.

use bowline_core::{BufferTooShort, DropReason, Instant, Machine, Received, Transmit};

use crate::allocator::watch;

/// A machine, what of the allocator's its calls ask for is counted ([`crate::allocator`]).
#[derive(Debug)]
pub struct Watched<M>(pub M);

impl<M> Watched<M> {
    /// Makes any call.
    pub fn call<T>(&mut self, f: impl FnOnce(&mut M) -> T) -> T {
        watch(|| f(&mut self.0))
    }
}

impl<M: Machine> Machine for Watched<M> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.call(|machine| machine.handle_datagram(now, from, datagram))
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.call(|machine| machine.poll_transmit(now, buf))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.call(Machine::poll_timeout)
    }
}
