//! One session: its state, and the parts of its life that are neither sending nor receiving.

use bowline_core::{
    Address, ChannelId, CloseReason, DisconnectReason, Duration, Instant, Link, Mode, Quota, Slot,
};
use bowline_transport::acks::AckSchedule;
use bowline_transport::congestion::FixedWindow;
use bowline_transport::credit;
use bowline_transport::fragments::{self, Reassembly};
use bowline_transport::liveness::{CallerClock, Liveness};
use bowline_transport::loss::LossDetector;
use bowline_transport::receive_window::ReceiveWindow;
use bowline_transport::record::List;
use bowline_transport::reliable::{InStream, OutStream, Ranges};
use bowline_transport::rtt::RttEstimator;
use bowline_transport::run::{Run, SHORT_MAX};
use bowline_transport::scheduler::{Member, Place, Queue};
use bowline_transport::sent::SentPackets;
use bowline_transport::unreliable::{Inbox, OrderFilter, OutQueue};
use bowline_wire::native::{COOKIE_LEN, CloseCause, Direction, Integrity, Parameters, SessionCrc};

use crate::config::Config;
use crate::domain::{Domain, Lane};
use crate::endpoint::Context;
use crate::read::{Held, ReadRun};
use crate::statistics::PeerStatistics;
use crate::storage::{Memory, Need};

/// Queues that a peer can be in.
pub(crate) const ACTIVE: u8 = 1;
pub(crate) const READY: u8 = 2;
pub(crate) const BLOCKED: u8 = 3;
pub(crate) const STARVED: u8 = 4;

/// How often CLOSE is sent before the peer is given up.
const CLOSE_TRIES: u8 = 3;
/// Round-trip time assumed before the first sample.
const RTT_INITIAL: Duration = Duration::from_millis(200);
/// Attempts of CONNECT, over about 5 s, after which the cookie may have expired.
const COOKIE_TRIES: u8 = 4;
/// Time between the first two attempts of a handshake datagram; it doubles from there.
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(250);

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
    /// The next free slot.
    next: Link,
    active: Place,
    ready: Place,
    blocked: Place,
    starved: Place,
    pub(crate) phase: Phase,
    pub(crate) generation: u32,
    /// The session can be found, by its address or its id.
    pub(crate) is_listed: bool,
    /// When the cookie that it began with was issued, in ticks of 65.536 ms.
    pub(crate) issued: u32,
    pub(crate) address: Address,

    // The handshake.
    pub(crate) is_client: bool,
    pub(crate) own_id: Option<u32>,
    pub(crate) their_id: Option<u32>,
    pub(crate) client_half: u64,
    pub(crate) server_half: u64,
    pub(crate) initial_out: u32,
    pub(crate) integrity: Integrity,
    pub(crate) payload: Run,
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
    /// Largest number acknowledged, or the first number.
    pub(crate) acked: u64,
    pub(crate) any_acked: bool,
    /// A number left out on purpose, the last one, and the next.
    pub(crate) skipped: u64,
    pub(crate) skip_at: u64,
    pub(crate) sent: SentPackets,
    pub(crate) rtt: RttEstimator,
    pub(crate) loss: LossDetector,
    pub(crate) loss_at: Option<Instant>,
    pub(crate) eliciting_at: Instant,
    pub(crate) window: FixedWindow,
    pub(crate) pending: Queue<0>,
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
    pub(crate) domains: Link,
    pub(crate) domain_quota: Quota,
    pub(crate) send_blocks: Quota,
    pub(crate) stream_blocks: Quota,
    pub(crate) inbox_blocks: Quota,
    pub(crate) send_records: Quota,
    pub(crate) receive_records: Quota,
    pub(crate) assembly_quota: Quota,
    /// After "full": how many blocks the application wants.
    pub(crate) wanted_blocks: u32,

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
    /// Nothing comes any more of a message that holds much memory.
    pub(crate) gave_up: bool,
    /// A message that has begun waits for memory before it gets credit.
    pub(crate) is_starved: bool,
    /// The domain whose message has more credit than its window, and when more of it arrived, in attended
    /// time.
    pub(crate) long: Link,
    pub(crate) long_moved: Instant,
    pub(crate) statistics: PeerStatistics,
}

/// What the peer announced, as far as it matters from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theirs {
    pub(crate) initial: u32,
    pub(crate) datagram_max: u16,
    pub(crate) channels: u16,
    pub(crate) ack_delay: Duration,
    pub(crate) credit: u32,
    pub(crate) reliable_max: u32,
    pub(crate) ordered_max: u32,
    pub(crate) unreliable_max: u32,
    /// Longest message that may be sent in every mode and has a length of one byte.
    pub(crate) short_max: u8,
}

impl Slot for Peer {
    const VACANT: Self = Self {
        next: Link::NONE,
        active: Place::OUT,
        ready: Place::OUT,
        blocked: Place::OUT,
        starved: Place::OUT,
        phase: Phase::Vacant,
        generation: 0,
        is_listed: false,
        issued: 0,
        address: Address::NONE,
        is_client: false,
        own_id: None,
        their_id: None,
        client_half: 0,
        server_half: 0,
        initial_out: 0,
        integrity: Integrity::None,
        payload: Run::EMPTY,
        payload_len: 0,
        tries: 0,
        repeat_at: Instant::MAX,
        give_up_at: Instant::MAX,
        accept_due: false,
        theirs: Theirs {
            initial: 0,
            datagram_max: 64,
            channels: 1,
            ack_delay: Duration::ZERO,
            credit: 0,
            reliable_max: 0,
            ordered_max: 0,
            unreliable_max: 0,
            short_max: 0,
        },
        crc_out: SessionCrc::UNUSED,
        crc_in: SessionCrc::UNUSED,
        next_number: 0,
        acked: 0,
        any_acked: false,
        skipped: u64::MAX,
        skip_at: u64::MAX,
        sent: SentPackets::NONE,
        rtt: RttEstimator::UNUSED,
        loss: LossDetector::new(),
        loss_at: None,
        eliciting_at: Instant::ZERO,
        window: FixedWindow::new(0),
        pending: Queue::EMPTY,
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
        domains: Link::NONE,
        domain_quota: Quota::NONE,
        send_blocks: Quota::NONE,
        stream_blocks: Quota::NONE,
        inbox_blocks: Quota::NONE,
        send_records: Quota::NONE,
        receive_records: Quota::NONE,
        assembly_quota: Quota::NONE,
        wanted_blocks: 0,
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
        is_starved: false,
        long: Link::NONE,
        long_moved: Instant::ZERO,
        statistics: PeerStatistics::NONE,
    };

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Peer {
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

/// What one session is promised: blocks and records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) domains: u32,
    pub(crate) send_blocks: u32,
    pub(crate) stream_blocks: u32,
    pub(crate) inbox_blocks: u32,
    pub(crate) send_records: u32,
    pub(crate) receive_records: u32,
}

impl Promise {
    pub(crate) const fn of(config: &Config, block_len: usize) -> Self {
        let each = if block_len == 0 { 1 } else { block_len as u32 };
        Self {
            domains: config.channels as u32 * 3,
            send_blocks: config.send_reserve.div_ceil(each),
            stream_blocks: credit::blocks_for(config.credit, block_len)
                .saturating_mul(config.channels as u32),
            inbox_blocks: (config.datagram_max as u32).div_ceil(each),
            send_records: 4,
            receive_records: 2,
        }
    }

    pub(crate) const fn blocks(&self) -> u32 {
        self.stream_blocks.saturating_add(self.send_blocks).saturating_add(self.inbox_blocks)
    }

    pub(crate) const fn records(&self) -> u32 {
        self.send_records + self.receive_records
    }
}

impl Peer {
    /// Takes what one session is promised, all or nothing.
    pub(crate) fn promise(&mut self, memory: &mut Memory<'_>, promise: &Promise) -> bool {
        let all = memory.domains.promise(&mut self.domain_quota, promise.domains)
            && memory.pool.promise(&mut self.send_blocks, promise.send_blocks)
            && memory.pool.promise(&mut self.stream_blocks, promise.stream_blocks)
            && memory.pool.promise(&mut self.inbox_blocks, promise.inbox_blocks)
            && memory.records.promise(&mut self.send_records, promise.send_records)
            && memory.records.promise(&mut self.receive_records, promise.receive_records);
        if !all {
            self.release_promises(memory);
        }
        all
    }

    fn release_promises(&mut self, memory: &mut Memory<'_>) {
        let guaranteed = self.domain_quota.guaranteed();
        memory.domains.release_promise(&mut self.domain_quota, guaranteed);
        for quota in [&mut self.send_blocks, &mut self.stream_blocks, &mut self.inbox_blocks] {
            let guaranteed = quota.guaranteed();
            memory.pool.release_promise(quota, guaranteed);
        }
        for quota in [&mut self.send_records, &mut self.receive_records] {
            let guaranteed = quota.guaranteed();
            memory.records.release_promise(quota, guaranteed);
        }
    }

    /// What this side tells the other in CONNECT or ACCEPT.
    pub(crate) fn parameters(&self, config: &Config) -> Parameters {
        Parameters {
            connection_id: self.own_id,
            initial: self.initial_out,
            integrity: self.integrity,
            datagram_max: config.datagram_max,
            channels: config.channels,
            ack_delay: (config.ack_delay.as_micros() / bowline_wire::native::DELAY_UNIT_US) as u8,
            idle_timeout_ms: config.idle_timeout.as_millis() as u32,
            credit: config.credit,
            reliable_max: config.reliable_max,
            ordered_max: config.ordered_max,
            unreliable_max: config.unreliable_max,
        }
    }

    /// Both sides' parameters are known: packets can be numbered, checked and sent.
    pub(crate) fn agree(
        &mut self,
        config: &Config,
        clock: &CallerClock,
        now: Instant,
        theirs: &Parameters,
    ) {
        self.their_id = theirs.connection_id;
        self.integrity = self.integrity.max(theirs.integrity);
        self.theirs = Theirs {
            initial: theirs.initial,
            datagram_max: theirs.datagram_max.min(config.datagram_max),
            channels: theirs.channels.min(config.channels),
            ack_delay: Duration::from_micros(
                u64::from(theirs.ack_delay) * bowline_wire::native::DELAY_UNIT_US,
            ),
            credit: theirs.credit,
            reliable_max: theirs.reliable_max,
            ordered_max: theirs.ordered_max,
            unreliable_max: theirs.unreliable_max,
            short_max: (SHORT_MAX as u32)
                .min(theirs.reliable_max)
                .min(theirs.ordered_max)
                .min(theirs.unreliable_max) as u8,
        };
        let (out, back) = if self.is_client {
            (Direction::ClientToServer, Direction::ServerToClient)
        } else {
            (Direction::ServerToClient, Direction::ClientToServer)
        };
        self.crc_out = SessionCrc::new(self.client_half, self.server_half, out);
        self.crc_in = SessionCrc::new(self.client_half, self.server_half, back);
        self.next_number = u64::from(self.initial_out);
        self.acked = self.next_number;
        self.acks_from = u64::from(theirs.initial);
        self.received = ReceiveWindow::new(u64::from(theirs.initial));
        self.rtt = RttEstimator::new(RTT_INITIAL);
        self.window = FixedWindow::new(config.in_flight_max);
        let their_idle = Duration::from_millis(u64::from(theirs.idle_timeout_ms));
        self.liveness = Liveness::new(
            clock.attended(now),
            config.idle_timeout,
            bowline_transport::liveness::keep_alive_for(config.idle_timeout, their_idle),
        );
        self.liveness.on_eliciting_sent(now);
    }

    /// The session begins.
    pub(crate) fn open(&mut self) {
        self.phase = Phase::Open;
        self.tell_connected = true;
        self.repeat_at = Instant::MAX;
        self.give_up_at = Instant::MAX;
        self.tries = 0;
    }

    /// When the next attempt of a handshake datagram is due.
    pub(crate) fn next_attempt(&mut self, now: Instant) {
        if self.tries >= COOKIE_TRIES && matches!(self.phase, Phase::Connect { .. }) {
            self.phase = Phase::Hello;
        }
        let doublings = u32::from(self.tries.min(3));
        self.tries = self.tries.saturating_add(1);
        self.repeat_at = now + HANDSHAKE_INTERVAL.saturating_mul(1 << doublings);
    }

    /// The open domain of `channel` and `mode`, which is opened if it was not.
    pub(crate) fn domain(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        slot: usize,
        channel: ChannelId,
        mode: Mode,
    ) -> Result<Link, Need> {
        if let Some(link) = memory.domain(slot, channel.0, mode) {
            return Ok(link);
        }
        let row = slot * memory.channels + usize::from(channel.0);
        self.open_domain(memory, config, row, channel, mode)
    }

    #[inline(never)]
    fn open_domain(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        row: usize,
        channel: ChannelId,
        mode: Mode,
    ) -> Result<Link, Need> {
        let link = memory.domains.take(&mut self.domain_quota).ok_or(Need::Domain)?;
        let lane = match mode {
            Mode::Unreliable => Lane::Unreliable { out: OutQueue::new(0) },
            Mode::UnreliableOrdered => {
                Lane::Ordered { out: OutQueue::new(0), filter: OrderFilter::NEW, late: 0 }
            }
            Mode::Reliable | Mode::ReliableUnordered | Mode::ReliableLatest => Lane::Reliable {
                out: OutStream::new(self.initial_out, self.theirs.credit),
                stream: InStream::new(self.theirs.initial, config.credit),
            },
        };
        memory.domains[link] = Domain::new(self.domains, channel, lane);
        self.domains = link;
        if let Some(place) = memory.table.get_mut(row).and_then(|row| row.get_mut(mode as usize)) {
            *place = link;
        }
        Ok(link)
    }

    /// Gives back everything that waits to be sent, and forgets what is in flight.
    pub(crate) fn clear_sending(&mut self, memory: &mut Memory<'_>) {
        while let Some(packet) = self.sent.pop(&mut memory.records) {
            let more = memory.records[packet].more;
            memory.records.give_list(&mut self.send_records, more);
            memory.records.give(&mut self.send_records, packet);
        }
        while self.pending.pop(&mut memory.domains).is_some() {}
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = domain.next();
            self.statistics.bytes_abandoned =
                self.statistics.bytes_abandoned.wrapping_add(domain.queued());
            let ranges =
                &mut Ranges { records: &mut memory.records, quota: &mut self.send_records };
            match &mut domain.lane {
                Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                    out.clear(&mut memory.pool, &mut self.send_blocks);
                }
                Lane::Reliable { out, .. } => {
                    out.clear(&mut memory.pool, &mut self.send_blocks, ranges);
                }
            }
        }
        self.loss_at = None;
        self.probe_due = false;
    }

    /// Gives the connect payload back. One that came is kept until the application has heard of the
    /// session, even if that is over by then.
    pub(crate) fn forget_payload(&mut self, memory: &mut Memory<'_>) {
        self.payload.clear(&mut memory.pool, &mut self.send_blocks);
        self.payload_len = 0;
    }

    /// Gives back everything that has arrived and was not read.
    pub(crate) fn clear_receiving(&mut self, memory: &mut Memory<'_>) {
        if let Held::Assembly { link } = self.held {
            self.release_assembly(memory, link);
        }
        (self.held, self.run) = (Held::Nothing, ReadRun::NONE);
        while let Some(note) = self.notes.pop_front(&mut memory.records) {
            if let crate::receive::Note::Assembly(link) =
                crate::receive::Note::of(&memory.records[note])
            {
                self.release_assembly(memory, link);
            }
            memory.records.give(&mut self.receive_records, note);
        }
        self.inbox.clear(&mut memory.pool, &mut self.inbox_blocks);
        self.reassembly.clear(&mut fragments::Memory {
            slots: &mut memory.assemblies,
            slot_quota: &mut self.assembly_quota,
            pool: &mut memory.pool,
            block_quota: &mut self.inbox_blocks,
        });
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &mut memory.domains[link];
            at = domain.next();
            domain.notes = 0;
            if let Lane::Reliable { stream, .. } = &mut domain.lane {
                let ranges =
                    &mut Ranges { records: &mut memory.records, quota: &mut self.receive_records };
                stream.clear(&mut memory.pool, &mut self.stream_blocks, ranges);
            }
        }
        self.unnoted = false;
        self.long = Link::NONE;
    }

    /// Gives back a message that was put together.
    pub(crate) fn release_assembly(&mut self, memory: &mut Memory<'_>, link: Link) {
        self.assembled = self.assembled.saturating_sub(memory.assemblies[link].total());
        fragments::release(
            &mut fragments::Memory {
                slots: &mut memory.assemblies,
                slot_quota: &mut self.assembly_quota,
                pool: &mut memory.pool,
                block_quota: &mut self.inbox_blocks,
            },
            link,
        );
    }

    /// Gives everything back; the session is no more.
    pub(crate) fn vacate(&mut self, memory: &mut Memory<'_>, slot: usize) {
        self.clear_sending(memory);
        if !cfg!(bowline_mutant = "leak") {
            self.clear_receiving(memory);
        }
        self.forget_payload(memory);
        let mut at = self.domains;
        while let Some(link) = at.some() {
            let domain = &memory.domains[link];
            at = domain.next();
            let row = slot * memory.channels + usize::from(domain.channel.0);
            let mode = domain.mode() as usize;
            if let Some(place) = memory.table.get_mut(row).and_then(|row| row.get_mut(mode)) {
                *place = Link::NONE;
            }
            memory.domains.give(&mut self.domain_quota, link);
        }
        self.domains = Link::NONE;
        self.release_promises(memory);
        self.phase = Phase::Vacant;
    }

    /// This side begins to say goodbye. What has arrived can still be read until the application knows
    /// that the session is over; what arrives from now on is not taken in.
    pub(crate) fn begin_close(
        &mut self,
        memory: &mut Memory<'_>,
        context: &Context,
        now: Instant,
        cause: CloseCause,
        reason: DisconnectReason,
    ) {
        self.clear_sending(memory);
        self.ended = Some(reason);
        self.finishing = None;
        self.phase = Phase::Closing { cause, tries: 0 };
        self.repeat_at = now;
        // However slow the peer made its acknowledgements seem, and if nothing can be sent to it at all.
        self.give_up_at = context.clock.attended(now) + context.config.idle_timeout;
    }

    /// The session is over; what has arrived can still be read until the application knows.
    pub(crate) fn end(&mut self, memory: &mut Memory<'_>, reason: DisconnectReason) {
        self.clear_sending(memory);
        self.ended = self.ended.or(Some(reason));
        self.phase = Phase::Closed;
        self.repeat_at = Instant::MAX;
        self.give_up_at = Instant::MAX;
    }

    /// How many tries of CLOSE are left after `tries`.
    pub(crate) const fn close_tries_left(tries: u8) -> bool {
        tries < CLOSE_TRIES
    }

    /// The probe timeout of the path now.
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.rtt.probe_timeout(self.theirs.ack_delay)
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
                if let Some(due) = self.loss_at {
                    at = at.min(due);
                } else if !self.sent.is_empty() {
                    at = at.min(self.loss.probe_at(
                        self.eliciting_at,
                        &self.rtt,
                        self.theirs.ack_delay,
                    ));
                }
                if let Some(due) = self.reassembly.deadline() {
                    at = at.min(due);
                }
                Some(at)
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
                    || !self.pending.is_empty() && self.has_window()
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
