//! The README's first commands, as a newcomer would run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Outcome, Report, run_unshown};
use crate::top;

pub(crate) fn run(report: &mut Report) {
    let room = std::env::temp_dir().join(format!("bowline-fresh-clone-{}", std::process::id()));
    let (home, clone) = (room.join("home"), room.join("bowline"));
    let mut commands = Vec::new();
    report.step("clone HEAD", || {
        if let Err(error) = std::fs::create_dir_all(&home) {
            return Outcome::Failed(format!("{}: {error}", home.display()));
        }
        let mut git = Command::new("git");
        let cloned = run_unshown(git.args(["clone", "--quiet"]).arg(top()).arg(&clone));
        if cloned != Outcome::Passed {
            return cloned;
        }
        let readme = std::fs::read_to_string(clone.join("README.md")).unwrap_or_default();
        commands = first_commands(&readme);
        match commands.is_empty() {
            true => Outcome::Failed("README.md has no code block with commands".into()),
            false => Outcome::Passed,
        }
    });
    for command in &commands {
        report.step(command, || as_newcomer(command, &home, &clone));
    }
    let _ = std::fs::remove_dir_all(&room);
}

/// The commands in the first code block of a Markdown text.
fn first_commands(markdown: &str) -> Vec<String> {
    let mut lines = markdown.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
    let lines = block.map(|line| line.strip_prefix("$ ").unwrap_or(line).trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(String::from).collect()
}

/// Runs `line` in a shell, with an empty home and nothing of the build that runs us.
///
/// The toolchain itself, and what cargo has downloaded, stay where they are.
fn as_newcomer(line: &str, home: &Path, clone: &Path) -> Outcome {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(clone);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if belongs_to_this_build(&name) {
            shell.env_remove(&*name);
        }
    }
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        shell.env(name, tool_home(name, folder));
    }
    run_unshown(shell.env("HOME", home))
}

/// Whether a variable says how *this* build is done, rather than how to reach the network.
fn belongs_to_this_build(name: &str) -> bool {
    let network = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let build = ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTDOC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"];
    build.iter().any(|prefix| name.starts_with(prefix))
        && !network.iter().any(|prefix| name.starts_with(prefix))
}

fn tool_home(variable: &str, folder: &str) -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(folder);
    std::env::var_os(variable).map_or_else(home, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_is_taken_and_only_its_commands() {
        let readme =
            "# Bowline\n\n```sh\n# see it run\n$ cargo run\n\ncargo test\n```\n\n```\nno\n```";
        assert_eq!(first_commands(readme), ["cargo run", "cargo test"]);
        assert!(first_commands("nothing to run").is_empty());
    }

    #[test]
    fn a_newcomer_keeps_the_network_and_loses_the_build() {
        assert!(belongs_to_this_build("CARGO_TARGET_DIR"));
        assert!(belongs_to_this_build("CARGO_MANIFEST_DIR"));
        assert!(belongs_to_this_build("RUSTFLAGS"));
        assert!(!belongs_to_this_build("CARGO_HTTP_CAINFO"));
        assert!(!belongs_to_this_build("PATH"));
    }
}
