//! Hosts that speak ENet, on a network that does what the test says.

use alloc::rc::Rc;
use core::cell::RefCell;

use bowline_core::{ChannelId, Duration, Event, Instant, Machine, Messages, PeerId, SendError};
use bowline_crypto::SipHash;
use bowline_enet::{Config, Fixed, Flags, Heap, Host, Limits, Need, Parts, Storage};
use bowline_sim::{Departure, Link, Net, NodeId, Rng, Sighting, Step, Tap};

use crate::polled::{Calls, Polled};

/// Memory of either kind.
#[derive(Debug)]
pub enum Memory {
    /// Sized at compile time.
    Fixed(Box<Fixed<8, 64, 512, 4_096>>),
    /// From the allocator.
    Heap(Box<Heap>),
}

impl Memory {
    /// For eight peers, and it never grows.
    pub fn fixed() -> Self {
        Self::Fixed(Box::default())
    }

    /// For so many peers, each with room for one long message at least.
    pub fn heap(peers: u16) -> Self {
        Self::Heap(Box::new(Heap::new(Limits::for_peers(peers))))
    }
}

impl Storage for Memory {
    fn parts(&mut self) -> Parts<'_> {
        match self {
            Self::Fixed(fixed) => fixed.parts(),
            Self::Heap(heap) => heap.parts(),
        }
    }

    fn grow(&mut self, need: Need) -> bool {
        match self {
            Self::Fixed(fixed) => fixed.grow(need),
            Self::Heap(heap) => heap.grow(need),
        }
    }
}

/// A packet that an application has read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Got {
    /// Its channel.
    pub channel: u8,
    /// How it came.
    pub flags: Flags,
    /// What it says.
    pub bytes: Vec<u8>,
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

/// Hosts, and the network between them.
pub struct Hosts {
    /// The network; its nodes are the hosts.
    pub net: Net,
    /// The hosts.
    pub hosts: Vec<Host<Memory>>,
    events: Vec<Vec<Event>>,
    calls: Vec<Calls>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Hosts {
    /// Hosts with these configurations and memories, and `link` between any two.
    ///
    /// # Panics
    ///
    /// If a configuration is refused.
    pub fn new(seed: u64, plans: Vec<(Config, Memory)>, link: Link) -> Self {
        let mut net = Net::with_nodes(seed, plans.len(), link);
        let seen = Rc::new(RefCell::new(Vec::new()));
        net.add_tap(Box::new(Recorder(Rc::clone(&seen))));
        let count = plans.len();
        let hosts = plans.into_iter().enumerate().map(|(node, (config, memory))| {
            let seed = Rng::stream(seed, node as u64).seed();
            Host::new(config, &SipHash, &seed, memory).expect("a configuration that is good")
        });
        Self {
            hosts: hosts.collect(),
            net,
            events: vec![Vec::new(); count],
            calls: vec![Calls::default(); count],
            seen,
        }
    }

    /// Two hosts on the heap and a session that the first one began, of eight channels: its ids at both ends.
    ///
    /// # Panics
    ///
    /// If they do not connect.
    pub fn pair(seed: u64, config: Config, link: Link) -> (Self, PeerId, PeerId) {
        let plans = vec![(config, Memory::heap(8)), (config, Memory::heap(8))];
        let mut hosts = Self::new(seed, plans, link);
        let (there, back) = hosts.connect(0, 1, 8);
        (hosts, there, back)
    }

    /// Has host `a` connect to host `b`, and waits until both know.
    ///
    /// # Panics
    ///
    /// If that takes more than ten seconds.
    pub fn connect(&mut self, a: usize, b: usize, channels: u8) -> (PeerId, PeerId) {
        let there = self.call(a, b, channels, 0);
        for _ in 0..1_000 {
            self.run_for(Duration::from_millis(10));
            let here = self.events[a].contains(&Event::Connected(there));
            let back = self.events[b].iter().find_map(|event| match event {
                Event::Connected(peer) => Some(*peer),
                _ => None,
            });
            if let (true, Some(back)) = (here, back) {
                self.events[a].clear();
                self.events[b].clear();
                return (there, back);
            }
        }
        panic!("no session: {:?}", self.events)
    }

    /// Has host `a` ask host `b` for a session.
    ///
    /// # Panics
    ///
    /// If there is no room for one.
    pub fn call(&mut self, a: usize, b: usize, channels: u8, data: u32) -> PeerId {
        let (now, to) = (self.now(), self.net.address(b));
        self.hosts[a].connect(now, to, channels, data).expect("room for a session")
    }

    /// The network's clock.
    pub fn now(&self) -> Instant {
        self.net.now()
    }

    /// Lets time pass and collects events.
    ///
    /// # Panics
    ///
    /// If a host cannot be driven, or asks to be called again and again.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now() + span;
        loop {
            self.calls.iter_mut().for_each(Calls::touch);
            let mut hosts: Vec<_> = (self.hosts.iter_mut().zip(&mut self.calls))
                .map(|(host, calls)| Polled::new(host, calls))
                .collect();
            let mut machines: Vec<_> =
                hosts.iter_mut().map(|host| host as &mut dyn Machine).collect();
            let step = self.net.step_until(&mut machines, end).expect("hosts that can be driven");
            self.collect();
            if step != Step::Due {
                return;
            }
        }
    }

    /// As [`Self::run_for`], in milliseconds.
    ///
    /// # Panics
    ///
    /// As [`Self::run_for`].
    pub fn run_millis(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }

    fn collect(&mut self) {
        for (host, events) in self.hosts.iter_mut().zip(&mut self.events) {
            while let Some(event) = host.poll_event() {
                events.push(event);
            }
        }
    }

    /// The events of a host since they were last taken, but for those that say that there is something to read.
    pub fn take_events(&mut self, node: usize) -> Vec<Event> {
        self.collect();
        let events = core::mem::take(&mut self.events[node]);
        events.into_iter().filter(|event| !matches!(event, Event::Readable(_))).collect()
    }

    /// All datagrams that were sent since they were last taken.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        core::mem::take(&mut self.seen.borrow_mut())
    }

    /// How often hosts were polled.
    pub fn polls(&self) -> u64 {
        self.calls.iter().map(|calls| calls.polls).sum()
    }

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// The host's.
    pub fn send(
        &mut self,
        node: usize,
        to: PeerId,
        channel: u8,
        flags: Flags,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        let now = self.now();
        self.hosts[node].send_packet(now, to, ChannelId(channel), flags, &[bytes])
    }

    /// All packets of a peer that can be read now.
    pub fn read(&mut self, node: usize, from: PeerId) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(packet) = self.hosts[node].receive_packet(from) {
            all.push(Got {
                channel: packet.channel.0,
                flags: packet.flags,
                bytes: packet.chunks.flatten().copied().collect(),
            });
        }
        all
    }
}

/// Bytes that tell one packet from another.
pub fn bytes(of: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(u64::from(of)).fill(&mut bytes);
    bytes
}
