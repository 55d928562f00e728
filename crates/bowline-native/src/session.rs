//! A place for a session: taken, or given back.

use bowline_core::{Address, Link};

use bowline_transport::run::Run;

use crate::endpoint::{Endpoint, Freed};
use crate::peer::Phase;
use crate::storage::{Need, Storage};

impl<S: Storage> Endpoint<S> {
    pub(crate) fn grow_peers(&mut self) -> bool {
        let before = self.storage.parts().replies.len();
        let grew = self.storage.grow(Need::Peer);
        if grew {
            let parts = self.storage.parts();
            self.replies.on_grown(parts.replies, before);
            let links = (0..parts.peers.lent() as u32).map(Link::new);
            let links = links.filter(|link| parts.peers[*link].is_listed);
            self.context.hash.rebuild(parts.index, &parts.peers, links);
            self.recount_sessions();
        }
        grew
    }

    /// Takes a slot for a session with `address`, and what it is promised.
    pub(crate) fn begin_session(&mut self, address: Address) -> Option<Link> {
        if self.storage.parts().peers.vacant() == 0 {
            self.grow_peers();
        }
        let mut parts = self.storage.parts();
        let link = parts.peers.take(&mut self.peers_quota)?;
        let peer = &mut parts.peers[link];
        if !peer.admit(&mut parts.memory, &self.context.promise) {
            parts.peers.give(&mut self.peers_quota, link);
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        peer.generation = self.generation;
        peer.address = address;
        peer.phase = Phase::Asked;
        peer.is_listed = true;
        peer.integrity = self.context.config.integrity;
        let initial = self.context.random.next_u32();
        peer.initial_out = self.context.config.initial.unwrap_or(initial);
        if self.context.config.connection_ids {
            let high = u64::from(self.context.random.next_u32()) << self.context.slot_bits;
            peer.own_id = high as u32 | link.index() as u32;
        }
        self.context.hash.insert(parts.index, &parts.peers, link);
        self.lines.sessions.push(&mut parts.peers, link);
        Some(link)
    }

    pub(crate) fn abort_session(&mut self, link: Link) {
        let mut parts = self.storage.parts();
        self.context.hash.remove(parts.index, &parts.peers, link);
        parts.peers[link].vacate(&mut parts.memory, &self.context.promise);
        self.lines.remove(&mut parts.peers, link);
        parts.peers.give(&mut self.peers_quota, link);
    }

    /// Copies a connect payload into the session's memory.
    pub(crate) fn keep_payload(&mut self, link: Link, payload: &[u8]) -> bool {
        let parts = self.storage.parts();
        let needed = parts.memory.pool.blocks_for(payload.len());
        if needed > parts.memory.pool.vacant() {
            self.storage.grow(Need::Blocks(needed));
        }
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        if needed > parts.memory.pool.available(&peer.send_blocks) {
            return false;
        }
        let mut run = Run::EMPTY;
        let fits = run.append(&mut parts.memory.pool, &mut peer.send_blocks, payload);
        (peer.payload, peer.payload_len) = (run.front().place().0, payload.len() as u16);
        fits
    }

    /// Gives the slot of a session back that is over (`Peer::is_over`).
    #[inline(never)]
    pub(crate) fn retire(&mut self, link: Link) {
        self.uncount_session(link);
        let mut parts = self.storage.parts();
        parts.peers[link].vacate(&mut parts.memory, &self.context.promise);
        parts.schedule.set(link.index(), None);
        self.lines.remove(&mut parts.peers, link);
        parts.peers.give(&mut self.peers_quota, link);
        self.freed = Freed::ALL;
    }

    /// A session is open from now on.
    pub(crate) fn on_begun(&mut self, link: Link) {
        self.statistics.sessions = self.statistics.sessions.wrapping_add(1);
        let id = self.storage.parts().peers[link].id(link);
        bowline_core::debug!("{:?} begins", id);
    }
}
