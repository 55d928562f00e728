//! Which compilers this machine has.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::can_run;
use crate::top;

/// The targets without an operating system that everything small must link for. The second has
/// no compare-and-swap.
pub(crate) const BARE_TARGETS: [&str; 2] = ["thumbv7em-none-eabihf", "thumbv6m-none-eabi"];

/// The rustc of a Linux distribution, with which we build `core` ourselves.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// The cargo that runs us, at the top of the checkout.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(top()).arg(subcommand);
    command
}

/// Where cargo puts what it builds for the package in `folder`, which has a workspace of its own.
pub(crate) fn target_folder(folder: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(set) => top().join(set),
        None => folder.join("target"),
    }
}

/// A way to build for a target that is not this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CrossToolchain {
    /// The compiler at hand has the target's standard library.
    Installed,
    /// The distribution's compiler and library sources, linking with its `ld.lld`.
    BuildStd,
}

impl CrossToolchain {
    /// The way to build for `target`, or why there is none.
    pub(crate) fn find(target: &str) -> Result<Self, String> {
        if installed(target) {
            return Ok(Self::Installed);
        }
        let sources = sysroot(SYSTEM_RUSTC).map(|root| root.join("lib/rustlib/src/rust/library"));
        if sources.is_some_and(|sources| sources.join("core").exists()) && can_run("ld.lld") {
            return Ok(Self::BuildStd);
        }
        Err(format!(
            "no core library for {target}: neither by `rustup target add {target}` nor from \
             Debian's rustc-web, rust-web-src and lld"
        ))
    }

    /// A cargo command for `target`, at the top of the checkout.
    pub(crate) fn cargo(self, subcommand: &str, target: &str) -> Command {
        let mut command = cargo(subcommand);
        command.args(["--target", target]);
        if matches!(self, Self::BuildStd) {
            let linker = target.to_uppercase().replace('-', "_");
            command.arg("-Zbuild-std=core,alloc");
            command.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            command.env(format!("CARGO_TARGET_{linker}_LINKER"), "ld.lld");
        }
        command
    }
}

/// Whether the compiler at hand has the standard library (or just `core`) of `target`.
pub(crate) fn installed(target: &str) -> bool {
    output("rustc", &["--print", "target-libdir", "--target", target])
        .is_some_and(|folder| Path::new(&folder).exists())
}

/// The name under which rustup has a toolchain that starts with `version`.
pub(crate) fn rustup_toolchain(version: &str) -> Option<String> {
    let list = output("rustup", &["toolchain", "list", "--quiet"])?;
    let mut names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.find(|name| name.starts_with(version)).map(String::from)
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    output(rustc, &["--print", "sysroot"]).map(PathBuf::from)
}

/// What `program` prints, without the last newline, if it runs and succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    output.status.success().then_some(text)
}
