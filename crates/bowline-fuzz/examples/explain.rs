//! Prints what inputs that a fuzzer has found do: `explain FILE [rogue]`, or of a folder of them, how many do
//! anything worth while.

use std::ffi::OsStr;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use bowline_fuzz::setup::Setup;
use bowline_fuzz::{Counted, Failure, Op, Report, run, run_rogue};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().expect("explain FILE [rogue]");
    let rogue = arguments.next().as_deref() == Some(OsStr::new("rogue"));
    if Path::new(&path).is_dir() {
        tally(Path::new(&path), rogue)
    } else {
        explain(Path::new(&path), rogue)
    }
}

fn done(data: &[u8], rogue: bool) -> Result<Report, Failure> {
    let mut game = Counted::default();
    if rogue { run_rogue(data, &mut game) } else { run(data, &mut game) }
}

fn explain(file: &Path, rogue: bool) -> std::io::Result<()> {
    let data = std::fs::read(file)?;
    let mut u = Unstructured::new(&data);
    println!("{:#?}", Setup::arbitrary(&mut u));
    while !u.is_empty() {
        println!("{:?}", Op::arbitrary(&mut u));
    }
    println!("{:?}", done(&data, rogue));
    Ok(())
}

fn tally(folder: &Path, rogue: bool) -> std::io::Result<()> {
    let (mut inputs, mut sessions, mut messages, mut outcomes, mut rogues) = (0, 0, 0, 0, 0);
    for entry in std::fs::read_dir(folder)? {
        let data = std::fs::read(entry?.path())?;
        inputs += 1;
        match done(&data, rogue) {
            Ok(report) => {
                sessions += u32::from(report.sessions >= 2);
                messages += u32::from(report.delivered > 0);
                outcomes += u32::from(report.outcomes > 0);
                rogues += u32::from(report.rogues > 0);
            }
            Err(failure) => println!("{failure}"),
        }
    }
    println!(
        "{inputs} inputs: {sessions} with a session at both sides, {rogues} with a rogue, {messages} with messages \
         delivered, {outcomes} with outcomes told"
    );
    Ok(())
}
