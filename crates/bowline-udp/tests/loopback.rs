//! Machines driven over real loopback sockets.

extern crate alloc;

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;
use std::net;
use std::time::Instant;

use bowline_core::{Address, BufferTooShort, DropReason, Machine, Received, Transmit};
use bowline_udp::{Arrival, Clock, Driver, UdpSocket, canonical};

/// Sends what is queued, echoes what arrives, and has a deadline if told to.
#[derive(Default)]
struct Toy {
    queue: VecDeque<(Address, Vec<u8>, Option<NonZeroU16>)>,
    seen: Vec<(Address, Vec<u8>)>,
    echoes: bool,
    deadline: Option<bowline_core::Instant>,
    /// When it was asked to transmit at or after its deadline.
    fired: Option<bowline_core::Instant>,
    /// Called for each datagram that arrives.
    on_datagram: Option<Box<dyn FnMut()>>,
}

impl Toy {
    fn echo() -> Self {
        Self { echoes: true, ..Self::default() }
    }

    fn queue(&mut self, to: impl Into<Address>, datagram: &[u8]) {
        self.queue.push_back((to.into(), datagram.to_vec(), None));
    }
}

impl Machine for Toy {
    fn handle_datagram(
        &mut self,
        _: bowline_core::Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        assert_eq!(from.ecn, None);
        if let Some(on_datagram) = &mut self.on_datagram {
            on_datagram();
        }
        if datagram == b"bad" {
            return Err(DropReason::Malformed);
        }
        self.seen.push((from.from, datagram.to_vec()));
        if self.echoes {
            self.queue(from.from, datagram);
        }
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        now: bowline_core::Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.fired = Some(now);
        }
        let Some((to, bytes, segment_len)) = self.queue.pop_front() else { return Ok(None) };
        let len = bytes.len();
        let Some(room) = buf.get_mut(..len) else {
            self.queue.push_front((to, bytes, segment_len));
            return Err(BufferTooShort { needed: len });
        };
        room.copy_from_slice(&bytes);
        Ok(Some(Transmit { to, len, segment_len, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<bowline_core::Instant> {
        if self.queue.is_empty() { self.deadline } else { Some(bowline_core::Instant::ZERO) }
    }
}

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
/// The longest payload that an untuned system sends: over IPv4, 65,535 bytes less the headers.
const LONGEST: usize = if cfg!(target_vendor = "apple") { 9_216 } else { 65_507 };
/// Longer than any wait that should end by itself.
const PATIENCE: Duration = Duration::from_secs(20);

fn has_v6() -> bool {
    let has = net::UdpSocket::bind(V6).is_ok();
    if !has {
        println!("SKIPPED: no IPv6 loopback");
    }
    has
}

/// A plain socket that fails rather than waits for ever.
fn plain(address: &str) -> net::UdpSocket {
    let socket = net::UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn driver(address: &str) -> (Driver, SocketAddr) {
    let driver = Driver::bind(address).unwrap();
    let local = driver.socket().local_addr().unwrap();
    (driver, local)
}

/// Drives until `done`, or fails.
fn drive_until(driver: &mut Driver, toy: &mut Toy, done: impl Fn(&Toy) -> bool) {
    let start = Instant::now();
    while !done(toy) {
        driver.drive(toy, Some(Duration::from_millis(20))).unwrap();
        assert!(start.elapsed() < PATIENCE, "nothing came");
    }
}

fn closed_port(address: &str) -> SocketAddr {
    plain(address).local_addr().unwrap()
}

fn round_trip(address: &str) {
    let (mut near, _) = driver(address);
    let (mut far, far_addr) = driver(address);
    let (mut client, mut server) = (Toy::default(), Toy::echo());
    let longest = vec![0xa5; LONGEST];
    // One at a time: a socket's buffer need not hold more than one of the longest.
    for (count, datagram) in [&b"knots"[..], b"", &longest, b"!"].into_iter().enumerate() {
        client.queue(far_addr, datagram);
        near.drive(&mut client, Some(Duration::ZERO)).unwrap();
        drive_until(&mut far, &mut server, |server| server.seen.len() > count);
        drive_until(&mut near, &mut client, |client| client.seen.len() > count);
        assert_eq!(client.seen[count], (far_addr.into(), datagram.to_vec()));
    }
    for stats in [near.stats(), far.stats()] {
        assert_eq!((stats.sent, stats.received), (4, 4));
        let bytes = LONGEST as u64 + 6;
        assert_eq!((stats.sent_bytes, stats.received_bytes), (bytes, bytes));
    }
}

#[test]
fn datagrams_of_any_length_make_the_round_trip_over_ipv4() {
    round_trip(V4);
}

#[test]
fn datagrams_of_any_length_make_the_round_trip_over_ipv6() {
    if has_v6() {
        round_trip(V6);
    }
}

/// Whether "ping", queued before a turn, was answered by "pong" in it.
fn is_answered_in_its_turn(max_wait: Option<Duration>) -> bool {
    let (mut driver, local) = driver(V4);
    let peer = plain(V4);
    let mut toy = Toy::default();
    toy.queue(peer.local_addr().unwrap(), b"ping");
    let answering = std::thread::spawn(move || {
        let mut buf = [0; 16];
        let len = peer.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], b"ping");
        std::thread::sleep(Duration::from_millis(50));
        peer.send_to(b"pong", local).unwrap();
    });
    let progress = driver.drive(&mut toy, max_wait).unwrap();
    assert_eq!((progress.sent, progress.more), (1, false));
    answering.join().unwrap();
    drive_until(&mut driver, &mut toy, |toy| !toy.seen.is_empty());
    assert_eq!(toy.seen[0].1, b"pong");
    progress.received == 1
}

#[test]
fn what_was_queued_between_turns_is_sent_before_sleeping() {
    assert!(is_answered_in_its_turn(Some(PATIENCE)));
}

#[test]
fn nothing_sleeps_for_ever_over_what_sending_may_have_told_the_application() {
    assert!(!is_answered_in_its_turn(None));
}

#[test]
fn nothing_sleeps_for_ever_over_a_deadline_that_passed_in_between() {
    let (mut driver, local) = driver(V4);
    let mut toy = Toy { deadline: Some(driver.now()), ..Toy::default() };
    // Ends a sleep that should not be.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        plain(V4).send_to(b"wake up", local).unwrap();
    });
    assert_eq!(driver.drive(&mut toy, None).unwrap().received, 0);
    assert!(toy.fired.is_some());
}

#[test]
fn what_arrives_in_a_turn_is_answered_in_it() {
    let (mut driver, local) = driver(V4);
    let peer = plain(V4);
    peer.send_to(b"ping", local).unwrap();
    let progress = driver.drive(&mut Toy::echo(), Some(PATIENCE)).unwrap();
    assert_eq!((progress.received, progress.sent), (1, 1));
    assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 4);
}

#[test]
fn what_the_machine_drops_is_counted() {
    let (mut driver, local) = driver(V4);
    let peer = plain(V4);
    peer.send_to(b"bad", local).unwrap();
    peer.send_to(b"good", local).unwrap();
    let mut toy = Toy::default();
    let mut dropped = 0;
    while toy.seen.is_empty() {
        dropped += driver.drive(&mut toy, Some(PATIENCE)).unwrap().dropped;
    }
    assert_eq!((dropped, driver.stats().received), (1, 2));
}

#[test]
fn a_deadline_ends_the_sleep_and_is_acted_on_in_the_same_turn() {
    let (mut driver, _) = driver(V4);
    // One that whole milliseconds cannot express.
    let deadline = driver.now() + bowline_core::Duration::from_micros(30_250);
    let mut toy = Toy { deadline: Some(deadline), ..Toy::default() };
    let start = Instant::now();
    driver.drive(&mut toy, Some(PATIENCE)).unwrap();
    assert!(toy.fired.expect("the sleep ended too early") >= deadline);
    assert!(start.elapsed() < PATIENCE / 2, "the sleep did not end at the deadline");
}

#[test]
fn the_longest_wait_ends_the_sleep_before_the_deadline() {
    let (mut driver, _) = driver(V4);
    let deadline = driver.now() + bowline_core::Duration::from_secs(3_600);
    let mut toy = Toy { deadline: Some(deadline), ..Toy::default() };
    let wait = Duration::from_millis(20);
    let start = Instant::now();
    driver.drive(&mut toy, Some(wait)).unwrap();
    assert!(start.elapsed() >= wait);
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(toy.fired, None);
}

#[test]
fn a_deadline_at_the_end_of_time_is_waited_for() {
    let (mut driver, local) = driver(V4);
    plain(V4).send_to(b"ping", local).unwrap();
    let mut toy = Toy { deadline: Some(bowline_core::Instant::MAX), ..Toy::default() };
    assert_eq!(driver.drive(&mut toy, None).unwrap().received, 1);
}

#[test]
fn a_zero_wait_returns_at_once_and_takes_what_is_there() {
    let (mut driver, local) = driver(V4);
    let mut toy = Toy::default();
    assert_eq!(driver.drive(&mut toy, Some(Duration::ZERO)).unwrap(), Default::default());
    plain(V4).send_to(b"ping", local).unwrap();
    driver.socket().wait(Some(PATIENCE)).unwrap();
    assert_eq!(driver.drive(&mut toy, Some(Duration::ZERO)).unwrap().received, 1);
}

#[test]
fn an_idle_driver_sleeps() {
    let (mut driver, _) = driver(V4);
    let mut toy = Toy::default();
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < Duration::from_millis(200) {
        driver.drive(&mut toy, Some(Duration::from_millis(10))).unwrap();
        turns += 1;
    }
    assert!((1..=20).contains(&turns), "{turns} turns of at least 10 ms in 200 ms");
}

#[test]
fn a_closed_port_is_not_fatal() {
    for address in [V4, V6] {
        if address == V6 && !has_v6() {
            continue;
        }
        let nobody = closed_port(address);
        let (mut driver, local) = driver(address);
        let mut toy = Toy::default();
        let mut tried = 0;
        for _ in 0..3 {
            toy.queue(nobody, b"anyone?");
            let progress = driver.drive(&mut toy, Some(Duration::from_millis(5))).unwrap();
            tried += progress.sent + progress.lost;
        }
        assert_eq!(tried, 3);
        // Linux says nothing to a socket that is not connected; other systems may.
        assert!(driver.stats().sent + driver.stats().unreachable >= 3);
        plain(address).send_to(b"still here", local).unwrap();
        drive_until(&mut driver, &mut toy, |toy| !toy.seen.is_empty());
    }
}

/// On Linux only a connected socket reports ICMP errors, and takes a destination all the same.
#[cfg(target_os = "linux")]
#[test]
fn a_reported_icmp_error_is_counted_and_does_not_keep_the_driver_awake() {
    let socket = net::UdpSocket::bind(V4).unwrap();
    let nobody = closed_port(V4);
    socket.connect(nobody).unwrap();
    let mut driver = Driver::new(UdpSocket::from_std(socket).unwrap());
    let mut toy = Toy::default();
    toy.queue(nobody, b"anyone?");
    let start = Instant::now();
    while driver.stats().unreachable == 0 {
        driver.drive(&mut toy, Some(Duration::from_millis(5))).unwrap();
        assert!(start.elapsed() < PATIENCE);
    }
    let start = Instant::now();
    driver.drive(&mut toy, Some(Duration::from_millis(20))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!((driver.stats().sent, driver.stats().unreachable), (1, 1));
    assert_eq!(driver.stats().received, 0);
}

#[test]
fn an_oversize_datagram_is_counted_and_the_next_one_is_sent() {
    let (mut driver, _) = driver(V4);
    let peer = plain(V4);
    let to = peer.local_addr().unwrap();
    let mut toy = Toy::default();
    toy.queue(to, &[0; 65_508]);
    toy.queue(to, b"short");
    let progress = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!((progress.sent, progress.lost), (1, 1));
    assert_eq!((driver.stats().sent, driver.stats().too_long), (1, 1));
    assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn a_machine_gets_room_for_any_udp_datagram_and_no_more() {
    let (mut driver, _) = driver(V4);
    let to = plain(V4).local_addr().unwrap();
    let mut toy = Toy::default();
    toy.queue(to, &[0; 65_535]);
    driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    toy.queue(to, &[0; 65_537]);
    let error = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn addresses_that_cannot_be_sent_to_are_counted() {
    let (mut driver, _) = driver(V4);
    let mut toy = Toy::default();
    toy.queue(Address::from_raw(b"node 7").unwrap(), b"x");
    toy.queue("[::1]:7777".parse::<SocketAddr>().unwrap(), b"x");
    toy.queue("127.0.0.1:0".parse::<SocketAddr>().unwrap(), b"x");
    let progress = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!((progress.sent, progress.lost), (0, 3));
    assert_eq!((driver.stats().sent, driver.stats().unsendable), (0, 3));
}

#[test]
fn a_broadcast_is_refused_and_counted() {
    let (mut driver, _) = driver("0.0.0.0:0");
    let mut toy = Toy::default();
    toy.queue("255.255.255.255:7777".parse::<SocketAddr>().unwrap(), b"x");
    let progress = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!((progress.sent, progress.lost), (0, 1));
    let stats = driver.stats();
    assert_eq!(stats.not_permitted + stats.unreachable, 1, "{stats:?}");
}

#[test]
fn a_train_is_split_into_its_segments() {
    let (mut driver, _) = driver(V4);
    let peer = plain(V4);
    let mut toy = Toy::default();
    for (bytes, segment_len) in [(&b"aaaabbbbcc"[..], 4), (b"ddddeeee", 4), (b"f", 4), (b"", 4)] {
        let to = peer.local_addr().unwrap().into();
        toy.queue.push_back((to, bytes.to_vec(), NonZeroU16::new(segment_len)));
    }
    let progress = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!((progress.sent, driver.stats().sent_bytes), (7, 19));
    let mut buf = [0; 16];
    for segment in ["aaaa", "bbbb", "cc", "dddd", "eeee", "f", ""] {
        let len = peer.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], segment.as_bytes());
    }
}

#[test]
fn an_endless_flood_does_not_keep_the_machine_from_sending() {
    let (mut driver, local) = driver(V4);
    let flooder = plain(V4);
    for _ in 0..8 {
        flooder.send_to(b"flood", local).unwrap();
    }
    let mut left = 100 * Driver::BATCH_MAX;
    // Whenever one is taken in, the next one comes.
    let mut toy = Toy::echo();
    toy.on_datagram = Some(Box::new(move || {
        left = left.checked_sub(1).expect("the turn has an end");
        flooder.send_to(b"flood", local).unwrap();
    }));
    // The system may be slower than the flood for a moment, but not for long.
    loop {
        let progress = driver.drive(&mut toy, Some(PATIENCE)).unwrap();
        assert_eq!(progress.sent, progress.received);
        assert!((1..=Driver::BATCH_MAX).contains(&progress.received));
        if progress.more {
            assert_eq!(progress.received, Driver::BATCH_MAX);
            break;
        }
    }
}

#[test]
fn a_bulk_transfer_does_not_keep_the_application_from_its_turn_nor_sleep() {
    let (mut driver, _) = driver(V4);
    let to = plain(V4).local_addr().unwrap();
    let mut toy = Toy::default();
    for _ in 0..3 * Driver::BATCH_MAX {
        toy.queue(to, b"bulk");
    }
    let progress = driver.drive(&mut toy, None).unwrap();
    assert_eq!((progress.sent, progress.more), (2 * Driver::BATCH_MAX, true));
    let progress = driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!((progress.sent, progress.more), (Driver::BATCH_MAX, false));
}

#[test]
fn a_peer_of_a_dual_stack_socket_has_one_address() {
    if !has_v6() {
        return;
    }
    let (mut driver, local) = driver("[::]:0");
    let mut toy = Toy::echo();
    for address in [V4, V6] {
        let peer = plain(address);
        let peer_addr = peer.local_addr().unwrap();
        peer.send_to(b"ping", SocketAddr::new(peer_addr.ip(), local.port())).unwrap();
        toy.seen.clear();
        drive_until(&mut driver, &mut toy, |toy| !toy.seen.is_empty());
        assert_eq!(toy.seen[0].0, Address::from(peer_addr));
        let (len, from) = peer.recv_from(&mut [0; 16]).unwrap();
        assert_eq!((len, from.ip(), from.port()), (4, peer_addr.ip(), local.port()));
    }
    // The application may know an IPv4 peer by its mapped address.
    let peer = plain(V4);
    let SocketAddr::V4(v4) = peer.local_addr().unwrap() else { unreachable!() };
    let mapped = SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()));
    assert_eq!(canonical(mapped), SocketAddr::V4(v4));
    toy.queue(mapped, b"hello");
    driver.drive(&mut toy, Some(Duration::ZERO)).unwrap();
    assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn a_program_for_anywhere_falls_back_to_ipv4() {
    // An address of nobody, in a range for documentation, stands for a missing IPv6.
    let addresses: [SocketAddr; 2] = ["[2001:db8::1]:0", V4].map(|text| text.parse().unwrap());
    let socket = UdpSocket::bind(&addresses[..]).unwrap();
    assert!(socket.local_addr().unwrap().is_ipv4());
    assert!(UdpSocket::bind(&addresses[..1]).is_err());
    assert!(UdpSocket::bind(&[][..]).is_err());
}

#[test]
fn a_datagram_that_fills_the_buffer_is_counted_as_truncated() {
    let mut socket = UdpSocket::bind(V4).unwrap();
    let peer = plain(V4);
    let mut buf = [0; 8];
    assert_eq!(socket.recv(&mut buf).unwrap(), Arrival::Nothing);
    for (datagram, whole) in [(&b"1234567"[..], true), (b"12345678", false), (b"123456789", false)]
    {
        peer.send_to(datagram, socket.local_addr().unwrap()).unwrap();
        socket.wait(Some(PATIENCE)).unwrap();
        let arrival = socket.recv(&mut buf).unwrap();
        assert_eq!(matches!(arrival, Arrival::Datagram(..)), whole);
    }
    assert_eq!((socket.stats().received, socket.stats().truncated), (1, 2));
}

#[test]
fn a_clone_sends_from_the_same_port_and_counts_for_itself() {
    let socket = UdpSocket::bind(V4).unwrap();
    let peer = plain(V4);
    let mut clone = socket.try_clone().unwrap();
    let to = peer.local_addr().unwrap().into();
    let transmit = Transmit { to, len: 2, segment_len: None, ecn: None };
    assert_eq!(clone.send(&transmit, b"hi, all").unwrap().sent, 1);
    let (len, from) = peer.recv_from(&mut [0; 16]).unwrap();
    assert_eq!((len, from), (2, socket.local_addr().unwrap()));
    assert_eq!((clone.stats().sent, socket.stats().sent), (1, 0));
}

#[test]
fn a_machine_can_move_to_another_driver_with_its_clock() {
    let clock = Clock::new();
    let first = Driver::with_clock(UdpSocket::bind(V4).unwrap(), clock);
    let second = Driver::with_clock(UdpSocket::bind(V4).unwrap(), first.clock());
    let later = Instant::now() + PATIENCE;
    assert_eq!(second.clock().at(later), clock.at(later));
    assert!(second.now() <= clock.at(later));
}
