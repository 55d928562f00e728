//! Which bytes of a stream: a sorted list of ranges.

use bowline_core::serial::ahead32;
use bowline_core::{Link, Quota, Slots};

use crate::record::Record;

/// Records that the stream's ranges are kept in, and whose they are.
#[derive(Debug)]
pub struct Ranges<'a, 'm> {
    /// The supply.
    pub records: &'a mut Slots<'m, Record>,
    /// Who takes from it.
    pub quota: &'a mut Quota,
}

impl Ranges<'_, '_> {
    pub(super) fn give(&mut self, link: Link) {
        self.records.give(self.quota, link);
    }

    /// Puts the range of `link` into the sorted list at `first`, joined with those it touches, and returns
    /// with how many of them.
    pub(super) fn insert(&mut self, first: &mut Link, link: Link) -> u16 {
        let (start, end) = (self.records[link].start, self.records[link].end);
        let mut before = Link::NONE;
        let mut at = *first;
        while let Some(here) = at.some() {
            if ahead32(self.records[here].end, start) >= 0 {
                break;
            }
            (before, at) = (here, self.records[here].next);
        }
        let joined = match at.some() {
            Some(here) if ahead32(self.records[here].start, end) <= 0 => {
                let here_record = &mut self.records[here];
                if ahead32(start, here_record.start) < 0 {
                    here_record.start = start;
                }
                if ahead32(end, here_record.end) > 0 {
                    here_record.end = end;
                }
                self.give(link);
                here
            }
            _ => {
                self.records[link].next = at;
                if before.is_none() {
                    *first = link;
                } else {
                    self.records[before].next = link;
                }
                return 0;
            }
        };
        let mut joined_count = 1;
        while let Some(next) = self.records[joined].next.some() {
            if ahead32(self.records[next].start, self.records[joined].end) > 0 {
                break;
            }
            if ahead32(self.records[next].end, self.records[joined].end) > 0 {
                self.records[joined].end = self.records[next].end;
            }
            self.records[joined].next = self.records[next].next;
            self.give(next);
            joined_count += 1;
        }
        joined_count
    }
}

/// How many bytes lie in those ranges of the sorted list at `first` that begin behind `base`.
pub(super) fn len_ahead(records: &Slots<'_, Record>, first: Link, base: u32) -> u32 {
    let (mut at, mut len) = (first, 0u32);
    while let Some(link) = at.some() {
        let range = &records[link];
        if ahead32(range.start, base) > 0 {
            len = len.wrapping_add(range.end.wrapping_sub(range.start));
        }
        at = range.next;
    }
    len
}
