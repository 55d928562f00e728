//! Who is connected from where: connections by address and connect id, and how many each source has.

use bowline_core::{Address, Link};

use crate::peer::{Peer, Quotas};
use crate::random::Random;
use crate::storage::{Memory, Parts};

/// Kinds of hashes.
const OF_CONNECTION: u8 = 1;
const OF_SOURCE: u8 = 2;

/// The hash by which a connection is found.
pub(crate) fn connection_hash(random: &Random, address: &Address, connect_id: [u8; 4]) -> u64 {
    let mut bytes = [0; 28];
    if let Some((head, tail)) = bytes.split_first_chunk_mut::<24>() {
        *head = address.to_bytes();
        tail.copy_from_slice(&connect_id);
    }
    random.hash(OF_CONNECTION, &bytes)
}

/// The hash by which a source is found.
pub(crate) fn source_hash(random: &Random, address: &Address) -> u64 {
    random.hash(OF_SOURCE, &address.source().address().to_bytes())
}

impl Parts<'_> {
    /// The slot of the connection with this address and connect id.
    pub(crate) fn find_connection(
        &self,
        hash: u64,
        address: &Address,
        connect_id: [u8; 4],
    ) -> Option<Link> {
        let is_it = |link: Link| {
            self.peers
                .get(link.index())
                .is_some_and(|peer| peer.address == *address && peer.connect_id == connect_id)
        };
        self.connections.find(hash, is_it)
    }

    /// Connections of the source of `address`, and half-open ones.
    pub(crate) fn source_counts(&self, hash: u64, address: &Address) -> (u32, u32) {
        let head = self.find_source(hash, address).and_then(|link| self.peers.get(link.index()));
        head.map_or((0, 0), |head| (head.source_count, head.source_half_open))
    }

    /// The first peer of a source.
    fn find_source(&self, hash: u64, address: &Address) -> Option<Link> {
        let source = address.source();
        self.sources.find(hash, |link| {
            self.peers.get(link.index()).is_some_and(|peer| peer.address.source() == source)
        })
    }

    /// Enters a peer into both indexes. Its hashes must be set.
    pub(crate) fn enter(&mut self, slot: usize, is_half_open: bool) {
        let link = Link::new(slot as u32);
        let Some(peer) = self.peers.get(slot) else { return };
        let (connection, source, address) = (peer.connection_hash, peer.source_hash, peer.address);
        self.connections.insert(connection, link);
        let head = self.find_source(source, &address);
        match head {
            None => {
                self.sources.insert(source, link);
                if let Some(peer) = self.peers.get_mut(slot) {
                    (peer.source_count, peer.source_half_open) = (1, is_half_open.into());
                    (peer.source_next, peer.source_previous) = (Link::NONE, Link::NONE);
                }
            }
            Some(head) => {
                // Behind the first, which counts.
                let mut second = Link::NONE;
                if let Some(first) = self.peers.get_mut(head.index()) {
                    first.source_count += 1;
                    first.source_half_open += u32::from(is_half_open);
                    second = core::mem::replace(&mut first.source_next, link);
                }
                if let Some(second) = self.peers.get_mut(second.index()) {
                    second.source_previous = link;
                }
                if let Some(peer) = self.peers.get_mut(slot) {
                    (peer.source_next, peer.source_previous) = (second, head);
                }
            }
        }
    }

    /// Takes a peer out of both indexes.
    pub(crate) fn leave(&mut self, slot: usize, was_half_open: bool) {
        let link = Link::new(slot as u32);
        self.count(slot, -1, -i32::from(was_half_open));
        let Some(peer) = self.peers.get(slot) else { return };
        let (connection, source) = (peer.connection_hash, peer.source_hash);
        let (next, previous) = (peer.source_next, peer.source_previous);
        let counts = (peer.source_count, peer.source_half_open);
        let peers = &*self.peers;
        let hash_of =
            |of: fn(&Peer) -> u64| move |link: Link| peers.get(link.index()).map_or(0, of);
        self.connections.remove(connection, link, hash_of(|peer| peer.connection_hash));
        match (previous.some(), next.some()) {
            (None, None) => self.sources.remove(source, link, hash_of(|peer| peer.source_hash)),
            (None, Some(next)) => self.sources.replace(source, link, next),
            _ => {}
        }
        if let Some(previous) = self.peers.get_mut(previous.index()) {
            previous.source_next = next;
        }
        if let Some(after) = self.peers.get_mut(next.index()) {
            after.source_previous = previous;
            if previous.is_none() {
                (after.source_count, after.source_half_open) = counts;
            }
        }
    }

    pub(crate) fn count_half_open(&mut self, slot: usize, half_open: i32) {
        self.count(slot, 0, half_open);
    }

    /// Changes the counts of a peer's source.
    fn count(&mut self, slot: usize, all: i32, half_open: i32) {
        let Some(peer) = self.peers.get(slot) else { return };
        let head = match peer.source_previous.is_none() {
            true => Some(Link::new(slot as u32)),
            false => self.find_source(peer.source_hash, &peer.address),
        };
        if let Some(head) = head.and_then(|head| self.peers.get_mut(head.index())) {
            head.source_count = head.source_count.saturating_add_signed(all);
            head.source_half_open = head.source_half_open.saturating_add_signed(half_open);
        }
    }
}

/// What each peer is promised of banks, channels, commands, acknowledgements, arrivals and blocks: half of all there
/// may be is divided among as many peers as there may be.
fn shares(memory: &Memory<'_>, peers: u32) -> [u32; 6] {
    [
        memory.banks.ledger(),
        memory.channels.ledger(),
        memory.commands.ledger(),
        memory.acknowledgements.ledger(),
        memory.arrivals.ledger(),
        memory.pool.ledger(),
    ]
    .map(|ledger| (ledger.limit() / 2).checked_div(peers).unwrap_or(0).max(1))
}

impl Memory<'_> {
    /// Keeps what is promised to those who have not come yet.
    pub(crate) fn keep(&mut self, peers: u32) {
        let [bank, channel, command, acknowledgement, arrival, block] =
            shares(self, peers).map(|share| share.saturating_mul(peers));
        self.banks.keep(bank);
        self.channels.keep(channel);
        self.commands.keep(command);
        self.acknowledgements.keep(acknowledgement);
        self.arrivals.keep(arrival);
        self.pool.keep(block);
    }

    /// Promises a newcomer its share.
    pub(crate) fn admit(&mut self, quotas: &mut Quotas, peers: u32) {
        let [bank, channel, command, acknowledgement, arrival, block] = shares(self, peers);
        self.banks.admit(&mut quotas.banks, bank);
        self.channels.admit(&mut quotas.channels, channel);
        self.commands.admit(&mut quotas.commands, command);
        self.acknowledgements.admit(&mut quotas.acknowledgements, acknowledgement);
        self.arrivals.admit(&mut quotas.arrivals, arrival);
        self.pool.admit(&mut quotas.blocks, block);
    }

    /// Ends all promises to one who holds nothing any more, and keeps them for the next.
    pub(crate) fn dismiss(&mut self, quotas: &mut Quotas) {
        self.banks.dismiss(&mut quotas.banks, u32::MAX);
        self.channels.dismiss(&mut quotas.channels, u32::MAX);
        self.commands.dismiss(&mut quotas.commands, u32::MAX);
        self.acknowledgements.dismiss(&mut quotas.acknowledgements, u32::MAX);
        self.arrivals.dismiss(&mut quotas.arrivals, u32::MAX);
        self.pool.dismiss(&mut quotas.blocks, u32::MAX);
    }
}
