//! The range coder: round trips, and whatever comes.

use bowline_enet::RangeCoder;

use super::{check_round_trip, restored};

/// A byte that says how, and the bytes: to compress, or as if they were compressed.
pub fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut coder = Box::new(RangeCoder::new());
    if how & 1 == 0 {
        // So often that counts are halved and the nodes run out.
        let input = bytes.repeat(1 + usize::from(how >> 4));
        check_round_trip(&mut *coder, input.get(..8192).unwrap_or(&input));
        return;
    }
    let limit = 16 << (how >> 4);
    let Some(output) = restored(&mut *coder, bytes, limit) else { return };
    assert_eq!(restored(&mut *coder, bytes, output.len()).as_ref(), Some(&output), "not as before");
    assert_eq!(restored(&mut *coder, bytes, output.len() - 1), None, "more than there is room");
    check_round_trip(&mut *coder, output.get(..8192).unwrap_or(&output));
}
