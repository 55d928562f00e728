//! Serial-number arithmetic ([RFC 1982]) and numbers that travel truncated.
//!
//! A serial number wraps around, so two of them have a distance but no order: none of the
//! functions here is transitive, and none pretends to be `Ord`.
//!
//! [RFC 1982]: https://www.rfc-editor.org/rfc/rfc1982

/// How far `a` lies ahead of `base` in a 32-bit space, in `i32::MIN..=i32::MAX`.
pub const fn ahead32(a: u32, base: u32) -> i32 {
    a.wrapping_sub(base) as i32
}

/// How far `a` lies ahead of `base` in a 16-bit space, in `i16::MIN..=i16::MAX`.
pub const fn ahead16(a: u16, base: u16) -> i16 {
    a.wrapping_sub(base) as i16
}

/// The 64-bit number nearest to `expected` whose low `8 * len` bits are `low` ([RFC 9000] A.3).
///
/// `len` is in `1..=8`. Right whenever the true number is less than half the truncated space
/// away from `expected`. Never negative and never wraps: at the ends of the space the nearest
/// *representable* number is returned.
///
/// [RFC 9000]: https://www.rfc-editor.org/rfc/rfc9000#section-a.3
pub const fn expand(expected: u64, low: u64, len: u32) -> u64 {
    if len >= 8 {
        return low;
    }
    let span = 1u64 << (8 * len);
    let half = span >> 1;
    let candidate = (expected & !(span - 1)) | (low & (span - 1));
    if candidate.saturating_add(half) <= expected && candidate <= u64::MAX - span {
        candidate + span
    } else if candidate > expected.saturating_add(half) && candidate >= span {
        candidate - span
    } else {
        candidate
    }
}

/// The 32-bit wrapping number nearest to `expected` whose low 8 bits are `low`.
///
/// Right whenever the true number is in `expected - 128 ..= expected + 127`.
pub const fn expand_offset8(expected: u32, low: u8) -> u32 {
    let ahead = low.wrapping_sub(expected as u8) as i8;
    expected.wrapping_add(ahead as i32 as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn expand_recovers_what_is_near(
            number in 0u64..u64::MAX / 2, len in 1u32..=7, away in any::<i64>(),
        ) {
            let half = 1i64 << (8 * len - 1);
            let away = away % half;
            let expected = number.saturating_add_signed(away);
            let low = number & ((1 << (8 * len)) - 1);
            if expected.abs_diff(number) < half as u64 {
                prop_assert_eq!(expand(expected, low, len), number);
            }
        }

        #[test]
        fn offsets_expand_across_the_wrap(number in any::<u32>(), away in -127i32..=128) {
            let expected = number.wrapping_add(away as u32);
            prop_assert_eq!(expand_offset8(expected, number as u8), number);
        }
    }

    #[test]
    fn distance_is_signed_and_wraps() {
        assert_eq!(ahead32(3, u32::MAX), 4);
        assert_eq!(ahead32(u32::MAX, 3), -4);
        assert_eq!(ahead16(0, 0x8000), i16::MIN);
    }
}
