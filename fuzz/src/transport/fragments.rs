//! Reassembly against messages that are maps of bytes.

use std::collections::BTreeMap;

use bowline_core::{Duration, Instant, Pool, PoolControl, Quota, Slot, SlotControl, Slots};
use bowline_transport::fragments::{
    Assembly, Fragment, Limits, Memory, PART_MAX, Plan, Reassembly, Refused, rank, release,
};
use bowline_transport::run::Cursor;

use super::memory::byte;
use crate::feed::Feed;

const BLOCK_LEN: usize = 24;

type Name = (u8, bool, u16);

/// What has arrived of a message.
struct Model {
    total: u32,
    bytes: BTreeMap<u32, u8>,
    started: Instant,
    /// Its place among those that have begun.
    order: u64,
    /// The number of the packet that brought its first byte.
    number: u64,
}

/// Fragments of few messages in many pieces; lies about lengths and bytes; time passes.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let limits = Limits {
        messages: 1 + u16::from(feed.u8() & 7),
        bytes: 100 + u32::from(feed.u16() & 0x3FF),
        age: Duration::from_millis(50 + u64::from(feed.u8())),
    };
    let blocks = 10 + feed.below(60);
    let mut bytes = vec![0; blocks * (BLOCK_LEN + 4)];
    let mut pool_control = PoolControl::new(BLOCK_LEN as u32 + 4, blocks as u32);
    let mut items = [const { Assembly::VACANT }; 6];
    let mut slot_control = SlotControl::new(6);
    let (mut slot_quota, mut block_quota) = (Quota::NONE, Quota::NONE);
    let mut pool = Pool::new(&mut bytes, &mut pool_control);
    let mut slots = Slots::new(&mut items, &mut slot_control);
    let mut mem = Memory {
        slots: &mut slots,
        slot_quota: &mut slot_quota,
        pool: &mut pool,
        block_quota: &mut block_quota,
    };
    let mut reassembly = Reassembly::new();
    let mut models: BTreeMap<Name, Model> = BTreeMap::new();
    let (mut now, mut number, mut begun) = (Instant::from_micros(9), 7, 0);
    while !feed.is_empty() {
        let how = feed.u8();
        if how % 8 == 0 {
            now = now + Duration::from_millis(u64::from(feed.u8()));
            let due: Vec<Name> = expired(&models, now, limits.age);
            let gone = reassembly.expire(&mut mem, &limits, now);
            assert_eq!(gone as usize, due.len(), "given up for their age");
            models.retain(|name, _| !due.contains(name));
            continue;
        }
        number += 1;
        let name = (feed.u8() & 1, how & 0x10 != 0, u16::from(feed.u8() & 3).wrapping_sub(2));
        // Most messages have one length; some fragments say another one.
        let usual = 40 + 60 * u32::from(name.2 & 3);
        let total = if how & 0xE0 == 0 { u32::from(feed.u8()) } else { usual };
        let offset = u32::from(feed.u8()) % (total + 2);
        let len = usize::from(feed.u8() & 63).min((total + 3 - offset.min(total)) as usize);
        let content: Vec<u8> = (0..len).map(|at| at_of(name, offset as usize + at)).collect();
        let fragment = Fragment {
            channel: name.0,
            ordered: name.1,
            id: name.2,
            offset,
            total,
            data: &content,
            number,
        };
        let mut plan = Plan::new();
        let checked = reassembly.check(&mem, &limits, &fragment, &mut plan);
        if let Err(refused) = checked {
            check_refusal(refused, &fragment, &models, &limits);
            continue;
        }
        let abandoned = reassembly.abandoned();
        let done = reassembly.insert(&mut mem, &limits, now, &fragment);
        let done = done.unwrap_or_else(|refused| panic!("{refused:?} after a check"));
        let dropped = reassembly.abandoned().wrapping_sub(abandoned);
        assert!(dropped == 0 || !models.contains_key(&name), "room for what is here already");
        (0..dropped).for_each(|_| drop_oldest(&mut models));
        let model = models.entry(name).or_insert_with(|| {
            begun += 1;
            Model { total, bytes: BTreeMap::new(), started: now, order: begun, number: 0 }
        });
        assert_eq!(model.total, total, "a contradiction was taken");
        if offset == 0 && !model.bytes.contains_key(&0) {
            model.number = number;
        }
        for (at, byte) in (offset..).zip(&content) {
            model.bytes.entry(at).or_insert(*byte);
        }
        let is_whole = model.bytes.len() == model.total as usize;
        assert_eq!(done.is_some(), is_whole, "{} of {total} bytes", model.bytes.len());
        if let Some(link) = done {
            let assembly = mem.slots[link];
            let told = (assembly.channel(), assembly.ordered(), assembly.id());
            assert_eq!((told, assembly.total()), (name, total));
            assert_eq!(rank(&assembly), 2 * model.number + 1);
            let mut message = vec![0; total as usize];
            assert_eq!(Cursor::at(assembly.first(), 0).read(mem.pool, &mut message), message.len());
            assert!(message.iter().eq(model.bytes.values()), "the bytes that came first");
            release(&mut mem, link);
            models.remove(&name);
        }
        compare(&reassembly, &models, &limits, mem.slots.ledger().in_use());
    }
    reassembly.clear(&mut mem);
    assert_eq!((mem.pool.ledger().in_use(), mem.slots.ledger().in_use()), (0, 0));
}

fn at_of(name: Name, at: usize) -> u8 {
    byte(at + 1_000 * usize::from(name.2) + usize::from(name.0))
}

fn expired(models: &BTreeMap<Name, Model>, now: Instant, age: Duration) -> Vec<Name> {
    let too_old = |model: &Model| model.started + age <= now;
    models.iter().filter(|(_, model)| too_old(model)).map(|(name, _)| *name).collect()
}

fn drop_oldest(models: &mut BTreeMap<Name, Model>) {
    let oldest = models.iter().min_by_key(|(_, model)| model.order).map(|(name, _)| *name);
    models.remove(&oldest.expect("something to give up"));
}

fn compare(reassembly: &Reassembly, models: &BTreeMap<Name, Model>, limits: &Limits, in_use: u32) {
    assert_eq!(usize::from(reassembly.count()), models.len());
    assert_eq!(in_use as usize, models.len());
    assert_eq!(reassembly.bytes(), models.values().map(|model| model.total).sum::<u32>());
    assert!(reassembly.count() <= limits.messages && reassembly.bytes() <= limits.bytes);
    let oldest = models.values().min_by_key(|model| model.order);
    assert_eq!(reassembly.deadline(), oldest.map(|model| model.started + limits.age));
}

/// Whether a refusal has its reason.
fn check_refusal(
    refused: Refused,
    fragment: &Fragment<'_>,
    models: &BTreeMap<Name, Model>,
    limits: &Limits,
) {
    let end = u64::from(fragment.offset) + fragment.data.len() as u64;
    let known = models.get(&(fragment.channel, fragment.ordered, fragment.id));
    match refused {
        Refused::Malformed => {
            assert!(fragment.data.is_empty() || end > u64::from(fragment.total));
        }
        Refused::TooLong => assert!(fragment.total > limits.bytes),
        Refused::Contradiction => {
            assert!(known.is_some_and(|known| known.total != fragment.total));
        }
        Refused::TooScattered => {
            let parts = known.map_or(0, |known| {
                let starts = |at: &&u32| **at == 0 || !known.bytes.contains_key(&(**at - 1));
                known.bytes.keys().filter(starts).count()
            });
            assert!(parts >= PART_MAX, "only {parts} parts");
        }
        // As many blocks as there are may be held by nobody but these messages.
        _ => assert!(known.is_none()),
    }
}
