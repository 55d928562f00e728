//! A virtual network in virtual time, for anything that is a [`Machine`](bowline_core::Machine).
//!
//! For tests, models, benches and people who want to see what a bad network does to their game
//! before their players do. A [`Net`] has nodes, one machine each, and in each direction between
//! two of them a [`Link`] that delays, loses (one by one or in [`Bursts`]), reorders, duplicates,
//! damages, queues and clamps. Nodes can change their address as behind a NAT, look at their
//! socket only once per frame, or freeze. Everything follows from one seed: the same run again is
//! the same, byte by byte, on every target.
//!
//! # How to drive it
//!
//! The application acts, then calls [`Net::step`] with all machines in order of their nodes:
//!
//! ```text
//!   the application acts: reads events, sends messages       <─────────┐
//!        │                                                             │
//!   step: poll_transmit of each machine until None ── links            │
//!         the clock moves to the next arrival or timeout, whichever    │
//!         handle_datagram for all that has arrived          ───────────┘
//! ```
//!
//! That is the contract of `Machine`, with the wait cut out. [`Net::run_until`] goes round
//! without the application.
//!
//! ```
//! use bowline_core::{
//!     Address, BufferTooShort, DropReason, Duration, Instant, Machine, Received, Transmit,
//! };
//! use bowline_sim::{Link, Net, PERCENT, Step};
//!
//! /// Sends a byte to its peer every 20 ms and counts what it gets.
//! struct Beacon { peer: Address, next: Instant, left: u32, received: u32 }
//!
//! impl Machine for Beacon {
//!     fn handle_datagram(
//!         &mut self, _now: Instant, _from: Received, _datagram: &mut [u8],
//!     ) -> Result<(), DropReason> {
//!         self.received += 1;
//!         Ok(())
//!     }
//!
//!     fn poll_transmit(
//!         &mut self, now: Instant, buf: &mut [u8],
//!     ) -> Result<Option<Transmit>, BufferTooShort> {
//!         if self.left == 0 || now < self.next {
//!             return Ok(None);
//!         }
//!         let Some(first) = buf.first_mut() else { return Err(BufferTooShort { needed: 1 }) };
//!         *first = b'!';
//!         self.left -= 1;
//!         self.next = now + Duration::from_millis(20);
//!         Ok(Some(Transmit { to: self.peer, len: 1, segment_len: None, ecn: None }))
//!     }
//!
//!     fn poll_timeout(&mut self) -> Option<Instant> {
//!         (self.left > 0).then_some(self.next)
//!     }
//! }
//!
//! let link = Link::PERFECT.with_delay(Duration::from_millis(50)).with_loss(10 * PERCENT);
//! let mut net = Net::with_nodes(42, 2, link);
//! let beacon = |peer| Beacon { peer, next: net.now(), left: 1_000, received: 0 };
//! let (mut a, mut b) = (beacon(net.address(1)), beacon(net.address(0)));
//!
//! while net.step(&mut [&mut a, &mut b])? != Step::Idle {
//!     // Here an application would read events and send messages, at `net.now()`.
//! }
//!
//! let counters = net.counters(0, 1);
//! assert_eq!(counters.sent, 1_000);
//! assert_eq!(counters.delivered, u64::from(b.received));
//! assert_eq!(counters.sent, counters.delivered + counters.lost);
//! assert!((60..140).contains(&counters.lost));
//! # Ok::<(), bowline_sim::Fault>(())
//! ```
//!
//! To see a run in Wireshark: [`Net::start_pcap`]. To compare two runs: [`Net::start_trace`]. To
//! watch with code of your own: [`Tap`]. To lose exactly the third datagram: [`Net::set_filter`].
//! To play an attacker: [`Mailbox`] and [`Net::inject`]. To print how to replay a failure:
//! [`Case`].
//!
//! # What it never does
//!
//! It reads no clock and no environment, opens no socket or file, draws no random number that
//! does not follow from the seed, and lets no floating point number, hash map or pointer decide
//! anything. Time never goes backwards. No datagram disappears uncounted. A machine that cannot
//! be driven to an end is reported as a [`Fault`], not spun on. Unlike the protocol crates it
//! allocates, and panics when its caller names a node that is not there.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bottleneck;
mod case;
mod counters;
mod drive;
mod fault;
mod flight;
mod link;
mod mailbox;
mod net;
mod node;
mod path;
mod pcap;
mod rng;
mod tap;
mod traffic;
mod wakes;

pub use case::{BadSeed, Case, Guard};
pub use counters::Counters;
pub use drive::{BUFFER_MAX, LATE_POLLS_MAX, ROUNDS_MAX, Step, TRANSMITS_MAX};
pub use fault::Fault;
pub use link::{Bursts, Link, Outage, UDP_OVERHEAD};
pub use mailbox::{Letter, Mailbox};
pub use net::{AddressTaken, Net, NodeId};
pub use pcap::{Pcap, Vantage};
pub use rng::{PERCENT, Rng};
pub use tap::{Arrival, Departure, Loss, Sighting, Tap, TraceHash};
