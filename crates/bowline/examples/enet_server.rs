//! A server for clients that speak ENet: it tells everybody what anybody says, in the way it was said.
//! `cargo run -p bowline --features enet --example enet_server`, and with a number behind it, it ends after so many seconds.

use bowline::enet::{Config, Heap, Host, Limits};
use bowline::{Driver, Event, Messages, SipHash};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let seconds = std::env::args().nth(1).map(|text| text.parse()).transpose()?;
    let until = seconds.map(|seconds: u64| bowline::Instant::from_micros(seconds * 1_000_000));
    let memory = Heap::new(Limits::for_peers(64));
    let mut host = Host::new(Config::default(), &SipHash, &bowline::seed()?, memory)?;
    let mut driver = Driver::bind("127.0.0.1:7777")?;
    println!("listening on {}", driver.socket().local_addr()?);
    while until.is_none_or(|until| driver.now() < until) {
        // Everything that `enet_host_service` does with the socket.
        driver.drive(&mut host, Some(core::time::Duration::from_millis(16)))?;
        while let Some(event) = host.poll_event() {
            match event {
                Event::Connected(peer) => println!("{peer} is here"),
                Event::Disconnected(peer, reason) => println!("{peer} is gone: {reason}"),
                Event::Readable(peer) => {
                    while let Some(packet) = host.receive_packet(peer) {
                        let (channel, flags) = (packet.channel, packet.flags);
                        let bytes: Vec<u8> = packet.chunks.flatten().copied().collect();
                        println!("{peer}: {}", String::from_utf8_lossy(&bytes).escape_debug());
                        host.broadcast(driver.now(), channel, flags, &[&bytes]);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
