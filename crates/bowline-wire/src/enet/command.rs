//! One command.

use super::{CommandKind, CommandView};
use crate::reader::Reader;
use crate::{Malformed, NoRoom, Writer};

pub(super) const ACKNOWLEDGE: u8 = 0x80;
pub(super) const UNSEQUENCED: u8 = 0x40;

/// What every command begins with, its kind apart.
///
/// ```text
/// 0             1           2              4
/// +-------------+-----------+--------------+--
/// |A|U|0|0|kind |  channel  |   sequence   | ...
/// +-------------+-----------+--------------+--
/// ```
///
/// The two bits between are sent as 0 and not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CommandHead {
    /// Whether it is to be acknowledged; of any kind, whatever makes sense.
    pub acknowledge: bool,
    /// Whether it has no place in an order. Receivers go by the kind.
    pub unsequenced: bool,
    /// Its channel, or [`CONNECTION_CHANNEL`](super::CONNECTION_CHANNEL).
    pub channel: u8,
    /// The reliable sequence number.
    pub sequence: u16,
}

impl CommandHead {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 4;

    /// Of a command to be acknowledged.
    #[inline]
    pub const fn acknowledged(channel: u8, sequence: u16) -> Self {
        Self { acknowledge: true, unsequenced: false, channel, sequence }
    }

    /// Of a command without flags: an ACKNOWLEDGE, an unreliable packet or a fragment of one.
    #[inline]
    pub const fn plain(channel: u8, sequence: u16) -> Self {
        Self { acknowledge: false, unsequenced: false, channel, sequence }
    }

    /// Of an unsequenced packet, or a DISCONNECT that is not resent.
    #[inline]
    pub const fn unsequenced(channel: u8, sequence: u16) -> Self {
        Self { acknowledge: false, unsequenced: true, channel, sequence }
    }

    /// An ACKNOWLEDGE of what has this head's sequence number, in bytes.
    #[inline]
    pub const fn acknowledge_bytes(self, received_sent_time: u16) -> [u8; 8] {
        self.numbered(CommandKind::Acknowledge, self.sequence, received_sent_time)
    }

    /// A SEND_RELIABLE up to its payload of `len` bytes: the first 6 of these bytes, the others are 0.
    #[inline(always)]
    pub const fn reliable_bytes(self, len: u16) -> [u8; 8] {
        self.numbered(CommandKind::SendReliable, len, 0)
    }

    /// A SEND_UNRELIABLE of this unreliable sequence number up to its payload of `len` bytes.
    #[inline(always)]
    pub const fn unreliable_bytes(self, unreliable_sequence: u16, len: u16) -> [u8; 8] {
        self.numbered(CommandKind::SendUnreliable, unreliable_sequence, len)
    }

    /// A SEND_UNSEQUENCED of this group up to its payload of `len` bytes.
    #[inline(always)]
    pub const fn unsequenced_bytes(self, group: u16, len: u16) -> [u8; 8] {
        self.numbered(CommandKind::SendUnsequenced, group, len)
    }

    /// A head with two numbers behind it.
    #[inline(always)]
    const fn numbered(self, kind: CommandKind, a: u16, b: u16) -> [u8; 8] {
        let head = u32::from_be_bytes(self.to_wire(kind)) as u64;
        (head << 32 | (a as u64) << 16 | b as u64).to_be_bytes()
    }

    /// The first four bytes of a command.
    #[inline(always)]
    const fn to_wire(self, kind: CommandKind) -> [u8; 4] {
        let acknowledge = if self.acknowledge { ACKNOWLEDGE } else { 0 };
        let unsequenced = if self.unsequenced { UNSEQUENCED } else { 0 };
        let [sequence0, sequence1] = self.sequence.to_be_bytes();
        [kind.to_wire() | acknowledge | unsequenced, self.channel, sequence0, sequence1]
    }
}

/// What both sides tell each other when they connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Parameters {
    /// The sender's own slot. Not checked here: it may be above
    /// [`NO_PEER`](super::NO_PEER), which no peer id is.
    pub outgoing_peer_id: u16,
    /// In a CONNECT the sender's incoming session, in a VERIFY_CONNECT the receiver's. Not checked.
    pub incoming_session: u8,
    /// In a CONNECT the sender's outgoing session, in a VERIFY_CONNECT the receiver's. Not checked.
    pub outgoing_session: u8,
    /// The longest datagram, in bytes.
    pub mtu: u32,
    /// How much reliable data may be in flight, in bytes.
    pub window_size: u32,
    /// How many channels.
    pub channel_count: u32,
    /// How fast the sender's host can receive, in bytes per second; 0 is no limit.
    pub incoming_bandwidth: u32,
    /// How fast the sender's host will send, in bytes per second; 0 is no limit.
    pub outgoing_bandwidth: u32,
    /// How to throttle unreliable packets.
    pub throttle: Throttle,
    /// Random bytes of the connecting side, which are only ever copied.
    pub connect_id: [u8; 4],
}

/// How a sender throttles its unreliable packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Throttle {
    /// Over how long the lowest RTT is taken, in milliseconds.
    pub interval: u32,
    /// How much the throttle rises when the RTT is good, of 32.
    pub acceleration: u32,
    /// How much it falls when the RTT is bad, of 32.
    pub deceleration: u32,
}

/// A part of a packet.
///
/// That the numbers agree with each other is not checked here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fragment<'a> {
    /// Which packet: the reliable sequence number of its first fragment, or its unreliable one.
    pub start_sequence: u16,
    /// How many fragments the packet has.
    pub count: u32,
    /// Which of them this is, from 0 on.
    pub number: u32,
    /// Length of the packet, in bytes.
    pub total: u32,
    /// Where in the packet the payload begins, in bytes.
    pub offset: u32,
    /// The bytes.
    pub payload: &'a [u8],
}

/// One command, its [`CommandHead`] apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command<'a> {
    /// A command has arrived, the one on the channel of the head.
    Acknowledge {
        /// Its reliable sequence number; the head's is the same.
        received_sequence: u16,
        /// The sent time of the datagram it came in.
        received_sent_time: u16,
    },
    /// Asks for a connection.
    Connect {
        /// What the sender has and wants.
        parameters: Parameters,
        /// The application's number.
        data: u32,
    },
    /// Grants it.
    VerifyConnect {
        /// What was agreed.
        parameters: Parameters,
    },
    /// Ends the connection.
    Disconnect {
        /// The application's number.
        data: u32,
    },
    /// Asks for an acknowledgement.
    Ping,
    /// A reliable packet.
    SendReliable {
        /// The packet.
        payload: &'a [u8],
    },
    /// An unreliable packet, that is dropped if a newer one came first.
    SendUnreliable {
        /// Its place among the unreliable packets since the last reliable one.
        unreliable_sequence: u16,
        /// The packet.
        payload: &'a [u8],
    },
    /// A part of a reliable packet.
    SendFragment(Fragment<'a>),
    /// An unreliable packet in no order.
    SendUnsequenced {
        /// Which one it is, among those of all channels.
        group: u16,
        /// The packet.
        payload: &'a [u8],
    },
    /// How fast the sender can receive and will send.
    BandwidthLimit {
        /// In bytes per second; 0 is no limit.
        incoming: u32,
        /// In bytes per second; 0 is no limit.
        outgoing: u32,
    },
    /// How the receiver is to throttle its unreliable packets.
    ThrottleConfigure(Throttle),
    /// A part of an unreliable packet.
    SendUnreliableFragment(Fragment<'a>),
}

impl<'a> Command<'a> {
    /// The command at the start of `bytes`, and what follows it.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] when the bytes end in the middle of it, [`Malformed::Kind`] when its number is
    /// 0 or above 12, [`Malformed::Payload`] when its payload goes on past the end. What ENet leaves to
    /// the state of the connection is not looked at.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(CommandHead, Self, &'a [u8]), Malformed> {
        let (view, rest) = CommandView::parse(bytes)?;
        Ok((view.head, view.command()?, rest))
    }

    /// The command of this kind that has these fields and this payload.
    pub(super) fn from_fields(
        kind: CommandKind,
        r: &mut Reader<'_>,
        payload: &'a [u8],
    ) -> Result<Self, Malformed> {
        Ok(match kind {
            CommandKind::Acknowledge => {
                let (sequence, sent_time) = (r.u16()?, r.u16()?);
                Self::Acknowledge { received_sequence: sequence, received_sent_time: sent_time }
            }
            CommandKind::Connect => {
                Self::Connect { parameters: Parameters::parse(r)?, data: r.u32()? }
            }
            CommandKind::VerifyConnect => Self::VerifyConnect { parameters: Parameters::parse(r)? },
            CommandKind::Disconnect => Self::Disconnect { data: r.u32()? },
            CommandKind::Ping => Self::Ping,
            CommandKind::SendReliable => Self::SendReliable { payload },
            CommandKind::SendUnreliable => {
                Self::SendUnreliable { unreliable_sequence: r.u16()?, payload }
            }
            CommandKind::SendUnsequenced => Self::SendUnsequenced { group: r.u16()?, payload },
            CommandKind::BandwidthLimit => {
                Self::BandwidthLimit { incoming: r.u32()?, outgoing: r.u32()? }
            }
            CommandKind::ThrottleConfigure => Self::ThrottleConfigure(Throttle::parse(r)?),
            CommandKind::SendFragment => Self::SendFragment(Fragment::parse(r, payload)?),
            CommandKind::SendUnreliableFragment => {
                Self::SendUnreliableFragment(Fragment::parse(r, payload)?)
            }
        })
    }

    /// What it is.
    #[inline]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Acknowledge { .. } => CommandKind::Acknowledge,
            Self::Connect { .. } => CommandKind::Connect,
            Self::VerifyConnect { .. } => CommandKind::VerifyConnect,
            Self::Disconnect { .. } => CommandKind::Disconnect,
            Self::Ping => CommandKind::Ping,
            Self::SendReliable { .. } => CommandKind::SendReliable,
            Self::SendUnreliable { .. } => CommandKind::SendUnreliable,
            Self::SendFragment(_) => CommandKind::SendFragment,
            Self::SendUnsequenced { .. } => CommandKind::SendUnsequenced,
            Self::BandwidthLimit { .. } => CommandKind::BandwidthLimit,
            Self::ThrottleConfigure(_) => CommandKind::ThrottleConfigure,
            Self::SendUnreliableFragment(_) => CommandKind::SendUnreliableFragment,
        }
    }

    /// What it carries; nothing if it is not of a kind that does.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::SendReliable { payload }
            | Self::SendUnreliable { payload, .. }
            | Self::SendUnsequenced { payload, .. } => payload,
            Self::SendFragment(fragment) | Self::SendUnreliableFragment(fragment) => {
                fragment.payload
            }
            _ => &[],
        }
    }

    /// Length on the wire, in bytes, payload included.
    #[inline]
    pub const fn wire_len(&self) -> usize {
        self.kind().fixed_len() + self.payload().len()
    }

    /// Appends the command with its payload.
    ///
    /// # Errors
    ///
    /// When it does not fit, or the payload is longer than 65,535 bytes. Then nothing is written.
    #[inline]
    pub fn emit(&self, head: CommandHead, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        let payload = self.payload();
        let len = u16::try_from(payload.len()).map_err(|_| NoRoom)?;
        w.whole(|w| {
            self.emit_fields(head, len, w)?;
            w.bytes(payload)
        })
    }

    /// Appends the command up to its payload, of which there are to follow `payload_len` bytes,
    /// whatever the command holds itself. Without a payload, the same as [`Self::emit`].
    ///
    /// # Errors
    ///
    /// When it does not fit. Then nothing is written.
    #[inline]
    pub fn emit_fixed(
        &self,
        head: CommandHead,
        payload_len: u16,
        w: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        w.whole(|w| self.emit_fields(head, payload_len, w))
    }

    #[inline]
    fn emit_fields(
        &self,
        head: CommandHead,
        payload_len: u16,
        w: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        let [h0, h1, h2, h3] = head.to_wire(self.kind());
        let [l0, l1] = payload_len.to_be_bytes();
        match *self {
            Self::Acknowledge { received_sequence: received, received_sent_time: sent } => {
                w.array(head.numbered(CommandKind::Acknowledge, received, sent))
            }
            Self::Ping => w.array([h0, h1, h2, h3]),
            Self::SendReliable { .. } => {
                let [h0, h1, h2, h3, l0, l1, ..] = head.reliable_bytes(payload_len);
                w.array([h0, h1, h2, h3, l0, l1])
            }
            Self::SendUnreliable { unreliable_sequence, .. } => {
                w.array(head.unreliable_bytes(unreliable_sequence, payload_len))
            }
            Self::SendUnsequenced { group, .. } => {
                w.array(head.unsequenced_bytes(group, payload_len))
            }
            Self::SendFragment(fragment) | Self::SendUnreliableFragment(fragment) => {
                let [s0, s1] = fragment.start_sequence.to_be_bytes();
                w.array([h0, h1, h2, h3, s0, s1, l0, l1])?;
                fragment.emit_numbers(w)
            }
            Self::Connect { parameters, data } => {
                w.array([h0, h1, h2, h3])?;
                parameters.emit(w)?;
                w.u32(data)
            }
            Self::VerifyConnect { parameters } => {
                w.array([h0, h1, h2, h3])?;
                parameters.emit(w)
            }
            Self::Disconnect { data } => {
                w.array([h0, h1, h2, h3])?;
                w.u32(data)
            }
            Self::BandwidthLimit { incoming, outgoing } => {
                w.array([h0, h1, h2, h3])?;
                w.u32(incoming)?;
                w.u32(outgoing)
            }
            Self::ThrottleConfigure(throttle) => {
                w.array([h0, h1, h2, h3])?;
                throttle.emit(w)
            }
        }
    }
}

impl Parameters {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            outgoing_peer_id: r.u16()?,
            incoming_session: r.u8()?,
            outgoing_session: r.u8()?,
            mtu: r.u32()?,
            window_size: r.u32()?,
            channel_count: r.u32()?,
            incoming_bandwidth: r.u32()?,
            outgoing_bandwidth: r.u32()?,
            throttle: Throttle::parse(r)?,
            connect_id: r.array()?,
        })
    }

    fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        w.u16(self.outgoing_peer_id)?;
        w.u8(self.incoming_session)?;
        w.u8(self.outgoing_session)?;
        w.u32(self.mtu)?;
        w.u32(self.window_size)?;
        w.u32(self.channel_count)?;
        w.u32(self.incoming_bandwidth)?;
        w.u32(self.outgoing_bandwidth)?;
        self.throttle.emit(w)?;
        w.array(self.connect_id)
    }
}

impl Throttle {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { interval: r.u32()?, acceleration: r.u32()?, deceleration: r.u32()? })
    }

    fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        w.u32(self.interval)?;
        w.u32(self.acceleration)?;
        w.u32(self.deceleration)
    }
}

impl<'a> Fragment<'a> {
    /// From the fields, of which the second is the length of the payload.
    fn parse(r: &mut Reader<'_>, payload: &'a [u8]) -> Result<Self, Malformed> {
        let (start_sequence, _) = (r.u16()?, r.u16()?);
        let (count, number, total, offset) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        Ok(Self { start_sequence, count, number, total, offset, payload })
    }

    /// All between the length and the payload.
    #[inline]
    fn emit_numbers(&self, w: &mut Writer<'_>) -> Result<(), NoRoom> {
        w.u32(self.count)?;
        w.u32(self.number)?;
        w.u32(self.total)?;
        w.u32(self.offset)
    }
}

#[cfg(test)]
mod tests;
