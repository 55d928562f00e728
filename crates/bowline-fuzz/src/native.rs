//! Native endpoints as subjects.

use bowline_core::{Address, CloseReason, Instant, Mode, PeerId};
use bowline_native::{Endpoint, InUse, Storage};

use crate::Subject;

/// Longer than any payload that is sent here.
const PAYLOAD_MAX: usize = 64;

impl<S: Storage> Subject for Endpoint<S> {
    fn connect(&mut self, now: Instant, to: Address, payload: &[u8]) -> Option<PeerId> {
        self.connect_plain(now, to, payload).ok()
    }

    fn payload(&mut self, peer: PeerId) -> Vec<u8> {
        let mut payload = [0; PAYLOAD_MAX];
        let len = self.connect_payload(peer, &mut payload);
        payload[..len.min(PAYLOAD_MAX)].to_vec()
    }

    fn answer(&mut self, now: Instant, peer: PeerId, accept: bool) {
        // He may have given up before we looked; then `Disconnected` is the next we hear of it.
        let _ = match accept {
            true => self.accept(now, peer),
            false => self.refuse(now, peer, CloseReason(3)),
        };
    }

    fn finish(&mut self, now: Instant, peer: PeerId, reason: CloseReason) -> bool {
        Self::finish(self, now, peer, reason).is_ok()
    }

    fn set_suspended(&mut self, now: Instant, away: bool) {
        if away { self.suspend() } else { self.resume(now) }
    }

    fn message_max(&mut self, peer: PeerId, mode: Mode) -> Option<usize> {
        Self::message_max(self, peer, mode)
    }

    fn leftovers(&mut self) -> Option<String> {
        let in_use = self.in_use();
        (in_use != InUse::default()).then(|| format!("{in_use:?}"))
    }
}
