//! The table of overhead in PROTOCOL.md, section 5, from packets as they are written.

use bowline_wire::native::{
    AckForm, DataHead, DataKind, PacketHead, emit_ack_ranges, emit_ack_short,
};
use bowline_wire::{NoRoom, Writer, varint};

const MESSAGE_LEN: usize = 32;
const KEY_LEN: usize = 4;
/// Up to here everything arrived.
const LARGEST: u64 = 1000;
/// Less than 127, so the ack waited for less than 31.75 ms.
const DELAY: u8 = 20;

/// Length of a packet in steady state with `ack` and a message as `kind`, without the message and the
/// trailer.
fn overhead(number_len: u8, ack: AckForm, kind: Option<DataKind>) -> Result<usize, NoRoom> {
    let mut buf = [0; 100];
    let mut w = Writer::new(&mut buf);
    let head = PacketHead { key_phase: false, ack, connection_id: 0, number_len, number_low: 0x7F };
    head.emit(0, &mut w)?;
    let room = w.room();
    let newest = [(LARGEST - 3, LARGEST)].into_iter();
    match ack {
        AckForm::None => {}
        AckForm::Short => emit_ack_short(&mut w, LARGEST)?,
        AckForm::Ranges1 => emit_ack_ranges(&mut w, 1, DELAY, newest, room)?,
        AckForm::Ranges2 => emit_ack_ranges(&mut w, 2, DELAY, newest, room)?,
    }
    let Some(kind) = kind else { return Ok(w.len()) };
    DataHead { kind, channel: 0, len: None }.emit(&mut w)?;
    let key_len = if matches!(kind, DataKind::Loose { latest: true, .. }) { KEY_LEN } else { 0 };
    let (prefix, prefix_len) = varint::encode((key_len + MESSAGE_LEN) as u32);
    w.bytes(&prefix[..prefix_len])?;
    w.bytes(&[0; KEY_LEN][..key_len])?;
    w.bytes(&[0; MESSAGE_LEN])?;
    Ok(w.len() - MESSAGE_LEN)
}

#[test]
fn is_what_the_table_says() {
    let reliable = Some(DataKind::ReliableShort(0));
    let loose = |latest| Some(DataKind::Loose { latest, offset: 0, back: None });
    for (ack, kind, sum) in [
        (AckForm::None, Some(DataKind::Unreliable), 4),
        (AckForm::None, Some(DataKind::UnreliableOrdered), 4),
        (AckForm::Short, reliable, 6),
        (AckForm::Ranges1, reliable, 8),
        (AckForm::Short, loose(false), 10),
        (AckForm::Short, loose(true), 14),
        (AckForm::Ranges1, None, 5),
    ] {
        assert_eq!(overhead(1, ack, kind), Ok(sum), "{ack:?}, {kind:?}");
    }
}

#[test]
fn without_integrity_numbers_have_4_bytes_and_acks_have_form_3() {
    assert_eq!(overhead(4, AckForm::None, Some(DataKind::Unreliable)), Ok(4 + 3));
    let reliable = Some(DataKind::ReliableShort(0));
    assert_eq!(overhead(4, AckForm::Ranges2, reliable), Ok(6 + 3 + 3));
    assert_eq!(overhead(4, AckForm::Ranges2, reliable), Ok(8 + 3 + 1));
    assert_eq!(overhead(4, AckForm::Ranges2, None), Ok(5 + 3 + 1));
}
