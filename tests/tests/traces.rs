//! Recorded worlds happen again.

use bowline_crypto::SipHash;
use bowline_native::Heap;
use bowline_tests::recording::{CLASSES, record, replayed};
use bowline_trace::{End, Replay, Trace};

#[test]
fn a_rough_world_happens_again_on_arrays_and_on_a_heap() {
    let trace = record(11, 6_000);
    let on_arrays = replayed(&trace);
    assert_eq!(on_arrays.end, End::Complete);
    assert!(on_arrays.datagrams_in > 200 && on_arrays.messages_out > 50, "{on_arrays:?}");
    let opened = Trace::open(&trace[..]).expect("a trace");
    let memory = Heap::of_shape(&opened.header().shape).expect("memory of its shape");
    let mut replay = Replay::new(opened, &SipHash, memory, &CLASSES).expect("an endpoint");
    assert_eq!(replay.run(&mut Vec::new()), Ok(on_arrays));
}

#[test]
fn a_seed_says_everything_that_is_recorded() {
    assert_eq!(record(12, 2_000), record(12, 2_000));
}
