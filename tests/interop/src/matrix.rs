//! Real programs, two by two: who there is, how they are started, and what is run between them.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::relay::Relay;
use crate::scenario::{Goodbye, Kind, Scenario, Seen};

/// Thousandths of the datagrams that a lossy network loses.
const LOSS: u32 = 50;
/// How long a program may take to start, and to end after its own deadline.
const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(5);

/// A program that speaks ENet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// `peer library=bowline`.
    Bowline,
    /// `peer library=c`, on the library's own socket.
    C,
    /// Debian's `godot3-server`.
    Godot32,
    /// What `get-godot.sh` unpacked.
    Godot36,
    /// Likewise.
    Godot4,
}

impl Program {
    /// Those that we must get along with.
    pub const OTHERS: [Self; 4] = [Self::C, Self::Godot32, Self::Godot36, Self::Godot4];

    /// As it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bowline => "bowline",
            Self::C => "C",
            Self::Godot32 => "Godot 3.2",
            Self::Godot36 => "Godot 3.6",
            Self::Godot4 => "Godot 4",
        }
    }

    /// What the other side must put around its messages.
    fn layer(self) -> &'static str {
        match self {
            Self::Bowline | Self::C => "raw",
            Self::Godot32 | Self::Godot36 => "g3",
            Self::Godot4 => "g4",
        }
    }

    fn is_godot(self) -> bool {
        !matches!(self, Self::Bowline | Self::C)
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The package's folder.
    pub package: PathBuf,
    /// The scripted peer.
    pub peer: PathBuf,
    /// What `get-godot.sh` was given.
    pub godot: PathBuf,
    /// For scripts of this run.
    pub scratch: PathBuf,
}

impl Places {
    /// The version of `program`.
    ///
    /// # Errors
    ///
    /// Why it cannot be run here.
    pub fn version(&self, program: Program) -> Result<String, String> {
        match program {
            Program::Bowline => {
                let settings = crate::live::Settings {
                    library: "bowline".into(),
                    port: 0,
                    peers: 1,
                    compression: 0,
                    checksum: false,
                };
                crate::live::open(&settings).map(|_| "of this tree".into())
            }
            #[cfg(c_enet)]
            Program::C => Ok(crate::c_enet::linked_version()),
            #[cfg(not(c_enet))]
            Program::C => Err(crate::NO_C_ENET.into()),
            _ => {
                let mut command = self.godot(program);
                let output =
                    command.arg("--version").output().map_err(|error| error.to_string())?;
                let text = String::from_utf8_lossy(&output.stdout);
                let text = text.lines().next().unwrap_or_default().trim().to_owned();
                let (wanted, from) = match program {
                    Program::Godot32 => ("3.2.", "Debian 12: apt-get install godot3-server"),
                    Program::Godot36 => ("3.", "godot/get-godot.sh"),
                    _ => ("4.", "godot/get-godot.sh"),
                };
                // Godot 3.2 tells its version and then fails.
                let is_there = text.starts_with(wanted);
                is_there.then_some(text).ok_or_else(|| format!("not there ({from})"))
            }
        }
    }

    /// The engine, before any argument.
    fn godot(&self, program: Program) -> Command {
        let mut command = Command::new("sh");
        command.arg(self.package.join("godot/godot.sh")).arg(match program {
            Program::Godot32 => "3",
            Program::Godot36 => "36",
            _ => "4",
        });
        command.env("BOWLINE_GODOT", &self.godot).env("LANG", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// `program` in its role, facing `other`.
    fn command(&self, program: Program, other: Program) -> Command {
        if program.is_godot() {
            let folder = if program == Program::Godot4 { "g4" } else { "g3" };
            let mut command = self.godot(program);
            command.arg("--path").arg(self.package.join("godot").join(folder));
            command.args(["-s", "main.gd"]);
            if program == Program::Godot4 {
                command.arg("--");
            }
            return command;
        }
        let library = if program == Program::C { "library=c" } else { "library=bowline" };
        let mut command = Command::new(&self.peer);
        command.args([library, &format!("layer={}", other.layer())]).stdin(Stdio::null());
        command
    }
}

/// One thing to try.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What is tested.
    pub ours: Program,
    /// What it is tested against.
    pub theirs: Program,
    /// Whether ours is the server.
    pub ours_serves: bool,
    /// Whether datagrams are lost on the way.
    pub is_lossy: bool,
    /// What happens.
    pub kind: Kind,
}

impl core::fmt::Display for Cell {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let role = if self.ours_serves { "server" } else { "client" };
        let network = if self.is_lossy { "5 % loss" } else { "direct" };
        write!(
            f,
            "{} as {role} with {}, {network}: {}",
            self.ours.name(),
            self.theirs.name(),
            self.kind
        )
    }
}

/// Everything there is to try between `ours` and the others; a short selection, or all of it.
pub fn cells(ours: Program, is_short: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for theirs in Program::OTHERS {
        for ours_serves in [true, false] {
            for kind in kinds(ours, theirs, ours_serves) {
                let is_quick = match kind {
                    Kind::Messages | Kind::OursLeaves(Goodbye::Normal) => true,
                    Kind::Compressed(1) | Kind::TheirsDies => theirs == Program::Godot4,
                    _ => theirs == Program::C && !matches!(kind, Kind::OursDies),
                };
                if is_quick || !is_short {
                    cells.push(Cell { ours, theirs, ours_serves, is_lossy: false, kind });
                }
                let tries_loss = matches!(
                    kind,
                    Kind::Messages
                        | Kind::Large
                        | Kind::Compressed(1)
                        | Kind::OursLeaves(Goodbye::Later)
                );
                if tries_loss && (kind == Kind::Messages || !is_short) {
                    cells.push(Cell { ours, theirs, ours_serves, is_lossy: true, kind });
                }
            }
        }
    }
    cells
}

/// What can be tried between the two.
fn kinds(ours: Program, theirs: Program, ours_serves: bool) -> Vec<Kind> {
    let mut kinds = vec![Kind::Messages, Kind::Large, Kind::Compressed(1)];
    if theirs.is_godot() && ours == Program::Bowline {
        kinds.extend([2, 3, 4].map(Kind::Compressed));
    }
    if !theirs.is_godot() {
        kinds.push(Kind::Checksum);
    }
    kinds.extend([Goodbye::Normal, Goodbye::Now, Goodbye::Later].map(Kind::OursLeaves));
    kinds.extend(match (theirs, ours_serves) {
        // A client of Godot 3 can only close, and a server only these two.
        (Program::Godot32 | Program::Godot36, true) => vec![Kind::TheirsLeaves(Goodbye::Close)],
        (Program::Godot32 | Program::Godot36, false) => {
            [Goodbye::Now, Goodbye::Later].map(Kind::TheirsLeaves).to_vec()
        }
        _ => [Goodbye::Normal, Goodbye::Now, Goodbye::Later, Goodbye::Close]
            .map(Kind::TheirsLeaves)
            .to_vec(),
    });
    kinds.extend([Kind::OursDies, Kind::TheirsDies, Kind::Full]);
    if theirs.is_godot() && !ours_serves {
        kinds.push(Kind::Refused);
    }
    kinds
}

impl Cell {
    /// How long the programs have.
    fn deadline(&self) -> Duration {
        Duration::from_secs(match self.kind {
            // Godot 3.2 cannot be told to be less patient.
            Kind::OursDies => 35,
            Kind::Refused => 6,
            _ if self.is_lossy => 60,
            Kind::Large => 40,
            _ => 20,
        })
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What went wrong, and what the programs said.
    pub fn run(&self, places: &Places, number: usize) -> Result<(), String> {
        let scenario = Scenario::new(self.kind, self.ours_serves);
        let script = places.scratch.join(format!("scenario-{number}.json"));
        let (server, client) = if self.ours_serves {
            (&scenario.ours, &scenario.theirs)
        } else {
            (&scenario.theirs, &scenario.ours)
        };
        let text = json!({"server": server, "client": client, "second": scenario.second});
        std::fs::write(&script, text.to_string()).map_err(|error| error.to_string())?;

        let port = free_port()?;
        let loss = if self.is_lossy { LOSS } else { 0 };
        let needs_relay = self.is_lossy || matches!(self.kind, Kind::Compressed(_));
        let relay = needs_relay.then(|| Relay::start(port, loss, self.seed()));
        let relay = relay.transpose().map_err(|error| error.to_string())?;
        let towards = relay.as_ref().map_or(port, Relay::port);
        let (server, client) =
            if self.ours_serves { (self.ours, self.theirs) } else { (self.theirs, self.ours) };
        let start = |program, other, role: &str, who: &str, port| {
            let mut command = places.command(program, other);
            command.args(self.options(role, who, port)).arg(format!("scen={}", script.display()));
            Process::start(command)
        };
        let server = start(server, client, "server", "server", port)?;
        server.wait_for("created", START_MAX)?;
        let mut clients = vec![start(client, self.other(client), "client", "client", towards)?];
        if self.kind == Kind::Full {
            server.wait_for("connect", START_MAX)?;
            clients.push(start(client, self.other(client), "client", "second", towards)?);
        }
        let deadline = Instant::now() + START_MAX + self.deadline() + END_MAX;
        let clients: Vec<_> = clients.into_iter().map(|client| client.finish(deadline)).collect();
        let server = server.finish(deadline);
        let (ours, theirs) =
            if self.ours_serves { (&server, &clients[0]) } else { (&clients[0], &server) };
        let seen = Seen {
            ours: &ours.lines,
            theirs: &theirs.lines,
            second: clients.get(1).map_or(&[], |second| &second.lines),
            is_lossy: self.is_lossy,
            tells_data: matches!(self.theirs, Program::C | Program::Bowline | Program::Godot4),
            // When its only connection ends, Godot throws away what the script has not taken yet.
            drops_unread: self.theirs.is_godot() && self.ours_serves,
            compressed: relay.as_ref().map_or([0; 2], Relay::compressed_counts),
        };
        // The second client is whichever program is the client.
        let mut checked = scenario.check(self.kind, &seen);
        if let (Ok(()), true, Some(relay)) = (&checked, self.is_lossy, &relay) {
            let (forwarded, lost) = relay.counts();
            if lost == 0 && forwarded > 100 {
                checked = Err("nothing was lost where it should have been".into());
            }
        }
        checked.map_err(|why| {
            let told = |name: &str, told: &Finished| format!("--- {name}\n{}", told.tail());
            let second = clients.get(1).map_or(String::new(), |second| told("second", second));
            format!("{why}\n{}{}{second}", told("ours", ours), told("theirs", theirs))
        })
    }

    /// What the network loses is the same whoever is ours, and whatever else is run.
    fn seed(&self) -> u64 {
        let name = format!("{} {} {}", self.theirs.name(), self.ours_serves, self.kind);
        // FNV-1a.
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    fn other(&self, program: Program) -> Program {
        if program == self.ours { self.theirs } else { self.ours }
    }

    fn options(&self, role: &str, who: &str, port: u16) -> Vec<String> {
        let peers = if self.kind == Kind::Full && role == "server" { 1 } else { 4 };
        let compression = if let Kind::Compressed(number) = self.kind { number } else { 0 };
        let mut options = vec![
            format!("role={role}"),
            format!("who={who}"),
            format!("port={port}"),
            format!("peers={peers}"),
            format!("comp={compression}"),
            format!("max={}", self.deadline().as_millis()),
        ];
        if self.kind == Kind::Checksum {
            options.push("crc=1".into());
        }
        if self.kind == Kind::Refused && role == "server" {
            options.push("refuse=1".into());
        }
        if who == "second" {
            options.push("id=88008800".into());
        }
        options
    }
}

fn free_port() -> Result<u16, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(|error| error.to_string())
}

/// A running program and what it has printed so far.
struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    other_text: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a program that has ended had printed.
struct Finished {
    lines: Vec<Value>,
    other_text: String,
}

impl Process {
    fn start(mut command: Command) -> Result<Self, String> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let other_text = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            let (lines, other_text) = (lines.clone(), other_text.clone());
            readers.push(std::thread::spawn(move || read_lines(out, &lines, &other_text)));
        }
        if let Some(err) = child.stderr.take() {
            let (lines, other_text) = (lines.clone(), other_text.clone());
            readers.push(std::thread::spawn(move || read_lines(err, &lines, &other_text)));
        }
        Ok(Self { child, lines, other_text, readers })
    }

    /// Waits until the program has told of `event`.
    fn wait_for(&self, event: &str, max: Duration) -> Result<(), String> {
        let deadline = Instant::now() + max;
        while Instant::now() < deadline {
            let lines = self.lines.lock().expect("readers do not panic");
            if lines.iter().any(|line| line["ev"] == event) {
                return Ok(());
            }
            drop(lines);
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = self.other_text.lock().expect("readers do not panic");
        Err(format!("never came to `{event}`; it said\n{said}"))
    }

    /// Waits for its end, but not for ever.
    fn finish(mut self, deadline: Instant) -> Finished {
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // If it has ended there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let take =
            |text: &Mutex<String>| std::mem::take(&mut *text.lock().expect("readers do not panic"));
        let lines = std::mem::take(&mut *self.lines.lock().expect("readers do not panic"));
        Finished { lines, other_text: take(&self.other_text) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The end of what it said.
    fn tail(&self) -> String {
        let lines = self.lines.iter().rev().take(12).rev();
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let other: Vec<_> = self.other_text.lines().collect();
        text + &other[other.len().saturating_sub(8)..].join("\n") + "\n"
    }
}

fn read_lines(from: impl Read, lines: &Mutex<Vec<Value>>, other_text: &Mutex<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        match line.strip_prefix('@').map(serde_json::from_str) {
            Some(Ok(value)) => lines.lock().expect("readers do not panic").push(value),
            _ => *other_text.lock().expect("readers do not panic") += &(line + "\n"),
        }
    }
}

/// The folder of this package, from the environment of `cargo run` or where it was compiled.
pub fn package_folder() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    here.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).into())
}
