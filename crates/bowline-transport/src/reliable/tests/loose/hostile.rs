//! A sender that keeps to nothing.

use alloc::collections::BTreeSet;

use super::model::{Byte, Model};
use super::*;

impl Receiver {
    /// Holds what is known of every byte against the model. What is being read may count as done.
    fn check_bytes(&mut self, model: &Model) {
        let arrived = model.bytes.iter().filter(|(byte, _)| *byte != Byte::Missing).count() as u32;
        let stream = &self.stream;
        let told = self.memory.with(|_, _, ranges| stream.arrived(ranges.records));
        assert_eq!(told, self.initial.wrapping_add(arrived));
        let (first, [read, partial, base]) = self.stream.parts();
        let mut bytes = vec![Byte::Missing; model.bytes.len()];
        let mut fill = |start: u32, end: u32, with: Byte| {
            let start = start.wrapping_sub(self.initial) as usize;
            bytes[start..end.wrapping_sub(self.initial) as usize].fill(with);
        };
        fill(self.initial, read, Byte::Done);
        fill(read, partial, Byte::Told);
        fill(partial, base, Byte::Partial);
        let (mut at, mut upto, mut count) = (first, read, 0);
        while let Some(link) = at.some() {
            let Record { start, end, number, next, .. } = self.memory.items[link.index()];
            let from = |offset: u32| offset.wrapping_sub(read) as i32;
            assert!(from(upto) <= from(start) && from(start) < from(end));
            assert!(from(start) <= from(number) && from(number) <= from(end));
            assert!(from(end) <= from(partial) || from(start) > from(base));
            if loose::is_partial(&self.memory.items[link.index()]) {
                fill(start, end, Byte::Partial);
            } else {
                fill(start, number, Byte::Done);
                fill(number, end, Byte::Told);
            }
            (at, upto, count) = (next, end, count + 1);
        }
        assert!(count <= loose::SPANS_MAX);
        if let Some((offset, len, _)) = self.held {
            let held = offset as usize..offset as usize + len;
            bytes[held.clone()].fill(Byte::Told);
            assert!(model.bytes[held].iter().all(|&(byte, _)| byte == Byte::Told));
        }
        let differs = (0..).zip(bytes.iter().zip(&model.bytes)).find(|(_, (a, b))| **a != b.0);
        assert_eq!(differs, None, "at this offset, {:?}", self.stream);
    }
}

/// Frames that nobody honest sends: little that fits together, but much that begins like a message.
fn hostile() -> impl Strategy<Value = Frame> {
    let data = prop_oneof![
        2 => prop::collection::vec(0u8..12, 1..60),
        1 => prop::collection::vec(prop_oneof![0u8..40, 0x80u8..=0x81, any::<u8>()], 1..60),
        4 => prop::collection::vec(0usize..20, 1..6).prop_map(|lens| stream_of(&lens)),
    ];
    let back = prop::option::of(prop_oneof![2 => Just(0), 3 => 0u32..40, 1 => 0u32..300]);
    let start = prop_oneof![4 => Just(30u32), 20 => 0u32..150, 1 => 0u32..500, 1 => any::<u32>()];
    let unlike_poison = |byte: u8| if byte == POISON { byte + 1 } else { byte };
    let data = data.prop_map(move |data| data.into_iter().map(unlike_poison).collect());
    prop_oneof![
        4 => (start.clone(), back, data)
            .prop_map(|(start, back, data)| Frame { start, back, data, void: 0 }),
        1 => (start, prop_oneof![8 => 1u32..80, 1 => 1u32..1 << 28])
            .prop_map(|(start, void)| Frame { start, back: None, data: Vec::new(), void }),
    ]
}

#[derive(Clone, Debug)]
enum Attack {
    /// Frames at so many bytes from 30 before what is missing.
    Packet(Vec<Frame>),
    Read(usize),
    Finish,
    Grant,
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        8 => prop::collection::vec(hostile(), 1..4).prop_map(Attack::Packet),
        3 => (1usize..4).prop_map(Attack::Read),
        1 => Just(Attack::Finish),
        1 => Just(Attack::Grant),
    ]
}

proptest! {
    #![proptest_config(crate::thorough())]

    /// Whatever a peer sends, the stream knows of every byte what a model knows that looks at one byte
    /// after the other, and hands over the same messages: of bytes that arrived, and no byte twice. It
    /// takes no more memory than was promised and counted.
    #[test]
    fn no_byte_is_handed_over_that_did_not_arrive(
        initial in initial(),
        latest in any::<bool>(),
        window in 16u32..300,
        records in 0usize..40,
        attacks in prop::collection::vec(attack(), 1..60),
    ) {
        let mut receiver = Receiver::new(initial, window, 10, records, latest);
        receiver.len_max = 200;
        let limits = GrantLimits { window_max: 300, keep: 0, long: true };
        let mut model = Model::new(latest, 200);
        for attack in attacks {
            match attack {
                Attack::Packet(mut packet) => {
                    for frame in &mut packet {
                        frame.start = receiver.base().wrapping_add(frame.start).wrapping_sub(30);
                    }
                    let _ = receiver.packet(&packet, |frame, taken| {
                        assert_eq!(taken.map(|taken| taken.ready), model.apply(frame), "{frame:?}");
                    });
                }
                Attack::Read(most) => {
                    if let Some((offset, len)) = receiver.finish() {
                        model.finish(offset, len);
                    }
                    let before = receiver.got.len();
                    let read = receiver.read(most);
                    let next = model.next();
                    prop_assert_eq!(read, next.clone().map(|next| next.is_some()));
                    if read.is_err() {
                        break;
                    }
                    prop_assert_eq!(receiver.got.get(before).cloned(), next.unwrap());
                }
                Attack::Finish => {
                    if let Some((offset, len)) = receiver.finish() {
                        model.finish(offset, len);
                    }
                }
                Attack::Grant => { receiver.grant(&limits); }
            }
            receiver.check_memory();
            receiver.check_bytes(&model);
        }
        let mut seen = BTreeSet::new();
        for (offset, bytes) in &receiver.got {
            for (at, &byte) in (*offset..).zip(bytes) {
                prop_assert_eq!(model.bytes[at as usize].1, byte);
                prop_assert!(seen.insert(at), "the byte at {at} twice");
            }
        }
        let stream = &mut receiver.stream;
        receiver.memory.with(|pool, blocks, ranges| stream.clear(pool, blocks, ranges));
        prop_assert_eq!(receiver.memory.in_use(), (0, 0));
    }
}
