//! The crate against `vectors/`, which were made without it.

#[path = "../examples/random_datagrams/decoded.rs"]
mod decoded;

use bowline_wire::native::{AckBlock, AckForm, Direction, Expanded, Integrity};
use bowline_wire::{Malformed, varint};

use decoded::Setting;

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hexadecimal") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The first value of `key` in a line of JSON without white space, quotes taken off.
fn value<'l>(line: &'l str, key: &str) -> &'l str {
    let (_, value) = line.split_once(&format!("\"{key}\":")).expect("all keys are there");
    match value.strip_prefix('"') {
        Some(text) => text.split('"').next().expect("there is always a first"),
        None => value.split([',', '}']).next().expect("there is always a first"),
    }
}

fn setting(line: &str) -> Setting {
    let number = |key| value(line, key).parse().expect("a number");
    Setting {
        cid_len: number("cid_len") as u8,
        integrity: [Integrity::None, Integrity::Crc32][number("integrity") as usize],
        client_half: number("client_half"),
        server_half: number("server_half"),
        direction: [Direction::ClientToServer, Direction::ServerToClient]
            [number("direction") as usize],
        expected: number("expected"),
    }
}

#[test]
fn datagrams_mean_what_the_vectors_say() {
    let mut count = 0;
    for line in lines(include_str!("../vectors/native.jsonl")) {
        let datagram = bytes(value(line, "hex"));
        let name = value(line, "name");
        assert_eq!(decoded::line(Some(name), &datagram, &setting(line)), line);
        count += 1;
    }
    assert!(count > 150, "{count} datagrams were found");
}

#[test]
fn varints_mean_what_the_vectors_say() {
    for line in lines(include_str!("../vectors/varint.txt")) {
        let (hex, result) = line.split_once(' ').expect("two columns");
        let bytes = bytes(hex);
        match result {
            "malformed" => assert_eq!(varint::parse(&bytes), Err(Malformed::Varint), "{line}"),
            "truncated" => assert_eq!(varint::parse(&bytes), Err(Malformed::Truncated), "{line}"),
            value => {
                let value = value.parse().expect("a number");
                assert_eq!(varint::parse(&bytes), Ok((value, &[][..])), "{line}");
                let (encoded, len) = varint::encode(value);
                assert_eq!(encoded[..len], bytes, "{line}");
            }
        }
    }
}

#[test]
fn largest_numbers_expand_as_the_vectors_say() {
    for line in lines(include_str!("../vectors/largest.txt")) {
        let columns: Vec<_> = line.split(' ').collect();
        let number = |column: usize| columns[column].parse::<u64>().expect("a number");
        let (form, block) = match (number(0), number(1) as u16) {
            (1, low) => (AckForm::Short, vec![low as u8]),
            (_, low) => (AckForm::Ranges2, [&low.to_be_bytes()[..], &[0, 0]].concat()),
        };
        let (block, _) = AckBlock::parse(form, &block).expect("well formed");
        // Before 0 comes the number that wraps to it.
        let a = columns[2].parse::<i64>().expect("a number") as u64;
        let expanded = block.expect("a form of a block").expand_largest(a, number(3));
        let expected = match columns[4] {
            "ambiguous" => Expanded::Ambiguous,
            "never_sent" => Expanded::NeverSent,
            _ => Expanded::Largest(number(4)),
        };
        assert_eq!(expanded, expected, "{line}");
    }
}
