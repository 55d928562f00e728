//! Datagrams, explained field by field.

mod capture;
mod compression;
mod packet;
mod protocol;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::Failure;
use capture::Record;
use packet::Datagram;
use protocol::{Agreed, Protocol};

/// What to explain, and as what.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The bytes of one datagram in hexadecimal, or a file that Wireshark or tcpdump wrote (pcap or pcapng)
    #[arg(required = true, value_name = "HEX|FILE")]
    input: Vec<String>,
    /// It is bowline's own protocol; else it is whatever makes most sense
    #[arg(long, conflicts_with = "enet")]
    native: bool,
    /// It is ENet
    #[arg(long)]
    enet: bool,
    /// A checksum was agreed: of ENet's datagrams, of packets in native sessions
    #[arg(long)]
    checksum: bool,
    /// The connect id of the ENet connection, to check its checksums; from a file it is learnt
    #[arg(long, value_name = "HEX", value_parser = connect_id)]
    connect_id: Option<[u8; 4]>,
}

/// Explains one datagram, or all of a file.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let text = options.input.concat();
    match bytes(&text) {
        Some(datagram) => explain_one(options, &datagram)?,
        None => {
            let [path] = &*options.input else {
                return Err(format!("{text:.40}: not hexadecimal").into());
            };
            let file = std::fs::read(Path::new(path)).map_err(|error| {
                format!("{path:.80}: neither hexadecimal nor a file that can be read: {error}")
            })?;
            explain_all(options, path, &file)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explain_one(options: &Options, datagram: &[u8]) -> Result<(), Failure> {
    let agreed = options.agreed();
    let protocol = options.protocol();
    let guess = protocol.unwrap_or_else(|| protocol::guess(&agreed, [datagram]));
    let mut out = io::stdout().lock();
    write!(out, "{}", guess.page(&agreed, datagram))?;
    let other = guess.other();
    if protocol.is_none() && !other.has_fault(&agreed, datagram) {
        writeln!(out, "\nIt makes sense as {other}, too: {}", other.option())?;
    }
    Ok(())
}

fn explain_all(options: &Options, path: &str, file: &[u8]) -> Result<(), Failure> {
    let (records, is_cut) = capture::records(file).map_err(|error| format!("{path}: {error}"))?;
    let mut datagrams = Vec::new();
    let mut others = 0;
    for record in &records {
        match packet::datagram(record.link, record.bytes) {
            Some(datagram) => datagrams.push((record, datagram)),
            None => others += 1,
        }
    }
    if datagrams.is_empty() {
        return Err(format!("{path}: no UDP datagram in it").into());
    }
    explain_datagrams(options, &datagrams)?;
    let mut out = io::stdout().lock();
    if others > 0 {
        writeln!(out, "{others} packets passed over: not UDP, or in fragments")?;
    }
    if is_cut {
        writeln!(out, "The file ends in the middle of a packet.")?;
    }
    Ok(())
}

/// Each conversation as what makes most sense of all its datagrams, in the order they came in.
fn explain_datagrams(
    options: &Options,
    datagrams: &[(&Record<'_>, Datagram<'_>)],
) -> Result<(), Failure> {
    let mut conversations = BTreeMap::<_, Vec<&[u8]>>::new();
    for (_, datagram) in datagrams {
        conversations.entry(datagram.conversation()).or_default().push(datagram.payload);
    }
    let mut talks: BTreeMap<_, (Protocol, Agreed)> = conversations
        .into_iter()
        .map(|(between, payloads)| {
            let agreed = options.agreed();
            let guess = options.protocol().unwrap_or_else(|| protocol::guess(&agreed, payloads));
            (between, (guess, agreed))
        })
        .collect();
    let start = datagrams.first().map(|(record, _)| record.at).unwrap_or_default();
    let mut out = io::stdout().lock();
    for (number, (record, datagram)) in datagrams.iter().enumerate() {
        let Some((protocol, agreed)) = talks.get_mut(&datagram.conversation()) else { continue };
        let at = record.at.saturating_sub(start).as_secs_f64();
        let Datagram { from, to, payload } = datagram;
        writeln!(out, "#{}  {at:.6} s  {from} > {to}", number + 1)?;
        if *protocol == Protocol::Enet {
            agreed.learn(payload);
        }
        writeln!(out, "{}", protocol.page(agreed, payload))?;
    }
    Ok(())
}

impl Options {
    fn protocol(&self) -> Option<Protocol> {
        match (self.native, self.enet) {
            (true, _) => Some(Protocol::Native),
            (_, true) => Some(Protocol::Enet),
            _ => None,
        }
    }

    fn agreed(&self) -> Agreed {
        Agreed { has_checksum: self.checksum, connect_id: self.connect_id }
    }
}

/// The bytes of a text of hexadecimal digits, with or without colons and blanks between them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|letter| *letter != ':' && !letter.is_ascii_whitespace());
    let digits: Vec<u8> =
        digits.map(|letter| letter.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() || digits.is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn connect_id(text: &str) -> Result<[u8; 4], &'static str> {
    let bytes = bytes(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or("a connect id is 4 bytes in hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_may_have_blanks_and_colons() {
        assert_eq!(bytes("80 07:20\n0aF"), None, "a digit too few");
        assert_eq!(bytes("80 07:20\n0aFF"), Some(vec![0x80, 7, 0x20, 0x0A, 0xFF]));
        assert_eq!(bytes("dump.pcap"), None);
        assert_eq!(bytes(" "), None);
        assert_eq!(connect_id("01:02:03:04"), Ok([1, 2, 3, 4]));
        assert!(connect_id("010203").is_err());
    }
}
