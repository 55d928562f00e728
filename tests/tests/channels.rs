//! Channels share a session as their classes say (DESIGN 4.2): one test per sentence, on links that are
//! really full.

use bowline_core::{ChannelId, Duration, Instant, Machine, Mode, Outcome, Outgoing, Tag};
use bowline_crypto::SipHash;
use bowline_native::{Class, ClassError, Config, ConfigError, Endpoint};
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::backlog::{Backlog, Lane, Sent, classes, plan};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage, bytes, millis};

/// 1 MB/s, which the window of 30,000 bytes fills, with room for all of it in the queue.
const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(5)).with_rate(1_000_000, 100_000);
const CLASS: Class = Class::DEFAULT;
/// The longest datagram.
const DATAGRAM: u64 = 1_200;

fn weighing(weights: &[u8]) -> Vec<Class> {
    weights.iter().map(|&weight| Class { weight, ..CLASS }).collect()
}

/// A lane of each channel, all in the same mode.
fn lanes(count: usize, mode: Mode, len: usize) -> Vec<Lane> {
    (0..count).map(|channel| Lane { channel: channel as u8, mode, len }).collect()
}

/// Lets loose the lanes and says what each had of 1,000 datagrams.
fn shares_of_a_thousand(seed: u64, classes: &[Class], lanes: Vec<Lane>, link: Link) -> Vec<u64> {
    let mut backlog = Backlog::new(seed, plan(classes), lanes, LINK);
    backlog.stage.net.set_link(0, 1, link);
    backlog.run_datagrams(50);
    let first = backlog.sent.len();
    backlog.run_datagrams(1_000);
    backlog.shares(first)
}

/// Each has its part within 5 %; where that is less than a datagram, within one.
#[track_caller]
fn assert_parts(bytes: &[u64], weights: &[u8], what: &str) {
    let all: u64 = bytes.iter().sum();
    let weight_of_all: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    for (lane, (&bytes_of, &weight)) in bytes.iter().zip(weights).enumerate() {
        let part = all * u64::from(weight) / weight_of_all;
        let tolerance = (part / 20).max(DATAGRAM);
        assert!(
            bytes_of.abs_diff(part) <= tolerance,
            "{what}: lane {lane} of weight {weight} had {bytes_of} instead of {part}: {bytes:?}"
        );
    }
}

const WEIGHTS: [&[u8]; 5] =
    [&[16, 16], &[1, 2], &[1, 2, 4, 8], &[255, 85, 51], &[10, 20, 30, 40, 50, 60, 70, 80]];

#[test]
fn shares_hold_in_every_mode() {
    for mode in MODES {
        for weights in WEIGHTS {
            let lanes = lanes(weights.len(), mode, 1_000);
            let shares = shares_of_a_thousand(1, &weighing(weights), lanes, LINK);
            assert_parts(&shares, weights, &format!("{mode}"));
        }
    }
}

#[test]
fn shares_hold_among_modes() {
    // Each mode of a channel counts by itself.
    let weights = [10, 20, 30, 40, 50];
    let lanes: Vec<Lane> =
        (0..5).map(|channel| Lane { channel, mode: MODES[channel as usize], len: 700 }).collect();
    let shares = shares_of_a_thousand(2, &weighing(&weights), lanes, LINK);
    assert_parts(&shares, &weights, "a mode each");
    let lanes: Vec<Lane> = MODES.iter().map(|&mode| Lane { channel: 0, mode, len: 400 }).collect();
    let shares = shares_of_a_thousand(3, &weighing(&[200]), lanes, LINK);
    assert_parts(&shares, &[1; 5], "five modes of one channel");
}

#[test]
fn shares_are_of_bytes_whatever_the_length_of_messages() {
    let weights = [16, 32, 16, 8, 64];
    for mode in MODES {
        let mut lanes = lanes(5, mode, 0);
        // Messages of mode reliable-latest take a record each, of which there are only so many.
        let shortest = if mode == Mode::ReliableLatest { 50 } else { 5 };
        for (lane, len) in lanes.iter_mut().zip([shortest, 100, 601, 1_100, 9_000]) {
            lane.len = len;
        }
        let shares = shares_of_a_thousand(4, &weighing(&weights), lanes, LINK);
        assert_parts(&shares, &weights, &format!("{mode}"));
    }
}

#[test]
fn shares_hold_with_loss_and_what_is_sent_again_counts() {
    let weights = [8, 16, 24, 48];
    for mode in MODES {
        for loss in [2, 10] {
            let lanes = lanes(4, mode, 900);
            let link = LINK.with_loss(loss * PERCENT);
            let shares = shares_of_a_thousand(5, &weighing(&weights), lanes, link);
            assert_parts(&shares, &weights, &format!("{mode}, {loss} % lost"));
        }
    }
}

/// The lanes of `bulk` never run dry. Sends a message on the last lane now and then, and says how many datagrams
/// went before it at most.
fn most_before_a_head(mut backlog: Backlog, len: usize) -> usize {
    let head = backlog.lanes.len() - 1;
    backlog.is_busy[head] = false;
    backlog.run_datagrams(100);
    let mut most = 0;
    for round in 0..150 {
        let first = backlog.sent.len();
        backlog.send(head, &vec![7; len]);
        let has_head = |backlog: &Backlog| {
            let mut sent = backlog.sent[first..].iter();
            sent.position(|sent| sent.parts.iter().any(|part| part.lane == head))
        };
        while has_head(&backlog).is_none() {
            backlog.run_datagrams(1);
        }
        most = most.max(has_head(&backlog).unwrap());
        // At any time of what the window and the budgets do.
        backlog.run_for(Duration::from_micros(round * 331));
    }
    most
}

#[test]
fn bulk_of_lower_priority_adds_at_most_a_datagram_before_a_head() {
    for mode in MODES {
        let mut classes = vec![Class { priority: 3, weight: 255, ..CLASS }; 5];
        classes.push(Class { priority: 4, weight: 1, ..CLASS });
        let mut lanes = lanes(6, mode, 3_000);
        lanes.iter_mut().zip(MODES).for_each(|(lane, mode)| lane.mode = mode);
        let kinds = [(0, 20, 30_000), (0, 1_000, 30_000), (0, 20_000, 30_000)];
        let narrow = [(0, 20, 2_400), (0, 3_000, 2_400)];
        let lossy = [(10, 20, 30_000), (10, 1_100, 30_000), (10, 1_100, 4_000)];
        for (loss, len, window) in kinds.into_iter().chain(narrow).chain(lossy) {
            let mut plan = plan(&classes);
            plan.config.in_flight_max = window;
            let mut backlog = Backlog::new(6, plan, lanes.clone(), LINK);
            backlog.stage.net.set_link(0, 1, LINK.with_loss(loss * PERCENT));
            let most = most_before_a_head(backlog, len);
            assert!(most <= 1, "{mode}, {len} bytes, {loss} % lost: {most} datagrams before it");
        }
    }
}

#[test]
fn minimums_of_lower_priority_add_at_most_a_datagram_before_a_head() {
    for mode in MODES {
        let mut classes = vec![Class { priority: 3, rate_min: 300_000, ..CLASS }; 5];
        classes.push(Class { priority: 4, ..CLASS });
        let mut lanes = lanes(6, mode, 3_000);
        lanes.iter_mut().zip(MODES).for_each(|(lane, mode)| lane.mode = mode);
        for (loss, len) in [(0, 20), (0, 1_000), (10, 20)] {
            let mut backlog = Backlog::new(7, plan(&classes), lanes.clone(), LINK);
            backlog.stage.net.set_link(0, 1, LINK.with_loss(loss * PERCENT));
            let most = most_before_a_head(backlog, len);
            assert!(most <= 1, "{mode}, {len} bytes, {loss} % lost: {most} datagrams before it");
        }
    }
}

#[test]
fn lower_priorities_starve() {
    for mode in MODES {
        let classes = [1, 2, 3].map(|priority| Class { priority, ..CLASS });
        let mut backlog = Backlog::new(8, plan(&classes), lanes(3, mode, 800), LINK);
        for busiest in [2, 1, 0] {
            backlog.run_datagrams(150);
            let first = backlog.sent.len();
            backlog.run_datagrams(1_000);
            let shares = backlog.shares(first);
            let others: u64 = shares.iter().sum::<u64>() - shares[busiest];
            assert_eq!(others, 0, "{mode}: {busiest} has something to send: {shares:?}");
            backlog.is_busy[busiest] = false;
        }
    }
}

/// What a lane sent from `first` on, in bytes per second.
fn rate_of(backlog: &Backlog, lane: usize, from: Instant) -> u64 {
    let times = backlog.times_of(lane);
    let bytes: u64 = times.iter().filter(|(at, _)| *at >= from).map(|(_, bytes)| bytes).sum();
    bytes * 1_000_000 / (backlog.stage.now() - from).as_micros()
}

#[track_caller]
fn assert_rate(rate: u64, wanted: u64, what: &str) {
    assert!(rate.abs_diff(wanted) <= wanted / 20, "{what}: {rate} B/s instead of {wanted}");
}

#[test]
fn a_starved_channel_gets_its_minimum() {
    for mode in MODES {
        for loss in [0, 5] {
            let wanted = [150_000, 0, 60_000, 20_000];
            let classes = wanted.map(|rate_min| Class { priority: 9, rate_min, ..CLASS });
            let mut classes = classes.to_vec();
            classes.push(Class { priority: 10, ..CLASS });
            let mut backlog = Backlog::new(9, plan(&classes), lanes(5, mode, 800), LINK);
            backlog.stage.net.set_link(0, 1, LINK.with_loss(loss * PERCENT));
            backlog.run_for(millis(500));
            let from = backlog.stage.now();
            backlog.run_for(Duration::from_secs(4));
            for (lane, wanted) in wanted.into_iter().enumerate() {
                let what = format!("{mode}, {loss} % lost, lane {lane}");
                assert_rate(rate_of(&backlog, lane, from), wanted.into(), &what);
            }
            assert!(rate_of(&backlog, 4, from) > 600_000, "{mode}: the rest is for the highest");
        }
    }
}

/// Whether bytes never come faster than the rate, but for a burst of 100 ms and one datagram.
#[track_caller]
fn assert_capped(times: &[(Instant, u64)], rate: u64, what: &str) {
    for (first, &(from, _)) in times.iter().enumerate() {
        let mut bytes = 0;
        for &(at, more) in &times[first..] {
            bytes += more;
            let span = (at - from).as_micros() + 100_000;
            let most = rate * span / 1_000_000 + DATAGRAM;
            assert!(bytes <= most, "{what}: {bytes} bytes from {from:?} to {at:?}, not {most}");
        }
    }
}

#[test]
fn a_maximum_is_kept_to_one_burst() {
    for mode in MODES {
        for rate in [30_000, 150_000, 700_000] {
            let classes = [Class { rate_max: rate, ..CLASS }];
            let mut backlog = Backlog::new(10, plan(&classes), lanes(1, mode, 500), LINK);
            backlog.run_for(millis(500));
            let from = backlog.stage.now();
            backlog.run_for(Duration::from_secs(2));
            let what = format!("{mode} at {rate}");
            assert_rate(rate_of(&backlog, 0, from), rate.into(), &what);
            // Away for a while, and back.
            backlog.is_busy[0] = false;
            backlog.rest_for(Duration::from_secs(3));
            backlog.is_busy[0] = true;
            backlog.run_for(Duration::from_secs(1));
            assert_capped(&backlog.times_of(0), rate.into(), &what);
        }
    }
}

/// Longest time that a lane has waited after its maximum allowed it to go on.
fn latest(sent: &[Sent], rate: u32) -> Duration {
    let late = sent.windows(2).map(|pair| {
        let bytes: usize = pair[0].parts.iter().map(|part| part.bytes).sum();
        let span = Duration::from_micros(bytes as u64 * 1_000_000 / u64::from(rate));
        pair[1].at - (pair[0].at + span)
    });
    late.max().unwrap()
}

#[test]
fn a_capped_channel_goes_on_as_soon_as_it_may() {
    for mode in MODES {
        for rate in [30_000, 150_000, 400_000] {
            let classes = [Class { rate_max: rate, ..CLASS }];
            let mut backlog = Backlog::new(11, plan(&classes), lanes(1, mode, 1_100), LINK);
            // The application fills the queue and sleeps.
            backlog.ahead = u64::from(rate) * 2;
            backlog.top_up();
            backlog.rest_for(millis(200));
            let (first, calls) = (backlog.sent.len(), backlog.stage.calls(0).clone());
            backlog.rest_for(Duration::from_secs(1));
            let late = latest(&backlog.sent[first..], rate);
            assert!(late <= millis(1), "{mode} at {rate}: {late:?} later than it might");
            let (sent, now) = (backlog.sent.len() - first, backlog.stage.calls(0));
            let in_vain = now.in_vain - calls.in_vain;
            assert!(in_vain <= 2, "{mode} at {rate}: of {sent} wakes, {in_vain} in vain");
        }
    }
}

#[test]
fn what_is_sent_again_counts_against_a_maximum() {
    for mode in MODES {
        for loss in [5, 20] {
            let classes = [Class { rate_max: 100_000, ..CLASS }];
            let mut backlog = Backlog::new(12, plan(&classes), lanes(1, mode, 900), LINK);
            backlog.stage.net.set_link(0, 1, LINK.with_loss(loss * PERCENT));
            backlog.run_for(Duration::from_secs(3));
            assert_capped(&backlog.times_of(0), 100_000, &format!("{mode}, {loss} % lost"));
        }
        // A probe goes when it is time for it, and then others wait the longer.
        let classes = [Class { rate_max: 10_000, ..CLASS }];
        let mut backlog = Backlog::new(12, plan(&classes), lanes(1, mode, 1_100), LINK);
        backlog.stage.net.set_link(0, 1, LINK.with_loss(60 * PERCENT));
        backlog.run_for(Duration::from_secs(20));
        let probes = backlog.stage.endpoints[0].peer_statistics(backlog.there).unwrap().probes;
        let bytes = backlog.shares(0)[0];
        assert!(
            bytes <= 201_000 + 2 * DATAGRAM,
            "{mode}: {bytes} bytes in 20 s with {probes} probes"
        );
    }
}

#[test]
fn who_may_not_send_leaves_the_rest_to_others() {
    for mode in MODES {
        let mut classes = vec![Class { priority: 200, rate_max: 100_000, ..CLASS }];
        classes.push(Class { priority: 100, rate_max: 200_000, ..CLASS });
        classes.extend([Class { priority: 1, weight: 40, ..CLASS }; 2]);
        let mut backlog = Backlog::new(13, plan(&classes), lanes(4, mode, 900), LINK);
        backlog.run_for(millis(500));
        let (from, first) = (backlog.stage.now(), backlog.sent.len());
        backlog.run_for(Duration::from_secs(3));
        assert_rate(rate_of(&backlog, 0, from), 100_000, &format!("{mode}, the highest"));
        assert_rate(rate_of(&backlog, 1, from), 200_000, &format!("{mode}, the next"));
        assert_parts(&backlog.shares(first)[2..], &[1, 1], &format!("{mode}, the others"));
        let all: u64 = (0..4).map(|lane| rate_of(&backlog, lane, from)).sum();
        assert!(all > 900_000, "{mode}: {all} of 1,000,000 B/s");
    }
}

#[test]
fn a_minimum_that_is_a_maximum_is_a_rate() {
    for mode in MODES {
        let rate = 120_000;
        let low = Class { priority: 0, rate_min: rate, rate_max: rate, ..CLASS };
        for busy in [false, true] {
            let mut backlog = Backlog::new(14, plan(&[low, CLASS]), lanes(2, mode, 900), LINK);
            backlog.is_busy[1] = busy;
            backlog.run_for(millis(500));
            let from = backlog.stage.now();
            backlog.run_for(Duration::from_secs(3));
            assert_rate(rate_of(&backlog, 0, from), rate.into(), &format!("{mode}, {busy}"));
        }
    }
}

#[test]
fn all_minimums_together_get_every_other_datagram_at_most() {
    let greedy = Class { priority: 1, rate_min: 2_000_000, ..CLASS };
    let classes = [greedy, greedy, Class { priority: 2, ..CLASS }];
    let mut backlog = Backlog::new(15, plan(&classes), lanes(3, Mode::Reliable, 900), LINK);
    backlog.run_datagrams(100);
    let first = backlog.sent.len();
    backlog.run_datagrams(1_000);
    let shares = backlog.shares(first);
    assert_parts(&[shares[0] + shares[1], shares[2]], &[1, 1], "minimums, and the highest");
    assert_parts(&shares[..2], &[1, 1], "one minimum and the other");
}

#[test]
fn a_caller_that_comes_every_50_ms_gets_minimum_and_maximum() {
    for mode in MODES {
        let low = Class { priority: 1, rate_min: 100_000, ..CLASS };
        let capped = Class { priority: 2, rate_max: 100_000, ..CLASS };
        let classes = [low, capped, Class { priority: 2, ..CLASS }];
        let mut backlog = Backlog::new(16, plan(&classes), lanes(3, mode, 900), LINK);
        let now = backlog.stage.now();
        backlog.stage.net.poll_every(0, now, millis(50));
        backlog.run_for(millis(500));
        let from = backlog.stage.now();
        backlog.run_for(Duration::from_secs(4));
        assert_rate(rate_of(&backlog, 0, from), 100_000, &format!("{mode}, the minimum"));
        assert_rate(rate_of(&backlog, 1, from), 100_000, &format!("{mode}, the maximum"));
        assert_capped(&backlog.times_of(1), 100_000, &format!("{mode}"));
    }
}

#[test]
fn equals_take_turns_by_the_datagram() {
    for mode in MODES {
        let mut backlog = Backlog::new(17, plan(&[]), lanes(8, mode, 1_100), LINK);
        backlog.run_datagrams(50);
        let first = backlog.sent.len();
        backlog.run_datagrams(400);
        // The first part of a datagram tells whose turn it is: small rests of others may ride along.
        let turns: Vec<usize> =
            backlog.sent[first..].iter().map(|sent| sent.parts[0].lane).collect();
        for lane in 0..8 {
            let own = turns.iter().enumerate().filter(|(_, turn)| **turn == lane);
            let at: Vec<usize> = own.map(|(at, _)| at).collect();
            let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(longest <= Some(9), "{mode}: lane {lane} waited for {longest:?}");
        }
    }
}

#[test]
fn who_comes_waits_for_a_datagram_of_each_equal_at_most() {
    for mode in MODES {
        let mut backlog = Backlog::new(18, plan(&[]), lanes(8, mode, 1_100), LINK);
        backlog.is_busy[7] = false;
        backlog.run_datagrams(100);
        for _ in 0..100 {
            let first = backlog.sent.len();
            backlog.send(7, b"here I am");
            let has_come = |sent: &Sent| sent.parts.iter().any(|part| part.lane == 7);
            while !backlog.sent[first..].iter().any(has_come) {
                backlog.run_datagrams(1);
            }
            let before = backlog.sent[first..].iter().position(has_come).unwrap();
            assert!(before <= 7, "{mode}: {before} datagrams of seven others");
            backlog.run_for(millis(7));
        }
    }
}

#[test]
fn who_was_away_has_nothing_to_its_credit() {
    for mode in MODES {
        let weights = [16, 32];
        let mut backlog = Backlog::new(19, plan(&weighing(&weights)), lanes(2, mode, 1_100), LINK);
        backlog.is_busy[1] = false;
        backlog.run_for(Duration::from_secs(5));
        backlog.is_busy[1] = true;
        // Whatever it queued before has gone by now; from its first datagram on the shares hold.
        backlog.run_datagrams(1);
        let first = backlog.sent.len();
        backlog.run_datagrams(60);
        assert_parts(&backlog.shares(first), &weights, &format!("{mode}"));
    }
}

/// Endpoints with 256 channels.
fn wide(classes_of: &[Class]) -> NodePlan {
    let mut plan = NodePlan::new(Kind::WideHeap);
    plan.config = Config { classes: classes(classes_of), in_flight_max: 60_000, ..plan.config };
    plan
}

#[test]
fn shares_hold_among_256_channels() {
    let weights: Vec<u8> = (0..256).map(|channel| [8, 16, 32, 64][channel % 4]).collect();
    let mut lanes = lanes(256, Mode::Reliable, 500);
    lanes.iter_mut().zip(MODES.iter().cycle()).for_each(|(lane, mode)| lane.mode = *mode);
    let mut backlog = Backlog::new(20, wide(&weighing(&weights)), lanes, LINK);
    backlog.ahead = 6_000;
    backlog.run_datagrams(500);
    let first = backlog.sent.len();
    backlog.run_datagrams(10_000);
    assert_parts(&backlog.shares(first), &weights, "256 channels");
}

#[test]
fn each_of_256_channels_has_a_priority_of_its_own() {
    let classes: Vec<Class> = (0..=255).map(|priority| Class { priority, ..CLASS }).collect();
    for mode in MODES {
        let (mut stage, there, back) = Stage::connected(21, [wide(&classes); 2], LINK);
        for channel in 0..=255 {
            stage.send(0, there, channel, mode, &bytes(channel.into(), 1_000)).unwrap();
        }
        stage.run_for(Duration::from_secs(2));
        let read = stage.read(1, back);
        let order: Vec<u8> = read.iter().map(|message| message.channel.0).collect();
        assert_eq!(order, (0..=255).rev().collect::<Vec<_>>(), "{mode}");
        for message in read {
            assert!(message.bytes == bytes(message.channel.0.into(), 1_000), "{mode}");
        }
    }
}

#[test]
fn who_needs_an_empty_packet_is_not_kept_waiting_by_small_messages_of_a_higher_channel() {
    let classes = classes(&[Class { priority: 200, ..CLASS }, Class { priority: 0, ..CLASS }]);
    // As long as a datagram takes, one that leaves room for nothing, and one that needs two.
    for (len, window) in (1_100..1_230).step_by(3).flat_map(|len| [(len, 1_300), (len, 30_000)]) {
        for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
            let mut plan = plan(classes);
            plan.config.in_flight_max = window;
            let (mut stage, there, back) = Stage::connected(1, [plan, plan], LINK);
            let mut took = None;
            for tick in 0..100 {
                // Both talk, so that there is always something to be acknowledged as well.
                for (node, to) in [(0, there), (1, back)] {
                    stage.send(node, to, 0, Mode::Reliable, b"small").unwrap();
                    stage.send(node, to, 0, mode, b"small").unwrap();
                }
                if tick == 20 {
                    stage.send(0, there, 1, mode, &bytes(1, len)).unwrap();
                }
                stage.run_for(millis(1));
                stage.read(0, there);
                let got = stage.read(1, back);
                if got.iter().any(|message| message.bytes.len() == len) {
                    took = took.or(Some(tick - 20));
                }
            }
            // A way takes 5 ms and more; a small window opens once in a round trip.
            let most = if window > 5_000 { 9 } else { 60 };
            assert!(took.is_some_and(|took| took <= most), "{mode}, {len}, {window}: {took:?} ms");
        }
    }
}

#[test]
fn a_channel_without_credit_holds_up_nobody() {
    for mode in MODES.into_iter().filter(|mode| mode.is_reliable()) {
        let urgent = Class { priority: 255, rate_min: 50_000, ..CLASS };
        let mut plan = plan(&[urgent, urgent, CLASS]);
        (plan.config.credit, plan.config.loose_credit) = (4_096, 4_096);
        plan.config.credit_max = 4_096;
        let (mut stage, there, back) = Stage::connected(22, [plan; 2], LINK);
        for channel in [0, 1] {
            for number in 0..50 {
                stage.send(0, there, channel, mode, &bytes(number, 500)).unwrap();
            }
        }
        // Nobody reads.
        stage.run_for(Duration::from_secs(2));
        let stuck = stage.endpoints[0].path(there).unwrap().queued;
        assert!(stuck > 30_000, "{mode}: {stuck} bytes wait for credit");
        let calls = stage.calls(0).clone();
        stage.run_for(Duration::from_secs(2));
        let woken = stage.calls(0).woken - calls.woken;
        assert!(woken <= 4, "{mode}: {woken} wakes although nothing can be sent");
        for mode in MODES {
            stage.send(0, there, 2, mode, b"what can be sent is sent").unwrap();
        }
        stage.run_for(millis(50));
        let read = stage.read(1, back);
        let others = read.iter().filter(|message| message.channel == ChannelId(2)).count();
        assert_eq!(others, MODES.len(), "{mode}");
        // With credit it is as urgent as it was.
        for number in 0..100 {
            stage.send(0, there, 2, Mode::Unreliable, &bytes(number, 1_100)).unwrap();
        }
        stage.take_datagrams();
        for _ in 0..400 {
            stage.run_for(millis(5));
            stage.read(1, back);
        }
        assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{mode}");
    }
}

#[test]
fn the_session_sleeps_while_only_capped_channels_have_something() {
    for mode in MODES {
        let rate = 20_000;
        let classes = [Class { rate_max: rate, ..CLASS }; 3];
        let mut backlog = Backlog::new(23, plan(&classes), lanes(3, mode, 1_100), LINK);
        backlog.ahead = 100_000;
        backlog.top_up();
        backlog.rest_for(millis(500));
        let calls = backlog.stage.calls(0).clone();
        let (first, end) = (backlog.sent.len(), backlog.stage.now() + Duration::from_secs(3));
        while backlog.step_until(end) == bowline_sim::Step::Due {}
        let sent = (backlog.sent.len() - first) as u64;
        let now = backlog.stage.calls(0);
        assert!(sent >= 150, "{mode}: {sent} datagrams of 60,000 B/s for 3 s");
        // A probe timer that was moved on fires once more in its old time, 40 ms or more later.
        assert!(now.in_vain - calls.in_vain <= 75, "{mode}: {calls:?} {now:?}");
        // One that sends and one that finds no more for each, and for each acknowledgement.
        let polls = now.polls - calls.polls;
        assert!(polls <= 5 * sent, "{mode}: {polls} polls for {sent} datagrams");
        let (at, now) = (backlog.stage.endpoints[0].poll_timeout(), backlog.stage.now());
        assert!(at.is_some_and(|at| at > now && at <= now + millis(60)), "{mode}: {at:?} {now:?}");
    }
}

#[test]
fn an_empty_channel_that_used_up_its_maximum_wakes_nobody() {
    for mode in MODES {
        let classes = [Class { rate_max: 5_000, rate_min: 1_000, ..CLASS }];
        let mut backlog = Backlog::new(24, plan(&classes), lanes(1, mode, 1_100), LINK);
        backlog.send(0, &[1; 1_100]);
        backlog.send(0, &[2; 1_100]);
        backlog.rest_for(Duration::from_secs(1));
        assert!(backlog.sent.len() >= 2, "{mode}");
        let calls = backlog.stage.calls(0).clone();
        backlog.rest_for(Duration::from_secs(2));
        let woken = backlog.stage.calls(0).woken - calls.woken;
        assert!(woken <= 3, "{mode}: {woken} wakes for nobody");
    }
}

#[test]
fn a_closed_window_outlasts_a_maximum_without_spinning() {
    for mode in MODES {
        let classes = [Class { rate_max: 40_000, rate_min: 20_000, ..CLASS }, CLASS];
        let mut plan = plan(&classes);
        plan.config.in_flight_max = 2_400;
        plan.config.idle_timeout = Duration::from_secs(60);
        let mut backlog = Backlog::new(25, plan, lanes(2, mode, 1_100), LINK);
        backlog.is_busy[1] = false;
        backlog.ahead = 80_000;
        backlog.top_up();
        backlog.rest_for(millis(300));
        for round in 0..30 {
            // Down while budgets come and go; with every other round another channel wants the window too.
            backlog.stage.net.set_link(0, 1, Link::DOWN);
            let calls = backlog.stage.calls(0).clone();
            backlog.is_busy[1] = round % 2 == 1;
            backlog.top_up();
            backlog.rest_for(millis(137 + 41 * round));
            let now = backlog.stage.calls(0);
            let (woken, in_vain) = (now.woken - calls.woken, now.in_vain - calls.in_vain);
            assert!(
                woken <= 20 && in_vain <= 4,
                "{mode}, round {round}: {woken}, {in_vain} in vain"
            );
            backlog.stage.net.set_link(0, 1, LINK);
            let first = backlog.sent.len();
            backlog.rest_for(Duration::from_secs(3));
            assert!(backlog.sent.len() > first + 10, "{mode}: it goes on");
        }
    }
}

#[test]
fn budgets_and_times_to_live_go_together() {
    for case in cases!("budgets_and_times_to_live_go_together", 0, 10) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        for mode in MODES {
            let class = Class { rate_max: 10_000, rate_min: 4_000, ..CLASS };
            let plans = [plan(&[class, Class { priority: 200, ..class }]); 2];
            let (mut stage, there, back) = Stage::connected(case.seed(), plans, LINK);
            let mut told = Vec::new();
            let calls = stage.calls(0).clone();
            for tag in 0..200 {
                let message = bytes(tag.into(), rng.below(900) as usize);
                let pieces = [&message[..]];
                let outgoing = Outgoing {
                    tag: Some(Tag(tag)),
                    time_to_live: Some(rng.duration(millis(400))),
                    key: (mode == Mode::ReliableLatest).then_some(tag),
                    ..Outgoing::new(ChannelId(rng.below(2) as u8), mode, &pieces)
                };
                stage.offer(0, there, outgoing).unwrap();
                stage.run_for(rng.duration(millis(20)));
                stage.read(1, back);
                told.extend(stage.take_outcomes(0));
            }
            for _ in 0..40 {
                stage.run_for(millis(100));
                stage.read(1, back);
            }
            told.extend(stage.take_outcomes(0));
            let mut tags: Vec<u32> = told.iter().map(|(tag, _)| *tag).collect();
            tags.sort_unstable();
            assert_eq!(tags, (0..200).collect::<Vec<_>>(), "{mode}");
            let expired = told.iter().filter(|told| told.1 == Outcome::Expired).count() as u64;
            assert!(expired > 50, "{mode}: {expired} expired");
            // A time to live that ends is a reason to wake; a probe timer that was moved on fires once
            // more in its old time.
            let in_vain = stage.calls(0).in_vain - calls.in_vain;
            assert!(in_vain <= 250, "{mode}: {in_vain} wakes in vain, {expired} expired");
            assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{mode}");
        }
    }
}

#[test]
fn whatever_the_classes_everything_arrives_and_nobody_spins() {
    for case in cases!("whatever_the_classes_everything_arrives_and_nobody_spins", 0, 20) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let mut draw = |_| {
            let rate_max = [0, 0, 3_000, 50_000, u32::MAX][rng.below(5) as usize];
            let rate_min = [0, 0, 1, 2_000, 40_000, u32::MAX][rng.below(6) as usize];
            Class {
                priority: rng.below(3) as u8 * 127,
                weight: [1, 16, 255][rng.below(3) as usize],
                rate_min: if rate_max == 0 { rate_min } else { rate_min.min(rate_max) },
                rate_max,
            }
        };
        let classes: Vec<Class> = (0..8).map(&mut draw).collect();
        let mut plan = plan(&classes);
        plan.config.in_flight_max = 2_400 + rng.below(20_000) as u32;
        plan.config.credit = 500 + rng.below(30_000) as u32;
        let link = LINK.with_loss(rng.below(15) as u32 * PERCENT).with_jitter(millis(rng.below(9)));
        let (mut stage, there, back) = Stage::connected(case.seed(), [plan; 2], link);
        let (mut sent, mut got) = (0, 0);
        for number in 0..150 {
            let mode = MODES[rng.below(5) as usize];
            let channel = rng.below(8) as u8;
            let len = [5, 300, 2_000][rng.below(3) as usize];
            stage.send(0, there, channel, mode, &bytes(number, len)).unwrap();
            sent += usize::from(mode.is_reliable());
            stage.run_for(rng.duration(millis(20)));
            got += stage.read(1, back).iter().filter(|message| message.mode.is_reliable()).count();
        }
        let calls = stage.calls(0).clone();
        for _ in 0..600 {
            stage.run_for(millis(100));
            got += stage.read(1, back).iter().filter(|message| message.mode.is_reliable()).count();
        }
        assert_eq!(got, sent, "{classes:?}");
        let in_vain = stage.calls(0).in_vain - calls.in_vain;
        assert!(in_vain < 100, "{in_vain} wakes in vain in a minute: {classes:?}");
    }
}

#[test]
fn finishing_keeps_to_a_maximum() {
    let classes = [Class { rate_max: 20_000, ..CLASS }];
    let mut backlog = Backlog::new(26, plan(&classes), lanes(1, Mode::Reliable, 1_000), LINK);
    backlog.top_up();
    let (began, now) = (backlog.sent.len(), backlog.stage.now());
    let there = backlog.there;
    backlog.stage.endpoints[0].finish(now, there, bowline_core::CloseReason(1)).unwrap();
    backlog.rest_for(Duration::from_secs(4));
    assert_eq!(backlog.shares(began)[0] / 1_000, 40, "all that was queued");
    assert_capped(&backlog.times_of(0), 20_000, "finishing");
    assert_eq!(backlog.stage.endpoints[0].address(there), None, "and then the session ends");
}

#[test]
fn a_class_that_makes_no_sense_is_refused() {
    let plain = |classes_of: &[Class]| {
        let mut plan = plan(classes_of);
        plan.config.channels = 2;
        Endpoint::plain(plan.config, &SipHash, &[1; 32], plan.kind.memory()).err()
    };
    let weightless = Class { weight: 0, ..CLASS };
    let error = ConfigError::Class { channel: 1, error: ClassError::WeightZero };
    assert_eq!(plain(&[CLASS, weightless]), Some(error));
    let crossed = Class { rate_min: 1_001, rate_max: 1_000, ..CLASS };
    let error = ConfigError::Class { channel: 0, error: ClassError::MinimumAboveMaximum };
    assert_eq!(plain(&[crossed, weightless]), Some(error), "the first of them is told");
    let extreme = Class { priority: 0, weight: 255, rate_min: u32::MAX, rate_max: u32::MAX };
    assert_eq!(plain(&[extreme, Class { priority: 255, weight: 1, ..extreme }]), None);
    assert_eq!(plain(&[Class { rate_min: 7, rate_max: 0, ..CLASS }]), None, "0 is no maximum");
}
