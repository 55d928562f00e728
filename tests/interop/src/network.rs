//! A network that loses, delays, repeats, spoils and misdirects, by seed.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use crate::random::Random;

/// What a network does to datagrams; the chances are in thousandths.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// How long a datagram takes at least and at most, in milliseconds.
    pub delay: (u32, u32),
    /// Datagrams that vanish.
    pub loss: u32,
    /// Datagrams that arrive twice.
    pub duplication: u32,
    /// Datagrams that arrive with other bytes than they were sent with.
    pub corruption: u32,
    /// Datagrams that take seconds.
    pub straggling: u32,
    /// Datagrams that arrive at another host, or from another address.
    pub misdirection: u32,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// Who it seems to be from.
    pub from: SocketAddrV4,
    /// Where it will be.
    pub to: SocketAddrV4,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Everything that is on its way.
#[derive(Debug, Default)]
pub struct Network {
    /// By time of arrival, then in the order of sending.
    in_flight: BTreeMap<(u64, u64), InFlight>,
    sent_count: u64,
}

impl Network {
    /// Puts a datagram on its way at `now`, through `weather`.
    pub fn send(&mut self, now: u64, random: &mut Random, weather: &Weather, mut sent: InFlight) {
        if random.chance(weather.loss) {
            return;
        }
        if random.chance(weather.duplication) {
            let copy = sent.clone();
            let delay = self.delay(random, weather);
            self.arrive(now + delay, copy);
        }
        // What is shorter than the header it claims to have makes the C library read what an
        // earlier datagram left in its buffer.
        if random.chance(weather.corruption) && sent.bytes.len() >= 9 {
            spoil(random, &mut sent.bytes);
        }
        let delay = self.delay(random, weather);
        self.arrive(now + delay, sent);
    }

    /// Puts a datagram where it will be found at `due`, unharmed.
    pub fn arrive(&mut self, due: u64, datagram: InFlight) {
        self.sent_count += 1;
        self.in_flight.insert((due, self.sent_count), datagram);
    }

    /// The next datagram for `to` that has arrived by `now`.
    pub fn receive(&mut self, now: u64, to: SocketAddrV4) -> Option<InFlight> {
        let mut arrived = self.in_flight.range(..=(now, u64::MAX));
        let key = arrived.find_map(|(key, datagram)| (datagram.to == to).then_some(*key))?;
        self.in_flight.remove(&key)
    }

    fn delay(&self, random: &mut Random, weather: &Weather) -> u64 {
        let (least, most) = weather.delay;
        let usual = random.within(least, most);
        u64::from(if random.chance(weather.straggling) {
            usual + random.within(500, 9000)
        } else {
            usual
        })
    }
}

/// Changes some bits, cuts something off, or adds something.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(8) {
        0 => bytes.truncate(9 + random.below(bytes.len() - 8)),
        1 => {
            let added = random.below(40);
            bytes.extend((0..added).map(|_| random.bits() as u8));
            bytes.truncate(4096);
        }
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
}
