/// Counts the bytes in flight: sent, and neither acknowledged nor given up (RFC 9002 section B.2).
///
/// Every packet that is counted in by [`Self::on_sent`] is counted out exactly once, with the same
/// length. Counting out more than is there is a bug of the caller: asserted in debug builds, taken
/// for zero otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InFlight {
    bytes: u32,
}

impl InFlight {
    /// Nothing in flight.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: 0 }
    }

    /// A packet of `bytes` went out.
    pub fn on_sent(&mut self, bytes: u32) {
        debug_assert!(self.bytes.checked_add(bytes).is_some(), "4 GiB in flight");
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A packet of `bytes` was newly acknowledged.
    pub fn on_acked(&mut self, bytes: u32) {
        self.count_out(bytes);
    }

    /// A packet of `bytes` was found lost.
    pub fn on_lost(&mut self, bytes: u32) {
        self.count_out(bytes);
    }

    /// A packet of `bytes` was forgotten without a verdict, which says nothing of congestion.
    pub fn on_discarded(&mut self, bytes: u32) {
        self.count_out(bytes);
    }

    /// How many bytes are in flight.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// How many more bytes fit `window`; 0 if it is exceeded.
    pub fn room(&self, window: u32) -> u32 {
        window.saturating_sub(self.bytes)
    }

    fn count_out(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.bytes, "more counted out than in");
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
