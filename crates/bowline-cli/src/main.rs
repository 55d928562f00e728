//! The command-line tool: a demonstration that checks itself, a conversation between two processes,
//! what was recorded of either, done again, and datagrams explained.
//!
//! Exits with 0 when all went well, 1 when a promise of a mode was broken or a replay differs, 2 when nothing came of it
//! at all (the port was taken, nobody answered, the arguments make no sense), with the reason in one
//! line on standard error.
#![allow(clippy::std_instead_of_alloc)] // It needs `std` whatever it takes it from.

mod chat;
mod decode;
mod demo;
mod enet;
mod recorded;
mod replay;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why nothing came of it, in one line for whoever called.
type Failure = Box<dyn core::error::Error>;

/// Reliable UDP: see it work, or talk through it.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a server and clients over a bad network on this machine, and checks every byte
    ///
    /// Every mode is used on three channels in both directions, with messages from 1 byte to 1 MiB
    /// (reliable), 64 KiB (reliable-unordered), 16 KiB (unreliable-ordered) and 4 KiB (unreliable,
    /// reliable-latest). All that is delivered is compared with what was sent, and every message has a
    /// tag: that its sender is told one end of it, which can be, is a promise like the others.
    ///
    /// Exits with 1 if a promise of a mode was broken, and with 2 if nothing came of it.
    #[command(verbatim_doc_comment)]
    Demo(demo::Options),
    /// Waits for others to connect; prints what they say, and says to all of them what is typed
    ///
    /// Typed lines are reliable messages. Others are made so:
    ///
    ///   /u TEXT    unreliable
    ///   /o TEXT    unreliable-ordered
    ///   /c N       from now on, on channel N
    ///
    /// Ctrl-C closes all sessions, once what was said has arrived. The end of the input does not.
    #[command(verbatim_doc_comment)]
    Serve(chat::ServeOptions),
    /// Connects to a server; prints what it says, and says to it what is typed
    ///
    /// Typed lines are reliable messages. Others are made so:
    ///
    ///   /u TEXT    unreliable
    ///   /o TEXT    unreliable-ordered
    ///   /c N       from now on, on channel N
    ///
    /// At the end of the input, or at Ctrl-C, the session closes once what was said has arrived.
    #[command(verbatim_doc_comment)]
    Connect(chat::ConnectOptions),
    /// Does again what a recorded endpoint did, and compares every byte that comes out
    ///
    /// What --record has written is all that is needed. Prints what was in it, the time that passed for
    /// the endpoint, and a hash of everything that came out of it.
    ///
    /// Exits with 1 if anything else comes out, and says where, and with 2 if the file cannot be
    /// replayed.
    #[command(verbatim_doc_comment)]
    Replay(replay::Options),
    /// Talks with programs that speak ENet, those made with Godot among them
    ///
    /// What is typed and printed is as with serve and connect.
    #[command(subcommand)]
    Enet(enet::Command),
    /// Explains datagrams field by field, bowline's own or ENet's
    ///
    /// Takes the bytes of one in hexadecimal, or a file that Wireshark or tcpdump wrote. Which protocol it is
    /// follows from what makes sense, by conversation, unless it is said; so does what ENet's commands are
    /// compressed by. What is malformed is explained up to the fault.
    #[command(verbatim_doc_comment)]
    Decode(decode::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Serve(options) => chat::serve(&options).map(|()| ExitCode::SUCCESS),
        Command::Connect(options) => chat::connect(&options).map(|()| ExitCode::SUCCESS),
        Command::Replay(options) => replay::run(&options),
        Command::Enet(command) => enet::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Decode(options) => decode::run(&options),
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
