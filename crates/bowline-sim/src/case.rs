//! A failure that says how to see it again.

use crate::Rng;

/// One seeded run of a test.
///
/// Shown, it says how to repeat the run:
///
/// ```
/// let case = bowline_sim::Case::new("my-crate", "holds_under_loss", 7);
/// assert_eq!(
///     case.to_string(),
///     "seed 7; replay: BOWLINE_SEED=7 cargo test -p my-crate holds_under_loss",
/// );
/// ```
///
/// In tests, [`cases!`](crate::cases) makes them and reads the environment variable, and
/// [`replay_on_panic!`](crate::replay_on_panic) prints the line when anything fails:
///
/// ```
/// use bowline_sim::{cases, replay_on_panic};
///
/// // #[test] fn dice_have_six_sides() {
/// for case in cases!("dice_have_six_sides", 1, 20) {
///     replay_on_panic!(case);
///     assert!(case.rng().below(6) < 6);
/// }
/// // }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Case {
    package: &'static str,
    test: &'static str,
    seed: u64,
}

impl Case {
    /// The environment variable that holds the seed to replay.
    pub const VARIABLE: &'static str = "BOWLINE_SEED";

    /// The run of `test` in `package` with this seed.
    pub const fn new(package: &'static str, test: &'static str, seed: u64) -> Self {
        Self { package, test, seed }
    }

    /// The run that `text`, the value of [`Self::VARIABLE`], asks for; with seed `default` if it
    /// is not set.
    ///
    /// # Errors
    ///
    /// [`BadSeed`] if `text` is there but not a number: to run another seed instead would be a
    /// silent lie.
    pub fn from_env_text(
        package: &'static str,
        test: &'static str,
        text: Option<&str>,
        default: u64,
    ) -> Result<Self, BadSeed> {
        let seed = text.map_or(Ok(default), parse)?;
        Ok(Self { package, test, seed })
    }

    /// The run that `text` asks for alone, or else the `count` runs with seeds from `first` on.
    ///
    /// # Errors
    ///
    /// [`BadSeed`], as for [`Self::from_env_text`].
    pub fn sweep(
        package: &'static str,
        test: &'static str,
        text: Option<&str>,
        first: u64,
        count: u64,
    ) -> Result<impl Iterator<Item = Self> + use<>, BadSeed> {
        let asked = Self::from_env_text(package, test, text, first)?;
        let count = if text.is_some() { 1 } else { count };
        Ok((0..count).map(move |i| Self { seed: asked.seed.wrapping_add(i), ..asked }))
    }

    /// The number that everything in this run follows from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A generator for what the test itself chooses. The network draws from the same seed, but
    /// other numbers.
    pub const fn rng(&self) -> Rng {
        Rng::stream(self.seed, u64::MAX)
    }

    /// Something that calls `report` when it is dropped while `panicking()` says so.
    ///
    /// Both come from the caller because only `std` knows whether a thread panics.
    #[must_use = "dropped at once, it watches over nothing"]
    pub const fn guard(self, panicking: fn() -> bool, report: fn(&Self)) -> Guard {
        Guard { case: self, panicking, report }
    }
}

impl core::fmt::Display for Case {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { package, test, seed } = self;
        let variable = Self::VARIABLE;
        write!(f, "seed {seed}; replay: {variable}={seed} cargo test -p {package} {test}")
    }
}

fn parse(text: &str) -> Result<u64, BadSeed> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .map_err(|_| BadSeed)
}

/// [`Case::VARIABLE`] is not a number below 2^64, decimal or hexadecimal with `0x`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadSeed;

impl core::fmt::Display for BadSeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is not a number", Case::VARIABLE)
    }
}

impl core::error::Error for BadSeed {}

/// Reports its case if the test fails while it lives.
#[derive(Debug)]
pub struct Guard {
    case: Case,
    panicking: fn() -> bool,
    report: fn(&Case),
}

impl Drop for Guard {
    fn drop(&mut self) {
        if (self.panicking)() {
            (self.report)(&self.case);
        }
    }
}

/// The [`Case`]s of a test: those with `count` seeds from `first` on, or the one that the
/// environment variable `BOWLINE_SEED` asks for. Needs `std` where it is used.
///
/// # Panics
///
/// If the variable is not a number.
#[macro_export]
macro_rules! cases {
    ($test:expr, $first:expr, $count:expr) => {{
        let text = ::std::env::var($crate::Case::VARIABLE).ok();
        $crate::Case::sweep(::core::env!("CARGO_PKG_NAME"), $test, text.as_deref(), $first, $count)
            .expect("a number in BOWLINE_SEED")
    }};
}

/// Prints how to replay a [`Case`] if anything panics in the rest of the block. Needs `std` where
/// it is used.
#[macro_export]
macro_rules! replay_on_panic {
    ($case:expr) => {
        let _replay = $case.guard(::std::thread::panicking, |case| ::std::eprintln!("{case}"));
    };
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::cell::Cell;

    use super::*;

    fn seeds(text: Option<&str>) -> Result<Vec<u64>, BadSeed> {
        Case::sweep("p", "t", text, 5, 3).map(|cases| cases.map(|case| case.seed()).collect())
    }

    #[test]
    fn the_environment_asks_for_one_seed_or_gets_them_all() {
        assert_eq!(seeds(None), Ok([5, 6, 7].to_vec()));
        assert_eq!(seeds(Some("12")), Ok([12].to_vec()));
        assert_eq!(seeds(Some(" 0xFf ")), Ok([255].to_vec()));
        assert_eq!(seeds(Some("18446744073709551615")), Ok([u64::MAX].to_vec()));
    }

    #[test]
    fn a_seed_that_is_no_number_is_an_error() {
        for text in ["", "x", "-1", "0x", "18446744073709551616", "1 2"] {
            assert_eq!(seeds(Some(text)), Err(BadSeed), "{text:?}");
        }
    }

    std::thread_local! {
        static REPORTED: Cell<u64> = const { Cell::new(0) };
    }

    #[test]
    fn a_guard_reports_only_while_panicking() {
        let case = Case::new("p", "t", 9);
        let report = |case: &Case| REPORTED.set(case.seed());
        drop(case.guard(|| false, report));
        assert_eq!(REPORTED.get(), 0);
        drop(case.guard(|| true, report));
        assert_eq!(REPORTED.get(), 9);
    }
}
