//! What a network does to the datagrams that cross it in one direction.

use core::num::NonZeroU64;

use bowline_core::{Duration, Instant};

use crate::PERCENT;

/// Bytes of IPv4 and UDP headers around the payload of a datagram.
pub const UDP_OVERHEAD: u32 = 28;

/// The properties of one direction of a path, a plain value.
///
/// Chances are in parts per million ([`PERCENT`] is 10,000). A datagram meets, in this order: the
/// clamp on its length, an outage, the queue and the rate, both kinds of loss, duplication, and
/// for each copy delay, jitter, reordering and corruption. So what is lost at random has used its
/// share of the rate, and what a duplicate costs it costs behind the bottleneck.
///
/// ```
/// use bowline_core::Duration;
/// use bowline_sim::{Link, PERCENT};
///
/// let dsl = Link::PERFECT
///     .with_delay(Duration::from_millis(25))
///     .with_loss(PERCENT)
///     .with_rate(2_500_000, 64_000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// Time every datagram takes, besides what the rate costs.
    pub delay: Duration,
    /// Longest extra time, uniform in `0..=jitter` and drawn for each copy alone, so that one
    /// longer than the gap between datagrams reorders them.
    pub jitter: Duration,
    /// Chance that a datagram is lost whatever happens to its neighbours.
    pub loss: u32,
    /// Loss that comes in bursts, besides [`Self::loss`].
    pub bursts: Option<Bursts>,
    /// Chance that a copy takes [`Self::reorder_delay`] longer.
    pub reorder: u32,
    /// What a reordered copy takes longer.
    pub reorder_delay: Duration,
    /// Chance that a datagram arrives twice.
    pub duplicate: u32,
    /// What the second copy takes longer, besides jitter of its own.
    pub duplicate_delay: Duration,
    /// Chance that a copy arrives damaged: one to three bits flipped, or one in eight times cut
    /// short.
    pub corrupt: u32,
    /// Bytes per second through the bottleneck, headers included; `None` is no bottleneck.
    pub rate: Option<NonZeroU64>,
    /// Bytes, headers included, that may wait for or be on their way through the bottleneck;
    /// whoever finds no room is dropped. An idle bottleneck takes a datagram of any length.
    pub queue: u64,
    /// Bytes of headers around each payload: what the rate and the queue count besides it.
    pub overhead: u32,
    /// Longest UDP payload that passes, in bytes.
    pub payload_max: usize,
    /// When the link is down. A datagram that enters it then is lost; one that had entered before
    /// arrives.
    pub outages: [Outage; Self::OUTAGES_MAX],
}

impl Link {
    /// How many outages a link can be given.
    pub const OUTAGES_MAX: usize = 4;

    /// Everything arrives at once and in order.
    pub const PERFECT: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0,
        bursts: None,
        reorder: 0,
        reorder_delay: Duration::ZERO,
        duplicate: 0,
        duplicate_delay: Duration::ZERO,
        corrupt: 0,
        rate: None,
        queue: 0,
        overhead: UDP_OVERHEAD,
        payload_max: usize::MAX,
        outages: [Outage::NONE; Self::OUTAGES_MAX],
    };

    /// Nothing arrives.
    pub const DOWN: Self = Self::PERFECT.with_outage(Instant::ZERO, Instant::MAX);

    /// A wired local network: 0.3 to 0.4 ms, 1 Gbit/s, Ethernet's MTU.
    pub const LAN: Self = Self::PERFECT
        .with_delay(Duration::from_micros(300))
        .with_jitter(Duration::from_micros(100))
        .with_rate(125_000_000, 512_000)
        .with_payload_max(1_472);

    /// A home connection to a server of the same continent: 20 to 24 ms, 0.1 % loss, 20 Mbit/s
    /// with 64 KB of queue.
    pub const BROADBAND: Self = Self::PERFECT
        .with_delay(Duration::from_millis(20))
        .with_jitter(Duration::from_millis(4))
        .with_loss(PERCENT / 10)
        .with_rate(2_500_000, 64_000)
        .with_payload_max(1_464);

    /// The same through a crowded radio: 25 to 45 ms, loss in short bursts, now and then a
    /// straggler.
    pub const WIFI: Self = Self::BROADBAND
        .with_delay(Duration::from_millis(25))
        .with_jitter(Duration::from_millis(20))
        .with_bursts(Bursts { worsens: 5_000, recovers: 200_000, good_loss: 0, bad_loss: 500_000 })
        .with_reorder(PERCENT / 2, Duration::from_millis(30));

    /// A telephone on the move: 60 to 100 ms, 5 Mbit/s with a deep queue, bursts of loss about
    /// twenty datagrams long.
    pub const MOBILE: Self = Self::PERFECT
        .with_delay(Duration::from_millis(60))
        .with_jitter(Duration::from_millis(40))
        .with_bursts(Bursts {
            worsens: 2_000,
            recovers: 50_000,
            good_loss: 2_000,
            bad_loss: 700_000,
        })
        .with_rate(625_000, 256_000)
        .with_payload_max(1_360);

    /// Everything at once: 20 to 120 ms, 15 % loss, 10 % twice, 20 % late by 80 ms, 1 % damaged.
    pub const HOSTILE: Self = Self::PERFECT
        .with_delay(Duration::from_millis(20))
        .with_jitter(Duration::from_millis(100))
        .with_loss(15 * PERCENT)
        .with_duplicate(10 * PERCENT, Duration::from_millis(50))
        .with_reorder(20 * PERCENT, Duration::from_millis(80))
        .with_corrupt(PERCENT);

    /// The same with this one-way delay.
    #[must_use]
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same with an extra delay in `0..=jitter`.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The same with this chance of loss, in parts per million.
    #[must_use]
    pub const fn with_loss(mut self, per_million: u32) -> Self {
        self.loss = per_million;
        self
    }

    /// The same with loss in bursts.
    #[must_use]
    pub const fn with_bursts(mut self, bursts: Bursts) -> Self {
        self.bursts = Some(bursts);
        self
    }

    /// The same with this chance, in parts per million, of being `delay` late.
    #[must_use]
    pub const fn with_reorder(mut self, per_million: u32, delay: Duration) -> Self {
        self.reorder = per_million;
        self.reorder_delay = delay;
        self
    }

    /// The same with this chance, in parts per million, of arriving again `delay` later.
    #[must_use]
    pub const fn with_duplicate(mut self, per_million: u32, delay: Duration) -> Self {
        self.duplicate = per_million;
        self.duplicate_delay = delay;
        self
    }

    /// The same with this chance of damage, in parts per million.
    #[must_use]
    pub const fn with_corrupt(mut self, per_million: u32) -> Self {
        self.corrupt = per_million;
        self
    }

    /// The same with a bottleneck of `bytes_per_second` (0 is none) and room for `queue` bytes,
    /// both with headers.
    #[must_use]
    pub const fn with_rate(mut self, bytes_per_second: u64, queue: u64) -> Self {
        self.rate = NonZeroU64::new(bytes_per_second);
        self.queue = queue;
        self
    }

    /// The same with this many bytes of headers around each payload, [`UDP_OVERHEAD`] before.
    #[must_use]
    pub const fn with_overhead(mut self, bytes: u32) -> Self {
        self.overhead = bytes;
        self
    }

    /// The same with longer UDP payloads dropped. An IP MTU is longer by the headers.
    #[must_use]
    pub const fn with_payload_max(mut self, bytes: usize) -> Self {
        self.payload_max = bytes;
        self
    }

    /// The same, down in `from..to`.
    ///
    /// # Panics
    ///
    /// When it already has [`Self::OUTAGES_MAX`] outages; longer schedules are a matter of
    /// [`crate::Net::set_link`] between steps.
    #[must_use]
    pub const fn with_outage(mut self, from: Instant, to: Instant) -> Self {
        let mut place = 0;
        while self.outages[place].from.as_micros() < self.outages[place].to.as_micros() {
            place += 1;
        }
        self.outages[place] = Outage { from, to };
        self
    }

    /// Whether the link is down at `now`.
    pub fn is_down(&self, now: Instant) -> bool {
        self.outages.iter().any(|outage| outage.from <= now && now < outage.to)
    }
}

/// Loss that comes in bursts, after Gilbert and Elliott: a link is good or bad, may change with
/// every datagram, and loses more while it is bad. All in parts per million.
///
/// The share of time it is bad is `worsens / (worsens + recovers)`, a bad spell lasts for
/// `1,000,000 / recovers` datagrams on average.
///
/// Source: E. Elliott, *Estimates of error rates for codes on burst-noise channels*, 1963.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bursts {
    /// Chance that a good link turns bad, for each datagram.
    pub worsens: u32,
    /// Chance that a bad link turns good, for each datagram.
    pub recovers: u32,
    /// Chance of loss while good.
    pub good_loss: u32,
    /// Chance of loss while bad.
    pub bad_loss: u32,
}

/// A time in `from..to` without service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage {
    /// The first instant of it.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
}

impl Outage {
    /// Never.
    pub const NONE: Self = Self { from: Instant::ZERO, to: Instant::ZERO };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_with_its_first_instant_and_excludes_its_last() {
        let at = Instant::from_micros;
        let link = Link::PERFECT.with_outage(at(10), at(20)).with_outage(at(30), at(31));
        let down: [u64; 11] =
            core::array::from_fn(|i| (0..40).filter(|&t| link.is_down(at(t))).nth(i).unwrap());
        assert_eq!(down, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30]);
        assert!(!link.is_down(at(20)) && !link.is_down(at(31)));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_fifth_outage_is_refused_aloud() {
        let _ = (0..5).fold(Link::PERFECT, |link, i| {
            link.with_outage(Instant::from_micros(i * 10), Instant::from_micros(i * 10 + 5))
        });
    }

    #[test]
    fn a_rate_of_zero_is_no_bottleneck() {
        assert_eq!(Link::LAN.with_rate(0, 0).rate, None);
    }
}
