//! Which protocol it is, and its pages.

use core::fmt;

use bowline_wire::enet::{Command, Header, commands, split_checksum};
use bowline_wire::native::Integrity;
use bowline_wire::{Explain, ExplainEnet};

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
        let Ok((header, mut rest)) = Header::parse(datagram) else { return };
        if self.has_checksum {
            let Ok((_, behind)) = split_checksum(rest) else { return };
            rest = behind;
        }
        if header.compressed {
            return;
        }
        for (_, command) in commands(rest).flatten() {
            if let Command::Connect { parameters, .. } | Command::VerifyConnect { parameters } =
                command
            {
                self.connect_id = Some(parameters.connect_id);
            }
        }
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
                ExplainEnet { has_checksum, connect_id, ..ExplainEnet::new(datagram) }.to_string()
            }
        }
    }

    pub(super) fn has_fault(self, agreed: &Agreed, datagram: &[u8]) -> bool {
        datagram.is_empty() || self.page(agreed, datagram).contains(" FAULT ")
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
