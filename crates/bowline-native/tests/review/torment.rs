//! Packets of every kind that fit nothing, by chance.

use super::*;

fn torment<S: Storage>(config: Config, storage: S, seed: u64) {
    let mut dice = Dice(seed);
    let mut server = server(config, storage);
    let mut raw = Raw::new(9);
    raw.parameters.datagram_max = [64, 100, 512][dice.below(3) as usize];
    raw.parameters.credit = 1 + dice.below(2_000);
    raw.parameters.initial = [0, 1_000, u32::MAX - 5, u32::MAX - 300][dice.below(4) as usize];
    raw.number = raw.parameters.initial;
    let mut now = START;
    let payload = vec![3; dice.below(200) as usize];
    raw.connect(&mut server, now, &payload);
    let Some(Event::Connected(peer)) = server.poll_event() else { panic!() };
    let their_first = raw.theirs.unwrap().initial;
    let bytes = [0u8; 1_000];
    let mut junk = [0u8; 300];
    let mut sent = 0u32;
    for round in 0..600u32 {
        now = now + Duration::from_micros(u64::from(dice.below(40_000)));
        junk.iter_mut().for_each(|byte| *byte = dice.below(100) as u8);
        let mut buf = [0; 1500];
        let mut w = Writer::new(&mut buf);
        if dice.below(12) == 0 {
            raw.number = raw.number.wrapping_add(dice.below(100));
        }
        let mut number = raw.number;
        if dice.below(10) == 0 {
            number = number.wrapping_sub(dice.below(700));
        } else {
            raw.number = raw.number.wrapping_add(1);
        }
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: raw.id.unwrap_or(0),
            number_len: 4,
            number_low: number,
        };
        head.emit(if raw.id.is_some() { 4 } else { 0 }, &mut w).unwrap();
        if dice.below(3) == 0 && sent > 0 {
            let largest =
                u64::from(their_first) + u64::from(sent - 1) - u64::from(dice.below(sent.min(6)));
            let mut ranges = Vec::new();
            let (mut end, first) = (largest, u64::from(their_first));
            while ranges.len() < 6 && end >= first {
                let start = end.saturating_sub(u64::from(dice.below(3))).max(first);
                ranges.push((start, end));
                let gap = 2 + u64::from(dice.below(3));
                if start < first + gap {
                    break;
                }
                end = start - gap;
            }
            w.set_bits(0, 3 << 4);
            bowline_wire::native::emit_ack_ranges(&mut w, 2, 3, ranges.into_iter(), 200).unwrap();
        }
        let base = raw.initial();
        for _ in 0..dice.below(5) {
            let len = 1 + dice.below(120) as usize;
            let channel =
                dice.below(u32::from(config.channels)) as u8 + u8::from(dice.below(40) == 0);
            let data = &junk[..len];
            let id = dice.below(3) as u16;
            let total = len as u32 + dice.below(400);
            let frame = match dice.below(14) {
                0 => Frame::Ping,
                1 => Frame::Credit {
                    stream: Stream::Reliable,
                    channel,
                    limit: dice.near(their_first),
                },
                2 | 3 => Frame::Unreliable {
                    channel,
                    ordered: dice.below(2) == 0,
                    messages: &bytes[..len],
                },
                4..=6 => {
                    let offset = dice.below(total - len as u32 + 1);
                    Frame::Fragment {
                        channel,
                        ordered: dice.below(2) == 0,
                        id,
                        offset,
                        total,
                        data,
                    }
                }
                7 => {
                    Frame::Reliable { channel, offset: Offset::Short(dice.near(base) as u8), data }
                }
                13 if dice.below(300) == 0 => {
                    Frame::Close { cause: bowline_wire::native::CloseCause::Application, reason: 1 }
                }
                _ => {
                    let progress = round * 8;
                    Frame::Reliable {
                        channel,
                        offset: Offset::Long(dice.near(base.wrapping_add(progress))),
                        data,
                    }
                }
            };
            let _ = frame.emit(false, &mut w);
        }
        let mut packet = w.written().to_vec();
        let _ = raw.give(&mut server, now, &mut packet);
        if dice.below(2) == 0 {
            sent += raw.drain(&mut server, now).len() as u32;
        }
        let mode = Mode::GODOT[dice.below(3) as usize];
        let long = vec![1; dice.below(600) as usize];
        let pieces = [&long[..]];
        let out = Outgoing::new(ChannelId(dice.below(3) as u8), mode, &pieces);
        if dice.below(3) == 0 {
            let _ = server.send(now, peer, out);
        }
        if dice.below(4) == 0 {
            while server.recv(peer).is_some() {}
        }
        while let Some(event) = server.poll_event() {
            if let Event::Disconnected(..) = event {
                break;
            }
        }
        server.poll_timeout();
    }
    if dice.below(2) == 0 {
        let _ = server.finish(now, peer, CloseReason(1));
    }
    server.close(now, peer, CloseReason(1));
    for _ in 0..200 {
        raw.drain(&mut server, now);
        while server.poll_event().is_some() {}
        let Some(next) = server.poll_timeout() else { break };
        now = next.max(now);
    }
    assert_eq!(server.in_use(), InUse::default(), "seed {seed}");
}

#[test]
fn nothing_that_a_peer_sends_does_harm_or_leaves_a_trace() {
    for seed in 0..60 {
        let config = Config { integrity: Integrity::None, ..Config::small(1) };
        torment(config, &mut Fixed::<1, 1, 8, 40>::new(), seed);
        let config =
            Config { channels: 2, credit: 100, credit_max: 4_000, connection_ids: true, ..config };
        torment(config, &mut Fixed::<1, 2, 10, 48, 64>::new(), seed);
        let limits = Limits {
            records: 200,
            bytes: 60_000,
            block_len: 64,
            channels: 2,
            ..Limits::for_peers(1)
        };
        torment(config, Heap::new(limits), seed);
    }
}
