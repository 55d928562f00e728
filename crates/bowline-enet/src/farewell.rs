//! Last datagrams of peers that are gone already.

use bowline_core::Address;

/// The longest: a header, a checksum, and a DISCONNECT.
pub(crate) const FAREWELL_MAX: usize = 14;

/// One datagram.
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    pub(crate) to: Address,
    pub(crate) bytes: [u8; FAREWELL_MAX],
    pub(crate) len: u8,
}

impl Farewell {
    /// Filler for lent arrays.
    pub const VACANT: Self = Self { to: Address::NONE, bytes: [0; FAREWELL_MAX], len: 0 };
}

/// Which of the lent places hold farewells that were not sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Farewells {
    first: usize,
    count: usize,
}

impl Farewells {
    pub(crate) const EMPTY: Self = Self { first: 0, count: 0 };

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts one last; if there is no room it counts as lost on the way.
    pub(crate) fn push(&mut self, places: &mut [Farewell], farewell: Farewell) {
        let len = places.len();
        let Some(at) = (self.first + self.count).checked_rem(len) else { return };
        if self.count < len
            && let Some(place) = places.get_mut(at)
        {
            *place = farewell;
            self.count += 1;
        }
    }

    pub(crate) fn pop(&mut self, places: &[Farewell]) -> Option<Farewell> {
        if self.count == 0 {
            return None;
        }
        let farewell = *places.get(self.first)?;
        self.first = (self.first + 1).checked_rem(places.len()).unwrap_or(0);
        self.count -= 1;
        Some(farewell)
    }
}
