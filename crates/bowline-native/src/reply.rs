//! Answers to strangers, for whom nothing else is remembered.

use bowline_core::Address;

/// A handshake datagram that waits to be sent outside any session.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub(crate) to: Address,
    pub(crate) kind: ReplyKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ReplyKind {
    Challenge {
        client_half: u64,
    },
    Refuse {
        client_half: u64,
        code: bowline_wire::native::RefuseCode,
        detail: u32,
    },
    Query {
        nonce: u64,
    },
    /// `room` is the length of the query: the answer is never longer.
    Answer {
        nonce: u64,
        room: u16,
    },
}

impl Reply {
    /// An unused place.
    pub const VACANT: Self = Self { to: Address::NONE, kind: ReplyKind::Query { nonce: 0 } };
}

/// A queue of replies in a lent slice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyQueue {
    first: usize,
    len: usize,
}

impl ReplyQueue {
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a reply; whether there was room.
    pub(crate) fn push(&mut self, places: &mut [Reply], reply: Reply) -> bool {
        if self.len >= places.len() {
            return false;
        }
        let at = self.first + self.len;
        let at = if at >= places.len() { at - places.len() } else { at };
        if let Some(place) = places.get_mut(at) {
            *place = reply;
        }
        self.len += 1;
        true
    }

    /// The oldest reply.
    pub(crate) fn front(&self, places: &[Reply]) -> Option<Reply> {
        if self.len == 0 { None } else { places.get(self.first).copied() }
    }

    /// Forgets the oldest reply.
    pub(crate) fn pop(&mut self, places: &[Reply]) {
        self.len = self.len.saturating_sub(1);
        self.first = if self.first + 1 >= places.len() { 0 } else { self.first + 1 };
    }

    /// Puts the replies where a slice that grew from `len_before` places expects them.
    pub(crate) fn on_grown(&mut self, places: &mut [Reply], len_before: usize) {
        if len_before < places.len() && self.first + self.len > len_before {
            // The queue was wrapped: move its oldest part, in order, to the new end.
            let moved = len_before - self.first;
            let to = places.len() - moved;
            for i in (0..moved).rev() {
                if let Some(reply) = places.get(self.first + i).copied()
                    && let Some(place) = places.get_mut(to + i)
                {
                    *place = reply;
                }
            }
            self.first = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn query(nonce: u64) -> Reply {
        Reply { kind: ReplyKind::Query { nonce }, ..Reply::VACANT }
    }

    fn nonce(reply: Reply) -> u64 {
        match reply.kind {
            ReplyKind::Query { nonce } => nonce,
            _ => unreachable!(),
        }
    }

    #[test]
    fn replies_keep_their_order_when_the_slice_grows() {
        let mut places = vec![Reply::VACANT; 4];
        let mut queue = ReplyQueue::default();
        for i in 0..4 {
            assert!(queue.push(&mut places, query(i)));
        }
        assert!(!queue.push(&mut places, query(9)));
        queue.pop(&places);
        queue.pop(&places);
        assert!(queue.push(&mut places, query(4)));
        places.resize(8, Reply::VACANT);
        queue.on_grown(&mut places, 4);
        for i in 5..10 {
            assert!(queue.push(&mut places, query(i)));
        }
        for i in 2..10 {
            assert_eq!(nonce(queue.front(&places).unwrap()), i);
            queue.pop(&places);
        }
        assert!(queue.is_empty() && queue.front(&places).is_none());
    }
}
