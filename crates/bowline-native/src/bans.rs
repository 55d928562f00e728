//! Who is kept out.

use bowline_core::{Address, CloseReason, Code, Coded, Instant, Link, Messages};

use crate::endpoint::Endpoint;
use crate::gate::Gate;
use crate::index::Addresses;
use crate::peer::Phase;
use crate::storage::{Need, Storage};

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Whom {
    /// Exactly this address, port included.
    Address(Address),
    /// Everybody at the [`Source`](bowline_core::Source) of this address: whatever the port, and of IPv6 the
    /// whole network of 64 bits.
    Source(Address),
}

impl Whom {
    /// What stands for them in the table.
    fn key(&self) -> Address {
        match self {
            Self::Address(address) => *address,
            Self::Source(address) => *address.source().address(),
        }
    }

    /// Whether `address` is one of them.
    pub fn includes(&self, address: &Address) -> bool {
        match self {
            Self::Address(whom) => whom == address,
            Self::Source(whom) => whom.source() == address.source(),
        }
    }
}

/// Why somebody could not be banned. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BanError {
    /// There is no memory for another ban, and none has expired.
    Full {
        /// How many there are.
        bans: u32,
    },
}

/// The first number is the kind, and never changes.
impl Coded for BanError {
    fn to_code(&self) -> Code {
        match *self {
            Self::Full { bans } => Code::with(0, [bans.into(), 0]),
        }
    }

    fn from_code(code: Code) -> Option<Self> {
        let [bans, ..] = code.details;
        let made = Self::Full { bans: u32::try_from(bans).ok()? };
        (made.to_code() == code).then_some(made)
    }
}

impl core::fmt::Display for BanError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full { bans } => write!(f, "no memory for more than {bans} bans"),
        }
    }
}

impl core::error::Error for BanError {}

/// A ban. Opaque: storage holds it, the endpoint uses it.
#[derive(Clone, Copy, Debug)]
pub struct Ban {
    whom: Address,
    until: Instant,
}

impl Ban {
    /// Nobody's.
    pub const VACANT: Self = Self { whom: Address::NONE, until: Instant::ZERO };
}

impl Addresses for [Ban] {
    fn address(&self, link: Link) -> Option<&Address> {
        self.get(link.index()).map(|ban| &ban.whom)
    }
}

impl<S: Storage> Endpoint<S> {
    /// Keeps somebody out from now on, until `until` or, if that is [`Instant::MAX`], for good.
    ///
    /// What they send that asks for a session, or for an answer without one, is dropped unanswered
    /// ([`DropReason::Banned`](bowline_core::DropReason::Banned)), at the cost of two look-ups however
    /// many bans there are. Sessions that they have go on: [`Self::close_all`] ends those. This side may
    /// still connect to them. A ban for whom there is one has its end moved.
    ///
    /// # Errors
    ///
    /// When there is no memory for another ban, and no other has expired. Then all are looked at, which is
    /// the only time that takes longer the more there are.
    pub fn ban(&mut self, now: Instant, whom: Whom, until: Instant) -> Result<(), BanError> {
        let now = self.enter(now);
        let ban = Ban { whom: whom.key(), until };
        loop {
            let Gate { bans, ban_index, .. } = self.storage.gate();
            let known = self.context.hash.find(ban_index, bans, &ban.whom);
            let at = known.map_or(self.bans as usize, Link::index);
            if let Some(place) = bans.get_mut(at) {
                *place = ban;
                if known.is_none() {
                    self.bans += 1;
                    self.context.hash.insert(ban_index, bans, Link::new(at as u32));
                }
                return Ok(());
            }
            if self.storage.grow(Need::Ban) {
                let Gate { bans, ban_index, .. } = self.storage.gate();
                let links = (0..self.bans).map(Link::new);
                self.context.hash.rebuild(ban_index, bans, links);
            } else if !self.forget_expired(now) {
                return Err(BanError::Full { bans: self.bans });
            }
        }
    }

    /// Lifts a ban for exactly these; whether there was one.
    pub fn unban(&mut self, whom: Whom) -> bool {
        let Gate { bans, ban_index, .. } = self.storage.gate();
        let known = self.context.hash.find(ban_index, bans, &whom.key());
        known.inspect(|link| self.lift(*link)).is_some()
    }

    /// Whether `address` is kept out at `now`, by itself or because of where it is.
    pub fn is_banned(&mut self, now: Instant, address: &Address) -> bool {
        self.bans > 0
            && [address, address.source().address()].iter().any(|key| self.is_barred(now, key))
    }

    /// Closes all sessions with these, as [`Messages::close`] does, and tells how many those were.
    ///
    /// Looks at every session there is.
    pub fn close_all(&mut self, now: Instant, whom: Whom, reason: CloseReason) -> u32 {
        let (mut at, mut closed) = (self.lines.sessions.front(), 0);
        while let Some(link) = at {
            let mut parts = self.storage.parts();
            at = self.lines.sessions.after(&mut parts.peers, link);
            let peer = &parts.peers[link];
            let goes_on = !matches!(peer.phase, Phase::Closing { .. } | Phase::Closed);
            if goes_on && whom.includes(&peer.address) {
                let id = peer.id(link);
                self.close(now, id, reason);
                closed += 1;
            }
        }
        closed
    }

    /// Whether this key is in the table and its time is not over; if it is, it is taken out.
    fn is_barred(&mut self, now: Instant, key: &Address) -> bool {
        let Gate { bans, ban_index, .. } = self.storage.gate();
        let Some(link) = self.context.hash.find(ban_index, bans, key) else { return false };
        let barred = bans.get(link.index()).is_some_and(|ban| ban.until > now);
        if !barred {
            self.lift(link);
        }
        barred
    }

    /// Takes a ban out; the last one takes its place.
    fn lift(&mut self, link: Link) {
        let Gate { bans, ban_index, .. } = self.storage.gate();
        let hash = &self.context.hash;
        self.bans = self.bans.saturating_sub(1);
        let last = Link::new(self.bans);
        hash.remove(ban_index, bans, link);
        if link != last {
            hash.remove(ban_index, bans, last);
            if let Some(moved) = bans.get(last.index()).copied()
                && let Some(place) = bans.get_mut(link.index())
            {
                *place = moved;
            }
            hash.insert(ban_index, bans, link);
        }
    }

    /// Takes out all whose time is over; whether there were any.
    fn forget_expired(&mut self, now: Instant) -> bool {
        let (before, mut at) = (self.bans, 0);
        while at < self.bans {
            let bans = self.storage.gate().bans;
            if bans.get(at as usize).is_some_and(|ban| ban.until <= now) {
                self.lift(Link::new(at));
            } else {
                at += 1;
            }
        }
        self.bans < before
    }
}
