//! Traces in files and other streams.

use std::io::{self, Read, Write};

use crate::{Sink, Source};

/// Whatever reads or writes, as a source or sink.
///
/// A recorder writes two kilobytes at a time, a replay reads so. Neither wants a buffer, which would only hold
/// back what the last moments before a crash left behind.
#[derive(Debug)]
pub struct Stream<T>(pub T);

impl<T: Write> Sink for Stream<T> {
    type Error = io::Error;

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl<T: Read> Source for Stream<T> {
    type Error = io::Error;

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match self.0.read(rest) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len)
    }
}
