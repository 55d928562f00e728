//! What can be asked of both sides.

use std::path::PathBuf;

use bowline::{Accept, Config, Duration, Integrity, Limits};
use clap::{Args, ValueEnum};

/// Who talks to whom at all.
const APPLICATION: u64 = 0x626f_776c_696e_65c4;

/// For the side that is called.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub(crate) struct ServeOptions {
    /// Where to listen, as HOST:PORT
    pub(super) address: String,
    /// How many may be connected at once
    #[arg(long, value_name = "COUNT", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) max_peers: u32,
    /// Records everything into this new file, for `bowline replay`. It will hold SECRETS: the seed,
    /// addresses, all that is said
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Writes all counters into this file every 5 seconds and at the end, those of each peer included, in
    /// the text format of Prometheus; whoever reads it gets it whole
    #[arg(long, value_name = "FILE")]
    pub(super) counters: Option<PathBuf>,
    #[command(flatten)]
    session: SessionOptions,
}

/// For the side that calls.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub(crate) struct ConnectOptions {
    /// Who to connect to, as HOST:PORT
    pub(super) address: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    timeout: u32,
    #[command(flatten)]
    session: SessionOptions,
}

#[derive(Args, Debug)]
struct SessionOptions {
    /// Which application this is, if not this one; sessions begin only between equal numbers
    #[arg(long, value_name = "NUMBER", default_value_t = APPLICATION, hide_default_value = true)]
    application: u64,
    /// How packets are protected against accidents; the stricter side decides
    #[arg(long, value_name = "KIND", default_value = "crc")]
    integrity: IntegrityKind,
    /// How many channels there are; the smaller of both sides' counts holds
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    channels: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IntegrityKind {
    /// Only by the checksum of UDP
    None,
    /// By a CRC of 32 bits
    Crc,
}

impl SessionOptions {
    fn config(&self, accept: Accept) -> Config {
        let integrity = match self.integrity {
            IntegrityKind::None => Integrity::None,
            IntegrityKind::Crc => Integrity::Crc32,
        };
        let Self { application, channels, .. } = *self;
        Config { accept, integrity, channels, ..Config::new(application) }
    }
}

/// Memory for so many sessions, in which each has what it is promised for every channel.
fn limits(config: &Config, peers: u32) -> Limits {
    let common = Limits::for_peers(peers);
    let blocks = config.blocks_per_peer(common.block_len);
    let promised = u64::from(blocks) * u64::from(common.block_len);
    let bytes = common.bytes + u64::from(peers) * promised;
    Limits { channels: config.channels, bytes, ..common }
}

impl ServeOptions {
    pub(super) fn config(&self) -> Config {
        self.session.config(Accept::Ask)
    }

    pub(super) fn limits(&self) -> Limits {
        limits(&self.config(), self.max_peers)
    }
}

impl ConnectOptions {
    pub(super) fn config(&self) -> Config {
        let connect_timeout = Duration::from_secs(self.timeout.into());
        Config { connect_timeout, ..self.session.config(Accept::Never) }
    }

    pub(super) fn limits(&self) -> Limits {
        limits(&self.config(), 1)
    }
}
