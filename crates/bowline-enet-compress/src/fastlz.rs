//! FastLZ, level 1.
//!
//! A block is instructions, one after the other to its end, the first of them always literals:
//!
//! ```text
//!   7   5 4       0
//!  +-----+---------+------------
//!  | 000 |   len   | literals        len + 1 bytes follow as they are
//!  +-----+---------+---------+
//!  | len |  high   |   low   |       len + 2 bytes (3 to 8) come again, from distance
//!  +-----+---------+---------+         256 * high + low + 1
//!  | 111 |  high   |   len   |  low  |     the same of len + 9 bytes (9 to 264)
//!  +-----+---------+---------+-------+
//! ```

use bowline_enet::Compressor;

/// Level 1 has it in the top bits of the first byte.
const LEVEL_MASK: u8 = 0xE0;
/// The longest run of literals of an instruction.
const RUN_MAX: usize = 32;
const MATCH_MIN: usize = 3;
/// From this length on a match takes three bytes.
const MATCH_LONG: usize = 9;
const MATCH_MAX: usize = 264;
const DISTANCE_MAX: usize = 8192;
/// Longer inputs are compressed at level 2 by the original.
const INPUT_MAX: usize = 65_535;

const HASH_BITS: u32 = 12;

/// FastLZ at level 1, which is what the original uses for less than 64 KiB.
///
/// Holds a table of 8 KiB in place and allocates nothing. Work is a few steps per byte, each way.
///
/// Godot extends commands of less than 16 bytes with zeros before it compresses them; they are restored
/// with the zeros, and a host stops at command number 0.
#[derive(Clone, Debug)]
pub struct FastLz {
    /// For each hash of three bytes: one more than where they came last, or 0.
    seen: [u16; 1 << HASH_BITS],
}

impl FastLz {
    /// A compressor.
    pub const fn new() -> Self {
        Self { seen: [0; 1 << HASH_BITS] }
    }

    /// How many bytes before `at` the same three bytes were, if they were and not too long ago; from now on they
    /// were at `at`.
    fn find(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let bytes = input.get(at..)?.first_chunk::<MATCH_MIN>()?;
        let hash = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]).wrapping_mul(0x9E37_79B1);
        let seen = self.seen.get_mut((hash >> (u32::BITS - HASH_BITS)) as usize)?;
        let before = usize::from(core::mem::replace(seen, at as u16 + 1)).checked_sub(1)?;
        let distance = at.checked_sub(before).filter(|distance| *distance <= DISTANCE_MAX)?;
        (input.get(before..)?.first_chunk() == Some(bytes)).then_some(distance)
    }
}

impl Default for FastLz {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor for FastLz {
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        if input.is_empty() || input.len() > INPUT_MAX {
            return None;
        }
        self.seen.fill(0);
        let mut out = Out { bytes: out, len: 0 };
        let (mut at, mut literals) = (0, 0);
        while at < input.len() {
            let Some(distance) = self.find(input, at) else {
                at += 1;
                continue;
            };
            let len = match_len(input, at, distance);
            out.literals(input.get(literals..at)?)?;
            out.repeat(distance, len)?;
            // What lies within is found by its own kind only from its last bytes on.
            (literals, at) = (at + len, at + len);
            for within in at.saturating_sub(2)..at {
                self.find(input, within);
            }
        }
        out.literals(input.get(literals..)?)?;
        Some(out.len)
    }

    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        if input.first()? & LEVEL_MASK != 0 {
            return None;
        }
        let (mut input, mut out) = (input, Out { bytes: out, len: 0 });
        while let Some((first, rest)) = input.split_first() {
            let (kind, low) = (usize::from(first >> 5), usize::from(first & !LEVEL_MASK));
            if kind == 0 {
                let (literals, rest) = rest.split_at_checked(low + 1)?;
                out.put(literals)?;
                input = rest;
                continue;
            }
            let (more, rest) = if kind == 7 { rest.split_first()? } else { (&0, rest) };
            let (offset, rest) = rest.split_first()?;
            let distance = 256 * low + usize::from(*offset) + 1;
            out.copy(distance, kind + 2 + usize::from(*more))?;
            input = rest;
        }
        Some(out.len)
    }
}

/// How long the bytes at `at` are the same as those `distance` before, up to [`MATCH_MAX`].
fn match_len(input: &[u8], at: usize, distance: usize) -> usize {
    let (now, before) = (input.iter().skip(at), input.iter().skip(at - distance));
    now.zip(before).take(MATCH_MAX).take_while(|(now, before)| now == before).count()
}

/// What was put out, and the room for more.
#[derive(Debug)]
struct Out<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.get_mut(self.len..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }

    /// The `len` bytes that begin `distance` before the end, the new ones too where they overlap.
    fn copy(&mut self, distance: usize, len: usize) -> Option<()> {
        let distance = match cfg!(bowline_mutant = "before_the_start") {
            true => distance.min(self.len),
            false => distance,
        };
        let from = self.len.checked_sub(distance)?;
        let place = self.bytes.get_mut(from..self.len + len)?;
        match distance {
            1 => place.fill(*place.first()?),
            _ if distance >= len => place.copy_within(..len, distance),
            _ => (distance..place.len()).for_each(|at| place[at] = place[at - distance]),
        }
        self.len += len;
        Some(())
    }

    fn literals(&mut self, literals: &[u8]) -> Option<()> {
        literals.chunks(RUN_MAX).try_for_each(|run| {
            self.put(&[(run.len() - 1) as u8])?;
            self.put(run)
        })
    }

    fn repeat(&mut self, distance: usize, len: usize) -> Option<()> {
        let [high, low] = (distance as u16 - 1).to_be_bytes();
        match len.checked_sub(MATCH_LONG) {
            None => self.put(&[((len - 2) as u8) << 5 | high, low]),
            Some(more) => self.put(&[7 << 5 | high, more as u8, low]),
        }
    }
}
