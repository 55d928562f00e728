//! Steps, how they ended, and the summary at the end.

use core::time::Duration;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// How a step ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    /// It cannot run on this machine, for this reason.
    Skipped(String),
    /// It ran and something is wrong, namely this.
    Failed(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped(_) => "SKIPPED",
            Self::Failed(_) => "FAILED",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Skipped(why) | Self::Failed(why) => why,
        }
    }
}

/// What has been run so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Outcome, Duration)>,
}

impl Report {
    /// Runs one step between a heading and a line that says how it ended.
    pub(crate) fn step(&mut self, name: &str, body: impl FnOnce() -> Outcome) {
        println!("\n==> {name}");
        let began = Instant::now();
        let outcome = body();
        let took = began.elapsed();
        println!("<== {name}: {}", line(&outcome, took));
        // Output of the next step's children must not overtake this.
        let _ = std::io::stdout().flush();
        self.rows.push((name.into(), outcome, took));
    }

    /// As [`Self::step`], for a step that is one command.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.step(name, || run(command));
    }

    /// Prints the summary; the exit code is non-zero if anything failed.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n==> Summary");
        for (name, outcome, took) in &self.rows {
            println!("{name:40} {}", line(outcome, *took));
        }
        if self.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn failed(&self) -> bool {
        self.rows.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)))
    }
}

fn line(outcome: &Outcome, took: Duration) -> String {
    let separator = if outcome.why().is_empty() { "" } else { ": " };
    format!("{} in {:.1} s{separator}{}", outcome.word(), took.as_secs_f64(), outcome.why())
}

/// Shows `command` and runs it, its output going where ours goes, and its input closed.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", shown(command));
    run_unshown(command)
}

/// As [`run`], for a command that names places of this machine.
pub(crate) fn run_unshown(command: &mut Command) -> Outcome {
    let _ = std::io::stdout().flush();
    match command.stdin(std::process::Stdio::null()).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{}: {status}", named(command))),
        Err(error) => Outcome::Failed(format!("{}: {error}", named(command))),
    }
}

/// Whether `program` can be started at all.
pub(crate) fn can_run(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    set.chain(words(command)).collect::<Vec<_>>().join(" ")
}

/// The program and its first argument, as in `cargo test`.
fn named(command: &Command) -> String {
    words(command).take(2).collect::<Vec<_>>().join(" ")
}

fn words(command: &Command) -> impl Iterator<Item = String> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = core::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy()))
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(' ') { format!("'{word}'") } else { word.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_among_passes_fails_the_whole() {
        let mut report = Report::default();
        report.step("a", || Outcome::Passed);
        report.step("b", || Outcome::Skipped("no such machine".into()));
        assert!(!report.failed(), "what cannot run has not failed");
        report.step("c", || Outcome::Failed("broken".into()));
        report.step("d", || Outcome::Passed);
        assert!(report.failed());
        assert_eq!(report.rows.len(), 4, "a failure stops nothing");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_and_not_a_pass() {
        let mut command = Command::new("there-is-no-such-program");
        assert!(matches!(run(&mut command), Outcome::Failed(_)));
    }

    #[test]
    fn commands_are_shown_as_one_would_type_them() {
        let mut command = Command::new("bin/cargo");
        command
            .args(["doc", "-p", "a b", ""])
            .env("RUSTDOCFLAGS", "-D warnings")
            .env_remove("HOME");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc -p 'a b' ''");
        assert_eq!(named(&command), "cargo doc");
    }
}
