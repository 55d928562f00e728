//! An endpoint that is recorded, if somebody wants that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use bowline::{
    Address, BufferTooShort, CancelError, ChannelId, CloseReason, Config, ConnectError, DropReason,
    Duration, Endpoint, EndpointStatistics, Event, Heap, InUse, Incoming, Instant, Limits, Machine,
    Messages, Outgoing, PathState, PeerId, PeerStatistics, Received, SendError, SipHash, Tag,
    Transmit, UnknownPeer,
};
use bowline_trace::{Recorder, Stream};

use crate::Failure;

/// How much of a recording may be missing after a crash.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// An endpoint for plain sessions.
#[derive(Debug)]
pub(crate) enum MaybeRecorded {
    Plain(Box<Endpoint<Heap>>),
    Recorded(Box<Recording>),
}

#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Recorder<Heap, Stream<File>>,
    flush_at: Instant,
    complained: bool,
}

/// Does the same with either.
macro_rules! either {
    ($self:expr, $endpoint:ident => $call:expr) => {
        match $self {
            Self::Plain($endpoint) => $call,
            Self::Recorded(recording) => {
                let $endpoint = &mut recording.recorder;
                $call
            }
        }
    };
}

impl MaybeRecorded {
    /// An endpoint that is recorded into `file`, if there is one. Whoever calls says what is in it.
    pub(crate) fn new(
        config: Config,
        limits: Limits,
        file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let (seed, memory) = (bowline::seed()?, Heap::new(limits));
        let Some(path) = file else {
            return Ok(Self::Plain(bowline::plain(config, &seed, memory)?.into()));
        };
        let file = create(path)
            .map_err(|error| format!("cannot record into {}: {error}", path.display()))?;
        let recorder = Recorder::plain(config, &SipHash, &seed, memory, Stream(file))?;
        let recording = Recording { recorder, flush_at: Instant::ZERO, complained: false };
        Ok(Self::Recorded(recording.into()))
    }

    /// Has what was recorded written, now and then.
    pub(crate) fn flush(&mut self, now: Instant) {
        if let Self::Recorded(recording) = self
            && now >= recording.flush_at
        {
            recording.flush_at = now + FLUSH_EVERY;
            recording.recorder.flush();
            recording.complain();
        }
    }

    /// Ends the recording.
    pub(crate) fn stop(&mut self) {
        if let Self::Recorded(recording) = self {
            recording.recorder.stop();
            recording.complain();
        }
    }

    pub(crate) fn connect_plain(
        &mut self,
        now: Instant,
        to: Address,
        payload: &[u8],
    ) -> Result<PeerId, ConnectError> {
        either!(self, endpoint => endpoint.connect_plain(now, to, payload))
    }

    pub(crate) fn connect_payload(&mut self, peer: PeerId, out: &mut [u8]) -> usize {
        either!(self, endpoint => endpoint.connect_payload(peer, out))
    }

    pub(crate) fn accept(&mut self, now: Instant, peer: PeerId) -> Result<(), UnknownPeer> {
        either!(self, endpoint => endpoint.accept(now, peer))
    }

    pub(crate) fn refuse(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        either!(self, endpoint => endpoint.refuse(now, peer, reason))
    }

    pub(crate) fn finish(
        &mut self,
        now: Instant,
        peer: PeerId,
        reason: CloseReason,
    ) -> Result<(), UnknownPeer> {
        either!(self, endpoint => endpoint.finish(now, peer, reason))
    }

    pub(crate) fn address(&mut self, peer: PeerId) -> Option<Address> {
        either!(self, endpoint => endpoint.address(peer))
    }

    pub(crate) fn messages_late(&mut self, peer: PeerId, channel: ChannelId) -> Option<u32> {
        either!(self, endpoint => endpoint.messages_late(peer, channel))
    }

    pub(crate) fn path(&mut self, peer: PeerId) -> Option<PathState> {
        either!(self, endpoint => endpoint.path(peer))
    }

    pub(crate) fn statistics(&mut self) -> EndpointStatistics {
        either!(self, endpoint => *endpoint.statistics())
    }

    pub(crate) fn peer_statistics(&mut self, peer: PeerId) -> Option<PeerStatistics> {
        either!(self, endpoint => endpoint.peer_statistics(peer))
    }

    pub(crate) fn in_use(&mut self) -> InUse {
        either!(self, endpoint => endpoint.in_use())
    }

    pub(crate) fn storage(&self) -> &Heap {
        match self {
            Self::Plain(endpoint) => endpoint.storage(),
            Self::Recorded(recording) => recording.recorder.storage(),
        }
    }
}

impl Recording {
    /// Says, once, why there is no more of it.
    fn complain(&mut self) {
        if let Some(error) = self.recorder.error().filter(|_| !self.complained) {
            let _ = writeln!(io::stderr(), "bowline: the recording stops here: {error}");
            self.complained = true;
        }
    }
}

impl Machine for MaybeRecorded {
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        either!(self, endpoint => endpoint.handle_datagram(now, from, datagram))
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        either!(self, endpoint => endpoint.poll_transmit(now, buf))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        either!(self, endpoint => endpoint.poll_timeout())
    }
}

impl Messages for MaybeRecorded {
    fn send(&mut self, now: Instant, to: PeerId, message: Outgoing<'_>) -> Result<(), SendError> {
        either!(self, endpoint => endpoint.send(now, to, message))
    }

    fn cancel(&mut self, to: PeerId, tag: Tag) -> Result<(), CancelError> {
        either!(self, endpoint => endpoint.cancel(to, tag))
    }

    fn poll_event(&mut self) -> Option<Event> {
        either!(self, endpoint => endpoint.poll_event())
    }

    fn recv(&mut self, from: PeerId) -> Option<Incoming<'_>> {
        either!(self, endpoint => endpoint.recv(from))
    }

    fn close(&mut self, now: Instant, peer: PeerId, reason: CloseReason) {
        either!(self, endpoint => endpoint.close(now, peer, reason));
    }
}

/// Says what is in recordings.
pub(crate) fn warn(path: &Path) {
    let _ = writeln!(
        io::stderr(),
        "bowline: {} will hold secrets: seeds, addresses and all that is said",
        path.display()
    );
}

/// A new file that, where there is such a thing, only its owner may read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
