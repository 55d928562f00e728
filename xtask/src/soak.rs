//! The long runs: random worlds under the models, and the demonstration on bad links.

use crate::step::{Outcome, Report, run as run_command};
use crate::toolchain::{cargo, target_folder};
use crate::top;

/// What is simulated when the command line does not say.
const DATAGRAMS: &str = "10000000";
/// How often the demonstration runs, each time with another seed.
const DEMOS: u32 = 20;

/// Random worlds until so many datagrams were simulated: `soak [--datagrams N] [--seed S]`.
pub(crate) fn run(report: &mut Report) {
    let mut arguments: Vec<String> = std::env::args().skip(2).collect();
    if arguments.is_empty() {
        arguments = vec!["--datagrams".into(), DATAGRAMS.into(), "--seed".into(), "1".into()];
    }
    let mut command = cargo("run");
    command.args(["--release", "-p", "bowline-tests", "--bin", "soak", "--"]).args(arguments);
    report.command("soak", &mut command);
}

/// The demonstration with one datagram in five lost, twenty seconds each.
pub(crate) fn demos(report: &mut Report) {
    report.command("build", cargo("build").args(["--release", "-p", "bowline-cli"]));
    let program = target_folder(&top()).join("release/bowline");
    for seed in 1..=DEMOS {
        report.step(&format!("demo, seed {seed}"), || demo(&program, seed));
    }
}

fn demo(program: &std::path::Path, seed: u32) -> Outcome {
    let mut command = std::process::Command::new(program);
    command.args(["demo", "--loss", "20", "--seconds", "20", "--seed", &seed.to_string()]);
    run_command(&mut command)
}
