//! World after world.

use core::panic::AssertUnwindSafe;
use std::io::Write;
use std::panic::catch_unwind;
use std::time::Instant;

use crate::scenario::Scenario;
use crate::world::{Tally, World};

/// What a soak found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What happened in all worlds that held.
    pub tally: Tally,
    /// How many worlds there were.
    pub worlds: u64,
    /// Seeds of those that did not hold, and why.
    pub violations: Vec<(u64, String)>,
}

/// Runs the worlds with seeds from `seed` on until they have sent `datagrams` datagrams in all, and
/// tells about it as it goes on.
///
/// # Errors
///
/// When nothing can be written to `out`.
pub fn soak(seed: u64, datagrams: u64, out: &mut impl Write) -> std::io::Result<Report> {
    let began = Instant::now();
    let mut told = began;
    let mut report = Report::default();
    for seed in seed.. {
        if report.tally.datagrams >= datagrams {
            break;
        }
        report.worlds += 1;
        match run(seed) {
            Ok(tally) => report.tally += tally,
            Err(failure) => {
                writeln!(out, "seed {seed}: {failure}")?;
                report.violations.push((seed, failure));
                // What a world that failed has sent is not known; let there be an end all the same.
                report.tally.datagrams += 1_000;
            }
        }
        if told.elapsed().as_secs() >= 10 {
            told = Instant::now();
            let done = report.tally.datagrams;
            let secs = began.elapsed().as_secs();
            writeln!(out, "{done} of {datagrams} datagrams, {} worlds, {secs} s", report.worlds)?;
        }
    }
    let Tally { datagrams, sent, delivered, outcomes, given_up, full, timed_out, .. } =
        report.tally;
    let last = seed.wrapping_add(report.worlds.saturating_sub(1));
    writeln!(
        out,
        "soak: {datagrams} datagrams in {:.1} s ({} s simulated), seeds {seed}..={last}, {sent} messages \
         sent, {delivered} delivered, {outcomes} outcomes told ({given_up} given up), {full} times full, \
         {timed_out} sides timed out, {} violations",
        began.elapsed().as_secs_f64(),
        report.tally.span.as_millis() / 1_000,
        report.violations.len(),
    )?;
    Ok(report)
}

/// One world. A panic is a failure like any other.
fn run(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::draw(seed);
    catch_unwind(AssertUnwindSafe(|| World::new(&scenario).run()))
        .map_err(|_| "panicked".to_owned())
        .and_then(|outcome| outcome.map_err(|failure| failure.to_string()))
}
