#![no_main]

use bowline_fuzz::{Counted, run_rogue};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Err(failure) = run_rogue(data, &mut Counted::default()) {
        panic!("{failure}");
    }
});
