//! Notes in the order of arrival: where something can be read.

use bowline_core::Link;
use bowline_transport::record::Record;

use crate::peer::Peer;
use crate::storage::Memory;

/// A note in the order of arrival: where something can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Note {
    /// So many bytes of the inbox are messages of this channel and mode.
    Inbox { channel: u8, ordered: bool, left: u32 },
    /// The stream of this domain may be read up to this offset.
    Stream { domain: Link, upto: u32 },
    /// A message that was put together.
    Assembly(Link),
    /// There are messages to be read in the loose stream of this domain.
    Loose { domain: Link },
}

impl Note {
    const INBOX: u16 = 0;
    const STREAM: u16 = 1;
    const ASSEMBLY: u16 = 2;
    const LOOSE: u16 = 3;

    pub(crate) fn of(record: &Record) -> Self {
        match record.flags {
            Self::STREAM => Self::Stream { domain: record.domain, upto: record.end },
            Self::ASSEMBLY => Self::Assembly(record.domain),
            Self::LOOSE => Self::Loose { domain: record.domain },
            _ => Self::Inbox {
                channel: record.start as u8,
                ordered: record.start > 0xFF,
                left: record.end,
            },
        }
    }

    fn write(self, record: &mut Record) {
        (record.flags, record.domain, record.start, record.end) = match self {
            Self::Inbox { channel, ordered, left } => {
                (Self::INBOX, Link::NONE, u32::from(channel) | u32::from(ordered) << 8, left)
            }
            Self::Stream { domain, upto } => (Self::STREAM, domain, 0, upto),
            Self::Assembly(link) => (Self::ASSEMBLY, link, 0, 0),
            Self::Loose { domain } => (Self::LOOSE, domain, 0, 0),
        };
    }
}

impl Peer {
    /// Notes where something can be read, as part of the last note if it can be.
    pub(crate) fn note(&mut self, memory: &mut Memory<'_>, note: Note) -> bool {
        self.tell_readable = true;
        if let Some(head) = self.notes.head.some() {
            let tail = self.notes.tail;
            debug_assert!(head.is_some());
            let joined = match (Note::of(&memory.records[tail]), note) {
                (
                    Note::Inbox { channel, ordered, left },
                    Note::Inbox { channel: c, ordered: o, left: more },
                ) if channel == c && ordered == o => {
                    Some(Note::Inbox { channel, ordered, left: left + more })
                }
                (Note::Stream { domain, .. }, Note::Stream { domain: d, upto }) if domain == d => {
                    Some(Note::Stream { domain, upto })
                }
                (Note::Loose { domain }, Note::Loose { domain: d }) if domain == d => Some(note),
                _ => None,
            };
            if let Some(joined) = joined {
                joined.write(&mut memory.records[tail]);
                return true;
            }
        }
        let Some(link) = memory.records.take(&mut self.receive_records) else { return false };
        note.write(&mut memory.records[link]);
        self.notes.push_back(&mut memory.records, link);
        if let Note::Stream { domain, .. } = note {
            memory.domains[domain].notes = memory.domains[domain].notes.saturating_add(1);
        }
        true
    }
}
