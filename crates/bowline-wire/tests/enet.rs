//! ENet's wire format against what ENet itself sent.

use bowline_wire::enet::{Header, checksum, commands, split_checksum};
use bowline_wire::{ExplainEnet, Writer};

use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let lines = include_str!("../vectors/enet/datagrams.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// The bytes of a string of hex, if there is one.
fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let hex = hex.as_str()?;
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    Some((0..hex.len()).step_by(2).map(byte).collect())
}

/// What there is to know of a vector.
#[derive(Debug)]
struct Capture {
    name: String,
    datagram: Vec<u8>,
    /// What stood in the place of the checksum when it was computed, if there is one.
    sum_over: Option<[u8; 4]>,
    /// The commands, where the datagram is compressed.
    plain: Option<Vec<u8>>,
    spans: Value,
    plain_spans: Value,
}

impl Capture {
    fn all() -> Vec<Self> {
        let captures: Vec<_> = vectors().iter().map(Self::new).collect();
        assert!(captures.len() > 480, "{} datagrams were found", captures.len());
        captures
    }

    fn new(vector: &Value) -> Self {
        Self {
            name: vector["name"].to_string(),
            datagram: bytes(&vector["hex"]).expect("a datagram"),
            sum_over: bytes(&vector["sum_over"]).map(|id| id.try_into().expect("4 bytes")),
            plain: bytes(&vector["plain"]),
            spans: vector["spans"].clone(),
            plain_spans: vector["plain_spans"].clone(),
        }
    }

    fn explain(&self) -> ExplainEnet<'_> {
        ExplainEnet {
            datagram: &self.datagram,
            has_checksum: self.sum_over.is_some(),
            connect_id: self.sum_over,
            commands: self.plain.as_deref(),
        }
    }
}

/// The header, and the commands in `body` read and written again.
fn written(header: Option<Header>, body: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 5000];
    let mut w = Writer::new(&mut buf);
    if let Some(header) = header {
        header.emit(&mut w).expect("room");
    }
    let mut commands = commands(body);
    while let Some(Ok((head, command))) = commands.next() {
        command.emit(head, &mut w).expect("room");
    }
    w.written().to_vec()
}

#[test]
fn what_enet_sent_is_read_and_written_alike() {
    for capture in Capture::all() {
        let (header, rest) = Header::parse(&capture.datagram).expect("a header");
        assert_eq!(header.compressed, capture.plain.is_some(), "{}", capture.name);
        let (sum, body) = match capture.sum_over {
            None => (None, rest),
            Some(_) => split_checksum(rest).map(|(sum, body)| (Some(sum), body)).expect("a sum"),
        };
        let plain = capture.plain.as_deref().unwrap_or(body);
        assert!(commands(plain).all(|command| command.is_ok()), "{}", capture.name);
        assert_eq!(written(None, plain), plain, "{}", capture.name);
        let head = &capture.datagram[..header.wire_len()];
        assert_eq!(written(Some(header), &[]), head, "{}", capture.name);
        if let Some((sum, sum_over)) = sum.zip(capture.sum_over) {
            assert_eq!(checksum(head, sum_over, plain), sum, "{}", capture.name);
        }
        let asks = commands(plain).flatten().any(|(head, _)| head.acknowledge);
        assert_eq!(header.sent_time.is_some(), asks, "{}", capture.name);
    }
}

/// A line of a page: offset, length, name and value.
#[derive(Debug, PartialEq)]
struct Line {
    offset: u64,
    len: u64,
    name: String,
    value: String,
}

impl Line {
    /// `None` for a title.
    fn parse(line: &str) -> Option<Self> {
        let offset = line.get(..4)?.trim().parse().ok()?;
        let (bytes, text) = (line[5..].chars().take(25), line.chars().skip(31));
        let text: String = text.collect();
        let (name, value) = text.split_once("  ").expect("two columns");
        let value = value.trim_start().to_string();
        let shown = bytes.collect::<String>();
        let len = match shown.contains('…') {
            false => shown.split_whitespace().count() as u64,
            // A fault does not tell, and goes on to the end.
            true => value.split(' ').next()?.parse().unwrap_or(0),
        };
        Some(Self { offset, len, name: name.to_string(), value })
    }
}

/// The lines under each title.
fn pages(text: &str) -> Vec<Vec<Line>> {
    let mut pages: Vec<Vec<Line>> = vec![];
    for line in text.lines() {
        match Line::parse(line) {
            None => pages.push(vec![]),
            Some(line) => pages.last_mut().expect("a title first").push(line),
        }
    }
    pages
}

const COMMANDS: [&str; 13] = [
    "",
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
];

/// The line that a span of a vector should have.
fn expected(span: &Value) -> Line {
    let (offset, len) = (span[0].as_u64().expect("offset"), span[1].as_u64().expect("length"));
    let number = span[3].as_u64();
    let text = |unit: &str| format!("{}{unit}", number.expect("a number"));
    let hex = || span[3].as_str().expect("hex").to_string();
    let rate = || if number == Some(0) { "0, no limit".into() } else { text(" bytes/s") };
    let size = || format!("{len} {}", if len == 1 { "byte" } else { "bytes" });
    let (name, value) = match span[2].as_str().expect("a name") {
        "peerID+flags" => ("word", word(number.expect("a word"))),
        "sentTime" => ("sent time", text(" ms")),
        "checksum" => ("checksum", hex()),
        "command" => ("command", command(number.expect("a byte"))),
        "channelID" => ("channel", text("")),
        "reliableSequenceNumber" => ("sequence", text("")),
        "receivedReliableSequenceNumber" => ("acked sequence", text("")),
        "receivedSentTime" => ("acked sent time", text(" ms")),
        "outgoingPeerID" => ("outgoing peer", text("")),
        "incomingSessionID" => ("incoming session", text("")),
        "outgoingSessionID" => ("outgoing session", text("")),
        "mtu" => ("mtu", text(" bytes")),
        "windowSize" => ("window", text(" bytes")),
        "channelCount" => ("channels", text("")),
        "incomingBandwidth" => ("incoming", rate()),
        "outgoingBandwidth" => ("outgoing", rate()),
        "throttleInterval" => ("interval", text(" ms")),
        "throttleAcceleration" => ("acceleration", text("")),
        "throttleDeceleration" => ("deceleration", text("")),
        "connectID" => ("connect id", hex()),
        "data" => ("data", text("")),
        "dataLength" => ("length", text("")),
        "unreliableSequenceNumber" => ("unreliable", text("")),
        "unsequencedGroup" => ("group", text("")),
        "startSequenceNumber" => ("start", text("")),
        "fragmentCount" => ("fragments", text("")),
        "fragmentNumber" => ("fragment", text("")),
        "totalLength" => ("total", text(" bytes")),
        "fragmentOffset" => ("offset", text("")),
        "payload" => ("payload", size()),
        "compressedBody" => ("compressed", size()),
        other => panic!("no field is called {other}"),
    };
    Line { offset, len, name: name.to_string(), value }
}

fn word(word: u64) -> String {
    let peer = match word & 0xFFF {
        0xFFF => "no peer".to_string(),
        peer => format!("peer {peer}"),
    };
    let compressed = if word & 0x4000 != 0 { ", compressed" } else { "" };
    let time = if word & 0x8000 != 0 { ", sent time follows" } else { "" };
    format!("{peer}, session {}{compressed}{time}", (word >> 12) & 3)
}

fn command(first: u64) -> String {
    let ack = if first & 0x80 != 0 { ", to be acknowledged" } else { "" };
    let unsequenced = if first & 0x40 != 0 { ", unsequenced" } else { "" };
    format!("{}{ack}{unsequenced}", COMMANDS[(first & 15) as usize])
}

#[test]
fn every_byte_that_enet_sent_is_explained() {
    for capture in Capture::all() {
        let text = capture.explain().to_string();
        let found = pages(&text);
        let spans = [&capture.spans, &capture.plain_spans];
        let parts = [Some(&capture.datagram), capture.plain.as_ref()];
        assert_eq!(found.len(), parts.iter().flatten().count(), "{}", capture.name);
        for ((found, spans), part) in found.iter().zip(spans).zip(parts) {
            // An empty payload has no line.
            let spans = spans.as_array().expect("spans").iter().filter(|span| span[1] != 0);
            let expected: Vec<_> = spans.map(expected).collect();
            assert_eq!(*found, expected, "{}", capture.name);
            let mut end = 0;
            for line in found {
                assert_eq!(line.offset, end, "a gap in {}", capture.name);
                end += line.len;
            }
            assert_eq!(end, part.expect("a part").len() as u64, "{}", capture.name);
        }
    }
}

fn explained(datagram: &[u8]) -> String {
    ExplainEnet::new(datagram).to_string()
}

#[test]
fn a_fault_is_shown_in_its_place() {
    assert_eq!(
        explained(&[0x10, 2, 0x85, 0xFF, 0, 2, 0x86, 1, 0, 3, 0, 4, b'h', b'i']),
        "\
ENet datagram, 14 bytes
   0  10 02                    word              peer 2, session 1
   2  85                       command           PING, to be acknowledged
   3  ff                       channel           255
   4  00 02                    sequence          2
   6  86                       command           SEND_RELIABLE, to be acknowledged
   7  01                       channel           1
   8  00 03                    sequence          3
  10  00 04                    length            4
  12  68 69                    FAULT             payload past the end
"
    );
    assert_eq!(
        explained(&[0x0F, 0xFF, 0x4D, 0, 0, 0]),
        "\
ENet datagram, 6 bytes
   0  0f ff                    word              no peer, session 0
   2  4d                       command           13, unknown, unsequenced
   3  00 00 00                 FAULT             unknown kind
"
    );
    assert_eq!(
        explained(&[0x80]),
        "\
ENet datagram, 1 byte
   0  80                       FAULT             ends in the middle of a field
"
    );
}

#[test]
fn a_checksum_is_checked_where_it_can_be() {
    let (header, ping) = ([0x80, 0x01, 0x03, 0xE8], [0x85, 0xFF, 0x00, 0x02]);
    let sum = checksum(&header, [1, 2, 3, 4], &ping);
    let datagram = [header, sum, ping].concat();
    let line = |connect_id| {
        let explain = ExplainEnet { has_checksum: true, connect_id, ..ExplainEnet::new(&datagram) };
        pages(&explain.to_string()).remove(0).remove(2).value
    };
    let hex = |sum: [u8; 4]| sum.map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(line(Some([1, 2, 3, 4])), hex(sum));
    assert_eq!(line(None), format!("{}, not checked", hex(sum)));
    let other = checksum(&header, [0; 4], &ping);
    assert_eq!(line(Some([0; 4])), format!("{}, but it is {}", hex(sum), hex(other)));
}

/// What ENet sent, with some bytes changed or without its end.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let captures = Capture::all().into_iter().map(|capture| capture.datagram);
    let capture = prop::sample::select(captures.collect::<Vec<_>>());
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (capture, damage, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut datagram, damage, cut, is_cut)| {
            for (at, byte) in damage {
                let at = at.index(datagram.len());
                datagram[at] = byte;
            }
            if is_cut {
                datagram.truncate(cut.index(datagram.len()));
            }
            datagram
        },
    )
}

proptest! {
    #[test]
    fn there_is_a_fault_where_the_parser_finds_one(datagram in damaged()) {
        let text = explained(&datagram);
        let verdict = Header::parse(&datagram).and_then(|(header, rest)| {
            let rest = if header.compressed { &[] } else { rest };
            commands(rest).try_for_each(|command| command.map(drop))
        });
        let fault = text.lines().find_map(|line| line.split_once("FAULT")).map(|(_, fault)| fault.trim());
        prop_assert_eq!(fault.map(String::from), verdict.err().map(|fault| fault.to_string()), "{}", text);
        let mut end = 0;
        for line in pages(&text).remove(0) {
            prop_assert_eq!(line.offset, end, "{}", text);
            end += if line.name == "FAULT" { datagram.len() as u64 - end } else { line.len };
        }
        prop_assert_eq!(end, datagram.len() as u64, "{}", text);
    }
}
