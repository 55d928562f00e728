//! The UDP datagram in a captured packet.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

const LINK_NULL: u32 = 0;
const LINK_ETHERNET: u32 = 1;
const LINK_LOOP: u32 = 108;
const LINK_LINUX_COOKED: u32 = 113;
const LINK_LINUX_COOKED_2: u32 = 276;

const VLAN_TAGS: [u16; 2] = [0x8100, 0x88A8];

const UDP: u8 = 17;
/// Headers of IPv6 that only stand between: for each hop, routing, for the destination.
const IPV6_BETWEEN: [u8; 3] = [0, 43, 60];
/// Fragments there are, or this is not the first.
const IPV4_FRAGMENTED: u16 = 0x3FFF;

/// A UDP datagram, and between whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Datagram<'f> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: &'f [u8],
}

impl Datagram<'_> {
    /// Who talks with whom, the same in both directions.
    pub(super) fn conversation(&self) -> [SocketAddr; 2] {
        [self.from.min(self.to), self.from.max(self.to)]
    }
}

/// The datagram in a packet of this link type (see <https://www.tcpdump.org/linktypes.html>). `None` if it
/// is something else, or a fragment.
pub(super) fn datagram(link: u32, packet: &[u8]) -> Option<Datagram<'_>> {
    let ip = match link {
        LINK_ETHERNET => ethernet(packet)?,
        LINK_NULL | LINK_LOOP => packet.get(4..)?,
        LINK_LINUX_COOKED => packet.get(16..)?,
        LINK_LINUX_COOKED_2 => packet.get(20..)?,
        // All others that are known to carry UDP begin with the IP header.
        _ => packet,
    };
    match ip.first()? >> 4 {
        4 => ipv4(ip),
        6 => ipv6(ip),
        _ => None,
    }
}

fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    while VLAN_TAGS.contains(&u16_at(frame, at)?) {
        at += 4;
    }
    frame.get(at + 2..)
}

fn ipv4(packet: &[u8]) -> Option<Datagram<'_>> {
    let header_len = usize::from(packet.first()? & 0x0F) * 4;
    let address = |at| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    if *packet.get(9)? != UDP || u16_at(packet, 6)? & IPV4_FRAGMENTED != 0 {
        return None;
    }
    // A length of 0 is that of a packet which the network card was to cut up.
    let len = match usize::from(u16_at(packet, 2)?) {
        0 => packet.len(),
        len => len.min(packet.len()),
    };
    udp([address(12)?, address(16)?], packet.get(header_len..len)?)
}

fn ipv6(packet: &[u8]) -> Option<Datagram<'_>> {
    let (header, mut rest) = packet.split_at_checked(40)?;
    let address = |at| Some(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
    let mut kind = *header.get(6)?;
    while IPV6_BETWEEN.contains(&kind) {
        kind = *rest.first()?;
        let len = (usize::from(*rest.get(1)?) + 1) * 8;
        rest = rest.get(len..)?;
    }
    if kind != UDP {
        return None;
    }
    // What the simulator and dual-stack sockets write as IPv6 is shown as what it is.
    let addresses = [address(8)?, address(24)?].map(|address| address.to_canonical());
    udp(addresses, rest)
}

fn udp([from, to]: [IpAddr; 2], bytes: &[u8]) -> Option<Datagram<'_>> {
    let (header, payload) = bytes.split_at_checked(8)?;
    let [from, to] = [(from, u16_at(header, 0)?), (to, u16_at(header, 2)?)].map(SocketAddr::from);
    let len = usize::from(u16_at(header, 4)?).saturating_sub(8).min(payload.len());
    Some(Datagram { from, to, payload: payload.get(..len)? })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const IPV4: [u8; 31] = [
        0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        0x03, 0xE8, 0x07, 0xD0, 0, 11, 0, 0, b'a', b'b', b'c',
    ];

    fn parsed(link: u32, head: &[u8], ip: &[u8]) -> Option<String> {
        let packet = [head, ip].concat();
        let Datagram { from, to, payload } = datagram(link, &packet)?;
        Some(format!("{from} > {to} {}", String::from_utf8_lossy(payload)))
    }

    #[test]
    fn links_differ_in_what_comes_before_ip() {
        let expected = Some("192.0.2.1:1000 > 192.0.2.2:2000 abc".to_string());
        let macs = [0xEE; 12];
        let tagged = [&macs[..], &[0x88, 0xA8, 0, 5, 0x81, 0, 0, 7, 8, 0]].concat();
        assert_eq!(parsed(101, &[], &IPV4), expected);
        assert_eq!(parsed(1, &[&macs[..], &[8, 0]].concat(), &IPV4), expected);
        assert_eq!(parsed(1, &tagged, &IPV4), expected);
        assert_eq!(parsed(0, &[2, 0, 0, 0], &IPV4), expected);
        assert_eq!(parsed(113, &[0; 16], &IPV4), expected);
        assert_eq!(parsed(276, &[0; 20], &IPV4), expected);
        assert_eq!(parsed(101, &[], &[&IPV4[..], b"padding"].concat()), expected);
    }

    #[test]
    fn headers_between_ipv6_and_udp_are_passed_over() {
        let mut ip = vec![0x60, 0, 0, 0, 0, 19, 0, 64];
        ip.extend([0; 15].into_iter().chain([1]).chain([0; 15]).chain([2]));
        ip.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        ip.extend(&IPV4[20..]);
        assert_eq!(parsed(101, &[], &ip), Some("[::1]:1000 > [::2]:2000 abc".into()));
        ip[40] = 44;
        assert_eq!(parsed(101, &[], &ip), None, "a fragment");
    }

    #[test]
    fn what_is_cut_short_or_no_udp_is_nothing() {
        for len in 0..28 {
            assert_eq!(datagram(101, &IPV4[..len]), None);
        }
        assert_eq!(parsed(101, &[], &IPV4[..29]), Some("192.0.2.1:1000 > 192.0.2.2:2000 a".into()));
        let mut tcp = IPV4;
        tcp[9] = 6;
        assert_eq!(datagram(101, &tcp), None);
        for (high, low) in [(0x20, 0), (0, 1)] {
            let mut fragment = IPV4;
            [fragment[6], fragment[7]] = [high, low];
            assert_eq!(datagram(101, &fragment), None);
        }
    }
}
