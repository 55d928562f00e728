//! What safe code cannot say: where the program begins, what a panic is, and that a variable is
//! only used once.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Where the linker lets the program begin.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    crate::run();
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(not(feature = "locate-panics"))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Defined nowhere.
        fn bowline_reachable_panic() -> !;
    }
    // SAFETY: never runs, since a program that refers to it does not link.
    unsafe { bowline_reachable_panic() }
}

#[cfg(feature = "locate-panics")]
#[panic_handler]
fn panic(panic: &PanicInfo<'_>) -> ! {
    core::hint::black_box(panic.location());
    loop {
        core::hint::spin_loop();
    }
}

/// A variable that is lent out for good, once.
///
/// For machines with one core and without interrupt handlers that use it: taking is a load and
/// a store, since not every target has a compare-and-swap.
#[repr(C)]
pub struct Lent<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: `lend` hands the value out at most once, on the only core there is.
unsafe impl<T: Send> Sync for Lent<T> {}

impl<T> Lent<T> {
    /// A variable not lent yet.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), taken: AtomicBool::new(false) }
    }

    /// The variable, the first time.
    #[expect(clippy::mut_from_ref, reason = "lent only once")]
    pub fn lend(&'static self) -> Option<&'static mut T> {
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: nobody else was given it, and nobody else will be.
        Some(unsafe { &mut *self.value.get() })
    }
}

/// Declares [`Lent`] variables under the names by which `cargo xtask sizes` lists them.
macro_rules! lent {
    ($($name:ident: $type:ty = $value:expr;)*) => { $(
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        static $name: $crate::outside::Lent<$type> = $crate::outside::Lent::new($value);
    )* };
}
pub(crate) use lent;
