//! FastLZ: round trips, and whatever comes against a decoder that knows only the format.

use bowline_enet_compress::FastLz;

use super::{check_round_trip, restored};

/// A byte that says how, and the bytes: to compress, or as if they were compressed.
pub fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut fastlz = FastLz::new();
    if how & 1 == 0 {
        check_round_trip(&mut fastlz, &bytes.repeat(1 + usize::from(how >> 4)));
        return;
    }
    let limit = 16 << (how >> 4);
    let found = restored(&mut fastlz, bytes, limit);
    assert_eq!(found, by_definition(bytes).filter(|output| output.len() <= limit));
    if let Some(output) = found {
        check_round_trip(&mut fastlz, output.get(..65_535).unwrap_or(&output));
    }
}

/// What `input` stands for, one byte after the other.
fn by_definition(input: &[u8]) -> Option<Vec<u8>> {
    if input.is_empty() || input[0] >= 0x20 {
        return None;
    }
    let (mut at, mut output) = (0, Vec::<u8>::new());
    let mut next = || {
        at += 1;
        input.get(at - 1).copied().map(usize::from)
    };
    while let Some(first) = next() {
        if first < 0x20 {
            for _ in 0..=first {
                output.push(next()? as u8);
            }
            continue;
        }
        let len = if first >= 0xE0 { 9 + next()? } else { 2 + (first >> 5) };
        let distance = ((first & 0x1F) << 8 | next()?) + 1;
        for _ in 0..len {
            output.push(output[output.len().checked_sub(distance)?]);
        }
    }
    Some(output)
}
