#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::check(
    data,
    &mut bowline_fuzz::Counted::default()
));
