//! The mechanisms of reliable datagram protocols, one file each, usable alone.
//!
//! A protocol over datagrams needs packet numbers that are accepted once, acknowledgements, round
//! trips, loss, streams that arrive whole, fragments. Each of these is a small state machine here:
//! it is told what happened, with the time as an argument, and answers one question. None knows of
//! another but by being handed it, and none knows a wire format, so a protocol takes those it wants
//! and writes what they say in its own way. `bowline-native` is made of them.
//!
//! # One mechanism alone
//!
//! Most are plain values:
//!
//! ```
//! use bowline_transport::receive_window::{Freshness, ReceiveWindow};
//!
//! let mut window = ReceiveWindow::new(7); // the peer's first number
//! for number in [7, 8, 10] {
//!     assert_eq!(window.check(number), Freshness::New);
//!     window.record(number);
//! }
//! assert_eq!(window.check(8), Freshness::Duplicate);
//! assert!(window.ranges().eq([(10, 10), (7, 8)])); // what to acknowledge
//! ```
//!
//! Those that keep bytes or lists borrow the memory for it with every call, so that one supply
//! serves many of them:
//!
//! ```
//! use bowline_core::{Pool, PoolControl, Quota, Slot, SlotControl, Slots};
//! use bowline_transport::record::Record;
//! use bowline_transport::reliable::{Head, InStream, OutStream, Ranges};
//!
//! let (mut bytes, mut control) = ([0; 8 * 64], PoolControl::new(64, 8));
//! let mut pool = Pool::new(&mut bytes, &mut control);
//! let (mut items, mut control) = ([Record::VACANT; 4], SlotControl::new(4));
//! let mut records = Slots::new(&mut items, &mut control);
//! let (mut blocks, mut quota) = (Quota::NONE, Quota::NONE);
//! let mut ranges = Ranges { records: &mut records, quota: &mut quota };
//!
//! // A stream whose first byte has the offset 100, and credit for 50 bytes.
//! let mut out = OutStream::new(100, 50);
//! let mut into = InStream::new(100, 50);
//!
//! out.append(&mut pool, &mut blocks, b"\x05hello"); // a message: its length, its bytes
//! let piece = out.peek(&mut ranges).expect("six bytes wait");
//! let mut sent = [0; 6];
//! out.take(&pool, &mut ranges, piece, &mut sent);
//!
//! // The packet with them, number 0, arrives.
//! into.write(&mut pool, &mut blocks, &mut ranges, 0, piece.start, &sent).expect("it is allowed");
//! assert_eq!(into.head(&pool, ranges.records, into.base(), 1_000), Head::Message { prefix: 1, len: 5 });
//! let mut message = [0; 5];
//! into.place(&pool, 1).read(&pool, &mut message);
//! assert_eq!(&message, b"hello");
//! ```
//!
//! # What it never does
//!
//! Read a clock, draw a random number, touch a socket, allocate, parse or write a datagram, call
//! back, or panic on any input in a release build. Nothing here waits: what takes time names the
//! instant at which to ask again. What takes memory can be asked beforehand whether there is enough.
//!
//! Not here yet: redundancy.
//!
//! # What is known to hold
//!
//! Each mechanism is run against an obvious model, a set, a queue, a string, the RFC in floating point,
//! by random operations. Numbers and offsets start near their wrap in a good part of the cases. A test run
//! has this many cases, each of up to so many steps; `PROPTEST_CASES` scales them.
//!
//! | mechanism | file | property | cases × steps |
//! |---|---|---|---:|
//! | receive window | [`receive_window`] | a number is accepted once; reports name exactly what was accepted, until the peer has seen it | 1,024 × 600 |
//! | acknowledgements, when | [`acks`] | an ack is due just when the list of waiting packets says, and not for acks | 256 × 80 |
//! | acknowledgements, processing | [`sent`] | what the ranges name leaves, oldest first; bytes in flight add up | 1,024 × 6 |
//! | round trips | [`rtt`] | the estimates of RFC 9002, within their rounding; no claimed delay brings them below the minimum | 768 × 60 |
//! | loss detection | [`loss`] | a packet is lost just if some acknowledgement proves it, and at the time named | 512 × 8 |
//! | | [`sent`] | all that is proved lost is found, and nothing else | 1,024 × 40 |
//! | these together | `tests/acknowledgement.rs` | over a link that delays, reorders and loses, each packet gets one fate; no ack is late, untrue or for nothing; without loss and disorder nothing is taken for lost | 1,024 × 80 |
//! | reliable: ranges | [`reliable`] | a list of ranges is a set of bytes, in as few ranges as can be | 256 × 60 |
//! | reliable: sender | [`reliable`] | next comes what was lost and is wanted, then what is new and allowed; all memory comes back | 1,024 × 200 |
//! | reliable: receiver | [`reliable`] | ranges in any order become the messages; what was promised is enough | 1,024 × 200 |
//! | | | no offset gets bytes past the credit | 1,024 × 1 |
//! | reliable: both | [`reliable`] | over any link every message arrives once, in order, and whole; no short offset is misread | 1,024 × 400 |
//! | | | nor when packets are shuffled | 1,024 × 88 |
//! | reliable: loose receiver | [`reliable::loose`] | every message of an honest sender is handed over once, as soon as it is complete, or was given up; what was promised is enough, and whoever is next in order always has room | 1,024 × 200 |
//! | | | whatever a peer sends, of each byte is known what a byte-by-byte model knows; none is handed over that did not arrive, and none twice | 1,024 × 60 |
//! | | | keys are known until they are passed, and then come back | 1,024 × 200 |
//! | unreliable: sender | [`unreliable`] | packets hold whole messages, as many as fit; only what fits no packet is cut | 1,024 × 120 |
//! | unreliable: receiver | [`unreliable`] | the inbox is a queue of messages | 1,024 × 80 |
//! | unreliable-ordered | [`unreliable`] | what is delivered is newer than all before; what is dropped is not | 1,024 × 60 |
//! | fragments | [`fragments`] | reassembly agrees with a byte-by-byte model, within its limits | 1,024 × 250 |
//! | | | a packet that passed the check is taken as a whole | 1,024 × 60 |
//! | | | over a link that loses, repeats and reorders, a message arrives just if all its packets did, once | 1,024 × 40 |
//! | tickets | [`tickets`] | whatever is given up, told, lost and acknowledged in whatever order, each tagged message ends once, what is due is known, and all tickets come back | 1,024 × 120 |
//! | | | of a message that is sent once the first packet lost decides, or the last acknowledged | 1,024 × 80 |
//! | keys | [`key_tree`] | a tree of records is a map, and never deeper than a key has bits | 1,024 × 200 |
//! | credit | [`credit`] | what is allowed is promised; windows leave memory to who needs it more; a message of any length gets its credit once there is memory | 1,024 × 80 |
//! | | | limits may overtake each other | 1,024 × 20 |
//! | channel scheduler | [`scheduler`] | a queue without doubles; nobody waits for two turns of another; a backlog is shared evenly | 768 × 200 |
//! | channel shares | [`share`] | a line without budgets is a list sorted by priority and by bytes over weight | 1,024 × 200 |
//! | | `tests/share.rs` | of equals with a backlog, none is ahead by more than a datagram of each, in bytes over weight | 256 × 600 |
//! | | | whoever comes and goes, maximums hold, only a minimum overtakes a priority, and all that waits goes | 256 × 60 |
//! | | [`share`] | budgets move on by bytes over rate, without rounding away anything | 1,024 × 300 |
//! | liveness | [`liveness`] | the dead are found in time, and no absence of the caller kills the living | 1,280 × 200 |
//! | bytes in flight | [`congestion`] | the sum of the packets without a fate | 256 × 200 |
//! | controllers | [`congestion`] | windows stay in bounds, grow by no more than what arrives, shrink by losses alone; CUBIC's curve is the RFC's | 256 × 300 |
//! | pacing | [`pacing`] | nobody gets more than the rate; who comes when told finds tokens | 256 × 200 |
//! | path MTU | [`path_mtu`] | a clean path is used as it is within three seconds; one that changes is followed; losses of other causes keep nothing from being found; a liar gains nothing | 256 × 2,600 |
//! | runs of bytes | [`run`] | a run is a queue of bytes; prefixes survive the round trip | 768 × 200 |
//! | lists of records | [`record`] | a list is a queue | 256 × 200 |
#![no_std]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(test)]
extern crate alloc;

pub mod acks;
pub mod congestion;
pub mod credit;
pub mod fragments;
pub mod key_tree;
pub mod late;
pub mod liveness;
pub mod loss;
pub mod pacing;
pub mod path_mtu;
pub mod receive_window;
pub mod record;
pub mod reliable;
pub mod rtt;
pub mod run;
pub mod scheduler;
pub mod sent;
pub mod share;
pub mod tickets;
pub mod unreliable;

/// Four times the usual number of cases, for mechanisms of many states.
#[cfg(test)]
fn thorough() -> proptest::test_runner::Config {
    let usual = proptest::test_runner::Config::default();
    proptest::test_runner::Config { cases: 4 * usual.cases, ..usual }
}
