//! Runs of bytes in blocks against a queue of bytes.

use std::collections::VecDeque;

use bowline_transport::run::{Cursor, Run, encode_prefix, prefix};

use super::memory::{Memory, byte};
use crate::feed::Feed;

const BLOCKS: usize = 24;

/// Bytes go in behind and come out in front, whole messages among them.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    check_prefix(data);
    let mut memory = Memory::new(BLOCKS, 5 + feed.below(60), 1);
    let mut run = Run::EMPTY;
    let mut model: VecDeque<u8> = VecDeque::new();
    let mut count = 0usize;
    while !feed.is_empty() {
        match feed.u8() % 8 {
            0..2 => {
                let len = feed.below(200);
                let bytes: Vec<u8> = (count..count + len).map(byte).collect();
                count += len;
                let all = memory.with(|pool, quota, _| {
                    let fits = run.blocks_needed(pool, len) <= pool.available(quota);
                    let all = fits && run.append(pool, quota, &bytes);
                    assert_eq!(all, fits, "room that was promised");
                    all
                });
                model.extend(bytes.iter().filter(|_| all));
            }
            2..4 => {
                let len = feed.below(140);
                let bytes: Vec<u8> = (count..count + len).map(byte).collect();
                count += len;
                let fits = memory.with(|pool, quota, _| {
                    run.append_short(pool, &bytes)
                        || run.begin_block(pool, quota, 1 + len) && run.append_short(pool, &bytes)
                });
                assert!(!fits || len < 0x80);
                if fits {
                    model.push_back(len as u8);
                    model.extend(&bytes);
                }
            }
            4 => {
                let len = feed.below(256).min(model.len());
                memory.with(|pool, quota, _| {
                    run.consume(pool, quota, len, &mut Cursor::NONE.clone())
                });
                model.drain(..len);
            }
            5 => {
                let skip = feed.below(256).min(model.len());
                // A run does not know where it ends; its owner does.
                let want = feed.below(256).min(model.len() - skip);
                let mut out = vec![0; want];
                let read = memory.with(|pool, _, _| {
                    let mut cursor = run.front();
                    cursor.skip(pool, skip);
                    cursor.read(pool, &mut out)
                });
                let expected: Vec<u8> = model.iter().copied().skip(skip).take(want).collect();
                assert_eq!(out[..read], expected);
            }
            6 => {
                let room = feed.below(256);
                let fit = memory.with(|pool, _, _| run.front().fit(pool, model.len(), room));
                assert_eq!(fit, messages_that_fit(model.make_contiguous(), room));
            }
            _ => {
                let found = memory.with(|pool, _, _| run.front().peek_prefix(pool, model.len()));
                assert_eq!(found, prefix(model.make_contiguous()));
            }
        }
        let used = memory.in_use().0 as usize;
        assert_eq!(used == 0, model.is_empty(), "an empty run holds no block");
    }
    memory.with(|pool, quota, _| run.clear(pool, quota));
    assert_eq!(memory.in_use(), (0, 0));
}

/// How many bytes of whole messages from the beginning on fit.
fn messages_that_fit(bytes: &[u8], room: usize) -> usize {
    let mut fit = 0;
    while let Ok(Some((len, prefix))) = prefix(&bytes[fit..]) {
        let end = fit + prefix + len;
        if end > room || end > bytes.len() {
            break;
        }
        fit = end;
    }
    fit
}

/// The prefix that the stream has is the varint of the wire.
fn check_prefix(data: &[u8]) {
    let on_wire = bowline_wire::varint::parse(data);
    match prefix(data) {
        Ok(Some((value, len))) => {
            let on_wire = on_wire.map(|(value, rest)| (value as usize, data.len() - rest.len()));
            assert_eq!(on_wire, Ok((value, len)));
            let (encoded, encoded_len) = encode_prefix(value);
            assert_eq!(encoded[..encoded_len], data[..len]);
        }
        Ok(None) => assert_eq!(on_wire, Err(bowline_wire::Malformed::Truncated)),
        Err(_) => assert_eq!(on_wire, Err(bowline_wire::Malformed::Varint)),
    }
}
