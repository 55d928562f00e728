//! A client and a server in one process, each with a socket loop of its own over nothing but the
//! standard library: `cargo run -p bowline --example embed`.

use bowline::{ChannelId, Config, Event, Heap, Instant, Limits, Machine, Messages, Mode, Outgoing};
use core::net::SocketAddr;
use std::net::UdpSocket;

type Failure = Box<dyn core::error::Error + Send + Sync>;

fn run(name: &str, socket: UdpSocket, server: Option<SocketAddr>) -> Result<(), Failure> {
    let start = std::time::Instant::now();
    let now = || Instant::from_micros(1 + start.elapsed().as_micros() as u64);
    let memory = Heap::new(Limits::for_peers(8));
    let mut endpoint = bowline::plain(Config::new(0xB0), &bowline::seed()?, memory)?;
    if let Some(server) = server {
        endpoint.connect_plain(now(), server.into(), b"")?;
    }
    let mut buf = [0; 2048];
    loop {
        // What is due goes out; a datagram that does not is lost, like any other.
        while let Some(transmit) = endpoint.poll_transmit(now(), &mut buf)? {
            let to = transmit.to.socket_addr().ok_or("not a socket address")?;
            let _ = socket.send_to(&buf[..transmit.len], to);
        }
        // What arrives comes in, until the next deadline.
        let wait = endpoint.poll_timeout().map_or(100_000, |due| (due - now()).as_micros());
        socket.set_read_timeout(Some(core::time::Duration::from_micros(wait.max(1))))?;
        if let Ok((len, from)) = socket.recv_from(&mut buf) {
            let from = bowline::Address::from(from).into();
            let _ = endpoint.handle_datagram(now(), from, &mut buf[..len]);
        }
        // The application.
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Connected(peer) if server.is_some() => {
                    let ahoy = Outgoing::new(ChannelId(0), Mode::Reliable, &[b"ahoy"]);
                    endpoint.send(now(), peer, ahoy)?;
                    endpoint.finish(now(), peer, bowline::CloseReason(0))?;
                }
                Event::Readable(peer) => {
                    while let Some(message) = endpoint.recv(peer) {
                        println!("{name}: {}", String::from_utf8_lossy(&message.to_vec()));
                    }
                }
                Event::Disconnected(_, reason) => {
                    println!("{name}: {reason}");
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let (server, client) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let address = server.local_addr()?;
    let serving = std::thread::spawn(move || run("server", server, None));
    run("client", client, Some(address))?;
    serving.join().map_err(|_| "the server panicked")?
}
