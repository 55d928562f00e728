//! Messages given up at awkward moments: each test is one claim that was found broken once.

use bowline_core::{Duration, Event, Machine, Messages, Mode, Outcome, Tag};
use bowline_sim::{Link, PERCENT, Rng};
use bowline_tests::memory::Kind;
use bowline_tests::rogue::Rogue;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage, bytes, millis, tagged};
use bowline_wire::native::{Frame, Offset, Stream};
use bowline_wire::varint;

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(20));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);

#[test]
fn what_expired_before_the_first_poll_is_not_sent() {
    for mode in MODES {
        let (mut stage, there, _) = Stage::connected(1, [HEAP, HEAP], LINK);
        stage.run_for(millis(500));
        let sent = stage.now();
        let pieces = [&b"it is too late"[..]];
        stage.offer(0, there, tagged(mode, &pieces, 1).expiring(millis(5))).unwrap();
        let mut buf = [0; 1500];
        let out = stage.endpoints[0].poll_transmit(sent + millis(16), &mut buf).unwrap();
        // In a stream it is told that the bytes will not come.
        assert_eq!(out.is_some(), mode.is_reliable(), "{mode}");
        assert!(!buf.windows(8).any(|at| at == b"too late"), "{mode}");
        stage.collect();
        assert_eq!(stage.take_outcomes(0), [(1, Outcome::Expired)], "{mode}");
    }
}

#[test]
fn a_long_unreliable_message_can_be_cancelled_until_its_first_fragment_has_left() {
    for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
        let (mut stage, there, back) = Stage::connected(1, [HEAP, HEAP], LINK);
        let long = bytes(1, 5_000);
        for len in 1_100..1_200 {
            let first = bytes(2, len);
            stage.send(0, there, 1, mode, &first).unwrap();
            let pieces = [&long[..]];
            stage.offer(0, there, tagged(mode, &pieces, 1)).unwrap();
            let mut buf = [0; 1500];
            let now = stage.now();
            let _ = stage.endpoints[0].poll_transmit(now, &mut buf).unwrap().unwrap();
            if stage.endpoints[0].cancel(there, Tag(1)).is_ok() {
                stage.collect();
                assert_eq!(stage.take_outcomes(0), [(1, Outcome::Cancelled)], "{mode} {len}");
            }
            stage.send(0, there, 0, mode, b"and on").unwrap();
            stage.run_for(millis(1_500));
            stage.take_outcomes(0);
            assert!(stage.read(1, back).iter().any(|m| m.bytes == b"and on"), "{mode} {len}");
        }
        stage.close(0, there, 1);
        stage.run_for(millis(1_000));
        assert_eq!(stage.in_use(0), Default::default());
    }
}

#[test]
fn nobody_is_accused_because_a_message_was_given_up_while_one_before_it_is_read() {
    let mut plan = NodePlan::new(Kind::SmallFixed);
    plan.config.tickets_max = 64;
    let mut stage = Stage::new(1, &[plan], 1, LINK);
    let mut rogue = Rogue::connect(&mut stage, 0, b"honest");
    stage.collect();
    let Some(Event::Connected(peer)) = stage.take_events(0).pop() else { panic!() };
    // Messages of ten bytes, numbered from 0.
    let data = |n: u32| Frame::Reliable {
        channel: 0,
        offset: Offset::Long(Rogue::INITIAL + 10 * n),
        data: b"\x09message..",
    };
    let void = |n: u32| Frame::Void {
        stream: Stream::Reliable,
        channel: 0,
        offset: Rogue::INITIAL + 10 * n,
        len: 10,
    };
    // No record is left for a note.
    let mut tag = 0;
    while stage.send_tagged(0, peer, Mode::Unreliable, b"", tag).is_ok() {
        tag += 1;
    }
    let gaps = (20..30).step_by(2).take_while(|&n| rogue.frames(&mut stage, &[data(n)]).is_ok());
    assert!(gaps.count() < 5);
    rogue.frames(&mut stage, &[data(0)]).unwrap();
    // There is one for what is passed over, and then some more.
    stage.endpoints[0].cancel(peer, Tag(0)).unwrap();
    stage.collect();
    rogue.frames(&mut stage, &[void(1)]).unwrap();
    assert!(stage.endpoints[0].recv(peer).is_some());
    (1..8).for_each(|tag| stage.endpoints[0].cancel(peer, Tag(tag)).unwrap());
    stage.collect();
    rogue.frames(&mut stage, &[void(4)]).unwrap();
    rogue.frames(&mut stage, &[data(2)]).unwrap();
    stage.collect();
    assert!(stage.take_events(0).contains(&Event::Readable(peer)));
    assert_eq!(stage.read(0, peer).len(), 1);
    stage.send(0, peer, 0, Mode::Unreliable, b"still open").unwrap();
}

/// Whether everything has ended at last, when messages are given up at random while a link loses most.
fn goes_on(seed: u64, mode: Mode) -> bool {
    let mut plan = NodePlan::new(Kind::TwinHeap);
    plan.config.tickets_max = 60;
    let (mut stage, there, back) = Stage::connected(seed, [plan, HEAP], LINK);
    stage.net.set_default_link(LINK.with_loss(60 * PERCENT));
    let mut rng = Rng::stream(seed, 0x71d);
    let mut count = 0;
    for _ in 0..40 {
        for _ in 0..rng.below(12) {
            let message = bytes(count.into(), 10 + rng.below(2_000) as usize);
            let pieces = [&message[..]];
            let mut outgoing = tagged(mode, &pieces, count);
            if rng.chance(30 * PERCENT) {
                outgoing = outgoing.expiring(millis(1 + rng.below(300)));
            }
            count += u32::from(stage.offer(0, there, outgoing).is_ok());
        }
        for _ in 0..rng.below(30) {
            let tag = rng.below(u64::from(count) + 1) as u32;
            let _ = stage.endpoints[0].cancel(there, Tag(tag));
        }
        stage.run_for(millis(1 + rng.below(60)));
        stage.read(1, back);
    }
    stage.net.set_default_link(LINK);
    for _ in 0..20 {
        stage.run_for(millis(500));
        stage.read(1, back);
    }
    let told = stage.take_outcomes(0).len();
    stage.endpoints[0].path(there).is_some_and(|path| path.queued == 0 && told == count as usize)
}

/// A probe that stands for a packet which told what was given up may not tell of all of that.
#[test]
fn what_a_probe_does_not_tell_again_is_told_again_later() {
    for mode in [Mode::Reliable, Mode::ReliableUnordered] {
        let stuck: Vec<_> = (0..200).filter(|seed| !goes_on(*seed, mode)).collect();
        assert!(stuck.is_empty(), "{mode}: {stuck:?}");
    }
}

/// A message that is being read is given up by a packet that brings another message, too. What was read makes
/// way for a long one behind it, but not before the packet has all the memory that it was taken for.
#[test]
fn no_frame_loses_its_memory_to_credit_that_another_brings() {
    let mut plan = NodePlan::new(Kind::Fixed);
    plan.config.inbox_max = 200_000;
    let start = || {
        let mut stage = Stage::new(1, &[plan], 0, LINK);
        let rogue = Rogue::connect(&mut stage, 0, b"rogue");
        stage.collect();
        let Some(Event::Connected(peer)) = stage.take_events(0).pop() else { panic!() };
        (stage, rogue, peer)
    };
    // A prefixed message of a thousand bytes.
    let mut message = vec![7; 1_002];
    message[..2].copy_from_slice(&[0x83, 0xe8]);
    let bulk = Frame::Unreliable { channel: 0, ordered: false, messages: &message };
    let (mut stage, mut rogue, _) = start();
    let room = (0..).take_while(|_| rogue.frames(&mut stage, &[bulk]).is_ok()).count();
    assert!((20..190).contains(&room), "{room}");

    let mut granted = 0;
    for blocks in 1..40_u32 {
        let (mut stage, mut rogue, peer) = start();
        let unordered = |at: u32, back, data| {
            let offset = Rogue::INITIAL + at;
            Frame::Loose { channel: 0, latest: false, offset, back, data }
        };
        let (head, head_len) = varint::encode(blocks * 124);
        let long = unordered(4, Some(0), &head[..head_len]);
        rogue.frames(&mut stage, &[unordered(0, None, b"\x03abc"), long]).unwrap();
        let given = room - 3;
        (0..given).for_each(|_| rogue.frames(&mut stage, &[bulk]).unwrap());
        let first = stage.endpoints[0].recv(peer).map(|message| message.to_vec());
        assert_eq!(first.as_deref(), Some(&b"abc"[..]));

        let void =
            Frame::Void { stream: Stream::Unordered, channel: 0, offset: Rogue::INITIAL, len: 4 };
        let before = stage.in_use(0).promised_blocks;
        rogue.frames(&mut stage, &[void, bulk]).unwrap();
        granted += u32::from(stage.in_use(0).promised_blocks > before);
        assert_eq!(stage.read(0, peer).len(), given + 1, "{blocks}");
    }
    assert!((2..38).contains(&granted), "{granted} of the long messages were given credit");
}
