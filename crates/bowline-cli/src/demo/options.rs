//! What can be asked of the demonstration.

use core::fmt;
use std::path::PathBuf;

use bowline::{Duration, Mode};
use clap::Args;

use super::lane::MODES;
use super::relay::Weather;

/// For the demonstration.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Options {
    /// Datagrams that are lost, in each direction
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent)]
    pub(super) loss: f64,
    /// Datagrams that come twice
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent)]
    pub(super) duplicates: f64,
    /// Datagrams that are held back for up to 40 ms, so that later ones overtake them
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = percent)]
    pub(super) reorder: f64,
    /// How long every datagram takes, in each direction
    #[arg(long, value_name = "MS", default_value = "10", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(super) delay: u32,
    /// How much longer it may take
    #[arg(long, value_name = "MS", default_value = "5", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(super) jitter: u32,
    /// How many clients there are
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) clients: u32,
    /// What the messages and the network's moods follow from
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub(super) seed: u64,
    /// For how long messages are sent
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) seconds: u32,
    /// Records the server and every client into this folder: server.trace, client-0.trace and so on,
    /// which must not exist yet, for `bowline replay`
    #[arg(long, value_name = "FOLDER")]
    pub(super) record: Option<PathBuf>,
    /// Prints the outcome as one JSON document, and nothing else
    #[arg(long)]
    pub(super) json: bool,
    /// Spoils one delivered message of this mode, to see that it is noticed
    #[arg(long, value_name = "MODE", hide = true, value_parser = mode)]
    pub(super) break_promise: Option<Mode>,
}

impl Options {
    pub(super) fn weather(&self) -> Weather {
        Weather {
            loss: self.loss,
            duplicates: self.duplicates,
            reorder: self.reorder,
            delay: Duration::from_millis(self.delay.into()),
            jitter: Duration::from_millis(self.jitter.into()),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, duplicates, reorder, delay, jitter, clients, seed, seconds, .. } = self;
        let plural = if *clients == 1 { "" } else { "s" };
        write!(
            f,
            "1 server, {clients} client{plural}, {seconds} s of messages, seed {seed}; each way \
             {loss} % of the datagrams lost, {duplicates} % twice, {reorder} % held back, \
             {delay} to {} ms of delay",
            delay + jitter
        )
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent: f64 = number.parse().map_err(|_| "not a number".to_owned())?;
    (0.0..=100.0).contains(&percent).then_some(percent).ok_or_else(|| "not in 0..=100".to_owned())
}

fn mode(text: &str) -> Result<Mode, String> {
    let mode = MODES.into_iter().find(|mode| mode.to_string() == text);
    mode.ok_or_else(|| format!("not one of {}", MODES.map(|mode| mode.to_string()).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_within_a_hundred() {
        assert_eq!(percent("5"), Ok(5.0));
        assert_eq!(percent("0.5 %"), Ok(0.5));
        assert_eq!(percent("100%"), Ok(100.0));
        for bad in ["-1", "101", "NaN", "", "%", "five"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_go_by_their_names() {
        assert_eq!(mode("unreliable-ordered"), Ok(Mode::UnreliableOrdered));
        assert_eq!(mode("reliable-latest"), Ok(Mode::ReliableLatest));
        assert!(mode("sequenced").is_err());
    }
}
