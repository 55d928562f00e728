#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::check_rogue(
    data,
    &mut bowline_fuzz::Counted::default()
));
