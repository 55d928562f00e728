//! The workloads of `bowline-benches`, done by other libraries over a link in memory.
//!
//! Each library is driven as its own documentation advises: whoever takes datagrams from a socket by
//! itself finds them in a [`queue::Queue`], and every clock is virtual. The measured region covers the
//! same for each: a tick of sending, receiving and acknowledging, the link included.

pub mod allocations;
#[cfg(c_enet)]
pub mod c_enet;
pub mod host;
pub mod pair;
pub mod queue;
pub mod rows;
pub mod rusty;
pub mod server;

use bowline_benches::{Work, Workload};

/// What is said where C ENet is not installed.
pub const NO_C_ENET: &str = "no libenet (Debian: apt-get install libenet-dev)";

/// What was done while it counted, and how often the heap was asked meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// What was done.
    pub work: Work,
    /// Heap allocations.
    pub allocations: u64,
}

/// Runs a workload: first until its memory has grown to what it needs, then counted.
pub fn run(mut workload: impl Workload, warm: u32, counted: u32) -> Counted {
    for _ in 0..warm {
        workload.prepare();
        workload.tick();
    }
    workload.begin();
    let mut allocations = 0;
    for _ in 0..counted {
        workload.prepare();
        let before = allocations::count();
        measured_region(&mut workload);
        allocations += allocations::count() - before;
    }
    Counted { work: workload.finish(), allocations }
}

/// What the instruction counter is switched on for.
#[inline(never)]
pub fn measured_region<W: Workload>(workload: &mut W) {
    workload.tick();
}
