//! Handshake datagrams: what is read is what would be written, and is explained without fault.

use bowline_wire::native::{Handshake, Integrity, VERSION};
use bowline_wire::{Explain, Malformed, checksum};

/// A first byte that says whether the checksum is to be made right, then kind, version and contents.
pub fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    match how % 4 {
        0 => check_datagram(bytes),
        1 => check_datagram(&sealed(bytes)),
        // Of our version, whatever the second byte says: most of the rest is reached no other way.
        _ => {
            let mut bytes = bytes.to_vec();
            if let Some(version) = bytes.get_mut(1) {
                *version = VERSION;
            }
            check_datagram(&sealed(&bytes));
        }
    }
}

/// `covered` and its checksum.
pub fn sealed(covered: &[u8]) -> Vec<u8> {
    [covered, &checksum::crc32(covered).to_be_bytes()].concat()
}

/// One datagram, which need not be well formed.
pub fn check_datagram(datagram: &[u8]) {
    if datagram.first().is_some_and(|first| *first >= 0x80) {
        return;
    }
    let parsed = Handshake::parse(datagram);
    let has_right_sum = datagram
        .split_last_chunk()
        .is_some_and(|(covered, crc)| checksum::crc32(covered) == u32::from_be_bytes(*crc));
    if has_right_sum {
        assert_ne!(parsed, Err(Malformed::Checksum));
    } else {
        assert!(parsed.is_err(), "taken with a wrong checksum");
    }
    let integrity = Integrity::None;
    let page = Explain { datagram, connection_id_len: None, integrity }.to_string();
    if !datagram.is_empty() {
        let faults = page.lines().filter(|line| line.contains(" FAULT ")).count();
        assert_eq!(faults, usize::from(parsed.is_err()), "{parsed:?}\n{page}");
    }
    let Ok(handshake) = parsed else { return };
    let mut again = vec![0xEE; datagram.len()];
    let len = handshake.emit(datagram.len(), &mut again).expect("what came fits where it came");
    assert_eq!(len, datagram.len(), "{handshake:?}");
    match handshake {
        // Padding may be any bytes, and is written as zeros.
        Handshake::Hello { len, .. } | Handshake::Query { len, .. } => {
            assert_eq!(len, datagram.len());
            assert_eq!(again[..18], datagram[..18]);
            assert_eq!(Handshake::parse(&again), parsed);
        }
        _ => assert_eq!(again, datagram),
    }
    for room in [0, len / 2, len - 1] {
        assert!(handshake.emit(datagram.len(), &mut vec![0; room]).is_err());
    }
}
