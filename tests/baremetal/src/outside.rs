//! What safe code cannot say: where the program begins and what a panic is.
#![allow(unsafe_code)]

use core::panic::PanicInfo;

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
