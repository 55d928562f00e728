//! Zstandard.

use std::io::Read;

use bowline_enet::Compressor;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// The longest window that a frame may ask for, in bytes: its decoder reserves as much. A frame of Godot's asks for no
/// more than it restores, one of ruzstd's for this.
const WINDOW_MAX: u64 = 1 << 17;

/// A frame of Zstandard per datagram ([RFC 8878]).
///
/// Restores what any encoder made that asks for a window of 128 KiB at most, and restores one block of that much
/// at most before it notices that it does not fit. Checksums of the content, which Godot does not send, are passed over.
/// Its own encoder knows only the fastest level, so that datagrams become a little longer than Godot's; and it
/// allocates each time.
///
/// [RFC 8878]: https://www.rfc-editor.org/rfc/rfc8878
pub struct Zstd {
    decoder: FrameDecoder,
}

impl core::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

impl Zstd {
    /// A compressor.
    pub fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_MAX);
        Self { decoder }
    }
}

impl Default for Zstd {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor for Zstd {
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        if input.is_empty() {
            return None;
        }
        let frame = compress_to_vec(input, CompressionLevel::Fastest);
        out.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(frame.len())
    }

    fn decompress(&mut self, mut input: &[u8], out: &mut [u8]) -> Option<usize> {
        let decoder = &mut self.decoder;
        decoder.init(&mut input).ok()?;
        // One more than fits, so that what fits is decoded to its end.
        let strategy = BlockDecodingStrategy::UptoBytes(out.len() + 1);
        let is_whole = decoder.decode_blocks(&mut input, strategy).ok()?;
        let len = decoder.can_collect();
        if !is_whole || !input.is_empty() || len == 0 || len > out.len() {
            return None;
        }
        decoder.read(out).ok().filter(|read| *read == len)
    }
}
