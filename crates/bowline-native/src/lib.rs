//! The native bowline protocol: sessions and endpoint over lent memory, without I/O.
//!
//! [`Endpoint`] is everything behind one socket. It is a [`Machine`](bowline_core::Machine), which says how
//! to drive it, and [`Messages`](bowline_core::Messages), which says how to talk through it. Its memory comes
//! from whoever makes it: [`Fixed`] arrays fit for a `static`, or a `Heap` (feature `alloc`) that grows up
//! to limits someone wrote down.
//!
//! No clock is read, no socket opened, no random number drawn in this crate: the same inputs at the same
//! times with the same seed give the same bytes out.
//!
//! # Driving it
//!
//! Two endpoints that hand each other their datagrams; a socket, and time that passes, take the place of
//! that in real life.
//!
//! ```
//! use bowline_core::{Address, ChannelId, Event, Instant, Machine, Messages, Mode, Outgoing};
//! use bowline_crypto::SipHash;
//! use bowline_native::{Config, Endpoint, Fixed};
//!
//! fn relay(from: &mut dyn Machine, name: Address, to: &mut dyn Machine, now: Instant) -> bool {
//!     let (mut buf, mut any) = ([0; 512], false);
//!     while let Ok(Some(transmit)) = from.poll_transmit(now, &mut buf) {
//!         let _ = to.handle_datagram(now, name.into(), &mut buf[..transmit.len]);
//!         any = true;
//!     }
//!     any
//! }
//!
//! let [here, there] = [Address::from_raw(b"client")?, Address::from_raw(b"server")?];
//! let (mut ours, mut theirs) = (Fixed::<1, 1, 16, 32>::new(), Fixed::<1, 1, 16, 32>::new());
//! let now = Instant::from_micros(1);
//! let mut client = Endpoint::plain(Config::small(7), &SipHash, &[1; 32], &mut ours)?;
//! let mut server = Endpoint::plain(Config::small(7), &SipHash, &[2; 32], &mut theirs)?;
//! let peer = client.connect_plain(now, there, b"my name")?;
//! while relay(&mut client, here, &mut server, now) | relay(&mut server, there, &mut client, now) {}
//! assert_eq!(client.poll_event(), Some(Event::Connected(peer)));
//!
//! client.send(now, peer, Outgoing::new(ChannelId(0), Mode::Reliable, &[b"hello ", b"there"]))?;
//! while relay(&mut client, here, &mut server, now) | relay(&mut server, there, &mut client, now) {}
//! let Some(Event::Connected(peer)) = server.poll_event() else { panic!() };
//! assert_eq!(server.poll_event(), Some(Event::Readable(peer)));
//! assert_eq!(server.recv(peer).unwrap().as_slice(), Some(&b"hello there"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - Any bytes, from anywhere, at any time: a [`DropReason`](bowline_core::DropReason) and a counter, bounded
//!   work, no panic. Strangers get no state, and no answer longer than what they sent.
//! - A packet is taken whole or not at all, and acknowledged only if it was taken.
//! - What a session was promised ([`Config::credit`], [`Config::send_reserve`], a part of the records) no other can
//!   take, and it is kept for whoever has a place here and has not come yet.
//! - Memory that all share is lent for one message of a session at a time, and only while that comes at the pace
//!   which [`Config::reliable_max`] states.
//! - `Full` is followed by [`Writable`](bowline_core::Event::Writable). After
//!   [`Disconnected`](bowline_core::Event::Disconnected) an id is never used again, and all memory is back.
//! - Nobody is given up because this side's caller was away: its absences do not count as silence.
//!
//! # Channels
//!
//! When there is more to send than can be sent, the [`Class`] of a channel says what goes first.
//!
//! ```
//! # use bowline_core::{Address, ChannelId, Event, Instant, Machine, Messages, Mode, Outgoing};
//! # use bowline_crypto::SipHash;
//! use bowline_native::{Class, Config, Endpoint, Fixed};
//!
//! const CLASSES: &[Class] = &[
//!     // 0, orders: before everything else.
//!     Class { priority: 200, ..Class::DEFAULT },
//!     // 1 and 2, the world and the chat: three parts for one, of what orders leave.
//!     Class { weight: 48, ..Class::DEFAULT },
//!     Class { weight: 16, ..Class::DEFAULT },
//!     // 3, downloads: if nobody else has anything to send, but 20 kB/s in any case, and 500 kB/s at most.
//!     Class { priority: 0, rate_min: 20_000, rate_max: 500_000, ..Class::DEFAULT },
//! ];
//! let config = Config { channels: 4, classes: CLASSES, ..Config::small(7) };
//! # fn relay(from: &mut dyn Machine, name: Address, to: &mut dyn Machine, now: Instant) -> bool {
//! #     let (mut buf, mut any) = ([0; 512], false);
//! #     while let Ok(Some(transmit)) = from.poll_transmit(now, &mut buf) {
//! #         let _ = to.handle_datagram(now, name.into(), &mut buf[..transmit.len]);
//! #         any = true;
//! #     }
//! #     any
//! # }
//! # let [here, there] = [Address::from_raw(b"client")?, Address::from_raw(b"server")?];
//! # let (mut ours, mut theirs) = (Fixed::<1, 4, 32, 64>::new(), Fixed::<1, 4, 32, 64>::new());
//! # let now = Instant::from_micros(1);
//! # let mut client = Endpoint::plain(config, &SipHash, &[1; 32], &mut ours)?;
//! # let mut server = Endpoint::plain(config, &SipHash, &[2; 32], &mut theirs)?;
//! # let peer = client.connect_plain(now, there, b"")?;
//! # while relay(&mut client, here, &mut server, now) | relay(&mut server, there, &mut client, now) {}
//! # let back = loop {
//! #     if let Some(Event::Connected(back)) = server.poll_event() { break back }
//! # };
//! for (channel, text) in [(2, "well played"), (0, "fire")] {
//!     let pieces = [text.as_bytes()];
//!     client.send(now, peer, Outgoing::new(ChannelId(channel), Mode::Reliable, &pieces))?;
//! }
//! # while relay(&mut client, here, &mut server, now) | relay(&mut server, there, &mut client, now) {}
//! // What was sent last arrives first.
//! assert_eq!(server.recv(back).unwrap().as_slice(), Some(&b"fire"[..]));
//! assert_eq!(server.recv(back).unwrap().as_slice(), Some(&b"well played"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Each mode of a channel counts by itself: its share and its budgets are its own. Each side says how it sends;
//!   classes are not agreed.
//! - A higher *priority* goes first. Of lower ones at most one datagram is sent before a message of a
//!   higher one that may be sent, and nothing that has no minimum as long as a higher one has something.
//! - Equals of a priority share what it gets in proportion to their *weights*, in bytes, whatever the length of their
//!   messages: within 5 % over 1,000 datagrams. Who was idle has nothing to its credit, and waits for one datagram of
//!   each equal at most.
//! - A *minimum* goes before higher priorities, all minimums together with every other datagram. What a channel
//!   gets otherwise counts towards it.
//! - A *maximum* is never exceeded by more than what it brings in 100 ms and one datagram. While only channels that
//!   have used it up have something to send, the session sleeps, and
//!   [`poll_timeout`](bowline_core::Machine::poll_timeout) says until when. A caller that comes less often than every
//!   100 ms gets less than it might.
//! - What is sent again counts like what is new. Only a probe, after a probe timeout, waits for no budget;
//!   it counts all the same.
//! - Channels wait for each other only so: one that has no credit, or nothing to send, holds up nobody.
//!
//! # Outcomes, deadlines, keys
//!
//! ```
//! # use bowline_core::{ChannelId, Duration, Mode, Outgoing, Tag};
//! let position = [0; 12];
//! let pieces = [&position[..]];
//! // Told what becomes of it, and worth nothing after 100 ms.
//! let shot = Outgoing::new(ChannelId(1), Mode::Reliable, &pieces)
//!     .tagged(Tag(17))
//!     .expiring(Duration::from_millis(100));
//! // The newest position of entity 5; an older one that waits is replaced.
//! let moved = Outgoing::new(ChannelId(2), Mode::ReliableLatest, &pieces).with_key(5);
//! # let _ = (shot, moved);
//! ```
//!
//! - A message with a tag ends in exactly one [`Outcome`](bowline_core::Outcome), in every mode, told by an
//!   event. Tags need not differ.
//! - A message with a tag, a time to live or a key has a *ticket*, a record of 40 bytes, from `send` until it
//!   has ended and that was polled. Who polls no events runs out of tickets ([`Config::tickets_max`], or memory):
//!   then `send` answers `Full` to such messages, and `Writable` follows once a ticket is free. No outcome is lost.
//! - *Acknowledged* is told when the bytes are: in order in mode reliable, as they are in the others. Of a message in
//!   fragments, all of them. *Lost* is decided by the loss of a packet, and final; an acknowledgement that comes
//!   later counts as [`PeerStatistics::acks_late`].
//! - A time to live begins with `send`. When it is over, a message that waits in an unreliable mode is dropped
//!   (one of which anything was sent is left to its packet's fate), and one in a reliable mode is given up: its
//!   bytes are sent no more, and the peer is told to pass over them, again until it acknowledges that. Order is kept and
//!   never waits. Within 1 ms, if [`poll_timeout`](bowline_core::Machine::poll_timeout) is heeded.
//! - [`cancel`](bowline_core::Messages::cancel) gives a message up in the same way, and
//!   so does a newer one of the same key in mode reliable-latest. One that was not sent and is as long is replaced in
//!   its place.
//! - Who gives up what was sent in part cannot know whether it was delivered.
//! - When a session ends, all that has not ended is *closed*, before `Disconnected` is told.
//!   [`Endpoint::finish`] waits for the outcomes first.
//!
//! # Channels among each other
//!
//! [`Config::classes`] gives channels a priority, a weight among equals, and budgets in bytes per second;
//! [`bowline_transport::share`] tells how they are kept.
//!
//! What is not here yet: secured sessions, redundancy, congestion control beyond a fixed window, pacing, path MTU
//! search.
//!
//! `--cfg bowline_mutant="..."` makes one thing wrong on purpose, to see that the tests notice; `cargo xtask
//! mutants` has the list.
#![no_std]
// Not `indexing_slicing`: `Slots` are indexed by links, which never panics. That nothing else does is
// shown by the bare-metal link.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

mod accept;
mod acked;
mod admission;
mod agreement;
mod apply;
mod bans;
mod check;
mod closing;
mod config;
mod connect;
mod cookies;
mod domain;
mod drive;
mod endpoint;
mod gate;
mod grant;
mod handshake;
mod index;
mod lines;
mod note;
mod outcome;
mod pace;
mod packet;
mod peer;
mod pieces;
mod promise;
mod query;
mod random;
mod read;
mod receive;
mod reply;
mod resend;
mod send;
mod session;
mod sources;
mod statistics;
mod storage;
mod table;
mod talk;
mod timeout;
mod transmit;
mod waiting;

pub use bans::{Ban, BanError, Whom};
pub use bowline_transport::fragments::Limits as IncompleteLimits;
pub use bowline_transport::share::{Class, ClassError};
pub use config::{Accept, Config, ConfigError, Integrity, MESSAGE_LEN_MAX};
pub use connect::ConnectError;
pub use domain::Domain;
pub use endpoint::{Endpoint, UnknownPeer};
pub use gate::Gate;
pub use peer::Peer;
pub use query::{Answer, INFO_LEN_MAX};
pub use reply::Reply;
pub use sources::{RateLimit, SourceCount, SourceRate};
pub use statistics::{EndpointStatistics, PathState, PeerStatistics};
pub use storage::{Capacity, Control, Fixed, InUse, Need, Parts, Shape, Slices, Storage};
#[cfg(feature = "alloc")]
pub use storage::{Heap, Limits};
pub use talk::Broadcast;
