//! Unconnected queries: asked and answered without a session.

use bowline_core::{Address, DropReason, Instant};

use crate::endpoint::Endpoint;
use crate::reply::{Reply, ReplyKind};
use crate::storage::Storage;

/// Longest answer to an unconnected query, in bytes.
pub const INFO_LEN_MAX: usize = 64;

/// Bytes of an ANSWER besides its payload.
pub(crate) const ANSWER_LEN: usize = 14;

/// What this endpoint tells whoever asks, without a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub(crate) bytes: heapless::Vec<u8, INFO_LEN_MAX>,
    set: bool,
}

/// What somebody answered to an unconnected query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who answered.
    pub from: Address,
    /// What.
    pub bytes: heapless::Vec<u8, INFO_LEN_MAX>,
    pub(crate) untold: bool,
}

impl<S: Storage> Endpoint<S> {
    /// Sets what this endpoint answers to unconnected queries; nothing, if `info` is none.
    ///
    /// Returns false, and changes nothing, if it is longer than [`INFO_LEN_MAX`] bytes. It is
    /// sent only to queries that are at least as long as the answer.
    pub fn set_info(&mut self, info: Option<&[u8]>) -> bool {
        let Ok(bytes) = heapless::Vec::from_slice(info.unwrap_or_default()) else { return false };
        self.info = Info { bytes, set: info.is_some() };
        true
    }

    /// Asks whoever is at `to` for its info, without a session; [`bowline_core::Event::Answered`]
    /// tells when one has come. `to` may be a broadcast address.
    ///
    /// Returns whether there was room to queue the query. Only answers to queries since the last
    /// call of [`Self::end_queries`] count.
    pub fn query(&mut self, now: Instant, to: Address) -> bool {
        self.enter(now);
        let nonce = match self.query {
            Some(nonce) => nonce,
            None => self.context.random.next_u64(),
        };
        self.query = Some(nonce);
        if self.storage.parts().replies.is_empty() {
            self.grow_peers();
        }
        self.queue_reply(Reply { to, kind: ReplyKind::Query { nonce } })
    }

    /// Answers to earlier queries are no longer of interest.
    pub fn end_queries(&mut self) {
        (self.query, self.answer) = (None, None);
    }

    /// The answer that [`bowline_core::Event::Answered`] told of. Others are dropped until it is taken.
    pub const fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    pub(crate) fn on_query(
        &mut self,
        from: &Address,
        application: u64,
        nonce: u64,
        len: usize,
    ) -> Result<(), DropReason> {
        let wanted = application == self.context.config.application && self.info.set;
        if !wanted || self.info.bytes.len() + ANSWER_LEN > len {
            return Err(DropReason::Unexpected);
        }
        if self.storage.parts().replies.is_empty() {
            self.grow_peers();
        }
        let kind = ReplyKind::Answer { nonce, room: len as u16 };
        self.queue_reply(Reply { to: *from, kind }).then_some(()).ok_or(DropReason::Full)
    }

    pub(crate) fn on_answer(
        &mut self,
        from: &Address,
        nonce: u64,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        if self.query != Some(nonce) {
            return Err(DropReason::Unexpected);
        }
        let bytes = heapless::Vec::from_slice(payload).map_err(|_| DropReason::OverLimit)?;
        if self.answer.is_some() {
            return Err(DropReason::Full);
        }
        self.answer = Some(Answer { from: *from, bytes, untold: true });
        Ok(())
    }
}
