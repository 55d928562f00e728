//! The inbox against a queue of messages, and the filter of the unreliable-ordered mode against the newest rank.

use std::collections::VecDeque;

use bowline_transport::run::encode_prefix;
use bowline_transport::unreliable::{Inbox, OrderFilter};

use super::memory::{Memory, byte};
use crate::feed::Feed;

/// Messages arrive and are read.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut memory = Memory::new(30, 5 + feed.below(60), 1);
    let mut inbox = Inbox::EMPTY;
    let mut model: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut filter, mut newest) = (OrderFilter::NEW, None);
    let mut count = 0;
    while !feed.is_empty() {
        match feed.u8() % 4 {
            0 | 1 => {
                let lens: Vec<usize> = (0..=feed.below(3)).map(|_| feed.below(300)).collect();
                let mut bytes = Vec::new();
                let mut messages = Vec::new();
                for len in lens {
                    let message: Vec<u8> = (count..count + len).map(byte).collect();
                    count += len + 1;
                    let (prefix, prefix_len) = encode_prefix(len);
                    bytes.extend_from_slice(&prefix[..prefix_len]);
                    bytes.extend_from_slice(&message);
                    messages.push(message);
                }
                let fits = memory.with(|pool, quota, _| {
                    let fits = inbox.blocks_needed(pool, bytes.len()) <= pool.available(quota);
                    if fits {
                        inbox.append(pool, quota, &bytes);
                    }
                    fits
                });
                model.extend(messages.into_iter().filter(|_| fits));
            }
            2 => {
                let read = memory.with(|pool, quota, _| {
                    let (prefix, len, mut at) = inbox.front(pool)?;
                    let mut message = vec![0; len];
                    assert_eq!(at.read(pool, &mut message), len);
                    inbox.consume(pool, quota, prefix + len);
                    Some(message)
                });
                assert_eq!(read, model.pop_front());
            }
            _ => {
                let rank = feed.sized();
                let newer = newest.is_none_or(|newest| rank > newest);
                // The last rank of all cannot be told from the one after it.
                if rank < u64::MAX && newest != Some(u64::MAX - 1) {
                    assert_eq!(filter.is_newer(rank), newer);
                    assert_eq!(filter.deliver(rank), newer);
                    newest = newest.max(Some(rank));
                }
            }
        }
        let len = |message: &Vec<u8>| message.len() + encode_prefix(message.len()).1;
        assert_eq!(inbox.len() as usize, model.iter().map(len).sum::<usize>());
        assert_eq!(inbox.is_empty(), model.is_empty());
    }
    memory.with(|pool, quota, _| inbox.clear(pool, quota));
    assert_eq!(memory.in_use(), (0, 0));
}
