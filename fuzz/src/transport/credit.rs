//! Credit: what is allowed is promised, and never taken back.

use bowline_core::serial::ahead32;
use bowline_core::{Pool, PoolControl, Quota};
use bowline_transport::credit::{GrantLimits, ReceiveCredit, SendCredit, blocks_for};

use crate::feed::Feed;

const BLOCK_LEN: usize = 16;

/// Two streams that share a pool: bytes arrive and are read, messages begin, limits are raised and overtake each other.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let blocks = 40 + feed.below(200);
    let mut bytes = vec![0; blocks * (BLOCK_LEN + 4)];
    let mut control = PoolControl::new(BLOCK_LEN as u32 + 4, blocks as u32);
    let mut pool = Pool::new(&mut bytes, &mut control);
    let limits = GrantLimits {
        window_max: 64 + u32::from(feed.u16() & 0x3FF),
        keep: u32::from(feed.u8() & 31),
        long: feed.flag(),
    };
    let mut streams = [0, 1].map(|_| {
        let initial = match feed.u8() % 3 {
            0 => u32::MAX - u32::from(feed.u8()),
            _ => feed.u32(),
        };
        Stream::new(initial, 16 + u32::from(feed.u8() & 63), &mut pool)
    });
    while !feed.is_empty() {
        let how = feed.u8();
        let promised: u32 = streams.iter().map(|stream| stream.promised()).sum();
        let stream = &mut streams[usize::from(how & 1)];
        match how >> 1 & 3 {
            // Bytes arrive, as many as are allowed.
            0 => {
                let more = u32::from(feed.u8()).min(stream.sender.left(stream.base));
                stream.base = stream.base.wrapping_add(more);
            }
            1 => {
                let most = stream.base.wrapping_sub(stream.read);
                let len = u32::from(feed.u8()).min(most);
                stream.read = stream.read.wrapping_add(len);
                stream.receiver.on_read(stream.read);
            }
            2 => {
                let len = 1 + u32::from(feed.u16() & 0xFFF);
                stream.receiver.on_incomplete(stream.read.wrapping_add(len));
            }
            _ => stream.grant(&mut pool, &limits, feed.flag()),
        }
        stream.check();
        let now: u32 = streams.iter().map(|stream| stream.promised()).sum();
        assert!(now as usize <= blocks, "{now} blocks are promised of {blocks}");
        let by_pool: u32 = pool.ledger().promised() + pool.ledger().in_use();
        assert_eq!(by_pool, now, "the pool's books; {promised} before");
    }
}

struct Stream {
    receiver: ReceiveCredit,
    sender: SendCredit,
    quota: Quota,
    read: u32,
    base: u32,
    limit: u32,
    untold: Vec<u32>,
}

impl Stream {
    fn new(initial: u32, window: u32, pool: &mut Pool<'_>) -> Self {
        let mut quota = Quota::NONE;
        assert!(pool.promise(&mut quota, blocks_for(window, BLOCK_LEN)));
        Self {
            receiver: ReceiveCredit::new(initial, window),
            sender: SendCredit::new(initial, window),
            quota,
            read: initial,
            base: initial,
            limit: initial.wrapping_add(window),
            untold: Vec::new(),
        }
    }

    fn promised(&self) -> u32 {
        self.receiver.blocks_promised(BLOCK_LEN)
    }

    fn grant(&mut self, pool: &mut Pool<'_>, limits: &GrantLimits, told: bool) {
        let before = self.receiver.limit();
        let grant = self.receiver.grant(pool, &mut self.quota, limits, self.read, self.base);
        assert_eq!(grant.raised, self.receiver.limit() != before);
        assert!(ahead32(self.receiver.limit(), before) >= 0, "the limit fell");
        // A window that is read up gives at least half of itself.
        let left = ahead32(self.receiver.limit(), self.read);
        assert!(left >= (self.receiver.window() / 2) as i32, "{left} bytes of credit are left");
        self.untold.push(self.receiver.limit());
        if told {
            // The last word first: those before come to nothing.
            let words: Vec<u32> = self.untold.drain(..).collect();
            for limit in words.into_iter().rev() {
                let more = ahead32(limit, self.limit) > 0;
                assert_eq!(self.sender.on_limit(limit), more);
                if more {
                    self.limit = limit;
                }
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.sender.left(self.limit), 0);
        assert_eq!(self.sender.left(self.base), self.limit.wrapping_sub(self.base));
        assert!(ahead32(self.receiver.limit(), self.limit) >= 0, "the sender may send too much");
        assert!(self.receiver.allows(self.limit) && self.receiver.allows(self.base));
        // Whatever is allowed and not read has its blocks, wherever in a block it begins.
        let allowed = self.receiver.limit().wrapping_sub(self.read);
        let needed = blocks_for(allowed, BLOCK_LEN);
        assert!(self.promised() >= needed, "{} blocks for {allowed} bytes", self.promised());
    }
}
