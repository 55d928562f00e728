//! Who is let in, before anything is known of him but where he is.

use bowline_core::{Address, DropReason, Instant, Link};

use crate::endpoint::{Context, Endpoint};
use crate::sources::{SourceCounts, may_ask};
use crate::storage::Storage;

impl<S: Storage> Endpoint<S> {
    /// Lets no new sessions begin from outside from now on, or lets them again.
    ///
    /// Whoever asks is refused as if there were no room. Sessions that have begun go on; so do those for
    /// which the application has been asked, and it may still accept them. Queries are answered, and this
    /// side may connect to others. When it [`Self::is_drained`] is for the application to see: after any
    /// [`Disconnected`](bowline_core::Event::Disconnected).
    pub const fn drain(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Whether no new sessions begin from outside.
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether no new sessions begin from outside, and none is left of any kind.
    pub fn is_drained(&mut self) -> bool {
        self.draining && self.storage.parts().peers.ledger().in_use() == 0
    }

    /// Whether somebody may ask for a session, or an answer without one. This counts as once.
    pub(crate) fn admit(&mut self, now: Instant, from: &Address) -> Result<(), DropReason> {
        if self.is_banned(now, from) {
            return Err(DropReason::Banned);
        }
        let Some(limit) = self.context.config.handshake_rate else { return Ok(()) };
        if self.storage.parts().peers.lent() == 0 {
            // Memory that can grow has grown for nobody yet. An answer would take the same.
            self.grow_peers();
        }
        let tag = self.context.hash.of(from.source().address()) as u32;
        let places = self.storage.gate().rates;
        if may_ask(places, &limit, tag, now) { Ok(()) } else { Err(DropReason::RateLimited) }
    }

    /// Whether there may be another session with the source of `from`.
    pub(crate) fn has_source_room(&mut self, from: &Address) -> bool {
        let max = self.context.config.source_sessions_max;
        max == u32::MAX || {
            let tag = self.context.source_tag(from);
            SourceCounts(self.storage.gate().counts).count(tag) < max
        }
    }

    /// A session has begun that somebody else asked for. It counts until its place is given back, or it is
    /// replaced.
    pub(crate) fn count_session(&mut self, link: Link) {
        if self.context.config.source_sessions_max < u32::MAX {
            let mut parts = self.storage.parts();
            let peer = &mut parts.peers[link];
            peer.is_counted = true;
            let tag = self.context.source_tag(&peer.address);
            SourceCounts(self.storage.gate().counts).add(tag);
        }
    }

    /// A session counts no more, if it did.
    pub(crate) fn uncount_session(&mut self, link: Link) {
        let mut parts = self.storage.parts();
        let peer = &mut parts.peers[link];
        if core::mem::take(&mut peer.is_counted) {
            let tag = self.context.source_tag(&peer.address);
            SourceCounts(self.storage.gate().counts).remove(tag);
        }
    }

    /// Counts the sessions of all sources anew, in more room.
    pub(crate) fn recount_sessions(&mut self) {
        if self.context.config.source_sessions_max == u32::MAX {
            return;
        }
        SourceCounts(self.storage.gate().counts).clear();
        let mut at = self.lines.sessions.front();
        while let Some(link) = at {
            let mut parts = self.storage.parts();
            at = self.lines.sessions.after(&mut parts.peers, link);
            if core::mem::take(&mut parts.peers[link].is_counted) {
                self.count_session(link);
            }
        }
    }
}

impl Context {
    /// What the source of `address` is known by where its sessions are counted.
    fn source_tag(&self, address: &Address) -> u32 {
        (self.hash.of(address.source().address()) >> u32::BITS) as u32
    }
}
