//! What is in a datagram, for tests that lose or count frames of a kind.

use bowline_wire::native::{AckBlock, Frame, PacketHead, TRAILER_LEN, is_session};

/// The frames of a session packet with a checksum, sent to somebody whose connection ids have `id_len` bytes; none
/// of any other datagram.
pub fn frames_of(datagram: &[u8], id_len: u8) -> Vec<Frame<'_>> {
    parts_of(datagram, id_len).into_iter().map(|(frame, _)| frame).collect()
}

/// The same, each with its length in bytes.
pub fn parts_of(datagram: &[u8], id_len: u8) -> Vec<(Frame<'_>, usize)> {
    let parse = || {
        let is_packet = datagram.first().copied().is_some_and(is_session);
        let packet = &datagram[..datagram.len().checked_sub(TRAILER_LEN)?];
        let (head, rest) = PacketHead::parse(packet, id_len).ok().filter(|_| is_packet)?;
        let (_, mut rest) = AckBlock::parse(head.ack, rest).ok()?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (frame, left) = Frame::parse(rest).ok()?;
            parts.push((frame, rest.len() - left.len()));
            rest = left;
        }
        Some(parts)
    };
    parse().unwrap_or_default()
}

/// Whether the frame tells that bytes of a stream will not be sent.
pub const fn is_void(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Void { .. })
}

/// Whether the frame carries bytes of messages.
pub const fn is_data(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Unreliable { .. }
            | Frame::Fragment { .. }
            | Frame::Reliable { .. }
            | Frame::Loose { .. }
    )
}
