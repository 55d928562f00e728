//! Each compressor against what Godot made, against itself, and against whatever comes.

use bowline_enet::Compressor;
use bowline_enet_compress::{FastLz, Zlib, Zstd};

use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn compressor(name: &str) -> Box<dyn Compressor> {
    match name {
        "fastlz" => Box::new(FastLz::new()),
        "zlib" => Box::new(Zlib::new()),
        "zstd" => Box::new(Zstd::new()),
        _ => panic!("no compressor {name}"),
    }
}

fn compressed(by: &mut dyn Compressor, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit];
    let len = by.compress(input, &mut out)?;
    out.truncate(len);
    Some(out)
}

fn restored(by: &mut dyn Compressor, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit];
    let len = by.decompress(input, &mut out)?;
    out.truncate(len);
    Some(out)
}

const NAMES: [&str; 3] = ["fastlz", "zlib", "zstd"];

#[test]
fn what_godot_compressed_is_restored() {
    for name in NAMES {
        let mut by = compressor(name);
        let lines = include_str!("../vectors/godot.txt").lines();
        let mut count = 0;
        for line in lines.filter(|line| line.starts_with(name)) {
            let [_, input, output] =
                line.split(' ').collect::<Vec<_>>().try_into().expect("three columns");
            let (mut input, output) = (bytes(input), bytes(output));
            if name == "fastlz" {
                input.resize(input.len().max(16), 0);
            }
            let whole = restored(&mut *by, &output, input.len());
            assert_eq!(whole.as_ref(), Some(&input), "{line}");
            assert_eq!(restored(&mut *by, &output, 10_000), whole, "{line}");
            assert_eq!(restored(&mut *by, &output, input.len() - 1), None, "{line}");
            let len = output.len();
            assert_eq!(
                restored(&mut *by, &output[..len / 2], 10_000).filter(|it| *it == input),
                None
            );
            count += 1;
        }
        assert!(count > 20, "{count} of {name}");
    }
}

#[test]
fn what_repeats_becomes_shorter() {
    let text = b"hello hello hello hello hello hello hello hello ".repeat(8);
    for name in NAMES {
        let mut by = compressor(name);
        let output = compressed(&mut *by, &text, text.len()).expect("room");
        assert!(output.len() < text.len() / 4, "{name}: {} bytes", output.len());
        for limit in [0, 1, output.len() - 1] {
            assert_eq!(compressed(&mut *by, &text, limit), None, "{name}");
        }
        assert_eq!(compressed(&mut *by, &text, output.len()), Some(output), "{name}");
    }
}

#[test]
fn nothing_is_nothing() {
    for name in NAMES {
        let mut by = compressor(name);
        assert_eq!(compressed(&mut *by, &[], 100), None, "{name}");
        assert_eq!(restored(&mut *by, &[], 100), None, "{name}");
    }
}

/// A few bytes that stand for more than any datagram.
#[test]
fn a_bomb_fails() {
    for name in NAMES {
        let mut by = compressor(name);
        let bomb = compressed(&mut *by, &vec![0x41; 60_000], 2000).expect("room");
        assert_eq!(restored(&mut *by, &bomb, 4094), None, "{name}");
    }
}

/// A frame with one literal block, that asks for a window of 1 KiB shifted so often.
#[test]
fn a_frame_with_a_window_longer_than_any_datagram_fails() {
    let mut by = Zstd::new();
    let frame = |window: u8| [0x28, 0xB5, 0x2F, 0xFD, 0x00, window << 3, 0x09, 0, 0, b'x'];
    assert_eq!(restored(&mut by, &frame(7), 100).as_deref(), Some(&b"x"[..]), "128 KiB");
    assert_eq!(restored(&mut by, &frame(8), 100), None, "256 KiB");
    assert_eq!(restored(&mut by, &frame(10), 100), None, "1 MiB");
}

#[test]
fn level_2_and_what_lies_before_the_beginning_fail() {
    let mut by = FastLz::new();
    assert_eq!(restored(&mut by, &[0x00, b'a', 0x20, 0x00], 10).as_deref(), Some(&b"aaaa"[..]));
    assert_eq!(restored(&mut by, &[0x20, b'a', 0x20, 0x00], 10), None, "level 2");
    assert_eq!(restored(&mut by, &[0x00, b'a', 0x20, 0x01], 10), None, "before the beginning");
    assert_eq!(restored(&mut by, &[0x00, b'a', 0x20], 10), None, "no offset");
    assert_eq!(restored(&mut by, &[0x00, b'a', 0xE0, 0x00], 10), None, "no offset");
    assert_eq!(restored(&mut by, &[0x01, b'a'], 10), None, "no literal");
    assert_eq!(restored(&mut by, &[0x00, b'a', 0x20, 0x00], 3), None, "no room");
}

/// Bytes of few values, in runs, and with far repetitions.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop::collection::vec((any::<u8>(), 1usize..700), 1..20)
        .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect());
    let far = (prop::collection::vec(any::<u8>(), 3..300), 0usize..9000)
        .prop_map(|(bytes, gap)| [&bytes[..], &vec![7; gap], &bytes].concat());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..400),
        prop::collection::vec(0u8..4, 1..3000),
        runs,
        far,
    ]
}

proptest! {
    #[test]
    fn what_was_compressed_is_restored(input in input()) {
        for name in NAMES {
            let mut by = compressor(name);
            let limit = 2 * input.len() + 100;
            let output = compressed(&mut *by, &input, limit).expect("room");
            prop_assert_eq!(restored(&mut *by, &output, input.len()), Some(input.clone()), "{}", name);
            prop_assert_eq!(compressed(&mut *by, &input, limit), Some(output), "left over in {}", name);
        }
    }

    #[test]
    fn any_bytes_are_restored_to_something_or_nothing(
        input in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..40], 0..200),
        magic: bool, limit in 0usize..4096,
    ) {
        for (name, start) in NAMES.into_iter().zip([&[][..], &[0x78, 0x9C], &[0x28, 0xB5, 0x2F, 0xFD]]) {
            let input = if magic { [start, &input].concat() } else { input.clone() };
            let output = restored(&mut *compressor(name), &input, limit);
            prop_assert!(output.is_none_or(|output| (1..=limit).contains(&output.len())), "{}", name);
        }
    }
}
