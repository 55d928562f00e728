//! What lies between the machines, seen by them.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core, reason = "tests have std")]

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bowline_core::{Address, DropReason, Duration};
use bowline_sim::{
    AddressTaken, Arrival, Departure, Link, Loss, Mailbox, Net, NodeId, PERCENT, Sighting, Tap,
};
use common::{Chatter, after};

const MS: Duration = Duration::from_millis(1);

fn received(mailbox: &mut Mailbox) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| mailbox.receive()).map(|letter| letter.bytes).collect()
}

fn address(text: &str) -> Address {
    text.parse::<SocketAddr>().unwrap().into()
}

#[test]
fn links_belong_to_a_direction_and_the_default_to_all_others() {
    let mut net = Net::with_nodes(1, 3, Link::PERFECT.with_delay(MS));
    net.set_link(0, 1, Link::DOWN);
    net.link(0, 2, Link::PERFECT.with_payload_max(2));
    let addresses = [net.address(0), net.address(1), net.address(2)];
    let chance = |loss| Departure::Lost(loss);
    let passed = Departure::Passed { queued: Duration::ZERO };
    assert_eq!(net.send(0, addresses[1], b"abc"), chance(Loss::Outage));
    assert_eq!(net.send(1, addresses[0], b"abc"), passed);
    assert_eq!(net.send(0, addresses[2], b"abc"), chance(Loss::TooLong));
    assert_eq!(net.send(2, addresses[0], b"abc"), chance(Loss::TooLong));
    assert_eq!(net.send(2, addresses[0], b"ab"), passed);
    assert_eq!(net.send(2, address("9.9.9.9:9"), b"ab"), chance(Loss::Unroutable));
    assert_eq!(net.unroutable(2), 1);
    net.set_default_link(Link::DOWN);
    assert_eq!(net.send(1, addresses[0], b"abc"), chance(Loss::Outage));
    assert_eq!(net.send(1, addresses[2], b"abc"), chance(Loss::Outage));
    assert_eq!(net.send(0, addresses[2], b""), passed);
}

#[test]
fn an_outage_loses_what_is_sent_in_it_and_nothing_else() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT.with_delay(MS.saturating_mul(5)));
    let start = net.now();
    let link = Link::PERFECT.with_delay(MS.saturating_mul(5));
    net.link(0, 1, link.with_outage(after(start, 10_000), after(start, 20_000)));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    for i in 0..30_u8 {
        net.run_until(&mut [&mut a, &mut b], after(start, u64::from(i) * 1_000)).unwrap();
        a.send(net.address(1), &[i]);
    }
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(10)).unwrap();
    let expected: Vec<Vec<u8>> = (0..10).chain(20..30).map(|i| vec![i]).collect();
    assert_eq!(received(&mut b), expected);
    assert_eq!(net.counters(0, 1).outage, 10);
}

#[test]
fn a_rebound_node_speaks_from_its_new_address_and_is_deaf_on_the_old() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT.with_delay(MS));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    let (old, new) = (net.address(0), address("10.0.0.1:50000"));
    b.send(old, b"in flight");
    net.run_for(&mut [&mut a, &mut b], Duration::from_micros(1)).unwrap();
    assert_eq!(net.rebind(0, net.address(1)), Err(AddressTaken));
    assert_eq!(net.rebind(0, new), Ok(old));
    b.send(old, b"too late");
    b.send(new, b"to the new one");
    a.send(net.address(1), b"from the new one");
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(2)).unwrap();
    assert_eq!(received(&mut a), [b"to the new one"]);
    assert_eq!(b.receive().unwrap().from, new);
    assert_eq!((net.counters(1, 0).vanished, net.unroutable(1)), (1, 1));
    // The old address is free for somebody else, and for the same node again.
    assert_eq!(net.rebind(0, new), Ok(new));
    assert_eq!(net.add_node(new), Err(AddressTaken));
    assert_eq!(net.add_node(old), Ok(NodeId::new(2)));
}

#[test]
fn the_rate_is_kept_and_the_queue_is_full_when_it_says() {
    // 1 byte per microsecond with headers: 972 bytes of payload take a millisecond.
    let mut net = Net::with_nodes(1, 2, Link::PERFECT.with_rate(1_000_000, 10_000));
    let start = net.now();
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    (0..50).for_each(|i| a.send(net.address(1), &[i; 972]));
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(100)).unwrap();
    let arrivals: Vec<(u64, u8)> = std::iter::from_fn(|| b.receive())
        .map(|letter| ((letter.at - start).as_micros(), letter.bytes[0]))
        .collect();
    let expected: Vec<(u64, u8)> = (0..10).map(|i| (u64::from(i) * 1_000 + 1_000, i)).collect();
    assert_eq!(arrivals, expected);
    let counters = net.counters(0, 1);
    assert_eq!((counters.queue_full, counters.queue_max), (40, 10_000));
}

#[test]
fn a_share_of_datagrams_is_overtaken() {
    let link = Link::PERFECT.with_delay(MS).with_reorder(10 * PERCENT, MS.saturating_mul(3));
    let mut net = Net::with_nodes(5, 2, link);
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    for i in 0..2_000_u32 {
        a.send(net.address(1), &i.to_be_bytes());
        net.run_for(&mut [&mut a, &mut b], MS).unwrap();
    }
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(10)).unwrap();
    let received = received(&mut b);
    let mut newest = &received[0];
    let mut overtaken = 0;
    for bytes in &received {
        if bytes < newest {
            overtaken += 1;
        } else {
            newest = bytes;
        }
    }
    assert_eq!(received.len(), 2_000);
    assert_eq!(net.counters(0, 1).reordered, overtaken);
    // One in ten is late; of those, only followers that are late too keep it from being overtaken.
    assert!((140..260).contains(&overtaken), "{overtaken} overtaken");
}

#[test]
fn damage_happens_on_the_way_and_not_to_the_sender() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT.with_corrupt(20 * PERCENT));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    (0..1_000).for_each(|_| a.send(net.address(1), &[7; 50]));
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    let damaged = received(&mut b).iter().filter(|bytes| **bytes != [7; 50]).count() as u64;
    assert_eq!(damaged, net.counters(0, 1).corrupted);
    assert!((130..270).contains(&damaged), "{damaged} damaged");
}

#[test]
fn traffic_in_one_direction_does_not_change_the_luck_of_another() {
    let link = Link::HOSTILE;
    let arrivals = |noise: bool| {
        let mut net = Net::with_nodes(9, 3, link);
        let start = net.now();
        let mut machines = [Mailbox::new(), Mailbox::new(), Mailbox::new()];
        let [a, b, c] = &mut machines;
        for i in 0..500_u32 {
            if noise {
                b.send(net.address(0), b"noise");
                c.send(net.address(0), b"noise");
                a.send(net.address(2), b"noise");
            }
            a.send(net.address(1), &i.to_be_bytes());
            net.run_for(&mut [a, b, c], MS).unwrap();
        }
        net.run_for(&mut [a, b, c], Duration::from_secs(2)).unwrap();
        let letters = std::iter::from_fn(|| b.receive());
        letters.map(|letter| (letter.at - start, letter.bytes)).collect::<Vec<_>>()
    };
    let quiet = arrivals(false);
    assert!(quiet.len() > 300);
    assert_eq!(quiet, arrivals(true));
}

#[test]
fn a_filter_loses_exactly_what_it_is_told_to() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let mut count = 0;
    net.set_filter(move |node, seen| {
        count += 1;
        node == NodeId::new(0) && count != 3 && seen.bytes != [4]
    });
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    (0..6).for_each(|i| a.send(net.address(1), &[i]));
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert_eq!(received(&mut b), [[0], [1], [3], [5]]);
    assert_eq!(net.counters(0, 1).filtered, 2);
    net.clear_filter();
    a.send(net.address(1), &[4]);
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert_eq!(b.len(), 1);
}

#[test]
fn what_is_injected_arrives_when_it_should_and_from_whom_it_says() {
    let mut net = Net::with_nodes(1, 1, Link::DOWN);
    let at = net.now() + MS;
    let forged = address("6.6.6.6:6");
    net.inject(at, forged, net.address(0), b"hello");
    net.inject(at, forged, address("7.7.7.7:7"), b"nobody");
    let mut a = Mailbox::new();
    net.run_for(&mut [&mut a], MS.saturating_mul(2)).unwrap();
    let letter = a.receive().unwrap();
    assert_eq!((letter.at, letter.from, &letter.bytes[..]), (at, forged, &b"hello"[..]));
    let total = net.total();
    assert_eq!((total.sent, total.delivered, total.vanished, total.in_flight()), (2, 1, 1, 0));
}

#[test]
fn refusals_are_counted_by_reason() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let (mut a, mut b) = (Mailbox::new(), Chatter::new(0, Vec::new(), 0));
    a.send(net.address(1), b"");
    a.send(net.address(1), b"fine");
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert_eq!(net.refused(1, DropReason::Truncated), 1);
    assert_eq!((net.refused_total(1), net.refused_total(0)), (1, 0));
}

#[test]
fn a_tap_sees_every_departure_and_every_arrival() {
    #[derive(Default)]
    struct Log(Rc<RefCell<Vec<String>>>);
    impl Tap for Log {
        fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, fate: Departure) {
            self.0.borrow_mut().push(format!("{} {:?} {fate:?}", node.index(), seen.bytes));
        }
        fn arrival(&mut self, node: Option<NodeId>, seen: &Sighting<'_>, fate: Arrival) {
            let node = node.map(NodeId::index);
            let fate = match fate {
                Arrival::Taken { sent } => format!("after {}", (seen.at - sent).as_micros()),
                fate => format!("{fate:?}"),
            };
            self.0.borrow_mut().push(format!("{node:?} {:?} {fate}", seen.bytes));
        }
    }
    let log = Rc::new(RefCell::new(Vec::new()));
    let link = Link::PERFECT.with_delay(MS).with_rate(30_000_000, 40).with_payload_max(3);
    let mut net = Net::with_nodes(1, 2, link);
    net.add_tap(Box::new(Log(log.clone())));
    net.stall(1, net.now(), net.now() + MS.saturating_mul(9));
    net.set_socket_buffer(1, 30);
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    for bytes in [&[1, 2][..], &[3, 4, 5, 6], &[7], &[8]] {
        a.send(net.address(1), bytes);
    }
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(2)).unwrap();
    a.send(net.address(1), &[9]);
    net.run_for(&mut [&mut a, &mut b], Duration::from_micros(1)).unwrap();
    net.rebind(1, address("1.1.1.1:1")).unwrap();
    net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(2)).unwrap();
    let expected = [
        "0 [1, 2] Passed { queued: Duration(0) }",
        "0 [3, 4, 5, 6] Lost(TooLong)",
        "0 [7] Lost(QueueFull)",
        "0 [8] Lost(QueueFull)",
        "Some(1) [1, 2] after 1001",
        "0 [9] Passed { queued: Duration(0) }",
        "None [9] Vanished",
    ];
    assert_eq!(*log.borrow(), expected);
}
