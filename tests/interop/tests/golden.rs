//! The wrapped C library replays what was recorded from it, so the wrapper changes nothing.
#![cfg(c_enet)]

use bowline_interop::c_enet::Host;
use bowline_interop::golden::Transcript;

const TRANSCRIPTS: &str = include_str!("../vectors/enet-1.3.17.json");

#[test]
fn the_c_library_replays_what_was_recorded_from_it() {
    let transcripts = Transcript::all(TRANSCRIPTS);
    assert_eq!(transcripts.len(), 2);
    for transcript in transcripts {
        assert!(transcript.step_count() >= 90);
        if let Err(why) = transcript.replay(&mut Host::new(&transcript.config)) {
            panic!("{why}");
        }
    }
}

#[test]
fn a_transcript_with_one_wrong_digit_is_noticed() {
    for (right, wrong) in [("\"state\":5,", "\"state\":6,"), ("_out\":[[0,\"8", "_out\":[[0,\"9")] {
        let spoiled = TRANSCRIPTS.replacen(right, wrong, 1);
        assert_ne!(spoiled, TRANSCRIPTS);
        let replays = Transcript::all(&spoiled);
        let mut replays = replays.iter().map(|it| it.replay(&mut Host::new(&it.config)));
        assert!(replays.any(|replayed| replayed.is_err()), "{wrong}");
    }
}
