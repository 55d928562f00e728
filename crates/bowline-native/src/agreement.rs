//! What two sides tell each other when a session begins, and what follows from it.

use bowline_core::{Duration, Instant};
use bowline_transport::congestion::FixedWindow;
use bowline_transport::liveness::{CallerClock, Liveness};
use bowline_transport::receive_window::ReceiveWindow;
use bowline_transport::rtt::RttEstimator;
use bowline_transport::run::SHORT_MAX;
use bowline_wire::native::{Direction, Parameters, SessionCrc};

use crate::config::Config;
use crate::peer::{Peer, Phase};

/// Round-trip time assumed before the first sample.
const RTT_INITIAL: Duration = Duration::from_millis(200);

/// What the peer announced, as far as it matters from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theirs {
    pub(crate) initial: u32,
    pub(crate) datagram_max: u16,
    pub(crate) channels: u16,
    /// How long it may withhold an acknowledgement, in microseconds.
    ack_delay_us: u16,
    pub(crate) credit: u32,
    /// 0 if it takes no messages in the loose modes.
    pub(crate) loose_credit: u32,
    pub(crate) reliable_max: u32,
    pub(crate) ordered_max: u32,
    pub(crate) unreliable_max: u32,
    /// Longest message that may be sent in every mode and has a length of one byte.
    pub(crate) short_max: u8,
}

impl Theirs {
    /// Nothing was agreed.
    pub(crate) const NONE: Self = Self {
        initial: 0,
        credit: 0,
        loose_credit: 0,
        reliable_max: 0,
        ordered_max: 0,
        unreliable_max: 0,
        datagram_max: 64,
        channels: 1,
        ack_delay_us: 0,
        short_max: 0,
    };

    /// How long the peer may withhold an acknowledgement.
    #[inline]
    pub(crate) fn ack_delay(&self) -> Duration {
        Duration::from_micros(self.ack_delay_us.into())
    }
}

impl Peer {
    /// What this side tells the other in CONNECT or ACCEPT.
    pub(crate) fn parameters(&self, config: &Config) -> Parameters {
        Parameters {
            connection_id: config.connection_ids.then_some(self.own_id),
            initial: self.initial_out,
            integrity: self.integrity,
            datagram_max: config.datagram_max,
            channels: config.channels,
            ack_delay: (config.ack_delay.as_micros() / bowline_wire::native::DELAY_UNIT_US) as u8,
            idle_timeout_ms: config.idle_timeout.as_millis() as u32,
            credit: config.credit,
            loose_credit: config.loose_credit.checked_ilog2().unwrap_or(0) as u8,
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
        self.their_id = theirs.connection_id.unwrap_or(0);
        self.their_id_len = if theirs.connection_id.is_some() { 4 } else { 0 };
        self.integrity = self.integrity.max(theirs.integrity);
        self.theirs = Theirs {
            initial: theirs.initial,
            datagram_max: theirs.datagram_max.min(config.datagram_max),
            channels: theirs.channels.min(config.channels),
            ack_delay_us: u16::from(theirs.ack_delay) * bowline_wire::native::DELAY_UNIT_US as u16,
            credit: theirs.credit,
            loose_credit: theirs.loose_credit_bytes(),
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
        self.skipped = self.next_number.wrapping_sub(1);
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
}
