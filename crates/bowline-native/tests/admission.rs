//! Who is let in: drain, bans, and limits by source.

use core::net::SocketAddr;

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, DropReason, Duration, Event, Instant,
    Machine, Messages, Mode, Outgoing, PeerId, RefuseReason,
};
use bowline_crypto::SipHash;
use bowline_native::{
    BanError, Config, ConfigError, Endpoint, Fixed, Heap, Limits, RateLimit, Storage, Whom,
};

const SERVER: &str = "192.0.2.1:7777";

fn address(text: &str) -> Address {
    Address::from(text.parse::<SocketAddr>().unwrap())
}

fn raw(name: u32) -> Address {
    Address::from_raw(&name.to_be_bytes()).unwrap()
}

fn heap(peers: u32) -> Heap {
    Heap::new(Limits::for_peers(peers))
}

fn ids(refused: RefuseReason) -> DisconnectReason {
    DisconnectReason::Refused(refused)
}

/// A server, and whoever calls it.
struct World<S> {
    server: Endpoint<S>,
    now: Instant,
}

impl<S: Storage> World<S> {
    fn new(config: Config, storage: S) -> Self {
        let server = Endpoint::plain(config, &SipHash, &[1; 32], storage).unwrap();
        Self { server, now: Instant::from_micros(1_000_000) }
    }

    fn client(&self, seed: u8) -> Endpoint<Heap> {
        Endpoint::plain(Config::new(1), &SipHash, &[seed; 32], heap(4)).unwrap()
    }

    /// Hands over what `client` and the server have for each other.
    fn exchange(&mut self, client: &mut Endpoint<Heap>, from: Address) {
        let mut buf = [0; 1_500];
        for _ in 0..8 {
            while let Some(out) = client.poll_transmit(self.now, &mut buf).unwrap() {
                let _ = self.server.handle_datagram(self.now, from.into(), &mut buf[..out.len]);
            }
            while let Some(out) = self.server.poll_transmit(self.now, &mut buf).unwrap() {
                if out.to == from {
                    let server = address(SERVER);
                    let _ = client.handle_datagram(self.now, server.into(), &mut buf[..out.len]);
                }
            }
        }
    }

    /// Somebody at `from` calls; what he hears first.
    fn call(&mut self, from: Address) -> (Endpoint<Heap>, Option<Event>) {
        let mut client = self.client(2);
        client.connect_plain(self.now, address(SERVER), b"").unwrap();
        self.exchange(&mut client, from);
        let event = client.poll_event();
        (client, event)
    }

    fn lets_in(&mut self, from: Address) -> bool {
        matches!(self.call(from).1, Some(Event::Connected(_)))
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.server.poll_event()).collect()
    }

    fn dropped(&self, reason: DropReason) -> u32 {
        self.server.statistics().dropped(reason)
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        let mut buf = [0; 1_500];
        while self.server.poll_transmit(self.now, &mut buf).unwrap().is_some() {}
    }
}

#[test]
fn a_server_that_drains_keeps_whom_it_has_and_takes_nobody_new() {
    let mut world = World::new(Config::new(1), heap(4));
    let (mut first, event) = world.call(raw(1));
    assert!(matches!(event, Some(Event::Connected(_))));
    world.server.drain(true);
    assert!(world.server.is_draining() && !world.server.is_drained());

    let (mut second, event) = world.call(raw(2));
    let Some(Event::Disconnected(_, reason)) = event else { panic!("{event:?}") };
    assert_eq!(reason, ids(RefuseReason::Full));
    assert_eq!(world.dropped(DropReason::Draining), 1);

    // The one that it has goes on, and the server may still call others itself.
    let Some(Event::Connected(peer)) = world.server.poll_event() else { panic!() };
    let one = Outgoing::new(ChannelId(0), Mode::Reliable, &[b"on"]);
    world.server.send(world.now, peer, one).unwrap();
    world.exchange(&mut first, raw(1));
    assert!(matches!(first.poll_event(), Some(Event::Readable(_))));
    let calling = world.server.connect_plain(world.now, raw(3), b"").unwrap();
    world.server.close(world.now, calling, CloseReason(0));
    assert!(matches!(world.events()[..], [Event::Disconnected(..)]));

    world.server.close(world.now, peer, CloseReason(7));
    world.exchange(&mut first, raw(1));
    assert!(!world.server.is_drained(), "the application has not heard yet");
    assert_eq!(world.events().len(), 1);
    assert!(world.server.is_drained());
    world.server.drain(false);
    second.connect_plain(world.now, address(SERVER), b"").unwrap();
    world.exchange(&mut second, raw(2));
    assert!(matches!(second.poll_event(), Some(Event::Connected(_))));
}

#[test]
fn somebody_with_a_cookie_is_refused_once_the_server_drains() {
    let mut world = World::new(Config::new(1), heap(4));
    let mut client = world.client(2);
    client.connect_plain(world.now, address(SERVER), b"").unwrap();
    let mut buf = [0; 1_500];
    let hello = client.poll_transmit(world.now, &mut buf).unwrap().unwrap();
    world.server.handle_datagram(world.now, raw(1).into(), &mut buf[..hello.len]).unwrap();
    let challenge = world.server.poll_transmit(world.now, &mut buf).unwrap().unwrap();
    let server = address(SERVER);
    client.handle_datagram(world.now, server.into(), &mut buf[..challenge.len]).unwrap();
    world.server.drain(true);
    let connect = client.poll_transmit(world.now, &mut buf).unwrap().unwrap();
    let outcome = world.server.handle_datagram(world.now, raw(1).into(), &mut buf[..connect.len]);
    assert_eq!(outcome, Err(DropReason::Draining));
    world.exchange(&mut client, raw(1));
    let Some(Event::Disconnected(_, reason)) = client.poll_event() else { panic!() };
    assert_eq!(reason, ids(RefuseReason::Full));
    assert_eq!(world.server.in_use().peers, 0);
}

#[test]
fn the_banned_get_no_answer_until_their_time_is_over() {
    let mut world = World::new(Config::new(1), heap(16));
    let bad = address("192.0.2.66:1000");
    let until = world.now + Duration::from_secs(60);
    world.server.ban(world.now, Whom::Address(bad), until).unwrap();
    assert!(world.server.is_banned(world.now, &bad));
    let sent = world.server.statistics().datagrams_sent;
    assert!(world.call(bad).1.is_none());
    assert_eq!(world.server.statistics().datagrams_sent, sent, "not even a refusal");
    assert!(world.dropped(DropReason::Banned) > 0);
    assert!(world.lets_in(address("192.0.2.66:1001")), "another port is another address");
    world.wait(Duration::from_secs(60));
    assert!(world.lets_in(bad));

    world.server.ban(world.now, Whom::Source(bad), Instant::MAX).unwrap();
    for port in 2_000..2_010 {
        assert!(!world.lets_in(address(&format!("192.0.2.66:{port}"))));
    }
    assert!(world.lets_in(address("192.0.2.67:2000")));
    assert!(!world.server.unban(Whom::Address(bad)), "that one is over");
    assert!(world.server.unban(Whom::Source(address("192.0.2.66:9"))), "any port names the source");
    assert!(!world.server.unban(Whom::Source(bad)));
    assert!(world.lets_in(address("192.0.2.66:3000")));
}

#[test]
fn a_ban_is_for_sessions_to_come_and_close_all_for_those_there_are() {
    let mut world = World::new(Config::new(1), heap(8));
    let all = ["192.0.2.66:1", "192.0.2.66:2", "192.0.2.7:1"].map(address);
    assert!(all.into_iter().all(|from| world.lets_in(from)));
    let told: Vec<PeerId> = world
        .events()
        .into_iter()
        .map(|event| if let Event::Connected(peer) = event { peer } else { panic!("{event:?}") })
        .collect();
    assert_eq!(told.len(), 3);
    world.server.ban(world.now, Whom::Source(all[0]), Instant::MAX).unwrap();
    assert_eq!(world.events(), []);
    assert_eq!(world.server.close_all(world.now, Whom::Source(all[0]), CloseReason(9)), 2);
    assert_eq!(world.server.close_all(world.now, Whom::Source(all[0]), CloseReason(9)), 0);
    for _ in 0..30 {
        world.wait(Duration::from_secs(1));
        if world.server.in_use().peers == 1 {
            break;
        }
    }
    let reason = DisconnectReason::Closed(CloseReason(9));
    let ended: Vec<Event> =
        told[..2].iter().map(|peer| Event::Disconnected(*peer, reason)).collect();
    assert_eq!(world.events(), ended);
}

#[test]
fn bans_fill_their_memory_and_the_expired_make_room() {
    let mut memory = Fixed::<1, 1, 24, 40>::new();
    let mut fixed = World::new(Config::small(1), &mut memory);
    let later = fixed.now + Duration::from_secs(1);
    for name in 0..4 {
        fixed.server.ban(fixed.now, Whom::Address(raw(name)), Instant::MAX).unwrap();
    }
    let full = Err(BanError::Full { bans: 4 });
    assert_eq!(fixed.server.ban(fixed.now, Whom::Address(raw(4)), later), full);
    fixed.server.ban(fixed.now, Whom::Address(raw(2)), later).unwrap();
    assert_eq!(fixed.server.ban(fixed.now, Whom::Address(raw(4)), later), full);
    fixed.now = later;
    fixed.server.ban(later, Whom::Address(raw(4)), Instant::MAX).unwrap();
    let mut banned = (0..5).filter(|name| fixed.server.is_banned(later, &raw(*name)));
    assert!(banned.by_ref().eq([0, 1, 3, 4]));

    let limits = Limits::for_peers(100);
    let mut grown = World::new(Config::new(1), Heap::new(limits));
    for name in 0..limits.bans_max() {
        grown.server.ban(grown.now, Whom::Address(raw(name)), Instant::MAX).unwrap();
    }
    let full = Err(BanError::Full { bans: limits.bans_max() });
    assert_eq!(grown.server.ban(grown.now, Whom::Source(raw(1 << 30)), Instant::MAX), full);
    assert!((0..limits.bans_max()).all(|name| grown.server.is_banned(grown.now, &raw(name))));
    for name in (0..limits.bans_max()).step_by(3) {
        assert!(grown.server.unban(Whom::Address(raw(name))));
    }
    for name in 0..limits.bans_max() {
        assert_eq!(grown.server.is_banned(grown.now, &raw(name)), name % 3 != 0);
    }
}

fn limited(burst: u32, per_second: u32) -> Config {
    Config { handshake_rate: Some(RateLimit { burst, per_second }), ..Config::new(1) }
}

#[test]
fn a_source_is_held_to_its_rate_and_no_other_suffers() {
    let mut world = World::new(limited(8, 1), heap(64));
    // Each session takes a HELLO and a CONNECT.
    let tries = |world: &mut World<Heap>, host: u8| {
        (0..10).filter(|port| world.lets_in(address(&format!("192.0.2.{host}:{port}")))).count()
    };
    assert_eq!(tries(&mut world, 66), 4);
    assert!(world.dropped(DropReason::RateLimited) >= 6);
    assert_eq!(tries(&mut world, 67), 4);
    world.wait(Duration::from_secs(5));
    let again = (100..110).filter(|port| world.lets_in(address(&format!("192.0.2.66:{port}"))));
    assert_eq!(again.count(), 2);
}

#[test]
fn a_flood_of_queries_from_one_source_is_answered_at_the_rate() {
    let mut world = World::new(limited(4, 1), heap(4));
    world.server.set_info(Some(b"here"));
    let mut asker = world.client(2);
    let mut buf = [0; 1_500];
    let mut answered = 0;
    for _ in 0..100 {
        asker.query(world.now, address(SERVER));
        let query = asker.poll_transmit(world.now, &mut buf).unwrap().unwrap();
        let from = address("192.0.2.66:1");
        let _ = world.server.handle_datagram(world.now, from.into(), &mut buf[..query.len]);
        answered += u32::from(world.server.poll_transmit(world.now, &mut buf).unwrap().is_some());
    }
    assert_eq!(answered, 4, "the first one counts, too, on memory that had not grown yet");
}

#[test]
fn those_who_flood_from_many_addresses_keep_nobody_out() {
    let mut world = World::new(limited(2, 1), heap(32));
    for round in 0..50 {
        for host in 0..200 {
            let from = address(&format!("198.51.100.{host}:{round}"));
            let mut client = world.client(3);
            client.connect_plain(world.now, address(SERVER), b"").unwrap();
            let mut buf = [0; 1_500];
            let hello = client.poll_transmit(world.now, &mut buf).unwrap().unwrap();
            let _ = world.server.handle_datagram(world.now, from.into(), &mut buf[..hello.len]);
            while world.server.poll_transmit(world.now, &mut buf).unwrap().is_some() {}
        }
    }
    assert!((0..20).all(|host| world.lets_in(address(&format!("192.0.2.{host}:1")))));
}

#[test]
fn a_source_has_no_more_sessions_than_it_may() {
    fn check<S: Storage>(config: Config, storage: S) {
        let mut world = World::new(Config { source_sessions_max: 2, ..config }, storage);
        let from = |host: u8, port: u16| address(&format!("192.0.2.{host}:{port}"));
        let (mut first, event) = world.call(from(1, 1));
        assert!(matches!(event, Some(Event::Connected(_))));
        assert!(world.lets_in(from(1, 2)));
        let (_, event) = world.call(from(1, 3));
        let Some(Event::Disconnected(_, reason)) = event else { panic!("{event:?}") };
        assert_eq!(reason, ids(RefuseReason::Full));
        assert!(world.dropped(DropReason::RateLimited) > 0);
        assert!(world.lets_in(from(2, 1)), "another source");

        // Who begins anew takes the place of his own session.
        assert!(world.lets_in(from(1, 2)));
        // A session that is over makes room, as soon as the application knows.
        let before = world.server.in_use().peers;
        let told = world.events();
        let Some(Event::Connected(at_server)) = told.first() else { panic!("{told:?}") };
        world.server.close(world.now, *at_server, CloseReason(1));
        world.exchange(&mut first, from(1, 1));
        world.events();
        assert!(world.server.in_use().peers < before);
        assert!(world.lets_in(from(1, 4)));
        assert!(!world.lets_in(from(1, 5)));
    }
    check(Config::new(1), heap(16));
    // Counts move when their memory grows: many others connect in between.
    let mut world = World::new(Config { source_sessions_max: 2, ..Config::new(1) }, heap(200));
    let mine = |port: u16| address(&format!("192.0.2.1:{port}"));
    assert!(world.lets_in(mine(1)) && world.lets_in(mine(2)));
    for host in 0..100 {
        assert!(world.lets_in(address(&format!("198.51.100.{host}:1"))));
    }
    assert!(!world.lets_in(mine(3)));
    let mut memory = Fixed::<6, 1, 96, 240, 128>::new();
    check(Config { application: 1, ..Config::small(1) }, &mut memory);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let with = |config: Config| Endpoint::plain(config, &SipHash, &[1; 32], heap(1)).map(drop);
    for (burst, per_second) in [(0, 1), (1, 0), (1, 1_001), (3_600, 1)] {
        assert_eq!(with(limited(burst, per_second)), Err(ConfigError::HandshakeRate));
    }
    assert_eq!(with(limited(3_599, 1)), Ok(()));
    let none = Config { handshake_rate: None, ..Config::new(1) };
    assert_eq!(with(none), Ok(()));
    let nobody = Config { source_sessions_max: 0, ..none };
    assert_eq!(with(nobody), Err(ConfigError::SourceSessions));
}
