//! Which domain a peer has open for a channel and mode: rows of links that are lent to whoever opens one.

use bowline_core::{Link, Mode};

/// For each (channel, mode) of a peer its domain; a peer that never used any has no row.
#[derive(Debug)]
pub(crate) struct Table<'m> {
    /// All rows, each as long as there are channels. The first link of a free row is the next free one.
    cells: &'m mut [Cell],
    control: &'m mut TableControl,
    channels: usize,
}

/// The domains of a channel, by mode.
type Cell = [Link; 5];

/// The cell of a peer's first channel, or none as long as it has opened no domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row(Link);

impl Row {
    pub(crate) const NONE: Self = Self(Link::NONE);

    /// The place of the cell of `channel`, if this is a row.
    #[inline]
    fn cell(self, channel: u8) -> Option<usize> {
        // What none is lies beyond all cells there are, or beyond all places.
        self.0.index().checked_add(channel.into())
    }
}

/// The part of a [`Table`] that outlives a borrow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableControl {
    free: Link,
    /// Cells from here on were never lent.
    fresh: u32,
}

impl TableControl {
    pub(crate) const fn new() -> Self {
        Self { free: Link::NONE, fresh: 0 }
    }
}

impl<'m> Table<'m> {
    /// Views lent memory as a table of `channels` channels.
    #[inline]
    pub(crate) fn new(
        cells: &'m mut [Cell],
        control: &'m mut TableControl,
        channels: usize,
    ) -> Self {
        Self { cells, control, channels }
    }

    /// How many channels each row has.
    pub(crate) const fn channels(&self) -> usize {
        self.channels
    }

    /// The domain of `channel` and `mode` in `row`, if it is open.
    ///
    /// Always inlined: a reference to the table would have all parts of the memory written down for each
    /// message.
    #[inline(always)]
    pub(crate) fn find(&self, row: Row, channel: u8, mode: Mode) -> Option<Link> {
        // The row behind is another session's.
        if usize::from(channel) >= self.channels {
            return None;
        }
        self.cells.get(row.cell(channel)?)?.get(mode as usize)?.some()
    }

    /// Makes `row` one if it is none. Whether it is one now.
    pub(crate) fn begin(&mut self, row: &mut Row) -> bool {
        if row.0.is_some() {
            return true;
        }
        let recycled = self.control.free.is_some();
        let next = if recycled { self.control.free } else { Link::new(self.control.fresh) };
        let start = next.index();
        let Some([first, ..]) = self.cells.get_mut(start..start.saturating_add(self.channels))
        else {
            return false;
        };
        if recycled {
            let [next, ..] = core::mem::replace(first, [Link::NONE; 5]);
            self.control.free = next;
        } else {
            self.control.fresh += self.channels as u32;
        }
        *row = Row(next);
        true
    }

    /// Enters a domain, opened by whom `row` belongs to.
    pub(crate) fn insert(&mut self, row: Row, channel: u8, mode: Mode, domain: Link) {
        debug_assert!(row.0.is_some() && usize::from(channel) < self.channels);
        let cell = row.cell(channel).and_then(|at| self.cells.get_mut(at));
        if let Some(place) = cell.and_then(|cell| cell.get_mut(mode as usize)) {
            *place = domain;
        }
    }

    /// Takes a row back.
    pub(crate) fn end(&mut self, row: &mut Row) {
        let Some(ended) = core::mem::replace(row, Row::NONE).0.some() else { return };
        let start = ended.index();
        let cells = self.cells.get_mut(start..start.saturating_add(self.channels));
        let cells = cells.unwrap_or_default();
        cells.fill([Link::NONE; 5]);
        if let Some([first, ..]) = cells.first_mut() {
            *first = self.control.free;
            self.control.free = ended;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Three peers of two channels share two rows, of which the second is lent later.
        #[test]
        fn agrees_with_a_map(
            ops in prop::collection::vec((0usize..3, 0u8..2, 0usize..3, 0u8..4), 0..200),
            later in 0usize..100,
        ) {
            let (mut rows, mut cells) = ([Row::NONE; 3], [[Link::NONE; 5]; 4]);
            let (mut control, mut model) = (TableControl::new(), BTreeMap::<(usize, u8, usize), Link>::new());
            for (i, (peer, channel, mode, what)) in ops.into_iter().enumerate() {
                let lent = if i < later { 1 } else { 2 };
                let mut table = Table::new(&mut cells[..2 * lent], &mut control, 2);
                let mode = Mode::GODOT[mode];
                let taken = rows.iter().filter(|row| row.0.is_some()).count();
                if what == 0 {
                    table.end(&mut rows[peer]);
                    model.retain(|(of, ..), _| *of != peer);
                } else {
                    let there = rows[peer].0.is_some() || taken < lent;
                    prop_assert_eq!(table.begin(&mut rows[peer]), there);
                    if there {
                        table.insert(rows[peer], channel, mode, Link::new(i as u32));
                        model.insert((peer, channel, mode as usize), Link::new(i as u32));
                    }
                }
                for (peer, &row) in rows.iter().enumerate() {
                    for (channel, mode) in [0, 1].into_iter().flat_map(|c| Mode::GODOT.map(|m| (c, m))) {
                        let known = model.get(&(peer, channel, mode as usize)).copied();
                        prop_assert_eq!(table.find(row, channel, mode), known);
                    }
                }
            }
        }
    }
}
