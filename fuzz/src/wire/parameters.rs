//! The parameters in CONNECT and ACCEPT: in range, and written as they came.

use bowline_wire::native::{COOKIE_LEN, Handshake, Parameters, VERSION};
use bowline_wire::varint;

use super::handshake::{check_datagram, sealed};

const CONNECT: u8 = 3;
const ACCEPT: u8 = 4;

/// The bytes of parameters, once in an ACCEPT and once in a CONNECT with what is left as its payload.
pub fn check(data: &[u8]) {
    let accept = sealed(&[&[ACCEPT, VERSION], &[7; 16][..], data].concat());
    check_datagram(&accept);
    let connect = sealed(&[&[CONNECT, VERSION], &[7; 16 + COOKIE_LEN][..], data].concat());
    check_datagram(&connect);

    let in_accept = match Handshake::parse(&accept) {
        Ok(Handshake::Accept { parameters, .. }) => Some(parameters),
        Ok(other) => panic!("an ACCEPT is read as {other:?}"),
        Err(_) => None,
    };
    let in_connect = match Handshake::parse(&connect) {
        Ok(Handshake::Connect { parameters, payload, .. }) => {
            Some((parameters, payload.is_empty()))
        }
        Ok(other) => panic!("a CONNECT is read as {other:?}"),
        Err(_) => None,
    };
    // In a CONNECT more may follow, in an ACCEPT it may not.
    match in_connect {
        Some((parameters, true)) => assert_eq!(in_accept, Some(parameters)),
        _ => assert_eq!(in_accept, None),
    }
    if let Some((parameters, _)) = in_connect {
        in_range(&parameters);
    }
}

/// What the documentation of each field says.
fn in_range(parameters: &Parameters) {
    assert!(parameters.datagram_max >= 64, "{parameters:?}");
    assert!((1..=256).contains(&parameters.channels), "{parameters:?}");
    assert!(parameters.ack_delay <= 124, "{parameters:?}");
    assert!((100..=varint::MAX).contains(&parameters.idle_timeout_ms), "{parameters:?}");
    assert!((1..=varint::MAX).contains(&parameters.credit), "{parameters:?}");
    match parameters.loose_credit {
        0 => assert_eq!(parameters.loose_credit_bytes(), 0),
        power => {
            assert!((4..=27).contains(&power), "{parameters:?}");
            assert_eq!(parameters.loose_credit_bytes(), 1 << power);
        }
    }
    for longest in [parameters.reliable_max, parameters.ordered_max, parameters.unreliable_max] {
        assert!(longest <= varint::MAX, "{parameters:?}");
    }
}
