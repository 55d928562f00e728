//! Lines of the standard input, read on a thread of its own since reading blocks.

use std::io::{self, BufRead};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Lines that are read ahead.
const AHEAD_MAX: usize = 64;

/// The standard input.
#[derive(Debug)]
pub(crate) struct Keyboard {
    lines: Receiver<Vec<u8>>,
    /// Whether there is nothing more to come.
    pub(crate) is_over: bool,
}

impl Keyboard {
    /// Begins to read.
    pub(crate) fn new() -> Self {
        let (sender, lines) = sync_channel(AHEAD_MAX);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(line) = read_line(&mut input) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, is_over: false }
    }

    /// The next line, if one was typed.
    pub(crate) fn poll_line(&mut self) -> Option<Vec<u8>> {
        match self.lines.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_over = true;
                None
            }
        }
    }
}

/// The next line, without its end; none at the end of the input, or when it fails.
fn read_line(input: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    if !matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
        return None;
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_way_and_the_last_may_have_none() {
        let mut input = &b"one\ntwo\r\n\nlast"[..];
        let lines: Vec<_> = core::iter::from_fn(|| read_line(&mut input)).collect();
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"last"]);
    }
}
