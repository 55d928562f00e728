//! A sender that always has more to send than can be sent.

use bowline_core::{Duration, Instant, Messages, Mode, PeerId};
use bowline_native::{Class, Config};
use bowline_sim::{Link, Step};
use bowline_wire::native::Frame;

use crate::dissect::parts_of;
use crate::memory::Kind;
use crate::scenario::NodePlan;
use crate::stage::Stage;

/// A channel in one mode, and the length of its messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lane {
    /// The channel.
    pub channel: u8,
    /// The mode.
    pub mode: Mode,
    /// Length of every message, in bytes.
    pub len: usize,
}

/// What of a lane a datagram carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Index of the lane.
    pub lane: usize,
    /// Length of the frame, in bytes.
    pub bytes: usize,
}

/// A datagram with messages, or parts of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// When it was sent.
    pub at: Instant,
    /// What it carried, in order.
    pub parts: Vec<Part>,
}

/// Two endpoints, of which the first has lanes that never run dry.
pub struct Backlog {
    /// The endpoints, and what lies between them.
    pub stage: Stage,
    /// The session at the sender.
    pub there: PeerId,
    /// The session at the receiver.
    pub back: PeerId,
    /// What is sent.
    pub lanes: Vec<Lane>,
    /// The datagrams with messages that were sent so far.
    pub sent: Vec<Sent>,
    /// Which lanes are kept filled.
    pub is_busy: Vec<bool>,
    /// How many bytes each busy lane has waiting, about, when it is topped up.
    pub ahead: u64,
    offered: Vec<u64>,
    wired: Vec<u64>,
}

/// Classes for a configuration.
pub fn classes(classes: &[Class]) -> &'static [Class] {
    classes.to_vec().leak()
}

/// A plan with room for some busy streams, whatever [`Class`]es they are of.
pub fn plan(classes_of: &[Class]) -> NodePlan {
    let mut plan = NodePlan::new(Kind::Heap);
    plan.config = Config {
        classes: classes(classes_of),
        credit: 128 * 1024,
        loose_credit: 128 * 1024,
        in_flight_max: 30_000,
        ..plan.config
    };
    plan
}

impl Backlog {
    /// Endpoints of this plan with a session, and lanes that are all busy.
    pub fn new(seed: u64, plan: NodePlan, lanes: Vec<Lane>, link: Link) -> Self {
        let (stage, there, back) = Stage::connected(seed, [plan, plan], link);
        let count = lanes.len();
        let mut backlog = Self {
            stage,
            there,
            back,
            lanes,
            sent: Vec::new(),
            is_busy: vec![true; count],
            // More than fits into the window.
            ahead: 40_000,
            offered: vec![0; count],
            wired: vec![0; count],
        };
        backlog.stage.take_datagrams();
        backlog
    }

    /// Sends a message of a lane.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    pub fn send(&mut self, lane: usize, message: &[u8]) {
        let Lane { channel, mode, .. } = self.lanes[lane];
        let sent = self.stage.send(0, self.there, channel, mode, message);
        sent.unwrap_or_else(|error| panic!("{:?}: {error}", self.lanes[lane]));
        self.offered[lane] += message.len() as u64;
    }

    /// Gives all busy lanes so much that they do not run dry before the next step.
    pub fn top_up(&mut self) {
        for lane in 0..self.lanes.len() {
            let message = vec![lane as u8; self.lanes[lane].len];
            while self.is_busy[lane] && self.offered[lane] < self.wired[lane] + self.ahead {
                self.send(lane, &message);
            }
        }
    }

    /// Lets something happen, not beyond `end`. Nothing is added to what waits.
    pub fn step_until(&mut self, end: Instant) -> Step {
        let step = self.stage.step_until(end);
        self.stage.collect();
        while self.stage.endpoints[1].recv(self.back).is_some() {}
        self.look();
        step
    }

    /// Sends until there are `count` more datagrams with messages.
    ///
    /// # Panics
    ///
    /// If that takes ten minutes.
    pub fn run_datagrams(&mut self, count: usize) {
        let (wanted, end) = (self.sent.len() + count, self.stage.now() + Duration::from_secs(600));
        while self.sent.len() < wanted {
            self.top_up();
            assert_eq!(self.step_until(end), Step::Due, "{} of {wanted}", self.sent.len());
        }
    }

    /// Sends for a while.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.stage.now() + span;
        loop {
            self.top_up();
            if self.step_until(end) != Step::Due {
                return;
            }
        }
    }

    /// Lets time pass without anything new to send.
    pub fn rest_for(&mut self, span: Duration) {
        let end = self.stage.now() + span;
        while self.step_until(end) == Step::Due {}
    }

    /// How many bytes each lane had of the datagrams from `first` on.
    pub fn shares(&self, first: usize) -> Vec<u64> {
        let mut shares = vec![0; self.lanes.len()];
        for part in self.sent[first..].iter().flat_map(|sent| &sent.parts) {
            shares[part.lane] += part.bytes as u64;
        }
        shares
    }

    /// What a lane has sent: when, and how many bytes.
    pub fn times_of(&self, lane: usize) -> Vec<(Instant, u64)> {
        let bytes = |sent: &Sent| -> u64 {
            let parts = sent.parts.iter().filter(|part| part.lane == lane);
            parts.map(|part| part.bytes as u64).sum()
        };
        let times = self.sent.iter().map(|sent| (sent.at, bytes(sent)));
        times.filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// Takes in what was sent.
    fn look(&mut self) {
        for seen in self.stage.take_datagrams().into_iter().filter(|seen| seen.by == 0) {
            let mut parts = Vec::new();
            for (frame, bytes) in parts_of(&seen.bytes, 4) {
                let Some((channel, mode)) = lane_of(&frame) else { continue };
                let is_it = |lane: &Lane| (lane.channel, lane.mode) == (channel, mode);
                let lane = self.lanes.iter().position(is_it).expect("a lane that was opened");
                self.wired[lane] += bytes as u64;
                parts.push(Part { lane, bytes });
            }
            if !parts.is_empty() {
                self.sent.push(Sent { at: seen.at, parts });
            }
        }
    }
}

/// Whose messages a frame carries.
fn lane_of(frame: &Frame<'_>) -> Option<(u8, Mode)> {
    let unreliable = |ordered| if ordered { Mode::UnreliableOrdered } else { Mode::Unreliable };
    Some(match *frame {
        Frame::Unreliable { channel, ordered, .. } | Frame::Fragment { channel, ordered, .. } => {
            (channel, unreliable(ordered))
        }
        Frame::Reliable { channel, .. } => (channel, Mode::Reliable),
        Frame::Loose { channel, latest: false, .. } => (channel, Mode::ReliableUnordered),
        Frame::Loose { channel, latest: true, .. } => (channel, Mode::ReliableLatest),
        _ => return None,
    })
}
