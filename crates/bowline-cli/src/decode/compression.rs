//! Commands of ENet that somebody compressed, restored by whatever makes sense of them.

use bowline_enet::{Compressor, RangeCoder};
use bowline_enet_compress::{FastLz, Zlib, Zstd};
use bowline_wire::enet::{MTU_MAX, commands};

/// What a datagram was compressed with, and its commands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Restored {
    pub(super) by: &'static str,
    pub(super) commands: Vec<u8>,
}

impl Restored {
    /// The commands in `compressed`, if one of the compressors that are in use makes commands of it.
    pub(super) fn new(compressed: &[u8]) -> Option<Self> {
        let mut compressors: [(_, Box<dyn Compressor>); 4] = [
            ("zlib", Box::new(Zlib::new())),
            ("Zstandard", Box::new(Zstd::new())),
            // These make something of most bytes.
            ("FastLZ", Box::new(FastLz::new())),
            ("the range coder", Box::new(RangeCoder::new())),
        ];
        compressors.iter_mut().find_map(|(by, compressor)| {
            let mut out = vec![0; MTU_MAX as usize];
            let len = compressor.decompress(compressed, &mut out)?;
            out.truncate(len);
            is_sensible(&out).then_some(Self { by, commands: out })
        })
    }
}

/// Whether there are commands up to the end, or up to the zeros with which Godot extends them for FastLZ.
fn is_sensible(bytes: &[u8]) -> bool {
    let mut all = commands(bytes);
    let mut rest = all.rest();
    while let Some(Ok(_)) = all.next() {
        rest = all.rest();
    }
    rest.len() < bytes.len() && rest.len() < 16 && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_compressor_is_found_out() {
        let ping = [0x85, 0xFF, 0x00, 0x02].repeat(10);
        let compressors: [(_, Box<dyn Compressor>); 4] = [
            ("zlib", Box::new(Zlib::new())),
            ("Zstandard", Box::new(Zstd::new())),
            ("FastLZ", Box::new(FastLz::new())),
            ("the range coder", Box::new(RangeCoder::new())),
        ];
        for (by, mut compressor) in compressors {
            let mut out = [0; 100];
            let len = compressor.compress(&ping, &mut out).unwrap();
            let commands = ping.clone();
            assert_eq!(Restored::new(&out[..len]), Some(Restored { by, commands }));
        }
    }

    #[test]
    fn a_few_zeros_may_follow() {
        assert!(is_sensible(&[0x85, 0xFF, 0, 2]));
        assert!(is_sensible(&[0x85, 0xFF, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!is_sensible(&[0x85, 0xFF, 0, 2, 0, 0, 1]));
        assert!(!is_sensible(&[0; 8]));
        assert!(!is_sensible(&[]));
    }
}
