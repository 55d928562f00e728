//! The one door for chores: `cargo xtask <chore>`.
//!
//! A chore is a row of steps. Each step prints a heading, what its tools print, and how long it
//! took; all steps run even if one fails, and a summary says at the end what passed, failed, or
//! could not run on this machine and why.

mod baremetal;
mod bench;
mod callgrind;
mod ci;
mod elf;
mod firmware;
mod fresh_clone;
mod fuzz;
mod instructions;
mod interop;
mod mutants;
mod shape;
mod sizes;
mod soak;
mod step;
mod test;
mod toolchain;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use step::Report;

/// A chore: its name, what it does, and how.
type Chore = (&'static str, &'static str, fn(&mut Report));

const CHORES: &[Chore] = &[
    ("test", "everything that needs only Rust and a C linker", test::run),
    ("ci", "what a submission must pass besides `test`", ci::run),
    ("baremetal", "link without an allocator; a reachable panic is a link error", baremetal::run),
    ("firmware", "replay the committed trace on Cortex-M under QEMU", firmware::run),
    ("sizes", "flash and RAM of the bare-metal binaries", sizes::run),
    ("callgrind", "instructions on the hot path, of one workload or all", callgrind::run),
    ("bench", "bowline beside its peers, into benches/RESULTS.md: [--quick]", bench::run),
    ("shape", "controllers at a bottleneck: the table anew, and what changed in it", shape::run),
    ("instructions", "the hot path against benches/instructions.txt: [--bless]", instructions::run),
    ("soak", "random worlds under the models: [--datagrams N] [--seed S]", soak::run),
    ("fuzz", "all targets or some: [TARGET]... [--minutes N] [--mutants]", fuzz::run),
    ("enet-diff", "C ENet and bowline in lockstep: [--steps N] [--seed S]", interop::diff),
    ("interop", "real ENet and Godot: [--short] [--only TEXT] [--jobs N]", interop::run),
    ("mutants", "builds that are wrong on purpose: their tests must fail; [NAME]", mutants::run),
    ("trace", "record the committed trace anew", trace::run),
    ("demos", "the demonstration with 20 % loss, 20 s, 20 seeds", soak::demos),
    ("fresh-clone", "run the README's commands in a clone of HEAD, home empty", fresh_clone::run),
];

fn main() -> ExitCode {
    if let Some(compiled) = mutants::compile() {
        return compiled;
    }
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    match CHORES.iter().find(|(name, ..)| *name == chore) {
        Some((name, _, run)) if takes_arguments(name) || arguments.next().is_none() => {
            let mut report = Report::default();
            run(&mut report);
            report.finish()
        }
        _ => {
            eprintln!("usage: cargo xtask <chore>\n");
            for (name, what, _) in CHORES {
                eprintln!("  {name:12} {what}");
            }
            ExitCode::from(2)
        }
    }
}

/// Whether a chore reads the rest of the command line itself.
fn takes_arguments(chore: &str) -> bool {
    matches!(
        chore,
        "bench"
            | "callgrind"
            | "enet-diff"
            | "fuzz"
            | "instructions"
            | "interop"
            | "mutants"
            | "soak"
    )
}

/// The top of the checkout that cargo runs us for. (The one we were compiled in may be another, where
/// checkouts share a target folder.)
fn top() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    here.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
