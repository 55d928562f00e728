//! Addresses by number: those that were seen before are written in one byte.

use core::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use bowline_core::Address;
use bowline_wire::checksum::crc32;

use crate::format::ADDRESSES;

/// Kinds of addresses, as in the format.
const KIND_V4: u8 = 0x80;
const KIND_V6: u8 = 0x81;

/// The addresses that both sides remember, each in the place that its CRC says.
#[derive(Debug)]
pub(crate) struct Addresses([Address; ADDRESSES]);

/// An address spelt out: its kind, and the bytes that count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    pub(crate) kind: u8,
    pub(crate) bytes: [u8; 23],
    pub(crate) len: usize,
}

impl Addresses {
    pub(crate) const EMPTY: Self = Self([Address::NONE; ADDRESSES]);

    fn place(address: &Address) -> u8 {
        crc32(&address.to_bytes()) as u8 % ADDRESSES as u8
    }

    /// The number of `address`, if it is remembered.
    pub(crate) fn find(&self, address: &Address) -> Option<u8> {
        let place = Self::place(address);
        (self.0.get(usize::from(place)) == Some(address)).then_some(place)
    }

    /// The address of this number.
    pub(crate) fn get(&self, number: u8) -> Option<Address> {
        self.0.get(usize::from(number)).copied()
    }

    /// Remembers an address that was spelt out.
    pub(crate) fn insert(&mut self, address: Address) {
        let place = Self::place(&address);
        if let Some(at) = self.0.get_mut(usize::from(place)) {
            *at = address;
        }
    }
}

impl Spelling {
    pub(crate) fn of(address: &Address) -> Self {
        let [kind, bytes @ ..] = address.to_bytes();
        Self { kind, bytes, len: Self::len(kind).unwrap_or(0) }
    }

    /// How many bytes follow a kind, if there is such a kind.
    pub(crate) const fn len(kind: u8) -> Option<usize> {
        match kind {
            0..=23 => Some(kind as usize),
            KIND_V4 => Some(6),
            KIND_V6 => Some(22),
            _ => None,
        }
    }

    pub(crate) fn address(&self) -> Option<Address> {
        let address = match self.kind {
            KIND_V4 => {
                let [a, b, c, d, p, q, ..] = self.bytes;
                Address::from(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))))
            }
            KIND_V6 => {
                let (ip, rest) = self.bytes.split_first_chunk::<16>()?;
                let &[p, q, s, t, u, v, ..] = rest else { return None };
                let port = u16::from_be_bytes([p, q]);
                let scope = u32::from_be_bytes([s, t, u, v]);
                Address::from(SocketAddr::V6(SocketAddrV6::new(
                    Ipv6Addr::from(*ip),
                    port,
                    0,
                    scope,
                )))
            }
            _ => Address::from_raw(self.bytes.get(..self.len)?).ok()?,
        };
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> [Address; 5] {
        let parsed = |text: &str| Address::from(text.parse::<SocketAddr>().unwrap());
        [
            parsed("192.0.2.1:7777"),
            parsed("[2001:db8::1]:1"),
            parsed("[fe80::1%7]:65535"),
            Address::from_raw(&[7; 23]).unwrap(),
            Address::NONE,
        ]
    }

    #[test]
    fn what_is_spelt_out_comes_back() {
        for address in some() {
            let Spelling { kind, bytes, len } = Spelling::of(&address);
            let mut only = [0; 23];
            only[..len].copy_from_slice(&bytes[..len]);
            let read = Spelling { kind, bytes: only, len: Spelling::len(kind).unwrap() };
            assert_eq!(read.address(), Some(address));
        }
        assert_eq!(Spelling::len(24), None);
    }

    #[test]
    fn the_last_one_in_a_place_is_remembered() {
        let mut table = Addresses::EMPTY;
        for n in 0..1_000u16 {
            let address = Address::from_raw(&n.to_be_bytes()).unwrap();
            assert_eq!(table.find(&address), None);
            table.insert(address);
            let number = table.find(&address).unwrap();
            assert_eq!(table.get(number), Some(address));
        }
        assert_eq!(table.get(64), None);
    }
}
