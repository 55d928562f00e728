//! What is in a datagram, for people.

use bowline_enet::Compression;
use bowline_wire::ExplainEnet;
use bowline_wire::enet::{Command, CommandKind, Header, MTU_MAX, split_checksum};

use crate::coder::Coder;
use crate::subject::HostConfig;

/// The datagram field by field, of a host set up like this; compressed ones as far as they can be restored.
pub fn explain(datagram: &[u8], config: &HostConfig) -> String {
    let commands = restored(datagram, config);
    let has_checksum = config.checksum;
    let page =
        ExplainEnet { has_checksum, commands: commands.as_deref(), ..ExplainEnet::new(datagram) };
    page.to_string().lines().map(|line| format!("    {line}\n")).collect()
}

/// The kinds of the commands in `datagram`, as far as they can be read.
pub fn command_kinds(datagram: &[u8], config: &HostConfig) -> Vec<CommandKind> {
    let restored = restored(datagram, config);
    let mut rest = restored.as_deref().or(plain(datagram, config)).unwrap_or_default();
    let mut kinds = Vec::new();
    while let Ok((_, command, behind)) = Command::parse(rest) {
        kinds.push(command.kind());
        rest = behind;
    }
    kinds
}

/// The header of a datagram and its commands, restored if they were compressed.
pub fn commands(datagram: &[u8], config: &HostConfig) -> Option<(Header, Vec<u8>)> {
    let (header, rest) = behind_header(datagram, config)?;
    let commands = if header.compressed { restored(datagram, config)? } else { rest.to_vec() };
    Some((header, commands))
}

/// What follows header and checksum, compressed or not.
fn behind_header<'d>(datagram: &'d [u8], config: &HostConfig) -> Option<(Header, &'d [u8])> {
    let (header, rest) = Header::parse(datagram).ok()?;
    let rest = if config.checksum { split_checksum(rest).ok()?.1 } else { rest };
    Some((header, rest))
}

fn plain<'d>(datagram: &'d [u8], config: &HostConfig) -> Option<&'d [u8]> {
    behind_header(datagram, config).filter(|(header, _)| !header.compressed).map(|(_, rest)| rest)
}

fn restored(datagram: &[u8], config: &HostConfig) -> Option<Vec<u8>> {
    let (header, rest) = behind_header(datagram, config)?;
    let is_restorable = header.compressed && config.range_coder;
    let mut coder = Coder::range(is_restorable);
    coder.decompress(rest, MTU_MAX as usize).map(<[u8]>::to_vec)
}
