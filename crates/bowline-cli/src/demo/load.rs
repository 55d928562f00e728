//! What is said when: the messages of one client in one direction.

use bowline::{Duration, Instant, Mode};

use super::contents::TAG_LEN;
use super::lane::{CHANNELS, Direction, Lane, MODES};
use super::random::Random;

/// Between two ticks: 60 of them a second, as games have.
pub(super) const TICK: Duration = Duration::from_micros(16_667);
/// Ticks between two long messages of each mode.
const LONG_EVERY: [u64; 5] = [12, 24, 30, 30, 24];
/// The longest of the long ones, in bytes.
const LONG_MAX: [u64; 5] = [4 << 10, 16 << 10, 64 << 10, 64 << 10, 4 << 10];
/// The longest of the short ones, in bytes.
const SHORT_MAX: u64 = 200;
/// Length of the longest ones of all, reliable and on the last channel, in bytes.
const BULK_LEN: usize = 1 << 20;

/// A message to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Planned {
    pub(super) lane: Lane,
    pub(super) len: usize,
}

/// The plan.
#[derive(Debug)]
pub(super) struct Load {
    random: Random,
    start: Instant,
    tick: u64,
    ticks: u64,
    bulk_at: [u64; 2],
}

impl Load {
    /// From `start` on for `span`. Each of `clients` has its bulk at a time of its own.
    pub(super) fn new(
        seed: u64,
        (client, clients): (usize, usize),
        direction: Direction,
        start: Instant,
        span: Duration,
    ) -> Self {
        let random = Random::new(&[seed, client as u64, direction as u64, 0x10ad]);
        let ticks = (span.as_micros() / TICK.as_micros()).max(1);
        let offset = ticks * (2 * client as u64 + direction as u64) / (10 * clients as u64);
        let bulk_at = [ticks / 10 + offset, ticks / 2 + offset];
        Self { random, start, tick: 0, ticks, bulk_at }
    }

    /// When the next tick is due; none when all are over.
    pub(super) fn due(&self) -> Option<Instant> {
        let since_start = TICK.saturating_mul(self.tick);
        (self.tick < self.ticks).then_some(self.start + since_start)
    }

    /// The messages of the next tick.
    pub(super) fn next_tick(&mut self, planned: &mut Vec<Planned>) {
        let tick = self.tick;
        self.tick += 1;
        planned.clear();
        for lane in Lane::all() {
            let len = self.len_up_to(SHORT_MAX).max(len_min(lane.mode));
            planned.push(Planned { lane, len });
        }
        for ((mode, every), longest) in MODES.into_iter().zip(LONG_EVERY).zip(LONG_MAX) {
            // Not on the first channel, which so shows what the others cost it.
            let channel = 1 + (tick / every % (CHANNELS as u64 - 1)) as u8;
            if tick.is_multiple_of(every) {
                let len = (1 + self.random.below(longest) as usize).max(len_min(mode));
                planned.push(Planned { lane: Lane::new(mode, channel), len });
            }
        }
        if self.bulk_at.contains(&tick) {
            let lane = Lane::new(Mode::Reliable, CHANNELS as u8 - 1);
            planned.push(Planned { lane, len: BULK_LEN });
        }
    }

    /// Short lengths as often as long ones by their magnitude, from 1 to `longest`.
    fn len_up_to(&mut self, longest: u64) -> usize {
        let magnitude = longest >> self.random.below(u64::from(longest.ilog2()) + 1);
        1 + self.random.below(magnitude.max(1)) as usize
    }
}

/// The shortest message of a mode, in bytes: where nothing else tells which it is, all of its tag.
pub(super) const fn len_min(mode: Mode) -> usize {
    match mode {
        Mode::ReliableUnordered | Mode::ReliableLatest => TAG_LEN,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(clients: usize, client: usize, secs: u64) -> Vec<Planned> {
        let span = Duration::from_secs(secs);
        let start = Instant::from_micros(5);
        let mut load = Load::new(1, (client, clients), Direction::ToClient, start, span);
        let mut planned = Vec::new();
        let mut all = Vec::new();
        while load.due().is_some() {
            load.next_tick(&mut planned);
            all.append(&mut planned);
        }
        all
    }

    #[test]
    fn every_lane_has_messages_from_the_shortest_up() {
        let all = all(1, 0, 10);
        for lane in Lane::all() {
            let lens =
                || all.iter().filter(|planned| planned.lane == lane).map(|planned| planned.len);
            assert_eq!(lens().min(), Some(len_min(lane.mode)), "{lane:?}");
            let limit = match (lane.channel.0, lane.mode) {
                (0, _) => 200,
                (2, Mode::Reliable) => 1 << 20,
                (_, mode) => LONG_MAX[mode as usize] as usize,
            };
            assert!(lens().all(|len| len <= limit), "{lane:?}");
            assert!(lens().any(|len| len > limit / 2), "{lane:?}");
        }
    }

    #[test]
    fn every_client_has_its_bulk_in_time() {
        for clients in [1, 4, 64] {
            for client in [0, clients - 1] {
                let bulk = all(clients, client, 2).iter().filter(|one| one.len == BULK_LEN).count();
                assert_eq!(bulk, 2, "{client} of {clients}");
            }
        }
    }

    #[test]
    fn sixty_ticks_a_second_begin_at_once() {
        let (start, span) = (Instant::from_micros(5), Duration::from_secs(1));
        let mut load = Load::new(1, (0, 1), Direction::ToServer, start, span);
        assert_eq!(load.due(), Some(start));
        let mut ticks = 0;
        while load.due().is_some_and(|due| due < start + span) {
            load.next_tick(&mut Vec::new());
            ticks += 1;
        }
        assert!((59..=60).contains(&ticks));
        assert_eq!(load.due(), None);
    }
}
