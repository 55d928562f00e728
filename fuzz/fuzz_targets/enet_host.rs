#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz_targets::enet::host::check(data));
