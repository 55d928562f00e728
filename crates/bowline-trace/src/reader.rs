//! Records, as they are read.

use core::num::NonZeroU16;

use bowline_core::{
    Address, BufferTooShort, CancelError, ChannelId, CloseReason, Code, Coded, DropReason,
    Duration, Ecn, Event, Instant, Mode, PeerId, Received, SendError, Tag,
};
use bowline_native::{Broadcast, ConnectError, UnknownPeer, Whom};
use bowline_wire::checksum::update;

use crate::addresses::Spelling;
use crate::chunks::{CHECKSUM_LEN, CHUNK_LEN, HEAD_LEN, PREFIX_LEN, first_checksum, parse_head};
use crate::format::{ADDRESSES, BUFFER_MAX, CHUNK_MAX, MAGIC, VERSION, WARNING, flag, kind};
use crate::row::unzigzag;
use crate::tape::Context;
use crate::{Bytes, Header, Input, Message, Options, Output, Scratch, Sent, Source, TraceError};

pub(crate) type Read<T, R> = Result<T, TraceError<<R as Source>::Error>>;

/// A trace that is being read.
#[derive(Debug)]
pub struct Trace<R> {
    header: Header,
    bytes: Bytewise<R>,
    pub(crate) context: Context,
}

/// A part of a trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Record {
    /// A call.
    Input(Input),
    /// The end: what the recorder hashed.
    End {
        /// The hash of everything that came out.
        hash: u64,
    },
}

impl<R: Source> Trace<R> {
    /// Begins to read a trace.
    ///
    /// # Errors
    ///
    /// When it is none, or its header cannot be read.
    pub fn open(source: R) -> Result<Self, TraceError<R::Error>> {
        let mut bytes = Bytewise::open(source)?;
        let header = Header::read(&mut bytes)?;
        Ok(Self { header, bytes, context: Context::NEW })
    }

    /// What the endpoint was made of.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How many records were read.
    pub const fn records(&self) -> u64 {
        self.context.records
    }

    /// The time that the recorded caller said last.
    pub const fn now(&self) -> Instant {
        self.context.last
    }

    /// How many bytes of the trace were read.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes.offset
    }

    /// Reads the next call; the bytes it carries are at the start of `scratch` then. Unless it is the end,
    /// [`Self::read_output`] comes next.
    ///
    /// # Errors
    ///
    /// When there is none, or `scratch` has no room for it.
    pub fn read_input(&mut self, scratch: &mut impl Scratch) -> Read<Record, R> {
        self.bytes.record = self.context.records;
        let first = self.bytes.byte()?;
        if first == kind::END {
            return self.end();
        }
        let input = self.input(first)?;
        self.context.records += 1;
        self.payload(input.len(), scratch)?;
        Ok(Record::Input(input))
    }

    fn end(&mut self) -> Read<Record, R> {
        let records = self.bytes.varint()?;
        let hash = u64::from_be_bytes(self.bytes.array()?);
        if records != self.context.records {
            return Err(self.bytes.malformed());
        }
        self.bytes.end()?;
        Ok(Record::End { hash })
    }

    fn input(&mut self, first: u8) -> Read<Input, R> {
        if first & flag::TIME != 0 {
            let distance = self.bytes.varint()?;
            self.context.last = unzigzag(distance, self.context.last);
        }
        let now = self.context.last;
        let more = first & flag::MORE != 0;
        Ok(match first & flag::KIND {
            kind::DATAGRAM => {
                let from = self.address()?;
                let ecn = if more { self.ecn()? } else { None };
                let len = self.len()?;
                Input::Datagram { now, from: Received { from, ecn }, len }
            }
            kind::POLL_TRANSMIT => {
                if more {
                    self.context.room = self.room()?;
                }
                Input::PollTransmit { now, room: self.context.room }
            }
            kind::POLL_TIMEOUT => Input::PollTimeout,
            kind::SEND => {
                let to = self.peer()?;
                let options = self.options(first)?;
                Input::Send { now, to, options, len: self.len()? }
            }
            kind::CANCEL => Input::Cancel { to: self.peer()?, tag: Tag(self.bytes.number()?) },
            kind::POLL_EVENT => Input::PollEvent,
            kind::RECV => Input::Recv { from: self.peer()? },
            kind::CLOSE => {
                let (peer, reason) = (self.peer()?, self.reason()?);
                Input::Close { now, peer, reason }
            }
            kind::CONNECT_PLAIN => {
                let to = self.address()?;
                Input::ConnectPlain { now, to, len: self.len()? }
            }
            kind::CONNECT_PAYLOAD => {
                Input::ConnectPayload { peer: self.peer()?, room: self.room()? }
            }
            kind::ACCEPT => Input::Accept { now, peer: self.peer()? },
            kind::REFUSE => {
                let (peer, reason) = (self.peer()?, self.reason()?);
                Input::Refuse { now, peer, reason }
            }
            kind::FINISH => {
                let (peer, reason) = (self.peer()?, self.reason()?);
                Input::Finish { now, peer, reason }
            }
            kind::BROADCAST => {
                let except = if self.flag()? { Some(self.peer()?) } else { None };
                let options = self.options(first)?;
                Input::Broadcast { now, options, except, len: self.len()? }
            }
            kind::SUSPEND => Input::Suspend,
            kind::RESUME => Input::Resume { now },
            kind::ADD_ENTROPY => Input::AddEntropy { len: self.len()? },
            kind::SET_INFO => Input::SetInfo { len: self.len()?.checked_sub(1) },
            kind::QUERY => Input::Query { now, to: self.address()? },
            kind::END_QUERIES => Input::EndQueries,
            kind::TAKE_ANSWER => Input::TakeAnswer,
            kind::DRAIN => Input::Drain { draining: self.flag()? },
            kind::BAN => {
                let whom = self.whom(more)?;
                Input::Ban { now, whom, until: Instant::from_micros(self.bytes.varint()?) }
            }
            kind::UNBAN => Input::Unban { whom: self.whom(more)? },
            kind::CLOSE_ALL => {
                let whom = self.whom(more)?;
                Input::CloseAll { now, whom, reason: self.reason()? }
            }
            _ => return Err(self.bytes.malformed()),
        })
    }

    fn payload(&mut self, len: usize, scratch: &mut impl Scratch) -> Read<(), R> {
        let mut at = 0;
        while at < len {
            // No more than is there is asked for at a time, whatever the length claims.
            let end = len.min(at + CHUNK_MAX);
            let room = scratch.room(end).and_then(|room| room.get_mut(at..end));
            self.bytes.fill(room.ok_or(TraceError::TooLong { needed: len })?)?;
            at = end;
        }
        Ok(())
    }

    /// Reads what came of a call.
    ///
    /// # Errors
    ///
    /// When the trace holds nothing that could have come of it.
    pub fn read_output(&mut self, of: &Input) -> Read<Output, R> {
        Ok(match of {
            Input::Datagram { .. } => Output::Handled(match self.bytes.varint()?.checked_sub(1) {
                None => Ok(()),
                Some(index) => Err(self.choice(DropReason::ALL, index)?),
            }),
            Input::PollTransmit { .. } => Output::Transmit(self.transmit()?),
            Input::PollTimeout => Output::Timeout(match self.flag()? {
                false => None,
                true => Some(unzigzag(self.bytes.varint()?, self.context.last)),
            }),
            Input::Send { .. } => Output::Send(self.result::<SendError>()?),
            Input::Cancel { .. } => Output::Cancel(self.result::<CancelError>()?),
            Input::PollEvent => Output::Event(self.result::<Event>()?.err()),
            Input::Recv { .. } => Output::Received(self.message()?),
            Input::ConnectPlain { .. } => Output::Connect(match self.result::<ConnectError>()? {
                Ok(()) => Ok(self.peer()?),
                Err(error) => Err(error),
            }),
            Input::ConnectPayload { .. } => Output::Payload(self.len()?, self.output_bytes()?),
            Input::Accept { .. } | Input::Refuse { .. } | Input::Finish { .. } => {
                Output::Known(if self.flag()? { Err(UnknownPeer) } else { Ok(()) })
            }
            Input::Broadcast { .. } => {
                let (sent, refused) = (self.bytes.number()?, self.bytes.number()?);
                Output::Broadcast(Broadcast { sent, refused })
            }
            Input::SetInfo { .. } | Input::Query { .. } | Input::Unban { .. } => {
                Output::Flag(self.flag()?)
            }
            Input::Ban { .. } => Output::Banned(self.result()?),
            Input::CloseAll { .. } => Output::Count(self.bytes.number()?),
            Input::TakeAnswer => Output::Answer(match self.flag()? {
                false => None,
                true => {
                    let bytes = self.output_bytes()?;
                    Some((self.address()?, bytes))
                }
            }),
            Input::Close { .. }
            | Input::Suspend
            | Input::Resume { .. }
            | Input::AddEntropy { .. }
            | Input::EndQueries
            | Input::Drain { .. } => Output::Unit,
        })
    }

    fn transmit(&mut self) -> Read<Result<Option<Sent>, BufferTooShort>, R> {
        let kind = self.bytes.varint()?;
        let len = match kind {
            0 => return Ok(Ok(None)),
            1 | 2 => self.len()?,
            3 => return Ok(Err(BufferTooShort { needed: self.len()? })),
            _ => return Err(self.bytes.malformed()),
        };
        let (segment_len, ecn) = match kind {
            2 => (NonZeroU16::new(self.bytes.number()?), self.ecn()?),
            _ => (None, None),
        };
        let checksum = u32::from_be_bytes(self.bytes.array()?);
        let (to, bytes) = (self.address()?, Bytes { len, checksum });
        Ok(Ok(Some(Sent { to, bytes, segment_len, ecn })))
    }

    fn message(&mut self) -> Read<Option<Message>, R> {
        let number = self.bytes.varint()?;
        let Some(keyed) = self.choice(&[None, Some(false), Some(true)], number)? else {
            return Ok(None);
        };
        let (channel, mode) = (ChannelId(self.bytes.number()?), self.mode()?);
        let key = if keyed { Some(self.bytes.number()?) } else { None };
        Ok(Some(Message { channel, mode, key, bytes: self.output_bytes()? }))
    }

    /// 0, or a value.
    fn result<T: Coded>(&mut self) -> Read<Result<(), T>, R> {
        let first = self.bytes.varint()?;
        let Some(kind) = (first >> 3).checked_sub(1) else {
            return if first == 0 { Ok(Ok(())) } else { Err(self.bytes.malformed()) };
        };
        let mut code = Code::bare(u8::try_from(kind).map_err(|_| self.bytes.malformed())?);
        for detail in code.details.iter_mut().take((first & 7) as usize) {
            *detail = self.bytes.varint()?;
        }
        T::from_code(code).map(Err).ok_or_else(|| self.bytes.malformed())
    }

    fn choice<T: Copy>(&self, all: &[T], index: u64) -> Read<T, R> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        all.get(index).copied().ok_or_else(|| self.bytes.malformed())
    }

    fn flag(&mut self) -> Read<bool, R> {
        let number = self.bytes.varint()?;
        self.choice(&[false, true], number)
    }

    fn len(&mut self) -> Read<usize, R> {
        self.bytes.number()
    }

    /// The length of a buffer.
    fn room(&mut self) -> Read<usize, R> {
        let room = self.bytes.number()?;
        if room <= BUFFER_MAX { Ok(room) } else { Err(self.bytes.malformed()) }
    }

    fn output_bytes(&mut self) -> Read<Bytes, R> {
        let len = self.bytes.number()?;
        Ok(Bytes { len, checksum: u32::from_be_bytes(self.bytes.array()?) })
    }

    fn channel(&mut self) -> Read<ChannelId, R> {
        self.bytes.byte().map(ChannelId)
    }

    fn mode(&mut self) -> Read<Mode, R> {
        let all = [
            Mode::Unreliable,
            Mode::UnreliableOrdered,
            Mode::Reliable,
            Mode::ReliableUnordered,
            Mode::ReliableLatest,
        ];
        let number = self.bytes.byte()?;
        self.choice(&all, number.into())
    }

    fn ecn(&mut self) -> Read<Option<Ecn>, R> {
        let number = self.bytes.byte()?;
        self.choice(&[None, Some(Ecn::Ect1), Some(Ecn::Ect0), Some(Ecn::Ce)], number.into())
    }

    fn whom(&mut self, source: bool) -> Read<Whom, R> {
        let address = self.address()?;
        Ok(if source { Whom::Source(address) } else { Whom::Address(address) })
    }

    fn peer(&mut self) -> Read<PeerId, R> {
        let (slot, generation) = (self.bytes.number()?, self.bytes.number()?);
        Ok(PeerId::new(slot, generation))
    }

    fn reason(&mut self) -> Read<CloseReason, R> {
        self.bytes.number().map(CloseReason)
    }

    fn options(&mut self, first: u8) -> Read<Options, R> {
        let (channel, mode) = (self.channel()?, self.mode()?);
        let given = if first & flag::OPTIONS != 0 { self.bytes.byte()? } else { 0 };
        if given > 7 {
            return Err(self.bytes.malformed());
        }
        let tag = if given & 1 != 0 { Some(Tag(self.bytes.number()?)) } else { None };
        let time_to_live =
            if given & 2 != 0 { Some(Duration::from_micros(self.bytes.varint()?)) } else { None };
        let key = if given & 4 != 0 { Some(self.bytes.number()?) } else { None };
        let gathered = first & flag::MORE != 0;
        Ok(Options { channel, mode, gathered, tag, time_to_live, key })
    }

    fn address(&mut self) -> Read<Address, R> {
        let number = self.bytes.byte()?;
        if number != ADDRESSES as u8 {
            return self.context.addresses.get(number).ok_or_else(|| self.bytes.malformed());
        }
        let kind = self.bytes.byte()?;
        let len = Spelling::len(kind).ok_or_else(|| self.bytes.malformed())?;
        let mut spelling = Spelling { kind, bytes: [0; 23], len };
        self.bytes.fill(spelling.bytes.get_mut(..len).unwrap_or_default())?;
        let address = spelling.address().ok_or_else(|| self.bytes.malformed())?;
        self.context.addresses.insert(address);
        Ok(address)
    }
}

/// The bytes of records, out of chunks whose checksums were right.
#[derive(Debug)]
pub(crate) struct Bytewise<R> {
    source: R,
    /// How much of the trace was read.
    offset: u64,
    checksum: u32,
    chunk: [u8; CHUNK_LEN],
    at: usize,
    end: usize,
    /// Which record is being read.
    record: u64,
}

impl<R: Source> Bytewise<R> {
    fn open(source: R) -> Read<Self, R> {
        let checksum = first_checksum();
        let chunk = [0; CHUNK_LEN];
        let mut bytes = Self { source, offset: 0, checksum, chunk, at: 0, end: 0, record: 0 };
        let mut prefix = [0; PREFIX_LEN];
        let whole = bytes.read(&mut prefix)? == PREFIX_LEN;
        let Some(version) = prefix.strip_prefix(&MAGIC) else { return Err(TraceError::NotATrace) };
        if let (true, &[high, low]) = (whole, version) {
            let version = u16::from_be_bytes([high, low]);
            if version != VERSION {
                return Err(TraceError::Version(version));
            }
        }
        let mut warning = [0; WARNING.len()];
        if bytes.read(&mut warning)? < warning.len() {
            return Err(TraceError::Truncated);
        }
        if warning != *WARNING.as_bytes() {
            return Err(TraceError::Corrupt { at: 0 });
        }
        Ok(bytes)
    }

    fn read(&mut self, buf: &mut [u8]) -> Read<usize, R> {
        let len = self.source.read(buf).map_err(TraceError::Source)?.min(buf.len());
        self.offset += len as u64;
        Ok(len)
    }

    pub(crate) fn malformed(&self) -> TraceError<R::Error> {
        TraceError::Malformed { record: self.record }
    }

    /// Reads the next chunk, which has one byte at least.
    #[inline(never)]
    fn next_chunk(&mut self) -> Read<(), R> {
        let at = self.offset;
        let mut chunk = [0; CHUNK_LEN];
        let (head, rest) = chunk.split_at_mut_checked(HEAD_LEN).unwrap_or_default();
        if self.read(head)? < HEAD_LEN {
            return Err(TraceError::Truncated);
        }
        let len = head.first_chunk().copied().and_then(parse_head);
        let len = len.ok_or(TraceError::Corrupt { at })?;
        let rest = rest.get_mut(..len + CHECKSUM_LEN).unwrap_or_default();
        if self.read(rest)? < rest.len() {
            return Err(TraceError::Truncated);
        }
        let end = HEAD_LEN + len;
        let (covered, checksum) = chunk.split_at_checked(end).unwrap_or_default();
        self.checksum = update(self.checksum, covered);
        if checksum.first_chunk() != Some(&self.checksum.to_be_bytes()) {
            return Err(TraceError::Corrupt { at });
        }
        (self.chunk, self.at, self.end) = (chunk, HEAD_LEN, end);
        Ok(())
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Read<u8, R> {
        if self.at >= self.end {
            self.next_chunk()?;
        }
        let byte = self.chunk.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn fill(&mut self, mut buf: &mut [u8]) -> Read<(), R> {
        while !buf.is_empty() {
            if self.at >= self.end {
                self.next_chunk()?;
            }
            let here = self.chunk.get(self.at..self.end).unwrap_or_default();
            let len = here.len().min(buf.len());
            let (head, rest) = buf.split_at_mut_checked(len).unwrap_or_default();
            head.iter_mut().zip(here).for_each(|(to, from)| *to = *from);
            self.at += len;
            buf = rest;
        }
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N], R> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Read<u64, R> {
        let mut value = 0;
        for shift in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let shifted = bits << (7 * shift);
            if shifted >> (7 * shift) != bits {
                break;
            }
            value |= shifted;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    /// A varint that fits.
    #[inline]
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Read<T, R> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.malformed())
    }

    /// Whether nothing follows.
    fn end(&mut self) -> Read<(), R> {
        let is_end = self.at == self.end && self.read(&mut [0])? == 0;
        if is_end { Ok(()) } else { Err(TraceError::Trailing) }
    }
}
