//! Handing messages to the application.
//!
//! What has arrived is read run by run: as many messages as a note tells of and a block holds. Looking
//! for the next run, and giving back what was read of the last, is done once for all of them.

use bowline_core::serial::ahead32;
use bowline_core::{ChannelId, Link, Mode, PeerId, Pool};
use bowline_transport::reliable::loose::{KEY_LEN, Next};
use bowline_transport::reliable::{Head, Ranges};
use bowline_transport::run::{Cursor, SHORT_MAX};

use crate::domain::Lane;
use crate::endpoint::{Context, find};
use crate::note::Note;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Parts};

/// A message, and where its bytes lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) channel: ChannelId,
    pub(crate) mode: Mode,
    pub(crate) key: Option<u32>,
    pub(crate) at: Cursor,
    pub(crate) len: usize,
}

/// Where the message comes from that the application is reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    Nothing,
    /// From the inbox, as the first note tells.
    Inbox,
    /// From a stream.
    Stream {
        domain: Link,
    },
    /// From a loose stream.
    Loose {
        domain: Link,
    },
    /// It was put together.
    Assembly {
        link: Link,
    },
}

/// Prefixed messages of one channel and mode that lie in one block and can be read one after the
/// other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRun {
    block: Link,
    pos: u32,
    /// Bytes from there on that belong to the run. The last message may not be whole.
    left: u32,
    /// Bytes that were read since something was given back, prefixes included.
    taken: u32,
    channel: ChannelId,
    mode: Mode,
}

impl ReadRun {
    pub(crate) const NONE: Self = Self {
        block: Link::NONE,
        pos: 0,
        left: 0,
        taken: 0,
        channel: ChannelId(0),
        mode: Mode::Unreliable,
    };

    /// What can be read behind a message, whose prefix is so long, of `available` bytes that begin with
    /// that prefix.
    fn behind(pool: &Pool<'_>, message: &Found, prefix: usize, available: usize) -> Self {
        let &Found { channel, mode, at, len, .. } = message;
        let (block, pos) = at.place();
        let here = pool.bytes(block, pos).len().saturating_sub(len);
        let left = available.saturating_sub(prefix + len).min(here) as u32;
        let (pos, taken) = ((pos + len) as u32, (prefix + len) as u32);
        Self { block, pos, left, taken, channel, mode }
    }

    /// The next message, if it is short and whole.
    #[inline(always)]
    fn next(&mut self, pool: &Pool<'_>) -> Option<Found> {
        let prefix = *pool.bytes(self.block, self.pos as usize).first()?;
        let whole = 1 + u32::from(prefix);
        if usize::from(prefix) > SHORT_MAX || whole > self.left {
            return None;
        }
        let at = Cursor::at(self.block, self.pos + 1);
        self.pos += whole;
        self.left -= whole;
        self.taken += whole;
        let len = usize::from(prefix);
        Some(Found { channel: self.channel, mode: self.mode, key: None, at, len })
    }
}

impl Parts<'_> {
    /// The next message of a session, if it is of the run that is being read and a short one.
    ///
    /// There may be others: [`Peer::next_message`].
    #[inline]
    pub(crate) fn recv_short(&mut self, from: PeerId) -> Option<Found> {
        let link = find(&self.peers, from)?;
        let peer = &mut self.peers[link];
        let found = peer.run.next(&self.memory.pool)?;
        peer.statistics.messages_received = peer.statistics.messages_received.wrapping_add(1);
        Some(found)
    }
}

impl Peer {
    /// The next message in order of arrival.
    pub(crate) fn next_message(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
    ) -> Option<Found> {
        let message = self.find_message(memory, context);
        let count = u32::from(message.is_some());
        self.statistics.messages_received = self.statistics.messages_received.wrapping_add(count);
        message
    }

    fn find_message(&mut self, memory: &mut Memory<'_>, context: &Context) -> Option<Found> {
        self.release_held(memory, context);
        while let Some(link) = self.notes.head.some() {
            let message = match Note::of(&memory.records[link]) {
                Note::Inbox { channel, ordered, left } => {
                    self.inbox_message(memory, channel, ordered, left)
                }
                Note::Stream { domain, upto } => self.stream_message(memory, context, domain, upto),
                Note::Assembly(assembly) => self.assembly_message(memory, assembly),
                Note::Loose { domain } => self.loose_message(memory, context, domain),
            };
            if message.is_some() {
                return message;
            }
            self.pop_note(memory);
        }
        self.unnoted_message(memory, context)
    }

    fn pop_note(&mut self, memory: &mut Memory<'_>) {
        let Some(link) = self.notes.pop_front(&mut memory.records) else { return };
        if let Note::Stream { domain, .. } = Note::of(&memory.records[link]) {
            memory.domains[domain].notes = memory.domains[domain].notes.saturating_sub(1);
        }
        memory.records.give(&mut self.receive_records, link);
    }

    /// The next message of a stream that no note tells of, since there was no record for one. There may
    /// still be none.
    fn unnoted_message(&mut self, memory: &mut Memory<'_>, context: &Context) -> Option<Found> {
        let mut at = if self.unnoted { self.domains } else { Link::NONE };
        while let Some(link) = at.some() {
            let domain = &memory.domains[link];
            at = bowline_core::Slot::next(domain);
            let message = match &domain.lane {
                Lane::Reliable { stream, .. } => {
                    let upto = stream.base();
                    if stream.readable() == 0 || !stream.may_be_complete() {
                        continue;
                    }
                    self.stream_message(memory, context, link, upto)
                }
                Lane::Loose { .. } => self.loose_message(memory, context, link),
                Lane::Unreliable { .. } | Lane::Ordered { .. } => continue,
            };
            if message.is_some() {
                return message;
            }
        }
        self.unnoted = false;
        None
    }

    fn inbox_message(
        &mut self,
        memory: &Memory<'_>,
        channel: u8,
        ordered: bool,
        left: u32,
    ) -> Option<Found> {
        if left == 0 {
            return None;
        }
        let (prefix, len, at) = self.inbox.front(&memory.pool)?;
        let ordered = ordered != cfg!(bowline_mutant = "mix_up_modes");
        let mode = if ordered { Mode::UnreliableOrdered } else { Mode::Unreliable };
        let found = Found { channel: ChannelId(channel), mode, key: None, at, len };
        self.held = Held::Inbox;
        self.run = ReadRun::behind(&memory.pool, &found, prefix, left as usize);
        Some(found)
    }

    fn stream_message(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        link: Link,
        upto: u32,
    ) -> Option<Found> {
        let domain = &mut memory.domains[link];
        let channel = domain.channel;
        let Lane::Reliable { stream, .. } = &mut domain.lane else { return None };
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
        if stream.pass(&mut memory.pool, &mut self.stream_blocks, ranges) {
            self.grant(memory, context, context.now, link);
        }
        let domain = &mut memory.domains[link];
        let Lane::Reliable { stream, .. } = &mut domain.lane else { return None };
        let (whole, _) = stream.readable_before(&memory.records, upto);
        let left = ahead32(whole, stream.read_offset());
        if left <= 0 {
            return None;
        }
        let left = left as usize;
        match stream.head(&memory.pool, &memory.records, upto, context.config.reliable_max) {
            Head::Message { prefix, len } => {
                let at = stream.place(&memory.pool, prefix);
                let found = Found { channel, mode: Mode::Reliable, key: None, at, len };
                let all_short_taken = context.config.reliable_max as usize >= SHORT_MAX;
                let left = if all_short_taken { left } else { prefix + len };
                self.held = Held::Stream { domain: link };
                self.run = ReadRun::behind(&memory.pool, &found, prefix, left);
                Some(found)
            }
            Head::Partial => {
                self.grant(memory, context, context.now, link);
                None
            }
            Head::Bad => {
                self.misbehaved = true;
                None
            }
        }
    }

    /// The first message that is complete of a loose stream.
    fn loose_message(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        link: Link,
    ) -> Option<Found> {
        let domain = &mut memory.domains[link];
        let (channel, mode) = (domain.channel, domain.mode());
        let Lane::Loose { stream, .. } = &mut domain.lane else { return None };
        let ranges = &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
        let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
        match stream.next(pool, blocks, ranges, context.config.reliable_max) {
            Next::Message { prefix, len, mut at, run } => {
                self.held = Held::Loose { domain: link };
                if mode == Mode::ReliableUnordered {
                    let found = Found { channel, mode, key: None, at, len };
                    self.run = ReadRun::behind(pool, &found, prefix, run);
                    return Some(found);
                }
                let mut key = [0; KEY_LEN];
                at.read(pool, &mut key);
                let (key, len) = (Some(u32::from_be_bytes(key)), len.saturating_sub(KEY_LEN));
                let found = Found { channel, mode, key, at, len };
                self.run = ReadRun::behind(pool, &found, prefix + KEY_LEN, 0);
                Some(found)
            }
            Next::Nothing => {
                self.grant(memory, context, context.now, link);
                None
            }
            Next::Bad => {
                self.misbehaved = true;
                None
            }
        }
    }

    fn assembly_message(&mut self, memory: &mut Memory<'_>, link: Link) -> Option<Found> {
        let message = &memory.assemblies[link];
        let mode = if message.ordered() { Mode::UnreliableOrdered } else { Mode::Unreliable };
        let found = Found {
            channel: ChannelId(message.channel()),
            mode,
            key: None,
            at: Cursor::at(message.first(), 0),
            len: message.total() as usize,
        };
        self.held = Held::Assembly { link };
        self.pop_note(memory);
        Some(found)
    }

    /// Gives back what the application has read, the last message included, and more credit for it.
    pub(crate) fn release_held(&mut self, memory: &mut Memory<'_>, context: &Context) {
        if let Some(link) = self.give_back_held(memory)
            && matches!(self.phase, Phase::Open)
        {
            self.grant(memory, context, context.now, link);
        }
    }

    /// Gives back what the application has read, and tells the stream that it was of.
    pub(crate) fn give_back_held(&mut self, memory: &mut Memory<'_>) -> Option<Link> {
        let taken = core::mem::replace(&mut self.run, ReadRun::NONE).taken as usize;
        let (pool, blocks) = (&mut memory.pool, &mut self.stream_blocks);
        match core::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => None,
            Held::Inbox => {
                self.inbox.consume(pool, &mut self.inbox_blocks, taken);
                if let Some(note) = self.notes.head.some() {
                    let left = &mut memory.records[note].end;
                    *left = left.saturating_sub(taken as u32);
                }
                None
            }
            Held::Assembly { link } => {
                self.release_assembly(memory, link);
                None
            }
            Held::Loose { domain: link } => {
                let Lane::Loose { stream, .. } = &mut memory.domains[link].lane else {
                    return None;
                };
                let (records, quota) = (&mut memory.records, &mut self.receive_records);
                stream.consume(pool, blocks, &mut Ranges { records, quota }, taken);
                Some(link)
            }
            Held::Stream { domain: link } => {
                let Lane::Reliable { stream, .. } = &mut memory.domains[link].lane else {
                    return None;
                };
                stream.consume(pool, blocks, taken);
                Some(link)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bowline_core::{PoolControl, Quota};
    use bowline_transport::run::encode_prefix;

    use super::*;

    /// Lays messages of these lengths into a block of 252 bytes, as far as they fit, and reads on
    /// behind the first one.
    fn read_behind_the_first(lens: &[usize], available: usize) -> Vec<usize> {
        let (mut stored, mut first_prefix) = (Vec::new(), 0);
        for &len in lens {
            let (prefix, n) = encode_prefix(len);
            first_prefix = if stored.is_empty() { n } else { first_prefix };
            stored.extend_from_slice(&prefix[..n]);
            stored.resize(stored.len() + len, 0);
        }
        let mut bytes = [0; 256];
        let mut control = PoolControl::new(256, 1);
        let mut pool = Pool::new(&mut bytes, &mut control);
        let block = pool.take(&mut Quota::default()).unwrap();
        stored.resize(252, 0);
        pool.bytes_mut(block, 0).copy_from_slice(&stored);

        let at = Cursor::at(block, first_prefix as u32);
        let (channel, mode) = (ChannelId(3), Mode::Reliable);
        let first = Found { channel, mode, key: None, at, len: lens[0] };
        let mut run = ReadRun::behind(&pool, &first, first_prefix, available);
        let (mut read, mut end) = (Vec::new(), first_prefix + lens[0]);
        while let Some(next) = run.next(&pool) {
            assert_eq!(
                (next.channel, next.mode, next.at.place()),
                (channel, mode, (block, end + 1))
            );
            end += 1 + next.len;
            assert_eq!(run.taken as usize, end);
            read.push(next.len);
        }
        assert!(run.next(&pool).is_none(), "and stays at its end");
        read
    }

    #[test]
    fn a_run_ends_where_the_note_does() {
        assert_eq!(read_behind_the_first(&[9, 0, 30], 10 + 1 + 31), [0, 30]);
        assert_eq!(
            read_behind_the_first(&[9, 0, 30], 10 + 1 + 30),
            [0],
            "the last one is not whole"
        );
        assert_eq!(read_behind_the_first(&[9, 0, 30], 10), []);
    }

    #[test]
    fn a_run_ends_where_the_block_does() {
        assert_eq!(read_behind_the_first(&[0, 99, 99, 50], 1000), [99, 99, 50]);
        assert_eq!(read_behind_the_first(&[0, 99, 99, 51], 1000), [99, 99]);
    }

    #[test]
    fn a_run_ends_before_a_long_message() {
        assert_eq!(read_behind_the_first(&[128, 5, 127, 5], 1000), [5]);
        assert_eq!(read_behind_the_first(&[3, 127, 4], 4 + 128 + 5), [127, 4]);
        assert_eq!(read_behind_the_first(&[3, 128, 4], 1000), []);
    }
}
