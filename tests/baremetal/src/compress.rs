//! The range coder of `bowline-enet`: anything compressed, and anything restored.

use bowline_enet::{Buffered, Compression, Compressor, RangeCoder};

use crate::input::{Input, keep};
use crate::outside::lent;

lent! {
    CODER: RangeCoder = RangeCoder::new();
    BUFFERED: Buffered<RangeCoder> = Buffered::new(RangeCoder::new());
    BYTES: [u8; 4096] = [0; 4096];
    OUT: [u8; 4096] = [0; 4096];
}

/// Compresses and restores bytes of any length and content.
pub fn exercise(input: &mut Input) {
    let (Some(coder), Some(buffered)) = (CODER.lend(), BUFFERED.lend()) else { return };
    let (Some(bytes), Some(out)) = (BYTES.lend(), OUT.lend()) else { return };
    keep(bytes.as_mut_ptr());
    let bytes = bytes.get(..input.index()).unwrap_or_default();
    let out = out.get_mut(..input.index()).unwrap_or_default();
    keep(coder.compress(bytes, out));
    keep(coder.decompress(bytes, out));
    keep(buffered.compress(bytes));
    keep(buffered.decompress(bytes, input.index()));
    keep(coder as *mut RangeCoder);
}
