//! Prints random datagrams and what they mean, for comparing with other decoders.
//!
//! `random_datagrams COUNT SEED`; the lines are described in `vectors/README.md`.

mod decoded;
mod made;

use std::io::Write;

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse());
    let (Some(Ok(count)), Some(Ok(seed)), None) = (numbers.next(), numbers.next(), numbers.next())
    else {
        eprintln!("usage: random_datagrams COUNT SEED");
        std::process::exit(2);
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut random = made::Random(seed);
    for _ in 0..count {
        let (datagram, setting) = made::datagram(&mut random);
        writeln!(out, "{}", decoded::line(None, &datagram, &setting))?;
    }
    out.flush()
}
