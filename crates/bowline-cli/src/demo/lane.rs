//! Who speaks to whom, where, and how.

use core::fmt;

use bowline::{ChannelId, Mode};

/// How many channels the demonstration uses: one for small messages only; one for messages of all
/// sizes, some of which have a time to live or are withdrawn; one with bulk besides.
pub(super) const CHANNELS: usize = 3;

/// All modes there are.
pub(super) const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableOrdered,
    Mode::Reliable,
    Mode::ReliableUnordered,
    Mode::ReliableLatest,
];

/// Which way a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    pub(super) fn reversed(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// A channel in one mode: what a line of the report is about, over all clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lane {
    pub(super) mode: Mode,
    pub(super) channel: ChannelId,
}

impl Lane {
    pub(super) const COUNT: usize = MODES.len() * CHANNELS;

    pub(super) fn new(mode: Mode, channel: u8) -> Self {
        Self { mode, channel: ChannelId(channel) }
    }

    /// All of them, mode by mode.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let channels = |mode| (0..CHANNELS as u8).map(move |channel| Self::new(mode, channel));
        MODES.into_iter().flat_map(channels)
    }

    /// The one whose place is `index`.
    pub(super) fn at(index: usize) -> Option<Self> {
        Self::all().nth(index)
    }

    /// Its place among [`Self::all`]; none for a channel or mode that nobody sends on.
    pub(super) fn index(self) -> Option<usize> {
        let channel = usize::from(self.channel.0);
        let mode = self.mode as usize;
        (channel < CHANNELS && mode < MODES.len()).then_some(mode * CHANNELS + channel)
    }
}

/// One client's lane in one direction: the ordering domain that promises are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stream {
    pub(super) client: usize,
    pub(super) direction: Direction,
    pub(super) lane: Lane,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, direction, lane: Lane { mode, channel } } = self;
        match direction {
            Direction::ToServer => write!(f, "client {client} to server")?,
            Direction::ToClient => write!(f, "server to client {client}")?,
        }
        write!(f, ", channel {}, {mode}", channel.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_place_of_its_own_and_strangers_have_none() {
        let places: Vec<_> = Lane::all().map(|lane| lane.index()).collect();
        assert_eq!(places, (0..Lane::COUNT).map(Some).collect::<Vec<_>>());
        assert!((0..Lane::COUNT).map(Lane::at).eq(Lane::all().map(Some)));
        assert_eq!(Lane::new(Mode::Reliable, CHANNELS as u8).index(), None);
        assert_eq!(Lane::at(Lane::COUNT), None);
    }
}
