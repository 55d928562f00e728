//! The hash over everything that came out of an endpoint: CRC-64/XZ.

use crc::{CRC_64_XZ, Crc, Digest, Table};

/// By a table of 32 KiB where there is room for it, else of 2 KiB; the results are the same.
#[cfg(feature = "std")]
type Tables = Table<16>;
#[cfg(not(feature = "std"))]
type Tables = Table<1>;

static CRC_64: Crc<u64, Tables> = Crc::<u64, Tables>::new(&CRC_64_XZ);

/// A hash in the making.
#[derive(Clone)]
pub(crate) struct Hash(Digest<'static, u64, Tables>);

impl Hash {
    pub(crate) const fn new() -> Self {
        Self(CRC_64.digest())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.clone().finalize()
    }
}

impl core::fmt::Debug for Hash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Hash({:016x})", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_check_value_of_the_catalogue() {
        let mut hash = Hash::new();
        hash.update(b"1234");
        hash.update(b"56789");
        assert_eq!(hash.value(), 0x995d_c9bb_df19_39fa);
    }
}
