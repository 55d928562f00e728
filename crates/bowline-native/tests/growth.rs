//! Memory from the allocator grows by what is needed, and by nothing else.

use bowline_core::{Address, ChannelId, Event, Instant, Machine, Messages, Mode, Outgoing, PeerId};
use bowline_crypto::SipHash;
use bowline_native::{Config, Endpoint, Heap, Limits};

const SERVER: u8 = 0;
const NOW: Instant = Instant::from_micros(1_000_000);

fn address(name: u8) -> Address {
    Address::from_raw(&[name]).unwrap()
}

fn endpoint(seed: u8) -> Endpoint<Heap> {
    Endpoint::plain(Config::new(1), &SipHash, &[seed; 32], Heap::new(Limits::for_peers(4))).unwrap()
}

/// All datagrams that are due.
fn datagrams(endpoint: &mut Endpoint<Heap>) -> Vec<Vec<u8>> {
    let mut buf = [0; 1500];
    let next = || {
        let transmit = endpoint.poll_transmit(NOW, &mut buf).unwrap()?;
        Some(buf[..transmit.len].to_vec())
    };
    core::iter::from_fn(next).collect()
}

fn deliver(endpoint: &mut Endpoint<Heap>, from: u8, mut datagram: Vec<u8>) {
    let _ = endpoint.handle_datagram(NOW, address(from).into(), &mut datagram);
}

/// A client with a session, which `server` has as well.
fn connected(server: &mut Endpoint<Heap>, name: u8) -> (Endpoint<Heap>, PeerId) {
    let mut client = endpoint(name);
    let peer = client.connect_plain(NOW, address(SERVER), b"").unwrap();
    for _ in 0..4 {
        datagrams(&mut client).into_iter().for_each(|datagram| deliver(server, name, datagram));
        datagrams(server).into_iter().for_each(|datagram| deliver(&mut client, SERVER, datagram));
    }
    assert_eq!(client.poll_event(), Some(Event::Connected(peer)));
    (client, peer)
}

fn say(client: &mut Endpoint<Heap>, to: PeerId, channel: u8, len: usize) {
    let message = vec![7; len];
    let pieces = [&message[..]];
    let outgoing = Outgoing::new(ChannelId(channel), Mode::Unreliable, &pieces);
    client.send(NOW, to, outgoing).unwrap();
}

/// Of the four first places for incomplete messages one is vacant, and a packet brings parts of two
/// messages. What is short is a second place, and not blocks.
#[test]
fn a_packet_of_two_incomplete_messages_takes_two_places_and_no_blocks_to_speak_of() {
    let mut server = endpoint(9);
    let (mut first, to) = connected(&mut server, 1);
    for channel in 0..3 {
        say(&mut first, to, channel, 1_500);
        deliver(&mut server, 1, datagrams(&mut first).remove(0));
    }
    assert_eq!(server.in_use().assemblies, 3);

    let (mut second, to) = connected(&mut server, 2);
    let before = server.storage().allocated();
    say(&mut second, to, 0, 1_500);
    say(&mut second, to, 1, 1_500);
    let sent = datagrams(&mut second);
    assert_eq!(sent.len(), 3, "the last one has the ends of both");
    deliver(&mut server, 2, sent[2].clone());
    assert_eq!(server.in_use().assemblies, 5);
    assert!(server.storage().allocated() < before + 64 * 1024);
}

#[test]
fn limits_for_a_configuration_hold_what_it_promises_and_announces() {
    for config in [
        Config::new(1),
        Config::small(1),
        Config { channels: 256, ..Config::new(1) },
        Config { channels: 1, reliable_max: 100, loose_credit: 0, ..Config::new(1) },
    ] {
        for peers in [1, 3, 1_000] {
            let limits = Limits::for_config(&config, peers);
            let endpoint = Endpoint::plain(config, &SipHash, &[1; 32], Heap::new(limits));
            let endpoint = endpoint.unwrap_or_else(|error| panic!("{error}: {limits:?}"));
            let announced = endpoint.config();
            assert_eq!(announced.reliable_max, config.reliable_max);
            assert_eq!(announced.ordered_max, config.ordered_max);
            assert_eq!(announced.unreliable_max, config.unreliable_max);
        }
    }
}
