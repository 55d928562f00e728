//! Commands on their way out: queued, or sent and not acknowledged yet.

use bowline_core::{BlockId, Link, Slot};
use bowline_wire::enet::{CommandKind, Time};

use crate::list::Node;

/// One command. Its bytes lie in the pool as they will be on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    pub(crate) next: Link,
    pub(crate) previous: Link,
    /// Where its bytes begin.
    pub(crate) bytes: BlockId,
    /// How many there are: at most an MTU.
    pub(crate) len: u16,
    /// How many of them are the application's.
    pub(crate) payload: u16,
    pub(crate) kind: CommandKind,
    /// It is to be acknowledged.
    pub(crate) acknowledge: bool,
    /// It is the whole, or the first fragment, of a packet of the application's.
    pub(crate) begins_packet: bool,
    pub(crate) channel: u8,
    /// The reliable sequence number.
    pub(crate) sequence: u16,
    /// The unreliable one.
    pub(crate) unreliable: u16,
    /// How often it was sent.
    pub(crate) attempts: u16,
    /// Its place among all that was queued.
    pub(crate) stamp: u32,
    /// When it was sent, first and last.
    pub(crate) first_sent: Time,
    pub(crate) sent: Time,
    /// Retransmission timeout, in milliseconds; 0 before it was sent.
    pub(crate) rto: u32,
    /// Up to release 1.3.17: the timeout at which the peer may be taken for lost, in milliseconds.
    pub(crate) rto_limit: u32,
}

impl Slot for Queued {
    const VACANT: Self = Self {
        next: Link::NONE,
        previous: Link::NONE,
        bytes: Link::NONE,
        len: 0,
        payload: 0,
        kind: CommandKind::Ping,
        acknowledge: false,
        begins_packet: false,
        channel: 0,
        sequence: 0,
        unreliable: 0,
        attempts: 0,
        stamp: 0,
        first_sent: Time::ZERO,
        sent: Time::ZERO,
        rto: 0,
        rto_limit: 0,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Node for Queued {
    fn previous(&self) -> Link {
        self.previous
    }

    fn set_previous(&mut self, previous: Link) {
        self.previous = previous;
    }
}

impl Queued {
    /// Whether it carries bytes of the application's and is resent: what the windows count.
    pub(crate) const fn is_data(&self) -> bool {
        matches!(
            self.kind,
            CommandKind::SendReliable
                | CommandKind::SendFragment
                | CommandKind::SendUnreliable
                | CommandKind::SendUnsequenced
                | CommandKind::SendUnreliableFragment
        )
    }
}

/// Acknowledgements, of commands with consecutive numbers, that have not been sent.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement {
    pub(crate) next: Link,
    pub(crate) previous: Link,
    /// The first of the numbers.
    pub(crate) sequence: u16,
    /// How many they are.
    pub(crate) count: u16,
    pub(crate) sent_time: u16,
    pub(crate) channel: u8,
    /// Of a DISCONNECT: with it the peer is done.
    pub(crate) parts: bool,
}

impl Slot for Acknowledgement {
    const VACANT: Self = Self {
        next: Link::NONE,
        previous: Link::NONE,
        sequence: 0,
        count: 1,
        sent_time: 0,
        channel: 0,
        parts: false,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Node for Acknowledgement {
    fn previous(&self) -> Link {
        self.previous
    }

    fn set_previous(&mut self, previous: Link) {
        self.previous = previous;
    }
}
