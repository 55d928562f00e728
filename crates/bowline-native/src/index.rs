//! Finding what belongs to an address, a session or a ban: a keyed hash table in lent memory.

use bowline_core::{Address, Link, Slots};
use bowline_crypto::KeyedMac;

use crate::peer::Peer;

/// Things that belong to an address each.
pub(crate) trait Addresses {
    /// The address that the one at `link` belongs to.
    fn address(&self, link: Link) -> Option<&Address>;
}

impl Addresses for Slots<'_, Peer> {
    #[inline]
    fn address(&self, link: Link) -> Option<&Address> {
        self.get(link).map(|peer| &peer.address)
    }
}

/// Hashes addresses so that nobody outside can choose which ones collide.
#[derive(Debug)]
pub(crate) struct AddressHash {
    pub(crate) mac: &'static dyn KeyedMac,
    pub(crate) key: [u8; 16],
}

impl AddressHash {
    /// The hash of an address.
    pub(crate) fn of(&self, address: &Address) -> u64 {
        self.mac.mac(&self.key, &address.to_bytes())
    }

    fn home(&self, address: &Address, len: usize) -> usize {
        (self.of(address) as u32 as usize).checked_rem(len).unwrap_or(0)
    }

    fn home_of(&self, all: &(impl Addresses + ?Sized), link: Link, len: usize) -> usize {
        all.address(link).map_or(0, |address| self.home(address, len))
    }

    /// What belongs to `address`.
    pub(crate) fn find(
        &self,
        index: &[Link],
        all: &(impl Addresses + ?Sized),
        address: &Address,
    ) -> Option<Link> {
        let mut at = self.home(address, index.len());
        for _ in 0..index.len() {
            let link = index.get(at)?.some()?;
            if all.address(link) == Some(address) {
                return Some(link);
            }
            at = after(at, index.len());
        }
        None
    }

    /// Enters one; its address is not in the index yet.
    pub(crate) fn insert(&self, index: &mut [Link], all: &(impl Addresses + ?Sized), link: Link) {
        let len = index.len();
        let mut at = self.home_of(all, link, len);
        for _ in 0..len {
            let Some(place) = index.get_mut(at) else { return };
            if place.is_none() {
                *place = link;
                return;
            }
            at = after(at, len);
        }
        debug_assert!(false, "the index is at least twice as long as what it finds");
    }

    /// Takes one out, and closes the gap so that no search ends there too early.
    pub(crate) fn remove(&self, index: &mut [Link], all: &(impl Addresses + ?Sized), link: Link) {
        let len = index.len();
        let mut hole = self.home_of(all, link, len);
        let mut steps = 0;
        while index.get(hole).is_some_and(|here| *here != link) {
            if index.get(hole).is_some_and(|here| here.is_none()) || steps > len {
                return;
            }
            hole = after(hole, len);
            steps += 1;
        }
        let mut at = hole;
        for _ in 0..len {
            at = after(at, len);
            let Some(next) = index.get(at).and_then(|link| link.some()) else { break };
            let home = self.home_of(all, next, len);
            // The entry may fill the hole if its home does not lie between the hole and itself.
            let between =
                if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !between {
                put(index, hole, next);
                hole = at;
            }
        }
        put(index, hole, Link::NONE);
    }

    /// Enters all anew into an index that grew.
    pub(crate) fn rebuild(
        &self,
        index: &mut [Link],
        all: &(impl Addresses + ?Sized),
        links: impl Iterator<Item = Link>,
    ) {
        index.fill(Link::NONE);
        links.for_each(|link| self.insert(index, all, link));
    }
}

fn after(at: usize, len: usize) -> usize {
    if at + 1 >= len { 0 } else { at + 1 }
}

fn put(index: &mut [Link], at: usize, link: Link) {
    if let Some(place) = index.get_mut(at) {
        *place = link;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use bowline_core::{Quota, Slot, SlotControl};

    use super::*;

    /// The worst MAC there is: everything has the same home, or one of three.
    struct Bad(u64);

    impl KeyedMac for Bad {
        fn mac(&self, _: &[u8; 16], message: &[u8]) -> u64 {
            u64::from(message[1]) % self.0
        }
    }

    #[test]
    fn sessions_are_found_whatever_came_and_went_between() {
        static ONE: Bad = Bad(1);
        static THREE: Bad = Bad(3);
        for mac in [&ONE, &THREE] {
            let hash = AddressHash { mac, key: [0; 16] };
            let mut items: Vec<_> = (0..16).map(|_| Peer::VACANT).collect();
            let mut control = SlotControl::new(16);
            let mut peers = Slots::new(&mut items, &mut control);
            let (mut index, mut quota) = (vec![Link::NONE; 32], Quota::NONE);
            let mut here: Vec<(u8, Link)> = Vec::new();
            let mut state = 1u32;
            for _ in 0..3_000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let name = (state >> 16) as u8 % 24;
                let address = Address::from_raw(&[name]).unwrap();
                let known = here.iter().position(|(other, _)| *other == name);
                assert_eq!(hash.find(&index, &peers, &address), known.map(|i| here[i].1));
                if let Some(known) = known {
                    let (_, link) = here.swap_remove(known);
                    hash.remove(&mut index, &peers, link);
                    peers.give(&mut quota, link);
                } else if let Some(link) = peers.take(&mut quota) {
                    peers[link].address = address;
                    hash.insert(&mut index, &peers, link);
                    here.push((name, link));
                }
                assert_eq!(index.iter().filter(|link| link.is_some()).count(), here.len());
            }
        }
    }
}
