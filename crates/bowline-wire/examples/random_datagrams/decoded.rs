//! Datagrams in the JSON of `vectors/README.md`.

use core::fmt::Write;

use bowline_core::DropReason;
use bowline_wire::Malformed;
use bowline_wire::native::{
    AckBlock, AckForm, Direction, Frame, Handshake, Integrity, Offset, PacketHead, Parameters,
    SessionCrc, VERSION, frames, is_session, messages,
};

/// Bit K of the flags, which no packet of a plain session has.
const KEY_PHASE: u8 = 0x40;

/// What a receiver knows before a datagram arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) cid_len: u8,
    pub(crate) integrity: Integrity,
    pub(crate) client_half: u64,
    pub(crate) server_half: u64,
    pub(crate) direction: Direction,
    pub(crate) expected: u64,
}

impl Setting {
    pub(crate) fn crc(&self) -> SessionCrc {
        SessionCrc::new(self.client_half, self.server_half, self.direction)
    }
}

/// The line of a datagram.
pub(crate) fn line(name: Option<&str>, datagram: &[u8], setting: &Setting) -> String {
    let name = name.map(|name| format!("\"name\":\"{name}\",")).unwrap_or_default();
    format!(
        "{{{name}\"hex\":{},\"cid_len\":{},\"integrity\":{},\"client_half\":{},\
         \"server_half\":{},\"direction\":{},\"expected\":{},\"decoded\":{}}}",
        hex(datagram),
        setting.cid_len,
        setting.integrity as u8,
        setting.client_half,
        setting.server_half,
        setting.direction as u8,
        setting.expected,
        decoded(datagram, setting),
    )
}

fn decoded(datagram: &[u8], setting: &Setting) -> String {
    let decoded = match datagram.first() {
        None => Err(Malformed::Truncated),
        Some(first) if is_session(*first) => session(datagram, setting),
        Some(_) => Handshake::parse(datagram).map(|handshake| handshake_object(&handshake)),
    };
    decoded.unwrap_or_else(|malformed| {
        let class = match malformed.drop_reason() {
            DropReason::Truncated => "truncated",
            DropReason::Corrupt => "corrupt",
            DropReason::UnknownVersion => "unknown_version",
            _ => "malformed",
        };
        format!("{{\"error\":\"{class}\"}}")
    })
}

fn session(datagram: &[u8], setting: &Setting) -> Result<String, Malformed> {
    if datagram.first().is_some_and(|flags| flags & KEY_PHASE != 0) {
        return Err(Malformed::Reserved);
    }
    let (head, rest) = PacketHead::parse(datagram, setting.cid_len)?;
    let number = head.expand_number(setting.expected);
    let rest = match setting.integrity {
        Integrity::None => rest,
        Integrity::Crc32 => {
            let (rest, trailer) = rest.split_last_chunk().ok_or(Malformed::Truncated)?;
            let covered = &datagram[..datagram.len() - trailer.len()];
            if setting.crc().checksum(number, covered) != u32::from_be_bytes(*trailer) {
                return Err(Malformed::Checksum);
            }
            rest
        }
    };
    let (ack, rest) = AckBlock::parse(head.ack, rest)?;
    if ack.is_none() && rest.is_empty() {
        return Err(Malformed::Empty);
    }
    let frames: Vec<_> =
        frames(rest).map(|frame| frame.map(frame_object)).collect::<Result<_, _>>()?;
    let id = connection_id((setting.cid_len != 0).then_some(head.connection_id));
    let ack = ack.map_or("null".into(), ack_object);
    let frames = frames.join(",");
    Ok(format!(
        "{{\"kind\":\"SESSION\",\"key_phase\":0,\"number\":{number},\"connection_id\":{id},\
         \"ack\":{ack},\"frames\":[{frames}]}}"
    ))
}

fn ack_object(ack: AckBlock<'_>) -> String {
    // Any number from which all that is acknowledged can be subtracted.
    let largest = 1 << 60;
    let ranges: Vec<_> = ack
        .ranges(largest)
        .map(|(start, end)| format!("[{},{}]", largest - start, largest - end))
        .collect();
    let form = match ack.form() {
        AckForm::None => unreachable!("a block has a form"),
        AckForm::Short => 1,
        AckForm::Ranges1 => 2,
        AckForm::Ranges2 => 3,
    };
    format!(
        "{{\"form\":{form},\"largest_low\":{},\"delay\":{},\"ranges\":[{}]}}",
        ack.largest_low(),
        ack.delay().map_or("null".into(), |delay| delay.to_string()),
        ranges.join(","),
    )
}

fn frame_object(frame: Frame<'_>) -> String {
    match frame {
        Frame::Padding => "{\"type\":\"PADDING\"}".into(),
        Frame::Ping => "{\"type\":\"PING\"}".into(),
        Frame::Credit { stream, channel, limit } => format!(
            "{{\"type\":\"CREDIT\",\"stream\":{},\"channel\":{channel},\"limit\":{limit}}}",
            stream.to_wire(),
        ),
        Frame::Close { cause, reason } => {
            format!("{{\"type\":\"CLOSE\",\"cause\":{},\"reason\":{reason}}}", cause as u8)
        }
        Frame::Void { stream, channel, offset, len } => format!(
            "{{\"type\":\"VOID\",\"stream\":{},\"channel\":{channel},\"offset\":{offset},\
             \"length\":{len}}}",
            stream.to_wire(),
        ),
        Frame::Repeat { distance, channel, messages } => format!(
            "{{\"type\":\"REPEAT\",\"distance\":{distance},\"channel\":{channel},\
             \"messages\":{}}}",
            message_array(messages),
        ),
        Frame::Parity { distance, count, data } => format!(
            "{{\"type\":\"PARITY\",\"distance\":{distance},\"count\":{count},\"data\":{}}}",
            hex(data),
        ),
        Frame::Unreliable { channel, ordered, messages } => format!(
            "{{\"type\":\"UNRELIABLE{}\",\"channel\":{channel},\"messages\":{}}}",
            if ordered { "_ORDERED" } else { "" },
            message_array(messages),
        ),
        Frame::Fragment { channel, ordered, id, offset, total, data } => format!(
            "{{\"type\":\"UNRELIABLE{}_FRAGMENT\",\"channel\":{channel},\"id\":{id},\
             \"offset\":{offset},\"total\":{total},\"data\":{}}}",
            if ordered { "_ORDERED" } else { "" },
            hex(data),
        ),
        Frame::Reliable { channel, offset, data } => {
            let (offset, short) = match offset {
                Offset::Short(offset) => (offset.into(), true),
                Offset::Long(offset) => (offset, false),
            };
            format!(
                "{{\"type\":\"RELIABLE\",\"channel\":{channel},\"offset\":{offset},\
                 \"short\":{short},\"data\":{}}}",
                hex(data),
            )
        }
        Frame::Loose { channel, latest, offset, back: None, data } => format!(
            "{{\"type\":\"LOOSE\",\"channel\":{channel},\"latest\":{latest},\"offset\":{offset},\
             \"messages\":{}}}",
            message_array(data),
        ),
        Frame::Loose { channel, latest, offset, back: Some(back), data } => format!(
            "{{\"type\":\"LOOSE\",\"channel\":{channel},\"latest\":{latest},\"offset\":{offset},\
             \"back\":{back},\"data\":{}}}",
            hex(data),
        ),
    }
}

fn message_array(prefixed: &[u8]) -> String {
    let messages: Vec<_> = messages(prefixed).map(hex).collect();
    format!("[{}]", messages.join(","))
}

fn handshake_object(handshake: &Handshake<'_>) -> String {
    let (kind, version, contents) = match *handshake {
        Handshake::Hello { version, application, client_half, len } => (
            "HELLO",
            version,
            format!("\"application\":{application},\"client_half\":{client_half},\"len\":{len}"),
        ),
        Handshake::Challenge { client_half, ref cookie } => (
            "CHALLENGE",
            VERSION,
            format!("\"client_half\":{client_half},\"cookie\":{}", hex(cookie)),
        ),
        Handshake::Connect { application, client_half, ref cookie, ref parameters, payload } => (
            "CONNECT",
            VERSION,
            format!(
                "\"application\":{application},\"client_half\":{client_half},\"cookie\":{},\
                 \"parameters\":{},\"payload\":{}",
                hex(cookie),
                parameters_object(parameters),
                hex(payload),
            ),
        ),
        Handshake::Accept { client_half, server_half, ref parameters } => (
            "ACCEPT",
            VERSION,
            format!(
                "\"client_half\":{client_half},\"server_half\":{server_half},\"parameters\":{}",
                parameters_object(parameters),
            ),
        ),
        Handshake::Refuse { version, client_half, code, detail } => (
            "REFUSE",
            version,
            format!("\"client_half\":{client_half},\"code\":{},\"detail\":{detail}", code as u8,),
        ),
        Handshake::Query { application, nonce, len } => (
            "QUERY",
            VERSION,
            format!("\"application\":{application},\"nonce\":{nonce},\"len\":{len}"),
        ),
        Handshake::Answer { nonce, payload } => {
            ("ANSWER", VERSION, format!("\"nonce\":{nonce},\"payload\":{}", hex(payload)))
        }
    };
    format!("{{\"kind\":\"{kind}\",\"version\":{version},{contents}}}")
}

fn parameters_object(p: &Parameters) -> String {
    format!(
        "{{\"connection_id\":{},\"initial\":{},\"integrity\":{},\"datagram_max\":{},\
         \"channels\":{},\"ack_delay\":{},\"idle_timeout\":{},\"credit\":{},\"loose_credit\":{},\
         \"reliable_max\":{},\"ordered_max\":{},\"unreliable_max\":{}}}",
        connection_id(p.connection_id),
        p.initial,
        p.integrity as u8,
        p.datagram_max,
        p.channels,
        p.ack_delay,
        p.idle_timeout_ms,
        p.credit,
        p.loose_credit,
        p.reliable_max,
        p.ordered_max,
        p.unreliable_max,
    )
}

fn connection_id(id: Option<u32>) -> String {
    id.map_or("\"\"".into(), |id| hex(&id.to_be_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::from("\"");
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("strings grow");
    }
    hex + "\""
}
