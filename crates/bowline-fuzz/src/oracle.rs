//! Models of the five modes, too simple to be wrong in the same way.

use alloc::collections::BTreeMap;
use std::collections::HashMap;

use bowline_core::{ChannelId, Instant, Mode};

/// One direction of one session. Sessions are numbered by the test.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Direction {
    /// Number of the session, never used twice.
    pub session: u64,
    /// Whether the client of the session is the sender.
    pub by_client: bool,
}

/// What must not have happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// It had been delivered before, or came after a newer one in a mode that keeps order.
    Again,
    /// A reliable message before it has not been delivered.
    TooEarly,
    /// It was sent on another channel, in another mode, or by somebody else.
    Astray,
    /// Nobody sent these bytes.
    Invented,
    /// It had ended before any of it was sent.
    Unsent,
}

/// A message that must not have been delivered, or not then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// What is wrong with it.
    pub wrong: Wrong,
    /// To whom it was delivered.
    pub direction: Direction,
    /// On which channel it came.
    pub channel: ChannelId,
    /// In which mode it came.
    pub mode: Mode,
    /// Its length, in bytes.
    pub len: usize,
    /// What the model knows of it.
    pub detail: String,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { wrong, direction, channel, mode, len, detail } = self;
        let by = if direction.by_client { "client" } else { "server" };
        let session = direction.session;
        write!(
            f,
            "{wrong:?}: a message of {len} bytes from the {by} of session {session}, channel {}, \
             {mode}: {detail}",
            channel.0
        )
    }
}

/// The model's name for a message that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageId(Option<(FlowKey, usize)>);

impl MessageId {
    /// No message.
    pub const NONE: Self = Self(None);
}

/// What a message was sent with, besides its bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// What it replaces, in [`Mode::ReliableLatest`].
    pub key: Option<u32>,
    /// From when on its sender may give it up.
    pub deadline: Option<Instant>,
}

/// What was sent and what arrived, of everybody.
///
/// Where equal bytes are sent twice in a mode that keeps order, the first of them is taken for the one that
/// arrives. So messages that may be given up should differ from all others, or a loss may be mistaken.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    flows: BTreeMap<FlowKey, Flow>,
    delivered: u64,
    now: Instant,
}

type FlowKey = (Direction, ChannelId, Mode);

/// One channel in one mode of one direction.
#[derive(Clone, Debug, Default)]
struct Flow {
    /// Everything sent, in order.
    sent: Vec<Message>,
    /// Where equal bytes stand in `sent`, for modes without order.
    places: HashMap<Vec<u8>, Vec<usize>>,
    /// What lies before has been delivered or passed over, in modes with order.
    next: usize,
    /// The newest message of each key that was sent, and that was delivered.
    newest: BTreeMap<Option<u32>, (usize, Option<usize>)>,
}

#[derive(Clone, Debug)]
struct Message {
    bytes: Vec<u8>,
    terms: Terms,
    delivered: bool,
    given_up: bool,
    acked: bool,
    unsent: bool,
}

impl Message {
    /// Whether it need not arrive.
    fn is_optional(&self, now: Instant) -> bool {
        let expired = self.terms.deadline.is_some_and(|deadline| deadline <= now);
        !self.acked && (self.given_up || expired)
    }
}

impl Flow {
    fn push(&mut self, mode: Mode, bytes: &[u8], terms: Terms) -> usize {
        let at = self.sent.len();
        let bytes = bytes.to_vec();
        if !keeps_order(mode) {
            self.places.entry(bytes.clone()).or_default().push(at);
        }
        if mode == Mode::ReliableLatest {
            self.newest.entry(terms.key).or_default().0 = at;
        }
        let (delivered, given_up, acked, unsent) = (false, false, false, false);
        self.sent.push(Message { bytes, terms, delivered, given_up, acked, unsent });
        at
    }

    fn knows(&self, bytes: &[u8]) -> bool {
        self.places.contains_key(bytes) || self.sent.iter().any(|sent| sent.bytes == bytes)
    }

    /// How many messages should have arrived and have not.
    fn missing(&self, mode: Mode, now: Instant) -> usize {
        let is_missing = |(at, message): &(usize, &Message)| match mode {
            Mode::Unreliable => !message.delivered,
            Mode::UnreliableOrdered => *at >= self.next,
            Mode::Reliable | Mode::ReliableUnordered => {
                !message.delivered && !message.is_optional(now)
            }
            Mode::ReliableLatest => {
                let newest = self.newest.get(&message.terms.key).map(|newest| newest.0);
                !message.delivered && newest == Some(*at) && !message.is_optional(now)
            }
        };
        self.sent.iter().enumerate().filter(is_missing).count()
    }

    fn judge(&mut self, mode: Mode, bytes: &[u8], now: Instant) -> Result<(), (Wrong, String)> {
        let at = match mode {
            Mode::Reliable => self.next_reliable(bytes, now)?,
            Mode::UnreliableOrdered => self.next_ordered(bytes)?,
            Mode::Unreliable | Mode::ReliableUnordered => self.any(bytes)?,
            Mode::ReliableLatest => self.latest(bytes)?,
        };
        let message = &mut self.sent[at];
        message.delivered = true;
        if message.unsent { Err((Wrong::Unsent, format!("number {at}"))) } else { Ok(()) }
    }

    /// The next one that was not given up.
    fn next_reliable(&mut self, bytes: &[u8], now: Instant) -> Result<usize, (Wrong, String)> {
        for (at, message) in self.sent.iter().enumerate().skip(self.next) {
            if message.bytes == bytes {
                self.next = at + 1;
                return Ok(at);
            }
            if !message.is_optional(now) {
                break;
            }
        }
        let next = self.next;
        let at = self.sent.iter().rposition(|sent| sent.bytes == bytes).ok_or_else(invented)?;
        let wrong = if at < next { Wrong::Again } else { Wrong::TooEarly };
        Err((wrong, format!("number {at}, but {next} is next")))
    }

    /// Of equal messages the first that it can be: that leaves the most to come.
    fn next_ordered(&mut self, bytes: &[u8]) -> Result<usize, (Wrong, String)> {
        let next = self.next;
        let mut later = (next..self.sent.len()).filter(|at| self.sent[*at].bytes == bytes);
        let later = later.clone().find(|at| !self.sent[*at].unsent).or_else(|| later.next());
        if let Some(later) = later {
            self.next = later + 1;
            return Ok(later);
        }
        let at = self.sent.iter().position(|sent| sent.bytes == bytes).ok_or_else(invented)?;
        Err((Wrong::Again, format!("number {at}, but {next} is next")))
    }

    fn any(&self, bytes: &[u8]) -> Result<usize, (Wrong, String)> {
        let places = self.places.get(bytes).ok_or_else(invented)?;
        let mut left = places.iter().copied().filter(|at| !self.sent[*at].delivered);
        let at = left.clone().find(|at| !self.sent[*at].unsent).or_else(|| left.next());
        at.ok_or_else(|| (Wrong::Again, format!("it was sent {} times", places.len())))
    }

    /// One of its key that is newer than those delivered.
    fn latest(&mut self, bytes: &[u8]) -> Result<usize, (Wrong, String)> {
        let places = self.places.get(bytes).ok_or_else(invented)?;
        let newer = places.iter().copied().find(|at| {
            let newest = self.newest.get(&self.sent[*at].terms.key).and_then(|newest| newest.1);
            newest.is_none_or(|newest| *at > newest)
        });
        let at = newer.ok_or_else(|| (Wrong::Again, format!("number {places:?} of its key")))?;
        self.newest.entry(self.sent[at].terms.key).or_default().1 = Some(at);
        Ok(at)
    }
}

fn keeps_order(mode: Mode) -> bool {
    matches!(mode, Mode::Reliable | Mode::UnreliableOrdered)
}

fn invented() -> (Wrong, String) {
    (Wrong::Invented, "nobody sent it".into())
}

impl Oracle {
    /// Nothing sent, nothing arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time is `now`, which matters to messages with a deadline.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// The endpoint took `message` to send it.
    pub fn sent(&mut self, direction: Direction, channel: ChannelId, mode: Mode, message: &[u8]) {
        self.sent_with(direction, channel, mode, message, Terms::default());
    }

    /// The endpoint took `message` to send it on these terms.
    pub fn sent_with(
        &mut self,
        direction: Direction,
        channel: ChannelId,
        mode: Mode,
        message: &[u8],
        terms: Terms,
    ) -> MessageId {
        let key = (direction, channel, mode);
        let at = self.flows.entry(key).or_default().push(mode, message, terms);
        MessageId(Some((key, at)))
    }

    /// Its sender will not see to it any more that this message arrives. It still may.
    pub fn given_up(&mut self, id: MessageId) {
        if let Some(message) = self.message(id) {
            message.given_up = true;
        }
    }

    /// This message has ended before any of it was sent: it must not be delivered, nor have been.
    ///
    /// # Errors
    ///
    /// When it has been.
    pub fn unsent(&mut self, id: MessageId) -> Result<(), Violation> {
        let Some(message) = self.message(id) else { return Ok(()) };
        (message.unsent, message.given_up) = (true, true);
        let (len, Some(((direction, channel, mode), at))) = (message.bytes.len(), id.0) else {
            return Ok(());
        };
        if !message.delivered {
            return Ok(());
        }
        let detail = format!("number {at}");
        Err(Violation { wrong: Wrong::Unsent, direction, channel, mode, len, detail })
    }

    /// Its sender knows that this message has arrived, so it must be delivered, deadline or not.
    pub fn acknowledged(&mut self, id: MessageId) {
        if let Some(message) = self.message(id) {
            message.acked = true;
        }
    }

    /// Whether this message was delivered.
    pub fn is_delivered(&self, id: MessageId) -> bool {
        id.0.is_some_and(|(key, at)| {
            self.flows
                .get(&key)
                .and_then(|flow| flow.sent.get(at))
                .is_some_and(|sent| sent.delivered)
        })
    }

    fn message(&mut self, id: MessageId) -> Option<&mut Message> {
        let (key, at) = id.0?;
        self.flows.get_mut(&key)?.sent.get_mut(at)
    }

    /// Whether equal bytes were sent in this direction, channel and mode before.
    pub fn knows(
        &self,
        direction: Direction,
        channel: ChannelId,
        mode: Mode,
        message: &[u8],
    ) -> bool {
        self.flows.get(&(direction, channel, mode)).is_some_and(|flow| flow.knows(message))
    }

    /// The other endpoint handed `message` to its application.
    ///
    /// # Errors
    ///
    /// When that must not have happened.
    pub fn received(
        &mut self,
        direction: Direction,
        channel: ChannelId,
        mode: Mode,
        message: &[u8],
    ) -> Result<(), Violation> {
        self.delivered += 1;
        let Err((wrong, detail)) = self.judge((direction, channel, mode), message) else {
            return Ok(());
        };
        Err(Violation { wrong, direction, channel, mode, len: message.len(), detail })
    }

    /// What was sent in this direction will not arrive: its sender had a session that its receiver never
    /// heard of.
    pub fn forget(&mut self, direction: Direction) {
        self.flows.retain(|key, _| key.0 != direction);
    }

    /// How many messages were delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many messages of this direction, in all reliable modes, have not been delivered.
    pub fn reliable_missing(&self, direction: Direction) -> usize {
        self.missing(direction, Mode::is_reliable)
    }

    /// How many messages of this direction, in the modes asked for, have not been delivered. What
    /// the unreliable-ordered mode passed over does not count, nor what was given up, nor what was replaced.
    pub fn missing(&self, direction: Direction, modes: impl Fn(Mode) -> bool) -> usize {
        let flows = self.flows.iter().filter(|((d, _, mode), _)| *d == direction && modes(*mode));
        flows.map(|((.., mode), flow)| flow.missing(*mode, self.now)).sum()
    }

    /// How many messages of this direction were acknowledged and not delivered, where mode and length are asked for.
    pub fn acked_missing(
        &self,
        direction: Direction,
        modes: impl Fn(Mode, usize) -> bool,
    ) -> usize {
        let flows = self.flows.iter().filter(|(key, _)| key.0 == direction);
        let sent = flows.flat_map(|((.., mode), flow)| flow.sent.iter().map(|sent| (*mode, sent)));
        sent.filter(|(mode, sent)| modes(*mode, sent.bytes.len()))
            .filter(|(_, sent)| sent.acked && !sent.delivered)
            .count()
    }

    fn judge(&mut self, key: FlowKey, message: &[u8]) -> Result<(), (Wrong, String)> {
        let now = self.now;
        let verdict = self.flows.get_mut(&key).map(|flow| flow.judge(key.2, message, now));
        match verdict {
            Some(Err((Wrong::Invented, _))) | None => {}
            Some(verdict) => return verdict,
        }
        let home = self.flows.iter().find(|(_, flow)| flow.knows(message));
        Err(match home {
            Some((home, _)) => (Wrong::Astray, format!("it was sent as {home:?}")),
            None => invented(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Direction = Direction { session: 1, by_client: true };
    const BACK: Direction = Direction { session: 1, by_client: false };
    const CHANNEL: ChannelId = ChannelId(3);

    fn wrong(oracle: &mut Oracle, mode: Mode, message: &[u8]) -> Option<Wrong> {
        oracle.received(THERE, CHANNEL, mode, message).err().map(|violation| violation.wrong)
    }

    fn with(mode: Mode, messages: &[&[u8]]) -> Oracle {
        let mut oracle = Oracle::new();
        messages.iter().for_each(|message| oracle.sent(THERE, CHANNEL, mode, message));
        oracle
    }

    #[test]
    fn reliable_is_exactly_once_and_in_order() {
        let mut oracle = with(Mode::Reliable, &[b"a", b"b", b"b", b""]);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"b"), Some(Wrong::TooEarly));
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"a"), None);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"a"), Some(Wrong::Again));
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"b"), None);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b""), Some(Wrong::TooEarly));
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"b"), None);
        assert_eq!(oracle.reliable_missing(THERE), 1);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b""), None);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b""), Some(Wrong::Again));
        assert_eq!(oracle.reliable_missing(THERE), 0);
    }

    #[test]
    fn unreliable_ordered_may_leave_out_but_not_go_back() {
        let mut oracle = with(Mode::UnreliableOrdered, &[b"a", b"b", b"c", b"d"]);
        assert_eq!(wrong(&mut oracle, Mode::UnreliableOrdered, b"b"), None);
        assert_eq!(wrong(&mut oracle, Mode::UnreliableOrdered, b"a"), Some(Wrong::Again));
        assert_eq!(wrong(&mut oracle, Mode::UnreliableOrdered, b"b"), Some(Wrong::Again));
        assert_eq!(wrong(&mut oracle, Mode::UnreliableOrdered, b"d"), None);
        assert_eq!(wrong(&mut oracle, Mode::UnreliableOrdered, b"c"), Some(Wrong::Again));
    }

    #[test]
    fn what_ended_unsent_is_not_delivered() {
        for mode in [Mode::Unreliable, Mode::UnreliableOrdered] {
            let mut oracle = Oracle::new();
            let mut send =
                |message: &[u8]| oracle.sent_with(THERE, CHANNEL, mode, message, Terms::default());
            let [first, second, _] = [b"a", b"b", b"b"].map(|message| send(message));
            assert!(oracle.unsent(second).is_ok());
            assert_eq!(wrong(&mut oracle, mode, b"a"), None);
            assert!(oracle.unsent(first).is_err(), "it has been delivered");
            assert_eq!(wrong(&mut oracle, mode, b"b"), None, "there are two");
            let again = if mode == Mode::Unreliable { Wrong::Unsent } else { Wrong::Again };
            assert_eq!(wrong(&mut oracle, mode, b"b"), Some(again));
        }
    }

    #[test]
    fn unreliable_is_at_most_once_in_any_order() {
        let mut oracle = with(Mode::Unreliable, &[b"a", b"b", b"b"]);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"b"), None);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"a"), None);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"a"), Some(Wrong::Again));
        assert_eq!(oracle.missing(THERE, |_| true), 1);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"b"), None);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"b"), Some(Wrong::Again));
        assert_eq!(oracle.delivered(), 5);
    }

    #[test]
    fn what_comes_elsewhere_is_astray_and_what_nobody_sent_invented() {
        let mut oracle = with(Mode::Reliable, &[b"a"]);
        assert_eq!(wrong(&mut oracle, Mode::Unreliable, b"a"), Some(Wrong::Astray));
        let other_way = oracle.received(BACK, CHANNEL, Mode::Reliable, b"a").unwrap_err();
        assert_eq!(other_way.wrong, Wrong::Astray);
        let other_channel = oracle.received(THERE, ChannelId(0), Mode::Reliable, b"a").unwrap_err();
        assert_eq!(other_channel.wrong, Wrong::Astray);
        for mode in Mode::GODOT {
            assert_eq!(wrong(&mut oracle, mode, b"x"), Some(Wrong::Invented));
        }
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"a"), None);
    }

    #[test]
    fn what_was_given_up_may_be_passed_over_and_nothing_else() {
        let mut oracle = with(Mode::Reliable, &[b"a"]);
        let deadline = Some(Instant::from_micros(50));
        let terms = Terms { deadline, ..Terms::default() };
        let late = oracle.sent_with(THERE, CHANNEL, Mode::Reliable, b"b", terms);
        oracle.sent(THERE, CHANNEL, Mode::Reliable, b"c");
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"a"), None);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"c"), Some(Wrong::TooEarly));
        oracle.set_now(Instant::from_micros(50));
        assert_eq!(oracle.reliable_missing(THERE), 1);
        let mut acked = oracle.clone();
        acked.acknowledged(late);
        assert_eq!(wrong(&mut acked, Mode::Reliable, b"c"), Some(Wrong::TooEarly));
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"c"), None);
        assert_eq!(wrong(&mut oracle, Mode::Reliable, b"b"), Some(Wrong::Again));
        assert_eq!(oracle.reliable_missing(THERE), 0);
    }

    #[test]
    fn reliable_unordered_is_exactly_once_in_any_order() {
        let mut oracle = with(Mode::ReliableUnordered, &[b"a", b"b"]);
        assert_eq!(wrong(&mut oracle, Mode::ReliableUnordered, b"b"), None);
        assert_eq!(wrong(&mut oracle, Mode::ReliableUnordered, b"b"), Some(Wrong::Again));
        assert_eq!(oracle.reliable_missing(THERE), 1);
        assert_eq!(wrong(&mut oracle, Mode::ReliableUnordered, b"a"), None);
        assert_eq!(oracle.reliable_missing(THERE), 0);
    }

    #[test]
    fn reliable_latest_goes_forward_for_each_key() {
        let mut oracle = Oracle::new();
        for (key, message) in [(1, b"a"), (2, b"b"), (1, b"c"), (1, b"d")] {
            let terms = Terms { key: Some(key), ..Terms::default() };
            oracle.sent_with(THERE, CHANNEL, Mode::ReliableLatest, message, terms);
        }
        assert_eq!(oracle.reliable_missing(THERE), 2, "the newest of each key");
        assert_eq!(wrong(&mut oracle, Mode::ReliableLatest, b"c"), None);
        assert_eq!(wrong(&mut oracle, Mode::ReliableLatest, b"a"), Some(Wrong::Again));
        assert_eq!(wrong(&mut oracle, Mode::ReliableLatest, b"b"), None);
        assert_eq!(oracle.reliable_missing(THERE), 1);
        assert_eq!(wrong(&mut oracle, Mode::ReliableLatest, b"d"), None);
        assert_eq!(oracle.reliable_missing(THERE), 0);
    }
}
