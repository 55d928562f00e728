//! Two hosts that live the same life, and must never differ.

use std::net::SocketAddrV4;

use crate::explain::explain;
use crate::subject::{Datagram, Event, HostConfig, Op, PeerState, Subject};

/// A reference and what must be like it. To the outside they are one host: the reference.
pub struct Twin {
    reference: Box<dyn Subject>,
    subject: Option<Box<dyn Subject>>,
    /// Differences of these numbers are accepted.
    overlooked: &'static [&'static str],
    config: HostConfig,
    divergence: Option<String>,
}

impl Twin {
    /// Two hosts, each made from `config`.
    pub fn new(
        reference: Box<dyn Subject>,
        subject: Box<dyn Subject>,
        config: HostConfig,
        overlooked: &'static [&'static str],
    ) -> Self {
        Self { reference, subject: Some(subject), overlooked, config, divergence: None }
    }

    /// A host alone, which differs from nothing.
    pub fn alone(reference: Box<dyn Subject>, config: HostConfig) -> Self {
        Self { reference, subject: None, overlooked: &[], config, divergence: None }
    }

    /// The first difference, in words.
    pub fn divergence(&self) -> Option<&str> {
        self.divergence.as_deref()
    }

    /// Remembers the first difference; after it there is nothing worth comparing.
    fn differ(&mut self, why: impl FnOnce() -> String) {
        self.divergence.get_or_insert_with(why);
    }

    fn compare_states(&mut self) {
        let Some(subject) = &self.subject else { return };
        for peer in 0..self.config.peers {
            let ours = subject.peer_state(peer).named();
            let theirs = self.reference.peer_state(peer).named();
            for ((name, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
                if ours != theirs && !self.overlooked.contains(&name) {
                    self.differ(|| {
                        format!("`{name}` of slot {peer} is {ours}, the reference's {theirs}")
                    });
                    return;
                }
            }
        }
    }
}

impl Subject for Twin {
    fn apply(&mut self, now: u32, op: &Op) -> i32 {
        let theirs = self.reference.apply(now, op);
        if let Some(subject) = &mut self.subject {
            let ours = subject.apply(now, op);
            if ours != theirs {
                self.differ(|| format!("{op:?} returned {ours}, the reference's {theirs}"));
            }
        }
        theirs
    }

    fn push_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        self.reference.push_datagram(from, datagram);
        if let Some(subject) = &mut self.subject {
            subject.push_datagram(from, datagram);
        }
    }

    fn service(&mut self, now: u32) -> Vec<Event> {
        let theirs = self.reference.service(now);
        if let Some(subject) = &mut self.subject {
            let ours = subject.service(now);
            if ours != theirs {
                self.differ(|| format!("events {ours:#?}\nthe reference's {theirs:#?}"));
            }
        }
        theirs
    }

    fn take_sent(&mut self) -> Vec<Datagram> {
        let theirs = self.reference.take_sent();
        if let Some(subject) = &mut self.subject {
            let ours = subject.take_sent();
            let len = ours.len().max(theirs.len());
            if let Some(at) = (0..len).find(|at| ours.get(*at) != theirs.get(*at)) {
                let [ours, theirs] = [&ours, &theirs].map(|sent| shown(sent.get(at), &self.config));
                self.differ(|| {
                    format!("sent, as number {at} of this step:\n{ours}the reference:\n{theirs}")
                });
            }
        }
        // Last, as what was sent says more.
        self.compare_states();
        theirs
    }

    fn peer_state(&self, peer: usize) -> PeerState {
        self.reference.peer_state(peer)
    }
}

fn shown(datagram: Option<&Datagram>, config: &HostConfig) -> String {
    datagram.map_or_else(
        || "  nothing\n".into(),
        |(to, bytes)| format!("  to {to}\n{}", explain(bytes, config)),
    )
}
