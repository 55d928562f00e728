//! Captures that Wireshark and tshark open.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bowline_core::Address;

use crate::{NodeId, Sighting};

/// Which datagrams a capture shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vantage {
    /// Every datagram as it is sent, those that will be lost too.
    Departures,
    /// Every copy that arrives, with the damage it took.
    Arrivals,
    /// What a capture on this node's host would show: what it sends and what reaches it.
    At(NodeId),
}

impl Vantage {
    pub(crate) fn shows_departure(self, node: NodeId) -> bool {
        self == Self::Departures || self == Self::At(node)
    }

    pub(crate) fn shows_arrival(self, node: Option<NodeId>) -> bool {
        self == Self::Arrivals || node.is_some_and(|node| self == Self::At(node))
    }
}

/// Writes datagrams as a classic pcap file of raw IP packets (link type 101), with made-up IP and
/// UDP headers that are correct down to their checksums.
///
/// Two IPv4 addresses make an IPv4 packet, any other pair an IPv6 one, with IPv4 addresses
/// mapped (`::ffff:a.b.c.d`). Addresses that are not socket addresses appear as 10.255.0.1,
/// 10.255.0.2 and so on, in order of first appearance, port 1; two of them make IPv4.
///
/// Times are the network's virtual ones, counted from 1970.
#[derive(Clone, Debug)]
pub struct Pcap {
    out: Vec<u8>,
    aliases: BTreeMap<Address, u32>,
    skipped: u64,
}

/// Magic number of a file with microseconds, and version 2.4.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
/// `LINKTYPE_RAW`: a packet begins with its IPv4 or IPv6 header.
const LINK_TYPE_RAW: u32 = 101;
const SNAP_LEN: u32 = 262_144;

const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const PROTOCOL_UDP: u8 = 17;
const HOPS: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;
/// Raw addresses are numbered from here.
const ALIAS_BASE: u32 = 0x0aff_0000;
const ALIAS_PORT: u16 = 1;

impl Default for Pcap {
    fn default() -> Self {
        Self::new()
    }
}

impl Pcap {
    /// A capture without packets.
    pub fn new() -> Self {
        let mut out = Vec::new();
        out.extend(MAGIC.to_le_bytes());
        VERSION.iter().for_each(|part| out.extend(part.to_le_bytes()));
        // Time zone and accuracy, which nobody sets.
        out.extend([0; 8]);
        out.extend(SNAP_LEN.to_le_bytes());
        out.extend(LINK_TYPE_RAW.to_le_bytes());
        Self { out, aliases: BTreeMap::new(), skipped: 0 }
    }

    /// Appends one datagram. One too long for an IP packet is only counted.
    pub fn record(&mut self, seen: &Sighting<'_>) {
        let (from, to) = (self.socket_addr(seen.from), self.socket_addr(seen.to));
        let ecn = seen.ecn.map_or(0, |ecn| ecn as u8);
        let micros = seen.at.as_micros();
        let start = self.out.len();
        // Seconds wrap in 2106, as the format has it.
        self.out.extend(((micros / 1_000_000) as u32).to_le_bytes());
        self.out.extend(((micros % 1_000_000) as u32).to_le_bytes());
        self.out.extend([0; 8]);
        let packet = self.out.len();
        let fits = match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                self.ipv4(ecn, [source, target], [from.port(), to.port()], seen.bytes)
            }
            _ => self.ipv6(ecn, from, to, seen.bytes),
        };
        if fits.is_none() {
            self.out.truncate(start);
            self.skipped += 1;
            return;
        }
        let len = ((self.out.len() - packet) as u32).to_le_bytes();
        self.out[start + 8..start + 12].copy_from_slice(&len);
        self.out[start + 12..start + 16].copy_from_slice(&len);
    }

    /// The bytes of the file so far, without those that were drained.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// Passes what has been written since the last call to `sink`, and forgets it. Long captures
    /// are written to a file piece by piece this way.
    pub fn drain(&mut self, sink: impl FnOnce(&[u8])) {
        sink(&self.out);
        self.out.clear();
    }

    /// Datagrams that were too long for an IP packet and are missing.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn socket_addr(&mut self, address: Address) -> SocketAddr {
        address.socket_addr().unwrap_or_else(|| {
            let next = self.aliases.len() as u32 + 1;
            let number = *self.aliases.entry(address).or_insert(next);
            (Ipv4Addr::from(ALIAS_BASE.wrapping_add(number)), ALIAS_PORT).into()
        })
    }

    fn ipv4(
        &mut self,
        ecn: u8,
        [source, target]: [Ipv4Addr; 2],
        ports: [u16; 2],
        payload: &[u8],
    ) -> Option<()> {
        let len = u16::try_from(IPV4_LEN + UDP_LEN + payload.len()).ok()?;
        let start = self.out.len();
        self.out.extend([0x45, ecn]);
        self.out.extend(len.to_be_bytes());
        // Without fragments there is nothing to identify (RFC 6864).
        self.out.extend(0_u16.to_be_bytes());
        self.out.extend(DONT_FRAGMENT.to_be_bytes());
        self.out.extend([HOPS, PROTOCOL_UDP, 0, 0]);
        self.out.extend(source.octets());
        self.out.extend(target.octets());
        let checksum = Checksum::default().over(&self.out[start..]).finish();
        self.out[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
        let addresses = Checksum::default().over(&source.octets()).over(&target.octets());
        self.udp(addresses, ports, len - IPV4_LEN as u16, payload);
        Some(())
    }

    fn ipv6(&mut self, ecn: u8, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<()> {
        let len = u16::try_from(UDP_LEN + payload.len()).ok()?;
        let [source, target] = [from, to].map(|address| match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        self.out.extend([0x60, ecn << 4, 0, 0]);
        self.out.extend(len.to_be_bytes());
        self.out.extend([PROTOCOL_UDP, HOPS]);
        self.out.extend(source);
        self.out.extend(target);
        let addresses = Checksum::default().over(&source).over(&target);
        self.udp(addresses, [from.port(), to.port()], len, payload);
        Some(())
    }

    /// `sum` holds the addresses, the first part of the pseudo header (RFC 768, RFC 8200 8.1).
    fn udp(&mut self, sum: Checksum, [source, target]: [u16; 2], len: u16, payload: &[u8]) {
        let start = self.out.len();
        self.out.extend(source.to_be_bytes());
        self.out.extend(target.to_be_bytes());
        self.out.extend(len.to_be_bytes());
        self.out.extend([0, 0]);
        self.out.extend(payload);
        let sum = sum.over(&[0, PROTOCOL_UDP]).over(&len.to_be_bytes());
        let checksum = match sum.over(&self.out[start..]).finish() {
            // Zero would mean that there is none.
            0 => u16::MAX,
            checksum => checksum,
        };
        self.out[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The internet checksum (RFC 1071).
#[derive(Clone, Copy, Debug, Default)]
struct Checksum(u64);

impl Checksum {
    /// Adds a part that begins at an even place.
    fn over(self, bytes: &[u8]) -> Self {
        let pairs = bytes.chunks(2).map(|pair| match *pair {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(high) << 8,
            _ => 0,
        });
        Self(self.0 + pairs.sum::<u64>())
    }

    fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bowline_core::{Ecn, Instant};

    use super::*;

    const HEADER: &[u8] =
        &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];

    fn socket(text: &str) -> Address {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn raw(bytes: &[u8]) -> Address {
        Address::from_raw(bytes).unwrap()
    }

    fn capture(from: Address, to: Address, ecn: Option<Ecn>, bytes: &[u8]) -> Vec<u8> {
        let mut pcap = Pcap::new();
        let at = Instant::from_micros(3_000_007);
        pcap.record(&Sighting { at, from, to, ecn, bytes });
        let (header, packet) = pcap.as_bytes().split_at(24);
        assert_eq!(header, HEADER);
        packet.to_vec()
    }

    #[test]
    fn an_ipv4_packet_byte_by_byte() {
        let bytes =
            capture(socket("192.0.2.1:1000"), socket("192.0.2.2:2000"), Some(Ecn::Ect0), b"abc");
        #[rustfmt::skip]
        let expected = [
            3, 0, 0, 0, 7, 0, 0, 0, 31, 0, 0, 0, 31, 0, 0, 0,
            0x45, 2, 0, 31, 0, 0, 0x40, 0, 64, 17, 0xb6, 0xc8, 192, 0, 2, 1, 192, 0, 2, 2,
            0x03, 0xe8, 0x07, 0xd0, 0, 11, 0xab, 0xb9, b'a', b'b', b'c',
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_ipv6_packet_byte_by_byte() {
        let bytes =
            capture(socket("[2001:db8::1]:1"), socket("[2001:db8::2]:2"), Some(Ecn::Ce), b"");
        #[rustfmt::skip]
        let expected = [
            3, 0, 0, 0, 7, 0, 0, 0, 48, 0, 0, 0, 48, 0, 0, 0,
            0x60, 0x30, 0, 0, 0, 8, 17, 64,
            0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0, 1, 0, 2, 0, 8, 0xa4, 0x66,
        ];
        assert_eq!(bytes, expected);
    }

    /// Both checksums of a packet, verified as a receiver does: the sum with the checksum is 0.
    fn assert_checksums(record: &[u8]) {
        let packet = &record[16..];
        let (addresses, udp) = if packet[0] == 0x45 {
            assert_eq!(Checksum::default().over(&packet[..20]).finish(), 0);
            (&packet[12..20], &packet[20..])
        } else {
            (&packet[8..40], &packet[40..])
        };
        let pseudo = Checksum::default().over(addresses).over(&[0, 17]).over(&udp[4..6]);
        assert_eq!(pseudo.over(udp).finish(), 0);
        assert_ne!(udp[6..8], [0, 0]);
    }

    #[test]
    fn checksums_hold_for_every_mix_of_addresses() {
        let addresses =
            [socket("10.1.2.3:65535"), socket("[fe80::1%2]:9"), raw(b"console"), raw(b"")];
        let payload: Vec<u8> = (0..=255).collect();
        for from in addresses {
            for to in addresses {
                for len in [0, 1, 2, 255] {
                    assert_checksums(&capture(from, to, Some(Ecn::Ce), &payload[..len]));
                }
            }
        }
    }

    #[test]
    fn a_checksum_that_comes_out_as_zero_is_sent_as_ones() {
        // Two bytes of payload can make the sum anything: one of the 65,536 pairs makes it 0.
        let ones = (0..=u16::MAX).filter(|pair| {
            let bytes =
                capture(socket("1.2.3.4:5"), socket("6.7.8.9:10"), None, &pair.to_be_bytes());
            assert_checksums(&bytes);
            bytes[16 + 20 + 6..][..2] == [0xff, 0xff]
        });
        assert!(ones.count() >= 1);
    }

    #[test]
    fn other_addresses_keep_the_alias_they_were_given() {
        let mut pcap = Pcap::new();
        let mut aliases = Vec::new();
        for address in [raw(b"a"), raw(b"b"), raw(b"a"), socket("10.0.0.1:1"), raw(b"c")] {
            aliases.push(pcap.socket_addr(address).ip());
        }
        let expected = ["10.255.0.1", "10.255.0.2", "10.255.0.1", "10.0.0.1", "10.255.0.3"];
        assert_eq!(aliases, expected.map(|ip| ip.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn what_no_ip_packet_holds_is_counted() {
        let mut pcap = Pcap::new();
        let long = vec![0; 65_528];
        let (v4, v6) = (socket("1.2.3.4:5"), socket("[::1]:6"));
        let mut record = |from, to, len: usize| {
            let before = pcap.as_bytes().len();
            let at = Instant::ZERO;
            pcap.record(&Sighting { at, from, to, ecn: None, bytes: &long[..len] });
            (pcap.as_bytes().len() - before, pcap.skipped())
        };
        assert_eq!(record(v4, v4, 65_507), (16 + 65_535, 0));
        assert_eq!(record(v4, v4, 65_508), (0, 1));
        assert_eq!(record(v6, v4, 65_527), (16 + 65_575, 1));
        assert_eq!(record(v6, v4, 65_528), (0, 2));
    }

    #[test]
    fn draining_cuts_the_file_into_pieces() {
        let seen = Sighting {
            at: Instant::ZERO,
            from: socket("1.1.1.1:1"),
            to: raw(b"x"),
            ecn: None,
            bytes: b"hello",
        };
        let (mut whole, mut pieces) = (Pcap::new(), Pcap::new());
        let mut file = Vec::new();
        for _ in 0..3 {
            whole.record(&seen);
            pieces.record(&seen);
            pieces.drain(|bytes| file.extend_from_slice(bytes));
        }
        assert_eq!(file, whole.as_bytes());
        assert!(pieces.as_bytes().is_empty());
    }
}
