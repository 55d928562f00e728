//! `bowline-wire` and `bowline-crypto`: bytes that anybody may have sent, parsed and written again.

use bowline_crypto::{KeyedMac, SipHash};
use bowline_wire::native::{
    AckBlock, AckForm, Direction, Expanded, Frame, Handshake, PacketHead, SessionCrc,
    emit_ack_ranges, emit_ack_short, frames, messages,
};
use bowline_wire::{Malformed, NoRoom, Writer, enet, varint};

use crate::input::{Input, keep};
use crate::outside::lent;

lent! {
    RECEIVED: [u8; 1500] = [0; 1500];
    WRITTEN: [u8; 1500] = [0; 1500];
}

/// Reads and writes datagrams of any length and content.
pub fn exercise(input: &mut Input) {
    let (Some(received), Some(written)) = (RECEIVED.lend(), WRITTEN.lend()) else { return };
    keep(received.as_mut_ptr());
    let datagram = received.get(..input.index()).unwrap_or_default();
    let buf = written.get_mut(..input.index()).unwrap_or_default();
    if let Ok(handshake) = Handshake::parse(datagram) {
        keep(handshake.emit(input.index(), buf));
    }
    keep(packet(input, datagram, buf));
    keep(enet_datagram(input, datagram, buf));
    keep(varint::parse(datagram));
    keep(varint::encode(input.word()));
    keep(SipHash.mac(&input.bytes(), datagram));
}

/// Everything a session does with the bytes of one packet.
fn packet(input: &mut Input, datagram: &[u8], buf: &mut [u8]) -> Result<(), Malformed> {
    let cid_len = input.word() as u8;
    let (head, rest) = PacketHead::parse(datagram, cid_len)?;
    let number = head.expand_number(input.long());
    let crc = SessionCrc::new(input.long(), input.long(), Direction::ClientToServer);
    keep(crc.checksum(number, datagram));
    let (ack, rest) = AckBlock::parse(head.ack, rest)?;
    let mut w = Writer::new(buf);
    keep(head.emit(cid_len, &mut w));
    keep(PacketHead::number_len_for(input.long()));
    if let Some(ack) = ack {
        keep(acknowledge(input, &ack, &mut w));
    }
    for frame in frames(rest) {
        let frame = frame?;
        keep(frame.emit(input.word() != 0, &mut w));
        if let Frame::Unreliable { messages: bytes, .. }
        | Frame::Loose { back: None, data: bytes, .. } = frame
        {
            messages(bytes).for_each(keep);
        }
    }
    w.truncate(input.index());
    keep(w.written());
    Ok(())
}

/// Everything a host does with the bytes of one datagram of ENet, and its page.
fn enet_datagram(input: &mut Input, datagram: &[u8], buf: &mut [u8]) -> Result<(), Malformed> {
    let (header, rest) = enet::Header::parse(datagram)?;
    let (sum, rest) = enet::split_checksum(rest)?;
    keep(sum == enet::checksum(datagram, input.bytes(), rest));
    let mut w = Writer::new(buf);
    keep(header.emit(&mut w));
    for command in enet::commands(rest) {
        let (head, command) = command?;
        keep(command.emit(head, &mut w));
        keep(command.emit_fixed(head, input.word() as u16, &mut w));
        keep((command.wire_len(), command.kind().fixed_len()));
    }
    w.patch(input.index(), sum);
    let (now, then) = (enet::Time::from_millis(input.word()), input.word());
    keep(now.is_before(now.at_stamp(then as u16) + then) || now.distance(now - then) > then);
    Ok(())
}

fn acknowledge(input: &mut Input, ack: &AckBlock<'_>, w: &mut Writer<'_>) -> Result<(), NoRoom> {
    let Expanded::Largest(largest) = ack.expand_largest(input.long(), input.long()) else {
        return Ok(());
    };
    keep(ack.check(largest));
    keep(ack.delay());
    if ack.form() == AckForm::Short {
        emit_ack_short(w, largest)?;
    }
    let (len, delay, room) = (input.word() as u8, input.word() as u8, input.index());
    emit_ack_ranges(w, len, delay, ack.ranges(largest), room)
}
