//! Doing it all again.

use core::convert::Infallible;

use bowline_core::{Duration, Instant, Machine, Messages, Outgoing};
use bowline_crypto::KeyedMac;
use bowline_native::{Class, Config, Endpoint, Storage};
use bowline_wire::native::VERSION as WIRE_VERSION;

use crate::hash::Hash;
use crate::header::mac_check;
use crate::{
    Bytes, Input, Message, Options, Output, Record, ReplayError, Scratch, Sent, Source, Trace,
    TraceError,
};

type Replayed<T, R> = Result<T, ReplayError<<R as Source>::Error>>;

/// An endpoint that lives through a trace.
#[derive(Debug)]
pub struct Replay<S, R> {
    trace: Trace<R>,
    endpoint: Endpoint<S>,
    hash: Hash,
    summary: Summary,
    start: Option<Instant>,
    divergence: Option<Divergence>,
}

/// What a replay has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// How the trace ends.
    pub end: End,
    /// Calls repeated.
    pub records: u64,
    /// Datagrams that went in.
    pub datagrams_in: u64,
    /// Datagrams that came out.
    pub datagrams_out: u64,
    /// Bytes of datagrams that went in.
    pub bytes_in: u64,
    /// Bytes of datagrams that came out.
    pub bytes_out: u64,
    /// Messages that went in, broadcasts once.
    pub messages_in: u64,
    /// Messages that came out.
    pub messages_out: u64,
    /// From the first time that the caller said to the last.
    pub span: Duration,
    /// Length of the trace, in bytes.
    pub trace_len: u64,
    /// How many of these are the contents of datagrams and messages, and whatever else went in.
    pub carried: u64,
    /// Hash of everything that came out.
    pub hash: u64,
}

/// How a trace ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// In good order.
    Complete,
    /// Whoever wrote it was ended.
    Truncated,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Repeated a call, which answered as it had.
    Repeated(Input, Output),
    /// Found the end.
    Ended(End),
}

/// Where an endpoint first answered otherwise than it had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// At which record, counted from 0.
    pub record: u64,
    /// When, by the time that the caller said last.
    pub now: Instant,
    /// To which call.
    pub input: Input,
    /// What it had answered.
    pub recorded: Output,
    /// What it answers now.
    pub replayed: Output,
}

impl core::fmt::Display for Divergence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { record, now, input, recorded, replayed } = self;
        let place = ReplayError::<Infallible>::Diverged { record: *record, now: *now };
        write!(f, "{place}: {input:?} gave {recorded:?}, and gives {replayed:?} now")
    }
}

impl<S: Storage, R: Source> Replay<S, R> {
    /// Builds the endpoint of `trace` anew, on unused memory of the shape that it had.
    ///
    /// `classes` are those of the configuration, which refers to them for good: mostly `&[]`, or what
    /// `Header::leak_classes` makes (feature `alloc`).
    ///
    /// # Errors
    ///
    /// When it cannot be the same endpoint.
    pub fn new(
        trace: Trace<R>,
        mac: &'static dyn KeyedMac,
        mut storage: S,
        classes: &'static [Class],
    ) -> Replayed<Self, R> {
        let header = trace.header();
        if header.wire_version != WIRE_VERSION {
            return Err(ReplayError::OtherWire(header.wire_version));
        }
        if header.mac_check != mac_check(mac) {
            return Err(ReplayError::OtherMac);
        }
        let (recorded, given) = (header.shape, storage.shape());
        if recorded != given {
            return Err(ReplayError::OtherMemory { recorded, given });
        }
        if header.classes != classes {
            return Err(ReplayError::OtherClasses);
        }
        let config = Config { classes, ..header.config };
        let endpoint =
            Endpoint::plain(config, mac, &header.seed, storage).map_err(ReplayError::Config)?;
        let (hash, summary) = (Hash::new(), Summary::NONE);
        Ok(Self { trace, endpoint, hash, summary, start: None, divergence: None })
    }

    /// Repeats everything. `scratch` is room for the longest datagram, message or buffer.
    ///
    /// # Errors
    ///
    /// When an answer is another one, or the trace cannot be read on. A trace that just ends early is no error.
    pub fn run(&mut self, scratch: &mut impl Scratch) -> Replayed<Summary, R> {
        while let Step::Repeated(..) = self.step(scratch)? {}
        Ok(self.summary())
    }

    /// What it has come to so far.
    pub fn summary(&self) -> Summary {
        let now = self.trace.now();
        Summary {
            records: self.trace.records(),
            span: now - self.start.unwrap_or(now),
            trace_len: self.trace.bytes_read(),
            hash: self.hash.value(),
            ..self.summary
        }
    }

    /// After [`ReplayError::Diverged`]: what differs.
    pub const fn divergence(&self) -> Option<&Divergence> {
        self.divergence.as_ref()
    }

    /// The endpoint, to look at.
    pub const fn endpoint(&mut self) -> &mut Endpoint<S> {
        &mut self.endpoint
    }

    /// Repeats one call.
    ///
    /// # Errors
    ///
    /// As [`Self::run`]. Nothing sensible comes after an error.
    pub fn step(&mut self, scratch: &mut impl Scratch) -> Replayed<Step, R> {
        let input = match self.trace.read_input(scratch) {
            Ok(Record::Input(input)) => input,
            Ok(Record::End { hash }) => return self.end(hash),
            Err(TraceError::Truncated) => return Ok(self.truncated()),
            Err(error) => return Err(error.into()),
        };
        self.start = self.start.or(input.now());
        let replayed = self.repeat(&input, scratch)?;
        let now = self.trace.now();
        replayed.row(now).hash(&mut self.hash);
        let recorded = match self.trace.read_output(&input) {
            Ok(recorded) => recorded,
            Err(TraceError::Truncated) => return Ok(self.truncated()),
            Err(error) => return Err(error.into()),
        };
        if replayed != recorded {
            let record = self.trace.records().saturating_sub(1);
            self.divergence = Some(Divergence { record, now, input, recorded, replayed });
            return Err(ReplayError::Diverged { record, now });
        }
        self.summary.count(&input, &replayed);
        Ok(Step::Repeated(input, replayed))
    }

    fn end(&mut self, recorded: u64) -> Replayed<Step, R> {
        let replayed = self.hash.value();
        if recorded != replayed {
            return Err(ReplayError::OtherHash { recorded, replayed });
        }
        self.summary.end = End::Complete;
        Ok(Step::Ended(End::Complete))
    }

    fn truncated(&mut self) -> Step {
        self.summary.end = End::Truncated;
        Step::Ended(End::Truncated)
    }

    fn repeat(&mut self, input: &Input, scratch: &mut impl Scratch) -> Replayed<Output, R> {
        let room = match *input {
            Input::PollTransmit { room, .. } | Input::ConnectPayload { room, .. } => room,
            _ => input.len(),
        };
        let buf = scratch.room(room).and_then(|scratch| scratch.get_mut(..room));
        let buf = buf.ok_or(TraceError::TooLong { needed: room })?;
        let (endpoint, hash) = (&mut self.endpoint, &mut self.hash);
        Ok(match *input {
            Input::Datagram { now, from, .. } => {
                Output::Handled(endpoint.handle_datagram(now, from, buf))
            }
            Input::PollTransmit { now, .. } => {
                let result = endpoint.poll_transmit(now, buf);
                Output::Transmit(result.map(|sent| {
                    sent.map(|sent| {
                        let written = buf.get(..sent.len).unwrap_or_default();
                        Sent::of(&sent, Bytes::of([written].into_iter(), hash))
                    })
                }))
            }
            Input::PollTimeout => Output::Timeout(endpoint.poll_timeout()),
            Input::Send { now, to, ref options, .. } => {
                Output::Send(endpoint.send(now, to, options.message(&pieces(options, buf))))
            }
            Input::Cancel { to, tag } => Output::Cancel(endpoint.cancel(to, tag)),
            Input::PollEvent => Output::Event(endpoint.poll_event()),
            Input::Recv { from } => Output::Received(
                endpoint
                    .recv(from)
                    .map(|message| Message::of(&message, Bytes::of(message.chunks(), hash))),
            ),
            Input::Close { now, peer, reason } => {
                endpoint.close(now, peer, reason);
                Output::Unit
            }
            Input::ConnectPlain { now, to, .. } => {
                Output::Connect(endpoint.connect_plain(now, to, buf))
            }
            Input::ConnectPayload { peer, .. } => {
                let whole = endpoint.connect_payload(peer, buf);
                let copied = buf.get(..whole.min(room)).unwrap_or_default();
                Output::Payload(whole, Bytes::of([copied].into_iter(), hash))
            }
            Input::Accept { now, peer } => Output::Known(endpoint.accept(now, peer)),
            Input::Refuse { now, peer, reason } => {
                Output::Known(endpoint.refuse(now, peer, reason))
            }
            Input::Finish { now, peer, reason } => {
                Output::Known(endpoint.finish(now, peer, reason))
            }
            Input::Broadcast { now, ref options, except, .. } => {
                let pieces = pieces(options, buf);
                Output::Broadcast(endpoint.broadcast(now, options.message(&pieces), except))
            }
            Input::Suspend => {
                endpoint.suspend();
                Output::Unit
            }
            Input::Resume { now } => {
                endpoint.resume(now);
                Output::Unit
            }
            Input::AddEntropy { .. } => {
                endpoint.add_entropy(buf);
                Output::Unit
            }
            Input::SetInfo { len } => Output::Flag(endpoint.set_info(len.map(|_| &*buf))),
            Input::Query { now, to } => Output::Flag(endpoint.query(now, to)),
            Input::EndQueries => {
                endpoint.end_queries();
                Output::Unit
            }
            Input::Drain { draining } => {
                endpoint.drain(draining);
                Output::Unit
            }
            Input::Ban { now, whom, until } => Output::Banned(endpoint.ban(now, whom, until)),
            Input::Unban { whom } => Output::Flag(endpoint.unban(whom)),
            Input::CloseAll { now, whom, reason } => {
                Output::Count(endpoint.close_all(now, whom, reason))
            }
            Input::TakeAnswer => Output::Answer(
                endpoint
                    .take_answer()
                    .map(|answer| (answer.from, Bytes::of([&answer.bytes[..]].into_iter(), hash))),
            ),
        })
    }
}

/// A message as the endpoint was given it: one piece, or another number of them.
fn pieces<'b>(options: &Options, bytes: &'b [u8]) -> heapless::Vec<&'b [u8], 2> {
    let mut pieces = heapless::Vec::new();
    let _ = pieces.push(bytes);
    if options.gathered {
        let _ = pieces.push(&[][..]);
    }
    pieces
}

impl Options {
    const fn message<'p>(&self, pieces: &'p [&'p [u8]]) -> Outgoing<'p> {
        let Self { channel, mode, gathered: _, tag, time_to_live, key } = *self;
        Outgoing { channel, mode, pieces, tag, time_to_live, key }
    }
}

impl Summary {
    const NONE: Self = Self {
        end: End::Truncated,
        records: 0,
        datagrams_in: 0,
        datagrams_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        messages_in: 0,
        messages_out: 0,
        span: Duration::ZERO,
        trace_len: 0,
        carried: 0,
        hash: 0,
    };

    fn count(&mut self, input: &Input, output: &Output) {
        self.carried += input.len() as u64;
        match input {
            Input::Datagram { len, .. } => {
                self.datagrams_in += 1;
                self.bytes_in += *len as u64;
            }
            Input::Send { .. } | Input::Broadcast { .. } => self.messages_in += 1,
            _ => {}
        }
        match output {
            Output::Transmit(Ok(Some(sent))) => {
                self.datagrams_out += 1;
                self.bytes_out += sent.bytes.len as u64;
            }
            Output::Received(Some(_)) => self.messages_out += 1,
            _ => {}
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use bowline_core::{CloseReason, PeerId, SendError};
    use bowline_crypto::SipHash;
    use bowline_native::Fixed;
    use proptest::prelude::*;

    use super::*;
    use crate::Header;
    use crate::chunks::Chunks;
    use crate::tape::Tape;

    type Memory = Fixed<1, 1, 16, 32>;

    struct OtherMac;

    impl KeyedMac for OtherMac {
        fn mac(&self, key: &[u8; 16], message: &[u8]) -> u64 {
            !SipHash.mac(key, message)
        }
    }

    fn header() -> Header {
        let shape = Memory::new().shape();
        Header::new(&Config::small(7), &SipHash, &[7; 32], shape)
    }

    /// A trace that says what it is told to say.
    fn forged(header: &Header, calls: &[(Input, Output)]) -> Vec<u8> {
        let mut trace = Vec::new();
        let mut tape = Tape::new(header, &mut trace);
        for (input, output) in calls {
            tape.input(input, &[]);
            tape.output(output);
        }
        tape.stop();
        drop(tape);
        trace
    }

    fn replay(trace: &[u8]) -> (Replayed<Summary, &[u8]>, Option<Divergence>) {
        let mut memory = Memory::new();
        let opened = match Trace::open(trace) {
            Ok(opened) => opened,
            Err(error) => return (Err(error.into()), None),
        };
        match Replay::new(opened, &SipHash, &mut memory, &[]) {
            Ok(mut replay) => (replay.run(&mut Vec::new()), replay.divergence().copied()),
            Err(error) => (Err(error), None),
        }
    }

    #[test]
    fn the_first_answer_that_differs_is_told_with_its_place() {
        let now = Instant::from_micros(2_000_003);
        let (peer, reason) = (PeerId::new(0, 1), CloseReason(0));
        let close = (Input::Close { now, peer, reason }, Output::Unit);
        let right = (Input::PollEvent, Output::Event(None));
        let wrong = (Input::PollTimeout, Output::Timeout(Some(now)));
        let (result, divergence) = replay(&forged(&header(), &[right, close, wrong, wrong]));
        assert_eq!(result, Err(ReplayError::Diverged { record: 2, now }));
        assert_eq!(result.unwrap_err().to_string(), "diverges at record 2, at 2.000003 s");
        let (input, recorded) = wrong;
        let replayed = Output::Timeout(None);
        let expected = Divergence { record: 2, now, input, recorded, replayed };
        assert_eq!(divergence, Some(expected));
        let (result, _) = replay(&forged(&header(), &[right, close]));
        assert_eq!(result.map(|summary| summary.end), Ok(End::Complete));
    }

    #[test]
    fn traces_of_something_else_are_refused_by_name() {
        let other = Header { wire_version: 99, ..header() };
        assert_eq!(replay(&forged(&other, &[])).0, Err(ReplayError::OtherWire(99)));
        let shape = header().shape;
        let other = Header::new(&Config::small(7), &OtherMac, &[7; 32], shape);
        assert_eq!(replay(&forged(&other, &[])).0, Err(ReplayError::OtherMac));
        let config = Config { channels: 0, ..Config::small(7) };
        let refused = replay(&forged(&Header { config, ..header() }, &[])).0;
        assert!(matches!(refused, Err(ReplayError::Config(_))), "{refused:?}");
        let mut future = forged(&header(), &[]);
        future[9] += 1;
        assert_eq!(replay(&future).0, Err(TraceError::Version(crate::VERSION + 1).into()));
    }

    #[test]
    fn a_hash_of_something_else_is_noticed() {
        let mut trace = Vec::new();
        let mut chunks = Chunks::new(&mut trace);
        header().write(&mut chunks);
        chunks.byte(crate::format::kind::END);
        chunks.varint(0);
        chunks.bytes(&[7; 8]);
        drop(chunks);
        let expected = ReplayError::OtherHash { recorded: 0x0707_0707_0707_0707, replayed: 0 };
        assert_eq!(replay(&trace).0, Err(expected));
    }

    #[test]
    fn every_answer_comes_back_as_it_was() {
        use bowline_core::{
            Address, BufferTooShort, CancelError, ChannelId, CloseReason, DisconnectReason,
            DropReason, Ecn, Event, Mode, Outcome, Received, Tag,
        };
        use bowline_native::{BanError, Broadcast, ConnectError, UnknownPeer, Whom};
        let (now, peer) = (Instant::from_micros(9), PeerId::new(300, 70_000));
        let bytes = Bytes { len: 300, checksum: 0x0102_0304 };
        let to = Address::from_raw(b"somebody").unwrap();
        let segment_len = core::num::NonZeroU16::new(1_200);
        let whole = Sent { to, bytes, segment_len: None, ecn: None };
        let train = Sent { segment_len, ecn: Some(Ecn::Ce), ..whole };
        let transmit = Input::PollTransmit { now, room: 65_536 };
        let options = Options {
            channel: ChannelId(255),
            mode: Mode::ReliableLatest,
            gathered: true,
            tag: Some(Tag(u32::MAX)),
            time_to_live: Some(Duration::MAX),
            key: Some(0),
        };
        let send = Input::Send { now, to: peer, options, len: 0 };
        let broadcast = Input::Broadcast { now, options, except: Some(peer), len: 0 };
        let datagram =
            Input::Datagram { now, from: Received { from: to, ecn: Some(Ecn::Ect1) }, len: 0 };
        let connect = Input::ConnectPlain { now, to, len: 0 };
        let (channel, mode) = (ChannelId(255), Mode::ReliableUnordered);
        let message = Message { channel, mode, key: None, bytes };
        let mut calls = std::vec![
            (transmit, Output::Transmit(Ok(Some(whole)))),
            (transmit, Output::Transmit(Ok(Some(train)))),
            (transmit, Output::Transmit(Err(BufferTooShort { needed: 70_000 }))),
            (Input::PollTimeout, Output::Timeout(Some(Instant::MAX))),
            (send, Output::Send(Err(SendError::TooLong { len: 1 << 30, max: 0 }))),
            (send, Output::Send(Ok(()))),
            (Input::Cancel { to: peer, tag: Tag(3) }, Output::Cancel(Err(CancelError::UnknownTag))),
            (Input::PollEvent, Output::Event(Some(Event::Outcome(peer, Tag(0), Outcome::Lost)))),
            (
                Input::PollEvent,
                Output::Event(Some(Event::Disconnected(peer, DisconnectReason::Replaced))),
            ),
            (Input::Recv { from: peer }, Output::Received(Some(message)),),
            (
                Input::Recv { from: peer },
                Output::Received(Some(Message { key: Some(u32::MAX), ..message })),
            ),
            (connect, Output::Connect(Ok(peer))),
            (connect, Output::Connect(Err(ConnectError::AlreadyConnected(peer)))),
            (Input::ConnectPayload { peer, room: 9 }, Output::Payload(900, bytes)),
            (Input::Accept { now, peer }, Output::Known(Err(UnknownPeer))),
            (broadcast, Output::Broadcast(Broadcast { sent: 1, refused: u32::MAX })),
            (Input::SetInfo { len: Some(0) }, Output::Flag(true)),
            (Input::SetInfo { len: None }, Output::Flag(false)),
            (Input::TakeAnswer, Output::Answer(Some((to, bytes)))),
            (Input::Drain { draining: true }, Output::Unit),
            (
                Input::Ban { now, whom: Whom::Source(to), until: Instant::MAX },
                Output::Banned(Err(BanError::Full { bans: u32::MAX })),
            ),
            (Input::Ban { now, whom: Whom::Address(to), until: now }, Output::Banned(Ok(()))),
            (Input::Unban { whom: Whom::Source(to) }, Output::Flag(true)),
            (
                Input::CloseAll { now, whom: Whom::Address(to), reason: CloseReason(7) },
                Output::Count(u32::MAX),
            ),
        ];
        for reason in DropReason::ALL {
            calls.push((datagram, Output::Handled(Err(*reason))));
        }
        let trace = forged(&header(), &calls);
        let mut trace = Trace::open(&trace[..]).unwrap();
        for (input, output) in calls {
            assert_eq!(trace.read_input(&mut [0; 0]), Ok(Record::Input(input)));
            assert_eq!(trace.read_output(&input), Ok(output));
        }
        assert!(matches!(trace.read_input(&mut [0; 0]), Ok(Record::End { .. })));
    }

    proptest! {
        /// Whoever forges a trace can do the checksums too.
        #[test]
        fn no_contents_do_any_harm(
            contents in prop::collection::vec(
                prop_oneof![3 => 0..26u8, 1 => any::<u8>(), 2 => Just(0)], 0..400,
            ),
            with_header: bool,
        ) {
            let mut trace = Vec::new();
            let mut chunks = Chunks::new(&mut trace);
            if with_header {
                header().write(&mut chunks);
            }
            chunks.bytes(&contents);
            drop(chunks);
            let (result, _) = replay(&trace);
            if let Ok(summary) = result {
                prop_assert!(summary.records <= contents.len() as u64);
            }
        }
    }
}
