//! The bytes that constant functions tell are those that are taken, to the last.

use bowline_core::{Address, ChannelId, Event, Instant, Machine, Messages, Mode, Outgoing};
use bowline_crypto::SipHash;
use bowline_native::{Config, ConfigError, Endpoint, Fixed, Heap, Limits, Need, Storage};
use bowline_tests::allocator::{Watchful, counts, watch};
use bowline_tests::memory::{APPLICATION, Kind};
use bowline_tests::rogue::Rogue;
use bowline_tests::watched::Watched;
use bowline_wire::native::{AckForm, Frame, Offset};

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

const KIB: u64 = 1024;
/// The first records that there are: an endpoint has some ready before it sends anything.
const FIRST_RECORDS: usize = 64 * 40;

const LIMITS: [Limits; 6] = [
    Limits { peers: 1, channels: 1, records: 6, bytes: KIB, block_len: 64 },
    // Neither powers of two nor multiples of anything.
    Limits { peers: 13, channels: 3, records: 701, bytes: 77_777, block_len: 250 },
    Limits { peers: 100, channels: 256, records: 5_000, bytes: 300 * KIB, block_len: 1024 },
    Limits { peers: 1_500, channels: 2, records: 1, bytes: 4_000, block_len: 3 },
    Limits { peers: 0, channels: 8, records: 0, bytes: 0, block_len: 0 },
    Limits::for_peers(16),
];

/// What [`LIMITS`] cost, known when this is compiled.
const BYTES_MAX: [usize; LIMITS.len()] = {
    let mut bytes = [0; LIMITS.len()];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = LIMITS[at].bytes_max();
        at += 1;
    }
    bytes
};

#[test]
fn a_heap_that_has_grown_to_its_limits_holds_what_was_said() {
    for (limits, most) in LIMITS.into_iter().zip(BYTES_MAX) {
        let before = counts();
        let mut heap = Heap::new(limits);
        let needs = [
            Need::Peer,
            Need::Row,
            Need::Domain,
            Need::Record,
            Need::Assembly,
            Need::Blocks(1),
            Need::Ban,
            Need::Counts,
        ];
        for need in needs {
            while watch(|| heap.grow(need)) {
                assert!(heap.allocated() <= most, "{limits:?}, {need:?}");
            }
        }
        assert_eq!(usize::try_from(counts().since(&before).bytes), Ok(most), "{limits:?}");
        assert_eq!(heap.allocated(), most, "{limits:?}");
        watch(|| drop(heap));
        assert_eq!(counts().since(&before).bytes, 0);
    }
}

/// An endpoint and `count` sessions that never said a thing.
fn idle(limits: Limits, config: Config, count: u32) -> Endpoint<Heap> {
    let mut endpoint = Endpoint::plain(config, &SipHash, &[1; 32], Heap::new(limits)).unwrap();
    let now = Instant::from_micros(1_000_000);
    for peer in 0..count {
        let from = Address::from_raw(&peer.to_be_bytes()).unwrap();
        Rogue::meet(&mut endpoint, now, from, |_| {}).expect("it is let in");
    }
    assert_eq!(endpoint.in_use().peers, count);
    endpoint
}

#[test]
fn an_idle_peer_takes_what_was_said() {
    const CONFIG: Config = Config::new(APPLICATION);
    for count in [1, 4, 16, 100, 1_000, 2_048] {
        let limits = Limits::for_peers(count);
        let endpoint = idle(limits, CONFIG, count);
        let bytes = endpoint.storage().allocated();
        assert_eq!(bytes - FIRST_RECORDS, limits.peers_bytes(count as usize), "{count} peers");
        println!("{count} idle peers: {} bytes each", bytes / count as usize);
    }
    let promised = Limits::for_peers(1).promised_bytes(&CONFIG);
    println!("a peer that holds all it is promised: {promised} bytes more");
}

/// As in a game: each has said something in each of Godot's modes and been answered, nobody has read or acknowledged
/// anything.
#[test]
fn a_peer_that_talks_takes_a_part_of_what_it_was_promised() {
    const CONFIG: Config = Config::new(APPLICATION);
    const COUNT: u32 = 100;
    let limits = Limits { block_len: 256, ..Limits::for_peers(COUNT) };
    let mut endpoint = Endpoint::plain(CONFIG, &SipHash, &[1; 32], Heap::new(limits)).unwrap();
    let now = Instant::from_micros(1_000_000);
    for peer in 0..COUNT {
        let from = Address::from_raw(&peer.to_be_bytes()).unwrap();
        let mut rogue = Rogue::meet(&mut endpoint, now, from, |_| {}).expect("it is let in");
        let (channel, messages) = (0, &b"\x04here"[..]);
        let offset = Offset::Long(Rogue::INITIAL);
        for frame in [
            Frame::Unreliable { channel, ordered: false, messages },
            Frame::Unreliable { channel, ordered: true, messages },
            Frame::Reliable { channel, offset, data: messages },
        ] {
            let packet = rogue.packet(AckForm::None, |w| frame.emit(true, w));
            rogue.hand_to(&mut endpoint, now, packet).unwrap();
        }
    }
    let mut buf = [0; 1_500];
    while let Some(event) = endpoint.poll_event() {
        let Event::Connected(peer) = event else { continue };
        for mode in Mode::GODOT {
            endpoint.send(now, peer, Outgoing::new(ChannelId(0), mode, &[&[7; 100]])).unwrap();
        }
    }
    while endpoint.poll_transmit(now, &mut buf).unwrap().is_some() {}
    let in_use = endpoint.in_use();
    let shared = endpoint.storage().allocated() - limits.peers_bytes(COUNT as usize);
    let each = shared / COUNT as usize;
    println!(
        "{COUNT} peers that talk: {each} bytes each beyond what an idle one takes; {in_use:?}"
    );
    assert_eq!((in_use.peers, in_use.domains), (COUNT, 3 * COUNT));
    assert!(each < limits.promised_bytes(&CONFIG) / 4, "{each}");
}

#[test]
fn a_busy_peer_takes_what_it_was_promised() {
    for (config, block_len) in [
        (Config::new(APPLICATION), 1024),
        (Config::small(APPLICATION), 128),
        (Kind::TightHeap.config(), 96),
        (Config { send_reserve: 0, ..Kind::Fixed.config() }, 20),
    ] {
        // Memory from the allocator has room for all modes.
        let config = Config { loose_credit: config.loose_credit.max(16), ..config };
        let blocks = config.blocks_per_peer(block_len);
        let bytes = u64::from(blocks) * u64::from(block_len);
        let (channels, records) = (config.channels, config.records_per_peer());
        let limits = Limits { peers: 1, channels, records, bytes, block_len };
        let endpoint = |limits| Endpoint::plain(config, &SipHash, &[1; 32], Heap::new(limits));
        assert!(endpoint(limits).is_ok());
        let tight =
            Err(ConfigError::MemoryTooSmall { blocks_per_peer: blocks, records_per_peer: records });
        assert_eq!(endpoint(Limits { bytes: bytes - 1, ..limits }).map(drop), tight);
        assert_eq!(endpoint(Limits { records: records - 1, ..limits }).map(drop), tight);
        // Besides the session and what it is promised there are only places for messages in parts, and
        // those for who is banned and for who has how many sessions.
        let mut heap = Heap::new(limits);
        for need in [Need::Assembly, Need::Ban, Need::Counts] {
            while heap.grow(need) {}
        }
        let spent = limits.peers_bytes(1) + limits.promised_bytes(&config) + heap.allocated();
        assert_eq!(limits.bytes_max(), spent);
    }
}

#[test]
fn arrays_take_what_was_said() {
    fn check<const P: usize, const C: usize, const R: usize, const B: usize, const L: usize>() {
        type Of<const P: usize, const C: usize, const R: usize, const B: usize, const L: usize> =
            Fixed<P, C, R, B, L>;
        let spent = P * Of::<P, C, R, B, L>::PEER_BYTES
            + R * 40
            + B * L
            + Of::<P, C, R, B, L>::SHARED_BYTES;
        let bytes = Of::<P, C, R, B, L>::BYTES;
        assert_eq!(bytes, size_of_val(&Of::<P, C, R, B, L>::new()));
        assert!((spent..=spent + 8).contains(&bytes), "{bytes}, counted {spent}");
        // Nothing else is anywhere.
        let before = counts();
        let mut memory = Box::new(Of::<P, C, R, B, L>::new());
        let config = Config { channels: C as u16, ..Config::small(APPLICATION) };
        let needed = (config.blocks_per_peer(L as u32), config.records_per_peer());
        if needed.0 as usize * P <= B && needed.1 as usize * P <= R {
            let made = watch(|| Endpoint::plain(config, &SipHash, &[1; 32], &mut *memory));
            let mut endpoint = Watched(made.unwrap());
            let now = Instant::from_micros(1_000_000);
            for peer in 0..P as u32 + 1 {
                let from = Address::from_raw(&peer.to_be_bytes()).unwrap();
                Rogue::meet(&mut endpoint, now, from, |_| {});
            }
            assert_eq!(endpoint.0.in_use().peers as usize, P);
        }
        assert_eq!(counts().since(&before).requests(), 0);
    }
    check::<1, 1, 16, 20, 128>();
    check::<4, 1, 64, 80, 128>();
    check::<2, 3, 101, 77, 97>();
    check::<5, 31, 7, 4, 16>();
    check::<3, 2, 50, 90, 100>();
}
