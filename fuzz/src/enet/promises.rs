//! What ENet promises, as a list of what was sent.

use std::collections::{BTreeMap, BTreeSet};

use bowline_core::{ChannelId, PeerId};
use bowline_enet::Flags;

/// A host, and what it calls its peer.
type End = (usize, PeerId);

/// A packet that a host has taken. Its place in the list is its number.
#[derive(Debug)]
struct Sent {
    by: usize,
    /// None if it was for everybody.
    to: Option<PeerId>,
    channel: ChannelId,
    flags: Flags,
    len: usize,
}

#[derive(Debug)]
struct Session {
    asked: End,
    of: usize,
    accepted: Option<End>,
    /// Two sessions were begun by one request: which of them is meant, nobody can say.
    is_double: bool,
}

/// All packets and sessions of a world in which nobody lies.
#[derive(Debug, Default)]
pub(super) struct Promises {
    sent: Vec<Sent>,
    sessions: Vec<Session>,
    delivered: BTreeSet<(End, u32)>,
    /// The last packet in order that was read.
    last: BTreeMap<(End, u8), u32>,
}

/// A packet says which it is, and the rest follows from that.
pub(super) fn content(number: u32, len: usize) -> Vec<u8> {
    let rest = (4..len).map(|at| (at as u32 ^ number).wrapping_mul(37) as u8);
    number.to_le_bytes().into_iter().chain(rest).take(len).collect()
}

impl Promises {
    pub(super) fn next_number(&self) -> u32 {
        self.sent.len() as u32
    }

    pub(super) fn on_connect(&mut self, asked: End, of: usize) {
        self.sessions.push(Session { asked, of, accepted: None, is_double: false });
    }

    pub(super) fn on_accepted(&mut self, end: End, session: usize) {
        let session = self.sessions.get_mut(session).expect("a session that was asked for");
        assert_eq!(session.of, end.0, "of somebody else");
        session.is_double |= session.accepted.is_some();
        session.accepted = Some(end);
    }

    pub(super) fn on_sent(
        &mut self,
        (by, to): (usize, Option<PeerId>),
        channel: ChannelId,
        flags: Flags,
        len: usize,
    ) {
        self.sent.push(Sent { by, to, channel, flags, len });
    }

    /// The other end of a session, if there is one that can be told.
    fn other(&self, end: End) -> Option<End> {
        self.sessions.iter().filter(|session| !session.is_double).find_map(|session| {
            let accepted = session.accepted?;
            match end {
                _ if end == session.asked => Some(accepted),
                _ if end == accepted => Some(session.asked),
                _ => None,
            }
        })
    }

    /// A packet of `end`'s peer was read.
    pub(super) fn on_received(&mut self, end: End, channel: ChannelId, flags: Flags, bytes: &[u8]) {
        let Some((by, to)) = self.other(end) else { return };
        let number = u32::from_le_bytes(*bytes.first_chunk().expect("no packet is so short"));
        let sent = self.sent.get(number as usize).expect("what was never sent");
        assert_eq!(sent.by, by, "of another host");
        assert!(sent.to.is_none_or(|peer| peer == to), "for another session");
        assert_eq!(sent.channel, channel, "on another channel");
        assert!(bytes == content(number, sent.len), "not what was sent");
        assert!(self.delivered.insert((end, number)), "number {number} for the second time");
        if flags.contains(Flags::RELIABLE) || !flags.contains(Flags::UNSEQUENCED) {
            let after = self.last.insert((end, channel.0), number);
            assert!(after.is_none_or(|after| after < number), "{number} after {after:?}");
            let from = after.map_or(0, |after| after + 1);
            let skipped =
                (from..number).find(|number| self.is_promised((by, to), *number, channel));
            assert_eq!(skipped, None, "was to come before {number}");
        }
    }

    fn is_promised(&self, (by, to): End, number: u32, channel: ChannelId) -> bool {
        let sent = &self.sent[number as usize];
        (sent.by, sent.to, sent.channel) == (by, Some(to), channel)
            && sent.flags.contains(Flags::RELIABLE)
    }

    /// A reliable packet that did not arrive, though both ends of its session are up.
    pub(super) fn missing(&self, is_up: impl Fn(End) -> bool) -> Option<usize> {
        (0..self.sent.len()).find(|number| {
            let Sent { by, to: Some(to), flags, .. } = self.sent[*number] else { return false };
            let other = self.other((by, to)).filter(|other| is_up(*other) && is_up((by, to)));
            flags.contains(Flags::RELIABLE)
                && other.is_some_and(|other| !self.delivered.contains(&(other, *number as u32)))
        })
    }
}
