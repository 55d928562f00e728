//! Who does what.

use bowline_benches::pair::{Pair as OwnPair, Traffic};
use bowline_benches::protocol::{enet, native};
use bowline_benches::server::Server as OwnServer;
use bowline_core::Mode;
use bowline_native::{Config, Integrity, Limits};

#[cfg(c_enet)]
use crate::c_enet::CEnet;
use crate::host::Host;
use crate::pair::Pair;
use crate::rusty::Rusty;
use crate::server::Server;
use crate::{Counted, run};

/// How long a workload runs.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Counted ticks of W1, and a tenth of those of W2.
    pub ticks: u32,
    /// Counted ticks of W5 times its peers.
    pub peer_ticks: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// 32-byte messages, 64 per tick, in one mode; both ends.
    Small(Mode),
    /// Messages of 64 KiB, reliable; both ends.
    Large,
    /// A server with so many peers; the server only.
    Peers(u16),
}

/// The workloads by name.
pub const WORKS: [(&str, Work); 6] = [
    ("w1-unreliable", Work::Small(Mode::Unreliable)),
    ("w1-ordered", Work::Small(Mode::UnreliableOrdered)),
    ("w1-reliable", Work::Small(Mode::Reliable)),
    ("w2", Work::Large),
    ("w5-1000", Work::Peers(1_000)),
    ("w5-4095", Work::Peers(4_095)),
];

/// Does a piece of work.
type Doer = fn(Work, Length) -> Counted;

/// The libraries by name.
pub const LIBRARIES: &[(&str, Doer)] = &[
    ("bowline-native", bowline_native),
    ("bowline-enet", bowline_enet),
    #[cfg(c_enet)]
    ("c-enet", |work, length| hosts(work, length, CEnet::new)),
    ("rusty_enet", |work, length| hosts(work, length, Rusty::new)),
];

/// Ticks of W1 before it counts.
const WARM: u32 = 500;

/// Ticks of W2 before it counts.
const WARM_LARGE: u32 = 100;

/// Ticks of W5 before it counts: more than a second, in which ENet tells all peers of bandwidth.
const WARM_PEERS: u32 = 80;

fn small(mode: Mode) -> Traffic {
    Traffic { mode, len: 32, per_tick: 64, under_way_max: 1_000, alone: false }
}

fn large() -> Traffic {
    let mode = Mode::Reliable;
    Traffic { mode, len: 64 * 1024, per_tick: 2, under_way_max: 6, alone: false }
}

impl Length {
    fn ticks_of(self, peers: u16) -> u32 {
        (self.peer_ticks / u32::from(peers)).max(5)
    }
}

fn bowline_native(work: Work, length: Length) -> Counted {
    let config = Config { integrity: Integrity::None, ..Config::new(1) };
    let two = Limits { block_len: 1024, ..Limits::for_peers(1) };
    match work {
        Work::Small(mode) => {
            run(OwnPair::new(native(config, two), small(mode)), WARM, length.ticks)
        }
        Work::Large => {
            run(OwnPair::new(native(config, two), large()), WARM_LARGE, length.ticks / 10)
        }
        Work::Peers(peers) => {
            let endpoints = native(config, Limits::for_peers(peers.into()));
            run(OwnServer::new(endpoints, peers.into()), WARM_PEERS, length.ticks_of(peers))
        }
    }
}

fn bowline_enet(work: Work, length: Length) -> Counted {
    match work {
        Work::Small(mode) => run(OwnPair::new(enet(1), small(mode)), WARM, length.ticks),
        Work::Large => run(OwnPair::new(enet(1), large()), WARM_LARGE, length.ticks / 10),
        Work::Peers(peers) => {
            let server = OwnServer::new(enet(peers), peers.into());
            run(server, WARM_PEERS, length.ticks_of(peers))
        }
    }
}

/// `new` makes a host for so many peers, with a link for so many bytes.
fn hosts<H: Host>(work: Work, length: Length, new: fn(usize, usize) -> H) -> Counted {
    let two = || [new(1, 1 << 20), new(1, 1 << 20)];
    match work {
        Work::Small(mode) => run(Pair::new(two(), small(mode)), WARM, length.ticks),
        Work::Large => run(Pair::new(two(), large()), WARM_LARGE, length.ticks / 10),
        Work::Peers(peers) => {
            let host = || new(peers.into(), usize::from(peers) * 512 + (1 << 16));
            let server = Server::new([host(), host()], peers.into());
            run(server, WARM_PEERS, length.ticks_of(peers))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_does_all_work_of_a_pair() {
        let length = Length { ticks: 50, peer_ticks: 500 };
        for (_, doer) in LIBRARIES {
            for (name, work) in WORKS {
                if work != Work::Peers(4_095) {
                    let counted = doer(work, length);
                    assert!(counted.work.units > 0 && counted.work.forth.bytes > 0, "{name}");
                }
            }
        }
    }
}
