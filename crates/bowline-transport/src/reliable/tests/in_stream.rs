use super::super::{Head, InStream, PIECES_MAX, Refused};
use super::*;
use crate::credit::{GrantLimits, blocks_for};

/// A receiver, and which bytes it has; all offsets count from `initial`.
struct World {
    memory: Memory,
    stream: InStream,
    initial: u32,
    text: Vec<u8>,
    lens: Vec<usize>,
    arrived: Vec<bool>,
    read: usize,
    /// The message that is being read.
    held: Option<usize>,
}

const BLOCK_LEN: usize = 13;

impl World {
    fn new(initial: u32, window: u32, spare_blocks: u32, records: usize, lens: &[usize]) -> Self {
        let promised = blocks_for(window, BLOCK_LEN);
        let mut memory = Memory::new((promised + spare_blocks) as usize, BLOCK_LEN, records);
        assert!(memory.with(|pool, blocks, _| pool.promise(blocks, promised)));
        let text = stream_of(lens);
        Self {
            memory,
            stream: InStream::new(initial, window),
            initial,
            arrived: vec![false; text.len()],
            text,
            lens: lens.to_vec(),
            read: 0,
            held: None,
        }
    }

    fn offset(&self, at: usize) -> u32 {
        self.initial.wrapping_add(at as u32)
    }

    fn limit(&self) -> usize {
        self.stream.credit().limit().wrapping_sub(self.initial) as usize
    }

    fn base(&self) -> usize {
        self.arrived.iter().take_while(|arrived| **arrived).count()
    }

    /// Bytes arrive, unless there is no record for them.
    fn arrive(&mut self, number: u64, start: usize, len: usize) {
        let end = self.text.len().min(start + len);
        if start >= end {
            return;
        }
        let (first, last) = (self.offset(start), self.offset(end));
        let (stream, data) = (&mut self.stream, &self.text[start..end]);
        let over = end > stream.credit().limit().wrapping_sub(self.initial) as usize;
        let base = stream.base();
        let taken = self.memory.with(|pool, blocks, ranges| {
            let before = (pool.ledger().in_use(), ranges.records.ledger().in_use());
            let (needed, records) = match stream.check(pool, first, last) {
                Ok(needed) => needed,
                Err(refused) => {
                    assert_eq!(refused, Refused::OverCredit);
                    assert!(over);
                    return false;
                }
            };
            assert!(!over);
            if records > ranges.records.available(ranges.quota) {
                return false;
            }
            let moved = stream.write(pool, blocks, ranges, number, first, data);
            assert_eq!(moved, Ok(stream.base() != base));
            assert_eq!(pool.ledger().in_use() - before.0, needed as u32);
            assert!(ranges.records.ledger().in_use() <= before.1 + records as u32);
            true
        });
        if taken {
            self.arrived[start..end].fill(true);
        }
    }

    /// The application finishes with a message, or looks for one.
    fn read(&mut self, limits: &GrantLimits) {
        if let Some(len) = self.held.take() {
            self.read += len;
            self.lens.remove(0);
            let stream = &mut self.stream;
            self.memory.with(|pool, blocks, _| stream.consume(pool, blocks, len));
            self.grant(limits);
            return;
        }
        let base = self.base();
        let whole = self.lens.first().map(|&len| (encode_prefix(len).1, len));
        let stream = &mut self.stream;
        assert_eq!(stream.read_offset(), self.initial.wrapping_add(self.read as u32));
        let upto = stream.base();
        let head =
            self.memory.with(|pool, _, ranges| stream.head(pool, ranges.records, upto, 1 << 20));
        match whole {
            Some((prefix, len)) if self.read + prefix + len <= base => {
                assert_eq!(head, Head::Message { prefix, len });
                let mut bytes = vec![0; len];
                let read = self
                    .memory
                    .with(|pool, _, _| self.stream.place(pool, prefix).read(pool, &mut bytes));
                assert_eq!(read, len);
                assert_eq!(bytes, self.text[self.read + prefix..][..len]);
                self.held = Some(prefix + len);
            }
            _ => {
                assert_eq!(head, Head::Partial);
                self.grant(limits);
            }
        }
    }

    fn grant(&mut self, limits: &GrantLimits) {
        let stream = &mut self.stream;
        self.memory.with(|pool, blocks, _| stream.grant(pool, blocks, limits));
    }

    fn check(&mut self) {
        let base = self.base();
        let arrived = self.arrived.iter().filter(|arrived| **arrived).count();
        let stream = &self.stream;
        let told = self.memory.with(|_, _, ranges| stream.arrived(ranges.records));
        assert_eq!(told, self.offset(arrived));
        assert_eq!(self.stream.base(), self.offset(base));
        assert_eq!(self.stream.readable() as usize, base - self.read);
        let promised = self.stream.credit().blocks_promised(BLOCK_LEN);
        assert_eq!(self.memory.blocks.guaranteed(), promised);
        assert!(self.memory.blocks.held() <= promised, "more is held than was promised");
        if let Some(&len) = self.lens.first()
            && self.read + encode_prefix(len).1 + len <= base
        {
            assert!(self.stream.may_be_complete(), "a message is overlooked");
        }
        if self.arrived[self.read..].iter().all(|arrived| !arrived) && self.held.is_none() {
            assert_eq!(self.memory.in_use(), (0, 0), "something is kept for nothing");
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Bytes this far ahead of the base, or behind it.
    Arrive(i32, usize),
    /// What is missing of the first message.
    Complete,
    Read,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1usize..70).prop_map(|len| Op::Arrive(0, len)),
        3 => (-60i32..150, 1usize..70).prop_map(|(ahead, len)| Op::Arrive(ahead, len)),
        1 => Just(Op::Complete),
        4 => Just(Op::Read),
    ]
}

/// Lengths of messages; some end just where a block does.
fn lens() -> impl Strategy<Value = Vec<usize>> {
    let len = prop_oneof![0usize..1_000, 0usize..30, Just(12), Just(25), Just(38)];
    prop::collection::vec(len, 1..20)
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Ranges in any order, again and again, become the messages that were sent. What was promised
    /// for the credit is enough, and the credit is enough for every message.
    #[test]
    fn a_receiver_agrees_with_a_string_of_bytes(
        initial in initial(),
        window in 1u32..200,
        spare_blocks in 0u32..30,
        window_max in 1u32..400,
        records in 1usize..8,
        lens in lens(),
        ops in prop::collection::vec(op(), 0..200),
    ) {
        // Messages that fit into the memory at all.
        let most = (blocks_for(window, BLOCK_LEN) + spare_blocks - 1) as usize * BLOCK_LEN;
        let lens: Vec<_> = lens.iter().map(|len| len % (most - 2).max(1)).collect();
        let keep = blocks_for(most as u32, BLOCK_LEN);
        let limits = GrantLimits { window_max, keep, long: true };
        let mut world = World::new(initial, window, spare_blocks, records, &lens);
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Arrive(ahead, len) => {
                    let start = world.base().saturating_add_signed(ahead as isize);
                    world.arrive(number as u64, start, len);
                }
                Op::Complete => {
                    let Some(&len) = world.lens.first() else { continue };
                    let (base, end) = (world.base(), world.read + encode_prefix(len).1 + len);
                    world.arrive(number as u64, base, end.saturating_sub(base));
                }
                Op::Read => world.read(&limits),
            }
            world.check();
        }
        let mut number = 1_000;
        while !world.lens.is_empty() {
            number += 1;
            prop_assert!(number < 10_000, "{} messages get nowhere", world.lens.len());
            let (base, limit) = (world.base(), world.limit());
            world.arrive(number, base, 50.min(limit - base));
            world.read(&limits);
            world.check();
        }
        prop_assert_eq!(world.memory.in_use(), (0, 0));
    }
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever offset a peer names, only what is within the credit is written, and it takes what
    /// the check said.
    #[test]
    fn no_offset_gets_past_the_credit(
        initial in initial(),
        ahead in prop_oneof![-2_000i32..2_000, any::<i32>(), Just(i32::MAX), Just(i32::MIN)],
        len in 1usize..2_000,
    ) {
        let World { mut memory, mut stream, .. } = World::new(initial, 400, 0, 10, &[]);
        memory.with(|pool, blocks, ranges| {
            stream.write(pool, blocks, ranges, 0, initial, &[1; 100]).unwrap();
            let start = initial.wrapping_add(ahead as u32);
            let checked = stream.check(pool, start, start.wrapping_add(len as u32));
            // Half of the space lies behind the limit, which is at 400.
            let inside = i64::from(ahead.wrapping_sub(400)) + len as i64 <= 0;
            prop_assert_eq!(checked.is_ok(), inside);
            let Ok((needed, records)) = checked else { return Ok(()) };
            let before = pool.ledger().in_use();
            let written = stream.write(pool, blocks, ranges, 1, start, &vec![1; len]);
            prop_assert!(written.is_ok());
            prop_assert_eq!(pool.ledger().in_use() - before, needed as u32);
            prop_assert_eq!(ranges.records.ledger().in_use(), records as u32);
            Ok(())
        })?;
    }
}

/// A stream with blocks for 400 bytes of credit, whose first byte has the offset 0.
fn receiver() -> (Memory, InStream) {
    let world = World::new(0, 400, 0, 10, &[]);
    (world.memory, world.stream)
}

fn write(
    (memory, stream): &mut (Memory, InStream),
    number: u64,
    start: u32,
    len: usize,
) -> Result<bool, Refused> {
    memory.with(|pool, blocks, ranges| {
        stream.write(pool, blocks, ranges, number, start, &vec![1; len])
    })
}

#[test]
fn a_short_offset_older_than_what_moved_the_base_is_stale() {
    // Packet 10 brings 0..10, packet 11 brings 10..20 with a short offset; 12 is lost, and 13
    // brings 10..220. They arrive in the order 13, 10, 11.
    let mut receiver = receiver();
    assert_eq!(write(&mut receiver, 13, 10, 210), Ok(false));
    assert_eq!(receiver.1.expand(10, 0), Some(0), "nothing has passed the base yet");
    assert_eq!(write(&mut receiver, 10, 0, 10), Ok(true));
    assert_eq!(receiver.1.base(), 220);
    assert_eq!(receiver.1.expand(11, 10), None, "it would seem to be 266");
    assert_eq!(receiver.1.expand(14, 230), Some(230));
}

#[test]
fn all_frames_of_a_packet_are_read_with_the_base_from_before_it() {
    let mut receiver = receiver();
    assert_eq!(receiver.1.expand(5, 120), Some(120));
    assert_eq!(write(&mut receiver, 5, 0, 300), Ok(true));
    assert_eq!(receiver.1.expand(5, 120), Some(120), "with the base of 300 it would be 376");
    assert_eq!(write(&mut receiver, 4, 300, 1), Ok(true));
    assert_eq!(receiver.1.expand(6, 120), Some(376));
}

#[test]
fn what_is_no_message_is_bad() {
    for (bytes, len_max, expected) in [
        (&[3, 1, 2, 3][..], 3, Head::Message { prefix: 1, len: 3 }),
        (&[3, 1, 2, 3], 2, Head::Bad),
        (&[0x80, 3, 1, 2, 3], 3, Head::Bad),
        (&[0xF0], 3, Head::Bad),
        (&[0x80], 3, Head::Partial),
        (&[3], 3, Head::Partial),
        (&[], 3, Head::Partial),
        (&[0], 0, Head::Message { prefix: 1, len: 0 }),
    ] {
        let (mut memory, mut stream) = receiver();
        let head = memory.with(|pool, blocks, ranges| {
            stream.write(pool, blocks, ranges, 0, 0, bytes).unwrap();
            stream.head(pool, ranges.records, stream.base(), len_max)
        });
        assert_eq!(head, expected, "{bytes:?}");
    }
}

#[test]
fn a_stream_in_many_pieces_takes_only_what_comes_next() {
    let mut memory = Memory::new(100, 64, 2_000);
    let mut stream = InStream::new(0, 4_000);
    memory.with(|pool, blocks, ranges| {
        let promised = pool.promise(blocks, blocks_for(4_000, pool.block_len()));
        assert!(promised);
        let mut taken = 0;
        for start in (1..3_999).step_by(2) {
            match stream.check(pool, start, start + 1) {
                Ok(_) => {
                    assert_eq!(stream.write(pool, blocks, ranges, 1, start, b"x"), Ok(false));
                    taken += 1;
                }
                Err(refused) => assert_eq!(refused, Refused::Crowded),
            }
        }
        assert_eq!((taken, stream.pieces()), (PIECES_MAX, PIECES_MAX));
        // The first gap of all, and with it the first of the pieces.
        assert_eq!(stream.check(pool, 0, 1), Ok((0, 0)));
        assert_eq!(stream.write(pool, blocks, ranges, 2, 0, b"x"), Ok(true));
        assert_eq!((stream.base(), stream.pieces()), (2, PIECES_MAX - 1));
        // One that fills the gaps between all the others.
        let len = 2 * PIECES_MAX as usize;
        assert_eq!(stream.check(pool, 3, len as u32), Ok((0, 1)));
        let data = vec![7; len - 3];
        assert_eq!(stream.write(pool, blocks, ranges, 3, 3, &data), Ok(false));
        assert_eq!((stream.pieces(), ranges.records.ledger().in_use()), (1, 1));
        // The same for what was given up.
        let given_up = stream.void(pool, blocks, ranges, 4, 600, 700);
        assert_eq!((given_up, stream.pieces()), (Ok(false), 3));
        stream.clear(pool, blocks, ranges);
        assert_eq!((stream.pieces(), ranges.records.ledger().in_use()), (0, 0));
    });
}
