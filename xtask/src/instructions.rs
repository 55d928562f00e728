//! A committed table of what the hot path costs, which must not grow unnoticed.

use core::fmt::Write;
use std::path::PathBuf;

use crate::callgrind;
use crate::step::{Outcome, Report, can_run};
use crate::toolchain::output;
use crate::top;

/// The workloads of the table, each a few seconds.
const WORKLOADS: [&str; 9] = [
    "w1-unreliable",
    "w1-ordered",
    "w1-reliable",
    "w2",
    "w5-1000",
    "enet-w1-unreliable",
    "enet-w1-ordered",
    "enet-w1-reliable",
    "enet-w5-1000",
];

/// How much more than in the table a workload may cost.
const GROWTH_MAX: f64 = 0.03;

/// Names of workloads and what they cost.
type Costs = Vec<(String, f64)>;

/// Counts, and compares with the table; with `--bless`, writes it.
pub(crate) fn run(report: &mut Report) {
    let bless = std::env::args().any(|argument| argument == "--bless");
    step(report, bless);
}

/// As a part of other chores: compares.
pub(crate) fn check(report: &mut Report) {
    step(report, false);
}

fn step(report: &mut Report, bless: bool) {
    report.step("instructions", || {
        if !can_run("valgrind") || !cfg!(target_arch = "x86_64") {
            return Outcome::Skipped("it takes valgrind on x86-64".into());
        }
        match callgrind::build() {
            Outcome::Passed => compare(bless),
            failed => failed,
        }
    });
}

fn compare(bless: bool) -> Outcome {
    let compiler = output("rustc", &["--version"]).unwrap_or_default();
    let mut now = Costs::new();
    for name in WORKLOADS {
        match callgrind::cost_of(name) {
            Ok(cost) => now.push((name.to_owned(), cost)),
            Err(why) => return Outcome::Failed(format!("{name}: {why}")),
        };
    }
    if bless {
        return match std::fs::write(file(), written(&compiler, &now)) {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("benches/instructions.txt: {error}")),
        };
    }
    let text = match std::fs::read_to_string(file()) {
        Ok(text) => text,
        Err(error) => return Outcome::Failed(format!("benches/instructions.txt: {error}")),
    };
    let (named, table) = read(&text);
    let grown = differences(&table, &now);
    match (grown.is_empty(), named == compiler) {
        (true, _) => Outcome::Passed,
        (false, true) => Outcome::Failed(format!(
            "more than in benches/instructions.txt (cargo xtask instructions --bless): {}",
            grown.join(", ")
        )),
        (false, false) => {
            println!("not a failure: the table is of {named}, this is {compiler}");
            Outcome::Passed
        }
    }
}

fn file() -> PathBuf {
    top().join("benches/instructions.txt")
}

/// The table as it is committed.
fn written(compiler: &str, costs: &[(String, f64)]) -> String {
    let mut text = format!(
        "# Instructions per message (w1), byte (w2), peer and tick (w5), on x86-64 under callgrind.\n\
         # Written by `cargo xtask instructions --bless`; more than 3 % above fails.\n{compiler}\n"
    );
    for (name, cost) in costs {
        let _ = writeln!(text, "{name} {cost:.2}");
    }
    text
}

/// The compiler that a table is of, and its costs.
fn read(text: &str) -> (&str, Costs) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let compiler = lines.next().unwrap_or_default();
    let costs = lines.filter_map(|line| {
        let (name, cost) = line.split_once(' ')?;
        Some((name.to_owned(), cost.parse().ok()?))
    });
    (compiler, costs.collect())
}

/// Prints what differs, and tells what has grown too much or is not in the table.
fn differences(table: &[(String, f64)], now: &[(String, f64)]) -> Vec<String> {
    let mut grown = Vec::new();
    for (name, cost) in now {
        let Some((_, before)) = table.iter().find(|(of, _)| of == name) else {
            grown.push(format!("{name} is new"));
            continue;
        };
        let growth = cost / before - 1.0;
        let line = format!("{name} {before:.2} -> {cost:.2} ({:+.1} %)", growth * 100.0);
        println!("{line}");
        if growth > GROWTH_MAX {
            grown.push(line);
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[(&str, f64)]) -> Costs {
        costs.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect()
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let table = costs(&[("a", 12.25), ("b", 3.5)]);
        assert_eq!(read(&written("rustc 1", &table)), ("rustc 1", table));
    }

    #[test]
    fn growth_beyond_the_limit_and_what_is_new_are_told() {
        let table = costs(&[("grown", 100.0), ("hardly", 100.0), ("shrunk", 100.0)]);
        let now = costs(&[("grown", 103.1), ("hardly", 102.9), ("new", 1.0), ("shrunk", 50.0)]);
        let told = differences(&table, &now);
        assert_eq!(told, ["grown 100.00 -> 103.10 (+3.1 %)", "new is new"]);
    }

    #[test]
    fn the_committed_table_has_every_workload() {
        let text = include_str!("../../benches/instructions.txt");
        let (compiler, table) = read(text);
        assert!(compiler.starts_with("rustc "), "{compiler}");
        assert!(WORKLOADS.iter().all(|name| table.iter().any(|(of, _)| of == name)));
    }
}
