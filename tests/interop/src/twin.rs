//! Two hosts that live the same life, and must never differ.

use std::net::SocketAddrV4;

use bowline_wire::enet::NO_PEER;

use crate::explain::{commands, explain};
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

    fn differs(&self, ours: Option<&Datagram>, theirs: Option<&Datagram>) -> bool {
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return ours != theirs };
        ours != theirs && (ours.0 != theirs.0 || !self.is_same_farewell(&ours.1, &theirs.1))
    }

    /// Whether both are the last word to a peer that is forgotten. The C library may put a PING behind it,
    /// which no receiver gets to read.
    fn is_same_farewell(&self, ours: &[u8], theirs: &[u8]) -> bool {
        let farewell = |datagram: &[u8]| {
            let (header, commands) = commands(datagram, &self.config)?;
            let (first, rest) = commands.split_at_checked(FAREWELL_LEN)?;
            let is_one = first[0] == FAREWELL;
            is_one.then(|| (header.peer_id, header.session, first.to_vec(), rest.is_empty()))
        };
        let (Some(ours), Some(theirs)) = (farewell(ours), farewell(theirs)) else { return false };
        ours.3 && (ours.0, ours.1, ours.2) == (theirs.0, theirs.1, theirs.2)
    }

    fn compare_states(&mut self) {
        let Some(subject) = &self.subject else { return };
        for peer in 0..self.config.peers {
            let ours = subject.peer_state(peer).named();
            let theirs = self.reference.peer_state(peer).named();
            for ((name, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
                let state = self.reference.peer_state(peer).state;
                if ours != theirs && !self.overlooked.contains(&name) && matters(state, name) {
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
            let mut ours = subject.service(now);
            let mut theirs = theirs.clone();
            // Whose turn it is among peers is fairness, not order.
            ours.sort_by_key(Event::peer);
            theirs.sort_by_key(Event::peer);
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
            let (mut ours, mut theirs) = (ours, theirs.clone());
            // Connections know nothing of each other's datagrams.
            ours.sort_by_cached_key(connection);
            theirs.sort_by_cached_key(connection);
            let len = ours.len().max(theirs.len());
            if let Some(at) = (0..len).find(|at| self.differs(ours.get(*at), theirs.get(*at))) {
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

/// Where a datagram goes to, to which of the peers there, and in which session. While that is not known, what is in
/// it may tell.
fn connection((to, bytes): &Datagram) -> (SocketAddrV4, u16, Vec<u8>) {
    let word = bytes.first_chunk().map_or(0, |word| u16::from_be_bytes(*word));
    let content = if word & NO_PEER == NO_PEER { bytes.clone() } else { Vec::new() };
    (*to, word & 0x3fff, content)
}

/// DISCONNECT that asks for no acknowledgement, and its length.
const FAREWELL: u8 = 0x44;
const FAREWELL_LEN: usize = 8;

/// Whether a number still means something in that state: free slots have nothing but it, and who is leaving
/// sends no more data.
fn matters(state: u32, name: &str) -> bool {
    match state {
        _ if name == "state" => true,
        0 | 9 => false,
        7 | 8 => !matches!(name, "inTransit" | "waiting"),
        _ => true,
    }
}
