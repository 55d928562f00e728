//! Fuzzing, without more than Rust and a C++ compiler.
//!
//! What `cargo fuzz` would do with its own nightly compiler and address sanitizer: here no crate has unsafe
//! code, so the coverage that libFuzzer needs is all that is asked of the compiler, and a stable one can do it.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::step::{Outcome, Report, can_run};
use crate::toolchain::{cargo, output, target_folder};
use crate::top;

/// How long each target runs in the gate, and when nothing else is said.
const SMOKE: Duration = Duration::from_secs(2);
/// How long a target may take to notice that something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// One input may not take longer, in seconds, nor more memory, in megabytes.
const INPUT_MAX: [&str; 2] = ["-timeout=25", "-rss_limit_mb=1500"];

/// What makes a program report to libFuzzer which of its edges were reached and what it compared.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];
/// What finds more in a program that should be right; one that is wrong on purpose must be found without.
const ASSERTIONS: &str = "-Cdebug-assertions";

/// For each target a value of `--cfg bowline_mutant` that it must notice. Those of one row are built together: what one
/// target checks is not made of what another one's mutant spoils.
const MUTANTS: &[&[(&str, &str)]] = &[
    &[
        ("ack_block", "no_gap"),
        ("acks", "late_acks"),
        ("congestion", "lost_in_flight"),
        ("credit", "take_back_credit"),
        ("enet_datagram", "cut_payload"),
        ("fastlz", "before_the_start"),
        ("fragments", "no_beginning"),
        ("frames", "past_the_end"),
        ("handshake", "any_trailer"),
        ("inbox", "skip_order_filter"),
        ("liveness", "no_grace"),
        ("loss", "slow_loss"),
        ("lost", "late_again"),
        ("range_coder", "forget_escapes"),
        ("receive_window", "too_sure"),
        ("rtt", "any_delay"),
        ("scheduler", "still_queued"),
        ("share", "equal_weights"),
        ("unreliable", "same_id"),
        ("zlib_zstd", "without_its_end"),
    ],
    &[
        ("datagram", "unexplained"),
        ("parameters", "any_ack_delay"),
        ("run", "tight_fit"),
        ("sent", "acked_in_flight"),
    ],
    &[("streams", "skip_gap"), ("varint", "any_varint")],
    &[("pair", "skip_dedup")],
    &[("endpoint", "leak")],
    &[("game", "skip_checksum")],
    &[("enet_host", "group_again")],
    &[("storage", "short_heap")],
    &[("trace", "unrecorded")],
];

/// What the command line asks for.
#[derive(Debug, Default)]
struct Request {
    targets: Vec<String>,
    minutes: Option<f64>,
    mutants: bool,
}

impl Request {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut request, mut arguments) = (Self::default(), arguments);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--mutants" => request.mutants = true,
                "--minutes" => {
                    let minutes = arguments.next().and_then(|minutes| minutes.parse().ok());
                    request.minutes = Some(minutes.ok_or("--minutes takes a number")?);
                }
                name if name.starts_with('-') => return Err(format!("no option {name}")),
                _ => request.targets.push(argument),
            }
        }
        Ok(request)
    }

    /// How long one of `count` targets runs.
    fn span(&self, count: usize) -> Duration {
        let seconds = |minutes: f64| minutes.max(0.0) * 60.0 / count.max(1) as f64;
        self.minutes.map_or(SMOKE, |minutes| Duration::from_secs_f64(seconds(minutes).max(1.0)))
    }
}

/// `fuzz [TARGET]... [--minutes N] [--mutants]`: all targets in turn, or those that are named; `N` minutes in all. With
/// `--mutants`, each with its mutant until it notices.
pub(crate) fn run(report: &mut Report) {
    match Request::parse(std::env::args().skip(2)) {
        Ok(request) => perform(report, &request),
        Err(why) => report.step("fuzz", || Outcome::Failed(why)),
    }
}

/// A few seconds of every target, for the gate.
pub(crate) fn smoke(report: &mut Report) {
    perform(report, &Request::default());
}

fn perform(report: &mut Report, request: &Request) {
    if let Some(why) = missing() {
        report.step("fuzz", || Outcome::Skipped(why));
        return;
    }
    let names = match wanted(&request.targets) {
        Ok(names) => names,
        Err(why) => return report.step("fuzz", || Outcome::Failed(why)),
    };
    if request.mutants {
        MUTANTS.iter().for_each(|row| catch_all(report, row, &names));
        return;
    }
    let mut programs = None;
    report.step("build fuzz targets", || match build(&names, &[]) {
        Ok(folder) => {
            programs = Some(folder);
            Outcome::Passed
        }
        Err(why) => Outcome::Failed(why),
    });
    let Some(programs) = programs else { return };
    let span = request.span(names.len());
    for name in &names {
        report.step(&format!("fuzz {name}"), || fuzz(&programs, name, span));
    }
}

/// What is needed and is not here.
fn missing() -> Option<String> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if !can_run(&compiler) {
        return Some(format!("no C++ compiler ({compiler}), which libFuzzer takes"));
    }
    host().is_none().then(|| "no rustc that tells its host".into())
}

/// Every target, or those that are asked for.
fn wanted(asked: &[String]) -> Result<Vec<String>, String> {
    let folder = top().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("fuzz_targets: {error}"))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(String::from));
    let mut names: Vec<String> = names.collect();
    names.sort();
    if let Some(unknown) = asked.iter().find(|name| !names.contains(name)) {
        return Err(format!("no target {unknown}; there are {}", names.join(", ")));
    }
    names.retain(|name| asked.is_empty() || asked.contains(name));
    Ok(names)
}

fn host() -> Option<String> {
    let version = output("rustc", &["--version", "--verbose"])?;
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(String::from)
}

/// Where what is built, found and learnt goes: not into the repository.
fn folder() -> PathBuf {
    target_folder(&top()).join("fuzz")
}

/// Builds targets, right or with mutants, and returns the folder of their programs.
fn build(names: &[String], mutants: &[&str]) -> Result<PathBuf, String> {
    let host = host().ok_or("no rustc")?;
    let mut flags = COVERAGE.join(" ");
    let mut folder = folder();
    let mut command = cargo("build");
    if mutants.is_empty() {
        flags += &format!(" {ASSERTIONS}");
    } else {
        if let Some(library) = libfuzzer_library(&folder.join(&host)) {
            command.env("CUSTOM_LIBFUZZER_PATH", library);
        }
        folder = folder.join("mutants");
        command.args(["--config", "profile.release.debug=false"]);
    }
    for mutant in mutants {
        flags += &format!(" --cfg=bowline_mutant=\"{mutant}\"");
    }
    command.current_dir(top().join("fuzz")).env("CARGO_TARGET_DIR", &folder);
    // Instrumented for the target, so that build scripts are not.
    command.args(["--quiet", "--release", "--target", &host]).env("RUSTFLAGS", flags);
    for name in names {
        command.args(["--bin", name]);
    }
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(folder.join(host).join("release")),
        Ok(status) => Err(format!("cargo build: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// libFuzzer itself, if an earlier build has left it.
fn libfuzzer_library(built: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(built.join("release/build")).ok()?;
    let mut libraries = packages.flatten().map(|package| package.path().join("out/libfuzzer.a"));
    libraries.find(|library| library.exists())
}

/// What libFuzzer says at the end.
struct Run {
    succeeded: bool,
    said: String,
}

impl Run {
    /// Inputs tried, and edges reached by all that are worth keeping.
    fn figures(&self) -> (u64, u64) {
        let mut lines = self.said.lines();
        let tried = lines.find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let status = self.said.lines().rev().find_map(|line| line.split_once("cov: "));
        let number = |text: &str| text.split_whitespace().next().and_then(|n| n.parse().ok());
        let tried = tried.and_then(number).or_else(|| self.last_count());
        (tried.unwrap_or(0), status.and_then(|(_, after)| number(after)).unwrap_or(0))
    }

    /// The number of the last input that a status line tells of.
    fn last_count(&self) -> Option<u64> {
        let mut counts = self.said.lines().rev().filter_map(|line| line.strip_prefix('#'));
        counts.find_map(|line| line.split_whitespace().next()?.parse().ok())
    }

    /// The first line of the first panic, or the last that it said.
    fn complaint(&self) -> &str {
        let mut panic = self.said.lines().skip_while(|line| !line.contains("panicked at"));
        panic.nth(1).or_else(|| self.said.lines().last()).unwrap_or("nothing")
    }
}

fn libfuzzer(programs: &Path, name: &str, arguments: &[String]) -> Result<Run, String> {
    let mut command = Command::new(programs.join(name));
    command.args(INPUT_MAX).args(arguments).arg("-print_final_stats=1");
    let dictionary = top().join("fuzz").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("RUST_BACKTRACE", "0");
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Run { succeeded: output.status.success(), said })
}

fn make(folder: &Path) -> Result<String, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder.display().to_string())
}

/// Where libFuzzer keeps what it learns, then the seeds that are committed.
fn corpora(name: &str, learnt: &Path) -> Result<Vec<String>, String> {
    let mut corpora = vec![make(learnt)?];
    let seeds = top().join("fuzz/corpus").join(name);
    if seeds.exists() {
        corpora.push(seeds.display().to_string());
    }
    Ok(corpora)
}

fn fuzz(programs: &Path, name: &str, span: Duration) -> Outcome {
    let findings = folder().join("findings").join(name);
    let arguments = || -> Result<Vec<String>, String> {
        let mut arguments = vec![
            format!("-max_total_time={}", span.as_secs().max(1)),
            format!("-artifact_prefix={}/", make(&findings)?),
        ];
        arguments.extend(corpora(name, &folder().join("corpus").join(name))?);
        Ok(arguments)
    };
    match arguments().and_then(|arguments| libfuzzer(programs, name, &arguments)) {
        Ok(run) => {
            let (tried, edges) = run.figures();
            println!("{tried} executions, {edges} edges, {} findings", u8::from(!run.succeeded));
            match run.succeeded {
                true if tried > 0 => Outcome::Passed,
                true => Outcome::Failed("nothing was executed".into()),
                false => Outcome::Failed(format!("{} (target/fuzz/findings)", run.complaint())),
            }
        }
        Err(why) => Outcome::Failed(why),
    }
}

/// Builds the mutants of a row, as far as their targets are asked for, and fuzzes each until it is noticed.
fn catch_all(report: &mut Report, row: &[(&str, &str)], names: &[String]) {
    let row: Vec<_> = row.iter().filter(|(name, _)| names.iter().any(|n| n == name)).collect();
    let (targets, mutants): (Vec<String>, Vec<&str>) =
        row.iter().map(|(name, mutant)| (String::from(*name), *mutant)).unzip();
    if row.is_empty() {
        return;
    }
    let mut programs = None;
    report.step(&format!("build {}", mutants.join(", ")), || match build(&targets, &mutants) {
        Ok(folder) => {
            programs = Some(folder);
            Outcome::Passed
        }
        Err(why) => Outcome::Failed(why),
    });
    let Some(programs) = programs else { return };
    for (name, mutant) in row {
        report.step(&format!("mutant of {name}"), || match catch(&programs, name) {
            Ok(Some(words)) => {
                println!("{mutant}: {words}");
                Outcome::Passed
            }
            Ok(None) => Outcome::Failed(format!("does not notice {mutant}")),
            Err(why) => Outcome::Failed(why),
        });
    }
}

/// Fuzzes a mutant until it is noticed, from the committed seeds alone; how long it took, and what was noticed.
fn catch(programs: &Path, name: &str) -> Result<Option<String>, String> {
    let learnt = folder().join("mutants/corpus").join(name);
    let _ = fs::remove_dir_all(&learnt);
    let findings = make(&folder().join("mutants/findings"))?;
    let mut arguments = vec![
        format!("-max_total_time={}", PATIENCE.as_secs()),
        format!("-artifact_prefix={findings}/"),
        "-seed=1".into(),
    ];
    arguments.extend(corpora(name, &learnt)?);
    let began = Instant::now();
    let run = libfuzzer(programs, name, &arguments)?;
    let (took, tried) = (began.elapsed().as_secs_f64(), run.figures().0);
    let complaint: String = run.complaint().chars().take(100).collect();
    Ok((!run.succeeded).then(|| format!("{took:.1} s, {tried} executions: {complaint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &str) -> Result<Request, String> {
        Request::parse(words.split_whitespace().map(String::from))
    }

    #[test]
    fn minutes_are_for_all_targets_together() {
        let request = request("varint frames --minutes 3").unwrap();
        assert_eq!(request.targets, ["varint", "frames"]);
        assert_eq!(request.span(2), Duration::from_secs(90));
        assert_eq!(Request::default().span(2), SMOKE);
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        assert!(request("--minutes").is_err());
        assert!(request("--hours 3").is_err());
        assert!(wanted(&["no_such_target".into()]).is_err());
    }

    #[test]
    fn every_target_has_a_mutant_and_every_mutant_a_target() {
        let targets = wanted(&[]).unwrap();
        let mut mutants: Vec<_> = MUTANTS.iter().flat_map(|row| *row).map(|row| row.0).collect();
        mutants.sort_unstable();
        assert_eq!(mutants, targets);
    }

    #[test]
    fn figures_are_read_from_what_libfuzzer_says() {
        let said = "#2\tINITED cov: 3 ft: 4\n#77\tDONE   cov: 59 ft: 60\nstat::number_of_executed_units: 81\n";
        let run = Run { succeeded: true, said: said.into() };
        assert_eq!(run.figures(), (81, 59));
        let crashed =
            Run { succeeded: false, said: "#9\tNEW cov: 5\nthread panicked at x:1:\nno\n".into() };
        assert_eq!((crashed.figures(), crashed.complaint()), ((9, 5), "no"));
    }
}
