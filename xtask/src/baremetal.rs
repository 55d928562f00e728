//! The protocol crates, linked without an operating system, an allocator or a panic.

use std::path::PathBuf;
use std::process::Command;

use crate::elf::Program;
use crate::step::{Outcome, Report, run as run_command};
use crate::toolchain::{BARE_TARGETS, CrossToolchain, target_folder};
use crate::top;

/// The symbol that the panic handler refers to and nobody defines.
const PANIC: &str = "bowline_reachable_panic";

pub(crate) fn run(report: &mut Report) {
    for target in BARE_TARGETS {
        report.step(&format!("link {target}"), || link(target));
        report.step(&format!("planted panic {target}"), || planted_panic(target));
    }
}

/// The folder of the package.
pub(crate) fn folder() -> PathBuf {
    top().join("tests/baremetal")
}

/// A cargo command in the package's folder.
pub(crate) fn cargo(toolchain: CrossToolchain, subcommand: &str, target: &str) -> Command {
    let mut command = toolchain.cargo(subcommand, target);
    command.current_dir(folder()).arg("--release");
    command
}

/// The binary that exercises everything.
const EVERYTHING: &str = "bowline-baremetal";

/// Links all binaries with the given features and returns the file of one.
pub(crate) fn build(target: &str, features: &str, program: &str) -> Result<Vec<u8>, Outcome> {
    let toolchain = CrossToolchain::find(target).map_err(Outcome::Skipped)?;
    match run_command(cargo(toolchain, "build", target).args(["--features", features])) {
        Outcome::Passed => {}
        other => return Err(other),
    }
    let program = target_folder(&folder()).join(target).join("release").join(program);
    std::fs::read(&program)
        .map_err(|error| Outcome::Failed(format!("{}: {error}", program.display())))
}

fn link(target: &str) -> Outcome {
    let Err(outcome) = build(target, "", EVERYTHING).and_then(|file| weigh(&file)) else {
        return Outcome::Passed;
    };
    if matches!(outcome, Outcome::Failed(_)) {
        name_panics(target);
    }
    outcome
}

fn weigh(file: &[u8]) -> Result<(), Outcome> {
    let program = Program::parse(file).ok_or(Outcome::Failed("not an ELF file".into()))?;
    println!("flash {} bytes, RAM {} bytes besides the stack", program.flash(), program.ram());
    Ok(())
}

/// Says which panics can be reached, after a link has failed.
fn name_panics(target: &str) {
    println!("Linking once more to see where a panic can be reached:");
    let Ok(file) = build(target, "locate-panics", EVERYTHING) else { return };
    let locations = Program::parse(&file).map(|program| program.panic_locations());
    for (path, line, column) in locations.unwrap_or_default() {
        println!("  reachable panic at {path}:{line}:{column}");
    }
}

/// Passes if the program with a planted panic does *not* link, and for the right reason.
fn planted_panic(target: &str) -> Outcome {
    let toolchain = match CrossToolchain::find(target) {
        Ok(toolchain) => toolchain,
        Err(why) => return Outcome::Skipped(why),
    };
    let mut command = cargo(toolchain, "build", target);
    let output = match command.args(["--features", "planted-panic"]).output() {
        Ok(output) => output,
        Err(error) => return Outcome::Failed(format!("cargo: {error}")),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    let undefined =
        errors.lines().find(|line| line.contains("undefined symbol") && line.contains(PANIC));
    match undefined {
        Some(line) if !output.status.success() => {
            println!("refused, as it must be: {}", line.trim());
            Outcome::Passed
        }
        _ => {
            println!("{errors}");
            Outcome::Failed(format!("a planted panic did not end in an undefined {PANIC}"))
        }
    }
}
