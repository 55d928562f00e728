use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const BASE: u16 = 1200;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn search(ceiling: u16) -> PathMtu {
    PathMtu::new(BASE, ceiling)
}

/// Answers all probes at once until there are none.
fn settle(mtu: &mut PathMtu, now: Instant, passes: u16) -> Vec<u16> {
    let mut probes = Vec::new();
    while let Some(size) = mtu.poll_probe(now) {
        mtu.on_probe_sent(now, Duration::ZERO);
        probes.push(size);
        if size <= passes {
            assert_eq!(mtu.on_acked(size), Some(size));
        } else {
            mtu.on_probe_lost(size);
        }
    }
    probes
}

/// Loses packets of these sizes, each in its own round trip.
fn lose(mtu: &mut PathMtu, from: u64, sizes: &[u16]) -> Vec<Option<u16>> {
    let rounds = (from..).step_by(100).zip(sizes);
    rounds.map(|(sent, size)| mtu.on_lost(at(sent + 50), at(sent), *size)).collect()
}

#[test]
fn a_path_that_carries_the_ceiling_takes_one_probe() {
    let mut mtu = search(1472);
    assert_eq!(settle(&mut mtu, at(0), 9_000), [1472]);
    assert_eq!(mtu.packet_max(), 1472);
    assert_eq!(mtu.poll_timeout(), Some(at(0) + RAISE_AFTER));
}

#[test]
fn without_anything_to_find_there_is_no_probe_ever() {
    for ceiling in [0, 64, BASE] {
        let mut mtu = search(ceiling);
        assert_eq!(mtu.poll_timeout(), None);
        assert_eq!(mtu.poll_probe(at(0)), None);
        assert_eq!(mtu.poll_probe(Instant::MAX), None);
        assert_eq!((mtu.packet_max(), mtu.poll_timeout()), (BASE, None));
    }
}

#[test]
fn a_size_is_given_up_after_three_probes() {
    let mut mtu = search(1472);
    let probes = settle(&mut mtu, at(0), 1_400);
    assert_eq!(probes, [1472, 1472, 1472, 1336, 1404, 1404, 1404, 1370, 1387, 1395]);
    assert_eq!(mtu.packet_max(), 1395);
}

#[test]
fn an_unanswered_probe_is_lost_after_a_second_or_the_time_told() {
    for (told, waits) in [(20, 1_000), (1_700, 1_700)] {
        let mut mtu = search(1472);
        mtu.poll_probe(at(0)).unwrap();
        mtu.on_probe_sent(at(0), Duration::from_millis(told));
        assert_eq!(mtu.poll_timeout(), Some(at(waits)));
        assert_eq!(mtu.poll_probe(at(waits - 1)), None, "one at a time");
        assert_eq!(mtu.poll_probe(at(waits)), Some(1472));
    }
}

#[test]
fn a_path_that_has_grown_is_noticed_in_ten_minutes() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_300);
    assert_eq!(mtu.poll_probe(at(599_999)), None);
    assert_eq!(settle(&mut mtu, at(600_000), 1_500), [1472]);
}

#[test]
fn large_packets_lost_in_three_round_trips_make_it_fall_and_search_below_them() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_500);
    assert_eq!(lose(&mut mtu, 10, &[1472, 1460, 1472]), [None, None, Some(BASE)]);
    assert_eq!(mtu.packet_max(), BASE);
    assert!(settle(&mut mtu, at(400), 1_400).iter().all(|size| *size < 1460));
    assert_eq!(mtu.packet_max(), 1395);
}

#[test]
fn losses_of_one_round_trip_count_once() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_500);
    for sent in 0..50 {
        assert_eq!(mtu.on_lost(at(60), at(sent), 1472), None);
    }
    assert_eq!(lose(&mut mtu, 60, &[1472, 1472]), [None, Some(BASE)]);
}

#[test]
fn what_passes_at_the_size_that_was_lost_ends_the_suspicion_and_less_does_not() {
    for (passes, falls) in [(1472, false), (1460, true), (BASE, true)] {
        let mut mtu = search(1472);
        settle(&mut mtu, at(0), 1_500);
        lose(&mut mtu, 10, &[1472, 1472]);
        assert_eq!(mtu.on_acked(passes), None);
        assert_eq!(lose(&mut mtu, 300, &[1472]), [falls.then_some(BASE)], "{passes}");
    }
}

#[test]
fn small_packets_may_be_lost_for_ever() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_500);
    assert!(lose(&mut mtu, 10, &[BASE; 40]).iter().all(Option::is_none));
    assert_eq!(mtu.packet_max(), 1472);
}

#[test]
fn where_nothing_comes_back_at_all_it_falls_too() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_500);
    let stalls = [500, 1_500, 3_500].map(|now| mtu.on_stalled(at(now), 1472));
    assert_eq!(stalls, [None, None, Some(BASE)]);
}

#[test]
fn the_second_fall_of_a_search_ends_it() {
    let mut mtu = search(1472);
    settle(&mut mtu, at(0), 1_500);
    lose(&mut mtu, 0, &[1472; 3]);
    settle(&mut mtu, at(1_000), 1_500);
    assert_eq!(lose(&mut mtu, 2_000, &[1460; 3])[2], Some(BASE));
    assert_eq!(settle(&mut mtu, at(3_000), 1_500), [0; 0]);
    assert_eq!(settle(&mut mtu, at(700_000), 1_500), [1472]);
}

#[test]
fn news_of_a_probe_that_was_given_up_change_nothing() {
    let mut mtu = search(1472);
    mtu.on_probe_lost(1472);
    mtu.poll_probe(at(0)).unwrap();
    mtu.on_probe_sent(at(0), Duration::ZERO);
    mtu.on_probe_lost(1400);
    assert_eq!(mtu.on_acked(1400), None);
    assert_eq!(mtu.poll_timeout(), Some(at(1_000)));
    assert_eq!(mtu.poll_probe(at(1_000)), Some(1472));
    assert_eq!(mtu.on_acked(1472), None, "too late");
    assert_eq!(mtu.packet_max(), BASE);
}

#[test]
fn it_stays_small() {
    assert!(size_of::<PathMtu>() <= 48, "{}", size_of::<PathMtu>());
}

/// A sender of packets, large and small in turn, on a path with a round trip of 50 ms.
struct Path {
    mtu: PathMtu,
    now: Instant,
    /// In the order of sending: when, how large, whether a probe, and whether it passes.
    flying: Vec<(Instant, u16, bool, bool)>,
    /// What a packet may have.
    limit: u16,
    /// Of 256 packets so many get lost, whatever their size.
    loss: u8,
    falls: u32,
    probes: u32,
}

const ROUND_TRIP: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(5);

impl Path {
    fn new(ceiling: u16, limit: u16, loss: u8) -> Self {
        let (flying, now) = (Vec::new(), Instant::ZERO);
        Self { mtu: search(ceiling), now, flying, limit, loss, falls: 0, probes: 0 }
    }

    fn send(&mut self, size: u16, probe: bool, luck: u8) {
        let passes = size <= self.limit && luck >= self.loss;
        self.flying.push((self.now, size, probe, passes));
    }

    fn on_change(&mut self, changed: Option<u16>) {
        self.falls += u32::from(changed == Some(BASE));
        assert!(changed.is_none_or(|now| now == self.mtu.packet_max()));
    }

    /// The oldest packet gets its fate: a later one tells that it is lost.
    fn report(&mut self) {
        let (sent, size, probe, passes) = self.flying.remove(0);
        let changed = match (passes, probe) {
            (true, _) => self.mtu.on_acked(size),
            (false, true) => {
                self.mtu.on_probe_lost(size);
                None
            }
            (false, false) => self.mtu.on_lost(self.now, sent, size),
        };
        self.on_change(changed);
    }

    fn tick(&mut self, luck: [u8; 2]) {
        self.now = self.now + TICK;
        while self.flying.first().is_some_and(|(sent, ..)| *sent + ROUND_TRIP <= self.now) {
            self.report();
        }
        let max = self.mtu.packet_max();
        if let Some(size) = self.mtu.poll_probe(self.now) {
            assert!(max < size && size <= self.mtu.ceiling);
            self.mtu.on_probe_sent(self.now, ROUND_TRIP);
            self.send(size, true, luck[0]);
            self.probes += 1;
        } else {
            let is_large = (self.now.as_micros() / TICK.as_micros()).is_multiple_of(2);
            self.send(if is_large { max } else { 100 }, false, luck[1]);
        }
        assert!((BASE..=self.mtu.ceiling).contains(&self.mtu.packet_max()));
    }

    fn run(&mut self, ticks: u32, seed: &mut u32) {
        for _ in 0..ticks {
            *seed = seed.wrapping_mul(0x915F_77F5).wrapping_add(1);
            self.tick([(*seed >> 24) as u8, (*seed >> 16) as u8]);
        }
    }

    /// As near as a search comes to what the path carries.
    fn is_found(&self) -> bool {
        let best = self.limit.clamp(BASE, self.mtu.ceiling);
        let max = self.mtu.packet_max();
        max <= best && best - max < GAIN_MIN
    }
}

proptest! {
    /// Without other losses a search is over within three seconds, finds the size, and never gives it up.
    #[test]
    fn a_clean_path_is_used_as_it_is(ceiling in BASE..=9_000, limit in BASE..=9_000) {
        let mut path = Path::new(ceiling, limit, 0);
        path.run(600, &mut 1);
        prop_assert!(path.is_found(), "{:?}", path.mtu);
        let probes = path.probes;
        path.run(2_000, &mut 1);
        prop_assert!(path.is_found() && path.falls == 0 && path.probes == probes);
    }

    /// Whatever the path does, within three seconds it is at most as large as passes; the next search finds what does.
    #[test]
    fn a_path_that_changes_is_followed(
        ceiling in BASE..=9_000,
        limits in prop::collection::vec((BASE..=9_000, 100u32..2_000), 1..8),
        last in BASE..=9_000,
        mut seed: u32,
    ) {
        let mut path = Path::new(ceiling, 9_000, 0);
        for (limit, ticks) in limits {
            path.limit = limit;
            path.run(ticks, &mut seed);
        }
        path.limit = last;
        path.run(600, &mut seed);
        prop_assert!(path.mtu.packet_max() <= last, "{:?}", path.mtu);
        // Nothing is sent for a while.
        path.now = path.now + RAISE_AFTER;
        path.flying.clear();
        path.run(1_200, &mut seed);
        prop_assert!(path.is_found(), "{:?}", path.mtu);
    }

    /// Losses that have nothing to do with size cost a little of it, for a while, and the bounds hold.
    #[test]
    fn a_lossy_path_is_still_searched(
        ceiling in BASE..=9_000,
        limit in BASE..=9_000,
        loss in 0u8..80,
        mut seed: u32,
    ) {
        let mut path = Path::new(ceiling, limit, loss);
        path.run(1_500, &mut seed);
        prop_assert!(path.mtu.packet_max() <= limit, "{:?}", path.mtu);
        path.loss = 0;
        path.now = path.now + RAISE_AFTER;
        path.flying.clear();
        path.run(1_200, &mut seed);
        prop_assert!(path.is_found(), "{:?}", path.mtu);
    }

    /// Whatever is told, the maximum stays between base and ceiling, a search falls twice at most, and
    /// there are few probes.
    #[test]
    fn a_liar_gains_nothing(
        ceiling in BASE..=9_000,
        lies in prop::collection::vec((0u8..5, any::<prop::sample::Index>(), 0u64..2_000), 1..600),
    ) {
        let (mut mtu, mut now, mut probed) = (search(ceiling), at(0), BASE);
        let (mut falls, mut probes) = (0, 0);
        for (what, size, wait) in lies {
            now = now + Duration::from_millis(wait);
            if let Some(size) = mtu.poll_probe(now) {
                prop_assert!(mtu.packet_max() < size && size <= ceiling.max(BASE));
                mtu.on_probe_sent(now, ROUND_TRIP);
                (probed, probes) = (size, probes + 1);
            }
            let size = [0, BASE, mtu.packet_max(), probed, u16::MAX][size.index(5)];
            let changed = match what {
                0 | 1 => mtu.on_acked(size),
                2 => mtu.on_lost(now, now, size),
                3 => mtu.on_stalled(now, size),
                _ => {
                    mtu.on_probe_lost(size);
                    None
                }
            };
            falls += u64::from(changed == Some(BASE));
            prop_assert!((BASE..=ceiling).contains(&mtu.packet_max()));
        }
        let searches = 1 + now.as_micros() / RAISE_AFTER.as_micros();
        prop_assert!(falls <= 2 * searches, "{falls}");
        // Of each of two climbs: the ceiling, and halves of at most 9,000 bytes until 16 are left.
        prop_assert!(probes <= 2 * searches * 3 * 12, "{probes}");
    }
}
