//! Does one library's work: `peers LIBRARY WORK [--quick]`. Without arguments, lists all there is.

use std::process::ExitCode;

use bowline_peers::rows::{LIBRARIES, Length, WORKS};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (library, work, length) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        [] => return list(),
        [library, work] => (library, work, Length { ticks: 1_000, peer_ticks: 100_000 }),
        [library, work, "--quick"] => (library, work, Length { ticks: 200, peer_ticks: 20_000 }),
        _ => return usage(),
    };
    let doer = LIBRARIES.iter().find(|(name, _)| *name == library);
    let work = WORKS.iter().find(|(name, _)| *name == work);
    let (Some((_, doer)), Some((_, work))) = (doer, work) else { return usage() };
    let counted = doer(*work, length);
    println!("units={}", counted.work.units);
    println!("bytes={}", counted.work.bytes);
    println!("wire={}", counted.work.forth.bytes);
    println!("wire_back={}", counted.work.back.bytes);
    println!("allocations={}", counted.allocations);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: peers LIBRARY WORK [--quick]");
    ExitCode::from(2)
}

/// One line each.
fn list() -> ExitCode {
    for (library, _) in LIBRARIES {
        for (work, _) in WORKS {
            println!("{library}\t{work}");
        }
    }
    #[cfg(c_enet)]
    println!("version\tC ENet {}", bowline_peers::c_enet::linked_version());
    #[cfg(not(c_enet))]
    println!("SKIPPED\tC ENet: {}", bowline_peers::NO_C_ENET);
    ExitCode::SUCCESS
}
