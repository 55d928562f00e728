//! Channels share a session as their classes say (DESIGN 4.2): one test per sentence, on links that are
//! really full.

use bowline_core::{Duration, Instant, Mode};
use bowline_native::Class;
use bowline_sim::{Link, PERCENT};
use bowline_tests::backlog::{Backlog, Lane, Sent, plan};

/// 1 MB/s, which the window of 30,000 bytes fills, with room for all of it in the queue.
const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(5)).with_rate(1_000_000, 100_000);
const CLASS: Class = Class::DEFAULT;
/// The longest datagram.
const DATAGRAM: u64 = 1_200;

const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableOrdered,
    Mode::Reliable,
    Mode::ReliableUnordered,
    Mode::ReliableLatest,
];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

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
        for (loss, len) in [(0, 20), (0, 1_000), (0, 20_000), (10, 20), (10, 1_100)] {
            let mut backlog = Backlog::new(6, plan(&classes), lanes.clone(), LINK);
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
