//! Runs one workload by name and prints how much was done; without a name, lists them all.

use std::process::ExitCode;

use bowline_benches::workloads::{Entry, WORKLOADS};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        WORKLOADS.iter().for_each(list);
        return ExitCode::SUCCESS;
    };
    let Some(entry) = WORKLOADS.iter().find(|entry| entry.name == name) else {
        eprintln!("there is no workload {name}");
        return ExitCode::from(2);
    };
    let work = (entry.run)();
    println!("units={}", work.units);
    println!("bytes={}", work.bytes);
    println!("datagrams={}", work.forth.datagrams);
    println!("wire={}", work.forth.bytes);
    println!("datagrams_back={}", work.back.datagrams);
    println!("wire_back={}", work.back.bytes);
    ExitCode::SUCCESS
}

/// One line, fields apart by tabs.
fn list(entry: &Entry) {
    let Entry { name, title, per, target, aim, floor, .. } = entry;
    println!("{name}\t{per:?}\t{target}\t{aim}\t{floor}\t{title}");
}
