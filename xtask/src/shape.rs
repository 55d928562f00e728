//! The committed table of what congestion controllers make of a bottleneck, made anew.

use std::process::{Command, Stdio};

use crate::step::{Outcome, Report};
use crate::toolchain::cargo;
use crate::top;

/// Where it is.
const TABLE: &str = "tests/SHAPE.md";

/// Writes it again, and fails with the difference if there is one to what was committed.
pub(crate) fn run(report: &mut Report) {
    report.step("shape", || {
        let mut make = cargo("run");
        make.args(["--quiet", "--release", "--package", "bowline-tests", "--bin", "shape"]);
        let made = match make.stderr(Stdio::inherit()).output() {
            Ok(made) if made.status.success() => made.stdout,
            Ok(made) => return Outcome::Failed(made.status.to_string()),
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        if let Err(error) = std::fs::write(top().join(TABLE), made) {
            return Outcome::Failed(format!("{TABLE}: {error}"));
        }
        let mut diff = Command::new("git");
        diff.args(["diff", "--exit-code", "--", TABLE]).current_dir(top());
        match diff.status() {
            Ok(status) if status.success() => Outcome::Passed,
            Ok(_) => Outcome::Failed(format!("{TABLE} has changed")),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    });
}
