//! The range coder against the output of the original, and against itself.

use bowline_enet::{Compressor, RangeCoder};

use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn compressed(coder: &mut RangeCoder, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit];
    let len = coder.compress(input, &mut out)?;
    out.truncate(len);
    Some(out)
}

fn restored(coder: &mut RangeCoder, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit];
    let len = coder.decompress(input, &mut out)?;
    out.truncate(len);
    Some(out)
}

/// One coder for all, since nothing may be left over from one to the next.
#[test]
fn agrees_with_the_original() {
    let mut coder = RangeCoder::new();
    let lines = include_str!("../vectors/range_coder.txt").lines();
    let mut count = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [operation, limit, input, output] =
            line.split(' ').collect::<Vec<_>>().try_into().expect("four columns");
        let limit = limit.parse().expect("a number");
        let (input, output) = (bytes(input), (output != "-").then(|| bytes(output)));
        if operation == "decompress" {
            assert_eq!(restored(&mut coder, &input, limit), output, "{line}");
        } else {
            assert_eq!(compressed(&mut coder, &input, limit), output, "{line}");
            let output = output.expect("an output");
            assert_eq!(restored(&mut coder, &output, input.len()), Some(input), "{line}");
        }
        count += 1;
    }
    assert!(count >= 40, "{count} pairs");
}

#[test]
fn nothing_is_nothing() {
    let mut coder = RangeCoder::new();
    assert_eq!(compressed(&mut coder, &[], 10), None);
    assert_eq!(restored(&mut coder, &[], 10), None);
    assert_eq!(restored(&mut coder, &[0, 0, 0], 10), None, "the end of the data at once");
}

#[test]
fn output_never_exceeds_its_limit() {
    let mut coder = RangeCoder::new();
    let text = b"hello hello hello hello";
    let whole = compressed(&mut coder, text, 100).expect("room");
    assert_eq!(whole.len(), 13);
    for limit in 0..whole.len() {
        assert_eq!(compressed(&mut coder, text, limit), None);
    }
    assert_eq!(compressed(&mut coder, text, 13).as_ref(), Some(&whole));
    assert_eq!(restored(&mut coder, &whole, 22), None);
    assert_eq!(restored(&mut coder, &whole, 23).as_deref(), Some(&text[..]));
}

/// A bomb: a few bytes that stand for more than any datagram.
#[test]
fn a_bomb_fills_the_output_and_fails() {
    let mut coder = RangeCoder::new();
    let bomb = compressed(&mut coder, &[0x41; 100_000], 200).expect("room");
    assert!(bomb.len() < 200);
    assert_eq!(restored(&mut coder, &bomb, 4096), None);
}

#[test]
fn has_the_size_that_it_says() {
    assert_eq!(size_of::<RangeCoder>(), 65_542);
}

/// Bytes of few values come in runs, as in datagrams.
fn input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..400),
        prop::collection::vec(0u8..4, 1..3000),
        prop::collection::vec((any::<u8>(), 1usize..200), 1..40)
            .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect()),
    ]
}

proptest! {
    #[test]
    fn what_was_compressed_is_restored(input in input()) {
        let mut coder = RangeCoder::new();
        let output = compressed(&mut coder, &input, 2 * input.len() + 16).expect("room");
        prop_assert_ne!(output.last(), Some(&0), "zeros at the end are left out");
        prop_assert_eq!(restored(&mut coder, &output, input.len()), Some(input));
    }

    #[test]
    fn any_bytes_are_restored_to_something_or_nothing(
        input in prop::collection::vec(any::<u8>(), 0..200), limit in 0usize..4096,
    ) {
        let mut coder = RangeCoder::new();
        if let Some(output) = restored(&mut coder, &input, limit) {
            prop_assert!((1..=limit).contains(&output.len()));
            prop_assert_eq!(restored(&mut RangeCoder::new(), &input, limit), Some(output));
        }
    }
}
