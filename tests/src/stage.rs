//! Endpoints for tests that say themselves what happens, and when.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;

use bowline_core::{
    ChannelId, CloseReason, Duration, Event, Instant, Machine, Messages, Mode, Outcome, Outgoing,
    PeerId, SendError, Tag,
};
use bowline_crypto::SipHash;
use bowline_native::{Endpoint, InUse};
use bowline_sim::{Departure, Link, Mailbox, Net, NodeId, Rng, Sighting, Tap};

use crate::memory::Memory;
use crate::mutant::Message;
use crate::polled::{Calls, Polled};
use crate::scenario::NodePlan;

/// All modes there are.
pub const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableOrdered,
    Mode::Reliable,
    Mode::ReliableUnordered,
    Mode::ReliableLatest,
];

/// Those that send once.
pub const UNRELIABLE: [Mode; 2] = [Mode::Unreliable, Mode::UnreliableOrdered];

/// Those that send until it is acknowledged.
pub fn reliable() -> impl Iterator<Item = Mode> {
    MODES.into_iter().filter(|mode| mode.is_reliable())
}

/// So many milliseconds.
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Endpoints, and after them bare sockets, on a network.
pub struct Stage {
    /// The network; its first nodes are the endpoints, its last the mailboxes.
    pub net: Net,
    /// The endpoints.
    pub endpoints: Vec<Endpoint<Memory>>,
    /// Attackers, strangers, scripted peers.
    pub mailboxes: Vec<Mailbox>,
    events: Vec<VecDeque<Event>>,
    calls: Vec<Calls>,
    seen: Rc<RefCell<Vec<Seen>>>,
    keys: u32,
}

/// A datagram that was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// By which node.
    pub by: usize,
    /// What.
    pub bytes: Vec<u8>,
}

struct Recorder(Rc<RefCell<Vec<Seen>>>);

impl Tap for Recorder {
    fn departure(&mut self, node: NodeId, seen: &Sighting<'_>, _: Departure) {
        let (at, by, bytes) = (seen.at, node.index(), seen.bytes.to_vec());
        self.0.borrow_mut().push(Seen { at, by, bytes });
    }
}

impl Stage {
    /// Endpoints of these plans, and `mailboxes` bare sockets, with `link` between any two.
    pub fn new(seed: u64, plans: &[NodePlan], mailboxes: usize, link: Link) -> Self {
        let mut net = Net::with_nodes(seed, plans.len() + mailboxes, link);
        let seen = Rc::new(RefCell::new(Vec::new()));
        net.add_tap(Box::new(Recorder(Rc::clone(&seen))));
        let endpoints =
            plans.iter().enumerate().map(|(node, plan)| endpoint(plan, seed, node as u64));
        Self {
            endpoints: endpoints.collect(),
            net,
            mailboxes: vec![Mailbox::new(); mailboxes],
            events: vec![VecDeque::new(); plans.len()],
            calls: vec![Calls::default(); plans.len()],
            seen,
            keys: 1 << 31,
        }
    }

    /// Two endpoints, and a session that the first one began: its ids at both ends.
    ///
    /// # Panics
    ///
    /// If they do not connect within ten seconds.
    pub fn connected(seed: u64, plans: [NodePlan; 2], link: Link) -> (Self, PeerId, PeerId) {
        let mut stage = Self::new(seed, &plans, 0, link);
        let (client, server) = stage.connect(0, 1);
        (stage, client, server)
    }

    /// Has node `a` connect to node `b`, and waits until both know: the session's ids at both ends.
    ///
    /// # Panics
    ///
    /// If they do not connect within ten seconds.
    pub fn connect(&mut self, a: usize, b: usize) -> (PeerId, PeerId) {
        let there = self.call(a, b, &[]);
        for _ in 0..1_000 {
            self.run_for(Duration::from_millis(10));
            let here = self.events[a].iter().any(|event| *event == Event::Connected(there));
            let back = self.events[b].iter().find_map(|event| match event {
                Event::Connected(peer) => Some(*peer),
                _ => None,
            });
            if let (true, Some(back)) = (here, back) {
                self.take_events(a);
                self.take_events(b);
                return (there, back);
            }
        }
        panic!("no session: {:?}", self.events)
    }

    /// Has node `a` ask node `b` for a session.
    ///
    /// # Panics
    ///
    /// If it cannot even ask.
    pub fn call(&mut self, a: usize, b: usize, payload: &[u8]) -> PeerId {
        let (now, to) = (self.now(), self.net.address(b));
        self.endpoints[a].connect_plain(now, to, payload).expect("room for another session")
    }

    /// The network's clock.
    pub fn now(&self) -> Instant {
        self.net.now()
    }

    /// Lets time pass, and collects the events of all endpoints that are awake. No message is read.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now() + span;
        self.run_until(end);
    }

    /// As [`Self::run_for`], until a point in time.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn run_until(&mut self, end: Instant) {
        loop {
            let step = self.step_until(end);
            self.collect();
            if step != bowline_sim::Step::Due {
                return;
            }
        }
    }

    /// One step of the network, after which nobody is asked for events.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn step_until(&mut self, end: Instant) -> bowline_sim::Step {
        let mut endpoints: Vec<_> = (self.endpoints.iter_mut().zip(&mut self.calls))
            .map(|(endpoint, calls)| Polled::new(endpoint, calls))
            .collect();
        let endpoints = endpoints.iter_mut().map(|endpoint| endpoint as &mut dyn Machine);
        let mailboxes = self.mailboxes.iter_mut().map(|mailbox| mailbox as &mut dyn Machine);
        let mut machines: Vec<&mut dyn Machine> = endpoints.chain(mailboxes).collect();
        self.net.step_until(&mut machines, end).expect("machines that can be driven")
    }

    /// Has everybody act on the time it is, and answer each other, without time passing.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn exchange(&mut self) {
        let endpoints = self.endpoints.iter_mut().map(|endpoint| endpoint as &mut dyn Machine);
        let mailboxes = self.mailboxes.iter_mut().map(|mailbox| mailbox as &mut dyn Machine);
        let mut machines: Vec<&mut dyn Machine> = endpoints.chain(mailboxes).collect();
        self.net.exchange(&mut machines).expect("machines that can be driven");
    }

    /// Asks all endpoints that are awake for their events.
    pub fn collect(&mut self) {
        for (node, endpoint) in self.endpoints.iter_mut().enumerate() {
            if self.net.is_awake(node) {
                while let Some(event) = endpoint.poll_event() {
                    self.events[node].push_back(event);
                }
            }
        }
    }

    /// The events of `node` since they were last taken.
    pub fn take_events(&mut self, node: usize) -> Vec<Event> {
        self.events[node].drain(..).collect()
    }

    /// The outcomes that `node` was told since they were last taken; other events stay.
    pub fn take_outcomes(&mut self, node: usize) -> Vec<(u32, Outcome)> {
        let (mut outcomes, events) = (Vec::new(), &mut self.events[node]);
        events.retain(|event| match event {
            Event::Outcome(_, tag, outcome) => {
                outcomes.push((tag.0, *outcome));
                false
            }
            _ => true,
        });
        outcomes
    }

    /// Lets time pass while nobody asks for events.
    ///
    /// # Panics
    ///
    /// If an endpoint cannot be driven.
    pub fn run_unasked(&mut self, span: Duration) {
        let end = self.now() + span;
        while self.step_until(end) == bowline_sim::Step::Due {}
    }

    /// Sends a message from `node`; in mode reliable-latest, of a key of its own.
    ///
    /// # Errors
    ///
    /// As [`Messages::send`].
    pub fn send(
        &mut self,
        node: usize,
        to: PeerId,
        channel: u8,
        mode: Mode,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.keys += 1;
        let key = (mode == Mode::ReliableLatest).then_some(self.keys);
        let pieces = [bytes];
        self.offer(node, to, Outgoing { key, ..Outgoing::new(ChannelId(channel), mode, &pieces) })
    }

    /// Sends a message from `node`, and whatever is asked for it.
    ///
    /// # Errors
    ///
    /// As [`Messages::send`].
    pub fn offer(
        &mut self,
        node: usize,
        to: PeerId,
        message: Outgoing<'_>,
    ) -> Result<(), SendError> {
        let now = self.now();
        self.calls[node].touch();
        self.endpoints[node].send(now, to, message)
    }

    /// Sends a message whose outcome is to be told; in mode reliable-latest, of a key of its own.
    ///
    /// # Errors
    ///
    /// As [`Messages::send`].
    pub fn send_tagged(
        &mut self,
        node: usize,
        to: PeerId,
        mode: Mode,
        bytes: &[u8],
        tag: u32,
    ) -> Result<(), SendError> {
        let pieces = [bytes];
        self.offer(node, to, tagged(mode, &pieces, tag))
    }

    /// All messages that `node` can read from this peer now.
    pub fn read(&mut self, node: usize, from: PeerId) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.endpoints[node].recv(from) {
            let (channel, mode) = (message.channel(), message.mode());
            all.push(Message { channel, mode, bytes: message.to_vec() });
        }
        all
    }

    /// Has `node` close a session.
    pub fn close(&mut self, node: usize, peer: PeerId, reason: u32) {
        let now = self.now();
        self.calls[node].touch();
        self.endpoints[node].close(now, peer, CloseReason(reason));
    }

    /// What of the memory of `node` is in use.
    pub fn in_use(&mut self, node: usize) -> InUse {
        self.endpoints[node].in_use()
    }

    /// How often `node` was polled so far.
    pub fn calls(&self, node: usize) -> &Calls {
        &self.calls[node]
    }

    /// The datagrams that were sent since this was last asked.
    pub fn take_datagrams(&mut self) -> Vec<Seen> {
        self.seen.take()
    }

    /// Puts another endpoint in the place of one: its machine was started again.
    pub fn restart(&mut self, node: usize, plan: &NodePlan, seed: u64) {
        self.endpoints[node] = endpoint(plan, seed, node as u64);
        self.events[node].clear();
    }
}

fn endpoint(plan: &NodePlan, seed: u64, node: u64) -> Endpoint<Memory> {
    let seed = Rng::stream(seed, node).seed();
    Endpoint::plain(plan.config, &SipHash, &seed, plan.kind.memory())
        .unwrap_or_else(|error| panic!("{:?}: {error}", plan.kind))
}

/// A message on channel 0 whose outcome is to be told; in mode reliable-latest, of a key of its own.
pub fn tagged<'a>(mode: Mode, pieces: &'a [&'a [u8]], tag: u32) -> Outgoing<'a> {
    let key = (mode == Mode::ReliableLatest).then_some(tag);
    Outgoing { tag: Some(Tag(tag)), key, ..Outgoing::new(ChannelId(0), mode, pieces) }
}

/// `len` bytes that follow from `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}
