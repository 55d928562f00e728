//! Everything that needs only Rust and a C linker.

use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::cargo;
use crate::top;

/// The Python decoder, written from the specification alone, and its check of the vectors.
const DECODER: &str = "tests/python";

pub(crate) fn run(report: &mut Report) {
    report.command("tests", cargo("test").args(["--workspace", "--no-fail-fast"]));
    report.step("Python decoder", python_decoder);
}

fn python_decoder() -> Outcome {
    if !can_run("python3") {
        return Outcome::Skipped("no python3".into());
    }
    if !top().join(DECODER).exists() {
        return Outcome::Skipped(format!("no {DECODER} in this checkout"));
    }
    let mut python = Command::new("python3");
    python.current_dir(top()).env("PYTHONDONTWRITEBYTECODE", "1");
    run_command(python.args(["-m", "unittest", "discover", "--start-directory", DECODER]))
}
