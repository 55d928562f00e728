#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz_targets::wire::enet_datagram::check(data));
