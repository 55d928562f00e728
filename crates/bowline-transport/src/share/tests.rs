use alloc::vec;
use alloc::vec::Vec;

use bowline_core::{Instant, Link, Quota, Slot, SlotControl, Slots};
use proptest::prelude::*;

use super::member::advance;
use super::*;

struct Item(Link, Share);

impl Slot for Item {
    const VACANT: Self = Self(Link::NONE, Share::new(Class::DEFAULT));

    fn next(&self) -> Link {
        self.0
    }

    fn set_next(&mut self, next: Link) {
        self.0 = next;
    }
}

impl Member for Item {
    fn share(&mut self) -> &mut Share {
        &mut self.1
    }
}

/// What a line without budgets is: a list sorted by numbers that do not wrap.
#[derive(Default)]
struct Model {
    line: Vec<usize>,
    /// In 2⁻¹² bytes.
    pass: Vec<i64>,
    priority: Vec<u8>,
    weight: Vec<i64>,
    urgent: Vec<bool>,
}

impl Model {
    fn equals(&self, who: usize) -> impl Iterator<Item = usize> {
        let equal = move |other: &usize| self.priority[*other] == self.priority[who];
        self.line.iter().copied().filter(equal)
    }

    /// The pass of the one that is due next among those as `who`.
    fn base(&self, who: usize) -> Option<i64> {
        let next = self.equals(who).find(|&w| !self.urgent[w]).or(self.equals(who).last())?;
        Some(self.pass[next])
    }

    fn put(&mut self, who: usize) {
        if let Some(base) = self.base(who) {
            self.pass[who] = self.pass[who].min(base + (1 << 28));
        }
        self.line.push(who);
        self.line.sort_by_key(|&w| (255 - self.priority[w], !self.urgent[w], self.pass[w]));
    }

    fn push(&mut self, who: usize, urgent: bool) {
        let new = !self.line.contains(&who);
        if !new && !urgent {
            return;
        }
        if new && let Some(base) = self.base(who) {
            let debt = 2_048 * 4_096 / self.weight[who];
            self.pass[who] = self.pass[who].clamp(base, base + debt);
        }
        if new || !self.urgent[who] && self.line[0] != who {
            self.line.retain(|&w| w != who);
            self.urgent[who] = urgent;
            self.put(who);
        }
        self.urgent[who] = urgent;
    }

    fn charge(&mut self, who: usize, bytes: i64, more: bool) {
        let queued = self.line.contains(&who);
        if self.line == [who] {
            self.urgent[who] = false;
        } else {
            self.line.retain(|&w| w != who);
            self.urgent[who] = false;
            self.pass[who] += bytes * 4_096 / self.weight[who];
            if queued && more {
                self.put(who);
            }
        }
        if !more {
            self.line.retain(|&w| w != who);
        }
    }
}

fn class() -> impl Strategy<Value = (u8, u8)> {
    (prop_oneof![3 => Just(128u8), 1 => 127u8..130], prop_oneof![Just(16), Just(1), 1u8..])
}

proptest! {
    #![proptest_config(crate::thorough())]

    #[test]
    fn agrees_with_a_sorted_list(
        classes in prop::collection::vec(class(), 5),
        start in prop_oneof![Just(0u32), Just(u32::MAX - 100_000), any::<u32>()],
        ops in prop::collection::vec((0u8..9, 0usize..5, 1u32..1_500, class()), 0..200),
    ) {
        let mut items: Vec<Item> = (0..5).map(|_| Item::VACANT).collect();
        let mut control = SlotControl::new(5);
        let mut slots = Slots::new(&mut items, &mut control);
        let mut quota = Quota::NONE;
        let links: Vec<_> = (0..5).map(|_| slots.take(&mut quota).unwrap()).collect();
        let mut model = Model { urgent: vec![false; 5], pass: vec![i64::from(start); 5], ..Model::default() };
        for (link, &(priority, weight)) in links.iter().zip(&classes) {
            let class = Class { priority, weight, ..Class::DEFAULT };
            *slots[*link].share() = Share { pass: start, ..Share::new(class) };
            model.priority.push(priority);
            model.weight.push(i64::from(weight));
        }
        let mut line = Line::EMPTY;
        let now = Instant::ZERO;
        for (op, who, bytes, (priority, weight)) in ops {
            let first = model.line.first().copied();
            match (op, first) {
                (0 | 1, _) => {
                    line.push(&mut slots, links[who]);
                    model.push(who, false);
                }
                (2, _) => {
                    line.push_urgent(&mut slots, links[who]);
                    model.push(who, true);
                }
                (3, _) => {
                    line.remove(&mut slots, links[who]);
                    model.line.retain(|&w| w != who);
                }
                // Somebody sends out of turn.
                (4, _) => {
                    line.charge(&mut slots, links[who], bytes * 40, true, now);
                    model.charge(who, i64::from(bytes * 40), true);
                }
                (5, _) if bytes < 100 => {
                    let class = Class { priority, weight, ..Class::DEFAULT };
                    line.set_class(&mut slots, links[who], class);
                    let (queued, urgent) = (model.line.contains(&who), model.urgent[who]);
                    model.line.retain(|&w| w != who);
                    (model.priority[who], model.weight[who]) = (priority, i64::from(weight));
                    if queued { model.push(who, urgent); }
                }
                (_, Some(who)) => {
                    line.charge(&mut slots, links[who], bytes, op != 6, now);
                    model.charge(who, i64::from(bytes), op != 6);
                }
                _ => {}
            }
            let mut at = line.head;
            let walk = core::iter::from_fn(|| {
                let link = at.some()?;
                at = slots[link].share().next;
                Some(link.index())
            });
            prop_assert_eq!(walk.collect::<Vec<_>>(), model.line.clone());
            let front = line.front(&mut slots, now).map(Link::index);
            prop_assert_eq!(front, model.line.first().copied());
            prop_assert_eq!(line.tail.some().map(Link::index), model.line.last().copied());
            prop_assert_eq!(line.wake_at(), front.map(|_| Instant::ZERO));
            for (who, &link) in links.iter().enumerate() {
                let share = slots[link].share();
                prop_assert_eq!(share.is_queued(), model.line.contains(&who));
                prop_assert_eq!(share.pass, model.pass[who] as u32);
                let others = model.line.iter().any(|&w| w != who);
                prop_assert_eq!(line.has_others(&mut slots, link, now), others);
            }
        }
    }

    /// A budget is a quotient: whatever is sent when, as long as nothing is forgotten.
    #[test]
    fn an_instant_moves_on_by_bytes_over_rate(
        rate in prop_oneof![1u32..2_000, 1u32..],
        start in 200_000u64..1 << 50,
        bytes in prop::collection::vec(1u32..3_000, 1..300),
    ) {
        let (mut at, mut part) = (Instant::from_micros(start), 0);
        for &bytes in &bytes {
            (at, part) = advance(at, part, Instant::from_micros(start), bytes, rate);
        }
        let sum: u128 = bytes.iter().map(|&bytes| u128::from(bytes)).sum();
        let exact = ((sum * 1_000_000) << 16) / u128::from(rate);
        let moved = (u128::from((at - Instant::from_micros(start)).as_micros()) << 16) + u128::from(part);
        prop_assert!(moved <= exact && exact - moved <= bytes.len() as u128, "{moved} {exact}");
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<Share>() <= 40, "{}", size_of::<Share>());
    assert!(size_of::<Line>() <= 16, "{}", size_of::<Line>());
}

#[test]
fn nothing_overflows() {
    let class = Class { rate_min: 1, rate_max: 1, weight: 1, ..Class::DEFAULT };
    let mut share = Share::new(class);
    for now in [Instant::ZERO, Instant::MAX, Instant::ZERO, Instant::from_micros(1)] {
        share.charge_budgets(u32::MAX, now);
        assert!(share.cost(u32::MAX) <= 1 << 28);
    }
    assert!(share.is_blocked(Instant::from_micros(u64::MAX - 1)));
}

#[test]
fn a_class_is_checked() {
    let class = Class { rate_min: 2, rate_max: 1, ..Class::DEFAULT };
    assert_eq!(Class::DEFAULT.check(), Ok(()));
    assert_eq!(class.check(), Err(ClassError::MinimumAboveMaximum));
    assert_eq!(Class { rate_max: 0, ..class }.check(), Ok(()));
    assert_eq!(Class { weight: 0, ..class }.check(), Err(ClassError::WeightZero));
    assert_eq!(Share::new(Class { weight: 0, ..class }).class().weight, 1);
}
