//! A client and a server that hand each other their datagrams, and nothing between them.

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, Duration, Event, Instant, Machine, Messages,
    Mode, Outgoing, PeerId, Received,
};
use bowline_crypto::SipHash;
use bowline_native::{Config, Endpoint, Fixed, Heap, InUse, Limits, Storage};

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

fn address(name: u8) -> Address {
    Address::from_raw(&[name]).unwrap()
}

struct Pair<'s> {
    client: Endpoint<&'s mut dyn Storage>,
    server: Endpoint<&'s mut dyn Storage>,
    now: Instant,
    datagrams: usize,
}

impl<'s> Pair<'s> {
    fn new(config: Config, client: &'s mut dyn Storage, server: &'s mut dyn Storage) -> Self {
        Self {
            client: Endpoint::plain(config, &SipHash, &[1; 32], client).unwrap(),
            server: Endpoint::plain(config, &SipHash, &[2; 32], server).unwrap(),
            now: Instant::from_micros(1_000),
            datagrams: 0,
        }
    }

    /// Hands over datagrams until nobody has any.
    fn exchange(&mut self) {
        let mut buf = [0; 1500];
        for _ in 0..100_000 {
            let mut quiet = true;
            while let Some(out) = self.client.poll_transmit(self.now, &mut buf).unwrap() {
                assert_eq!(out.to, address(SERVER));
                let from = Received::from(address(CLIENT));
                self.server.handle_datagram(self.now, from, &mut buf[..out.len]).unwrap();
                (quiet, self.datagrams) = (false, self.datagrams + 1);
            }
            while let Some(out) = self.server.poll_transmit(self.now, &mut buf).unwrap() {
                assert_eq!(out.to, address(CLIENT));
                let from = Received::from(address(SERVER));
                self.client.handle_datagram(self.now, from, &mut buf[..out.len]).unwrap();
                (quiet, self.datagrams) = (false, self.datagrams + 1);
            }
            if quiet {
                return;
            }
        }
        panic!("never quiet");
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.exchange();
            let due = [self.client.poll_timeout(), self.server.poll_timeout()];
            let next = due.into_iter().flatten().min().unwrap_or(Instant::MAX);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
        }
    }

    fn connected(&mut self) -> (PeerId, PeerId) {
        let client = self.client.connect_plain(self.now, address(SERVER), b"hello").unwrap();
        self.wait(Duration::from_millis(100));
        assert_eq!(self.client.poll_event(), Some(Event::Connected(client)));
        let Some(Event::Connected(server)) = self.server.poll_event() else { panic!() };
        let mut payload = [0; 16];
        assert_eq!(self.server.connect_payload(server, &mut payload), 5);
        assert_eq!(&payload[..5], b"hello");
        (client, server)
    }
}

fn modes(config: Config) -> impl Iterator<Item = Mode> {
    let loose = [Mode::ReliableUnordered, Mode::ReliableLatest];
    Mode::GODOT.into_iter().chain(loose.into_iter().filter(move |_| config.loose_credit > 0))
}

fn transfer(config: Config, client: &mut dyn Storage, server: &mut dyn Storage, lens: &[usize]) {
    let mut pair = Pair::new(config, client, server);
    let (to_server, to_client) = pair.connected();
    for mode in modes(config) {
        for &len in lens {
            let message: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            let pieces = [&message[..len / 2], &message[len / 2..]];
            let out = Outgoing::new(ChannelId(0), mode, &pieces);
            let key = (mode == Mode::ReliableLatest).then_some(len as u32);
            let out = Outgoing { key, ..out };
            if len > pair.client.message_max(to_server, mode).unwrap() {
                continue;
            }
            pair.client.send(pair.now, to_server, out).unwrap();
            pair.server.send(pair.now, to_client, out).unwrap();
            pair.wait(Duration::from_millis(60));
            for (endpoint, peer) in [(&mut pair.client, to_server), (&mut pair.server, to_client)] {
                assert_eq!(endpoint.poll_event(), Some(Event::Readable(peer)), "{mode} {len}");
                let incoming = endpoint.recv(peer).unwrap();
                assert_eq!((incoming.mode(), incoming.channel()), (mode, ChannelId(0)));
                let mut copy = vec![0; len];
                assert_eq!(incoming.copy_to(&mut copy).unwrap(), &message[..]);
                assert!(endpoint.recv(peer).is_none());
                assert_eq!(endpoint.poll_event(), None);
            }
        }
    }
    pair.client.close(pair.now, to_server, CloseReason(7));
    pair.wait(Duration::from_secs(2));
    let closed = DisconnectReason::Closed(CloseReason(7));
    assert_eq!(pair.client.poll_event(), Some(Event::Disconnected(to_server, closed)));
    let closed = DisconnectReason::ClosedByPeer(CloseReason(7));
    assert_eq!(pair.server.poll_event(), Some(Event::Disconnected(to_client, closed)));
    assert_eq!(pair.client.in_use(), InUse::default());
    assert_eq!(pair.server.in_use(), InUse::default());
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn every_mode_carries_messages_of_every_length() {
    let lens = [0, 1, 32, 127, 128, 1_100, 1_185, 1_200, 5_000, 16_384, 100_000];
    let limits = Limits::for_peers(4);
    transfer(Config::new(1), &mut Heap::new(limits), &mut Heap::new(limits), &lens);
}

#[test]
fn long_reliable_messages_get_the_credit_they_need() {
    let limits = Limits::for_peers(1);
    let config = Config {
        incomplete: bowline_native::IncompleteLimits {
            messages: 4,
            bytes: 2 << 20,
            age: Duration::from_secs(1),
        },
        unreliable_max: 2 << 20,
        ordered_max: 2 << 20,
        inbox_max: 2 << 20,
        ..Config::new(1)
    };
    transfer(config, &mut Heap::new(limits), &mut Heap::new(limits), &[1 << 20]);
}

#[test]
fn fixed_memory_carries_what_it_can() {
    let (mut a, mut b) = (Fixed::<1, 1, 24, 40>::new(), Fixed::<1, 1, 24, 40>::new());
    transfer(Config::small(1), &mut a, &mut b, &[0, 1, 32, 500, 1_000]);
}
