//! Shares of a session: nobody of a lower priority before one of a higher, and each its part by weight.

use bowline_core::{Instant, Link, Quota, Slot, SlotControl, Slots};
use bowline_transport::share::{Class, Line, Member, Share};

use crate::feed::Feed;

const MEMBERS: usize = 5;

struct Item {
    next: Link,
    share: Share,
}

impl Slot for Item {
    const VACANT: Self = Self { next: Link::NONE, share: Share::new(Class::DEFAULT) };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Member for Item {
    fn share(&mut self) -> &mut Share {
        &mut self.share
    }
}

/// Channels without budgets come, send datagrams when first in line, and go; those that stay get their parts.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut items = [const { Item::VACANT }; MEMBERS];
    let mut control = SlotControl::new(MEMBERS as u32);
    let mut slots = Slots::new(&mut items, &mut control);
    let mut quota = Quota::NONE;
    let links: Vec<Link> = (0..MEMBERS).filter_map(|_| slots.take(&mut quota)).collect();
    let mut classes = [Class::DEFAULT; MEMBERS];
    for (class, link) in classes.iter_mut().zip(&links) {
        let how = feed.u8();
        let (priority, weight) = (128 + (how & 1), 1 + (how >> 1 & 31));
        *class = Class { priority, weight, ..Class::DEFAULT };
        *slots[*link].share() = Share::new(*class);
    }
    let mut line = Line::EMPTY;
    let mut queued = [false; MEMBERS];
    let now = Instant::from_micros(1);
    while !feed.is_empty() {
        let (how, who) = (feed.u8(), feed.below(MEMBERS));
        match how % 4 {
            0 => {
                line.push(&mut slots, links[who]);
                queued[who] = true;
            }
            1 if how & 0x10 == 0 => {
                line.remove(&mut slots, links[who]);
                queued[who] = false;
            }
            _ => {
                let Some(first) = line.front(&mut slots, now) else {
                    assert_eq!(queued, [false; MEMBERS], "a line that is empty");
                    continue;
                };
                let at = links.iter().position(|link| *link == first).expect("one of them");
                let highest = (0..MEMBERS).filter(|at| queued[*at]).map(|at| classes[at].priority);
                assert_eq!(Some(classes[at].priority), highest.max(), "before a higher priority");
                assert!(queued[at], "{at} is not in line");
                let more = how & 0x20 == 0;
                let bytes = 1 + u32::from(feed.u16()) % 1_500;
                line.charge(&mut slots, first, bytes, more, now);
                queued[at] = more;
            }
        }
        for (at, link) in links.iter().enumerate() {
            assert_eq!(slots[*link].share().is_queued(), queued[at], "{at}");
        }
    }
    backlog(&mut line, &mut slots, &links, &classes, &mut queued, now);
}

/// From here on all of one priority have enough to send: their parts are as their weights, whatever was before.
fn backlog(
    line: &mut Line,
    slots: &mut Slots<'_, Item>,
    links: &[Link],
    classes: &[Class; MEMBERS],
    queued: &mut [bool; MEMBERS],
    now: Instant,
) {
    for (at, link) in links.iter().enumerate() {
        line.push(slots, *link);
        queued[at] = true;
    }
    let highest = classes.iter().map(|class| class.priority).max();
    let mut sent = [0u64; MEMBERS];
    const DATAGRAMS: u64 = 2_000;
    const BYTES: u32 = 1_000;
    for _ in 0..DATAGRAMS {
        let first = line.front(slots, now).expect("all wait");
        let at = links.iter().position(|link| *link == first).expect("one of them");
        sent[at] += 1;
        line.charge(slots, first, BYTES, true, now);
    }
    let member = |at: &usize| Some(classes[*at].priority) == highest;
    let weights: u64 = (0..MEMBERS).filter(member).map(|at| u64::from(classes[at].weight)).sum();
    for at in 0..MEMBERS {
        let part =
            if member(&at) { DATAGRAMS * u64::from(classes[at].weight) / weights } else { 0 };
        // What one may owe or be owed from before, and the last turn of each.
        let slack = part / 20 + 70;
        assert!(sent[at].abs_diff(part) <= slack, "{at} of {classes:?}: {sent:?}, not {part}");
    }
}
