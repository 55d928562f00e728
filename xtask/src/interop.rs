//! bowline's ENet beside the C library and beside Godot, in the package `interop`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command, run_unshown};
use crate::toolchain::{cargo, target_folder};
use crate::top;

/// Where the C library's header may be, as in the package's build script.
const HEADERS: [&str; 2] = ["/usr/include/enet/enet.h", "/usr/local/include/enet/enet.h"];

/// How many steps the gate takes, a few seconds' worth.
const SMOKE_STEPS: &str = "60000";

/// How long fetching the engines may take; two minutes are usual.
const GODOT_SECONDS_MAX: &str = "300";

/// The package's folder.
pub(crate) fn folder() -> PathBuf {
    top().join("tests/interop")
}

/// The C library and bowline in lockstep: `enet-diff [--steps N] [--seed S]`.
pub(crate) fn diff(report: &mut Report) {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    report.step("enet-diff", || lockstep(&arguments));
}

/// Real programs over real sockets: `interop [--short] [--ours c|bowline] [--only TEXT] [--jobs N]`.
pub(crate) fn run(report: &mut Report) {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    report.step("get Godot", get_godot);
    report.step("interop", || matrix(&arguments));
}

/// The package's own tests, a short run in lockstep, and the cells that tell most.
pub(crate) fn smoke(report: &mut Report) {
    report.step("interop tests", || with_library(|| run_command(&mut package("test"))));
    report.step("enet-diff", || lockstep(&["--steps".into(), SMOKE_STEPS.into()]));
    report.step("get Godot", get_godot);
    report.step("interop", || matrix(&["--short".into()]));
}

/// Where the engines are unpacked.
fn godot() -> PathBuf {
    target_folder(&top()).join("godot")
}

/// Unpacks the engines that the system does not install, if they are not there already.
fn get_godot() -> Outcome {
    if godot().join("root/usr/bin/godot").exists() {
        return Outcome::Passed;
    }
    if !can_run("apt-get") || !can_run("dpkg-deb") || !cfg!(target_arch = "x86_64") {
        return Outcome::Skipped("the engines are Debian's, for amd64".into());
    }
    let mut script = Command::new("timeout");
    script.arg(GODOT_SECONDS_MAX).arg("sh").arg(folder().join("godot/get-godot.sh")).arg(godot());
    match run_unshown(&mut script) {
        Outcome::Failed(why) => Outcome::Skipped(format!("the engines cannot be fetched: {why}")),
        fetched => fetched,
    }
}

/// Programs that are not here are skipped by the program itself, which says so.
fn matrix(arguments: &[String]) -> Outcome {
    let mut command = package("run");
    command.env("BOWLINE_GODOT", godot());
    // The scripted peer is a program of its own.
    match run_command(&mut package("build")) {
        Outcome::Passed => run_unshown(command.args(["--bin", "interop", "--"]).args(arguments)),
        failed => failed,
    }
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
