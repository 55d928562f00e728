//! CRC-32 of Ethernet and zlib, "CRC-32/ISO-HDLC" in the catalogue of CRC algorithms.
//!
//! By a table of 1 KiB, a byte at a time. With the feature `fast-crc` by tables of 16 KiB, or by
//! carry-less multiplication: with the feature `std` where the processor has it, else where the
//! compiler was told so. The results are the same.

/// The CRC of `bytes`.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    update(0, bytes)
}

/// The CRC of something whose CRC is `crc`, followed by `bytes`.
///
/// The CRC of nothing is 0.
#[cfg(not(feature = "fast-crc"))]
#[inline]
pub fn update(crc: u32, bytes: &[u8]) -> u32 {
    by_table(crc, bytes)
}

/// The CRC of something whose CRC is `crc`, followed by `bytes`.
///
/// The CRC of nothing is 0.
#[cfg(feature = "fast-crc")]
#[inline]
pub fn update(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(any(test, not(feature = "fast-crc")))]
fn by_table(crc: u32, bytes: &[u8]) -> u32 {
    static TABLE: crc::Crc<u32, crc::Table<1>> = crc::Crc::<u32, _>::new(&crc::CRC_32_ISO_HDLC);
    // The crate takes the register's first value as the catalogue writes it: not reflected, and
    // before the final exclusive-or.
    let mut digest = TABLE.digest_with_initial((!crc).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: one bit at a time.
    fn by_definition(bytes: &[u8]) -> u32 {
        let mut register = u32::MAX;
        for byte in bytes {
            register ^= u32::from(*byte);
            for _ in 0..8 {
                let out = register & 1;
                register = (register >> 1) ^ (out * 0x04C1_1DB7u32.reverse_bits());
            }
        }
        !register
    }

    #[test]
    fn has_the_check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(update(crc32(head), tail), by_definition(&bytes));
            prop_assert_eq!(by_table(by_table(0, head), tail), by_definition(&bytes));
        }
    }
}
