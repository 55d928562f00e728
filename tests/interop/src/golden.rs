//! Recorded transcripts of one host of the C library, to be replayed byte for byte.
//!
//! The format is that of `enet-golden.json`: steps of operations, datagrams in, one round of service,
//! events, datagrams out, and numbers from inside.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::Value;

use crate::subject::{Event, HostConfig, Op, Subject, hex, unhex};

/// One host's life.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// As in the file; `old-` ones are of 1.3.17.
    pub name: String,
    /// How the host was set up.
    pub config: HostConfig,
    steps: Vec<Value>,
}

impl Transcript {
    /// Every transcript of a file.
    ///
    /// # Panics
    ///
    /// If the text is not of that format.
    pub fn all(text: &str) -> Vec<Self> {
        let file: Value = serde_json::from_str(text).expect("golden transcripts are JSON");
        array(&file["transcripts"]).iter().map(Self::read).collect()
    }

    fn read(value: &Value) -> Self {
        let config = HostConfig {
            peers: number(&value["peers"]) as usize,
            channel_limit: number(&value["channelLimit"]) as usize,
            incoming_bandwidth: number(&value["incomingBandwidth"]),
            outgoing_bandwidth: number(&value["outgoingBandwidth"]),
            checksum: value["checksum"] == "crc32",
            range_coder: value["compressor"] == "range",
            created: number(&value["createTime"]),
            ..HostConfig::default()
        };
        let steps = array(&value["steps"]).clone();
        Self { name: value["name"].as_str().expect("a name").into(), config, steps }
    }

    /// How many steps it has.
    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// Replays everything on `host`.
    ///
    /// # Errors
    ///
    /// The first difference, in words.
    pub fn replay(&self, host: &mut impl Subject) -> Result<(), String> {
        for (index, step) in self.steps.iter().enumerate() {
            self.step(host, step).map_err(|why| format!("{}, step {index}: {why}", self.name))?;
        }
        Ok(())
    }

    fn step(&self, host: &mut impl Subject, step: &Value) -> Result<(), String> {
        for op in array(&step["ops"]) {
            let (now, op, wanted) = operation(op);
            let returned = host.apply(now, &op);
            if wanted.is_some_and(|wanted| wanted != i64::from(returned)) {
                return Err(format!("{op:?} returned {returned}, not {wanted:?}"));
            }
        }
        for datagram in array(&step["datagrams_in"]) {
            host.push_datagram(endpoint(number(&datagram[0])), &bytes(&datagram[1]));
        }
        let events = host.service(number(&step["T"]));
        let wanted: Vec<_> = array(&step["events"]).iter().map(event).collect();
        if events != wanted {
            return Err(format!("events {events:#?}\nnot {wanted:#?}"));
        }
        // The recorder wrote down what each end point received.
        let mut sent = host.take_sent();
        sent.sort_by_key(|(to, _)| *to);
        let recorded = array(&step["datagrams_out"]).iter();
        let mut wanted: Vec<_> =
            recorded.map(|pair| (endpoint(number(&pair[0])), bytes(&pair[1]))).collect();
        wanted.sort_by_key(|(to, _)| *to);
        if sent != wanted {
            let shown = |all: &[(SocketAddrV4, Vec<u8>)]| {
                all.iter().map(|(to, bytes)| format!("{to} {}\n", hex(bytes))).collect::<String>()
            };
            return Err(format!("sent\n{}not\n{}", shown(&sent), shown(&wanted)));
        }
        for (peer, wanted) in array(&step["state"]).iter().enumerate() {
            for (name, value) in host.peer_state(peer).named() {
                if value != number(&wanted[name]) {
                    return Err(format!("{name} of peer {peer} is {value}, not {}", wanted[name]));
                }
            }
        }
        Ok(())
    }
}

/// Where the remote end point of that number is: all share one address.
fn endpoint(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000 + number as u16)
}

/// The clock at that moment, what was done, and what it returned, if that was written down.
fn operation(value: &Value) -> (u32, Op, Option<i64>) {
    let peer = value["peer"].as_u64().unwrap_or(0) as usize;
    let data = || number(&value["data"]);
    let three = || [0, 1, 2].map(|index| number(&value["args"][index]));
    let name = value["op"].as_str().expect("an operation has a name");
    let op = match name {
        "send" => {
            let fill = number(&value["fill"]);
            let content = (0..number(&value["len"])).map(|x| (fill + 3 * x) as u8).collect();
            let (channel, flags) = (number(&value["channel"]) as u8, number(&value["flags"]));
            Op::Send { peer, channel, flags, bytes: content }
        }
        "connect" => Op::Connect {
            to: endpoint(peer as u32),
            channels: number(&value["channels"]) as usize,
            data: data(),
            connect_id: bytes(&value["connectID"]).try_into().expect("four bytes"),
        },
        "disconnect" => Op::Disconnect { peer, data: data() },
        "disconnect_now" => Op::DisconnectNow { peer, data: data() },
        "disconnect_later" => Op::DisconnectLater { peer, data: data() },
        "ping" => Op::Ping { peer },
        "timeout" => Op::Timeout { peer, values: three() },
        "throttle_configure" => Op::ThrottleConfigure { peer, values: three() },
        "bandwidth_limit" => Op::BandwidthLimit {
            incoming: number(&value["args"][0]),
            outgoing: number(&value["args"][1]),
        },
        "flush" => Op::Flush,
        _ => panic!("an unknown operation: {value}"),
    };
    let clock = if name == "flush" { &value["T"] } else { &value["clock"] };
    (number(clock), op, value["ret"].as_i64())
}

fn event(value: &Value) -> Event {
    let peer = number(&value[1]) as usize;
    match value[0].as_str() {
        Some("CONNECT") => Event::Connect { peer, data: number(&value[2]) },
        Some("DISCONNECT") => Event::Disconnect { peer, data: number(&value[2]) },
        _ => Event::Receive {
            peer,
            channel: number(&value[2]) as u8,
            flags: number(&value[3]),
            bytes: bytes(&value[4]),
        },
    }
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a number of 32 bits")
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().and_then(unhex).expect("hexadecimal digits")
}
