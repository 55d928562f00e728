//! What a recorded endpoint did, done again.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bowline::{Heap, SipHash};
use bowline_trace::{Divergence, End, Replay, ReplayError, Stream, Summary, Trace};
use clap::Args;

use crate::Failure;

/// For the replay.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A trace that was recorded with --record
    file: PathBuf,
}

/// Replays a trace. The exit code is 1 if anything else came of it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let path = options.file.display();
    let file = File::open(&options.file).map_err(|error| format!("{path}: {error}"))?;
    let trace = Trace::open(Stream(BufReader::new(file)));
    let trace = trace.map_err(|error| format!("{path}: {error}"))?;
    let header = trace.header();
    let memory = Heap::of_shape(&header.shape);
    let (Some(memory), Some(classes)) = (memory, header.leak_classes()) else {
        return Err(format!("{path}: no memory as it was recorded on: {:?}", header.shape).into());
    };
    let mut replay = Replay::new(trace, &SipHash, memory, classes)
        .map_err(|error| format!("{path}: {error}"))?;
    let start = Instant::now();
    let result = replay.run(&mut Vec::new());
    let took = start.elapsed();
    print(&replay.summary(), took.as_secs_f64())?;
    match (result, replay.divergence()) {
        (Ok(summary), _) => {
            print_end(summary.end)?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(error @ ReplayError::Diverged { .. }), Some(divergence)) => {
            print_divergence(&error, divergence)?;
            Ok(ExitCode::FAILURE)
        }
        (Err(error @ ReplayError::OtherHash { .. }), _) => {
            writeln!(io::stdout(), "\n{error}")?;
            Ok(ExitCode::FAILURE)
        }
        (Err(error), _) => Err(format!("{path}: {error}").into()),
    }
}

fn print(summary: &Summary, secs: f64) -> io::Result<()> {
    let Summary { records, datagrams_in, datagrams_out, bytes_in, bytes_out, .. } = *summary;
    let Summary { messages_in, messages_out, span, trace_len, carried, hash, .. } = *summary;
    let mut out = io::stdout().lock();
    writeln!(out, "calls         {records}")?;
    writeln!(out, "datagrams     {datagrams_in} in, {datagrams_out} out")?;
    writeln!(out, "bytes         {bytes_in} in, {bytes_out} out")?;
    writeln!(out, "messages      {messages_in} in, {messages_out} out")?;
    let overhead = trace_len.saturating_sub(carried) as f64;
    let each = overhead / (datagrams_in + datagrams_out).max(1) as f64;
    writeln!(
        out,
        "trace         {trace_len} bytes, of which {carried} went in; {each:.1} others per datagram"
    )?;
    writeln!(out, "virtual time  {:.6} s, replayed in {secs:.3} s", span.as_micros() as f64 / 1e6)?;
    writeln!(out, "hash          {hash:016x}")
}

fn print_end(end: End) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match end {
        End::Complete => writeln!(out, "\nVerdict: every output is the one that was recorded."),
        End::Truncated => writeln!(
            out,
            "\nVerdict: every output is the one that was recorded, up to where the trace ends; it was not ended \
             in good order."
        ),
    }
}

fn print_divergence(place: &ReplayError<io::Error>, divergence: &Divergence) -> io::Result<()> {
    let Divergence { input, recorded, replayed, .. } = divergence;
    let mut out = io::stdout().lock();
    writeln!(out, "\nVerdict: it {place}.")?;
    writeln!(out, "call          {input:?}")?;
    writeln!(out, "recorded      {recorded:?}")?;
    writeln!(out, "replayed      {replayed:?}")
}
