mod honest;
mod hostile;
mod model;

use super::super::LooseStream;
use super::super::loose::{self, Arrival, Needs, Next, Taken, Unfit};
use super::*;
use crate::credit::{Grant, GrantLimits, blocks_for};

const BLOCK_LEN: usize = 13;
const LEN_MAX: u32 = 1 << 20;

/// What is in blocks that nothing was written to: it could be a message.
const POISON: u8 = 5;

/// A receiver and its memory; all offsets count from `initial`.
struct Receiver {
    memory: Memory,
    stream: LooseStream,
    initial: u32,
    len_max: u32,
    /// Where the message begins that is being read, how long it is, and how many bytes are read with it.
    held: Option<(u32, usize, usize)>,
    /// A message that was handed out: offset and bytes, prefix included.
    got: Vec<(u32, Vec<u8>)>,
}

impl Receiver {
    fn new(initial: u32, window: u32, spare_blocks: u32, records: usize, latest: bool) -> Self {
        let promised = blocks_for(window, BLOCK_LEN);
        let mut memory = Memory::new((promised + spare_blocks) as usize, BLOCK_LEN, records);
        memory.bytes.fill(POISON);
        assert!(memory.with(|pool, blocks, _| pool.promise(blocks, promised)));
        let stream = LooseStream::new(initial, window, latest);
        Self { memory, stream, initial, len_max: LEN_MAX, held: None, got: Vec::new() }
    }

    fn base(&self) -> u32 {
        self.stream.base().wrapping_sub(self.initial)
    }

    fn limit(&self) -> u32 {
        self.stream.credit().limit().wrapping_sub(self.initial)
    }

    fn arrival<'a>(&self, frame: &'a Frame) -> Arrival<'a> {
        let offset = self.initial.wrapping_add(frame.start);
        Arrival { offset, back: frame.back, data: &frame.data }
    }

    fn check(&mut self, frame: &Frame, after: bool) -> Result<Needs, Unfit> {
        let (arrival, stream, len_max) = (self.arrival(frame), self.stream, self.len_max);
        self.memory.with(|pool, _, ranges| match frame.void {
            0 => stream.check(pool, ranges.records, &arrival, len_max),
            len => stream.check_void(pool, arrival.offset, arrival.offset.wrapping_add(len), after),
        })
    }

    fn apply(&mut self, frame: &Frame) -> Result<Taken, Unfit> {
        let (arrival, len_max) = (self.arrival(frame), self.len_max);
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, ranges| match frame.void {
            0 => stream.write(pool, blocks, ranges, &arrival, len_max),
            len => {
                let end = arrival.offset.wrapping_add(len);
                let moved = stream.void(pool, blocks, ranges, arrival.offset, end)?;
                Ok(Taken { ready: false, moved })
            }
        })
    }

    /// Checks all frames of a packet, then applies them and tells what comes of each. None if it was
    /// dropped.
    fn packet(
        &mut self,
        frames: &[Frame],
        mut each: impl FnMut(&Frame, Result<Taken, Unfit>),
    ) -> Result<Option<()>, Unfit> {
        let mut all = Needs::default();
        let mut after = false;
        for frame in frames {
            let needs = match self.check(frame, after) {
                Err(Unfit::Crowded) => return Ok(None),
                needs => needs?,
            };
            after |= frame.void == 0;
            all.blocks += needs.blocks;
            all.records += needs.records;
        }
        let fits = self.memory.with(|pool, blocks, ranges| {
            let has_blocks = all.blocks <= pool.available(blocks);
            assert!(has_blocks || frames.len() > 1, "the promise is not enough");
            has_blocks && all.records <= ranges.records.available(ranges.quota)
        });
        if !fits {
            return Ok(None);
        }
        let before = self.memory.in_use();
        for frame in frames {
            let base = self.stream.base();
            let taken = self.apply(frame);
            assert!(taken.is_err() || taken.unwrap().moved == (self.stream.base() != base));
            each(frame, taken);
        }
        let after = self.memory.in_use();
        assert!(after.0 <= before.0 + all.blocks as u32);
        assert!(after.1 <= before.1 + all.records as u32);
        Ok(Some(()))
    }

    /// The application finishes with what it reads. Returns where that was.
    fn finish(&mut self) -> Option<(u32, usize)> {
        let (offset, _, len) = self.held.take()?;
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, ranges| stream.consume(pool, blocks, ranges, len));
        Some((offset, len))
    }

    /// The application asks for the next message, and reads on in the same run up to `most` messages.
    fn read(&mut self, most: usize) -> Result<bool, Unfit> {
        self.finish();
        let (stream, len_max) = (&mut self.stream, self.len_max);
        let next =
            self.memory.with(|pool, blocks, ranges| stream.next(pool, blocks, ranges, len_max));
        let (prefix, len, mut at, run) = match next {
            Next::Message { prefix, len, at, run } => (prefix, len, at, run),
            Next::Nothing => return Ok(false),
            Next::Bad => return Err(Unfit::Bad),
        };
        assert!(prefix + len <= run);
        let mut bytes = encode_prefix(len).0[..prefix].to_vec();
        bytes.resize(run, 0);
        let read = self.memory.with(|pool, _, _| at.read(pool, &mut bytes[prefix..]));
        assert_eq!(read, run - prefix);
        let offset = self.stream.held_offset().wrapping_sub(self.initial);
        let mut upto = 0;
        for _ in 0..most {
            let Ok(Some((len, prefix))) = crate::run::prefix(&bytes[upto..]) else { break };
            let Some(whole) = bytes.get(upto..upto + prefix + len) else { break };
            self.got.push((offset.wrapping_add(upto as u32), whole.to_vec()));
            upto += whole.len();
        }
        self.held = Some((offset, prefix + len, upto));
        Ok(true)
    }

    fn grant(&mut self, limits: &GrantLimits) -> Grant {
        let (stream, len_max) = (&mut self.stream, self.len_max);
        self.memory.with(|pool, blocks, _| stream.grant(pool, blocks, limits, len_max))
    }

    fn check_memory(&self) {
        let promised = self.stream.credit().blocks_promised(BLOCK_LEN);
        assert_eq!(self.memory.blocks.guaranteed(), promised);
        assert!(self.memory.blocks.held() <= promised, "more is held than was promised");
    }
}

/// Data, or `void` bytes that are given up.
#[derive(Clone, Debug)]
struct Frame {
    start: u32,
    back: Option<u32>,
    data: Vec<u8>,
    void: u32,
}

impl Frame {
    fn void(start: u32, end: u32) -> Self {
        Self { start, back: None, data: Vec::new(), void: end - start }
    }
}

/// Whole messages, or a part of one.
fn frame(start: u32, back: Option<u32>, data: &[u8]) -> Frame {
    Frame { start, back, data: data.to_vec(), void: 0 }
}

impl Receiver {
    /// A packet of one frame arrives and is taken. Whether there is more to be read.
    fn take(&mut self, frame: Frame) -> Result<bool, Unfit> {
        let mut ready = Ok(false);
        self.packet(&[frame], |_, taken| ready = taken.map(|taken| taken.ready))?
            .ok_or(Unfit::Crowded)?;
        ready
    }

    /// What can be read now, offsets and contents.
    fn read_all(&mut self) -> Vec<(u32, Vec<u8>)> {
        let before = self.got.len();
        while self.read(1).unwrap() {}
        self.got[before..].to_vec()
    }
}

#[test]
fn a_message_does_not_wait_for_what_is_missing_before_it() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    assert_eq!(receiver.take(frame(10, None, &[2, 8, 9])), Ok(true));
    assert_eq!(receiver.read_all(), [(10, vec![2, 8, 9])]);
    assert_eq!(receiver.take(frame(10, None, &[2, 8, 9])), Ok(false), "again");
    assert_eq!(receiver.take(frame(10, Some(0), &[2, 8])), Ok(false), "and cut anew");
    assert_eq!(receiver.take(frame(5, Some(5), &[6, 7, 8, 9])), Ok(false));
    assert_eq!(receiver.take(frame(0, Some(0), &[8, 2, 3, 4, 5])), Ok(true));
    assert_eq!(receiver.memory.in_use().0, 1, "the blocks are needed until it is read");
    assert_eq!(receiver.read_all(), [(0, vec![8, 2, 3, 4, 5, 6, 7, 8, 9])]);
    assert_eq!(receiver.memory.in_use(), (1, 1), "9..10 is missing");
    assert_eq!(receiver.take(frame(9, None, &[0])), Ok(true));
    assert_eq!(receiver.read_all(), [(9, vec![0])]);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

#[test]
fn of_what_is_given_up_nothing_is_handed_over() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    // The second half of a message is here, and all of the next.
    assert_eq!(receiver.take(frame(15, Some(5), &[8; 5])), Ok(false));
    assert_eq!(receiver.take(frame(20, None, &[1, 1])), Ok(true));
    assert_eq!(receiver.take(Frame::void(10, 22)), Ok(false));
    assert_eq!(receiver.take(frame(10, Some(0), &[9, 8, 8, 8, 8])), Ok(false), "it comes too late");
    assert_eq!(receiver.read_all(), [(20, vec![1, 1])], "whole before it was given up");
    assert_eq!(receiver.take(Frame::void(0, 10)), Ok(false));
    assert_eq!(receiver.base(), 22);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

/// The limit cuts a message that is given up; what tells of its pieces comes the other way round.
#[test]
fn a_message_may_be_given_up_piece_by_piece() {
    let mut receiver = Receiver::new(7, 30, 0, 10, false);
    assert_eq!(receiver.take(frame(0, Some(0), &[40, 1, 1])), Ok(false));
    assert_eq!(receiver.take(Frame::void(10, 30)), Ok(false));
    assert_eq!(receiver.take(frame(3, Some(3), &[1; 7])), Ok(false));
    assert_eq!(receiver.base(), 30, "no byte is missing, but it is no message");
    assert_eq!(receiver.read_all(), []);
    assert_eq!(receiver.memory.in_use(), (0, 0));
    assert_eq!(receiver.take(Frame::void(0, 10)), Ok(false));
}

#[test]
fn a_message_that_is_settled_in_part_is_misbehaviour() {
    let mut receiver = Receiver::new(7, 100, 0, 10, false);
    assert_eq!(receiver.take(Frame::void(12, 15)), Ok(false));
    assert_eq!(receiver.take(frame(10, None, &[2, 1, 1])), Err(Unfit::Bad));
    assert_eq!(
        receiver.take(frame(12, None, &[2, 1, 1, 1, 1])),
        Ok(true),
        "what is not, is a message"
    );
    assert_eq!(receiver.take(frame(16, None, &[1, 1])), Err(Unfit::Bad), "it was told as another");
    assert_eq!(receiver.take(frame(10, Some(0), &[2, 1])), Ok(false), "a part says less");
    assert_eq!(receiver.read_all(), [(15, vec![1, 1])]);
}

#[test]
fn what_nobody_may_send_is_misbehaviour() {
    for (latest, frame, expected) in [
        (false, frame(0, None, &[3, 1, 2, 3]), Ok(true)),
        (false, frame(0, None, &[4, 1, 2, 3, 4]), Err(Unfit::Bad)),
        (false, frame(0, None, &[3, 1, 2]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[3, 1, 2]), Ok(false)),
        (false, frame(0, Some(0), &[4]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[1, 2, 3]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[0x80]), Ok(false)),
        (false, frame(0, Some(0), &[0x80, 3]), Err(Unfit::Bad)),
        (false, frame(0, Some(0), &[0xF0]), Err(Unfit::Bad)),
        (true, frame(0, None, &[3, 1, 2, 3]), Err(Unfit::Bad)),
        (true, frame(0, Some(0), &[3]), Err(Unfit::Bad)),
        (false, frame(100, None, &[0]), Err(Unfit::OverCredit)),
        (false, Frame::void(90, 101), Err(Unfit::OverCredit)),
    ] {
        let mut receiver = Receiver::new(7, 100, 0, 10, latest);
        receiver.len_max = 3;
        assert_eq!(receiver.take(frame.clone()), expected, "{frame:?}");
    }
    let mut receiver = Receiver::new(7, 100, 0, 10, true);
    receiver.len_max = 4;
    assert_eq!(receiver.take(frame(0, None, &[4, 1, 2, 3, 4])), Ok(true), "with its key");
}

#[test]
fn of_a_key_nothing_older_follows_what_was_told() {
    let key = |key: u8, value: u8| [5, 0, 0, 0, key, value];
    let mut receiver = Receiver::new(7, 100, 0, 10, true);
    let offsets = |got: Vec<(u32, Vec<u8>)>| got.iter().map(|got| got.0).collect::<Vec<_>>();
    assert_eq!(receiver.take(frame(12, None, &key(1, 2))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [12]);
    assert_eq!(receiver.take(frame(6, None, &key(1, 1))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [], "older than the one before");
    assert_eq!(receiver.take(frame(0, None, &key(2, 0))), Ok(true));
    assert_eq!(receiver.take(frame(18, None, &key(1, 3))), Ok(true));
    assert_eq!(offsets(receiver.read_all()), [0, 18]);
    assert_eq!(receiver.memory.in_use(), (0, 0));
}

/// Whoever has begun many messages and ended none gets no further, but what is missing first comes
/// through.
#[test]
fn a_stream_in_too_many_pieces_takes_only_what_comes_first() {
    let mut receiver = Receiver::new(7, 3_000, 0, 1_000, false);
    let mut taken = 0;
    for piece in 1..1_000 {
        match receiver.take(frame(3 * piece, Some(0), &[9])) {
            Ok(ready) => assert!(!ready),
            refused => {
                assert_eq!(refused, Err(Unfit::Crowded));
                break;
            }
        }
        taken = piece;
    }
    assert!((250..=loose::SPANS_MAX as u32).contains(&taken), "{taken}");
    assert_eq!(receiver.take(frame(0, None, &[2, 8, 8])), Ok(true));
    assert_eq!(receiver.read_all(), [(0, vec![2, 8, 8])]);
}

/// A peer that is not read gets no more than its window, however long its messages seem to be together.
#[test]
fn only_a_message_may_be_longer_than_the_window() {
    let limits = GrantLimits { window_max: 64, keep: 0, long: true };
    let mut receiver = Receiver::new(7, 64, 20, 10, false);
    assert_eq!(receiver.take(frame(0, None, &[[39; 40], [9; 40]].concat()[..40])), Ok(true));
    assert_eq!(receiver.take(frame(40, Some(0), &[50; 24])), Ok(false));
    let grant = receiver.grant(&limits);
    assert_eq!((grant.long, grant.starved, receiver.limit()), (false, false, 64));
    receiver.read_all();
    assert!(receiver.limit() <= 64);
    receiver.grant(&limits);
    assert_eq!(receiver.limit(), 104, "a window from what was read");
    let mut receiver = Receiver::new(7, 64, 20, 10, false);
    assert_eq!(receiver.take(frame(0, Some(0), &[100; 64])), Ok(false));
    let grant = receiver.grant(&limits);
    assert_eq!((grant.raised, grant.long, receiver.limit()), (true, true, 101), "to its end");
    assert!(!receiver.stream.may_be_complete());
    assert_eq!(receiver.take(frame(64, Some(64), &[1; 37])), Ok(true));
    assert!(receiver.stream.may_be_complete());
    receiver.read_all();
    receiver.grant(&limits);
    assert_eq!(receiver.memory.blocks.guaranteed(), blocks_for(64, BLOCK_LEN), "it came back");
}

/// While a message is read its bytes stay, whatever becomes of those around it.
#[test]
fn what_is_read_stays_until_it_was() {
    let mut receiver = Receiver::new(7, 200, 0, 10, false);
    let message: Vec<u8> = [30].into_iter().chain(0..30).collect();
    assert_eq!(receiver.take(frame(50, None, &message)), Ok(true));
    assert_eq!(receiver.read(1), Ok(true));
    assert_eq!(receiver.take(Frame::void(0, 50)), Ok(false));
    assert_eq!(receiver.take(Frame::void(81, 120)), Ok(false));
    assert_eq!(receiver.base(), 120);
    assert!(receiver.memory.in_use().0 >= 3, "its blocks");
    receiver.finish();
    assert_eq!(receiver.memory.in_use(), (0, 0));
}
