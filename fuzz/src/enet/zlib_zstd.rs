//! The compressors of other people: round trips, and whatever comes, which must do nothing worse than fail.

use bowline_enet::Compressor;
use bowline_enet_compress::{Zlib, Zstd};

use super::{check_round_trip, compressed, restored};

/// A byte that says how, and the bytes: to compress, or as if they were compressed.
pub fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    if how & 1 == 0 {
        check_with(&mut Zlib::new(), &[0x78, 0x9C], *how, bytes);
    } else {
        check_with(&mut Zstd::new(), &[0x28, 0xB5, 0x2F, 0xFD], *how, bytes);
    }
}

/// `start` is what its output begins with.
fn check_with(by: &mut impl Compressor, start: &[u8], how: u8, bytes: &[u8]) {
    if how & 2 == 0 {
        check_round_trip(by, bytes);
        check_cut(by, bytes);
        return;
    }
    let limit = 16 << (how >> 5);
    let bytes = if how & 4 == 0 { [start, bytes].concat() } else { bytes.to_vec() };
    let Some(output) = restored(by, &bytes, limit) else { return };
    assert_eq!(restored(by, &bytes, output.len()).as_ref(), Some(&output), "not as before");
    assert_eq!(restored(by, &bytes, output.len() - 1), None, "more than there is room");
}

/// What lacks its end is nothing.
fn check_cut(by: &mut impl Compressor, input: &[u8]) {
    let Some(whole) = compressed(by, input, 2 * input.len() + 64) else { return };
    for len in [1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(restored(by, &whole[..len], input.len()), None, "{len} of {}", whole.len());
    }
}
