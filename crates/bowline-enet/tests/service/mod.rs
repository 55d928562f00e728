//! `enet_host_service` on top of a [`Host`]: the same calls in the same order, so that the same datagrams follow.

use alloc::collections::{BTreeMap, VecDeque};

use bowline_core::{
    Address, DisconnectReason, Event, Instant, Machine, Messages, PeerId, Received,
};
use bowline_enet::{Buffered, Compression, Heap, Host, RangeCoder, State};

/// A datagram, and where it comes from or goes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Datagram {
    pub(crate) at: Address,
    pub(crate) bytes: Vec<u8>,
}

/// What `enet_host_service` answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Served {
    Connected { slot: usize, data: u32 },
    Disconnected { slot: usize, data: u32 },
    Received { slot: usize, channel: u8, flags: u32, bytes: Vec<u8> },
}

/// The range coder, or none.
pub(crate) struct Coder(Option<Box<Buffered<RangeCoder>>>);

impl Coder {
    pub(crate) fn new(on: bool) -> Self {
        Self(on.then(|| Box::new(Buffered::new(RangeCoder::new()))))
    }
}

impl Compression for Coder {
    fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        self.0.as_mut()?.compress(data)
    }

    fn decompress(&mut self, data: &[u8], len_max: usize) -> Option<&[u8]> {
        self.0.as_mut()?.decompress(data, len_max)
    }
}

/// One host, and what has not been told of it yet.
pub(crate) struct Service {
    pub(crate) host: Host<Heap, Coder>,
    /// Which connection a slot has.
    pub(crate) ids: BTreeMap<usize, PeerId>,
    /// Everything that was sent.
    pub(crate) sent: Vec<Datagram>,
    /// Peers with packets to read, and connections that are over.
    dispatch: VecDeque<Event>,
    at_once: VecDeque<Event>,
}

impl Service {
    pub(crate) fn new(host: Host<Heap, Coder>) -> Self {
        Self {
            host,
            ids: BTreeMap::new(),
            sent: Vec::new(),
            dispatch: VecDeque::new(),
            at_once: VecDeque::new(),
        }
    }

    /// `enet_host_flush`.
    pub(crate) fn flush(&mut self, now: Instant) {
        let mut buf = [0; 5_000];
        while let Some(transmit) = self.host.poll_flush(now, &mut buf).unwrap() {
            let bytes = buf[..transmit.len].to_vec();
            self.sent.push(Datagram { at: transmit.to, bytes });
        }
    }

    /// `enet_host_service` with a timeout of 0.
    pub(crate) fn service(
        &mut self,
        now: Instant,
        inbound: &mut VecDeque<Datagram>,
    ) -> Option<Served> {
        if let Some(served) = self.next(now) {
            return Some(served);
        }
        self.transmit(now);
        if let Some(event) = self.at_once.pop_front() {
            return Some(self.told(event));
        }
        while let Some(mut datagram) = inbound.pop_front() {
            let from = Received::from(datagram.at);
            let _ = self.host.handle_datagram(now, from, &mut datagram.bytes);
            self.poll();
            if let Some(event) = self.at_once.pop_front() {
                return Some(self.told(event));
            }
        }
        self.transmit(now);
        if let Some(event) = self.at_once.pop_front() {
            return Some(self.told(event));
        }
        self.next(now)
    }

    fn transmit(&mut self, now: Instant) {
        let mut buf = [0; 5_000];
        while let Some(transmit) = self.host.poll_transmit(now, &mut buf).unwrap() {
            let bytes = buf[..transmit.len].to_vec();
            self.sent.push(Datagram { at: transmit.to, bytes });
        }
        self.poll();
    }

    /// Sorts the host's events into those that the C library tells at once, and those that wait in its queue.
    fn poll(&mut self) {
        while let Some(event) = self.host.poll_event() {
            match event {
                Event::Readable(_) if self.dispatch.contains(&event) => {}
                Event::Readable(_)
                | Event::Disconnected(
                    _,
                    DisconnectReason::ClosedByPeer(_) | DisconnectReason::PeerMisbehaved,
                ) => self.dispatch.push_back(event),
                Event::Writable(_) => {}
                Event::Connected(peer) => {
                    self.ids.insert(peer.slot(), peer);
                    self.at_once.push_back(event);
                }
                _ => self.at_once.push_back(event),
            }
        }
    }

    /// What waits in the queue.
    fn next(&mut self, _: Instant) -> Option<Served> {
        loop {
            match self.dispatch.pop_front()? {
                Event::Readable(peer) => {
                    let slot = peer.slot();
                    let Some(packet) = self.host.receive_packet(peer) else { continue };
                    let served = Served::Received {
                        slot,
                        channel: packet.channel.0,
                        flags: packet.flags.bits(),
                        bytes: packet.chunks.flatten().copied().collect(),
                    };
                    self.poll();
                    return Some(served);
                }
                event => return Some(self.told(event)),
            }
        }
    }

    fn told(&mut self, event: Event) -> Served {
        match event {
            Event::Connected(peer) => {
                let data = self.host.connect_data(peer).unwrap_or(0);
                Served::Connected { slot: peer.slot(), data }
            }
            Event::Disconnected(peer, reason) => {
                self.ids.remove(&peer.slot());
                let data = match reason {
                    DisconnectReason::ClosedByPeer(data) => data.0,
                    _ => 0,
                };
                Served::Disconnected { slot: peer.slot(), data }
            }
            other => panic!("{other:?} is not told"),
        }
    }

    /// Whether a slot is in this state.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn is(&mut self, slot: usize, state: State) -> bool {
        self.host.slot_statistics(slot).is_some_and(|peer| peer.state == state)
    }
}
