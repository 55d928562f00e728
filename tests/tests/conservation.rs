//! However a session ends, all it took is given back.

use bowline_core::{DisconnectReason, Duration, Event, Messages, Mode, Tag};
use bowline_native::{Accept, InUse};
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage, bytes, tagged};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));

/// Both ends busy with messages of all modes and lengths, some read, some on their way, some in parts.
fn busy(seed: u64, kinds: [Kind; 2], link: Link) -> (Stage, [bowline_core::PeerId; 2]) {
    let plans = kinds.map(NodePlan::new);
    let (mut stage, there, back) = Stage::connected(seed, plans, link);
    let mut rng = bowline_sim::Rng::new(seed);
    for _ in 0..40 {
        for (node, peer) in [(0, there), (1, back)] {
            let mode = MODES[rng.below(5) as usize];
            let Some(most) = stage.endpoints[node].message_max(peer, mode) else { continue };
            let len = rng.below(most.min(20_000) as u64 + 1) as usize;
            let message = bytes(seed, len);
            let pieces = [&message[..]];
            // Some with a ticket and some without, some to be replaced, withdrawn, or too late.
            let tag = rng.below(8) as u32;
            let mut message = tagged(mode, &pieces, tag);
            message.tag = message.tag.filter(|_| rng.chance(60 * PERCENT));
            message.time_to_live =
                rng.chance(30 * PERCENT).then(|| rng.duration(Duration::from_millis(100)));
            let _ = stage.offer(node, peer, message);
            if rng.chance(20 * PERCENT) {
                let _ = stage.endpoints[node].cancel(peer, Tag(rng.below(8) as u32));
            }
        }
        stage.run_for(Duration::from_millis(rng.below(12)));
        if rng.chance(20 * PERCENT) {
            stage.read(0, there);
        }
        if rng.chance(30 * PERCENT) {
            // And not the next one: this message is being read when the session ends.
            stage.endpoints[1].recv(back);
        }
    }
    (stage, [there, back])
}

fn nothing_is_left(stage: &mut Stage) {
    for node in 0..stage.endpoints.len() {
        assert_eq!(stage.in_use(node), InUse::default(), "node {node}");
    }
}

fn ended(stage: &mut Stage, node: usize) -> Option<DisconnectReason> {
    stage.take_events(node).into_iter().find_map(|event| match event {
        Event::Disconnected(_, reason) => Some(reason),
        _ => None,
    })
}

#[test]
fn when_closed_in_the_midst_of_it() {
    for case in cases!("when_closed_in_the_midst_of_it", 0, 40) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let kinds = [0, 0].map(|_: u8| Kind::ALL[rng.below(4) as usize]);
        let link = LINK.with_loss(rng.below(20) as u32 * PERCENT);
        let (mut stage, [there, back]) = busy(case.seed(), kinds, link);
        match rng.below(4) {
            0 => stage.close(0, there, 1),
            1 => stage.close(1, back, 1),
            2 => {
                stage.close(0, there, 1);
                stage.close(1, back, 1);
            }
            _ => {
                let now = stage.now();
                let closed = bowline_core::CloseReason(1);
                stage.endpoints[1].finish(now, back, closed).unwrap();
                // Let it come to its end, but read nothing.
                stage.run_for(Duration::from_secs(10));
                stage.close(0, there, 1);
            }
        }
        stage.run_for(Duration::from_secs(30));
        assert!(ended(&mut stage, 0).is_some() && ended(&mut stage, 1).is_some());
        nothing_is_left(&mut stage);
    }
}

#[test]
fn when_the_link_dies() {
    for kind in Kind::ALL {
        let (mut stage, _) = busy(3, [kind, kind], LINK);
        stage.net.set_default_link(Link::DOWN);
        stage.run_for(Duration::from_secs(30));
        assert_eq!(ended(&mut stage, 0), Some(DisconnectReason::TimedOut));
        assert_eq!(ended(&mut stage, 1), Some(DisconnectReason::TimedOut));
        nothing_is_left(&mut stage);
    }
}

#[test]
fn when_the_other_side_begins_anew() {
    for kind in Kind::ALL {
        let (mut stage, [there, back]) = busy(4, [kind, kind], LINK);
        let before = stage.in_use(1);
        assert!(before.blocks > 0 && before.domains > 0);
        stage.restart(0, &NodePlan::new(kind), 5);
        stage.call(0, 1, b"again");
        stage.run_for(Duration::from_secs(2));
        let events = stage.take_events(1);
        assert!(events.contains(&Event::Disconnected(back, DisconnectReason::Replaced)));
        assert_ne!(stage.endpoints[0].address(there), None, "the new session has the same place");
        stage.net.set_default_link(Link::DOWN);
        stage.run_for(Duration::from_secs(30));
        nothing_is_left(&mut stage);
    }
}

#[test]
fn when_it_never_began() {
    for kind in Kind::ALL {
        // Nobody there.
        let mut stage = Stage::new(1, &[NodePlan::new(kind)], 1, LINK);
        stage.call(0, 1, &bytes(1, 400));
        stage.run_for(Duration::from_secs(6));
        assert_eq!(ended(&mut stage, 0), Some(DisconnectReason::ConnectTimedOut));
        nothing_is_left(&mut stage);
        // Given up by the caller.
        let there = stage.call(0, 1, &bytes(1, 400));
        stage.run_for(Duration::from_secs(1));
        stage.close(0, there, 9);
        stage.run_for(Duration::from_secs(1));
        assert!(ended(&mut stage, 0).is_some());
        nothing_is_left(&mut stage);
        // Asked, and never answered.
        let mut asks = NodePlan::new(kind);
        asks.config.accept = Accept::Ask;
        let mut stage = Stage::new(1, &[NodePlan::new(kind), asks], 0, LINK);
        stage.call(0, 1, &bytes(1, 400));
        stage.run_for(Duration::from_secs(15));
        assert_eq!(ended(&mut stage, 0), Some(DisconnectReason::ConnectTimedOut));
        assert_eq!(ended(&mut stage, 1), Some(DisconnectReason::ConnectTimedOut));
        nothing_is_left(&mut stage);
    }
}

#[test]
fn when_sessions_come_and_go_for_long() {
    let mut stage = Stage::new(1, &[NodePlan::new(Kind::SmallFixed); 2], 0, LINK);
    for round in 0..200_u32 {
        let (there, back) = stage.connect(0, 1);
        let _ = stage.send(0, there, 0, Mode::Reliable, &bytes(1, 700));
        let _ = stage.send(1, back, 0, Mode::Unreliable, &bytes(1, 500));
        stage.run_for(Duration::from_millis(u64::from(round % 90)));
        stage.close(round as usize % 2, [there, back][round as usize % 2], round);
        stage.run_for(Duration::from_secs(1));
        assert!(ended(&mut stage, 0).is_some() && ended(&mut stage, 1).is_some());
        nothing_is_left(&mut stage);
    }
}
