use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const PARAMETERS: Parameters = Parameters {
    outgoing_peer_id: 0x0102,
    incoming_session: 3,
    outgoing_session: 4,
    mtu: 0x0506_0708,
    window_size: 0x090A_0B0C,
    channel_count: 0x0D0E_0F10,
    incoming_bandwidth: 0x1112_1314,
    outgoing_bandwidth: 0x1516_1718,
    throttle: Throttle {
        interval: 0x191A_1B1C,
        acceleration: 0x1D1E_1F20,
        deceleration: 0x2122_2324,
    },
    connect_id: [0x25, 0x26, 0x27, 0x28],
};
const FRAGMENT: Fragment<'_> = Fragment {
    start_sequence: 0x0102,
    count: 0x0506_0708,
    number: 0x090A_0B0C,
    total: 0x0D0E_0F10,
    offset: 0x1112_1314,
    payload: b"hi",
};

/// `first`, channel 7, sequence 0x0809, `fields`, and what it says.
fn check(first: u8, fields: impl IntoIterator<Item = u8>, command: Command<'_>) {
    let mut bytes = vec![first, 7, 8, 9];
    bytes.extend(fields);
    let head = CommandHead {
        acknowledge: first & 0x80 != 0,
        unsequenced: first & 0x40 != 0,
        channel: 7,
        sequence: 0x0809,
    };
    assert_eq!(Command::parse(&bytes), Ok((head, command, &[][..])));
    assert_eq!(command.wire_len(), bytes.len());
    let fixed_len = command.kind().fixed_len();
    for cut in 0..bytes.len() {
        let past = if cut < fixed_len { Malformed::Truncated } else { Malformed::Payload };
        assert_eq!(Command::parse(&bytes[..cut]), Err(past), "{cut} bytes of {command:?}");
        let mut short = vec![0; cut];
        let mut w = Writer::new(&mut short);
        assert_eq!(command.emit(head, &mut w), Err(NoRoom));
        assert!(w.is_empty());
    }
    let mut buf = [0; 80];
    let mut w = Writer::new(&mut buf);
    command.emit(head, &mut w).unwrap();
    assert_eq!(w.written(), bytes);
    w.truncate(0);
    command.emit_fixed(head, command.payload().len() as u16, &mut w).unwrap();
    assert_eq!(w.written(), &bytes[..fixed_len]);
}

#[test]
fn layouts() {
    let acknowledge =
        Command::Acknowledge { received_sequence: 0x0102, received_sent_time: 0x0304 };
    check(0x01, 1..=4, acknowledge);
    check(0x82, 1..=0x2C, Command::Connect { parameters: PARAMETERS, data: 0x292A_2B2C });
    check(0x83, 1..=0x28, Command::VerifyConnect { parameters: PARAMETERS });
    check(0x44, 1..=4, Command::Disconnect { data: 0x0102_0304 });
    check(0x85, [], Command::Ping);
    check(0x86, [0, 2, b'h', b'i'], Command::SendReliable { payload: b"hi" });
    check(0x86, [0, 0], Command::SendReliable { payload: b"" });
    let unreliable = Command::SendUnreliable { unreliable_sequence: 0x0102, payload: b"hi" };
    check(0x07, [1, 2, 0, 2, b'h', b'i'], unreliable);
    let unsequenced = Command::SendUnsequenced { group: 0x0102, payload: b"hi" };
    check(0x49, [1, 2, 0, 2, b'h', b'i'], unsequenced);
    let fragment: Vec<u8> = [1, 2, 0, 2].into_iter().chain(5..=20).chain([b'h', b'i']).collect();
    check(0x88, fragment.iter().copied(), Command::SendFragment(FRAGMENT));
    check(0x0C, fragment, Command::SendUnreliableFragment(FRAGMENT));
    let limit = Command::BandwidthLimit { incoming: 0x0102_0304, outgoing: 0x0506_0708 };
    check(0x8A, 1..=8, limit);
    check(0x8B, 0x19..=0x24, Command::ThrottleConfigure(PARAMETERS.throttle));
}

#[test]
fn heads_have_the_flags_that_senders_set() {
    for (head, flags) in [
        (CommandHead::acknowledged(1, 2), 0x80),
        (CommandHead::plain(1, 2), 0x00),
        (CommandHead::unsequenced(1, 2), 0x40),
    ] {
        assert_eq!(head.to_wire(CommandKind::Disconnect), [4 | flags, 1, 0, 2]);
    }
}

#[test]
fn a_payload_may_be_longer_than_a_datagram_but_not_than_its_length_field() {
    let bytes = vec![7; 65_536];
    let mut buf = vec![0; 70_000];
    let mut w = Writer::new(&mut buf);
    let head = CommandHead::acknowledged(0, 1);
    let too_long = Command::SendReliable { payload: &bytes };
    assert_eq!(too_long.emit(head, &mut w), Err(NoRoom));
    Command::SendReliable { payload: &bytes[1..] }.emit(head, &mut w).unwrap();
    assert_eq!(w.len(), 6 + 65_535);
}

proptest! {
    #[test]
    fn what_is_parsed_is_what_would_be_written(
        first: u8, mut bytes in prop::collection::vec(any::<u8>(), 0..60), len in 0u8..40,
    ) {
        bytes.insert(0, first);
        // Short payloads, so that some are whole.
        for at in [4, 6] {
            if let Some(field) = bytes.get_mut(at..at + 2) {
                field.copy_from_slice(&[0, len]);
            }
        }
        let Ok((head, command, rest)) = Command::parse(&bytes) else { return Ok(()) };
        let mut buf = [0; 64];
        let mut w = Writer::new(&mut buf);
        command.emit(head, &mut w).unwrap();
        let len = bytes.len() - rest.len();
        prop_assert_eq!(command.wire_len(), len);
        // The bits that mean nothing are not kept.
        bytes[0] &= !0x30;
        prop_assert_eq!(w.written(), &bytes[..len]);
    }
}
