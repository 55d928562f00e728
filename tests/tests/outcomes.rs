//! Every tagged message ends once, as it is told, and no other message does.

use bowline_core::{CancelError, CloseReason, DisconnectReason, Duration, Event, Messages, Mode};
use bowline_core::{Outcome, PeerId, SendError, Tag};
use bowline_native::InUse;
use bowline_sim::{Link, PERCENT, cases, replay_on_panic};
use bowline_tests::dissect::{frames_of, is_data};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::{NodePlan, with};
use bowline_tests::stage::{MODES, Stage, UNRELIABLE, bytes, millis, reliable, tagged};
use bowline_wire::native::Frame;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

fn pair(seed: u64) -> (Stage, PeerId, PeerId) {
    Stage::connected(seed, [HEAP, HEAP], LINK)
}

fn of_all_modes(kind: Kind) -> impl Iterator<Item = (Kind, Mode)> {
    MODES.into_iter().map(move |mode| (kind, mode))
}

/// The tags of these outcomes, in order of the tags.
fn tags(told: &[(u32, Outcome)]) -> Vec<u32> {
    let mut tags: Vec<u32> = told.iter().map(|(tag, _)| *tag).collect();
    tags.sort_unstable();
    tags
}

/// Loses, from now on, everything that `node` sends and `is_lost` says so about, told how many it has sent before.
fn lose(stage: &mut Stage, node: usize, mut is_lost: impl FnMut(usize, &[u8]) -> bool + 'static) {
    let mut count = 0;
    stage.net.set_filter(move |from, seen| {
        if from.index() != node {
            return true;
        }
        count += 1;
        !is_lost(count - 1, seen.bytes)
    });
}

#[test]
fn every_tagged_message_ends_once_and_no_other_does() {
    for case in cases!("every_tagged_message_ends_once_and_no_other_does", 0, 12) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let kinds = [0, 0].map(|_: u8| Kind::ALL[rng.below(4) as usize]);
        let link = LINK
            .with_jitter(millis(15))
            .with_loss(rng.below(30) as u32 * PERCENT)
            .with_duplicate(5 * PERCENT, millis(60))
            .with_reorder(5 * PERCENT, millis(80));
        let (mut stage, there, back) =
            Stage::connected(case.seed(), kinds.map(NodePlan::new), link);
        let mut accepted = Vec::new();
        let mut told = Vec::new();
        for number in 0..400 {
            let mode = MODES[rng.below(MODES.len() as u64) as usize];
            let Some(most) = stage.endpoints[0].message_max(there, mode) else { continue };
            let len = [0, 1, 30, 400, 3_000][rng.below(5) as usize].min(most);
            let message = bytes(number.into(), len);
            if number % 3 == 0 {
                let pieces = [&message[..]];
                let plain = tagged(mode, &pieces, number);
                let _ = stage.offer(0, there, bowline_core::Outgoing { tag: None, ..plain });
            } else if stage.send_tagged(0, there, mode, &message, number).is_ok() {
                accepted.push(number);
            }
            stage.run_for(rng.duration(millis(20)));
            stage.read(1, back);
            told.extend(stage.take_outcomes(0));
        }
        assert!(accepted.len() > 60, "{} accepted", accepted.len());
        for _ in 0..300 {
            stage.run_for(millis(100));
            stage.read(1, back);
        }
        told.extend(stage.take_outcomes(0));
        assert_eq!(tags(&told), accepted, "{kinds:?}");
        let right = |outcome| matches!(outcome, Outcome::Acknowledged | Outcome::Lost);
        assert!(told.iter().all(|(_, outcome)| right(*outcome)), "{told:?}");
        assert_eq!(stage.take_outcomes(1), [], "the receiver has sent nothing");
    }
}

#[test]
fn equal_tags_are_told_as_often_as_they_were_given() {
    let (mut stage, there, back) = pair(1);
    for mode in MODES {
        for number in 0..50 {
            let message = bytes(number, 100);
            let pieces = [&message[..]];
            let mut message = tagged(mode, &pieces, 7);
            message.key = message.key.map(|_| number as u32);
            stage.offer(0, there, message).unwrap();
        }
    }
    stage.run_for(Duration::from_secs(2));
    stage.read(1, back);
    let expected = vec![(7, Outcome::Acknowledged); 50 * MODES.len()];
    assert_eq!(stage.take_outcomes(0), expected);
}

#[test]
fn every_tag_is_a_good_tag() {
    let (mut stage, there, _) = pair(1);
    for mode in MODES {
        for tag in [0, 1, u32::MAX - 1, u32::MAX] {
            stage.send_tagged(0, there, mode, b"tagged", tag).unwrap();
        }
    }
    stage.run_for(Duration::from_secs(1));
    let mut told = tags(&stage.take_outcomes(0));
    told.dedup();
    assert_eq!(told, [0, 1, u32::MAX - 1, u32::MAX]);
}

#[test]
fn what_is_refused_has_no_outcome() {
    let (mut stage, there, _) = pair(1);
    for mode in MODES {
        let most = stage.endpoints[0].message_max(there, mode).unwrap();
        let too_long = vec![0; most + 1];
        let error = stage.send_tagged(0, there, mode, &too_long, 1);
        assert!(matches!(error, Err(SendError::TooLong { .. })), "{mode}: {error:?}");
        let pieces = [&b"nowhere"[..]];
        let mut message = tagged(mode, &pieces, 2);
        message.channel.0 = stage.endpoints[0].config().channels as u8;
        let error = stage.offer(0, there, message);
        assert!(matches!(error, Err(SendError::ChannelNotOpen { .. })), "{mode}: {error:?}");
    }
    stage.run_for(Duration::from_secs(1));
    stage.close(0, there, 1);
    stage.run_for(Duration::from_secs(1));
    assert_eq!(stage.take_outcomes(0), []);
}

#[test]
fn what_was_acknowledged_arrives() {
    let mut acked_total = 0;
    for case in cases!("what_was_acknowledged_arrives", 0, 8) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        for mode in MODES {
            let link = LINK.with_jitter(millis(10)).with_loss(20 * PERCENT);
            let (mut stage, there, back) = Stage::connected(case.seed(), [HEAP, HEAP], link);
            let (mut told, mut read) = (Vec::new(), Vec::new());
            // Each is its number and whole, so an acknowledgement vouches for all of it.
            for number in 0..300_u32 {
                let len = if mode.is_reliable() { rng.below(4_000) } else { rng.below(900) };
                let mut message = bytes(number.into(), 4 + len as usize);
                message[..4].copy_from_slice(&number.to_be_bytes());
                stage.send_tagged(0, there, mode, &message, number).unwrap();
                stage.run_for(rng.duration(millis(12)));
                read.extend(stage.read(1, back));
                told.extend(stage.take_outcomes(0));
                let read: Vec<_> = read.iter().map(|message| &message.bytes).collect();
                // In an order there may be something missing before it.
                if !matches!(mode, Mode::UnreliableOrdered | Mode::Reliable) {
                    let known = |tag: u32| read.iter().any(|read| read[..4] == tag.to_be_bytes());
                    let acked = told.iter().filter(|told| told.1 == Outcome::Acknowledged);
                    assert!(acked.into_iter().all(|told| known(told.0)), "{mode}");
                }
            }
            // From now on the sender can add nothing.
            lose(&mut stage, 0, |_, bytes| frames_of(bytes, 4).iter().any(|frame| is_data(frame)));
            for _ in 0..20 {
                stage.run_for(millis(100));
                read.extend(stage.read(1, back));
            }
            told.extend(stage.take_outcomes(0));
            acked_total += told.iter().filter(|told| told.1 == Outcome::Acknowledged).count();
            stage.net.clear_filter();
            for _ in 0..100 {
                stage.run_for(millis(100));
                read.extend(stage.read(1, back));
            }
            for (tag, _) in told.iter().filter(|told| told.1 == Outcome::Acknowledged) {
                let count = read.iter().filter(|read| read.bytes[..4] == tag.to_be_bytes()).count();
                let late = mode == Mode::UnreliableOrdered && count == 0;
                assert!(count == 1 || late, "{mode}: {tag} was delivered {count} times");
            }
        }
    }
    assert!(acked_total > 1_000 || std::env::var_os("BOWLINE_SEED").is_some(), "{acked_total}");
}

#[test]
fn a_reliable_message_is_acknowledged_once_all_of_it_is_there() {
    for mode in reliable() {
        // Of a message of some twenty packets, each one in turn is lost for good.
        for missing in 0..20 {
            let (mut stage, there, back) = pair(1);
            let mut seen = 0;
            let mut lost = None;
            lose(&mut stage, 0, move |_, datagram| {
                frames_of(datagram, 4).iter().any(|frame| {
                    let Some((offset, len)) = range(frame) else { return false };
                    if seen == missing && lost.is_none() {
                        lost = Some(offset);
                    }
                    seen += 1;
                    // Whatever brings its first byte.
                    lost.is_some_and(|lost| lost.wrapping_sub(offset) < len)
                })
            });
            stage.send_tagged(0, there, mode, &bytes(1, 24_000), 1).unwrap();
            stage.run_for(Duration::from_secs(5));
            assert_eq!(stage.take_outcomes(0), [], "{mode}, without packet {missing}");
            assert!(stage.read(1, back).is_empty());
            stage.net.clear_filter();
            stage.run_for(Duration::from_secs(5));
            assert_eq!(stage.take_outcomes(0), [(1, Outcome::Acknowledged)], "{mode}");
            assert_eq!(stage.read(1, back).len(), 1, "{mode}");
        }
    }
}

/// Where in its stream a frame begins, and how much it brings; modulo 256 where the frame says no more.
fn range(frame: &Frame<'_>) -> Option<(u32, u32)> {
    match frame {
        Frame::Reliable { offset: bowline_wire::native::Offset::Long(offset), data, .. } => {
            Some((*offset, data.len() as u32))
        }
        Frame::Loose { offset, data, .. } => Some((*offset, data.len() as u32)),
        _ => None,
    }
}

#[test]
fn a_message_in_parts_is_acknowledged_when_all_parts_are() {
    for mode in UNRELIABLE {
        for missing in 0..10 {
            let (mut stage, there, back) = pair(1);
            let mut seen = 0;
            lose(&mut stage, 0, move |_, datagram| {
                let is_part = |frame: &Frame<'_>| matches!(frame, Frame::Fragment { .. });
                let parts = frames_of(datagram, 4).iter().filter(|frame| is_part(frame)).count();
                seen += parts;
                parts > 0 && seen == missing
            });
            stage.send_tagged(0, there, mode, &bytes(1, 9_000), 1).unwrap();
            stage.run_for(Duration::from_secs(3));
            let (read, told) = (stage.read(1, back).len(), stage.take_outcomes(0));
            let all = (1, vec![(1, Outcome::Acknowledged)]);
            let not_all = (0, vec![(1, Outcome::Lost)]);
            let expected = if missing == 0 || missing > 8 { all } else { not_all };
            assert_eq!((read, told), expected, "{mode}, without part {missing}");
        }
    }
}

#[test]
fn lost_is_told_in_the_modes_that_send_once() {
    for mode in UNRELIABLE {
        let (mut stage, there, back) = pair(1);
        lose(&mut stage, 0, |_, bytes| frames_of(bytes, 4).iter().any(is_data));
        stage.send_tagged(0, there, mode, b"lost", 1).unwrap();
        stage.send_tagged(0, there, mode, &bytes(1, 5_000), 2).unwrap();
        stage.run_for(Duration::from_secs(3));
        assert_eq!(stage.take_outcomes(0), [(1, Outcome::Lost), (2, Outcome::Lost)], "{mode}");
        assert!(stage.read(1, back).is_empty());
    }
}

#[test]
fn a_probe_for_want_of_records_forgets_nobody() {
    // Each message has a packet of its own and a ticket, until nobody has a record left.
    for kind in [Kind::TightHeap, Kind::Fixed, Kind::SmallFixed] {
        for mode in UNRELIABLE {
            let plan = with(kind, |config| config.tickets_max = 4_096);
            let (mut stage, there, _) = Stage::connected(1, [plan, HEAP], LINK);
            stage.net.set_default_link(Link::DOWN);
            let mut tag = 0;
            while stage.send_tagged(0, there, mode, b"lost", tag).is_ok() {
                stage.run_for(millis(1));
                tag += 1;
            }
            stage.run_for(Duration::from_secs(4));
            stage.net.set_default_link(LINK);
            stage.run_for(Duration::from_secs(4));
            assert_eq!(tags(&stage.take_outcomes(0)), (0..tag).collect::<Vec<_>>(), "{kind:?}");
        }
    }
}

#[test]
fn a_long_acknowledgement_crowds_no_message_out() {
    for mode in reliable() {
        for len in (1_060..1_180).step_by(6) {
            let (mut stage, there, back) = pair(1);
            let mut count = 0;
            stage.net.set_filter(move |from, seen| {
                if from.index() == 0 {
                    // The message is lost three times.
                    count += usize::from(seen.bytes.len() > 1_000);
                    return count > 3 || seen.bytes.len() < 1_000;
                }
                // Much is to be told of what comes the other way.
                seen.bytes.last().is_some_and(|byte| byte % 2 == 0)
            });
            stage.send_tagged(0, there, mode, &bytes(1, len), 1).unwrap();
            for number in 0..700 {
                stage.send(1, back, 0, Mode::Unreliable, &bytes(number, 10)).unwrap();
                stage.run_for(millis(3));
                stage.read(0, there);
            }
            stage.run_for(Duration::from_secs(3));
            let told = stage.take_outcomes(0);
            assert_eq!(told, [(1, Outcome::Acknowledged)], "{mode}, {len} bytes");
            assert_eq!(stage.read(1, back).len(), 1, "{mode}");
        }
    }
}

#[test]
fn nothing_reliable_is_lost() {
    for mode in reliable() {
        let (mut stage, there, back) = pair(1);
        stage.net.set_default_link(LINK.with_loss(40 * PERCENT));
        for tag in 0..100 {
            stage.send_tagged(0, there, mode, &bytes(tag.into(), 700), tag).unwrap();
        }
        let mut told = Vec::new();
        for _ in 0..600 {
            stage.run_for(millis(100));
            stage.read(1, back);
            told.extend(stage.take_outcomes(0));
        }
        assert_eq!(tags(&told), (0..100).collect::<Vec<_>>());
        assert!(told.iter().all(|told| told.1 == Outcome::Acknowledged), "{mode}: {told:?}");
    }
}

#[test]
fn what_arrives_after_it_was_lost_has_no_second_outcome() {
    for mode in UNRELIABLE {
        let (mut stage, there, back) = pair(1);
        // The first one takes a way of half a second.
        stage.net.set_link(0, 1, LINK.with_delay(millis(500)));
        stage.send_tagged(0, there, mode, b"the late one", 0).unwrap();
        stage.run_for(millis(1));
        stage.net.set_link(0, 1, LINK);
        for tag in 1..=6 {
            stage.send_tagged(0, there, mode, b"another", tag).unwrap();
            stage.run_for(millis(5));
        }
        stage.run_for(millis(300));
        let told = stage.take_outcomes(0);
        assert!(told.contains(&(0, Outcome::Lost)), "{told:?}");
        assert_eq!(tags(&told), (0..=6).collect::<Vec<_>>());
        let late = |stage: &mut Stage| stage.endpoints[0].peer_statistics(there).unwrap().acks_late;
        assert_eq!(late(&mut stage), 0);
        stage.read(1, back);
        stage.run_for(Duration::from_secs(5));
        assert_eq!(late(&mut stage), 1);
        assert_eq!(stage.take_outcomes(0), [], "{mode}: it has been told already");
        let read = stage.read(1, back);
        assert_eq!(read.len(), usize::from(mode == Mode::Unreliable), "{mode}");
    }
}

#[test]
fn what_the_order_filter_drops_was_acknowledged() {
    let (mut stage, there, back) = pair(1);
    let mode = Mode::UnreliableOrdered;
    // A little round trip time is needed before anything is taken for late.
    stage.net.set_link(0, 1, LINK.with_delay(millis(23)));
    stage.send_tagged(0, there, mode, b"older", 0).unwrap();
    stage.run_for(millis(1));
    stage.net.set_link(0, 1, LINK);
    stage.send_tagged(0, there, mode, b"newer", 1).unwrap();
    stage.run_for(Duration::from_secs(1));
    assert_eq!(tags(&stage.take_outcomes(0)), [0, 1]);
    let statistics = stage.endpoints[1].peer_statistics(back).unwrap();
    assert_eq!((statistics.messages_late, stage.read(1, back).len()), (1, 1));
}

#[test]
fn an_outcome_that_was_not_polled_keeps_its_ticket() {
    for mode in MODES {
        for n in [1, 2, 7, 40] {
            let plan = with(Kind::Heap, |config| config.tickets_max = n);
            let (mut stage, there, back) = Stage::connected(1, [plan, HEAP], LINK);
            let send = |stage: &mut Stage, tag| stage.send_tagged(0, there, mode, b"tagged", tag);
            (0..n).for_each(|tag| send(&mut stage, tag).unwrap());
            assert_eq!(send(&mut stage, n), Err(SendError::Full), "{mode}");
            stage.run_unasked(Duration::from_secs(2));
            assert_eq!(send(&mut stage, n), Err(SendError::Full), "{mode}: nobody polled");
            assert_eq!(stage.read(1, back).len(), n as usize);
            // Others have room, but for those with a key, which take tickets too.
            for _ in (0..2 * n).filter(|_| mode != Mode::ReliableLatest) {
                stage.send(0, there, 0, mode, b"plain").unwrap();
            }
            stage.run_unasked(millis(500));
            let others = if mode == Mode::ReliableLatest { 0 } else { 2 * n as usize };
            assert_eq!(stage.read(1, back).len(), others, "{mode}");
            stage.collect();
            assert_eq!(tags(&stage.take_outcomes(0)), (0..n).collect::<Vec<_>>(), "{mode}");
            stage.run_for(millis(500));
            assert!(stage.take_events(0).contains(&Event::Writable(there)), "{mode}, {n}");
            (n..2 * n).for_each(|tag| send(&mut stage, tag).unwrap());
            stage.run_for(Duration::from_secs(1));
            assert_eq!(tags(&stage.take_outcomes(0)), (n..2 * n).collect::<Vec<_>>());
        }
    }
}

#[test]
fn writable_follows_the_first_outcome_that_is_polled() {
    for mode in MODES {
        let plan = with(Kind::Heap, |config| config.tickets_max = 3);
        let (mut stage, there, _) = Stage::connected(1, [plan, HEAP], LINK);
        (0..3).for_each(|tag| stage.send_tagged(0, there, mode, b"tagged", tag).unwrap());
        assert_eq!(stage.send_tagged(0, there, mode, b"tagged", 3), Err(SendError::Full));
        stage.run_unasked(Duration::from_secs(1));
        let mut outcomes = 0;
        let mut writable = false;
        for _ in 0..10 {
            match stage.endpoints[0].poll_event() {
                Some(Event::Outcome(..)) => outcomes += 1,
                Some(Event::Writable(peer)) => writable |= peer == there,
                _ => {}
            }
            if outcomes == 1 {
                break;
            }
        }
        // No datagram comes or goes from here on.
        stage.net.set_default_link(Link::DOWN);
        stage.run_for(millis(100));
        writable |= stage.take_events(0).contains(&Event::Writable(there));
        assert!(writable, "{mode}");
        assert_eq!(stage.send_tagged(0, there, mode, b"tagged", 3), Ok(()), "{mode}");
    }
}

#[test]
fn a_cancelled_message_says_so_once() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        stage.send_tagged(0, there, mode, b"stays", 1).unwrap();
        stage.send_tagged(0, there, mode, b"goes", 2).unwrap();
        stage.send_tagged(0, there, mode, b"stays", 3).unwrap();
        assert_eq!(stage.endpoints[0].cancel(there, Tag(2)), Ok(()), "{mode}");
        assert_eq!(stage.endpoints[0].cancel(there, Tag(2)), Err(CancelError::UnknownTag));
        stage.run_for(Duration::from_secs(2));
        let mut told = stage.take_outcomes(0);
        told.sort_by_key(|told| told.0);
        let acked = Outcome::Acknowledged;
        assert_eq!(told, [(1, acked), (2, Outcome::Cancelled), (3, acked)], "{mode}");
        let read = stage.read(1, back);
        assert_eq!(read.len(), 2, "{mode}");
        assert!(read.iter().all(|message| message.bytes == b"stays"), "{mode}");
        assert_eq!(stage.endpoints[0].cancel(there, Tag(1)), Err(CancelError::UnknownTag));
        stage.close(0, there, 1);
        stage.run_for(Duration::from_secs(5));
        assert_eq!(stage.in_use(0), InUse::default(), "{mode}");
        assert_eq!(stage.endpoints[0].cancel(there, Tag(1)), Err(CancelError::UnknownPeer));
    }
}

#[test]
fn cancelled_is_told_without_waiting_for_anybody() {
    for mode in MODES {
        let (mut stage, there, _) = pair(1);
        stage.net.set_default_link(Link::DOWN);
        stage.send_tagged(0, there, mode, b"goes", 9).unwrap();
        stage.endpoints[0].cancel(there, Tag(9)).unwrap();
        let told = stage.endpoints[0].poll_event();
        assert_eq!(told, Some(Event::Outcome(there, Tag(9), Outcome::Cancelled)), "{mode}");
    }
}

#[test]
fn what_was_cancelled_before_it_left_never_leaves() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        stage.take_datagrams();
        for tag in 0..100 {
            let mut message = bytes(1, 700);
            message[..8].copy_from_slice(b"withdraw");
            stage.send_tagged(0, there, mode, &message, tag).unwrap();
        }
        (0..100).for_each(|tag| stage.endpoints[0].cancel(there, Tag(tag)).unwrap());
        stage.run_for(Duration::from_secs(3));
        assert!(stage.read(1, back).is_empty(), "{mode}");
        assert_eq!(stage.take_outcomes(0).len(), 100);
        let seen = stage.take_datagrams();
        let sent: usize =
            seen.iter().filter(|seen| seen.by == 0).map(|seen| seen.bytes.len()).sum();
        assert!(sent < 500, "{mode}: {sent} bytes about nothing");
        let leaked = seen.iter().any(|seen| seen.bytes.windows(8).any(|at| at == b"withdraw"));
        assert!(!leaked, "{mode}");
        assert_eq!(stage.endpoints[0].path(there).unwrap().queued, 0, "{mode}");
    }
}

#[test]
fn what_was_sent_once_cannot_be_cancelled() {
    for mode in UNRELIABLE {
        let (mut stage, there, back) = pair(1);
        stage.send_tagged(0, there, mode, b"short", 1).unwrap();
        stage.send_tagged(0, there, mode, &bytes(1, 5_000), 2).unwrap();
        stage.run_for(millis(5));
        for tag in [1, 2] {
            let error = stage.endpoints[0].cancel(there, Tag(tag));
            assert_eq!(error, Err(CancelError::AlreadySent), "{mode}");
        }
        stage.run_for(Duration::from_secs(1));
        assert_eq!(stage.read(1, back).len(), 2, "{mode}: nothing has changed");
        let acked = Outcome::Acknowledged;
        assert_eq!(stage.take_outcomes(0), [(1, acked), (2, acked)], "{mode}");
        for tag in [1, 2] {
            let error = stage.endpoints[0].cancel(there, Tag(tag));
            assert_eq!(error, Err(CancelError::UnknownTag), "{mode}");
        }
    }
}

#[test]
fn a_cancelled_message_under_way_holds_up_nobody() {
    for mode in reliable() {
        for case in cases!("a_cancelled_message_under_way_holds_up_nobody", 0, 20) {
            replay_on_panic!(case);
            let mut rng = case.rng();
            let (mut stage, there, back) = pair(case.seed());
            let lossy = LINK.with_jitter(millis(20)).with_loss(20 * PERCENT);
            stage.net.set_default_link(lossy.with_duplicate(10 * PERCENT, millis(50)));
            let mut read = Vec::new();
            let mut withdrawn = Vec::new();
            for tag in 0..60_u32 {
                let mut message = bytes(tag.into(), 4 + rng.below(6_000) as usize);
                message[..4].copy_from_slice(&tag.to_be_bytes());
                stage.send_tagged(0, there, mode, &message, tag).unwrap();
                stage.run_for(rng.duration(millis(40)));
                read.extend(stage.read(1, back));
                let victim = rng.below(tag.into()) as u32;
                if stage.endpoints[0].cancel(there, Tag(victim)).is_ok() {
                    withdrawn.push(victim);
                }
            }
            for _ in 0..200 {
                stage.run_for(millis(50));
                read.extend(stage.read(1, back));
            }
            assert!(withdrawn.len() > 3, "{withdrawn:?}");
            let told = stage.take_outcomes(0);
            let ended = |event: &Event| matches!(event, Event::Disconnected(..));
            assert_eq!(stage.take_events(0).into_iter().find(ended), None, "{mode}");
            assert_eq!(stage.take_events(1).into_iter().find(ended), None, "{mode}");
            assert_eq!(tags(&told), (0..60).collect::<Vec<_>>(), "{mode}");
            for (tag, outcome) in told {
                let cancelled = withdrawn.contains(&tag);
                let right = if cancelled { Outcome::Cancelled } else { Outcome::Acknowledged };
                assert_eq!(outcome, right, "{mode}: {tag}");
            }
            let numbers: Vec<_> = read
                .iter()
                .map(|message| u32::from_be_bytes(*message.bytes.first_chunk().unwrap()))
                .collect();
            for (number, message) in numbers.iter().zip(&read) {
                assert!(message.bytes[4..] == bytes(u64::from(*number), message.bytes.len())[4..]);
            }
            if mode == Mode::Reliable {
                assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
            }
            let stayed = (0..60).filter(|tag| !withdrawn.contains(tag));
            let missing: Vec<u32> = stayed.filter(|tag| !numbers.contains(tag)).collect();
            assert_eq!(missing, [], "{mode}");
        }
    }
}

#[test]
fn of_equal_tags_the_oldest_is_cancelled_first() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        for number in 0..4_u8 {
            let pieces = [&[number][..]];
            let mut message = tagged(mode, &pieces, 5);
            message.key = message.key.map(|_| number.into());
            stage.offer(0, there, message).unwrap();
        }
        stage.endpoints[0].cancel(there, Tag(5)).unwrap();
        stage.endpoints[0].cancel(there, Tag(5)).unwrap();
        stage.run_for(Duration::from_secs(1));
        let read: Vec<_> = stage.read(1, back).into_iter().map(|message| message.bytes).collect();
        assert_eq!(read, [[2], [3]], "{mode}");
        let told = stage.take_outcomes(0);
        let count = |outcome| told.iter().filter(|told| told.1 == outcome).count();
        assert_eq!((count(Outcome::Cancelled), count(Outcome::Acknowledged)), (2, 2), "{mode}");
    }
}

#[test]
fn close_ends_what_is_undecided_before_it_is_told_of() {
    for mode in MODES {
        for after in [0, 1, 15, 30, 39, 45, 100] {
            let (mut stage, there, back) = pair(1);
            for tag in 0..200 {
                stage.send_tagged(0, there, mode, &bytes(tag.into(), 900), tag).unwrap();
            }
            stage.run_for(millis(after));
            stage.read(1, back);
            stage.close(0, there, 4);
            stage.run_for(Duration::from_secs(5));
            let events = stage.take_events(0);
            let Some(Event::Disconnected(peer, DisconnectReason::Closed(CloseReason(4)))) =
                events.last()
            else {
                panic!("{mode}: {:?} is last", events.last())
            };
            assert_eq!(*peer, there);
            let mut told = Vec::new();
            for event in &events {
                if let Event::Outcome(_, tag, outcome) = event {
                    assert!(matches!(outcome, Outcome::Acknowledged | Outcome::Closed), "{mode}");
                    told.push((tag.0, *outcome));
                }
            }
            assert_eq!(tags(&told), (0..200).collect::<Vec<_>>(), "{mode}");
            if after < 20 {
                assert!(told.iter().all(|told| told.1 == Outcome::Closed), "{mode}");
            }
            assert_eq!(stage.in_use(0), InUse::default());
        }
    }
}

/// What `node` was told, of 50 tagged messages and of the session's end.
fn ends(stage: &mut Stage, node: usize) -> (DisconnectReason, Vec<(u32, Outcome)>) {
    let mut told = Vec::new();
    let mut ended = None;
    for event in stage.take_events(node) {
        assert_eq!(ended, None, "{event:?} after the last event");
        match event {
            Event::Outcome(_, tag, outcome) => told.push((tag.0, outcome)),
            Event::Disconnected(_, reason) => ended = Some(reason),
            _ => {}
        }
    }
    assert_eq!(tags(&told), (0..50).collect::<Vec<_>>());
    (ended.expect("an end"), told)
}

#[test]
fn a_session_that_times_out_closes_what_is_undecided() {
    for mode in MODES {
        let (mut stage, there, _) = pair(1);
        stage.net.set_default_link(Link::DOWN);
        for tag in 0..50 {
            stage.send_tagged(0, there, mode, &bytes(tag.into(), 900), tag).unwrap();
        }
        stage.run_for(Duration::from_secs(30));
        let (reason, told) = ends(&mut stage, 0);
        assert_eq!(reason, DisconnectReason::TimedOut);
        let right = |told: &(u32, Outcome)| match told.1 {
            Outcome::Closed => true,
            Outcome::Lost => !mode.is_reliable(),
            _ => false,
        };
        assert!(told.iter().all(right), "{mode}: {told:?}");
        assert_eq!(stage.in_use(0), InUse::default());
    }
}

#[test]
fn a_session_that_the_peer_ends_closes_what_is_undecided() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        stage.net.set_link(0, 1, Link::DOWN);
        for tag in 0..50 {
            stage.send_tagged(0, there, mode, &bytes(tag.into(), 900), tag).unwrap();
        }
        stage.close(1, back, 3);
        stage.run_for(millis(100));
        let (reason, told) = ends(&mut stage, 0);
        assert_eq!(reason, DisconnectReason::ClosedByPeer(CloseReason(3)));
        assert!(told.iter().all(|told| told.1 == Outcome::Closed), "{mode}: {told:?}");
        assert_eq!(stage.in_use(0), InUse::default());
    }
}

#[test]
fn a_session_that_is_replaced_closes_what_is_undecided() {
    for mode in MODES {
        let (mut stage, _, back) = pair(1);
        stage.net.set_link(1, 0, Link::DOWN);
        for tag in 0..50 {
            stage.send_tagged(1, back, mode, &bytes(tag.into(), 900), tag).unwrap();
        }
        stage.run_for(millis(10));
        stage.net.set_link(1, 0, LINK);
        stage.restart(0, &HEAP, 77);
        stage.call(0, 1, b"again");
        stage.run_for(millis(400));
        let mut told = Vec::new();
        let mut ended = false;
        for event in stage.take_events(1) {
            match event {
                Event::Outcome(peer, tag, outcome) => {
                    assert!(peer == back && !ended);
                    told.push((tag.0, outcome));
                }
                Event::Disconnected(peer, reason) => {
                    assert_eq!((peer, reason), (back, DisconnectReason::Replaced));
                    ended = true;
                }
                _ => {}
            }
        }
        assert!(ended);
        assert_eq!(tags(&told), (0..50).collect::<Vec<_>>(), "{mode}");
        assert!(told.iter().all(|told| told.1 == Outcome::Closed), "{mode}: {told:?}");
    }
}

#[test]
fn a_session_that_ends_with_outcomes_unpolled_tells_all_of_them() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        for tag in 0..50 {
            stage.send_tagged(0, there, mode, &bytes(tag.into(), 100), tag).unwrap();
        }
        stage.run_unasked(Duration::from_secs(1));
        assert_eq!(stage.read(1, back).len(), 50);
        stage.close(1, back, 3);
        stage.run_unasked(Duration::from_secs(5));
        stage.collect();
        let (_, told) = ends(&mut stage, 0);
        assert!(told.iter().all(|told| told.1 == Outcome::Acknowledged), "{mode}: {told:?}");
        stage.run_for(Duration::from_secs(5));
        assert_eq!(stage.in_use(0), InUse::default());
    }
}

#[test]
fn finish_waits_for_the_fate_of_what_is_tagged() {
    for mode in MODES {
        for seed in 0..10 {
            let (mut stage, there, back) = pair(seed);
            stage.net.set_default_link(LINK.with_loss(30 * PERCENT));
            for tag in 0..50 {
                stage.send_tagged(0, there, mode, &bytes(tag.into(), 900), tag).unwrap();
            }
            let now = stage.now();
            stage.endpoints[0].finish(now, there, CloseReason(1)).unwrap();
            assert_eq!(
                stage.send_tagged(0, there, mode, b"too late", 50),
                Err(SendError::Closing),
                "{mode}"
            );
            for _ in 0..200 {
                stage.run_for(millis(50));
                stage.read(1, back);
            }
            let (reason, told) = ends(&mut stage, 0);
            assert_eq!(reason, DisconnectReason::Closed(CloseReason(1)));
            let right = |told: &(u32, Outcome)| match told.1 {
                Outcome::Acknowledged => true,
                Outcome::Lost => !mode.is_reliable(),
                _ => false,
            };
            assert!(told.iter().all(right), "{mode}: {told:?}");
        }
    }
}

#[test]
fn what_is_being_finished_can_still_be_cancelled() {
    for mode in MODES {
        let (mut stage, there, back) = pair(1);
        stage.send_tagged(0, there, mode, b"stays", 0).unwrap();
        stage.send_tagged(0, there, mode, b"goes", 1).unwrap();
        let now = stage.now();
        stage.endpoints[0].finish(now, there, CloseReason(1)).unwrap();
        assert_eq!(stage.endpoints[0].cancel(there, Tag(1)), Ok(()), "{mode}");
        stage.run_for(Duration::from_secs(2));
        let told = stage.take_outcomes(0);
        assert!(told.contains(&(1, Outcome::Cancelled)), "{mode}: {told:?}");
        assert!(told.contains(&(0, Outcome::Acknowledged)), "{mode}: {told:?}");
        stage.read(1, back);
    }
}

#[test]
fn what_is_sent_to_all_has_an_outcome_from_each() {
    for mode in MODES {
        let mut stage = Stage::new(1, &[HEAP; 5], 0, LINK);
        let peers: Vec<PeerId> = (1..5).map(|node| stage.connect(0, node).0).collect();
        // One of them hears nothing.
        stage.net.set_link(0, 4, Link::DOWN);
        let pieces = [&b"to whom it may concern"[..]];
        let message = tagged(mode, &pieces, 6);
        let now = stage.now();
        let count = stage.endpoints[0].broadcast(now, message, Some(peers[0])).sent;
        assert_eq!(count, 3);
        stage.run_for(Duration::from_secs(30));
        let mut told: Vec<_> = stage
            .take_events(0)
            .into_iter()
            .filter_map(|event| match event {
                Event::Outcome(peer, Tag(6), outcome) => Some((peer, outcome)),
                _ => None,
            })
            .collect();
        told.sort_by_key(|(peer, _)| *peer);
        // That it was lost nobody can know: nothing comes from there any more.
        let (acked, closed) = (Outcome::Acknowledged, Outcome::Closed);
        assert_eq!(told, [(peers[1], acked), (peers[2], acked), (peers[3], closed)], "{mode}");
    }
}

#[test]
fn nobody_can_cancel_in_another_session() {
    for mode in MODES {
        let mut stage = Stage::new(1, &[HEAP, HEAP, HEAP], 0, LINK);
        let (first, _) = stage.connect(0, 1);
        let (second, _) = stage.connect(0, 2);
        stage.send_tagged(0, first, mode, b"mine", 1).unwrap();
        assert_eq!(stage.endpoints[0].cancel(second, Tag(1)), Err(CancelError::UnknownTag));
        let nobody = PeerId::new(900, 1);
        assert_eq!(stage.endpoints[0].cancel(nobody, Tag(1)), Err(CancelError::UnknownPeer));
        let before = PeerId::new(first.slot() as u32, first.generation().wrapping_sub(1));
        assert_eq!(stage.endpoints[0].cancel(before, Tag(1)), Err(CancelError::UnknownPeer));
        stage.run_for(Duration::from_secs(1));
        assert_eq!(stage.take_outcomes(0), [(1, Outcome::Acknowledged)], "{mode}");
    }
}

#[test]
fn tickets_come_back_in_the_smallest_of_memories() {
    // Ten times as many tagged messages as there are records, in one session.
    for (kind, mode) in [Kind::SmallFixed, Kind::Fixed].into_iter().flat_map(of_all_modes) {
        let small = NodePlan::new(kind);
        let (mut stage, there, back) = Stage::connected(1, [small, small], LINK);
        let Some(most) = stage.endpoints[0].message_max(there, mode) else { continue };
        let most = most.min(3_000);
        let mut told = Vec::new();
        let mut tag = 0;
        for round in 0..20_000_u64 {
            let len = bowline_sim::Rng::stream(1, round).below(most as u64 + 1) as usize;
            if tag < 500 && stage.send_tagged(0, there, mode, &bytes(round, len), tag).is_ok() {
                tag += 1;
            }
            stage.run_for(millis(5));
            stage.read(1, back);
            told.extend(stage.take_outcomes(0));
        }
        assert_eq!(tags(&told), (0..500).collect::<Vec<_>>(), "{mode}");
        // The other side may have no place for another message in parts.
        let right = |told: &(u32, Outcome)| match told.1 {
            Outcome::Acknowledged => true,
            Outcome::Lost => !mode.is_reliable(),
            _ => false,
        };
        assert!(told.iter().all(right), "{kind:?} {mode}: {told:?}");
    }
}
