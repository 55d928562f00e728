//! Whole datagrams as an endpoint takes them apart; [`Explain`] must come to the same verdict.

use bowline_wire::native::{
    AckBlock, AckForm, Direction, Integrity, PacketHead, SessionCrc, frames, is_session,
};
use bowline_wire::{Explain, Malformed, Writer};

use super::{ack_block, frames as frames_target, handshake};
use crate::feed::Feed;

/// A byte that says what the receiver knows and whether checksums are to be made right, then the datagram.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let how = feed.u8();
    let bytes = feed.rest();
    let Some(first) = bytes.first() else { return };
    if !is_session(*first) {
        handshake::check(data);
        return;
    }
    let cid_len = if how & 1 == 0 { 0 } else { 4 };
    let integrity = if how & 2 == 0 { Integrity::None } else { Integrity::Crc32 };
    let crc = SessionCrc::new(1, 2, Direction::ClientToServer);
    let mut datagram = bytes.to_vec();
    if how & 4 == 0 && integrity == Integrity::Crc32 {
        let Ok((head, _)) = PacketHead::parse(&datagram, cid_len) else { return };
        let sum = crc.checksum(head.expand_number(u64::from(how) << 20), &datagram);
        datagram.extend_from_slice(&sum.to_be_bytes());
    }
    let verdict = taken_apart(&datagram, cid_len, integrity);
    let page =
        Explain { datagram: &datagram, connection_id_len: Some(cid_len), integrity }.to_string();
    let faults = page.lines().filter(|line| line.contains(" FAULT ")).count();
    assert_eq!(faults, usize::from(verdict.is_err()), "{verdict:?}\n{page}");
    let offsets = page.lines().skip(1).map(|line| line[..4].trim().parse().expect("an offset"));
    let offsets: Vec<usize> = offsets.collect();
    assert!(offsets.is_sorted() && offsets[0] == 0, "{page}");
    if let Err(fault) = verdict {
        assert!(page.contains(&fault.to_string()), "{fault:?}\n{page}");
    }
    // Without being told the length of connection ids it must not fail on what makes sense.
    let guessed = Explain { datagram: &datagram, connection_id_len: None, integrity }.to_string();
    if verdict.is_ok() && cid_len == 0 {
        assert_eq!(guessed, page);
    }
}

/// What an endpoint does with it, in the same order, short of the session.
fn taken_apart(datagram: &[u8], cid_len: u8, integrity: Integrity) -> Result<(), Malformed> {
    let (head, rest) = PacketHead::parse(datagram, cid_len)?;
    check_head(&head, &datagram[..datagram.len() - rest.len()], cid_len);
    if head.key_phase {
        return Err(Malformed::Reserved);
    }
    let body_len = rest.len().checked_sub(integrity.trailer_len()).ok_or(Malformed::Truncated)?;
    let body = &rest[..body_len];
    if head.ack == AckForm::None && body.is_empty() {
        return Err(Malformed::Empty);
    }
    let (_, rest) = AckBlock::parse(head.ack, body)?;
    ack_block::check_block(head.ack, body);
    let well_formed = frames_target::check_frames(rest);
    let fault = frames(rest).find_map(Result::err);
    assert_eq!(well_formed, fault.is_none());
    fault.map_or(Ok(()), Err)
}

fn check_head(head: &PacketHead, came: &[u8], cid_len: u8) {
    let mut buf = [0; 16];
    let mut w = Writer::new(&mut buf);
    head.emit(cid_len, &mut w).expect("it fits");
    assert_eq!(w.written(), came);
    let bits = 8 * u32::from(head.number_len);
    for expected in [0, 1 << 20, u64::from(head.number_low), u64::from(u32::MAX) + 77, 1 << 50] {
        let number = head.expand_number(expected);
        assert_eq!(
            number & ((1 << bits) - 1),
            u64::from(head.number_low),
            "{head:?} at {expected}"
        );
        let half = 1 << (bits - 1);
        let near = number.abs_diff(expected) <= half;
        assert!(near || expected < half || number < half, "{number} is not near {expected}");
    }
}
