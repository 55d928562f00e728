//! What the scripted peers of all languages send each other, and how it is put on ENet.

use sha2::{Digest, Sha256};

/// How a message is to arrive, numbered as in Godot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Perhaps, in any order.
    Unreliable = 0,
    /// Perhaps, never after a later one.
    Ordered = 1,
    /// Once, in order.
    Reliable = 2,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unreliable, Self::Ordered, Self::Reliable];

    /// The mode of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| *mode as u64 == number)
    }
}

/// The content of the message that a script describes by length, seed and stride.
///
/// Its first byte is the seed, and below 128 if the message is reliable. The smaller the stride, the
/// better it can be compressed.
pub fn content(len: usize, seed: u8, stride: usize) -> Vec<u8> {
    (0..len).map(|i| (i * stride + (i >> 8) * 31 + usize::from(seed)) as u8).collect()
}

/// SHA-256 in hexadecimal digits.
pub fn sha(bytes: &[u8]) -> String {
    crate::subject::hex(&Sha256::digest(bytes))
}

/// How messages become ENet's packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer {
    /// Nothing between: channels are ENet's.
    Raw,
    /// As Godot 3 does it: a header with source and target, three channels for itself.
    Godot3,
    /// As Godot 4 does it: its channel 0 is two of ENet's.
    Godot4,
}

/// A message and how it was sent, as far as the receiver knows: Godot 3 does not tell the mode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// The game's channel.
    pub channel: u8,
    /// How it was to arrive.
    pub mode: Option<Mode>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

const RELIABLE: u32 = 1;
const UNSEQUENCED: u32 = 2;
const UNRELIABLE_FRAGMENT: u32 = 8;

impl Layer {
    /// The name in scripts' command lines.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "g3" => Some(Self::Godot3),
            "g4" => Some(Self::Godot4),
            _ => None,
        }
    }

    /// ENet's channel, flags and packet for a message of the peer `source`.
    pub fn wrap(self, source: u32, channel: u8, mode: Mode, bytes: Vec<u8>) -> (u8, u32, Vec<u8>) {
        let flags = match (self, mode) {
            (_, Mode::Reliable) => RELIABLE,
            (Self::Godot3, Mode::Ordered) => 0,
            (Self::Godot3, Mode::Unreliable) => UNSEQUENCED,
            (_, Mode::Ordered) => UNRELIABLE_FRAGMENT,
            (_, Mode::Unreliable) => UNSEQUENCED | UNRELIABLE_FRAGMENT,
        };
        match (self, channel, mode) {
            (Self::Raw, channel, _) => (channel, flags, bytes),
            (Self::Godot4, 0, Mode::Reliable) => (0, flags, bytes),
            (Self::Godot4, channel, _) => (channel + 1, flags, bytes),
            (Self::Godot3, channel, mode) => {
                let first = if mode == Mode::Reliable { 1 } else { 2 };
                let channel = if channel == 0 { first } else { channel + 2 };
                // To everyone from the server, to the server from everyone.
                let target = u32::from(source != 1);
                let mut packet = source.to_le_bytes().to_vec();
                packet.extend(target.to_le_bytes());
                packet.extend(bytes);
                (channel, flags, packet)
            }
        }
    }

    /// The message in a packet, if it is one.
    pub fn unwrap(self, channel: u8, flags: u32, bytes: Vec<u8>) -> Option<Message> {
        let mode = Some(if flags & RELIABLE != 0 {
            Mode::Reliable
        } else if flags & UNSEQUENCED != 0 {
            Mode::Unreliable
        } else {
            Mode::Ordered
        });
        Some(match self {
            Self::Raw => Message { channel, mode, bytes },
            Self::Godot4 => Message { channel: channel.saturating_sub(1), mode, bytes },
            Self::Godot3 => {
                if channel == 0 {
                    return None;
                }
                let (_, bytes) = bytes.split_at_checked(8)?;
                Message { channel: channel.saturating_sub(2), mode, bytes: bytes.to_vec() }
            }
        })
    }
}
