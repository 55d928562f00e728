//! What is in a datagram, one line per command.

use crate::subject::hex;

/// Length of each command without its payload, by number; 0 for those that do not exist.
pub const COMMAND_LENS: [usize; 16] = [0, 8, 48, 44, 8, 4, 6, 8, 24, 8, 12, 16, 24, 0, 0, 0];

const NAMES: [&str; 16] = [
    "-",
    "ACKNOWLEDGE",
    "CONNECT",
    "VERIFY_CONNECT",
    "DISCONNECT",
    "PING",
    "SEND_RELIABLE",
    "SEND_UNRELIABLE",
    "SEND_FRAGMENT",
    "SEND_UNSEQUENCED",
    "BANDWIDTH_LIMIT",
    "THROTTLE_CONFIGURE",
    "SEND_UNRELIABLE_FRAGMENT",
    "-",
    "-",
    "-",
];

/// The name of a command by its number.
pub fn name(number: usize) -> &'static str {
    NAMES[number & 0xf]
}

/// One command of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Command<'d> {
    /// In 1..=12.
    pub number: usize,
    /// Header and fields, without the payload.
    pub head: &'d [u8],
    /// What follows them.
    pub payload: &'d [u8],
}

/// The commands of `datagram` as far as they are well formed, and what is left behind them.
///
/// With a checksum they begin after `checksum_len` more bytes. A compressed datagram has none to show.
pub fn commands(datagram: &[u8], checksum_len: usize) -> (Vec<Command<'_>>, &[u8]) {
    let Some(first) = datagram.first() else { return (Vec::new(), datagram) };
    if first & 0x40 != 0 {
        return (Vec::new(), datagram);
    }
    let header_len = 2 + if first & 0x80 != 0 { 2 } else { 0 } + checksum_len;
    let mut rest = datagram.get(header_len..).unwrap_or_default();
    let mut commands = Vec::new();
    while let Some((command, behind)) = split(rest) {
        commands.push(command);
        rest = behind;
    }
    (commands, rest)
}

fn split(bytes: &[u8]) -> Option<(Command<'_>, &[u8])> {
    let number = usize::from(bytes.first()? & 0xf);
    let head_len = COMMAND_LENS[number];
    let (head, behind) = bytes.split_at_checked(head_len).filter(|_| head_len > 0)?;
    let len_at = match number {
        6 => 4,
        7 | 8 | 9 | 12 => 6,
        _ => return Some((Command { number, head, payload: &[] }, behind)),
    };
    let payload_len = usize::from(u16::from_be_bytes([head[len_at], head[len_at + 1]]));
    let (payload, behind) = behind.split_at_checked(payload_len)?;
    Some((Command { number, head, payload }, behind))
}

/// The datagram in words, with and without checksum if one cannot tell which.
pub fn explain(datagram: &[u8]) -> String {
    let mut text = format!("      {}\n", hex(datagram));
    let checksum_len = [0, 4].into_iter().find(|len| {
        let (commands, rest) = commands(datagram, *len);
        !commands.is_empty() && rest.is_empty()
    });
    let (commands, rest) = commands(datagram, checksum_len.unwrap_or(0));
    for command in commands {
        let Command { number, head, payload } = command;
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        let fields: Vec<_> = head[4..].chunks(2).map(hex).collect();
        text += &format!(
            "      {} {:#04x} channel {} sequence {sequence} fields {} payload {} bytes\n",
            name(number),
            head[0],
            head[1],
            fields.join(" "),
            payload.len()
        );
    }
    if !rest.is_empty() {
        text += &format!("      {} bytes compressed or unexplained\n", rest.len());
    }
    text
}
