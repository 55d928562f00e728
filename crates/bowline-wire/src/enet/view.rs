//! One command as it lies in a datagram.

use super::command::{ACKNOWLEDGE, UNSEQUENCED};
use super::{Command, CommandHead, CommandKind};
use crate::Malformed;
use crate::reader::Reader;

/// A command whose end is known and whose fields are not looked at yet: what a packet is read by without more.
#[derive(Clone, Copy, Debug)]
pub struct CommandView<'a> {
    /// What it begins with.
    pub head: CommandHead,
    /// What it is.
    pub kind: CommandKind,
    /// What is behind the head, of the length that the kind has.
    fields: &'a [u8],
    payload: &'a [u8],
}

impl<'a> CommandView<'a> {
    /// The command at the start of `bytes`, and what follows it.
    ///
    /// # Errors
    ///
    /// As for [`Command::parse`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let ([first, channel, sequence0, sequence1], rest) =
            bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        let head = CommandHead {
            acknowledge: first & ACKNOWLEDGE != 0,
            unsequenced: first & UNSEQUENCED != 0,
            channel: *channel,
            sequence: u16::from_be_bytes([*sequence0, *sequence1]),
        };
        let kind = CommandKind::from_wire(*first)?;
        let (fields, len, rest) = match kind {
            CommandKind::SendReliable => {
                let (fields, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Truncated)?;
                (fields.as_slice(), u16::from_be_bytes(*fields), rest)
            }
            CommandKind::SendUnreliable | CommandKind::SendUnsequenced => {
                let (fields, rest) = rest.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
                let [_, _, len0, len1] = *fields;
                (fields.as_slice(), u16::from_be_bytes([len0, len1]), rest)
            }
            CommandKind::Acknowledge => {
                let (fields, rest) = rest.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
                (fields.as_slice(), 0, rest)
            }
            _ => {
                let len = kind.fixed_len().saturating_sub(CommandHead::LEN);
                let (fields, rest) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
                let payload_len = match fields {
                    [_, _, len0, len1, ..] if kind.has_payload() => {
                        u16::from_be_bytes([*len0, *len1])
                    }
                    _ => 0,
                };
                (fields, payload_len, rest)
            }
        };
        let len = usize::from(len);
        let len = if cfg!(bowline_mutant = "cut_payload") { len.min(rest.len()) } else { len };
        let (payload, rest) = rest.split_at_checked(len).ok_or(Malformed::Payload)?;
        Ok((Self { head, kind, fields, payload }, rest))
    }

    /// What it carries; nothing if it is not of a kind that does.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The first two fields: of an ACKNOWLEDGE what was received and when it had been sent; of an unreliable packet its
    /// unreliable sequence number, of an unsequenced one its group. 0 where there is none.
    #[inline]
    pub const fn numbers(&self) -> [u16; 2] {
        match *self.fields {
            [a0, a1, b0, b1, ..] => [u16::from_be_bytes([a0, a1]), u16::from_be_bytes([b0, b1])],
            _ => [0; 2],
        }
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// None in a view that was parsed.
    pub fn command(&self) -> Result<Command<'a>, Malformed> {
        Command::from_fields(self.kind, &mut Reader(self.fields), self.payload)
    }
}

/// An ACKNOWLEDGE as hosts send it: without flags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlainAcknowledge {
    /// The channel of what was received.
    pub channel: u8,
    /// Its reliable sequence number.
    pub sequence: u16,
    /// When it had been sent, as its datagram said.
    pub sent_time: u16,
}

impl PlainAcknowledge {
    /// The one at the start of `bytes`, and what follows it; nothing if there is something else.
    #[inline(always)]
    pub const fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        const FIRST: u8 = CommandKind::Acknowledge.to_wire();
        let Some((command, rest)) = bytes.split_first_chunk() else { return None };
        let [FIRST, channel, _, _, sequence0, sequence1, time0, time1] = *command else {
            return None;
        };
        let sequence = u16::from_be_bytes([sequence0, sequence1]);
        let sent_time = u16::from_be_bytes([time0, time1]);
        Some((Self { channel, sequence, sent_time }, rest))
    }
}

/// A SEND_RELIABLE, SEND_UNRELIABLE or SEND_UNSEQUENCED as hosts send it: with the flags that its kind has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlainPacket<'a> {
    /// Which of the three it is.
    pub kind: CommandKind,
    /// The channel.
    pub channel: u8,
    /// The reliable sequence number.
    pub sequence: u16,
    /// The unreliable one, or the unsequenced group; 0 if it is reliable.
    pub unreliable: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> PlainPacket<'a> {
    /// The one at the start of `bytes`, and what follows it; nothing if there is something else, or not all of it.
    #[inline(always)]
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        const RELIABLE: u8 = CommandKind::SendReliable.to_wire() | ACKNOWLEDGE;
        const UNRELIABLE: u8 = CommandKind::SendUnreliable.to_wire();
        const PLAIN_UNSEQUENCED: u8 = CommandKind::SendUnsequenced.to_wire() | UNSEQUENCED;
        let ([first, channel, sequence0, sequence1, number0, number1], rest) =
            bytes.split_first_chunk()?;
        let number = u16::from_be_bytes([*number0, *number1]);
        let (kind, unreliable, len, rest) = match *first {
            RELIABLE => (CommandKind::SendReliable, 0, number, rest),
            UNRELIABLE | PLAIN_UNSEQUENCED => {
                let (len, rest) = rest.split_first_chunk()?;
                let kind = match *first {
                    UNRELIABLE => CommandKind::SendUnreliable,
                    _ => CommandKind::SendUnsequenced,
                };
                (kind, number, u16::from_be_bytes(*len), rest)
            }
            _ => return None,
        };
        let (payload, rest) = rest.split_at_checked(len.into())?;
        let sequence = u16::from_be_bytes([*sequence0, *sequence1]);
        Some((Self { kind, channel: *channel, sequence, unreliable, payload }, rest))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is read as plain is what the view of any command says, and leaves the same.
        #[test]
        fn the_plain_ones_are_read_as_any_other(
            first in prop::sample::select(&[1u8, 0x81, 7, 0x47, 0x86, 6, 0x49, 9, 8, 0]),
            mut bytes in prop::collection::vec(any::<u8>(), 0..40),
            len in 0..40u16,
        ) {
            // Some lengths that fit, where a length is.
            for at in [3, 5] {
                if let Some(place) = bytes.get_mut(at..at + 2) {
                    place.copy_from_slice(&len.to_be_bytes());
                }
            }
            let bytes: Vec<u8> = core::iter::once(first).chain(bytes).collect();
            let any = CommandView::parse(&bytes);
            if let Some((plain, rest)) = PlainAcknowledge::split(&bytes) {
                let (view, left) = any.unwrap();
                prop_assert_eq!((view.kind, rest), (CommandKind::Acknowledge, left));
                prop_assert!(!view.head.acknowledge && !view.head.unsequenced);
                prop_assert_eq!(plain.channel, view.head.channel);
                prop_assert_eq!([plain.sequence, plain.sent_time], view.numbers());
            } else if let Some((plain, rest)) = PlainPacket::split(&bytes) {
                let (view, left) = any.unwrap();
                prop_assert_eq!((plain.kind, rest), (view.kind, left));
                prop_assert_eq!(view.head.acknowledge, plain.kind == CommandKind::SendReliable);
                prop_assert_eq!(view.head.unsequenced, plain.kind == CommandKind::SendUnsequenced);
                prop_assert_eq!((plain.channel, plain.sequence), (view.head.channel, view.head.sequence));
                prop_assert_eq!(plain.unreliable, view.numbers()[0]);
                prop_assert_eq!(plain.payload, view.payload());
            } else if let Ok((view, _)) = any {
                let plain = [1, 7, 0x86, 0x49];
                prop_assert!(!plain.contains(&first), "{:?} is plain", view.kind);
            }
        }
    }
}
