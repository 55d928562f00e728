//! Records, as a recorder writes them.

use bowline_core::{Address, Instant, PeerId};
use bowline_native::Whom;
use bowline_wire::checksum::{crc32, update};

use crate::addresses::{Addresses, Spelling};
use crate::chunks::Chunks;
use crate::format::{ADDRESSES, flag, kind};
use crate::hash::Hash;
use crate::row::{Row, zigzag};
use crate::{Bytes, Header, Input, Options, Output, Sink};

/// What both sides of a trace keep track of while it goes on.
#[derive(Debug)]
pub(crate) struct Context {
    /// The time that the caller said last.
    pub(crate) last: Instant,
    /// The length of the buffer that the caller had last, in bytes.
    pub(crate) room: usize,
    pub(crate) addresses: Addresses,
    /// How many records there were.
    pub(crate) records: u64,
}

impl Context {
    pub(crate) const NEW: Self =
        Self { last: Instant::ZERO, room: 0, addresses: Addresses::EMPTY, records: 0 };
}

/// A trace that is being written.
#[derive(Debug)]
pub(crate) struct Tape<W: Sink> {
    chunks: Chunks<W>,
    context: Context,
    hash: Hash,
}

impl<W: Sink> Tape<W> {
    pub(crate) fn new(header: &Header, sink: W) -> Self {
        let mut chunks = Chunks::new(sink);
        header.write(&mut chunks);
        chunks.flush();
        Self { chunks, context: Context::NEW, hash: Hash::new() }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.chunks.is_open()
    }

    pub(crate) const fn records(&self) -> u64 {
        self.context.records
    }

    pub(crate) fn chunks(&self) -> &Chunks<W> {
        &self.chunks
    }

    pub(crate) fn flush(&mut self) {
        self.chunks.flush();
    }

    /// Writes the end, after which nothing is written any more.
    pub(crate) fn stop(&mut self) {
        if self.is_open() {
            self.chunks.byte(kind::END);
            self.chunks.varint(self.context.records);
            self.chunks.bytes(&self.hash.value().to_be_bytes());
            self.chunks.close();
        }
    }

    /// Writes what goes in, and the bytes it carries.
    #[inline]
    pub(crate) fn input(&mut self, input: &Input, pieces: &[&[u8]]) {
        if self.is_open() {
            self.context.records += 1;
            self.write_input(input);
            pieces.iter().for_each(|piece| self.chunks.bytes(piece));
        }
    }

    fn write_input(&mut self, input: &Input) {
        match *input {
            Input::Datagram { from, len, .. } => {
                let flags = if from.ecn.is_some() { flag::MORE } else { 0 };
                self.begin(kind::DATAGRAM | flags, input);
                self.address(&from.from);
                if let Some(ecn) = from.ecn {
                    self.chunks.byte(ecn as u8);
                }
                self.chunks.varint(len as u64);
            }
            Input::PollTransmit { room, .. } => {
                let flags = if room == self.context.room { 0 } else { flag::MORE };
                self.begin(kind::POLL_TRANSMIT | flags, input);
                if room != self.context.room {
                    self.context.room = room;
                    self.chunks.varint(room as u64);
                }
            }
            Input::PollTimeout => self.begin(kind::POLL_TIMEOUT, input),
            Input::Send { to, ref options, len, .. } => {
                self.begin(kind::SEND | options.flags(), input);
                self.peer(to);
                self.options(options);
                self.chunks.varint(len as u64);
            }
            Input::Cancel { to, tag } => {
                self.begin(kind::CANCEL, input);
                self.peer(to);
                self.chunks.varint(tag.0.into());
            }
            Input::PollEvent => self.begin(kind::POLL_EVENT, input),
            Input::Recv { from } => {
                self.begin(kind::RECV, input);
                self.peer(from);
            }
            Input::Close { peer, reason, .. } => {
                self.begin(kind::CLOSE, input);
                self.peer(peer);
                self.chunks.varint(reason.0.into());
            }
            Input::ConnectPlain { ref to, len, .. } => {
                self.begin(kind::CONNECT_PLAIN, input);
                self.address(to);
                self.chunks.varint(len as u64);
            }
            Input::ConnectPayload { peer, room } => {
                self.begin(kind::CONNECT_PAYLOAD, input);
                self.peer(peer);
                self.chunks.varint(room as u64);
            }
            Input::Accept { peer, .. } => {
                self.begin(kind::ACCEPT, input);
                self.peer(peer);
            }
            Input::Refuse { peer, reason, .. } => {
                self.begin(kind::REFUSE, input);
                self.peer(peer);
                self.chunks.varint(reason.0.into());
            }
            Input::Finish { peer, reason, .. } => {
                self.begin(kind::FINISH, input);
                self.peer(peer);
                self.chunks.varint(reason.0.into());
            }
            Input::Broadcast { ref options, except, len, .. } => {
                self.begin(kind::BROADCAST | options.flags(), input);
                self.chunks.byte(except.is_some().into());
                if let Some(except) = except {
                    self.peer(except);
                }
                self.options(options);
                self.chunks.varint(len as u64);
            }
            Input::Suspend => self.begin(kind::SUSPEND, input),
            Input::Resume { .. } => self.begin(kind::RESUME, input),
            Input::AddEntropy { len } => {
                self.begin(kind::ADD_ENTROPY, input);
                self.chunks.varint(len as u64);
            }
            Input::SetInfo { len } => {
                self.begin(kind::SET_INFO, input);
                self.chunks.varint(len.map_or(0, |len| len as u64 + 1));
            }
            Input::Query { ref to, .. } => {
                self.begin(kind::QUERY, input);
                self.address(to);
            }
            Input::EndQueries => self.begin(kind::END_QUERIES, input),
            Input::TakeAnswer => self.begin(kind::TAKE_ANSWER, input),
            Input::Drain { draining } => {
                self.begin(kind::DRAIN, input);
                self.chunks.byte(draining.into());
            }
            Input::Ban { ref whom, until, .. } => {
                self.begin(kind::BAN | flags(whom), input);
                self.whom(whom);
                self.chunks.varint(until.as_micros());
            }
            Input::Unban { ref whom } => {
                self.begin(kind::UNBAN | flags(whom), input);
                self.whom(whom);
            }
            Input::CloseAll { ref whom, reason, .. } => {
                self.begin(kind::CLOSE_ALL | flags(whom), input);
                self.whom(whom);
                self.chunks.varint(reason.0.into());
            }
        }
    }

    /// Writes the first byte of a record, and the time if it is another one.
    #[inline]
    fn begin(&mut self, first: u8, input: &Input) {
        match input.now().filter(|now| *now != self.context.last) {
            Some(now) => {
                self.chunks.byte(first | flag::TIME);
                self.chunks.varint(zigzag(now, self.context.last));
                self.context.last = now;
            }
            None => self.chunks.byte(first),
        }
    }

    fn peer(&mut self, peer: PeerId) {
        Row::peer(peer).iter().for_each(|number| self.chunks.varint(*number));
    }

    fn whom(&mut self, whom: &Whom) {
        let (Whom::Address(address) | Whom::Source(address)) = whom;
        self.address(address);
    }

    fn options(&mut self, options: &Options) {
        let Options { channel, mode, gathered: _, tag, time_to_live, key } = *options;
        self.chunks.byte(channel.0);
        self.chunks.byte(mode as u8);
        let given = [
            tag.map(|tag| tag.0.into()),
            time_to_live.map(bowline_core::Duration::as_micros),
            key.map(u64::from),
        ];
        if given.iter().any(Option::is_some) {
            let bits = given.iter().rev().fold(0, |bits, one| bits << 1 | u8::from(one.is_some()));
            self.chunks.byte(bits);
            given.iter().flatten().for_each(|number| self.chunks.varint(*number));
        }
    }

    fn address(&mut self, address: &Address) {
        if let Some(number) = self.context.addresses.find(address) {
            return self.chunks.byte(number);
        }
        let Spelling { kind, bytes, len } = Spelling::of(address);
        self.chunks.byte(ADDRESSES as u8);
        self.chunks.byte(kind);
        self.chunks.bytes(bytes.get(..len).unwrap_or_default());
        self.context.addresses.insert(*address);
    }

    /// What remains of bytes that come out.
    pub(crate) fn outgoing<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
        if !self.is_open() {
            return Bytes::default();
        }
        Bytes::of(pieces, &mut self.hash)
    }

    /// Writes what came out, and hashes it.
    #[inline]
    pub(crate) fn output(&mut self, output: &Output) {
        if !self.is_open() {
            return;
        }
        let row = output.row(self.context.last);
        row.hash(&mut self.hash);
        row.numbers().iter().for_each(|number| self.chunks.varint(*number));
        if let Some(checksum) = row.checksum {
            self.chunks.bytes(&checksum.to_be_bytes());
        }
        if let Some(address) = &row.address {
            self.address(address);
        }
    }
}

const fn flags(whom: &Whom) -> u8 {
    match whom {
        Whom::Address(_) => 0,
        Whom::Source(_) => flag::MORE,
    }
}

impl Options {
    fn flags(&self) -> u8 {
        let given = self.tag.is_some() || self.time_to_live.is_some() || self.key.is_some();
        let gathered = if self.gathered { flag::MORE } else { 0 };
        if given { flag::OPTIONS | gathered } else { gathered }
    }
}

impl Bytes {
    /// What remains of `pieces`, which are hashed.
    pub(crate) fn of<'a>(pieces: impl Iterator<Item = &'a [u8]>, hash: &mut Hash) -> Self {
        let mut bytes = Self { len: 0, checksum: crc32(&[]) };
        for piece in pieces {
            bytes.len += piece.len();
            bytes.checksum = update(bytes.checksum, piece);
            hash.update(piece);
        }
        bytes
    }
}

impl Row {
    pub(crate) fn hash(&self, hash: &mut Hash) {
        self.numbers().iter().for_each(|number| hash.update(&number.to_be_bytes()));
        if let Some(checksum) = self.checksum {
            hash.update(&checksum.to_be_bytes());
        }
        if let Some(address) = &self.address {
            hash.update(&address.to_bytes());
        }
    }
}
