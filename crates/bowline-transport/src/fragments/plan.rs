//! What a whole packet of fragments will take.

use bowline_core::Pool;

use super::assembly::{Assembly, Key, PART_MAX, Span};
use super::{Fragment, Limits, Refused, blocks};

/// What the fragments of one packet that passed [`check`](super::Reassembly::check) so far will
/// take.
///
/// [`insert`](super::Reassembly::insert) accepts all fragments that were checked with the same
/// plan, if it gets them in the same order and nothing else happens in between. The exception is a
/// packet as only a hostile peer sends it, which repeats bytes that arrived, or in which fragments
/// of several messages take turns and contradict or scatter each other: insertion may then stop
/// in the middle, which harms nobody else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// How many messages the fragments belong to, known ones too: one that is known now may have
    /// been completed, or given up for another, before its next fragment is inserted.
    pub(super) messages: u32,
    /// How many blocks these messages lie in.
    pub(super) blocks: u32,
    /// How many blocks are to be taken or walked over.
    steps: u32,
    last: Option<Planned>,
}

/// The message of the fragment that was checked last. Fragments of the same message that follow
/// each other count it once.
#[derive(Clone, Copy, Debug)]
struct Planned {
    key: Key,
    total: u32,
    /// Where the fragment ends.
    end: u32,
    /// How many parts the message will be in, at most.
    parts: usize,
}

impl Plan {
    /// Nothing was checked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages the fragments belong to.
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// How many blocks the messages of the fragments lie in.
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// This plan and `fragment`, of a message of which `known` is here already.
    pub(super) fn with(
        mut self,
        fragment: &Fragment<'_>,
        known: Option<&Assembly>,
        pool: &Pool<'_>,
        limits: &Limits,
    ) -> Result<Self, Refused> {
        let span = Span::of(fragment, limits)?;
        let key = Key::of(fragment);
        let last = self.last.filter(|last| last.key == key);
        let total = last.map(|last| last.total).or(known.map(Assembly::total));
        if total.is_some_and(|total| total != fragment.total) {
            return Err(Refused::Contradiction);
        }

        let before = last.map_or(known.map_or(0, |known| known.parts.len()), |last| last.parts);
        let joins = last.is_some_and(|last| last.end == span.start)
            || known.is_some_and(|known| known.parts.touch(span));
        let parts = before + usize::from(!joins);

        let reached = known.map_or(0, |known| known.parts.reached(span.start));
        let reached = reached.max(last.map_or(0, |last| last.end.min(span.start)));
        let mut steps = blocks(pool, span.start.saturating_sub(reached));
        let total = blocks(pool, fragment.total);
        if last.is_none() {
            self.messages = self.messages.saturating_add(1);
            self.blocks = self.blocks.saturating_add(total);
            steps = steps.saturating_add(if known.is_none() { total } else { 0 });
        }
        self.steps = self.steps.saturating_add(steps);
        if parts > PART_MAX || self.steps > steps_max(pool, limits) {
            return Err(Refused::TooScattered);
        }
        self.last = Some(Planned { key, total: fragment.total, end: span.end, parts });
        Ok(self)
    }
}

/// How many blocks one packet may have taken and walked over: four times what all messages lie in
/// that a peer may have here. A packet that finishes some of them and begins others needs half.
fn steps_max(pool: &Pool<'_>, limits: &Limits) -> u32 {
    blocks(pool, limits.bytes).saturating_add(u32::from(limits.messages)).saturating_mul(4)
}
