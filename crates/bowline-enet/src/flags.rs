//! How a packet is sent, as ENet tells it.

use bowline_core::Mode;
use bowline_wire::enet::CommandKind;

/// A set of ENet's packet flags, with its values.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flags(u8);

impl Flags {
    /// Unreliable, in order: ENet's default.
    pub const NONE: Self = Self(0);
    /// Resent until acknowledged, in order.
    pub const RELIABLE: Self = Self(1);
    /// Unreliable, in no order. Without effect beside [`Self::RELIABLE`].
    pub const UNSEQUENCED: Self = Self(2);
    /// If it must be sent in fragments, these are unreliable; without this flag they are reliable.
    pub const UNRELIABLE_FRAGMENT: Self = Self(8);

    /// From ENet's bits; those without a meaning on the wire are left out.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits as u8 & (1 | 2 | 8))
    }

    /// ENet's bits.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags that keep what `mode` promises; ENet has three modes.
    pub const fn of_mode(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Unreliable => Some(Self::UNSEQUENCED.with(Self::UNRELIABLE_FRAGMENT)),
            Mode::UnreliableOrdered => Some(Self::UNRELIABLE_FRAGMENT),
            Mode::Reliable => Some(Self::RELIABLE),
            _ => None,
        }
    }

    /// In which command a packet with these flags goes that needs not be cut, its channel having run out of
    /// unreliable numbers or not.
    #[inline]
    pub(crate) const fn kind(self, is_worn: bool) -> CommandKind {
        let is_reliable = self.contains(Self::RELIABLE);
        if self.contains(Self::UNSEQUENCED) && !is_reliable {
            CommandKind::SendUnsequenced
        } else if is_reliable || is_worn {
            CommandKind::SendReliable
        } else {
            CommandKind::SendUnreliable
        }
    }

    /// The mode in which a packet with these flags was received.
    pub const fn mode(self) -> Mode {
        if self.contains(Self::RELIABLE) {
            Mode::Reliable
        } else if self.contains(Self::UNSEQUENCED) {
            Mode::Unreliable
        } else {
            Mode::UnreliableOrdered
        }
    }
}
