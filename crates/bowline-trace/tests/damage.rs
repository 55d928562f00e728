//! No damage goes unnoticed, and what is left is of use.

mod common;

use bowline_crypto::SipHash;
use bowline_native::Heap;
use bowline_trace::{End, Replay, ReplayError, Summary, Trace, TraceError};
use common::recorded_bytes;

fn replay(trace: &[u8]) -> Result<Summary, ReplayError> {
    let trace = Trace::open(trace)?;
    let memory = Heap::of_shape(&trace.header().shape).expect("memory of that shape");
    Replay::new(trace, &SipHash, memory, &common::CLASSES)?.run(&mut Vec::new())
}

#[test]
fn every_changed_byte_is_noticed() {
    let whole = recorded_bytes(4_000);
    assert_eq!(replay(&whole).unwrap().end, End::Complete);
    let mut trace = whole.clone();
    for at in 0..whole.len() {
        for change in [1 << (at % 8), 0xFF] {
            trace[at] ^= change;
            let error = replay(&trace).expect_err("damage goes unnoticed");
            let named = matches!(
                error,
                ReplayError::Trace(
                    TraceError::NotATrace | TraceError::Version(_) | TraceError::Corrupt { .. }
                )
            );
            assert!(named, "byte {at}: {error}");
            trace[at] = whole[at];
        }
    }
}

#[test]
fn wherever_it_is_cut_it_is_good_up_to_there() {
    let whole = recorded_bytes(4_000);
    let complete = replay(&whole).unwrap();
    let mut most = 0;
    for len in 0..whole.len() {
        match replay(&whole[..len]) {
            Ok(summary) => {
                assert_eq!(summary.end, End::Truncated, "{len}");
                assert!(summary.records >= most && summary.records <= complete.records);
                most = summary.records;
            }
            Err(ReplayError::Trace(TraceError::NotATrace)) => assert!(len < 8),
            Err(error) => {
                assert_eq!(error, ReplayError::Trace(TraceError::Truncated), "{len}");
                assert_eq!(most, 0);
            }
        }
    }
    assert!(most > 5);
}

#[test]
fn what_follows_the_end_is_noticed() {
    let mut trace = recorded_bytes(4_000);
    trace.push(0);
    assert_eq!(replay(&trace), Err(ReplayError::Trace(TraceError::Trailing)));
}

#[test]
fn chunks_that_are_missing_or_twice_or_out_of_place_are_noticed() {
    let whole = recorded_bytes(15_000);
    let mut starts = vec![77];
    while let Some(len) = whole.get(starts[starts.len() - 1]..).and_then(|rest| rest.first_chunk())
    {
        starts.push(starts[starts.len() - 1] + 8 + usize::from(u16::from_be_bytes(*len)));
    }
    assert_eq!(starts.last(), Some(&whole.len()));
    let chunk = |n: usize| &whole[starts[n]..starts[n + 1]];
    assert!(starts.len() > 5);
    let head = &whole[..starts[1]];
    let rest = |n: usize| &whole[starts[n]..];
    for wrong in [
        [head, rest(2)].concat(),
        [head, chunk(1), rest(1)].concat(),
        [head, chunk(2), chunk(1), rest(3)].concat(),
    ] {
        let error = replay(&wrong).unwrap_err();
        assert!(matches!(error, ReplayError::Trace(TraceError::Corrupt { .. })), "{error}");
    }
}
