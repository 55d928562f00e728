//! Of each key the newest counts: what it replaces ends as superseded, and nothing older comes after it.

use alloc::collections::BTreeMap;

use bowline_core::{ChannelId, Duration, Event, Messages, Mode, Outcome, Outgoing, PeerId, Tag};
use bowline_native::InUse;
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::dissect::{frames_of, is_void};
use bowline_tests::memory::Kind;
use bowline_tests::oracle::{Direction, Oracle, Terms};
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes, millis};

extern crate alloc;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);
const LATEST: Mode = Mode::ReliableLatest;

fn pair(seed: u64) -> (Stage, PeerId, PeerId) {
    Stage::connected(seed, [HEAP, HEAP], LINK)
}

fn latest<'a>(pieces: &'a [&'a [u8]], key: u32, tag: u32) -> Outgoing<'a> {
    Outgoing::new(ChannelId(0), LATEST, pieces).with_key(key).tagged(Tag(tag))
}

fn send(stage: &mut Stage, to: PeerId, key: u32, bytes: &[u8], tag: u32) {
    let pieces = [bytes];
    stage.offer(0, to, latest(&pieces, key, tag)).expect("room for another value");
}

fn outcomes(stage: &mut Stage) -> BTreeMap<u32, Outcome> {
    let told = stage.take_outcomes(0);
    let count = told.len();
    let told: BTreeMap<_, _> = told.into_iter().collect();
    assert_eq!(told.len(), count, "each is told once");
    told
}

/// The contents of all that `node` can read.
fn contents(stage: &mut Stage, node: usize, from: PeerId) -> Vec<Vec<u8>> {
    stage.read(node, from).into_iter().map(|message| message.bytes).collect()
}

#[test]
fn what_was_not_sent_is_replaced_at_once() {
    for lens in [[5, 5], [5, 60], [60, 5], [0, 9], [9, 0], [3_000, 3_000], [3_000, 7]] {
        let (mut stage, there, back) = pair(1);
        send(&mut stage, there, 7, &bytes(1, lens[0]), 1);
        send(&mut stage, there, 7, &bytes(2, lens[1]), 2);
        let told = stage.endpoints[0].poll_event();
        assert_eq!(told, Some(Event::Outcome(there, Tag(1), Outcome::Superseded)), "{lens:?}");
        stage.run_for(Duration::from_secs(1));
        assert_eq!(contents(&mut stage, 1, back), [bytes(2, lens[1])], "{lens:?}");
        assert_eq!(outcomes(&mut stage), [(2, Outcome::Acknowledged)].into());
    }
}

#[test]
fn what_was_sent_is_superseded_until_it_is_acknowledged() {
    let (mut stage, there, back) = pair(1);
    send(&mut stage, there, 7, b"first", 1);
    stage.run_for(millis(30));
    send(&mut stage, there, 7, b"second", 2);
    stage.run_for(Duration::from_secs(1));
    // The first one was delivered before anybody could know that there is a second.
    assert_eq!(contents(&mut stage, 1, back), [b"first".to_vec(), b"second".to_vec()]);
    let superseded = [(1, Outcome::Superseded), (2, Outcome::Acknowledged)];
    assert_eq!(outcomes(&mut stage), superseded.into());
    send(&mut stage, there, 7, b"third", 3);
    stage.run_for(Duration::from_secs(1));
    assert_eq!(outcomes(&mut stage), [(3, Outcome::Acknowledged)].into(), "the second had ended");
}

#[test]
fn keys_are_told_and_do_not_interfere() {
    let (mut stage, there, back) = pair(1);
    let keys = [0, 1, 2, 4, 8, 255, 256, 65_536, 1 << 31, u32::MAX - 1, u32::MAX];
    for (tag, &key) in (0..).zip(&keys) {
        send(&mut stage, there, key, &key.to_be_bytes(), tag);
    }
    stage.run_for(Duration::from_secs(1));
    let mut told = Vec::new();
    while let Some(message) = stage.endpoints[1].recv(back) {
        let key = message.key().expect("a key");
        assert_eq!(message.to_vec(), key.to_be_bytes());
        told.push(key);
    }
    told.sort_unstable();
    assert_eq!(told, keys);
    let all = outcomes(&mut stage);
    assert!(all.len() == keys.len() && all.values().all(|told| *told == Outcome::Acknowledged));
}

#[test]
fn other_modes_have_no_key() {
    let (mut stage, there, back) = pair(1);
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered, Mode::Reliable, Mode::ReliableUnordered]
    {
        stage.send(0, there, 0, mode, b"plain").unwrap();
    }
    stage.run_for(Duration::from_secs(1));
    let mut count = 0;
    while let Some(message) = stage.endpoints[1].recv(back) {
        assert_eq!(message.key(), None, "{}", message.mode());
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn the_same_key_of_another_channel_or_direction_is_another() {
    let (mut stage, there, back) = pair(1);
    for channel in 0..4 {
        let pieces = [&[channel][..]];
        let message = Outgoing { channel: ChannelId(channel), ..latest(&pieces, 7, 1) };
        stage.offer(0, there, message).unwrap();
        stage.offer(1, back, message).unwrap();
    }
    stage.run_for(Duration::from_secs(1));
    for (node, peer) in [(0, there), (1, back)] {
        assert_eq!(stage.read(node, peer).len(), 4);
        let told = stage.take_outcomes(node);
        assert_eq!(told, [(1, Outcome::Acknowledged); 4]);
    }
}

#[test]
fn a_value_without_tag_is_replaced_silently_and_replaces() {
    let (mut stage, there, back) = pair(1);
    let plain = |stage: &mut Stage, bytes: &[u8]| {
        let pieces = [bytes];
        let message = Outgoing { tag: None, ..latest(&pieces, 7, 0) };
        stage.offer(0, there, message).unwrap();
    };
    plain(&mut stage, b"first");
    send(&mut stage, there, 7, b"second", 2);
    plain(&mut stage, b"third");
    stage.run_for(Duration::from_secs(1));
    assert_eq!(contents(&mut stage, 1, back), [b"third"]);
    assert_eq!(outcomes(&mut stage), [(2, Outcome::Superseded)].into());
}

#[test]
fn thousands_of_values_of_few_keys_take_the_place_of_few() {
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed] {
        let plan = NodePlan::new(kind);
        let (mut stage, there, back) = Stage::connected(1, [plan, plan], LINK);
        // Those that are not sent cost nothing but the place of the newest.
        let now = stage.now();
        stage.net.stall(0, now, now + millis(50));
        let before = stage.in_use(0);
        for tag in 0..5_000 {
            send(&mut stage, there, tag % 5, &bytes(tag.into(), 40), tag);
            let told = stage.endpoints[0].poll_event();
            let superseded = Event::Outcome(there, Tag(tag.wrapping_sub(5)), Outcome::Superseded);
            assert_eq!(told, (tag >= 5).then_some(superseded), "{kind:?}");
        }
        let after = stage.in_use(0);
        assert!(after.blocks - before.blocks <= 8, "{kind:?}: {before:?} {after:?}");
        assert!(after.records - before.records <= 5, "{kind:?}: {before:?} {after:?}");
        stage.run_for(Duration::from_secs(1));
        let mut read = contents(&mut stage, 1, back);
        read.sort();
        let mut newest: Vec<_> = (4_995..5_000).map(|number| bytes(number, 40)).collect();
        newest.sort();
        assert!(read == newest, "{kind:?}");
    }
}

#[test]
fn values_that_nobody_answers_for_make_room_for_the_next() {
    // Sent, lost, and replaced again and again: the receiver is told of ranges, not of each.
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed] {
        let plan = NodePlan::new(kind);
        let (mut stage, there, back) = Stage::connected(1, [plan, plan], LINK);
        stage.net.set_link(0, 1, Link::DOWN);
        let (mut told, mut sent) = (BTreeMap::new(), 0);
        for tag in 0..2_000 {
            let message = bytes(tag.into(), 40);
            let pieces = [&message[..]];
            if stage.offer(0, there, latest(&pieces, tag % 5, tag)).is_ok() {
                sent += 1;
            }
            stage.run_for(millis(2));
            told.extend(outcomes(&mut stage));
        }
        stage.take_datagrams();
        stage.net.set_link(0, 1, LINK);
        let mut read = Vec::new();
        for _ in 0..300 {
            stage.run_for(millis(20));
            read.extend(contents(&mut stage, 1, back));
            told.extend(outcomes(&mut stage));
        }
        assert_eq!(told.len(), sent, "{kind:?}");
        let seen = stage.take_datagrams();
        let voids = seen.iter().filter(|seen| seen.by == 0);
        let id_len = if stage.endpoints[1].config().connection_ids { 4 } else { 0 };
        let voids: usize = voids
            .map(|seen| frames_of(&seen.bytes, id_len).iter().filter(|f| is_void(f)).count())
            .sum();
        assert!(voids < 300, "{kind:?}: {voids} words about what was given up");
        assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{kind:?}");
        let acked = told.values().filter(|told| **told == Outcome::Acknowledged).count();
        assert!((1..=5).contains(&acked) && read.len() >= acked, "{kind:?}: {acked}");
    }
}

#[test]
fn the_newest_can_be_withdrawn_and_what_it_replaced_stays_replaced() {
    for pause in [0, 1, 30, 100] {
        let (mut stage, there, back) = pair(1);
        stage.net.set_link(0, 1, Link::DOWN);
        send(&mut stage, there, 7, b"first", 1);
        stage.run_for(millis(pause));
        send(&mut stage, there, 7, b"second", 2);
        stage.run_for(millis(pause));
        assert_eq!(stage.endpoints[0].cancel(there, Tag(2)), Ok(()));
        assert!(stage.endpoints[0].cancel(there, Tag(1)).is_err(), "it had ended");
        stage.net.set_link(0, 1, LINK);
        stage.run_for(Duration::from_secs(3));
        assert!(contents(&mut stage, 1, back).is_empty(), "after {pause} ms");
        let told = outcomes(&mut stage);
        assert_eq!(told, [(1, Outcome::Superseded), (2, Outcome::Cancelled)].into());
        send(&mut stage, there, 7, b"third", 3);
        stage.run_for(Duration::from_secs(1));
        assert_eq!(contents(&mut stage, 1, back), [b"third"]);
    }
}

#[test]
fn the_newest_can_expire() {
    let (mut stage, there, back) = pair(1);
    stage.net.set_link(0, 1, Link::DOWN);
    send(&mut stage, there, 7, b"first", 1);
    let pieces = [&b"second"[..]];
    stage.offer(0, there, latest(&pieces, 7, 2).expiring(millis(50))).unwrap();
    stage.run_for(millis(60));
    stage.net.set_link(0, 1, LINK);
    stage.run_for(Duration::from_secs(3));
    assert!(contents(&mut stage, 1, back).is_empty());
    let told = outcomes(&mut stage);
    assert_eq!(told, [(1, Outcome::Superseded), (2, Outcome::Expired)].into());
    send(&mut stage, there, 7, b"third", 3);
    stage.run_for(Duration::from_secs(1));
    assert_eq!(contents(&mut stage, 1, back), [b"third"]);
}

#[test]
fn nothing_older_comes_after_the_newest() {
    const THERE: Direction = Direction { session: 1, by_client: true };
    for case in cases!("nothing_older_comes_after_the_newest", 0, 60) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let kinds = [0, 0].map(|_: u8| Kind::ALL[rng.below(3) as usize]);
        let mut plans = kinds.map(NodePlan::new);
        let initial = rng.chance(50 * PERCENT).then(|| u32::MAX - rng.below(30_000) as u32);
        plans.iter_mut().for_each(|plan| plan.config.initial = initial);
        let (mut stage, there, back) = Stage::connected(case.seed(), plans, LINK);
        let bad = LINK
            .with_jitter(millis(rng.below(60)))
            .with_loss(rng.below(40) as u32 * PERCENT)
            .with_duplicate(10 * PERCENT, millis(150))
            .with_reorder(20 * PERCENT, millis(100));
        stage.net.set_default_link(bad);
        let (mut oracle, mut pending, mut newest) =
            (Oracle::new(), BTreeMap::new(), BTreeMap::new());
        let keys = 1 << rng.below(7);
        let most = stage.endpoints[0].message_max(there, LATEST).unwrap().min(6_000);
        for tag in 0..400_u32 {
            let key = rng.below(keys) as u32;
            let longest = if rng.chance(10 * PERCENT) { most } else { 60 };
            let mut message = bytes(tag.into(), 4 + rng.below(longest as u64 - 4) as usize);
            message[..4].copy_from_slice(&tag.to_be_bytes());
            let pieces = [&message[..]];
            if stage.offer(0, there, latest(&pieces, key, tag)).is_ok() {
                let terms = Terms { key: Some(key), deadline: None };
                let id = oracle.sent_with(THERE, ChannelId(0), LATEST, &message, terms);
                pending.insert(tag, (id, key));
                newest.insert(key, tag);
            }
            stage.run_for(rng.duration(millis(15)));
            check(&mut stage, back, &mut oracle, &mut pending, &newest);
        }
        stage.net.set_default_link(LINK);
        for _ in 0..200 {
            stage.run_for(millis(50));
            check(&mut stage, back, &mut oracle, &mut pending, &newest);
        }
        assert_eq!(oracle.reliable_missing(THERE), 0, "{kinds:?}");
        assert!(pending.is_empty(), "{kinds:?}: {pending:?}");
        stage.close(0, there, 1);
        stage.run_for(Duration::from_secs(3));
        assert_eq!([stage.in_use(0), stage.in_use(1)], [InUse::default(); 2]);
    }

    fn check(
        stage: &mut Stage,
        back: PeerId,
        oracle: &mut Oracle,
        pending: &mut BTreeMap<u32, (bowline_tests::oracle::MessageId, u32)>,
        newest: &BTreeMap<u32, u32>,
    ) {
        for message in stage.read(1, back) {
            let judged = oracle.received(THERE, message.channel, message.mode, &message.bytes);
            judged.unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        for (tag, outcome) in stage.take_outcomes(0) {
            let (id, key) = pending.remove(&tag).expect("a value without an end");
            match outcome {
                Outcome::Acknowledged => {
                    assert!(
                        oracle.is_delivered(id),
                        "{tag} was acknowledged, whatever came before"
                    );
                }
                Outcome::Superseded => assert!(newest[&key] > tag, "{tag} is the newest of {key}"),
                other => panic!("{tag}: {other:?}"),
            }
        }
    }
}
