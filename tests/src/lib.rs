//! What bowline promises, held against endpoints that talk over a simulated network.
//!
//! - [`oracle`]: obvious models of the three modes. They share no code with bowline: they are told what was
//!   sent and what arrived, and say what must not have.
//! - [`world`]: endpoints, a network that misbehaves, and applications that act at random. A world
//!   follows from a [`scenario`], and that from one seed.
//! - [`mutant`]: endpoints that are wrong on purpose. The models must tell.
//! - [`stage`]: endpoints for tests that say themselves what happens.
//! - [`rogue`]: a peer that speaks the protocol and keeps none of its rules.
//! - [`allocator`]: an allocator that counts, and refuses when told to.
//! - [`watched`]: machines whose calls it watches.
//! - [`dissect`]: what is in a datagram.
//! - [`attack`]: peers that mean harm, and [`room`]: those who have to live with them.
//! - [`load`]: all that endpoints can be asked to do, in great numbers.
//! - [`backlog`]: a sender that always has more to send than can be sent.
//! - [`polled`]: machines whose polls are counted.
//! - [`enet`]: hosts that speak ENet on a network, and [`enet_rogue`]: one alone with a peer that writes its own
//!   datagrams.
//! - [`shape`]: what congestion controllers make of a bottleneck.
//! - [`soak`]: world after world, for as long as one likes.

extern crate alloc;

pub mod allocator;
pub mod attack;
pub mod backlog;
pub mod dissect;
pub mod enet;
pub mod enet_rogue;
pub mod load;
pub mod memory;
pub mod mutant;
pub mod polled;
pub mod recording;
pub mod rogue;
pub mod room;
pub mod scenario;
pub mod shape;
pub mod soak;
pub mod stage;
pub mod watched;
pub mod world;

pub use bowline_fuzz::oracle;
