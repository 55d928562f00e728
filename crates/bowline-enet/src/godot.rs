//! How Godot uses ENet: which channels and flags its transfer modes take, and who a peer is.
//!
//! | Godot | mode | ENet channel, 4.x | 3.x | flags |
//! |---|---|---|---|---|
//! | channel 0 | reliable | 0 | 1 | reliable |
//! | channel 0 | unreliable-ordered | 1 | 2 | none, unreliable fragments |
//! | channel 0 | unreliable | 1 | 2 | unsequenced, unreliable fragments |
//! | channel n, from 1 on | all | n + 1 | n, from 3 on | as above |
//!
//! So channel 0 is two channels on the wire, and what is unreliable there never waits for what is reliable; on all other
//! channels it does. Channel 0 of ENet is 3.x's own, for who has come and gone: nothing is sent there, and what
//! comes there is told with [`Packet::is_config`]. What packets hold above ENet (in 3.x a header of 8 bytes) is
//! left to the application.

use bowline_core::{
    Address, BufferTooShort, CancelError, ChannelId, CloseReason, DropReason, Event, Incoming,
    IncomingChunks, Instant, Machine, Messages, Mode, Outgoing, PeerId, Received, SendError, Tag,
    Transmit,
};

use crate::compression::{Compression, Uncompressed};
use crate::connect::ConnectError;
use crate::flags::Flags;
use crate::host::Host;
use crate::storage::Storage;

/// Godot's number of the server.
pub const SERVER: u32 = 1;
/// The channel on which servers of 3.x tell who has come and gone.
const CONFIG: u8 = 0;

/// Releases of Godot that differ in how they use ENet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Series {
    /// Up to 3.5: what is too long for a datagram is sent reliably, in whatever mode. With `always_ordered`
    /// what is unreliable keeps its order.
    Three {
        /// The peer's setting of this name.
        always_ordered: bool,
    },
    /// 3.6: as before, but what is unreliable stays so.
    ThreeSix {
        /// The peer's setting of this name.
        always_ordered: bool,
    },
    /// 4.x.
    Four,
}

impl Series {
    /// The ENet channel and flags for a message on one of Godot's channels. None if there are no such: of the modes ENet
    /// has three, and 3.x has no channels 1 and 2 besides those of channel 0.
    pub const fn outgoing(self, channel: ChannelId, mode: Mode) -> Option<(ChannelId, Flags)> {
        let Some(flags) = self.flags(mode) else { return None };
        let is_reliable = matches!(mode, Mode::Reliable);
        let channel = match (self, channel.0) {
            (_, 255) | (Self::Four, 254) => return None,
            (Self::Four, 0) => !is_reliable as u8,
            (Self::Four, channel) => channel + 1,
            (_, 0) => 1 + !is_reliable as u8,
            (_, 1 | 2) => return None,
            (_, channel) => channel,
        };
        Some((ChannelId(channel), flags))
    }

    const fn flags(self, mode: Mode) -> Option<Flags> {
        let Some(flags) = Flags::of_mode(mode) else { return None };
        Some(match (self, mode) {
            (Self::Four, _) | (_, Mode::Reliable) => flags,
            (Self::Three { always_ordered: true }, _)
            | (Self::Three { .. }, Mode::UnreliableOrdered) => Flags::NONE,
            (Self::Three { .. }, _) => Flags::UNSEQUENCED,
            (Self::ThreeSix { always_ordered: true }, _) => Flags::UNRELIABLE_FRAGMENT,
            (Self::ThreeSix { .. }, _) => flags,
        })
    }

    /// Godot's channel for what came on a channel of ENet. None for the one that 3.x keeps for itself.
    pub const fn incoming(self, channel: ChannelId) -> Option<ChannelId> {
        match (self, channel.0) {
            (Self::Four, 0 | 1) => Some(ChannelId(0)),
            (Self::Four, channel) => Some(ChannelId(channel - 1)),
            (_, CONFIG) => None,
            (_, 1 | 2) => Some(ChannelId(0)),
            (_, channel) => Some(ChannelId(channel)),
        }
    }

    /// Channels of ENet that are needed for Godot's channels 0 to `highest`.
    pub const fn channels(self, highest: u8) -> u8 {
        match self {
            Self::Four if highest < 254 => highest + 2,
            Self::Four => 255,
            _ if highest < 3 => 3,
            _ if highest < 255 => highest + 1,
            _ => 255,
        }
    }
}

/// Whether a client may have this number: above the server's, and positive as Godot counts.
pub const fn is_client_number(number: u32) -> bool {
    number > SERVER && number <= i32::MAX as u32
}

/// A number for a client, made of random bits: in `2..=2147483647`.
pub const fn client_number(random: u64) -> u32 {
    (random % (i32::MAX as u64 - 1)) as u32 + 2
}

/// A [`Host`] whose channels, modes and peers are Godot's.
///
/// A server lets nobody in whose number no client may have, or that a client has already; Godot's servers let such
/// a client wait for 31.5 seconds, this one tells it.
#[derive(Debug)]
pub struct Godot<S, C = Uncompressed> {
    host: Host<S, C>,
    series: Series,
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Godot's channel, unless it came on the one that 3.x keeps for itself.
    pub channel: Option<ChannelId>,
    /// How it came: a long one may have been sent otherwise.
    pub mode: Mode,
    /// Its bytes.
    pub chunks: IncomingChunks<'a>,
}

impl Packet<'_> {
    /// Whether it tells who has come or gone, which servers of 3.x do.
    pub const fn is_config(&self) -> bool {
        self.channel.is_none()
    }
}

impl<S: Storage, C: Compression> Godot<S, C> {
    /// A host that others take for Godot of this series.
    pub const fn new(host: Host<S, C>, series: Series) -> Self {
        Self { host, series }
    }

    /// The host.
    pub const fn host(&mut self) -> &mut Host<S, C> {
        &mut self.host
    }

    /// Asks the server at `to` for a connection, as the client `number` ([`client_number`]), with Godot's channels 0 to
    /// `highest`.
    ///
    /// # Errors
    ///
    /// As [`Host::connect`].
    pub fn connect(
        &mut self,
        now: Instant,
        to: Address,
        highest: u8,
        number: u32,
    ) -> Result<PeerId, ConnectError> {
        self.host.connect(now, to, self.series.channels(highest), number)
    }

    /// Godot's number of a peer that is connected: 1 is the server.
    pub fn number(&mut self, peer: PeerId) -> Option<u32> {
        if self.host.is_incoming(peer)? { self.host.connect_data(peer) } else { Some(SERVER) }
    }

    /// The next packet of a peer; [`Messages::recv`] passes over those of 3.x's own.
    pub fn receive_packet(&mut self, from: PeerId) -> Option<Packet<'_>> {
        let series = self.series;
        let packet = self.host.receive_packet(from)?;
        Some(Packet {
            channel: series.incoming(packet.channel),
            mode: packet.flags.mode(),
            chunks: packet.chunks,
        })
    }

    /// Whether somebody who has just connected may stay.
    fn admits(&mut self, peer: PeerId) -> bool {
        match self.number(peer) {
            Some(SERVER) if self.host.is_incoming(peer) == Some(false) => true,
            Some(number) => {
                is_client_number(number) && !self.host.has_other_with_data(peer, number)
            }
            None => false,
        }
    }
}

impl<S: Storage, C: Compression> Machine for Godot<S, C> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        self.host.handle_datagram(now, from, datagram)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        self.host.poll_transmit(now, buf)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.host.poll_timeout()
    }
}

impl<S: Storage, C: Compression> Messages for Godot<S, C> {
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        let path = self.series.outgoing(message.channel, message.mode);
        let (channel, flags) = path.filter(|_| message.is_plain()).ok_or(SendError::Unsupported)?;
        self.host.send_packet(now, to, channel, flags, message.pieces)
    }

    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError> {
        self.host.cancel(to, tag)
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.host.poll_event()? {
                Event::Connected(peer) if !self.admits(peer) => {
                    let now = self.host.now();
                    // It was there a moment ago.
                    let _ = self.host.disconnect_now(now, peer, 0);
                }
                event => return Some(event),
            }
        }
    }

    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        // What 3.x keeps for itself is looked for first, since a packet that is lent cannot be given back.
        while self.host.next_channel(from).is_some_and(|next| self.series.incoming(next).is_none())
        {
            self.host.receive_packet(from);
        }
        let packet = self.receive_packet(from)?;
        Some(Incoming::new(packet.channel?, packet.mode, packet.chunks))
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        self.host.close(now, peer, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Series = Series::Three { always_ordered: false };

    /// `GODOT-WIRE.md`, sections 3 and 6.1: as captured from 4.6.3 and 3.2.3.
    #[test]
    fn channels_and_flags_are_those_of_the_engine() {
        let four = |channel, mode| {
            let (channel, flags) = Series::Four.outgoing(ChannelId(channel), mode).unwrap();
            (channel.0, flags.bits())
        };
        assert_eq!(four(0, Mode::Reliable), (0, 1));
        assert_eq!(four(0, Mode::UnreliableOrdered), (1, 8));
        assert_eq!(four(0, Mode::Unreliable), (1, 2 | 8));
        assert_eq!(four(5, Mode::Reliable), (6, 1));
        assert_eq!(four(5, Mode::Unreliable), (6, 2 | 8));
        let three = |channel, mode| {
            let (channel, flags) = THREE.outgoing(ChannelId(channel), mode).unwrap();
            (channel.0, flags.bits())
        };
        assert_eq!(three(0, Mode::Reliable), (1, 1));
        assert_eq!(three(0, Mode::UnreliableOrdered), (2, 0));
        assert_eq!(three(0, Mode::Unreliable), (2, 2));
        assert_eq!(three(4, Mode::Reliable), (4, 1));
        assert_eq!(THREE.outgoing(ChannelId(1), Mode::Reliable), None);
        assert_eq!(Series::Four.outgoing(ChannelId(0), Mode::ReliableLatest), None);
    }

    #[test]
    fn what_is_sent_on_a_channel_is_received_on_it() {
        for series in [THREE, Series::ThreeSix { always_ordered: true }, Series::Four] {
            for channel in (0..=255).map(ChannelId) {
                for mode in Mode::GODOT {
                    let Some((there, _)) = series.outgoing(channel, mode) else { continue };
                    assert_eq!(series.incoming(there), Some(channel), "{series:?}");
                    assert!(there.0 < series.channels(channel.0), "{series:?} {channel:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_of_clients_are_what_godot_takes() {
        assert!(![0, 1, 0x8000_0000, u32::MAX].into_iter().any(is_client_number));
        assert!([2, 0x7FFF_FFFF].into_iter().all(is_client_number));
        for random in [0, 1, u64::MAX, i32::MAX as u64 - 2, i32::MAX as u64 - 1] {
            assert!(is_client_number(client_number(random)));
        }
    }
}
