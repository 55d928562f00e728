//! Varints against their definition, written out bit by bit.

use bowline_wire::{Malformed, varint};

/// Every varint of `data`, one after the other.
pub fn check(data: &[u8]) {
    let mut bytes = data;
    loop {
        let parsed = varint::parse(bytes);
        assert_eq!(parsed, by_definition(bytes), "{bytes:02x?}");
        let Ok((value, rest)) = parsed else { break };
        let (encoded, len) = varint::encode(value);
        assert_eq!(
            &encoded[..len],
            &bytes[..bytes.len() - rest.len()],
            "{value} is written otherwise"
        );
        assert_eq!(varint::len(value), len);
        bytes = rest;
    }
    if let Some((chunk, _)) = data.split_first_chunk() {
        let value = u32::from_le_bytes(*chunk) & varint::MAX;
        let (encoded, len) = varint::encode(value);
        assert_eq!(by_definition(&encoded[..len]), Ok((value, &[][..])));
    }
}

/// The leading ones of the first byte say how many bytes follow; the value is what bits are left, and no
/// shorter form could have held it.
fn by_definition(bytes: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let first = *bytes.first().ok_or(Malformed::Truncated)?;
    let more = first.leading_ones() as usize;
    if more > 3 {
        return Err(Malformed::Varint);
    }
    let Some((field, rest)) = bytes.split_at_checked(1 + more) else {
        return Err(Malformed::Truncated);
    };
    let bits: Vec<bool> = field
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .skip(more + 1)
        .collect();
    let value = bits.iter().fold(0, |value, bit| value * 2 + u32::from(*bit));
    let least = if more == 0 { 0 } else { 1 << (7 * more) };
    if value < least { Err(Malformed::Varint) } else { Ok((value, rest)) }
}
