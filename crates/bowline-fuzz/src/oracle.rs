//! Models of the three modes, too simple to be wrong in the same way.

use alloc::collections::BTreeMap;
use std::collections::HashMap;

use bowline_core::{ChannelId, Mode};

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

/// What was sent and what arrived, of everybody.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    flows: BTreeMap<(Direction, ChannelId, Mode), Flow>,
    delivered: u64,
}

/// One channel in one mode of one direction.
#[derive(Clone, Debug)]
enum Flow {
    /// Everything sent, in order; what lies before `next` has been delivered (or, in the
    /// unreliable-ordered mode, passed over).
    InOrder { sent: Vec<Vec<u8>>, next: usize },
    /// For each message, how often it was sent and how often it may still arrive.
    AnyOrder { sent: HashMap<Vec<u8>, Copies> },
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    sent: u32,
    left: u32,
}

impl Flow {
    fn new(mode: Mode) -> Self {
        match mode {
            Mode::Unreliable => Self::AnyOrder { sent: HashMap::new() },
            _ => Self::InOrder { sent: Vec::new(), next: 0 },
        }
    }

    fn knows(&self, message: &[u8]) -> bool {
        match self {
            Self::InOrder { sent, .. } => sent.iter().any(|sent| sent == message),
            Self::AnyOrder { sent } => sent.contains_key(message),
        }
    }
}

impl Oracle {
    /// Nothing sent, nothing arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// The endpoint took `message` to send it.
    pub fn sent(&mut self, direction: Direction, channel: ChannelId, mode: Mode, message: &[u8]) {
        let flow = self.flows.entry((direction, channel, mode)).or_insert_with(|| Flow::new(mode));
        match flow {
            Flow::InOrder { sent, .. } => sent.push(message.to_vec()),
            Flow::AnyOrder { sent } => {
                let copies = sent.entry(message.to_vec()).or_default();
                copies.sent += 1;
                copies.left += 1;
            }
        }
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

    /// How many reliable messages of this direction have not been delivered.
    pub fn reliable_missing(&self, direction: Direction) -> usize {
        self.missing(direction, |mode| mode == Mode::Reliable)
    }

    /// How many messages of this direction, in the modes asked for, have not been delivered. What
    /// the unreliable-ordered mode passed over does not count.
    pub fn missing(&self, direction: Direction, modes: impl Fn(Mode) -> bool) -> usize {
        let flows = self.flows.iter().filter(|((d, _, mode), _)| *d == direction && modes(*mode));
        flows
            .map(|(_, flow)| match flow {
                Flow::InOrder { sent, next } => sent.len() - next,
                Flow::AnyOrder { sent } => sent.values().map(|copies| copies.left as usize).sum(),
            })
            .sum()
    }

    fn judge(
        &mut self,
        key: (Direction, ChannelId, Mode),
        message: &[u8],
    ) -> Result<(), (Wrong, String)> {
        match self.flows.get_mut(&key) {
            Some(Flow::InOrder { sent, next }) if key.2 == Mode::Reliable => {
                if sent.get(*next).is_some_and(|sent| sent == message) {
                    *next += 1;
                    return Ok(());
                }
                if let Some(at) = sent.iter().position(|sent| sent == message) {
                    let wrong = if at < *next { Wrong::Again } else { Wrong::TooEarly };
                    return Err((wrong, format!("number {at}, but {next} is next")));
                }
            }
            Some(Flow::InOrder { sent, next }) => {
                // Of equal messages the first that it can be: that leaves the most to come.
                if let Some(at) = sent[*next..].iter().position(|sent| sent == message) {
                    *next += at + 1;
                    return Ok(());
                }
                if let Some(at) = sent.iter().position(|sent| sent == message) {
                    return Err((Wrong::Again, format!("number {at}, but {next} is next")));
                }
            }
            Some(Flow::AnyOrder { sent }) => {
                if let Some(copies) = sent.get_mut(message) {
                    if copies.left == 0 {
                        return Err((Wrong::Again, format!("it was sent {} times", copies.sent)));
                    }
                    copies.left -= 1;
                    return Ok(());
                }
            }
            None => {}
        }
        let home = self.flows.iter().find(|(_, flow)| flow.knows(message));
        Err(match home {
            Some((home, _)) => (Wrong::Astray, format!("it was sent as {home:?}")),
            None => (Wrong::Invented, "nobody sent it".into()),
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
}
