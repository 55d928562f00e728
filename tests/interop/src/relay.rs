//! A bad network between two programs on this machine, by seed.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::random::Random;

/// How long a thread waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(20);

/// Forwards datagrams between clients and one server, and loses some; stops when dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    lost: AtomicU64,
    forwarded: AtomicU64,
    /// Of those towards the server, and of those back, as ENet's header says.
    compressed: [AtomicU64; 2],
    /// Thousandths of the datagrams.
    loss: u32,
}

impl Relay {
    /// Begins to forward to `server` on the loopback interface, losing `loss` thousandths.
    ///
    /// # Errors
    ///
    /// Whatever the sockets say.
    pub fn start(server: u16, loss: u32, seed: u64) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let port = socket.local_addr()?.port();
        let (stop, lost, forwarded) =
            (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let compressed = [AtomicU64::new(0), AtomicU64::new(0)];
        let shared = Arc::new(Shared { stop, lost, forwarded, compressed, loss });
        let towards = shared.clone();
        thread::spawn(move || towards.to_server(&socket, server, seed));
        Ok(Self { port, shared })
    }

    /// Where clients send to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many datagrams got through, and how many did not.
    pub fn counts(&self) -> (u64, u64) {
        let Shared { forwarded, lost, .. } = &*self.shared;
        (forwarded.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
    }
}

impl Relay {
    /// How many datagrams were compressed, of those towards the server and of those back.
    pub fn compressed_counts(&self) -> [u64; 2] {
        [0, 1].map(|way| self.shared.compressed[way].load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Gives each client a socket of its own towards the server.
    fn to_server(self: Arc<Self>, socket: &UdpSocket, server: u16, seed: u64) {
        let mut random = Random::new(seed);
        let mut sockets: HashMap<SocketAddr, UdpSocket> = HashMap::new();
        while let Some((bytes, client)) = self.receive(socket) {
            let upstream = sockets.entry(client).or_insert_with(|| {
                let upstream = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
                upstream.connect(("127.0.0.1", server)).expect("loopback is there");
                upstream.set_read_timeout(Some(PATIENCE)).expect("a time that is not 0");
                let (back, shared) = (socket.try_clone(), self.clone());
                let from = upstream.try_clone();
                let mut random = Random::new(random.bits());
                thread::spawn(move || {
                    let (Ok(from), Ok(back)) = (from, back) else { return };
                    while let Some((bytes, _)) = shared.receive(&from) {
                        shared.pass(1, &mut random, &bytes, || back.send_to(&bytes, client));
                    }
                });
                upstream
            });
            self.pass(0, &mut random, &bytes, || upstream.send(&bytes));
        }
    }

    fn pass(
        &self,
        way: usize,
        random: &mut Random,
        bytes: &[u8],
        send: impl FnOnce() -> io::Result<usize>,
    ) {
        if bytes.first().is_some_and(|first| first & 0x40 != 0) {
            self.compressed[way].fetch_add(1, Ordering::Relaxed);
        }
        if random.chance(self.loss) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.forwarded.fetch_add(1, Ordering::Relaxed);
            // Nobody there any more is what a network does not tell, either.
            let _ = send();
        }
    }

    /// The next datagram; `None` when it is time to stop.
    fn receive(&self, socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 65536];
        while !self.stop.load(Ordering::Relaxed) {
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                return Some((buffer[..len].to_vec(), from));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_open_and_lossy() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        server.set_read_timeout(Some(Duration::from_millis(30))).expect("a time that is not 0");
        let relay =
            Relay::start(server.local_addr().expect("bound").port(), 500, 1).expect("sockets");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        client.set_read_timeout(Some(Duration::from_millis(30))).expect("a time that is not 0");
        let mut buffer = [0; 16];
        let mut answered = 0;
        for number in 0..60u8 {
            client.send_to(&[number], ("127.0.0.1", relay.port())).expect("loopback is there");
            let Ok((1, from)) = server.recv_from(&mut buffer) else { continue };
            assert_eq!(buffer[0], number);
            server.send_to(&[number, 1], from).expect("loopback is there");
            answered += u32::from(client.recv_from(&mut buffer).is_ok());
        }
        assert!((5..30).contains(&answered), "{answered} of 60, where 15 would be usual");
        let (forwarded, lost) = relay.counts();
        assert!(forwarded + lost >= 60 && lost > 30, "{forwarded} forwarded, {lost} lost");
    }
}
