//! Machines whose polls are counted, and that may not be asked for nothing.

use bowline_core::{BufferTooShort, DropReason, Instant, Machine, Received, Transmit};

/// How often a machine was polled, and how often for nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calls {
    /// Calls of `poll_transmit`.
    pub polls: u64,
    /// How often it was called because the time had come that it had named, and for nothing else.
    pub woken: u64,
    /// How often it then had nothing to send.
    pub in_vain: u64,
    /// The timeout it named last, if that was in the future.
    waits_for: Option<Instant>,
    now: Instant,
    /// Something happened to it since it was polled last.
    touched: bool,
    /// The last poll brought nothing.
    empty: bool,
    /// How often in a row it had nothing to send and wanted to be called at once.
    impatient: u32,
}

impl Calls {
    /// The application may have done something.
    pub fn touch(&mut self) {
        self.touched = true;
    }
}

/// A machine, and the count of its calls.
#[derive(Debug)]
pub struct Polled<'a, M> {
    machine: &'a mut M,
    calls: &'a mut Calls,
}

impl<'a, M> Polled<'a, M> {
    /// Counts the calls of `machine` from now on.
    pub fn new(machine: &'a mut M, calls: &'a mut Calls) -> Self {
        calls.impatient = 0;
        Self { machine, calls }
    }
}

impl<M: Machine> Machine for Polled<'_, M> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.calls.touch();
        self.calls.impatient = 0;
        self.machine.handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let sent = self.machine.poll_transmit(now, buf)?;
        let calls = &mut *self.calls;
        calls.polls += 1;
        calls.empty = sent.is_none();
        let was_touched = core::mem::take(&mut calls.touched);
        if calls.waits_for.take_if(|at| *at <= now).is_some() && !was_touched {
            calls.woken += 1;
            calls.in_vain += u64::from(sent.is_none());
        }
        if now > calls.now || sent.is_some() {
            calls.impatient = 0;
        }
        calls.now = calls.now.max(now);
        Ok(sent)
    }

    /// # Panics
    ///
    /// If it had nothing to send twice at the same instant and still wants to be called at once.
    fn poll_timeout(&mut self) -> Option<Instant> {
        let timeout = self.machine.poll_timeout();
        let calls = &mut *self.calls;
        calls.waits_for = timeout.filter(|at| *at > calls.now);
        if calls.empty && timeout.is_some_and(|at| at <= calls.now) {
            calls.impatient += 1;
            assert!(calls.impatient < 2, "asked twice at {:?}, it spins", calls.now);
        }
        timeout
    }
}
