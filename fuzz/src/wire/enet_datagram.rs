//! ENet's datagrams: each command is written as it came, and [`ExplainEnet`] comes to the same verdict.

use bowline_wire::enet::{
    CHECKSUM_LEN, Command, CommandHead, Header, NO_PEER, checksum, commands, split_checksum,
};
use bowline_wire::{ExplainEnet, Malformed, Writer};

/// Length of each command without its payload, by its number; 0 where there is none.
const LENGTHS: [usize; 16] = [0, 8, 48, 44, 8, 4, 6, 8, 24, 8, 12, 16, 24, 0, 0, 0];
/// Where in each command the length of its payload is, by its number; 0 where there is none.
const LENGTH_AT: [usize; 16] = [0, 0, 0, 0, 0, 0, 4, 6, 6, 6, 0, 0, 6, 0, 0, 0];
/// The bits of a command's first byte that mean nothing.
const IGNORED: u8 = 0x30;

/// A byte that says whether there is a checksum and whether it is to be made right, then the datagram.
pub fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let has_checksum = how & 1 != 0;
    let connect_id = [*how, 1, 2, 3];
    let mut datagram = bytes.to_vec();
    if has_checksum && how & 2 != 0 {
        make_right(&mut datagram, connect_id);
    }
    let explain =
        ExplainEnet { has_checksum, connect_id: Some(connect_id), ..ExplainEnet::new(&datagram) };
    let verdict = taken_apart(&datagram, has_checksum);
    let page = explain.to_string();
    let fault = page.lines().find_map(|line| line.split_once(" FAULT ")).map(|(_, why)| why.trim());
    assert_eq!(fault, verdict.err().map(|fault| fault.to_string()).as_deref(), "{page}");
    let offsets = page.lines().skip(1).map(|line| line[..4].trim().parse().expect("an offset"));
    let offsets: Vec<usize> = offsets.collect();
    assert!(offsets.is_sorted() && offsets.first().is_none_or(|first| *first == 0), "{page}");
    if has_checksum && how & 2 != 0 {
        assert!(!page.contains("but it is"), "{page}");
    }
    // Restored from who knows what: the commands may be any bytes.
    let restored = ExplainEnet { commands: Some(bytes), ..explain };
    let faults = restored.to_string().lines().filter(|line| line.contains(" FAULT ")).count();
    assert!(faults <= 1);
}

/// Puts the right checksum where there is room for one.
fn make_right(datagram: &mut [u8], connect_id: [u8; 4]) {
    let Ok((header, _)) = Header::parse(datagram) else { return };
    let (head, rest) = datagram.split_at_mut(header.wire_len());
    let Some((place, commands)) = rest.split_first_chunk_mut() else { return };
    let sum_over = if header.peer_id == NO_PEER { [0; 4] } else { connect_id };
    *place = checksum(head, sum_over, commands);
}

/// What a host does with it, in the same order, short of the connection and of decompression.
fn taken_apart(datagram: &[u8], has_checksum: bool) -> Result<(), Malformed> {
    let (header, mut rest) = Header::parse(datagram)?;
    let head = &datagram[..datagram.len() - rest.len()];
    assert_eq!(header.wire_len(), head.len());
    assert_eq!(written(|w| header.emit(w), head.len()), head);
    if has_checksum {
        let before = rest.len();
        (_, rest) = split_checksum(rest)?;
        assert_eq!(rest.len() + CHECKSUM_LEN, before);
    }
    if header.compressed { Ok(()) } else { check_commands(rest) }
}

/// The commands one by one, up to the first fault.
pub fn check_commands(bytes: &[u8]) -> Result<(), Malformed> {
    let mut all = commands(bytes);
    loop {
        let before = all.rest();
        let Some(parsed) = all.next() else {
            assert!(before.is_empty(), "bytes are left over");
            return Ok(());
        };
        let expected = expected_len(before);
        match parsed {
            Ok((head, command)) => {
                let came = &before[..before.len() - all.rest().len()];
                assert_eq!(Ok(came.len()), expected);
                check_command(head, &command, came);
            }
            Err(fault) => {
                assert_eq!(Err(fault), expected);
                assert_eq!(all.next(), None, "goes on after a fault");
                return Err(fault);
            }
        }
    }
}

/// How long the command at the start of `bytes` should be, by the tables.
fn expected_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let number = usize::from(bytes[0] & 0x0F);
    let (len, length_at) = (LENGTHS[number], LENGTH_AT[number]);
    if bytes.len() < 4 {
        return Err(Malformed::Truncated);
    }
    if len == 0 {
        return Err(Malformed::Kind);
    }
    if bytes.len() < len {
        return Err(Malformed::Truncated);
    }
    let payload = match length_at {
        0 => 0,
        at => usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]])),
    };
    if bytes.len() < len + payload { Err(Malformed::Payload) } else { Ok(len + payload) }
}

fn check_command(head: CommandHead, command: &Command<'_>, came: &[u8]) {
    let mut expected = came.to_vec();
    expected[0] &= !IGNORED;
    assert_eq!(command.wire_len(), came.len());
    assert_eq!(written(|w| command.emit(head, w), came.len()), expected, "{command:?}");
    let (fixed_len, payload) = (command.kind().fixed_len(), command.payload());
    assert_eq!(&came[fixed_len..], payload);
    let fixed = written(|w| command.emit_fixed(head, payload.len() as u16, w), fixed_len);
    assert_eq!(fixed, &expected[..fixed_len], "{command:?}");
}

/// What is written, which must need all of `room`, and say so where there is less.
fn written<E>(mut emit: impl FnMut(&mut Writer<'_>) -> Result<(), E>, room: usize) -> Vec<u8> {
    let mut buf = vec![0xEE; room];
    for less in [0, room / 2, room - 1] {
        let mut short = Writer::new(&mut buf[..less]);
        assert!(emit(&mut short).is_err() && short.is_empty(), "{less} bytes are enough");
    }
    let mut w = Writer::new(&mut buf);
    assert!(emit(&mut w).is_ok() && w.room() == 0, "{} of {room} bytes", w.len());
    buf
}
