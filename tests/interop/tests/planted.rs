//! Differential testing notices what it is there to notice: the C library against itself differs in
//! nothing, and against itself with something changed it differs soon.
#![cfg(c_enet)]

use std::net::SocketAddrV4;

use bowline_interop::c_enet::Host;
use bowline_interop::episode::{Census, Divergence, Makers, Twinned, run};
use bowline_interop::subject::{Datagram, Event, HostConfig, Op, PeerState, Subject};

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flaw {
    None,
    OneBitOfOneDatagram,
    LastDatagramOfManyLost,
    EventsBackwards,
    UnsequencedArrivesUnflagged,
    RefusalNotReported,
    VarianceOneTooHigh,
    DuplicateLimitIgnored,
    WaitingLimitIgnored,
    TimeoutIgnored,
    PingAMillisecondLate,
}

struct Flawed {
    host: Host,
    flaw: Flaw,
    sent_count: usize,
}

impl Flawed {
    fn new(config: &HostConfig, flaw: Flaw) -> Self {
        let mut config = config.clone();
        match flaw {
            Flaw::DuplicateLimitIgnored => config.duplicate_peers = 0,
            Flaw::WaitingLimitIgnored => config.waiting_max = 0,
            _ => {}
        }
        Self { host: Host::new(&config), flaw, sent_count: 0 }
    }
}

impl Subject for Flawed {
    fn apply(&mut self, now: u32, op: &Op) -> i32 {
        if self.flaw == Flaw::TimeoutIgnored && matches!(op, Op::Timeout { .. }) {
            return 0;
        }
        let returned = self.host.apply(now, op);
        if self.flaw == Flaw::RefusalNotReported { returned.max(0) } else { returned }
    }

    fn push_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        self.host.push_datagram(from, datagram);
    }

    fn service(&mut self, now: u32) -> Vec<Event> {
        let mut events = self.host.service(now);
        match self.flaw {
            Flaw::EventsBackwards => events.reverse(),
            Flaw::PingAMillisecondLate => {
                for event in &events {
                    if let Event::Connect { peer, .. } = *event {
                        self.host.apply(now, &Op::PingInterval { peer, interval: 501 });
                    }
                }
            }
            Flaw::UnsequencedArrivesUnflagged => {
                for event in &mut events {
                    if let Event::Receive { flags, .. } = event {
                        *flags &= !2;
                    }
                }
            }
            _ => {}
        }
        events
    }

    fn take_sent(&mut self) -> Vec<Datagram> {
        let mut sent = self.host.take_sent();
        let before = self.sent_count;
        self.sent_count += sent.len();
        match self.flaw {
            Flaw::OneBitOfOneDatagram if before <= 20 && self.sent_count > 20 => {
                *sent[20 - before].1.last_mut().expect("no datagram is empty") ^= 1;
            }
            Flaw::LastDatagramOfManyLost if sent.len() > 3 => drop(sent.pop()),
            _ => {}
        }
        sent
    }

    fn peer_state(&self, peer: usize) -> PeerState {
        let mut state = self.host.peer_state(peer);
        state.variance += u32::from(self.flaw == Flaw::VarianceOneTooHigh && state.rtt == 20);
        state
    }
}

/// The first difference in so many episodes.
fn difference(flaw: Flaw, twinned: Twinned, episodes: u64) -> Option<Box<Divergence>> {
    let makers = Makers {
        reference: &|config| Box::new(Host::new(config)),
        subject: &|config| Box::new(Flawed::new(config, flaw)),
        overlooked: &[],
    };
    let mut census = Census::default();
    (0..episodes).find_map(|seed| run(seed, 200, makers, twinned, &mut census).err())
}

#[test]
fn the_c_library_does_not_differ_from_itself() {
    if let Some(divergence) = difference(Flaw::None, Twinned::All, 120) {
        panic!("{divergence}");
    }
}

#[test]
fn whatever_is_changed_is_noticed() {
    for flaw in [
        Flaw::OneBitOfOneDatagram,
        Flaw::LastDatagramOfManyLost,
        Flaw::EventsBackwards,
        Flaw::UnsequencedArrivesUnflagged,
        Flaw::RefusalNotReported,
        Flaw::VarianceOneTooHigh,
        Flaw::DuplicateLimitIgnored,
        Flaw::WaitingLimitIgnored,
        Flaw::TimeoutIgnored,
        Flaw::PingAMillisecondLate,
    ] {
        // Some act seldom; most of this is only run where one is not noticed.
        assert!(difference(flaw, Twinned::All, 1500).is_some(), "{flaw:?}");
    }
}

#[test]
fn a_flaw_of_either_role_is_noticed_alone() {
    for twinned in [Twinned::Server, Twinned::Clients] {
        assert!(difference(Flaw::OneBitOfOneDatagram, twinned, 120).is_some(), "{twinned:?}");
    }
}

#[test]
fn a_difference_is_told_so_that_it_can_be_repeated() {
    let first = difference(Flaw::OneBitOfOneDatagram, Twinned::All, 120).expect("a difference");
    let again = difference(Flaw::OneBitOfOneDatagram, Twinned::All, 120).expect("a difference");
    assert_eq!(first.to_string(), again.to_string());
    assert!(first.what.contains("the reference:"), "{first}");
    assert!(first.to_string().contains(&format!("seed {}", first.seed)), "{first}");
}
