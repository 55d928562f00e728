//! Long runs: that the simulator does not tire, and how fast it is.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core, reason = "tests have std")]

use bowline_core::{
    Address, BufferTooShort, DropReason, Duration, Instant, Machine, Received, Transmit,
};
use bowline_sim::{Link, Net, PERCENT, cases, replay_on_panic};

/// Keeps so many datagrams of 200 bytes a second on the way to its peer and counts what it gets.
struct Stream {
    peer: Address,
    next: Instant,
    gap: Duration,
    received: u64,
}

impl Machine for Stream {
    fn handle_datagram(
        &mut self,
        _now: Instant,
        _from: Received,
        _datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.received += 1;
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        if now < self.next {
            return Ok(None);
        }
        self.next = self.next + self.gap;
        buf[..200].fill(self.received as u8);
        Ok(Some(Transmit { to: self.peer, len: 200, segment_len: None, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Some(self.next)
    }
}

/// Pairs of nodes that stream to each other until about `datagrams` have been sent.
fn soak(seed: u64, nodes: usize, datagrams: u64) {
    let link = Link::PERFECT
        .with_delay(Duration::from_millis(30))
        .with_jitter(Duration::from_millis(20))
        .with_loss(5 * PERCENT)
        .with_duplicate(2 * PERCENT, Duration::from_millis(5))
        .with_corrupt(PERCENT)
        .with_rate(2_500_000, 64_000);
    let mut net = Net::with_nodes(seed, nodes, link);
    let gap = Duration::from_millis(1);
    let mut streams: Vec<Stream> = (0..nodes)
        .map(|node| {
            // A phase of its own, so that nodes do not act in step.
            let next = net.now() + Duration::from_micros(node as u64 * 7);
            Stream { peer: net.address(node ^ 1), next, gap, received: 0 }
        })
        .collect();
    let mut machines: Vec<&mut dyn Machine> =
        streams.iter_mut().map(|stream| stream as &mut dyn Machine).collect();
    let span = gap.saturating_mul(datagrams / nodes as u64);
    let started = std::time::Instant::now();
    net.run_for(&mut machines, span).unwrap();
    let took = started.elapsed();

    let total = net.total();
    println!(
        "{nodes} nodes, {} datagrams, {} s of virtual time: {} ms, {} ns each",
        total.sent,
        span.as_millis() / 1_000,
        took.as_millis(),
        took.as_nanos() as u64 / total.sent.max(1),
    );
    assert!(total.sent.abs_diff(datagrams) <= nodes as u64, "{total:?}");
    assert_eq!(total.in_flight(), net.in_flight() as u64);
    assert_eq!(total.delivered, streams.iter().map(|stream| stream.received).sum::<u64>());
    // 50 ms at most of 1,000 datagrams a second, and the duplicates.
    assert!(net.in_flight() < nodes * 60, "{} in flight", net.in_flight());
    assert!(total.lost.abs_diff(total.sent / 20) < total.sent / 200, "{total:?}");
}

#[test]
fn two_hundred_thousand_datagrams_between_few_and_many() {
    for case in cases!("two_hundred_thousand_datagrams_between_few_and_many", 1, 1) {
        replay_on_panic!(case);
        [2, 10, 100].iter().for_each(|nodes| soak(case.seed(), *nodes, 200_000));
    }
}

/// `cargo test --release -p bowline-sim --test soak -- --ignored --nocapture`
#[test]
#[ignore = "takes seconds in a release build"]
fn ten_million_datagrams_between_few_and_many() {
    for case in cases!("ten_million_datagrams_between_few_and_many", 1, 1) {
        replay_on_panic!(case);
        [2, 10, 100].iter().for_each(|nodes| soak(case.seed(), *nodes, 10_000_000));
    }
}
