//! One channel in one mode: what waits to be sent, and what has arrived.

use bowline_core::{ChannelId, Link, Mode, Pool, Quota, Slot};
use bowline_transport::credit::ReceiveCredit;
use bowline_transport::key_tree::KeyTree;
use bowline_transport::reliable::{InStream, LooseStream, OutStream};
use bowline_transport::share::{Class, Member, Share};
use bowline_transport::tickets;
use bowline_transport::unreliable::{OrderFilter, OutQueue};
use bowline_wire::native::Stream;

use crate::config::Config;
use crate::peer::Peer;
use crate::storage::{Memory, Need};

/// An open (channel, mode) pair of a session.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The next domain of the peer, or the next free one.
    next: Link,
    pub(crate) channel: ChannelId,
    /// A CREDIT frame is to be sent.
    pub(crate) credit_due: bool,
    /// How many notes of what can be read name this domain.
    pub(crate) notes: u16,
    /// The packet being taken in brought more of the stream in order.
    pub(crate) moved: bool,
    /// It completed messages of a loose stream.
    pub(crate) ready: bool,
    pub(crate) lane: Lane,
    /// Its place among the peer's domains that have something to send, and what it has had.
    share: Share,
}

/// The state that a mode needs; `late` counts what the filter dropped.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    Unreliable { out: OutQueue },
    Ordered { out: OutQueue, filter: OrderFilter, late: u32 },
    Reliable { out: OutStream, stream: InStream },
    Loose { out: OutStream, stream: LooseStream, keys: KeyTree, latest: bool },
}

impl Lane {
    /// The stream to the peer, in a reliable mode.
    pub(crate) const fn out(&self) -> Option<&OutStream> {
        match self {
            Self::Reliable { out, .. } | Self::Loose { out, .. } => Some(out),
            Self::Unreliable { .. } | Self::Ordered { .. } => None,
        }
    }

    /// Which stream of its channel it is.
    pub(crate) const fn stream(&self) -> Stream {
        match self {
            Self::Loose { latest: true, .. } => Stream::Latest,
            Self::Loose { latest: false, .. } => Stream::Unordered,
            _ => Stream::Reliable,
        }
    }

    /// The credit that the peer has in a reliable mode.
    pub(crate) const fn credit(&self) -> Option<&ReceiveCredit> {
        match self {
            Self::Reliable { stream, .. } => Some(stream.credit()),
            Self::Loose { stream, .. } => Some(stream.credit()),
            Self::Unreliable { .. } | Self::Ordered { .. } => None,
        }
    }
}

/// The mode of a stream.
pub(crate) const fn mode_of(stream: Stream) -> Mode {
    match stream {
        Stream::Reliable => Mode::Reliable,
        Stream::Unordered => Mode::ReliableUnordered,
        Stream::Latest => Mode::ReliableLatest,
    }
}

/// Messages of a lane that may be given up.
pub(crate) struct Tickets<'a> {
    pub(crate) tickets: &'a mut tickets::Tickets,
    /// Offset of the first byte that was not sent.
    pub(crate) sent: u32,
    pub(crate) keys: Option<&'a mut KeyTree>,
}

impl Domain {
    pub(crate) const fn new(next: Link, channel: ChannelId, class: Class, lane: Lane) -> Self {
        let share = Share::new(class);
        Self { next, channel, credit_due: false, notes: 0, moved: false, ready: false, lane, share }
    }

    pub(crate) const fn mode(&self) -> Mode {
        match self.lane {
            Lane::Unreliable { .. } => Mode::Unreliable,
            Lane::Ordered { .. } => Mode::UnreliableOrdered,
            Lane::Reliable { .. } => Mode::Reliable,
            Lane::Loose { latest: false, .. } => Mode::ReliableUnordered,
            Lane::Loose { latest: true, .. } => Mode::ReliableLatest,
        }
    }

    /// Whether it is in line to be sent.
    pub(crate) fn is_queued(&self) -> bool {
        self.share.is_queued()
    }

    /// How many more blocks `len` more bytes to send would take.
    #[inline]
    pub(crate) fn blocks_needed(&self, pool: &Pool<'_>, len: usize) -> usize {
        match &self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => out.blocks_needed(pool, len),
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => out.blocks_needed(pool, len),
        }
    }

    /// Appends bytes to what waits to be sent; there is room for them ([`Self::blocks_needed`]).
    #[inline]
    pub(crate) fn append(&mut self, pool: &mut Pool<'_>, quota: &mut Quota, bytes: &[u8]) {
        match &mut self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => out.append(pool, quota, bytes),
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => {
                out.append(pool, quota, bytes);
            }
        }
    }

    /// Appends a short message, if it fits into the last block.
    #[inline(always)]
    pub(crate) fn append_short(&mut self, pool: &mut Pool<'_>, message: &[u8]) -> bool {
        match &mut self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => out.append_short(pool, message),
            Lane::Reliable { out, .. } | Lane::Loose { out, latest: false, .. } => {
                out.append_short(pool, message)
            }
            Lane::Loose { latest: true, .. } => false,
        }
    }

    /// Appends a short message in a block of its own, if the last one is full to the end.
    pub(crate) fn append_short_anew(
        &mut self,
        pool: &mut Pool<'_>,
        quota: &mut Quota,
        message: &[u8],
    ) -> bool {
        match &mut self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                out.append_short_anew(pool, quota, message)
            }
            Lane::Reliable { out, .. } | Lane::Loose { out, latest: false, .. } => {
                out.append_short_anew(pool, quota, message)
            }
            Lane::Loose { latest: true, .. } => false,
        }
    }

    /// Tickets of messages that may still be given up.
    pub(crate) const fn tickets(&mut self) -> Tickets<'_> {
        match &mut self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                let sent = out.offset();
                Tickets { tickets: out.tickets().waiting(), sent, keys: None }
            }
            Lane::Reliable { out, .. } | Lane::Loose { out, latest: false, .. } => {
                let sent = out.sent();
                Tickets { tickets: out.tickets(), sent, keys: None }
            }
            Lane::Loose { out, keys, .. } => {
                let sent = out.sent();
                Tickets { tickets: out.tickets(), sent, keys: Some(keys) }
            }
        }
    }

    /// Offset behind the last byte that waits to be sent.
    pub(crate) const fn end(&self) -> u32 {
        match &self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => {
                out.offset().wrapping_add(out.queued())
            }
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => out.end(),
        }
    }

    /// Whether a message is under way whose outcome is not known.
    pub(crate) const fn has_tickets(&mut self) -> bool {
        match &mut self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => !out.tickets().is_empty(),
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => !out.tickets().is_empty(),
        }
    }

    /// Whether something can be sent now.
    pub(crate) fn is_pending(&self) -> bool {
        match &self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => out.is_pending(),
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => out.is_pending(),
        }
    }

    /// Bytes that wait to be sent or acknowledged.
    pub(crate) fn queued(&self) -> u32 {
        match &self.lane {
            Lane::Unreliable { out } | Lane::Ordered { out, .. } => out.queued(),
            Lane::Reliable { out, .. } | Lane::Loose { out, .. } => out.queued(),
        }
    }
}

impl Slot for Domain {
    const VACANT: Self = Self::new(
        Link::NONE,
        ChannelId(0),
        Class::DEFAULT,
        Lane::Unreliable { out: OutQueue::new(0) },
    );

    fn next(&self) -> Link {
        self.next
    }

    fn set_next(&mut self, next: Link) {
        self.next = next;
    }
}

impl Member for Domain {
    fn share(&mut self) -> &mut Share {
        &mut self.share
    }
}

impl Peer {
    /// The open domain of `channel` and `mode`, which is opened if it was not.
    pub(crate) fn domain(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        channel: ChannelId,
        mode: Mode,
    ) -> Result<Link, Need> {
        if let Some(link) = memory.table.find(self.row, channel.0, mode) {
            return Ok(link);
        }
        self.open_domain(memory, config, channel, mode)
    }

    #[inline(never)]
    fn open_domain(
        &mut self,
        memory: &mut Memory<'_>,
        config: &Config,
        channel: ChannelId,
        mode: Mode,
    ) -> Result<Link, Need> {
        if !memory.table.begin(&mut self.row) {
            return Err(Need::Row);
        }
        let link = memory.domains.take(&mut self.domain_quota).ok_or(Need::Domain)?;
        let lane = match mode {
            Mode::Unreliable => Lane::Unreliable { out: OutQueue::new(0) },
            Mode::UnreliableOrdered => {
                Lane::Ordered { out: OutQueue::new(0), filter: OrderFilter::NEW, late: 0 }
            }
            Mode::Reliable => Lane::Reliable {
                out: OutStream::new(self.initial_out, self.theirs.credit),
                stream: InStream::new(self.theirs.initial, config.credit),
            },
            Mode::ReliableUnordered | Mode::ReliableLatest => {
                let latest = mode == Mode::ReliableLatest;
                Lane::Loose {
                    out: OutStream::loose(self.initial_out, self.theirs.loose_credit),
                    stream: LooseStream::new(self.theirs.initial, config.loose_credit, latest),
                    keys: KeyTree::EMPTY,
                    latest,
                }
            }
        };
        memory.domains[link] = Domain::new(self.domains, channel, config.class(channel), lane);
        self.domains = link;
        memory.table.insert(self.row, channel.0, mode, link);
        Ok(link)
    }
}
