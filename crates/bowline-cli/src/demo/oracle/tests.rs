use bowline::Duration;

use super::*;
use crate::demo::lane::MODES;

fn stream(mode: Mode) -> Stream {
    Stream { client: 0, direction: Direction::ToServer, lane: Lane::new(mode, 1) }
}

/// An oracle that knows of messages of these lengths, and the messages.
fn sent(mode: Mode, lens: &[usize]) -> (Oracle, Vec<Vec<u8>>) {
    let mut oracle = Oracle::new(3, 1);
    let send = |len: &usize| {
        let mut message = Vec::new();
        oracle.compose(&stream(mode), *len, &mut message);
        oracle.on_sent(Instant::from_micros(10), &stream(mode), *len, false);
        message
    };
    let messages = lens.iter().map(send).collect();
    (oracle, messages)
}

/// What the oracle says when these of eight messages are delivered in this order.
fn verdict(mode: Mode, order: &[usize]) -> Vec<String> {
    let (mut oracle, messages) = sent(mode, &[1, 40, 1, 2, 3000, 1, 5, 8]);
    for index in order {
        oracle.on_delivered(Instant::from_micros(50), &stream(mode), &messages[*index]);
    }
    for sequence in 0..messages.len() as u64 {
        oracle.on_outcome(&stream(mode), sequence, Outcome::Acknowledged);
    }
    oracle.finish();
    oracle.breaches
}

#[test]
fn unreliable_messages_may_come_in_any_order_but_once() {
    assert!(verdict(Mode::Unreliable, &[5, 0, 7, 4, 1]).is_empty());
    assert!(verdict(Mode::Unreliable, &[]).is_empty());
    let twice = verdict(Mode::Unreliable, &[5, 0, 5]);
    assert_eq!(twice.len(), 1);
    assert!(twice[0].ends_with("unreliable: message 5 was delivered twice"), "{twice:?}");
}

#[test]
fn ordered_messages_may_be_missing_but_never_go_back() {
    assert!(verdict(Mode::UnreliableOrdered, &[0, 2, 3, 7]).is_empty());
    let back = verdict(Mode::UnreliableOrdered, &[0, 3, 2]);
    assert!(back[0].ends_with("message 2 came when 4 was the lowest that could"), "{back:?}");
    let twice = verdict(Mode::UnreliableOrdered, &[0, 3, 3]);
    assert!(twice[0].ends_with("message 3 was delivered twice"), "{twice:?}");
}

#[test]
fn reliable_messages_come_once_each_and_in_order() {
    assert!(verdict(Mode::Reliable, &[0, 1, 2, 3, 4, 5, 6, 7]).is_empty());
    let missing = verdict(Mode::Reliable, &[0, 1, 2, 3, 4, 5]);
    assert!(missing[0].ends_with("2 messages never arrived"), "{missing:?}");
    let skipped = verdict(Mode::Reliable, &[0, 2]);
    assert!(skipped[0].ends_with("message 2 came when 1 was next"), "{skipped:?}");
    let twice = verdict(Mode::Reliable, &[0, 1, 0]);
    assert!(twice[0].ends_with("message 0 was delivered twice"), "{twice:?}");
}

#[test]
fn a_reliable_stream_goes_on_after_a_breach() {
    let (mut oracle, mut messages) = sent(Mode::Reliable, &[40; 6]);
    messages[1][20] ^= 1;
    for at in [0, 1, 2, 4, 5] {
        oracle.on_delivered(Instant::ZERO, &stream(Mode::Reliable), &messages[at]);
    }
    oracle.finish();
    let ends = ["changed on the way", "message 4 came when 3 was next", "1 messages never arrived"];
    assert_eq!(oracle.breaches.len(), ends.len(), "{:?}", oracle.breaches);
    assert!(oracle.breaches.iter().zip(ends).all(|(breach, end)| breach.ends_with(end)));
}

#[test]
fn unordered_messages_come_once_each() {
    // The shortest of them are told apart by all of their tags.
    let (mut oracle, messages) = sent(Mode::ReliableUnordered, &[4; 600]);
    let deliver = |oracle: &mut Oracle, at: usize| {
        oracle.on_delivered(Instant::ZERO, &stream(Mode::ReliableUnordered), &messages[at]);
    };
    (1..600).rev().for_each(|at| deliver(&mut oracle, at));
    assert_eq!((oracle.breach_count, oracle.reliable_missing()), (0, 1));
    deliver(&mut oracle, 7);
    oracle.finish();
    assert!(oracle.breaches[0].ends_with("message 7 was delivered twice"));
    assert!(oracle.breaches[1].ends_with("1 messages never arrived"), "{:?}", oracle.breaches);
}

#[test]
fn of_a_key_the_newest_arrives_and_nothing_older_after_it() {
    let keys = KEYS as usize;
    let (mut oracle, messages) = sent(Mode::ReliableLatest, &vec![9; 2 * keys + 1]);
    let deliver = |oracle: &mut Oracle, at: usize| {
        oracle.on_delivered(Instant::ZERO, &stream(Mode::ReliableLatest), &messages[at]);
    };
    (1..keys).for_each(|key| deliver(&mut oracle, keys + key));
    assert_eq!((oracle.breach_count, oracle.reliable_missing()), (0, 3), "those of key 0");
    deliver(&mut oracle, keys);
    assert_eq!(oracle.reliable_missing(), 1);
    deliver(&mut oracle, 0);
    assert!(oracle.breaches[0].contains("message 0 came when"), "{:?}", oracle.breaches);
    oracle.finish();
    assert!(oracle.breaches[1].ends_with("1 messages never arrived"), "{:?}", oracle.breaches);
}

#[test]
fn a_reliable_stream_passes_over_what_was_given_up_and_nothing_else() {
    for (expires, withdrawn) in [(true, false), (false, true), (false, false)] {
        let (mut oracle, mut messages) = sent(Mode::Reliable, &[40, 40]);
        for expires in [expires, false] {
            let mut message = Vec::new();
            oracle.compose(&stream(Mode::Reliable), 40, &mut message);
            oracle.on_sent(Instant::ZERO, &stream(Mode::Reliable), 40, expires);
            messages.push(message);
        }
        if withdrawn {
            oracle.on_withdrawn(&stream(Mode::Reliable), 2);
        }
        for at in [0, 1, 3] {
            oracle.on_delivered(Instant::ZERO, &stream(Mode::Reliable), &messages[at]);
        }
        let may = expires || withdrawn;
        assert_eq!(oracle.breach_count, u64::from(!may), "{:?}", oracle.breaches);
        if !may {
            continue;
        }
        for sequence in 0..4 {
            oracle.on_outcome(&stream(Mode::Reliable), sequence, Outcome::Acknowledged);
        }
        oracle.finish();
        let told = &oracle.breaches[..];
        assert!(told.len() == 1 && told[0].ends_with("and never handed over"), "{told:?}");
    }
}

#[test]
fn every_message_ends_once_and_as_it_can() {
    let end = |mode, outcomes: &[(u64, Outcome)]| {
        let (mut oracle, messages) = sent(mode, &[40; 2]);
        for message in &messages {
            oracle.on_delivered(Instant::ZERO, &stream(mode), message);
        }
        for (sequence, outcome) in outcomes {
            oracle.on_outcome(&stream(mode), *sequence, *outcome);
        }
        oracle.finish();
        oracle.breaches.concat()
    };
    let [acknowledged, lost] = [Outcome::Acknowledged, Outcome::Lost];
    assert_eq!(end(Mode::Reliable, &[(0, acknowledged), (1, acknowledged)]), "");
    assert_eq!(end(Mode::Unreliable, &[(0, lost), (1, acknowledged)]), "");
    let once = end(Mode::Reliable, &[(1, acknowledged)]);
    assert!(once.ends_with("of 1 messages no end was told"), "{once}");
    let twice = [(0, acknowledged), (1, acknowledged), (1, acknowledged)];
    let wrong = [(1, lost), (1, Outcome::Expired), (1, Outcome::Cancelled), (2, acknowledged)];
    for ends in [&twice[..], &wrong[..1], &wrong[1..2], &wrong[2..3], &wrong[3..]] {
        let told = end(Mode::ReliableUnordered, ends);
        assert!(told.ends_with("which cannot be"), "{ends:?}: {told}");
    }
}

#[test]
fn one_changed_bit_is_noticed_wherever_it_is() {
    for mode in MODES {
        for at in [0, 3, 4, 17, 39] {
            let (mut oracle, mut messages) = sent(mode, &[40]);
            messages[0][at] ^= 0x10;
            oracle.on_delivered(Instant::from_micros(50), &stream(mode), &messages[0]);
            assert_eq!(oracle.breach_count, 1, "{mode} {at}");
        }
    }
}

#[test]
fn messages_of_another_stream_or_length_were_never_sent() {
    for mode in MODES {
        let (mut oracle, messages) = sent(mode, &[40, 40]);
        let elsewhere = Stream { direction: Direction::ToClient, ..stream(mode) };
        oracle.on_delivered(Instant::ZERO, &elsewhere, &messages[0]);
        oracle.on_delivered(Instant::ZERO, &stream(mode), &messages[0][..39]);
        oracle.on_delivered(Instant::ZERO, &stream(mode), &[]);
        let nobody = Stream { client: 9, ..stream(mode) };
        oracle.on_delivered(Instant::ZERO, &nobody, &messages[0]);
        assert_eq!(oracle.breach_count, 4, "{:?}", oracle.breaches);
    }
}

#[test]
fn a_short_tag_finds_its_message_among_thousands() {
    let (mut oracle, messages) = sent(Mode::UnreliableOrdered, &[1; 3000]);
    for message in messages.iter().step_by(200) {
        oracle.on_delivered(Instant::ZERO, &stream(Mode::UnreliableOrdered), message);
    }
    assert_eq!(oracle.breaches, [""; 0]);
}

#[test]
fn latency_runs_from_send_to_delivery() {
    let (mut oracle, messages) = sent(Mode::Reliable, &[40]);
    oracle.on_delivered(Instant::from_micros(5_010), &stream(Mode::Reliable), &messages[0]);
    let latency = oracle.tally.lane(Lane::new(Mode::Reliable, 1)).latency(50.0);
    assert_eq!(latency.map(Duration::as_millis), Some(5));
}
