//! bowline beside its peers, in one run, written into `benches/RESULTS.md`.

use core::fmt::Write;
use std::path::PathBuf;

use crate::callgrind::{instructions_of, number_after};
use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::{cargo, output, target_folder};
use crate::top;

/// Titles and units of the workloads, in the order of the table.
const WORKS: [(&str, &str, Per); 6] = [
    ("w1-unreliable", "W1 unreliable", Per::Unit),
    ("w1-ordered", "W1 unreliable-ordered", Per::Unit),
    ("w1-reliable", "W1 reliable", Per::Unit),
    ("w2", "W2, 64 KiB reliable", Per::Byte),
    ("w5-1000", "W5, 1,000 peers", Per::Unit),
    ("w5-4095", "W5, 4,095 peers", Per::Unit),
];

/// What a quick run leaves out: thousands connect before it counts.
const SLOW: &str = "w5-4095";

/// A lead of less is none.
const LEAD_MIN: f64 = 0.005;

/// Whose table it is; everybody else is a peer.
const OURS: &str = "bowline-";

/// What a cost is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Per {
    /// A message, or a tick of a peer.
    Unit,
    Byte,
}

/// The package's folder.
pub(crate) fn folder() -> PathBuf {
    top().join("benches/peers")
}

/// Everything, or with `--quick` short runs that are only printed.
pub(crate) fn run(report: &mut Report) {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut built = Outcome::Passed;
    report.step("build peers", || {
        built = run_command(cargo("build").current_dir(folder()).args([
            "--locked",
            "--profile",
            "callgrind",
        ]));
        built.clone()
    });
    if built == Outcome::Passed {
        report.step("bowline beside its peers", || compare(quick));
        report.step("C ENet", || {
            match listed().lines().find_map(|l| l.strip_prefix("SKIPPED\t")) {
                Some(why) => Outcome::Skipped(why.into()),
                None => Outcome::Passed,
            }
        });
    }
}

fn program() -> String {
    target_folder(&folder()).join("callgrind/peers").to_string_lossy().into_owned()
}

fn listed() -> String {
    output(&program(), &[]).unwrap_or_default()
}

/// What a library needed for a workload.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    library: String,
    work: String,
    instructions: f64,
    allocations: f64,
    wire: f64,
}

fn compare(quick: bool) -> Outcome {
    if !can_run("valgrind") {
        return Outcome::Skipped("valgrind is not here".into());
    }
    let list = listed();
    let mut rows = Vec::new();
    for (library, work) in list.lines().filter_map(|line| line.split_once('\t')) {
        let Some((.., per)) = WORKS.iter().find(|(name, ..)| *name == work) else { continue };
        if quick && work == SLOW {
            continue;
        }
        println!("{library} {work}");
        match measure(library, work, *per, quick) {
            Ok(row) => rows.push(row),
            Err(why) => return Outcome::Failed(format!("{library} {work}: {why}")),
        }
    }
    let text = tables(&rows);
    println!("\n{text}");
    if quick {
        return Outcome::Passed;
    }
    let version = list.lines().find_map(|line| line.strip_prefix("version\t"));
    match std::fs::write(top().join("benches/RESULTS.md"), page(&text, version)) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("benches/RESULTS.md: {error}")),
    }
}

fn measure(library: &str, work: &str, per: Per, quick: bool) -> Result<Row, String> {
    let mut arguments = vec![library, work];
    arguments.extend(quick.then_some("--quick"));
    let (instructions, told) = instructions_of(program().as_ref(), &arguments)?;
    let field = |name| number_after(&told, name).ok_or(format!("{name} was not told"));
    let units = field("units=")?;
    let by = if per == Per::Byte { field("bytes=")? } else { units };
    Ok(Row {
        library: library.into(),
        work: work.into(),
        instructions: instructions / by,
        allocations: field("allocations=")? / units,
        wire: (field("wire=")? + field("wire_back=")?) / by,
    })
}

/// A table of each workload, cheapest first, and where a peer is ahead.
fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut ahead = String::new();
    for (work, title, per) in WORKS {
        let mut of_work: Vec<_> = rows.iter().filter(|row| row.work == work).collect();
        if of_work.is_empty() {
            continue;
        }
        of_work.sort_by(|one, other| one.instructions.total_cmp(&other.instructions));
        let (unit, kind) = match per {
            Per::Byte => ("byte", "message"),
            Per::Unit if work.starts_with("w5") => ("peer and tick", "peer and tick"),
            Per::Unit => ("message", "message"),
        };
        let _ = writeln!(
            text,
            "### {title}\n\n| | instructions per {unit} | heap allocations per {kind} | \
             wire bytes per {unit}, both ways |\n|---|---:|---:|---:|"
        );
        for row in &of_work {
            let Row { library, instructions, allocations, wire, .. } = row;
            let (digits, wire_digits) = if per == Per::Byte { (2, 3) } else { (0, 1) };
            let _ = writeln!(
                text,
                "| {library} | {instructions:.digits$} | {allocations:.1} | {wire:.wire_digits$} |"
            );
        }
        text.push('\n');
        for line in ahead_of_us(&of_work) {
            let _ = writeln!(ahead, "- {title}: {line}.");
        }
    }
    let ahead = if ahead.is_empty() { "Nowhere in these.\n" } else { &ahead };
    let _ = writeln!(text, "### Where a peer is ahead\n\n{ahead}");
    text
}

/// Each peer that beats one of our libraries in a figure, in words.
fn ahead_of_us(rows: &[&Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for ours in rows.iter().filter(|row| row.library.starts_with(OURS)) {
        for peer in rows.iter().filter(|row| !row.library.starts_with(OURS)) {
            let figures = [
                ("instructions", peer.instructions, ours.instructions),
                ("heap allocations", peer.allocations, ours.allocations),
                ("wire bytes", peer.wire, ours.wire),
            ];
            let is_less = |(_, peer, our): &(_, f64, f64)| *peer < our * (1.0 - LEAD_MIN);
            for (figure, theirs, our) in figures.into_iter().filter(is_less) {
                lines.push(format!(
                    "{} needs {:.1} % fewer {figure} than {}",
                    peer.library,
                    (1.0 - theirs / our) * 100.0,
                    ours.library
                ));
            }
        }
    }
    lines
}

fn page(tables: &str, c_enet: Option<&str>) -> String {
    let told = |program, arguments: &[&str]| output(program, arguments).unwrap_or_default();
    let lock = std::fs::read_to_string(folder().join("Cargo.lock")).unwrap_or_default();
    let rusty = version_in(&lock, "rusty_enet").unwrap_or("?");
    format!(
        "# bowline beside its peers\n\n\
         Written by `cargo xtask bench` on {}: {}, {}, x86-64, `--release`; {}, rusty_enet {rusty}. \
         `cargo xtask bench --quick` prints the same from short runs, without the 4,095 peers.\n\n\
         Instructions are counted by callgrind over the measured region only, after a warm-up, and \
         include those of the C library; they do not depend on the machine's speed or load (the C \
         library picks its `memcpy` by processor). Heap allocations are counted in the same region, \
         those of C ENet through its own hook. Wire bytes include 28 bytes of IP and UDP header per \
         datagram. Everything runs in virtual time over a link in memory without loss, with ticks of \
         16 ms; the link and the driver are in the figures of all.\n\n\
         - W1: 32-byte messages, 64 per tick, one channel; sending, receiving and acknowledging at \
         both ends.\n\
         - W2: messages of 64 KiB, reliable, at most six under way; both ends.\n\
         - W5: a server that gets 64 bytes from each peer each tick, unreliably, and sends it 100 \
         bytes reliably and 100 unreliably; only the server counts.\n\n\
         ENet's *unreliable* is an unsequenced packet, its *unreliable-ordered* the default one. \
         ENet hosts are made with two channels and no bandwidth limits, and are driven as its \
         tutorial says: `enet_host_service` until nothing comes, then sends, then \
         `enet_host_flush`. C ENet and rusty_enet acknowledge from within the service call, in \
         datagrams of their own; bowline, which is asked for datagrams after the sends, puts both \
         into one. bowline-native is without sealing and without an integrity check, as ENet is by \
         default; bowline-enet has its guards on, but for the limit of connections per second and source.\n\n\
         {tables}\
         Not measured here yet: renet, laminar, uflow, kcp and quinn-proto; the I/O floor (W0), \
         latency under loss (W3) and bulk through a bottleneck (W4).\n",
        told("date", &["-u", "+%F"]),
        told("rustc", &["--version"]),
        told("valgrind", &["--version"]),
        c_enet.unwrap_or("C ENet SKIPPED, for it was not installed"),
    )
}

/// The version of a package in a lock file.
fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(library: &str, instructions: f64) -> Row {
        let (work, wire) = ("w1-reliable".into(), 48.0);
        Row { library: library.into(), work, instructions, allocations: 0.0, wire }
    }

    #[test]
    fn where_a_peer_is_ahead_it_is_said() {
        let rows = [row("bowline-enet", 100.0), row("other", 90.0), row("slow", 110.0)];
        let text = tables(&rows);
        assert!(
            text.contains("W1 reliable: other needs 10.0 % fewer instructions than bowline-enet")
        );
        assert!(!text.contains("slow needs"), "{text}");
        assert!(tables(&rows[..1]).contains("Nowhere"));
    }

    #[test]
    fn the_cheapest_comes_first() {
        let text = tables(&[row("dear", 20.0), row("cheap", 10.0)]);
        assert!(text.find("| cheap |") < text.find("| dear |"), "{text}");
    }

    #[test]
    fn a_version_is_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2\"\n[[package]]\nname = \"b\"\n";
        assert_eq!((version_in(lock, "a"), version_in(lock, "c")), (Some("1.2"), None));
    }
}
