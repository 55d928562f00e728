//! Ack blocks: the ranges descend, leave gaps, stay above zero, and are written as they came.

use bowline_wire::native::{ACK_RANGES_MAX, AckBlock, AckForm, Expanded};
use bowline_wire::native::{emit_ack_ranges, emit_ack_short};
use bowline_wire::{Malformed, Writer};

use crate::feed::Feed;

const FORMS: [AckForm; 4] = [AckForm::None, AckForm::Short, AckForm::Ranges1, AckForm::Ranges2];

/// A form, two numbers that say what was acknowledged and sent, and the block.
pub fn check(data: &[u8]) {
    let mut feed = Feed::new(data);
    let form = FORMS[feed.below(4)];
    let (acked, in_flight) = (feed.sized(), u64::from(feed.u16()));
    let bytes = feed.rest();
    if let Some((block, len)) = check_block(form, bytes) {
        check_expansion(&block, acked, acked.saturating_add(in_flight));
        let _ = len;
    }
}

/// The block at the start of `bytes` and its length, if there is a well-formed one.
pub fn check_block(form: AckForm, bytes: &[u8]) -> Option<(AckBlock<'_>, usize)> {
    let (block, rest) = AckBlock::parse(form, bytes).ok()?;
    let Some(block) = block else {
        assert_eq!((form, rest.len()), (AckForm::None, bytes.len()));
        return None;
    };
    let came = &bytes[..bytes.len() - rest.len()];
    assert_eq!(block.form(), form);
    // So far up that no range can reach below zero.
    let largest = 1 << 40 | u64::from(block.largest_low());
    assert_eq!(block.check(largest), Ok(()));
    let ranges: Vec<_> = block.ranges(largest).collect();
    descend(&ranges, largest);

    let mut buf = vec![0; came.len()];
    let mut w = Writer::new(&mut buf);
    match form {
        AckForm::None | AckForm::Short => emit_ack_short(&mut w, largest).expect("it fits"),
        _ => {
            let len = if form == AckForm::Ranges1 { 1 } else { 2 };
            let delay = block.delay().expect("ranges have a delay");
            emit_ack_ranges(&mut w, len, delay, ranges.iter().copied(), came.len())
                .expect("it fits");
        }
    }
    assert_eq!(w.written(), came, "{block:?}");
    check_underflow(&block, &ranges, largest);
    Some((block, came.len()))
}

fn descend(ranges: &[(u64, u64)], largest: u64) {
    assert!((1..=ACK_RANGES_MAX).contains(&ranges.len()));
    assert_eq!(ranges[0].1, largest);
    assert!(ranges.iter().all(|(start, end)| start <= end), "{ranges:?}");
    assert!(ranges.windows(2).all(|pair| pair[0].0 >= pair[1].1 + 2), "{ranges:?}");
}

/// Moved down as far as it goes the lowest number is zero; one further down it is refused.
fn check_underflow(block: &AckBlock<'_>, ranges: &[(u64, u64)], largest: u64) {
    let span = largest - ranges.last().expect("at least one").0;
    if block.form() == AckForm::Short {
        assert_eq!(block.ranges(3).collect::<Vec<_>>(), [(0, 3)]);
        return;
    }
    assert_eq!(block.check(span), Ok(()));
    let moved: Vec<_> = block.ranges(span).collect();
    assert!(
        moved
            .iter()
            .zip(ranges)
            .all(|(a, b)| (largest - span) == b.0 - a.0 && b.1 - a.1 == largest - span)
    );
    assert_eq!(moved.len(), ranges.len());
    assert_eq!(moved.last().map(|range| range.0), Some(0));
    if let Some(below) = span.checked_sub(1) {
        assert_eq!(block.check(below), Err(Malformed::Underflow));
        assert!(block.ranges(below).count() < ranges.len());
    }
}

/// By search: the numbers after the last acknowledged one, up to the last one sent, that end so; and the
/// acknowledged one itself.
fn check_expansion(block: &AckBlock<'_>, acked: u64, sent: u64) {
    let mask = if block.form() == AckForm::Ranges2 { 0xFFFF } else { 0xFF };
    let low = u64::from(block.largest_low());
    let expanded = block.expand_largest(acked, sent);
    if sent - acked > mask {
        assert_eq!(expanded, Expanded::Ambiguous);
        return;
    }
    let found = (acked..=sent).find(|number| number & mask == low);
    let expected = found.map_or(Expanded::NeverSent, Expanded::Largest);
    assert_eq!(expanded, expected, "{low} of {acked}..={sent}");
}
