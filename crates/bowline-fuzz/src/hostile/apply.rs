//! What each operation does.

use bowline_core::{ChannelId, CloseReason, Mode, Outgoing, SendError, Tag};

use super::Hostile;
use crate::forge::Forgery;
use crate::ledger::Pending;
use crate::op::{Op, Order};
use crate::oracle::Terms;
use crate::{Failure, Side};

/// Messages that are not known otherwise are told apart from this length on, in bytes.
const UNIQUE_LEN: usize = 4;

impl Hostile<'_> {
    /// One thing happens, and the applications that are attentive take note.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn act(&mut self, op: &Op) -> Result<(), Failure> {
        match op {
            // Who is away does nothing.
            Op::Send(side, ..)
            | Op::Cancel(side, ..)
            | Op::Read(side, ..)
            | Op::Poll(side, ..)
            | Op::Connect(side)
            | Op::Close(side, ..)
            | Op::Finish(side, ..)
                if self.away[side.index()] => {}
            Op::Send(side, which, order) => self.send(*side, *which, order)?,
            Op::Cancel(side, which, tag) => self.cancel(*side, *which, *tag)?,
            Op::Read(side, which, most) => self.read(*side, *which, *most)?,
            Op::Poll(side, most) => self.poll(*side, u32::from(*most))?,
            Op::Attend(side, attentive) => self.attentive[side.index()] = *attentive,
            Op::Connect(side) => self.connect(*side),
            Op::Close(side, which, reason) => self.close(*side, *which, *reason),
            Op::Finish(side, which, reason) => self.finish(*side, *which, *reason),
            Op::Pass(span) => self.set_now(self.now + *span),
            Op::Run(span, delay) => self.run(*span, *delay)?,
            Op::Suspend(side, away) => self.suspend(*side, *away),
            Op::Flush(side) => self.flush(*side)?,
            other => self.meddle(other),
        }
        Side::BOTH.into_iter().try_for_each(|side| self.attend(side))
    }

    /// What happens on the way.
    fn meddle(&mut self, op: &Op) {
        match op {
            Op::Deliver(to, which) => self.deliver(*to, *which),
            Op::DeliverAll(to) => (0..self.link.count(*to)).for_each(|_| self.deliver(*to, 0)),
            Op::Drop(to, which) => drop(self.link.take(*to, usize::from(*which))),
            Op::DropAll(to) => self.link.clear(*to),
            Op::Duplicate(to, which) => self.link.duplicate(*to, usize::from(*which)),
            Op::Replay(to, ago) => self.link.replay(*to, self.now, usize::from(*ago)),
            Op::Corrupt(to, which, at, burst) if self.checked => {
                self.link.corrupt(*to, usize::from(*which), usize::from(*at), *burst);
            }
            Op::Truncate(to, which, len) if self.checked => {
                self.link.truncate(*to, usize::from(*which), usize::from(*len));
            }
            Op::Forge(_, Forgery::Packet(packet)) if self.rogue.is_some() => {
                let Some(rogue) = &mut self.rogue else { return };
                let from = rogue.address();
                if let Some(bytes) = rogue.packet(packet) {
                    self.report.forged += 1;
                    self.arrive_from(Side::Right, from, bytes);
                }
            }
            Op::Forge(to, forgery) if self.checked || self.on_path => {
                let secrets = self.on_path.then_some(&self.secrets);
                let to_client = *to == self.client;
                if secrets.is_none() && matches!(forgery, Forgery::Echo { .. }) {
                    return;
                }
                let bytes = forgery.bytes(secrets, to_client, self.link.seen(*to));
                self.tainted |= self.on_path;
                self.report.forged += 1;
                self.arrive(*to, bytes);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, to: Side, which: u8) {
        if !self.away[to.index()]
            && let Some(flight) = self.link.take(to, usize::from(which))
        {
            self.arrive(to, flight.bytes);
        }
    }

    fn suspend(&mut self, side: Side, away: bool) {
        if self.away[side.index()] != away {
            self.away[side.index()] = away;
            self.subjects[side.index()].set_suspended(self.now, away);
        }
    }

    fn send(&mut self, side: Side, which: u8, order: &Order) -> Result<(), Failure> {
        let begun = |session: &super::Session| session.out.is_some();
        if !self.sessions[side.index()].iter().all(begun) {
            // A session that has begun takes messages, whether its application has been told or not.
            self.poll(side, super::EVENTS_MAX)?;
        }
        let Some(at) = self.pick(side, which) else { return Ok(()) };
        let session = &self.sessions[side.index()][at];
        if self.is_rogue(side, session.peer) {
            return self.send_rogue(session.peer, order);
        }
        let (peer, out) = (session.peer, session.out);
        let channel = match order.channel >> 4 {
            15 => order.channel,
            _ => (u16::from(order.channel) % self.channels) as u8,
        };
        let bytes = self.game.compose(&order.seed, order.len);
        let known =
            out.is_some_and(|out| self.oracle.knows(out, ChannelId(channel), order.mode, &bytes));
        // Of equal messages that may be given up nobody could tell which one it was.
        let is_latest = order.mode == Mode::ReliableLatest;
        if known && (is_latest || self.special.contains(&bytes)) {
            return Ok(());
        }
        let plain = known || bytes.len() < UNIQUE_LEN;
        let key = is_latest.then_some(order.key);
        let time_to_live = order.time_to_live.filter(|_| !plain);
        let tag = (order.tagged && !plain).then(|| {
            self.tags += 1;
            Tag(self.tags)
        });
        if tag.is_some() || time_to_live.is_some() {
            self.special.insert(bytes.clone());
        }
        let cut = bytes.len() / 3;
        let (head, tail) = bytes.split_at(cut);
        let pieces = [head, tail];
        let (channel, mode) = (ChannelId(channel), order.mode);
        let outgoing = Outgoing { tag, time_to_live, key, ..Outgoing::new(channel, mode, &pieces) };
        let subject = &mut self.subjects[side.index()];
        let max = subject.message_max(peer, mode);
        if let Err(error) = subject.send(self.now, peer, outgoing) {
            return self.refused(side, at, error, &outgoing, max);
        }
        let (Some(out), Some(_)) = (out, max.filter(|max| bytes.len() <= *max)) else {
            let why = format!("{outgoing:?} was taken, where {max:?} bytes are the most");
            return Err(Failure::Refused(side, SendError::Full, why));
        };
        self.report.sent += 1;
        let deadline = time_to_live.map(|span| self.now + span);
        let id = self.oracle.sent_with(out, channel, mode, &bytes, Terms { key, deadline });
        let (superseded, cancelled) = (false, false);
        let channel = channel.0;
        let ledger = &mut self.ledgers[side.index()];
        match tag {
            Some(tag) => {
                let message = Pending { mode, deadline, superseded, key, channel, cancelled, id };
                ledger.sent(peer, tag, message);
            }
            None => ledger.replaced(peer, channel, mode, key),
        }
        Ok(())
    }

    /// A message for the third peer: whatever becomes of it, it must not be taken for one of the others.
    fn send_rogue(&mut self, peer: bowline_core::PeerId, order: &Order) -> Result<(), Failure> {
        let bytes = vec![0xE0; order.len];
        let pieces = [&bytes[..]];
        let key = (order.mode == Mode::ReliableLatest).then_some(order.key);
        let channel = ChannelId(order.channel & 3);
        let outgoing = Outgoing { key, ..Outgoing::new(channel, order.mode, &pieces) };
        let _ = self.subjects[Side::Right.index()].send(self.now, peer, outgoing);
        Ok(())
    }

    /// Whether a message was refused for a good reason.
    fn refused(
        &mut self,
        side: Side,
        at: usize,
        error: SendError,
        message: &Outgoing<'_>,
        max: Option<usize>,
    ) -> Result<(), Failure> {
        let session = &mut self.sessions[side.index()][at];
        let len = message.len();
        let good = match error {
            // The session may be over, or closing, and nobody has been told yet.
            SendError::Closing => true,
            SendError::NotConnected => session.out.is_none(),
            SendError::ChannelNotOpen { count } => u16::from(message.channel.0) >= count,
            SendError::TooLong { .. } => max.is_none_or(|max| len > max),
            SendError::Unsupported => !Mode::GODOT.contains(&message.mode) || !message.is_plain(),
            SendError::Full => {
                session.full = true;
                max.is_none_or(|max| len <= max)
            }
            _ => false,
        };
        if good || self.tainted {
            return Ok(());
        }
        let why = format!("{len} bytes, {}, {:?}; {max:?}", message.mode, message.channel);
        Err(Failure::Refused(side, error, why))
    }

    pub(super) fn close(&mut self, side: Side, which: u8, reason: u32) {
        let Some(at) = self.pick(side, which) else { return };
        let session = &mut self.sessions[side.index()][at];
        session.closing = true;
        let peer = session.peer;
        self.subjects[side.index()].close(self.now, peer, CloseReason(reason));
    }

    pub(super) fn finish(&mut self, side: Side, which: u8, reason: u32) {
        let Some(at) = self.pick(side, which) else { return };
        let session = &mut self.sessions[side.index()][at];
        let subject = &mut self.subjects[side.index()];
        session.closing |= subject.finish(self.now, session.peer, CloseReason(reason));
    }
}
