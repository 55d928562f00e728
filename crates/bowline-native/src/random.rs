//! Random numbers out of a seed.

use bowline_crypto::KeyedMac;

/// A deterministic generator: a keyed pseudo-random function of a counter.
#[derive(Debug)]
pub(crate) struct Random {
    mac: &'static dyn KeyedMac,
    key: [u8; 16],
    /// The other half of the seed, then a counter.
    input: [u8; 24],
}

impl Random {
    pub(crate) fn new(mac: &'static dyn KeyedMac, seed: &[u8; 32]) -> Self {
        let (mut key, mut input) = ([0; 16], [0; 24]);
        let (first, second) = seed.split_at_checked(16).unwrap_or_default();
        key.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        input.iter_mut().zip(second).for_each(|(to, from)| *to = *from);
        Self { mac, key, input }
    }

    /// Mixes in more randomness; never makes it worse.
    pub(crate) fn add_entropy(&mut self, entropy: &[u8]) {
        for piece in entropy.chunks(8) {
            let mixed = self.next_u64() ^ self.mac.mac(&self.key, piece);
            let (low, high) = (mixed.to_le_bytes(), self.next_u64().to_le_bytes());
            self.key.iter_mut().zip(low.iter().chain(&high)).for_each(|(to, from)| *to ^= from);
        }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        if let Some(counter) = self.input.last_chunk_mut::<8>() {
            *counter = u64::from_le_bytes(*counter).wrapping_add(1).to_le_bytes();
        }
        self.mac.mac(&self.key, &self.input)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    /// A key for something else.
    pub(crate) fn next_key(&mut self) -> [u8; 16] {
        let (a, b) = (self.next_u64(), self.next_u64());
        (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
    }
}
