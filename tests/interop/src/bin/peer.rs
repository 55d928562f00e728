//! A scripted peer, the twin of `godot/g4/main.gd`: prints one line of JSON for everything that
//! happens, and does the steps of its role one after the other.
//!
//! `peer library=c|bowline role=server|client port=N scen=FILE.json max=MS [who=NAME] [layer=raw|g3|g4]
//! [peers=N] [chans=N] [comp=N]`

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bowline_interop::live::{Live, Settings, open};
use bowline_interop::message::{Layer, Mode, content, sha};
use bowline_interop::subject::{Event, Op};
use serde_json::{Value, json};

const TICK: Duration = Duration::from_millis(1);
const SERVER_ID: u32 = 1;
/// Any that Godot accepts.
const CLIENT_ID: u32 = 77_007_700;

fn main() -> ExitCode {
    match Peer::from_arguments() {
        Ok(mut peer) => {
            peer.run();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

struct Peer {
    host: Box<dyn Live>,
    layer: Layer,
    id: u32,
    steps: Vec<Value>,
    began: Instant,
    max: Duration,
    /// When the step before was over; none before the first connection.
    ready_at: Option<Instant>,
    connected: Vec<usize>,
    reliable_count: u64,
    disconnect_count: u64,
}

impl Peer {
    fn from_arguments() -> Result<Self, String> {
        let words = std::env::args().skip(1);
        let pairs = words.filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let options: HashMap<_, _> = pairs.collect();
        let text = |name: &str| options.get(name).map(String::as_str);
        let number = |name: &str, default: u32| {
            text(name).map_or(Ok(default), |it| it.parse().map_err(|_| format!("{name}={it}?")))
        };
        let role = text("role").ok_or("role=?")?;
        let port = number("port", 0)? as u16;
        let settings = Settings {
            library: text("library").ok_or("library=?")?.into(),
            port: if role == "server" { port } else { 0 },
            peers: number("peers", 8)? as usize,
            compression: number("comp", 0)?,
            checksum: number("crc", 0)? == 1,
        };
        let script = std::fs::read_to_string(text("scen").ok_or("scen=?")?);
        let script = script.map_err(|error| error.to_string())?;
        let script: Value = serde_json::from_str(&script).map_err(|error| error.to_string())?;
        let steps = script[text("who").unwrap_or(role)].as_array().cloned().unwrap_or_default();
        let layer = Layer::from_name(text("layer").unwrap_or("raw")).ok_or("layer=?")?;
        let id = if role == "server" { SERVER_ID } else { number("id", CLIENT_ID)? };
        let mut host = open(&settings)?;
        if role != "server" {
            let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            let channels = number("chans", 255)? as usize;
            let connect = Op::Connect { to, channels, data: id, connect_id: *b"bowl" };
            if host.apply(&connect) < 0 {
                return Err("cannot connect".into());
            }
        }
        Ok(Self {
            host,
            layer,
            id,
            steps,
            began: Instant::now(),
            max: Duration::from_millis(number("max", 8000)?.into()),
            ready_at: None,
            connected: Vec::new(),
            reliable_count: 0,
            disconnect_count: 0,
        })
    }

    fn run(&mut self) {
        self.emit(json!({"ev": "created", "err": 0}));
        loop {
            for event in self.host.poll() {
                self.on_event(event);
            }
            while let Some(step) = self.due_step() {
                if !self.is_over(&step) {
                    break;
                }
                self.steps.remove(0);
                self.ready_at = Some(Instant::now());
            }
            if self.ready_at.is_some() && self.steps.is_empty() {
                // What was done last is still to be sent.
                self.host.poll();
                return;
            }
            if self.began.elapsed() > self.max {
                self.emit(json!({"ev": "out of time", "left": self.steps.len()}));
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn emit(&self, mut line: Value) {
        line["t"] = json!(self.began.elapsed().as_millis() as u64);
        println!("@{line}");
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connect { peer, data } => {
                self.ready_at.get_or_insert_with(Instant::now);
                self.connected.push(peer);
                self.emit(json!({"ev": "connect", "id": peer, "data": data}));
            }
            Event::Disconnect { peer, data } => {
                self.connected.retain(|connected| *connected != peer);
                self.disconnect_count += 1;
                self.emit(json!({"ev": "disconnect", "id": peer, "data": data}));
            }
            Event::Receive { channel, flags, bytes, .. } => {
                let Some(message) = self.layer.unwrap(channel, flags, bytes) else {
                    return self.emit(json!({"ev": "not a message", "ch": channel}));
                };
                self.reliable_count += u64::from(message.bytes.first().is_some_and(|it| *it < 128));
                let mode = message.mode.map(|mode| mode as u32);
                let (n, sha) = (message.bytes.len(), sha(&message.bytes));
                self.emit(
                    json!({"ev": "packet", "ch": message.channel, "mode": mode, "n": n, "sha": sha}),
                );
            }
        }
    }

    /// The next step, if its time has come.
    fn due_step(&self) -> Option<Value> {
        let step = self.steps.first()?;
        let wait = Duration::from_millis(step["wait"].as_u64().unwrap_or(0));
        (self.ready_at?.elapsed() >= wait).then(|| step.clone())
    }

    /// Does the step, or looks whether what it waits for has happened.
    fn is_over(&mut self, step: &Value) -> bool {
        let number = |name: &str| step[name].as_u64().unwrap_or(0) as u32;
        match step["op"].as_str().unwrap_or_default() {
            "put" => self.put(step),
            "await" => return self.reliable_count >= number("reliable").into(),
            "lost" => return self.disconnect_count > 0,
            "timeout" => {
                let values = [number("limit"), number("min"), number("max")];
                self.for_each(|peer| Op::Timeout { peer, values });
            }
            "throttle" => {
                let values = [number("interval"), number("up"), number("down")];
                self.for_each(|peer| Op::ThrottleConfigure { peer, values });
            }
            "disc" => {
                let data = number("data");
                match step["how"].as_str() {
                    Some("now") => self.for_each(|peer| Op::DisconnectNow { peer, data }),
                    Some("later") => self.for_each(|peer| Op::DisconnectLater { peer, data }),
                    _ => self.for_each(|peer| Op::Disconnect { peer, data }),
                }
            }
            "close" => self.for_each(|peer| Op::DisconnectNow { peer, data: 0 }),
            "die" => std::process::abort(),
            "wait" => {}
            unknown => panic!("an unknown step: {unknown}"),
        }
        true
    }

    fn for_each(&mut self, op: impl Fn(usize) -> Op) {
        for peer in self.connected.clone() {
            self.host.apply(&op(peer));
        }
    }

    fn put(&mut self, step: &Value) {
        let number = |name: &str| step[name].as_u64().unwrap_or(0);
        let mode = Mode::from_number(number("mode")).expect("a mode");
        let stride = step["stride"].as_u64().unwrap_or(1) as usize;
        let bytes = content(number("len") as usize, number("seed") as u8, stride);
        let (channel, flags, bytes) = self.layer.wrap(self.id, number("ch") as u8, mode, bytes);
        for peer in self.connected.clone() {
            let bytes = bytes.clone();
            if self.host.apply(&Op::Send { peer, channel, flags, bytes }) < 0 {
                self.emit(json!({"ev": "refused"}));
            }
        }
        // As in Godot, a message goes out at once.
        self.host.apply(&Op::Flush);
    }
}
