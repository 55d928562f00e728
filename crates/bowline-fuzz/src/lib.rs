//! Fuzzing for whoever builds on bowline: operations, a hostile link, models as oracles.
//!
//! The targets in the project's `fuzz/` are made of this, and yours can be: the bytes of a fuzzer, or of any
//! source of random bytes, become what two applications and the network between them do. Both endpoints are
//! driven through it in virtual time, and everything that comes out is held against models that share no code
//! with bowline.
//!
//! ```text
//!   bytes ──► Op, Op, Op ... ──► Hostile ──► two machines, a link that does what the Ops say
//!                                   │
//!                                   ├──► Oracle    which messages may arrive, and when
//!                                   ├──► Ledger    every tagged message ends once, in a way it may
//!                                   └──► Game      what your own decoder thinks of each message
//! ```
//!
//! # Fuzzing a game
//!
//! [`check`] takes bytes and a [`Game`]: your decoder is handed every message that is delivered, in the mode and on
//! the channel it came by, after whatever the link did to the others; it returns what is wrong, or panics.
//!
//! ```
//! use bowline_fuzz::{Delivery, Game, check};
//!
//! /// Keeps the newest snapshot.
//! #[derive(Default)]
//! struct Snapshots { newest: u32 }
//!
//! impl Game for Snapshots {
//!     fn compose(&mut self, seed: &[u8], len: usize) -> Vec<u8> {
//!         let mut message = seed.to_vec();
//!         message.resize(len.max(4), 0);
//!         message
//!     }
//!
//!     fn received(&mut self, delivery: &Delivery<'_>) -> Result<(), String> {
//!         let (number, _) = delivery.bytes.split_first_chunk().ok_or("too short")?;
//!         self.newest = self.newest.max(u32::from_le_bytes(*number));
//!         Ok(())
//!     }
//! }
//!
//! // In a fuzz target: `fuzz_target!(|data: &[u8]| check(data, &mut Snapshots::default()))`.
//! check(b"any bytes will do", &mut Snapshots::default());
//! ```
//!
//! `fuzz/fuzz_targets/game.rs` in the repository is such a target as a whole. Without a fuzzer, call
//! [`check`] with the output of proptest or of any generator.
//!
//! # What holds, whatever the link does
//!
//! - What is delivered was sent, on that channel, in that mode, by that side, and is delivered as often and in
//!   the order that the mode allows: [`oracle::Oracle`].
//! - Every tagged message ends exactly once, before its session does, and for a reason that its sender gave:
//!   [`ledger::Ledger`].
//! - Nobody is accused of breaking the protocol, unless an attacker knew the session's secret
//!   ([`Setup::on_path`](setup::Setup::on_path)).
//! - Once the link is kind again all that was promised arrives; when all sessions are over all memory is back.
//! - No call answers for ever: neither events nor datagrams nor timeouts without time passing.
//!
//! # Other protocols
//!
//! [`Hostile`] drives anything that is a [`Subject`]: a [`Machine`](bowline_core::Machine) with
//! [`Messages`](bowline_core::Messages) that can begin sessions. [`Setup`](setup::Setup) makes native endpoints.
//!
//! # What it never does
//!
//! It reads no clock, draws no random number that does not follow from the bytes, and opens no socket: the same
//! bytes fail in the same way everywhere.

extern crate alloc;

mod failure;
pub mod forge;
mod game;
mod hostile;
pub mod ledger;
mod link;
pub mod memory;
mod native;
pub mod op;
pub mod oracle;
pub mod packet;
pub mod rogue;
pub mod setup;
mod subject;

pub use failure::Failure;
pub use game::{Counted, Delivery, Game};
pub use hostile::{Hostile, Report};
pub use link::{Flight, Link};
pub use op::{Op, Side};
pub use setup::{check, check_twins, run, run_rogue};
pub use subject::Subject;
