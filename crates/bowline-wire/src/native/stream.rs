//! Which stream of a channel (PROTOCOL.md, sections 2 and 3.7).

use crate::Malformed;

/// One of the streams that each channel has in each direction: one per reliable mode.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Stream {
    /// Of mode reliable: in the order sent.
    Reliable = 0,
    /// Of mode reliable-unordered: each message as soon as it is here.
    Unordered = 1,
    /// Of mode reliable-latest: of each key the newest.
    Latest = 2,
}

impl Stream {
    /// The stream that `byte` stands for in CREDIT and VOID.
    ///
    /// # Errors
    ///
    /// [`Malformed::Illegal`] where it stands for none.
    #[inline]
    pub const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Reliable),
            1 => Ok(Self::Unordered),
            2 => Ok(Self::Latest),
            _ => Err(Malformed::Illegal),
        }
    }

    /// The byte that stands for this stream.
    #[inline]
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether its messages are delivered whatever is missing before them: it travels in LOOSE frames.
    #[inline]
    pub const fn is_loose(self) -> bool {
        !matches!(self, Self::Reliable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_stand_for_streams() {
        let known = [Stream::Reliable, Stream::Unordered, Stream::Latest];
        assert_eq!(known.map(Stream::to_wire), [0, 1, 2]);
        assert_eq!(known.map(Stream::is_loose), [false, true, true]);
        for byte in 0..=u8::MAX {
            let stream = known.get(usize::from(byte)).copied();
            assert_eq!(Stream::from_wire(byte), stream.ok_or(Malformed::Illegal));
        }
    }
}
