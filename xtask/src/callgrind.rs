//! Instructions on the hot path and bytes per session, counted, and written into
//! `benches/HOTPATH.md`.

use core::fmt::Write;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::{cargo, output, target_folder};
use crate::top;

/// The functions that a heap allocation ends in.
const ALLOCATORS: [&str; 6] =
    ["malloc", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc"];

/// How much more a busy peer may cost among ten thousand than among a hundred.
const SPREAD_MAX: f64 = 0.05;

/// Messages of a busy peer in a tick of W5, both ways.
const MESSAGES_PER_TICK: f64 = 3.0;

/// Counts the workload that the command line names, or all of them.
pub(crate) fn run(report: &mut Report) {
    let wanted = std::env::args().nth(2);
    let mut built = Outcome::Passed;
    report.step("build benches", || {
        built = build();
        built.clone()
    });
    if built != Outcome::Passed {
        return;
    }
    report.step("callgrind", || count(wanted.as_deref()));
}

/// Builds what is counted.
pub(crate) fn build() -> Outcome {
    run_command(cargo("build").args(["--profile", "callgrind", "-p", "bowline-benches"]))
}

fn program(name: &str) -> PathBuf {
    target_folder(&top()).join("callgrind").join(name)
}

fn count(wanted: Option<&str>) -> Outcome {
    if !can_run("valgrind") {
        return Outcome::Skipped("valgrind is not here".into());
    }
    let list = output(&program("hotpath").to_string_lossy(), &[]).unwrap_or_default();
    let all: Vec<Workload> = list.lines().filter_map(Workload::parse).collect();
    let mut counts = HashMap::new();
    for workload in all.iter().filter(|workload| is_wanted(workload, wanted, &all)) {
        println!("{}", workload.title);
        match measure(&workload.name) {
            Ok(count) => counts.insert(workload.name.clone(), count),
            Err(why) => return Outcome::Failed(format!("{}: {why}", workload.name)),
        };
    }
    if counts.is_empty() {
        return Outcome::Failed(format!("there is no workload {}", wanted.unwrap_or_default()));
    }
    let (crowds, others) = all.iter().cloned().partition::<Vec<_>, _>(|one| one.crowd().is_some());
    let table = table(&others, &counts);
    println!("\n{table}");
    let (mut many, mut spread) = (String::new(), 0.0);
    if crowds.iter().any(|one| counts.contains_key(&one.name)) {
        let bytes = output(&program("memory").to_string_lossy(), &["crowds"]).unwrap_or_default();
        (many, spread) = crowd_table(&crowds, &counts, &bytes);
        println!("\n{many}");
    }
    if wanted.is_none() {
        let Some(memory) = output(&program("memory").to_string_lossy(), &[]) else {
            return Outcome::Failed("the memory that sessions take could not be told".into());
        };
        println!("\n{memory}");
        if let Err(error) =
            std::fs::write(top().join("benches/HOTPATH.md"), page(&table, &many, &memory))
        {
            return Outcome::Failed(format!("benches/HOTPATH.md: {error}"));
        }
    }
    match all.iter().find(|one| counts.get(&one.name).is_some_and(|c| c.allocations > 0)) {
        Some(one) => Outcome::Failed(format!("{}: something was allocated", one.name)),
        None if spread > SPREAD_MAX => {
            Outcome::Failed("what a busy peer costs grows with those who are silent".into())
        }
        None => Outcome::Passed,
    }
}

/// Whether `workload` is asked for, by its name or because it is the floor of one that is.
fn is_wanted(workload: &Workload, wanted: Option<&str>, all: &[Workload]) -> bool {
    let Some(wanted) = wanted else { return true };
    workload.name == wanted
        || all.iter().any(|other| other.name == wanted && other.floor == workload.name)
}

/// A line of what the benchmark lists.
#[derive(Clone, Debug, PartialEq)]
struct Workload {
    name: String,
    per: String,
    target: f64,
    aim: f64,
    floor: String,
    title: String,
}

impl Workload {
    /// If this is about what many peers cost: which figure, and with how many peers.
    fn crowd(&self) -> Option<(&str, u32)> {
        let (figure, peers) = self.name.split_once('-')?;
        let peers = peers.parse().ok()?;
        ["crowd", "polls", "silence"].contains(&figure).then_some((figure, peers))
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        let &[name, per, target, aim, floor, title] = fields.as_slice() else { return None };
        Some(Self {
            name: name.into(),
            per: per.into(),
            target: target.parse().ok()?,
            aim: aim.parse().ok()?,
            floor: floor.into(),
            title: title.into(),
        })
    }
}

/// What was counted while a workload ran.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    instructions: f64,
    allocations: u64,
    units: f64,
    bytes: f64,
    wire: f64,
    wire_back: f64,
}

impl Count {
    fn cost(&self, workload: &Workload) -> f64 {
        let by = if workload.per == "Byte" { self.bytes } else { self.units };
        self.instructions / by
    }
}

fn measure(name: &str) -> Result<Count, String> {
    let (profile, work) = profile_of(&program("hotpath"), &[name])?;
    let field = |name| number_after(&work, name).ok_or(format!("{name} was not told"));
    Ok(Count {
        instructions: number_after(&profile, "totals: ").ok_or("nothing was counted")?,
        allocations: calls_to(&profile, &ALLOCATORS),
        units: field("units=")?,
        bytes: field("bytes=")?,
        wire: field("wire=")?,
        wire_back: field("wire_back=")?,
    })
}

/// What the workload of that name costs, by what it is divided by.
pub(crate) fn cost_of(name: &str) -> Result<f64, String> {
    let list = output(&program("hotpath").to_string_lossy(), &[]).unwrap_or_default();
    let workload = list.lines().filter_map(Workload::parse).find(|workload| workload.name == name);
    Ok(measure(name)?.cost(&workload.ok_or("there is no such workload")?))
}

/// The instructions of `program` in the measured region, and what it prints.
pub(crate) fn instructions_of(program: &Path, arguments: &[&str]) -> Result<(f64, String), String> {
    let (profile, told) = profile_of(program, arguments)?;
    Ok((number_after(&profile, "totals: ").ok_or("nothing was counted")?, told))
}

/// What callgrind writes about the measured region, and what `program` prints.
fn profile_of(program: &Path, arguments: &[&str]) -> Result<(String, String), String> {
    let profile = program.with_file_name(format!("{}.out", arguments.join("-")));
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=*measured_region*",
    ]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    let output = command.arg(program).args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let profile = std::fs::read_to_string(profile).map_err(|error| error.to_string())?;
    Ok((profile, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The number on the line that begins with `key`.
pub(crate) fn number_after(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// How often any of `functions` was called, by a profile as callgrind writes it: only callers that cost
/// anything are in it, but their calls are counted from the start, so 0 is exact and more is at most.
fn calls_to(profile: &str, functions: &[&str]) -> u64 {
    let mut names = HashMap::new();
    let (mut callee, mut calls) = (None, 0);
    for line in profile.lines() {
        if let Some((kind @ ("fn" | "cfn"), name)) = line.split_once('=') {
            // "(id) name" the first time, "(id)" from then on.
            let (id, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                names.insert(id, name);
            }
            callee = if kind == "cfn" { names.get(id).copied() } else { None };
        } else if let Some(count) = line.strip_prefix("calls=")
            && callee.is_some_and(|callee| functions.contains(&callee))
        {
            calls += count.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    calls
}

fn table(all: &[Workload], counts: &HashMap<String, Count>) -> String {
    let mut text = String::from(
        "| workload | instructions per | | at most | aim | floor | wire bytes per message, one way / both | heap allocations |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for workload in all {
        let Some(count) = counts.get(&workload.name) else { continue };
        let per = match workload.per.as_str() {
            "Byte" => "byte",
            "PeerTick" => "peer and tick",
            _ => "message",
        };
        let floor = all.iter().find(|other| other.name == workload.floor);
        let floor = floor.and_then(|floor| Some(counts.get(&floor.name)?.cost(floor)));
        let _ = writeln!(
            text,
            "| {} | {per} | **{}** | {} | {} | {} | {:.1} / {:.1} | {} |",
            workload.title,
            shown(count.cost(workload)),
            shown(workload.target),
            shown(workload.aim),
            shown(floor.unwrap_or(0.0)),
            count.wire / count.units,
            (count.wire + count.wire_back) / count.units,
            count.allocations,
        );
    }
    text
}

/// What many peers cost, as a table, and by which part the figures differ that should not grow with those
/// who are silent.
fn crowd_table(all: &[Workload], counts: &HashMap<String, Count>, bytes: &str) -> (String, f64) {
    let mut text = String::from(
        "| connected peers | instructions per busy peer and tick, 50 being busy | per message of that | per round of polls, all being silent | per silent peer and second | bytes per idle peer | per busy peer |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let (mut least, mut most) = (f64::INFINITY, 0.0);
    for line in bytes.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let &[peers, idle, busy] = fields.as_slice() else { continue };
        let cost = |figure: &str| {
            let workload = all.iter().find(|one| one.name == format!("{figure}-{peers}"))?;
            Some(counts.get(&workload.name)?.cost(workload))
        };
        if let Some(cost) = cost("crowd") {
            (least, most) = (f64::min(least, cost), f64::max(most, cost));
        }
        let [crowd, polls, silence] =
            ["crowd", "polls", "silence"].map(|figure| shown(cost(figure).unwrap_or(0.0)));
        let message = shown(cost("crowd").unwrap_or(0.0) / MESSAGES_PER_TICK);
        let _ = writeln!(
            text,
            "| {peers} | **{crowd}** | {message} | **{polls}** | {silence} | **{idle}** | {busy} |"
        );
    }
    let spread = if most > 0.0 { most / least - 1.0 } else { 0.0 };
    let _ = writeln!(
        text,
        "\nFrom the cheapest busy peer to the dearest it is {:.1} %; more than {:.0} % fails.",
        spread * 100.0,
        SPREAD_MAX * 100.0
    );
    (text, spread)
}

fn shown(cost: f64) -> String {
    match cost {
        0.0 => String::new(),
        cost if cost < 20.0 => format!("{cost:.2}"),
        cost => format!("{cost:.0}"),
    }
}

fn page(table: &str, crowds: &str, memory: &str) -> String {
    let told = |program, arguments: &[&str]| output(program, arguments).unwrap_or_default();
    format!(
        "# The hot path in figures\n\n\
         Written by `cargo xtask callgrind` on {}: {}, {}, x86-64, `--release`. Instructions are \
         counted, not timed, over the measured region only and after its memory has grown, so \
         they are the same on every machine that runs the same code (the C library picks its \
         `memcpy` by processor).\n\n\
         W1: 32-byte messages, 64 per 16 ms tick, on one channel; sending, receiving and \
         acknowledging at both ends. W2: messages of 64 KiB. W5: a server that gets 64 bytes from \
         each peer each tick and sends it 100 bytes reliably and 100 unreliably; only the server \
         counts. All over a link in memory that delivers everything one tick later, datagrams of \
         at most 1,200 bytes, memory from a `Heap` with blocks of 1 KiB unless it says otherwise; \
         the benchmark's own driver and link are in the figures. Without CRC means without any \
         integrity check. *At most* and *aim* are where the project means to get, and is not yet. \
         *Floor*: the same payloads over the same link by code without a \
         protocol. Wire bytes include 28 bytes of IP and UDP headers per datagram.\n\n\
         {table}\n\
         ## Many peers\n\n\
         {crowds}\n\
         A server, as in W5, of whose peers fifty talk: each sends one message in a tick and gets two, one of \
         them reliably, with all the acknowledgements and timers that go with them. Only the server counts. \
         The others are connected, and have no timer that expires while it is counted: their keep-alives \
         would be due in twenty minutes. A round of polls asks for an event, a datagram and the next \
         deadline, of which there is none. What silent peers cost is in the column of its own: there \
         everybody is silent for twenty seconds with the default time-out of ten, so each is pinged, and \
         pings, every three seconds and a third. A busy peer's bytes are those of a peer of W5 while \
         everything that the server sent in the last tick is unacknowledged.\n\n\
         ## Memory\n\n\
         {memory}\n\n\
         `Fixed<PEERS, CHANNELS, RECORDS, BLOCKS>` has blocks of 128 bytes and is good for that \
         many peers with `Config::small`; the first shape is the least that one peer is promised. \
         A `Heap` was told the exact number of peers, and has what it ever needed at once: its \
         sessions used each mode for one message of 64 and one of 100 bytes, a few peers at a \
         time.\n",
        told("date", &["-u", "+%F"]),
        told("rustc", &["--version"]),
        told("valgrind", &["--version"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
fn=(1) measured_region
16 5
cfn=(2) malloc
calls=3 0
* 120
cob=(4)
cfi=(9)
cfn=(3) memcpy
calls=7 0
* 70
fn=(4) other
1 1
cfn=(2)
calls=2 +4
* 80
fn=(2)
8 200
totals: 471
";

    #[test]
    fn allocations_are_counted_whoever_calls() {
        assert_eq!(calls_to(PROFILE, &ALLOCATORS), 5);
        assert_eq!(calls_to(PROFILE, &["memcpy"]), 7);
        assert_eq!(number_after(PROFILE, "totals: "), Some(471.0));
    }

    #[test]
    fn what_many_cost_is_told_by_how_many() {
        let all: Vec<_> = ["crowd-100\tPeerTick\t0\t0\t\t-", "crowd-1000\tPeerTick\t0\t0\t\t-"]
            .iter()
            .filter_map(|line| Workload::parse(line))
            .collect();
        assert_eq!(all[1].crowd(), Some(("crowd", 1000)));
        let count = |instructions| Count { instructions, units: 10.0, ..Count::default() };
        let counts = [("crowd-100".into(), count(500.0)), ("crowd-1000".into(), count(600.0))];
        let (table, spread) = crowd_table(&all, &counts.into(), "100\t7\t8\n1000\t9\t10\n");
        assert!((spread - 0.2).abs() < 1e-9);
        assert!(table.contains("| 1000 | **60** | 20 | **** |  | **9** | 10 |"), "{table}");
    }

    #[test]
    fn a_workload_is_counted_with_its_floor() {
        let all: Vec<_> =
            ["a\tByte\t1.5\t0\tb\tA, long", "b\tByte\t0\t0\t\tB", "c\tByte\t0\t0\tb\tC"]
                .iter()
                .filter_map(|line| Workload::parse(line))
                .collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].title.as_str(), all[0].target), ("A, long", 1.5));
        let wanted = |name| all.iter().map(|w| is_wanted(w, Some(name), &all)).collect::<Vec<_>>();
        assert_eq!(wanted("a"), [true, true, false]);
        assert_eq!(wanted("b"), [false, true, false]);
        assert_eq!(wanted("z"), [false; 3]);
    }
}
