//! The small traits that bowline needs of cryptography, and providers behind features.
//!
//! Protocol crates see only the traits; nothing of cryptography is written by hand. So far there is
//! one: a keyed MAC, for the cookie that proves a client's address before a server remembers it, for
//! tables that must not be flooded, and as the pseudo-random function behind an endpoint's seed.
//!
//! | feature | provider |
//! |---|---|
//! | `siphash` | `SipHash`: SipHash-2-4 of the `siphasher` crate |
//!
//! Not here: sealing, key exchange, anything that keeps a session secret. Sessions are *plain*.
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

/// A keyed message authentication code of 64 bits that is also a pseudo-random function.
///
/// Dyn-compatible, so that a protocol holds a `&'static dyn KeyedMac` and no type parameter.
pub trait KeyedMac: Sync {
    /// The MAC of `message` under `key`.
    fn mac(&self, key: &[u8; 16], message: &[u8]) -> u64;
}

impl core::fmt::Debug for dyn KeyedMac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyedMac")
    }
}

/// SipHash-2-4 ([Aumasson and Bernstein, 2012](https://eprint.iacr.org/2012/351)).
#[cfg(feature = "siphash")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SipHash;

#[cfg(feature = "siphash")]
impl KeyedMac for SipHash {
    fn mac(&self, key: &[u8; 16], message: &[u8]) -> u64 {
        siphasher::sip::SipHasher24::new_with_key(key).hash(message)
    }
}

#[cfg(all(test, feature = "siphash"))]
mod tests {
    use super::*;

    /// The first, second and last vector of the reference implementation: key 00 01 .. 0f, message
    /// 00 01 .. of growing length.
    #[test]
    fn agrees_with_the_reference_vectors() {
        let key: [u8; 16] = core::array::from_fn(|i| i as u8);
        let message: [u8; 63] = core::array::from_fn(|i| i as u8);
        assert_eq!(SipHash.mac(&key, &message[..0]), 0x726f_db47_dd0e_0e31);
        assert_eq!(SipHash.mac(&key, &message[..15]), 0xa129_ca61_49be_45e5);
        assert_eq!(SipHash.mac(&key, &message), 0x958a_324c_eb06_4572);
    }
}
