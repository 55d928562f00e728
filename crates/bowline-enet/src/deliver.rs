//! Packets that arrive: which are taken, what they wait for, and in which order the application gets them.

use bowline_core::{DropReason, Link, Slot};
use bowline_wire::enet::{
    Command, CommandKind, CommandView, Fragment, MAX_FRAGMENTS, UNSEQUENCED_WINDOW_SIZE,
    UNSEQUENCED_WINDOWS_FREE,
};

use crate::arrival::Arrival;
use crate::channel::Channel;
use crate::config::{Config, Release};
use crate::flags::Flags;
use crate::list::{List, Node};
use crate::peer::{Peer, State};
use crate::receive::Course;
use crate::storage::Memory;

/// A packet, or the beginning of one, that wants to be taken.
#[derive(Clone, Copy, Debug)]
struct Newcomer<'a> {
    channel: u8,
    link: Link,
    flags: Flags,
    reliable: u16,
    unreliable: u16,
    /// All of it, if it came in one piece.
    bytes: &'a [u8],
    len: u32,
    /// How many fragments it has; 0 if it came in one piece.
    count: u32,
}

impl Newcomer<'_> {
    #[inline]
    const fn arrival(&self) -> Arrival {
        Arrival {
            flags: self.flags,
            channel: self.channel,
            reliable: self.reliable,
            unreliable: self.unreliable,
            len: self.len,
            ..Arrival::VACANT
        }
    }
}

impl Channel {
    /// Whether it is this packet's turn, and nothing of its sort is here that waits.
    #[inline]
    fn is_next(&self, new: &Newcomer<'_>) -> bool {
        if new.flags.contains(Flags::RELIABLE) {
            return new.reliable == self.incoming_reliable.wrapping_add(1)
                && self.reliable.is_empty();
        }
        let is_ahead = new.flags.contains(Flags::UNSEQUENCED)
            || new.reliable == self.incoming_reliable && new.unreliable > self.incoming_unreliable;
        is_ahead && self.unreliable.is_empty()
    }
}

impl Peer {
    #[inline]
    pub(crate) fn take_packet(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        command: &CommandView<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let CommandView { head, kind, .. } = *command;
        let link = self.channel(memory, head.channel).map_err(|_| DropReason::Full)?;
        let bytes = command.payload();
        let [number, _] = command.numbers();
        let (flags, reliable, unreliable) = match kind {
            CommandKind::SendReliable => (Flags::RELIABLE, head.sequence, 0),
            CommandKind::SendFragment => (Flags::RELIABLE, number, 0),
            CommandKind::SendUnreliable => (Flags::NONE, head.sequence, number),
            CommandKind::SendUnreliableFragment => {
                (Flags::UNRELIABLE_FRAGMENT, head.sequence, number)
            }
            _ => (Flags::UNSEQUENCED, head.sequence, 0),
        };
        let len = bytes.len() as u32;
        let new = Newcomer {
            channel: head.channel,
            link,
            flags,
            reliable,
            unreliable,
            bytes,
            len,
            count: 0,
        };
        match kind {
            CommandKind::SendUnsequenced if !self.expects_group(number) => Ok(()),
            CommandKind::SendReliable
            | CommandKind::SendUnreliable
            | CommandKind::SendUnsequenced => {
                self.take(memory, config, &new, course)?;
                if kind == CommandKind::SendUnsequenced {
                    self.note_group(number);
                }
                Ok(())
            }
            _ => match command.command().map_err(|error| error.drop_reason())? {
                Command::SendFragment(fragment) | Command::SendUnreliableFragment(fragment) => {
                    self.take_fragment(memory, config, new, &fragment, course)
                }
                _ => Err(DropReason::Unexpected),
            },
        }
    }

    /// Takes a packet that came in one piece, unless it is not wanted: too late, too early, or here already.
    #[inline(always)]
    fn take(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        new: &Newcomer<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        if self.state == State::DisconnectLater {
            return Ok(());
        }
        if memory.channels[new.link].is_next(new) {
            return self.deliver(memory, config, new);
        }
        self.line_up(memory, config, new, course).map(|_| ())
    }

    /// Whether packets that were not read leave room for another.
    #[inline]
    pub(crate) const fn takes_more(&self, config: &Config) -> bool {
        self.waiting < config.waiting_max
            && self.quotas.arrivals.held() < config.hardening.arrivals_max
    }

    /// Takes a packet whose turn it is: it is delivered without having waited.
    #[inline]
    fn deliver(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        new: &Newcomer<'_>,
    ) -> Result<(), DropReason> {
        if !self.takes_more(config) {
            return Err(DropReason::Full);
        }
        let mut arrival = new.arrival();
        if !arrival.fill(&mut memory.pool, &mut self.quotas.blocks, new.bytes) {
            return Err(DropReason::Full);
        }
        let bytes = arrival.bytes();
        let quota = &mut self.quotas.arrivals;
        let Some(link) = self.delivered.push_new(&mut memory.arrivals, quota, arrival) else {
            memory.pool.give_chain(&mut self.quotas.blocks, bytes);
            return Err(DropReason::Full);
        };
        self.waiting = self.waiting.saturating_add(new.len);
        let channel = &mut memory.channels[new.link];
        if new.flags.contains(Flags::RELIABLE) {
            channel.incoming_reliable = new.reliable;
            channel.incoming_unreliable = 0;
            if !channel.unreliable.is_empty() {
                self.walk_unreliable(memory, new.link, link);
            }
        } else if !new.flags.contains(Flags::UNSEQUENCED) {
            channel.incoming_unreliable = new.unreliable;
        }
        Ok(())
    }

    /// Puts a packet among those that wait, and delivers those that need not wait any longer.
    #[inline(never)]
    fn line_up(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        new: &Newcomer<'_>,
        course: &mut Course,
    ) -> Result<Option<Link>, DropReason> {
        let is_unsequenced = new.flags.contains(Flags::UNSEQUENCED);
        let channel = &memory.channels[new.link];
        if !is_unsequenced && !channel.takes(new.reliable) {
            return Ok(None);
        }
        let after = match new.flags {
            _ if is_unsequenced => Link::NONE,
            Flags::RELIABLE if new.reliable == channel.incoming_reliable => return Ok(None),
            Flags::RELIABLE => match self.place(memory, new, course)? {
                Place::Taken(_) => return Ok(None),
                Place::After(after) => after,
            },
            _ if new.reliable == channel.incoming_reliable
                && new.unreliable <= channel.incoming_unreliable =>
            {
                return Ok(None);
            }
            _ => match self.place(memory, new, course)? {
                Place::Taken(_) => return Ok(None),
                Place::After(after) => after,
            },
        };
        if !self.takes_more(config) {
            let channel = &memory.channels[new.link];
            let is_waited_for = new.flags.contains(Flags::RELIABLE)
                && !channel.reliable.is_empty()
                && new.reliable == channel.incoming_reliable.wrapping_add(1);
            if !(config.hardening.fill_gaps && is_waited_for) {
                return Err(DropReason::Full);
            }
        }
        let link = memory.arrivals.insert(&mut self.quotas.arrivals, new.arrival());
        let link = link.ok_or(DropReason::Full)?;
        let arrival = &mut memory.arrivals[link];
        if new.count > 0 {
            arrival.begin(new.count);
        } else if !arrival.fill(&mut memory.pool, &mut self.quotas.blocks, new.bytes) {
            memory.arrivals.give(&mut self.quotas.arrivals, link);
            return Err(DropReason::Full);
        }
        self.waiting = self.waiting.saturating_add(new.len);
        let channel = &mut memory.channels[new.link];
        if new.flags.contains(Flags::RELIABLE) {
            channel.reliable.insert_after(&mut memory.arrivals, after, link);
            channel.reliable_finger = link;
            self.walk_reliable(memory, new.link, link);
        } else {
            channel.unreliable.insert_after(&mut memory.arrivals, after, link);
            channel.unreliable_finger = link;
            self.walk_unreliable(memory, new.link, link);
        }
        Ok(Some(link))
    }

    /// Where among those that wait a packet belongs: entries near the last one that was put in are looked at first.
    fn place(
        &self,
        memory: &Memory<'_>,
        new: &Newcomer<'_>,
        course: &mut Course,
    ) -> Result<Place, DropReason> {
        let channel = &memory.channels[new.link];
        let current = channel.incoming_reliable;
        let is_reliable = new.flags.contains(Flags::RELIABLE);
        let key = |reliable: u16, unreliable: u16| {
            let unreliable = if is_reliable { 0 } else { unreliable };
            u32::from(reliable.wrapping_sub(current)) << 16 | u32::from(unreliable)
        };
        let key_of = |link: Link| {
            let arrival = &memory.arrivals[link];
            key(arrival.reliable, arrival.unreliable)
        };
        let wanted = key(new.reliable, new.unreliable);
        let (list, finger) = match is_reliable {
            true => (channel.reliable, channel.reliable_finger),
            false => (channel.unreliable, channel.unreliable_finger),
        };
        let Some(last) = list.last.some() else { return Ok(Place::After(Link::NONE)) };
        let mut at = last;
        if key_of(last) > wanted
            && let Some(finger) = finger.some()
        {
            // Forward from there to the last one that is not behind.
            at = finger;
            while let Some(next) = Slot::next(&memory.arrivals[at]).some() {
                if key_of(at) > wanted || key_of(next) > wanted {
                    break;
                }
                at = next;
                course.step()?;
            }
        }
        loop {
            let here = key_of(at);
            if here < wanted {
                return Ok(Place::After(at));
            }
            if here == wanted {
                return Ok(Place::Taken(at));
            }
            match memory.arrivals[at].previous().some() {
                Some(previous) => at = previous,
                None => return Ok(Place::After(Link::NONE)),
            }
            course.step()?;
        }
    }

    /// Whether an unsequenced packet of this group is not here yet, nor too far ahead.
    #[inline]
    pub(crate) fn expects_group(&mut self, group: u16) -> bool {
        const AHEAD: u32 = UNSEQUENCED_WINDOW_SIZE as u32 * UNSEQUENCED_WINDOWS_FREE as u32;
        let base = u32::from(self.incoming_base);
        let ahead = u32::from(group) + if u32::from(group) < base { 0x1_0000 } else { 0 };
        if ahead >= base + AHEAD {
            return false;
        }
        let place = group % UNSEQUENCED_WINDOW_SIZE;
        if group - place != self.incoming_base {
            self.incoming_base = group - place;
            self.unsequenced.fill(0);
        }
        let (word, bit) = (usize::from(place / 32), 1u32 << (place % 32));
        let is_new = self.unsequenced.get(word).is_none_or(|seen| seen & bit == 0);
        is_new || cfg!(bowline_mutant = "group_again")
    }

    /// A packet of this group, which was expected, is here.
    #[inline]
    pub(crate) fn note_group(&mut self, group: u16) {
        let place = group % UNSEQUENCED_WINDOW_SIZE;
        if let Some(seen) = self.unsequenced.get_mut(usize::from(place / 32)) {
            *seen |= 1 << (place % 32);
        }
    }

    #[inline(never)]
    fn take_fragment(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        new: Newcomer<'_>,
        fragment: &Fragment<'_>,
        course: &mut Course,
    ) -> Result<(), DropReason> {
        let is_reliable = new.flags.contains(Flags::RELIABLE);
        let is_old = config.release == Release::V1_3_17;
        if fragment.payload.is_empty() && !is_old {
            return Err(DropReason::Malformed);
        }
        let channel = &memory.channels[new.link];
        let is_past = !is_reliable
            && new.reliable == channel.incoming_reliable
            && new.unreliable <= channel.incoming_unreliable;
        if !channel.takes(new.reliable) || is_past {
            return Ok(());
        }
        check_fragment(config, fragment)?;
        let new = Newcomer { len: fragment.total, count: fragment.count, ..new };
        let link = match self.place(memory, &new, course)? {
            Place::Taken(link) => {
                let arrival = &memory.arrivals[link];
                if arrival.len != new.len || arrival.count != new.count {
                    return Err(DropReason::Malformed);
                }
                link
            }
            // What is not wanted is not acknowledged, if it is a fragment.
            Place::After(_) if self.state == State::DisconnectLater => {
                return Err(DropReason::Unexpected);
            }
            Place::After(_) => {
                self.line_up(memory, config, &new, course)?.ok_or(DropReason::Unexpected)?
            }
        };
        let was_complete = memory.arrivals[link].is_complete();
        let mut arrival = memory.arrivals[link];
        let (number, offset) = (fragment.number, fragment.offset);
        let quota = &mut self.quotas.blocks;
        let is_in = arrival.add(&mut memory.pool, quota, number, offset, fragment.payload);
        memory.arrivals[link] = arrival;
        if !is_in {
            return Err(DropReason::Full);
        }
        if !was_complete && memory.arrivals[link].is_complete() {
            match is_reliable {
                true => self.walk_reliable(memory, new.link, Link::NONE),
                false => self.walk_unreliable(memory, new.link, Link::NONE),
            }
        }
        Ok(())
    }

    /// Delivers the reliable packets whose turn it is, and the unreliable ones that waited for them.
    fn walk_reliable(&mut self, memory: &mut Memory<'_>, channel: Link, keep: Link) {
        let mut delivered = false;
        loop {
            let numbers = &mut memory.channels[channel];
            let Some(link) = numbers.reliable.first.some() else { break };
            let arrival = &memory.arrivals[link];
            if !arrival.is_complete()
                || arrival.reliable != numbers.incoming_reliable.wrapping_add(1)
            {
                break;
            }
            let more = arrival.count.saturating_sub(1) as u16;
            numbers.incoming_reliable = arrival.reliable.wrapping_add(more);
            numbers.reliable.remove(&mut memory.arrivals, link);
            if numbers.reliable_finger == link {
                numbers.reliable_finger = Link::NONE;
            }
            self.delivered.push(&mut memory.arrivals, link);
            delivered = true;
        }
        if delivered {
            let numbers = &mut memory.channels[channel];
            numbers.incoming_unreliable = 0;
            if !numbers.unreliable.is_empty() {
                self.walk_unreliable(memory, channel, keep);
            }
        }
    }

    /// Delivers the unreliable packets whose turn it is, and drops those that came too late; `keep` is not
    /// dropped.
    fn walk_unreliable(&mut self, memory: &mut Memory<'_>, channel: Link, keep: Link) {
        let first = memory.channels[channel].unreliable.first;
        let (mut cut, mut start, mut at) = (first, first, first);
        while let Some(link) = at.some() {
            let numbers = &mut memory.channels[channel];
            let arrival = &memory.arrivals[link];
            let next = Slot::next(arrival);
            if arrival.is_unsequenced() {
                at = next;
                continue;
            }
            if arrival.reliable == numbers.incoming_reliable {
                if arrival.is_complete() {
                    numbers.incoming_unreliable = arrival.unreliable;
                    at = next;
                    continue;
                }
                if start != at {
                    self.deliver_run(memory, channel, start, at);
                    cut = at;
                } else if cut != at {
                    cut = arrival.previous();
                }
            } else {
                if numbers.takes(arrival.reliable) {
                    break;
                }
                cut = next;
                if start != at {
                    self.deliver_run(memory, channel, start, at);
                }
            }
            start = next;
            at = next;
        }
        if start != at {
            self.deliver_run(memory, channel, start, at);
            cut = at;
        }
        self.drop_until(memory, channel, cut, keep);
    }

    /// Delivers the unreliable packets from `start` on, up to `end`.
    fn deliver_run(&mut self, memory: &mut Memory<'_>, channel: Link, start: Link, end: Link) {
        let mut at = start;
        while let Some(link) = at.some()
            && at != end
        {
            at = Slot::next(&memory.arrivals[link]);
            self.take_out(memory, channel, link);
            self.delivered.push(&mut memory.arrivals, link);
        }
    }

    /// Drops the unreliable packets before `cut`, all of them if that is none.
    fn drop_until(&mut self, memory: &mut Memory<'_>, channel: Link, cut: Link, keep: Link) {
        let mut at = memory.channels[channel].unreliable.first;
        while let Some(link) = at.some()
            && at != cut
        {
            at = Slot::next(&memory.arrivals[link]);
            if link != keep {
                self.take_out(memory, channel, link);
                self.give_arrival(memory, link);
            }
        }
    }

    fn take_out(&self, memory: &mut Memory<'_>, channel: Link, link: Link) {
        let numbers = &mut memory.channels[channel];
        let list: &mut List = &mut numbers.unreliable;
        list.remove(&mut memory.arrivals, link);
        if numbers.unreliable_finger == link {
            numbers.unreliable_finger = Link::NONE;
        }
    }
}

/// Where a packet belongs.
enum Place {
    /// Behind this one, or first.
    After(Link),
    /// It is here already.
    Taken(Link),
}

/// Whether the numbers of a fragment agree with each other.
fn check_fragment(config: &Config, fragment: &Fragment<'_>) -> Result<(), DropReason> {
    let len = fragment.payload.len() as u32;
    let is_short = fragment.total < fragment.count && config.release != Release::V1_3_17;
    if fragment.total > config.packet_max {
        return Err(DropReason::OverLimit);
    }
    if fragment.count > MAX_FRAGMENTS
        || fragment.number >= fragment.count
        || is_short
        || fragment.offset >= fragment.total
        || len > fragment.total - fragment.offset
    {
        return Err(DropReason::Malformed);
    }
    Ok(())
}
