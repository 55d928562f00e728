//! What was recorded happens again.

extern crate alloc;

mod common;

use alloc::collections::BTreeSet;

use bowline_core::{Instant, Machine};
use bowline_crypto::SipHash;
use bowline_native::{Config, Endpoint, Fixed, Heap, Limits};
use bowline_trace::{
    End, Input, Output, Recorder, Replay, ReplayError, Sink, Step, Stream, Summary, Trace,
    TraceError,
};
use common::{CLASSES, LIMITS, Scene, config, recorded, recorded_on};

fn replay(trace: &[u8]) -> Result<Summary, ReplayError> {
    let trace = Trace::open(trace)?;
    let memory = Heap::of_shape(&trace.header().shape).expect("memory of that shape");
    let classes = trace.header().leak_classes().expect("memory for the classes");
    Replay::new(trace, &SipHash, memory, classes)?.run(&mut Vec::new())
}

#[test]
fn everything_is_repeated_and_agrees() {
    let trace = recorded(400);
    let summary = replay(&trace).unwrap();
    assert_eq!(summary.end, End::Complete);
    assert_eq!(summary.trace_len, trace.len() as u64);
    assert!(summary.records > 2_000, "{summary:?}");
    assert!(summary.datagrams_in > 100 && summary.datagrams_out >= 400, "{summary:?}");
    assert!(summary.messages_in > 100 && summary.messages_out > 50, "{summary:?}");
    assert!(summary.span.as_millis() > 1_000, "{summary:?}");
}

#[test]
fn every_call_there_is_was_made() {
    let trace = recorded(400);
    let trace = Trace::open(&trace[..]).unwrap();
    let memory = Heap::of_shape(&trace.header().shape).unwrap();
    let mut replay = Replay::new(trace, &SipHash, memory, &CLASSES).unwrap();
    let (mut calls, mut answers) = (BTreeSet::new(), 0);
    let mut scratch = Vec::new();
    while let Step::Repeated(input, output) = replay.step(&mut scratch).unwrap() {
        let text = format!("{input:?}");
        calls.insert(text.split([' ', '{']).next().unwrap().to_owned());
        answers += u32::from(matches!(output, Output::Answer(Some(_))));
        if let Input::Datagram { len, .. } = input {
            assert!(len > 0 && len <= scratch.len());
        }
    }
    assert_eq!(calls.len(), 25, "{calls:?}");
    assert!(answers > 0);
}

#[test]
fn a_recorded_endpoint_does_what_any_other_does() {
    struct Nowhere;
    impl Sink for Nowhere {
        type Error = ();
        fn write(&mut self, _: &[u8]) -> Result<(), ()> {
            Err(())
        }
    }
    let mut trace = Vec::new();
    let mut recorded = Scene::new(config(), Heap::new(LIMITS), &mut trace);
    let mut unrecorded = Scene::new(config(), Heap::new(LIMITS), Nowhere);
    recorded.run_until_sent(400);
    unrecorded.run_until_sent(400);
    assert!(recorded.recorder.is_recording() && !unrecorded.recorder.is_recording());
    assert!(recorded.sent.len() >= 400);
    assert_eq!(recorded.sent, unrecorded.sent);
    assert_eq!(recorded.recorder.error(), None);
    assert_eq!(unrecorded.recorder.error(), Some(&()));
}

#[test]
fn a_sink_that_fails_ends_the_recording_and_not_the_endpoint() {
    struct Full(Vec<u8>);
    impl Sink for Full {
        type Error = &'static str;
        fn write(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
            if self.0.len() > 20_000 {
                return Err("full");
            }
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let mut scene = Scene::new(config(), Heap::new(LIMITS), Full(Vec::new()));
    scene.run_until_sent(5);
    assert!(scene.recorder.is_recording());
    scene.run_until_sent(400);
    assert_eq!(scene.recorder.error(), Some(&"full"));
    scene.recorder.stop();
    let summary = replay(&scene.recorder.sink().0).unwrap();
    assert_eq!(summary.end, End::Truncated, "what there is of it is good");
    assert!(summary.records > 20);
}

#[test]
fn after_its_end_nothing_is_recorded() {
    let mut trace = Vec::new();
    let mut scene = Scene::new(config(), Heap::new(LIMITS), &mut trace);
    scene.run_until_sent(30);
    scene.recorder.stop();
    let len = scene.recorder.sink().len();
    scene.run_until_sent(60);
    scene.recorder.flush();
    scene.recorder.stop();
    drop(scene);
    assert_eq!(trace.len(), len);
    let summary = replay(&trace).unwrap();
    assert_eq!((summary.end, summary.datagrams_out), (End::Complete, 30));
}

type Small = Fixed<2, 1, 64, 96>;

fn recorded_on_arrays() -> Vec<u8> {
    recorded_on(Config::small(7), &mut Small::new(), 100)
}

#[test]
fn arrays_are_replayed_on_arrays_and_on_a_heap_of_their_shape() {
    let trace = recorded_on_arrays();
    let mut memory = Small::new();
    let on_arrays = Replay::new(Trace::open(&trace[..]).unwrap(), &SipHash, &mut memory, &[])
        .unwrap()
        .run(&mut [0; 8_192])
        .unwrap();
    assert_eq!(on_arrays.end, End::Complete);
    assert!(on_arrays.datagrams_out >= 100, "{on_arrays:?}");
    assert_eq!(replay(&trace).unwrap(), on_arrays);
}

#[test]
fn other_memory_is_refused_by_its_shape() {
    let trace = recorded_on_arrays();
    let given = Heap::new(Limits { peers: 3, ..LIMITS });
    let error = Replay::new(Trace::open(&trace[..]).unwrap(), &SipHash, given, &[]).unwrap_err();
    assert!(matches!(error, ReplayError::OtherMemory { .. }), "{error}");
}

#[test]
fn room_that_is_too_little_is_asked_for() {
    let trace = recorded(300);
    let memory = Heap::new(LIMITS);
    let mut replay =
        Replay::new(Trace::open(&trace[..]).unwrap(), &SipHash, memory, &CLASSES).unwrap();
    let error = replay.run(&mut [0; 700]).unwrap_err();
    let ReplayError::Trace(TraceError::TooLong { needed }) = error else { panic!("{error}") };
    assert!((701..=5_000).contains(&needed), "{needed}");
}

#[test]
fn streams_are_sinks_and_sources() {
    let trace = recorded(100);
    let mut file = Stream(std::io::Cursor::new(Vec::new()));
    for piece in trace.chunks(1_000) {
        file.write(piece).unwrap();
    }
    /// Gives little at a time.
    struct Slow<'t>(&'t [u8]);
    impl std::io::Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let len = buf.len().min(7);
            self.0.read(&mut buf[..len])
        }
    }
    let written = file.0.into_inner();
    let trace = Trace::open(Stream(Slow(&written))).unwrap();
    let memory = Heap::new(LIMITS);
    let summary =
        Replay::new(trace, &SipHash, memory, &CLASSES).unwrap().run(&mut Vec::new()).unwrap();
    assert_eq!(summary, replay(&written).unwrap());
}

#[test]
fn what_comes_before_a_panic_is_in_the_trace() {
    let mut trace = Vec::new();
    let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        let memory = Heap::new(LIMITS);
        let mut endpoint =
            Recorder::plain(config(), &SipHash, &[1; 32], memory, &mut trace).unwrap();
        endpoint.connect_plain(Instant::from_micros(3), common::name(1), b"x").unwrap();
        endpoint.poll_transmit(Instant::from_micros(4), &mut [0; 1_200]).unwrap();
        panic!("as it may happen");
    }));
    assert!(outcome.is_err());
    let summary = replay(&trace).unwrap();
    assert_eq!((summary.end, summary.records), (End::Truncated, 2));
    assert_eq!(summary.datagrams_out, 1);
}

#[test]
fn a_bad_configuration_writes_nothing() {
    let mut trace = Vec::new();
    let bad = Config { channels: 0, ..config() };
    assert!(Recorder::plain(bad, &SipHash, &[0; 32], Heap::new(LIMITS), &mut trace).is_err());
    assert!(trace.is_empty());
    assert!(Endpoint::plain(bad, &SipHash, &[0; 32], Heap::new(LIMITS)).is_err());
}
