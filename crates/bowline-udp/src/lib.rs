//! Drives bowline machines over std UDP sockets, IPv4 and IPv6, on the caller's thread.
//!
//! A [`Driver`] holds a [`UdpSocket`], a [`Clock`] and one buffer, and moves datagrams between
//! the network and any [`Machine`]. The application keeps the machine, and has it to itself
//! between two turns:
//!
//! ```no_run
//! use core::time::Duration;
//!
//! use bowline_core::{ChannelId, Event, Machine, Messages, Mode, Outgoing};
//! use bowline_udp::Driver;
//!
//! fn serve(mut endpoint: impl Machine + Messages) -> std::io::Result<()> {
//!     // On a machine without IPv6 the first cannot be bound, so the second is.
//!     let anywhere = ["[::]:7777".parse().unwrap(), "0.0.0.0:7777".parse().unwrap()];
//!     let mut driver = Driver::bind(&anywhere[..])?;
//!     loop {
//!         // Sends what was queued below, sleeps for a frame at the most, takes in what arrived.
//!         driver.drive(&mut endpoint, Some(Duration::from_millis(16)))?;
//!         while let Some(event) = endpoint.poll_event() {
//!             if let Event::Connected(peer) = event {
//!                 let hello = Outgoing::new(ChannelId(0), Mode::Reliable, &[b"hello"]);
//!                 let _ = endpoint.send(driver.now(), peer, hello);
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! One turn of [`Driver::drive`], and what bounds it:
//!
//! ```text
//!   send what is due ──► sleep ──────────► take in ───────► send what is due ──► application
//!   256 at the most      next datagram,    256 at the most  256 at the most
//!                        next deadline,
//!                        or max_wait
//! ```
//!
//! - Everything the application tells the machine is stamped by [`Driver::now`].
//! - A program with a frame loop of its own drives with a wait of zero once a frame, and again
//!   while [`Progress::more`].
//! - An address goes through [`canonical`] before a machine is told to connect to it.
//! - A busy server wants more receive buffer than systems give unasked (some 200 kB on Linux):
//!   set it on [`UdpSocket::as_ref`], or on a socket for [`UdpSocket::from_std`].
//!
//! # Trouble is counted
//!
//! A full buffer, an ICMP error, a datagram that is too long, a firewall, an address of the wrong
//! family: each adds one to a number in [`SocketStats`], and the datagram counts as lost, which
//! protocols know how to deal with. After a full buffer nothing is sent for a millisecond, rather
//! than lose more to it. An [`std::io::Error`] comes only of a socket that is none.
//!
//! # What it costs
//!
//! The socket never blocks; sleeping is a `poll` of its own. So a turn costs one such call and one
//! receive that finds nothing, over the bare send and receive of each datagram. Measured by
//! `examples/rate.rs` (Linux, loopback, 1,200 bytes, one thread), against bare blocking calls:
//! 0.8 of their rate with one datagram per turn, 0.9 with four, 0.97 with sixteen.
//!
//! The standard library could only sleep in a blocking receive with a read timeout, switching the
//! socket back and forth. That takes about as long, but on Linux it sleeps in whole ticks of the
//! kernel: where `poll` slept 0.4 ms for 0.3, a read timeout slept 7.6.
//!
//! # What is not here
//!
//! No thread, no `unsafe`, no logging, no allocation but the buffer, and nothing of any protocol.
//! Not yet: congestion marks (`ecn` is `None` in, ignored out), segmentation and coalescing by the
//! kernel (a train is sent one by one), the don't-fragment bit.
//!
//! [`Machine`]: bowline_core::Machine

mod address;
mod clock;
mod driver;
mod fault;
mod socket;
mod stats;

pub use address::canonical;
pub use clock::Clock;
pub use driver::{Driver, Progress};
pub use socket::{Arrival, Sent, UdpSocket};
pub use stats::SocketStats;
