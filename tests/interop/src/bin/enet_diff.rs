//! Differential testing against the C library: `enet_diff [--steps N] [--seed S]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments() {
        Ok((steps, seed)) => run(steps, seed),
        Err(why) => {
            eprintln!("{why}\nusage: enet_diff [--steps N] [--seed S]");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<(u64, u64), String> {
    let (mut steps, mut seed) = (100_000, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--steps" => &mut steps,
            "--seed" => &mut seed,
            _ => return Err(format!("what is `{word}`?")),
        };
        let number = words.next().and_then(|number| number.replace('_', "").parse().ok());
        *place = number.ok_or(format!("`{word}` takes a number"))?;
    }
    Ok((steps, seed))
}

#[cfg(not(c_enet))]
fn run(_: u64, _: u64) -> ExitCode {
    println!("SKIPPED: {}", bowline_interop::NO_C_ENET);
    ExitCode::SUCCESS
}

#[cfg(c_enet)]
fn run(steps: u64, first: u64) -> ExitCode {
    use bowline_interop::c_enet::{Host, linked_version};
    use bowline_interop::coder::Coder;
    use bowline_interop::episode::{Census, Makers, Twinned, run};
    use bowline_interop::ours::Ours;

    let makers = Makers {
        reference: &|config| Box::new(Host::new(config)),
        subject: &|config| Box::new(Ours::new(config, Coder::range(config.range_coder))),
        // Up to 1.3.18 what was dropped counts as waiting for ever.
        overlooked: &["waiting"],
    };
    println!("the C library {} and bowline", linked_version());
    let mut census = Census::default();
    for seed in first.. {
        if census.steps >= steps {
            break;
        }
        let left = steps - census.steps;
        if let Err(divergence) = run(seed, left, makers, Twinned::All, &mut census) {
            println!("{divergence}\n\n{census}");
            println!("to repeat: cargo xtask enet-diff --steps 1500 --seed {seed}");
            return ExitCode::FAILURE;
        }
    }
    println!("{census}");
    ExitCode::SUCCESS
}
