//! Memory is asked for while an endpoint grows to its limits, and never again.

use bowline_tests::allocator::{Watchful, counts, watch};
use bowline_tests::load::{Load, Weather};

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

/// How many datagrams are sent while nothing may be asked for.
const DATAGRAMS: u64 = 1_000_000;

#[test]
fn at_its_limits_an_endpoint_asks_for_nothing() {
    let mut load = Load::new(1);
    load.flood();
    load.turn_to(Weather::Foul);
    load.run(100_000);
    let [(server, most), clients @ .., _] = &load.heaps()[..] else { panic!("a load is of many") };
    assert_eq!(server, most, "the server's memory is as large as it may become");
    // Nobody floods the clients, so some places for messages in parts are never needed there.
    assert!(clients.iter().all(|(here, most)| *here > most * 3 / 4), "{clients:?}");
    load.turn_to(Weather::Fair);
    load.unseen();

    let before = counts();
    let held: usize = load.heaps().iter().map(|(here, _)| here).sum();
    assert_eq!(usize::try_from(before.bytes), Ok(held), "{before:?}");
    let sent = load.datagrams();
    load.run(DATAGRAMS);
    let asked = counts().since(&before);
    println!("{} datagrams: {}", load.datagrams() - sent, load.sights());
    println!("to reach the limits: {before:?}; after that: {asked:?}");
    assert_eq!((asked.requests(), asked.frees), (0, 0), "{asked:?}");
    assert_eq!(load.unseen(), [""; 0], "this has not happened");
}

#[test]
fn whatever_is_asked_inside_a_call_is_seen() {
    let before = counts();
    let mut vec = watch(|| Vec::<u8>::with_capacity(100));
    assert_eq!((counts().since(&before).allocations, counts().since(&before).bytes), (1, 100));
    vec.reserve_exact(1_000);
    assert_eq!(counts().since(&before).requests(), 1, "what tests do in between is not");
    watch(|| vec.reserve_exact(2_000));
    assert_eq!((counts().since(&before).reallocations, counts().since(&before).bytes), (1, 1_100));
    watch(|| drop(vec));
    assert_eq!(counts().since(&before).frees, 1);
}
