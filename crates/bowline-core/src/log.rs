//! One set of logging macros over `defmt`, `log`, or nothing.
//!
//! With both features on, `defmt` wins, so that features stay additive. The choice is made here,
//! once, and not in the crate that logs.

macro_rules! levels {
    ($d:tt $($level:ident)*) => { $(
        /// Logs through whichever backend this crate was built with, or not at all.
        #[cfg(feature = "defmt")]
        #[macro_export]
        macro_rules! $level {
            ($d($d arg:tt)*) => {{
                use $crate::__defmt as defmt;
                defmt::$level!($d($d arg)*);
            }};
        }

        /// Logs through whichever backend this crate was built with, or not at all.
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        #[macro_export]
        macro_rules! $level {
            ($d($d arg:tt)*) => { $crate::__log::$level!($d($d arg)*) };
        }

        /// Logs through whichever backend this crate was built with, or not at all.
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        #[macro_export]
        macro_rules! $level {
            ($fmt:literal $d(, $d arg:expr)* $d(,)?) => {{ $d( let _ = &$d arg; )* }};
        }
    )* };
}

levels!($ trace debug warn);
