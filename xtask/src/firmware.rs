//! The committed trace, replayed on Cortex-M under QEMU.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::{BARE_TARGETS, CrossToolchain, target_folder};
use crate::{top, trace};

const QEMU: &str = "qemu-system-arm";
/// A Cortex-M4F with 8 MiB; what is built for lesser cores runs on it too.
const MACHINE: &str = "mps2-an386";
/// Many times what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(report: &mut Report) {
    for target in BARE_TARGETS {
        report.step(&format!("replay on {target}"), || replay(target));
    }
}

/// The folder of the package.
pub(crate) fn folder() -> PathBuf {
    top().join("tests/firmware")
}

/// A cargo command in the package's folder.
pub(crate) fn cargo(toolchain: CrossToolchain, subcommand: &str, target: &str) -> Command {
    let mut command = toolchain.cargo(subcommand, target);
    command.current_dir(folder()).arg("--release");
    command
}

fn replay(target: &str) -> Outcome {
    let toolchain = match CrossToolchain::find(target) {
        Ok(toolchain) => toolchain,
        Err(why) => return Outcome::Skipped(why),
    };
    let built = run_command(&mut cargo(toolchain, "build", target));
    if built != Outcome::Passed {
        return built;
    }
    if !can_run(QEMU) {
        return Outcome::Skipped(format!("no {QEMU}"));
    }
    let file = target_folder(&folder()).join(target).join("release/bowline-firmware");
    match trace::hash().and_then(|hash| Ok((hash, emulate(&file)?))) {
        Ok((hash, said)) => judge(&hash, &said),
        Err(outcome) => outcome,
    }
}

/// What the program says.
fn emulate(program: &Path) -> Result<String, Outcome> {
    let mut qemu = Command::new(QEMU);
    qemu.args(["-M", MACHINE, "-nographic", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(program);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = qemu.spawn().map_err(|error| Outcome::Failed(format!("{QEMU}: {error}")))?;
    let output = wait(child).map_err(Outcome::Failed)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{said}{}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(said)
    } else {
        Err(Outcome::Failed(format!("{QEMU}: {}", output.status)))
    }
}

/// The program says little, so that no pipe fills up meanwhile.
fn wait(mut child: Child) -> Result<Output, String> {
    let start = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no end after {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().map_err(|error| error.to_string())
}

fn judge(hash: &str, said: &str) -> Outcome {
    let told = said.lines().find_map(|line| line.strip_prefix("hash "));
    match told {
        Some(told) if told == hash => Outcome::Passed,
        Some(told) => Outcome::Failed(format!("hash {told} and not {hash}")),
        None => Outcome::Failed("it told no hash".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_hash_passes() {
        assert_eq!(judge("ab12", "9 records, Complete\nhash ab12\n"), Outcome::Passed);
        assert!(matches!(judge("ab12", "hash ab13\n"), Outcome::Failed(_)));
        assert!(matches!(judge("ab12", "ab12\n"), Outcome::Failed(_)));
    }
}
