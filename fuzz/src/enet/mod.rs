//! ENet: its hosts, and what their datagrams are compressed with.

pub mod fastlz;
pub mod host;
mod promises;
pub mod range_coder;
pub mod zlib_zstd;

use bowline_enet::Compressor;

/// `input` compressed, or restored, to no more than `limit` bytes; what is behind them stays as it is.
fn bounded(by: impl FnOnce(&mut [u8]) -> Option<usize>, limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0xEE; limit];
    let len = by(&mut out)?;
    assert!((1..=limit).contains(&len), "{len} bytes of {limit}");
    out.truncate(len);
    Some(out)
}

fn compressed(by: &mut impl Compressor, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    bounded(|out| by.compress(input, out), limit)
}

fn restored(by: &mut impl Compressor, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    bounded(|out| by.decompress(input, out), limit)
}

/// What is compressed is restored, fits where it fits exactly, and nowhere shorter.
fn check_round_trip(by: &mut impl Compressor, input: &[u8]) {
    let whole = compressed(by, input, 2 * input.len() + 64);
    assert_eq!(whole.is_none(), input.is_empty());
    let Some(whole) = whole else { return };
    assert_eq!(restored(by, &whole, input.len()).as_deref(), Some(input), "not as it was");
    assert_eq!(restored(by, &whole, input.len() - 1), None, "more than there is room");
    assert_eq!(compressed(by, input, whole.len()).as_ref(), Some(&whole), "not as before");
    assert_eq!(compressed(by, input, whole.len() - 1), None, "less is enough");
}
