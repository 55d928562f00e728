//! One session: its state, and what it wants next.

use bowline_core::{
    Address, BlockId, CloseReason, DisconnectReason, Duration, Instant, Link, PeerId, Quota, Slot,
};
use bowline_transport::acks::AckSchedule;
use bowline_transport::congestion::FixedWindow;
use bowline_transport::fragments::Reassembly;
use bowline_transport::liveness::{CallerClock, Liveness};
use bowline_transport::loss::LossDetector;
use bowline_transport::receive_window::ReceiveWindow;
use bowline_transport::record::List;
use bowline_transport::rtt::RttEstimator;
use bowline_transport::scheduler::{Member, Place};
use bowline_transport::sent::SentPackets;
use bowline_transport::share::Line;
use bowline_transport::tickets::Outcomes;
use bowline_transport::unreliable::Inbox;
use bowline_wire::native::{COOKIE_LEN, CloseCause, Integrity, SessionCrc};

use crate::agreement::Theirs;
use crate::pace::Pace;
use crate::read::{Held, ReadRun};
use crate::statistics::PeerStatistics;
use crate::table::Row;

/// Queues that a peer can be in.
pub(crate) const ACTIVE: u8 = 1;
pub(crate) const READY: u8 = 2;
pub(crate) const BLOCKED: u8 = 3;
pub(crate) const STARVED: u8 = 4;
pub(crate) const LISTED: u8 = 5;

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Nobody's.
    Vacant,
    /// We are the client and have no cookie yet.
    Hello,
    /// We are the client and sent our cookie back.
    Connect { cookie: [u8; COOKIE_LEN] },
    /// We are the server, and the application has not decided.
    Asked,
    /// Messages flow.
    Open,
    /// We say goodbye until it is acknowledged.
    Closing { cause: CloseCause, tries: u8 },
    /// Over; the application has not been told, or the peer not been answered.
    Closed,
}

/// A session of an endpoint, in its fixed-size part. Opaque: storage holds it, the endpoint uses it.
#[derive(Debug)]
pub struct Peer {
    active: Place,
    ready: Place,
    blocked: Place,
    starved: Place,
    listed: Place,
    pub(crate) phase: Phase,
    pub(crate) generation: u32,
    /// The session can be found, by its address or its id.
    pub(crate) is_listed: bool,
    /// It counts among the sessions of its source.
    pub(crate) is_counted: bool,
    /// When the cookie that it began with was issued, in ticks of 65.536 ms.
    pub(crate) issued: u32,
    pub(crate) address: Address,

    // The handshake.
    pub(crate) is_client: bool,
    /// Which connection id the peer's packets have, if the configuration wants one.
    pub(crate) own_id: u32,
    /// Which one packets to the peer have, and in how many bytes.
    pub(crate) their_id: u32,
    pub(crate) their_id_len: u8,
    pub(crate) client_half: u64,
    pub(crate) server_half: u64,
    pub(crate) initial_out: u32,
    pub(crate) integrity: Integrity,
    /// The first block of the connect payload.
    pub(crate) payload: BlockId,
    pub(crate) payload_len: u16,
    pub(crate) tries: u8,
    /// When a handshake datagram or CLOSE goes out next.
    pub(crate) repeat_at: Instant,
    pub(crate) give_up_at: Instant,
    /// ACCEPT is to be sent.
    pub(crate) accept_due: bool,

    // What was agreed.
    pub(crate) theirs: Theirs,
    pub(crate) crc_out: SessionCrc,
    pub(crate) crc_in: SessionCrc,

    // Sending.
    pub(crate) next_number: u64,
    /// The last number that was left out on purpose, or the one before the first.
    pub(crate) skipped: u64,
    /// How far behind that the next one is; 0 as long as that is open.
    pub(crate) skip_after: u8,
    pub(crate) sent: SentPackets,
    pub(crate) rtt: RttEstimator,
    pub(crate) loss: LossDetector,
    /// When a packet counts as lost, unless it is acknowledged before; [`Instant::MAX`] if none does.
    pub(crate) loss_at: Instant,
    pub(crate) window: FixedWindow,
    /// Domains that have something to send.
    pub(crate) line: Line,
    pub(crate) not_eliciting: u8,
    pub(crate) ping_due: bool,
    pub(crate) probe_due: bool,
    pub(crate) credit_due: bool,

    // Receiving.
    pub(crate) received: ReceiveWindow,
    pub(crate) acks: AckSchedule,
    /// Ack blocks of packets below this number are old news.
    pub(crate) acks_from: u64,
    pub(crate) number_len_in: u8,
    pub(crate) inbox: Inbox,
    pub(crate) reassembly: Reassembly,
    /// Bytes of messages that were put together and wait to be read.
    pub(crate) assembled: u32,
    /// What can be read, in order of arrival.
    pub(crate) notes: List,
    pub(crate) held: Held,
    /// What can be read next without looking further.
    pub(crate) run: ReadRun,
    /// There is something to be read that no note tells of, since there was no record for one.
    pub(crate) unnoted: bool,
    pub(crate) liveness: Liveness,

    // Memory.
    pub(crate) row: Row,
    /// The first of the domains; the next free slot while nobody has this one.
    pub(crate) domains: Link,
    pub(crate) domain_quota: Quota,
    pub(crate) send_blocks: Quota,
    pub(crate) stream_blocks: Quota,
    pub(crate) inbox_blocks: Quota,
    pub(crate) send_records: Quota,
    pub(crate) receive_records: Quota,
    pub(crate) assembly_quota: Quota,
    pub(crate) tickets: Quota,
    /// After "full": how many blocks the application wants.
    pub(crate) wanted_blocks: u32,
    /// After "full": whether it wants a ticket.
    pub(crate) wants_ticket: bool,

    // Messages.
    /// Outcomes that the application does not know.
    pub(crate) outcomes: Outcomes,
    /// The first time to live is over then, or later.
    pub(crate) expire_at: Instant,

    // Events.
    pub(crate) tell_asked: bool,
    pub(crate) tell_connected: bool,
    pub(crate) tell_readable: bool,
    pub(crate) tell_writable: bool,
    pub(crate) ended: Option<DisconnectReason>,
    pub(crate) told_ended: bool,
    pub(crate) farewell_due: bool,
    /// Close when everything queued was sent and acknowledged.
    pub(crate) finishing: Option<CloseReason>,
    /// The peer broke the rules in something that was read only later.
    pub(crate) misbehaved: bool,
    /// Too little comes of a message that holds much memory.
    pub(crate) gave_up: bool,
    /// How many blocks a message that has begun lacks before it gets credit; `u32::MAX` if none waits.
    pub(crate) starved_of: u32,
    /// The domain of a stream that has more credit than its window, and what must come of it.
    pub(crate) long: Link,
    pub(crate) pace: Pace,
    pub(crate) statistics: PeerStatistics,
}

impl Slot for Peer {
    const VACANT: Self = Self {
        active: Place::OUT,
        ready: Place::OUT,
        blocked: Place::OUT,
        starved: Place::OUT,
        listed: Place::OUT,
        phase: Phase::Vacant,
        generation: 0,
        is_listed: false,
        is_counted: false,
        issued: 0,
        address: Address::NONE,
        is_client: false,
        own_id: 0,
        their_id: 0,
        their_id_len: 0,
        client_half: 0,
        server_half: 0,
        initial_out: 0,
        integrity: Integrity::None,
        payload: Link::NONE,
        payload_len: 0,
        tries: 0,
        repeat_at: Instant::MAX,
        give_up_at: Instant::MAX,
        accept_due: false,
        theirs: Theirs::NONE,
        crc_out: SessionCrc::UNUSED,
        crc_in: SessionCrc::UNUSED,
        next_number: 0,
        skipped: u64::MAX,
        skip_after: 0,
        sent: SentPackets::NONE,
        rtt: RttEstimator::UNUSED,
        loss: LossDetector::new(),
        loss_at: Instant::MAX,
        window: FixedWindow::new(0),
        line: Line::EMPTY,
        not_eliciting: 0,
        ping_due: false,
        probe_due: false,
        credit_due: false,
        received: ReceiveWindow::new(0),
        acks: AckSchedule::new(),
        acks_from: 0,
        number_len_in: 0,
        inbox: Inbox::EMPTY,
        reassembly: Reassembly::new(),
        assembled: 0,
        notes: List::EMPTY,
        held: Held::Nothing,
        run: ReadRun::NONE,
        unnoted: false,
        liveness: Liveness::UNUSED,
        row: Row::NONE,
        domains: Link::NONE,
        domain_quota: Quota::NONE,
        send_blocks: Quota::NONE,
        stream_blocks: Quota::NONE,
        inbox_blocks: Quota::NONE,
        send_records: Quota::NONE,
        receive_records: Quota::NONE,
        assembly_quota: Quota::NONE,
        tickets: Quota::NONE,
        wanted_blocks: 0,
        wants_ticket: false,
        outcomes: Outcomes::NONE,
        expire_at: Instant::MAX,
        tell_asked: false,
        tell_connected: false,
        tell_readable: false,
        tell_writable: false,
        ended: None,
        told_ended: false,
        farewell_due: false,
        finishing: None,
        misbehaved: false,
        gave_up: false,
        starved_of: u32::MAX,
        long: Link::NONE,
        pace: Pace::NONE,
        statistics: PeerStatistics::NONE,
    };

    fn next(&self) -> Link {
        self.domains
    }

    fn set_next(&mut self, next: Link) {
        self.domains = next;
    }
}

impl Peer {
    /// What the application calls the session in this slot.
    pub(crate) const fn id(&self, link: Link) -> PeerId {
        PeerId::new(link.index() as u32, self.generation)
    }

    /// Whether it is in line to send.
    pub(crate) const fn is_active(&self) -> bool {
        self.active.is_queued()
    }
}

impl Member<ACTIVE> for Peer {
    fn place(&mut self) -> &mut Place {
        &mut self.active
    }
}

impl Member<READY> for Peer {
    fn place(&mut self) -> &mut Place {
        &mut self.ready
    }
}

impl Member<BLOCKED> for Peer {
    fn place(&mut self) -> &mut Place {
        &mut self.blocked
    }
}

impl Member<STARVED> for Peer {
    fn place(&mut self) -> &mut Place {
        &mut self.starved
    }
}

impl Member<LISTED> for Peer {
    fn place(&mut self) -> &mut Place {
        &mut self.listed
    }
}

impl Peer {
    /// The largest number that was acknowledged, or the first number.
    pub(crate) fn acked(&self) -> u64 {
        self.loss.acked_end().saturating_sub(1).max(self.initial_out.into())
    }

    /// The number after the largest that was acknowledged, or the first number.
    pub(crate) fn unacked_from(&self) -> u64 {
        self.loss.acked_end().max(self.initial_out.into())
    }

    /// The probe timeout of the path now.
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.rtt.probe_timeout(self.theirs.ack_delay())
    }

    /// When to send a probe, while something is in flight.
    ///
    /// The time doubles with each, but not beyond half of a keep-alive interval: when the link is back, there
    /// must be time to be heard before a time-out.
    pub(crate) fn probe_at(&self) -> Instant {
        let longest = self.probe_timeout().max(self.liveness.keep_alive().shr(1));
        let sent = self.liveness.eliciting_sent();
        let at = self.loss.probe_at(sent, &self.rtt, self.theirs.ack_delay());
        at.min(sent + longest)
    }

    /// When this session wants attention next, if nothing else happens.
    pub(crate) fn deadline(&self, clock: &CallerClock) -> Option<Instant> {
        match self.phase {
            Phase::Vacant | Phase::Closed => None,
            Phase::Hello | Phase::Connect { .. } | Phase::Asked | Phase::Closing { .. } => {
                Some(self.repeat_at.min(clock.real(self.give_up_at)))
            }
            Phase::Open => {
                let mut at = self.liveness.deadline(clock);
                if let Some(due) = self.acks.due() {
                    at = at.min(due);
                }
                if self.loss_at < Instant::MAX {
                    at = at.min(self.loss_at);
                } else if !self.sent.is_empty() {
                    at = at.min(self.probe_at());
                }
                if let Some(due) = self.reassembly.deadline() {
                    at = at.min(due);
                }
                // Those that have used up their budgets go on by then.
                if let Some(due) = self.line.wake_at()
                    && due > Instant::ZERO
                    && self.has_window()
                {
                    at = at.min(due);
                }
                Some(at.min(self.expire_at))
            }
        }
    }

    /// Whether there is something to send at `now`.
    pub(crate) fn wants_transmit(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Vacant | Phase::Asked => false,
            Phase::Hello | Phase::Connect { .. } | Phase::Closing { .. } => self.repeat_at <= now,
            Phase::Closed => self.farewell_due,
            Phase::Open => {
                self.accept_due
                    || self.probe_due
                    || self.ping_due
                    || self.credit_due
                    || self.acks.due().is_some_and(|due| due <= now)
                    || self.line.is_due(now) && self.has_window()
            }
        }
    }

    /// Whether another packet may be in flight.
    #[inline]
    pub(crate) fn has_window(&self) -> bool {
        use bowline_transport::congestion::Controller;
        self.sent.in_flight() < self.window.window()
    }
}
