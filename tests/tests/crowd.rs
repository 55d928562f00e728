//! Ten thousand sessions at one endpoint.

extern crate alloc;

use alloc::collections::BTreeMap;

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, Duration, Event, Instant, Machine, Messages,
    Mode, Outgoing, PeerId,
};
use bowline_crypto::SipHash;
use bowline_native::{Config, Endpoint, Heap, InUse, Limits};

const APPLICATION: u64 = 1;

/// One server, and as many clients at another endpoint, each of which calls it by a name of its own.
struct Crowd {
    server: Endpoint<Heap>,
    clients: Endpoint<Heap>,
    now: Instant,
    /// What each session at the server, and at the clients, was told.
    at_server: BTreeMap<PeerId, Told>,
    at_clients: BTreeMap<PeerId, Told>,
}

#[derive(Default)]
struct Told {
    connected: u32,
    messages: Vec<(Mode, Vec<u8>)>,
    ended: Vec<DisconnectReason>,
}

impl Crowd {
    fn new(peers: u32) -> Self {
        let endpoint = |seed| {
            let memory = Heap::new(Limits::for_peers(peers));
            Endpoint::plain(Config::new(APPLICATION), &SipHash, &[seed; 32], memory).unwrap()
        };
        Self {
            server: endpoint(1),
            clients: endpoint(2),
            now: Instant::from_micros(1_000_000),
            at_server: BTreeMap::new(),
            at_clients: BTreeMap::new(),
        }
    }

    /// So many are connected, some `at_once`.
    fn connected(peers: u32, at_once: u32) -> Self {
        let mut crowd = Self::new(peers);
        for peer in 0..peers {
            let to = Address::from_raw(&peer.to_be_bytes()).unwrap();
            crowd.clients.connect_plain(crowd.now, to, b"").unwrap();
            if peer % at_once == 0 {
                crowd.exchange();
            }
        }
        // A server that has met nobody yet answers sixteen strangers at once; the others ask again.
        crowd.wait(Duration::from_secs(4));
        for told in [&crowd.at_server, &crowd.at_clients] {
            assert_eq!(told.len(), peers as usize);
            assert!(told.values().all(|told| told.connected == 1 && told.ended.is_empty()));
        }
        crowd
    }

    /// Hands over datagrams, and takes events and messages, until nobody has any.
    fn exchange(&mut self) {
        loop {
            let moved = carry(&mut self.clients, &mut self.server, self.now)
                + carry(&mut self.server, &mut self.clients, self.now);
            listen(&mut self.server, &mut self.at_server);
            listen(&mut self.clients, &mut self.at_clients);
            if moved == 0 {
                return;
            }
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.exchange();
            let due = [self.server.poll_timeout(), self.clients.poll_timeout()];
            let next = due.into_iter().flatten().min().unwrap_or(Instant::MAX);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
        }
    }
}

fn carry(from: &mut Endpoint<Heap>, to: &mut Endpoint<Heap>, now: Instant) -> usize {
    let (mut buf, mut moved) = ([0; 1_200], 0);
    while let Some(transmit) = from.poll_transmit(now, &mut buf).unwrap() {
        // Each client's name is what both call the other by.
        let _ = to.handle_datagram(now, transmit.to.into(), &mut buf[..transmit.len]);
        moved += 1;
    }
    moved
}

fn listen(endpoint: &mut Endpoint<Heap>, told: &mut BTreeMap<PeerId, Told>) {
    while let Some(event) = endpoint.poll_event() {
        match event {
            Event::Connected(peer) => told.entry(peer).or_default().connected += 1,
            Event::Disconnected(peer, reason) => told.get_mut(&peer).unwrap().ended.push(reason),
            Event::Readable(peer) => {
                let told = told.get_mut(&peer).unwrap();
                while let Some(message) = endpoint.recv(peer) {
                    let bytes: Vec<u8> = message.chunks().flatten().copied().collect();
                    told.messages.push((message.mode(), bytes));
                }
            }
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn ten_thousand_connect_talk_fall_silent_and_go() {
    const PEERS: u32 = 10_000;
    let mut crowd = Crowd::connected(PEERS, 100);
    assert_eq!((crowd.server.in_use().peers, crowd.clients.in_use().peers), (PEERS, PEERS));

    // Everybody says who he is in every mode, and hears the same from the server.
    let clients: Vec<PeerId> = crowd.at_clients.keys().copied().collect();
    for (number, chunk) in clients.chunks(500).enumerate() {
        for (at, &peer) in chunk.iter().enumerate() {
            let name = (number * 500 + at).to_be_bytes();
            let pieces: &[&[u8]] = &[&name];
            for mode in Mode::GODOT {
                let message = Outgoing::new(ChannelId(at as u8 % 8), mode, pieces);
                crowd.clients.send(crowd.now, peer, message).unwrap();
            }
        }
        crowd.exchange();
    }
    let to_all = Outgoing::new(ChannelId(0), Mode::Reliable, &[b"to all"]);
    let all_but = crowd.at_server.keys().next().copied();
    let told = crowd.server.broadcast(crowd.now, to_all, all_but);
    assert_eq!((told.sent, told.refused), (PEERS - 1, 0));
    crowd.wait(Duration::from_secs(1));
    let mut names = Vec::new();
    for told in crowd.at_server.values() {
        let [(first, name), rest @ ..] = &told.messages[..] else { panic!("nothing came") };
        assert!(rest.len() == 2 && rest.iter().all(|(mode, other)| mode != first && other == name));
        names.push(name.clone());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), PEERS as usize);
    let heard = crowd.at_clients.values().filter(|told| told.messages.len() == 1).count();
    assert_eq!(heard, PEERS as usize - 1);

    // Nobody is given up for being silent.
    crowd.wait(Duration::from_secs(30));
    assert!(crowd.at_server.values().all(|told| told.ended.is_empty()));

    // One half goes, the other is sent away, and nothing is left.
    let (first, _) = clients.split_at(clients.len() / 2);
    for &peer in first {
        crowd.clients.close(crowd.now, peer, CloseReason(1));
    }
    crowd.wait(Duration::from_secs(2));
    let left: Vec<PeerId> = crowd
        .at_server
        .iter()
        .filter(|(_, told)| told.ended.is_empty())
        .map(|(peer, _)| *peer)
        .collect();
    assert_eq!(left.len(), PEERS as usize / 2);
    for &peer in &left {
        crowd.server.close(crowd.now, peer, CloseReason(2));
    }
    crowd.wait(Duration::from_secs(2));
    for told in [&crowd.at_server, &crowd.at_clients] {
        assert!(told.values().all(|told| told.ended.len() == 1));
    }
    let gone = DisconnectReason::ClosedByPeer(CloseReason(1));
    assert_eq!(crowd.at_server.values().filter(|told| told.ended == [gone]).count(), first.len());
    for endpoint in [&mut crowd.server, &mut crowd.clients] {
        assert_eq!(endpoint.in_use(), InUse::default());
        assert_eq!(endpoint.poll_timeout(), None);
    }
}

/// Memory is not given back before its end, so this is what they ever needed, meeting a few at a time.
#[test]
fn an_idle_peer_takes_less_than_a_kibibyte() {
    for peers in [100, 1_000, 10_000] {
        let crowd = Crowd::connected(peers, 8);
        let bytes = crowd.server.storage().allocated() / peers as usize;
        println!("{peers} idle peers: {bytes} bytes each");
        assert!(bytes <= 1_024, "{peers} peers: {bytes} bytes each");
    }
}
