//! Whether everything arrived, at little cost.

use bowline_core::Incoming;

/// Bytes at the start of every message that number it.
pub const NUMBER_LEN: usize = 8;

/// What has been sent or received: equal on both sides in the end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sum of their numbers.
    pub sum: u64,
}

impl Tally {
    /// Counts a message that is sent, and answers its number.
    #[inline]
    pub fn next(&mut self, len: usize) -> [u8; NUMBER_LEN] {
        let number = self.messages;
        self.messages += 1;
        self.bytes += len as u64;
        self.sum += number;
        number.to_le_bytes()
    }

    /// Counts a message that has arrived whole.
    #[inline]
    pub fn take(&mut self, message: &[u8]) {
        self.messages += 1;
        self.bytes += message.len() as u64;
        if let Some(number) = message.first_chunk() {
            self.sum += u64::from_le_bytes(*number);
        }
    }

    /// Counts a message that has arrived, perhaps in pieces.
    #[inline]
    pub fn take_incoming(&mut self, message: &Incoming<'_>) {
        match message.as_slice() {
            Some(message) => self.take(message),
            None => self.take_pieces(message),
        }
    }

    fn take_pieces(&mut self, message: &Incoming<'_>) {
        let (mut number, mut have) = ([0; NUMBER_LEN], 0);
        self.messages += 1;
        for piece in message.chunks() {
            self.bytes += piece.len() as u64;
            for (to, from) in number.iter_mut().skip(have).zip(piece) {
                *to = *from;
            }
            have += piece.len();
        }
        self.sum += u64::from_le_bytes(number);
    }

    /// What came on top of `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            bytes: self.bytes - before.bytes,
            sum: self.sum - before.sum,
        }
    }
}

/// The bytes of a message behind its number; byte `at` of the message is `at % 251`.
pub fn pattern(len: usize) -> Vec<u8> {
    (NUMBER_LEN..len).map(|at| (at % 251) as u8).collect()
}

/// Whether a received message ends as [`pattern`] says.
pub fn is_intact(message: &Incoming<'_>) -> bool {
    let bytes = message.chunks().flatten().enumerate();
    bytes.skip(NUMBER_LEN).all(|(at, byte)| *byte == (at % 251) as u8)
}
