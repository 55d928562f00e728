//! The compressors that Godot offers for ENet, besides the range coder: [`FastLz`], [`Zlib`], [`Zstd`].
//!
//! Each is a [`Compressor`](bowline_enet::Compressor), to be given to a host. Nothing on the wire tells which one a
//! peer uses: both must have been told the same. Without one that peers of each other share, even the first
//! datagram of a connection goes unheard.
//!
//! | Godot's constant | here |
//! |---|---|
//! | `COMPRESS_NONE` | no compressor |
//! | `COMPRESS_RANGE_CODER` | [`RangeCoder`](bowline_enet::RangeCoder), the default of 3.4 to 3.6 |
//! | `COMPRESS_FASTLZ` | [`FastLz`] |
//! | `COMPRESS_ZLIB` | [`Zlib`] |
//! | `COMPRESS_ZSTD` | [`Zstd`] |
//!
//! What comes out need not be the same bytes as Godot's, only of the same format: what they stand for is the same.
//!
//! However much some bytes claim to stand for, no more is restored than fits where it is put, which
//! is less than 4,096 bytes in a host.

mod fastlz;
#[cfg(feature = "zlib")]
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

pub use fastlz::FastLz;
#[cfg(feature = "zlib")]
pub use zlib::Zlib;
#[cfg(feature = "zstd")]
pub use zstd::Zstd;
