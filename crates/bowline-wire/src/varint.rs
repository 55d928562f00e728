//! Numbers of one to four bytes (PROTOCOL.md, section 1).
//!
//! ```text
//! 0xxxxxxx                               0 ..= 127
//! 10xxxxxx x…                          128 ..= 16,383
//! 110xxxxx x… x…                    16,384 ..= 2,097,151
//! 1110xxxx x… x… x…              2,097,152 ..= 268,435,455
//! ```
//!
//! There is one way to write each value: what [`parse`] takes, [`encode`] made.

use crate::Malformed;

/// The largest value there is, 2^28 − 1.
pub const MAX: u32 = 0x0FFF_FFFF;

/// How many bytes `value` takes, in `1..=4`.
#[inline]
pub const fn len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The value at the start of `bytes`, and the bytes after it.
///
/// # Errors
///
/// [`Malformed::Truncated`] when it ends too early, [`Malformed::Varint`] when it is not in its
/// shortest form or its first byte is not used.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    match bytes {
        [first @ 0..0x80, rest @ ..] => Ok((u32::from(*first), rest)),
        _ => parse_long(bytes),
    }
}

fn parse_long(bytes: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let (value, least, rest) = match *bytes {
        [0xF0..=0xFF, ..] => return Err(Malformed::Varint),
        [a @ 0x80..0xC0, b, ref rest @ ..] => (u32::from_be_bytes([0, 0, a & 0x3F, b]), 0x80, rest),
        [a @ 0xC0..0xE0, b, c, ref rest @ ..] => {
            (u32::from_be_bytes([0, a & 0x1F, b, c]), 0x4000, rest)
        }
        [a @ 0xE0..=0xEF, b, c, d, ref rest @ ..] => {
            (u32::from_be_bytes([a & 0x0F, b, c, d]), 0x20_0000, rest)
        }
        _ => return Err(Malformed::Truncated),
    };
    if value < least && !cfg!(bowline_mutant = "any_varint") {
        Err(Malformed::Varint)
    } else {
        Ok((value, rest))
    }
}

/// The bytes of `value`, and how many of them count, in `1..=4`.
///
/// A `value` beyond [`MAX`] is the caller's mistake and becomes [`MAX`].
#[inline]
pub fn encode(value: u32) -> ([u8; 4], usize) {
    debug_assert!(value <= MAX, "no varint is that large");
    let [a, b, c, d] = value.to_be_bytes();
    match len(value) {
        1 => ([d, 0, 0, 0], 1),
        2 => ([0x80 | c, d, 0, 0], 2),
        3 => ([0xC0 | b, c, d, 0], 3),
        _ if value > MAX => ([0xEF, 0xFF, 0xFF, 0xFF], 4),
        _ => ([0xE0 | a, b, c, d], 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_boundaries_are_where_the_table_says() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x80]),
            (16_383, &[0xBF, 0xFF]),
            (16_384, &[0xC0, 0x40, 0]),
            (2_097_151, &[0xDF, 0xFF, 0xFF]),
            (2_097_152, &[0xE0, 0x20, 0, 0]),
            (MAX, &[0xEF, 0xFF, 0xFF, 0xFF]),
        ] {
            let (encoded, len) = encode(value);
            assert_eq!(&encoded[..len], bytes, "{value}");
            assert_eq!(parse(bytes), Ok((value, &[][..])));
        }
    }

    #[test]
    fn longer_forms_and_unused_first_bytes_are_malformed() {
        for bytes in
            [&[0x80, 0x7F][..], &[0xC0, 0x3F, 0xFF], &[0xE0, 0x1F, 0xFF, 0xFF], &[0xF0], &[0xFF; 9]]
        {
            assert_eq!(parse(bytes), Err(Malformed::Varint), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            if let Ok((value, rest)) = parse(&bytes) {
                let (encoded, encoded_len) = encode(value);
                prop_assert_eq!(encoded_len, len(value));
                prop_assert_eq!(&bytes[..encoded_len], &encoded[..encoded_len]);
                prop_assert_eq!(&bytes[encoded_len..], rest);
            }
        }

        #[test]
        fn what_is_cut_short_is_truncated(value in 0..=MAX) {
            let (encoded, len) = encode(value);
            prop_assert_eq!(parse(&encoded[..len]), Ok((value, &[][..])));
            for cut in 0..len {
                prop_assert_eq!(parse(&encoded[..cut]), Err(Malformed::Truncated));
            }
        }
    }
}
