//! Frames: each is written as it came, and none is made of bytes that are another's.

use std::collections::BTreeSet;

use bowline_wire::native::{Frame, frames, messages};
use bowline_wire::{Malformed, Writer, varint};

/// All between ack block and trailer of a packet.
pub fn check(data: &[u8]) {
    check_frames(data);
    // The same one by one, which knows nothing of what may come only once.
    let mut bytes = data;
    while let Ok((_, rest)) = Frame::parse(bytes) {
        assert!(rest.len() < bytes.len(), "a frame of no bytes");
        bytes = rest;
    }
}

/// Returns whether all frames are well formed.
pub fn check_frames(data: &[u8]) -> bool {
    let mut all = frames(data);
    let mut ordered = BTreeSet::new();
    loop {
        let before = all.rest();
        let Some(parsed) = all.next() else {
            assert!(before.is_empty(), "bytes are left over");
            return true;
        };
        match parsed {
            Ok(frame) => {
                let came = &before[..before.len() - all.rest().len()];
                check_frame(&frame, came, all.rest().is_empty());
                if let Frame::Unreliable { channel, ordered: true, .. } = frame {
                    assert!(ordered.insert(channel), "a second frame of {channel} is taken");
                }
            }
            Err(fault) => {
                assert_eq!(all.next(), None, "goes on after a fault");
                if fault == Malformed::Repeated {
                    let Ok((Frame::Unreliable { channel, ordered: true, .. }, _)) =
                        Frame::parse(before)
                    else {
                        panic!("{before:02x?} repeats nothing")
                    };
                    assert!(ordered.contains(&channel));
                }
                return false;
            }
        }
    }
}

fn check_frame(frame: &Frame<'_>, came: &[u8], is_last: bool) {
    let mut buf = vec![0xEE; came.len() + 8];
    let mut as_it_came = false;
    for last in [false, true] {
        let mut w = Writer::new(&mut buf);
        frame.emit(last, &mut w).expect("room for a length that was left out");
        as_it_came |= w.written() == came && (!last || is_last || w.len() == came.len());
        let room = w.len() - 1;
        let mut short = Writer::new(&mut buf[..room]);
        assert!(frame.emit(last, &mut short).is_err() && short.is_empty());
    }
    assert!(as_it_came, "{frame:?} did not come as {came:02x?}");
    match *frame {
        Frame::Unreliable { messages: bytes, .. }
        | Frame::Loose { back: None, data: bytes, .. } => {
            let whole: usize = messages(bytes)
                .map(|message| varint::len(message.len() as u32) + message.len())
                .sum();
            assert_eq!(whole, bytes.len(), "messages that are not whole");
            assert!(!bytes.is_empty());
        }
        Frame::Fragment { offset, total, data, .. } => {
            assert!(!data.is_empty() && offset as usize + data.len() <= total as usize);
        }
        Frame::Reliable { data, .. } | Frame::Loose { data, .. } => assert!(!data.is_empty()),
        _ => {}
    }
}
