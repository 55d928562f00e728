//! Why bytes are not a datagram of ours.

use bowline_core::DropReason;

/// Why bytes were not taken. A native datagram they came in is dropped whole; of one of ENet, the commands
/// before them stay good.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// The bytes end in the middle of a field.
    Truncated,
    /// A varint longer than necessary, or with a first byte that is not used.
    Varint,
    /// A bit is set that must not be, or not set that must be.
    Reserved,
    /// No datagram or frame is of this kind.
    Kind,
    /// A field has a value that nobody may send.
    Illegal,
    /// A frame without data, or a packet without frames and ack block.
    Empty,
    /// Prefixed messages do not end where their frame ends.
    Messages,
    /// A payload goes on past the end of its datagram.
    Payload,
    /// There are bytes left after the last field.
    Trailing,
    /// An acknowledged number is below 0.
    Underflow,
    /// A second unreliable-ordered frame of the same channel in one packet.
    Repeated,
    /// The checksum is of other bytes.
    Checksum,
    /// Of a version that is not spoken here.
    Version,
}

impl Malformed {
    /// The counter under which the dropped datagram belongs.
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::Truncated | Self::Payload => DropReason::Truncated,
            Self::Checksum => DropReason::Corrupt,
            Self::Version => DropReason::UnknownVersion,
            _ => DropReason::Malformed,
        }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends in the middle of a field",
            Self::Varint => "varint not in its shortest form",
            Self::Reserved => "reserved bit",
            Self::Kind => "unknown kind",
            Self::Illegal => "value out of range",
            Self::Empty => "nothing in it",
            Self::Messages => "messages do not fill their frame",
            Self::Payload => "payload past the end",
            Self::Trailing => "bytes after the end",
            Self::Underflow => "acknowledges a number below 0",
            Self::Repeated => "second unreliable-ordered frame of a channel",
            Self::Checksum => "wrong checksum",
            Self::Version => "unknown version",
        })
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_counter() {
        assert_eq!(Malformed::Truncated.drop_reason(), DropReason::Truncated);
        assert_eq!(Malformed::Checksum.drop_reason(), DropReason::Corrupt);
        assert_eq!(Malformed::Version.drop_reason(), DropReason::UnknownVersion);
        assert_eq!(Malformed::Illegal.drop_reason(), DropReason::Malformed);
    }
}
