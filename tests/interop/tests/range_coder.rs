//! Our range coder beside the C library's: the same bytes out of the same bytes in, damaged ones included.
#![cfg(c_enet)]

use bowline_enet::{Compressor, RangeCoder};
use bowline_interop::c_enet;
use bowline_interop::random::Random;

const ROUNDS: usize = 4000;

/// Bytes as datagrams have them: some headers, some text, some noise, much that repeats.
fn input(random: &mut Random) -> Vec<u8> {
    let len = random.pick(&[1, 2, 9, 60, 400, 1400, 4000]);
    let len = 1 + random.below(len);
    let letters = random.pick(&[1, 2, 7, 60, 256]);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        if bytes.len() > 8 && random.chance(300) {
            let from = random.below(bytes.len() - 4);
            let to = bytes.len().min(from + 1 + random.below(40));
            bytes.extend_from_within(from..to);
        } else {
            bytes.push(random.below(letters) as u8);
        }
    }
    bytes.truncate(len);
    bytes
}

/// What our coder makes of `input`, with room for `limit` bytes.
fn ours(
    input: &[u8],
    limit: usize,
    work: impl Fn(&mut RangeCoder, &[u8], &mut [u8]) -> Option<usize>,
) -> Option<Vec<u8>> {
    let mut out = vec![0; limit];
    let len = work(&mut RangeCoder::new(), input, &mut out)?;
    out.truncate(len);
    Some(out)
}

#[test]
fn both_compress_to_the_same_bytes_and_restore_them() {
    let (mut random, mut theirs) = (Random::new(1), c_enet::RangeCoder::new());
    let mut shorter = 0;
    for round in 0..ROUNDS {
        let input = input(&mut random);
        let ours_out = ours(&input, input.len() - 1, RangeCoder::compress);
        assert_eq!(ours_out.as_deref(), theirs.compress(&input), "round {round}");
        let Some(compressed) = ours_out else { continue };
        shorter += 1;
        let restored = ours(&compressed, 4096, RangeCoder::decompress);
        assert_eq!(restored.as_deref(), Some(&input[..]), "round {round}");
        assert_eq!(theirs.decompress(&compressed, 4096), Some(&input[..]), "round {round}");
    }
    assert!(shorter > ROUNDS / 3, "only {shorter} became shorter");
}

#[test]
fn both_make_the_same_of_what_is_damaged_or_never_was_compressed() {
    let (mut random, mut theirs) = (Random::new(2), c_enet::RangeCoder::new());
    let (mut restored, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut bytes = input(&mut random);
        if random.chance(700) {
            bytes = theirs.compress(&bytes).map(<[u8]>::to_vec).unwrap_or(bytes);
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        let limit = random.pick(&[1, 50, 1392, 4092]);
        let ours = ours(&bytes, limit, RangeCoder::decompress);
        *(if ours.is_some() { &mut restored } else { &mut refused }) += 1;
        assert_eq!(ours.as_deref(), theirs.decompress(&bytes, limit), "round {round}");
    }
    assert!(restored > 300 && refused > 300, "{restored} restored, {refused} refused");
}
