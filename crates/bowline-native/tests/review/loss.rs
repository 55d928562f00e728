//! Links that lose, by chance.

use super::*;

fn through_loss(config: Config, a: &mut dyn Storage, b: &mut dyn Storage, seed: u64) {
    let mut dice = Dice(seed);
    let mut pair = Pair::new(config, a, b);
    let peers = pair.connected();
    let mut on_the_way: Vec<(Instant, u8, Vec<u8>)> = Vec::new();
    let (mut sent, mut read) = ([0u32; 2], [0u32; 2]);
    let loss = [5, 20, 40][dice.below(3) as usize];
    let mut buf = [0; 1500];
    for _ in 0..60_000 {
        let now = pair.now;
        for (side, name) in [CLIENT, SERVER].into_iter().enumerate() {
            let (me, peer) =
                if side == 0 { (&mut pair.client, peers.0) } else { (&mut pair.server, peers.1) };
            if dice.below(3) == 0 {
                while let Some(incoming) = me.recv(peer) {
                    let bytes: Vec<u8> = incoming.chunks().flatten().copied().collect();
                    if incoming.mode() == Mode::Reliable {
                        assert_eq!(bytes[..4], read[side].to_be_bytes(), "seed {seed}");
                        read[side] += 1;
                    }
                    if dice.below(4) == 0 {
                        break;
                    }
                }
            }
            while let Some(event) = me.poll_event() {
                assert!(!matches!(event, Event::Disconnected(..)), "seed {seed} {event:?}");
            }
            if sent[side] < 150 && dice.below(2) == 0 {
                let number = sent[side].to_be_bytes();
                let rest =
                    vec![9; dice.below(if dice.0.is_multiple_of(7) { 700 } else { 30 }) as usize];
                let pieces = [&number[..], &rest[..]];
                let mode = if dice.below(4) == 0 { Mode::Unreliable } else { Mode::Reliable };
                let channel = dice.below(u32::from(config.channels)) as u8;
                let channel = if mode == Mode::Reliable { 0 } else { channel };
                if me.send(now, peer, Outgoing::new(ChannelId(channel), mode, &pieces)).is_ok()
                    && mode == Mode::Reliable
                {
                    sent[side] += 1;
                }
            }
            while let Some(out) = me.poll_transmit(now, &mut buf).unwrap() {
                for _ in 0..=u32::from(dice.below(20) == 0) {
                    if dice.below(100) >= loss {
                        let at = now + millis(10 + u64::from(dice.below(60)));
                        on_the_way.push((at, name, buf[..out.len].to_vec()));
                    }
                }
            }
        }
        if sent == [150; 2] && read == [150; 2] {
            return;
        }
        let due = [pair.client.poll_timeout(), pair.server.poll_timeout()];
        let next =
            due.into_iter().flatten().chain(on_the_way.iter().map(|(at, ..)| *at)).min().unwrap();
        pair.now = next.clamp(now, now + millis(200)).max(now + Duration::from_micros(500));
        let now = pair.now;
        let mut i = 0;
        while i < on_the_way.len() {
            if on_the_way[i].0 <= now {
                let (_, name, mut bytes) = on_the_way.swap_remove(i);
                let to = if name == CLIENT { &mut pair.server } else { &mut pair.client };
                let _ = to.handle_datagram(now, Received::from(address(name)), &mut bytes);
            } else {
                i += 1;
            }
        }
    }
    panic!(
        "seed {seed}: stuck at {sent:?} {read:?} of 150, {:?} {:?}",
        pair.client.in_use(),
        pair.server.in_use()
    );
}

#[test]
fn the_least_memory_gets_everything_through_a_bad_link() {
    for seed in 0..60 {
        let config = Config { idle_timeout: Duration::from_secs(600), ..Config::small(1) };
        through_loss(
            config,
            &mut Fixed::<1, 1, 6, 40>::new(),
            &mut Fixed::<1, 1, 6, 40>::new(),
            seed,
        );
        let config = Config { channels: 2, initial: Some(u32::MAX - 400), ..config };
        through_loss(
            config,
            &mut Fixed::<1, 2, 6, 48>::new(),
            &mut Fixed::<1, 2, 8, 48>::new(),
            seed,
        );
        let limits = Limits {
            records: 12,
            bytes: 10_000,
            block_len: 64,
            channels: 2,
            ..Limits::for_peers(1)
        };
        through_loss(config, &mut Heap::new(limits), &mut Fixed::<1, 2, 6, 60, 64>::new(), seed);
    }
}
