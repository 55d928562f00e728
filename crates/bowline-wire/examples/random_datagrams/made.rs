//! Random datagrams, well formed and damaged.

use bowline_wire::native::{
    AckForm, CloseCause, Direction, Frame, Handshake, Integrity, Offset, PacketHead, Parameters,
    RefuseCode, Stream, VERSION, emit_ack_ranges, emit_ack_short, is_session,
};
use bowline_wire::{Writer, checksum, varint};

use crate::decoded::Setting;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn long(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// In `0..below`.
    fn below(&mut self, below: u64) -> u64 {
        self.long() % below.max(1)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// Of any size, small ones as often as large ones.
    fn sized(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.long() & ((1 << bits) - 1)
    }

    /// What a varint can hold.
    fn varint(&mut self) -> u32 {
        self.sized(28) as u32
    }

    fn bytes(&mut self, below: u64) -> Vec<u8> {
        (0..self.below(below)).map(|_| self.long() as u8).collect()
    }
}

/// A datagram, and what its receiver knows.
pub(crate) fn datagram(random: &mut Random) -> (Vec<u8>, Setting) {
    let setting = Setting {
        cid_len: if random.chance(2) { 0 } else { 4 },
        integrity: if random.chance(2) { Integrity::None } else { Integrity::Crc32 },
        client_half: random.long(),
        server_half: random.long(),
        direction: match random.chance(2) {
            true => Direction::ClientToServer,
            false => Direction::ServerToClient,
        },
        expected: random.sized(60),
    };
    let mut bytes = match random.below(3) {
        0 => handshake(random),
        _ => packet(random, &setting),
    };
    if random.chance(2) {
        damage(random, &mut bytes);
        // A wrong checksum would hide all other damage.
        if random.below(4) != 0 {
            seal(&mut bytes, &setting);
        }
    }
    (bytes, setting)
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.long() as u8),
            2 => bytes.extend(random.bytes(8)),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            5 if !bytes.is_empty() => {
                bytes[at] = *b"\x00\xFF\x80\x1F\xF0\x01".get(at % 7).unwrap_or(&3)
            }
            _ => *bytes = random.bytes(40),
        }
    }
}

/// Makes the last four bytes the right checksum.
fn seal(bytes: &mut [u8], setting: &Setting) {
    let Some((covered, trailer)) = bytes.split_last_chunk_mut() else { return };
    *trailer = match covered.first() {
        Some(first) if is_session(*first) => {
            let Ok((head, _)) = PacketHead::parse(covered, setting.cid_len) else { return };
            if setting.integrity == Integrity::None {
                return;
            }
            setting.crc().checksum(head.expand_number(setting.expected), covered)
        }
        _ => checksum::crc32(covered),
    }
    .to_be_bytes();
}

fn handshake(random: &mut Random) -> Vec<u8> {
    let (payload, cookie) = (random.bytes(20), core::array::from_fn(|_| random.long() as u8));
    let (application, client_half, nonce) = (random.long(), random.long(), random.long());
    let handshake = match random.below(7) {
        0 => Handshake::Hello { version: version(random), application, client_half, len: 0 },
        1 => Handshake::Challenge { client_half, cookie },
        2 => Handshake::Connect {
            application,
            client_half,
            cookie,
            parameters: parameters(random),
            payload: &payload,
        },
        3 => Handshake::Accept {
            client_half,
            server_half: random.long(),
            parameters: parameters(random),
        },
        4 => refuse(random),
        5 => Handshake::Query { application, nonce, len: 0 },
        _ => Handshake::Answer { nonce, payload: &payload },
    };
    let mut buf = [0; 200];
    let len = handshake.emit(random.below(100) as usize, &mut buf).expect("200 bytes are enough");
    buf[..len].to_vec()
}

fn version(random: &mut Random) -> u8 {
    if random.chance(4) { random.sized(8) as u8 } else { VERSION }
}

fn refuse(random: &mut Random) -> Handshake<'static> {
    let (code, detail) = match random.below(5) {
        0 => (RefuseCode::Version, 0),
        1 => (RefuseCode::Application, 0),
        2 => (RefuseCode::Full, 0),
        3 => (RefuseCode::Limits, 0),
        _ => (RefuseCode::ByApplication, random.sized(32) as u32),
    };
    Handshake::Refuse { version: version(random), client_half: random.long(), code, detail }
}

fn parameters(random: &mut Random) -> Parameters {
    Parameters {
        connection_id: random.chance(2).then(|| random.long() as u32),
        initial: random.long() as u32,
        integrity: if random.chance(2) { Integrity::None } else { Integrity::Crc32 },
        datagram_max: (random.sized(16) as u16).max(64),
        channels: random.below(256) as u16 + 1,
        ack_delay: random.below(125) as u8,
        idle_timeout_ms: random.varint().max(100),
        credit: random.varint().max(1),
        loose_credit: if random.chance(4) { 0 } else { random.below(24) as u8 + 4 },
        reliable_max: random.varint(),
        ordered_max: random.varint(),
        unreliable_max: random.varint(),
    }
}

fn packet(random: &mut Random, setting: &Setting) -> Vec<u8> {
    let ack = [AckForm::None, AckForm::Short, AckForm::Ranges1, AckForm::Ranges2];
    let head = PacketHead {
        key_phase: false,
        ack: ack[random.below(4) as usize],
        connection_id: random.long() as u32,
        number_len: random.below(4) as u8 + 1,
        number_low: random.long() as u32,
    };
    let mut buf = [0; 1200];
    let mut w = Writer::new(&mut buf);
    head.emit(setting.cid_len, &mut w).expect("it is empty");
    match head.ack {
        AckForm::None => {}
        AckForm::Short => emit_ack_short(&mut w, random.long()).expect("there is room"),
        AckForm::Ranges1 => ranges(random, 1, &mut w),
        AckForm::Ranges2 => ranges(random, 2, &mut w),
    }
    let count = random.below(5);
    for left in (0..count).rev() {
        let last = left == 0 && random.chance(2);
        frame(random, last, &mut w);
    }
    if head.ack == AckForm::None && count == 0 {
        w.u8(1).expect("there is room");
    }
    if setting.integrity == Integrity::Crc32 {
        w.u32(0).expect("there is room");
    }
    let mut bytes = w.written().to_vec();
    seal(&mut bytes, setting);
    bytes
}

fn ranges(random: &mut Random, largest_len: u8, w: &mut Writer<'_>) {
    let mut below = random.long() | 1 << 40;
    let count = if random.chance(2) { 1 } else { random.below(40) };
    let ranges: Vec<_> = (0..=count)
        .map(|_| {
            let (gap, more) = (random.sized(14), random.sized(14));
            let end = below - gap - 2;
            below = end - more;
            (below, end)
        })
        .collect();
    let room = 3 + random.below(120) as usize + 4;
    emit_ack_ranges(w, largest_len, random.long() as u8, ranges.into_iter(), room)
        .expect("there is room for one");
}

fn frame(random: &mut Random, last: bool, w: &mut Writer<'_>) {
    let channel = if random.chance(2) { random.below(20) } else { random.below(256) } as u8;
    let below = if random.chance(8) { 200 } else { 20 };
    let data = [&random.bytes(below)[..], &[1]].concat();
    let messages = prefixed(random);
    let ordered = random.chance(2);
    let stream = [Stream::Reliable, Stream::Unordered, Stream::Latest][random.below(3) as usize];
    let frame = match random.below(13) {
        0 => Frame::Padding,
        1 => Frame::Ping,
        2 => Frame::Credit { stream, channel, limit: random.long() as u32 },
        3 => Frame::Close { cause: CloseCause::Application, reason: random.long() as u32 },
        4 => Frame::Close { cause: CloseCause::Misbehaviour, reason: 0 },
        5 => {
            let len = random.varint().max(1);
            Frame::Void { stream, channel, offset: random.long() as u32, len }
        }
        6 => Frame::Repeat { distance: random.varint().max(1), channel, messages: &messages },
        7 => Frame::Parity {
            distance: random.varint().max(1),
            count: random.below(31) as u8 + 2,
            data: &data,
        },
        8 => Frame::Unreliable { channel, ordered, messages: &messages },
        9 => {
            let offset = random.sized(27) as u32;
            let total = offset + data.len() as u32 + random.sized(26) as u32;
            let id = random.long() as u16;
            Frame::Fragment { channel, ordered, id, offset, total, data: &data }
        }
        10 => {
            let offset = random.long() as u32;
            Frame::Loose { channel, latest: ordered, offset, back: None, data: &messages }
        }
        11 => {
            let (offset, back) = (random.long() as u32, Some(random.varint()));
            Frame::Loose { channel, latest: ordered, offset, back, data: &data }
        }
        _ => {
            let offset = random.long() as u32;
            let offset =
                if random.chance(2) { Offset::Short(offset as u8) } else { Offset::Long(offset) };
            Frame::Reliable { channel, offset, data: &data }
        }
    };
    frame.emit(last, w).expect("four frames fit");
}

fn prefixed(random: &mut Random) -> Vec<u8> {
    let mut messages = Vec::new();
    for _ in 0..=random.below(3) {
        let below = if random.chance(20) { 160 } else { 12 };
        let message = random.bytes(below);
        let (prefix, len) = varint::encode(message.len() as u32);
        messages.extend_from_slice(&prefix[..len]);
        messages.extend(message);
    }
    messages
}
