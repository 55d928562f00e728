//! The kinds of commands.

use crate::Malformed;

/// What a command is, by its number on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum CommandKind {
    /// Another command has arrived.
    Acknowledge = 1,
    /// Asks for a connection.
    Connect = 2,
    /// Grants it.
    VerifyConnect = 3,
    /// Ends it.
    Disconnect = 4,
    /// Asks for an acknowledgement, no more.
    Ping = 5,
    /// A reliable packet.
    SendReliable = 6,
    /// An unreliable packet, in order.
    SendUnreliable = 7,
    /// A part of a reliable packet.
    SendFragment = 8,
    /// An unreliable packet in no order.
    SendUnsequenced = 9,
    /// How fast the sender can receive and will send.
    BandwidthLimit = 10,
    /// How the receiver is to throttle its unreliable packets.
    ThrottleConfigure = 11,
    /// A part of an unreliable packet.
    SendUnreliableFragment = 12,
}

/// The bits of a command's first byte that are its number.
const NUMBER: u8 = 0x0F;

impl CommandKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Acknowledge,
        Self::Connect,
        Self::VerifyConnect,
        Self::Disconnect,
        Self::Ping,
        Self::SendReliable,
        Self::SendUnreliable,
        Self::SendFragment,
        Self::SendUnsequenced,
        Self::BandwidthLimit,
        Self::ThrottleConfigure,
        Self::SendUnreliableFragment,
    ];

    /// The kind whose number is in the low 4 bits of `byte`, the first of a command.
    ///
    /// # Errors
    ///
    /// [`Malformed::Kind`] for 0, and above 12.
    #[inline]
    pub const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        Ok(match byte & NUMBER {
            1 => Self::Acknowledge,
            2 => Self::Connect,
            3 => Self::VerifyConnect,
            4 => Self::Disconnect,
            5 => Self::Ping,
            6 => Self::SendReliable,
            7 => Self::SendUnreliable,
            8 => Self::SendFragment,
            9 => Self::SendUnsequenced,
            10 => Self::BandwidthLimit,
            11 => Self::ThrottleConfigure,
            12 => Self::SendUnreliableFragment,
            _ => return Err(Malformed::Kind),
        })
    }

    /// Its number, in `1..=12`.
    #[inline]
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Length on the wire, in bytes, without a payload.
    #[inline]
    pub const fn fixed_len(self) -> usize {
        match self {
            Self::Ping => 4,
            Self::SendReliable => 6,
            Self::Acknowledge | Self::Disconnect | Self::SendUnreliable | Self::SendUnsequenced => {
                8
            }
            Self::BandwidthLimit => 12,
            Self::ThrottleConfigure => 16,
            Self::SendFragment | Self::SendUnreliableFragment => 24,
            Self::VerifyConnect => 44,
            Self::Connect => 48,
        }
    }

    /// Whether a payload follows.
    #[inline]
    pub const fn has_payload(self) -> bool {
        matches!(
            self,
            Self::SendReliable
                | Self::SendUnreliable
                | Self::SendFragment
                | Self::SendUnsequenced
                | Self::SendUnreliableFragment
        )
    }
}

impl core::fmt::Display for CommandKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Acknowledge => "ACKNOWLEDGE",
            Self::Connect => "CONNECT",
            Self::VerifyConnect => "VERIFY_CONNECT",
            Self::Disconnect => "DISCONNECT",
            Self::Ping => "PING",
            Self::SendReliable => "SEND_RELIABLE",
            Self::SendUnreliable => "SEND_UNRELIABLE",
            Self::SendFragment => "SEND_FRAGMENT",
            Self::SendUnsequenced => "SEND_UNSEQUENCED",
            Self::BandwidthLimit => "BANDWIDTH_LIMIT",
            Self::ThrottleConfigure => "THROTTLE_CONFIGURE",
            Self::SendUnreliableFragment => "SEND_UNRELIABLE_FRAGMENT",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_0_and_above_12_are_none() {
        for byte in 0..=u8::MAX {
            let kind = CommandKind::from_wire(byte);
            match byte & 0x0F {
                0 | 13.. => assert_eq!(kind, Err(Malformed::Kind)),
                number => {
                    assert_eq!(kind, Ok(CommandKind::ALL[usize::from(number) - 1]));
                    assert_eq!(kind.unwrap().to_wire(), number);
                }
            }
        }
    }
}
