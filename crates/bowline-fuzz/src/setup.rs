//! Two native endpoints, as a fuzzer's first bytes say.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline_core::Duration;
use bowline_crypto::SipHash;
use bowline_native::{Accept, Config, Endpoint, Integrity};
use bowline_sim::Rng;

use crate::memory::{Kind, Memory};
use crate::{Failure, Game, Hostile, Op, Report, Side, Subject};

/// The most operations of one run; what more the bytes say is not done.
const OPS_MAX: usize = 2_000;

/// How two endpoints are made, and who is between them.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The memory of each.
    pub kinds: [Kind; 2],
    /// The configuration of each.
    pub configs: [Config; 2],
    /// Whether somebody on the path knows the secret of each session. Then, once he has used it, no promise
    /// about messages holds any more, and only those about memory, time and outcomes do.
    pub on_path: bool,
    /// Whether a third peer has a session with the right side, and sends there what is forged. Whatever it does, the
    /// promises to the other two hold.
    pub rogue: bool,
    /// Whether the run begins with a session, so that few operations are wasted on strangers.
    pub connected: bool,
    /// What all luck of the endpoints follows from.
    pub seed: u64,
}

impl Setup {
    /// A native endpoint for one of the sides.
    ///
    /// # Panics
    ///
    /// If the configuration is no good for its memory.
    pub fn endpoint(&self, side: Side) -> Endpoint<Memory> {
        let (kind, config) = (self.kinds[side.index()], self.configs[side.index()]);
        let seed = Rng::stream(self.seed, side.index() as u64).seed();
        Endpoint::plain(config, &SipHash, &seed, kind.memory())
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"))
    }
}

impl<'a> Arbitrary<'a> for Setup {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let how = u8::arbitrary(u)?;
        let shared = u8::arbitrary(u)?;
        let mut side = || -> Result<(Kind, Config)> {
            let (which, more) = (u8::arbitrary(u)?, u8::arbitrary(u)?);
            let kind = Kind::ALL[usize::from(which) % Kind::ALL.len()];
            let config = kind.config();
            Ok((
                kind,
                Config {
                    // Without checksums only where nothing is damaged on the way: see `Hostile`.
                    integrity: if shared & 7 == 7 { Integrity::None } else { Integrity::Crc32 },
                    connection_ids: more & 1 == 0,
                    accept: if more & 6 == 6 { Accept::Ask } else { Accept::Always },
                    ack_delay: Duration::from_millis([25, 0, 5, 31][usize::from(more >> 3 & 3)]),
                    idle_timeout: Duration::from_millis(
                        [10_000, 3_000][usize::from(more >> 5 & 1)],
                    ),
                    // Numbers and offsets that wrap soon are as likely as others. Without checksums
                    // nothing but random ones tells packets of an earlier session apart (PROTOCOL.md, 3.1).
                    initial: match more >> 6 {
                        _ if shared & 7 == 7 => None,
                        0 => None,
                        1 => Some(0),
                        2 => Some(u32::MAX - u32::from(which)),
                        _ => Some(u32::MAX - 300 * u32::from(which)),
                    },
                    ..config
                },
            ))
        };
        let (left, right) = (side()?, side()?);
        Ok(Self {
            kinds: [left.0, right.0],
            configs: [left.1, right.1],
            on_path: how & 3 == 3,
            rogue: how & 0x63 == 0x20,
            connected: how & 0x1C != 0x1C,
            seed: 0,
        })
    }
}

/// What happens between two native endpoints if `data` say so.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn run(data: &[u8], game: &mut dyn Game) -> core::result::Result<Report, Failure> {
    run_with(data, game, |setup, side| Box::new(setup.endpoint(side)))
}

/// As [`run`], with endpoints of one's own making: wrapped, wrong on purpose, or of another protocol.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn run_with(
    data: &[u8],
    game: &mut dyn Game,
    make: impl Fn(&Setup, Side) -> Box<dyn Subject>,
) -> core::result::Result<Report, Failure> {
    let mut u = Unstructured::new(data);
    let Ok(mut setup) = Setup::arbitrary(&mut u) else { return Ok(Report::default()) };
    // Of all bytes, so that no fuzzer can learn a secret from the comparisons that it watches.
    setup.seed = digest(data);
    let subjects = Side::BOTH.map(|side| make(&setup, side));
    run_in(&setup, subjects, &mut u, game)
}

fn run_in(
    setup: &Setup,
    subjects: [Box<dyn Subject>; 2],
    u: &mut Unstructured<'_>,
    game: &mut dyn Game,
) -> core::result::Result<Report, Failure> {
    let mut hostile = Hostile::new(setup, subjects, game);
    if setup.connected {
        hostile.begin()?;
    }
    for _ in 0..OPS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(u) else { break };
        hostile.act(&op)?;
    }
    hostile.end()
}

/// As [`run`], with a third peer that has a session at the right side and keeps no rules: whatever it sends costs
/// its own quota and its own session, and the promises to the other two hold.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn run_rogue(data: &[u8], game: &mut dyn Game) -> core::result::Result<Report, Failure> {
    let mut u = Unstructured::new(data);
    let Ok(setup) = Setup::arbitrary(&mut u) else { return Ok(Report::default()) };
    let setup = Setup { rogue: true, on_path: false, connected: true, seed: digest(data), ..setup };
    let subjects = Side::BOTH.map(|side| Box::new(setup.endpoint(side)) as Box<dyn Subject>);
    run_in(&setup, subjects, &mut u, game)
}

/// The same happens to endpoints in arrays and to endpoints on heaps with the same limits: the same must come of it,
/// byte by byte and event by event.
///
/// # Panics
///
/// If not, or with the first thing that is wrong with both.
pub fn check_twins(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(setup) = Setup::arbitrary(&mut u) else { return };
    let ops = u.take_rest();
    let of = |kind: Kind| {
        let configs = setup.configs.map(|config| Config {
            integrity: config.integrity,
            connection_ids: config.connection_ids,
            accept: config.accept,
            ack_delay: config.ack_delay,
            idle_timeout: config.idle_timeout,
            initial: config.initial,
            ..kind.config()
        });
        let (kinds, seed) = ([kind; 2], digest(data));
        let setup = Setup { kinds, configs, seed, ..setup };
        let subjects = Side::BOTH.map(|side| Box::new(setup.endpoint(side)) as Box<dyn Subject>);
        let report =
            run_in(&setup, subjects, &mut Unstructured::new(ops), &mut crate::Counted::default());
        report.unwrap_or_else(|failure| panic!("{kind:?}: {failure}"))
    };
    assert_eq!(of(Kind::Fixed), of(Kind::Twin), "arrays and heap differ");
}

/// As [`run`]; what is wrong is a panic, as fuzzers like it.
///
/// # Panics
///
/// With the first thing that is wrong.
pub fn check(data: &[u8], game: &mut dyn Game) {
    if let Err(failure) = run(data, game) {
        panic!("{failure}");
    }
}

/// FNV-1a.
fn digest(data: &[u8]) -> u64 {
    more_digest(0xCBF2_9CE4_8422_2325, data)
}

/// FNV-1a, continued.
pub(crate) fn more_digest(hash: u64, data: &[u8]) -> u64 {
    data.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}
