//! A bad network between one client and the server.

use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::BinaryHeap;
use std::io;
use std::net::UdpSocket;

use bowline::{Duration, Instant};

use super::lane::Direction;
use super::random::Random;
use super::traffic::Reader;

/// What the network does to datagrams, in each direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// How many of a hundred are lost.
    pub(super) loss: f64,
    /// How many of a hundred of the others come twice.
    pub(super) duplicates: f64,
    /// How many of a hundred of those that come are held back, so that later ones overtake.
    pub(super) reorder: f64,
    /// How long every one takes.
    pub(super) delay: Duration,
    /// How much longer it may take. This alone never reorders.
    pub(super) jitter: Duration,
}

/// How much longer than others a datagram may be held back that is to be overtaken.
const HELD_BACK_MAX: Duration = Duration::from_millis(40);
/// Datagrams under way in one direction; more are lost, and counted.
const QUEUED_MAX: usize = 16_384;

/// One client's network.
#[derive(Debug)]
pub(super) struct Relay {
    /// What the client takes for the server, and what the server takes for the client: each a socket
    /// of its own, so that neither direction takes up the other's room.
    ends: [End; 2],
    paths: [Path; 2],
    buf: Box<[u8]>,
}

/// A socket, and whoever it talks to.
#[derive(Debug)]
struct End {
    socket: UdpSocket,
    other: SocketAddr,
}

/// One direction.
#[derive(Debug)]
struct Path {
    weather: Weather,
    random: Random,
    queue: BinaryHeap<Reverse<Held>>,
    /// When the latest datagram that is not held back is due.
    latest: Instant,
    reader: Reader,
    counts: Counts,
}

/// A datagram under way.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Held {
    due: Instant,
    /// Among those due at once.
    order: u64,
    bytes: Vec<u8>,
}

/// What became of the datagrams of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) taken: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) held_back: u64,
    /// Lost since too many were under way, or a socket had no room: not the weather's doing.
    pub(super) overflowed: u64,
    pub(super) forwarded: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.held_back += other.held_back;
        self.overflowed += other.overflowed;
        self.forwarded += other.forwarded;
    }
}

impl Relay {
    /// A network whose weather follows from `seed`.
    pub(super) fn new(
        client: SocketAddr,
        server: SocketAddr,
        weather: Weather,
        seed: [u64; 2],
    ) -> io::Result<Self> {
        let [seed, number] = seed;
        let path = |direction| Path::new(weather, Random::new(&[seed, number, direction, 0x77]));
        let buf = vec![0; 1 << 16].into_boxed_slice();
        Ok(Self { ends: [End::new(client)?, End::new(server)?], paths: [path(0), path(1)], buf })
    }

    /// What the client takes for the server.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        let [front, _] = &self.ends;
        front.socket.local_addr()
    }

    /// Takes in what either side has sent.
    pub(super) fn receive(&mut self, now: Instant) -> io::Result<()> {
        for (end, path) in self.ends.iter().zip(&mut self.paths) {
            while let Some(bytes) = end.receive(&mut self.buf)? {
                path.take(now, bytes);
            }
        }
        Ok(())
    }

    /// Hands on what is due in one direction, `max` datagrams at the most; how many it was.
    pub(super) fn forward(&mut self, now: Instant, direction: Direction, max: usize) -> usize {
        let ([front, back], [to_server, to_client]) = (&self.ends, &mut self.paths);
        let (end, path) = match direction {
            Direction::ToServer => (back, to_server),
            Direction::ToClient => (front, to_client),
        };
        for count in 0..max {
            let Some(Reverse(held)) = path.pop_due(now) else { return count };
            match end.socket.send_to(&held.bytes, end.other) {
                Ok(_) => path.counts.forwarded += 1,
                Err(_) => path.counts.overflowed += 1,
            }
        }
        max
    }

    /// When the next datagram is due, in either direction.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |path: &Path| path.queue.peek().map(|Reverse(held)| held.due);
        self.paths.iter().filter_map(due).min()
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.iter().all(|path| path.queue.is_empty())
    }

    pub(super) fn counts(&self, direction: Direction) -> Counts {
        let [to_server, to_client] = &self.paths;
        match direction {
            Direction::ToServer => to_server.counts,
            Direction::ToClient => to_client.counts,
        }
    }

    /// Who reads along in one direction.
    pub(super) fn reader(&mut self, direction: Direction) -> &mut Reader {
        let [to_server, to_client] = &mut self.paths;
        match direction {
            Direction::ToServer => &mut to_server.reader,
            Direction::ToClient => &mut to_client.reader,
        }
    }
}

impl End {
    fn new(other: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((other.ip(), 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, other })
    }

    /// The next datagram that waits.
    fn receive<'b>(&self, buf: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        loop {
            match self.socket.recv_from(buf) {
                Ok((len, from)) if from == self.other => return Ok(buf.get(..len)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // What Windows says of a datagram sent earlier.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Path {
    fn new(weather: Weather, random: Random) -> Self {
        Self {
            weather,
            random,
            queue: BinaryHeap::new(),
            latest: Instant::ZERO,
            reader: Reader::default(),
            counts: Counts::default(),
        }
    }

    fn take(&mut self, now: Instant, bytes: &[u8]) {
        self.reader.on_datagram(bytes);
        self.counts.taken += 1;
        if self.random.chance(self.weather.loss) {
            self.counts.lost += 1;
            return;
        }
        let twice = self.random.chance(self.weather.duplicates);
        self.counts.duplicated += u64::from(twice);
        for _ in 0..1 + u8::from(twice) {
            self.hold(now, bytes);
        }
    }

    fn hold(&mut self, now: Instant, bytes: &[u8]) {
        if self.queue.len() >= QUEUED_MAX {
            self.counts.overflowed += 1;
            return;
        }
        let jitter = Duration::from_micros(self.random.below(self.weather.jitter.as_micros()));
        let mut due = (now + self.weather.delay + jitter).max(self.latest);
        if self.random.chance(self.weather.reorder) {
            self.counts.held_back += 1;
            due = due + Duration::from_micros(1 + self.random.below(HELD_BACK_MAX.as_micros()));
        } else {
            self.latest = due;
        }
        let order = self.counts.taken;
        self.queue.push(Reverse(Held { due, order, bytes: bytes.to_vec() }));
    }

    fn pop_due(&mut self, now: Instant) -> Option<Reverse<Held>> {
        let is_due = self.queue.peek().is_some_and(|Reverse(held)| held.due <= now);
        if is_due { self.queue.pop() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Weather = Weather {
        loss: 0.0,
        duplicates: 0.0,
        reorder: 0.0,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
    };

    /// The first bytes of datagrams in the order in which they come out, one being sent each
    /// millisecond, and what happened to them.
    fn outcome(weather: Weather, count: u32) -> (Vec<u32>, Counts) {
        let mut path = Path::new(weather, Random::new(&[5]));
        for number in 0..count {
            let now = Instant::from_micros(1_000 * u64::from(number));
            path.take(now, &number.to_be_bytes());
        }
        let mut out = Vec::new();
        while let Some(Reverse(held)) = path.queue.pop() {
            out.push(u32::from_be_bytes(held.bytes.try_into().unwrap()));
        }
        (out, path.counts)
    }

    #[test]
    fn delay_and_jitter_alone_lose_and_reorder_nothing() {
        let (out, _) = outcome(FINE, 500);
        assert_eq!(out, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn losses_and_duplicates_are_as_frequent_as_told_and_counted() {
        let (out, counts) = outcome(Weather { loss: 20.0, duplicates: 10.0, ..FINE }, 5_000);
        assert!((900..1_100).contains(&counts.lost), "{counts:?}");
        assert!((320..480).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(out.len() as u64, 5_000 - counts.lost + counts.duplicated);
    }

    #[test]
    fn what_is_held_back_is_overtaken() {
        let (out, counts) = outcome(Weather { reorder: 10.0, ..FINE }, 1_000);
        assert!((70..130).contains(&counts.held_back), "{counts:?}");
        let overtaken = out.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(overtaken > 50, "{overtaken}");
        assert_eq!(out.len(), 1_000);
    }

    #[test]
    fn the_weather_follows_from_the_seed() {
        let weather = Weather { loss: 5.0, duplicates: 5.0, reorder: 5.0, ..FINE };
        assert_eq!(outcome(weather, 300), outcome(weather, 300));
    }
}
