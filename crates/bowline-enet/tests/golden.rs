//! Transcripts of the C library under a virtual clock, replayed: every datagram, event and return code is the same.
//!
//! How `vectors/enet-golden.json` reads is said in its key `notes`.

extern crate alloc;

mod service;

use bowline_core::{Address, ChannelId, Instant, PeerId};
use bowline_crypto::SipHash;
use bowline_enet::{
    Checksum, Config, Flags, Hardening, Heap, Host, Limits, Release, Throttle, Timeout,
};
use serde_json::Value;
use service::{Datagram, Served, Service};

fn number(value: &Value, key: &str) -> u32 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}")) as u32
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn unhex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn end_point(number: u32) -> Address {
    core::net::SocketAddr::from(([10, 0, 0, 1], 1_000 + number as u16)).into()
}

fn number_of(address: &Address) -> u32 {
    u32::from(address.socket_addr().expect("a socket address").port()) - 1_000
}

struct Transcript<'v> {
    value: &'v Value,
    epoch: u32,
    service: Service,
}

impl<'v> Transcript<'v> {
    fn new(value: &'v Value) -> Self {
        let is_old = value["library"] == "1.3.17";
        let epoch = number(value, "createTime");
        let config = Config {
            channel_limit: match number(value, "channelLimit") {
                0 => 255,
                limit => limit as u8,
            },
            incoming_bandwidth: number(value, "incomingBandwidth"),
            outgoing_bandwidth: number(value, "outgoingBandwidth"),
            mtu: if is_old { 1400 } else { 1392 },
            checksum: if value["checksum"].is_null() { Checksum::None } else { Checksum::Crc32 },
            waiting_max: 32 << 20,
            send_max: u32::MAX,
            release: if is_old { Release::V1_3_17 } else { Release::V1_3_18 },
            hardening: Hardening::OFF,
            clock_offset: epoch,
            ..Config::DEFAULT
        };
        let heap = Heap::new(Limits::for_peers(number(value, "peers") as u16));
        let compression = service::Coder::new(!value["compressor"].is_null());
        let host = Host::compressed(config, &SipHash, &[7; 32], heap, compression).unwrap();
        Self { value, epoch, service: Service::new(host) }
    }

    fn instant(&self, time: u32) -> Instant {
        Instant::from_micros(u64::from(time.wrapping_sub(self.epoch)) * 1_000)
    }

    fn replay(&mut self) {
        let steps = self.value["steps"].as_array().expect("steps");
        for (at, step) in steps.iter().enumerate() {
            let context = format!("{} step {at}", self.value["name"]);
            self.service.sent.clear();
            for op in step["ops"].as_array().expect("ops") {
                self.operate(op, &context);
            }
            let now = self.instant(number(step, "T"));
            let inbound = step["datagrams_in"].as_array().expect("datagrams");
            let mut inbound = inbound
                .iter()
                .map(|datagram| Datagram {
                    at: end_point(datagram[0].as_u64().unwrap() as u32),
                    bytes: hex(datagram[1].as_str().unwrap()),
                })
                .collect();
            let mut events = Vec::new();
            while let Some(served) = self.service.service(now, &mut inbound) {
                events.push(match served {
                    Served::Connected { slot, data } => {
                        format!("CONNECT {slot} {data}")
                    }
                    Served::Disconnected { slot, data } => format!("DISCONNECT {slot} {data}"),
                    Served::Received { slot, channel, flags, bytes } => {
                        format!("RECEIVE {slot} {channel} {flags} {}", unhex(&bytes))
                    }
                });
            }
            self.compare(step, &events, &context);
        }
    }

    fn peer(&self, op: &Value) -> PeerId {
        let slot = number(op, "peer") as usize;
        self.service.ids.get(&slot).copied().unwrap_or(PeerId::new(slot as u32, u32::MAX))
    }

    fn operate(&mut self, op: &Value, context: &str) {
        let now = self.instant(number(op, "clock"));
        let host = &mut self.service.host;
        match op["op"].as_str().expect("an operation") {
            "send" => {
                let (len, fill) = (number(op, "len"), number(op, "fill"));
                let bytes: Vec<u8> = (0..len).map(|x| (fill + 3 * x) as u8).collect();
                let flags = Flags::from_bits(number(op, "flags"));
                let channel = ChannelId(number(op, "channel") as u8);
                let peer = self.peer(op);
                let host = &mut self.service.host;
                let sent = host.send_packet(now, peer, channel, flags, &[&bytes]);
                let expected = op["ret"].as_i64().expect("a return code");
                assert_eq!(sent.is_ok(), expected == 0, "{context}: {op}: {sent:?}");
            }
            "flush" => {
                let now = self.instant(number(op, "T"));
                self.service.flush(now);
            }
            "connect" => {
                let id = hex(op["connectID"].as_str().expect("a connect id"));
                let to = end_point(number(op, "peer"));
                let (channels, data) = (number(op, "channels") as u8, number(op, "data"));
                let peer = host
                    .connect_as(now, to, channels, data, id.try_into().expect("four bytes"))
                    .unwrap();
                assert_eq!(peer.slot() as u32, number(op, "peer"), "{context}");
                self.service.ids.insert(peer.slot(), peer);
            }
            "throttle_configure" => {
                let [interval, acceleration, deceleration] = arguments(op);
                let throttle = Throttle { interval, acceleration, deceleration };
                let peer = self.peer(op);
                let _ = self.service.host.configure_throttle(now, peer, throttle);
            }
            "bandwidth_limit" => {
                let [incoming, outgoing] = arguments(op);
                host.set_bandwidth(incoming, outgoing);
            }
            "timeout" => {
                let [limit, minimum, maximum] = arguments(op);
                let peer = self.peer(op);
                let timeout = Timeout { limit, minimum, maximum };
                let _ = self.service.host.set_timeout(peer, timeout);
            }
            "ping" => {
                let peer = self.peer(op);
                let _ = self.service.host.ping(now, peer);
            }
            "disconnect" => {
                let peer = self.peer(op);
                let _ = self.service.host.disconnect(now, peer, number(op, "data"));
                self.service.flush(now);
            }
            "disconnect_later" => {
                let peer = self.peer(op);
                let _ = self.service.host.disconnect_later(now, peer, number(op, "data"));
            }
            "disconnect_now" => {
                let peer = self.peer(op);
                let _ = self.service.host.disconnect_now(now, peer, number(op, "data"));
                self.service.flush(now);
            }
            "reset" => {
                let peer = self.peer(op);
                let _ = self.service.host.reset(now, peer);
            }
            other => panic!("{context}: unknown operation {other}"),
        }
    }

    fn compare(&mut self, step: &Value, events: &[String], context: &str) {
        let expected: Vec<String> = step["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| {
                let words: Vec<String> = event
                    .as_array()
                    .expect("an event")
                    .iter()
                    .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
                    .collect();
                words.join(" ")
            })
            .collect();
        self.compare_states(step, context);
        // End points are told apart; between them the order does not matter.
        let group = |mut all: Vec<(u32, String)>| {
            all.sort_by_key(|(end_point, _)| *end_point);
            all
        };
        let sent = self.service.sent.iter();
        let sent = group(sent.map(|it| (number_of(&it.at), unhex(&it.bytes))).collect());
        let wanted = step["datagrams_out"].as_array().expect("datagrams").iter();
        let wanted = group(
            wanted
                .map(|it| (it[0].as_u64().unwrap() as u32, it[1].as_str().unwrap().to_owned()))
                .collect(),
        );
        assert_eq!(sent, wanted, "{context}: datagrams");
        assert_eq!(events, expected, "{context}: events");
    }

    fn compare_states(&mut self, step: &Value, context: &str) {
        let is_old = self.value["library"] == "1.3.17";
        for (slot, expected) in step["state"].as_array().into_iter().flatten().enumerate() {
            let Some(found) = self.service.host.slot_statistics(slot) else { continue };
            let state = found.state as u32;
            let mut numbers = vec![
                ("state", state),
                ("rtt", found.rtt),
                ("var", found.rtt_variance),
                ("throttle", found.throttle),
                ("limit", found.throttle_limit),
                ("inTransit", found.in_transit),
                ("window", found.window),
                ("loss", found.loss),
            ];
            if state != 0 {
                numbers.push(("nextTimeout", found.next_timeout));
                numbers.push(("mtu", found.mtu));
                // Up to 1.3.17 what was dropped went on waiting.
                if !is_old {
                    numbers.push(("waiting", found.waiting));
                }
            }
            for (name, value) in numbers {
                let wanted = number(expected, name);
                assert_eq!(value, wanted, "{context}: {name} of slot {slot}, {expected}");
            }
        }
    }
}

fn arguments<const N: usize>(op: &Value) -> [u32; N] {
    let args = op["args"].as_array().expect("arguments");
    core::array::from_fn(|at| args[at].as_u64().expect("a number") as u32)
}

#[test]
fn transcripts_of_the_c_library_are_repeated_byte_for_byte() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/enet-golden.json");
    let text = std::fs::read_to_string(file).expect("the transcripts");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let transcripts = golden["transcripts"].as_array().expect("transcripts");
    assert_eq!(transcripts.len(), 8);
    let only = std::env::var("GOLDEN").ok();
    for transcript in transcripts {
        let name = transcript["name"].as_str().expect("a name");
        if only.as_deref().is_none_or(|only| only == name) {
            Transcript::new(transcript).replay();
        }
    }
}
