//! Where datagrams come from and go to, without knowing what kind of network it is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Most bytes an address can hold.
const LEN_MAX: usize = 23;

/// The address of a peer, opaque to every protocol.
///
/// Compared and hashed byte by byte. Made from a [`SocketAddr`] or from up to 23 raw bytes (a
/// console's session id, a radio's node number); a raw address never equals one made from a
/// socket address. An IPv6 flow label is not part of the address, a scope id is.
///
/// Takes 24 bytes.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    /// Length of a raw address, or one of the kinds below.
    kind: u8,
    bytes: [u8; LEN_MAX],
}

const KIND_V4: u8 = 0x80;
const KIND_V6: u8 = 0x81;
const KIND_V4_SOURCE: u8 = 0x82;
const KIND_V6_SOURCE: u8 = 0x83;
const KIND_V6_PREFIX: u8 = 0x84;

/// More than 23 bytes were given for an [`Address`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressTooLong;

impl core::fmt::Display for AddressTooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an address holds at most 23 bytes")
    }
}

impl core::error::Error for AddressTooLong {}

impl Address {
    /// Filler for lent arrays: the raw address of no bytes.
    pub const NONE: Self = Self { kind: 0, bytes: [0; LEN_MAX] };

    /// An address made of raw bytes, at most 23.
    pub const fn from_raw(raw: &[u8]) -> Result<Self, AddressTooLong> {
        let mut bytes = [0; LEN_MAX];
        match bytes.split_at_mut_checked(raw.len()) {
            Some((head, _)) => head.copy_from_slice(raw),
            None => return Err(AddressTooLong),
        }
        Ok(Self { kind: raw.len() as u8, bytes })
    }

    /// The raw bytes this address was made of, unless it was made from a socket address.
    pub fn as_raw(&self) -> Option<&[u8]> {
        self.bytes.get(..self.kind as usize)
    }

    /// The socket address this one was made of, unless it was made from raw bytes.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let (ip, rest) = self.bytes.split_first_chunk::<16>()?;
        match self.kind {
            KIND_V4 => {
                let &[a, b, c, d, p, q, ..] = ip;
                Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])).into())
            }
            KIND_V6 => {
                let &[p, q, s, t, u, v, ..] = rest else { return None };
                let scope = u32::from_be_bytes([s, t, u, v]);
                let port = u16::from_be_bytes([p, q]);
                Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope).into())
            }
            _ => None,
        }
    }

    /// Where this address is, whatever its port.
    pub fn source(&self) -> Source {
        match self.socket_addr() {
            Some(address) => Source::of_ip(address.ip(), scope_of(&address)),
            None => Source(*self),
        }
    }

    /// All 24 bytes, to feed a keyed hash: equal exactly when the addresses are.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut all = [0; 24];
        if let Some((kind, bytes)) = all.split_first_mut() {
            *kind = self.kind;
            bytes.copy_from_slice(&self.bytes);
        }
        all
    }
}

/// Where datagrams come from, as far as whoever sends them cannot change it at will.
///
/// - Of an IPv4 address, also one that is mapped into IPv6, all but the port;
/// - of an IPv6 address the first 64 bits, which is what a household or a host is given;
/// - of a link-local address, of loopback, and of others below `0:0:0:1::`, all but the port;
/// - of raw bytes all of them.
///
/// Those behind one address translator, and those of one IPv6 network, are one source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Source(Address);

impl Source {
    /// An address that stands for the source in tables of addresses: equal exactly when the sources are.
    ///
    /// Nobody sends from it; for a raw address it is that itself.
    pub const fn address(&self) -> &Address {
        &self.0
    }

    fn of_ip(ip: IpAddr, scope: u32) -> Self {
        let mut bytes = [0; LEN_MAX];
        let kind = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                if let Some(head) = bytes.first_chunk_mut() {
                    *head = ip.octets();
                }
                KIND_V4_SOURCE
            }
            IpAddr::V6(ip) => {
                let [network @ .., _, _, _, _] = ip.segments();
                let whole = network == [0; 4] || ip.is_unicast_link_local();
                if let Some((head, rest)) = bytes.split_first_chunk_mut() {
                    let kept = if whole { u128::MAX } else { !u128::from(u64::MAX) };
                    *head = (u128::from(ip) & kept).to_be_bytes();
                    if let Some(rest) = rest.first_chunk_mut()
                        && whole
                    {
                        *rest = scope.to_be_bytes();
                    }
                }
                if whole { KIND_V6_SOURCE } else { KIND_V6_PREFIX }
            }
        };
        Self(Address { kind, bytes })
    }
}

/// Of an address without a scope: all interfaces are one.
impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        Self::of_ip(ip, 0)
    }
}

impl From<Address> for Source {
    fn from(address: Address) -> Self {
        address.source()
    }
}

impl core::fmt::Display for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

fn scope_of(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; LEN_MAX];
        let port = address.port().to_be_bytes();
        let kind = match address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                if let Some(head) = bytes.first_chunk_mut() {
                    *head = [a, b, c, d, port[0], port[1]];
                }
                KIND_V4
            }
            IpAddr::V6(ip) => {
                if let Some((head, rest)) = bytes.split_first_chunk_mut() {
                    *head = ip.octets();
                    let scope = scope_of(&address).to_be_bytes();
                    if let Some(rest) = rest.first_chunk_mut() {
                        let [s, t, u, v] = scope;
                        *rest = [port[0], port[1], s, t, u, v];
                    }
                }
                KIND_V6
            }
        };
        Self { kind, bytes }
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(address) = self.socket_addr() {
            return core::fmt::Display::fmt(&address, f);
        }
        match (self.kind, self.bytes.first_chunk::<4>(), self.bytes.first_chunk::<16>()) {
            (KIND_V4_SOURCE, Some(ip), _) => return write!(f, "{}", Ipv4Addr::from(*ip)),
            (KIND_V6_SOURCE, _, Some(ip)) => return write!(f, "{}", Ipv6Addr::from(*ip)),
            (KIND_V6_PREFIX, _, Some(ip)) => return write!(f, "{}/64", Ipv6Addr::from(*ip)),
            _ => {}
        }
        f.write_str("raw:")?;
        self.as_raw().unwrap_or(&[]).iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Address {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=u8:x}:{=[u8]:x}", self.kind, &self.bytes[..]);
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn socket_addresses_survive_the_round_trip() {
        for text in ["192.0.2.1:0", "192.0.2.1:65535", "[2001:db8::1]:7777", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let opaque = Address::from(address);
            assert_eq!(opaque.socket_addr(), Some(address));
            assert_eq!(opaque.to_string(), text);
            assert_eq!(opaque.as_raw(), None);
        }
    }

    fn source(text: &str) -> Source {
        Address::from(text.parse::<SocketAddr>().unwrap()).source()
    }

    #[test]
    fn a_source_is_whoever_cannot_choose_another() {
        assert_eq!(source("192.0.2.1:7"), source("192.0.2.1:8"));
        assert_eq!(source("192.0.2.1:7"), source("[::ffff:192.0.2.1]:9"));
        assert_eq!(source("192.0.2.1:7"), Source::from("192.0.2.1".parse::<IpAddr>().unwrap()));
        assert_ne!(source("192.0.2.1:7"), source("192.0.2.2:7"));
        assert_eq!(source("[2001:db8:1:2::3]:7"), source("[2001:db8:1:2:ffff::]:8"));
        assert_ne!(source("[2001:db8:1:2::3]:7"), source("[2001:db8:1:3::3]:7"));
        assert_eq!(source("[fe80::1%3]:7"), source("[fe80::1%3]:8"));
        assert_ne!(source("[fe80::1%3]:7"), source("[fe80::2%3]:7"));
        assert_ne!(source("[fe80::1%3]:7"), source("[fe80::1%4]:7"));
        assert_ne!(source("[::1]:7"), source("[::2]:7"));
        let raw = |bytes| Address::from_raw(bytes).unwrap();
        assert_ne!(raw(b"a").source(), raw(b"b").source());
        assert_eq!(raw(b"a").source().address(), &raw(b"a"));
    }

    #[test]
    fn nobody_sends_from_the_address_of_a_source() {
        for (text, shown) in [
            ("192.0.2.1:7", "192.0.2.1"),
            ("[2001:db8:1:2::3]:7", "2001:db8:1:2::/64"),
            ("[::1]:7", "::1"),
        ] {
            let source = source(text);
            assert_eq!(source.to_string(), shown);
            assert_eq!((source.address().socket_addr(), source.address().as_raw()), (None, None));
        }
    }

    #[test]
    fn raw_addresses_are_their_own_kind() {
        let raw = Address::from_raw(&[192, 0, 2, 1, 0, 0]).unwrap();
        assert_eq!(raw.as_raw(), Some(&[192, 0, 2, 1, 0, 0][..]));
        assert_eq!(raw.socket_addr(), None);
        assert_ne!(raw, Address::from("192.0.2.1:0".parse::<SocketAddr>().unwrap()));
        assert_ne!(Address::from_raw(&[0]).unwrap(), Address::from_raw(&[0, 0]).unwrap());
        assert_eq!(Address::from_raw(&[0; 24]), Err(AddressTooLong));
        assert!(Address::from_raw(&[7; 23]).is_ok());
    }
}
