//! Who is next among unequals: priorities, weighted shares, and budgets in bytes per second.
//!
//! Those of a peer's channels that have something to send stand in a [`Line`]. A higher priority
//! goes first. Equals take turns by start-time fair queueing (Goyal, Vin and Cheng, *Start-Time Fair
//! Queueing*, SIGCOMM 1996): each carries a *pass*, the bytes it has sent divided by its weight, and
//! whose pass is lowest goes next. Deficit round robin (Shreedhar and Varghese 1995) keeps the same
//! shares; there, however, who has a great weight sends many datagrams at a stretch, and who has a
//! small one is asked in vain for many rounds.
//!
//! Budgets are two instants a member ([`Class`]): from when on it may send again, and from when on
//! it is owed. Each moves on by what was sent, divided by the rate, in steps of 2⁻¹⁶ µs, so that
//! nothing is lost to rounding, and never lies more than [`BURST`] in the past.

mod class;
mod line;
mod member;

pub use self::class::{Class, ClassError};
pub use self::line::Line;
pub use self::member::{BURST, Member, Share};

#[cfg(test)]
mod tests;
