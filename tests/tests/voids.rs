//! Who gives up what he never sent, in whatever ranges, spoils his own session at most.

use bowline_core::{DisconnectReason, DropReason, Duration, Event, Mode, PeerId};
use bowline_sim::{Link, PERCENT, Rng, cases, replay_on_panic};
use bowline_tests::memory::Kind;
use bowline_tests::rogue::Rogue;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{MODES, Stage};
use bowline_wire::native::{AckForm, Frame, Offset, Stream};

const LINK: Link = Link::PERFECT.with_delay(Duration::from_millis(1));
const HEAP: NodePlan = NodePlan::new(Kind::Heap);
const STREAMS: [Stream; 3] = [Stream::Reliable, Stream::Unordered, Stream::Latest];
/// What lies in blocks that others gave back. No rogue sends it.
const POISON: u8 = 0xAA;

/// An endpoint of this kind, node 0, and an honest peer of it, node 1: their names for each other.
fn honest(seed: u64, kind: Kind) -> (Stage, PeerId, PeerId) {
    let mut stage = Stage::new(seed, &[NodePlan::new(kind), HEAP], 0, LINK);
    let (there, back) = stage.connect(1, 0);
    (stage, there, back)
}

/// The honest peer has filled many blocks, and they are free again.
fn poison(stage: &mut Stage, there: PeerId, back: PeerId) {
    for _ in 0..6 {
        let most = stage.endpoints[1].message_max(there, Mode::Reliable).unwrap().min(10_000);
        stage.send(1, there, 0, Mode::Reliable, &vec![POISON; most]).unwrap();
    }
    let mut read = 0;
    for _ in 0..400 {
        stage.run_for(Duration::from_millis(5));
        read += stage.read(0, back).len();
        if read >= 6 {
            return;
        }
    }
    panic!("only {read} arrived");
}

/// The honest two have not noticed anything.
fn still_talk(stage: &mut Stage, there: PeerId, back: PeerId) {
    for (node, peer) in [(0, back), (1, there)] {
        let ended = |event: &Event| matches!(event, Event::Disconnected(who, _) if *who == peer);
        assert!(!stage.take_events(node).iter().any(ended), "node {node} lost its honest peer");
        stage.read(node, peer);
    }
    let modes = MODES.map(|mode| (mode, stage.endpoints[1].message_max(there, mode)));
    let modes: Vec<Mode> =
        modes.into_iter().filter_map(|(mode, most)| most.map(|_| mode)).collect();
    for &mode in &modes {
        stage.send(1, there, 0, mode, b"still here?").unwrap();
        stage.send(0, back, 0, mode, b"of course").unwrap();
    }
    stage.run_for(Duration::from_secs(1));
    for (node, peer, said) in [(0, back, &b"still here?"[..]), (1, there, b"of course")] {
        let read = stage.read(node, peer);
        let right = read.len() == modes.len() && read.iter().all(|message| message.bytes == said);
        assert!(right, "node {node}: {read:?}");
    }
}

/// The session that node 0 has with somebody who is not on the network.
fn session_of(stage: &mut Stage, name: &[u8]) -> Option<PeerId> {
    let name = bowline_core::Address::from_raw(name).ok();
    (0..16)
        .flat_map(|slot| (1..40).map(move |generation| PeerId::new(slot, generation)))
        .find(|peer| stage.endpoints[0].address(*peer).is_some_and(|address| Some(address) == name))
}

const fn void(stream: Stream, offset: u32, len: u32) -> Frame<'static> {
    Frame::Void { stream, channel: 0, offset, len }
}

fn limit(stage: &Stage, stream: Stream) -> u32 {
    let config = stage.endpoints[0].config();
    let credit = if stream.is_loose() { config.loose_credit } else { config.credit };
    Rogue::INITIAL + credit
}

#[test]
fn ranges_that_reach_beyond_the_credit_end_their_session() {
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed] {
        for stream in STREAMS {
            let (mut stage, there, back) = honest(1, kind);
            let (initial, limit) = (Rogue::INITIAL, limit(&stage, stream));
            let beyond = [
                (limit, 1),
                (limit - 1, 2),
                (initial, limit - initial + 1),
                (initial, (1 << 28) - 1),
                (initial - 1, limit - initial + 2),
                (limit + (1 << 30), 1),
                (initial.wrapping_add(1 << 31), 1),
                (initial.wrapping_add(1 << 31) - 1, 2),
                (initial.wrapping_add(1 << 31), (1 << 28) - 1),
            ];
            for (number, (offset, len)) in beyond.into_iter().enumerate() {
                let mut rogue = Rogue::connect(&mut stage, 0, &[number as u8, 9]);
                let sent = rogue.frames(&mut stage, &[void(stream, offset, len)]);
                let what = format!("{kind:?}, {stream:?}, {offset} + {len}: {sent:?}");
                assert!(sent == Err(DropReason::Misbehaved), "{what}");
                let ended = |event: &Event| {
                    matches!(event, Event::Disconnected(_, DisconnectReason::PeerMisbehaved))
                };
                stage.run_for(Duration::from_secs(15));
                assert_eq!(
                    stage.take_events(0).iter().filter(|event| ended(event)).count(),
                    1,
                    "{what}"
                );
            }
            still_talk(&mut stage, there, back);
        }
    }
}

#[test]
fn ranges_that_were_read_or_given_up_before_change_nothing() {
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed] {
        for stream in STREAMS {
            let (mut stage, there, back) = honest(1, kind);
            let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
            let (initial, limit) = (Rogue::INITIAL, limit(&stage, stream));
            assert_eq!(rogue.frames(&mut stage, &[void(stream, initial, 100)]), Ok(()));
            let in_use = stage.in_use(0);
            for (offset, len) in [
                (initial, 100),
                (initial, 1),
                (initial + 99, 1),
                (initial + 50, 20),
                (initial - 1_000, 1_000),
                (initial.wrapping_sub(1 << 20), 1 << 20),
                (initial - 1, 101),
            ] {
                let sent = rogue.frames(&mut stage, &[void(stream, offset, len)]);
                assert_eq!(sent, Ok(()), "{kind:?}, {stream:?}, {offset} + {len}");
            }
            assert_eq!(stage.in_use(0), in_use, "{kind:?}, {stream:?}");
            // All that is left, and it gets new credit for it.
            let rest = void(stream, initial + 100, limit - initial - 100);
            assert_eq!(rogue.frames(&mut stage, &[rest]), Ok(()));
            assert_eq!(rogue.frames(&mut stage, &[void(stream, limit, 1)]), Ok(()));
            still_talk(&mut stage, there, back);
        }
    }
}

#[test]
fn a_range_of_no_bytes_or_of_no_stream_is_malformed() {
    let mut stage = Stage::new(1, &[HEAP], 0, LINK);
    let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
    let before = stage.in_use(0);
    let mut raw = |stage: &mut Stage, bytes: &[u8]| {
        rogue.send(stage, AckForm::None, |writer| writer.bytes(bytes))
    };
    let [a, b, c, d] = Rogue::INITIAL.to_be_bytes();
    for wrong in [
        &[4, 0, 0, a, b, c, d, 0][..],
        &[4, 0, 0, a, b, c, d],
        &[4, 0, 0, a, b, c, d, 0x80, 5],
        &[4, 0, 0, a, b, c, d, 0xf0, 0, 0, 0],
        &[4, 3, 0, a, b, c, d, 5],
        &[4, 255, 0, a, b, c, d, 5],
        &[4, 0, 0, a, b],
        &[4],
    ] {
        assert!(raw(&mut stage, wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(raw(&mut stage, &[4, 0, 200, a, b, c, d, 5]), Err(DropReason::OverLimit));
    assert_eq!(stage.in_use(0), before);
    assert_eq!(raw(&mut stage, &[4, 0, 0, a, b, c, d, 5]), Ok(()));
}

#[test]
fn many_ranges_with_holes_between_cost_their_own_quota() {
    for kind in [Kind::Heap, Kind::TightHeap, Kind::Fixed] {
        for stream in STREAMS {
            let (mut stage, there, back) = honest(1, kind);
            let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
            let (initial, limit) = (Rogue::INITIAL, limit(&stage, stream));
            let mut full = 0;
            for offset in (initial + 1..limit - 1).step_by(2) {
                match rogue.frames(&mut stage, &[void(stream, offset, 1)]) {
                    Ok(()) => {}
                    Err(DropReason::Full) => full += 1,
                    Err(other) => panic!("{kind:?} {stream:?}: {other:?}"),
                }
            }
            still_talk(&mut stage, there, back);
            let tight = kind == Kind::TightHeap && stream == Stream::Reliable;
            assert!(full > 0 || !tight, "there was never too little memory");
            stage.net.set_default_link(LINK);
            stage.run_for(Duration::from_secs(20));
            still_talk(&mut stage, there, back);
            assert_eq!(stage.in_use(0).peers, 1, "it is gone");
        }
    }
}

/// A stream of short messages without zeros, and without poison.
fn genuine(rng: &mut Rng, stream: Stream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let count = 5 + rng.below(80) as u8;
        bytes.push(count);
        // As the length of a message, or the key of one, any of it would do.
        let filler = if stream == Stream::Latest { 7 } else { 5 };
        bytes.extend(core::iter::repeat_n(filler, count.into()));
    }
    bytes
}

/// Where the message begins and ends in which this byte of the stream lies.
fn message_at(bytes: &[u8], at: usize) -> (usize, usize) {
    let mut head = 0;
    while head + 1 + usize::from(bytes[head]) <= at {
        head += 1 + usize::from(bytes[head]);
    }
    (head, head + 1 + usize::from(bytes[head]))
}

/// A part of the stream from `start` on, as somebody would send it who cuts where he likes; one frame of it.
fn part<'a>(rng: &mut Rng, stream: Stream, bytes: &'a [u8], start: usize) -> Frame<'a> {
    let len = 1 + rng.below((bytes.len() - start).min(300) as u64) as usize;
    let data = &bytes[start..start + len];
    let offset = Rogue::INITIAL + start as u32;
    if stream == Stream::Reliable {
        return Frame::Reliable { channel: 0, offset: Offset::Long(offset), data };
    }
    // Where the message begins that it is of, or anywhere.
    let (head, end) = message_at(bytes, start);
    let honest = rng.chance(95 * PERCENT);
    let data = if honest { &data[..len.min(end - start)] } else { data };
    let back = if honest { (start - head) as u32 } else { rng.below(40) as u32 };
    let latest = stream == Stream::Latest;
    Frame::Loose { channel: 0, latest, offset, back: Some(back), data }
}

#[test]
fn no_byte_of_anybody_else_comes_out_of_a_range_given_up() {
    let mut delivered = 0;
    for case in cases!("no_byte_of_anybody_else_comes_out_of_a_range_given_up", 0, 120) {
        replay_on_panic!(case);
        let mut rng = case.rng();
        let kind = [Kind::Heap, Kind::TightHeap, Kind::Fixed][rng.below(3) as usize];
        let (mut stage, there, back) = honest(case.seed(), kind);
        for name in 0..3_u8 {
            poison(&mut stage, there, back);
            let mut rogue = Rogue::connect(&mut stage, 0, &[name, 1]);
            let peer = session_of(&mut stage, &[name, 1]).expect("a session");
            let stream = STREAMS[rng.below(3) as usize];
            let credit = (limit(&stage, stream) - Rogue::INITIAL) as usize;
            let all = genuine(&mut rng, stream, credit.min(2_000));
            let genuine = &all[..all.len().min(credit)];
            let mut next = 0;
            for _ in 0..rng.below(120) {
                // Mostly as it should be, so that the session lives for a while.
                let start = if next < genuine.len() && rng.chance(80 * PERCENT) {
                    next
                } else {
                    rng.below(genuine.len() as u64) as usize
                };
                let frame = if rng.chance(30 * PERCENT) {
                    let (head, end) = message_at(&all, start);
                    let aligned = rng.chance(90 * PERCENT) && end <= genuine.len();
                    let most = (genuine.len() - start).min(200) as u64;
                    let any = (start, start + 1 + rng.below(most) as usize);
                    let (from, to) = if aligned { (head, end) } else { any };
                    next = next.max(to);
                    void(stream, Rogue::INITIAL + from as u32, (to - from) as u32)
                } else {
                    let frame = part(&mut rng, stream, genuine, start);
                    let (Frame::Reliable { data, .. } | Frame::Loose { data, .. }) = frame else {
                        unreachable!("it carries data");
                    };
                    next = next.max(start + data.len());
                    frame
                };
                // The honest one fills and frees blocks in between.
                if rng.chance(10 * PERCENT) {
                    stage.send(1, there, 0, Mode::Reliable, &[POISON; 500]).unwrap();
                    stage.run_for(Duration::from_millis(5));
                    stage.read(0, back);
                }
                let _ = rogue.frames(&mut stage, &[frame]);
                if rng.chance(30 * PERCENT) {
                    for message in stage.read(0, peer) {
                        delivered += 1;
                        let clean = |byte: &u8| (1..0x80).contains(byte);
                        assert!(message.bytes.iter().all(clean), "{stream:?}: {:?}", message.bytes);
                    }
                }
            }
            if rng.chance(50 * PERCENT) {
                stage.close(0, peer, 1);
            }
            stage.run_for(Duration::from_millis(200));
        }
        // Nobody answers for them any more.
        for _ in 0..100 {
            stage.run_for(Duration::from_millis(250));
            stage.read(0, back);
        }
        still_talk(&mut stage, there, back);
        assert_eq!(stage.in_use(0).peers, 1, "{kind:?}");
    }
    assert!(delivered > 500 || std::env::var_os("BOWLINE_SEED").is_some(), "{delivered}");
}

#[test]
fn a_message_that_lies_partly_in_what_was_given_up_is_not_delivered() {
    // Its beginning, its middle, or its end is given up before or after the rest came.
    for stream in STREAMS {
        for (from, len) in [(0, 5), (3, 10), (40, 61), (1, 100), (100, 1)] {
            for void_first in [true, false] {
                let mut stage = Stage::new(1, &[HEAP], 0, LINK);
                let mut rogue = Rogue::connect(&mut stage, 0, b"rogue");
                let peer = session_of(&mut stage, b"rogue").expect("a session");
                let message = [&[100][..], &[5; 100]].concat();
                let offset = Rogue::INITIAL;
                let latest = stream == Stream::Latest;
                let piece = |range: core::ops::Range<usize>| {
                    let (data, start) = (&message[range.clone()], range.start as u32);
                    if stream == Stream::Reliable {
                        let offset = Offset::Long(offset + start);
                        Frame::Reliable { channel: 0, offset, data }
                    } else {
                        let offset = offset + start;
                        Frame::Loose { channel: 0, latest, offset, back: Some(start), data }
                    }
                };
                let given_up = void(stream, offset + from, len);
                let (from, end) = (from as usize, (from + len) as usize);
                let mut frames = Vec::new();
                if from > 0 {
                    frames.push(piece(0..from));
                }
                if end < message.len() {
                    frames.push(piece(end..message.len()));
                }
                frames.insert(if void_first { 0 } else { frames.len() }, given_up);
                for frame in frames {
                    let _ = rogue.frames(&mut stage, &[frame]);
                    let read = stage.read(0, peer);
                    // What stands behind the range may look like a message.
                    assert!(read.iter().all(|message| message.bytes.len() < 100), "{stream:?}");
                }
            }
        }
    }
}
