//! Cookies: what a client must bring back before it costs this side any memory.

use bowline_core::{Address, Instant};
use bowline_crypto::KeyedMac;
use bowline_wire::native::COOKIE_LEN;

/// How long a cookie is good for, in ticks: 10 s.
const COOKIE_TICKS: u32 = 152;

/// Makes and checks cookies, and remembers none.
#[derive(Debug)]
pub(crate) struct Cookies {
    pub(crate) mac: &'static dyn KeyedMac,
    pub(crate) key: [u8; 16],
}

impl Cookies {
    fn tag(&self, address: &Address, client_half: u64, application: u64, issued: u32) -> u64 {
        let mut message = [0; 44];
        let parts = address
            .to_bytes()
            .into_iter()
            .chain(client_half.to_be_bytes())
            .chain(application.to_be_bytes())
            .chain(issued.to_be_bytes());
        message.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        self.mac.mac(&self.key, &message)
    }

    pub(crate) fn issue(
        &self,
        now: Instant,
        address: &Address,
        client_half: u64,
        application: u64,
    ) -> [u8; COOKIE_LEN] {
        let issued = ticks(now);
        let tag = self.tag(address, client_half, application, issued);
        let mut cookie = [0; COOKIE_LEN];
        let bytes = issued.to_be_bytes().into_iter().chain(tag.to_be_bytes());
        cookie.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        cookie
    }

    /// When the cookie was issued, if it is genuine and has not expired.
    pub(crate) fn check(
        &self,
        now: Instant,
        address: &Address,
        client_half: u64,
        application: u64,
        cookie: &[u8; COOKIE_LEN],
    ) -> Option<u32> {
        let (issued, tag) = cookie.split_first_chunk::<4>()?;
        let issued = u32::from_be_bytes(*issued);
        let expected = self.tag(address, client_half, application, issued).to_be_bytes();
        // No early exit: how much of a guess is right must not show in the time it takes.
        if cfg!(bowline_mutant = "skip_cookie") {
            return Some(issued);
        }
        let differs = tag.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
        (differs == 0 && ticks(now).wrapping_sub(issued) <= COOKIE_TICKS).then_some(issued)
    }
}

/// Time in units of 65.536 ms, in which attempts can be told apart; wraps after nine years.
pub(crate) fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> 16) as u32
}
