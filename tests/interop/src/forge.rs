//! Datagrams that no host has sent: well formed enough to get somewhere, and wrong.

use crate::random::Random;

/// The peer id of a host that does not know its own yet.
const NO_PEER: u16 = 0xfff;

/// A few commands for the slot `to`, the numbers near to what a young connection has.
///
/// What the C library of 1.3.17 is known to do wrong with is left out: fragments without content, or
/// with less of it than fragments; peer ids and sessions wider than their fields.
pub fn forge(random: &mut Random, now: u32, to: u16) -> Vec<u8> {
    let session = random.pick(&[0, 0, 0, 1, 2, 3]);
    let with_time = random.chance(800);
    let word = to | session << 12 | if with_time { 0x8000 } else { 0 };
    let mut bytes = word.to_be_bytes().to_vec();
    if with_time {
        let time = now.wrapping_sub(random.within(0, 300)) as u16;
        bytes.extend(time.to_be_bytes());
    }
    // To nobody in particular only a CONNECT makes sense.
    if to == NO_PEER && random.chance(800) {
        bytes.extend([0x82, 0xff, 0, 1]);
        handshake(random, 2, &mut bytes);
    }
    for _ in 0..random.below(5) {
        command(random, now, &mut bytes);
    }
    bytes
}

fn command(random: &mut Random, now: u32, bytes: &mut Vec<u8>) {
    let number: u8 =
        random.pick(&[1, 1, 4, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 10, 11, 12, 12, 13, 2, 3]);
    let flag = match number {
        1 | 7 | 9 | 12 if random.chance(950) => 0,
        4 => random.pick(&[0x80, 0x40]),
        9 => 0x40,
        _ => 0x80,
    };
    let channel = match number {
        2..=5 | 10 | 11 => 0xff,
        _ => random.pick(&[0, 0, 0, 1, 1, 2, 0xff, 9]),
    };
    let sequence = near(random);
    bytes.extend([number | flag, channel]);
    bytes.extend(sequence.to_be_bytes());
    match number {
        1 => {
            let acknowledged = if random.chance(500) { sequence } else { near(random) };
            bytes.extend(acknowledged.to_be_bytes());
            bytes.extend((now.wrapping_sub(random.within(0, 200)) as u16).to_be_bytes());
        }
        2 | 3 => handshake(random, number, bytes),
        4 => bytes.extend(random.within(0, 9).to_be_bytes()),
        6 => payload(random, bytes),
        7 | 9 => {
            bytes.extend(near(random).to_be_bytes());
            payload(random, bytes);
        }
        8 | 12 => fragment(random, sequence, bytes),
        10 => {
            for _ in 0..2 {
                bytes.extend(random.pick(&[0u32, 5_000, 200_000, u32::MAX]).to_be_bytes());
            }
        }
        11 => {
            bytes.extend(random.within(1, 6000).to_be_bytes());
            bytes.extend(random.within(0, 8).to_be_bytes());
            bytes.extend(random.within(0, 8).to_be_bytes());
        }
        _ => {}
    }
}

fn handshake(random: &mut Random, number: u8, bytes: &mut Vec<u8>) {
    bytes.extend((random.within(0, 5) as u16).to_be_bytes());
    bytes.extend([random.pick(&[0xff, 0, 1]), random.pick(&[0xff, 0, 1])].map(|session: u8| {
        // The library does not mask what a server gives it.
        if number == 3 { session & 3 } else { session }
    }));
    bytes.extend(random.pick(&[100u32, 576, 1400, 9000]).to_be_bytes());
    bytes.extend(random.pick(&[0u32, 4096, 65536, 1 << 20]).to_be_bytes());
    bytes.extend(random.pick(&[0u32, 1, 2, 255, 256]).to_be_bytes());
    bytes.extend(random.pick(&[0u32, 20_000, 300_000]).to_be_bytes());
    bytes.extend(random.pick(&[0u32, 20_000, 300_000]).to_be_bytes());
    for default in [5000u32, 2, 2] {
        bytes.extend(default.to_be_bytes());
    }
    bytes.extend(random.pick(&[7u32, 8, 9]).to_ne_bytes());
    if number == 2 {
        bytes.extend(random.within(0, 9).to_be_bytes());
    }
}

fn fragment(random: &mut Random, sequence: u16, bytes: &mut Vec<u8>) {
    let count = random.within(1, 5);
    let number = random.within(0, 5);
    let len = random.within(1, 40) as u16;
    let total = random.pick(&[count * u32::from(len), u32::from(len), 70_000]).max(count);
    let elsewhere = near(random);
    let start = random.pick(&[sequence, sequence.wrapping_sub(number as u16), elsewhere]);
    let offset = random.pick(&[number * u32::from(len), 0, total]);
    bytes.extend(start.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    for field in [count, number, total, offset] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend((0..len).map(|_| random.bits() as u8));
}

fn payload(random: &mut Random, bytes: &mut Vec<u8>) {
    let len = random.pick(&[0u16, 1, 30]);
    // Now and then it claims to be longer than the datagram.
    let claimed = if random.chance(20) { len + 500 } else { len };
    bytes.extend(claimed.to_be_bytes());
    bytes.extend((0..len).map(|_| random.bits() as u8));
}

/// A number as a young connection has it, or one far away.
fn near(random: &mut Random) -> u16 {
    if random.chance(850) { random.within(0, 40) as u16 } else { random.bits() as u16 }
}
