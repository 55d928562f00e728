//! The table of PROTOCOL.md, section 5, by the datagrams of real endpoints.

use bowline_core::{Duration, Mode, PeerId};
use bowline_native::Integrity;
use bowline_sim::Link;
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};

const MESSAGE: usize = 32;
const TRAILER: usize = 4;

/// Two endpoints that have asked and answered for a while: nothing is left to acknowledge.
fn steady() -> (Stage, PeerId, PeerId) {
    let mut plan = NodePlan::new(Kind::Heap);
    plan.config.connection_ids = false;
    let link = Link::PERFECT.with_delay(Duration::from_millis(10));
    let (mut stage, there, back) = Stage::connected(1, [plan, plan], link);
    for _ in 0..20 {
        stage.send(0, there, 0, Mode::Reliable, &bytes(1, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(10));
        stage.send(1, back, 0, Mode::Reliable, &bytes(1, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(10));
        stage.read(0, there);
        stage.read(1, back);
    }
    stage.run_for(Duration::from_millis(200));
    stage.take_datagrams();
    (stage, there, back)
}

/// Bytes beyond the message, before the trailer, of the first datagram that `node` sends.
fn overhead(stage: &mut Stage, node: usize, message: usize) -> usize {
    let seen = stage.take_datagrams();
    let first = seen.iter().find(|seen| seen.by == node).expect("a datagram");
    first.bytes.len() - message - TRAILER
}

#[test]
fn unreliable_messages_cost_four_bytes() {
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
        let (mut stage, there, _) = steady();
        stage.send(0, there, 0, mode, &bytes(2, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(1));
        assert_eq!(overhead(&mut stage, 0, MESSAGE), 4, "{mode}");
    }
}

#[test]
fn a_reliable_message_costs_five_bytes_and_an_ack_one_or_three() {
    let (mut stage, there, _) = steady();
    stage.send(0, there, 0, Mode::Reliable, &bytes(2, MESSAGE)).unwrap();
    stage.run_for(Duration::from_millis(1));
    assert_eq!(overhead(&mut stage, 0, MESSAGE), 5);
    // The answer of a request, at once, and after ten milliseconds.
    for (wait, expected) in [(0, 6), (10, 8)] {
        let (mut stage, there, back) = steady();
        stage.send(0, there, 0, Mode::Reliable, &bytes(2, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(10 + wait));
        stage.take_datagrams();
        stage.send(1, back, 0, Mode::Reliable, &bytes(3, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(1));
        assert_eq!(overhead(&mut stage, 1, MESSAGE), expected, "after {wait} ms");
    }
}

#[test]
fn an_ack_alone_takes_five_bytes() {
    let (mut stage, there, _) = steady();
    stage.send(0, there, 0, Mode::Reliable, &bytes(2, MESSAGE)).unwrap();
    stage.run_for(Duration::from_millis(60));
    assert_eq!(overhead(&mut stage, 1, 0), 5);
}

#[test]
fn connection_ids_cost_four_bytes_and_integrity_four() {
    let mut plan = NodePlan::new(Kind::Heap);
    let link = Link::PERFECT.with_delay(Duration::from_millis(10));
    let mut lengths = Vec::new();
    for (ids, integrity) in
        [(false, Integrity::Crc32), (true, Integrity::Crc32), (false, Integrity::None)]
    {
        plan.config.connection_ids = ids;
        plan.config.integrity = integrity;
        let (mut stage, there, _) = Stage::connected(1, [plan, plan], link);
        stage.run_for(Duration::from_millis(500));
        stage.take_datagrams();
        stage.send(0, there, 0, Mode::Unreliable, &bytes(2, MESSAGE)).unwrap();
        stage.run_for(Duration::from_millis(1));
        lengths.push(stage.take_datagrams()[0].bytes.len() - MESSAGE);
    }
    // Without integrity the packet number takes three bytes more.
    assert_eq!(lengths, [4 + 4, 4 + 4 + 4, 4 + 3]);
}

#[test]
fn short_messages_share_a_datagram() {
    let (mut stage, there, back) = steady();
    for number in 0..30 {
        stage.send(0, there, 0, Mode::GODOT[number % 3], &bytes(2, MESSAGE)).unwrap();
    }
    stage.run_for(Duration::from_millis(1));
    let seen = stage.take_datagrams();
    assert_eq!(seen.len(), 1, "30 messages of 32 bytes fit one datagram");
    // A frame of each mode, a length before all but the last, a prefix before each message.
    assert!(seen[0].bytes.len() <= 30 * (MESSAGE + 1) + 3 * 4 + 4 + TRAILER);
    stage.run_for(Duration::from_millis(30));
    assert_eq!(stage.read(1, back).len(), 30);
}
