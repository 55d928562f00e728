//! An endpoint that is recorded.

use bowline_core::{
    Address, BufferTooShort, CancelError, ChannelId, CloseReason, DropReason, Event, Incoming,
    Instant, Machine, Messages, Mode, Outgoing, PeerId, Received, SendError, Tag, Transmit,
};
use bowline_crypto::KeyedMac;
use bowline_native::{
    Answer, BanError, Broadcast, Config, ConfigError, ConnectError, Endpoint, EndpointStatistics,
    InUse, PathState, PeerStatistics, Storage, UnknownPeer, Whom,
};

use crate::tape::Tape;
use crate::{BUFFER_MAX, Header, Input, Message, Options, Output, Sent, Sink};

/// An [`Endpoint`] whose every input, and what came of it, is appended to a [`Sink`].
///
/// Has the methods of an endpoint, which say what they do there. When the sink fails, recording stops and
/// the endpoint goes on; [`Self::error`] tells. What is recorded is handed over in chunks of two kilobytes,
/// and when it is dropped: call [`Self::flush`] now and then, so that less is missing after a crash.
///
/// Besides the endpoint itself it takes about 4 KiB.
#[derive(Debug)]
pub struct Recorder<S, W: Sink> {
    endpoint: Endpoint<S>,
    tape: Tape<W>,
}

impl<S: Storage, W: Sink> Recorder<S, W> {
    /// As [`Endpoint::plain`], and begins to record. The memory must not have been used before.
    ///
    /// # Errors
    ///
    /// As there; nothing was written then.
    pub fn plain(
        config: Config,
        mac: &'static dyn KeyedMac,
        seed: &[u8; 32],
        mut storage: S,
        sink: W,
    ) -> Result<Self, ConfigError> {
        let header = Header::new(&config, mac, seed, storage.shape());
        let endpoint = Endpoint::plain(config, mac, seed, storage)?;
        Ok(Self { endpoint, tape: Tape::new(&header, sink) })
    }

    /// Whether calls are being recorded.
    pub fn is_recording(&self) -> bool {
        self.tape.is_open()
    }

    /// How many calls were recorded.
    pub const fn records(&self) -> u64 {
        self.tape.records()
    }

    /// Why the sink took no more, if it failed.
    pub fn error(&self) -> Option<&W::Error> {
        self.tape.chunks().error()
    }

    /// The sink.
    pub fn sink(&self) -> &W {
        self.tape.chunks().sink()
    }

    /// Hands everything recorded so far to the sink.
    pub fn flush(&mut self) {
        self.tape.flush();
    }

    /// Ends the trace in good order. The endpoint goes on, unrecorded.
    pub fn stop(&mut self) {
        self.tape.stop();
    }

    /// Records a call and what it answers.
    #[inline]
    fn call<T: Copy>(
        &mut self,
        input: &Input,
        pieces: &[&[u8]],
        call: impl FnOnce(&mut Endpoint<S>) -> T,
        output: impl FnOnce(T) -> Output,
    ) -> T {
        self.tape.input(input, pieces);
        let result = call(&mut self.endpoint);
        if self.tape.is_open() {
            self.tape.output(&output(result));
        }
        result
    }
}

impl<S: Storage, W: Sink> Machine for Recorder<S, W> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        // It may be opened in place, so it is written before.
        self.tape.input(&Input::Datagram { now, from, len: datagram.len() }, &[datagram]);
        let result = self.endpoint.handle_datagram(now, from, datagram);
        self.tape.output(&Output::Handled(result));
        result
    }

    /// At most [`BUFFER_MAX`] bytes of `buf` are used.
    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let room = buf.len().min(BUFFER_MAX);
        let buf = buf.get_mut(..room).unwrap_or_default();
        self.tape.input(&Input::PollTransmit { now, room }, &[]);
        let result = self.endpoint.poll_transmit(now, buf);
        if self.tape.is_open() {
            let sent = result.map(|sent| {
                sent.map(|sent| {
                    let written = buf.get(..sent.len).unwrap_or_default();
                    Sent::of(&sent, self.tape.outgoing([written].into_iter()))
                })
            });
            self.tape.output(&Output::Transmit(sent));
        }
        result
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.call(&Input::PollTimeout, &[], Machine::poll_timeout, Output::Timeout)
    }
}

impl<S: Storage, W: Sink> Messages for Recorder<S, W> {
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        let input = Input::Send { now, to, options: Options::of(&message), len: message.len() };
        let call = |endpoint: &mut Endpoint<S>| endpoint.send(now, to, message);
        self.call(&input, message.pieces, call, Output::Send)
    }

    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError> {
        let call = |endpoint: &mut Endpoint<S>| endpoint.cancel(to, tag);
        self.call(&Input::Cancel { to, tag }, &[], call, Output::Cancel)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.call(&Input::PollEvent, &[], Messages::poll_event, Output::Event)
    }

    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        self.tape.input(&Input::Recv { from }, &[]);
        let message = self.endpoint.recv(from);
        if self.tape.is_open() {
            let received =
                message.map(|message| Message::of(&message, self.tape.outgoing(message.chunks())));
            self.tape.output(&Output::Received(received));
        }
        message
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        let call = |endpoint: &mut Endpoint<S>| endpoint.close(now, peer, reason);
        self.call(&Input::Close { now, peer, reason }, &[], call, |()| Output::Unit);
    }
}

/// What changes an endpoint, or hands out bytes.
impl<S: Storage, W: Sink> Recorder<S, W> {
    /// [`Endpoint::connect_plain`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn connect_plain(
        &mut self,
        now: Instant,
        to: Address,
        payload: &[u8],
    ) -> Result<PeerId, ConnectError> {
        let input = Input::ConnectPlain { now, to, len: payload.len() };
        let call = |endpoint: &mut Endpoint<S>| endpoint.connect_plain(now, to, payload);
        self.call(&input, &[payload], call, Output::Connect)
    }

    /// [`Endpoint::connect_payload`]; at most [`BUFFER_MAX`] bytes of `out` are used.
    pub fn connect_payload(&mut self, peer: PeerId, out: &mut [u8]) -> usize {
        let room = out.len().min(BUFFER_MAX);
        let out = out.get_mut(..room).unwrap_or_default();
        self.tape.input(&Input::ConnectPayload { peer, room }, &[]);
        let whole = self.endpoint.connect_payload(peer, out);
        if self.tape.is_open() {
            let copied = out.get(..whole.min(room)).unwrap_or_default();
            let bytes = self.tape.outgoing([copied].into_iter());
            self.tape.output(&Output::Payload(whole, bytes));
        }
        whole
    }

    /// [`Endpoint::accept`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn accept(&mut self, now: Instant, peer: PeerId) -> Result<(), UnknownPeer> {
        let call = |endpoint: &mut Endpoint<S>| endpoint.accept(now, peer);
        self.call(&Input::Accept { now, peer }, &[], call, Output::Known)
    }

    /// [`Endpoint::refuse`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn refuse(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        let call = |endpoint: &mut Endpoint<S>| endpoint.refuse(now, peer, reason);
        self.call(&Input::Refuse { now, peer, reason }, &[], call, Output::Known)
    }

    /// [`Endpoint::finish`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn finish(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        if cfg!(bowline_mutant = "unrecorded") {
            return self.endpoint.finish(now, peer, reason);
        }
        let call = |endpoint: &mut Endpoint<S>| endpoint.finish(now, peer, reason);
        self.call(&Input::Finish { now, peer, reason }, &[], call, Output::Known)
    }

    /// [`Endpoint::broadcast`].
    pub fn broadcast(
        &mut self,
        now: Instant,
        message: Outgoing<'_>,
        except: Option<PeerId>,
    ) -> Broadcast {
        let options = Options::of(&message);
        let input = Input::Broadcast { now, options, except, len: message.len() };
        let call = |endpoint: &mut Endpoint<S>| endpoint.broadcast(now, message, except);
        self.call(&input, message.pieces, call, Output::Broadcast)
    }

    /// [`Endpoint::suspend`].
    pub fn suspend(&mut self) {
        self.call(&Input::Suspend, &[], Endpoint::suspend, |()| Output::Unit);
    }

    /// [`Endpoint::resume`].
    pub fn resume(&mut self, now: Instant) {
        let call = |endpoint: &mut Endpoint<S>| endpoint.resume(now);
        self.call(&Input::Resume { now }, &[], call, |()| Output::Unit);
    }

    /// [`Endpoint::add_entropy`]. The trace holds it.
    pub fn add_entropy(&mut self, entropy: &[u8]) {
        let call = |endpoint: &mut Endpoint<S>| endpoint.add_entropy(entropy);
        self.call(&Input::AddEntropy { len: entropy.len() }, &[entropy], call, |()| Output::Unit);
    }

    /// [`Endpoint::set_info`].
    pub fn set_info(&mut self, info: Option<&[u8]>) -> bool {
        let input = Input::SetInfo { len: info.map(<[u8]>::len) };
        let call = |endpoint: &mut Endpoint<S>| endpoint.set_info(info);
        self.call(&input, &[info.unwrap_or_default()], call, Output::Flag)
    }

    /// [`Endpoint::query`].
    pub fn query(&mut self, now: Instant, to: Address) -> bool {
        let call = |endpoint: &mut Endpoint<S>| endpoint.query(now, to);
        self.call(&Input::Query { now, to }, &[], call, Output::Flag)
    }

    /// [`Endpoint::end_queries`].
    pub fn end_queries(&mut self) {
        self.call(&Input::EndQueries, &[], Endpoint::end_queries, |()| Output::Unit);
    }

    /// [`Endpoint::drain`].
    pub fn drain(&mut self, draining: bool) {
        let call = |endpoint: &mut Endpoint<S>| endpoint.drain(draining);
        self.call(&Input::Drain { draining }, &[], call, |()| Output::Unit);
    }

    /// [`Endpoint::ban`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ban(&mut self, now: Instant, whom: Whom, until: Instant) -> Result<(), BanError> {
        let call = |endpoint: &mut Endpoint<S>| endpoint.ban(now, whom, until);
        self.call(&Input::Ban { now, whom, until }, &[], call, Output::Banned)
    }

    /// [`Endpoint::unban`].
    pub fn unban(&mut self, whom: Whom) -> bool {
        let call = |endpoint: &mut Endpoint<S>| endpoint.unban(whom);
        self.call(&Input::Unban { whom }, &[], call, Output::Flag)
    }

    /// [`Endpoint::close_all`].
    pub fn close_all(&mut self, now: Instant, whom: Whom, reason: CloseReason) -> u32 {
        let call = |endpoint: &mut Endpoint<S>| endpoint.close_all(now, whom, reason);
        self.call(&Input::CloseAll { now, whom, reason }, &[], call, Output::Count)
    }

    /// [`Endpoint::take_answer`].
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.tape.input(&Input::TakeAnswer, &[]);
        let answer = self.endpoint.take_answer();
        if self.tape.is_open() {
            let told = answer
                .as_ref()
                .map(|answer| (answer.from, self.tape.outgoing([&answer.bytes[..]].into_iter())));
            self.tape.output(&Output::Answer(told));
        }
        answer
    }
}

/// What only tells, and is not recorded.
impl<S: Storage, W: Sink> Recorder<S, W> {
    /// [`Endpoint::config`].
    pub const fn config(&self) -> &Config {
        self.endpoint.config()
    }

    /// [`Endpoint::statistics`].
    pub const fn statistics(&self) -> &EndpointStatistics {
        self.endpoint.statistics()
    }

    /// [`Endpoint::peer_statistics`].
    pub fn peer_statistics(&mut self, peer: PeerId) -> Option<PeerStatistics> {
        self.endpoint.peer_statistics(peer)
    }

    /// [`Endpoint::messages_late`].
    pub fn messages_late(&mut self, peer: PeerId, channel: ChannelId) -> Option<u32> {
        self.endpoint.messages_late(peer, channel)
    }

    /// [`Endpoint::path`].
    pub fn path(&mut self, peer: PeerId) -> Option<PathState> {
        self.endpoint.path(peer)
    }

    /// [`Endpoint::address`].
    pub fn address(&mut self, peer: PeerId) -> Option<Address> {
        self.endpoint.address(peer)
    }

    /// [`Endpoint::message_max`].
    pub fn message_max(&mut self, peer: PeerId, mode: Mode) -> Option<usize> {
        self.endpoint.message_max(peer, mode)
    }

    /// [`Endpoint::in_use`].
    pub fn in_use(&mut self) -> InUse {
        self.endpoint.in_use()
    }

    /// [`Endpoint::is_banned`].
    pub fn is_banned(&mut self, now: Instant, address: &Address) -> bool {
        self.endpoint.is_banned(now, address)
    }

    /// [`Endpoint::is_draining`].
    pub const fn is_draining(&self) -> bool {
        self.endpoint.is_draining()
    }

    /// [`Endpoint::is_drained`].
    pub fn is_drained(&mut self) -> bool {
        self.endpoint.is_drained()
    }

    /// [`Endpoint::storage`].
    pub const fn storage(&self) -> &S {
        self.endpoint.storage()
    }
}

impl Options {
    fn of(message: &Outgoing<'_>) -> Self {
        let Outgoing { channel, mode, pieces, tag, time_to_live, key } = *message;
        Self { channel, mode, gathered: pieces.len() != 1, tag, time_to_live, key }
    }
}

impl Message {
    pub(crate) const fn of(message: &Incoming<'_>, bytes: crate::Bytes) -> Self {
        let (channel, mode, key) = (message.channel(), message.mode(), message.key());
        Self { channel, mode, key, bytes }
    }
}

impl Sent {
    pub(crate) const fn of(sent: &Transmit, bytes: crate::Bytes) -> Self {
        let Transmit { to, len: _, segment_len, ecn } = *sent;
        Self { to, bytes, segment_len, ecn }
    }
}
