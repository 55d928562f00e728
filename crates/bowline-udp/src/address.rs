//! One address for one peer, whatever the family of the socket.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use bowline_core::Address;

/// The form in which this crate hands a peer's address to a machine: an IPv4 address is IPv4,
/// also on an IPv6 socket, which sees it as `::ffff:192.0.2.1` ([RFC 4291] 2.5.5.2).
///
/// Put an address through this before a machine is told to connect to it, or the machine may
/// take the answers for those of somebody else.
///
/// [RFC 4291]: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// Which addresses a socket can send to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    V4,
    V6,
    /// IPv6, with IPv4 mapped into it.
    Dual,
}

impl Family {
    /// The family of a socket bound to `local`.
    pub(crate) fn of(local: SocketAddr, only_v6: bool) -> Self {
        match local.ip() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(ip) if !only_v6 && takes_v4(ip) => Self::Dual,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// What to tell the system in order to reach `peer`.
    pub(crate) fn destination(self, peer: &Address) -> Option<SocketAddr> {
        let peer = canonical(peer.socket_addr()?);
        match (self, peer) {
            (Self::Dual, SocketAddr::V4(v4)) => Some((v4.ip().to_ipv6_mapped(), v4.port()).into()),
            (Self::V4, SocketAddr::V4(_)) | (Self::V6 | Self::Dual, SocketAddr::V6(_)) => {
                Some(peer)
            }
            (Self::V4, SocketAddr::V6(_)) | (Self::V6, SocketAddr::V4(_)) => None,
        }
    }
}

/// Whether a socket bound to `ip` can see IPv4 peers at all.
pub(crate) fn takes_v4(ip: Ipv6Addr) -> bool {
    ip.is_unspecified() || ip.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address_and_nothing_else_changes() {
        for (seen, told) in [
            ("[::ffff:192.0.2.1]:7777", "192.0.2.1:7777"),
            ("192.0.2.1:7777", "192.0.2.1:7777"),
            ("[::192.0.2.1]:7777", "[::192.0.2.1]:7777"),
            ("[fe80::1%3]:7777", "[fe80::1%3]:7777"),
            ("[::1]:7777", "[::1]:7777"),
        ] {
            assert_eq!(canonical(socket_addr(seen)), socket_addr(told));
        }
    }

    #[test]
    fn each_family_reaches_its_own_addresses() {
        let v4 = Address::from(socket_addr("192.0.2.1:7777"));
        let v6 = Address::from(socket_addr("[2001:db8::1]:7777"));
        let raw = Address::from_raw(&[1, 2, 3]).unwrap();
        let mapped = Some(socket_addr("[::ffff:192.0.2.1]:7777"));
        let by_mapped = Address::from(socket_addr("[::ffff:192.0.2.1]:7777"));
        for (family, to_v4, to_v6) in [
            (Family::V4, v4.socket_addr(), None),
            (Family::V6, None, v6.socket_addr()),
            (Family::Dual, mapped, v6.socket_addr()),
        ] {
            assert_eq!(family.destination(&v4), to_v4, "{family:?}");
            assert_eq!(family.destination(&by_mapped), to_v4, "{family:?}");
            assert_eq!(family.destination(&v6), to_v6, "{family:?}");
            assert_eq!(family.destination(&raw), None, "{family:?}");
        }
    }

    #[test]
    fn only_an_unspecified_or_mapped_binding_sees_both_families() {
        for (local, only_v6, family) in [
            ("0.0.0.0:1", false, Family::V4),
            ("[::]:1", false, Family::Dual),
            ("[::]:1", true, Family::V6),
            ("[::1]:1", false, Family::V6),
            ("[::ffff:127.0.0.1]:1", false, Family::Dual),
        ] {
            assert_eq!(Family::of(socket_addr(local), only_v6), family, "{local}");
        }
    }
}
