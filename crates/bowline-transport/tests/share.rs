//! Channels that share a link: what is promised of priorities, weights and budgets.

extern crate alloc;

use alloc::vec::Vec;

use bowline_core::{Duration, Instant, Link, Quota, Slot, SlotControl, Slots};
use bowline_transport::share::{BURST, Class, Line, Member, Share};
use proptest::prelude::*;

/// Bytes in a datagram.
const ROOM: u32 = 1_200;

/// Bytes per second.
const LINK: u32 = 1_200_000;

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

struct Channel {
    link: Link,
    /// The lengths of its messages, again and again.
    lens: Vec<u32>,
    next: usize,
    /// Messages that wait.
    waiting: u64,
    /// Bytes sent.
    sent: u64,
    /// When datagrams with something of it went, and how much.
    log: Vec<(Instant, u32)>,
}

/// Never runs out of messages.
const BACKLOG: u64 = u64::MAX;

/// Channels of one peer behind a link that takes [`LINK`] bytes a second.
struct Bench<'m> {
    slots: Slots<'m, Item>,
    line: Line,
    channels: Vec<Channel>,
    now: Instant,
}

impl Bench<'_> {
    fn run<R>(channels: &[(Class, &[u32])], test: impl FnOnce(Bench<'_>) -> R) -> R {
        let mut items: Vec<Item> = channels.iter().map(|_| Item::VACANT).collect();
        let mut control = SlotControl::new(channels.len() as u32);
        let mut slots = Slots::new(&mut items, &mut control);
        let mut quota = Quota::NONE;
        let channels = channels.iter().map(|&(class, lens)| {
            assert_eq!(class.check(), Ok(()));
            let link = slots.take(&mut quota).unwrap();
            *slots[link].share() = Share::new(class);
            let lens = lens.to_vec();
            Channel { link, lens, next: 0, waiting: 0, sent: 0, log: Vec::new() }
        });
        let channels = channels.collect();
        test(Bench { slots, line: Line::EMPTY, channels, now: Instant::ZERO })
    }

    fn queue(&mut self, who: usize, messages: u64) {
        let channel = &mut self.channels[who];
        channel.waiting = channel.waiting.saturating_add(messages);
        self.line.push(&mut self.slots, channel.link);
    }

    /// The next datagram: who put how much into it.
    fn fill(&mut self) -> Vec<(usize, u32)> {
        let (mut parts, mut room) = (Vec::new(), ROOM);
        while let Some(link) = self.line.front(&mut self.slots, self.now) {
            let who = link.index();
            let channel = &mut self.channels[who];
            let mut bytes = 0;
            while channel.waiting > 0 && channel.lens[channel.next] + bytes <= room {
                bytes += channel.lens[channel.next];
                channel.next = (channel.next + 1) % channel.lens.len();
                if channel.waiting != BACKLOG {
                    channel.waiting -= 1;
                }
            }
            if bytes == 0 {
                break;
            }
            room -= bytes;
            channel.sent += u64::from(bytes);
            channel.log.push((self.now, bytes));
            parts.push((who, bytes));
            let more = channel.waiting > 0;
            self.line.charge(&mut self.slots, link, bytes, more, self.now);
            if more {
                break;
            }
        }
        parts
    }

    /// Sends a datagram and waits until it is through; without one, until somebody may send.
    fn step(&mut self) -> Vec<(usize, u32)> {
        let parts = self.fill();
        let bytes: u32 = parts.iter().map(|part| part.1).sum();
        if bytes > 0 {
            let time = u64::from(bytes) * 1_000_000 / u64::from(LINK);
            self.now = self.now + Duration::from_micros(time);
        } else if let Some(at) = self.line.wake_at() {
            assert!(at > self.now, "nobody sends, and nobody says when");
            assert!(!self.line.is_due(self.now));
            self.now = at;
            assert!(self.line.front(&mut self.slots, at).is_some(), "woken for nothing");
        }
        parts
    }

    fn steps(&mut self, datagrams: usize) {
        for _ in 0..datagrams {
            assert!(!self.step().is_empty());
        }
    }

    fn run_until(&mut self, end: Instant) {
        while self.now < end && !(self.step().is_empty() && self.line.is_empty()) {}
    }

    fn sent(&self) -> Vec<u64> {
        self.channels.iter().map(|channel| channel.sent).collect()
    }
}

fn weighing(weight: u8) -> Class {
    Class { weight, ..Class::DEFAULT }
}

fn with_priority(priority: u8) -> Class {
    Class { priority, ..Class::DEFAULT }
}

fn at_millis(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

/// Whether all got their part of what went, to 5 % of that part, or to a datagram if that is more.
#[track_caller]
fn assert_shares(sent: &[u64], weights: &[u8]) {
    let total: u64 = sent.iter().sum();
    let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    for (&sent_of, &weight) in sent.iter().zip(weights) {
        let part = total * u64::from(weight) / sum;
        let within = (part / 20).max(u64::from(ROOM));
        assert!(sent_of.abs_diff(part) <= within, "{sent:?} for {weights:?}: {part} ± {within}");
    }
}

const WEIGHTS: &[&[u8]] = &[
    &[16, 16],
    &[1, 255],
    &[1, 2, 3],
    &[255, 255, 255],
    &[10, 20, 30, 40],
    &[1, 1, 1, 255],
    &[5, 100, 7, 16, 16, 60],
];

/// Lengths of messages: fixed and mixed, small, awkward and as long as a datagram.
const LENS: &[&[u32]] =
    &[&[1_200], &[40], &[1, 700, 30, 1_100], &[601], &[250, 250, 1_200, 3], &[17, 999]];

#[test]
fn within_a_priority_shares_hold_over_a_thousand_backlogged_datagrams() {
    for weights in WEIGHTS {
        for shift in 0..LENS.len() {
            let lens = |who| LENS[(who + shift) % LENS.len()];
            let channels: Vec<_> =
                weights.iter().enumerate().map(|(who, &w)| (weighing(w), lens(who))).collect();
            Bench::run(&channels, |mut bench| {
                for who in 0..weights.len() {
                    bench.queue(who, BACKLOG);
                }
                bench.steps(1_000);
                assert_shares(&bench.sent(), weights);
            });
        }
    }
}

/// Streams are cut anywhere, so that shares are exact to the byte but for one datagram.
#[test]
fn the_smallest_share_is_exact_to_a_datagram() {
    Bench::run(&[(weighing(1), &[1_200]), (weighing(255), &[1_200])], |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.steps(1_000);
        assert!((3..=4).contains(&(bench.sent()[0] / 1_200)), "{:?}", bench.sent());
    });
}

#[test]
fn bulk_adds_at_most_one_datagram_before_a_higher_priority_head() {
    // With a minimum as without, as long as nothing else is in line.
    for rate_min in [0, LINK / 10, LINK / 2] {
        let bulk = Class { rate_min, ..with_priority(1) };
        Bench::run(&[(bulk, &[1_200]), (with_priority(2), &[300])], |mut bench| {
            bench.queue(0, BACKLOG);
            for turn in 0..1_000_u64 {
                for _ in 0..turn % 7 {
                    bench.step();
                }
                // It comes while a datagram of the bulk is on its way.
                let on_its_way = bench.step();
                bench.queue(1, 1);
                let next = bench.step();
                assert_eq!(on_its_way.last().map(|part| part.0), Some(0));
                assert_eq!(next[0], (1, 300), "minimum {rate_min}");
            }
        });
    }
}

#[test]
fn bulk_with_a_minimum_never_goes_twice_before_a_higher_priority_head() {
    let minimum = |rate_min| Class { rate_min, ..with_priority(1) };
    let channels: &[(Class, &[u32])] = &[
        (minimum(LINK), &[1_200]),
        (minimum(LINK), &[1_200]),
        (with_priority(2), &[1_200]),
        (with_priority(3), &[700]),
    ];
    Bench::run(channels, |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.queue(2, BACKLOG);
        let mut low = 0;
        for turn in 0..2_000 {
            if turn % 5 == 0 {
                bench.queue(3, 2);
            }
            low = if bench.step()[0].0 < 2 { low + 1 } else { 0 };
            assert!(low <= 1);
        }
        let sent = bench.sent();
        assert!(sent[0] > 0 && sent[1] > 0 && sent[2] > 0);
        assert_eq!(bench.channels[3].waiting, 0);
    });
}

#[test]
fn a_lower_priority_without_a_minimum_starves() {
    Bench::run(&[(with_priority(1), &[100]), (with_priority(2), &[1_200])], |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.steps(1_000);
        assert_eq!(bench.sent()[0], 0);
    });
}

/// Whether `sent` in `millis` is `rate` ± 5 %, but for a datagram.
#[track_caller]
fn assert_rate(sent: u64, rate: u32, millis: u64) {
    let due = u64::from(rate) * millis / 1_000;
    let within = due / 20;
    assert!(within >= u64::from(ROOM), "too short a test");
    assert!(sent.abs_diff(due) <= within, "{sent} bytes instead of {due}");
}

#[test]
fn a_starved_channel_with_a_minimum_still_gets_it() {
    for rate_min in [3_000, 40_000, 123_457, 300_000] {
        for lens in LENS {
            let starved = Class { rate_min, ..with_priority(1) };
            let channels: &[(Class, &[u32])] = &[
                (starved, lens),
                (with_priority(1), &[1_200]),
                (with_priority(7), &[1_200]),
                (with_priority(7), &[90, 1_000]),
            ];
            Bench::run(channels, |mut bench| {
                (0..4).for_each(|who| bench.queue(who, BACKLOG));
                bench.run_until(at_millis(20_000));
                assert_rate(bench.sent()[0], rate_min, 20_000);
                assert_eq!(bench.sent()[1], 0);
                assert_shares(&bench.sent()[2..], &[16, 16]);
            });
        }
    }
}

#[test]
fn several_minimums_are_all_kept() {
    let minimum = |priority, rate_min| Class { rate_min, ..with_priority(priority) };
    let channels: &[(Class, &[u32])] = &[
        (minimum(1, 20_000), &[1_200]),
        (minimum(2, 50_000), &[1_000, 20]),
        (minimum(2, 300_000), &[1_200]),
        (minimum(3, 130_000), &[1_200]),
        (with_priority(4), &[1_200]),
    ];
    Bench::run(channels, |mut bench| {
        (0..5).for_each(|who| bench.queue(who, BACKLOG));
        bench.run_until(at_millis(10_000));
        for (&sent, (class, _)) in bench.sent().iter().zip(&channels[..4]) {
            assert_rate(sent, class.rate_min, 10_000);
        }
    });
}

/// Who got more than the minimum while it could does not starve for that later.
#[test]
fn a_minimum_is_owed_whatever_went_before() {
    let modest = Class { rate_min: 100_000, ..with_priority(1) };
    let channels: &[(Class, &[u32])] =
        &[(modest, &[1_200]), (with_priority(1), &[1_200]), (with_priority(2), &[1_200])];
    Bench::run(channels, |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.run_until(at_millis(10_000));
        let before = bench.sent()[0];
        assert!(before > 500_000 * 10, "half of the link");
        bench.queue(2, BACKLOG);
        bench.run_until(at_millis(20_000));
        assert_rate(bench.sent()[0] - before, 100_000, 10_000);
    });
}

/// Among equals, a small weight with a minimum gets that, and the others keep their proportion.
#[test]
fn a_minimum_above_the_share_is_kept_among_equals() {
    let small = Class { rate_min: 200_000, ..weighing(1) };
    let channels: &[(Class, &[u32])] =
        &[(small, &[1_200]), (weighing(100), &[1_200]), (weighing(50), &[1_200])];
    Bench::run(channels, |mut bench| {
        (0..3).for_each(|who| bench.queue(who, BACKLOG));
        bench.run_until(at_millis(10_000));
        assert_rate(bench.sent()[0], 200_000, 10_000);
        assert_shares(&bench.sent()[1..], &[100, 50]);
    });
}

/// What it gets as its share counts: a minimum below that changes nothing.
#[test]
fn a_minimum_below_the_share_changes_no_share() {
    let modest = Class { rate_min: 100_000, ..weighing(40) };
    let channels: &[(Class, &[u32])] = &[(modest, &[1_200]), (weighing(60), &[1_200])];
    Bench::run(channels, |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.steps(1_000);
        assert_shares(&bench.sent(), &[40, 60]);
    });
}

/// Nor does a caller who comes seldom, as a server does each tick, take it away.
#[test]
fn a_minimum_is_kept_for_a_caller_that_comes_once_a_tick() {
    let starved = Class { rate_min: 150_000, ..with_priority(1) };
    for tick in [1_u64, 16, 50, 90] {
        Bench::run(&[(starved, &[1_200]), (with_priority(2), &[1_200])], |mut bench| {
            bench.queue(0, BACKLOG);
            bench.queue(1, BACKLOG);
            for turn in 0..10_000 / tick {
                bench.now = at_millis(turn * tick);
                // What the link took since the last tick.
                for _ in 0..tick {
                    assert!(!bench.fill().is_empty());
                }
            }
            assert_rate(bench.sent()[0], 150_000, 10_000 / tick * tick);
        });
    }
}

/// Whether no stretch of the log has more than `rate` brings in that time and in [`BURST`], and a
/// datagram.
#[track_caller]
fn assert_bounded(log: &[(Instant, u32)], rate: u32) {
    let (mut over, mut last) = (0_i128, Instant::ZERO);
    // A bucket that leaks `rate`: its level is what the worst stretch that ends here has too much.
    for &(at, bytes) in log {
        over -= i128::from((at - last).as_micros()) * i128::from(rate);
        over = over.max(0) + i128::from(bytes) * 1_000_000;
        let burst = i128::from(BURST.as_micros()) * i128::from(rate);
        let most = burst + i128::from(ROOM) * 1_000_000 + i128::from(rate);
        assert!(over <= most, "{over} > {most} at {at:?}");
        last = at;
    }
}

#[test]
fn a_maximum_is_kept_to_within_one_burst() {
    for rate_max in [1_500, 40_000, 123_457, 700_000] {
        for lens in LENS {
            let bounded = Class { rate_max, ..with_priority(200) };
            let alone: &[(Class, &[u32])] = &[(bounded, lens)];
            let beside: &[(Class, &[u32])] = &[(bounded, lens), (with_priority(100), &[1_200])];
            for channels in [alone, beside] {
                Bench::run(channels, |mut bench| {
                    (0..channels.len()).for_each(|who| bench.queue(who, BACKLOG));
                    bench.run_until(at_millis(20_000));
                    assert_bounded(&bench.channels[0].log, rate_max);
                    let sent = bench.sent()[0];
                    let due = u64::from(rate_max) * 20;
                    assert!(sent * 20 >= due * 19, "{sent} bytes of {due}");
                });
            }
        }
    }
}

/// Each is woken at its own time, wherever in line it stands.
#[test]
fn several_maximums_are_each_made_use_of() {
    let mut rates = [200_000, 5_000, 100_000];
    for _ in 0..3 {
        rates.rotate_left(1);
        let bounded = |who: usize| Class { rate_max: rates[who], ..with_priority(who as u8) };
        let channels: &[(Class, &[u32])] =
            &[(bounded(0), &[1_200]), (bounded(1), &[400]), (bounded(2), &[1_200])];
        Bench::run(channels, |mut bench| {
            (0..3).for_each(|who| bench.queue(who, BACKLOG));
            bench.run_until(at_millis(10_000));
            for (&sent, rate) in bench.sent().iter().zip(rates) {
                assert_rate(sent, rate, 10_000);
            }
        });
    }
}

/// What one may not send, the others do, in proportion; it gains nothing from having waited.
#[test]
fn a_maximum_leaves_the_rest_to_the_others() {
    let bounded = Class { rate_max: 60_000, ..weighing(200) };
    let channels: &[(Class, &[u32])] =
        &[(bounded, &[1_200]), (weighing(1), &[1_200]), (weighing(30), &[1_200])];
    Bench::run(channels, |mut bench| {
        (0..3).for_each(|who| bench.queue(who, BACKLOG));
        bench.run_until(at_millis(30_000));
        assert_shares(&bench.sent()[1..], &[1, 30]);
        assert!(bench.sent().iter().sum::<u64>() >= u64::from(LINK) * 30, "the link is never idle");
        // Without the bound it has its share from now on, not what it lacks.
        let before = bench.sent();
        bench.line.set_class(&mut bench.slots, bench.channels[0].link, weighing(200));
        bench.steps(1_000);
        let since: Vec<_> = bench.sent().iter().zip(before).map(|(now, then)| now - then).collect();
        assert_shares(&since, &[200, 1, 30]);
    });
}

/// As when every fifth datagram of a channel is lost and sent again at once.
#[test]
fn lost_data_goes_first_and_is_paid_for() {
    let channels: &[(Class, &[u32])] = &[(weighing(20), &[1_200]), (weighing(80), &[1_200])];
    Bench::run(channels, |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        for turn in 0..1_000 {
            let lost = turn % 10 == 3;
            if lost {
                bench.line.push_urgent(&mut bench.slots, bench.channels[0].link);
            }
            let parts = bench.step();
            assert!(!lost || parts[0].0 == 0, "what was lost goes next");
        }
        assert_shares(&bench.sent(), &[20, 80]);
        // More is lost than its share, until it stops: then the others catch up.
        let before = bench.sent();
        for _ in 0..100 {
            bench.line.push_urgent(&mut bench.slots, bench.channels[0].link);
            assert_eq!(bench.step()[0].0, 0);
        }
        bench.steps(900);
        let since: Vec<_> = bench.sent().iter().zip(before).map(|(now, then)| now - then).collect();
        assert_shares(&since, &[20, 80]);
    });
}

#[test]
fn lost_data_waits_for_a_higher_priority() {
    Bench::run(&[(with_priority(1), &[1_200]), (with_priority(2), &[1_200])], |mut bench| {
        bench.queue(0, BACKLOG);
        bench.queue(1, 3);
        bench.line.push_urgent(&mut bench.slots, bench.channels[0].link);
        let order: Vec<_> = (0..4).map(|_| bench.step()[0].0).collect();
        assert_eq!(order, [1, 1, 1, 0]);
    });
}

#[test]
fn who_comes_back_after_idling_has_saved_no_credit() {
    // Of one priority, with others in line meanwhile or nobody at all.
    for others in [1_000, 0] {
        let channels: &[(Class, &[u32])] = &[(weighing(50), &[1_200]), (weighing(50), &[1_200])];
        Bench::run(channels, |mut bench| {
            bench.queue(0, 1);
            bench.queue(1, others + 1);
            bench.steps(others as usize + 2);
            bench.now = bench.now + Duration::from_secs(60);
            bench.queue(1, BACKLOG);
            bench.step();
            let before = bench.sent();
            bench.queue(0, BACKLOG);
            // Equal from the first datagrams on.
            for datagrams in 1..100 {
                bench.step();
                let since = [bench.sent()[0] - before[0], bench.sent()[1] - before[1]];
                let most = since[0].max(since[1]);
                assert!(most <= (datagrams / 2 + 2) * u64::from(ROOM), "{since:?}");
            }
        });
    }
}

/// Who sends a datagram, leaves and comes at once takes no more than who stays.
#[test]
fn going_and_coming_gains_nothing() {
    let channels: &[(Class, &[u32])] = &[(weighing(25), &[1_200]), (weighing(75), &[1_200])];
    Bench::run(channels, |mut bench| {
        bench.queue(1, BACKLOG);
        for _ in 0..1_000 {
            if bench.channels[0].waiting == 0 {
                bench.queue(0, 1);
            }
            bench.step();
        }
        assert!(bench.sent()[0] <= 1_000 * 1_200 / 4 + 12_000, "{:?}", bench.sent());
    });
}

/// An idle minimum saves up no more than a burst, an idle maximum neither.
#[test]
fn an_idle_budget_saves_up_one_burst() {
    let burst = |rate: u32| u64::from(rate) * BURST.as_millis() / 1_000;
    let minimum = Class { rate_min: 120_000, ..with_priority(1) };
    Bench::run(&[(minimum, &[1_200]), (with_priority(2), &[1_200])], |mut bench| {
        bench.now = at_millis(3_600_000);
        bench.queue(0, BACKLOG);
        bench.queue(1, BACKLOG);
        bench.run_until(at_millis(3_601_000));
        let sent = bench.sent()[0];
        assert!(sent <= 120_000 + burst(120_000) + u64::from(ROOM), "{sent}");
    });
    let maximum = Class { rate_max: 120_000, ..Class::DEFAULT };
    Bench::run(&[(maximum, &[1_200])], |mut bench| {
        bench.now = at_millis(3_600_000);
        bench.queue(0, BACKLOG);
        bench.run_until(at_millis(3_601_000));
        let sent = bench.sent()[0];
        assert!(sent <= 120_000 + burst(120_000) + u64::from(ROOM), "{sent}");
    });
}

#[test]
fn who_is_over_the_maximum_is_nobody_to_wait_for() {
    let bounded = Class { rate_max: 1_000, ..Class::DEFAULT };
    Bench::run(&[(bounded, &[1_200]), (Class::DEFAULT, &[100])], |mut bench| {
        bench.queue(0, BACKLOG);
        bench.step();
        bench.queue(1, 1);
        let Bench { line, slots, channels, now, .. } = &mut bench;
        assert!(line.has_others(slots, channels[0].link, *now));
        assert!(!line.has_others(slots, channels[1].link, *now));
        assert_eq!(line.wake_at(), Some(Instant::ZERO));
        assert_eq!(bench.step(), [(1, 100)]);
        assert!(bench.step().is_empty());
        assert_eq!(bench.now, Instant::from_micros(1_200_000), "a burst was not to be had at 0");
    });
}

fn any_class() -> impl Strategy<Value = Class> {
    let rate = || prop_oneof![2 => Just(0u32), 1 => 1u32..LINK, 1 => 1u32..20_000];
    (0u8..3, 1u8.., rate(), rate()).prop_map(|(priority, weight, rate_min, rate_max)| {
        let rate_min = if rate_max == 0 { rate_min } else { rate_min.min(rate_max) };
        Class { priority, weight, rate_min, rate_max }
    })
}

#[derive(Clone, Debug)]
enum Op {
    Queue(usize, u64),
    Urgent(usize),
    Send(usize),
    Wait(u64),
    Remove(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0usize..5, 1u64..20).prop_map(|(who, messages)| Op::Queue(who, messages)),
        (0usize..5).prop_map(Op::Urgent),
        (1usize..20).prop_map(Op::Send),
        (0u64..300_000).prop_map(Op::Wait),
        (0usize..5).prop_map(Op::Remove),
    ]
}

proptest! {
    /// The fairness of start-time fair queueing: of two that always have something to send, neither
    /// is ahead of the other, in bytes over weight, by more than a datagram of each over its weight.
    #[test]
    fn no_equal_is_ahead_by_more_than_a_datagram_of_each(
        weights in prop::collection::vec(1u8.., 2..6),
        lens in prop::collection::vec(prop::collection::vec(1u32..=ROOM, 1..4), 6),
        skip in 0usize..200,
        datagrams in 1usize..400,
    ) {
        let channels: Vec<_> =
            weights.iter().zip(&lens).map(|(&w, lens)| (weighing(w), &lens[..])).collect();
        let (before, after) = Bench::run(&channels, |mut bench| {
            (0..weights.len()).for_each(|who| bench.queue(who, BACKLOG));
            bench.steps(skip);
            let before = bench.sent();
            bench.steps(datagrams);
            (before, bench.sent())
        });
        let share = |who: usize| (after[who] - before[who]) as f64 / f64::from(weights[who]);
        for a in 0..weights.len() {
            for b in 0..a {
                let one = |who: usize| f64::from(ROOM) / f64::from(weights[who]);
                // A pass is exact to 1/16 of a byte over weight for each datagram.
                let most = (one(a) + one(b)) * 1.01 + (skip + datagrams) as f64 / 4096.0;
                prop_assert!((share(a) - share(b)).abs() <= most, "{weights:?} {before:?} {after:?}");
            }
        }
    }

    /// Whoever comes and goes: the link is idle only while nobody may send, no maximum is broken,
    /// nothing waits behind a lower priority but for a minimum, and nobody is forgotten.
    #[test]
    fn whatever_happens_maximums_hold_and_everything_goes(
        classes in prop::collection::vec(any_class(), 5),
        ops in prop::collection::vec(any_op(), 1..60),
    ) {
        let channels: Vec<_> = classes.iter().zip(LENS).map(|(&c, &lens)| (c, lens)).collect();
        Bench::run(&channels, |mut bench| {
            for op in ops {
                match op {
                    Op::Queue(who, messages) => bench.queue(who, messages),
                    Op::Urgent(who) if bench.channels[who].waiting > 0 => {
                        bench.line.push_urgent(&mut bench.slots, bench.channels[who].link);
                    }
                    Op::Urgent(_) => {}
                    Op::Send(datagrams) => for _ in 0..datagrams {
                        let waiting: Vec<_> = bench.channels.iter().map(|c| c.waiting > 0).collect();
                        let parts = bench.step();
                        let Some(&(first, _)) = parts.first() else { continue };
                        for (who, &waiting) in waiting.iter().enumerate() {
                            let overtaken = waiting && classes[who].priority > classes[first].priority;
                            prop_assert!(!overtaken || classes[who].rate_max != 0 || classes[first].rate_min != 0);
                        }
                    },
                    Op::Wait(micros) => bench.now = bench.now + Duration::from_micros(micros),
                    Op::Remove(who) => {
                        bench.line.remove(&mut bench.slots, bench.channels[who].link);
                        bench.channels[who].waiting = 0;
                    }
                }
                for channel in &bench.channels {
                    let queued = bench.slots[channel.link].share().is_queued();
                    prop_assert_eq!(queued, channel.waiting > 0);
                }
            }
            // At the slowest rate, a message takes hours.
            bench.run_until(Instant::MAX);
            for (channel, class) in bench.channels.iter().zip(&classes) {
                prop_assert_eq!(channel.waiting, 0);
                if class.rate_max != 0 {
                    assert_bounded(&channel.log, class.rate_max);
                }
            }
            prop_assert!(bench.line.is_empty());
            prop_assert_eq!(bench.line.wake_at(), None);
            Ok(())
        })?;
    }
}
