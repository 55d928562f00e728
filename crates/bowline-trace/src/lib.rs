//! Records everything that goes into a native bowline endpoint, and replays it byte by byte.
//!
//! A [`Recorder`] takes the place of an [`Endpoint`](bowline_native::Endpoint): it is driven and talked
//! through as that is, and appends every input, and what came of it, to a [`Sink`]. A [`Replay`] builds the
//! endpoint anew, repeats the inputs, and compares every output. So what happened in the field happens
//! again at a desk, on any machine, as often as one likes.
//!
//! **A trace contains secrets**: the endpoint's seed, and with it all that ever follows from it; the addresses
//! of its peers; everything that was said. Treat it as you would the memory of the process.
//!
//! ```
//! use bowline_core::{Address, Instant, Machine};
//! use bowline_crypto::SipHash;
//! use bowline_native::{Config, Fixed};
//! use bowline_trace::{End, Recorder, Replay, Trace};
//!
//! let mut file = Vec::new(); // Or `Stream`, around a file.
//! let mut memory = Fixed::<1, 1, 16, 32>::new();
//! let mut endpoint = Recorder::plain(Config::small(7), &SipHash, &[1; 32], &mut memory, &mut file)?;
//! let (now, mut buf) = (Instant::from_micros(1), [0; 512]);
//! endpoint.connect_plain(now, Address::from_raw(b"server")?, b"my name")?;
//! while endpoint.poll_transmit(now, &mut buf)?.is_some() {}
//! endpoint.stop();
//! drop(endpoint);
//!
//! let trace = Trace::open(&file[..])?;
//! let mut memory = Fixed::<1, 1, 16, 32>::new();
//! let summary = Replay::new(trace, &SipHash, &mut memory, &[])?.run(&mut Vec::new())?;
//! assert_eq!((summary.end, summary.datagrams_out), (End::Complete, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//!
//! A recorder takes about 4 KiB besides its endpoint, and allocates nothing. Who does not record pays nothing:
//! it is a type of its own.
//!
//! # Limits
//!
//! Memory that an allocator refused is not an input that a trace holds: the replay, which is given that
//! memory, goes another way and says so. A trace is of one version of the wire protocol and one version of
//! its own format; another one is refused by name. Statistics and other answers that change nothing are
//! not recorded.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `std` | `Stream`: files, and whatever else reads and writes; a faster CRC; implies `alloc` |
//! | `alloc` | sinks and buffers that grow; `Heap::of_shape` makes the memory that a trace was recorded on |
//!
//! # Format
#![doc = include_str!("../FORMAT.md")]
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod addresses;
mod chunks;
mod config;
mod error;
mod format;
mod hash;
mod header;
mod input;
mod output;
mod reader;
mod recorder;
mod replay;
mod row;
mod scratch;
mod sink;
mod source;
#[cfg(feature = "std")]
mod stream;
mod tape;

pub use error::{ReplayError, TraceError};
pub use format::{BUFFER_MAX, MAGIC, VERSION, WARNING};
pub use header::Header;
pub use input::{Input, Options};
pub use output::{Bytes, Message, Output, Sent};
pub use reader::{Record, Trace};
pub use recorder::Recorder;
pub use replay::{Divergence, End, Replay, Step, Summary};
pub use scratch::Scratch;
pub use sink::Sink;
pub use source::Source;
#[cfg(feature = "std")]
pub use stream::Stream;
