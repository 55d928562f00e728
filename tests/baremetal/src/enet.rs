//! The ENet host: two of them that connect, send and receive through memory.

use bowline_core::{
    Address, ChannelId, Duration, Event, Instant, Machine, Messages, Mode, Outgoing, PeerId,
    Received,
};
use bowline_crypto::SipHash;
use bowline_enet::{
    Checksum, Config, Fixed, Flags, Host, Release, Throttle, Timeout, Uncompressed,
};

use crate::input::{Input, keep};

type Memory = Fixed<4, 16, 128, 96>;

pub fn exercise(input: &mut Input) {
    let (mut ours, mut theirs) = (Memory::new(), Memory::new());
    let config = config(input);
    let seed = input.bytes();
    let Ok(mut client) = Host::compressed(config, &SipHash, &seed, &mut ours, Uncompressed) else {
        return;
    };
    let Ok(mut server) = Host::new(config, &SipHash, &seed, &mut theirs) else { return };
    let (here, there) = (address(input), address(input));
    let mut now = Instant::from_micros(input.long());
    keep(client.connect(now, there, input.word() as u8, input.word()).is_ok());
    let mut buf = [0; 2048];
    while input.word() & 1 == 1 {
        now = now + Duration::from_micros(input.long());
        relay(&mut client, &mut server, here, now, &mut buf);
        relay(&mut server, &mut client, there, now, &mut buf);
        garble(&mut server, here, now, input);
        talk(&mut client, now, input);
        talk(&mut server, now, input);
    }
}

fn config(input: &mut Input) -> Config {
    let mut config = Config {
        channel_limit: input.word() as u8,
        incoming_bandwidth: input.word(),
        outgoing_bandwidth: input.word(),
        mtu: input.word() as u16,
        packet_max: input.word(),
        waiting_max: input.word(),
        send_max: input.word(),
        source_peers_max: input.word() as u16,
        clock_offset: input.word(),
        ..Config::DEFAULT
    };
    if input.word() & 1 == 1 {
        config.checksum = Checksum::Crc32;
    }
    if input.word() & 1 == 1 {
        config.release = Release::V1_3_17;
    }
    config.hardening.check_times = input.word() & 1 == 1;
    config.hardening.steps_max = input.word();
    config.hardening.arrivals_max = input.word();
    config.hardening.acknowledgements_max = input.word() as u16;
    config.hardening.verify_attempts_max = input.word() as u16;
    config.hardening.half_open_max = input.word() as u16;
    config
}

fn address(input: &mut Input) -> Address {
    Address::from_raw(&input.bytes::<6>()).unwrap_or(Address::NONE)
}

fn relay(
    from: &mut dyn Machine,
    to: &mut dyn Machine,
    address: Address,
    now: Instant,
    buf: &mut [u8],
) {
    while let Ok(Some(transmit)) = from.poll_transmit(now, buf) {
        if let Some(datagram) = buf.get_mut(..transmit.len) {
            keep(to.handle_datagram(now, Received::from(address), datagram).is_ok());
        }
    }
    keep(from.poll_timeout());
}

/// Any bytes whatever.
fn garble(to: &mut dyn Machine, address: Address, now: Instant, input: &mut Input) {
    let mut bytes = input.bytes::<128>();
    if let Some(datagram) = bytes.get_mut(..input.index()) {
        keep(to.handle_datagram(now, Received::from(address), datagram).is_ok());
    }
}

fn talk(host: &mut Host<&mut Memory>, now: Instant, input: &mut Input) {
    while let Some(event) = host.poll_event() {
        match event {
            Event::Connected(peer) => {
                for mode in Mode::GODOT {
                    let text = input.bytes::<32>();
                    let pieces: [&[u8]; 2] = [&text, text.get(..input.index()).unwrap_or(&[])];
                    let channel = ChannelId(input.word() as u8);
                    keep(host.send(now, peer, Outgoing::new(channel, mode, &pieces)).is_ok());
                }
                keep(host.peer_statistics(peer).is_some());
                keep(host.connect_data(peer));
                settings(host, now, peer, input);
            }
            Event::Readable(peer) => {
                while let Some(message) = host.recv(peer) {
                    let mut copy = [0; 64];
                    keep(message.copy_to(&mut copy).is_some());
                }
                match input.word() & 3 {
                    0 => keep(host.disconnect(now, peer, input.word()).is_ok()),
                    1 => keep(host.disconnect_later(now, peer, input.word()).is_ok()),
                    2 => keep(host.disconnect_now(now, peer, input.word()).is_ok()),
                    _ => keep(host.reset(now, peer).is_ok()),
                }
            }
            other => keep(other),
        }
    }
    let text = input.bytes::<16>();
    keep(host.broadcast(now, ChannelId(0), Flags::RELIABLE, &[&text]));
    let id = PeerId::from_raw(input.long());
    keep(host.address(id));
    keep(host.recv(id).is_some());
    let mut buf = [0; 2048];
    keep(host.poll_flush(now, &mut buf).is_ok());
    host.drain(input.word() & 1 == 1);
    host.set_bandwidth(input.word(), input.word());
    host.set_channel_limit(input.word() as u8);
    keep(host.statistics().datagrams_sent);
}

fn settings(host: &mut Host<&mut Memory>, now: Instant, peer: PeerId, input: &mut Input) {
    let (limit, minimum, maximum) = (input.word(), input.word(), input.word());
    keep(host.set_timeout(peer, Timeout { limit, minimum, maximum }).is_ok());
    keep(host.set_ping_interval(peer, input.word()).is_ok());
    keep(host.ping(now, peer).is_ok());
    let (interval, acceleration, deceleration) = (input.word(), input.word(), input.word());
    let throttle = Throttle { interval, acceleration, deceleration };
    keep(host.configure_throttle(now, peer, throttle).is_ok());
}
