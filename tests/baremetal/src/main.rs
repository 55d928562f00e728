//! Every protocol crate, linked for a machine without an operating system or an allocator.
//!
//! The binary is not run. It links, and thereby shows that nothing asks for an allocator, and that
//! no panic can be reached: the panic handler refers to a symbol that exists nowhere, so that
//! one reachable panic is one undefined symbol. All inputs are opaque to the optimiser, so that
//! a panic it removes is one that no input can reach.
#![no_std]
#![no_main]

mod compress;
mod enet;
mod ground;
mod input;
mod native;
mod outside;
mod trace;
mod transport;
mod wire;

use input::Input;

fn run() {
    let mut input = Input;
    ground::exercise(&mut input);
    transport::exercise(&mut input);
    wire::exercise(&mut input);
    compress::exercise(&mut input);
    native::exercise(&mut input);
    enet::exercise(&mut input);
    trace::exercise(&mut input);
    #[cfg(feature = "planted-panic")]
    planted_panic(&mut input);
}

/// Indexes a table with a number that nobody knows.
#[cfg(feature = "planted-panic")]
fn planted_panic(input: &mut Input) {
    let table = input.bytes::<4>();
    input::keep(table[input.index()]);
}
