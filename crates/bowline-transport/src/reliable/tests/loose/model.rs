//! A loose stream that looks at one byte after the other.

use alloc::collections::BTreeMap;

use super::*;

/// What became of a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Byte {
    Missing,
    Partial,
    Told,
    Done,
}

/// A stream byte by byte, to which anything may happen. Offsets are less than [`Model::LEN`]; those before
/// the first byte, which seem to be large, are done.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) bytes: Vec<(Byte, u8)>,
    keys: BTreeMap<u32, u32>,
    latest: bool,
    len_max: u32,
}

impl Model {
    pub(super) const LEN: u32 = 20_000;

    pub(super) fn new(latest: bool, len_max: u32) -> Self {
        let bytes = vec![(Byte::Missing, POISON); Self::LEN as usize];
        Self { bytes, keys: BTreeMap::new(), latest, len_max }
    }

    pub(super) fn at(&self, offset: u32) -> Byte {
        self.bytes.get(offset as usize).map_or(Byte::Done, |&(byte, _)| byte)
    }

    pub(super) fn base(&self) -> u32 {
        self.bytes.iter().position(|&(byte, _)| byte == Byte::Missing).unwrap() as u32
    }

    /// Bytes that are not settled become `to`.
    pub(super) fn mark(&mut self, start: u32, len: u32, to: Byte) {
        for offset in (0..len).map(|at| start.wrapping_add(at)) {
            if matches!(self.at(offset), Byte::Missing | Byte::Partial) {
                self.bytes[offset as usize].0 = to;
            }
        }
    }

    pub(super) fn settled(&self, start: u32, len: u32) -> usize {
        let all = (0..len).map(|at| self.at(start.wrapping_add(at)));
        all.filter(|byte| matches!(byte, Byte::Told | Byte::Done)).count()
    }

    /// As many bytes as there are in a row of that kind.
    pub(super) fn row(&self, start: u32, kind: Byte) -> Vec<u8> {
        let Some(from) = self.bytes.get(start as usize..) else { return Vec::new() };
        from.iter().take_while(|(byte, _)| *byte == kind).map(|&(_, value)| value).collect()
    }

    /// What is partial and has something settled between it and what is missing never is a message.
    pub(super) fn tidy(&mut self) {
        let base = self.base() as usize;
        let before = &mut self.bytes[..base];
        let keep = before.iter().rev().take_while(|(byte, _)| *byte == Byte::Partial).count();
        for (byte, _) in &mut before[..base - keep] {
            if *byte == Byte::Partial {
                *byte = Byte::Done;
            }
        }
    }

    /// The length of the message that begins these bytes, with its prefix.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Option<usize>, Unfit> {
        match crate::run::prefix(bytes) {
            Ok(Some((len, _))) if len > self.len_max as usize => Err(Unfit::Bad),
            Ok(Some((len, _))) if self.latest && len < 4 => Err(Unfit::Bad),
            Ok(parsed) => Ok(parsed.map(|(len, prefix)| len + prefix)),
            Err(_) => Err(Unfit::Bad),
        }
    }

    pub(super) fn key(bytes: &[u8]) -> u32 {
        let (_, prefix) = crate::run::prefix(bytes).unwrap().unwrap();
        u32::from_be_bytes(bytes[prefix..prefix + 4].try_into().unwrap())
    }

    pub(super) fn tell(&mut self, start: u32, bytes: &[u8], ahead: bool) {
        if self.latest && ahead {
            let newest = self.keys.entry(Self::key(bytes)).or_default();
            *newest = start.max(*newest);
        }
        self.mark(start, bytes.len() as u32, Byte::Told);
    }

    /// Whether there is more to be read.
    pub(super) fn apply(&mut self, frame: &Frame) -> Result<bool, Unfit> {
        if frame.void > 0 {
            self.mark(frame.start, frame.void, Byte::Done);
            self.tidy();
            return Ok(false);
        }
        let (start, len) = (frame.start, frame.data.len() as u32);
        let bytes = || (0..len).map(|at| start.wrapping_add(at)).zip(&frame.data);
        if bytes().all(|(offset, _)| self.at(offset) != Byte::Missing) {
            return Ok(false);
        }
        let base = self.base();
        let is_ahead = |offset: u32| offset < Self::LEN && offset > base;
        let mut whole = Vec::new();
        let mut rest = &frame.data[..];
        while frame.back.is_none() && !rest.is_empty() {
            let len = self.parse(rest)?.filter(|&len| len <= rest.len()).ok_or(Unfit::Bad)?;
            let at = start.wrapping_add(frame.data.len() as u32 - rest.len() as u32);
            match self.settled(at, len as u32) {
                0 => whole.push((at, &rest[..len])),
                all if all == len => {}
                _ => return Err(Unfit::Bad),
            }
            rest = &rest[len..];
        }
        let dead = self.settled(start, len) > 0;
        for (offset, &value) in bytes() {
            if self.at(offset) == Byte::Missing {
                self.bytes[offset as usize] = (Byte::Partial, value);
            }
        }
        let told = match frame.back {
            None => {
                whole.iter().for_each(|&(at, bytes)| self.tell(at, bytes, is_ahead(start)));
                Ok(!whole.is_empty())
            }
            Some(back) => {
                if dead && is_ahead(start) {
                    self.mark(start, len, Byte::Done);
                } else if dead {
                    self.tidy();
                }
                self.complete(start.wrapping_sub(back), start.wrapping_add(len))
            }
        };
        self.tidy();
        told
    }

    /// Tells the message that begins at `start` and has a part up to `end`, if it is complete.
    pub(super) fn complete(&mut self, start: u32, end: u32) -> Result<bool, Unfit> {
        let row = self.row(start, Byte::Partial);
        let Some(len) = self.parse(&row)? else { return Ok(false) };
        if end.wrapping_sub(start) as usize > len {
            return Err(Unfit::Bad);
        }
        let Some(message) = row.get(..len) else { return Ok(false) };
        let base = self.base();
        self.tell(start, message, start > base);
        Ok(true)
    }

    /// The message to be read next.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, Unfit> {
        while let Some(at) = self.bytes.iter().position(|&(byte, _)| byte == Byte::Told) {
            let row = self.row(at as u32, Byte::Told);
            let len = self.parse(&row)?.filter(|&len| len <= row.len()).ok_or(Unfit::Bad)?;
            let newest = if self.latest { self.keys.get(&Self::key(&row)) } else { None };
            if newest.is_none_or(|&newest| newest <= at as u32) {
                return Ok(Some((at as u32, row[..len].to_vec())));
            }
            self.finish(at as u32, len);
        }
        Ok(None)
    }

    pub(super) fn finish(&mut self, start: u32, len: usize) {
        self.bytes[start as usize..][..len].iter_mut().for_each(|(byte, _)| *byte = Byte::Done);
    }
}
