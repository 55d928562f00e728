//! Deflate with the header of zlib.

use bowline_enet::Compressor;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// A stream of zlib per datagram ([RFC 1950]), at the default level.
///
/// Allocates when made, about 300 KB, and not again.
///
/// [RFC 1950]: https://www.rfc-editor.org/rfc/rfc1950
#[derive(Debug)]
pub struct Zlib {
    compress: Compress,
    decompress: Decompress,
}

impl Zlib {
    /// A compressor.
    pub fn new() -> Self {
        Self {
            compress: Compress::new(Compression::default(), true),
            decompress: Decompress::new(true),
        }
    }
}

impl Default for Zlib {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor for Zlib {
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        self.compress.reset();
        let status = self.compress.compress(input, out, FlushCompress::Finish).ok()?;
        let len = usize::try_from(self.compress.total_out()).ok()?;
        (status == Status::StreamEnd && !input.is_empty()).then_some(len)
    }

    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        self.decompress.reset(true);
        let status = self.decompress.decompress(input, out, FlushDecompress::Finish).ok()?;
        let len = usize::try_from(self.decompress.total_out()).ok()?;
        let is_whole = status == Status::StreamEnd || cfg!(bowline_mutant = "without_its_end");
        (is_whole && len > 0).then_some(len)
    }
}
