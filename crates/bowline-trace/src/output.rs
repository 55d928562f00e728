//! What came out of an endpoint.

use core::num::NonZeroU16;

use bowline_core::{
    Address, BufferTooShort, CancelError, ChannelId, DropReason, Ecn, Event, Instant, Mode, PeerId,
    SendError,
};
use bowline_native::{BanError, Broadcast, ConnectError, UnknownPeer};

use crate::row::{Row, zigzag};

/// What a call answered. Of bytes there is the length and a checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// The call answers nothing.
    Unit,
    /// Of `handle_datagram`.
    Handled(Result<(), DropReason>),
    /// Of `poll_transmit`.
    Transmit(Result<Option<Sent>, BufferTooShort>),
    /// Of `poll_timeout`.
    Timeout(Option<Instant>),
    /// Of `send`.
    Send(Result<(), SendError>),
    /// Of `cancel`.
    Cancel(Result<(), CancelError>),
    /// Of `poll_event`.
    Event(Option<Event>),
    /// Of `recv`.
    Received(Option<Message>),
    /// Of `connect_plain`.
    Connect(Result<PeerId, ConnectError>),
    /// Of `connect_payload`: its whole length, and what of it was copied.
    Payload(usize, Bytes),
    /// Of `accept`, `refuse` and `finish`.
    Known(Result<(), UnknownPeer>),
    /// Of `broadcast`.
    Broadcast(Broadcast),
    /// Of `set_info`, `query` and `unban`.
    Flag(bool),
    /// Of `take_answer`: who answered, and what.
    Answer(Option<(Address, Bytes)>),
    /// Of `ban`.
    Banned(Result<(), BanError>),
    /// Of `close_all`.
    Count(u32),
}

/// A datagram that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Where to.
    pub to: Address,
    /// What.
    pub bytes: Bytes,
    /// Length of the datagrams that it is a train of.
    pub segment_len: Option<NonZeroU16>,
    /// Its mark.
    pub ecn: Option<Ecn>,
}

/// A message that was handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its channel.
    pub channel: ChannelId,
    /// Its mode.
    pub mode: Mode,
    /// Its key.
    pub key: Option<u32>,
    /// What it says.
    pub bytes: Bytes,
}

/// What remains of bytes in a trace.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bytes {
    /// How many.
    pub len: usize,
    /// Their CRC-32.
    pub checksum: u32,
}

impl Output {
    /// As numbers. `last` is the time that the caller said last.
    pub(crate) fn row(&self, last: Instant) -> Row {
        match *self {
            Self::Unit => Row::default(),
            Self::Handled(Ok(()))
            | Self::Known(Ok(()))
            | Self::Banned(Ok(()))
            | Self::Flag(false) => Row::of(&[0]),
            Self::Banned(Err(error)) => Row::optional(Some(&error)),
            Self::Count(count) => Row::of(&[count.into()]),
            Self::Known(Err(UnknownPeer)) | Self::Flag(true) => Row::of(&[1]),
            Self::Handled(Err(reason)) => Row::of(&[1 + reason.index() as u64]),
            Self::Transmit(Ok(None)) | Self::Timeout(None) => Row::of(&[0]),
            Self::Transmit(Ok(Some(sent))) => sent.row(),
            Self::Transmit(Err(BufferTooShort { needed })) => Row::of(&[3, needed as u64]),
            Self::Timeout(Some(at)) => Row::of(&[1, zigzag(at, last)]),
            Self::Send(result) => Row::optional(result.err().as_ref()),
            Self::Cancel(result) => Row::optional(result.err().as_ref()),
            Self::Event(event) => Row::optional(event.as_ref()),
            Self::Received(None) | Self::Answer(None) => Row::of(&[0]),
            Self::Received(Some(Message { channel, mode, key, bytes })) => {
                let (channel, mode, len) = (channel.0.into(), mode as u64, bytes.len as u64);
                let row = match key {
                    None => Row::of(&[1, channel, mode, len]),
                    Some(key) => Row::of(&[2, channel, mode, key.into(), len]),
                };
                row.with_checksum(bytes.checksum)
            }
            Self::Connect(Ok(peer)) => {
                let [slot, generation] = Row::peer(peer);
                Row::of(&[0, slot, generation])
            }
            Self::Connect(Err(error)) => Row::optional(Some(&error)),
            Self::Payload(whole, bytes) => {
                Row::of(&[whole as u64, bytes.len as u64]).with_checksum(bytes.checksum)
            }
            Self::Broadcast(Broadcast { sent, refused }) => Row::of(&[sent.into(), refused.into()]),
            Self::Answer(Some((from, bytes))) => {
                let row = Row::of(&[1, bytes.len as u64]);
                row.with_checksum(bytes.checksum).with_address(from)
            }
        }
    }
}

impl Sent {
    fn row(&self) -> Row {
        let Self { to, bytes, segment_len, ecn } = *self;
        let row = if segment_len.is_none() && ecn.is_none() {
            Row::of(&[1, bytes.len as u64])
        } else {
            let segment_len = segment_len.map_or(0, NonZeroU16::get);
            let ecn = ecn.map_or(0, |ecn| ecn as u64);
            Row::of(&[2, bytes.len as u64, segment_len.into(), ecn])
        };
        row.with_checksum(bytes.checksum).with_address(to)
    }
}
