//! Traces: what was recorded is repeated byte by byte, and what was changed afterwards is noticed.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bowline_core::{
    Address, BufferTooShort, CancelError, CloseReason, DropReason, Event, Incoming, Instant,
    Machine, Messages, Mode, Outgoing, PeerId, Received, SendError, Tag, Transmit,
};
use bowline_crypto::SipHash;
use bowline_fuzz::memory::{Kind, Memory};
use bowline_fuzz::setup::{Setup, run_with};
use bowline_fuzz::{Counted, Side, Subject};
use bowline_sim::Rng;
use bowline_trace::{End, Recorder, Replay, ReplayError, Sink, Summary, Trace};

/// A trace of any bytes; or two endpoints on a hostile link, one of them recorded, its trace replayed as it is and with
/// a byte changed.
pub fn check(data: &[u8]) {
    let Some((how, ops)) = data.split_first() else { return };
    if how & 7 == 0 {
        read_anything(ops);
        return;
    }
    let tape = Tape::default();
    let kind = RefCell::new(Kind::Fixed);
    let run = run_with(ops, &mut Counted::default(), |setup, side| match side {
        Side::Left => Box::new(setup.endpoint(side)),
        Side::Right => {
            *kind.borrow_mut() = setup.kinds[side.index()];
            Box::new(Recorded::new(setup, side, tape.clone()))
        }
    });
    if let Err(failure) = run {
        panic!("{failure}");
    }
    let mut trace = tape.0.take();
    if trace.is_empty() {
        return;
    }
    match replay(&trace, *kind.borrow()) {
        Ok(summary) => assert_eq!(summary.end, End::Complete),
        Err(error) => panic!("what was recorded is not what happens: {error:?}"),
    }
    let at =
        ops.iter().fold(usize::from(*how), |at, byte| at.wrapping_mul(31) + usize::from(*byte));
    let len = trace.len();
    trace[at % len] ^= 1 << (how >> 5);
    let after = replay(&trace, *kind.borrow());
    let noticed = after.is_err() || after.is_ok_and(|summary| summary.end != End::Complete);
    assert!(noticed, "byte {} of {len} may be anything", at % len);
}

fn replay(trace: &[u8], kind: Kind) -> Result<Summary, ReplayError<Infallible>> {
    let trace = Trace::open(trace).map_err(ReplayError::Trace)?;
    Replay::new(trace, &SipHash, kind.memory(), &[])?.run(&mut Vec::new())
}

/// Whatever it is, reading comes to an end, and takes no more memory than there are bytes.
fn read_anything(bytes: &[u8]) {
    let mut scratch = Vec::new();
    if let Ok(mut trace) = Trace::open(bytes) {
        for _ in 0..=bytes.len() {
            if trace.read_input(&mut scratch).is_err() {
                break;
            }
        }
        assert!(trace.bytes_read() <= bytes.len() as u64);
    }
    assert!(scratch.capacity() <= 2 * bytes.len() + 4_096, "{} bytes", scratch.capacity());
    for kind in [Kind::Fixed, Kind::Small] {
        let _ = replay(bytes, kind);
    }
}

/// Where a trace is written to, and can be read from when its recorder is gone.
#[derive(Clone, Debug, Default)]
struct Tape(Rc<RefCell<Vec<u8>>>);

impl Sink for Tape {
    type Error = Infallible;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }
}

/// An endpoint that is recorded to its end.
struct Recorded(Recorder<Memory, Tape>);

impl Recorded {
    fn new(setup: &Setup, side: Side, tape: Tape) -> Self {
        let (kind, config) = (setup.kinds[side.index()], setup.configs[side.index()]);
        let seed = Rng::stream(setup.seed, side.index() as u64).seed();
        let recorder = Recorder::plain(config, &SipHash, &seed, kind.memory(), tape);
        Self(recorder.unwrap_or_else(|error| panic!("{kind:?}: {error}")))
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Machine for Recorded {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.0.handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.0.poll_transmit(now, buf)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

impl Messages for Recorded {
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        self.0.send(now, to, message)
    }

    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError> {
        self.0.cancel(to, tag)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }

    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        self.0.recv(from)
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        self.0.close(now, peer, reason);
    }
}

impl Subject for Recorded {
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]) -> Option<PeerId> {
        self.0.connect_plain(now, to, payload).ok()
    }

    fn payload(&mut self, peer: PeerId) -> Vec<u8> {
        let mut payload = [0; 64];
        let len = self.0.connect_payload(peer, &mut payload);
        payload[..len.min(64)].to_vec()
    }

    fn answer(&mut self, now: Instant, peer: PeerId, accept: bool) {
        let _ = match accept {
            true => self.0.accept(now, peer),
            false => self.0.refuse(now, peer, CloseReason(3)),
        };
    }

    fn finish(&mut self, now: Instant, peer: PeerId, reason: CloseReason) -> bool {
        self.0.finish(now, peer, reason).is_ok()
    }

    fn set_suspended(&mut self, now: Instant, away: bool) {
        if away { self.0.suspend() } else { self.0.resume(now) }
    }

    fn message_max(&mut self, peer: PeerId, mode: Mode) -> Option<usize> {
        self.0.message_max(peer, mode)
    }

    fn leftovers(&mut self) -> Option<String> {
        let in_use = self.0.in_use();
        (in_use != Default::default()).then(|| format!("{in_use:?}"))
    }
}
