//! Sessions that wait for memory which all share: asked again when there is enough for one of them.
//!
//! However many wait, one call asks a few at most, and none as long as there is too little for whoever
//! lacks least. They are asked in the order in which they came.

use bowline_core::{Instant, Link, Slots};
use bowline_transport::scheduler::{Member, Queue};

use crate::endpoint::{Context, Endpoint};
use crate::lines::Lines;
use crate::peer::{Peer, Phase};
use crate::storage::{Memory, Parts, Storage};

/// How many that wait are asked in one call at most.
const ASKED_MAX: usize = 8;

/// What somebody lacks of the memory that all share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lack {
    /// Pool blocks.
    pub(crate) blocks: u32,
    /// A record.
    pub(crate) record: bool,
}

/// What there is of the memory that all share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) blocks: u32,
    pub(crate) record: bool,
}

impl Common {
    /// Whether it is what somebody lacks.
    fn meets(&self, lack: &Lack) -> bool {
        lack.blocks <= self.blocks && (self.record || !lack.record)
    }
}

/// The least number of blocks lacked by anyone who lacks no record, and by anyone who does.
#[derive(Clone, Copy, Debug)]
struct Least([u32; 2]);

impl Least {
    /// Nobody lacks anything.
    const NONE: Self = Self([u32::MAX; 2]);

    fn include(&mut self, lack: &Lack) {
        let [without, with] = &mut self.0;
        let least = if lack.record { with } else { without };
        *least = lack.blocks.min(*least);
    }

    fn is_met(&self, common: &Common) -> bool {
        let [without, with] = self.0;
        without <= common.blocks || common.record && with <= common.blocks
    }
}

/// Who waits, in order, and what they lack at least.
#[derive(Debug)]
pub(crate) struct Waiting<const Q: u8> {
    queue: Queue<Q>,
    count: u32,
    /// How many are still to be asked in this round.
    unasked: u32,
    least: Least,
    /// The same of those who were asked in this round, or came meanwhile.
    found: Least,
}

impl<const Q: u8> Waiting<Q> {
    /// Nobody waits.
    pub(crate) const EMPTY: Self =
        Self { queue: Queue::EMPTY, count: 0, unasked: 0, least: Least::NONE, found: Least::NONE };

    /// Puts somebody last, unless he waits already, and notes what he lacks.
    pub(crate) fn push(&mut self, peers: &mut Slots<'_, Peer>, link: Link, lack: &Lack)
    where
        Peer: Member<Q>,
    {
        if !Member::<Q>::place(&mut peers[link]).is_queued() {
            self.queue.push(peers, link);
            self.count += 1;
        }
        self.least.include(lack);
        self.found.include(lack);
    }

    /// Somebody waits no more, if he did.
    pub(crate) fn remove(&mut self, peers: &mut Slots<'_, Peer>, link: Link)
    where
        Peer: Member<Q>,
    {
        if Member::<Q>::place(&mut peers[link]).is_queued() {
            self.queue.remove(peers, link);
            self.count = self.count.saturating_sub(1);
            // A round ends with the last one in line, asked or gone.
            self.unasked = self.unasked.min(self.count);
        }
    }

    /// Whether nobody waits.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a round has begun and not ended.
    pub(crate) const fn is_asking(&self) -> bool {
        self.unasked > 0
    }

    /// Begins a round if memory was `freed` since the last one began, and there may be enough for somebody.
    #[inline]
    fn begin(&mut self, freed: &mut bool, common: &Common) {
        if !self.least.is_met(common) {
            self.unasked = 0;
        } else if self.unasked == 0 && core::mem::take(freed) {
            (self.unasked, self.found) = (self.count, Least::NONE);
        }
    }

    /// Who is to be asked next in this round.
    fn front(&mut self) -> Option<Link> {
        let front = if self.unasked > 0 { self.queue.front() } else { None };
        if front.is_none() {
            self.unasked = 0;
        }
        front
    }

    /// Who was asked lacks something still, and goes behind the others, or waits no more.
    fn asked(&mut self, peers: &mut Slots<'_, Peer>, lack: Option<&Lack>)
    where
        Peer: Member<Q>,
    {
        if let Some(lack) = lack {
            self.queue.rotate(peers);
            self.found.include(lack);
        } else if self.queue.pop(peers).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        self.unasked = self.unasked.saturating_sub(1);
        if self.unasked == 0 {
            self.least = self.found;
        }
    }
}

/// What a message that was refused waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Room {
    /// All that its session may have is taken: what that sends, or gets acknowledged, makes room.
    Own,
    Lacks(Lack),
}

impl Peer {
    /// What the application waits for that was told "full".
    fn room(&self, memory: &Memory<'_>, context: &Context) -> Room {
        let (blocks, records) = (memory.pool.ledger(), memory.records.ledger());
        let tickets_full = self.tickets.held() >= context.config.tickets_max;
        if self.send_blocks.held().saturating_add(self.wanted_blocks) > context.send_blocks_max
            || self.wants_ticket && tickets_full
        {
            return Room::Own;
        }
        let own_blocks = blocks.available(&self.send_blocks).saturating_sub(blocks.common());
        let own_record = records.available(&self.tickets) > records.common();
        Room::Lacks(Lack {
            blocks: self.wanted_blocks.saturating_sub(own_blocks),
            record: self.wants_ticket && !own_record,
        })
    }
}

impl Lines {
    /// An application that was told "full" waits from now on.
    pub(crate) fn block(&mut self, parts: &mut Parts<'_>, context: &Context, link: Link) {
        if let Room::Lacks(lack) = parts.peers[link].room(&parts.memory, context) {
            self.blocked.push(&mut parts.peers, link, &lack);
        }
    }

    /// Something happened to a session. If its application waits for room, it is told if that can be had
    /// whatever others do, and stands in line otherwise.
    #[inline]
    pub(crate) fn reconsider(&mut self, parts: &mut Parts<'_>, context: &Context, link: Link) {
        if parts.peers[link].wanted_blocks > 0 {
            self.reconsider_blocked(parts, context, link);
        }
    }

    #[inline(never)]
    fn reconsider_blocked(&mut self, parts: &mut Parts<'_>, context: &Context, link: Link) {
        let peer = &parts.peers[link];
        let open = matches!(peer.phase, Phase::Open);
        match peer.room(&parts.memory, context) {
            Room::Lacks(lack) if open && lack != Lack::default() => {
                self.blocked.push(&mut parts.peers, link, &lack);
            }
            Room::Lacks(_) if open => {
                self.blocked.remove(&mut parts.peers, link);
                self.tell_writable(&mut parts.peers, link);
            }
            _ => self.blocked.remove(&mut parts.peers, link),
        }
    }

    fn tell_writable(&mut self, peers: &mut Slots<'_, Peer>, link: Link) {
        let peer = &mut peers[link];
        peer.wanted_blocks = 0;
        peer.tell_writable = !cfg!(bowline_mutant = "forget_writable");
        self.tell(peers, link);
    }
}

impl<S: Storage> Endpoint<S> {
    /// Tells one application that waits for room, if there is some; the next one, when it has had its
    /// chance to use it.
    #[inline]
    pub(crate) fn unblock(&mut self) {
        if !self.lines.blocked.is_empty() {
            self.unblock_one();
        }
    }

    #[inline(never)]
    fn unblock_one(&mut self) {
        let Self { storage, lines, context, freed, .. } = self;
        let mut parts = storage.parts();
        // See `Peer::has_send_room` for what is kept for long messages.
        let common = Common {
            blocks: parts.memory.pool.ledger().common().saturating_sub(context.long_blocks),
            record: parts.memory.records.ledger().common() > 0,
        };
        lines.blocked.begin(&mut freed.blocked, &common);
        for _ in 0..ASKED_MAX {
            let Some(link) = lines.blocked.front() else { return };
            let peer = &parts.peers[link];
            let open = matches!(peer.phase, Phase::Open);
            match peer.room(&parts.memory, context) {
                Room::Lacks(lack) if open && common.meets(&lack) => {
                    lines.blocked.asked(&mut parts.peers, None);
                    lines.tell_writable(&mut parts.peers, link);
                    return;
                }
                Room::Lacks(lack) if open => lines.blocked.asked(&mut parts.peers, Some(&lack)),
                _ => lines.blocked.asked(&mut parts.peers, None),
            }
        }
    }

    /// Gives credit to some who waited for memory.
    #[inline]
    pub(crate) fn feed_starved(&mut self, now: Instant) {
        if !self.lines.starved.is_empty() {
            self.feed_some(now);
        }
    }

    #[inline(never)]
    fn feed_some(&mut self, now: Instant) {
        for _ in 0..ASKED_MAX {
            let Self { storage, lines, context, freed, .. } = self;
            let mut parts = storage.parts();
            let common = Common { blocks: parts.memory.pool.ledger().common(), record: true };
            lines.starved.begin(&mut freed.starved, &common);
            let Some(link) = lines.starved.front() else { return };
            let peer = &mut parts.peers[link];
            if !matches!(peer.phase, Phase::Open) {
                lines.starved.asked(&mut parts.peers, None);
                continue;
            }
            peer.grant_all(&mut parts.memory, context, now);
            let blocks = core::mem::replace(&mut peer.starved_of, u32::MAX);
            let lack = (blocks < u32::MAX).then_some(Lack { blocks, record: false });
            lines.starved.asked(&mut parts.peers, lack.as_ref());
            if parts.peers[link].credit_due {
                lines.settle(&mut parts, context, now, link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bowline_core::{Quota, Slot, SlotControl};
    use proptest::prelude::*;

    use super::*;
    use crate::peer::STARVED;

    const PEERS: usize = 40;

    /// Who waits, what each lacks, and what there is.
    struct World {
        items: Vec<Peer>,
        control: SlotControl<Peer>,
        links: Vec<Link>,
        lacks: Vec<Option<Lack>>,
        waiting: Waiting<STARVED>,
        common: Common,
        freed: bool,
        /// Who was answered, in order.
        served: Vec<usize>,
    }

    impl World {
        fn new() -> Self {
            let mut items: Vec<_> = (0..PEERS).map(|_| Peer::VACANT).collect();
            let mut control = SlotControl::new(PEERS as u32);
            let mut peers = Slots::new(&mut items, &mut control);
            let mut quota = Quota::NONE;
            let links = (0..PEERS).map(|_| peers.take(&mut quota).unwrap()).collect();
            Self {
                items,
                control,
                links,
                lacks: (0..PEERS).map(|_| None).collect(),
                waiting: Waiting::EMPTY,
                common: Common { blocks: 0, record: false },
                freed: false,
                served: Vec::new(),
            }
        }

        fn push(&mut self, who: usize, lack: Lack) {
            let mut peers = Slots::new(&mut self.items, &mut self.control);
            self.waiting.push(&mut peers, self.links[who], &lack);
            self.lacks[who] = Some(lack);
        }

        fn remove(&mut self, who: usize) {
            let mut peers = Slots::new(&mut self.items, &mut self.control);
            self.waiting.remove(&mut peers, self.links[who]);
            self.lacks[who] = None;
        }

        fn free(&mut self, blocks: u32, record: bool) {
            (self.common, self.freed) = (Common { blocks, record }, true);
        }

        /// One call, in which one at most is served; how many were asked.
        fn ask(&mut self) -> usize {
            let mut peers = Slots::new(&mut self.items, &mut self.control);
            self.waiting.begin(&mut self.freed, &self.common);
            for asked in 0..ASKED_MAX {
                let Some(link) = self.waiting.front() else { return asked };
                let who = self.links.iter().position(|other| *other == link).unwrap();
                let lack = self.lacks[who].unwrap();
                if self.common.meets(&lack) {
                    self.waiting.asked(&mut peers, None);
                    self.lacks[who] = None;
                    self.served.push(who);
                    return asked + 1;
                }
                self.waiting.asked(&mut peers, Some(&lack));
            }
            ASKED_MAX
        }

        fn met(&self) -> usize {
            self.lacks.iter().flatten().filter(|lack| self.common.meets(lack)).count()
        }
    }

    fn lacks() -> impl Strategy<Value = Lack> {
        (0u32..8, any::<bool>()).prop_map(|(blocks, record)| Lack { blocks, record })
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(usize, Lack),
        Remove(usize),
        Free(u32, bool),
        Ask,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..PEERS, lacks()).prop_map(|(who, lack)| Op::Push(who, lack)),
            1 => (0..PEERS).prop_map(Op::Remove),
            1 => (0u32..8, any::<bool>()).prop_map(|(blocks, record)| Op::Free(blocks, record)),
            2 => Just(Op::Ask),
        ];
        prop::collection::vec(op, 0..300)
    }

    proptest! {
        /// Whatever came before: once memory is freed, everybody is served who lacks no more than that, in
        /// as many calls as that takes, and nobody else.
        #[test]
        fn whoever_can_be_served_is(ops in ops(), blocks in 0u32..8, record: bool) {
            let mut world = World::new();
            for op in ops {
                match op {
                    Op::Push(who, lack) => world.push(who, lack),
                    Op::Remove(who) => world.remove(who),
                    Op::Free(blocks, record) => world.free(blocks, record),
                    Op::Ask => { world.ask(); }
                }
                prop_assert!(!world.waiting.is_asking() || !world.waiting.is_empty());
            }
            world.free(blocks, record);
            let (met, before) = (world.met(), world.served.len());
            // What is left of a round that had begun, and a whole one.
            for _ in 0..2 * PEERS {
                world.ask();
            }
            prop_assert_eq!(world.served.len() - before, met);
            prop_assert_eq!((world.met(), world.waiting.is_asking()), (0, false));
            let waits = world.lacks.iter().flatten().count();
            prop_assert_eq!(world.waiting.count as usize, waits);
        }

        /// Those who lack the same are served in the order in which they came.
        #[test]
        fn equals_are_served_in_order(who in prop::collection::hash_set(0..PEERS, 1..PEERS), few in 1u32..4) {
            let mut world = World::new();
            let order: Vec<_> = who.into_iter().collect();
            order.iter().for_each(|&who| world.push(who, Lack { blocks: few, record: false }));
            world.free(few, false);
            order.iter().for_each(|_| { world.ask(); });
            prop_assert_eq!(world.served, order);
        }
    }

    #[test]
    fn nobody_is_asked_while_there_is_too_little_for_all() {
        let mut world = World::new();
        (0..PEERS).for_each(|who| world.push(who, Lack { blocks: 5, record: false }));
        world.free(4, true);
        assert_eq!(world.ask(), 0, "nor were they asked once to find that out");
        world.push(7, Lack { blocks: 9, record: false });
        world.free(5, true);
        let asked: usize = (0..PEERS).map(|_| world.ask()).sum();
        assert_eq!((asked, world.served.len()), (PEERS, PEERS - 1));
        world.free(8, true);
        assert_eq!(world.ask(), 0, "the one who is left lacks more");
    }
}
