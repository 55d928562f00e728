//! What the driver costs: datagrams per second to oneself over loopback, against bare `send_to`
//! and `recv_from` on the same kind of socket, on one thread.
//!
//! `cargo run --release -p bowline-udp --example rate`. Rates are the machine's; ratios are ours.

use core::time::Duration;
use std::io;
use std::time::Instant;

use bowline_core::{Address, BufferTooShort, DropReason, Machine, Received, Transmit};
use bowline_udp::{Driver, UdpSocket};

const LEN: usize = 1_200;
const COUNT: usize = 60_000;
const ROUNDS: usize = 9;

/// Sends itself bursts, the next one when the last has arrived.
struct Burst {
    to: Address,
    burst: usize,
    to_send: usize,
    arrived: usize,
}

impl Machine for Burst {
    fn handle_datagram(
        &mut self,
        _: bowline_core::Instant,
        _: Received,
        _: &mut [u8],
    ) -> Result<(), DropReason> {
        self.arrived += 1;
        if self.arrived.is_multiple_of(self.burst) {
            self.to_send = self.burst;
        }
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        _: bowline_core::Instant,
        _: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let Some(left) = self.to_send.checked_sub(1) else { return Ok(None) };
        self.to_send = left;
        Ok(Some(Transmit { to: self.to, len: LEN, segment_len: None, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<bowline_core::Instant> {
        (self.to_send > 0).then_some(bowline_core::Instant::ZERO)
    }
}

fn driven(burst: usize) -> io::Result<Duration> {
    let mut driver = Driver::bind("127.0.0.1:0")?;
    let to = driver.socket().local_addr()?.into();
    let mut machine = Burst { to, burst, to_send: burst, arrived: 0 };
    let start = Instant::now();
    while machine.arrived < COUNT {
        driver.drive(&mut machine, None)?;
    }
    Ok(start.elapsed())
}

/// Blocking calls only: as many receives as sends, which only works when nothing is lost.
fn bare(burst: usize) -> io::Result<Duration> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let socket = socket.as_ref();
    socket.set_nonblocking(false)?;
    let to = socket.local_addr()?;
    let mut buf = vec![0; 1 << 16];
    let start = Instant::now();
    for _ in 0..COUNT / burst {
        for _ in 0..burst {
            socket.send_to(&buf[..LEN], to)?;
        }
        for _ in 0..burst {
            socket.recv_from(&mut buf)?;
        }
    }
    Ok(start.elapsed())
}

/// The shortest of several, which is the one that was disturbed least.
fn fastest(mut run: impl FnMut() -> io::Result<Duration>) -> io::Result<f64> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        best = best.min(run()?);
    }
    Ok(COUNT as f64 / best.as_secs_f64())
}

fn main() -> io::Result<()> {
    println!("{LEN} bytes; datagrams sent and received per second, best of {ROUNDS}");
    println!("{:>6} {:>12} {:>12} {:>7}", "burst", "bare", "driven", "ratio");
    for burst in [1, 4, 16, 64] {
        let bare = fastest(|| bare(burst))?;
        let driven = fastest(|| driven(burst))?;
        println!("{burst:>6} {bare:>12.0} {driven:>12.0} {:>7.2}", driven / bare);
    }
    Ok(())
}
