//! [`Explain`] on datagrams of all kinds.

#[path = "../examples/random_datagrams/decoded.rs"]
mod decoded;
#[path = "../examples/random_datagrams/made.rs"]
mod made;

use bowline_wire::Explain;
use bowline_wire::native::Integrity;

use proptest::prelude::*;

fn explained(datagram: &[u8], connection_id_len: Option<u8>, integrity: Integrity) -> String {
    Explain { datagram, connection_id_len, integrity }.to_string()
}

#[test]
fn a_packet_with_a_bit_of_everything() {
    let datagram = [
        0xA4, 0xD0, 0xD1, 0xD2, 0xD3, 0x01, 0x07, 0x2A, 0x85, 0x00, 0x01, 0x00, 0x07, 0x00, 0x00,
        0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0xC0, 0x5F, 0x20, 0x02, 0x01, 0x61, 0xB0, 0x00, 0x07,
        0x00, 0x0C, 0x0A, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x60, 0x11, 0xDD, 0xC0, 0xFF, 0xEE, 0x00,
    ];
    assert_eq!(
        explained(&datagram, None, Integrity::Crc32),
        "\
session packet, 50 bytes
   0  a4                       flags             ack ranges, number of 2 bytes
   1  d0 d1 d2 d3              connection id     d0d1d2d3
   5  01 07                    number            ..0107
   7  2a                       ack largest       ..2a, L
   8  85                       ack delay         1250 µs, several ranges
   9  00                       ack first         L - 0 ..= L
  10  01                       ack count         1
  11  00                       ack gap           0
  12  07                       ack more          7: L - 9 ..= L - 2
  13  00 00                    type              2 × PADDING
  15  02                       type              CREDIT
  16  00                       stream            0, reliable
  17  00                       channel           0
  18  00 01 00 c0              limit             65728
  22  5f                       type              UNRELIABLE_ORDERED, channel follows, length follows
  23  20                       channel           32
  24  02                       length            2
  25  01                       message length    1
  26  61                       message           1 byte
  27  b0                       type              UNRELIABLE_FRAGMENT, channel 0, length follows
  28  00 07                    message id        7
  30  00                       offset            0
  31  0c                       total             12
  32  0a                       length            10
  33  00 01 02 03 04 05 06 07… data              10 bytes
  43  60                       type              RELIABLE, short offset, channel 0, to the end
  44  11                       offset            ..11
  45  dd                       data              1 byte
  46  c0 ff ee 00              checksum          c0ffee00, of a session
"
    );
}

#[test]
fn a_packet_about_loose_streams() {
    let datagram = [
        0x80, 0x07, 0x02, 0x01, 0x00, 0, 1, 0, 0, 0x04, 0x02, 0x07, 0, 0, 0, 9, 0x05, 0xF1, 0x00,
        0, 0, 0, 5, 0x03, 0x01, 0x61, 0x00, 0xEF, 0x20, 0x03, 0, 0, 1, 0, 0x80, 0x80, 0xAA, 0xBB,
    ];
    assert_eq!(
        explained(&datagram, Some(0), Integrity::None),
        "\
session packet, 38 bytes
   0  80                       flags             no ack block, number of 1 byte
   1  07                       number            ..07
   2  02                       type              CREDIT
   3  01                       stream            1, reliable-unordered
   4  00                       channel           0
   5  00 01 00 00              limit             65536
   9  04                       type              VOID
  10  02                       stream            2, reliable-latest
  11  07                       channel           7
  12  00 00 00 09              offset            9
  16  05                       length            5
  17  f1                       type              LOOSE, channel 1, length follows
  18  00                       what              reliable-unordered, whole messages
  19  00 00 00 05              offset            5
  23  03                       length            3
  24  01                       message length    1
  25  61                       message           1 byte
  26  00                       message length    0
  27  ef                       type              LOOSE, channel follows, to the end
  28  20                       channel           32
  29  03                       what              reliable-latest, part of a message
  30  00 00 01 00              offset            256
  34  80 80                    back              128: the message begins as far before
  36  aa bb                    data              2 bytes
"
    );
}

#[test]
fn what_nobody_may_send_of_loose_streams_is_shown_with_its_fault() {
    assert_eq!(
        explained(&[0x80, 7, 0xE0, 0x06, 0, 0, 0, 5, 0, 1], Some(0), Integrity::None),
        "\
session packet, 10 bytes
   0  80                       flags             no ack block, number of 1 byte
   1  07                       number            ..07
   2  e0                       type              LOOSE, channel 0, to the end
   3  06                       what              reliable-unordered, part of a message, reserved bits
   4  00 00 00 05              offset            5
   8  00                       back              0: the message begins as far before
   9  01                       data              1 byte
  10                           FAULT             reserved bit
"
    );
    assert_eq!(
        explained(&[0x80, 7, 0x04, 3, 0, 0, 0, 0, 5, 1], Some(0), Integrity::None),
        "\
session packet, 10 bytes
   0  80                       flags             no ack block, number of 1 byte
   1  07                       number            ..07
   2  04                       type              VOID
   3  03                       stream            3, unknown
   4  00                       channel           0
   5  00 00 00 05              offset            5
   9  01                       length            1
  10                           FAULT             value out of range
"
    );
}

#[test]
fn the_parameters_of_a_side() {
    use bowline_wire::native::{Handshake, Parameters};
    let parameters = Parameters {
        connection_id: None,
        initial: 7,
        integrity: Integrity::Crc32,
        datagram_max: 1200,
        channels: 32,
        ack_delay: 100,
        idle_timeout_ms: 10_000,
        credit: 65_536,
        loose_credit: 16,
        reliable_max: 1 << 20,
        ordered_max: 1024,
        unreliable_max: 1200,
    };
    let page = |parameters| {
        let mut buf = [0; 100];
        let accept = Handshake::Accept { client_half: 1, server_half: 2, parameters };
        let len = accept.emit(0, &mut buf).unwrap();
        explained(&buf[..len], None, Integrity::None)
    };
    assert!(page(parameters).contains(
        "
  30  c1 00 00                 credit            65536 bytes
  33  10                       loose_credit      2^16 bytes
  34  d0 00 00                 reliable_max      1048576 bytes
"
    ));
    let none = Parameters { loose_credit: 0, ..parameters };
    assert!(page(none).contains("\n  33  00                       loose_credit      none\n"));
}

#[test]
fn a_handshake_datagram_with_a_wrong_checksum() {
    let refuse = [5, 2, 0, 0, 0, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(
        explained(&refuse, None, Integrity::None),
        "\
handshake datagram, 19 bytes
   0  05                       kind              REFUSE
   1  02                       version           2
   2  00 00 00 00 00 00 00 09  client half       0000000000000009
  10  02                       code              2
  11  00 00 00 00              detail            0
  15  01 02 03 04              checksum          01020304, but it is 58f57b69
  19                           FAULT             wrong checksum
"
    );
}

#[test]
fn a_fault_is_shown_in_its_place() {
    assert_eq!(
        explained(&[0x80, 7, 1, 0x30, 0x80, 0x7F, 1], Some(0), Integrity::None),
        "\
session packet, 7 bytes
   0  80                       flags             no ack block, number of 1 byte
   1  07                       number            ..07
   2  01                       type              PING
   3  30                       type              UNRELIABLE, channel 0, length follows
   4  80 7f 01                 FAULT             varint not in its shortest form
"
    );
    assert_eq!(explained(&[], None, Integrity::None), "empty datagram\n");
}

/// Whether a page ends with a fault, and all bytes before it are on the page.
fn faulty(page: &str) -> bool {
    page.lines().filter(|line| line.contains(" FAULT ")).count() == 1
}

#[test]
fn there_is_a_fault_where_the_parser_finds_one() {
    let mut random = made::Random(1);
    for _ in 0..20_000 {
        let (datagram, setting) = made::datagram(&mut random);
        let line = decoded::line(None, &datagram, &setting);
        let page = explained(&datagram, Some(setting.cid_len), setting.integrity);
        let is_session = datagram.first().is_some_and(|first| *first >= 0x80);
        if datagram.is_empty() || is_session && line.contains("\"error\":\"corrupt\"") {
            // The one has no line at all; the other takes a session to be noticed.
            continue;
        }
        assert_eq!(faulty(&page), line.contains("\"error\""), "{line}\n{page}");
    }
}

/// The bytes that the columns of a page account for: offset and length of each line.
fn offsets(page: &str) -> Vec<usize> {
    page.lines().skip(1).map(|line| line[..4].trim().parse().expect("an offset")).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_explained(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..20], 1..100),
        cid_len in prop::option::of(any::<u8>()), has_crc: bool,
    ) {
        let integrity = if has_crc { Integrity::Crc32 } else { Integrity::None };
        let page = explained(&bytes, cid_len, integrity);
        let offsets = offsets(&page);
        prop_assert!(offsets.is_sorted(), "{}", page);
        prop_assert_eq!(offsets.first(), Some(&0), "{}", page);
    }
}
