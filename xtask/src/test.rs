//! Everything that needs only Rust and a C linker.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::{cargo, target_folder};
use crate::top;

/// A decoder written from the specification alone, and what compares it with the Rust one.
const DECODER: &str = "tests/python";
const VECTORS: &str = "crates/bowline-wire/vectors";
/// Where proptest takes its seed from.
const PROPERTY_SEED: &str = "PROPTEST_RNG_SEED";
/// How many random datagrams the two decoders are compared by, and their seed.
const RANDOM_DATAGRAMS: [&str; 2] = ["20000", "1"];

pub(crate) fn run(report: &mut Report) {
    let mut tests = cargo("test");
    tests.args(["--workspace", "--no-fail-fast"]);
    // A gate must answer the same twice; what is random is for the soak, and for who sets another seed.
    if std::env::var_os(PROPERTY_SEED).is_none() {
        tests.env(PROPERTY_SEED, "1");
    }
    report.command("tests", &mut tests);
    report.step("Python decoder: unit tests", || {
        python(&["-m", "unittest", "discover", "--start-directory", DECODER])
    });
    report.step("Python decoder: vectors", compare_vectors);
    report.step("Python decoder: random datagrams", compare_random);
}

fn python(arguments: &[&str]) -> Outcome {
    if !can_run("python3") {
        return Outcome::Skipped("no python3".into());
    }
    run_command(Command::new("python3").arg("-B").args(arguments).current_dir(top()))
}

fn compare(files: &[PathBuf]) -> Outcome {
    let check = format!("{DECODER}/check.py");
    let names: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let arguments = core::iter::once(&*check).chain(names.iter().map(|name| &**name));
    python(&arguments.collect::<Vec<_>>())
}

fn compare_vectors() -> Outcome {
    let entries = match std::fs::read_dir(top().join(VECTORS)) {
        Ok(entries) => entries,
        Err(error) => return Outcome::Failed(format!("{VECTORS}: {error}")),
    };
    let names = entries.flatten().map(|entry| Path::new(VECTORS).join(entry.file_name()));
    let is_vector = |name: &PathBuf| name.extension().is_some_and(|kind| kind != "md");
    let mut files: Vec<_> = names.filter(is_vector).collect();
    files.sort();
    if files.is_empty() {
        return Outcome::Failed(format!("no vectors in {VECTORS}"));
    }
    compare(&files)
}

/// Lets the Rust side make datagrams and say what they mean, and the other side check that.
fn compare_random() -> Outcome {
    let mut command = cargo("run");
    command.args(["--quiet", "--profile", "test", "--package", "bowline-wire"]);
    command.args(["--example", "random_datagrams", "--"]).args(RANDOM_DATAGRAMS);
    let lines = match command.stderr(std::process::Stdio::inherit()).output() {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return Outcome::Failed(format!("random_datagrams: {}", output.status)),
        Err(error) => return Outcome::Failed(format!("cargo: {error}")),
    };
    let file = target_folder(&top()).join("random_datagrams.jsonl");
    match std::fs::write(&file, lines) {
        Ok(()) => compare(&[file]),
        Err(error) => Outcome::Failed(format!("{}: {error}", file.display())),
    }
}
