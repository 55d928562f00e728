//! The command-line tool: a demonstration that checks itself.
//!
//! Exits with 0 when all went well, 1 when a promise of a mode was broken, 2 when nothing came of it
//! at all (the port was taken, nobody answered, the arguments make no sense), with the reason in one
//! line on standard error.
#![allow(clippy::std_instead_of_alloc)] // It needs `std` whatever it takes it from.

mod demo;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why nothing came of it, in one line for whoever called.
type Failure = Box<dyn core::error::Error>;

/// Reliable UDP: see it work.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a server and clients over a bad network on this machine, and checks every byte.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
    };
    outcome.unwrap_or_else(|failure| {
        if !is_broken_pipe(&failure) {
            let _ = writeln!(io::stderr(), "bowline: {failure}");
        }
        ExitCode::from(2)
    })
}

/// Whether somebody who read the output has enough of it, as `head` does.
fn is_broken_pipe(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
