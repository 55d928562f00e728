//! Controllers and their pacing on a bottleneck that is nothing but a rate, a queue and a delay.
//!
//! Flows send datagrams of one length, always have more, and know losses and deliveries as the transport would
//! tell them. There is no protocol here: what this says is what the controllers do.

use alloc::collections::BTreeSet;
use alloc::collections::VecDeque;

use bowline_core::{Duration, Instant};
use bowline_sim::Rng;
use bowline_transport::congestion::{Controller, Cubic, FixedWindow, NewReno, PathModel};
use bowline_transport::pacing::Pacer;
use bowline_transport::rtt::RttEstimator;

/// Bytes of every datagram, as sockets see them.
pub const DATAGRAM: u16 = 1_200;

/// Which controller a flow has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// [`FixedWindow`] of 256 KiB.
    Fixed,
    /// [`NewReno`].
    NewReno,
    /// [`Cubic`].
    Cubic,
    /// [`PathModel`].
    Model,
}

impl Kind {
    fn build(self) -> Box<dyn Controller> {
        const MAX: u32 = 1 << 26;
        match self {
            Self::Fixed => Box::new(FixedWindow::new(256 * 1024)),
            Self::NewReno => Box::new(NewReno::new(DATAGRAM, MAX)),
            Self::Cubic => Box::new(Cubic::new(DATAGRAM, MAX)),
            Self::Model => Box::new(PathModel::new(DATAGRAM, MAX)),
        }
    }
}

/// A path and who is on it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Bytes per second that the bottleneck carries.
    pub rate: u64,
    /// Bytes that its queue holds; what finds no room is dropped.
    pub queue: u64,
    /// Round trip without a queue.
    pub round_trip: Duration,
    /// Each datagram is up to so much later.
    pub jitter: Duration,
    /// Datagrams lost by chance, in a million.
    pub loss: u32,
    /// How often flows are polled.
    pub poll: Duration,
    /// How long all goes on.
    pub span: Duration,
    /// Each flow's controller; they begin 100 ms after one another.
    pub flows: Vec<Kind>,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Bytes delivered.
    pub delivered: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// What came of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Of each flow.
    pub shares: Vec<Share>,
    /// Datagrams for which the queue had no room.
    pub dropped: u64,
    /// How long datagrams waited in the queue, in microseconds, ascending.
    pub waits: Vec<u32>,
}

impl Shape {
    /// Jain's index of the flows' rates: 1 if all have the same, 1 / n if one has all.
    #[must_use]
    pub fn jain(&self) -> f64 {
        let each = || self.shares.iter().map(|share| share.delivered as f64);
        let (sum, squares) = (each().sum::<f64>(), each().map(|x| x * x).sum::<f64>());
        sum * sum / (squares * self.shares.len() as f64)
    }

    /// The wait that `hundredths` of the datagrams did not exceed.
    #[must_use]
    pub fn wait(&self, hundredths: usize) -> Duration {
        let at = self.waits.len().saturating_sub(1) * hundredths / 100;
        Duration::from_micros(self.waits.get(at).copied().unwrap_or(0).into())
    }
}

struct Sent {
    number: u64,
    at: Instant,
}

struct Flow {
    controller: Box<dyn Controller>,
    pacer: Pacer,
    rtt: RttEstimator,
    in_flight: VecDeque<Sent>,
    next: u64,
    begins: Instant,
    share: Share,
}

impl Flow {
    fn room(&self) -> bool {
        (self.in_flight.len() as u32) * u32::from(DATAGRAM) < self.controller.window()
    }

    /// The peer says at `now` that `number` arrived.
    fn on_ack(&mut self, now: Instant, number: u64) {
        let Ok(place) = self.in_flight.binary_search_by_key(&number, |sent| sent.number) else {
            return;
        };
        let Some(sent) = self.in_flight.remove(place) else { return };
        self.rtt.on_sample(now.saturating_since(sent.at), Duration::ZERO);
        let bytes = u32::from(DATAGRAM);
        // Late by three numbers and a quarter of a round trip: reordering is not what this is about.
        let waited = self.rtt.smoothed().max(self.rtt.latest()) + self.rtt.min().shr(2);
        while let Some(first) = self.in_flight.front() {
            if first.number + 3 > number || now.saturating_since(first.at) < waited {
                break;
            }
            self.controller.on_lost(bytes);
            self.controller.on_congestion(now, first.at, false);
            self.in_flight.pop_front();
        }
        self.controller.on_ack(now, sent.at, bytes, false, &self.rtt);
        self.share.delivered += u64::from(bytes);
    }

    fn poll(&mut self, now: Instant) -> bool {
        // All were lost, and nobody will tell.
        let silent = self.rtt.probe_timeout(Duration::from_millis(25)).saturating_mul(3);
        while let Some(first) = self.in_flight.front()
            && now.saturating_since(first.at) > silent
        {
            self.controller.on_lost(DATAGRAM.into());
            self.controller.on_congestion(now, first.at, false);
            self.in_flight.pop_front();
        }
        if now < self.begins || !self.room() {
            return false;
        }
        let rate = self.controller.pacing_rate(&self.rtt);
        if rate.is_some_and(|rate| self.pacer.available(now, rate, DATAGRAM) == 0) {
            return false;
        }
        self.pacer.on_sent(DATAGRAM.into());
        self.controller.on_sent(now, DATAGRAM.into());
        self.in_flight.push_back(Sent { number: self.next, at: now });
        self.next += 1;
        self.share.sent += u64::from(DATAGRAM);
        true
    }
}

/// What comes of `scenario` with this `seed`.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Shape {
    let mut rng = Rng::new(seed);
    let mut shape = Shape::default();
    let mut flows: Vec<_> = scenario
        .flows
        .iter()
        .zip(0..)
        .map(|(kind, nth)| Flow {
            controller: kind.build(),
            pacer: Pacer::new(10 * u32::from(DATAGRAM)),
            rtt: RttEstimator::new(Duration::from_millis(333)),
            in_flight: VecDeque::new(),
            next: 0,
            begins: Instant::from_micros(1 + nth * 100_000),
            share: Share::default(),
        })
        .collect();
    // When acknowledgements are seen: time, a tie-break, flow, number.
    let mut acks = BTreeSet::new();
    let mut order = 0_u64;
    let mut clear_at = Instant::ZERO;
    let step = Duration::from_micros(DATAGRAM as u64 * 1_000_000 / scenario.rate);
    let mut now = Instant::from_micros(1);
    let end = now + scenario.span;
    while now < end {
        while let Some(&(at, _, flow, number)) = acks.first()
            && at <= now
        {
            acks.pop_first();
            let flow: &mut Flow = &mut flows[flow];
            flow.on_ack(now, number);
        }
        let mut any = true;
        while any {
            any = false;
            for (nth, flow) in flows.iter_mut().enumerate() {
                if !flow.poll(now) {
                    continue;
                }
                any = true;
                let wait = clear_at.saturating_since(now);
                if wait.as_micros() * scenario.rate / 1_000_000 + u64::from(DATAGRAM)
                    > scenario.queue
                {
                    shape.dropped += 1;
                    continue;
                }
                shape.waits.push(wait.as_micros() as u32);
                clear_at = clear_at.max(now) + step;
                if rng.chance(scenario.loss) {
                    continue;
                }
                order += 1;
                let at = clear_at + scenario.round_trip + rng.duration(scenario.jitter);
                acks.insert((at, order, nth, flow.next - 1));
            }
        }
        now = now + scenario.poll;
    }
    shape.waits.sort_unstable();
    shape.shares = flows.iter().map(|flow| flow.share).collect();
    shape
}
