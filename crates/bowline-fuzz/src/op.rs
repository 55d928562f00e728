//! What can happen, made of a fuzzer's bytes.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline_core::{Duration, Mode};

use crate::forge::Forgery;

/// One of the two endpoints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The one that connects first.
    Left,
    /// The other one.
    Right,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// 0 or 1.
    pub const fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// On which channel; one beyond those agreed is used as it is in one of sixteen cases.
    pub channel: u8,
    /// In which mode.
    pub mode: Mode,
    /// About how long, in bytes.
    pub len: usize,
    /// Whether its outcome is asked for.
    pub tagged: bool,
    /// How long it is worth delivering.
    pub time_to_live: Option<Duration>,
    /// What it replaces, if its mode is [`Mode::ReliableLatest`].
    pub key: u32,
    /// What its game makes it of.
    pub seed: Vec<u8>,
}

/// One thing that happens. Which session and which datagram is meant is taken modulo how many there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// A side begins a session with the other.
    Connect(Side),
    /// A side sends a message.
    Send(Side, u8, Order),
    /// A side withdraws one of its messages.
    Cancel(Side, u8, u8),
    /// A side reads messages of a session, up to so many.
    Read(Side, u8, u8),
    /// A side asks for its events, up to so many.
    Poll(Side, u8),
    /// Whether the application of a side reads all that comes, at once, from here on.
    Attend(Side, bool),
    /// A side closes a session.
    Close(Side, u8, u32),
    /// A side closes a session once all has arrived.
    Finish(Side, u8, u32),
    /// Time passes in which nobody does anything.
    Pass(Duration),
    /// Time passes, the endpoints are driven as they ask for, and the link delivers after this delay.
    Run(Duration, Duration),
    /// A side announces that it will be away, or that it is back.
    Suspend(Side, bool),
    /// A side puts out what it has to send.
    Flush(Side),
    /// A datagram under way arrives.
    Deliver(Side, u8),
    /// All datagrams under way to a side arrive.
    DeliverAll(Side),
    /// A datagram under way is lost.
    Drop(Side, u8),
    /// All datagrams under way to a side are lost.
    DropAll(Side),
    /// A datagram under way is doubled.
    Duplicate(Side, u8),
    /// A datagram of the past comes again.
    Replay(Side, u8),
    /// Bits of a datagram under way are flipped.
    Corrupt(Side, u8, u16, [u8; 4]),
    /// A datagram under way is cut short.
    Truncate(Side, u8, u16),
    /// Somebody makes up a datagram.
    Forge(Side, Forgery),
}

impl<'a> Arbitrary<'a> for Side {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::BOTH[usize::from(u8::arbitrary(u)? & 1)])
    }
}

impl<'a> Arbitrary<'a> for Order {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        const MODES: [Mode; 8] = [
            Mode::Reliable,
            Mode::Unreliable,
            Mode::UnreliableOrdered,
            Mode::ReliableUnordered,
            Mode::ReliableLatest,
            Mode::Reliable,
            Mode::ReliableUnordered,
            Mode::ReliableLatest,
        ];
        let how = u8::arbitrary(u)?;
        let channel = u8::arbitrary(u)?;
        let len = u16::arbitrary(u)?;
        // Mostly short, sometimes longer than a datagram, rarely than the memory.
        let len = match len >> 12 {
            0..8 => len & 0x3F,
            8..14 => len & 0x7FF,
            14 => len & 0xFFF,
            _ => len,
        };
        let time_to_live = match how >> 3 & 3 {
            0 => Some(Duration::from_millis(u8::arbitrary(u)?.into())),
            _ => None,
        };
        let key = match how & 7 {
            4 | 7 => u32::from(u8::arbitrary(u)? & 3),
            _ => 0,
        };
        let seed_len = if how & 0x40 == 0 { 0 } else { usize::from(u8::arbitrary(u)? & 31) };
        let seed = u.bytes(seed_len.min(u.len()))?.to_vec();
        Ok(Self {
            channel,
            mode: MODES[usize::from(how & 7)],
            len: len.into(),
            tagged: how & 0x20 == 0,
            time_to_live,
            key,
            seed,
        })
    }
}

/// Up to about four seconds, short times as often as long ones; seldom a minute.
fn span(u: &mut Unstructured<'_>) -> Result<Duration> {
    let span = u8::arbitrary(u)?;
    let micros = match span {
        0..16 => 0,
        250.. => 60_000_000,
        _ => 1u64 << (span / 11),
    };
    Ok(Duration::from_micros(micros + u64::from(span)))
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let which = u8::arbitrary(u)?;
        let side = Side::BOTH[usize::from(which & 1)];
        // The lowest bit is the side; the rest is drawn by weight.
        Ok(match which >> 1 {
            0..36 => Self::Send(side, u8::arbitrary(u)?, Order::arbitrary(u)?),
            36..46 => Self::Run(span(u)?, Duration::from_millis(u64::from(u8::arbitrary(u)? % 64))),
            46..54 => Self::Flush(side),
            54..62 => Self::Deliver(side, u8::arbitrary(u)?),
            62..68 => Self::DeliverAll(side),
            68..74 => Self::Drop(side, u8::arbitrary(u)?),
            74..76 => Self::DropAll(side),
            76..80 => Self::Duplicate(side, u8::arbitrary(u)?),
            80..84 => Self::Replay(side, u8::arbitrary(u)?),
            84..88 => {
                let (which, at) = (u8::arbitrary(u)?, u16::arbitrary(u)?);
                Self::Corrupt(side, which, at, <[u8; 4]>::arbitrary(u)?)
            }
            88..91 => Self::Truncate(side, u8::arbitrary(u)?, u16::arbitrary(u)?),
            91..98 => Self::Forge(side, Forgery::arbitrary(u)?),
            98..103 => Self::Cancel(side, u8::arbitrary(u)?, u8::arbitrary(u)?),
            103..106 => Self::Read(side, u8::arbitrary(u)?, u8::arbitrary(u)?),
            106..109 => Self::Poll(side, u8::arbitrary(u)?),
            109..112 => Self::Attend(side, u8::arbitrary(u)? & 3 != 0),
            112..118 => Self::Pass(span(u)?),
            118..121 => Self::Connect(side),
            121..123 => Self::Suspend(side, u8::arbitrary(u)? & 1 == 0),
            123..125 => Self::Close(side, u8::arbitrary(u)?, u8::arbitrary(u)?.into()),
            _ => Self::Finish(side, u8::arbitrary(u)?, u8::arbitrary(u)?.into()),
        })
    }
}
