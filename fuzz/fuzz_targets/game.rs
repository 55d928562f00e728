//! How to fuzz a game of one's own: its encoder and decoder, behind everything a network can do.
//!
//! The game here has positions that are sent often and may be lost, and chat that may not. What it asks of the
//! transport it checks for itself, in its own words.

#![no_main]

use std::collections::BTreeMap;

use bowline_fuzz::{Delivery, Game, Side, check};

const POSITION: u8 = 1;
const CHAT: u8 = 2;

/// A message of the game.
#[derive(Debug, PartialEq)]
enum Message {
    Position { player: u8, tick: u32, x: i16, y: i16 },
    Chat { line: u32, text: String },
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Position { player, tick, x, y } => {
                let (tick, x, y) = (tick.to_le_bytes(), x.to_le_bytes(), y.to_le_bytes());
                [&[POSITION, *player][..], &tick, &x, &y].concat()
            }
            Self::Chat { line, text } => {
                [&[CHAT], &line.to_le_bytes()[..], text.as_bytes()].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            &[POSITION, player, t0, t1, t2, t3, x0, x1, y0, y1] => Ok(Self::Position {
                player,
                tick: u32::from_le_bytes([t0, t1, t2, t3]),
                x: i16::from_le_bytes([x0, x1]),
                y: i16::from_le_bytes([y0, y1]),
            }),
            &[CHAT, l0, l1, l2, l3, ref text @ ..] => Ok(Self::Chat {
                line: u32::from_le_bytes([l0, l1, l2, l3]),
                text: str::from_utf8(text).map_err(|error| error.to_string())?.into(),
            }),
            _ => Err(format!("{} bytes that mean nothing", bytes.len())),
        }
    }
}

/// Both players' games.
#[derive(Default)]
struct Match {
    tick: u32,
    /// Where each message is known from: what was composed, by its bytes.
    composed: BTreeMap<Vec<u8>, Message>,
    positions_seen: [u32; 2],
}

impl Game for Match {
    fn compose(&mut self, seed: &[u8], len: usize) -> Vec<u8> {
        self.tick += 1;
        let message = match seed {
            [player, x, y, ..] if len % 2 == 0 => Message::Position {
                player: *player,
                tick: self.tick,
                x: i16::from(*x),
                y: -i16::from(*y),
            },
            text => Message::Chat {
                line: self.tick,
                text: String::from_utf8_lossy(text).repeat(1 + len / 32),
            },
        };
        let bytes = message.encode();
        self.composed.insert(bytes.clone(), message);
        bytes
    }

    fn received(&mut self, delivery: &Delivery<'_>) -> Result<(), String> {
        let message = Message::decode(delivery.bytes)?;
        if self.composed.get(delivery.bytes) != Some(&message) {
            return Err(format!("nobody meant {message:?}"));
        }
        if let Message::Position { .. } = message {
            self.positions_seen[usize::from(delivery.at == Side::Right)] += 1;
        }
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| check(data, &mut Match::default()));
