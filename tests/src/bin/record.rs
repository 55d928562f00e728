//! `record FOLDER`: makes the committed trace anew, `rough.trace` and its hash, `rough.hash`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use bowline_tests::recording::{CALLS, SEED, record, replayed};

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: record FOLDER");
        return ExitCode::from(2);
    };
    let trace = record(SEED, CALLS);
    let summary = replayed(&trace);
    println!("{summary:#?}");
    match write(Path::new(&folder), &trace, summary.hash) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, trace: &[u8], hash: u64) -> io::Result<()> {
    std::fs::write(folder.join("rough.trace"), trace)?;
    std::fs::write(folder.join("rough.hash"), format!("{hash:016x}\n"))
}
