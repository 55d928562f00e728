//! Random numbers from a seed.

use bowline_crypto::KeyedMac;

/// A keyed function of a counter.
#[derive(Debug)]
pub(crate) struct Random {
    pub(crate) mac: &'static dyn KeyedMac,
    key: [u8; 16],
    count: u64,
}

impl Random {
    pub(crate) const fn new(mac: &'static dyn KeyedMac, key: [u8; 16]) -> Self {
        Self { mac, key, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        self.hash(0, &self.count.to_le_bytes())
    }

    /// A hash that nobody can predict; other `kind`s are other functions.
    pub(crate) fn hash(&self, kind: u8, bytes: &[u8]) -> u64 {
        let mut key = self.key;
        if let Some(first) = key.first_mut() {
            *first ^= kind;
        }
        self.mac.mac(&key, bytes)
    }
}
