//! bowline's ENet beside the C library and beside Godot, in the package `interop`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::cargo;
use crate::top;

/// Where the C library's header may be, as in the package's build script.
const HEADERS: [&str; 2] = ["/usr/include/enet/enet.h", "/usr/local/include/enet/enet.h"];

/// How many steps the gate takes, a few seconds' worth.
const SMOKE_STEPS: &str = "60000";

/// The package's folder.
pub(crate) fn folder() -> PathBuf {
    top().join("interop")
}

/// The C library and bowline in lockstep: `enet-diff [--steps N] [--seed S]`.
pub(crate) fn diff(report: &mut Report) {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    report.step("enet-diff", || lockstep(&arguments));
}

/// The package's own tests, and a short run in lockstep.
pub(crate) fn smoke(report: &mut Report) {
    report.step("interop tests", || with_library(|| run_command(&mut package("test"))));
    report.step("enet-diff", || lockstep(&["--steps".into(), SMOKE_STEPS.into()]));
}

fn lockstep(arguments: &[String]) -> Outcome {
    with_library(|| {
        let mut command = package("run");
        run_command(command.args(["--bin", "enet_diff", "--"]).args(arguments))
    })
}

/// What `body` says, where there is a C library to compare with.
fn with_library(body: impl FnOnce() -> Outcome) -> Outcome {
    if !HEADERS.iter().any(|header| Path::new(header).exists()) {
        return Outcome::Skipped("no libenet (Debian: apt-get install libenet-dev)".into());
    }
    if !can_run("cc") {
        return Outcome::Skipped("no C compiler".into());
    }
    body()
}

fn package(subcommand: &str) -> Command {
    let mut command = cargo(subcommand);
    command.current_dir(folder()).arg("--quiet");
    command
}
