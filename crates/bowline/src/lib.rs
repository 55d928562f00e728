//! Reliable UDP for games and devices, as state machines without I/O: the paved path.
//!
//! An [`Endpoint`] is everything behind one socket: any number of sessions, in both roles. Datagrams
//! and the time go in, datagrams and deadlines come out; messages and events are read and written in
//! between. It opens no socket, reads no clock, draws no random number and spawns no thread. All four
//! are yours, and so is the memory it works in. The same inputs give the same bytes.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bowline::{Accept, Config, Driver, Event, Heap, Limits, Messages, Mode, Outgoing};
//!
//! const APPLICATION: u64 = 0x7465_7472_6973; // Peers with another number are refused.
//! # fn endpoint() -> Result<bowline::Endpoint<Heap>, Box<dyn std::error::Error>> {
//! #     Ok(bowline::plain(Config::new(APPLICATION), &bowline::seed()?, Heap::new(Limits::for_peers(2)))?)
//! # }
//! # let (mut server, mut server_driver) = (endpoint()?, Driver::bind("127.0.0.1:0")?);
//! # let address = server_driver.socket().local_addr()?;
//! let config = Config { accept: Accept::Never, ..Config::new(APPLICATION) };
//! let mut endpoint = bowline::plain(config, &bowline::seed()?, Heap::new(Limits::for_peers(1)))?;
//! let mut driver = Driver::bind("127.0.0.1:0")?;
//! let server_address = bowline::udp::canonical(address).into();
//! endpoint.connect_plain(driver.now(), server_address, b"")?;
//! loop {
//!     driver.drive(&mut endpoint, Some(core::time::Duration::from_millis(16)))?;
//!     match endpoint.poll_event() {
//!         Some(Event::Connected(peer)) => {
//!             let hello = Outgoing::new(bowline::ChannelId(0), Mode::Reliable, &[b"hello"]);
//!             endpoint.send(driver.now(), peer, hello)?;
//!             endpoint.finish(driver.now(), peer, bowline::CloseReason(0))?;
//!         }
//!         Some(Event::Disconnected(_, reason)) => break println!("{reason}"),
//!         _ => {}
//!     }
//! #   server_driver.drive(&mut server, Some(core::time::Duration::ZERO))?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! ```text
//!  faces         bowline (you are here) ◄── bowline-cli
//!                      │
//!  edges         bowline-udp        bowline-sim        or your own loop
//!                      └──── trait Machine ───┴──────────────┘
//!  protocols          bowline-enet   bowline-native
//!                            │      │     │
//!  mechanisms     bowline-crypto    │   bowline-transport
//!                                   │     │
//!  ground                  bowline-wire ──► bowline-core
//! ```
//!
//! Edges and protocol do not see each other; they meet in [`Machine`]. An application meets the
//! protocol in [`Messages`]. Both traits are dyn-compatible. The crate `bowline-trace` wraps an endpoint so that
//! everything that goes in is recorded, and can be replayed.
//!
//! # What is promised
//!
//! Each of up to 256 channels has an order of its own for each [`Mode`], and none of them waits for another.
//! A message of any mode is delivered whole or not at all, with the bytes that were sent.
//!
//! | mode | arrives | order | a message that is lost | longer than a datagram |
//! |---|---|---|---|---|
//! | [`Unreliable`](Mode::Unreliable) | at most once | any | stays lost | in fragments, all of which must arrive |
//! | [`UnreliableOrdered`](Mode::UnreliableOrdered) | at most once | as sent: one that comes after a newer one is dropped | stays lost | likewise |
//! | [`Reliable`](Mode::Reliable) | exactly once | as sent | is sent again until acknowledged; later ones of its channel wait | a stream, no limit but the configured one |
//! | [`ReliableUnordered`](Mode::ReliableUnordered) | exactly once | as they become whole | is sent again until acknowledged; none waits for it | likewise |
//! | [`ReliableLatest`](Mode::ReliableLatest) | the newest of each key | of a key, never one after a newer one | is sent again until acknowledged or replaced; none waits for it | likewise |
//!
//! A message of any mode may have a [`Tag`], and then ends in exactly one [`Outcome`]; it may have a time to live, after
//! which nobody is bothered with it any more; and it can be [cancelled](Messages::cancel). What is given up
//! in a reliable mode is passed over, and order is kept.
//!
//! [`Config::classes`] shares a session among its channels by priority, weight and budgets.
//!
//! Besides:
//!
//! - The mode asked for is the mode used. What cannot be sent so is refused by a typed [`SendError`],
//!   and after [`SendError::Full`] comes an [`Event::Writable`].
//! - A session that ends says why, once, by [`Event::Disconnected`]. [`Endpoint::finish`] ends it after
//!   everything queued was acknowledged, [`Messages::close`] at once.
//! - Memory has the limits that were configured. What one peer was promised no other can take, and no
//!   datagram, whatever it holds, makes an endpoint panic or grow past its limits.
//! - A server can [ban](Endpoint::ban) addresses and hosts, [drain](Endpoint::drain), and hold each source to a rate of
//!   requests ([`Config::handshake_rate`]) and a number of sessions ([`Config::source_sessions_max`]).
//! - Nothing is remembered of a stranger, and he never gets more bytes than he sent, until he has
//!   shown that he receives at his address.
//!
//! # What is not promised
//!
//! - **Secrecy.** Sessions are *plain*: neither encrypted nor authenticated. A cookie keeps strangers
//!   off the path from speaking for others, a CRC finds accidents; whoever can read the traffic can
//!   forge it. The constructors say so by their names ([`plain`], [`Endpoint::connect_plain`]).
//! - **That an application has read something.** *Acknowledged* means that the peer's endpoint has it. When a session
//!   ends otherwise than by [`Endpoint::finish`], the last messages may have arrived or not.
//! - **Order between channels or modes.** There is none.
//! - **Fairness on a shared network.** The congestion window is fixed ([`Config::in_flight_max`]).
//!
//! # Embedding
//!
//! With a socket loop of your own, this is all there is to drive. (`connect_plain` and `finish` belong to
//! [`Endpoint`]; `handle_datagram` and the polls to [`Machine`] and [`Messages`], which have to be in scope.)
//!
//! ```no_run
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Without `alloc`, a [`Fixed`] takes the place of `Heap`, and may lie in a `static` (in a `Mutex` or a cell of
//! your platform, since an endpoint wants it mutable). If it is too small,
//! [`MemoryTooSmall`](ConfigError::MemoryTooSmall) tells what each session is promised.
//!
//! ```
//! use bowline::{Config, Fixed};
//!
//! let mut memory = Fixed::<1, 1, 16, 32>::new(); // peers, channels, records, blocks
//! let endpoint = bowline::plain(Config::small(7), &[0x5e; 32], &mut memory)?; // a seed from your hardware
//! # Ok::<(), bowline::ConfigError>(())
//! ```
//!
//! Without a source of randomness at start-up, [`Endpoint::add_entropy`] mixes in what is gathered later.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | [`Driver`] and [`Clock`] over `std::net::UdpSocket`, [`seed()`], a faster CRC; implies `alloc` |
//! | `alloc` | [`Heap`] |
//! | `enet` | the module `enet`: hosts that speak ENet 1.3, and Godot's way of using it |
//! | `defmt`, `log` | logging; neither changes what anything does |
//!
//! With none of them the crate is `no_std`, does not allocate and cannot panic in a release build.
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(feature = "std")]
extern crate std;

pub use bowline_core::{
    Address, AddressTooLong, BufferTooShort, CancelError, ChannelId, CloseReason, DisconnectReason,
    DropReason, Duration, Ecn, Event, Incoming, IncomingChunks, Instant, Machine, Messages, Mode,
    Outcome, Outgoing, PeerId, Received, RefuseReason, SendError, Tag, Transmit,
};
pub use bowline_crypto::{KeyedMac, SipHash};
#[cfg(feature = "enet")]
pub use bowline_enet as enet;
pub use bowline_native::{
    Accept, Answer, BanError, Broadcast, Class, ClassError, Config, ConfigError, ConnectError,
    Endpoint, EndpointStatistics, Fixed, INFO_LEN_MAX, InUse, IncompleteLimits, Integrity,
    MESSAGE_LEN_MAX, PathState, PeerStatistics, RateLimit, Storage, UnknownPeer, Whom,
};
#[cfg(feature = "alloc")]
pub use bowline_native::{Heap, Limits};
#[cfg(feature = "std")]
pub use bowline_udp::{self as udp, Clock, Driver};

/// An endpoint for *plain* sessions, with SipHash-2-4 for cookies and as the source of random
/// numbers: [`Endpoint::plain`] for everybody who has no provider of his own.
///
/// `seed` is 32 random bytes that are never used again: [`seed()`] where there is an operating
/// system.
///
/// # Errors
///
/// When `config` is no good, or `storage` does not hold what one session is promised.
pub fn plain<S: Storage>(
    config: Config,
    seed: &[u8; 32],
    storage: S,
) -> Result<Endpoint<S>, ConfigError> {
    Endpoint::plain(config, &SipHash, seed, storage)
}

/// A fresh seed for an endpoint, from the operating system.
///
/// # Errors
///
/// When the system has no randomness to give, which hardly any has reason for.
#[cfg(feature = "std")]
pub fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// The code in the project's README compiles.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn no_two_seeds_are_alike() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }

    #[test]
    fn a_bad_configuration_is_refused_before_anything_else() {
        let config = Config { channels: 0, ..Config::new(1) };
        let refused = plain(config, &[0; 32], Heap::new(Limits::for_peers(1)));
        assert_eq!(refused.err(), Some(ConfigError::Channels));
    }

    #[test]
    fn endpoints_are_driven_and_spoken_through_as_trait_objects() {
        let storage = Heap::new(Limits::for_peers(1));
        let mut endpoint = plain(Config::new(1), &[0; 32], storage).unwrap();
        assert_eq!((&mut endpoint as &mut dyn Machine).poll_timeout(), None);
        assert_eq!((&mut endpoint as &mut dyn Messages).poll_event(), None);
    }
}
