//! All workloads by name, with what they are measured against.

use bowline_core::{Duration, Mode};
use bowline_native::{Config, Integrity, Limits};

use crate::Work;
use crate::floor::{BulkFloor, Floor, ServerFloor};
use crate::pair::{Pair, Traffic};
use crate::protocol::{enet, native};
use crate::run;
use crate::server::Server;

/// What a cost is divided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Per {
    /// Messages.
    Message,
    /// Bytes of messages.
    Byte,
    /// Peers times ticks.
    PeerTick,
    /// Idle peers times seconds.
    PeerSecond,
    /// Rounds of asking for an event, a datagram and the next deadline.
    Poll,
}

/// A workload as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// What its cost is divided by.
    pub per: Per,
    /// Most that it may cost; nothing was set if 0.
    pub target: f64,
    /// What it should cost in the end; nothing was set if 0.
    pub aim: f64,
    /// The workload without a protocol that it is compared with.
    pub floor: &'static str,
    /// Does it.
    pub run: fn() -> Work,
}

/// Nothing is protected: what the protocol itself costs.
fn bare() -> Config {
    Config { integrity: Integrity::None, ..Config::new(1) }
}

fn checked() -> Config {
    Config { integrity: Integrity::Crc32, ..Config::new(1) }
}

fn small(config: Config, block_len: u32, mode: Mode, alone: bool) -> Work {
    let traffic = Traffic { mode, len: 32, per_tick: 64, under_way_max: 1_000, alone };
    run(Pair::new(native(config, for_two(block_len)), traffic), 500, 1_000)
}

fn large(config: Config, block_len: u32) -> Work {
    let traffic = Traffic {
        mode: Mode::Reliable,
        len: 64 * 1024,
        per_tick: 2,
        under_way_max: 6,
        alone: false,
    };
    run(Pair::new(native(config, for_two(block_len)), traffic), 100, 1_000)
}

/// Memory for two that talk to each other.
fn for_two(block_len: u32) -> Limits {
    Limits { block_len, ..Limits::for_peers(1) }
}

/// Small messages in ENet's protocol.
fn enet_small(mode: Mode) -> Work {
    let traffic = Traffic { mode, len: 32, per_tick: 64, under_way_max: 1_000, alone: false };
    run(Pair::new(enet(1), traffic), 500, 1_000)
}

/// Many peers that speak ENet. The warm-up goes on for more than a second: in the first, everybody is told of the
/// host's bandwidth, which takes more commands at once than ever again.
fn enet_server(peers: u16) -> Work {
    let peers_count = u32::from(peers);
    run(Server::new(enet(peers), peers_count), 80, (100_000 / peers_count).max(10))
}

fn server(config: Config, peers: u32) -> Work {
    run(Server::new(native(config, Limits::for_peers(peers)), peers), 20, (100_000 / peers).max(10))
}

/// Nobody has to say anything to stay connected while it is counted.
fn patient() -> Config {
    Config { idle_timeout: Duration::from_secs(3_600), ..bare() }
}

/// Fifty talk, among many who are connected and silent and whose timers are far.
fn crowd(peers: u32) -> Work {
    run(Server::with_busy(native(patient(), Limits::for_peers(peers)), peers, 50), 100, 1_000)
}

/// Nobody talks, and no timer is due: one round of polls each tick.
fn polls(peers: u32) -> Work {
    let work =
        run(Server::with_busy(native(patient(), Limits::for_peers(peers)), peers, 0), 100, 1_000);
    assert_eq!((work.forth.datagrams, work.back.datagrams), (0, 0), "somebody said something");
    Work { units: 1_000, ..work }
}

/// Nobody talks, for twenty seconds: what staying connected costs.
fn silence(peers: u32) -> Work {
    let work =
        run(Server::with_busy(native(bare(), Limits::for_peers(peers)), peers, 0), 250, 1_250);
    Work { units: 20 * u64::from(peers), ..work }
}

/// Every workload.
pub const WORKLOADS: &[Entry] = &[
    Entry {
        name: "w1-unreliable",
        title: "W1 unreliable",
        per: Per::Message,
        target: 260.0,
        aim: 200.0,
        floor: "w1-floor",
        run: || small(bare(), 1024, Mode::Unreliable, false),
    },
    Entry {
        name: "w1-ordered",
        title: "W1 unreliable-ordered",
        per: Per::Message,
        target: 260.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || small(bare(), 1024, Mode::UnreliableOrdered, false),
    },
    Entry {
        name: "w1-reliable",
        title: "W1 reliable",
        per: Per::Message,
        target: 300.0,
        aim: 230.0,
        floor: "w1-floor",
        run: || small(bare(), 1024, Mode::Reliable, false),
    },
    Entry {
        name: "w1-unreliable-4k",
        title: "W1 unreliable, 4 KiB blocks",
        per: Per::Message,
        target: 260.0,
        aim: 200.0,
        floor: "w1-floor",
        run: || small(bare(), 4096, Mode::Unreliable, false),
    },
    Entry {
        name: "w1-reliable-4k",
        title: "W1 reliable, 4 KiB blocks",
        per: Per::Message,
        target: 300.0,
        aim: 230.0,
        floor: "w1-floor",
        run: || small(bare(), 4096, Mode::Reliable, false),
    },
    Entry {
        name: "w1-unreliable-crc",
        title: "W1 unreliable, CRC",
        per: Per::Message,
        target: 320.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || small(checked(), 1024, Mode::Unreliable, false),
    },
    Entry {
        name: "w1-ordered-crc",
        title: "W1 unreliable-ordered, CRC",
        per: Per::Message,
        target: 320.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || small(checked(), 1024, Mode::UnreliableOrdered, false),
    },
    Entry {
        name: "w1-reliable-crc",
        title: "W1 reliable, CRC",
        per: Per::Message,
        target: 360.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || small(checked(), 1024, Mode::Reliable, false),
    },
    Entry {
        name: "w1-alone-unreliable",
        title: "W1 unreliable, one message per datagram",
        per: Per::Message,
        target: 700.0,
        aim: 0.0,
        floor: "w1-alone-floor",
        run: || small(bare(), 1024, Mode::Unreliable, true),
    },
    Entry {
        name: "w1-alone-reliable",
        title: "W1 reliable, one message per datagram",
        per: Per::Message,
        target: 700.0,
        aim: 0.0,
        floor: "w1-alone-floor",
        run: || small(bare(), 1024, Mode::Reliable, true),
    },
    Entry {
        name: "w2",
        title: "W2, 64 KiB reliable",
        per: Per::Byte,
        target: 1.4,
        aim: 1.2,
        floor: "w2-floor",
        run: || large(bare(), 1024),
    },
    Entry {
        name: "w2-4k",
        title: "W2, 64 KiB reliable, 4 KiB blocks",
        per: Per::Byte,
        target: 1.4,
        aim: 1.2,
        floor: "w2-floor",
        run: || large(bare(), 4096),
    },
    Entry {
        name: "w2-crc",
        title: "W2, 64 KiB reliable, CRC",
        per: Per::Byte,
        target: 0.0,
        aim: 0.0,
        floor: "w2-floor",
        run: || large(checked(), 1024),
    },
    Entry {
        name: "w5-1000",
        title: "W5, 1,000 peers",
        per: Per::PeerTick,
        target: 1600.0,
        aim: 1300.0,
        floor: "w5-floor",
        run: || server(bare(), 1_000),
    },
    Entry {
        name: "w5-4000",
        title: "W5, 4,000 peers",
        per: Per::PeerTick,
        target: 1600.0,
        aim: 1300.0,
        floor: "w5-floor",
        run: || server(bare(), 4_000),
    },
    Entry {
        name: "w5-10000",
        title: "W5, 10,000 peers",
        per: Per::PeerTick,
        target: 1600.0,
        aim: 1300.0,
        floor: "w5-floor",
        run: || server(bare(), 10_000),
    },
    Entry {
        name: "w5-1000-crc",
        title: "W5, 1,000 peers, CRC",
        per: Per::PeerTick,
        target: 0.0,
        aim: 0.0,
        floor: "w5-floor",
        run: || server(checked(), 1_000),
    },
    Entry {
        name: "crowd-100",
        title: "50 busy peers among 100",
        per: Per::PeerTick,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || crowd(100),
    },
    Entry {
        name: "crowd-1000",
        title: "50 busy peers among 1,000",
        per: Per::PeerTick,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || crowd(1_000),
    },
    Entry {
        name: "crowd-10000",
        title: "50 busy peers among 10,000",
        per: Per::PeerTick,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || crowd(10_000),
    },
    Entry {
        name: "polls-100",
        title: "polls with 100 silent peers",
        per: Per::Poll,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || polls(100),
    },
    Entry {
        name: "polls-1000",
        title: "polls with 1,000 silent peers",
        per: Per::Poll,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || polls(1_000),
    },
    Entry {
        name: "polls-10000",
        title: "polls with 10,000 silent peers",
        per: Per::Poll,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || polls(10_000),
    },
    Entry {
        name: "silence-100",
        title: "100 silent peers",
        per: Per::PeerSecond,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || silence(100),
    },
    Entry {
        name: "silence-1000",
        title: "1,000 silent peers",
        per: Per::PeerSecond,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || silence(1_000),
    },
    Entry {
        name: "silence-10000",
        title: "10,000 silent peers",
        per: Per::PeerSecond,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || silence(10_000),
    },
    Entry {
        name: "w1-floor",
        title: "floor of W1",
        per: Per::Message,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || run(Floor::new(32, 64, false), 500, 1_000),
    },
    Entry {
        name: "w1-alone-floor",
        title: "floor of W1, one message per datagram",
        per: Per::Message,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || run(Floor::new(32, 64, true), 500, 1_000),
    },
    Entry {
        name: "w2-floor",
        title: "floor of W2",
        per: Per::Byte,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || run(BulkFloor::new(64 * 1024, 2), 100, 1_000),
    },
    Entry {
        name: "w5-floor",
        title: "floor of W5, 1,000 peers",
        per: Per::PeerTick,
        target: 0.0,
        aim: 0.0,
        floor: "",
        run: || run(ServerFloor::new(1_000), 20, 100),
    },
    Entry {
        name: "enet-w1-unreliable",
        title: "ENet W1 unreliable",
        per: Per::Message,
        target: 1_095.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || enet_small(Mode::Unreliable),
    },
    Entry {
        name: "enet-w1-ordered",
        title: "ENet W1 unreliable-ordered",
        per: Per::Message,
        target: 1_105.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || enet_small(Mode::UnreliableOrdered),
    },
    Entry {
        name: "enet-w1-reliable",
        title: "ENet W1 reliable",
        per: Per::Message,
        target: 1_403.0,
        aim: 0.0,
        floor: "w1-floor",
        run: || enet_small(Mode::Reliable),
    },
    Entry {
        name: "enet-w5-1000",
        title: "ENet W5, 1,000 peers",
        per: Per::PeerTick,
        target: 2_768.0,
        aim: 0.0,
        floor: "w5-floor",
        run: || enet_server(1_000),
    },
    Entry {
        name: "enet-w5-4095",
        title: "ENet W5, 4,095 peers",
        per: Per::PeerTick,
        target: 2_768.0,
        aim: 0.0,
        floor: "w5-floor",
        run: || enet_server(4_095),
    },
];
