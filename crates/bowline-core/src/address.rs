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
                    let scope = match address {
                        SocketAddr::V6(v6) => v6.scope_id().to_be_bytes(),
                        SocketAddr::V4(_) => [0; 4],
                    };
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
