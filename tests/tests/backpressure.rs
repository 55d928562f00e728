//! Who is told that there is no room is told when there is, and nobody takes what another was promised.

use bowline_core::{Duration, Event, Mode, PeerId, SendError};
use bowline_native::IncompleteLimits;
use bowline_sim::{Link, PERCENT};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::{NodePlan, with};
use bowline_tests::stage::{Stage, bytes, millis};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

/// Sends until there is no room, and returns how many messages there was room for.
fn fill(stage: &mut Stage, node: usize, to: PeerId, mode: Mode, len: usize) -> usize {
    for count in 0..1_000_000 {
        match stage.send(node, to, 0, mode, &bytes(count as u64, len)) {
            Ok(()) => {}
            Err(SendError::Full) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("there is always room")
}

#[test]
fn full_is_followed_by_writable_and_then_there_is_room() {
    for kind in Kind::ALL {
        for mode in Mode::GODOT {
            let (mut stage, there, back) = Stage::connected(1, [NodePlan::new(kind), HEAP], LINK);
            let len = stage.endpoints[0].message_max(there, mode).unwrap().min(700);
            let mut sent = 0;
            for _ in 0..6 {
                sent += fill(&mut stage, 0, there, mode, len);
                assert_eq!(stage.take_events(0), [], "{kind:?} {mode}: nothing has changed");
                let mut waited = Duration::ZERO;
                while !stage.take_events(0).contains(&Event::Writable(there)) {
                    stage.run_for(millis(5));
                    stage.read(1, back);
                    waited += millis(5);
                    assert!(waited < Duration::from_secs(20), "{kind:?} {mode}: no Writable");
                }
                assert_eq!(stage.send(0, there, 0, mode, &bytes(0, len)), Ok(()));
                sent += 1;
            }
            assert!(sent > 6);
        }
    }
}

#[test]
fn writable_needs_no_traffic() {
    // Unreliable messages leave at once, and nobody answers.
    let (mut stage, there, _) = Stage::connected(1, [NodePlan::new(Kind::SmallFixed), HEAP], LINK);
    stage.net.set_default_link(Link::DOWN);
    fill(&mut stage, 0, there, Mode::Unreliable, 400);
    stage.run_for(Duration::from_secs(3));
    assert!(stage.take_events(0).contains(&Event::Writable(there)));
}

#[test]
fn full_tells_once_and_only_those_who_asked() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    for number in 0..50 {
        stage.send(0, there, 0, Mode::Reliable, &bytes(number, 500)).unwrap();
    }
    stage.run_for(Duration::from_secs(2));
    stage.read(1, back);
    stage.run_for(Duration::from_secs(2));
    let events = stage.take_events(0);
    assert!(!events.contains(&Event::Writable(there)), "nobody was told that it is full");
}

#[test]
fn what_is_not_read_is_not_sent() {
    let (mut stage, there, back) = Stage::connected(
        1,
        [HEAP, with(Kind::Heap, |config| (config.credit, config.credit_max) = (4_000, 32_000))],
        LINK,
    );
    for number in 0..1_000 {
        stage.send(0, there, 3, Mode::Reliable, &bytes(number, 1_000)).unwrap();
    }
    stage.run_for(Duration::from_secs(20));
    let waiting = stage.in_use(1).blocks as usize * 1_024;
    assert!(waiting <= 40_000, "{waiting} bytes wait for somebody who allowed 32,000");
    let on_hold = stage.take_datagrams().len();
    stage.run_for(Duration::from_secs(20));
    let idle = stage.take_datagrams().len();
    assert!(idle < 60, "{idle} datagrams about nothing, after {on_hold}");
    let mut number = 0;
    for _ in 0..2_000 {
        for message in stage.read(1, back) {
            assert_eq!(message.bytes, bytes(number, 1_000));
            number += 1;
        }
        stage.run_for(millis(10));
    }
    assert_eq!(number, 1_000);
}

#[test]
fn channels_do_not_wait_for_each_other() {
    let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
    // Far more than the credit of channel 0; nobody reads.
    for number in 0..600 {
        stage.send(0, there, 0, Mode::Reliable, &bytes(number, 1_000)).unwrap();
    }
    stage.run_for(Duration::from_secs(5));
    let sent = stage.now();
    for mode in Mode::GODOT {
        stage.send(0, there, 1, mode, b"now").unwrap();
    }
    stage.run_for(millis(100));
    let got = stage.read(1, back);
    let here = got.iter().filter(|message| message.channel.0 == 1).count();
    assert_eq!(here, 3, "after {:?}", stage.now() - sent);
}

#[test]
fn a_message_longer_than_the_window_gets_what_it_needs() {
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed, Kind::SmallFixed] {
        let lossy = LINK.with_loss(5 * PERCENT);
        let (mut stage, there, back) = Stage::connected(2, [HEAP, NodePlan::new(kind)], lossy);
        let most = stage.endpoints[0].message_max(there, Mode::Reliable).unwrap().min(200_000);
        assert!(most > stage.endpoints[1].config().credit as usize);
        let lengths = [0, 1, most, 5, most - 1, most, 0];
        for (number, len) in lengths.into_iter().enumerate() {
            let message = bytes(number as u64, len);
            while stage.send(0, there, 0, Mode::Reliable, &message) == Err(SendError::Full) {
                stage.run_for(millis(10));
                // Only so much is read that the queue moves.
                assert!(stage.now().as_micros() < 600_000_000, "{kind:?} is stuck");
                let read = stage.read(1, back);
                assert!(read.is_empty(), "{kind:?}: there was room for all of it");
            }
        }
        let mut got = Vec::new();
        for _ in 0..3_000 {
            stage.run_for(millis(10));
            got.extend(stage.read(1, back).into_iter().map(|message| message.bytes));
        }
        let expected: Vec<_> = (0..).zip(lengths).map(|(n, len)| bytes(n, len)).collect();
        assert!(got == expected, "{kind:?}: {} messages of {}", got.len(), expected.len());
    }
}

#[test]
fn two_who_fill_their_memory_for_each_other_get_through() {
    for kind in Kind::ALL {
        let (mut stage, there, back) = Stage::connected(3, [NodePlan::new(kind); 2], LINK);
        let most = stage.endpoints[0].message_max(there, Mode::Reliable).unwrap().min(60_000);
        let mut sent = [0_usize; 2];
        let mut got = [0_usize; 2];
        for _ in 0..4_000 {
            for (node, peer) in [(0, there), (1, back)] {
                let channels = u64::from(stage.endpoints[node].config().channels);
                let channel = (sent[node] as u64 % channels) as u8;
                let message = bytes(sent[node] as u64, most);
                if sent[node] < 40
                    && stage.send(node, peer, channel, Mode::Reliable, &message).is_ok()
                {
                    sent[node] += 1;
                }
            }
            stage.run_for(millis(10));
            got[0] += stage.read(0, there).len();
            got[1] += stage.read(1, back).len();
        }
        assert_eq!((sent, got), ([40, 40], [40, 40]), "{kind:?}: each waits for the other");
    }
}

/// One peer takes whatever it can get, and reads and acknowledges nothing; another has a right to its
/// reserve all the same.
#[test]
fn a_greedy_peer_cannot_starve_another() {
    for kind in [Kind::TightHeap, Kind::Fixed, Kind::SmallFixed] {
        let hoarder = with(Kind::Heap, |config| (config.credit, config.credit_max) = (64, 64));
        let mut stage = Stage::new(5, &[NodePlan::new(kind), hoarder, HEAP], 0, LINK);
        let (greedy, _) = stage.connect(1, 0);
        stage.net.link(0, 2, LINK);
        let (modest_there, modest) = stage.connect(2, 0);
        let greedy_here =
            stage.endpoints[0].connect_plain(stage.net.now(), stage.net.address(1), b"").err();
        let Some(bowline_native::ConnectError::AlreadyConnected(greedy_here)) = greedy_here else {
            panic!("{greedy_here:?}")
        };
        let most = stage.endpoints[1].message_max(greedy, Mode::Reliable).unwrap();
        let channels = stage.endpoints[0].config().channels as u8;
        for round in 0..400_u64 {
            // Everything that the server's application owes to the greedy one stays there, and everything that
            // the greedy one sends is never read.
            let channel = round as u8 % channels;
            let _ = stage.send(0, greedy_here, channel, Mode::Reliable, &bytes(round, 900));
            let _ = stage.send(1, greedy, channel, Mode::Reliable, &bytes(round, most));
            let _ = stage.send(1, greedy, channel, Mode::Unreliable, &bytes(round, 400));
            stage.run_for(millis(5));
        }
        let reserve = stage.endpoints[0].config().send_reserve as usize;
        let credit = stage.endpoints[0].config().credit as usize;
        for round in 0..50 {
            let len = reserve.min(credit) - 60;
            stage.send(0, modest, 0, Mode::Reliable, &bytes(round, len)).unwrap_or_else(|error| {
                panic!("{kind:?}, round {round}: nothing is left for the modest: {error}")
            });
            stage.send(2, modest_there, 0, Mode::Reliable, &bytes(round, len)).unwrap();
            stage.run_for(millis(400));
            assert_eq!(stage.read(0, modest).len(), 1, "{kind:?}, round {round}");
            assert_eq!(stage.read(2, modest_there).len(), 1, "{kind:?}, round {round}");
        }
    }
}

#[test]
fn unread_unreliable_messages_stay_within_their_limit() {
    let plan = with(Kind::Heap, |config| {
        config.inbox_max = 20_000;
        config.incomplete =
            IncompleteLimits { messages: 4, bytes: 30_000, age: Duration::from_secs(1) };
    });
    let (mut stage, there, back) = Stage::connected(1, [HEAP, plan], LINK);
    for round in 0..500 {
        let _ = stage.send(0, there, 0, Mode::Unreliable, &bytes(round, 600));
        let _ = stage.send(0, there, 0, Mode::UnreliableOrdered, &bytes(round, 5_000));
        stage.run_for(millis(2));
        let waiting = stage.in_use(1).blocks as usize * 1_020;
        assert!(waiting < 56_000, "{waiting} bytes wait");
    }
    assert!(!stage.read(1, back).is_empty());
}

#[test]
fn all_who_wait_for_memory_are_served_in_turn() {
    let tight = NodePlan::new(Kind::TightHeap);
    let mut stage = Stage::new(1, &[tight, HEAP, HEAP, HEAP, HEAP, HEAP], 0, LINK);
    let peers: Vec<_> = (1..6).map(|node| stage.connect(node, 0)).collect();
    // Each of these takes a good part of what five share.
    let mut left = [6; 5];
    let mut got = [0; 5];
    for _ in 0..6_000 {
        for (at, (there, _)) in peers.iter().enumerate() {
            if left[at] > 0
                && stage.send(at + 1, *there, 0, Mode::Reliable, &bytes(at as u64, 79_000)).is_ok()
            {
                left[at] -= 1;
            }
        }
        stage.run_for(millis(5));
        for (at, (_, back)) in peers.iter().enumerate() {
            for message in stage.read(0, *back) {
                assert!(message.bytes == bytes(at as u64, 79_000));
                got[at] += 1;
            }
        }
    }
    assert_eq!((left, got), ([0; 5], [6; 5]));
}
