//! The user's side of a run: what messages are made of, and what becomes of them.

use bowline_core::{ChannelId, Mode};

use crate::Side;

/// A message that was delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Who received it.
    pub at: Side,
    /// On which channel.
    pub channel: ChannelId,
    /// In which mode.
    pub mode: Mode,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// An application under test: it makes messages and reads those that arrive.
///
/// One value plays both sides; [`Delivery::at`] tells which one reads.
pub trait Game {
    /// A message of about `len` bytes, made of the fuzzer's `seed`.
    ///
    /// `len` is what the operation asks for; a message that is too long for its session is not sent. Messages
    /// that differ tell the models more than equal ones.
    fn compose(&mut self, seed: &[u8], len: usize) -> Vec<u8>;

    /// A message arrived. The models have seen it already: it was sent so, and may arrive now.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the game's own words.
    fn received(&mut self, delivery: &Delivery<'_>) -> Result<(), String>;
}

/// A game of numbered messages, each of which is checked for its contents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    count: u32,
}

impl Counted {
    /// The message with this number, of `len` bytes.
    fn message(number: u32, len: usize) -> Vec<u8> {
        let head = number.to_le_bytes();
        let filler = (0u32..).map(|at| (number ^ at).wrapping_mul(0x9E37_79B1).to_be_bytes()[0]);
        head.into_iter().chain(filler).take(len).collect()
    }
}

impl Game for Counted {
    fn compose(&mut self, _: &[u8], len: usize) -> Vec<u8> {
        self.count += 1;
        Self::message(self.count, len)
    }

    fn received(&mut self, delivery: &Delivery<'_>) -> Result<(), String> {
        let Some((number, _)) = delivery.bytes.split_first_chunk() else { return Ok(()) };
        let number = u32::from_le_bytes(*number);
        let whole = Self::message(number, delivery.bytes.len());
        let fault = || format!("{} bytes that are not message {number}", delivery.bytes.len());
        if whole == delivery.bytes { Ok(()) } else { Err(fault()) }
    }
}
