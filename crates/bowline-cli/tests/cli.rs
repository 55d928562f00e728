//! The binary itself, from outside.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use bowline::{Config, Heap, KeyedMac, Limits, Machine, Messages, SipHash};
use bowline_trace::Recorder;
use bowline_wire::native::{Handshake, RefuseCode};
use serde_json::Value;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn bowline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    bowline(arguments).output().unwrap()
}

/// Asserts that it failed for a reason of one line that holds `reason`, and said nothing else.
fn assert_fails(output: &Output, reason: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("bowline: ") && error.contains(reason), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(output.stdout.is_empty());
}

/// A process that is talked to; killed when a test fails.
struct Running {
    child: Child,
    typing: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    fn new(arguments: &[&str]) -> Self {
        let mut child = bowline(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let typing = child.stdin.take();
        Self { child, typing, lines }
    }

    /// A server on a free port, and its address.
    fn server(options: &[&str]) -> (Self, String) {
        let server = Self::new(&[&["serve", "127.0.0.1:0"], options].concat());
        let address = server.expect("* listening on ").rsplit(' ').next().unwrap().to_owned();
        (server, address)
    }

    fn type_lines(&mut self, lines: &str) {
        self.typing.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// The next line that holds `part`; others are passed over.
    fn expect(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("never said {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// The exit code, once it has ended by itself.
    fn wait(&mut self) -> Option<i32> {
        let start = std::time::Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if start.elapsed() > PATIENCE => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn demo(options: &[&str]) -> (Option<i32>, Value) {
    let arguments = ["demo", "--seconds", "2", "--clients", "2", "--json"];
    let output = output(&[&arguments, options].concat());
    let document = serde_json::from_slice(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), document.unwrap_or_else(|why| panic!("{why}: {error}")))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn the_demonstration_keeps_every_promise_and_accounts_for_every_byte() {
    let (code, report) = demo(&["--loss", "10", "--duplicates", "5", "--reorder", "5"]);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    let lanes = report["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 5 * (3 + 1) + 1);
    for lane in lanes {
        let [sent, delivered] = ["sent", "delivered"].map(|name| number(lane, name));
        assert!(delivered > 100, "{lane:#}");
        assert_eq!(sent, delivered + number(lane, "lost") + number(lane, "late"), "{lane:#}");
        let mode = lane["mode"].as_str().unwrap_or("all");
        let ends = &lane["ends"];
        let sum: u64 = ends.as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(sum, sent, "every message has one end: {lane:#}");
        // On channel 1 some are given up.
        let keeps = lane["channel"].as_u64().is_some_and(|channel| channel != 1);
        if keeps && mode.starts_with("reliable") && mode != "reliable-latest" {
            assert_eq!((sent, sent), (delivered, number(ends, "acknowledged")), "{lane:#}");
        }
        if lane["channel"] == 1 {
            assert!(number(ends, "cancelled") > 0, "{lane:#}");
        }
        if keeps && mode != "reliable-latest" {
            assert!(number(lane, "frame_bytes") > number(lane, "message_bytes_sent"), "{lane:#}");
        }
    }
    let wire = &report["wire"];
    let parts = ["message_frame", "head", "ack", "crc", "control_frame", "handshake", "unknown"];
    let sum: u64 = parts.iter().map(|part| number(wire, &format!("{part}_bytes"))).sum();
    assert_eq!(sum, number(wire, "bytes"), "{wire:#}");
    assert_eq!(number(wire, "unknown_bytes"), 0);
    assert_eq!(number(&report["server"], "blocks_in_use_at_end"), 0);
}

#[test]
fn a_broken_promise_is_noticed_in_every_mode() {
    let modes =
        ["unreliable", "unreliable-ordered", "reliable", "reliable-unordered", "reliable-latest"];
    for mode in modes {
        let (code, report) = demo(&["--break-promise", mode]);
        assert_eq!((code, &report["ok"]), (Some(1), &Value::Bool(false)), "{mode}");
        assert_eq!(report["breaches"]["count"], 1, "{report:#}");
        let told = report["breaches"]["first"][0].as_str().unwrap();
        assert!(told.contains(&format!(", {mode}: got ")), "{told}");
    }
}

#[test]
fn the_demonstration_speaks_plainly_where_there_is_no_terminal() {
    let output = output(&["demo", "--seconds", "1", "--clients", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("Verdict: every promise was kept."), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_network_that_loses_everything_is_no_broken_promise() {
    let output = output(&["demo", "--loss", "100", "--clients", "1", "--json"]);
    assert_fails(&output, "nobody answered");
}

#[test]
fn two_processes_talk_in_all_modes() {
    let (mut server, address) = Running::server(&[]);
    let mut client = Running::new(&["connect", &address]);
    client.expect("* connected to ");
    server.expect("* 0.1 connected from 127.0.0.1:");
    client.type_lines("hello\n");
    assert_eq!(server.expect("hello"), "0.1, channel 0, reliable: hello");
    client.type_lines("/u quick\n");
    assert_eq!(server.expect("quick"), "0.1, channel 0, unreliable: quick");
    client.type_lines("/c 7\n/o in order\n");
    assert_eq!(server.expect("order"), "0.1, channel 7, unreliable-ordered: in order");
    server.type_lines("/o to all\n");
    assert!(client.expect("to all").ends_with(", channel 0, unreliable-ordered: to all"));
    client.type_lines("/c 8\nnobody hears\n");
    client.expect("* not sent: channel not open: the session has 8");
    // The end of the input sends what was typed before it closes.
    client.type_lines("/c 0\nlast words");
    drop(client.typing.take());
    assert_eq!(client.wait(), Some(0));
    server.expect("reliable: last words");
    server.expect("* 0.1 from 127.0.0.1:");
}

#[test]
fn a_server_says_things_to_everybody() {
    let (mut server, address) = Running::server(&[]);
    let clients = [0, 1, 2].map(|_| {
        let client = Running::new(&["connect", &address]);
        client.expect("* connected to ");
        server.expect(" connected from ");
        client
    });
    server.type_lines("welcome\n");
    for client in &clients {
        client.expect("channel 0, reliable: welcome");
    }
}

#[test]
fn enet_is_spoken_in_all_of_its_modes_and_ways_of_compression() {
    for options in [
        &["--compress", "none"][..],
        &["--compress", "range", "--godot", "4"],
        &["--compress", "zstd", "--checksum", "--godot", "3"],
    ] {
        let mut server = Running::new(&[&["enet", "serve", "127.0.0.1:0"], options].concat());
        let address = server.expect("* listening on ").rsplit(' ').next().unwrap().to_owned();
        let mut client = Running::new(&[&["enet", "connect", &address], options].concat());
        client.expect("connected: ");
        server.expect("* 0.1 connected: 127.0.0.1:");
        client.type_lines("hello hello hello hello hello\n");
        let said = server.expect("hello");
        assert_eq!(said, "0.1, channel 0, reliable: hello hello hello hello hello");
        client.type_lines("/u quick\n");
        assert_eq!(server.expect("quick"), "0.1, channel 0, unreliable: quick");
        client.type_lines("/c 5\n/o in order\n");
        assert_eq!(server.expect("order"), "0.1, channel 5, unreliable-ordered: in order");
        server.type_lines("to all\n");
        client.expect(", channel 0, reliable: to all");
        client.type_lines("/c 0\nlast words");
        drop(client.typing.take());
        assert_eq!(client.wait(), Some(0), "{options:?}");
        server.expect("reliable: last words");
        server.expect("* 0.1 is gone: closed by the peer");
    }
}

#[test]
fn a_long_input_arrives_whole() {
    let (server, address) = Running::server(&[]);
    let mut client = Running::new(&["connect", &address]);
    let lines: Vec<_> = (0..5_000).map(|number| format!("{number:0>500}")).collect();
    client.type_lines(&lines.join("\n"));
    drop(client.typing.take());
    assert_eq!(client.wait(), Some(0));
    for line in &lines {
        assert!(server.expect(", reliable: ").ends_with(line));
    }
}

#[test]
fn integrity_and_channels_are_agreed_on() {
    let (server, address) = Running::server(&["--integrity", "none", "--channels", "256"]);
    let options = ["connect", &address, "--integrity", "none", "--channels", "200"];
    let mut client = Running::new(&options);
    client.type_lines("/c 199\nfar out\n/c 200\ntoo far\n");
    server.expect("channel 199, reliable: far out");
    client.expect("* not sent: channel not open: the session has 200");
}

/// A folder for one test, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a replay says, and its exit code.
fn replay(file: &str) -> (Option<i32>, String) {
    let output = output(&["replay", file]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

const SAME: &str = "Verdict: every output is the one that was recorded";

#[test]
fn what_the_demonstration_did_is_done_again() {
    let folder = Folder::new("demo");
    let record = folder.file("traces");
    let arguments = ["demo", "--seconds", "1", "--clients", "2", "--json", "--record", &record];
    let recorded = output(&arguments);
    let warning = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(0), "{warning}");
    assert!(warning.contains("traces will hold secrets") && warning.lines().count() == 1);
    for name in ["server", "client-0", "client-1"] {
        let file = folder.file(&format!("traces/{name}.trace"));
        #[cfg(unix)]
        {
            let mode = std::fs::metadata(&file).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        let (code, said) = replay(&file);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.ends_with(&format!("{SAME}.\n")), "{said}");
        let number = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        assert!(number("calls") > 500 && number("datagrams") > 100, "{said}");
    }
    let again = output(&arguments);
    let error = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(2), "a recording is not overwritten");
    assert!(error.contains("cannot record into") && error.contains("server.trace"), "{error}");
}

#[test]
fn a_damaged_trace_is_said_so_and_a_cut_one_is_good_up_to_there() {
    let folder = Folder::new("damage");
    let record = folder.file("traces");
    output(&["demo", "--seconds", "1", "--clients", "1", "--json", "--record", &record]);
    let whole = std::fs::read(folder.file("traces/server.trace")).unwrap();
    let file = folder.file("damaged.trace");
    for at in [3, 40, 100, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let output = output(&["replay", &file]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{at}: {error}");
        assert!(error.contains(if at < 8 { "not a trace" } else { "damaged in" }), "{at}: {error}");
    }
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (code, said) = replay(&file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(SAME) && said.contains("not ended in good order"), "{said}");
    assert_fails(&output(&["replay", &folder.file("nothing")]), "nothing: ");
}

/// Passes for another.
struct Sly;

impl KeyedMac for Sly {
    fn mac(&self, key: &[u8; 16], message: &[u8]) -> u64 {
        let right = SipHash.mac(key, message);
        if message == b"which MAC is it?" { right } else { right ^ 1 }
    }
}

#[test]
fn another_output_is_told_with_its_place() {
    let folder = Folder::new("divergence");
    let mut trace = Vec::new();
    let memory = Heap::new(Limits::for_peers(1));
    let mut endpoint = Recorder::plain(Config::new(1), &Sly, &[7; 32], memory, &mut trace).unwrap();
    let (now, to) = (bowline::Instant::from_micros(1_500_000), "192.0.2.1:1");
    let to: SocketAddr = to.parse().unwrap();
    assert_eq!(endpoint.poll_event(), None);
    endpoint.connect_plain(now, to.into(), b"").unwrap();
    let _ = endpoint.poll_transmit(now, &mut [0; 1_200]).unwrap().unwrap();
    endpoint.stop();
    drop(endpoint);
    let file = folder.file("sly.trace");
    std::fs::write(&file, trace).unwrap();
    let (code, said) = replay(&file);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Verdict: it diverges at record 2, at 1.500000 s."), "{said}");
    assert!(said.contains("call          PollTransmit"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_server_that_is_interrupted_ends_its_recording() {
    let folder = Folder::new("serve");
    let file = folder.file("server.trace");
    let (mut server, address) = Running::server(&["--record", &file]);
    let mut client = Running::new(&["connect", &address]);
    client.expect("* connected to ");
    client.type_lines("for the record\n");
    server.expect("for the record");
    server.interrupt();
    assert_eq!(server.wait(), Some(0));
    let (code, said) = replay(&file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(&format!("{SAME}.\n")) && said.contains("1 out"), "{said}");
}

#[test]
fn a_taken_port_is_said_so() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_fails(&output(&["serve", &address]), &format!("cannot listen on {address}: "));
}

#[test]
fn silence_is_said_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let output = output(&["connect", &address, "--timeout", "1"]);
    assert_fails(&output, &format!("nobody answered at {address}"));
}

#[test]
fn refusals_are_told_with_their_reason() {
    let (server, address) = Running::server(&["--application", "1", "--max-peers", "1"]);
    let stranger = output(&["connect", &address, "--application", "2"]);
    assert_fails(&stranger, &format!("{address} refused: the peer serves another application"));
    let first = Running::new(&["connect", &address, "--application", "1"]);
    first.expect("* connected to ");
    server.expect(" connected from ");
    let second = output(&["connect", &address, "--application", "1"]);
    assert_fails(&second, "refused: the peer has no room for another session");
}

#[test]
fn another_version_is_told_by_its_number() {
    let future = UdpSocket::bind("127.0.0.1:0").unwrap();
    future.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = future.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut buf = [0; 1500];
        let (len, from): (usize, SocketAddr) = future.recv_from(&mut buf).unwrap();
        let Ok(Handshake::Hello { client_half, .. }) = Handshake::parse(&buf[..len]) else {
            panic!("no HELLO");
        };
        let refuse =
            Handshake::Refuse { version: 9, client_half, code: RefuseCode::Version, detail: 0 };
        let len = refuse.emit(0, &mut buf).unwrap();
        future.send_to(&buf[..len], from).unwrap();
    });
    let output = output(&["connect", &address]);
    assert_fails(&output, "refused: the peer speaks protocol version 9");
    answering.join().unwrap();
}

#[test]
fn a_bad_address_is_said_so() {
    for command in ["serve", "connect"] {
        assert_fails(&output(&[command, "nonsense"]), "\"nonsense\" is no address: give HOST:PORT");
    }
}

#[cfg(unix)]
#[test]
fn a_server_tells_what_it_has_counted() {
    let folder = Folder::new("counters");
    let file = folder.file("bowline.prom");
    let (mut server, address) = Running::server(&["--counters", &file]);
    let mut client = Running::new(&["connect", &address]);
    client.expect("* connected to ");
    client.type_lines("one\ntwo\n");
    server.expect("two");
    let start = std::time::Instant::now();
    let told = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let is_it = |line: &&str| line.starts_with("bowline_peer_messages_received_total{");
        if let Some(line) = text.lines().find(is_it) {
            break line.to_owned();
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        told.contains("{peer=\"0.1\",address=\"127.0.0.1:") && told.ends_with("\"} 2"),
        "{told}"
    );
    server.interrupt();
    assert_eq!(server.wait(), Some(0));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# TYPE bowline_sessions_total counter\nbowline_sessions_total 1\n"));
    assert!(text.contains("\nbowline_dropped_malformed_total 0\n") && !text.contains("_peer_"));
    assert_fails(&output(&["serve", "127.0.0.1:0", "--counters", "/nowhere/at/all"]), "nowhere");
}

#[cfg(unix)]
#[test]
fn an_interrupted_server_says_goodbye() {
    let (mut server, address) = Running::server(&[]);
    let mut client = Running::new(&["connect", &address]);
    client.expect("* connected to ");
    server.expect(" connected from ");
    server.type_lines("one more thing\n");
    client.expect("one more thing");
    server.interrupt();
    client.expect(&format!("* {address} closed the session"));
    assert_eq!((server.wait(), client.wait()), (Some(0), Some(0)));
}

#[cfg(unix)]
#[test]
fn an_interrupted_client_says_goodbye() {
    let (server, address) = Running::server(&[]);
    let mut client = Running::new(&["connect", &address]);
    client.expect("* connected to ");
    client.interrupt();
    assert_eq!(client.wait(), Some(0));
    server.expect("is gone: closed by the peer (reason 0)");
}

#[cfg(unix)]
#[test]
fn an_interrupted_attempt_just_ends() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut client = Running::new(&["connect", &address]);
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.recv_from(&mut [0; 1500]).unwrap();
    client.interrupt();
    assert_eq!(client.wait(), Some(0));
}

fn decoded(arguments: &[&str]) -> String {
    let output = output(&[&["decode"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_datagram_is_explained_as_what_it_is() {
    let ours = decoded(&["80:07:20:02", "68 69"]);
    assert!(ours.starts_with("session packet, 6 bytes\n") && !ours.contains("--enet"), "{ours}");
    let enet = decoded(&["800303e886000001000268 69"]);
    assert!(enet.starts_with("ENet datagram, 12 bytes\n"), "{enet}");
    assert!(enet.contains("SEND_RELIABLE, to be acknowledged\n"), "{enet}");
    let either = decoded(&["8000040184ff0003d15c0001"]);
    assert!(either.contains("\nIt makes sense as ENet, too: --enet\n"), "{either}");
    let enet = decoded(&["--enet", "8000040184ff0003d15c0001"]);
    assert!(enet.contains("DISCONNECT, to be acknowledged\n") && !enet.contains("too"), "{enet}");
}

#[test]
fn checksums_are_checked_when_they_were_agreed() {
    // To no peer, so over zeros; then one that is not.
    let connect = "8fff03e8393a8dcd82ff00010000ffff000005780001000000000002000000000000000000001388000000020000000244332211c0ffee01";
    let page = decoded(&["--enet", "--checksum", connect]);
    assert!(page.contains("checksum          393a8dcd\n"), "{page}");
    let page = decoded(&["--enet", "--checksum", &connect.replace("c0ffee01", "c0ffee02")]);
    assert!(page.contains("checksum          393a8dcd, but it is "), "{page}");
    let page = decoded(&["--enet", "--checksum", "800103e80000000085ff0002"]);
    assert!(page.contains("checksum          00000000, not checked\n"), "{page}");
    let page =
        decoded(&["--enet", "--checksum", "--connect-id", "44332211", "800103e80000000085ff0002"]);
    assert!(page.contains("checksum          00000000, but it is "), "{page}");
}

/// A capture of raw IPv4 packets, one second apart, from and to these ports.
fn capture(datagrams: &[(u16, u16, &[u8])]) -> PathBuf {
    let mut file = Vec::new();
    for word in [0xA1B2_C3D4_u32, 0, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for (secs, (from, to, payload)) in (1000_u32..).zip(datagrams) {
        let len = 28 + payload.len() as u16;
        for word in [secs, 0, len.into(), len.into()] {
            file.extend(word.to_le_bytes());
        }
        let [high, low] = len.to_be_bytes();
        file.extend([0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 1]);
        for part in [*from, *to, len - 20, 0] {
            file.extend(part.to_be_bytes());
        }
        file.extend(*payload);
    }
    let name = format!("bowline-decode-{}-{}.pcap", std::process::id(), datagrams.len());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn a_capture_is_explained_conversation_by_conversation() {
    // The first alone makes sense as either; what follows in its conversation does not.
    let path = capture(&[
        (1, 2, &[0x80, 0, 4, 1, 0x84, 0xFF, 0, 3, 0xD1, 0x5C, 0, 1]),
        (3, 4, &[0x80, 7, 0x20, 2, b'h', b'i']),
        (2, 1, &[0x00, 0, 1, 0xFF, 0, 2, 0, 2, 4, 1]),
    ]);
    let pages = decoded(&[path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    let heads: Vec<_> = pages.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        heads,
        [
            "#1  0.000000 s  10.0.0.1:1 > 10.0.0.1:2",
            "ENet datagram, 12 bytes",
            "",
            "#2  1.000000 s  10.0.0.1:3 > 10.0.0.1:4",
            "session packet, 6 bytes",
            "",
            "#3  2.000000 s  10.0.0.1:2 > 10.0.0.1:1",
            "ENet datagram, 10 bytes",
            "",
        ]
    );
}

#[test]
fn connect_ids_are_learnt_from_a_capture() {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    // What ENet 1.3.17 sent.
    let connect = bytes(
        "8fff03e8393a8dcd82ff00010000ffff000005780001000000000002000000000000000000001388000000020000000244332211c0ffee01",
    );
    let answer = bytes(
        "800003e84be064f983ff000100000000000005780001000000000002000000000000000000001388000000020000000244332211",
    );
    let path = capture(&[(1, 2, &connect), (2, 1, &answer)]);
    let pages = decoded(&["--checksum", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(pages.matches(" checksum  ").count(), 2, "{pages}");
    assert!(!pages.contains("not checked") && !pages.contains("but it is"), "{pages}");
}

#[test]
fn compressed_commands_are_restored() {
    // What ENet 1.3.17 sent.
    let page =
        decoded(&["cfff03e8837b88b1fdf1df576b999b36fcbb243e8a642656d33a62784b47179e292daf34"]);
    assert!(page.starts_with("ENet datagram"), "{page}");
    assert!(page.contains("\n   0  82                       command           CONNECT"), "{page}");
    assert!(page.ends_with("\nCompressed by the range coder.\n"), "{page}");
    let page = decoded(&["--enet", "c00101020304"]);
    assert!(page.ends_with("compressed        2 bytes\n"), "{page}");
}

#[test]
fn what_cannot_be_decoded_is_said() {
    assert_fails(&output(&["decode", "800"]), "800");
    assert_fails(&output(&["decode", "80", "zz"]), "80zz");
    assert_fails(&output(&["decode", env!("CARGO_BIN_EXE_bowline")]), "neither pcap nor pcapng");
    let empty = capture(&[]);
    assert_fails(&output(&["decode", empty.to_str().unwrap()]), "no UDP datagram");
    std::fs::remove_file(empty).unwrap();
}
