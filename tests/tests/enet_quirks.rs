//! ENet: rules of the wire that are easy to miss, as one peer sees them.

use bowline_core::{DisconnectReason, Event};
use bowline_enet::{Config, Heap, Limits};
use bowline_tests::enet_rogue::{Rogue, Solo};
use bowline_wire::enet::{Command, CommandHead, Fragment, Header};

fn joined() -> (Solo<Heap>, Rogue, bowline_core::PeerId) {
    let mut solo = Solo::new(Config::DEFAULT, Heap::new(Limits::for_peers(8)));
    let mut rogue = Rogue::new(1);
    let peer = rogue.join(&mut solo);
    (solo, rogue, peer)
}

/// The reliable numbers of a channel that are acknowledged in these datagrams.
fn acknowledged(sent: &[(bowline_core::Address, Vec<u8>)], channel: u8) -> Vec<u16> {
    let mut all = Vec::new();
    for (_, bytes) in sent {
        let (_, mut rest) = Header::parse(bytes).unwrap();
        while let Ok((head, command, later)) = Command::parse(rest) {
            if let Command::Acknowledge { received_sequence, .. } = command
                && head.channel == channel
            {
                assert_eq!(head.sequence, received_sequence);
                all.push(received_sequence);
            }
            rest = later;
        }
    }
    all
}

#[test]
fn old_packets_are_acknowledged_again_and_those_too_far_ahead_are_not() {
    let (mut solo, rogue, peer) = joined();
    let mut say = |sequence: u16| {
        let packet = Command::SendReliable { payload: &sequence.to_be_bytes() };
        let datagram = rogue.say(Some(1), &[(CommandHead::acknowledged(0, sequence), packet)]);
        solo.feed(rogue.address, &datagram).unwrap();
        acknowledged(&solo.drain(), 0)
    };
    assert_eq!(say(1), [1]);
    assert_eq!(say(1), [1], "the copy is acknowledged, and not delivered");
    assert_eq!(say(6 * 4_096), [6 * 4_096], "the last window that is taken");
    assert_eq!(say(7 * 4_096), [0; 0]);
    assert_eq!(say(9 * 4_096 - 1), [0; 0]);
    assert_eq!(say(9 * 4_096), [9 * 4_096], "taken for the past");
    assert_eq!(say(0), [0]);
    assert_eq!(say(2), [2]);
    assert_eq!(solo.read(peer), [1_u16.to_be_bytes(), 2_u16.to_be_bytes()]);
}

#[test]
fn only_acknowledgements_are_a_sign_of_life() {
    let (mut solo, rogue, peer) = joined();
    for sequence in 1..400 {
        let packet = Command::SendReliable { payload: b"I am here" };
        let datagram = rogue.say(Some(1), &[(CommandHead::acknowledged(0, sequence), packet)]);
        let _ = solo.feed(rogue.address, &datagram);
        solo.pass(100);
        solo.read(peer);
        let events = solo.events();
        let over = Event::Disconnected(peer, DisconnectReason::TimedOut);
        if events.contains(&over) {
            assert!((50..320).contains(&sequence), "after {sequence} tenths of a second");
            return;
        }
    }
    panic!("it was never given up")
}

#[test]
fn the_numbers_of_commands_of_the_connection_are_not_looked_at() {
    let (mut solo, rogue, _) = joined();
    for sequence in [7, 7, 3, 60_000, 0] {
        let ping = [(CommandHead::acknowledged(0xFF, sequence), Command::Ping)];
        solo.feed(rogue.address, &rogue.say(Some(1), &ping)).unwrap();
        assert_eq!(acknowledged(&solo.drain(), 0xFF), [sequence]);
    }
}

#[test]
fn of_unreliable_packets_in_fragments_the_third_pushes_out_the_first() {
    let (mut solo, rogue, peer) = joined();
    let mut say = |start: u16, number: u32| {
        let part = Fragment {
            start_sequence: start,
            count: 2,
            number,
            total: 4,
            offset: number * 2,
            payload: &[start as u8; 2],
        };
        let command = Command::SendUnreliableFragment(part);
        let _ = solo.feed(rogue.address, &rogue.say(None, &[(CommandHead::plain(0, 0), command)]));
    };
    for start in 1..=3 {
        say(start, 0);
    }
    for start in 1..=3 {
        say(start, 1);
    }
    assert_eq!(solo.read(peer), [[2; 4], [3; 4]]);
}

#[test]
fn unsequenced_packets_of_the_window_before_come_too_late() {
    let (mut solo, rogue, peer) = joined();
    let mut say = |group: u16| {
        let packet = Command::SendUnsequenced { group, payload: &group.to_be_bytes() };
        let head = CommandHead::unsequenced(0, 0);
        solo.feed(rogue.address, &rogue.say(None, &[(head, packet)])).unwrap();
        solo.read(peer).len()
    };
    assert_eq!([say(5), say(4), say(5), say(1_023)], [1, 1, 0, 1]);
    assert_eq!([say(1_024), say(6), say(1_024), say(1_025)], [1, 0, 0, 1]);
    assert_eq!([say(1_024 + 32 * 1_024), say(1_024 + 32 * 1_024 - 1)], [0, 1]);
}
