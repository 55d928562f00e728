//! Replays the committed trace on a machine without an operating system, and tells its hash.
//!
//! What it says goes to whoever debugs it, which `cargo xtask firmware` has QEMU do.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use bowline_crypto::SipHash;
use bowline_trace::{Replay, Trace};
use cortex_m as _;
use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;

include!("../../traces/memory.rs");
include!("../../traces/classes.rs");

static TRACE: &[u8] = include_bytes!("../../traces/rough.trace");

/// Longest datagram, message or buffer.
const SCRATCH_LEN: usize = 2048;

#[entry]
fn main() -> ! {
    let (memory, scratch) = (
        cortex_m::singleton!(MEMORY: Memory = Memory::new()),
        cortex_m::singleton!(SCRATCH: [u8; SCRATCH_LEN] = [0; SCRATCH_LEN]),
    );
    let (Some(memory), Some(mut scratch)) = (memory, scratch.map(|scratch| &mut scratch[..]))
    else {
        finish(false);
    };
    let trace = match Trace::open(TRACE) {
        Ok(trace) => trace,
        Err(error) => {
            hprintln!("{}", error);
            finish(false);
        }
    };
    let mut replay = match Replay::new(trace, &SipHash, memory, &CLASSES) {
        Ok(replay) => replay,
        Err(error) => {
            hprintln!("{}", error);
            finish(false);
        }
    };
    match replay.run(&mut scratch) {
        Ok(summary) => {
            hprintln!("{} records, {:?}", summary.records, summary.end);
            hprintln!("hash {:016x}", summary.hash);
        }
        Err(error) => {
            hprintln!("{}: {:?}", error, replay.divergence());
            finish(false);
        }
    }
    finish(true)
}

fn finish(well: bool) -> ! {
    exit(if well { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(panic: &PanicInfo<'_>) -> ! {
    hprintln!("{}", panic);
    finish(false)
}
