//! Queues whose links lie in their members, against a list.

use std::collections::VecDeque;

use bowline_core::{Link, Quota, Slot, SlotControl, Slots};
use bowline_transport::scheduler::{Member, Place, Queue};

use crate::feed::Feed;

const MEMBERS: usize = 9;

struct Item {
    next: Link,
    places: [Place; 2],
}

impl Slot for Item {
    const VACANT: Self = Self { next: Link::NONE, places: [Place::OUT; 2] };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Member<0> for Item {
    fn place(&mut self) -> &mut Place {
        &mut self.places[0]
    }
}

impl Member<1> for Item {
    fn place(&mut self) -> &mut Place {
        &mut self.places[1]
    }
}

/// Two queues that share their members.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut items = [const { Item::VACANT }; MEMBERS];
    let mut control = SlotControl::new(MEMBERS as u32);
    let mut slots = Slots::new(&mut items, &mut control);
    let mut quota = Quota::NONE;
    let links: Vec<Link> = (0..MEMBERS).filter_map(|_| slots.take(&mut quota)).collect();
    let (mut left, mut right) = (Queue::<0>::EMPTY, Queue::<1>::EMPTY);
    let mut models = [VecDeque::new(), VecDeque::new()];
    while !feed.is_empty() {
        let how = feed.u8();
        let member = links[feed.below(MEMBERS)];
        match how & 1 {
            0 => act(&mut left, &mut slots, &mut models[0], how >> 1, member),
            _ => act(&mut right, &mut slots, &mut models[1], how >> 1, member),
        }
        compare(&left, &mut slots, &models[0]);
        compare(&right, &mut slots, &models[1]);
    }
}

fn act<const Q: u8>(
    queue: &mut Queue<Q>,
    slots: &mut Slots<'_, Item>,
    model: &mut VecDeque<usize>,
    how: u8,
    member: Link,
) where
    Item: Member<Q>,
{
    let is_in = model.contains(&member.index());
    match how % 5 {
        0 => {
            queue.push(slots, member);
            if !is_in {
                model.push_back(member.index());
            }
        }
        1 => {
            queue.push_front(slots, member);
            if !is_in {
                model.push_front(member.index());
            }
        }
        2 => {
            let first = queue.pop(slots);
            assert_eq!(first.map(Link::index), model.pop_front());
        }
        3 => {
            queue.rotate(slots);
            if !model.is_empty() {
                model.rotate_left(1);
            }
        }
        _ => {
            queue.remove(slots, member);
            model.retain(|other| *other != member.index());
        }
    }
}

fn compare<const Q: u8>(queue: &Queue<Q>, slots: &mut Slots<'_, Item>, model: &VecDeque<usize>)
where
    Item: Member<Q>,
{
    let mut at = queue.front();
    for member in model {
        assert_eq!(at.map(Link::index), Some(*member), "{model:?}");
        at = at.and_then(|link| queue.after(slots, link));
    }
    assert!(at.is_none(), "more than {model:?}");
    assert_eq!(queue.is_empty(), model.is_empty());
}
