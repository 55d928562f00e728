//! Queues of unreliable messages: packets of any room, put together again by hand.

use std::collections::VecDeque;

use bowline_transport::run::{encode_prefix, prefix};
use bowline_transport::unreliable::{Next, OutQueue};

use super::memory::{Memory, byte};
use crate::feed::Feed;

const ROOM_MAX: usize = 100;

/// Messages are queued, and packets with any room left take what comes next.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut memory = Memory::new(60, 5 + feed.below(60), 1);
    let first_id = feed.u16();
    let mut queue = OutQueue::new(first_id);
    let mut model: VecDeque<Vec<u8>> = VecDeque::new();
    // What has come of the message that travels in fragments.
    let mut partial: Option<Vec<u8>> = None;
    let (mut count, mut fragmented) = (0, 0u16);
    while !feed.is_empty() {
        if feed.u8() % 3 == 0 {
            let len = if feed.flag() { feed.below(40) } else { feed.below(400) };
            let message: Vec<u8> = (count..count + len).map(byte).collect();
            count += len + 1;
            if push(&mut memory, &mut queue, &message) {
                model.push_back(message);
            }
            continue;
        }
        let room = feed.below(ROOM_MAX + 1);
        let len = queue.queued();
        let next = memory.with(|pool, quota, _| queue.next(pool, quota, len, room, ROOM_MAX));
        match next {
            Next::Nothing => assert!(model.is_empty()),
            Next::Later => {
                let front = model.front().expect("something waits");
                let whole = front.len() + encode_prefix(front.len()).1;
                assert!(whole > room && whole <= ROOM_MAX, "{whole} bytes, {room} left");
            }
            Next::Whole(len) => {
                let mut packet = vec![0; len];
                memory.with(|pool, quota, _| queue.take_whole(pool, quota, &mut packet));
                take_whole(&packet, room, &mut model);
            }
            Next::Fragment => {
                let message = model.front().expect("something waits");
                let whole = message.len() + encode_prefix(message.len()).1;
                assert!(whole > ROOM_MAX, "{whole} bytes would have fitted");
                let got = partial.get_or_insert_default();
                let (id, offset, total) = queue.fragment().expect("a fragment");
                assert_eq!(id, first_id.wrapping_add(fragmented));
                assert_eq!((offset as usize, total as usize), (got.len(), message.len()));
                let mut part = vec![0; room.min(message.len() - got.len())];
                if part.is_empty() {
                    continue;
                }
                memory.with(|pool, quota, _| queue.take_fragment(pool, quota, &mut part));
                got.extend(part);
                if got.len() == message.len() {
                    assert_eq!(partial.take(), model.pop_front());
                    fragmented = fragmented.wrapping_add(1);
                }
            }
        }
        assert_eq!(queue.is_pending(), !model.is_empty());
    }
    memory.with(|pool, quota, _| queue.clear(pool, quota));
    assert_eq!(memory.in_use(), (0, 0));
}

fn push(memory: &mut Memory, queue: &mut OutQueue, message: &[u8]) -> bool {
    let (prefix, prefix_len) = encode_prefix(message.len());
    memory.with(|pool, quota, _| {
        // As senders do: the short way first.
        if queue.append_short(pool, message) || queue.append_short_anew(pool, quota, message) {
            return true;
        }
        let whole = prefix_len + message.len();
        let fits = queue.blocks_needed(pool, whole) <= pool.available(quota);
        if fits {
            queue.append(pool, quota, &prefix[..prefix_len]);
            queue.append(pool, quota, message);
        }
        fits
    })
}

/// Whole messages, as many as fit and no more.
fn take_whole(mut packet: &[u8], room: usize, model: &mut VecDeque<Vec<u8>>) {
    let len = packet.len();
    assert!(0 < len && len <= room);
    while !packet.is_empty() {
        let (message, at) = prefix(packet).expect("a length").expect("all of it");
        assert_eq!(model.pop_front().as_deref(), packet.get(at..at + message));
        packet = &packet[at + message..];
    }
    if let Some(next) = model.front() {
        assert!(len + next.len() + encode_prefix(next.len()).1 > room, "one more would fit");
    }
}
