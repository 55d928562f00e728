//! What the bytes on the wire were for.
//!
//! The datagrams of a plain session can be read by anybody who has the specification. So the relay
//! books every byte that an endpoint sends: data frames (their heads included, and again when they
//! are sent again) to the lane they carry, everything else to what it is.

use bowline::Mode;
use bowline_wire::native::{AckBlock, Frame, PacketHead, TRAILER_LEN, frames, is_session};

use super::contents::TAG_LEN;
use super::lane::Lane;

/// Length of the connection ids in use, in bytes.
const CONNECTION_ID_LEN: u8 = 4;

/// Bytes by purpose. The sum of all is what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    lanes: [u64; Lane::COUNT],
    /// Flags, connection ids, packet numbers.
    pub(super) heads: u64,
    pub(super) acks: u64,
    pub(super) trailers: u64,
    /// Frames that carry no message.
    pub(super) control: u64,
    pub(super) handshakes: u64,
    /// What could not be read.
    pub(super) unknown: u64,
}

/// A message was spread over this many datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Spreading {
    pub(super) lane: Lane,
    pub(super) tag: [u8; TAG_LEN],
    pub(super) datagrams: u16,
}

/// Reads one direction of one session.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) traffic: Traffic,
    /// Messages whose fragments are coming past.
    open: Vec<(u16, Spreading)>,
    /// Messages whose last fragment has come past.
    pub(super) spread: Vec<Spreading>,
}

impl Traffic {
    /// Bytes of frames that carried messages of this lane.
    pub(super) fn lane(&self, lane: Lane) -> u64 {
        lane.index().and_then(|index| self.lanes.get(index)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.lanes.iter_mut().zip(other.lanes).for_each(|(sum, other)| *sum += other);
        self.heads += other.heads;
        self.acks += other.acks;
        self.trailers += other.trailers;
        self.control += other.control;
        self.handshakes += other.handshakes;
        self.unknown += other.unknown;
    }
}

impl Reader {
    pub(super) fn on_datagram(&mut self, datagram: &[u8]) {
        self.traffic.datagrams += 1;
        self.traffic.bytes += datagram.len() as u64;
        if !datagram.first().is_some_and(|first| is_session(*first)) {
            self.traffic.handshakes += datagram.len() as u64;
        } else if self.on_packet(datagram).is_none() {
            self.traffic.unknown += datagram.len() as u64;
        }
    }

    fn on_packet(&mut self, datagram: &[u8]) -> Option<()> {
        let (packet, trailer) =
            datagram.split_at_checked(datagram.len().checked_sub(TRAILER_LEN)?)?;
        let (head, rest) = PacketHead::parse(packet, CONNECTION_ID_LEN).ok()?;
        let (_, all) = AckBlock::parse(head.ack, rest).ok()?;
        // All or nothing, so that the sum is right.
        frames(all).all(|frame| frame.is_ok()).then_some(())?;
        self.traffic.trailers += trailer.len() as u64;
        self.traffic.heads += (packet.len() - rest.len()) as u64;
        self.traffic.acks += (rest.len() - all.len()) as u64;
        let mut frames = frames(all);
        let mut before = all.len();
        while let Some(Ok(frame)) = frames.next() {
            let after = frames.rest().len();
            self.on_frame(&frame, (before - after) as u64);
            before = after;
        }
        Some(())
    }

    fn on_frame(&mut self, frame: &Frame<'_>, len: u64) {
        let place = lane(frame).and_then(Lane::index);
        match place.and_then(|place| self.traffic.lanes.get_mut(place)) {
            Some(bytes) => *bytes += len,
            None => self.traffic.control += len,
        }
        if let (Frame::Fragment { id, offset, total, data, .. }, Some(lane)) = (frame, lane(frame))
        {
            self.on_fragment(lane, *id, *offset, *total, data);
        }
    }

    /// Fragments of a message come in order, each in a datagram of its own.
    fn on_fragment(&mut self, lane: Lane, id: u16, offset: u32, total: u32, data: &[u8]) {
        let is_it = |(open, spreading): &(u16, Spreading)| *open == id && spreading.lane == lane;
        if offset == 0 {
            let Some(tag) = data.first_chunk().copied() else { return };
            self.open.retain(|(_, spreading)| spreading.lane != lane);
            self.open.push((id, Spreading { lane, tag, datagrams: 0 }));
        }
        let Some(at) = self.open.iter().position(is_it) else { return };
        if let Some((_, spreading)) = self.open.get_mut(at) {
            spreading.datagrams += 1;
        }
        if offset as usize + data.len() >= total as usize {
            self.spread.push(self.open.swap_remove(at).1);
        }
    }
}

fn lane(frame: &Frame<'_>) -> Option<Lane> {
    let mode = |ordered| if ordered { Mode::UnreliableOrdered } else { Mode::Unreliable };
    match *frame {
        Frame::Unreliable { channel, ordered, .. } | Frame::Fragment { channel, ordered, .. } => {
            Some(Lane::new(mode(ordered), channel))
        }
        Frame::Reliable { channel, .. } => Some(Lane::new(Mode::Reliable, channel)),
        Frame::Loose { channel, latest: false, .. } => {
            Some(Lane::new(Mode::ReliableUnordered, channel))
        }
        Frame::Loose { channel, latest: true, .. } => {
            Some(Lane::new(Mode::ReliableLatest, channel))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bowline_wire::Writer;
    use bowline_wire::native::{AckForm, Offset};

    use super::*;

    fn packet(all: &[Frame<'_>]) -> Vec<u8> {
        let mut buf = [0; 600];
        let mut writer = Writer::new(&mut buf);
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: 7,
            number_len: 1,
            number_low: 9,
        };
        head.emit(CONNECTION_ID_LEN, &mut writer).unwrap();
        for (at, frame) in all.iter().enumerate() {
            frame.emit(at + 1 == all.len(), &mut writer).unwrap();
        }
        let len = writer.len() + TRAILER_LEN;
        buf[..len].to_vec()
    }

    fn fragment(id: u16, offset: u32, data: &[u8]) -> Frame<'_> {
        Frame::Fragment { channel: 2, ordered: false, id, offset, total: 1000, data }
    }

    #[test]
    fn every_byte_has_one_purpose() {
        let messages = [3, 1, 2, 3];
        let reliable = Frame::Reliable { channel: 1, offset: Offset::Short(0), data: &[0; 30] };
        let unreliable = Frame::Unreliable { channel: 0, ordered: true, messages: &messages };
        let mut reader = Reader::default();
        reader.on_datagram(&packet(&[Frame::Ping, unreliable, reliable]));
        reader.on_datagram(&[1, 1, 0]);
        reader.on_datagram(&[0x80, 0, 0]);
        let traffic = reader.traffic;
        assert_eq!(traffic.lane(Lane::new(Mode::UnreliableOrdered, 0)), 1 + 1 + 4);
        assert_eq!(traffic.lane(Lane::new(Mode::Reliable, 1)), 1 + 1 + 30);
        assert_eq!((traffic.heads, traffic.acks, traffic.trailers), (6, 0, 4));
        assert_eq!((traffic.control, traffic.handshakes, traffic.unknown), (1, 3, 3));
        let lanes: u64 = Lane::all().map(|lane| traffic.lane(lane)).sum();
        assert_eq!(traffic.bytes, lanes + 6 + 4 + 1 + 3 + 3);
        assert_eq!(traffic.datagrams, 3);
    }

    #[test]
    fn fragments_are_counted_until_the_last() {
        let mut reader = Reader::default();
        reader.on_datagram(&packet(&[fragment(4, 0, &[7; 400])]));
        reader.on_datagram(&packet(&[fragment(4, 400, &[8; 400])]));
        assert_eq!(reader.spread, []);
        reader.on_datagram(&packet(&[fragment(4, 800, &[9; 200])]));
        let lane = Lane::new(Mode::Unreliable, 2);
        assert_eq!(reader.spread, [Spreading { lane, tag: [7; 4], datagrams: 3 }]);
        reader.on_datagram(&packet(&[fragment(5, 800, &[9; 200])]));
        assert_eq!(reader.spread.len(), 1);
    }
}
