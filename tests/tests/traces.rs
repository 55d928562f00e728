//! Recorded worlds happen again.

extern crate alloc;

use alloc::collections::BTreeSet;
use std::path::PathBuf;

use bowline_core::{DropReason, Event};
use bowline_crypto::SipHash;
use bowline_native::Heap;
use bowline_tests::recording::{CLASSES, Memory, record, replayed};
use bowline_trace::{End, Input, Output, Record, Replay, Trace, TraceError};

const AGAIN: &str = "if that is on purpose: cargo xtask trace, and say so in the commit";

fn committed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces").join(name)
}

fn committed_trace() -> Vec<u8> {
    std::fs::read(committed("rough.trace")).expect("tests/traces/rough.trace")
}

#[test]
fn the_committed_trace_gives_the_committed_hash() {
    let trace = committed_trace();
    let mut memory = Memory::new();
    let opened = Trace::open(&trace[..]).expect("a trace");
    let mut replay = Replay::new(opened, &SipHash, &mut memory, &CLASSES)
        .unwrap_or_else(|error| panic!("{error}; {AGAIN}"));
    let result = replay.run(&mut Vec::new());
    let summary = match (result, replay.divergence()) {
        (Ok(summary), _) => summary,
        (Err(error), None) => panic!("{error}; {AGAIN}"),
        (Err(_), Some(divergence)) => panic!("{divergence}; {AGAIN}"),
    };
    let hash = std::fs::read_to_string(committed("rough.hash")).expect("tests/traces/rough.hash");
    assert_eq!(format!("{:016x}", summary.hash), hash.trim());
    assert_eq!((summary.end, summary.trace_len), (End::Complete, trace.len() as u64));
    assert!(summary.records >= 100_000, "{summary:?}");
    assert!(trace.len() < 1_500_000, "{summary:?}");
}

/// What a value is, without what it tells: the words before its first parenthesis or brace.
fn word(value: &dyn core::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn the_committed_trace_holds_something_of_everything() {
    let trace = committed_trace();
    let mut trace = Trace::open(&trace[..]).expect("a trace");
    let (mut scratch, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut longest_back, mut last) = (0, trace.now());
    while let Record::Input(input) = trace.read_input(&mut scratch).expect("a record") {
        longest_back = longest_back.max((last - trace.now()).as_millis());
        last = trace.now();
        let output = trace.read_output(&input).expect("what came of it");
        seen.insert(word(&input));
        match (input, output) {
            (_, Output::Handled(Err(reason))) => drop(seen.insert(word(&reason))),
            (Input::Send { options, .. }, Output::Send(Ok(()))) => {
                seen.insert(format!("sent {:?}", options.mode));
            }
            (_, Output::Send(Err(error))) => drop(seen.insert(word(&error))),
            (_, Output::Cancel(Ok(()))) => drop(seen.insert("withdrawn".into())),
            (_, Output::Received(Some(message))) => {
                seen.insert(format!("received {:?}", message.mode));
            }
            (_, Output::Event(Some(Event::Outcome(_, _, outcome)))) => {
                seen.insert(format!("outcome {outcome:?}"));
            }
            (_, Output::Event(Some(Event::Disconnected(_, reason)))) => {
                seen.insert(word(&reason));
            }
            (_, Output::Event(Some(event))) => drop(seen.insert(word(&event))),
            (_, Output::Transmit(Err(short))) => drop(seen.insert(word(&short))),
            (_, Output::Answer(Some(_))) => drop(seen.insert("answer".into())),
            _ => {}
        }
    }
    assert!(longest_back > 0, "time never goes backwards");
    let modes =
        ["Unreliable", "UnreliableOrdered", "Reliable", "ReliableUnordered", "ReliableLatest"];
    let mut expected: Vec<String> = modes
        .iter()
        .flat_map(|mode| [format!("sent {mode}"), format!("received {mode}")])
        .collect();
    let calls = "Datagram PollTransmit PollTimeout Send Cancel PollEvent Recv Close ConnectPlain ConnectPayload \
                 Accept Refuse Finish Broadcast Suspend Resume AddEntropy SetInfo Query EndQueries TakeAnswer";
    let answers = "Asked Connected Readable Writable Answered answer BufferTooShort withdrawn Full TooLong Closing \
                   Closed ClosedByPeer ConnectTimedOut TimedOut Replaced";
    expected.extend([calls, answers].join(" ").split_whitespace().map(String::from));
    for outcome in ["Acknowledged", "Lost", "Expired", "Superseded", "Cancelled", "Closed"] {
        expected.push(format!("outcome {outcome}"));
    }
    let dropped = [
        DropReason::Truncated,
        DropReason::Malformed,
        DropReason::Corrupt,
        DropReason::Stray,
        DropReason::WrongAddress,
        DropReason::Duplicate,
        DropReason::Stale,
        DropReason::Full,
        DropReason::BadCookie,
        DropReason::Misbehaved,
        DropReason::Unexpected,
    ];
    expected.extend(dropped.iter().map(|reason| word(reason)));
    let missing: Vec<_> = expected.iter().filter(|what| !seen.contains(*what)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {seen:?}");
}

/// Reads a trace to its end, without doing what it says.
fn read(trace: &[u8]) -> Result<u64, TraceError> {
    let mut trace = Trace::open(trace)?;
    let mut scratch = Vec::new();
    while let Record::Input(input) = trace.read_input(&mut scratch)? {
        trace.read_output(&input)?;
    }
    Ok(trace.records())
}

#[test]
fn no_byte_of_the_committed_trace_can_change() {
    let whole = committed_trace();
    assert!(read(&whole).is_ok());
    let mut trace = whole.clone();
    let places =
        (0..300).chain((300..whole.len()).step_by(9_973)).chain(whole.len() - 40..whole.len());
    for (count, at) in places.enumerate() {
        trace[at] ^= 1 << (count % 8);
        let error = read(&trace).expect_err("it passes for what was recorded");
        let named = matches!(
            error,
            TraceError::NotATrace | TraceError::Version(_) | TraceError::Corrupt { .. }
        );
        assert!(named, "byte {at}: {error}");
        if count % 40 == 0 && at > 300 {
            let mut memory = Memory::new();
            let opened = Trace::open(&trace[..]).expect("a good header");
            let mut replay =
                Replay::new(opened, &SipHash, &mut memory, &CLASSES).expect("an endpoint");
            assert_eq!(replay.run(&mut Vec::new()), Err(error.into()));
        }
        trace[at] = whole[at];
    }
}

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
