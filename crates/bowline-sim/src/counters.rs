//! What happened to the datagrams of one direction.

/// Counts of one direction of a path. All lengths are UDP payload, without headers.
///
/// Nothing disappears: [`Self::sent`] + [`Self::duplicated`] is the sum of
/// [`Self::delivered`], all losses and what is [in flight](Self::in_flight).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams that entered the link.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Lost at random.
    pub lost: u64,
    /// Lost because the link was down.
    pub outage: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Dropped because they were longer than the path takes.
    pub too_long: u64,
    /// Dropped by the filter of the network.
    pub filtered: u64,
    /// Second copies that the link made.
    pub duplicated: u64,
    /// Copies that were damaged on the way.
    pub corrupted: u64,
    /// Copies that reached their receiver behind one that was sent later.
    pub reordered: u64,
    /// Copies that arrived at an address that was no longer in use.
    pub vanished: u64,
    /// Copies that found the socket buffer of a sleeping receiver full.
    pub socket_full: u64,
    /// Copies handed to the machine.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Most bytes that were in the queue, headers included, what is being sent counted too.
    pub queue_max: u64,
}

impl Counters {
    /// Copies on their way, or waiting in the socket buffer of a sleeping receiver.
    pub const fn in_flight(&self) -> u64 {
        let gone = self.delivered
            + self.lost
            + self.outage
            + self.queue_full
            + self.too_long
            + self.filtered
            + self.vanished
            + self.socket_full;
        self.sent + self.duplicated - gone
    }
}

impl core::ops::AddAssign<&Self> for Counters {
    /// The counts of both; [`Self::queue_max`] is that of the longer queue.
    fn add_assign(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.lost += other.lost;
        self.outage += other.outage;
        self.queue_full += other.queue_full;
        self.too_long += other.too_long;
        self.filtered += other.filtered;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.reordered += other.reordered;
        self.vanished += other.vanished;
        self.socket_full += other.socket_full;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.queue_max = self.queue_max.max(other.queue_max);
    }
}
