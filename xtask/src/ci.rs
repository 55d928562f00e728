//! What a submission must pass besides `test`.

use std::process::Command;

use crate::step::{Outcome, Report, can_run, run as run_command};
use crate::toolchain::{
    BARE_TARGETS, CrossToolchain, cargo, installed, rustup_toolchain, target_folder,
};
use crate::{baremetal, bench, firmware, fuzz, instructions, interop, top};

/// The crates that must build for a machine without an operating system, and whose features are
/// swept.
const PROTOCOL_CRATES: [&str; 7] = [
    "bowline-core",
    "bowline-wire",
    "bowline-transport",
    "bowline-crypto",
    "bowline-native",
    "bowline-enet",
    "bowline-trace",
];

/// Other people's operating systems, for which the workspace must at least be well typed.
const FOREIGN_TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// The oldest compiler that must do, as in the workspace's `rust-version`.
const RUST_MIN: &str = env!("CARGO_PKG_RUST_VERSION");

pub(crate) fn run(report: &mut Report) {
    report.step("format", format);
    report.step("clippy", clippy);
    report.step("clippy, bare metal", bare_clippy);
    let mut doc = cargo("doc");
    doc.env("RUSTDOCFLAGS", "-D warnings").args(["--workspace", "--no-deps"]);
    report.command("docs", &mut doc);
    for name in PROTOCOL_CRATES {
        report.step(&format!("features of {name}"), || features(name));
    }
    for target in BARE_TARGETS {
        report.step(&format!("libraries for {target}"), || bare_libraries(target));
    }
    baremetal::run(report);
    firmware::run(report);
    report.step(&format!("Rust {RUST_MIN}"), oldest_compiler);
    for target in FOREIGN_TARGETS {
        report.step(&format!("check {target}"), || foreign(target));
    }
    instructions::check(report);
    fuzz::smoke(report);
    interop::smoke(report);
    report.step("lock files", lock_files);
}

/// Runs all of `steps`; the outcome is the first that is not a pass.
fn all(steps: impl IntoIterator<Item = Outcome>) -> Outcome {
    let ends: Vec<_> = steps.into_iter().collect();
    ends.into_iter().find(|outcome| *outcome != Outcome::Passed).unwrap_or(Outcome::Passed)
}

fn format() -> Outcome {
    if !can_run("rustfmt") {
        return Outcome::Skipped("no rustfmt".into());
    }
    let beside = [baremetal::folder(), firmware::folder(), interop::folder(), bench::folder()];
    let folders = [top(), top().join("fuzz")].into_iter().chain(beside);
    all(folders
        .map(|folder| run_command(cargo("fmt").args(["--all", "--check"]).current_dir(folder))))
}

fn clippy() -> Outcome {
    if !can_run("cargo-clippy") {
        return Outcome::Skipped("no clippy".into());
    }
    let mut workspace = cargo("clippy");
    workspace.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    let beside = [interop::folder(), bench::folder()].map(|folder| {
        let mut command = cargo("clippy");
        command.current_dir(folder).args(["--all-targets", "--", "-D", "warnings"]);
        run_command(&mut command)
    });
    all([run_command(&mut workspace), all(beside)])
}

/// The packages outside the workspace, which only compile for targets without a system.
fn bare_clippy() -> Outcome {
    let [target, ..] = BARE_TARGETS;
    if !can_run("cargo-clippy") || !installed(target) {
        return Outcome::Skipped(format!("no clippy, or no core library for {target}"));
    }
    all([baremetal::cargo, firmware::cargo].map(|cargo| {
        let mut command = cargo(CrossToolchain::Installed, "clippy", target);
        run_command(command.args(["--", "-D", "warnings"]))
    }))
}

/// Builds `name` with no feature, with each alone, and with all.
fn features(name: &str) -> Outcome {
    let check = |features: &[&str]| {
        run_command(
            cargo("check").args(["-p", name, "--lib", "--no-default-features"]).args(features),
        )
    };
    let names = match feature_names(name) {
        Ok(names) => names,
        Err(why) => return Outcome::Failed(why),
    };
    let each = names.iter().map(|feature| check(&["--features", feature]));
    all([check(&[]), all(each), check(&["--all-features"])])
}

fn feature_names(name: &str) -> Result<Vec<String>, String> {
    let manifest = top().join("crates").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    Ok(features_in(&text).map(String::from).collect())
}

/// The names in the `[features]` table of a manifest, without `default`.
fn features_in(manifest: &str) -> impl Iterator<Item = &str> {
    let table = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let table = table.take_while(|line| !line.starts_with('['));
    let names = table.filter_map(|line| line.split_once(" = [").map(|(name, _)| name));
    names.filter(|name| *name != "default" && !name.starts_with('#'))
}

/// Builds every protocol crate for `target`, without features and with `defmt`.
///
/// Only checks them where `core` itself has to be built, which takes minutes.
fn bare_libraries(target: &str) -> Outcome {
    let toolchain = match CrossToolchain::find(target) {
        Ok(toolchain) => toolchain,
        Err(why) => return Outcome::Skipped(why),
    };
    let subcommand = match toolchain {
        CrossToolchain::Installed => "build",
        CrossToolchain::BuildStd => "check",
    };
    let build = |features: &[String]| {
        let mut command = toolchain.cargo(subcommand, target);
        command.args(["--lib", "--no-default-features"]).args(features);
        run_command(command.args(PROTOCOL_CRATES.map(|name| ["-p", name]).as_flattened()))
    };
    let with_defmt = PROTOCOL_CRATES.iter().filter(|name| {
        feature_names(name).is_ok_and(|features| features.iter().any(|name| name == "defmt"))
    });
    let defmt: Vec<_> = with_defmt.map(|name| format!("--features={name}/defmt")).collect();
    all([build(&[]), build(&defmt)])
}

fn oldest_compiler() -> Outcome {
    let Some(toolchain) = rustup_toolchain(RUST_MIN) else {
        return Outcome::Skipped(format!("no toolchain {RUST_MIN} installed"));
    };
    let folder = target_folder(&top()).join("oldest");
    let mut check = Command::new("rustup");
    check.args(["run", &toolchain, "cargo", "check", "--workspace", "--all-targets"]);
    check.current_dir(top()).env("CARGO_TARGET_DIR", folder);
    run_command(check.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN"))
}

fn foreign(target: &str) -> Outcome {
    if !installed(target) {
        return Outcome::Skipped(format!("no standard library for {target}"));
    }
    run_command(cargo("check").args(["--workspace", "--target", target]))
}

/// Whether building has left the committed lock files as they were.
fn lock_files() -> Outcome {
    let locks = [
        "Cargo.lock",
        "benches/peers/Cargo.lock",
        "fuzz/Cargo.lock",
        "tests/interop/Cargo.lock",
        "tests/baremetal/Cargo.lock",
        "tests/firmware/Cargo.lock",
    ];
    if !can_run("git") || !top().join(".git").exists() {
        return Outcome::Skipped("not a git checkout".into());
    }
    let mut git = Command::new("git");
    git.current_dir(top()).args(["diff", "--exit-code", "HEAD", "--"]).args(locks);
    run_command(&mut git)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_names_are_read_from_their_table_alone() {
        let manifest = "[package]\nname = [\n[features]\n## Text.\ndefault = [\"a\"]\na = []\n\
                        b = [\n    \"a\",\n]\n\n[dependencies]\nc = []\n";
        assert_eq!(features_in(manifest).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn every_protocol_crate_has_a_manifest() {
        for name in PROTOCOL_CRATES {
            assert!(feature_names(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_does_not_pass_is_not_hidden_by_what_does() {
        let failed = Outcome::Failed("no".into());
        assert_eq!(all([Outcome::Passed, failed.clone(), Outcome::Passed]), failed);
        assert_eq!(all([]), Outcome::Passed);
    }
}
