//! The committed trace, made anew.

use crate::step::{Outcome, Report, run as run_command};
use crate::toolchain::cargo;
use crate::top;

/// Where it is.
pub(crate) const FOLDER: &str = "tests/traces";

/// Records it again, as the code is now, with its hash beside it.
pub(crate) fn run(report: &mut Report) {
    report.step("record", || {
        let mut record = cargo("run");
        record.args(["--quiet", "--profile", "test", "--package", "bowline-tests"]);
        run_command(record.args(["--bin", "record", "--"]).arg(top().join(FOLDER)))
    });
}

/// The hash of everything that comes out while the committed trace is replayed.
pub(crate) fn hash() -> Result<String, Outcome> {
    let path = top().join(FOLDER).join("rough.hash");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(Outcome::Failed(format!("{FOLDER}/rough.hash: {error}"))),
    }
}
