//! The native protocol: two endpoints that connect, send and receive through memory.

use bowline_core::{
    Address, ChannelId, CloseReason, Duration, Event, Instant, Machine, Messages, Mode, Outgoing,
    Received,
};
use bowline_crypto::SipHash;
use bowline_native::{Accept, Config, Endpoint, Fixed, RateLimit, Whom};

use crate::input::{Input, keep};

type Memory = Fixed<4, 8, 96, 160>;

pub fn exercise(input: &mut Input) {
    let (mut ours, mut theirs) = (Memory::new(), Memory::new());
    let config = config(input);
    let Ok(mut client) = Endpoint::plain(config, &SipHash, &input.bytes(), &mut ours) else {
        return;
    };
    let Ok(mut server) = Endpoint::plain(config, &SipHash, &input.bytes(), &mut theirs) else {
        return;
    };
    let (here, there) = (address(input), address(input));
    let mut now = Instant::from_micros(u64::from(input.word()));
    client.add_entropy(&input.bytes::<8>());
    keep(client.connect_plain(now, there, &input.bytes::<8>()).is_ok());
    keep(client.query(now, there));
    keep(server.set_info(Some(&input.bytes::<8>())));
    let mut buf = [0; 512];
    while input.word() & 1 == 1 {
        now = now + Duration::from_micros(u64::from(input.word()));
        relay(&mut client, &mut server, here, now, &mut buf);
        relay(&mut server, &mut client, there, now, &mut buf);
        garble(&mut server, here, now, input);
        talk(&mut client, now, input);
        talk(&mut server, now, input);
        let until = Instant::from_micros(u64::from(input.word()));
        guard(&mut server, now, until, address(input), input.word());
    }
}

/// Who is let in.
fn guard(
    server: &mut Endpoint<&mut Memory>,
    now: Instant,
    until: Instant,
    address: Address,
    choice: u32,
) {
    let whom = if choice & 1 == 1 { Whom::Address(address) } else { Whom::Source(address) };
    keep(server.ban(now, whom, until).is_ok());
    keep(server.is_banned(now, &address));
    keep(server.close_all(now, whom, CloseReason(choice)));
    if choice & 2 == 2 {
        keep(server.unban(whom));
    }
    server.drain(choice & 4 == 4);
    keep(server.is_drained());
}

fn config(input: &mut Input) -> Config {
    let accept = if input.word() & 1 == 1 { Accept::Ask } else { Accept::Always };
    Config {
        accept,
        channels: (input.word() as u16),
        integrity: if input.word() & 1 == 1 {
            bowline_native::Integrity::None
        } else {
            bowline_native::Integrity::Crc32
        },
        datagram_max: input.word() as u16,
        credit: input.word(),
        credit_max: input.word(),
        reliable_max: input.word(),
        ordered_max: input.word(),
        unreliable_max: input.word(),
        send_max: input.word(),
        send_reserve: input.word(),
        inbox_max: input.word(),
        in_flight_max: input.word(),
        incomplete: bowline_native::IncompleteLimits {
            messages: input.word() as _,
            bytes: input.word(),
            age: Duration::from_micros(u64::from(input.word())),
        },
        connection_ids: (input.word() & 1 == 1),
        handshake_rate: Some(RateLimit { burst: input.word(), per_second: input.word() }),
        source_sessions_max: input.word(),
        ..Config::small(u64::from(input.word()))
    }
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
    let mut bytes = input.bytes::<64>();
    if let Some(datagram) = bytes.get_mut(..input.index()) {
        keep(to.handle_datagram(now, Received::from(address), datagram).is_ok());
    }
}

fn talk(endpoint: &mut Endpoint<&mut Memory>, now: Instant, input: &mut Input) {
    while let Some(event) = endpoint.poll_event() {
        match event {
            Event::Asked(peer) if input.word() & 1 == 1 => {
                keep(endpoint.accept(now, peer).is_ok());
            }
            Event::Asked(peer) => {
                keep(endpoint.refuse(now, peer, CloseReason(input.word())).is_ok());
            }
            Event::Connected(peer) => {
                let mut payload = input.bytes::<8>();
                keep(endpoint.connect_payload(peer, &mut payload));
                for mode in Mode::GODOT {
                    let text = input.bytes::<32>();
                    let pieces: [&[u8]; 2] = [&text, &text];
                    let channel = ChannelId(input.word() as u8);
                    keep(endpoint.send(now, peer, Outgoing::new(channel, mode, &pieces)).is_ok());
                }
                keep(endpoint.path(peer).is_some());
                keep(endpoint.peer_statistics(peer).is_some());
            }
            Event::Readable(peer) => {
                while let Some(message) = endpoint.recv(peer) {
                    let mut copy = [0; 64];
                    keep(message.copy_to(&mut copy).is_some());
                    keep(message.as_slice().is_some());
                }
                if input.word() & 1 == 1 {
                    endpoint.close(now, peer, CloseReason(input.word()));
                } else {
                    keep(endpoint.finish(now, peer, CloseReason(input.word())).is_ok());
                }
            }
            Event::Answered => keep(endpoint.take_answer().is_some()),
            other => keep(other),
        }
    }
    let text = input.bytes::<16>();
    let all = endpoint.broadcast(now, Outgoing::new(ChannelId(0), Mode::Reliable, &[&text]), None);
    keep(all.sent);
    keep(endpoint.statistics().dropped_total());
    keep(endpoint.in_use().blocks);
    endpoint.end_queries();
    let id =
        bowline_core::PeerId::from_raw(u64::from(input.word()) << 32 | u64::from(input.word()));
    keep(endpoint.address(id));
    keep(endpoint.message_max(id, Mode::Reliable));
    keep(endpoint.messages_late(id, ChannelId(input.word() as u8)));
    keep(endpoint.cancel(id, bowline_core::Tag(1)).is_ok());
    keep(endpoint.recv(id).is_some());
    keep(endpoint.finish(now, id, CloseReason(1)).is_ok());
    keep(endpoint.path(id).is_some());
    endpoint.suspend();
    endpoint.resume(now);
}
