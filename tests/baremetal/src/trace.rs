//! An endpoint that is recorded, and one that lives through a trace.

use bowline_core::{
    Address, ChannelId, CloseReason, Instant, Machine, Messages, Mode, Outgoing, PeerId, Received,
    Tag,
};
use bowline_crypto::SipHash;
use bowline_native::{Config, Fixed};
use bowline_trace::{Recorder, Replay, Sink, Source, Step, Trace};

use crate::input::{Input, keep};
use crate::outside::lent;

type Memory = Fixed<2, 1, 48, 80>;

lent! {
    RECORDED_MEMORY: Memory = Memory::new();
    REPLAYED_MEMORY: Memory = Memory::new();
}

/// Takes, or refuses, and gives, whatever nobody knows.
struct Anything(Input);

impl Sink for Anything {
    type Error = ();

    fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        keep(bytes);
        if self.0.word() & 1 == 1 { Ok(()) } else { Err(()) }
    }
}

impl Source for Anything {
    type Error = ();

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        buf.iter_mut().for_each(|byte| *byte = self.0.word() as u8);
        if self.0.word() & 1 == 1 { Ok(self.0.index()) } else { Err(()) }
    }
}

pub fn exercise(input: &mut Input) {
    record(input);
    replay(input);
}

fn record(input: &mut Input) {
    let Some(memory) = RECORDED_MEMORY.lend() else { return };
    let (config, seed) = (Config::small(u64::from(input.word())), input.bytes());
    let sink = Anything(Input);
    let Ok(mut endpoint) = Recorder::plain(config, &SipHash, &seed, memory, sink) else { return };
    let address = Address::from_raw(&input.bytes::<6>()).unwrap_or(Address::NONE);
    let mut buf = [0; 512];
    while input.word() & 1 == 1 {
        let now = Instant::from_micros(input.long());
        let peer = PeerId::new(input.word(), input.word());
        let reason = CloseReason(input.word());
        keep(endpoint.connect_plain(now, address, &input.bytes::<8>()).is_ok());
        if let Some(datagram) = buf.get_mut(..input.index()) {
            keep(endpoint.handle_datagram(now, Received::from(address), datagram).is_ok());
        }
        keep(endpoint.poll_transmit(now, &mut buf).is_ok());
        keep(endpoint.poll_timeout());
        let text = input.bytes::<32>();
        let pieces: [&[u8]; 2] = [&text, &text];
        let mut message = Outgoing::new(ChannelId(input.word() as u8), Mode::Reliable, &pieces);
        message.tag = Some(Tag(input.word()));
        keep(endpoint.send(now, peer, message).is_ok());
        keep(endpoint.broadcast(now, message, Some(peer)).sent);
        keep(endpoint.cancel(peer, Tag(input.word())).is_ok());
        keep(endpoint.poll_event());
        keep(endpoint.recv(peer).is_some());
        keep(endpoint.connect_payload(peer, &mut buf));
        keep(endpoint.accept(now, peer).is_ok());
        keep(endpoint.refuse(now, peer, reason).is_ok());
        keep(endpoint.finish(now, peer, reason).is_ok());
        endpoint.close(now, peer, reason);
        endpoint.suspend();
        endpoint.resume(now);
        endpoint.add_entropy(&input.bytes::<8>());
        keep(endpoint.set_info(Some(&text)));
        keep(endpoint.query(now, address));
        endpoint.end_queries();
        keep(endpoint.take_answer().is_some());
        endpoint.flush();
        keep(endpoint.error().is_some());
    }
    endpoint.stop();
}

fn replay(input: &mut Input) {
    let Some(memory) = REPLAYED_MEMORY.lend() else { return };
    let Ok(trace) = Trace::open(Anything(Input)) else { return };
    let Ok(mut replay) = Replay::new(trace, &SipHash, memory, &[]) else { return };
    let mut scratch = input.bytes::<512>();
    while let Ok(Step::Repeated(..)) = replay.step(&mut scratch) {}
    keep(replay.summary());
    keep(replay.divergence().is_some());
}
