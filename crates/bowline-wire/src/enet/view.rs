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
