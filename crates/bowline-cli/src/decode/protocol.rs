//! Which protocol it is, and its pages.

use core::fmt;

use bowline_wire::enet::{Command, Header, commands, split_checksum};
use bowline_wire::native::Integrity;
use bowline_wire::{Explain, ExplainEnet};

use super::compression::Restored;

/// A protocol that can be explained.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Native,
    Enet,
}

/// What two sides agreed on that their datagrams do not tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) has_checksum: bool,
    pub(super) connect_id: Option<[u8; 4]>,
}

impl Agreed {
    /// Takes the connect id from an ENet datagram that tells it.
    pub(super) fn learn(&mut self, datagram: &[u8]) {
        let restored = self.restored(datagram);
        let plain = restored.as_ref().map(|restored| &*restored.commands);
        let Some(bytes) = plain.or_else(|| Some(self.enet_body(datagram)?.1)) else { return };
        for (_, command) in commands(bytes).flatten() {
            if let Command::Connect { parameters, .. } | Command::VerifyConnect { parameters } =
                command
            {
                self.connect_id = Some(parameters.connect_id);
            }
        }
    }

    /// The header of an ENet datagram, and its commands, which may be compressed.
    fn enet_body<'d>(&self, datagram: &'d [u8]) -> Option<(Header, &'d [u8])> {
        let (header, rest) = Header::parse(datagram).ok()?;
        let rest = if self.has_checksum { split_checksum(rest).ok()?.1 } else { rest };
        Some((header, rest))
    }

    /// The commands of an ENet datagram, where they are compressed and can be restored.
    fn restored(&self, datagram: &[u8]) -> Option<Restored> {
        let (header, rest) = self.enet_body(datagram)?;
        if header.compressed { Restored::new(rest) } else { None }
    }
}

impl Protocol {
    /// The datagram, field by field.
    pub(super) fn page(self, agreed: &Agreed, datagram: &[u8]) -> String {
        let Agreed { has_checksum, connect_id } = *agreed;
        match self {
            Self::Native => {
                let integrity = if has_checksum { Integrity::Crc32 } else { Integrity::None };
                Explain { datagram, connection_id_len: None, integrity }.to_string()
            }
            Self::Enet => {
                let restored = agreed.restored(datagram);
                let commands = restored.as_ref().map(|restored| &*restored.commands);
                let page = ExplainEnet { datagram, has_checksum, connect_id, commands };
                match &restored {
                    None => page.to_string(),
                    Some(Restored { by, .. }) => format!("{page}Compressed by {by}.\n"),
                }
            }
        }
    }

    /// Whether it makes no sense as this. What is compressed and cannot be restored makes none.
    pub(super) fn has_fault(self, agreed: &Agreed, datagram: &[u8]) -> bool {
        match (self, agreed.enet_body(datagram)) {
            _ if datagram.is_empty() => true,
            (Self::Enet, Some((header, _))) if header.compressed => {
                agreed.restored(datagram).is_none()
            }
            _ => self.page(agreed, datagram).contains(" FAULT "),
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Native => Self::Enet,
            Self::Enet => Self::Native,
        }
    }

    /// The option that asks for it.
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::Native => "--native",
            Self::Enet => "--enet",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "bowline's own protocol",
            Self::Enet => "ENet",
        })
    }
}

/// As what the datagrams of a conversation have fewer faults; bowline's own if that does not tell.
pub(super) fn guess<'d>(
    agreed: &Agreed,
    datagrams: impl IntoIterator<Item = &'d [u8]>,
) -> Protocol {
    let (mut native, mut enet) = (0u64, 0u64);
    for datagram in datagrams {
        native += u64::from(Protocol::Native.has_fault(agreed, datagram));
        enet += u64::from(Protocol::Enet.has_fault(agreed, datagram));
    }
    if enet < native { Protocol::Enet } else { Protocol::Native }
}
