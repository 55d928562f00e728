//! An allocator that says no: "full" for a while, and nothing is lost.

use core::ops::Range;

use bowline_core::{
    ChannelId, DisconnectReason, Duration, Event, Messages, Mode, Outgoing, RefuseReason, SendError,
};
use bowline_crypto::SipHash;
use bowline_fuzz::memory::Kind;
use bowline_fuzz::op::Order;
use bowline_fuzz::setup::Setup;
use bowline_fuzz::{Counted, Hostile, Op, Report, Side, Subject};
use bowline_native::{ConnectError, Endpoint};
use bowline_sim::{Link, Rng};
use bowline_tests::allocator::{Watchful, counts, refuse};
use bowline_tests::memory::{self, Memory};
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

/// What two applications do in one run: they connect, talk in all modes, withdraw, are lazy for a while, end
/// sessions and begin others, over a link that loses, doubles and reorders.
fn ops(seed: u64) -> Vec<Op> {
    let mut rng = Rng::stream(seed, 0x4ef);
    let modes = [
        Mode::Unreliable,
        Mode::UnreliableOrdered,
        Mode::Reliable,
        Mode::ReliableUnordered,
        Mode::ReliableLatest,
    ];
    let mut ops = Vec::new();
    for _ in 0..500 {
        let side = Side::BOTH[rng.below(2) as usize];
        let which = rng.below(256) as u8;
        ops.push(match rng.below(200) {
            0..110 => {
                let most = [40, 40, 600, 4_000][rng.below(4) as usize];
                let mortal = rng.below(8) == 0;
                let order = Order {
                    channel: rng.below(3) as u8,
                    mode: modes[rng.below(5) as usize],
                    len: rng.below(most) as usize,
                    tagged: rng.below(3) == 0,
                    time_to_live: mortal.then(|| rng.duration(Duration::from_millis(50))),
                    key: rng.below(3) as u32,
                    seed: vec![which],
                };
                Op::Send(side, which, order)
            }
            110..150 => {
                let span = rng.duration(Duration::from_millis(30));
                Op::Run(span, rng.duration(Duration::from_millis(20)))
            }
            150..160 => Op::Drop(side, which),
            160..168 => Op::Duplicate(side, which),
            168..176 => Op::Deliver(side, which),
            176..182 => Op::Cancel(side, which, which),
            182..190 => Op::Attend(side, !which.is_multiple_of(3)),
            190..197 => Op::Connect(side),
            197 => Op::Finish(side, which, 1),
            198 => Op::Close(side, which, 1),
            _ => Op::Run(Duration::from_secs(2), Duration::from_millis(20)),
        });
    }
    ops
}

/// What happens between two endpoints with memory of this kind while the allocator refuses these requests, and how
/// many there are. The models of `bowline-fuzz` look on.
fn run(kind: Kind, seed: u64, refused: Range<u64>) -> (Report, u64) {
    let setup = Setup {
        kinds: [kind; 2],
        configs: [kind.config(); 2],
        on_path: false,
        rogue: false,
        connected: false,
        seed,
    };
    let subjects = Side::BOTH.map(|side| -> Box<dyn Subject> {
        let seed = Rng::stream(seed, side.index() as u64).seed();
        let memory = Memory::new(kind.memory());
        let config = setup.configs[side.index()];
        Box::new(Endpoint::plain(config, &SipHash, &seed, memory).expect("memory that suits"))
    });
    let mut game = Counted::default();
    let before = counts();
    refuse(refused.clone());
    let mut hostile = Hostile::new(&setup, subjects, &mut game);
    let mut acted = hostile.begin();
    for op in ops(seed) {
        acted = acted.and_then(|()| hostile.act(&op));
    }
    // At last there is memory again, and all must come to its end.
    refuse(0..0);
    let acted = acted.and_then(|()| hostile.end());
    let asked = counts().since(&before);
    let report = acted.unwrap_or_else(|failure| {
        panic!("{kind:?}, seed {seed}, {refused:?} of {} refused: {failure}", asked.requests())
    });
    (report, asked.requests())
}

fn every_request_refused(kind: Kind, seeds: Range<u64>) {
    let (mut runs, mut most) = (0, 0);
    for seed in seeds {
        let (calm, requests) = run(kind, seed, 0..0);
        assert!(requests > 10 && calm.delivered > 30, "{requests} requests, {calm:?}");
        most = most.max(requests);
        for first in 0..requests {
            // Once, for a while, for long, and until the sky clears.
            for count in [1, 10, 100, 1_000] {
                run(kind, seed, first..first + count);
                runs += 1;
            }
        }
    }
    println!("{kind:?}: {runs} runs, up to {most} requests each");
}

#[test]
fn every_request_of_a_roomy_endpoint_may_be_refused() {
    every_request_refused(Kind::Roomy, 0..12);
}

#[test]
fn every_request_of_a_tight_endpoint_may_be_refused() {
    every_request_refused(Kind::Tight, 0..12);
}

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const PLAN: NodePlan = NodePlan::new(memory::Kind::Heap);
const EVER: Range<u64> = 0..u64::MAX;

#[test]
fn a_send_without_memory_is_full_and_writable_follows_without_traffic() {
    let (mut stage, there, back) = Stage::connected(1, [PLAN; 2], LINK);
    stage.run_for(Duration::from_secs(1));
    let before = stage.in_use(0);
    refuse(EVER);
    // Longer than what was lent already.
    let message = bytes(1, 100_000);
    for _ in 0..3 {
        let sent = stage.send(0, there, 0, Mode::Unreliable, &message);
        assert_eq!(sent, Err(SendError::Full));
    }
    let after = stage.in_use(0);
    assert_eq!((after.blocks, after.records), (before.blocks, before.records));
    // The allocator does not tell when it has some again: it has to be asked, now and then.
    let mut told = 0;
    for _ in 0..100 {
        stage.run_for(Duration::from_millis(10));
        if stage.take_events(0).contains(&Event::Writable(there)) {
            told += 1;
            let sent = stage.send(0, there, 0, Mode::Unreliable, &message);
            assert_eq!(sent, Err(SendError::Full));
        }
    }
    refuse(0..0);
    assert!((10..100).contains(&told), "told {told} times in a second that there may be room");
    stage.run_for(Duration::from_millis(100));
    assert!(stage.take_events(0).contains(&Event::Writable(there)), "told that there is room");
    stage.send(0, there, 0, Mode::Unreliable, &message).unwrap();
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.read(1, back).len(), 1);
}

#[test]
fn who_tries_again_at_every_writable_gets_out_of_his_loop() {
    for mode in Mode::GODOT {
        let (mut stage, there, _) = Stage::connected(1, [PLAN; 2], LINK);
        stage.run_for(Duration::from_secs(1));
        refuse(EVER);
        let message = bytes(1, 100_000);
        let mut tries = 0;
        for _ in 0..50 {
            let (now, endpoint) = (stage.now(), &mut stage.endpoints[0]);
            let pieces = [&message[..]];
            let outgoing = Outgoing::new(ChannelId(0), mode, &pieces);
            assert_eq!(endpoint.send(now, there, outgoing), Err(SendError::Full));
            // As an application does that has one more message.
            while let Some(event) = endpoint.poll_event() {
                if event == Event::Writable(there) {
                    assert_eq!(endpoint.send(now, there, outgoing), Err(SendError::Full));
                    tries += 1;
                }
                assert!(tries < 1_000, "{mode}: no time passes any more");
            }
            stage.run_for(Duration::from_millis(10));
        }
        refuse(0..0);
        assert!(tries > 5, "{mode}: {tries}");
        println!("{mode}: {tries} tries in half a second");
    }
}

#[test]
fn a_session_without_memory_is_refused_as_full() {
    let mut stage = Stage::new(1, &[PLAN; 2], 0, LINK);
    let (now, to) = (stage.now(), stage.net.address(1));
    refuse(EVER);
    let begun = stage.endpoints[0].connect_plain(now, to, b"");
    assert_eq!(begun, Err(ConnectError::Full));
    // It can ask now, and the other side has no room to let it in: not even for an answer.
    refuse(0..0);
    stage.call(0, 1, b"");
    refuse(EVER);
    stage.run_for(Duration::from_millis(500));
    assert_eq!(stage.in_use(1).peers, 0);
    refuse(0..0);
    // It asks again.
    stage.run_for(Duration::from_secs(2));
    assert_eq!((stage.in_use(0).peers, stage.in_use(1).peers), (1, 1));
}

#[test]
fn a_server_that_cannot_grow_says_that_it_is_full() {
    let mut plans = vec![PLAN; 7];
    plans[0].kind = memory::Kind::Heap;
    let mut stage = Stage::new(1, &plans, 0, LINK);
    // There is room for four to begin with.
    for client in 1..5 {
        stage.connect(client, 0);
    }
    stage.call(5, 0, b"");
    refuse(EVER);
    stage.run_for(Duration::from_millis(200));
    refuse(0..0);
    let full = DisconnectReason::Refused(RefuseReason::Full);
    let told = stage.take_events(5);
    assert!(matches!(told[..], [Event::Disconnected(_, reason)] if reason == full), "{told:?}");
    stage.connect(6, 0);
    assert_eq!(stage.in_use(0).peers, 5);
}

#[test]
fn what_finds_no_memory_looks_lost_and_comes_again() {
    let (mut stage, there, back) = Stage::connected(1, [PLAN; 2], LINK);
    // Sent before memory runs out, so that only its receiver goes short.
    let message = bytes(1, 30_000);
    for mode in [Mode::Reliable, Mode::ReliableUnordered] {
        stage.send(0, there, 0, mode, &message).unwrap();
    }
    refuse(EVER);
    stage.run_for(Duration::from_millis(500));
    let dropped = stage.endpoints[1].statistics().dropped(bowline_core::DropReason::Full);
    assert!(dropped > 0, "nothing was dropped for want of memory");
    assert!(stage.read(1, back).is_empty());
    refuse(0..0);
    stage.run_for(Duration::from_secs(5));
    let got = stage.read(1, back);
    assert!(got.len() == 2 && got.iter().all(|got| got.bytes == message), "{}", got.len());
}
