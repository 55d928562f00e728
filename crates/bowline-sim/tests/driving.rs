//! When the network calls its machines, and when it gives up on them.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core, reason = "tests have std")]

mod common;

use std::cell::Cell;
use std::num::NonZeroU16;
use std::rc::Rc;

use bowline_core::{BufferTooShort, Duration, Ecn, Instant, Machine, Transmit};
use bowline_sim::{Fault, Link, Mailbox, Net, NodeId, Step};
use common::{Echo, Puppet, after};

const MS: Duration = Duration::from_millis(1);

fn one_way(delay: Duration) -> Link {
    Link::PERFECT.with_delay(delay)
}

#[test]
fn a_step_sends_waits_and_hands_in() {
    let mut net = Net::with_nodes(1, 2, one_way(MS));
    let start = net.now();
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    a.send(net.address(1), b"x");
    assert_eq!(net.step(&mut [&mut a, &mut b]), Ok(Step::Due));
    assert_eq!(net.now(), after(start, 1_000));
    assert_eq!(net.due(), [NodeId::new(1)]);
    let letter = b.receive().unwrap();
    assert_eq!((letter.at, letter.from), (net.now(), net.address(0)));
    // The answer leaves at the instant the application gave it.
    b.send(letter.from, b"y");
    assert_eq!(net.step(&mut [&mut a, &mut b]), Ok(Step::Due));
    assert_eq!(net.now(), after(start, 2_000));
    assert_eq!(a.receive().unwrap().bytes, b"y");
    assert_eq!(net.step(&mut [&mut a, &mut b]), Ok(Step::Idle));
    assert_eq!(net.now(), after(start, 2_000));
}

#[test]
fn a_deadline_is_reached_exactly_and_what_is_due_then_has_happened() {
    let mut net = Net::with_nodes(1, 2, one_way(MS));
    let start = net.now();
    let (mut a, mut b) = (Mailbox::new(), Echo::default());
    a.send(net.address(1), b"x");
    assert_eq!(net.run_until(&mut [&mut a, &mut b], after(start, 1_999)), Ok(Step::Deadline));
    assert_eq!((net.now(), b.count, a.len()), (after(start, 1_999), 1, 0));
    assert_eq!(net.run_for(&mut [&mut a, &mut b], Duration::from_micros(1)), Ok(Step::Deadline));
    assert_eq!((net.now(), a.len()), (after(start, 2_000), 1));
    // A deadline in the past is now.
    net.set_link(0, 1, Link::PERFECT);
    a.send(net.address(1), b"y");
    assert_eq!(net.run_until(&mut [&mut a, &mut b], start), Ok(Step::Deadline));
    assert_eq!((net.now(), b.count), (after(start, 2_000), 2));
}

#[test]
fn an_exchange_takes_no_time() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let start = net.now();
    let (mut a, mut b) = (Mailbox::new(), Echo::default());
    a.send(net.address(1), b"x");
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert_eq!((net.now(), a.len()), (start, 1));
}

#[test]
fn a_timeout_is_met_to_the_microsecond() {
    let mut net = Net::with_nodes(1, 1, Link::PERFECT);
    let due = after(net.now(), 12_345);
    let fired = Rc::new(Cell::new(None));
    let fires = fired.clone();
    let timeout = fired.clone();
    let mut timer = Puppet {
        transmit: move |now, _: &mut [u8]| {
            if now >= due {
                fires.set(Some(now));
            }
            Ok(None)
        },
        timeout: move || timeout.get().is_none().then_some(due),
    };
    assert_eq!(net.step(&mut [&mut timer]), Ok(Step::Due));
    assert_eq!((net.now(), fired.get()), (due, None));
    assert_eq!(net.step(&mut [&mut timer]), Ok(Step::Idle));
    assert_eq!(fired.get(), Some(due));
}

#[test]
fn the_end_of_time_is_nothing_to_wait_for() {
    let mut net = Net::with_nodes(1, 1, Link::PERFECT);
    let mut never = Puppet { transmit: |_, _: &mut [u8]| Ok(None), timeout: || Some(Instant::MAX) };
    net.set_default_link(one_way(Duration::MAX));
    net.send(0, net.address(0), b"never arrives");
    let now = net.now();
    assert_eq!(net.step(&mut [&mut never]), Ok(Step::Idle));
    assert_eq!((net.now(), net.in_flight()), (now, 1));
}

#[test]
fn machines_that_are_due_together_are_polled_in_order() {
    let mut net = Net::with_nodes(1, 3, Link::PERFECT);
    let (mut a, mut b, mut c) = (Echo::default(), Echo::default(), Mailbox::new());
    c.send(net.address(1), b"to the second first");
    c.send(net.address(0), b"to the first second");
    net.exchange(&mut [&mut a, &mut b, &mut c]).unwrap();
    let order = [c.receive().unwrap().from, c.receive().unwrap().from];
    assert_eq!(order, [net.address(0), net.address(1)]);
}

#[test]
fn trains_are_split_and_empty_datagrams_are_sent() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let to = net.address(1);
    let mut trains = vec![(0, None), (5, NonZeroU16::new(2)), (4, NonZeroU16::new(2)), (3, None)];
    let mut sender = Puppet {
        transmit: move |_, buf: &mut [u8]| {
            buf[..5].copy_from_slice(b"abcde");
            let ecn = Some(Ecn::Ect0);
            Ok(trains.pop().map(|(len, segment_len)| Transmit { to, len, segment_len, ecn }))
        },
        timeout: || None,
    };
    let mut receiver = Mailbox::new();
    net.exchange(&mut [&mut sender, &mut receiver]).unwrap();
    let mut received = Vec::new();
    while let Some(letter) = receiver.receive() {
        assert_eq!(letter.ecn, Some(Ecn::Ect0));
        received.push(String::from_utf8(letter.bytes).unwrap());
    }
    assert_eq!(received, ["abc", "ab", "cd", "ab", "cd", "e", ""]);
}

#[test]
fn a_node_with_a_frame_rate_is_called_once_per_frame() {
    let mut net = Net::with_nodes(1, 2, one_way(MS));
    let start = net.now();
    net.poll_every(1, after(start, 5_000), Duration::from_millis(16));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    let mut seen = Vec::new();
    for sent in [0, 10, 100, 19_000, 30_000] {
        net.run_until(&mut [&mut a, &mut b], after(start, sent)).unwrap();
        a.send(net.address(1), &[1]);
    }
    while net.now() < after(start, 60_000) {
        net.step_until(&mut [&mut a, &mut b], after(start, 60_000)).unwrap();
        while let Some(letter) = b.receive() {
            seen.push((letter.at - start).as_micros());
        }
    }
    // Those sent at 0, 10 and 100 wait for 5 ms, the fourth arrives at 20 for 21, the last for 37.
    assert_eq!(seen, [5_000, 5_000, 5_000, 21_000, 37_000]);
}

#[test]
fn what_an_application_sends_in_its_frame_leaves_in_its_frame() {
    let mut net = Net::with_nodes(1, 2, one_way(MS));
    let start = net.now();
    net.poll_every(0, after(start, 10_000), Duration::from_millis(10));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    let mut frames = 0;
    while net.now() < after(start, 100_000) {
        net.step_until(&mut [&mut a, &mut b], after(start, 100_000)).unwrap();
        assert_eq!(net.is_awake(0), (net.now() - start).as_micros().is_multiple_of(10_000));
        if net.is_awake(0) && net.now() < after(start, 100_000) && net.due().contains(&0.into()) {
            frames += 1;
            a.send(net.address(1), &[]);
        }
    }
    assert_eq!(frames, 9);
    let mut arrivals = Vec::new();
    while let Some(letter) = b.receive() {
        arrivals.push((letter.at - start).as_micros());
    }
    assert_eq!(arrivals, [11_000, 21_000, 31_000, 41_000, 51_000, 61_000, 71_000, 81_000, 91_000]);
}

#[test]
fn a_node_that_is_polled_again_when_due_gets_what_had_waited() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    net.poll_every(1, net.now() + MS, Duration::from_secs(1));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    a.send(net.address(1), b"x");
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert!(b.is_empty());
    net.poll_when_due(1);
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert_eq!(b.len(), 1);
    assert_eq!(net.step(&mut [&mut a, &mut b]), Ok(Step::Idle));
}

#[test]
fn a_frozen_node_is_not_called_and_finds_its_mail_afterwards() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let start = net.now();
    net.stall(1, after(start, 1_000), after(start, 9_000));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    for sent in [500, 1_000, 5_000, 8_999, 9_000] {
        net.run_until(&mut [&mut a, &mut b], after(start, sent)).unwrap();
        a.send(net.address(1), &[]);
    }
    net.run_until(&mut [&mut a, &mut b], after(start, 10_000)).unwrap();
    let mut at = Vec::new();
    while let Some(letter) = b.receive() {
        at.push((letter.at - start).as_micros());
    }
    assert_eq!(at, [500, 9_000, 9_000, 9_000, 9_000]);
}

#[test]
fn a_frozen_node_misses_its_timeout_and_acts_on_it_when_it_wakes() {
    let mut net = Net::with_nodes(1, 1, Link::PERFECT);
    let start = net.now();
    let acted = Rc::new(Cell::new(None));
    let (acts, waits) = (acted.clone(), acted.clone());
    let due = after(start, 2_000);
    let mut timer = Puppet {
        transmit: move |now, _: &mut [u8]| {
            assert!(!(after(start, 1_000)..after(start, 9_000)).contains(&now), "it is frozen");
            if now >= due && acts.get().is_none() {
                acts.set(Some(now));
            }
            Ok(None)
        },
        timeout: move || waits.get().is_none().then_some(due),
    };
    // The timeout is known before the stall is.
    net.run_until(&mut [&mut timer], after(start, 500)).unwrap();
    net.stall(0, after(start, 1_000), after(start, 9_000));
    for until in [1_500, 3_000, 20_000] {
        net.run_until(&mut [&mut timer], after(start, until)).unwrap();
    }
    assert_eq!(acted.get(), Some(after(start, 9_000)));
}

#[test]
fn a_node_that_freezes_when_it_is_due_is_not_forgotten() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    a.send(net.address(1), b"before the first call");
    let end = after(net.now(), 5_000);
    net.stall(0, net.now(), end);
    assert_eq!(net.step(&mut [&mut a, &mut b]), Ok(Step::Due));
    assert_eq!((net.now(), net.due()), (end, &[NodeId::new(0)][..]));
    net.stall(0, end, after(end, 7));
    net.exchange(&mut [&mut a, &mut b]).unwrap();
    assert!(b.is_empty());
    net.run_for(&mut [&mut a, &mut b], MS).unwrap();
    assert_eq!(b.receive().map(|letter| letter.at), Some(after(end, 7)));
}

#[test]
fn the_socket_of_a_frozen_node_overflows() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let start = net.now();
    net.stall(1, start, after(start, 1_000));
    net.set_socket_buffer(1, 10 * (100 + 28));
    let (mut a, mut b) = (Mailbox::new(), Mailbox::new());
    (0..15).for_each(|i| a.send(net.address(1), &[i; 100]));
    net.run_for(&mut [&mut a, &mut b], MS).unwrap();
    assert_eq!((b.len(), net.counters(0, 1).socket_full), (10, 5));
    let last = std::iter::from_fn(|| b.receive()).last().unwrap();
    assert_eq!(last.bytes, [9; 100]);
}

#[test]
fn a_deadline_that_is_never_acted_on_is_reported() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let polls = Cell::new(0);
    let mut liar = Puppet {
        transmit: |_, _: &mut [u8]| {
            polls.set(polls.get() + 1);
            Ok(None)
        },
        timeout: || Some(Instant::from_micros(3)),
    };
    let fault = net.step(&mut [&mut Mailbox::new(), &mut liar]).unwrap_err();
    let (node, now, timeout) = (NodeId::new(1), net.now(), Instant::from_micros(3));
    assert_eq!(fault, Fault::DeadlineNotActedOn { node, now, timeout });
    assert_eq!(
        fault.to_string(),
        "machine 1 has nothing to send at 1000000 us and still asks to be called at 3 us"
    );
    assert_eq!(polls.get(), bowline_sim::LATE_POLLS_MAX);
}

#[test]
fn machines_that_never_stop_are_reported() {
    let mut net = Net::with_nodes(1, 2, Link::PERFECT);
    let (to, now, node) = (net.address(0), net.now(), NodeId::new(0));
    let mut endless = Puppet {
        transmit: |_, _: &mut [u8]| {
            Ok(Some(Transmit { to, len: 0, segment_len: NonZeroU16::new(1), ecn: None }))
        },
        timeout: || None,
    };
    let mut idle = Mailbox::new();
    assert_eq!(net.step(&mut [&mut endless, &mut idle]), Err(Fault::EndlessTransmit { node, now }));

    let (mut a, mut b) = (Echo::default(), Echo::default());
    net.send(0, net.address(1), b"ball");
    let fault = net.run_for(&mut [&mut a, &mut b], MS);
    assert_eq!(fault, Err(Fault::EndlessExchange { now }));
    assert!(a.count >= 40_000, "cut short after {} rounds", a.count);
    // The same over a link that takes time is no fault.
    let mut net = Net::with_nodes(1, 2, one_way(Duration::from_micros(1)));
    net.send(0, net.address(1), b"ball");
    net.set_link(0, 1, Link::PERFECT);
    net.send(0, net.address(1), b"ball");
    assert_eq!(net.run_for(&mut [&mut a, &mut b], MS.saturating_mul(200)), Ok(Step::Deadline));
    assert!(net.total().delivered > 3 * u64::from(bowline_sim::ROUNDS_MAX));
}

#[test]
fn a_flood_at_one_instant_is_no_fault() {
    let mut net = Net::with_nodes(1, 1, Link::PERFECT);
    let mut flooded = Puppet { transmit: |_, _: &mut [u8]| Ok(None), timeout: || None };
    let flood = bowline_sim::ROUNDS_MAX + 10;
    for i in 0..2 * flood {
        if i < flood {
            net.inject(net.now(), net.address(0), net.address(0), b"forged");
        } else {
            net.send(0, net.address(0), b"to itself");
        }
        assert_eq!(net.step(&mut [&mut flooded]), Ok(Step::Due));
    }
    for _ in 0..=bowline_sim::ROUNDS_MAX {
        assert_eq!(net.exchange(&mut [&mut flooded]), Ok(()));
    }
    assert_eq!(net.total().delivered, 2 * u64::from(flood));
}

#[test]
fn a_buffer_grows_as_asked_up_to_its_limit() {
    let mut net = Net::with_nodes(1, 1, Link::PERFECT);
    let node = NodeId::new(0);
    let needed = Cell::new(100_000);
    let granted = Cell::new(0);
    let mut greedy = Puppet {
        transmit: |_, buf: &mut [u8]| {
            if buf.len() < needed.get() {
                return Err(BufferTooShort { needed: needed.get() });
            }
            granted.set(buf.len());
            Ok(None)
        },
        timeout: || None,
    };
    assert_eq!(net.step(&mut [&mut greedy]), Ok(Step::Idle));
    assert_eq!(granted.get(), 100_000);
    needed.set(bowline_sim::BUFFER_MAX + 1);
    let fault = Fault::BufferNeverLongEnough { node, needed: needed.get() };
    assert_eq!(net.step(&mut [&mut greedy]), Err(fault));

    // One that asks for less than it has will ask for ever.
    let mut confused =
        Puppet { transmit: |_, _: &mut [u8]| Err(BufferTooShort { needed: 1 }), timeout: || None };
    let fault = Fault::BufferNeverLongEnough { node, needed: 1 };
    assert_eq!(net.step(&mut [&mut confused]), Err(fault));

    let to = net.address(0);
    let mut boastful = Puppet {
        transmit: |_, buf: &mut [u8]| {
            Ok(Some(Transmit { to, len: buf.len() + 1, segment_len: None, ecn: None }))
        },
        timeout: || None,
    };
    let fault = Fault::TransmitTooLong { node, len: 100_001 };
    assert_eq!(net.step(&mut [&mut boastful]), Err(fault));
}

#[test]
#[should_panic(expected = "as many machines as nodes")]
fn a_missing_machine_is_noticed() {
    let mut alone = Mailbox::new();
    let _ = Net::with_nodes(1, 2, Link::PERFECT).step(&mut [&mut alone as &mut dyn Machine]);
}
