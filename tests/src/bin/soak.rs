//! `soak [--datagrams N] [--seed S]`: random worlds, until N datagrams were simulated.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut datagrams = 1_000_000;
    let mut seed = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.replace('_', "").parse().ok());
        match (name.as_str(), value) {
            ("--datagrams", Some(value)) => datagrams = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("usage: soak [--datagrams N] [--seed S]");
                return ExitCode::from(2);
            }
        }
    }
    match bowline_tests::soak::soak(seed, datagrams, &mut std::io::stdout()) {
        Ok(report) if report.violations.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
