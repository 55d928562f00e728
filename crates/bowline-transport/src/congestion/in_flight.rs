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
        if cfg!(bowline_mutant = "lost_in_flight") {
            return;
        }
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_smaller_than_what_is_in_flight_has_no_room() {
        let mut flight = InFlight::new();
        flight.on_sent(3_000);
        assert_eq!(flight.room(2_400), 0);
        assert_eq!(flight.room(3_000), 0);
        assert_eq!(flight.room(3_001), 1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "more counted out than in")]
    fn counting_a_packet_out_twice_is_noticed() {
        let mut flight = InFlight::new();
        flight.on_sent(1_200);
        flight.on_lost(1_200);
        flight.on_acked(1_200);
    }

    proptest! {
        /// The model keeps every packet.
        #[test]
        fn it_is_the_sum_of_the_packets_without_a_fate(
            steps in prop::collection::vec((0_u8..6, 1_u32..1_500, any::<usize>()), 0..200),
            window in 2_400_u32..100_000,
        ) {
            let (mut flight, mut packets) = (InFlight::new(), Vec::new());
            for (step, len, which) in steps {
                if step < 3 || packets.is_empty() {
                    flight.on_sent(len);
                    packets.push(len);
                } else {
                    let packet = packets.swap_remove(which % packets.len());
                    match step {
                        3 => flight.on_acked(packet),
                        4 => flight.on_lost(packet),
                        _ => flight.on_discarded(packet),
                    }
                }
                let sum: u32 = packets.iter().sum();
                prop_assert_eq!(flight.bytes(), sum);
                prop_assert_eq!(flight.room(window), window.saturating_sub(sum));
            }
            packets.drain(..).for_each(|packet| flight.on_acked(packet));
            prop_assert_eq!(flight, InFlight::new());
        }
    }
}
