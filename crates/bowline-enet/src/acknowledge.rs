//! Acknowledgements that arrive: round trip times, the throttle, and what is done now.

use bowline_core::{DropReason, Link, Slot};
use bowline_wire::enet::{CommandKind, Time};

use crate::command::Queued;
use crate::host::Work;
use crate::list::List;
use crate::peer::{End, Peer, State};
use crate::receive::Course;
use crate::storage::Memory;

impl Work<'_> {
    pub(crate) fn on_acknowledge(
        &mut self,
        slot: usize,
        channel: u8,
        sequence: u16,
        sent_time: u16,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let now = self.shared.clock.now;
        let hardening = self.shared.config.hardening;
        let Some(peer) = self.parts.peers.get_mut(slot) else { return Ok(()) };
        if matches!(peer.state, State::Disconnected | State::Zombie) {
            return Ok(());
        }
        let stamp = sent_time.wrapping_sub(peer.stamp_offset);
        let sent = now.at_stamp(stamp);
        if now.is_before(sent) {
            return Ok(());
        }
        let found = peer.find_sent(&self.parts.memory, channel, sequence, course)?;
        if hardening.check_times {
            match found {
                Some(found) if !peer.is_plausible(&self.parts.memory, found, sent) => {
                    return Err(DropReason::Misbehaved);
                }
                Some(_) => peer.measure(now, now.distance(sent).max(1)),
                // Acknowledged before, or never sent: that proves nothing.
                None => {}
            }
        } else {
            peer.measure(now, now.distance(sent).max(1));
        }
        let kind = found.map(|found| peer.remove_acknowledged(&mut self.parts.memory, found));
        course.rouse();
        self.shared.freed = true;
        match peer.state {
            State::AcknowledgingConnect if kind == Some(CommandKind::VerifyConnect) => {
                self.shared.statistics.connections += 1;
                self.connected(slot);
            }
            State::AcknowledgingConnect => return Err(DropReason::Unexpected),
            State::Disconnecting if kind == Some(CommandKind::Disconnect) => {
                self.lose(slot, End::Own);
            }
            State::Disconnecting => return Err(DropReason::Unexpected),
            State::DisconnectLater if !peer.has_outgoing() => self.begin_disconnect(slot),
            _ => {}
        }
        Ok(())
    }
}

/// An acknowledged command: where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    link: Link,
    list: Where,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Where {
    Sent,
    Control,
    Data,
}

impl Peer {
    /// The command that is in flight, or waits to be resent.
    #[inline]
    fn find_sent(
        &self,
        memory: &Memory<'_>,
        channel: u8,
        sequence: u16,
        course: &mut Course,
    ) -> Result<Option<Found>, DropReason> {
        // Most are acknowledged in the order in which they were sent.
        if let Some(link) = self.sent.first.some() {
            let queued = &memory.commands[link];
            if queued.acknowledge
                && queued.attempts > 0
                && queued.sequence == sequence
                && queued.channel == channel
            {
                return Ok(Some(Found { link, list: Where::Sent }));
            }
        }
        self.search_sent(memory, channel, sequence, course)
    }

    #[inline(never)]
    fn search_sent(
        &self,
        memory: &Memory<'_>,
        channel: u8,
        sequence: u16,
        course: &mut Course,
    ) -> Result<Option<Found>, DropReason> {
        for (list, kind) in
            [(self.sent, Where::Sent), (self.control, Where::Control), (self.data, Where::Data)]
        {
            let mut at = list.first;
            while let Some(link) = at.some() {
                let queued = &memory.commands[link];
                if queued.acknowledge {
                    if queued.attempts == 0 {
                        break;
                    }
                    if queued.sequence == sequence && queued.channel == channel {
                        return Ok(Some(Found { link, list: kind }));
                    }
                }
                course.step()?;
                at = queued.next();
            }
        }
        Ok(None)
    }

    /// Whether the acknowledged command can have been received in a datagram of this time.
    fn is_plausible(&self, memory: &Memory<'_>, found: Found, sent: Time) -> bool {
        let queued = &memory.commands[found.link];
        match queued.kind {
            CommandKind::VerifyConnect => {
                let attempts = usize::from(queued.attempts).min(self.verify_times.len());
                self.verify_times.iter().take(attempts).any(|time| *time == sent)
            }
            _ => !sent.is_before(queued.first_sent),
        }
    }

    /// Takes a round trip time into account, in milliseconds.
    #[inline]
    pub(crate) fn measure(&mut self, now: Time, sample: u32) {
        if self.last_receive == Time::ZERO {
            self.rtt = sample;
            self.variance = sample.div_ceil(2);
        } else {
            self.adjust_throttle(sample);
            self.variance -= self.variance / 4;
            let distance = sample.abs_diff(self.rtt);
            self.variance = self.variance.saturating_add(distance / 4);
            if sample >= self.rtt {
                self.rtt += distance / 8;
            } else {
                self.rtt -= distance / 8;
            }
        }
        self.lowest_rtt = self.lowest_rtt.min(self.rtt);
        self.highest_variance = self.highest_variance.max(self.variance);
        if self.throttle_epoch == Time::ZERO
            || now.distance(self.throttle_epoch) >= self.throttling.interval
        {
            self.last_rtt = self.lowest_rtt;
            self.last_variance = self.highest_variance.max(1);
            self.lowest_rtt = self.rtt;
            self.highest_variance = self.variance;
            self.throttle_epoch = now;
        }
        self.last_receive = Time::from_millis(now.as_millis().max(1));
        self.earliest_timeout = Time::ZERO;
    }

    #[inline]
    fn adjust_throttle(&mut self, sample: u32) {
        let bound = self.last_rtt.saturating_add(self.last_variance.saturating_mul(2));
        if self.last_rtt <= self.last_variance {
            self.throttle = self.throttle_limit;
        } else if sample <= self.last_rtt {
            let raised = self.throttle.saturating_add(self.throttling.acceleration);
            self.throttle = raised.min(self.throttle_limit);
        } else if sample > bound {
            self.throttle = self.throttle.saturating_sub(self.throttling.deceleration);
        }
    }

    /// Takes an acknowledged command out.
    #[inline]
    fn remove_acknowledged(&mut self, memory: &mut Memory<'_>, found: Found) -> CommandKind {
        let Found { link, list } = found;
        let queued = &memory.commands[link];
        let kind = queued.kind;
        if queued.channel < self.channel_count
            && let Some(channel) = self.open(memory, queued.channel)
        {
            memory.channels[channel].count_acknowledged(queued.sequence);
        }
        if list == Where::Sent && queued.is_data() {
            self.in_transit = self.in_transit.saturating_sub(queued.payload.into());
        }
        let of: &mut List = match list {
            Where::Sent => &mut self.sent,
            Where::Control => &mut self.control,
            Where::Data => &mut self.data,
        };
        of.remove(&mut memory.commands, link);
        self.give_command(memory, link);
        self.time_first(memory);
        kind
    }

    /// Takes the command of this kind out of those in flight, without a round trip time.
    pub(crate) fn remove_sent(&mut self, memory: &mut Memory<'_>, kind: CommandKind) {
        for list in [Where::Sent, Where::Control] {
            let mut at = if list == Where::Sent { self.sent.first } else { self.control.first };
            while let Some(link) = at.some() {
                let queued = &memory.commands[link];
                if queued.kind == kind && queued.attempts > 0 {
                    self.remove_acknowledged(memory, Found { link, list });
                    return;
                }
                at = queued.next();
            }
        }
    }

    /// The retransmission timer is that of the first command in flight.
    pub(crate) fn time_first(&mut self, memory: &Memory<'_>) {
        if let Some(first) = self.sent.first.some() {
            self.time(&memory.commands[first]);
        }
    }

    /// Sets the retransmission timer to that of this command in flight.
    pub(crate) fn time(&mut self, queued: &Queued) {
        self.next_timeout = queued.sent + queued.rto;
    }
}
