//! Sharing the host's bandwidth among its peers, once a second.

use bowline_wire::enet::{Command, Time};

use crate::host::Work;
use crate::peer::THROTTLE_SCALE;

/// Milliseconds between two ticks.
pub(crate) const TICK: u32 = 1_000;

/// Bytes in `elapsed` milliseconds; modulo 2^32, as in ENet.
const fn bytes_in(bandwidth: u32, elapsed: u32) -> u32 {
    bandwidth.wrapping_mul(elapsed) / 1_000
}

impl Work<'_> {
    /// Does what is due once a second.
    pub(crate) fn tick(&mut self) {
        let now = self.shared.clock.now;
        let elapsed = now.as_millis().wrapping_sub(self.shared.epoch.as_millis());
        if now.distance(self.shared.epoch) < TICK || elapsed < TICK {
            return;
        }
        self.shared.epoch = now;
        if self.shared.connected == 0 {
            return;
        }
        self.throttle_all(elapsed);
        if self.shared.recalculate {
            self.shared.recalculate = false;
            self.announce();
        }
    }

    /// Calls `each` for all peers that are connected, in order.
    fn for_live(&mut self, mut each: impl FnMut(&mut crate::peer::Peer)) {
        let mut from = 0;
        while let Some(slot) = self.parts.sets.taken.next(from) {
            from = slot + 1;
            if let Some(peer) = self.parts.peers.get_mut(slot).filter(|peer| peer.is_live()) {
                each(peer);
            }
        }
    }

    /// Limits the throttle of each peer to its share of what may be sent.
    fn throttle_all(&mut self, elapsed: u32) {
        let (mut total, mut budget) = (u32::MAX, u32::MAX);
        if self.shared.config.outgoing_bandwidth != 0 {
            total = 0;
            budget = bytes_in(self.shared.config.outgoing_bandwidth, elapsed);
            self.for_live(|peer| total = total.wrapping_add(peer.outgoing_total));
        }
        let ratio = |total: u32, budget: u32| {
            if total <= budget {
                return THROTTLE_SCALE;
            }
            budget.wrapping_mul(THROTTLE_SCALE).checked_div(total).unwrap_or(THROTTLE_SCALE)
        };
        self.for_live(|peer| peer.is_limit_fixed = false);
        let mut left = self.shared.connected;
        let mut again = self.shared.limited > 0;
        while left > 0 && again {
            again = false;
            let share = ratio(total, budget);
            self.for_live(|peer| {
                if peer.incoming_bandwidth == 0 || peer.is_limit_fixed {
                    return;
                }
                let own = bytes_in(peer.incoming_bandwidth, elapsed);
                if share.wrapping_mul(peer.outgoing_total) / THROTTLE_SCALE <= own {
                    return;
                }
                let limit = own
                    .wrapping_mul(THROTTLE_SCALE)
                    .checked_div(peer.outgoing_total)
                    .unwrap_or(THROTTLE_SCALE);
                peer.throttle_limit = limit.max(1);
                peer.throttle = peer.throttle.min(peer.throttle_limit);
                peer.is_limit_fixed = true;
                peer.outgoing_total = 0;
                again = true;
                left -= 1;
                budget = budget.wrapping_sub(own);
                total = total.wrapping_sub(own);
            });
        }
        if left > 0 {
            let share = ratio(total, budget);
            self.for_live(|peer| {
                if !peer.is_limit_fixed {
                    peer.throttle_limit = share;
                    peer.throttle = peer.throttle.min(share);
                    peer.outgoing_total = 0;
                }
            });
        }
    }

    /// Finds out who gets what he asked for of what this host can receive.
    fn share_incoming(&mut self) -> u32 {
        let mut bandwidth = self.shared.config.incoming_bandwidth;
        self.for_live(|peer| peer.is_settled = false);
        if bandwidth == 0 {
            return 0;
        }
        let (mut left, mut share, mut again) = (self.shared.connected, 0, true);
        while left > 0 && again {
            again = false;
            share = bandwidth.checked_div(left).unwrap_or(0);
            self.for_live(|peer| {
                let wants_more = peer.outgoing_bandwidth > 0 && peer.outgoing_bandwidth >= share;
                if !peer.is_settled && !wants_more {
                    peer.is_settled = true;
                    again = true;
                    left -= 1;
                    bandwidth = bandwidth.wrapping_sub(peer.outgoing_bandwidth);
                }
            });
        }
        share
    }

    /// Tells all peers their share.
    fn announce(&mut self) {
        let share = self.share_incoming();
        let mut from = 0;
        while let Some(slot) = self.parts.sets.taken.next(from) {
            from = slot + 1;
            let Some(peer) = self.parts.peers.get_mut(slot).filter(|peer| peer.is_live()) else {
                continue;
            };
            let limit = Command::BandwidthLimit {
                incoming: if peer.is_settled { peer.outgoing_bandwidth } else { share },
                outgoing: self.shared.config.outgoing_bandwidth,
            };
            // Without memory the peer goes on with what it knows.
            let _ = peer.queue_control(&mut self.parts.memory, self.shared, true, &limit);
            self.parts.sets.ready.insert(slot);
        }
    }

    /// When the next tick has anything to do.
    pub(crate) fn next_tick(&self) -> Option<Time> {
        let shared = &self.shared;
        let matters = shared.connected > 0
            && (shared.recalculate || shared.limited > 0 || shared.config.outgoing_bandwidth != 0);
        matters.then(|| shared.epoch + TICK)
    }
}
