mod model;

use alloc::vec;
use alloc::vec::Vec;

use bowline_core::{PoolControl, Slot, SlotControl};

use super::*;

const STRIDE: usize = 16;
const BLOCK_LEN: usize = 12;

/// One peer's reassembly, with the memory it works in.
struct World {
    items: Vec<Assembly>,
    slot_control: SlotControl<Assembly>,
    slot_quota: Quota,
    bytes: Vec<u8>,
    pool_control: PoolControl,
    block_quota: Quota,
    limits: Limits,
    reassembly: Reassembly,
}

impl World {
    fn new(slots: usize, blocks: usize, limits: Limits) -> Self {
        Self {
            items: vec![Assembly::VACANT; slots],
            slot_control: SlotControl::new(slots as u32),
            slot_quota: Quota::NONE,
            bytes: vec![0xee; blocks * STRIDE],
            pool_control: PoolControl::new(STRIDE as u32, blocks as u32),
            block_quota: Quota::NONE,
            limits,
            reassembly: Reassembly::new(),
        }
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Reassembly, &mut Memory<'_, '_>, &Limits) -> R) -> R {
        let mut slots = Slots::new(&mut self.items, &mut self.slot_control);
        let mut pool = Pool::new(&mut self.bytes, &mut self.pool_control);
        let mut mem = Memory {
            slots: &mut slots,
            slot_quota: &mut self.slot_quota,
            pool: &mut pool,
            block_quota: &mut self.block_quota,
        };
        f(&mut self.reassembly, &mut mem, &self.limits)
    }

    fn check(&mut self, fragment: &Fragment<'_>, plan: &mut Plan) -> Result<(), Refused> {
        self.with(|reassembly, mem, limits| reassembly.check(mem, limits, fragment, plan))
    }

    fn insert(&mut self, now: Instant, f: &Fragment<'_>) -> Result<Option<Link>, Refused> {
        self.with(|reassembly, mem, limits| reassembly.insert(mem, limits, now, f))
    }

    /// Reads a completed message, and gives it back.
    fn consume(&mut self, link: Link) -> (Assembly, Vec<u8>) {
        self.with(|_, mem, _| {
            let message = mem.slots[link];
            let chunks = mem.pool.chunks(message.first(), 0, message.total() as usize);
            let text = chunks.flatten().copied().collect();
            release(mem, link);
            (message, text)
        })
    }

    fn in_use(&self) -> (u32, u32) {
        (self.slot_control.ledger().in_use(), self.pool_control.ledger().in_use())
    }

    fn assert_all_given_back(&mut self) {
        self.with(|reassembly, mem, _| reassembly.clear(mem));
        assert_eq!(self.in_use(), (0, 0));
        assert_eq!((self.slot_quota, self.block_quota), (Quota::NONE, Quota::NONE));
        assert_eq!((self.reassembly.count(), self.reassembly.bytes()), (0, 0));
        assert_eq!(self.reassembly.deadline(), None);
    }
}

const ROOMY: Limits = Limits { messages: 64, bytes: 100_000, age: Duration::from_millis(100) };

fn fragment(id: u16, offset: u32, total: u32, data: &[u8]) -> Fragment<'_> {
    Fragment { channel: 0, ordered: false, id, offset, total, data, number: 7 }
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

#[test]
fn a_message_in_two_fragments_comes_together_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(1, 3, ROOMY);
        let halves = [fragment(0, 0, 30, &[1; 17]), fragment(0, 17, 30, &[2; 13])];
        assert_eq!(world.insert(at(0), &halves[order[0]]), Ok(None));
        assert_eq!((world.reassembly.count(), world.reassembly.bytes()), (1, 30));
        let link = world.insert(at(0), &halves[order[1]]).unwrap().unwrap();
        assert_eq!((world.reassembly.count(), world.reassembly.bytes()), (0, 0));
        assert_eq!(world.in_use(), (1, 3), "the caller owns it");
        assert_eq!(world.consume(link).1, [[1; 17].as_slice(), &[2; 13]].concat());
        world.assert_all_given_back();
    }
}

#[test]
fn the_rank_is_that_of_the_packet_with_the_first_byte() {
    let mut world = World::new(1, 3, ROOMY);
    for (number, offset) in [(41, 20), (39, 0), (40, 10)] {
        let part = Fragment { number, ..fragment(0, offset, 30, &[0; 10]) };
        if let Some(link) = world.insert(at(0), &part).unwrap() {
            assert_eq!(rank(&world.consume(link).0), 79);
            return;
        }
    }
    panic!("it was complete");
}

#[test]
fn bytes_that_came_stay_as_they_are() {
    let mut world = World::new(1, 3, ROOMY);
    world.insert(at(0), &fragment(0, 10, 30, &[1; 10])).unwrap();
    let rewrite = Fragment { number: 8, ..fragment(0, 0, 30, &[2; 30]) };
    let link = world.insert(at(0), &rewrite).unwrap().unwrap();
    let (message, text) = world.consume(link);
    assert_eq!(text, [[2; 10], [1; 10], [2; 10]].concat());
    assert_eq!(rank(&message), 17);
}

#[test]
fn what_nobody_may_send_is_refused_and_takes_nothing() {
    let mut world = World::new(1, 3, Limits { bytes: 36, ..ROOMY });
    let cases = [
        (fragment(0, 0, 10, &[]), Refused::Malformed),
        (fragment(0, 0, 0, &[]), Refused::Malformed),
        (fragment(0, 6, 10, &[0; 5]), Refused::Malformed),
        (fragment(0, u32::MAX, u32::MAX, &[0; 5]), Refused::Malformed),
        (fragment(0, 0, 37, &[0; 5]), Refused::TooLong),
        (fragment(0, 0, u32::MAX, &[0; 5]), Refused::TooLong),
    ];
    for (part, refused) in cases {
        assert_eq!(world.check(&part, &mut Plan::new()), Err(refused));
        assert_eq!(world.insert(at(0), &part), Err(refused));
        assert_eq!(world.in_use(), (0, 0));
    }
}

#[test]
fn the_first_fragment_fixes_the_length() {
    let mut world = World::new(2, 6, ROOMY);
    world.insert(at(0), &fragment(0, 0, 30, &[1; 10])).unwrap();
    let other = fragment(0, 10, 29, &[1; 10]);
    assert_eq!(world.check(&other, &mut Plan::new()), Err(Refused::Contradiction));
    assert_eq!(world.insert(at(0), &other), Err(Refused::Contradiction));
    let elsewhere = Fragment { ordered: true, ..other };
    assert_eq!(world.insert(at(0), &elsewhere), Ok(None), "the other mode counts by itself");

    let mut plan = Plan::new();
    assert_eq!(world.check(&fragment(5, 0, 30, &[1; 10]), &mut plan), Ok(()));
    let other = fragment(5, 10, 29, &[1; 10]);
    assert_eq!(world.check(&other, &mut plan), Err(Refused::Contradiction), "in the same packet");
}

#[test]
fn the_ninth_part_is_too_many_until_a_gap_closes() {
    let mut world = World::new(1, 4, ROOMY);
    for n in 0..8 {
        assert_eq!(world.insert(at(0), &fragment(0, 4 * n, 40, &[1; 2])), Ok(None));
    }
    let ninth = fragment(0, 33, 40, &[1; 2]);
    assert_eq!(world.check(&ninth, &mut Plan::new()), Err(Refused::TooScattered));
    assert_eq!(world.insert(at(0), &ninth), Err(Refused::TooScattered));
    assert_eq!(world.insert(at(0), &fragment(0, 2, 40, &[1; 2])), Ok(None));
    assert_eq!(world.insert(at(0), &ninth), Ok(None));
}

#[test]
fn the_oldest_gives_way() {
    let mut world = World::new(8, 100, Limits { messages: 2, bytes: 100, ..ROOMY });
    for id in 0..3 {
        world.insert(at(0), &fragment(id, 0, 30, &[1; 10])).unwrap();
    }
    assert_eq!((world.reassembly.count(), world.reassembly.abandoned()), (2, 1));
    world.insert(at(0), &fragment(3, 0, 90, &[1; 10])).unwrap();
    assert_eq!((world.reassembly.count(), world.reassembly.abandoned()), (1, 3));
    assert_eq!(world.reassembly.bytes(), 90);
    world.assert_all_given_back();
}

#[test]
fn nothing_is_given_up_in_vain() {
    let mut world = World::new(4, 10, ROOMY);
    let link = world.insert(at(0), &fragment(0, 0, 60, &[1; 60])).unwrap().unwrap();
    world.insert(at(0), &fragment(1, 0, 60, &[1; 10])).unwrap();
    let long = fragment(2, 0, 61, &[1; 10]);
    assert_eq!(world.check(&long, &mut Plan::new()), Err(Refused::Full));
    assert_eq!(world.insert(at(0), &long), Err(Refused::Full));
    assert_eq!((world.reassembly.count(), world.reassembly.abandoned()), (1, 0));
    world.consume(link);
    assert_eq!(world.insert(at(0), &long), Ok(None));
    world.assert_all_given_back();
}

#[test]
fn what_is_old_is_given_up() {
    let mut world = World::new(8, 100, ROOMY);
    for (id, micros) in [(0, 0), (1, 40_000), (2, 90_000)] {
        world.insert(at(micros), &fragment(id, 0, 30, &[1; 10])).unwrap();
    }
    assert_eq!(world.reassembly.deadline(), Some(at(100_000)));
    let mut expire = |micros| world.with(|r, mem, limits| (r.expire(mem, limits, at(micros)), *r));
    assert_eq!(expire(99_999).0, 0);
    let (gone, left) = expire(140_000);
    assert_eq!((gone, left.abandoned(), left.deadline()), (2, 2, Some(at(190_000))));
    let link = world.insert(at(189_000), &fragment(2, 10, 30, &[1; 20])).unwrap().unwrap();
    assert_eq!(world.reassembly.deadline(), None);
    world.consume(link);
    world.assert_all_given_back();
}

#[test]
fn a_packet_may_finish_the_longest_message_and_begin_the_next() {
    let limits = Limits { messages: 1, bytes: 120, ..ROOMY };
    let mut world = World::new(2, 20, limits);
    world.insert(at(0), &fragment(0, 0, 120, &[1; 110])).unwrap();
    let mut plan = Plan::new();
    let parts = [fragment(0, 110, 120, &[1; 10]), fragment(1, 0, 120, &[1; 30])];
    for part in &parts {
        assert_eq!(world.check(part, &mut plan), Ok(()));
    }
    assert!(world.insert(at(0), &parts[0]).unwrap().is_some());
    assert_eq!(world.insert(at(0), &parts[1]), Ok(None));

    let mut world = World::new(2, 19, limits);
    world.insert(at(0), &fragment(0, 0, 120, &[1; 110])).unwrap();
    let mut plan = Plan::new();
    assert_eq!(world.check(&parts[0], &mut plan), Ok(()));
    assert_eq!(world.check(&parts[1], &mut plan), Err(Refused::Full), "one block is missing");
}

#[test]
fn one_packet_can_not_make_us_walk_for_ever() {
    let mut world = World::new(40, 10_000, Limits { messages: 32, bytes: 12_000, ..ROOMY });
    let mut plan = Plan::new();
    let begun = (0..200)
        .take_while(|&id| world.check(&fragment(id, 11_999, 12_000, &[1]), &mut plan) == Ok(()));
    assert!(begun.count() <= 4);

    world.insert(at(0), &fragment(0, 11_999, 12_000, &[1])).unwrap();
    world.insert(at(0), &fragment(1, 11_999, 12_000, &[1])).unwrap();
    let mut plan = Plan::new();
    let walked = (0..200)
        .take_while(|&n| world.check(&fragment(n % 2, 11_998, 12_000, &[1]), &mut plan) == Ok(()));
    assert!(walked.count() <= 5);
}

#[test]
fn what_is_in_place_is_not_walked_over_again() {
    let mut world = World::new(1, 10, ROOMY);
    for offset in [0, 40, 60] {
        assert_eq!(world.insert(at(0), &fragment(0, offset, 120, &[1; 14])), Ok(None));
    }
    // Without its first link the chain can be walked from further on only.
    let cut = world.with(|reassembly, mem, _| {
        let first = mem.slots[reassembly.head].first();
        let second = mem.pool.next(first);
        mem.pool.set_next(first, Link::NONE);
        (first, second)
    });
    for (offset, len) in [(74, 20), (54, 6), (110, 10), (94, 16)] {
        assert_eq!(world.insert(at(0), &fragment(0, offset, 120, &[2; 20][..len])), Ok(None));
    }
    world.with(|_, mem, _| mem.pool.set_next(cut.0, cut.1));
    let link = world.insert(at(0), &fragment(0, 14, 120, &[3; 26])).unwrap().unwrap();
    let text = [&[1; 14][..], &[3; 26], &[1; 14], &[2; 6], &[1; 14], &[2; 46]].concat();
    assert_eq!(world.consume(link).1, text);
    world.assert_all_given_back();
}

#[test]
fn a_cutter_cuts_everything_once() {
    let mut cutter = Cutter::new(9, 10);
    assert_eq!((cutter.id(), cutter.total(), cutter.done()), (9, 10, false));
    assert_eq!(cutter.next(4), Some((0, 4)));
    assert_eq!(cutter.next(0), None);
    assert_eq!((cutter.offset(), cutter.next(5)), (4, Some((4, 5))));
    assert_eq!(cutter.next(usize::MAX), Some((9, 1)));
    assert!(cutter.done());
    assert_eq!(cutter.next(5), None);
}
