//! `bowline-core`: lent memory, deadlines, addresses, numbers, messages.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bowline_core::{
    Address, ChannelId, Duration, Entry, Incoming, Instant, Link, Mode, Outgoing, Pool,
    PoolControl, Quota, Schedule, Slot, SlotControl, Slots, serial,
};

use crate::input::{Input, keep};
use crate::outside::lent;

lent! {
    POOL_BYTES: [u8; 256] = [0; 256];
    RECORDS: [Record; 8] = [Record::VACANT; 8];
}

/// Calls everything in `bowline-core` with values nobody knows.
pub fn exercise(input: &mut Input) {
    numbers(input);
    addresses(input);
    pool(input);
    slots(input);
    schedule(input);
}

fn numbers(input: &mut Input) {
    keep(serial::expand(input.long(), input.long(), input.word()));
    keep(serial::expand_offset8(input.word(), input.word() as u8));
    keep(serial::ahead32(input.word(), input.word()));
    let (a, b) = (Instant::from_micros(input.long()), Instant::from_micros(input.long()));
    keep(a + (b - a) + Duration::from_millis(input.long()).saturating_mul(input.long()));
    keep(core::time::Duration::from(Duration::from_micros(input.long())));
    keep(Duration::from(core::time::Duration::from_millis(input.long())));
}

fn addresses(input: &mut Input) {
    let raw = input.bytes::<32>();
    let address = Address::from_raw(raw.get(..input.index()).unwrap_or(&raw));
    keep(address);
    let v4 = SocketAddr::from((Ipv4Addr::from(input.word()), input.word() as u16));
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::from(input.bytes())), input.word() as u16);
    for address in [address.unwrap_or(Address::NONE), v4.into(), v6.into()] {
        keep(address.as_raw());
        keep(address.socket_addr());
        keep(address.to_bytes());
    }
}

fn pool(input: &mut Input) {
    let Some(bytes) = POOL_BYTES.lend() else { return };
    let mut control = PoolControl::new(input.word(), input.word());
    let mut quota = Quota::NONE;
    let mut pool = Pool::new(bytes, &mut control);
    keep(pool.promise(&mut quota, input.word()));
    keep(pool.available(&quota));
    keep(pool.blocks_for(input.index()));
    let one = pool.take(&mut quota).unwrap_or(Link::NONE);
    pool.bytes_mut(one, input.index()).fill(input.word() as u8);
    let chain = pool.take_chain(&mut quota, input.index()).unwrap_or(Link::NONE);
    pool.set_next(Link::new(input.word()), chain);
    let message = Incoming::new(
        ChannelId(input.word() as u8),
        Mode::Reliable,
        pool.chunks(Link::new(input.word()), input.index(), input.index()),
    );
    let mut copy = [0; 64];
    keep(message.copy_to(&mut copy));
    keep(message.as_slice());
    keep(pool.bytes(chain, input.index()));
    pool.give_chain(&mut quota, chain);
    pool.give(&mut quota, Link::new(input.word()));
    pool.release_promise(&mut quota, input.word());
    keep(
        pool.into_chunks(one, input.index(), input.index())
            .flatten()
            .copied()
            .fold(0, u8::wrapping_add),
    );
    let pieces: [&[u8]; 2] = [&copy, &copy];
    let pieces = pieces.get(..input.index()).unwrap_or(&pieces);
    keep(Outgoing::new(ChannelId(0), Mode::Unreliable, pieces).len());
}

/// A record with room for one link.
#[derive(Clone, Copy)]
struct Record(Link, u32);

impl Slot for Record {
    const VACANT: Self = Self(Link::NONE, 0);

    fn next(&self) -> Link {
        self.0
    }

    fn set_next(&mut self, next: Link) {
        self.0 = next;
    }
}

fn slots(input: &mut Input) {
    let Some(items) = RECORDS.lend() else { return };
    let mut control = SlotControl::new(input.word());
    let mut quota = Quota::NONE;
    let mut slots = Slots::new(items, &mut control);
    keep(slots.promise(&mut quota, input.word()));
    keep(slots.available(&quota));
    let link = slots.take(&mut quota).unwrap_or(Link::NONE);
    slots[link].set_next(Link::new(input.word()));
    slots[Link::new(input.word())].1 = input.word();
    slots.give(&mut quota, Link::new(input.word()));
    slots.give_list(&mut quota, link);
    slots.release_promise(&mut quota, input.word());
}

fn schedule(input: &mut Input) {
    let (mut heap, mut places, mut len) = ([Entry::NONE; 8], [Schedule::UNPLACED; 8], 0);
    let mut schedule = Schedule::new(&mut heap, &mut places, &mut len);
    for _ in 0..input.word() {
        let at = Instant::from_micros(input.long());
        schedule.set(input.index(), (input.word() != 0).then_some(at));
        schedule.set_earlier(input.index(), at);
        keep(schedule.deadline(input.index()));
        keep(schedule.earliest());
    }
}
