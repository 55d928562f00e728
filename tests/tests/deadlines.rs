//! A message is worth sending for so long; who waits for others does not wait for it.

use alloc::collections::BTreeMap;

use bowline_core::{CloseReason, DisconnectReason, Duration, Event, Instant, Machine, Messages};
use bowline_core::{Mode, Outcome, Outgoing, PeerId, SendError};
use bowline_native::InUse;
use bowline_sim::{Link, PERCENT, Rng, Step, cases, replay_on_panic};
use bowline_tests::dissect::{frames_of, is_data, is_void};
use bowline_tests::memory::Kind;
use bowline_tests::oracle::{Direction, Oracle, Terms};
use bowline_tests::scenario::{NodePlan, with};
use bowline_tests::stage::{MODES, Stage, UNRELIABLE, bytes, millis, reliable, tagged};

extern crate alloc;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

fn pair(seed: u64) -> (Stage, PeerId, PeerId) {
    Stage::connected(seed, [HEAP, HEAP], LINK)
}

/// A pair of which the first sends next to nothing at a time.
fn narrow(seed: u64) -> (Stage, PeerId, PeerId) {
    let plan = with(Kind::Heap, |config| config.in_flight_max = 2_400);
    Stage::connected(seed, [plan, HEAP], LINK)
}

/// Has node 0 send a message that lives so long.
fn send(stage: &mut Stage, to: PeerId, mode: Mode, bytes: &[u8], tag: u32, life: Duration) {
    let pieces = [bytes];
    let message = Outgoing { time_to_live: Some(life), ..tagged(mode, &pieces, tag) };
    stage.offer(0, to, message).expect("room for a mortal message");
}

/// Lets time pass and tells when each outcome of node 0 was told.
fn outcomes(stage: &mut Stage, span: Duration) -> Vec<(Instant, u32, Outcome)> {
    let end = stage.now() + span;
    let mut told = Vec::new();
    loop {
        let step = stage.step_until(end);
        stage.exchange();
        stage.collect();
        let now = stage.now();
        told.extend(stage.take_outcomes(0).into_iter().map(|(tag, outcome)| (now, tag, outcome)));
        if step != Step::Due {
            return told;
        }
    }
}

/// Fills the window of node 0 with what will not be acknowledged.
fn stop_up(stage: &mut Stage, to: PeerId) {
    stage.net.set_link(0, 1, Link::DOWN);
    for number in 0..4 {
        stage.send(0, to, 1, Mode::Reliable, &bytes(number, 1_150)).unwrap();
    }
    stage.run_for(millis(1));
}

#[test]
fn expired_is_told_when_its_time_is_over() {
    for mode in MODES {
        for (tag, life) in [1, 7, 50, 333, 2_000].map(millis).into_iter().enumerate() {
            let (mut stage, there, _) = narrow(1);
            stop_up(&mut stage, there);
            let tag = tag as u32;
            let deadline = stage.now() + life;
            send(&mut stage, there, mode, b"mortal", tag, life);
            let told = outcomes(&mut stage, Duration::from_secs(3));
            let &[(at, who, outcome)] = &told[..] else { panic!("{mode}, {life:?}: {told:?}") };
            assert_eq!((who, outcome), (tag, Outcome::Expired), "{mode}");
            assert!(deadline <= at && at <= deadline + millis(1), "{mode}: {at:?}, {deadline:?}");
        }
    }
}

#[test]
fn a_reliable_message_expires_when_it_was_sent_and_nobody_answers() {
    for mode in reliable() {
        for life in [1, 39, 100, 3_000].map(millis) {
            let (mut stage, there, _) = pair(1);
            stage.net.set_link(1, 0, Link::DOWN);
            let deadline = stage.now() + life;
            send(&mut stage, there, mode, &bytes(1, 3_000), 1, life);
            let told = outcomes(&mut stage, Duration::from_secs(5));
            let &[(at, 1, Outcome::Expired)] = &told[..] else { panic!("{mode}: {told:?}") };
            assert!(deadline <= at && at <= deadline + millis(1), "{mode}: {at:?}, {deadline:?}");
        }
    }
}

#[test]
fn each_expires_at_a_time_of_its_own() {
    for mode in MODES {
        let (mut stage, there, _) = narrow(1);
        stop_up(&mut stage, there);
        let mut rng = Rng::new(5);
        let now = stage.now();
        let lives: Vec<Duration> =
            (0..300).map(|_| millis(1) + rng.duration(Duration::from_secs(2))).collect();
        for (tag, &life) in lives.iter().enumerate() {
            send(&mut stage, there, mode, b"mortal", tag as u32, life);
        }
        let told = outcomes(&mut stage, Duration::from_secs(4));
        assert_eq!(told.len(), 300, "{mode}");
        for (at, tag, outcome) in told {
            let deadline = now + lives[tag as usize];
            assert_eq!(outcome, Outcome::Expired);
            assert!(deadline <= at && at <= deadline + millis(1), "{mode}: {at:?}, {deadline:?}");
        }
    }
}

#[test]
fn a_deadline_is_a_timeout() {
    for mode in MODES {
        let (mut stage, there, _) = narrow(1);
        stop_up(&mut stage, there);
        let deadline = stage.now() + millis(3);
        send(&mut stage, there, mode, b"mortal", 1, millis(3));
        stage.run_for(Duration::from_micros(1));
        let timeout = stage.endpoints[0].poll_timeout().expect("something to wait for");
        assert!(timeout <= deadline + millis(1), "{mode}: {timeout:?}, {deadline:?}");
    }
}

#[test]
fn what_arrives_in_time_does_not_expire() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        for tag in 0..50 {
            send(&mut stage, there, mode, &bytes(tag.into(), 100), tag, millis(90));
        }
        let told = outcomes(&mut stage, Duration::from_secs(3));
        assert_eq!(told.len(), 50);
        assert!(told.iter().all(|told| told.2 == Outcome::Acknowledged), "{mode}: {told:?}");
        assert_eq!(stage.read(1, back).len(), 50);
    }
}

#[test]
fn absurdly_long_lives_are_lives() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        for (tag, micros) in [u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 50].into_iter().enumerate()
        {
            let life = Duration::from_micros(micros);
            send(&mut stage, there, mode, b"immortal", tag as u32, life);
        }
        let told = outcomes(&mut stage, Duration::from_secs(1));
        assert!(told.iter().all(|told| told.2 == Outcome::Acknowledged), "{mode}: {told:?}");
        assert_eq!(stage.read(1, back).len(), 4, "{mode}");
    }
}

#[test]
fn what_was_sent_once_does_not_expire() {
    for mode in UNRELIABLE {
        for (works, right) in [(true, Outcome::Acknowledged), (false, Outcome::Lost)] {
            let (mut stage, there, back) = pair(1);
            if !works {
                stage.net.set_filter(|from, seen| {
                    from.index() != 0 || !frames_of(seen.bytes, 4).iter().any(is_data)
                });
            }
            send(&mut stage, there, mode, b"mortal", 1, millis(1));
            let told = outcomes(&mut stage, Duration::from_secs(3));
            assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [right], "{mode}");
            assert_eq!(stage.read(1, back).len(), usize::from(works), "{mode}");
        }
    }
}

#[test]
fn an_unreliable_message_that_has_begun_does_not_expire() {
    for mode in UNRELIABLE {
        let (mut stage, there, back) = narrow(1);
        // Takes five round trips.
        send(&mut stage, there, mode, &bytes(1, 11_000), 1, millis(30));
        let told = outcomes(&mut stage, Duration::from_secs(3));
        assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [Outcome::Acknowledged]);
        assert_eq!(stage.read(1, back).len(), 1, "{mode}");
    }
}

#[test]
fn what_expired_before_it_left_never_leaves() {
    for mode in MODES {
        let (mut stage, there, back) = narrow(1);
        stop_up(&mut stage, there);
        for tag in 0..20 {
            send(&mut stage, there, mode, b"it is too late for that", tag, millis(50));
        }
        stage.run_for(millis(100));
        assert_eq!(stage.take_outcomes(0).len(), 20, "{mode}");
        stage.take_datagrams();
        stage.net.set_link(0, 1, LINK);
        stage.send(0, there, 0, mode, b"good morning").unwrap();
        stage.run_for(Duration::from_secs(5));
        let read: Vec<_> = stage.read(1, back).into_iter().filter(|m| m.channel.0 == 0).collect();
        assert_eq!(read.len(), 1, "{mode}");
        assert_eq!(read[0].bytes, b"good morning");
        let seen = stage.take_datagrams();
        let left = seen.iter().any(|seen| seen.bytes.windows(8).any(|at| at == b"too late"));
        assert!(!left, "{mode}");
    }
}

#[test]
fn what_expired_while_the_caller_was_away_never_leaves() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        let now = stage.now();
        stage.net.stall(0, now, now + Duration::from_secs(1));
        send(&mut stage, there, mode, b"it is too late for that", 1, millis(500));
        send(&mut stage, there, mode, b"there is time", 2, millis(1_500));
        let told = outcomes(&mut stage, Duration::from_secs(3));
        let told: Vec<_> = told.into_iter().map(|(_, tag, outcome)| (tag, outcome)).collect();
        assert_eq!(told, [(1, Outcome::Expired), (2, Outcome::Acknowledged)], "{mode}");
        let read = stage.read(1, back);
        assert_eq!(read.len(), 1, "{mode}");
        assert_eq!(read[0].bytes, b"there is time");
    }
}

#[test]
fn a_life_of_no_time_is_now_or_never() {
    for mode in UNRELIABLE {
        let (mut stage, there, back) = pair(1);
        send(&mut stage, there, mode, b"now", 1, Duration::ZERO);
        let told = outcomes(&mut stage, Duration::from_secs(1));
        assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [Outcome::Acknowledged]);
        assert_eq!(stage.read(1, back).len(), 1, "{mode}");
    }
    for mode in MODES {
        let (mut stage, there, _) = narrow(1);
        stop_up(&mut stage, there);
        let now = stage.now();
        send(&mut stage, there, mode, b"never", 1, Duration::ZERO);
        let told = outcomes(&mut stage, Duration::from_secs(1));
        let &[(at, 1, Outcome::Expired)] = &told[..] else { panic!("{mode}: {told:?}") };
        assert!(at <= now + millis(1), "{mode}");
    }
    for mode in reliable() {
        let (mut stage, there, back) = pair(1);
        for tag in 0..10 {
            send(&mut stage, there, mode, &bytes(tag.into(), 500), tag, Duration::ZERO);
            stage.send(0, there, 0, mode, b"and on").unwrap();
        }
        let told = outcomes(&mut stage, Duration::from_secs(1));
        assert_eq!(told.len(), 10, "{mode}: {told:?}");
        let read = stage.read(1, back);
        assert_eq!(read.iter().filter(|m| m.bytes == b"and on").count(), 10, "{mode}");
    }
}

#[test]
fn who_has_no_tag_expires_silently() {
    for mode in MODES {
        let (mut stage, there, back) = narrow(1);
        stop_up(&mut stage, there);
        for number in 0..100 {
            let message = bytes(number, 500);
            let pieces = [&message[..]];
            let life = Some(millis(1 + number));
            let plain = Outgoing { tag: None, time_to_live: life, ..tagged(mode, &pieces, 0) };
            stage.offer(0, there, plain).unwrap();
        }
        stage.run_for(Duration::from_secs(1));
        assert_eq!(stage.take_outcomes(0), [], "{mode}");
        stage.net.set_link(0, 1, LINK);
        stage.send(0, there, 0, mode, b"last").unwrap();
        stage.run_for(Duration::from_secs(5));
        let read: Vec<_> = stage.read(1, back).into_iter().filter(|m| m.channel.0 == 0).collect();
        assert_eq!(read.len(), 1, "{mode}");
        stage.close(0, there, 1);
        stage.run_for(Duration::from_secs(3));
        assert_eq!((stage.take_outcomes(0), stage.in_use(0)), (vec![], InUse::default()));
    }
}

/// Messages of these lengths; those whose turn it is in `mortal` expire while nothing arrives. Returns what the
/// receiver was handed once it does, after `within` at most.
fn passed_over(
    plans: [NodePlan; 2],
    mode: Mode,
    lens: &[usize],
    mortal: impl Fn(usize) -> bool,
    within: Duration,
) -> Vec<usize> {
    let (mut stage, there, back) = Stage::connected(3, plans, LINK);
    stage.net.set_link(0, 1, Link::DOWN);
    let contents = |at: usize| bytes(at as u64 + 1, lens[at]);
    for at in 0..lens.len() {
        if mortal(at) {
            send(&mut stage, there, mode, &contents(at), at as u32, millis(300));
        } else {
            stage.send_tagged(0, there, mode, &contents(at), at as u32).unwrap();
        }
    }
    stage.run_for(millis(400));
    stage.net.set_link(0, 1, LINK);
    let mut read = Vec::new();
    let mut passed = Duration::ZERO;
    while passed < within {
        stage.run_for(millis(10));
        passed += millis(10);
        read.extend(stage.read(1, back).into_iter().map(|message| message.bytes));
    }
    let told: BTreeMap<u32, Outcome> = stage.take_outcomes(0).into_iter().collect();
    assert_eq!(told.len(), lens.len(), "{mode}, {lens:?}: {told:?}");
    for (tag, outcome) in told {
        let expired = if mortal(tag as usize) { Outcome::Expired } else { Outcome::Acknowledged };
        assert_eq!(outcome, expired, "{mode}, {lens:?}: {tag}");
    }
    assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{mode}, {lens:?}");
    let which = |message: &Vec<u8>| (0..lens.len()).find(|at| contents(*at) == *message);
    let read = read.iter().map(|message| which(message).expect("one that was sent"));
    in_order(mode, read.collect())
}

/// Sorts what may come in any order.
fn in_order<T: Ord>(mode: Mode, mut all: Vec<T>) -> Vec<T> {
    if mode != Mode::Reliable {
        all.sort();
    }
    all
}

#[test]
fn whoever_expires_is_passed_over() {
    let within = Duration::from_secs(4);
    for mode in reliable() {
        for mask in 0_u32..32 {
            let mortal = |at: usize| mask >> at & 1 == 1;
            let read = passed_over([HEAP, HEAP], mode, &[9, 300, 10, 2_000, 11], mortal, within);
            let left: Vec<usize> = (0..5).filter(|at| !mortal(*at)).collect();
            assert_eq!(read, left, "{mode}, mortal {mask:05b}");
        }
    }
}

#[test]
fn long_ones_are_passed_over_like_short_ones() {
    for mode in reliable() {
        for kind in Kind::ALL {
            let plan = NodePlan::new(kind);
            let (mut stage, there, _) = Stage::connected(1, [HEAP, plan], LINK);
            if stage.endpoints[0].message_max(there, mode).is_none() {
                continue;
            }
            let config = stage.endpoints[1].config();
            let credit = if mode == Mode::Reliable { config.credit } else { config.loose_credit };
            let credit = credit as usize;
            let key = if mode == Mode::ReliableLatest { 4 } else { 0 };
            let most = config.reliable_max as usize - key;
            let near = [1, 4, 5, 127, 128, 129, credit - 3, credit - 2, credit - 1, credit];
            let far = [credit + 1, 2 * credit, 3 * credit + 7, most.min(200_000)];
            for len in near.into_iter().chain(far).filter(|len| *len <= most) {
                for lens in [[len, 5, 6], [5, len, 6], [5, 6, len]] {
                    let plans = [HEAP, plan];
                    let at = lens.iter().position(|other| *other == len).unwrap();
                    let read = passed_over(plans, mode, &lens, |i| i == at, Duration::from_secs(6));
                    let left: Vec<usize> = (0..3).filter(|i| *i != at).collect();
                    assert_eq!(read, left, "{mode}, {kind:?}, {lens:?}");
                }
            }
        }
    }
}

#[test]
fn it_makes_no_difference_where_the_offsets_begin() {
    for mode in reliable() {
        for before in [0, 1, 5, 100, 127, 128, 300, 999, 2_000, 4_000] {
            let plan = with(Kind::Heap, |config| config.initial = Some(u32::MAX - before));
            let lens = [100, 300, 700, 2_000, 9];
            for mask in [0b00001, 0b01010, 0b01110, 0b10101, 0b11111] {
                let mortal = |at: usize| mask >> at & 1 == 1;
                let within = Duration::from_secs(4);
                let read = passed_over([plan, plan], mode, &lens, mortal, within);
                let left: Vec<usize> = (0..5).filter(|at| !mortal(*at)).collect();
                assert_eq!(read, left, "{mode}, {before} before the wrap, mortal {mask:05b}");
            }
        }
    }
}

#[test]
fn thousands_that_expire_at_once_take_few_words() {
    for mode in reliable() {
        for sent_before in [false, true] {
            let plan = with(Kind::Heap, |config| config.tickets_max = 20_000);
            let (mut stage, there, back) = Stage::connected(1, [plan, HEAP], LINK);
            // Sent and never acknowledged, or never sent at all.
            let down = if sent_before { (1, 0) } else { (0, 1) };
            stage.net.set_link(down.0, down.1, Link::DOWN);
            if !sent_before {
                stage.net.stall(0, stage.net.now(), stage.net.now() + millis(200));
            }
            for tag in 0..10_000 {
                send(&mut stage, there, mode, &bytes(tag.into(), 20), tag, millis(100));
            }
            stage.send_tagged(0, there, mode, b"here I am", 10_000).unwrap();
            let told = outcomes(&mut stage, millis(250));
            let expired = told.iter().filter(|told| told.2 == Outcome::Expired).count();
            assert_eq!(expired, 10_000, "{mode}");
            stage.net.set_default_link(LINK);
            stage.net.set_link(down.0, down.1, LINK);
            stage.take_datagrams();
            let mut last = None;
            for _ in 0..200 {
                stage.run_for(millis(10));
                last = stage.read(1, back).pop().or(last);
            }
            let seen = stage.take_datagrams();
            let ours = seen.iter().filter(|seen| seen.by == 0);
            let voids: usize = ours
                .clone()
                .map(|seen| frames_of(&seen.bytes, 4).iter().filter(|frame| is_void(frame)).count())
                .sum();
            assert!(voids > 0 && voids < 20, "{mode}: {voids} frames");
            assert!(ours.count() < 60, "{mode}");
            let last = last.map(|message| message.bytes);
            assert_eq!(last.as_deref(), Some(&b"here I am"[..]), "{mode}");
            assert_eq!(stage.take_outcomes(0), [(10_000, Outcome::Acknowledged)]);
        }
    }
}

#[test]
fn words_that_are_lost_are_said_again() {
    // Lost as a probe finds out, or as acknowledgements of what came after them tell.
    for (mode, chatty) in reliable().flat_map(|mode| [(mode, false), (mode, true)]) {
        for lost in 1..=6 {
            let (mut stage, there, back) = pair(1);
            stage.net.set_link(0, 1, Link::DOWN);
            send(&mut stage, there, mode, &bytes(1, 5_000), 1, millis(10));
            stage.run_for(millis(5));
            stage.send_tagged(0, there, mode, b"after it", 2).unwrap();
            stage.run_for(millis(2));
            stage.net.set_link(0, 1, LINK);
            let mut count = 0;
            stage.net.set_filter(move |_, seen| {
                let tells = frames_of(seen.bytes, 4).iter().any(is_void);
                count += usize::from(tells);
                !tells || count > lost
            });
            let mut read = Vec::new();
            for _ in 0..800 {
                if chatty {
                    stage.send(0, there, 1, Mode::Unreliable, b"by the way").unwrap();
                }
                stage.run_for(millis(10));
                let all = stage.read(1, back).into_iter();
                read.extend(all.filter(|message| message.channel.0 == 0));
            }
            assert_eq!(read.len(), 1, "{mode}: {lost} were lost");
            assert_eq!(read[0].bytes, b"after it");
            let mut told = stage.take_outcomes(0);
            told.sort_by_key(|told| told.0);
            assert_eq!(told, [(1, Outcome::Expired), (2, Outcome::Acknowledged)], "{mode}");
            assert_eq!(
                stage.endpoints[0].path(there).unwrap().queued,
                0,
                "{mode}: {lost} were lost"
            );
        }
    }
}

#[test]
fn words_that_come_late_or_twice_change_nothing() {
    for mode in reliable() {
        let (mut stage, there, back) = pair(1);
        stage.net.set_link(0, 1, Link::DOWN);
        for tag in 0..20 {
            send(&mut stage, there, mode, &bytes(tag.into(), 700), tag, millis(10));
            stage.send(0, there, 0, mode, &bytes(tag.into(), 300)).unwrap();
        }
        stage.run_for(millis(20));
        stage.take_datagrams();
        stage.net.set_link(0, 1, LINK);
        let mut read = Vec::new();
        let mut seen = Vec::new();
        for round in 0..400_usize {
            stage.run_for(millis(5));
            seen.extend(
                stage
                    .take_datagrams()
                    .into_iter()
                    .filter(|seen| seen.by == 0 && frames_of(&seen.bytes, 4).iter().any(is_void)),
            );
            // Whoever saw them says them again, in another order.
            if let Some(again) = seen.len().checked_sub(1 + round % 7) {
                let (now, from, to) = (stage.now(), stage.net.address(0), stage.net.address(1));
                stage.net.inject(now, from, to, &seen[again].bytes);
            }
            read.extend(stage.read(1, back).into_iter().map(|message| message.bytes));
        }
        assert!(!seen.is_empty());
        let expected: Vec<_> = (0..20).map(|number| bytes(number, 300)).collect();
        assert!(
            in_order(mode, read.clone()) == in_order(mode, expected),
            "{mode}: {} messages",
            read.len()
        );
    }
}

/// Anything may expire or be withdrawn at any point of its way.
fn anything(seed: u64, mode: Mode) {
    const THERE: Direction = Direction { session: 1, by_client: true };
    let mut rng = Rng::stream(seed, 1);
    let kinds = [0, 0].map(|_: u8| Kind::ALL[rng.below(4) as usize]);
    let initial = rng.chance(50 * PERCENT).then(|| u32::MAX - rng.below(30_000) as u32);
    let plans = kinds.map(|kind| with(kind, |config| config.initial = initial));
    let (mut stage, there, back) = Stage::connected(seed, plans, LINK);
    let bad = Link::PERFECT
        .with_delay(millis(rng.below(40)))
        .with_jitter(millis(rng.below(40)))
        .with_loss(rng.below(40) as u32 * PERCENT)
        .with_duplicate(rng.below(20) as u32 * PERCENT, millis(90))
        .with_reorder(rng.below(20) as u32 * PERCENT, millis(60));
    stage.net.set_default_link(bad);
    let Some(most) = stage.endpoints[0].message_max(there, mode) else { return };
    let most = most.min(30_000);
    let mut oracle = Oracle::new();
    let mut live = BTreeMap::new();
    let mut is_reading = true;
    for tag in 0..300_u32 {
        let longest = if rng.chance(20 * PERCENT) { most } else { most.min(300) };
        let mut message = bytes(tag.into(), 4.max(rng.below(longest as u64 + 1) as usize));
        message[..4].copy_from_slice(&tag.to_be_bytes());
        let pieces = [&message[..]];
        let life = rng.chance(60 * PERCENT).then(|| rng.duration(millis(200)));
        let outgoing = Outgoing { time_to_live: life, ..tagged(mode, &pieces, tag) };
        if stage.offer(0, there, outgoing).is_ok() {
            let terms = Terms { deadline: life.map(|life| stage.now() + life), key: outgoing.key };
            let id = oracle.sent_with(THERE, outgoing.channel, mode, &message, terms);
            live.insert(tag, (id, terms.deadline));
        }
        if rng.chance(20 * PERCENT) {
            let victim = bowline_core::Tag(rng.below(u64::from(tag) + 1) as u32);
            if stage.endpoints[0].cancel(there, victim).is_ok() {
                oracle.given_up(live[&victim.0].0);
            }
        }
        if rng.chance(5 * PERCENT) {
            is_reading = !is_reading;
        }
        pass(&mut stage, (&mut oracle, &mut live), rng.duration(millis(30)), |stage, oracle| {
            if is_reading {
                let read = stage.read(1, back);
                for message in read {
                    let Err(wrong) =
                        oracle.received(THERE, message.channel, message.mode, &message.bytes)
                    else {
                        continue;
                    };
                    panic!("{kinds:?} {mode}: {wrong}");
                }
            }
        });
    }
    stage.net.set_default_link(LINK);
    for _ in 0..300 {
        pass(&mut stage, (&mut oracle, &mut live), millis(100), |stage, oracle| {
            for message in stage.read(1, back) {
                let judged = oracle.received(THERE, message.channel, message.mode, &message.bytes);
                judged.unwrap_or_else(|wrong| panic!("{kinds:?} {mode}: {wrong}"));
            }
        });
    }
    assert_eq!(oracle.reliable_missing(THERE), 0, "{kinds:?} {mode}");
    assert!(live.is_empty(), "{kinds:?} {mode}: {live:?}");
    for node in [0, 1] {
        let ended = |event: &Event| matches!(event, Event::Disconnected(..));
        assert_eq!(stage.take_events(node).into_iter().find(ended), None, "{kinds:?} {mode}");
    }
    assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{kinds:?} {mode}");
    stage.close(0, there, 1);
    stage.run_for(Duration::from_secs(3));
    assert_eq!([stage.in_use(0), stage.in_use(1)], [InUse::default(); 2]);
}

type Live = BTreeMap<u32, (bowline_tests::oracle::MessageId, Option<Instant>)>;

/// Lets time pass, and holds what is told against what is known.
fn pass(
    stage: &mut Stage,
    (oracle, live): (&mut Oracle, &mut Live),
    span: Duration,
    mut read: impl FnMut(&mut Stage, &mut Oracle),
) {
    let end = stage.now() + span;
    loop {
        let step = stage.step_until(end);
        stage.exchange();
        let now = stage.now();
        oracle.set_now(now);
        read(stage, oracle);
        stage.collect();
        for (tag, outcome) in stage.take_outcomes(0) {
            let (id, deadline) = live.remove(&tag).expect("a message without an end");
            match outcome {
                Outcome::Acknowledged => oracle.acknowledged(id),
                Outcome::Expired => {
                    let deadline = deadline.expect("a deadline");
                    assert!(deadline <= now && now <= deadline + millis(1), "{deadline:?} {now:?}");
                    oracle.given_up(id);
                }
                _ => oracle.given_up(id),
            }
        }
        let overdue = live
            .iter()
            .find(|(_, (_, deadline))| deadline.is_some_and(|deadline| deadline + millis(1) < now));
        assert!(overdue.is_none(), "{overdue:?} at {now:?}");
        if step != Step::Due {
            return;
        }
    }
}

#[test]
fn nothing_stalls_whatever_is_given_up() {
    for case in cases!("nothing_stalls_whatever_is_given_up", 0, 150) {
        replay_on_panic!(case);
        for mode in reliable() {
            anything(case.seed(), mode);
        }
    }
}

#[test]
fn a_session_is_finished_when_the_last_message_has_expired() {
    for mode in MODES {
        for after in [0, 30, 100] {
            let (mut stage, there, back) = narrow(1);
            stage.net.set_link(0, 1, Link::DOWN);
            for tag in 0..20 {
                send(&mut stage, there, mode, &bytes(tag.into(), 1_000), tag, millis(60));
            }
            stage.run_for(millis(after));
            let now = stage.now();
            stage.endpoints[0].finish(now, there, CloseReason(6)).unwrap();
            stage.run_for(millis(150));
            stage.net.set_link(0, 1, LINK);
            stage.run_for(Duration::from_secs(4));
            let told = stage.take_outcomes(0);
            assert_eq!(told.len(), 20, "{mode}: {told:?}");
            let right = |told: &(u32, Outcome)| match told.1 {
                Outcome::Expired => true,
                Outcome::Lost | Outcome::Acknowledged => !mode.is_reliable(),
                _ => false,
            };
            assert!(told.iter().all(right), "{mode}: {told:?}");
            let ended = Event::Disconnected(there, DisconnectReason::Closed(CloseReason(6)));
            assert!(stage.take_events(0).contains(&ended), "{mode}, {after} ms");
            stage.read(1, back);
        }
    }
}

#[test]
fn memory_of_what_expired_comes_back() {
    for mode in MODES {
        let (mut stage, there, _) = narrow(1);
        stop_up(&mut stage, there);
        let before = stage.in_use(0);
        for tag in 0..1_000 {
            send(&mut stage, there, mode, &bytes(tag.into(), 900), tag, millis(100));
        }
        assert!(stage.in_use(0).blocks > before.blocks + 500, "{mode}");
        stage.run_for(millis(200));
        assert_eq!(stage.take_outcomes(0).len(), 1_000);
        stage.net.set_link(0, 1, LINK);
        stage.run_for(Duration::from_secs(5));
        let after = stage.in_use(0);
        assert!(after.blocks <= before.blocks && after.records <= before.records, "{mode}");
    }
}

#[test]
fn a_message_that_was_given_up_in_time_leaves_its_place_to_others() {
    // Everything expires in turn while more and more is sent: nothing is ever full.
    for mode in MODES {
        let plan = NodePlan::new(Kind::SmallFixed);
        let (mut stage, there, back) =
            Stage::connected(1, [plan, plan], LINK.with_loss(30 * PERCENT));
        if stage.endpoints[0].message_max(there, mode).is_none() {
            continue;
        }
        let (mut accepted, mut told, mut full) = (0, 0, 0);
        for tag in 0..3_000 {
            let message = bytes(tag.into(), 200);
            let pieces = [&message[..]];
            let life = Some(millis(30));
            let message = Outgoing { time_to_live: life, ..tagged(mode, &pieces, tag) };
            match stage.offer(0, there, message) {
                Ok(()) => accepted += 1,
                Err(SendError::Full) => full += 1,
                Err(error) => panic!("{mode}: {error}"),
            }
            stage.run_for(millis(15));
            stage.read(1, back);
            told += stage.take_outcomes(0).len();
        }
        stage.run_for(Duration::from_secs(5));
        told += stage.take_outcomes(0).len();
        assert_eq!(told, accepted, "{mode}");
        assert!(accepted > 150, "{mode}: {full} times full");
        let ended = |event: &Event| matches!(event, Event::Disconnected(..));
        assert_eq!(stage.take_events(0).into_iter().find(ended), None, "{mode}");
    }
}
